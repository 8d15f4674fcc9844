//! What clients ask a manager, and what it answers.
//!
//! One message each. A request is a number that its answer repeats, an [`Op`], an object, and fields; an answer is the
//! number, a [`Status`], and fields. Who gives up waiting for an answer takes the next number, and knows the late answer
//! by its old one. Numbers are little-endian. Values are items of CBOR, of which a manager looks at nothing but whether
//! two are the same bytes, and at numbers that are added to.
//!
//! ```text
//! request   sequence u32 │ op u8 │ object 16 bytes │ fields
//! answer    sequence u32 │ status u8 │ fields
//! item      length u32 │ bytes            no item   0xffff_ffff
//! items     count u32 │ item …
//! ```

mod fields;
mod policy;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

pub use self::fields::{Fields, Writer};
pub use self::policy::Policy;

/// Which object of a manager: nobody can guess it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Id(ByteArray<{ Id::LEN }>);

impl Id {
    /// Bytes of one.
    pub const LEN: usize = 16;
    /// None: for requests that are not about an object.
    pub const NONE: Self = Self::new([0; Self::LEN]);

    /// The one with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(ByteArray::new(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// Most bytes of a request, and of an answer.
pub const MAX_MESSAGE: usize = 64 << 20;

/// Most items of a request: what a manager needs to serve it is a multiple of what they take.
pub const MAX_ITEMS: usize = 1 << 20;

/// Bytes in front of the fields of a request.
pub const REQUEST_HEAD: usize = 4 + 1 + Id::LEN;

/// Bytes in front of the fields of an answer.
pub const ANSWER_HEAD: usize = 4 + 1;

macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident { $($(#[$case_meta:meta])* $case:ident = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum $name {
            $($(#[$case_meta])* $case = $number,)*
        }

        impl $name {
            /// Every one, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$case,)*];

            /// The one with this number, if there is one.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($number => Some(Self::$case),)*
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    /// What is asked for. Behind each: its fields → those of the answer.
    Op {
        /// A new map. Pairs (items) → id of the object (16 bytes).
        NewMap = 1,
        /// A new list. Items → id of the object (16 bytes).
        NewList = 2,
        /// The client has no use for the object any more. No answer.
        Release = 3,
        /// Somebody else is told of the object: it stays as long as the manager.
        Keep = 4,
        /// Every object that this client has made stays as long as the manager. No answer.
        KeepAll = 5,
        /// The manager ends.
        ShutDown = 6,
        /// Name (item) → id of the map of that name, which is new and empty if there was none. With pairs (items) behind the
        /// name, a new one has those.
        NamedMap = 8,
        /// Name (item) → id of the list of that name, which is new and empty if there was none. With items behind the name, a
        /// new one has those.
        NamedList = 9,
        /// → number of objects (u64), bytes that they take (u64), most that they may (u64).
        Usage = 7,

        /// Key → item or none.
        MapGet = 16,
        /// Key, item → whether it is new (u8).
        MapSet = 17,
        /// Key, item → what was there before, or none.
        MapInsert = 18,
        /// Key → what was there, or none.
        MapRemove = 19,
        /// Key → whether it is there (u8).
        MapContains = 20,
        /// → number of keys (u64).
        MapLength = 21,
        /// Nothing.
        MapClear = 22,
        /// Which ([`KEYS`] and [`VALUES`], u8) → version (u64), items.
        MapItems = 23,
        /// Once (item or none), pairs (items) → whether it was done (u8). With `once`, only if no request with the same item
        /// has been.
        MapUpdate = 24,
        /// Keys (items) → for each, item or none.
        MapGetMany = 25,
        /// Key, item → what is there now.
        MapGetOrInsert = 26,
        /// → the newest key and its item, or none.
        MapPopItem = 27,
        /// Once, then for each key: key, i64 (count u32 in front) → whether it was done (u8), the sums (i64 each, count u32
        /// in front).
        MapAdd = 28,
        /// Key, expected item or none, new item or none → whether it was so and is done (u8), item or none that was there.
        MapSwap = 29,
        /// Version or [`ANY_VERSION`] (u64), pairs (items) → whether it was that version, and is replaced (u8).
        MapReplace = 30,
        /// Key, what is known (item or none), nanoseconds (u64; [`FOREVER`]) → what is there instead, item or none.
        MapWait = 31,

        /// At which place (i64) → item.
        ListGet = 48,
        /// At which place (i64), item → nothing.
        ListSet = 49,
        /// Items → nothing: they are at the end.
        ListPush = 50,
        /// At which place (i64) → the item that is no longer there.
        ListPop = 51,
        /// From (i64), to (i64; [`END`]), items: in place of those between → nothing.
        ListSplice = 52,
        /// From (i64), to (i64; [`END`]) → version (u64), items.
        ListItems = 53,
        /// → how many (u64).
        ListLength = 54,
        /// Item → its first place (u64), or [`NOWHERE`].
        ListIndex = 55,
        /// Item → how often it is there (u64).
        ListCount = 56,
        /// The other way round.
        ListReverse = 57,
        /// How often (u64): behind itself.
        ListRepeat = 58,
        /// Version or [`ANY_VERSION`] (u64), items → whether it was that version, and is replaced (u8).
        ListReplace = 59,

        /// Type (item), arguments (item, an array) → id of a new object of the module's type.
        NewObject = 64,
        /// Name (item), type (item), arguments (item, an array) → id of the object of that name, which is new if there was
        /// none.
        NamedObject = 65,
        /// Method (item), arguments (item, an array) → its result, an item. Where that makes an object, which is the client's: a
        /// proxy of it.
        CallMethod = 66,

        // What is used together, of a `Kind`. A holder (16 bytes) is a thread; none is the client itself. Times are
        // nanoseconds (u64; `FOREVER`); where one is up, the answer is `Status::TimedOut`.
        /// Kind (u8), number (u32) → id of the object (16 bytes).
        NewShared = 96,
        /// Name (item), kind (u8), number (u32) → id of the object of that name, which is new if there was none.
        NamedShared = 97,
        /// The client no longer waits for the answer to the request of this number (u32). No answer. What it was given by that
        /// one is taken back.
        GiveUp = 98,
        /// Holder, time → fence (u64), whether who held it before is gone (u8).
        LockAcquire = 99,
        /// Holder, fence or [`ANY_FENCE`] (u64) → nothing.
        LockRelease = 100,
        /// Holder → how often it holds the lock (u32); 0 if nobody does, [`ELSEWHERE`] if somebody else does.
        LockHeld = 101,
        /// Whether it comes back when the client is gone (u8), time → nothing.
        SemaphoreAcquire = 102,
        /// Whether it was one that comes back (u8), permits (u32) → nothing.
        SemaphoreRelease = 103,
        /// → permits (u32).
        SemaphoreValue = 104,
        /// Whether it is to be set (u8) → nothing.
        EventSet = 105,
        /// → whether it is set (u8).
        EventIsSet = 106,
        /// Time → nothing.
        EventWait = 107,
        /// Holder, time → whether it was notified (u8), and as [`Op::LockAcquire`]. The time being up is no status of its own.
        ConditionWait = 108,
        /// Holder, at most how many (u32) → nothing.
        ConditionNotify = 109,
        /// Time → which of the parties this is (u32). When the time is up, the barrier is broken.
        BarrierWait = 110,
        /// Whether it is to be as new, and not broken (u8) → nothing.
        BarrierBreak = 111,
        /// → parties (u32), how many wait (u32), whether it is broken (u8).
        BarrierState = 112,
        /// Time, item → nothing.
        QueuePut = 113,
        /// Time → item.
        QueueGet = 114,
        /// → how many items (u64), how many there may be (u32; 0: any number).
        QueueLength = 115,
        /// One item is dealt with → nothing.
        QueueTaskDone = 116,
        /// Time → nothing: all items are dealt with.
        QueueJoin = 117,
        /// Whether what is in it is dropped (u8) → nothing.
        QueueShutDown = 118,
        /// → names and kinds of everything that has a name (items in pairs; the kind is one byte: [`MAP`], [`LIST`], [`OBJECT`],
        /// [`POOL`] or that of a [`Kind`]).
        Names = 119,

        // Pools, and jobs of theirs: calls of a task, each an item with its arguments, an array. Only who has made a job knows of it.
        /// How many processes (u32; 0: one for each CPU), tasks after which each is replaced (u32; 0: never), the [`Policy`] of calls
        /// that say nothing else, the task that prepares each instance (item, or none), and if there is one its arguments (item),
        /// an array → id of a new pool.
        NewPool = 128,
        /// Name (item), and then as [`NewPool`](Self::NewPool) → id of the pool of that name, which is new if there was none.
        NamedPool = 129,
        /// Task (item), items for one call of a worker (u32; 0: the pool's choice), [`Policy`], items, whether that was all (u8) →
        /// id of a new job, when the pool has taken the items.
        PoolSubmit = 130,
        /// No more jobs → nothing.
        PoolClose = 131,
        /// End everything → nothing.
        PoolTerminate = 132,
        /// Time → nothing: none of its processes is left.
        PoolJoin = 133,
        /// More items of a job, whether that was all (u8) → nothing, when the pool has taken them.
        JobSubmit = 134,
        /// How many outcomes have been read (u64): those are forgotten. Whether the job is to be over (u8), or has to have
        /// another outcome; time → how it is over ([`OPEN`] and the others, u8), words for that (item), outcomes behind those
        /// that have been read (count u32 in front): of which item (u64), whether there is a result (u8), the result or the CBOR
        /// of a task error (item). While there are more than fit, it is said to be open.
        JobOutcomes = 135,
        /// End a job → whether it was not over (u8).
        JobCancel = 136,
        /// How many processes it has from now on (u32) → nothing.
        PoolResize = 137,
    }
}

numbered! {
    /// What became of a request.
    Status {
        /// The fields are as [`Op`] says.
        Done = 0,
        /// The manager has no such object.
        NoSuchObject = 1,
        /// The object is of another type.
        WrongType = 2,
        /// There is no such place in the list.
        OutOfRange = 3,
        /// What is there is no whole number, or the sum would be none of 64 bits.
        NoNumber = 4,
        /// There would be more in the manager than it may hold.
        Full = 5,
        /// The time was up.
        TimedOut = 6,
        /// The answer would be longer than a message may be.
        TooLarge = 7,
        /// The request makes no sense.
        Malformed = 8,
        /// The code of a type has failed. How: an item, the CBOR of a [`CallError`](crate::CallError).
        Failed = 32,
        /// The object was spoiled by an earlier call. By what: an item, as for [`Failed`](Self::Failed).
        Spoiled = 33,
        /// The module has no such type. Those that it has: items, each the text itself.
        NoSuchType = 34,
        /// The type has no such method. Those that it has: items, each the text itself.
        NoSuchMethod = 35,

        /// Somebody else holds the lock, or nobody does.
        NotOwner = 48,
        /// It was released, or reported as done, more often than acquired.
        TooMany = 49,
        /// The barrier is broken.
        Broken = 50,
        /// The queue is shut down.
        ShutDown = 51,
        /// There is nothing of that size.
        Invalid = 52,
        /// The pool was closed or terminated.
        NotRunning = 53,
        /// The pool was neither closed nor terminated.
        StillRunning = 54,
        /// There may be no more processes.
        ProcessLimit = 55,
        /// The manager has no module, and so no pools.
        NoTasks = 56,
    }
}

numbered! {
    /// What is used together. The number of [`Op::NewShared`] is 0 where none is named.
    Kind {
        /// Mutual exclusion.
        Lock = 1,
        /// The same, which its holder can acquire again.
        RLock = 2,
        /// Permits: their number.
        Semaphore = 3,
        /// The same, of which there are never more.
        BoundedSemaphore = 4,
        /// Something that happens, or has.
        Event = 5,
        /// Something to be notified about, with an rlock of its own: all that can be done with that can be done with this.
        Condition = 6,
        /// A meeting point: of how many.
        Barrier = 7,
        /// Items in a row: how many at most; 0 is any number.
        Queue = 8,
    }
}

/// Among [`Op::Names`]: a map.
pub const MAP: u8 = 128;
/// Among [`Op::Names`]: a list.
pub const LIST: u8 = 129;
/// Among [`Op::Names`]: an object of a module's type.
pub const OBJECT: u8 = 130;
/// Among [`Op::Names`]: a pool.
pub const POOL: u8 = 131;
/// Of a job: it is not over.
pub const OPEN: u8 = 0;
/// Of a job: every item has had its outcome.
pub const COMPLETE: u8 = 1;
/// Of a job: it was ended. The words are the CBOR of a task error.
pub const CANCELLED: u8 = 2;
/// Of a job: it could not begin. The words are a text that says why.
pub const REFUSED: u8 = 3;
/// Of a job: the pool has given up. The words are a text that says why.
pub const BROKEN: u8 = 4;
/// Of a job: there was no room for its results.
pub const OVERFULL: u8 = 5;
/// In [`Op::LockRelease`]: whichever it is.
pub const ANY_FENCE: u64 = u64::MAX;
/// In [`Op::LockHeld`]: somebody else holds it.
pub const ELSEWHERE: u32 = u32::MAX;
/// In [`Op::MapItems`]: the keys.
pub const KEYS: u8 = 1;
/// In [`Op::MapItems`]: the values. With the keys: behind each its value.
pub const VALUES: u8 = 2;
/// Whatever the version is.
pub const ANY_VERSION: u64 = u64::MAX;
/// A place behind every other.
pub const END: i64 = i64::MAX;
/// What is in no place.
pub const NOWHERE: u64 = u64::MAX;
/// As long as it takes.
pub const FOREVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_one_thing_each() {
        for op in Op::ALL {
            assert_eq!(Op::from_code(*op as u8), Some(*op));
        }
        for status in Status::ALL {
            assert_eq!(Status::from_code(*status as u8), Some(*status));
        }
        assert_eq!(Op::from_code(0), None);
        assert_eq!(Status::from_code(99), None);
    }
}
