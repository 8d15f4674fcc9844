//! The host's way to a manager: pipes to it, and what is said over them.
//!
//! A manager has so many clients, and those that wait can be all of them. What ends their wait is a request, too: for
//! requests that do not wait, one pipe is kept from the time when somebody first waits.
//!
//! In what is said to a manager and by it, it is nothing itself (`null`): so what refers to it is understood by all of its
//! clients, also by those elsewhere, where no handle of this host means anything.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use rustix::rand::{GetRandomFlags, getrandom};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wasmp_abi::{ObjectKind, Status};
use wasmp_manager::pool::{Calls, Prepares};
use wasmp_manager::protocol::Id;
use wasmp_manager::{Client, ManagerError, answers, give_up, number};

use super::reception::{self, HOST};
use crate::cbor::{self, Decoder};
use crate::context::Process;
use crate::error::TaskError;
use crate::objects::{Entry, Object, Token};
use crate::shared::{Connection, Handle, RecvError, SendError, SharedError, collect_references};

/// The host's way to a manager.
///
/// Each thread that asks something has a pipe of its own for that long.
#[derive(Clone)]
pub struct Line(Arc<Exchange>);

struct Exchange {
    manager: Handle,
    desks: Mutex<Desks>,
    /// One can be used again.
    returned: Condvar,
    /// Keeps the process that was started for it.
    process: Option<Process>,
}

/// Pipes that nobody uses at the moment.
#[derive(Default)]
struct Desks {
    free: Vec<Desk>,
    /// One for requests that do not wait: `Some(None)` while it is used.
    reserve: Option<Option<Desk>>,
}

/// A pipe to the manager.
struct Desk {
    pipe: Connection,
    sequence: u32,
    /// It is the one in reserve.
    reserved: bool,
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
            desks: Mutex::default(),
            returned: Condvar::new(),
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

    /// A pipe that nobody else uses, for a request that waits, or for one that does not.
    fn desk(&self, waits: bool) -> Result<Desk, ManagerError> {
        if waits {
            self.keep_one_in_reserve()?;
        }
        if let Some(desk) = lock(&self.0.desks).free.pop() {
            return Ok(desk);
        }
        match self.connect() {
            Err(ManagerError::Start(_)) if !waits && lock(&self.0.desks).reserve.is_some() => {}
            other => return other,
        }
        let used = |desks: &mut Desks| desks.free.is_empty() && matches!(desks.reserve, Some(None));
        let desks = self.0.returned.wait_while(lock(&self.0.desks), used);
        let mut desks = desks.unwrap_or_else(PoisonError::into_inner);
        let desk = desks.free.pop().or_else(|| desks.reserve.as_mut()?.take());
        desk.ok_or(ManagerError::Gone)
    }

    fn keep_one_in_reserve(&self) -> Result<(), ManagerError> {
        if lock(&self.0.desks).reserve.is_none() {
            let mut desk = self.connect()?;
            desk.reserved = true;
            // Should two threads be first, one is enough.
            lock(&self.0.desks).reserve.get_or_insert(Some(desk));
        }
        Ok(())
    }

