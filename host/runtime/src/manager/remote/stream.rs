//! What two programs say to each other: as it is, or by TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Instant;

use super::address::Socket;

/// What only the two sides of one session of TLS know.
pub(super) type Binding = [u8; 32];

/// A connection. Each direction can have a thread of its own.
pub(super) struct Stream {
    pub(super) socket: Socket,
    /// None without TLS.
    pub(super) binding: Option<Binding>,
    /// Does no more than one `read` of the socket at a time.
    pub(super) incoming: Box<dyn Read + Send>,
    pub(super) outgoing: Box<dyn Write + Send>,
}

impl From<Socket> for Stream {
    /// One on which everything is said as it is.
    fn from(socket: Socket) -> Self {
        Self {
            binding: None,
            incoming: Box::new(socket.clone()),
            outgoing: Box::new(socket.clone()),
            socket,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// The same, of which nothing takes longer than until then.
    pub(super) fn until(&mut self, deadline: Instant) -> Timely<'_> {
        Timely { stream: self, deadline }
    }
}

/// A connection for as long as there is time, all in all.
pub(super) struct Timely<'s> {
    stream: &'s mut Stream,
    deadline: Instant,
}

impl Timely<'_> {
    fn hurry(&self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.socket.set_patience(Some(left))
    }
}

/// A wait that took too long, by the name that it has everywhere else.
fn too_late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Drop for Timely<'_> {
    fn drop(&mut self) {
        // From now on it takes as long as it takes. If that cannot be set, the socket is of no use anyway.
        let _ = self.stream.socket.set_patience(None);
    }
}

impl Read for Timely<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.hurry()?;
        self.stream.incoming.read(buffer).map_err(too_late)
    }
}

impl Write for Timely<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hurry()?;
        self.stream.outgoing.write(bytes).map_err(too_late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
