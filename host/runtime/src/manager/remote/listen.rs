//! A manager of this host, for clients elsewhere.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::address::{Address, Listener, Socket};
use super::auth::{self, Greeting, Refused};
use super::dial::PATIENCE;
use super::relay::{self, relay};
use super::stream::Stream;
use super::tls::TlsServer;
use crate::error::{Error, Result};
use crate::manager::line::Line;

/// Connections that have not proved anything yet: nobody else is let in meanwhile.
const MAX_STRANGERS: usize = 16;

/// Lets programs elsewhere use a manager: from [`Manager::listen`](crate::Manager::listen). Dropping it closes the door; who
/// is in stays in.
#[derive(Debug)]
pub struct ManagerServer {
    address: Address,
    listener: Arc<Listener>,
    door: Arc<Door>,
    thread: Option<JoinHandle<()>>,
}

impl ManagerServer {
    pub(in crate::manager) fn start(line: Line, address: &Address, key: &[u8], tls: Option<TlsServer>) -> Result<Self> {
        let failed = |source| Error::Start {
            what: "listen for clients of a manager",
            source,
        };
        let listener = Arc::new(address.listen().map_err(failed)?);
        let address = listener.address().map_err(failed)?;
        let door = Arc::new(Door {
            line,
            key: key.to_vec(),
            tls,
            hall: Mutex::new(Hall::default()),
            changed: Condvar::new(),
        });
        let (listening, inside) = (Arc::clone(&listener), Arc::clone(&door));
        let thread = thread::Builder::new()
            .name("wasmp-listen".into())
            .spawn(move || listen(&listening, &inside))
            .map_err(failed)?;
        Ok(Self {
            address,
            listener,
            door,
            thread: Some(thread),
        })
    }

    /// Where it listens: with the port that was free, if it was to be any.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for ManagerServer {
    fn drop(&mut self) {
        self.door.hall().closed = true;
        self.door.changed.notify_all();
        self.listener.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What those who come in need.
struct Door {
    line: Line,
    key: Vec<u8>,
    tls: Option<TlsServer>,
    hall: Mutex<Hall>,
    changed: Condvar,
}

impl std::fmt::Debug for Door {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("hall", &self.hall).finish_non_exhaustive()
    }
}

/// Who is between outside and inside.
#[derive(Debug, Default)]
struct Hall {
    strangers: usize,
    closed: bool,
}

impl Door {
    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more may come in. False: nobody ever will.
    fn wait_for_room(&self) -> bool {
        let full = |hall: &mut Hall| hall.strangers >= MAX_STRANGERS && !hall.closed;
        let hall = self.changed.wait_while(self.hall(), full);
        !hall.unwrap_or_else(PoisonError::into_inner).closed
    }

    fn leave_hall(&self) {
        self.hall().strangers -= 1;
        self.changed.notify_all();
    }
}

fn listen(listener: &Listener, door: &Arc<Door>) {
    while door.wait_for_room() {
        match listener.accept() {
            Ok(socket) => admit(socket, door),
            Err(_) if door.hall().closed => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Of descriptors or memory there may be more in a moment; the others are about who did not come.
            Err(error) => {
                tracing::warn!(%error, "a client of a manager cannot come in");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// A connection with who comes in by this socket, once both sides know each other.
pub(super) fn welcome(
    socket: Socket,
    key: &[u8],
    tls: Option<&TlsServer>,
    greeting: &Greeting,
) -> std::result::Result<Stream, Refused> {
    let mut stream = Stream::from(socket);
    let deadline = Instant::now() + PATIENCE;
    if let Some(tls) = tls {
        stream = tls.secure(stream, deadline)?;
    }
    let binding = stream.binding;
    auth::listener(&mut stream.until(deadline), (key, binding), greeting)?;
    Ok(stream)
}

/// Gets to know somebody, on a thread of its own, and serves them.
fn admit(socket: Socket, door: &Arc<Door>) {
    door.hall().strangers += 1;
    let inside = Arc::clone(door);
    let serve = move || {
        let known = welcome(socket, &inside.key, inside.tls.as_ref(), auth::MANAGER);
        inside.leave_hall();
        match known {
            Ok(stream) => {
                if let Ok(pipe) = inside.line.visitor() {
                    // Who it was for is gone.
                    let _ = relay(stream, &pipe, Some(relay::PATIENCE));
                }
            }
            Err(refused) => tracing::info!(?refused, "a client of a manager was refused"),
        }
    };
    if thread::Builder::new().name("wasmp-remote".into()).spawn(serve).is_err() {
        door.leave_hall();
    }
}
