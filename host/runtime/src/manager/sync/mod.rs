//! What threads and workers use together: a step of each object, and who waits for what.
//!
//! ```text
//! request ── what can be done at once is answered at once
//!       └─── what cannot, waits: in `Waiters`, in the order in which they came, behind all who wait for the same
//! ```
//!
//! After each step what has become possible is done ([`Step::settle`]): nobody waits for what is there, and so whoever comes
//! and finds it there overtakes nobody.
//!
//! # What is given, and to whom
//!
//! Of what a request has given to who asked (a lock, a permit, an item) a [`Grant`] is kept until they ask something else:
//! then they have read the answer. It is taken back if they say that they have given up waiting for it, or are gone before
//! they have read it. An item in a grant counts in the budget, and is forgotten when room is needed.
//!
//! # Death
//!
//! A lock, and a permit that comes back, remember the client over whose connection they were acquired. When that is gone, they
//! are free.

mod barrier;
mod lock;
mod queue;
mod semaphore;
mod step;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use wasmp_manager::protocol::{Fields, Id, Kind, Op, Status, Writer};

use self::barrier::Barrier;
use self::lock::Lock;
use self::queue::Queue;
use self::semaphore::Semaphore;
pub(super) use self::step::Step;
use super::store::{Budget, Caller, Late, Served, malformed};

type Item = Arc<[u8]>;

/// What a wait takes beside what it is about.
const WAITER_BYTES: u64 = 128;

/// An object that is used together.
#[derive(Debug)]
pub(super) enum Shared {
    Lock(Lock),
    Condition(Lock),
    Semaphore(Semaphore),
    Event(bool),
    Barrier(Barrier),
    Queue(Queue),
}

impl Shared {
    /// A new one, as [`Op::NewShared`] says.
    pub(super) fn new(kind: Kind, number: u32) -> Result<Self, Status> {
        Ok(match kind {
            Kind::Lock => Self::Lock(Lock::new(false)),
            Kind::RLock => Self::Lock(Lock::new(true)),
            Kind::Condition => Self::Condition(Lock::new(true)),
            Kind::Semaphore => Self::Semaphore(Semaphore::new(number, false)?),
            Kind::BoundedSemaphore => Self::Semaphore(Semaphore::new(number, true)?),
            Kind::Event => Self::Event(false),
            Kind::Barrier => Self::Barrier(Barrier::new(number)?),
            Kind::Queue => Self::Queue(Queue::new(number)),
            _ => return Err(Status::Malformed),
        })
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Lock(lock) if lock.is_recursive() => Kind::RLock,
            Self::Lock(_) => Kind::Lock,
            Self::Condition(_) => Kind::Condition,
            Self::Semaphore(semaphore) if semaphore.is_bounded() => Kind::BoundedSemaphore,
            Self::Semaphore(_) => Kind::Semaphore,
            Self::Event(_) => Kind::Event,
            Self::Barrier(_) => Kind::Barrier,
            Self::Queue(_) => Kind::Queue,
        }
    }

    /// What it counts in the budget.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Queue(queue) => queue.bytes(),
            _ => 0,
        }
    }
}

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// A client that is one thread.
    Client(u32),
    /// A thread, over whatever connections.
    Thread(Id),
}

impl Holder {
    fn read(fields: &mut Fields<'_>, caller: Caller) -> Result<Self, Status> {
        let id = malformed(fields.id())?;
        Ok(if id == Id::NONE {
            Self::Client(caller.client)
        } else {
            Self::Thread(id)
        })
    }
}

/// A request that waits.
#[derive(Debug)]
struct Waiter {
    caller: Caller,
    sequence: u32,
    object: Id,
    want: Want,
    /// `None`: for ever.
    until: Option<Instant>,
}

/// What for.
#[derive(Debug)]
enum Want {
    Lock(Holder),
    /// To be notified of something.
    Notification(Asleep),
    /// The lock of a condition, again.
    Again(Asleep, Awoken),
    Permit {
        comes_back: bool,
    },
    Event,
    Meeting {
        place: u32,
    },
    Room(Item),
    Item,
    /// That all items are dealt with.
    Dealt,
}

/// Who waits at a condition, and how it held the lock.
#[derive(Clone, Copy, Debug)]
struct Asleep {
    holder: Holder,
    depth: u32,
    since: u64,
}

/// Why it does so no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awoken {
    Notified,
    TooLate,
}

