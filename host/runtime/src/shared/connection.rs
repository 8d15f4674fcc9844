//! Pipes.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmp_ipc::{Limit, Message};

use super::error::{RecvError, SendError};
use super::handle::{Handle, object, travels, with_party};
use super::message::{Incoming, KIND, Outgoing};
use super::within;
use crate::error::Result;
use crate::objects::{Shape, Token};

/// A new pipe: two ends that both send and receive. CPython: `Pipe()`.
///
/// # Errors
///
/// The system has no memory or no descriptor for it.
///
/// ```
/// use wasmp::pipe;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (here, there) = pipe()?;
/// here.send("hello")?;
/// assert_eq!(there.recv::<String>()?, "hello");
/// # Ok(())
/// # }
/// ```
pub fn pipe() -> Result<(Connection, Connection)> {
    ends(true)
}

/// A new pipe whose first end only receives, and whose second only sends. CPython: `Pipe(duplex=False)`.
///
/// # Errors
///
/// As those of [`pipe`].
///
/// ```no_run
/// use wasmp::{Pool, RecvError, pipe_one_way};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let (receiver, sender) = pipe_one_way()?;
/// let reader = pool.apply_async::<_, ()>("read_log", (&sender, "/log"))?;
/// drop(sender); // now the task alone can send
/// loop {
///     match receiver.recv::<String>() {
///         Ok(line) => println!("{line}"),
///         Err(RecvError::EndOfFile) => break,
///         Err(error) => return Err(error.into()),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub fn pipe_one_way() -> Result<(Connection, Connection)> {
    ends(false)
}

/// A pipe that carries nothing: its first end is at its end when the second is closed.
pub(crate) fn sentinel() -> Result<(Connection, Connection)> {
    let first = Handle::create(&Shape::Sentinel)?;
    let second = first.other_end();
    Ok((first.into(), second.into()))
}

fn ends(duplex: bool) -> Result<(Connection, Connection)> {
    let first = Handle::create(&Shape::Pipe { duplex })?;
    let second = first.other_end();
    Ok((first.into(), second.into()))
}

/// One end of a [`pipe`].
///
/// A message arrives as a whole and in order, also when several threads or workers use the same end. An end is closed when
/// nobody has a handle to it any more, and none is on its way; the other one then receives what is left, and after that the
/// end of the file. The messages that are on their way in one direction take up to 1 GiB.
///
/// CPython: `multiprocessing.connection.Connection`.
///
/// ```no_run
/// use wasmp::{Pool, pipe};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let (questions, answers) = pipe()?;
/// let server = pool.apply_async::<_, ()>("square_server", (&answers,))?;
/// drop(answers);
/// questions.send(&7)?;
/// assert_eq!(questions.recv::<i64>()?, 49);
/// drop(questions);
/// server.get()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connection {
    handle: Handle,
}

impl From<Handle> for Connection {
    fn from(handle: Handle) -> Self {
        Self { handle }
    }
}

travels!(Connection, Connection);

impl Connection {
    /// Sends this end off to a worker, which opens it by the token.
    pub(crate) fn send_off(&self) -> std::io::Result<Token> {
        self.handle.entry().send_off(self.handle.end())
    }

    pub(super) fn object(&self) -> &wasmp_ipc::Connection {
        &object!(self.handle, Pipe)[self.handle.end()]
    }

    /// Sends a value, and waits for room if there is none.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded, or is too large; the other end is gone, or this one only receives; the pipe's memory
    /// was overwritten, or the wait was interrupted.
    pub fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SendError> {
        self.send_within(value, Limit::Forever)
    }

    /// As [`send`](Self::send), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`], and those of [`send`](Self::send).
    pub fn send_timeout<T: Serialize + ?Sized>(&self, value: &T, timeout: Duration) -> Result<(), SendError> {
        self.send_within(value, within(timeout))
    }

    /// As [`send`](Self::send), but only if there is room.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`], and those of [`send`](Self::send).
    pub fn try_send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SendError> {
        self.send_within(value, Limit::Poll)
    }

    fn send_within<T: Serialize + ?Sized>(&self, value: &T, limit: Limit) -> Result<(), SendError> {
        let message = Outgoing::encode(value).map_err(SendError::Encode)?;
        message.prepare(&self.handle);
        self.send_message(message.bytes(), limit)
            .inspect_err(|_| message.retract())
    }

    /// Receives a value, and waits for it if there is none.
    ///
    /// # Errors
    ///
    /// The other end is gone, and everything it had sent has been received; this end only sends; what came is not a `T`,
    /// and is gone; the pipe's memory was overwritten, or the wait was interrupted.
    pub fn recv<T: DeserializeOwned>(&self) -> Result<T, RecvError> {
        self.recv_within(Limit::Forever)
    }

    /// As [`recv`](Self::recv), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv`](Self::recv).
    pub fn recv_timeout<T: DeserializeOwned>(&self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_within(within(timeout))
    }

