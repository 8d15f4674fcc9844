//! How clients come to a manager: the host makes a pipe for each, and passes one end through the door.
//!
//! The server has the other end of the door open, and opens the ends that come through it. An end that is on its way to a
//! server that dies would stay open for ever, and its client wait for ever: so when the server has ended, the host takes back
//! what is on its way.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use wasmp_abi::Status;
use wasmp_ipc::Slot;

use super::remote::Remote;
use super::{Knock, MAX_CLIENTS};
use crate::objects::registry::Charge;
use crate::objects::{Entry, Object, Token};
use crate::process::message::encode;
use crate::shared::{Connection, Handle};

/// The host's side of a manager's door.
#[derive(Debug)]
pub(crate) struct Reception(Mutex<State>);

#[derive(Debug)]
struct State {
    /// `None`: the manager has ended.
    door: Option<Door>,
    /// The pipes of all clients, and how their other ends were sent, if they were.
    pipes: Vec<(Weak<Entry>, Option<Token>)>,
}

/// Where the other ends of pipes go.
#[derive(Debug)]
enum Door {
    /// To a process of this host's.
    Process(Connection),
    /// To this host, which passes on what comes through them.
    Remote(Remote),
}

/// The host itself, all threads of which are one client.
pub(crate) const HOST: u32 = 0;

/// The number of another client.
pub(crate) fn next_client() -> u32 {
    static CLIENTS: AtomicU32 = AtomicU32::new(HOST + 1);
    CLIENTS.fetch_add(1, Ordering::Relaxed)
}

impl Reception {
    /// That of a process, which has the other end of this pipe.
    pub(crate) fn new(door: Connection) -> Self {
        Self::at(Door::Process(door))
    }

    /// That of a manager elsewhere.
    pub(super) fn remote(remote: Remote) -> Self {
        Self::at(Door::Remote(remote))
    }

    fn at(door: Door) -> Self {
        Self(Mutex::new(State {
            door: Some(door),
            pipes: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is elsewhere: handles to what this host has mean nothing there.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self.lock().door, Some(Door::Remote(_)))
    }

    /// A pipe to this manager, for this client, which is to attach to its first end.
    pub(crate) fn connect(
        &self,
        manager: &Arc<Entry>,
        client: u32,
        charge: impl FnOnce(u64) -> Result<Option<Charge>, Status>,
    ) -> Result<Arc<Entry>, Status> {
        let mut state = self.lock();
        state.pipes.retain(|(pipe, _)| pipe.strong_count() > 0);
        if state.pipes.len() >= MAX_CLIENTS {
            return Err(Status::ObjectLimit);
        }
        let door = state.door.as_ref().ok_or(Status::Broken)?;
        let pipe = Entry::desk(manager, charge).map_err(|error| error.status())?;
        match door {
            Door::Process(door) => {
                let token = pipe.send_off(1).map_err(|_| Status::ObjectLimit)?;
                if let Object::Pipe(ends) = pipe.object() {
                    ends[1].detach(Slot::HOST);
                }
                let knock = Knock {
                    token: token.bytes(),
                    client,
                };
                if door.try_send_bytes(&encode(&knock)).is_err() {
                    pipe.take_back(token, 1);
                    return Err(Status::Broken);
                }
                state.pipes.push((Arc::downgrade(&pipe), Some(token)));
            }
            Door::Remote(remote) => {
                let end = Handle::attach(Arc::clone(&pipe), 1);
                remote.serve(end.into()).map_err(|_| Status::ObjectLimit)?;
                state.pipes.push((Arc::downgrade(&pipe), None));
            }
        }
        Ok(pipe)
    }

    /// The server has ended.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.door = None;
        for (pipe, token) in state.pipes.drain(..) {
            if let (Some(pipe), Some(token)) = (pipe.upgrade(), token) {
                pipe.take_back(token, 1);
            }
        }
    }
}