impl Waiter {
    /// What it counts in the budget.
    fn bytes(&self) -> u64 {
        let about = match &self.want {
            Want::Room(item) => item.len(),
            _ => 0,
        };
        WAITER_BYTES + about as u64
    }
}

/// What was given with an answer that may not have been read.
#[derive(Debug)]
struct Grant {
    sequence: u32,
    object: Id,
    given: Given,
}

#[derive(Debug)]
enum Given {
    /// So many levels of a lock, if it is still that one.
    Lock {
        fence: u64,
        levels: u32,
    },
    /// The same, and a notification.
    Notification {
        fence: u64,
        levels: u32,
    },
    Permit {
        comes_back: bool,
    },
    Item(Item),
}

impl Grant {
    /// What it counts in the budget.
    fn bytes(&self) -> u64 {
        match &self.given {
            Given::Item(item) => queue::bytes_of(item),
            _ => 0,
        }
    }
}

/// Who waits, and who was given what just now.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Vec<Waiter>,
    /// By connection.
    grants: HashMap<u32, Grant>,
}

impl Waiters {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|waiter| waiter.until).min()
    }

    /// Who asks something has read all that it was answered before.
    pub(super) fn has_read(&mut self, connection: u32, budget: &mut Budget) {
        if !self.grants.is_empty()
            && let Some(grant) = self.grants.remove(&connection)
        {
            budget.give_back(grant.bytes());
        }
    }

    /// Forgets the items that may not have been read. Whether there were any.
    pub(super) fn make_room(&mut self, budget: &mut Budget) -> bool {
        let before = self.grants.len();
        self.grants.retain(|_, grant| {
            let bytes = grant.bytes();
            budget.give_back(bytes);
            bytes == 0
        });
        self.grants.len() < before
    }

    /// The request by which this connection waits, taken out.
    pub(super) fn take_waiting(&mut self, connection: u32) -> Option<(Id, Withdrawn)> {
        let at = self
            .waiting
            .iter()
            .position(|waiter| waiter.caller.connection == connection)?;
        let waiter = self.waiting.remove(at);
        Some((waiter.object, Withdrawn(waiter)))
    }

    /// What was given to this connection, by the answer to that request, if it is said to which. It counts no longer.
    pub(super) fn take_grant(
        &mut self,
        connection: u32,
        sequence: Option<u32>,
        budget: &mut Budget,
    ) -> Option<(Id, Unread)> {
        let grant = self.grants.get(&connection)?;
        if sequence.is_some_and(|sequence| sequence != grant.sequence) {
            return None;
        }
        let grant = self.grants.remove(&connection)?;
        budget.give_back(grant.bytes());
        Some((grant.object, Unread(grant.given)))
    }

    /// Those whose time is up, as connections.
    pub(super) fn late(&self, now: Instant) -> Vec<u32> {
        let late = self
            .waiting
            .iter()
            .filter(|waiter| waiter.until.is_some_and(|until| until <= now));
        late.map(|waiter| waiter.caller.connection).collect()
    }

    /// Answers all who wait for an object that is not there any more.
    pub(super) fn object_is_gone(&mut self, object: Id, budget: &mut Budget, late: &mut Vec<Late>) {
        self.waiting.retain(|waiter| {
            if waiter.object != object {
                return true;
            }
            budget.give_back(waiter.bytes());
            late.push(Late::refusal(
                waiter.caller.connection,
                waiter.sequence,
                Status::NoSuchObject,
            ));
            false
        });
    }
}

/// A request that waits no longer, and has not been answered.
pub(super) struct Withdrawn(Waiter);

