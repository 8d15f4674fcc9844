//! Managers: processes that hold values for others.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::Duration;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
};
use wasmp_abi::Status;
use wasmp_manager::pool::{Calls, Prepares};
use wasmp_manager::{Client, ManagerError, Usage, answers, give_up, number, shut_down, usage};

use crate::{
    cbor,
    host::objects::{Timeout, manager_new, receive, send},
    pool::TaskError,
    shared::{
        SharedError,
        handle::{Handle, MANAGER},
    },
    task::{Gives, Task},
};

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
/// Objects of managers, of types of the module's own: see [`Manager::create`].
pub type Object = wasmp_manager::Object<Line>;

/// A process that holds values for others: dictionaries, lists and more, which any task can use (CPython:
/// `multiprocessing.Manager`).
///
/// What it makes travels in arguments, results and messages, and is the same object everywhere. Each method of a
/// [`Dict`], a [`List`] or any of the others is one request to the process, which serves one after the other: so each is
/// one step, whoever else uses the object, and a task that is killed has done it or has not. A manager that is killed, or
/// runs out of memory, is [`ManagerError::Gone`] for everybody who uses it, and for nobody else anything.
///
/// An object is there as long as whoever has made it has a handle to it; once one has travelled, as long as the manager. A
/// manager is there as long as anybody has a handle to it, or to anything that it has made; one whose handles have travelled,
/// as long as the pool or the program. It ends at once if it is [shut down](Self::shutdown).
///
/// It also holds objects of types of a guest's own, whose methods run in the manager: see [`managed`](macro@crate::managed).
///
/// It also has [pools](Self::pool) that work for all of its clients, and locks, queues and all else that [`managed`](mod@managed) has. What needs no manager, and is many times as fast, are
/// [`Lock`](crate::Lock), [`Queue`](crate::Queue), [`Value`](crate::Value), [`Array`](crate::Array) and their kin: tasks of one
/// host use them together as they are.
///
/// ```no_run
/// use wasmp_guest::{Dict, Manager, Process, Result, main, task};
///
/// #[task]
/// fn register(name: String, ages: Dict<String, u32>) -> Result<()> {
///     ages.set(&name, &(name.len() as u32))?;
///     Ok(())
/// }
///
/// #[main]
/// fn main() -> Result<()> {
///     let manager = Manager::new()?;
///     let ages = manager.dict::<String, u32>([])?;
///     Process::new(register).args(("Ada", &ages)).start()?.join()?;
///     println!("{:?}", ages.items::<Vec<_>>()?);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Manager {
    line: Line,
}

/// Sets up a [`Manager`]; from [`Manager::builder`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use wasmp_guest::{Manager, Result};
///
/// # fn main() -> Result<()> {
/// let manager = Manager::builder()
///     .max_bytes(64 << 20)
///     .call_timeout(Duration::from_secs(60))
///     .start()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a manager does nothing until `start`"]
#[derive(Clone, Debug, Default)]
pub struct ManagerBuilder {
    max_bytes: Option<u64>,
    call_timeout: Option<Duration>,
}

impl ManagerBuilder {
    /// How long a constructor or a method of a [type](macro@crate::managed) may take. What takes longer cannot be stopped in any
    /// other way than to kill the manager, which is then [`ManagerError::Gone`] for everybody. Default: 10 s.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// Most bytes of keys and values that it may hold, and what it takes to keep them; what would be more is
    /// [`ManagerError::Full`]. No more than a third of the memory that a guest may use. Default: 256 MiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Starts the process, and waits until it runs.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Start`] if the family may have no more processes or objects, [`ManagerError::Unsupported`] outside of
    /// a wasmp worker.
    pub fn start(self) -> Result<Manager, ManagerError> {
        // The host takes 0 for the default, and what is beyond the range, 292 years, for nonsense.
        let told = |number: u128| number.clamp(1, i64::MAX as u128) as u64;
        let max_bytes = self.max_bytes.map_or(0, |bytes| told(bytes.into()));
        let call_timeout = self.call_timeout.map_or(0, |timeout| told(timeout.as_nanos()));
        let handle = Handle::made(manager_new(max_bytes, call_timeout)).map_err(|error| match error {
            SharedError::Unsupported => ManagerError::Unsupported,
            error => ManagerError::Start(error.to_string()),
        })?;
        Ok(Manager { line: Line(handle) })
    }
}

impl Manager {
    /// A new one, in a process of its own.
    ///
    /// # Errors
    ///
    /// As those of [`ManagerBuilder::start`].
    pub fn new() -> Result<Self, ManagerError> {
        Self::builder().start()
    }

