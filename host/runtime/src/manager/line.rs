//! The host's way to a manager: pipes to it, and what is said over them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use rustix::rand::{GetRandomFlags, getrandom};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wasmp_abi::{ObjectKind, Status};
use wasmp_manager::protocol::Id;
use wasmp_manager::{Client, ManagerError, answers, give_up, number};

use super::reception::{self, HOST};
use crate::cbor::{self, Decoder};
use crate::context::Process;
use crate::objects::{Entry, Object, Token};
use crate::shared::{Connection, Handle, RecvError, SendError, SharedError, collect_references};

/// The host's way to a manager.
///
/// Each thread that asks something has a pipe of its own for that long.
#[derive(Clone)]
pub struct Line(Arc<Exchange>);

struct Exchange {
    manager: Handle,
    /// Pipes that nobody uses at the moment.
    free: Mutex<Vec<Desk>>,
    /// Keeps the process that was started for it.
    process: Option<Process>,
}

/// A pipe to the manager, and what has been said over it.
struct Desk {
    pipe: Connection,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Buffers above this size are given back after the request that needed them.
const KEEP: usize = 1 << 20;

/// Pipes that are kept while nobody uses them.
const MAX_FREE: usize = 8;

/// The ways that there are, by the tokens of their managers: all handles to one go the same.
static LINES: LazyLock<Mutex<HashMap<Token, Weak<Exchange>>>> = LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    pub(super) fn to(manager: Handle, process: Option<Process>) -> Self {
        let mut lines = lock(&LINES);
        let token = manager.entry().token(0);
        if let Some(line) = lines.get(&token).and_then(Weak::upgrade) {
            return Self(line);
        }
        lines.retain(|_, line| line.strong_count() > 0);
        let line = Arc::new(Exchange {
            manager,
            free: Mutex::default(),
            process,
        });
        lines.insert(token, Arc::downgrade(&line));
        Self(line)
    }

    /// Its process, if this program has started it.
    pub(super) fn process(&self) -> Option<&Process> {
        self.0.process.as_ref()
    }

    fn manager(&self) -> &Arc<Entry> {
        self.0.manager.entry()
    }

    /// A pipe that nobody else uses.
    fn desk(&self) -> Result<Desk, ManagerError> {
        let free = lock(&self.0.free).pop();
        match free {
            Some(desk) => Ok(desk),
            None => self.connect(),
        }
    }

    fn connect(&self) -> Result<Desk, ManagerError> {
        Ok(Desk {
            pipe: self.pipe(HOST)?,
            sequence: 0,
            buffer: Vec::new(),
        })
    }

    /// A pipe for a client that is not this host itself.
    pub(super) fn visitor(&self) -> Result<Connection, ManagerError> {
        self.pipe(reception::next_client())
    }

    fn pipe(&self, client: u32) -> Result<Connection, ManagerError> {
        let Object::Manager(reception) = self.manager().object() else {
            return Err(ManagerError::Protocol);
        };
        let pipe = reception
            .connect(self.manager(), client, |_| Ok(None))
            .map_err(|status| match status {
                Status::Broken => ManagerError::Gone,
                Status::ObjectLimit => {
                    ManagerError::Start("it has too many clients, or there are no descriptors left".into())
                }
                status => ManagerError::Start(status.name().into()),
            })?;
        Ok(Handle::attach(pipe, 0).into())
    }

    /// Others can use it now. Of those that nobody uses only some are kept, but never none: with its last pipe the host would
    /// give back what it has made. To a manager elsewhere each is a client of its own.
    fn give_back(&self, mut desk: Desk) {
        desk.buffer.clear();
        desk.buffer.shrink_to(KEEP);
        let mut free = lock(&self.0.free);
        if free.len() < MAX_FREE || is_elsewhere(self.manager()) {
            free.push(desk);
        }
    }
}

impl Desk {
    /// Writes a request. What it refers to lives as long as the manager.
    fn write(
        &mut self,
        manager: &Arc<Entry>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
    ) -> Result<(), ManagerError> {
        self.buffer.clear();
        let ((), references) = collect_references(|| write(&mut self.buffer))?;
        self.sequence = self.sequence.wrapping_add(1);
        let written = if is_elsewhere(manager) && !references.is_empty() {
            Err(ManagerError::Encode(
                "a handle means nothing to a manager elsewhere".into(),
            ))
        } else {
            number(&mut self.buffer, self.sequence)
        };
        match written {
            Ok(()) => references.keep_in(manager),
            Err(_) => references.retract(),
        }
        written
    }