    fn connect(&self) -> Result<Desk, ManagerError> {
        Ok(Desk {
            pipe: self.pipe(HOST)?,
            sequence: 0,
            reserved: false,
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
    fn give_back(&self, desk: Desk) {
        let mut desks = lock(&self.0.desks);
        if desk.reserved {
            desks.reserve = Some(Some(desk));
        } else if desks.free.len() < MAX_FREE || is_elsewhere(self.manager()) {
            desks.free.push(desk);
        }
        drop(desks);
        self.0.returned.notify_one();
    }

    /// It is of no use any more.
    fn throw_away(&self, desk: &Desk) {
        if desk.reserved {
            lock(&self.0.desks).reserve = None;
        }
        self.0.returned.notify_all();
    }

    /// Writes a request. What it refers to lives as long as the manager.
    fn write(
        &self,
        buffer: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
    ) -> Result<(), ManagerError> {
        self.refer(|| {
            write(buffer)?;
            number(buffer, 0)
        })
    }

    /// Writes what has references in it. Once all of it is written, what it refers to lives as long as the manager.
    fn refer(&self, write: impl FnOnce() -> Result<(), ManagerError>) -> Result<(), ManagerError> {
        let ((), references) = collect_references(write)?;
        if is_elsewhere(self.manager()) && !references.is_empty() {
            references.retract();
            return Err(ManagerError::Encode(
                "a handle means nothing to a manager elsewhere".into(),
            ));
        }
        references.keep_in(self.manager());
        Ok(())
    }

    fn converse<R>(
        &self,
        waits: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
        read: impl FnOnce(&[u8]) -> Result<R, ManagerError>,
    ) -> Result<R, ManagerError> {
        thread_local! {
            static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        // Should serde come back here from within, or the thread be at its end, there is a fresh one.
        let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        buffer.clear();
        self.within(|| self.write(&mut buffer, write))?;
        // Only now: who writes may ask for something else first, and would wait for itself.
        let mut desk = self.desk(waits)?;
        match desk.ask(&mut buffer) {
            Ok(()) => self.give_back(desk),
            Err(error) => {
                match error {
                    ManagerError::Gone | ManagerError::Protocol => self.throw_away(&desk),
                    ManagerError::Interrupted => {
                        drop(desk.pipe.send_bytes(&give_up(desk.sequence)));
                        self.give_back(desk);
                    }
                    _ => self.give_back(desk),
                }
                return Err(error);
            }
        }
        let result = self.within(|| read(&buffer));
        if buffer.capacity() <= KEEP {
            let _ = BUFFER.try_with(|kept| kept.set(buffer));
        }
        result
    }
}

impl Desk {
    /// Sends what is written, and waits for the answer, which takes its place.
    fn ask(&mut self, buffer: &mut Vec<u8>) -> Result<(), ManagerError> {
        self.sequence = self.sequence.wrapping_add(1);
        number(buffer, self.sequence)?;
        self.pipe.send_bytes(buffer).map_err(|error| unsent(&error))?;
        loop {
            self.pipe.recv_bytes_to(buffer).map_err(|error| unreceived(&error))?;
            if answers(buffer, self.sequence).ok_or(ManagerError::Protocol)? {
                return Ok(());
            }
        }
    }
}

thread_local! {
    /// The manager to whom something is written at the moment, or from whom something is read.
    static TALKING_TO: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
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

/// A task is known by its name.
impl<A, R> Calls<&str, A, R, ()> for Line {
    fn task_name(task: &&str) -> Result<Cow<'static, str>, String> {
        Ok((*task).to_owned().into())
    }
}

impl<A> Prepares<&str, A, ()> for Line {
    fn initializer_name(task: &&str) -> Result<Cow<'static, str>, String> {
        Ok((*task).to_owned().into())
    }
}

impl Client for Line {
    type TaskError = TaskError;

    fn exchange<R>(
        &self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
        read: impl FnOnce(&[u8]) -> Result<R, ManagerError>,
    ) -> Result<R, ManagerError> {
        self.converse(false, write, read)
    }

    fn exchange_in_time<R>(
        &self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
        read: impl FnOnce(&[u8]) -> Result<R, ManagerError>,
    ) -> Result<R, ManagerError> {
        self.converse(true, write, read)
    }

    fn compose(&self, write: impl FnOnce() -> Result<(), ManagerError>) -> Result<(), ManagerError> {
        self.within(|| self.refer(write))
    }

    fn within<R>(&self, work: impl FnOnce() -> R) -> R {
        /// Takes the manager out again, however the work ends.
        struct Talking;

        impl Drop for Talking {
            fn drop(&mut self) {
                // It may be the last way to the manager: not to be dropped in there.
                let line = TALKING_TO.try_with(|managers| managers.borrow_mut().pop());
                drop(line);
            }
        }

        // A thread at its end, where this is gone, releases what it holds: it says nothing of managers.
        let _talking = TALKING_TO
            .try_with(|managers| managers.borrow_mut().push(self.clone()))
            .map(|()| Talking);
        work()
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
        if let Ok(desk) = self.desk(false) {
            match desk.pipe.send_bytes(request) {
                Ok(()) => self.give_back(desk),
                Err(_) => self.throw_away(&desk),
            }
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
        let is_it = |talking_to: &Vec<Self>| talking_to.last().is_some_and(|line| Arc::ptr_eq(&line.0, &self.0));
        if TALKING_TO.with_borrow(is_it) {
            return serializer.serialize_none();
        }
        self.0.manager.serialize(serializer)
    }
}

/// A manager that is not the one that is talked to.
struct Another(Handle);

impl<'de> Deserialize<'de> for Another {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Handle::deserialize(&[ObjectKind::Manager], deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<Another>::deserialize(deserializer)? {
            Some(Another(manager)) => match manager.entry().object() {
                Object::Manager(_) => Ok(Self::to(manager, None)),
                _ => Err(D::Error::custom("expected a manager")),
            },
            None => TALKING_TO
                .with_borrow(|talking_to| talking_to.last().cloned())
                .ok_or_else(|| D::Error::custom("a manager that is meant by what it holds, and is not asked")),
        }
    }
}
