//! What the managers of hosts and guests have in common of [this module](super): types for their own connections, and the
//! methods that make them.

/// The module `managed`, and the methods of `Manager`. Both `Manager`, with a field `line`, and `Line` are those of the place
/// where it is used; what is written there is the example in the module's documentation.
#[macro_export]
macro_rules! managed {
    ($($(#[$example:meta])+)?) => {
        /// What threads and workers use together through a [`Manager`](super::Manager), wherever they are.
        ///
        /// They have the names and the meanings of those in the crate, which need no manager: a [`Lock`] of a manager is one
        /// round trip, where that of the crate is a few instructions. Use these for what programs elsewhere share, which
        /// [connect](super::Manager::connect) to the manager, and for things that are found by a name. CPython: the types of
        /// `SyncManager`.
        ///
        $($(#[$example])+)?
        ///
        /// # Who holds what
        ///
        /// A lock is held by one thread of a host, or by one worker, whatever connections they use. A guard is dropped where
        /// it was made. An [`RLock`], or the lock of a [`Condition`], is released by its holder alone; a [`Lock`] by anybody.
        ///
        /// # Who is first
        ///
        /// Each method is one step of the manager. Who has to wait, for a lock, a permit, a value or for room, is served in
        /// the order in which they came, and nobody overtakes. A manager has a hundred places: one for each worker that uses it,
        /// and one for each thread of a host while it asks or waits. Who is one too many gets
        /// [`ManagerError::Start`](super::ManagerError::Start).
        ///
        /// # Who is gone
        ///
        /// When a worker dies, or a host ends, the manager learns of it, as of a connection from elsewhere that is lost. The
        /// locks that were acquired over it are released, and the next holder is told so ([`LockGuard::abandoned`]); borrowed
        /// [permits](Permit) come back; a [`Barrier`] that it waits at breaks; its place among those who wait is free, and
        /// what it would have gotten goes to the next. A worker that has dropped all that it had of the manager is gone for it
        /// as well. The threads of a host share its connections: one that ends releases nothing.
        ///
        /// A program elsewhere whose connection was lost does not know at once that it has lost its locks. Where that matters,
        /// send [`LockGuard::fence`] along with what is done under the lock.
        ///
        /// The time limits of waits are kept by the manager. Who stops waiting because it was
        /// [interrupted](super::ManagerError::Interrupted) has acquired nothing.
        pub mod managed {
            use super::Line;

            /// See [`Manager::lock`](super::Manager::lock).
            pub type Lock = $crate::sync::Lock<Line>;
            /// See [`Manager::rlock`](super::Manager::rlock).
            pub type RLock = $crate::sync::RLock<Line>;
            /// Holds a [`Lock`], an [`RLock`] or the lock of a [`Condition`].
            pub type LockGuard<'l> = $crate::sync::LockGuard<'l, Line>;
            /// See [`Manager::semaphore`](super::Manager::semaphore).
            pub type Semaphore = $crate::sync::Semaphore<Line>;
            /// See [`Manager::bounded_semaphore`](super::Manager::bounded_semaphore).
            pub type BoundedSemaphore = $crate::sync::BoundedSemaphore<Line>;
            /// A permit of a [`Semaphore`], borrowed.
            pub type Permit<'s> = $crate::sync::Permit<'s, Line>;
            /// See [`Manager::event`](super::Manager::event).
            pub type Event = $crate::sync::Event<Line>;
            /// See [`Manager::condition`](super::Manager::condition).
            pub type Condition = $crate::sync::Condition<Line>;
            /// See [`Manager::barrier`](super::Manager::barrier).
            pub type Barrier = $crate::sync::Barrier<Line>;
            /// See [`Manager::queue`](super::Manager::queue).
            pub type Queue<T> = $crate::sync::Queue<T, Line>;
            /// See [`Manager::joinable_queue`](super::Manager::joinable_queue).
            pub type JoinableQueue<T> = $crate::sync::JoinableQueue<T, Line>;
            /// See [`Manager::value`](super::Manager::value).
            pub type Value<T> = $crate::sync::Value<T, Line>;
            /// See [`Manager::array`](super::Manager::array).
            pub type Array<T> = $crate::sync::Array<T, Line>;
            /// See [`Manager::pool`](super::Manager::pool).
            pub type Pool = $crate::pool::Pool<Line>;
            /// Sets up a [`Pool`]: see [`Manager::pool_builder`](super::Manager::pool_builder).
            pub type PoolBuilder = $crate::pool::PoolBuilder<Line>;
            /// A task of a [`Pool`], and how to call it.
            pub type Call<'p, F> = $crate::pool::Call<'p, F, Line>;
            /// A result of a [`Pool`] that somebody will ask for.
            pub type AsyncResult<R> = $crate::pool::AsyncResult<R, Line>;
            /// Results of a [`Pool`] that come as they are asked for.
            pub type IMap<I, R> = $crate::pool::IMap<I, R, Line>;
            /// Why a call on a [`Pool`] has no result.
            pub type PoolError = $crate::pool::Error<Line>;
        }

        /// What threads and workers use together: see [`managed`]. Those with a name are found by it, and stay as long as the
        /// manager; what is said of a new one holds if there was none. [`ManagerError::WrongType`]: the name is that of
        /// something else.
        impl Manager {
            $crate::managed!(@methods
                "lock that nobody holds", lock, named_lock, Lock, ();
                "lock that nobody holds, and that its holder can acquire again", rlock, named_rlock, RLock, ();
                "semaphore with so many permits", semaphore, named_semaphore, Semaphore, (permits: u32);
                "semaphore that never has more than so many permits", bounded_semaphore, named_bounded_semaphore,
                    BoundedSemaphore, (permits: u32);
                "event that is not set", event, named_event, Event, ();
                "condition with a lock of its own", condition, named_condition, Condition, ();
                "barrier for so many", barrier, named_barrier, Barrier, (parties: u32);
            );

            /// A new queue that has at most so many values at a time; 0: any number.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn queue<T>(&self, maxsize: u32) -> ::std::result::Result<managed::Queue<T>, ManagerError> {
                managed::Queue::new(&self.line, maxsize)
            }

            /// The queue of this name: a new one if there was none, as [`queue`](Self::queue) makes it.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn named_queue<T>(
                &self,
                name: &str,
                maxsize: u32,
            ) -> ::std::result::Result<managed::Queue<T>, ManagerError> {
                managed::Queue::named(&self.line, name, maxsize)
            }

            /// A new queue that knows what was dealt with.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn joinable_queue<T>(
                &self,
                maxsize: u32,
            ) -> ::std::result::Result<managed::JoinableQueue<T>, ManagerError> {
                managed::JoinableQueue::new(&self.line, maxsize)
            }

            /// The queue of this name: a new one if there was none, as [`joinable_queue`](Self::joinable_queue) makes it.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn named_joinable_queue<T>(
                &self,
                name: &str,
                maxsize: u32,
            ) -> ::std::result::Result<managed::JoinableQueue<T>, ManagerError> {
                managed::JoinableQueue::named(&self.line, name, maxsize)
            }

            /// A new value.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn value<T>(&self, value: T) -> ::std::result::Result<managed::Value<T>, ManagerError>
            where
                T: Serialize + DeserializeOwned,
            {
                managed::Value::new(&self.line, value)
            }

            /// The value of this name: a new one that is `value` if there was none.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn named_value<T>(&self, name: &str, value: T) -> ::std::result::Result<managed::Value<T>, ManagerError>
            where
                T: Serialize + DeserializeOwned,
            {
                managed::Value::named(&self.line, name, value)
            }

            /// A new array of these values.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn array<T: Serialize + DeserializeOwned>(
                &self,
                values: impl IntoIterator<Item = T>,
            ) -> ::std::result::Result<managed::Array<T>, ManagerError> {
                managed::Array::new(&self.line, values)
            }

            /// The array of this name: a new one of these values if there was none.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn named_array<T: Serialize + DeserializeOwned>(
                &self,
                name: &str,
                values: impl IntoIterator<Item = T>,
            ) -> ::std::result::Result<managed::Array<T>, ManagerError> {
                managed::Array::named(&self.line, name, values)
            }

            /// A new pool of so many processes, which run the tasks of the manager's module for everybody who has a handle.
            ///
            /// # Errors
            ///
            /// [`ManagerError::Invalid`] if there are none, [`ManagerError::ProcessLimit`] if the manager and its pools may not
            /// have so many; the others.
            pub fn pool(&self, processes: usize) -> ::std::result::Result<managed::Pool, ManagerError> {
                managed::Pool::new(&self.line, processes)
            }

            /// The pool of this name: a new one if there was none, as [`pool`](Self::pool) makes it.
            ///
            /// # Errors
            ///
            /// As those of [`pool`](Self::pool).
            pub fn named_pool(
                &self,
                name: &str,
                processes: usize,
            ) -> ::std::result::Result<managed::Pool, ManagerError> {
                managed::Pool::named(&self.line, name, processes)
            }

            /// A pool to be set up: what prepares its workers, and when they are replaced (CPython: the arguments `initializer`,
            /// `initargs` and `maxtasksperchild` of `SyncManager.Pool`).
            pub fn pool_builder(&self) -> managed::PoolBuilder {
                managed::Pool::builder(&self.line)
            }
        }
    };

    (@methods $($what:literal, $new:ident, $named:ident, $type:ident, ($($number:ident: $of:ty)?);)*) => {
        $(
            #[doc = concat!("A new ", $what, ".\n\n# Errors\n\n[`ManagerError`].")]
            pub fn $new(&self $(, $number: $of)?) -> ::std::result::Result<managed::$type, ManagerError> {
                managed::$type::new(&self.line $(, $number)?)
            }

            #[doc = concat!(
                "The ", stringify!($new), " of this name: a new ", $what, " if there was none.\n\n# Errors\n\n[`ManagerError`]."
            )]
            pub fn $named(
                &self,
                name: &str
                $(, $number: $of)?
            ) -> ::std::result::Result<managed::$type, ManagerError> {
                managed::$type::named(&self.line, name $(, $number)?)
            }
        )*
    };
}
