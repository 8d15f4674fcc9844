use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    RecvError, SendError, SharedError,
    handle::{CONNECTION, Handle},
    message,
};
use crate::{
    cbor,
    host::objects::{self, Timeout, check, connection_directions, connection_poll},
};

/// A new pipe: two ends that both send and receive. CPython: `Pipe()`.
///
/// # Errors
///
/// The pool may have no more objects or share no more bytes, or this is not a wasmp worker.
///
/// ```
/// use wasmp_guest::{Result, pipe};
///
/// fn greet() -> Result<String> {
///     let (here, there) = pipe()?;
///     here.send("hello")?;
///     Ok(there.recv()?)
/// }
/// # assert!(greet().is_err());
/// ```
pub fn pipe() -> Result<(Connection, Connection), SharedError> {
    ends(true)
}

/// A new pipe whose first end only receives, and whose second only sends. CPython: `Pipe(duplex=False)`.
///
/// # Errors
///
/// As those of [`pipe`].
///
/// ```
/// use wasmp_guest::{Result, pipe_one_way};
///
/// fn greet() -> Result<String> {
///     let (receiver, sender) = pipe_one_way()?;
///     sender.send("hello")?;
///     Ok(receiver.recv()?)
/// }
/// # assert!(greet().is_err());
/// ```
pub fn pipe_one_way() -> Result<(Connection, Connection), SharedError> {
    ends(false)
}

fn ends(duplex: bool) -> Result<(Connection, Connection), SharedError> {
    let ends = objects::make_pipe(duplex).map_err(SharedError::new)?;
    let [first, second] = ends.map(|end| Connection(end.into()));
    Ok((first, second))
}

/// One end of a [`pipe`].
///
/// A message arrives as a whole and in order, also when several workers use the same end. An end is closed when nobody
/// has a handle to it any more; the other one then receives what is left, and after that the end of the file.
///
/// CPython: `multiprocessing.connection.Connection`.
///
/// ```
/// use wasmp_guest::{Connection, RecvError, Result, task};
///
/// /// Answers until nobody asks any more.
/// #[task]
/// fn square_server(questions: Connection) -> Result<()> {
///     loop {
///         match questions.recv::<i64>() {
///             Ok(x) => questions.send(&(x * x))?,
///             Err(RecvError::EndOfFile) => return Ok(()),
///             Err(error) => return Err(error.into()),
///         }
///     }
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Connection(Handle<CONNECTION>);

impl From<Handle<CONNECTION>> for Connection {
    fn from(handle: Handle<CONNECTION>) -> Self {
        Self(handle)
    }
}

impl Connection {
    /// Sends a value, and waits for room if there is none.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded, or is too large; the other end is gone, or this one only receives. As any wait, it
    /// can be interrupted, and the pipe's memory may have been overwritten.
    pub fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SendError> {
        self.send_within(value, Timeout::FOREVER)
    }

    /// As [`send`](Self::send), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`], and those of [`send`](Self::send).
    pub fn send_timeout<T: Serialize + ?Sized>(&self, value: &T, timeout: Duration) -> Result<(), SendError> {
        self.send_within(value, timeout.into())
    }

    /// As [`send`](Self::send), but only if there is room.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`], and those of [`send`](Self::send).
    pub fn try_send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SendError> {
        self.send_within(value, Timeout::POLL)
    }

    fn send_within<T: Serialize + ?Sized>(&self, value: &T, timeout: Timeout) -> Result<(), SendError> {
        message::encode(
            |output| cbor::encode(value, output),
            |bytes| self.send_message(bytes, timeout),
        )
        .map_err(SendError::Encode)?
    }

    /// Receives a value, and waits for it if there is none.
    ///
    /// # Errors
    ///
    /// The other end is gone, and everything it had sent has been received; this end only sends; what came is not a
    /// `T`. As any wait, it can be interrupted, and the pipe's memory may have been overwritten.
    pub fn recv<T: DeserializeOwned>(&self) -> Result<T, RecvError> {
        self.recv_within(Timeout::FOREVER)
    }

    /// As [`recv`](Self::recv), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv`](Self::recv).
    pub fn recv_timeout<T: DeserializeOwned>(&self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_within(timeout.into())
    }

    /// As [`recv`](Self::recv), but only if there is one.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv`](Self::recv).
    pub fn try_recv<T: DeserializeOwned>(&self) -> Result<T, RecvError> {
        self.recv_within(Timeout::POLL)
    }

