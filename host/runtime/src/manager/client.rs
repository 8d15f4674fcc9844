//! A manager as threads of the host use it.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasmp_manager::protocol::MAX_MESSAGE;
use wasmp_manager::{ManagerError, Usage, shut_down, usage};

use super::line::Line;
use super::reception::Reception;
use super::remote::{Address, ManagerServer, Remote, connect};
#[cfg(feature = "tls")]
use super::remote::{TlsClient, TlsServer};
use super::{DEFAULT_CALL_TIMEOUT, DEFAULT_MAX_BYTES, Settings};
use crate::context::{Context, Process};
use crate::error::Result;
use crate::module::ModuleSource;
use crate::objects::Entry;
use crate::pool::Pool;
use crate::shared::Handle;
use crate::spec::available_cpus;

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
/// Objects of managers, of types of a module's own: see [`Manager::create`].
pub type Object = wasmp_manager::Object<Line>;

/// A process that holds values for others: dictionaries, lists and more, which any task and any thread can use
/// (CPython: `multiprocessing.Manager`).
///
/// What it makes travels in arguments, results and messages, and is the same object everywhere. Each method of a
/// [`Dict`], a [`List`] or any of the others is one request to the process, which serves one after the other: so each is
/// one step, whoever else uses the object, and a task that is killed has done it or has not. A manager that is killed, or
/// runs out of memory, is [`ManagerError::Gone`] for everybody who uses it, and for nobody else anything.
///
/// An object is there as long as whoever has made it has a handle to it; once one has travelled, as long as the manager. A
/// manager is there as long as the host has a handle to it, or to anything that it has made, or it is [shut
/// down](Self::shutdown); one that a guest has made as `wasmp_guest::Manager` says.
///
/// It also holds objects of types of a guest's own, whose methods run in the manager: see [`create`](Self::create).
///
/// It also has [pools](Self::pool) that work for all of its clients, and locks, queues and all else that [`managed`] has. What needs no manager, and is many times as fast, are
/// [`Lock`](crate::Lock), [`Queue`](crate::Queue), [`Value`](crate::Value), [`Array`](crate::Array) and their kin: the tasks and
/// threads of one host use them together as they are.
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
    pub(super) line: Line,
}

/// Sets up a [`Manager`]; from [`Context::manager`] or [`Manager::builder`].
#[must_use = "a manager does nothing until `start`"]
#[derive(Debug)]
pub struct ManagerBuilder<'c> {
    context: Option<&'c Context>,
    module: Option<ModuleSource>,
    max_bytes: u64,
    max_processes: Option<usize>,
    call_timeout: Duration,
}

impl<'c> ManagerBuilder<'c> {
    pub(crate) fn new(context: Option<&'c Context>) -> Self {
        Self {
            context,
            module: None,
            max_bytes: DEFAULT_MAX_BYTES,
            max_processes: None,
            call_timeout: DEFAULT_CALL_TIMEOUT,
        }
    }

    /// A module whose types the manager can hold, beside all else (CPython: `register`): see [`Manager::create`]; and whose tasks
    /// its [pools](Manager::pool) run. Either is granted nothing: for files or variables, set up a [context](Context::manager),
    /// whose managers have its module.
    pub fn module(mut self, module: impl Into<ModuleSource>) -> Self {
        self.module = Some(module.into());
        self
    }

    /// How long a constructor or a method of a [type](Manager::create) may take. What takes longer cannot be stopped in any other
    /// way than to kill the manager, which is then [`ManagerError::Gone`] for everybody. Default: 10 s.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Most processes of its [pools](Manager::pool), of all together; 0: it has no pools. Of a [context](Context::manager) that is
    /// [its own setting](crate::PoolBuilder::max_processes). Default: 64.
    pub fn max_processes(mut self, processes: usize) -> Self {
        self.max_processes = Some(processes);
        self
    }