    /// As [`recv`](Self::recv), but only if there is one.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv`](Self::recv).
    pub fn try_recv<T: DeserializeOwned>(&self) -> Result<T, RecvError> {
        self.recv_within(Limit::Poll)
    }

    fn recv_within<T: DeserializeOwned>(&self, limit: Limit) -> Result<T, RecvError> {
        let message = self.recv_message(limit, Incoming::copy)?;
        message.decode().map_err(RecvError::Decode)
    }

    /// Sends a message as it is.
    ///
    /// # Errors
    ///
    /// As those of [`send`](Self::send).
    pub fn send_bytes(&self, message: &[u8]) -> Result<(), SendError> {
        self.send_message(message, Limit::Forever)
    }

    /// As [`send_bytes`](Self::send_bytes), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`], and those of [`send`](Self::send).
    pub fn send_bytes_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.send_message(message, within(timeout))
    }

    /// As [`send_bytes`](Self::send_bytes), but only if there is room.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`], and those of [`send`](Self::send).
    pub fn try_send_bytes(&self, message: &[u8]) -> Result<(), SendError> {
        self.send_message(message, Limit::Poll)
    }

    fn send_message(&self, message: &[u8], limit: Limit) -> Result<(), SendError> {
        Ok(with_party(|party| self.object().send(party, KIND, &[message], limit))?)
    }

    /// Receives a message as it is.
    ///
    /// # Errors
    ///
    /// As those of [`recv`](Self::recv).
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.recv_message(Limit::Forever, |message| message.to_vec())
    }

    /// As [`recv_bytes`](Self::recv_bytes), into a buffer of which nothing is left.
    pub(crate) fn recv_bytes_to(&self, buffer: &mut Vec<u8>) -> Result<(), RecvError> {
        self.recv_to(buffer, Limit::Forever)
    }

    /// The same, if there is one.
    pub(crate) fn try_recv_bytes_to(&self, buffer: &mut Vec<u8>) -> Result<(), RecvError> {
        self.recv_to(buffer, Limit::Poll)
    }

    fn recv_to(&self, buffer: &mut Vec<u8>, limit: Limit) -> Result<(), RecvError> {
        self.recv_message(limit, |message| {
            buffer.resize(message.len(), 0);
            message.read(0, buffer);
        })
    }

    /// As [`recv_bytes`](Self::recv_bytes), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv`](Self::recv).
    pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.recv_message(within(timeout), |message| message.to_vec())
    }

    /// As [`recv_bytes`](Self::recv_bytes), but only if there is one.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv`](Self::recv).
    pub fn try_recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.recv_message(Limit::Poll, |message| message.to_vec())
    }

    /// Receives a message into `buffer`, and says how long it is.
    ///
    /// # Errors
    ///
    /// [`RecvError::BufferTooShort`], which carries the message, and those of [`recv`](Self::recv).
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_into(buffer, Limit::Forever)
    }

    /// As [`recv_bytes_into`](Self::recv_bytes_into), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv_bytes_into`](Self::recv_bytes_into).
    pub fn recv_bytes_into_timeout(&self, buffer: &mut [u8], timeout: Duration) -> Result<usize, RecvError> {
        self.recv_into(buffer, within(timeout))
    }

    /// As [`recv_bytes_into`](Self::recv_bytes_into), but only if there is one.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`], and those of [`recv_bytes_into`](Self::recv_bytes_into).
    pub fn try_recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_into(buffer, Limit::Poll)
    }

    fn recv_into(&self, buffer: &mut [u8], limit: Limit) -> Result<usize, RecvError> {
        self.recv_message(limit, |message| match buffer.get_mut(..message.len()) {
            Some(target) => {
                message.read(0, target);
                Ok(message.len())
            }
            None => Err(RecvError::BufferTooShort(message.to_vec())),
        })?
    }

    fn recv_message<R>(&self, limit: Limit, take: impl FnOnce(&Message<'_>) -> R) -> Result<R, RecvError> {
        Ok(with_party(|party| {
            self.object().recv(party, limit, |message| take(&message))
        })?)
    }

    /// Whether something can be received, be it the end.
    ///
    /// # Errors
    ///
    /// This end only sends, or the pipe's memory was overwritten.
    pub fn poll(&self) -> Result<bool, RecvError> {
        self.poll_within(Limit::Poll)
    }

    /// As [`poll`](Self::poll), but waits until something can be received, no longer than so long. CPython:
    /// `poll(timeout)`.
    ///
    /// # Errors
    ///
    /// As those of [`poll`](Self::poll); the wait was interrupted.
    pub fn poll_timeout(&self, timeout: Duration) -> Result<bool, RecvError> {
        self.poll_within(within(timeout))
    }

    fn poll_within(&self, limit: Limit) -> Result<bool, RecvError> {
        Ok(with_party(|party| self.object().poll(party, limit))?)
    }

    /// Whether this end receives.
    #[must_use]
    pub fn readable(&self) -> bool {
        self.object().is_readable()
    }

    /// Whether this end sends.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.object().is_writable()
    }

    /// Gives this handle back, as dropping it does. The end is closed when it was the last one.
    pub fn close(self) {}
}
