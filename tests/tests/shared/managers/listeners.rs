//! Connections between programs, without a manager.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use wasmp::{Address, Connection, Listener, PeerError, RecvError, SendError, wait_timeout};
use wasmp_tests::isolated;

use super::{PATIENCE, anywhere};
use crate::common::{call, pool};

/// Has a test done with an address of each family.
fn each_family(test: impl Fn(&Address)) {
    test(&anywhere());
    let folder = tempfile::tempdir().unwrap();
    test(&Address::Unix(folder.path().join("socket")));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}

/// Both ends of a connection.
fn connected(listener: &Listener, key: &[u8]) -> (Connection, Connection) {
    thread::scope(|scope| {
        let connecting = scope.spawn(|| Connection::connect(listener.address(), key).unwrap());
        (listener.accept().unwrap(), connecting.join().unwrap())
    })
}

/// Whether who had connected did not stay.
fn is_gone(accepted: &Result<(), PeerError>) -> bool {
    matches!(accepted, Err(PeerError::Io(_)))
}

#[test]
fn li_01_li_02_an_address_is_listened_at_once_and_after_the_end_nobody_is_accepted() {
    isolated(|| {
        each_family(|address| {
            let listener = Listener::bind(address, b"key").unwrap();
            let address = listener.address().clone();
            assert!(matches!(Listener::bind(&address, b"key"), Err(PeerError::Io(_))));
            let waiting = thread::scope(|scope| {
                // Whoever wanted to listen at its path has looked whether somebody does.
                let wait = || std::iter::repeat_with(|| listener.accept().map(drop)).find(|end| !is_gone(end));
                let waiting = scope.spawn(wait);
                thread::sleep(Duration::from_millis(5));
                listener.close();
                waiting.join().unwrap()
            });
            assert!(matches!(waiting, Some(Err(PeerError::Closed))), "{waiting:?}");
            listener.close();
            assert!(matches!(listener.accept(), Err(PeerError::Closed)));
            drop(listener);
            assert!(matches!(Connection::connect(&address, b"key"), Err(PeerError::Io(_))));
            drop(Listener::bind(&address, b"key").unwrap());
        });
    });
}

#[test]
fn li_05_li_07_po_01_po_02_what_is_sent_arrives_whole_and_in_order() {
    isolated(|| {
        each_family(|address| {
            let listener = Listener::bind(address, b"key").unwrap();
            let (here, there) = connected(&listener, b"key");
            drop(listener);
            here.send("hello").unwrap();
            assert!(there.poll_timeout(PATIENCE).unwrap());
            assert_eq!(there.recv::<String>().unwrap(), "hello");
            assert!(!there.poll().unwrap());
            let messages = [&b"a"[..], b"", b"bc", b"", b"", &[7; 300_000], b"d", b"e"];
            for message in messages {
                there.send_bytes(message).unwrap();
            }
            for message in messages {
                assert!(here.poll_timeout(PATIENCE).unwrap() && here.poll().unwrap());
                assert_eq!(here.recv_bytes().unwrap(), message);
            }
            assert_eq!(wait_timeout(&[&here], Duration::from_millis(5)).unwrap(), [0_usize; 0]);
            there.send(&(1, "last")).unwrap();
            drop(there);
            assert_eq!(here.recv::<(i64, String)>().unwrap(), (1, "last".to_owned()));
            assert_eq!(here.recv::<String>(), Err(RecvError::EndOfFile));
            assert_eq!(here.send("nobody"), Err(SendError::BrokenPipe));
        });
    });
}

#[test]
fn a_slow_reader_loses_nothing() {
    isolated(|| {
        let listener = Listener::bind(&anywhere(), b"key").unwrap();
        let (here, there) = connected(&listener, b"key");
        let message = vec![7; 1 << 20];
        let sending = thread::spawn(move || (0..64).for_each(|_| here.send_bytes(&message).unwrap()));
        sending.join().unwrap();
        for at in 0..64 {
            assert_eq!(there.recv_bytes_timeout(PATIENCE).unwrap().len(), 1 << 20, "{at}");
        }
        assert_eq!(there.recv_bytes_timeout(PATIENCE), Err(RecvError::EndOfFile));
    });
}

#[test]
fn li_03_au_01_au_02_only_those_with_the_key_come_in() {
    isolated(|| {
        each_family(|address| {
            let listener = Listener::bind(address, b"").unwrap();
            let (here, there) = connected(&listener, b"");
            here.send(&1).unwrap();
            assert_eq!(there.recv::<i64>().unwrap(), 1);
            thread::scope(|scope| {
                let connecting = scope.spawn(|| Connection::connect(listener.address(), b"key").map(drop));
                assert!(matches!(listener.accept(), Err(PeerError::Authentication)));
                assert!(matches!(connecting.join().unwrap(), Err(PeerError::Authentication)));
            });
            connected(&listener, b"");
        });
    });
}

#[test]
fn strangers_are_shown_the_door() {
    isolated(|| {
        let listener = Listener::bind(&anywhere(), b"key").unwrap();
        let Address::Tcp(address) = listener.address() else {
            panic!("it is TCP")
        };
        let mut stranger = std::net::TcpStream::connect(address).unwrap();
        stranger
            .write_all(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
            .unwrap();
        assert!(matches!(listener.accept(), Err(PeerError::Stranger)));
        let mut said = Vec::new();
        // What was not read may end the connection the hard way.
        let _ = stranger.read_to_end(&mut said);
        assert!(said.len() <= 48);
        // A manager is no listener, and a listener no manager.
        let manager = wasmp::Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        assert!(matches!(
            Connection::connect(server.address(), b"key"),
            Err(PeerError::Stranger)
        ));
        thread::scope(|scope| {
            scope.spawn(|| assert!(listener.accept().is_err()));
            let refused = wasmp::Manager::connect(listener.address(), b"key").unwrap_err();
            assert!(matches!(refused, wasmp::ManagerError::Start(_)), "{refused}");
        });
        // Who has the key and then says what is no message loses the connection, and nobody else anything.
        let (here, there) = connected(&listener, b"key");
        here.send(&1).unwrap();
        assert_eq!(there.recv::<i64>().unwrap(), 1);
    });
}

#[test]
fn pk_01_a_connection_from_elsewhere_is_used_by_a_worker() {
    isolated(|| {
        each_family(|address| {
            let listener = Listener::bind(address, b"key").unwrap();
            let (here, there) = connected(&listener, b"key");
            let pool = pool(1);
            there.send("hello").unwrap();
            call::<()>(&pool, "managed_answer_one", (&here,));
            assert_eq!(there.recv::<String>().unwrap(), "HELLO");
        });
    });
}
