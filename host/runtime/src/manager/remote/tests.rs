//! What strangers can do, without a manager.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use super::auth::{MANAGER, PEER, Refused, dialler, listener};
use super::{Address, frame};
use crate::fuzz::fuzz;
use wasmp_manager::protocol::MAX_MESSAGE;

fn meet(key: &'static [u8], other: &'static [u8]) -> (Result<(), Refused>, Result<(), Refused>) {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let other = thread::spawn(move || dialler(&mut theirs, (other, None), MANAGER));
    let ours = {
        let result = listener(&mut ours, (key, None), MANAGER);
        drop(ours);
        result
    };
    (ours, other.join().unwrap())
}

#[test]
fn au_03_those_with_the_same_key_come_together() {
    for key in [&b"key"[..], b"", &[7; 1000]] {
        let (ours, theirs) = meet(key, key);
        assert!(ours.is_ok() && theirs.is_ok());
    }
}

#[test]
fn au_01_au_02_those_with_another_do_not() {
    for (ours, theirs) in [(&b"key"[..], &b"kez"[..]), (b"", b"key"), (b"key", b"")] {
        let (ours, theirs) = meet(ours, theirs);
        assert!(matches!(ours, Err(Refused::Key)), "{ours:?}");
        assert!(matches!(theirs, Err(Refused::Key)), "{theirs:?}");
    }
}

#[test]
fn who_has_no_key_cannot_send_back_what_was_sent() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let other = thread::spawn(move || {
        // The greeting and the nonce come back as they were, and a proof that proves nothing.
        let mut said = [0; 48];
        theirs.read_exact(&mut said).unwrap();
        theirs.write_all(&said).unwrap();
        theirs.write_all(&said[16..]).unwrap();
        theirs.read(&mut said).unwrap_or_default()
    });
    assert!(matches!(
        listener(&mut ours, (b"key", None), MANAGER),
        Err(Refused::Key)
    ));
    drop(ours);
    assert_eq!(other.join().unwrap(), 0);
}

#[test]
fn who_speaks_something_else_is_a_stranger() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n").unwrap();
    assert!(matches!(
        listener(&mut ours, (b"key", None), MANAGER),
        Err(Refused::Stranger)
    ));
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"SSH-2.0-something else").unwrap();
    assert!(matches!(
        dialler(&mut ours, (b"key", None), MANAGER),
        Err(Refused::Stranger)
    ));
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let other = thread::spawn(move || listener(&mut theirs, (b"key", None), PEER));
    assert!(matches!(
        dialler(&mut ours, (b"key", None), MANAGER),
        Err(Refused::Stranger)
    ));
    drop(ours);
    assert!(other.join().unwrap().is_err());
}

#[test]
fn frames_are_as_long_as_they_may_be() {
    let mut bytes = Vec::new();
    for message in [&b""[..], b"one", &vec![7; 200_000]] {
        frame::write(&mut bytes, message).unwrap();
    }
    let (mut stream, mut message) = (&bytes[..], Vec::new());
    let mut lengths = Vec::new();
    while frame::read(&mut stream, &mut message).unwrap() {
        lengths.push(message.len());
    }
    assert_eq!(lengths, [0, 3, 200_000]);

    for announced in [u32::MAX, MAX_MESSAGE as u32 + 1] {
        let mut message = Vec::new();
        assert!(frame::read(&mut &announced.to_le_bytes()[..], &mut message).is_err());
        assert_eq!(message.capacity(), 0);
    }
    // Who announces much and sends little has memory taken for little.
    let mut cut = (MAX_MESSAGE as u32).to_le_bytes().to_vec();
    cut.extend([0; 100]);
    let mut message = Vec::new();
    assert!(frame::read(&mut &cut[..], &mut message).is_err());
    assert!(message.capacity() < 1 << 20);
    for length in 1..7 {
        assert!(frame::read(&mut &bytes[4..][..length.min(3)], &mut Vec::new()).is_err());
    }
}

#[test]
fn frames_of_strangers_are_read_or_refused() {
    let mut bytes = Vec::new();
    for message in [&b""[..], b"one", &[7; 3000]] {
        frame::write(&mut bytes, message).unwrap();
    }
    fuzz(&[bytes], |bytes| {
        let (mut stream, mut message) = (bytes, Vec::new());
        let mut read = 0;
        while let Ok(true) = frame::read(&mut stream, &mut message) {
            read += size_of::<u32>() + message.len();
        }
        assert!(read <= bytes.len());
        // What is announced takes no memory before it comes.
        assert!(message.capacity() <= 2 * bytes.len().max(64 << 10));
    });
}

#[test]
fn words_of_strangers_at_the_door() {
    /// Says what it was given, and hears nothing of what it is told.
    struct Stranger<'s>(&'s [u8]);

    impl Read for Stranger<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Stranger<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let seed = [&MANAGER[..], &[7; 64]].concat();
    fuzz(&[seed], |bytes| {
        assert!(listener(&mut Stranger(bytes), (b"key", None), MANAGER).is_err());
        assert!(dialler(&mut Stranger(bytes), (b"key", None), MANAGER).is_err());
    });
}

#[test]
fn addresses_are_read_and_shown() {
    for text in ["127.0.0.1:5000", "[::1]:0", "host.example:80", "unix:/tmp/socket"] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
    }
    for text in ["", "5000", "host", ":5000", "host:port", "host:70000", "unix:"] {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
}