    /// A new one, to be set up.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    /// A new dictionary with these keys and values.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn dict<K, V>(&self, content: impl IntoIterator<Item = (K, V)>) -> Result<Dict<K, V>, ManagerError>
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
    ) -> Result<List<T>, ManagerError> {
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
    ) -> Result<Set<T>, ManagerError> {
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
    ) -> Result<Counter<K>, ManagerError> {
        Counter::new(&self.line, counts)
    }

    /// A new namespace without attributes.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn namespace(&self) -> Result<Namespace, ManagerError> {
        Namespace::new(&self.line)
    }

    /// The dictionary of this name, a new and empty one if there was none: for programs that have nothing of each other's. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; [`WrongType`](ManagerError::WrongType) if a list has the name, or anything else the name of a list.
    pub fn named_dict<K, V>(&self, name: &str) -> Result<Dict<K, V>, ManagerError>
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
    pub fn named_list<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<List<T>, ManagerError> {
        List::named(&self.line, name)
    }

    /// The set of this name, a new and empty one if there was none: for programs that have nothing of each other's. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; [`WrongType`](ManagerError::WrongType) if a list has the name, or anything else the name of a list.
    pub fn named_set<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Set<T>, ManagerError> {
        Set::named(&self.line, name)
    }

    /// The counter of this name, a new and empty one if there was none: for programs that have nothing of each other's. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; [`WrongType`](ManagerError::WrongType) if a list has the name, or anything else the name of a list.
    pub fn named_counter<K: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Counter<K>, ManagerError> {
        Counter::named(&self.line, name)
    }

    /// The namespace of this name, a new and empty one if there was none: for programs that have nothing of each other's. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; [`WrongType`](ManagerError::WrongType) if a list has the name, or anything else the name of a list.
    pub fn named_namespace(&self, name: &str) -> Result<Namespace, ManagerError> {
        Namespace::named(&self.line, name)
    }

    /// A new object of the type of this name in the manager's module, made with these arguments, a tuple (CPython: what
    /// `BaseManager.register` adds to a manager). For a type of this program, its proxy has a `new` that takes the arguments as
    /// they are: see [`managed`](macro@crate::managed).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), wasmp_guest::ManagerError> {
    /// # let manager = wasmp_guest::Manager::new()?;
    /// let account = manager.create("Account", (100,))?;
    /// let left: u64 = account.call("withdraw", (10,))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManagerError::Call`] if its constructor fails, [`ManagerError::NoSuchType`], the others.
    pub fn create(&self, of: &str, args: impl Serialize) -> Result<Object, ManagerError> {
        Object::new(&self.line, of, args)
    }

    /// The object of this name, of the type `of`, made with these arguments if there was none: for programs that have nothing of
    /// each other's. It stays as long as the manager.
    ///
    /// # Errors
    ///
    /// As those of [`create`](Self::create); [`WrongType`](ManagerError::WrongType) if something else has the name.
    pub fn named_object(&self, name: &str, of: &str, args: impl Serialize) -> Result<Object, ManagerError> {
        Object::named(&self.line, name, of, args)
    }

    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// How much it holds.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn usage(&self) -> Result<Usage, ManagerError> {
        usage(&self.line)
    }

    /// Ends it: everyone else learns that it is [gone](ManagerError::Gone) (CPython: `shutdown`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; that it is gone already is none.
    pub fn shutdown(&self) -> Result<(), ManagerError> {
        shut_down(&self.line)
    }
}

wasmp_manager::managed! {
    /// ```no_run
    /// use wasmp_guest::{Manager, Process, Result, main, managed, task};
    ///
    /// #[task]
    /// fn worker(jobs: managed::Queue<String>) -> Result<()> {
    ///     while let Ok(job) = jobs.get() {
    ///         println!("{job}");
    ///     }
    ///     Ok(())
    /// }
    ///
    /// #[main]
    /// fn main() -> Result<()> {
    ///     let manager = Manager::new()?;
    ///     let jobs = manager.queue(0)?;
    ///     let process = Process::new(worker).args((&jobs,)).start()?;
    ///     jobs.put(&"sweep".to_owned())?;
    ///     jobs.shutdown()?;
    ///     process.join()?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// A pool runs the tasks of the manager's module, for everybody who has a handle:
    ///
    /// ```no_run
    /// use wasmp_guest::{Manager, Process, Result, main, managed, task};
    ///
    /// #[task]
    /// fn square(x: i64) -> i64 {
    ///     x * x
    /// }
    ///
    /// #[task]
    /// fn customer(pool: managed::Pool) -> Result<Vec<i64>> {
    ///     Ok(pool.map(square, 0..10)?)
    /// }
    ///
    /// #[main]
    /// fn main() -> Result<()> {
    ///     let pool = Manager::new()?.pool(2)?;
    ///     let process = Process::new(customer).args((&pool,)).start()?;
    ///     println!("{}", pool.apply(square, (12,))?);
    ///     process.join()?;
    ///     Ok(())
    /// }
    /// ```
}

