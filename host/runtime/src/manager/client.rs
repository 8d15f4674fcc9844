//! A manager as threads of the host use it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wasmp_abi::{ObjectKind, Status};
use wasmp_manager::protocol::MAX_MESSAGE;
use wasmp_manager::{Client, ManagerError, Usage, answers, number, shut_down, usage};

use super::reception::{self, HOST, Reception};
use super::remote::{Address, ManagerServer, connect};
use super::{DEFAULT_MAX_BYTES, Settings};
use crate::cbor::{self, Decoder};
use crate::context::{Context, Process};
use crate::error::Result;
use crate::objects::{Entry, Object, Token};
use crate::pool::Pool;
use crate::shared::{Connection, Handle, RecvError, SendError, SharedError, collect_references};

/// Dictionaries of managers: see [`Manager::dict`].
pub type Dict<K, V> = wasmp_manager::Dict<K, V, Line>;
/// Lists of managers: see [`Manager::list`].
pub type List<T> = wasmp_manager::List<T, Line>;
/// Sets of managers: see [`Manager::set`].
pub type Set<T> = wasmp_manager::Set<T, Line>;
/// Counters of managers: see [`Manager::counter`].
pub type Counter<K> = wasmp_manager::Counter<K, Line>;
/// Namespaces of managers: see [`Manager::namespace`].
pub type Namespace = wasmp_manager::Namespace<Line>;

/// A process that holds values for others: dictionaries, lists and more, which any task and any thread can use
/// (CPython: `multiprocessing.Manager`).
///
/// What it makes travels in arguments, results and messages, and is the same object everywhere. Each method of a
/// [`Dict`], a [`List`] or any of the others is one request to the process, which serves one after the other: so each is
/// one step, whoever else uses the object, and a task that is killed has done it or has not. A manager that is killed, or
/// runs out of memory, is [`ManagerError::Gone`] for everybody who uses it, and for nobody else anything.
///
/// An object is there as long as whoever has made it has a handle to it; once one has travelled, as long as the manager. A
/// manager is there as long as anybody has a handle to it, or to anything that it has made, or it is [shut
/// down](Self::shutdown).
///
/// For what needs no process in between there are [`Lock`](crate::Lock), [`Queue`](crate::Queue), [`Value`](crate::Value),
/// [`Array`](crate::Array) and their kin (CPython's managers have those as well): tasks in any process use them together as
/// they are.
///
/// ```no_run
/// use wasmp::{Manager, Pool};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = Manager::new()?;
/// let words = manager.counter::<String>([])?;
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let _: Vec<()> = pool.starmap("count_words", ["a.txt", "b.txt"].map(|file| (file, &words)))?;
/// for (word, times) in words.most_common(10)? {
///     println!("{times:6} {word}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Manager {
    line: Line,
}

/// Sets up a [`Manager`]; from [`Context::manager`] or [`Manager::builder`].
#[must_use = "a manager does nothing until `start`"]
#[derive(Debug)]
pub struct ManagerBuilder<'c> {
    context: Option<&'c Context>,
    max_bytes: u64,
}

impl<'c> ManagerBuilder<'c> {
    pub(crate) fn new(context: Option<&'c Context>) -> Self {
        Self {
            context,
            max_bytes: DEFAULT_MAX_BYTES,
        }
    }

    /// Most bytes of keys and values that it may hold, and what it takes to keep them; what would be more is
    /// [`ManagerError::Full`]. Its process may use three times as much memory. Default: 256 MiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Starts the process, and waits until it runs.
    ///
    /// # Errors
    ///
    /// That no process can be started.
    pub fn start(self) -> Result<Manager> {
        let settings = Settings {
            max_bytes: self.max_bytes,
        };
        let of_its_own;
        let context = match self.context {
            Some(context) => context,
            None => {
                let memory = self.max_bytes.saturating_mul(3).saturating_add(MAX_MESSAGE as u64 * 3);
                of_its_own = Pool::builder(NOTHING.to_vec()).max_memory(memory).context()?;
                &of_its_own
            }
        };
        let (manager, process) = context.found_manager(settings)?;
        let line = Line::to(Handle::attach(manager, 0), Some(process));
        Ok(Manager { line })
    }
}

/// A module that does nothing, for processes that run no guest: `(module (func (export "nothing")))`.
const NOTHING: &[u8] =
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0b\x01\x07nothing\0\0\x0a\x04\x01\x02\0\x0b";

impl Manager {
    /// A new one, in a process of its own.
    ///
    /// # Errors
    ///
    /// That no process can be started.
    pub fn new() -> Result<Self> {
        Self::builder().start()
    }

