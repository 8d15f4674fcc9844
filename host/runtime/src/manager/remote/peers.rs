//! Connections to other programs, that somebody listens for.
//!
//! The socket ends in a [`relay`] on either side, so that what a program has is the end of a pipe like any other: it is waited
//! for, and travels to workers.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use wasmp_manager::TlsError;

use super::address::{self, Address};
use super::auth::{self, Refused};
use super::dial::dial;
use super::listen::welcome;
use super::relay::relay;
use super::stream::Stream;
#[cfg(feature = "tls")]
use super::tls::TlsClient;
use super::tls::TlsServer;
use crate::shared::{Connection, pipe};

/// Where other programs [connect](Connection::connect) to this one, if they have the same key. Dropping it closes it; the
/// connections that it has accepted go on. CPython: `multiprocessing.connection.Listener`.
///
/// ```
/// use std::thread;
///
/// use wasmp::{Connection, Listener};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind(&"127.0.0.1:0".parse()?, b"a secret")?;
/// let address = listener.address().clone();
/// // … in another program …
/// let other = thread::spawn(move || {
///     let connection = Connection::connect(&address, b"a secret").expect("it listens");
///     connection.send("hello").expect("it is there");
/// });
/// let connection = listener.accept()?;
/// assert_eq!(connection.recv::<String>()?, "hello");
/// # other.join().unwrap();
/// # Ok(())
/// # }
/// ```
pub struct Listener {
    address: Address,
    socket: address::Listener,
    key: Vec<u8>,
    tls: Option<TlsServer>,
    closed: AtomicBool,
}

/// Without the key.
impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection to another program.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeerError {
    /// The other program has another key (CPython: `AuthenticationError`).
    Authentication,
    /// What is at the other end speaks something else, or another version of this.
    Stranger,
    /// One of the two speaks TLS and the other does not, or the listener is not who it should be.
    Tls(TlsError),
    /// The listener is closed.
    Closed,
    /// It cannot be reached, or did not say who it is in time; the address is taken; or there are no descriptors or threads
    /// left.
    Io(io::Error),
}

impl From<Refused> for PeerError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Key => Self::Authentication,
            Refused::Stranger => Self::Stranger,
            Refused::Tls(error) => Self::Tls(error),
            Refused::Io(error) => Self::Io(error),
        }
    }
}

impl From<io::Error> for PeerError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication => f.write_str("the other program has another key"),
            Self::Stranger => {
                f.write_str("what is at the other end is no program that connects or listens like this one")
            }
            Self::Tls(error) => error.fmt(f),
            Self::Closed => f.write_str("the listener is closed"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PeerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tls(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl Listener {
    /// Listens at this address, for those who have this key. It is proved, not sent; what is said afterwards is neither secret nor
    /// protected from those who can change what is sent. With the feature `tls` there is `bind_tls`.
    ///
    /// # Errors
    ///
    /// [`PeerError::Io`]: the address is taken, or not this machine's.
    pub fn bind(address: &Address, key: &[u8]) -> Result<Self, PeerError> {
        Self::open(address, key, None)
    }

    /// As [`bind`](Self::bind), but for those who [connect by TLS](Connection::connect_tls): what is said is secret, and who
    /// connects knows that it is with the one who has the certificate. The key is proved beneath that.
    ///
    /// # Errors
    ///
    /// As those of [`bind`](Self::bind).
    #[cfg(feature = "tls")]
    pub fn bind_tls(address: &Address, key: &[u8], tls: &TlsServer) -> Result<Self, PeerError> {
        Self::open(address, key, Some(tls.clone()))
    }

    fn open(address: &Address, key: &[u8], tls: Option<TlsServer>) -> Result<Self, PeerError> {
        let socket = address.listen()?;
        Ok(Self {
            address: socket.address()?,
            socket,
            key: key.to_vec(),
            tls,
            closed: AtomicBool::new(false),
        })
    }

    /// Where it listens: with the port that was free, if it was to be any.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next one who connects, and at most ten seconds more for the proof that it has the key, TLS included.
    ///
    /// # Errors
    ///
    /// [`PeerError`]; after all but [`PeerError::Closed`] the next one can be waited for.
    pub fn accept(&self) -> Result<Connection, PeerError> {
        let accepted = self.socket.accept();
        if self.closed.load(Ordering::Acquire) {
            return Err(PeerError::Closed);
        }
        connection(welcome(accepted?, &self.key, self.tls.as_ref(), auth::PEER)?)
    }

    /// Closes it, for whoever waits in [`accept`](Self::accept), too. Once more is fine.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.socket.close();
    }
}

impl Connection {
    /// A connection to the program that [listens](Listener) at this address, and has this key. CPython:
    /// `multiprocessing.connection.Client`.
    ///
    /// It is like the end of a [`pipe`] whose other end is there, and travels to workers; values that have handles in them do not
    /// travel over it: what they stand for is not there. Threads of this program pass messages on, as long as it runs: what was
    /// sent just before its end may not arrive, so have the other side answer. A message of more than 64 MiB ends the connection.
    ///
    /// # Errors
    ///
    /// [`PeerError`].
    pub fn connect(address: &Address, key: &[u8]) -> Result<Self, PeerError> {
        connection(dial(address, key, None, auth::PEER)?)
    }

    /// As [`connect`](Self::connect), but by TLS, with one who [listens by it](Listener::bind_tls) and is trusted.
    ///
    /// # Errors
    ///
    /// [`PeerError`]; [`PeerError::Tls`] if it is not, or does not speak TLS.
    #[cfg(feature = "tls")]
    pub fn connect_tls(address: &Address, key: &[u8], tls: &TlsClient) -> Result<Self, PeerError> {
        connection(dial(address, key, Some(tls), auth::PEER)?)
    }
}

/// A pipe, of which the other end is passed on.
fn connection(stream: Stream) -> Result<Connection, PeerError> {
    let (ours, passed_on) = pipe().map_err(|error| PeerError::Io(io::Error::other(error)))?;
    let serve = move || {
        // Whatever ends it, both sides learn that it has ended.
        let _ = relay(stream, &passed_on, None);
    };
    thread::Builder::new().name("wasmp-remote".into()).spawn(serve)?;
    Ok(ours)
}