    fn recv_within<T: DeserializeOwned>(&self, timeout: Timeout) -> Result<T, RecvError> {
        message::decode(
            |buffer| objects::receive(self.number(), buffer, timeout),
            |(), mut message, scratch| cbor::decode(&mut message, scratch),
        )
        .map_err(RecvError::new)?
        .map_err(RecvError::Decode)
    }

    /// Sends a message as it is.
    ///
    /// # Errors
    ///
    /// As those of [`send`](Self::send).
    pub fn send_bytes(&self, message: &[u8]) -> Result<(), SendError> {
        self.send_message(message, Timeout::FOREVER)
    }

    /// As [`send_bytes`](Self::send_bytes), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`], and those of [`send`](Self::send).
    pub fn send_bytes_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.send_message(message, timeout.into())
    }

    /// As [`send_bytes`](Self::send_bytes), but only if there is room.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`], and those of [`send`](Self::send).
    pub fn try_send_bytes(&self, message: &[u8]) -> Result<(), SendError> {
        self.send_message(message, Timeout::POLL)
    }

    fn send_message(&self, message: &[u8], timeout: Timeout) -> Result<(), SendError> {
        objects::send(self.number(), message, timeout).map_err(SendError::new)
    }

    /// Receives a message as it is.
    ///
    /// # Errors
    ///
    /// As those of [`recv`](Self::recv).
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.recv_message(Timeout::FOREVER)
    }

    /// As [`recv_bytes`](Self::recv_bytes), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv`](Self::recv).
    pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.recv_message(timeout.into())
    }

    /// As [`recv_bytes`](Self::recv_bytes), but only if there is one.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv`](Self::recv).
    pub fn try_recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.recv_message(Timeout::POLL)
    }

    fn recv_message(&self, timeout: Timeout) -> Result<Vec<u8>, RecvError> {
        message::bytes(|buffer| objects::receive(self.number(), buffer, timeout)).map_err(RecvError::new)
    }

    /// Receives a message into `buffer`, and says how long it is.
    ///
    /// # Errors
    ///
    /// [`RecvError::BufferTooShort`], which carries the message, and those of [`recv`](Self::recv).
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_into(buffer, Timeout::FOREVER)
    }

    /// As [`recv_bytes_into`](Self::recv_bytes_into), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv_bytes_into`](Self::recv_bytes_into).
    pub fn recv_bytes_into_timeout(&self, buffer: &mut [u8], timeout: Duration) -> Result<usize, RecvError> {
        self.recv_into(buffer, timeout.into())
    }

    /// As [`recv_bytes_into`](Self::recv_bytes_into), but only if there is one.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv_bytes_into`](Self::recv_bytes_into).
    pub fn try_recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_into(buffer, Timeout::POLL)
    }

    fn recv_into(&self, buffer: &mut [u8], timeout: Timeout) -> Result<usize, RecvError> {
        objects::receive_into(self.number(), buffer, timeout)
            .map_err(RecvError::new)?
            .map_err(RecvError::BufferTooShort)
    }

    /// Whether something can be received, be it the end.
    ///
    /// # Errors
    ///
    /// This end only sends, or the pipe's memory was overwritten.
    pub fn poll(&self) -> Result<bool, RecvError> {
        self.poll_within(Timeout::POLL)
    }

    /// As [`poll`](Self::poll), but waits until something can be received, no longer than so long. CPython:
    /// `poll(timeout)`.
    ///
    /// # Errors
    ///
    /// As those of [`poll`](Self::poll); as any wait, it can be interrupted.
    pub fn poll_timeout(&self, timeout: Duration) -> Result<bool, RecvError> {
        self.poll_within(timeout.into())
    }

    pub(crate) fn poll_within(&self, timeout: Timeout) -> Result<bool, RecvError> {
        check(connection_poll(self.number(), timeout))
            .map(|ready| ready != 0)
            .map_err(RecvError::new)
    }

    /// Whether this end receives.
    ///
    /// # Errors
    ///
    /// The pipe's memory was overwritten.
    pub fn readable(&self) -> Result<bool, SharedError> {
        self.goes(1)
    }

    /// Whether this end sends.
    ///
    /// # Errors
    ///
    /// The pipe's memory was overwritten.
    pub fn writable(&self) -> Result<bool, SharedError> {
        self.goes(2)
    }

    fn goes(&self, direction: u32) -> Result<bool, SharedError> {
        check(connection_directions(self.number()))
            .map(|directions| directions & direction != 0)
            .map_err(SharedError::new)
    }

    /// Gives this handle back, as dropping it does. The end is closed when it was the last one.
    pub fn close(self) {}

    pub(crate) fn number(&self) -> u32 {
        self.0.number()
    }
}
