//! How the two sides of a connection prove to each other that they have the same key, without telling it (CPython:
//! `deliver_challenge` and `answer_challenge`; here with SHA-256 alone, and both at once).
//!
//! ```text
//! listener → dialler   greeting, nonce            dialler → listener   greeting
//! dialler → listener   nonce, HMAC(key, "dialler", both nonces, binding)
//! listener → dialler   HMAC(key, "listener", both nonces, binding)
//! ```
//!
//! Nothing that was sent can be sent again to any use: each side has a nonce of its own in what the other has to prove, and
//! which side it is. What is said afterwards is as secret and as protected as what it is sent by: not at all without
//! [TLS](super::tls), as who can change what is sent on the network can change that. With it, what is proved is to have the key
//! at an end of this very session, of which the binding tells (RFC 9266): who has a session with either side, as one that
//! the dialler trusts has lent it a certificate, can pass nothing on that the other would believe.
//!
//! Both speak at once, so that neither waits in vain for one who waits for a handshake of TLS.

use std::io::{self, Read, Write};

use hmac::{Hmac, Mac as _};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;
use wasmp_manager::TlsError;

use super::stream::Binding;

/// What both sides say first: what they speak, and its version.
pub(super) type Greeting = [u8; 16];
/// Requests to a manager, and its answers.
pub(super) const MANAGER: &Greeting = b"wasmp manager 1\n";
/// Messages, of whatever.
pub(super) const PEER: &Greeting = b"wasmp connect 1\n";

/// What a record of TLS begins with: 21 an alert, from who has heard a greeting and expected a handshake; 22 a handshake.
const RECORDS: [u8; 2] = [21, 22];

const NONCE: usize = 32;
const PROOF: usize = 32;

/// Why a connection is none.
#[derive(Debug)]
pub(super) enum Refused {
    /// The other side speaks something else, or another version of this.
    Stranger,
    /// It has another key.
    Key,
    /// It speaks TLS and this one does not, or the other way round, or it is not whom it should be.
    Tls(TlsError),
    Io(io::Error),
}

impl From<TlsError> for Refused {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn nonce() -> io::Result<[u8; NONCE]> {
    let mut bits = [0; NONCE];
    // Up to 256 bytes come whole.
    getrandom(&mut bits, GetRandomFlags::empty())?;
    Ok(bits)
}

fn mac(key: &[u8], side: &[u8], nonces: [&[u8; NONCE]; 2], binding: Option<Binding>) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(side);
    for nonce in nonces {
        mac.update(nonce);
    }
    if let Some(binding) = binding {
        mac.update(&binding);
    }
    mac
}

fn receive<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn greet(stream: &mut impl Read, ours: &Greeting) -> Result<(), Refused> {
    let [first] = receive(stream)?;
    if RECORDS.contains(&first) {
        return Err(TlsError::Unexpected.into());
    }
    let rest: [u8; size_of::<Greeting>() - 1] = receive(stream)?;
    if first != ours[0] || rest != ours[1..] {
        return Err(Refused::Stranger);
    }
    Ok(())
}

/// The listener's part.
pub(super) fn listener(
    stream: &mut (impl Read + Write),
    (key, binding): (&[u8], Option<Binding>),
    greeting: &Greeting,
) -> Result<(), Refused> {
    let ours = nonce()?;
    stream.write_all(&[&greeting[..], &ours].concat())?;
    greet(stream, greeting)?;
    let theirs = receive(stream)?;
    let proof: [u8; PROOF] = receive(stream)?;
    mac(key, b"dialler", [&ours, &theirs], binding)
        .verify_slice(&proof)
        .map_err(|_| Refused::Key)?;
    let answer = mac(key, b"listener", [&ours, &theirs], binding).finalize().into_bytes();
    Ok(stream.write_all(&answer)?)
}

/// The dialler's part.
pub(super) fn dialler(
    stream: &mut (impl Read + Write),
    (key, binding): (&[u8], Option<Binding>),
    greeting: &Greeting,
) -> Result<(), Refused> {
    stream.write_all(greeting)?;
    greet(stream, greeting)?;
    let theirs = receive(stream)?;
    let ours = nonce()?;
    let proof = mac(key, b"dialler", [&theirs, &ours], binding).finalize().into_bytes();
    stream.write_all(&[&ours[..], &proof].concat())?;
    let answer: [u8; PROOF] = receive(stream).map_err(|error| match error.kind() {
        // It has heard the proof, and says no more.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Refused::Key,
        _ => Refused::Io(error),
    })?;
    mac(key, b"listener", [&theirs, &ours], binding)
        .verify_slice(&answer)
        .map_err(|_| Refused::Key)
}