/// A guest's way to a manager: a pipe that it shares with nobody.
#[derive(Clone)]
pub struct Line(Handle<MANAGER>);

/// In what is said to a manager and by it, it is nothing itself: so what refers to it is understood by all of its clients, and by
/// the workers of its pools.
impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_it = |talking_to: &Vec<Self>| talking_to.last().is_some_and(|line| line.0.number() == self.0.number());
        if TALKING_TO.with_borrow(is_it) {
            return serializer.serialize_none();
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::deserialize(deserializer)? {
            Some(manager) => Ok(Self(manager)),
            None => TALKING_TO
                .with_borrow(|talking_to| talking_to.last().cloned())
                .or_else(|| Handle::home().map(Self))
                .ok_or_else(|| D::Error::custom("a manager that is meant by what it holds, and is not asked")),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Manager")
    }
}

/// Buffers above this size are given back after the request that needed them.
const KEEP: usize = 1 << 20;

thread_local! {
    /// What a request is written into, and its answer read.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// Where ciborium puts pieces of text while it decodes.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// How many requests there were, whatever they were sent to.
    static SEQUENCE: Cell<u32> = const { Cell::new(0) };
    /// The manager to whom something is written at the moment, or from whom something is read.
    static TALKING_TO: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

fn failed(status: Status) -> ManagerError {
    match status {
        Status::Broken | Status::End => ManagerError::Gone,
        Status::TooLarge => ManagerError::TooLarge,
        Status::Interrupted => ManagerError::Interrupted,
        Status::Unsupported => ManagerError::Unsupported,
        _ => ManagerError::Protocol,
    }
}

impl<F, A, R, M, N> Calls<F, A, R, (M, N)> for Line
where
    F: Task<A, M, Returns: Gives<R, N>>,
{
    fn task_name(task: &F) -> Result<Cow<'static, str>, String> {
        task.task_name()
    }
}

impl<F: Task<A, M>, A, M> Prepares<F, A, M> for Line {
    fn initializer_name(task: &F) -> Result<Cow<'static, str>, String> {
        task.task_name()
    }
}

impl Client for Line {
    type TaskError = TaskError;

    fn exchange<R>(
        &self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
        read: impl FnOnce(&[u8]) -> Result<R, ManagerError>,
    ) -> Result<R, ManagerError> {
        // Should serde come back here from within, it gets a fresh one.
        let mut buffer = BUFFER.take();
        buffer.clear();
        self.within(|| write(&mut buffer))?;
        let sequence = SEQUENCE.get().wrapping_add(1);
        SEQUENCE.set(sequence);
        number(&mut buffer, sequence)?;
        send(self.0.number(), &buffer, Timeout::FOREVER).map_err(failed)?;
        loop {
            let received = receive(self.0.number(), &mut buffer, Timeout::FOREVER);
            if received == Err(Status::Interrupted) {
                self.tell(&give_up(sequence));
            }
            received.map_err(failed)?;
            // The answer to a request that was given up may come late.
            if answers(&buffer, sequence).ok_or(ManagerError::Protocol)? {
                break;
            }
        }
        let result = self.within(|| read(&buffer));
        if buffer.capacity() <= KEEP {
            BUFFER.set(buffer);
        }
        result
    }

    fn within<R>(&self, work: impl FnOnce() -> R) -> R {
        TALKING_TO.with_borrow_mut(|managers| managers.push(self.clone()));
        let result = work();
        // Dropping it may come back here.
        let line = TALKING_TO.with_borrow_mut(Vec::pop);
        drop(line);
        result
    }

    fn tell(&self, request: &[u8]) {
        // A manager that is gone need not be told.
        let _ = send(self.0.number(), request, Timeout::FOREVER);
    }

    fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), ManagerError> {
        cbor::encode(value, into).map_err(ManagerError::Encode)
    }

    fn decode<T: DeserializeOwned>(mut item: &[u8]) -> Result<T, ManagerError> {
        let mut scratch = SCRATCH.take();
        let decoded = cbor::decode(&mut item, &mut scratch);
        SCRATCH.set(scratch);
        decoded.map_err(ManagerError::Decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_worker_there_are_no_managers() {
        assert_eq!(Manager::new().unwrap_err(), ManagerError::Unsupported);
    }
}