    /// Most bytes of keys and values that it may hold, and what it takes to keep them; what would be more is
    /// [`ManagerError::Full`]. No more than a third of the memory that its process may use: of a [context](Context::manager)
    /// that is [`max_memory`](crate::PoolBuilder::max_memory). [`Manager::usage`] says how many they are. Default: 256 MiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Starts the process, and waits until it runs.
    ///
    /// # Errors
    ///
    /// That no process can be started, or of what is wrong with the module.
    pub fn start(self) -> Result<Manager> {
        let settings = Settings {
            max_bytes: self.max_bytes,
            call_timeout: self.call_timeout,
            has_module: self.module.is_some() || self.context.is_some(),
            cpus: u32::try_from(available_cpus()).unwrap_or(u32::MAX),
        };
        let of_its_own;
        let context = match (self.module, self.context) {
            (None, Some(context)) => context,
            (module, _) => {
                let module = module.unwrap_or_else(|| NOTHING.to_vec().into());
                let memory = self.max_bytes.saturating_mul(3).saturating_add(MAX_MESSAGE as u64 * 3);
                let mut pools = Pool::builder(module).max_memory(memory);
                if let Some(processes) = self.max_processes {
                    pools = pools.max_processes(processes);
                }
                of_its_own = pools.context()?;
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
    /// What it makes is used as that of any other, and travels to the workers of this program, and in its own values. Values that
    /// have other handles in them do not travel to it: what they stand for is not there. Each thread and each worker that asks at the same time as others has a
    /// connection of its own; when that is lost, the manager is [gone](ManagerError::Gone) for who was asking, and what was
    /// made over that connection and has not travelled is gone, too. Threads get a new one the next time, workers when they have
    /// let go of all that they have of the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Start`] if there is no manager of this version, [`ManagerError::Authentication`] if it has another key.
    pub fn connect(address: &Address, key: &[u8]) -> std::result::Result<Self, ManagerError> {
        Self::at(connect(address, key, None)?)
    }

    /// As [`connect`](Self::connect), but by TLS, with a manager that somebody lets others [reach by it](Self::listen_tls), and
    /// is trusted.
    ///
    /// # Errors
    ///
    /// As those of [`connect`](Self::connect); [`ManagerError::Tls`] if it is not, or does not speak TLS.
    #[cfg(feature = "tls")]
    pub fn connect_tls(address: &Address, key: &[u8], tls: &TlsClient) -> std::result::Result<Self, ManagerError> {
        Self::at(connect(address, key, Some(tls.clone()))?)
    }

    fn at(remote: Remote) -> std::result::Result<Self, ManagerError> {
        let manager = Entry::manager(Reception::remote(remote), None)
            .map_err(|error| ManagerError::Start(error.status().name().into()))?;
        let line = Line::to(Handle::attach(manager, 0), None);
        Ok(Self { line })
    }

    /// Lets programs elsewhere, who have the same key, [connect](Self::connect) to it (CPython: `get_server`). They are served
    /// by threads of this program until what is returned is dropped, and they have gone.
    ///
    /// The key is proved, not sent. What is said afterwards is neither secret nor protected from those who can change what is
    /// sent: use it on the loopback, a Unix socket, or a network that you trust. With the feature `tls` there is `listen_tls` for
    /// others.
    ///
    /// # Errors
    ///
    /// [`Error::Start`](crate::Error::Start) if it cannot listen there.
    pub fn listen(&self, address: &Address, key: &[u8]) -> Result<ManagerServer> {
        ManagerServer::start(self.line.clone(), address, key, None)
    }

    /// As [`listen`](Self::listen), but for those who [connect by TLS](Self::connect_tls): what is said is secret, and who
    /// connects knows that it is with the one who has the certificate. The key is proved beneath that.
    ///
    /// # Errors
    ///
    /// As those of [`listen`](Self::listen).
    #[cfg(feature = "tls")]
    pub fn listen_tls(&self, address: &Address, key: &[u8], tls: &TlsServer) -> Result<ManagerServer> {
        ManagerServer::start(self.line.clone(), address, key, Some(tls.clone()))
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
    /// [`ManagerError`]; [`WrongType`](ManagerError::WrongType) if a list has the name, or anything else the name of a list.
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
    /// [`ManagerError`]; [`WrongType`](ManagerError::WrongType) if a list has the name, or anything else the name of a list.
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
    /// [`ManagerError`]; [`WrongType`](ManagerError::WrongType) if a list has the name, or anything else the name of a list.
    pub fn named_set<T: Serialize + DeserializeOwned>(&self, name: &str) -> std::result::Result<Set<T>, ManagerError> {
        Set::named(&self.line, name)
    }

    /// The counter of this name, a new and empty one if there was none: for programs that have nothing of each other's. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; [`WrongType`](ManagerError::WrongType) if a list has the name, or anything else the name of a list.
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
    /// [`ManagerError`]; [`WrongType`](ManagerError::WrongType) if a list has the name, or anything else the name of a list.
    pub fn named_namespace(&self, name: &str) -> std::result::Result<Namespace, ManagerError> {
        Namespace::named(&self.line, name)
    }

    /// A new object of the type of this name in the manager's [module](ManagerBuilder::module), made with these arguments, a
    /// tuple (CPython: what `BaseManager.register` adds to a manager). It is a guest's type with `#[managed]`; guests of
    /// that module have typed proxies for it. [`Module::types`](crate::Module::types) says which there are.
    ///
    /// ```no_run
    /// use wasmp::Manager;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::builder().module("types.wasm").start()?;
    /// let account = manager.create("Account", (100,))?;
    /// let left: u64 = account.call("withdraw", (10,))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManagerError::Call`] if its constructor fails, [`ManagerError::NoSuchType`], the others.
    pub fn create(&self, of: &str, args: impl Serialize) -> std::result::Result<Object, ManagerError> {
        Object::new(&self.line, of, args)
    }

    /// The object of this name, of the type `of`, made with these arguments if there was none: for programs that have nothing of
    /// each other's. It stays as long as the manager.
    ///
    /// # Errors
    ///
    /// As those of [`create`](Self::create); [`WrongType`](ManagerError::WrongType) if something else has the name.
    pub fn named_object(
        &self,
        name: &str,
        of: &str,
        args: impl Serialize,
    ) -> std::result::Result<Object, ManagerError> {
        Object::named(&self.line, name, of, args)
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
        self.line.process()
    }
}

wasmp_manager::managed! {
    /// ```no_run
    /// use wasmp::{Address, Manager};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let key = b"key";
    /// // As many programs as you like, on any machine, take from it, and one puts in.
    /// let manager = Manager::connect(&"host.example:5000".parse()?, key)?;
    /// let jobs = manager.named_queue::<String>("jobs", 100)?;
    /// loop {
    ///     let job = jobs.get()?;
    ///     println!("{job}");
    /// }
    /// # }
    /// ```
    ///
    /// A pool runs the tasks of the manager's module, for all of them:
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use wasmp::{Manager, Retry};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let key = b"key";
    /// // wasmp manager --module tasks.wasm --authkey-file key.txt --listen …
    /// let manager = Manager::connect(&"host.example:5000".parse()?, key)?;
    /// let pool = manager.named_pool("tasks", 4)?;
    /// let squares: Vec<i64> = pool.map("square", 0..1000)?;
    /// let later = pool.apply_async("square", (7,))?;
    /// let square: i64 = later.get()?;
    /// // One that is set up: each instance calls `prepare` first, and each process ends after a thousand tasks.
    /// let set_up = manager.pool_builder().processes(4).max_tasks_per_child(1000);
    /// let pool = set_up.initializer("prepare", ("model.bin", 3)).named("prepared")?;
    /// let squares: Vec<i64> = pool.task("square").chunksize(50).map(0..1000)?;
    /// // None of these may take longer than 5 s, and a worker that is lost costs none of them.
    /// let careful = pool.task("square").timeout(Duration::from_secs(5)).retry(Retry::times(2));
    /// let squares: Vec<i64> = careful.map(0..1000)?;
    /// # Ok(())
    /// # }
    /// ```
}

impl Context {
    /// A manager, to be set up, whose process has the limits of this context. It can hold the types of its module, which see what
    /// the tasks of this context see.
    pub fn manager(&self) -> ManagerBuilder<'_> {
        ManagerBuilder::new(Some(self))
    }
}
