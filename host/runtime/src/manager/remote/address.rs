//! Where managers and other programs are, and sockets to there.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SendFlags, send, sockopt};

/// Where a manager or a [`Listener`](crate::Listener) can be reached.
///
/// As text: `127.0.0.1:5000`, `host.example:5000`, or `unix:` and a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A host and a port. Port 0, to listen: whichever is free.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("there is no path after `unix:`".into()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self::Tcp(text.into())),
            _ => Err(format!("`{text}` is neither HOST:PORT nor unix:PATH")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// A socket to there, within this time for each way to go.
    pub(super) fn dial(&self, patience: Duration) -> io::Result<Socket> {
        match self {
            Self::Tcp(address) => {
                let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in address.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, patience) {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            return Ok(Socket::Tcp(Arc::new(stream)));
                        }
                        Err(error) => failed = error,
                    }
                }
                Err(failed)
            }
            Self::Unix(path) => UnixStream::connect(path).map(|stream| Socket::Unix(Arc::new(stream))),
        }
    }

    /// The name or the IP address of the host, where there is one.
    #[cfg_attr(
        not(feature = "tls"),
        expect(dead_code, reason = "certificates alone have names of hosts")
    )]
    pub(super) fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp(address) => {
                let (host, _) = address.rsplit_once(':')?;
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                Some(bare.unwrap_or(host))
            }
            Self::Unix(_) => None,
        }
    }

    pub(super) fn listen(&self) -> io::Result<Listener> {
        match self {
            Self::Tcp(address) => TcpListener::bind(address).map(Listener::Tcp),
            Self::Unix(path) => {
                let bound = UnixListener::bind(path).or_else(|error| {
                    // Whoever listened there has died, and the path was left behind.
                    let abandoned =
                        UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
                    if error.kind() != io::ErrorKind::AddrInUse || !abandoned {
                        return Err(error);
                    }
                    std::fs::remove_file(path)?;
                    UnixListener::bind(path)
                });
                bound.map(|listener| Listener::Unix(listener, path.clone()))
            }
        }
    }
}

/// Where connections come in. One at a path takes it away when it is dropped.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Where it is.
    pub(super) fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Self::Tcp(listener) => Address::Tcp(listener.local_addr()?.to_string()),
            Self::Unix(_, path) => Address::Unix(path.clone()),
        })
    }

    pub(super) fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(Arc::new(stream)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                Ok(Socket::Unix(Arc::new(stream)))
            }
        }
    }

    /// Ends an `accept`, and every later one.
    pub(super) fn close(&self) {
        let socket = match self {
            Self::Tcp(listener) => rustix::net::shutdown(listener, rustix::net::Shutdown::Both),
            Self::Unix(listener, _) => rustix::net::shutdown(listener, rustix::net::Shutdown::Both),
        };
        // It is closed already.
        let _ = socket;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A socket, of whichever kind; a clone is the same one.
#[derive(Clone, Debug)]
pub(super) enum Socket {
    Tcp(Arc<TcpStream>),
    Unix(Arc<UnixStream>),
}

impl Socket {
    /// How long to wait for the other side, each time; `None`: for ever.
    pub(super) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream
                .set_read_timeout(patience)
                .and_then(|()| stream.set_write_timeout(patience)),
            Self::Unix(stream) => stream
                .set_read_timeout(patience)
                .and_then(|()| stream.set_write_timeout(patience)),
        }
    }

    /// Has a connection end whose other side is gone without a word for so long, or takes nothing for as long as there is
    /// patience.
    pub(super) fn keep_alive(&self, silence: Duration, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                sockopt::set_socket_keepalive(stream, true)?;
                sockopt::set_tcp_keepidle(stream, silence / 2)?;
                sockopt::set_tcp_keepintvl(stream, silence / 6)?;
                sockopt::set_tcp_keepcnt(stream, 3)?;
                stream.set_write_timeout(patience)
            }
            Self::Unix(stream) => stream.set_write_timeout(patience),
        }
    }

    /// Writes what there is room for at once, if there is any.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "TLS alone has a last word"))]
    pub(super) fn write_now(&self, bytes: &[u8]) {
        let now = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = match self {
            Self::Tcp(stream) => send(stream, bytes, now),
            Self::Unix(stream) => send(stream, bytes, now),
        };
    }

    /// Ends it for whoever reads or writes.
    pub(super) fn close(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&**stream).read(buffer),
            Self::Unix(stream) => (&**stream).read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&**stream).write(bytes),
            Self::Unix(stream) => (&**stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
