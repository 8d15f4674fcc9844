//! Every object of this process, its workers, and who keeps what alive.
//!
//! Nothing here waits: the registry's own locks are held for moments, and what a worker can write is recovered without
//! taking a lock in it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use wasmp_abi::{ObjectKind, Status};
use wasmp_ipc::{Mapping, SLOTS, Slot};

use super::message::{Answer, Opened, Request, is_name};
use super::object::{DEFAULT_MAX_MESSAGE, Object, Shape};
use super::token::Token;
use crate::manager::{Reception, reception};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change in here is complete by itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much the workers of a pool may create.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) objects: u64,
    /// The sum of what the objects could hold at most, not of what they hold.
    pub(crate) bytes: u64,
    /// Most bytes of a message in one of them.
    pub(crate) max_message: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            objects: 1024,
            bytes: 64 << 30,
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }
}

/// How much of a quota is used.
#[derive(Debug, Default)]
struct Usage {
    objects: AtomicU64,
    bytes: AtomicU64,
}

/// What a manager takes here, where nothing of it is: as little as there can be.
const MANAGER_BYTES: usize = 4096;

/// What an object takes of a quota, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Charge {
    usage: Arc<Usage>,
    bytes: u64,
}

impl Charge {
    fn new(usage: &Arc<Usage>, quota: Quota, bytes: u64) -> Result<Self, Status> {
        // Held from here on, so that a refusal gives back what it took.
        let charge = Self {
            usage: Arc::clone(usage),
            bytes,
        };
        let objects = usage.objects.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = usage.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if objects > quota.objects {
            return Err(Status::ObjectLimit);
        }
        if bytes > quota.bytes {
            return Err(Status::ByteLimit);
        }
        Ok(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.usage.objects.fetch_sub(1, Ordering::Relaxed);
        self.usage.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One object. It is gone when the last reference to it is.
#[derive(Debug)]
pub(crate) struct Entry {
    /// One token; for a pipe, one for each end.
    tokens: Vec<Token>,
    memory: OwnedFd,
    len: usize,
    size: u64,
    object: Object,
    /// What messages in it refer to.
    kept: Mutex<HashMap<Token, Arc<Entry>>>,
    /// Of a pipe: tokens by which an end goes on its way in a message of the host's, and has not arrived yet.
    on_the_way: Mutex<HashSet<Token>>,
    /// How many handles the host has to each end.
    host_handles: Mutex<[u32; 2]>,
    /// Of a pipe to a manager: that manager, which is there as long as this.
    manager: Option<Arc<Entry>>,
    _charge: Option<Charge>,
}

impl Entry {
    /// Creates an object; the host's own are not counted.
    pub(crate) fn create(shape: &Shape) -> Result<Arc<Self>, CreateError> {
        Self::charged(shape, DEFAULT_MAX_MESSAGE, |_| Ok(None))
    }

    /// A manager, which is there as long as anybody refers to this.
    pub(crate) fn manager(reception: Reception, charge: Option<Charge>) -> Result<Arc<Self>, CreateError> {
        let len = MANAGER_BYTES;
        let (memory, _) = Mapping::create("wasmp-manager", len)?;
        Self::register(1, (memory, len, 0), Object::Manager(reception), None, charge)
    }

    /// A pipe to a manager. The host has both ends open, until it lets go of them.
    pub(crate) fn desk(
        manager: &Arc<Self>,
        charge: impl FnOnce(u64) -> Result<Option<Charge>, Status>,
    ) -> Result<Arc<Self>, CreateError> {
        let shape = Shape::Desk;
        let (len, charge) = Self::charge_for(&shape, DEFAULT_MAX_MESSAGE, charge)?;
        let (memory, mapping) = Mapping::create("wasmp-object", len)?;
        let object = Object::create(&shape, &Arc::new(mapping))?;
        let manager = Some(Arc::clone(manager));
        Self::register(shape.ends(), (memory, len, 0), object, manager, charge)
    }

    fn charge_for(
        shape: &Shape,
        max_message: usize,
        charge: impl FnOnce(u64) -> Result<Option<Charge>, Status>,
    ) -> Result<(usize, Option<Charge>), CreateError> {
        let len = shape.bytes(max_message).ok_or(CreateError::Refused(Status::Invalid))?;
        Ok((len, charge(len as u64).map_err(CreateError::Refused)?))
    }

    fn charged(
        shape: &Shape,
        max_message: usize,
        charge: impl FnOnce(u64) -> Result<Option<Charge>, Status>,
    ) -> Result<Arc<Self>, CreateError> {
        let (len, charge) = Self::charge_for(shape, max_message, charge)?;
        let (memory, mapping) = Mapping::create("wasmp-object", len)?;
        let object = Object::create(shape, &Arc::new(mapping))?;
        Self::register(shape.ends(), (memory, len, shape.size()), object, None, charge)
    }

    /// An object with so many ends, in this memory of so many bytes, of which some are for the user.
    fn register(
        ends: usize,
        (memory, len, size): (OwnedFd, usize, u64),
        object: Object,
        manager: Option<Arc<Self>>,
        charge: Option<Charge>,
    ) -> Result<Arc<Self>, CreateError> {
        let tokens = (0..ends).map(|_| Token::new()).collect::<io::Result<Vec<_>>>()?;
        let entry = Arc::new(Self {
            tokens,
            memory,
            len,
            size,
            object,
            kept: Mutex::default(),
            on_the_way: Mutex::default(),
            host_handles: Mutex::default(),
            manager,
            _charge: charge,
        });
        for (end, token) in entry.tokens.iter().enumerate() {
            REGISTRY.insert(*token, &entry, end);
        }
        Ok(entry)
    }

    /// The object that has this token, and which end of it, if there is one.
    pub(crate) fn by_token(token: Token) -> Option<(Arc<Self>, usize)> {
        let (entry, end) = lock(&REGISTRY.objects).get(&token)?.clone();
        Some((entry.upgrade()?, end))
    }

    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    pub(crate) fn token(&self, end: usize) -> Token {
        self.tokens[end]
    }

    /// How many bytes it has.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Keeps another object alive for as long as this one: a message in this one refers to it.
    pub(crate) fn keep(&self, others: impl IntoIterator<Item = Arc<Entry>>) {
        let mut others = others.into_iter().peekable();
        if others.peek().is_some() {
            lock(&self.kept).extend(others.map(|entry| (entry.tokens[0], entry)));
        }
    }

    /// The host has another handle to this end.
    pub(crate) fn host_opens(&self, end: usize) {
        let mut handles = lock(&self.host_handles);
        handles[end] += 1;
        if handles[end] == 1
            && let Object::Pipe(ends) = &self.object
        {
            // An end that is gone can be held like any other: it is at its end.
            let _ = ends[end].attach(Slot::HOST);
        }
    }

    /// The host has given back a handle to this end.
    pub(crate) fn host_closes(&self, end: usize) {
        let mut handles = lock(&self.host_handles);
        handles[end] -= 1;
        if handles[end] == 0
            && let Object::Pipe(ends) = &self.object
        {
            ends[end].detach(Slot::HOST);
        }
    }

    /// Sends an end of a pipe off on its way, in a message of the host's: a token for this one journey, so that the end can
    /// be taken back if it never arrives.
    pub(crate) fn send_off(self: &Arc<Self>, end: usize) -> io::Result<Token> {
        let token = Token::new()?;
        if let Object::Pipe(ends) = &self.object {
            ends[end].export(Slot::HOST);
            lock(&self.on_the_way).insert(token);
            REGISTRY.insert(token, self, end);
        }
        Ok(token)
    }

    /// What this token stands for has come to a process, which has it open from now on. False: the end of a pipe that
    /// everybody else has closed meanwhile.
    pub(crate) fn arrive(&self, token: Token, end: usize, slot: Slot) -> bool {
        let Object::Pipe(ends) = &self.object else { return true };
        // A token that a worker has handed out counts each time; one of the host's only once.
        if self.tokens.contains(&token) || lock(&self.on_the_way).remove(&token) {
            ends[end].import(slot)
        } else {
            ends[end].attach(slot)
        }
    }

    /// The message with this token will not be opened any more.
    pub(crate) fn take_back(&self, token: Token, end: usize) {
        lock(&REGISTRY.objects).remove(&token);
        if let Object::Pipe(ends) = &self.object
            && lock(&self.on_the_way).remove(&token)
        {
            self.host_opens(end);
            let _ = ends[end].import(Slot::HOST);
            self.host_closes(end);
        }
    }

    /// From now on its tokens open nothing; whoever has it keeps it.
    pub(crate) fn unlink(&self) {
        let mut objects = lock(&REGISTRY.objects);
        for token in &self.tokens {
            objects.remove(token);
        }
    }
}

/// Why an object was not created.
#[derive(Debug)]
pub(crate) enum CreateError {
    Refused(Status),
    /// The system has no memory or no descriptor for it.
    System(io::Error),
}

impl From<io::Error> for CreateError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl CreateError {
    /// What a worker is told.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Refused(status) => *status,
            Self::System(error) => {
                tracing::warn!(%error, "an object cannot be created");
                match error.raw_os_error() {
                    Some(libc::EMFILE | libc::ENFILE) => Status::ObjectLimit,
                    _ => Status::ByteLimit,
                }
            }
        }
    }
}

#[derive(Debug)]
struct Registry {
    objects: Mutex<HashMap<Token, (Weak<Entry>, usize)>>,
    seats: Mutex<Seats>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry {
    objects: Mutex::default(),
    seats: Mutex::new(Seats {
        next: Slot::HOST.number() + 1,
        free: Vec::new(),
    }),
});

impl Registry {
    /// From now on this token opens this end of the object.
    fn insert(&self, token: Token, entry: &Arc<Entry>, end: usize) {
        let mut objects = lock(&self.objects);
        // Whenever the table would have to grow, what is dead makes room first.
        if objects.len() == objects.capacity() {
            objects.retain(|_, (entry, _)| entry.strong_count() > 0);
        }
        objects.insert(token, (Arc::downgrade(entry), end));
    }
}

/// The numbers that workers have in the memory of objects.
#[derive(Debug)]
struct Seats {
    next: usize,
    free: Vec<Slot>,
}

/// A worker's number, and all objects that it may have left something in.
///
/// It is dropped when the worker is dead, which recovers them. Not before: what a living process writes afterwards would
/// be taken for the next one's.
#[derive(Debug)]
pub(crate) struct Seat {
    slot: Slot,
    /// What it has open.
    open: HashMap<Token, Arc<Entry>>,
    /// What it had open once.
    met: HashMap<Token, Weak<Entry>>,
}

impl Seat {
    fn take() -> Result<Self, Status> {
        let mut seats = lock(&REGISTRY.seats);
        let slot = match seats.free.pop() {
            Some(slot) => slot,
            None if seats.next < SLOTS => {
                seats.next += 1;
                Slot::new(seats.next - 1).ok_or(Status::ObjectLimit)?
            }
            None => return Err(Status::ObjectLimit),
        };
        Ok(Self {
            slot,
            open: HashMap::new(),
            met: HashMap::new(),
        })
    }

