//! What a manager holds, and how it serves requests: bytes in, bytes out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};
use wasmp_manager::protocol::{
    ANSWER_HEAD, FOREVER, Fields, Id, Kind, LIST, MAP, MAX_MESSAGE, OBJECT, Op, Status, Writer,
};

use super::custom::{Custom, Types};
use super::list::List;
use super::map::Map;
use super::pool::{Books, JobKey, Ledger, Pools, Resizing};
use super::sync::{self, Shared, Step, Waiters};

/// What an object takes beside what is in it.
pub(super) const OBJECT_BYTES: u64 = 256;

/// What a wait takes beside what it waits for.
const WAITING_BYTES: u64 = 128;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Over which connection: that is where the answer goes.
    pub(crate) connection: u32,
    /// On whose behalf: one client may have several connections.
    pub(crate) client: u32,
}

/// Nobody: for what happens because somebody is not there.
const NOBODY: Caller = Caller {
    connection: 0,
    client: u32::MAX,
};

/// How many bytes there may be.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    used: u64,
    max: u64,
}

impl Budget {
    /// Gives so many bytes back, and takes so many.
    pub(super) fn exchange(&mut self, old: u64, new: u64) -> Result<(), Status> {
        if new > old {
            self.has_room(new - old)?;
        }
        self.used = self.used - old + new;
        Ok(())
    }

    pub(super) fn has_room(&self, bytes: u64) -> Result<(), Status> {
        match self.used.checked_add(bytes) {
            Some(used) if used <= self.max => Ok(()),
            _ => Err(Status::Full),
        }
    }

    /// How many more there may be.
    pub(super) fn room(&self) -> u64 {
        self.max.saturating_sub(self.used)
    }

    /// Half of what there may be.
    pub(super) fn half(&self) -> u64 {
        self.max / 2
    }

    pub(super) fn give_back(&mut self, bytes: u64) {
        self.used -= bytes;
    }

    /// The same, were these given back.
    pub(super) fn without(&self, bytes: u64) -> Self {
        Self {
            used: self.used - bytes,
            max: self.max,
        }
    }
}

/// What a request has to have.
pub(super) fn malformed<T>(field: Option<T>) -> Result<T, Status> {
    field.ok_or(Status::Malformed)
}

/// Whether the answer may still become one.
pub(super) fn no_longer_than_may_be(answer: &Writer<'_>) -> Result<(), Status> {
    if answer.0.len() <= MAX_MESSAGE {
        Ok(())
    } else {
        Err(Status::TooLarge)
    }
}

#[derive(Debug)]
pub(super) enum Content {
    Map(Map),
    List(List),
    Custom(Custom),
    Shared(Box<Shared>),
    /// One of the [`Pools`], by the same id.
    Pool,
    /// A job of one, and what it counts.
    Job(JobKey, u64),
}

impl Content {
    /// What it counts in the budget.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Map(map) => map.bytes(),
            Self::List(list) => list.bytes(),
            Self::Custom(custom) => custom.bytes(),
            Self::Shared(shared) => shared.bytes(),
            Self::Pool => 0,
            Self::Job(_, bytes) => *bytes,
        }
    }

    /// What it is, among [`Op::Names`].
    fn kind(&self) -> u8 {
        match self {
            Self::Map(_) => MAP,
            Self::List(_) => LIST,
            Self::Custom(_) => OBJECT,
            Self::Shared(shared) => shared.kind() as u8,
            Self::Pool => Pools::KIND,
            // It never has a name.
            Self::Job(..) => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) content: Content,
    /// Who has made it, as long as nobody else knows of it: it goes with that one.
    pub(super) owner: Option<u32>,
}

impl Object {
    /// It stays when its owner goes. What was called is the caller's, and ends with it.
    fn keep(&mut self) {
        if !matches!(self.content, Content::Job(..)) {
            self.owner = None;
        }
    }
}

/// An id that nobody can guess.
pub(super) fn new_id() -> Result<Id, Status> {
    let mut bits = [0; Id::LEN];
    // Up to 256 bytes come whole.
    getrandom(&mut bits, GetRandomFlags::empty()).map_err(|_| Status::Full)?;
    Ok(Id::new(bits))
}

/// A request that waits for a key to have another value.
#[derive(Debug)]
struct Waiting {
    connection: u32,
    sequence: u32,
    object: Id,
    key: Box<[u8]>,
    known: Option<Box<[u8]>>,
    /// `None`: for ever.
    until: Option<Instant>,
}

