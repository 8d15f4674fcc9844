//! Managers and connections by TLS.

use std::io::Read as _;
use std::thread;

use rcgen::{BasicConstraints, IsCa, date_time_ymd};
use wasmp::{Address, Connection, Dict, Listener, Manager, ManagerError, PeerError, TlsClient, TlsError, TlsServer};
use wasmp_tests::{Certified, isolated};

use super::{PATIENCE, anywhere, hosts_and_guests_use};
use crate::common::{call, pool};

fn server(certified: &Certified) -> TlsServer {
    TlsServer::from_pem(certified.pem().as_bytes(), certified.key_pem().as_bytes()).unwrap()
}

fn trusting(certified: &Certified) -> TlsClient {
    TlsClient::from_pem(certified.pem().as_bytes()).unwrap()
}

/// What a listener and who connects to it come to.
fn meet(
    listener: &Listener,
    connect: impl FnOnce(&Address) -> Result<Connection, PeerError> + Send,
) -> [Result<Connection, PeerError>; 2] {
    thread::scope(|scope| {
        let connecting = scope.spawn(|| connect(listener.address()));
        [listener.accept(), connecting.join().unwrap()]
    })
}

/// How that ends if neither of them wants the other.
fn part(listener: &Listener, connect: impl FnOnce(&Address) -> Result<Connection, PeerError> + Send) -> [PeerError; 2] {
    meet(listener, connect).map(|met| met.map(drop).unwrap_err())
}

#[test]
fn a_manager_is_reached_by_tls_by_hosts_and_guests() {
    isolated(|| {
        let certified = Certified::new(&["localhost", "127.0.0.1"]);
        let (server, client) = (server(&certified), trusting(&certified));
        let manager = Manager::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let socket = Address::Unix(folder.path().join("socket"));
        for (address, client) in [
            (anywhere(), client.clone()),
            (socket, client.server_name("localhost").unwrap()),
        ] {
            let listening = manager.listen_tls(&address, b"key", &server).unwrap();
            let there = Manager::connect_tls(listening.address(), b"key", &client).unwrap();
            hosts_and_guests_use(&manager, &there);
        }
    });
}

#[test]
fn messages_go_by_tls_to_programs_and_their_workers() {
    isolated(|| {
        let certified = Certified::new(&["127.0.0.1"]);
        let listener = Listener::bind_tls(&anywhere(), b"key", &server(&certified)).unwrap();
        let client = trusting(&certified);
        let [here, there] = meet(&listener, |address| Connection::connect_tls(address, b"key", &client));
        let (here, there) = (here.unwrap(), there.unwrap());
        let message = vec![7; 1 << 20];
        let sending = thread::spawn({
            let (here, message) = (here.clone(), message.clone());
            move || (0..8).for_each(|_| here.send_bytes(&message).unwrap())
        });
        for _ in 0..8 {
            there.send_bytes(&message).unwrap();
        }
        sending.join().unwrap();
        for end in [&here, &there] {
            for _ in 0..8 {
                assert!(end.recv_bytes_timeout(PATIENCE).unwrap() == message);
            }
        }
        there.send("hello").unwrap();
        call::<()>(&pool(1), "managed_answer_one", (&here,));
        assert_eq!(there.recv::<String>().unwrap(), "HELLO");
        drop(there);
        assert!(here.recv::<String>().is_err());
    });
}

#[test]
fn the_key_is_proved_beneath_tls_too() {
    isolated(|| {
        let certified = Certified::new(&["127.0.0.1"]);
        let manager = Manager::new().unwrap();
        let listening = manager.listen_tls(&anywhere(), b"key", &server(&certified)).unwrap();
        let refused = Manager::connect_tls(listening.address(), b"other", &trusting(&certified)).unwrap_err();
        assert_eq!(refused, ManagerError::Authentication);
    });
}

/// What a client is told by a listener with this certificate, and the listener by it.
fn refused(certified: &Certified, client: &TlsClient) -> (TlsError, PeerError) {
    let listener = Listener::bind_tls(&anywhere(), b"key", &server(certified)).unwrap();
    match part(&listener, |address| Connection::connect_tls(address, b"key", client)) {
        [there, PeerError::Tls(here)] => (here, there),
        [_, here] => panic!("{here:?}"),
    }
}

