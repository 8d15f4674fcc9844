//! The worker's side of shared objects: what is open, and under which numbers the guest knows it.
//!
//! The memory of an object is mapped once, however many handles there are to it. Handles belong to the instance: when it
//! ends, what it held is recovered as if this process had died.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use wasmp_abi::{HOME_TOKEN, ObjectKind, Status};
use wasmp_ipc::{Gauges, Interrupt, Limit, Mapping, Party, Slot};
use wasmp_manager::protocol::{Id, Op, Writer};

use super::interruption;
use super::windows::Windows;
use crate::objects::message::{Answer, Ask, MAX_MESSAGE, Opened, PoolRequest, Request, TokenBytes};
use crate::objects::{Object, Shape};
use crate::process::control::Channel;
use crate::process::message::{decode, encode};

/// Most handles of an instance: the lower half of a handle is a place in the table.
const MAX_HANDLES: usize = 1 << 16;

/// How often a place in the table is used before its numbers begin again: the upper half of a handle, which stays positive.
const GENERATIONS: u32 = 1 << 15;

/// An object that this worker has open.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) object: Object,
    pub(super) memory: Arc<Mapping>,
    /// One token; for a pipe, those of both ends.
    tokens: Vec<TokenBytes>,
    /// How many handles there are to each end.
    handles: [AtomicU32; 2],
    /// Of a pipe to a manager: the token of that, which stands for it in messages.
    manager: Option<TokenBytes>,
    /// The host knows that its token was handed out.
    kept: AtomicBool,
}

impl Held {
    /// What a handle to it is, for the guest.
    pub(super) fn kind(&self) -> ObjectKind {
        match self.manager {
            Some(_) => ObjectKind::Manager,
            None => self.object.kind(),
        }
    }
}

/// What a number of the guest stands for.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) held: Arc<Held>,
    /// Which end of a pipe.
    pub(super) end: usize,
}

/// One place in the table of handles.
#[derive(Debug)]
struct Place {
    generation: u32,
    handle: Option<Handle>,
}

/// Why there is no object: something that the guest can deal with, or the end of this worker.
#[derive(Debug)]
pub(super) enum OpenError {
    Refused(Status),
    Io(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug)]
pub(super) struct Objects {
    control: Channel,
    /// Ends the waits of this worker; goes to the party.
    interrupt: Option<Interrupt>,
    /// Known with the first object.
    party: Option<Party>,
    /// Where to note the time that is spent waiting, if anybody wants to know it.
    clock: Option<Arc<Gauges>>,
    places: Vec<Place>,
    free: Vec<usize>,
    /// By their first token.
    open: HashMap<TokenBytes, Weak<Held>>,
    /// The pipes to managers, by the tokens of these: each manager has this worker as a client once.
    managers: HashMap<TokenBytes, Weak<Held>>,
    /// The token of the manager of whose pool this worker is, once it was asked for.
    home: Option<TokenBytes>,
    /// The instance has closed its last handle to some object, in which it may hold something all the same.
    closed_some: bool,
    /// A message that did not fit into the buffer it was asked for with.
    pub(super) parked: Vec<u8>,
    /// What is mapped into the instance's memory.
    pub(super) windows: Windows,
}

impl Objects {
    pub(super) fn new(control: Channel, interrupt: Option<Interrupt>, clock: Option<Arc<Gauges>>) -> Self {
        Self {
            control,
            interrupt,
            party: None,
            clock,
            places: Vec::new(),
            free: Vec::new(),
            open: HashMap::new(),
            managers: HashMap::new(),
            home: None,
            closed_some: false,
            parked: Vec::new(),
            windows: Windows::default(),
        }
    }

    /// What a handle of the guest stands for, and who this worker is.
    #[inline]
    pub(super) fn get(&self, handle: u32) -> Option<(&Handle, &Party)> {
        let place = self.places.get(handle as usize % MAX_HANDLES)?;
        if place.generation != handle / MAX_HANDLES as u32 {
            return None;
        }
        Some((place.handle.as_ref()?, self.party.as_ref()?))
    }

    /// Who this worker is, once it has had an object.
    pub(super) fn party(&self) -> Option<&Party> {
        self.party.as_ref()
    }