    /// Sends what is written, and waits for the answer.
    fn ask(&mut self) -> Result<(), ManagerError> {
        self.pipe.send_bytes(&self.buffer).map_err(|error| unsent(&error))?;
        loop {
            self.pipe
                .recv_bytes_to(&mut self.buffer)
                .map_err(|error| unreceived(&error))?;
            if answers(&self.buffer, self.sequence).ok_or(ManagerError::Protocol)? {
                return Ok(());
            }
        }
    }
}

/// A pipe while it is used: given back however that ends, unless it is taken out.
struct Lent<'l> {
    line: &'l Line,
    desk: Option<Desk>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.take() {
            self.line.give_back(desk);
        }
    }
}

fn is_elsewhere(manager: &Entry) -> bool {
    matches!(manager.object(), Object::Manager(reception) if reception.is_remote())
}

fn unsent(error: &SendError) -> ManagerError {
    match error {
        SendError::BrokenPipe => ManagerError::Gone,
        SendError::TooLarge => ManagerError::TooLarge,
        SendError::Shared(SharedError::Interrupted) => ManagerError::Interrupted,
        _ => ManagerError::Protocol,
    }
}

fn unreceived(error: &RecvError) -> ManagerError {
    match error {
        RecvError::EndOfFile => ManagerError::Gone,
        RecvError::Shared(SharedError::Interrupted) => ManagerError::Interrupted,
        _ => ManagerError::Protocol,
    }
}

impl Client for Line {
    fn exchange<R>(
        &self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
        read: impl FnOnce(&[u8]) -> Result<R, ManagerError>,
    ) -> Result<R, ManagerError> {
        let mut lent = Lent {
            line: self,
            desk: Some(self.desk()?),
        };
        let Some(desk) = &mut lent.desk else {
            return Err(ManagerError::Protocol);
        };
        let asked = desk.write(self.manager(), write).and_then(|()| desk.ask());
        match asked {
            Ok(()) => read(&desk.buffer),
            Err(error) => {
                match error {
                    ManagerError::Gone | ManagerError::Protocol => lent.desk = None,
                    ManagerError::Interrupted => drop(desk.pipe.send_bytes(&give_up(desk.sequence))),
                    _ => {}
                }
                Err(error)
            }
        }
    }

    /// A number that no other thread has, in this program or in any other.
    fn holder() -> Id {
        thread_local! {
            static THREAD: Id = {
                let mut bits = [0; Id::LEN];
                // Up to 256 bytes come whole; without any, all threads of the program are one.
                let _ = getrandom(&mut bits, GetRandomFlags::empty());
                Id::new(bits)
            };
        }
        // Where a thread ends it holds nothing any more.
        THREAD.try_with(|id| *id).unwrap_or(Id::NONE)
    }

    fn tell(&self, request: &[u8]) {
        // A manager that is gone need not be told.
        if let Ok(desk) = self.desk()
            && desk.pipe.send_bytes(request).is_ok()
        {
            self.give_back(desk);
        }
    }

    fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), ManagerError> {
        cbor::write(value, into).map_err(ManagerError::Encode)
    }

    fn decode<T: DeserializeOwned>(item: &[u8]) -> Result<T, ManagerError> {
        thread_local! {
            static DECODER: RefCell<Decoder> = RefCell::new(Decoder::new());
        }
        // A value that decodes another meanwhile has one of its own.
        let decoded = DECODER.with(|decoder| match decoder.try_borrow_mut() {
            Ok(mut decoder) => decoder.read(item),
            Err(_) => Decoder::new().read(item),
        });
        decoded.map_err(ManagerError::Decode)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.process {
            Some(process) => write!(f, "Manager({})", process.pid()),
            None => f.write_str("Manager"),
        }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.manager.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let manager = Handle::deserialize(&[ObjectKind::Manager], deserializer)?;
        match manager.entry().object() {
            Object::Manager(_) => Ok(Self::to(manager, None)),
            _ => Err(D::Error::custom("expected a manager")),
        }
    }
}