#[test]
fn a_server_that_is_not_trusted_or_not_whom_it_should_be_is_none() {
    isolated(|| {
        let names = &["127.0.0.1"][..];
        let other = Certified::new(names);
        let client = trusting(&other);
        let (here, there) = refused(&Certified::new(names), &client);
        assert_eq!(here, TlsError::Untrusted);
        assert!(matches!(there, PeerError::Tls(TlsError::Refused(_))), "{there:?}");

        let (here, there) = refused(&other, &client.server_name("host.example").unwrap());
        assert!(
            matches!(&here, TlsError::WrongName { expected, .. } if expected == "host.example"),
            "{here:?}"
        );
        assert!(here.to_string().contains("127.0.0.1"), "{here}");
        assert!(matches!(there, PeerError::Tls(TlsError::Refused(_))), "{there:?}");

        let past = Certified::with(names, |params| params.not_after = date_time_ymd(2001, 1, 1));
        assert_eq!(refused(&past, &trusting(&past)).0, TlsError::Expired);
        let future = Certified::with(names, |params| params.not_before = date_time_ymd(4000, 1, 1));
        assert_eq!(refused(&future, &trusting(&future)).0, TlsError::NotYetValid);
    });
}

#[test]
fn an_authority_vouches_for_servers_and_is_none() {
    isolated(|| {
        let names = &["127.0.0.1"][..];
        let authority = Certified::with(names, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        let manager = Manager::new().unwrap();
        let client = trusting(&authority);
        let listening = manager
            .listen_tls(&anywhere(), b"key", &server(&authority.vouches_for(names)))
            .unwrap();
        let there = Manager::connect_tls(listening.address(), b"key", &client).unwrap();
        assert_eq!(there.usage().unwrap().objects, 0);
        let (here, _) = refused(&authority, &client);
        assert!(
            matches!(&here, TlsError::Failed(why) if why.contains("CaUsedAsEndEntity")),
            "{here:?}"
        );
    });
}

#[test]
fn where_one_side_speaks_tls_and_the_other_does_not_both_are_told() {
    isolated(|| {
        let certified = Certified::new(&["127.0.0.1"]);
        let (server, client) = (server(&certified), trusting(&certified));
        let manager = Manager::new().unwrap();
        let unexpected = ManagerError::Tls(TlsError::Unexpected);
        let not_spoken = ManagerError::Tls(TlsError::NotSpoken);
        let secure = manager.listen_tls(&anywhere(), b"key", &server).unwrap();
        let open = manager.listen(&anywhere(), b"key").unwrap();
        assert_eq!(Manager::connect(secure.address(), b"key").unwrap_err(), unexpected);
        assert_eq!(
            Manager::connect_tls(open.address(), b"key", &client).unwrap_err(),
            not_spoken
        );

        let secure = Listener::bind_tls(&anywhere(), b"key", &server).unwrap();
        let told = part(&secure, |address| Connection::connect(address, b"key"));
        assert!(
            matches!(
                told,
                [
                    PeerError::Tls(TlsError::NotSpoken),
                    PeerError::Tls(TlsError::Unexpected)
                ]
            ),
            "{told:?}"
        );
        let open = Listener::bind(&anywhere(), b"key").unwrap();
        let told = part(&open, |address| Connection::connect_tls(address, b"key", &client));
        assert!(
            matches!(
                told,
                [
                    PeerError::Tls(TlsError::Unexpected),
                    PeerError::Tls(TlsError::NotSpoken)
                ]
            ),
            "{told:?}"
        );
    });
}

#[test]
fn a_socket_at_a_path_has_no_name_to_expect() {
    isolated(|| {
        let certified = Certified::new(&["localhost"]);
        let folder = tempfile::tempdir().unwrap();
        let manager = Manager::new().unwrap();
        let address = Address::Unix(folder.path().join("socket"));
        let listening = manager.listen_tls(&address, b"key", &server(&certified)).unwrap();
        let refused = Manager::connect_tls(listening.address(), b"key", &trusting(&certified)).unwrap_err();
        assert!(
            matches!(refused, ManagerError::Tls(TlsError::ServerName(_))),
            "{refused:?}"
        );
    });
}

#[test]
fn who_does_not_say_who_it_is_keeps_nobody_else_out() {
    isolated(|| {
        let certified = Certified::new(&["127.0.0.1"]);
        let client = trusting(&certified);
        let manager = Manager::new().unwrap();
        let listening = manager.listen_tls(&anywhere(), b"key", &server(&certified)).unwrap();
        let there = Manager::connect_tls(listening.address(), b"key", &client).unwrap();
        let dict: Dict<String, i64> = there.named_dict("d").unwrap();
        let Address::Tcp(address) = listening.address() else {
            panic!("it is TCP")
        };
        let silent: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        dict.add("a", 1).unwrap();
        Manager::connect_tls(listening.address(), b"key", &client).unwrap();
        // They are told nothing before they have said something.
        for mut stranger in silent {
            stranger.shutdown(std::net::Shutdown::Write).unwrap();
            let mut said = Vec::new();
            let _ = stranger.read_to_end(&mut said);
            assert!(said.len() < 10, "{said:?}");
        }
        assert_eq!(dict.get("a").unwrap(), Some(1));
    });
}