impl Withdrawn {
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

/// What was given, and not taken.
pub(super) struct Unread(Given);

/// Serves a request about an object. What is to be said later is left in the step.
pub(super) fn serve(
    shared: &mut Shared,
    step: &mut Step<'_>,
    op: Op,
    mut fields: Fields<'_>,
    answer: &mut Writer<'_>,
) -> Result<Served, Status> {
    let fields = &mut fields;
    match (shared, op) {
        (Shared::Lock(lock) | Shared::Condition(lock), Op::LockAcquire | Op::LockRelease | Op::LockHeld) => {
            lock.serve(step, op, fields, answer)
        }
        (Shared::Condition(lock), Op::ConditionWait | Op::ConditionNotify) => lock.serve(step, op, fields, answer),
        (Shared::Semaphore(semaphore), _) => semaphore.serve(step, op, fields, answer),
        (Shared::Event(set), Op::EventSet) => {
            *set = malformed(fields.u8())? != 0;
            while *set && step.answer_first(|want| matches!(want, Want::Event), |_| ()) {}
            Ok(Served::Answered)
        }
        (Shared::Event(set), Op::EventIsSet) => {
            answer.u8((*set).into());
            Ok(Served::Answered)
        }
        (Shared::Event(set), Op::EventWait) => {
            let time = malformed(fields.u64())?;
            if *set {
                Ok(Served::Answered)
            } else {
                step.wait(Want::Event, time)
            }
        }
        (Shared::Barrier(barrier), _) => barrier.serve(step, op, fields, answer),
        (Shared::Queue(queue), _) => queue.serve(step, op, fields, answer),
        _ => Err(Status::WrongType),
    }
}

impl Shared {
    /// Somebody has left their place, unanswered.
    pub(super) fn withdraw(&mut self, step: &mut Step<'_>, Withdrawn(waiter): Withdrawn) {
        match (self, waiter.want) {
            // A notification that nobody has heard goes to the next.
            (Self::Condition(lock), Want::Again(_, Awoken::Notified)) => lock.notify(step, 1),
            (Self::Barrier(barrier), Want::Meeting { .. }) => barrier.break_up(step),
            _ => {}
        }
    }

    /// Somebody's time is up.
    pub(super) fn too_late(&mut self, step: &mut Step<'_>, Withdrawn(waiter): Withdrawn) {
        match (&mut *self, waiter.want) {
            (Self::Condition(lock), Want::Notification(asleep)) => {
                step.stand(waiter.caller, waiter.sequence, Want::Again(asleep, Awoken::TooLate));
                lock.settle(step);
            }
            (Self::Barrier(barrier), Want::Meeting { .. }) => {
                step.refuse(waiter.caller, waiter.sequence, Status::Broken);
                barrier.break_up(step);
            }
            _ => step.refuse(waiter.caller, waiter.sequence, Status::TimedOut),
        }
    }

    /// What was given to a client was not taken.
    pub(super) fn take_back(&mut self, step: &mut Step<'_>, client: u32, Unread(given): Unread) {
        match (self, given) {
            (Self::Lock(lock) | Self::Condition(lock), Given::Lock { fence, levels }) => {
                lock.take_back(step, fence, levels);
            }
            (Self::Condition(lock), Given::Notification { fence, levels }) => {
                lock.notify(step, 1);
                lock.take_back(step, fence, levels);
            }
            (Self::Semaphore(semaphore), Given::Permit { comes_back }) => semaphore.take_back(step, client, comes_back),
            (Self::Queue(queue), Given::Item(item)) => queue.take_back(step, item),
            _ => {}
        }
    }

    /// A client is gone.
    pub(super) fn forget(&mut self, step: &mut Step<'_>, client: u32) {
        match self {
            Self::Lock(lock) | Self::Condition(lock) => lock.forget(step, client),
            Self::Semaphore(semaphore) => semaphore.forget(step, client),
            _ => {}
        }
    }
}

#[cfg(test)]
impl Waiters {
    /// What all of it counts in the budget.
    pub(super) fn bytes(&self) -> u64 {
        let waiting = self.waiting.iter().map(Waiter::bytes);
        waiting.chain(self.grants.values().map(Grant::bytes)).sum()
    }

    /// Whether anybody waits for what is there.
    pub(super) fn wait_for_nothing(&self, object: Id, shared: &Shared) -> bool {
        let mut wanted = self
            .waiting
            .iter()
            .filter(|waiter| waiter.object == object)
            .map(|waiter| &waiter.want);
        wanted.any(|want| match (shared, want) {
            (Shared::Lock(lock) | Shared::Condition(lock), Want::Lock(_) | Want::Again(..)) => lock.is_free(),
            (Shared::Condition(_), Want::Notification(_)) => false,
            (Shared::Semaphore(semaphore), Want::Permit { .. }) => semaphore.has_permits(),
            (Shared::Event(set), Want::Event) => *set,
            (Shared::Barrier(barrier), Want::Meeting { .. }) => barrier.is_broken(),
            (Shared::Queue(queue), Want::Room(_) | Want::Item | Want::Dealt) => queue.has(want),
            // Nobody can want this here.
            _ => true,
        })
    }
}