impl Waiting {
    /// What it counts in the budget.
    fn bytes(&self) -> u64 {
        WAITING_BYTES + (self.key.len() + self.known.as_ref().map_or(0, |known| known.len())) as u64
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// The answer is written.
    Answered,
    /// There is no answer, or not yet.
    Silent,
    /// The answer is written, and is the last.
    Last,
    /// There is an answer when a pool was asked for: see [`Store::wish`] and [`Store::hired`].
    Hire,
    /// The answer is written, if a pool can be as this says: see [`Store::resized`].
    Resize(Resizing),
}

/// An answer for somebody who has waited.
#[derive(Debug)]
pub(crate) struct Late {
    /// Who it is for.
    pub(crate) connection: u32,
    sequence: u32,
    said: Result<Said, Status>,
}

#[derive(Debug)]
enum Said {
    /// An item or none.
    There(Option<Arc<[u8]>>),
    Fields(Arc<[u8]>),
}

impl Late {
    fn new(connection: u32, sequence: u32, said: Result<Said, Status>) -> Self {
        Self {
            connection,
            sequence,
            said,
        }
    }

    pub(super) fn answer(connection: u32, sequence: u32, fields: Vec<u8>) -> Self {
        Self::shared(connection, sequence, fields.into())
    }

    /// The same for many.
    pub(super) fn shared(connection: u32, sequence: u32, fields: Arc<[u8]>) -> Self {
        Self::new(connection, sequence, Ok(Said::Fields(fields)))
    }

    pub(super) fn item(connection: u32, sequence: u32, item: Arc<[u8]>) -> Self {
        Self::new(connection, sequence, Ok(Said::There(Some(item))))
    }

    pub(super) fn refusal(connection: u32, sequence: u32, status: Status) -> Self {
        Self::new(connection, sequence, Err(status))
    }

    /// Writes it: each when it is sent, since one value may be the answer for many.
    pub(crate) fn write(&self, answer: &mut Vec<u8>) {
        let said = match &self.said {
            Ok(said) => said,
            Err(status) => return refuse(self.sequence, *status, answer),
        };
        answer.clear();
        let mut writer = Writer(answer);
        writer.u32(self.sequence);
        writer.u8(Status::Done as u8);
        match said {
            Said::There(there) => writer.option(there.as_deref()),
            Said::Fields(fields) => writer.0.extend_from_slice(fields),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(super) objects: HashMap<Id, Object>,
    /// Those that have a name: they are never removed.
    pub(super) names: HashMap<Box<[u8]>, Id>,
    pub(super) budget: Budget,
    /// What makes objects of the module's types, if there is a module.
    pub(super) types: Option<Box<dyn Types>>,
    /// How many of them there are.
    pub(super) customs: usize,
    waiting: Vec<Waiting>,
    pub(super) waiters: Waiters,
    pub(super) pools: Pools,
    pub(super) ledger: Ledger,
    /// Answers to those whose wait is over.
    pub(super) late: Vec<Late>,
}

impl Store {
    /// An empty one, which holds at most so many bytes.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self {
            objects: HashMap::new(),
            names: HashMap::new(),
            budget: Budget {
                used: 0,
                max: max_bytes,
            },
            types: None,
            customs: 0,
            waiting: Vec::new(),
            waiters: Waiters::default(),
            pools: Pools::new(),
            ledger: Ledger::default(),
            late: Vec::new(),
        }
    }

    /// The same, with pools, which take at most so many bytes of items at once, and have a process for each of so many CPUs unless
    /// somebody says how many.
    pub(crate) fn with_pools(mut self, max_block: usize, cpus: u32) -> Self {
        self.pools.allow(max_block, cpus);
        self
    }

    /// The same, with objects of these types.
    pub(crate) fn with_types(self, types: Box<dyn Types>) -> Self {
        Self {
            types: Some(types),
            ..self
        }
    }

    /// Whether there are answers for somebody who has waited.
    pub(crate) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Serves a request, and writes the answer.
    pub(crate) fn serve(
        &mut self,
        caller: Caller,
        request: &[u8],
        answer: &mut Vec<u8>,
        now: impl Fn() -> Instant,
    ) -> Served {
        // Who asks something has given up what it waited for.
        self.give_up(caller.connection);
        let mut fields = Fields(request);
        let sequence = fields.u32().unwrap_or_default();
        let head = fields.u8().zip(fields.id());
        if head.is_none_or(|(op, _)| op != Op::GiveUp as u8) {
            self.waiters.has_read(caller.connection, &mut self.budget);
        }
        answer.clear();
        let mut writer = Writer(answer);
        writer.u32(sequence);
        writer.u8(Status::Done as u8);
        let served = match head.and_then(|(op, id)| Some((Op::from_code(op)?, id))) {
            Some((op, id)) => {
                let fields = (sequence, fields);
                match self.serve_op(caller, (op, id), fields, &mut writer, &now) {
                    // Then nothing was done. There may be room if it is needed.
                    Err(Status::Full) if self.waiters.make_room(&mut self.budget) => {
                        writer.0.truncate(ANSWER_HEAD);
                        self.serve_op(caller, (op, id), fields, &mut writer, &now)
                    }
                    served => served,
                }
            }
            None => Err(Status::Malformed),
        };
        served.unwrap_or_else(|status| {
            refuse(sequence, status, answer);
            Served::Answered
        })
    }

