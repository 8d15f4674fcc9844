//! What strangers can do before and beneath TLS. Who is trusted, and who is told what, is tested end to end.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::generate_simple_self_signed;
use rustls::{ClientConnection, Connection};
use wasmp_manager::TlsError;

use super::{TlsClient, TlsServer, server_name};
use crate::fuzz::fuzz;
use crate::manager::remote::address::{Address, Socket};
use crate::manager::remote::auth::{MANAGER, Refused, dialler, listener};
use crate::manager::remote::stream::Stream;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn both() -> (TlsServer, TlsClient) {
    let made = generate_simple_self_signed(["server".into()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.key_pair.serialize_pem());
    let server = TlsServer::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let client = TlsClient::from_pem(certificate.as_bytes()).unwrap();
    (server, client.server_name("server").unwrap())
}

fn streams() -> (Stream, Stream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let stream = |socket| Stream::from(Socket::Unix(Arc::new(socket)));
    (stream(ours), stream(theirs))
}

fn anywhere() -> Address {
    Address::Unix("socket".into())
}

fn connected() -> (Stream, Stream) {
    let (server, client) = both();
    let (ours, theirs) = streams();
    thread::scope(|scope| {
        let deadline = Instant::now() + PATIENCE;
        let client = scope.spawn(move || client.secure(&anywhere(), theirs, deadline).unwrap());
        (server.secure(ours, deadline).unwrap(), client.join().unwrap())
    })
}

/// What a client says first.
fn hello() -> Vec<u8> {
    let (_, client) = both();
    let mut session = ClientConnection::new(client.config, server_name("server").unwrap()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn both_directions_are_used_at_once() {
    const LENGTH: usize = 8 << 20;

    fn copy(stream: Stream, seed: u8) -> (thread::JoinHandle<()>, thread::JoinHandle<()>) {
        let Stream {
            mut incoming,
            mut outgoing,
            ..
        } = stream;
        let writer = thread::spawn(move || outgoing.write_all(&vec![seed; LENGTH]).unwrap());
        let reader = thread::spawn(move || {
            let mut read = vec![0; LENGTH];
            incoming.read_exact(&mut read).unwrap();
            assert!(read.iter().all(|byte| *byte == 3 - seed));
        });
        (writer, reader)
    }

    let (ours, theirs) = connected();
    for (writer, reader) in [copy(ours, 1), copy(theirs, 2)] {
        writer.join().unwrap();
        reader.join().unwrap();
    }
}

#[test]
fn what_is_said_is_not_seen_on_the_way() {
    let (mut ours, mut theirs) = connected();
    ours.outgoing.write_all(b"a word that is secret").unwrap();
    let (mut seen, mut word) = ([0; 1000], [0; 21]);
    let length = rustix::net::recv(unix(&theirs), &mut seen, rustix::net::RecvFlags::PEEK)
        .unwrap()
        .0;
    assert!(length > word.len() && !seen[..length].windows(6).any(|part| part == b"secret"));
    theirs.incoming.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"a word that is secret");
}

/// Has both prove that they have the same key, each at its end of a session.
fn prove(ours: &mut Stream, theirs: &mut Stream) -> [Result<(), Refused>; 2] {
    thread::scope(|scope| {
        let deadline = Instant::now() + PATIENCE;
        let dialling = scope.spawn(move || {
            let binding = theirs.binding;
            dialler(&mut theirs.until(deadline), (b"key", binding), MANAGER)
        });
        let binding = ours.binding;
        let listened = listener(&mut ours.until(deadline), (b"key", binding), MANAGER);
        ours.socket.close();
        [listened, dialling.join().unwrap()]
    })
}

#[test]
fn a_key_is_proved_at_both_ends_of_one_session_and_of_no_other() {
    let (mut ours, mut theirs) = connected();
    assert!(ours.binding.is_some_and(|binding| Some(binding) == theirs.binding));
    assert!(matches!(prove(&mut ours, &mut theirs), [Ok(()), Ok(())]));

    // Somebody stands between, who has a session with each, and passes on what they say.
    let ((mut ours, near), (far, mut theirs)) = (connected(), connected());
    assert_ne!(ours.binding, theirs.binding);
    let pass_on = |mut from: Box<dyn Read + Send>, mut to: Box<dyn Write + Send>| {
        thread::spawn(move || {
            let mut byte = [0];
            while from.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() {}
        })
    };
    let passing = [
        pass_on(near.incoming, far.outgoing),
        pass_on(far.incoming, near.outgoing),
    ];
    let proved = prove(&mut ours, &mut theirs);
    assert!(matches!(proved[0], Err(Refused::Key)), "{proved:?}");
    drop((ours, theirs));
    for thread in passing {
        thread.join().unwrap();
    }
}

fn unix(stream: &Stream) -> &UnixStream {
    match &stream.socket {
        Socket::Unix(stream) => stream,
        Socket::Tcp(_) => unreachable!("it is a pair"),
    }
}

#[test]
fn a_word_that_was_changed_on_the_way_ends_the_connection() {
    let (mut ours, mut theirs) = connected();
    ours.outgoing.write_all(b"a word").unwrap();
    let mut sealed = [0; 1000];
    let length = unix(&theirs).read(&mut sealed).unwrap();
    sealed[length - 1] ^= 1;
    unix(&ours).write_all(&sealed[..length]).unwrap();
    let refused = theirs.incoming.read_exact(&mut [0; 6]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    assert!(theirs.outgoing.write(b"no more").is_err());
}

#[test]
fn an_end_that_nobody_has_said_is_no_end() {
    let (ours, mut theirs) = connected();
    ours.socket.close();
    let cut = theirs.incoming.read_exact(&mut [0]).unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    let (ours, mut theirs) = connected();
    drop(ours);
    assert_eq!(theirs.incoming.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn new_keys_are_answered_with_the_next_word() {
    let (server, client) = both();
    let (ours, theirs) = streams();
    let (asked, ask) = channel();
    let client = thread::spawn(move || {
        let mut socket = unix(&theirs);
        let mut session =
            Connection::from(ClientConnection::new(client.config, server_name("server").unwrap()).unwrap());
        session.complete_io(&mut socket).unwrap();
        for _ in 0..10 {
            session.refresh_traffic_keys().unwrap();
            session.complete_io(&mut socket).unwrap();
        }
        asked.send(()).unwrap();
        let mut word = Vec::new();
        while word.len() < 4 {
            session.complete_io(&mut socket).unwrap();
            let mut some = [0; 4];
            match session.reader().read(&mut some) {
                Ok(count) => word.extend_from_slice(&some[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        session.writer().write_all(&word).unwrap();
        session.complete_io(&mut socket).unwrap();
    });
    let mut stream = server.secure(ours, Instant::now() + PATIENCE).unwrap();
    ask.recv().unwrap();
    stream.outgoing.write_all(b"word").unwrap();
    let mut word = [0; 4];
    stream.incoming.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"word");
    client.join().unwrap();
}

#[test]
fn who_sends_a_byte_now_and_then_has_no_more_time_than_others() {
    let (server, _) = both();
    let (ours, theirs) = streams();
    let dripping = thread::spawn(move || {
        let mut socket = unix(&theirs);
        hello().iter().all(|byte| {
            thread::sleep(Duration::from_millis(20));
            socket.write_all(&[*byte]).is_ok()
        })
    });
    let refused = server
        .secure(ours, Instant::now() + Duration::from_millis(200))
        .unwrap_err();
    assert!(
        matches!(&refused, Refused::Io(error) if error.kind() == io::ErrorKind::TimedOut),
        "{refused:?}"
    );
    assert!(!dripping.join().unwrap(), "it was let finish");
}

#[test]
fn a_word_that_comes_in_drops_is_waited_for_as_long_as_there_is_time() {
    let (mut ours, mut theirs) = connected();
    ours.outgoing.write_all(&[7; 1000]).unwrap();
    let mut sealed = [0; 2000];
    let length = unix(&theirs).read(&mut sealed).unwrap();
    let dripping = thread::spawn(move || {
        sealed[..length].iter().all(|byte| {
            thread::sleep(Duration::from_millis(20));
            unix(&ours).write_all(&[*byte]).is_ok()
        })
    });
    let mut stream = theirs.until(Instant::now() + Duration::from_millis(200));
    let late = stream.read_exact(&mut [0; 1000]).unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    drop(stream);
    drop(theirs);
    assert!(!dripping.join().unwrap());
}

#[test]
fn who_announces_much_has_little_of_it_taken() {
    let (server, _) = both();
    let (ours, theirs) = streams();
    let flooding = thread::spawn(move || {
        let mut socket = unix(&theirs);
        // A greeting of 16 MiB, in records as long as they may be.
        let mut record = vec![22, 3, 1, 0x40, 0];
        record.resize(5 + 0x4000, 0);
        record[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
        (0..1024).take_while(|_| socket.write_all(&record).is_ok()).count()
    });
    let refused = server.secure(ours, Instant::now() + PATIENCE).unwrap_err();
    assert!(matches!(refused, Refused::Tls(_)), "{refused:?}");
    let records = flooding.join().unwrap();
    // What fits into a socket, and what was read.
    assert!(records < 64, "{records}");
}

#[test]
fn words_of_strangers_before_tls() {
    /// Says what it was given, and hears nothing of what it is told.
    struct Stranger(io::Cursor<Vec<u8>>);

    impl Read for Stranger {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    let (server, client) = both();
    let (there, _other) = UnixStream::pair().unwrap();
    let there = Socket::Unix(Arc::new(there));
    let stranger = |bytes: &[u8]| Stream {
        binding: None,
        socket: there.clone(),
        incoming: Box::new(Stranger(io::Cursor::new(bytes.to_vec()))),
        outgoing: Box::new(io::sink()),
    };
    fuzz(&[hello(), b"wasmp manager 1\n".repeat(3)], |bytes| {
        let deadline = Instant::now() + PATIENCE;
        assert!(server.secure(stranger(bytes), deadline).is_err());
        assert!(client.secure(&anywhere(), stranger(bytes), deadline).is_err());
    });
}

#[test]
fn what_is_no_certificate_and_what_is_no_key_are_told() {
    let made = generate_simple_self_signed(["server".into()]).unwrap();
    let other = generate_simple_self_signed(["server".into()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.key_pair.serialize_pem());
    let cut = &certificate[..certificate.len() / 2];
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for wrong in ["", "no PEM", cut, empty, &key] {
        let refused = TlsServer::from_pem(wrong.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(refused, TlsError::Certificate(_)), "{wrong}: {refused:?}");
        let refused = TlsClient::from_pem(wrong.as_bytes()).unwrap_err();
        assert!(matches!(refused, TlsError::Certificate(_)), "{wrong}: {refused:?}");
    }
    let nothing = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for wrong in [
        "",
        "no PEM",
        &key[..key.len() / 2],
        nothing,
        &certificate,
        &other.key_pair.serialize_pem(),
    ] {
        let refused = TlsServer::from_pem(certificate.as_bytes(), wrong.as_bytes()).unwrap_err();
        assert!(matches!(refused, TlsError::Key(_)), "{wrong}: {refused:?}");
    }
    for wrong in ["", "a b", "-", "host:5000"] {
        let client = TlsClient::from_pem(certificate.as_bytes()).unwrap();
        let refused = client.server_name(wrong).unwrap_err();
        assert!(matches!(refused, TlsError::ServerName(_)), "{wrong}: {refused:?}");
    }
}
