//! A manager of this host, for clients elsewhere.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::address::{Address, Listener, Socket};
use super::auth;
use super::dial::PATIENCE;
use super::relay::relay;
use crate::error::{Error, Result};
use crate::manager::line::Line;

/// Connections that have not proved anything yet: one beyond these is closed at once.
const MAX_STRANGERS: usize = 16;

/// Lets programs elsewhere use a manager: from [`Manager::listen`](crate::Manager::listen). Dropping it closes the door; who
/// is in stays in.
#[derive(Debug)]
pub struct ManagerServer {
    address: Address,
    listener: Arc<Listener>,
    thread: Option<JoinHandle<()>>,
}

impl ManagerServer {
    pub(in crate::manager) fn start(line: Line, address: &Address, key: &[u8]) -> Result<Self> {
        let failed = |source| Error::Start {
            what: "listen for clients of a manager",
            source,
        };
        let listener = Arc::new(address.listen().map_err(failed)?);
        let address = listener.address().map_err(failed)?;
        let door = Door {
            line,
            key: key.to_vec(),
            strangers: AtomicUsize::new(0),
        };
        let listening = Arc::clone(&listener);
        let thread = thread::Builder::new()
            .name("wasmp-listen".into())
            .spawn(move || listen(&listening, &Arc::new(door)))
            .map_err(failed)?;
        Ok(Self {
            address,
            listener,
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
    strangers: AtomicUsize,
}

fn listen(listener: &Listener, door: &Arc<Door>) {
    loop {
        match listener.accept() {
            Ok(socket) => admit(socket, door),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                // Of descriptors or memory there may be more in a moment.
                _ if matches!(
                    error.raw_os_error(),
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
                ) =>
                {
                    tracing::warn!(%error, "a client of a manager cannot come in");
                    thread::sleep(Duration::from_millis(10));
                }
                // It is closed.
                _ => return,
            },
        }
    }
}

/// Gets to know somebody, on a thread of its own, and serves them.
fn admit(socket: Socket, door: &Arc<Door>) {
    if door.strangers.fetch_add(1, Ordering::Relaxed) >= MAX_STRANGERS {
        door.strangers.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let inside = Arc::clone(door);
    let serve = move || {
        let mut socket = socket;
        let known = auth::listener(&mut socket.until(Instant::now() + PATIENCE), &inside.key);
        inside.strangers.fetch_sub(1, Ordering::Relaxed);
        if let Err(refused) = known {
            tracing::info!(?refused, "a client of a manager was refused");
            return;
        }
        if let Ok(pipe) = inside.line.visitor() {
            // Who it was for is gone.
            let _ = relay(socket, &pipe);
        }
    };
    if thread::Builder::new().name("wasmp-remote".into()).spawn(serve).is_err() {
        door.strangers.fetch_sub(1, Ordering::Relaxed);
    }
}