    fn serve_op(
        &mut self,
        caller: Caller,
        (op, id): (Op, Id),
        (sequence, mut fields): (u32, Fields<'_>),
        answer: &mut Writer<'_>,
        now: &impl Fn() -> Instant,
    ) -> Result<Served, Status> {
        match op {
            Op::NewMap | Op::NewList | Op::NewShared => {
                let id = self.create(Some(caller.client), (op, fields))?;
                answer.id(id);
            }
            Op::NamedMap | Op::NamedList | Op::NamedShared => {
                let name = malformed(fields.item())?;
                answer.id(self.named(name, (op, fields))?);
            }
            Op::Names => {
                answer.u32(self.names.len() as u32 * 2);
                for (name, id) in &self.names {
                    answer.item(name);
                    answer.item(&[self.objects[id].content.kind()]);
                    no_longer_than_may_be(answer)?;
                }
            }
            Op::GiveUp => {
                let sequence = malformed(fields.u32())?;
                self.take_back(caller, Some(sequence));
                return Ok(Served::Silent);
            }
            Op::NewPool | Op::NamedPool => return self.want_pool(op, fields, answer),
            Op::NewObject | Op::NamedObject => self.custom(caller.client, op, fields, answer)?,
            Op::Release => {
                // Nobody but who has called it knows of a job, over whatever connection of theirs.
                if self.objects.get(&id).is_some_and(|object| {
                    object.owner == Some(caller.client) || matches!(object.content, Content::Job(..))
                }) {
                    self.remove(id);
                }
                return Ok(Served::Silent);
            }
            Op::Keep => self.objects.get_mut(&id).ok_or(Status::NoSuchObject)?.keep(),
            Op::KeepAll => {
                let theirs = |object: &&mut Object| object.owner == Some(caller.client);
                self.objects.values_mut().filter(theirs).for_each(Object::keep);
                return Ok(Served::Silent);
            }
            Op::ShutDown => return Ok(Served::Last),
            Op::Usage => {
                answer.u64(self.objects.len() as u64);
                answer.u64(self.budget.used);
                answer.u64(self.budget.max);
            }
            Op::MapWait => return self.wait(caller.connection, id, (sequence, fields), answer, now),
            _ => {
                let object = self.objects.get_mut(&id).ok_or(Status::NoSuchObject)?;
                match &mut object.content {
                    Content::Pool => return self.serve_pool(caller, (op, id), (sequence, fields), answer, now),
                    Content::Job(job, _) => {
                        let job = *job;
                        return self.serve_job(caller, (op, job), (sequence, fields), answer, now);
                    }
                    Content::Shared(shared) => {
                        let mut step = Step {
                            object: id,
                            caller,
                            sequence,
                            waiters: &mut self.waiters,
                            budget: &mut self.budget,
                            late: &mut self.late,
                            now,
                        };
                        return sync::serve(shared, &mut step, op, fields, answer);
                    }
                    Content::List(list) => list.serve(op, fields, answer, &mut self.budget)?,
                    Content::Custom(custom) => {
                        if let Some(order) = custom.serve(op, fields, answer, &mut self.budget)? {
                            self.make_returned(caller.client, &order, answer)?;
                        }
                    }
                    Content::Map(map) => {
                        let before = map.version();
                        map.serve(op, fields, answer, &mut self.budget)?;
                        if map.version() != before && !self.waiting.is_empty() {
                            self.wake(id);
                        }
                    }
                }
            }
        }
        Ok(Served::Answered)
    }

    fn create(&mut self, owner: Option<u32>, (op, mut fields): (Op, Fields<'_>)) -> Result<Id, Status> {
        let id = new_id()?;
        // Changed only if it succeeds.
        let mut budget = self.budget.clone();
        budget.exchange(0, OBJECT_BYTES)?;
        let content = match op {
            Op::NewMap | Op::NamedMap => Content::Map(Map::new(&malformed(fields.items())?, &mut budget)?),
            Op::NewList | Op::NamedList => Content::List(List::new(&malformed(fields.items())?, &mut budget)?),
            _ => {
                let (kind, number) = malformed(fields.u8().zip(fields.u32()))?;
                Content::Shared(Box::new(Shared::new(malformed(Kind::from_code(kind))?, number)?))
            }
        };
        self.budget = budget;
        self.objects.insert(id, Object { content, owner });
        Ok(id)
    }

    /// The object of this name, which belongs to nobody.
    fn named(&mut self, name: &[u8], (op, fields): (Op, Fields<'_>)) -> Result<Id, Status> {
        if let Some(id) = self.names.get(name) {
            let is_it = match op {
                Op::NamedMap => MAP,
                Op::NamedList => LIST,
                _ => malformed(Fields(fields.0).u8())?,
            } == self.objects[id].content.kind();
            return if is_it { Ok(*id) } else { Err(Status::WrongType) };
        }
        let bytes = name.len() as u64;
        self.budget.exchange(0, bytes)?;
        // Without items behind the name it is empty.
        let fields = if fields.is_empty() { Fields(&[0; 4]) } else { fields };
        let created = self.create(None, (op, fields));
        let id = created.inspect_err(|_| self.budget.give_back(bytes))?;
        self.names.insert(name.into(), id);
        Ok(id)
    }

    fn remove(&mut self, id: Id) {
        let Some(object) = self.objects.remove(&id) else { return };
        let mut books = Books {
            budget: &mut self.budget,
            late: &mut self.late,
            ledger: &mut self.ledger,
        };
        match object.content {
            Content::Custom(_) => self.customs -= 1,
            Content::Pool => self.pools.pool_is_let_go(id, &mut books),
            Content::Job(job, _) => self.pools.job_is_let_go(job, &mut books),
            _ => {}
        }
        self.budget.give_back(OBJECT_BYTES + object.content.bytes());
        self.wake(id);
        self.waiters.object_is_gone(id, &mut self.budget, &mut self.late);
    }

    /// Nobody waits any more at the other end of this connection.
    pub(crate) fn give_up(&mut self, connection: u32) {
        if !self.waiting.is_empty() {
            self.end_waits(|_, waiting| (waiting.connection == connection).then_some(None));
        }
        if let Some((id, withdrawn)) = self.waiters.take_waiting(connection) {
            self.budget.give_back(withdrawn.bytes());
            self.step_aside(id, NOBODY, |shared, step| shared.withdraw(step, withdrawn));
        }
        if let Some(unheard) = self.pools.give_up(connection, &mut self.budget, &mut self.ledger) {
            self.remove(unheard);
        }
    }

    /// What this caller was given by the answer to that request, or by the last one, was not taken.
    fn take_back(&mut self, caller: Caller, sequence: Option<u32>) {
        let grant = self.waiters.take_grant(caller.connection, sequence, &mut self.budget);
        if let Some((id, unread)) = grant {
            self.step_aside(id, caller, |shared, step| shared.take_back(step, caller.client, unread));
        }
    }

    /// A step of an object that nobody has asked for.
    fn step_aside(&mut self, id: Id, caller: Caller, work: impl FnOnce(&mut Shared, &mut Step<'_>)) {
        if let Some(Object {
            content: Content::Shared(shared),
            ..
        }) = self.objects.get_mut(&id)
        {
            let mut step = Step {
                object: id,
                caller,
                sequence: 0,
                waiters: &mut self.waiters,
                budget: &mut self.budget,
                late: &mut self.late,
                now: &Instant::now,
            };
            work(shared, &mut step);
        }
    }

    /// A connection has ended; `read`: everything that was sent over it was read.
    pub(crate) fn leave(&mut self, caller: Caller, read: bool) {
        self.give_up(caller.connection);
        let unsent = self.late.iter().any(|late| late.connection == caller.connection);
        if !read || unsent {
            self.take_back(caller, None);
        }
        self.waiters.has_read(caller.connection, &mut self.budget);
    }

    /// This client is gone, and with it what nobody else knows of.
    pub(crate) fn forget(&mut self, client: u32) {
        let mut books = Books {
            budget: &mut self.budget,
            late: &mut self.late,
            ledger: &mut self.ledger,
        };
        self.pools.forget(client, &mut books);
        let theirs = |(id, object): (&Id, &Object)| (object.owner == Some(client)).then_some(*id);
        let orphans: Vec<Id> = self.objects.iter().filter_map(theirs).collect();
        for id in orphans {
            self.remove(id);
        }
        let shared = |(id, object): (&Id, &Object)| matches!(object.content, Content::Shared(_)).then_some(*id);
        let shared: Vec<Id> = self.objects.iter().filter_map(shared).collect();
        for id in shared {
            self.step_aside(id, NOBODY, |shared, step| shared.forget(step, client));
        }
    }

    fn map(&self, id: Id) -> Result<&Map, Status> {
        match self.objects.get(&id).map(|object| &object.content) {
            Some(Content::Map(map)) => Ok(map),
            Some(_) => Err(Status::WrongType),
            None => Err(Status::NoSuchObject),
        }
    }

    fn wait(
        &mut self,
        connection: u32,
        object: Id,
        (sequence, mut fields): (u32, Fields<'_>),
        answer: &mut Writer<'_>,
        now: &impl Fn() -> Instant,
    ) -> Result<Served, Status> {
        let (key, known) = malformed(fields.item().zip(fields.option()))?;
        let nanoseconds = malformed(fields.u64())?;
        let there = self.map(object)?.get(key);
        if there != known {
            answer.option(there);
            return Ok(Served::Answered);
        }
        if nanoseconds == 0 {
            return Err(Status::TimedOut);
        }
        let until = (nanoseconds != FOREVER).then(|| now().checked_add(Duration::from_nanos(nanoseconds)));
        let waiting = Waiting {
            connection,
            sequence,
            object,
            key: key.into(),
            known: known.map(Box::from),
            until: until.flatten(),
        };
        self.budget.exchange(0, waiting.bytes())?;
        self.waiting.push(waiting);
        Ok(Served::Silent)
    }

    /// Ends those waits for which `over` is something: with that answer, if it is one.
    fn end_waits(&mut self, over: impl Fn(&Self, &Waiting) -> Option<Option<Result<Option<Arc<[u8]>>, Status>>>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|one| {
            let Some(answer) = over(self, one) else { return true };
            self.budget.give_back(one.bytes());
            if let Some(there) = answer {
                let said = there.map(Said::There);
                self.late.push(Late::new(one.connection, one.sequence, said));
            }
            false
        });
        self.waiting = waiting;
    }

    /// Answers those who wait for what has become true of this object.
    fn wake(&mut self, id: Id) {
        self.end_waits(|store, one| {
            if one.object != id {
                return None;
            }
            match store.map(id) {
                Ok(map) if map.get(&one.key) == one.known.as_deref() => None,
                Ok(map) => Some(Some(Ok(map.share(&one.key)))),
                Err(status) => Some(Some(Err(status))),
            }
        });
    }

    /// When the next wait is over for its time being up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let maps = self.waiting.iter().filter_map(|waiting| waiting.until);
        maps.chain(self.waiters.next_deadline())
            .chain(self.pools.next_deadline())
            .min()
    }

    /// Answers those whose time is up.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.end_waits(|_, waiting| {
            let over = waiting.until.is_some_and(|until| until <= now);
            over.then_some(Some(Err(Status::TimedOut)))
        });
        let mut books = Books {
            budget: &mut self.budget,
            late: &mut self.late,
            ledger: &mut self.ledger,
        };
        self.pools.expire(now, &mut books);
        for connection in self.waiters.late(now) {
            // One may have been answered because of another.
            if let Some((id, withdrawn)) = self.waiters.take_waiting(connection) {
                self.budget.give_back(withdrawn.bytes());
                self.step_aside(id, NOBODY, |shared, step| shared.too_late(step, withdrawn));
            }
        }
    }

    /// The answers to those whose wait is over.
    pub(crate) fn take_late(&mut self) -> Vec<Late> {
        std::mem::take(&mut self.late)
    }
}

#[cfg(test)]
impl Store {
    /// Does the books once more, and looks for those who wait for what is there.
    pub(super) fn audit(&self) {
        let objects: u64 = self
            .objects
            .values()
            .map(|object| OBJECT_BYTES + object.content.bytes())
            .sum();
        let names: u64 = self.names.keys().map(|name| name.len() as u64).sum();
        let waiting: u64 = self.waiting.iter().map(Waiting::bytes).sum();
        assert_eq!(
            self.budget.used,
            objects + names + waiting + self.waiters.bytes() + self.pools.bytes(&self.ledger)
        );
        assert!(self.budget.used <= self.budget.max);
        for (id, object) in &self.objects {
            if let Content::Shared(shared) = &object.content {
                assert!(!self.waiters.wait_for_nothing(*id, shared), "{shared:?}");
            }
        }
    }
}

/// Writes an answer that says why there is none.
pub(crate) fn refuse(sequence: u32, status: Status, answer: &mut Vec<u8>) {
    answer.clear();
    let mut writer = Writer(answer);
    writer.u32(sequence);
    writer.u8(status as u8);
}