    /// Every handle, and its number.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Handle)> {
        let numbered = self.places.iter().enumerate();
        numbered.filter_map(|(at, place)| {
            Some((
                place.generation * MAX_HANDLES as u32 + at as u32,
                place.handle.as_ref()?,
            ))
        })
    }

    /// Opens an object under a number that the guest knows it by already. Of none of them it has another idea.
    pub(super) fn open_as(&mut self, number: u32, kind: ObjectKind, token: TokenBytes) -> Result<(), OpenError> {
        let (at, generation) = (number as usize % MAX_HANDLES, number / MAX_HANDLES as u32);
        if at == 0 || generation >= GENERATIONS || self.places.get(at).is_some_and(|place| place.handle.is_some()) {
            return Err(nonsense().into());
        }
        let known = self.places.len();
        let first_use = |generation| Place {
            generation,
            handle: None,
        };
        for place in known..=at {
            self.places.push(first_use(if place == 0 { GENERATIONS } else { 0 }));
            if place > 0 && place < at {
                self.free.push(place);
            }
        }
        self.free.retain(|free| *free != at);
        self.places[at].generation = generation;
        let (held, end) = self.hold_token(kind, token)?;
        held.handles[end].fetch_add(1, Ordering::Relaxed);
        self.places[at].handle = Some(Handle { held, end });
        Ok(())
    }

    /// Creates an object. For a pipe, the handle to its first end.
    pub(super) fn create(&mut self, shape: Shape, name: Option<String>) -> Result<u32, OpenError> {
        self.open(Request::New { shape, name })
    }

    /// A second handle: to the other end of a pipe.
    pub(super) fn other_end(&mut self, handle: u32) -> Result<u32, OpenError> {
        let held = self.get(handle).map(|(handle, _)| Arc::clone(&handle.held));
        self.add(held.ok_or(OpenError::Refused(Status::Invalid))?, 1)
    }

    pub(super) fn open_token(&mut self, kind: ObjectKind, token: TokenBytes) -> Result<u32, OpenError> {
        let (held, end) = self.hold_token(kind, token)?;
        self.add(held, end)
    }

    fn hold_token(&mut self, kind: ObjectKind, token: TokenBytes) -> Result<(Arc<Held>, usize), OpenError> {
        let home = kind == ObjectKind::Manager && token == HOME_TOKEN;
        let token = self.home.filter(|_| home).unwrap_or(token);
        if kind == ObjectKind::Manager
            && let Some(held) = self.managers.get(&token).and_then(Weak::upgrade)
        {
            return Ok((held, 0));
        }
        let kind = kind as u8;
        let opened = self.hold(&Ask::Object(Request::Open { kind, token }))?;
        if home {
            self.home = opened.0.manager;
        }
        Ok(opened)
    }

    /// Starts a manager, and opens a pipe to it.
    pub(super) fn start_manager(&mut self, request: PoolRequest) -> Result<u32, OpenError> {
        let (held, end) = self.hold(&Ask::Pool(request))?;
        self.add(held, end)
    }

    pub(super) fn open_name(&mut self, kind: ObjectKind, name: String) -> Result<u32, OpenError> {
        self.open(Request::Find { kind: kind as u8, name })
    }

    /// The token of a handle, for a message.
    pub(super) fn token(&self, handle: &Handle) -> Result<TokenBytes, OpenError> {
        let held = &handle.held;
        if let (Object::Pipe(ends), Some(party), None) = (&held.object, &self.party, held.manager) {
            ends[handle.end].export(party.slot());
        }
        if !held.kept.load(Ordering::Relaxed) {
            self.ask(&Ask::Object(Request::Keep { token: held.tokens[0] }))?;
            held.kept.store(true, Ordering::Relaxed);
        }
        Ok(held.manager.unwrap_or(held.tokens[handle.end]))
    }

    /// Has a manager, if this is a pipe to one, keep what the guest has made there, because a copy of it knows of that, too. A
    /// manager that has no room for a word is told nothing.
    pub(super) fn keep_managed(&self, handle: &Handle) {
        if let (Object::Pipe(ends), Some(_), Some(party)) = (&handle.held.object, handle.held.manager, &self.party) {
            let mut request = Vec::new();
            Writer(&mut request).request(Op::KeepAll, Id::NONE);
            let _ = ends[handle.end].send(party, 0, &[&request], Limit::Poll);
        }
    }

    pub(super) fn unlink(&self, handle: &Handle) -> Result<(), OpenError> {
        self.ask(&Ask::Object(Request::Unlink {
            token: handle.held.tokens[0],
        }))
        .map(drop)
    }

    /// Gives a handle back. False: it is none.
    pub(super) fn close(&mut self, handle: u32) -> bool {
        let known = self.get(handle).is_some();
        if known {
            self.vacate(handle as usize % MAX_HANDLES);
        }
        known
    }

    /// The instance is gone: nobody will release what it held.
    pub(super) fn abandon(&mut self) {
        if let Some(party) = &self.party {
            for held in self.open.values().filter_map(Weak::upgrade) {
                held.object.recover(party.slot());
            }
        }
        if std::mem::take(&mut self.closed_some) {
            // Those the host remembers. It only fails if the host is gone, and then this process is about to be.
            let _ = self.ask(&Ask::Object(Request::Abandon));
        }
        for at in 0..self.places.len() {
            self.vacate(at);
        }
        self.closed_some = false;
        self.parked = Vec::new();
        // They have gone with the memory they were in.
        self.windows = Windows::default();
    }

    fn vacate(&mut self, at: usize) {
        let place = &mut self.places[at];
        let Some(Handle { held, end }) = place.handle.take() else {
            return;
        };
        place.generation = (place.generation + 1) % GENERATIONS;
        self.free.push(at);
        if held.handles[end].fetch_sub(1, Ordering::Relaxed) == 1
            && let (Object::Pipe(ends), Some(party)) = (&held.object, &self.party)
        {
            ends[end].detach(party.slot());
        }
        if Arc::strong_count(&held) == 1 {
            self.open.remove(&held.tokens[0]);
            if let Some(manager) = held.manager {
                self.managers.remove(&manager);
            }
            self.closed_some = true;
            let token = held.tokens[0];
            // If the host is gone, this process is about to be.
            let _ = self.tell(&Ask::Object(Request::Close { token }));
        }
    }

    fn open(&mut self, request: Request) -> Result<u32, OpenError> {
        let (held, end) = self.hold(&Ask::Object(request))?;
        self.add(held, end)
    }

    /// The object, which end of it was asked for.
    fn hold(&mut self, ask: &Ask) -> Result<(Arc<Held>, usize), OpenError> {
        let (answer, memory) = self.ask(ask)?;
        let Answer::Opened(Opened {
            seat,
            kind,
            len,
            size,
            tokens,
            end,
            manager,
        }) = answer
        else {
            return Err(nonsense().into());
        };
        let first = *tokens.first().ok_or_else(nonsense)?;
        if let Some(held) = self.open.get(&first).and_then(Weak::upgrade) {
            return Ok((held, end.into()));
        }
        let slot = Slot::new(seat.into()).ok_or_else(nonsense)?;
        if self.party.is_none() {
            let party = Party::worker(slot, self.interrupt.take());
            self.party = Some(match &self.clock {
                Some(gauges) => party.timed(Arc::clone(gauges)),
                None => party,
            });
        }
        let kind = ObjectKind::from_code(kind).ok_or_else(nonsense)?;
        let memory = Arc::new(Mapping::of_host(memory.ok_or_else(nonsense)?.as_fd(), len as usize)?);
        let held = Arc::new(Held {
            object: Object::open(kind, &memory, size)?,
            memory,
            tokens,
            handles: Default::default(),
            manager,
            kept: AtomicBool::new(false),
        });
        self.open.insert(first, Arc::downgrade(&held));
        if let Some(manager) = manager {
            self.managers.insert(manager, Arc::downgrade(&held));
        }
        Ok((held, end.into()))
    }

    fn add(&mut self, held: Arc<Held>, end: usize) -> Result<u32, OpenError> {
        let at = match self.free.pop() {
            Some(at) => at,
            // The first place stays empty, so that 0 is no handle.
            None if self.places.len() < MAX_HANDLES => {
                let first_use = |generation| Place {
                    generation,
                    handle: None,
                };
                if self.places.is_empty() {
                    self.places.push(first_use(GENERATIONS));
                }
                self.places.push(first_use(0));
                self.places.len() - 1
            }
            None => return Err(OpenError::Refused(Status::ObjectLimit)),
        };
        held.handles[end].fetch_add(1, Ordering::Relaxed);
        let place = &mut self.places[at];
        place.handle = Some(Handle { held, end });
        Ok(place.generation * MAX_HANDLES as u32 + at as u32)
    }

    /// Tells the host something that it does not answer.
    pub(super) fn tell(&self, request: &Ask) -> io::Result<()> {
        self.control.send(&encode(request), &[])
    }

    /// Asks the host, and waits for its answer.
    pub(super) fn ask(&self, request: &Ask) -> Result<(Answer, Option<OwnedFd>), OpenError> {
        let (answer, fds) = self.ask_for_all(request)?;
        Ok((answer, fds.into_iter().next()))
    }

    /// The same, where more than one descriptor comes with the answer.
    pub(super) fn ask_for_all(&self, request: &Ask) -> Result<(Answer, Vec<OwnedFd>), OpenError> {
        self.tell(request)?;
        // A host that is about to end a thread does not answer it.
        while let Some(patience) = interruption::check_interval()
            && !self.control.wait(patience)?
        {
            interruption::check()?;
        }
        let mut buffer = [0; MAX_MESSAGE];
        let Some((len, fds)) = self.control.recv(&mut buffer)? else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        };
        match decode(&buffer[..len])? {
            Answer::Refused { status } => {
                let known = Status::ALL.into_iter().find(|known| *known as u8 == status);
                Err(OpenError::Refused(known.ok_or_else(nonsense)?))
            }
            answer => Ok((answer, fds)),
        }
    }
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer that makes no sense")
}