    /// A new one, to be set up.
    pub fn builder() -> ManagerBuilder<'static> {
        ManagerBuilder::new(None)
    }

    /// One elsewhere, that somebody lets others [reach](Self::listen) at this address, with this key (CPython:
    /// `BaseManager(address, authkey).connect()`).
    ///
    /// What it makes is used as that of any other, and travels to the workers of this program. Values that have handles in them
    /// do not travel to it: what they stand for is not there. Each client has a connection of its own; when that is lost,
    /// the manager is [gone](ManagerError::Gone) for what was being asked, and what is asked next is asked over a new one.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Start`] if there is no manager of this version, [`ManagerError::Authentication`] if it has another key.
    pub fn connect(address: &Address, key: &[u8]) -> std::result::Result<Self, ManagerError> {
        let remote = connect(address.clone(), key)?;
        let manager = Entry::manager(Reception::remote(remote))
            .map_err(|error| ManagerError::Start(error.status().name().into()))?;
        let line = Line::to(Handle::attach(manager, 0), None);
        Ok(Self { line })
    }

    /// Lets programs elsewhere, who have the same key, [connect](Self::connect) to it (CPython: `get_server`). They are served
    /// by threads of this program until what is returned is dropped, and they have gone.
    ///
    /// The key is proved, not sent. What is said afterwards is neither secret nor protected from those who can change what is
    /// sent: use it on the loopback, a Unix socket, or a network that you trust.
    ///
    /// # Errors
    ///
    /// [`Error::Start`](crate::Error::Start) if it cannot listen there.
    pub fn listen(&self, address: &Address, key: &[u8]) -> Result<ManagerServer> {
        ManagerServer::start(self.line.clone(), address, key)
    }

    /// A new dictionary with these keys and values.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn dict<K, V>(&self, content: impl IntoIterator<Item = (K, V)>) -> std::result::Result<Dict<K, V>, ManagerError>
    where
        K: Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        Dict::new(&self.line, content)
    }

    /// A new list with these values.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn list<T: Serialize + DeserializeOwned>(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> std::result::Result<List<T>, ManagerError> {
        List::new(&self.line, values)
    }

    /// A new set with these members.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn set<T: Serialize + DeserializeOwned>(
        &self,
        members: impl IntoIterator<Item = T>,
    ) -> std::result::Result<Set<T>, ManagerError> {
        Set::new(&self.line, members)
    }

    /// A new counter with these counts.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn counter<K: Serialize + DeserializeOwned>(
        &self,
        counts: impl IntoIterator<Item = (K, i64)>,
    ) -> std::result::Result<Counter<K>, ManagerError> {
        Counter::new(&self.line, counts)
    }

    /// A new namespace without attributes.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn namespace(&self) -> std::result::Result<Namespace, ManagerError> {
        Namespace::new(&self.line)
    }

    /// The dictionary of this name, a new and empty one if there was none: for programs that have nothing of each other's. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WrongType`] if the name is that of another type, and the others.
    pub fn named_dict<K, V>(&self, name: &str) -> std::result::Result<Dict<K, V>, ManagerError>
    where
        K: Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        Dict::named(&self.line, name)
    }

    /// The list of this name, a new and empty one if there was none: for programs that have nothing of each other's. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WrongType`] if the name is that of another type, and the others.
    pub fn named_list<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
    ) -> std::result::Result<List<T>, ManagerError> {
        List::named(&self.line, name)
    }

    /// The set of this name, a new and empty one if there was none: for programs that have nothing of each other's. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WrongType`] if the name is that of another type, and the others.
    pub fn named_set<T: Serialize + DeserializeOwned>(&self, name: &str) -> std::result::Result<Set<T>, ManagerError> {
        Set::named(&self.line, name)
    }

    /// The counter of this name, a new and empty one if there was none: for programs that have nothing of each other's. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WrongType`] if the name is that of another type, and the others.
    pub fn named_counter<K: Serialize + DeserializeOwned>(
        &self,
        name: &str,
    ) -> std::result::Result<Counter<K>, ManagerError> {
        Counter::named(&self.line, name)
    }

    /// The namespace of this name, a new and empty one if there was none: for programs that have nothing of each other's. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WrongType`] if the name is that of another type, and the others.
    pub fn named_namespace(&self, name: &str) -> std::result::Result<Namespace, ManagerError> {
        Namespace::named(&self.line, name)
    }

    /// How much it holds.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn usage(&self) -> std::result::Result<Usage, ManagerError> {
        usage(&self.line)
    }

    /// Ends it: everyone else learns that it is [gone](ManagerError::Gone) (CPython: `shutdown`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; that it is gone already is none.
    pub fn shutdown(&self) -> std::result::Result<(), ManagerError> {
        shut_down(&self.line)?;
        if let Some(process) = self.process() {
            process.join();
        }
        Ok(())
    }

    /// Its process, if this program has started it.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.line.0.process.as_ref()
    }
}

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