    /// Its number.
    #[cfg(test)]
    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    fn open(&mut self, entry: Arc<Entry>) {
        self.met.remove(&entry.tokens[0]);
        self.open.insert(entry.tokens[0], entry);
    }

    /// What it left there can still be its own, so it is remembered.
    fn close(&mut self, token: Token) {
        if let Some(entry) = self.open.remove(&token) {
            if self.met.len() == self.met.capacity() {
                self.met.retain(|_, entry| entry.strong_count() > 0);
            }
            self.met.insert(token, Arc::downgrade(&entry));
        }
    }
}

impl Seat {
    /// The worker has said that it is gone: closes what it has open, and takes back what it has left. An honest one touches
    /// nothing after that. One that is lying could have done before whatever it does now, and it is all taken back once more when
    /// it is dead.
    pub(crate) fn leave(&mut self) {
        self.recover();
        let open: Vec<Token> = self.open.keys().copied().collect();
        open.into_iter().for_each(|token| self.close(token));
    }

    /// Takes back whatever was left anywhere under this number.
    fn recover(&self) {
        for entry in self.open.values() {
            entry.object.recover(self.slot);
        }
        for entry in self.met.values().filter_map(Weak::upgrade) {
            entry.object.recover(self.slot);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.recover();
        lock(&REGISTRY.seats).free.push(self.slot);
    }
}

/// What the workers of one pool share.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    quota: Quota,
    usage: Arc<Usage>,
    names: Mutex<HashMap<String, (Arc<Entry>, usize)>>,
    /// Tokens of these were handed out by a worker.
    kept: Mutex<HashMap<Token, Arc<Entry>>>,
}

impl Scope {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            quota,
            ..Self::default()
        }
    }

    /// What a manager takes of the quota, for as long as anybody refers to it: also when it has ended.
    pub(crate) fn charge_for_manager(&self) -> Result<Charge, Status> {
        Charge::new(&self.usage, self.quota, MANAGER_BYTES as u64)
    }

    /// Gives an object a name here. False: it is taken.
    pub(crate) fn name(&self, name: String, entry: &Arc<Entry>, end: usize) -> bool {
        let mut names = lock(&self.names);
        let free = !names.contains_key(&name);
        if free {
            names.insert(name, (Arc::clone(entry), end));
        }
        free
    }

    /// The object of this name.
    pub(crate) fn find(&self, name: &str) -> Option<(Arc<Entry>, usize)> {
        lock(&self.names).get(name).cloned()
    }

    /// Answers a request of the worker on this seat; `None` if there is no answer to it. With the answer comes the object
    /// whose memory goes beside it.
    pub(crate) fn serve(&self, seat: &mut Option<Seat>, request: Request) -> Option<(Answer, Option<Arc<Entry>>)> {
        let served = match request {
            Request::New { shape, name } => self.create(seat, &shape, name),
            Request::Open { kind, token } if kind == ObjectKind::Manager as u8 => self.visit(seat, token),
            Request::Open { kind, token } => Entry::by_token(Token::from_bytes(token))
                .ok_or(Status::NotFound)
                .and_then(|(entry, end)| {
                    let opened = Self::open(seat, Arc::clone(&entry), end, kind)?;
                    let arrived = seat
                        .as_ref()
                        .is_none_or(|seat| entry.arrive(Token::from_bytes(token), end, seat.slot));
                    arrived.then_some(opened).ok_or(Status::NotFound)
                }),
            Request::Find { kind, name } => self.find(&name).ok_or(Status::NotFound).and_then(|(entry, end)| {
                let opened = Self::open(seat, Arc::clone(&entry), end, kind)?;
                match (entry.object(), seat) {
                    (Object::Pipe(ends), Some(seat)) if !ends[end].attach(seat.slot) => Err(Status::NotFound),
                    _ => Ok(opened),
                }
            }),
            Request::Keep { token } => Self::held(seat, token).map(|entry| {
                // Of a pipe to a manager it is the manager that was handed out.
                let entry = entry.manager.clone().unwrap_or(entry);
                lock(&self.kept).insert(entry.tokens[0], entry);
                (Answer::Done, None)
            }),
            Request::Unlink { token } => Self::held(seat, token).and_then(|entry| self.unlink(&entry)),
            Request::Abandon => {
                if let Some(seat) = seat {
                    seat.recover();
                }
                Ok((Answer::Done, None))
            }
            Request::Close { token } => {
                if let Some(seat) = seat {
                    seat.close(Token::from_bytes(token));
                }
                return None;
            }
        };
        Some(served.unwrap_or_else(|status| (Answer::Refused { status: status as u8 }, None)))
    }

    fn create(
        &self,
        seat: &mut Option<Seat>,
        shape: &Shape,
        name: Option<String>,
    ) -> Result<(Answer, Option<Arc<Entry>>), Status> {
        if let Some(name) = &name {
            if !is_name(name) {
                return Err(Status::Invalid);
            }
            if self.find(name).is_some() {
                return Err(Status::Exists);
            }
        }
        let charge = |bytes| Charge::new(&self.usage, self.quota, bytes).map(Some);
        let entry = Entry::charged(shape, self.quota.max_message, charge).map_err(|error| error.status())?;
        let opened = Self::open(seat, Arc::clone(&entry), 0, entry.object.kind() as u8)?;
        if let (Object::Pipe(ends), Some(seat)) = (&entry.object, seat) {
            // Both ends are the worker's, and neither is the host's, which has created them.
            for end in ends.iter() {
                let _ = end.attach(seat.slot);
                end.detach(Slot::HOST);
            }
        }
        if let Some(name) = name {
            self.name(name, &entry, 0);
        }
        Ok(opened)
    }

    /// Lets a worker in to a manager: opens a pipe to it.
    fn visit(
        &self,
        seat: &mut Option<Seat>,
        token: [u8; wasmp_abi::TOKEN_LEN],
    ) -> Result<(Answer, Option<Arc<Entry>>), Status> {
        let (manager, _) = Entry::by_token(Token::from_bytes(token)).ok_or(Status::NotFound)?;
        self.connect(seat, &manager)
    }

    /// Opens a pipe to a manager for a worker.
    pub(crate) fn connect(
        &self,
        seat: &mut Option<Seat>,
        manager: &Arc<Entry>,
    ) -> Result<(Answer, Option<Arc<Entry>>), Status> {
        let Object::Manager(reception) = manager.object() else {
            return Err(Status::WrongKind);
        };
        // A worker has one. Whoever asks for another has forgotten, or would take all places.
        let is_theirs = |pipe: &Arc<Entry>| pipe.manager.as_ref().is_some_and(|theirs| Arc::ptr_eq(theirs, manager));
        if seat.as_ref().is_some_and(|seat| seat.open.values().any(is_theirs)) {
            return Err(Status::ObjectLimit);
        }
        let charge = |bytes| Charge::new(&self.usage, self.quota, bytes).map(Some);
        let pipe = reception.connect(manager, reception::next_client(), charge)?;
        let opened = Self::open(seat, Arc::clone(&pipe), 0, ObjectKind::Connection as u8)?;
        if let (Object::Pipe(ends), Some(seat)) = (pipe.object(), seat) {
            let _ = ends[0].attach(seat.slot);
            ends[0].detach(Slot::HOST);
        }
        Ok(opened)
    }

    fn open(
        seat: &mut Option<Seat>,
        entry: Arc<Entry>,
        end: usize,
        kind: u8,
    ) -> Result<(Answer, Option<Arc<Entry>>), Status> {
        if ObjectKind::from_code(kind) != Some(entry.object.kind()) {
            return Err(Status::WrongKind);
        }
        let seat = match seat {
            Some(seat) => seat,
            None => seat.insert(Seat::take()?),
        };
        seat.open(Arc::clone(&entry));
        let opened = Opened {
            seat: seat.slot.number() as u16,
            kind,
            len: entry.len as u64,
            size: entry.size,
            tokens: entry.tokens.iter().map(|token| token.bytes()).collect(),
            end: end as u8,
            manager: entry.manager.as_ref().map(|manager| manager.token(0).bytes()),
        };
        Ok((Answer::Opened(opened), Some(entry)))
    }

    /// The object with this token, if the worker has it open.
    fn held(seat: &Option<Seat>, token: [u8; wasmp_abi::TOKEN_LEN]) -> Result<Arc<Entry>, Status> {
        let open = |seat: &Seat| seat.open.get(&Token::from_bytes(token)).cloned();
        seat.as_ref().and_then(open).ok_or(Status::NotFound)
    }

    fn unlink(&self, entry: &Arc<Entry>) -> Result<(Answer, Option<Arc<Entry>>), Status> {
        if Entry::by_token(entry.tokens[0]).is_none() {
            return Err(Status::NotFound);
        }
        entry.unlink();
        lock(&self.names).retain(|_, (named, _)| !Arc::ptr_eq(named, entry));
        lock(&self.kept).remove(&entry.tokens[0]);
        Ok((Answer::Done, None))
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
