//! Who works for the pools of a manager: pools that the supervisor makes for this process, as for any guest.
//!
//! Neither side is waited for. Orders for which there is no room in the ring are kept, and until they are gone no more are
//! taken from the [store](crate::manager::Store); what is heard is passed on at once.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmp_abi::Status as Refused;
use wasmp_ipc::ring::{Consumer, Producer};
use wasmp_ipc::{Mapping, Waitable};
use wasmp_manager::protocol::Status;

use super::super::link::Link;
use super::super::objects::{Objects, OpenError};
use super::{failed, nonsense};
use crate::identity::StartMethod;
use crate::manager::{Resizing, Store, Wish};
use crate::objects::message::{Answer, Ask, NewPool, PoolRequest};
use crate::wire::pools::{Garbled, Head, Reader, Word, Writing, order};
use crate::wire::{LINK_BYTES, REPLIES_AT, RING_CAPACITY};

/// Words that are heard in a row.
const IN_A_ROW: usize = 1024;

/// One crew.
#[derive(Debug)]
struct Crew {
    /// The number of the pool, which the supervisor gives it.
    id: u32,
    orders: Producer,
    news: Consumer,
    reader: Reader,
    /// Orders that are not in the ring yet, and how many bytes of the first one's body are.
    kept: VecDeque<(Head, Vec<u8>)>,
    written: usize,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Crews {
    crews: Vec<Crew>,
    /// Through which the supervisor is rung.
    link: Arc<Mutex<Link>>,
}

impl Crews {
    pub(super) fn new(link: &Arc<Mutex<Link>>) -> Self {
        Self {
            crews: Vec::new(),
            link: Arc::clone(link),
        }
    }

    /// Asks for a crew; its number.
    pub(super) fn hire(&mut self, objects: &Objects, wish: Wish) -> io::Result<Result<u32, Status>> {
        let request = Ask::Pool(PoolRequest::New(NewPool {
            processes: wish.processes,
            max_tasks: wish.max_tasks,
            patience: wish.patience,
            method: StartMethod::Forkserver,
            log: 0,
        }));
        let (id, memory) = match objects.ask(&request) {
            Ok((Answer::Pool { pool }, Some(memory))) => (pool, memory),
            Ok(_) => return Err(nonsense()),
            Err(OpenError::Refused(Refused::ProcessLimit)) => return Ok(Err(Status::ProcessLimit)),
            Err(OpenError::Refused(_)) => return Ok(Err(Status::Full)),
            Err(error) => return Err(failed(error)),
        };
        let mapping = Arc::new(Mapping::of_host(memory.as_fd(), LINK_BYTES)?);
        let start = (Head::new(order::START, 0, 0), wish.start);
        self.crews.push(Crew {
            id,
            orders: Producer::new(&mapping, 0, RING_CAPACITY)?,
            news: Consumer::new(&mapping, REPLIES_AT, RING_CAPACITY)?,
            reader: Reader::default(),
            kept: VecDeque::from([start]),
            written: 0,
        });
        Ok(Ok(id))
    }

    /// Asks for a crew to be as large as this says.
    pub(super) fn resize(&self, objects: &Objects, resizing: Resizing) -> io::Result<Result<(), Status>> {
        let Resizing { crew, processes } = resizing;
        let request = Ask::Pool(PoolRequest::Resize { pool: crew, processes });
        match objects.ask(&request) {
            Ok(_) => Ok(Ok(())),
            Err(OpenError::Refused(Refused::ProcessLimit)) => Ok(Err(Status::ProcessLimit)),
            Err(OpenError::Refused(_)) => Ok(Err(Status::NotRunning)),
            Err(error) => Err(failed(error)),
        }
    }

    /// Passes on what there is, both ways. Whether there was anything.
    pub(super) fn take_turn(&mut self, objects: &Objects, store: &mut Store) -> io::Result<bool> {
        let Self { crews, link } = self;
        let ring = || link.lock().unwrap_or_else(PoisonError::into_inner).ring();
        let mut busy = false;
        for crew in &mut *crews {
            busy |= crew.hear(store, &ring)?;
            busy |= crew.order(store, &ring)?;
        }
        for fired in store.take_fired() {
            crews.retain(|crew| crew.id != fired);
            objects.tell(&Ask::Pool(PoolRequest::Drop { pool: fired }))?;
        }
        Ok(busy)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.crews.is_empty()
    }

    /// What tells that there is something to pass on.
    pub(super) fn waitables(&self) -> impl Iterator<Item = Waitable<'_>> {
        self.crews.iter().map(|crew| {
            let room = (!crew.kept.is_empty()).then_some(&crew.orders);
            Waitable::Ring(&crew.news, room)
        })
    }

    /// Whether a crew has said something.
    pub(super) fn are_heard(&self) -> bool {
        self.crews.iter().any(|crew| !crew.news.is_empty())
    }
}

impl Crew {
    fn hear(&mut self, store: &mut Store, ring: &impl Fn()) -> io::Result<bool> {
        let mut heard = 0;
        let rest = loop {
            let next = self
                .reader
                .next(&mut self.news, usize::MAX)
                .map_err(|error| garbled(&error))?;
            match next {
                Some((head, body)) => store.hear(self.id, Word::read(head, body)?),
                None => break false,
            }
            heard += 1;
            if heard == IN_A_ROW {
                break true;
            }
        };
        self.news.release();
        if self.news.producer_parked() {
            ring();
        }
        Ok(heard > 0 || rest)
    }

    fn order(&mut self, store: &mut Store, ring: &impl Fn()) -> io::Result<bool> {
        let mut busy = false;
        loop {
            if self.kept.is_empty() {
                self.kept.extend(store.orders_for(self.id, Instant::now()));
                if self.kept.is_empty() {
                    break;
                }
            }
            busy = true;
            if !self.write()? {
                break;
            }
        }
        if busy && self.orders.consumer_parked() {
            ring();
        }
        Ok(busy)
    }

    /// Writes what is kept, as far as there is room. False: there is none, and the supervisor rings when there is.
    fn write(&mut self) -> io::Result<bool> {
        let corrupt = |corrupt| garbled(&Garbled::Ring(corrupt));
        while let Some((head, body)) = self.kept.front() {
            let mut writing = Writing::resume(*head, body, self.written);
            let whole = writing.write(&mut self.orders).map_err(corrupt)?;
            self.written = body.len() - writing.left();
            self.orders.publish();
            if whole {
                self.written = 0;
                self.kept.pop_front();
            } else if !self.orders.ask_for_space().map_err(corrupt)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn garbled(garbled: &Garbled) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, garbled.to_string())
}