/// The ways that there are, by the tokens of their managers: all handles to one go the same.
static LINES: LazyLock<Mutex<HashMap<Token, Weak<Exchange>>>> = LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    fn to(manager: Handle, process: Option<Process>) -> Self {
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

    fn manager(&self) -> &Arc<Entry> {
        self.0.manager.entry()
    }

    /// A pipe that nobody else uses.
    fn desk(&self) -> std::result::Result<Desk, ManagerError> {
        let free = lock(&self.0.free).pop();
        match free {
            Some(desk) => Ok(desk),
            None => self.connect(),
        }
    }

    fn connect(&self) -> std::result::Result<Desk, ManagerError> {
        Ok(Desk {
            pipe: self.pipe(HOST)?,
            sequence: 0,
            buffer: Vec::new(),
        })
    }

    /// A pipe for a client that is not this host itself.
    pub(super) fn visitor(&self) -> std::result::Result<Connection, ManagerError> {
        self.pipe(reception::next_client())
    }

    fn pipe(&self, client: u32) -> std::result::Result<Connection, ManagerError> {
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

    fn give_back(&self, mut desk: Desk) {
        desk.buffer.clear();
        desk.buffer.shrink_to(KEEP);
        lock(&self.0.free).push(desk);
    }
}

impl Desk {
    /// Writes a request. What it refers to lives as long as the manager.
    fn write(
        &mut self,
        manager: &Arc<Entry>,
        write: impl FnOnce(&mut Vec<u8>) -> std::result::Result<(), ManagerError>,
    ) -> std::result::Result<(), ManagerError> {
        self.buffer.clear();
        let ((), references) = collect_references(|| write(&mut self.buffer))?;
        self.sequence = self.sequence.wrapping_add(1);
        let remote = matches!(manager.object(), Object::Manager(reception) if reception.is_remote());
        let written = if remote && !references.is_empty() {
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
    fn ask(&mut self) -> std::result::Result<(), ManagerError> {
        self.pipe.send_bytes(&self.buffer).map_err(unsent)?;
        loop {
            self.pipe.recv_bytes_to(&mut self.buffer).map_err(unreceived)?;
            if answers(&self.buffer, self.sequence).ok_or(ManagerError::Protocol)? {
                return Ok(());
            }
        }
    }
}

fn unsent(error: SendError) -> ManagerError {
    match error {
        SendError::BrokenPipe => ManagerError::Gone,
        SendError::TooLarge => ManagerError::TooLarge,
        SendError::Shared(SharedError::Interrupted) => ManagerError::Interrupted,
        _ => ManagerError::Protocol,
    }
}

fn unreceived(error: RecvError) -> ManagerError {
    match error {
        RecvError::EndOfFile => ManagerError::Gone,
        RecvError::Shared(SharedError::Interrupted) => ManagerError::Interrupted,
        _ => ManagerError::Protocol,
    }
}

impl Client for Line {
    fn exchange<R>(
        &self,
        write: impl FnOnce(&mut Vec<u8>) -> std::result::Result<(), ManagerError>,
        read: impl FnOnce(&[u8]) -> std::result::Result<R, ManagerError>,
    ) -> std::result::Result<R, ManagerError> {
        let mut desk = self.desk()?;
        let written = desk.write(self.manager(), write);
        let result = written.and_then(|()| {
            desk.ask()?;
            Ok(read(&desk.buffer))
        });
        // With its last pipe the host would give back what it has made: one is let go only when nothing comes through it.
        if !matches!(result, Err(ManagerError::Gone | ManagerError::Protocol)) {
            self.give_back(desk);
        }
        result?
    }

    fn tell(&self, request: &[u8]) {
        // A manager that is gone need not be told.
        if let Ok(desk) = self.desk()
            && desk.pipe.send_bytes(request).is_ok()
        {
            self.give_back(desk);
        }
    }

    fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> std::result::Result<(), ManagerError> {
        cbor::write(value, into).map_err(ManagerError::Encode)
    }

    fn decode<T: DeserializeOwned>(item: &[u8]) -> std::result::Result<T, ManagerError> {
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
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.manager.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let manager = Handle::deserialize(&[ObjectKind::Manager], deserializer)?;
        match manager.entry().object() {
            Object::Manager(_) => Ok(Self::to(manager, None)),
            _ => Err(D::Error::custom("expected a manager")),
        }
    }
}

impl Context {
    /// A manager, to be set up, whose process has the limits of this context.
    pub fn manager(&self) -> ManagerBuilder<'_> {
        ManagerBuilder::new(Some(self))
    }
}
