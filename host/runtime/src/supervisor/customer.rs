//! A guest that has a pool of its own, as that pool sees it: what it orders, and what it is told.
//!
//! The pool is one like any other, with workers of the same nursery. What callers do in the host by calling, its owner does
//! by frames ([`crate::wire::pools`]), which are read whenever that pool takes a turn. Of two things there is only so much:
//! work that is submitted and waits, beyond which no more orders are read; and results that the owner has not fetched, beyond
//! which no more work is given out.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::process::Signal;
use wasmp_ipc::Mapping;
use wasmp_ipc::ring::{Consumer, Producer};

use super::core::{Core, State};
use super::family::Preparation;
use super::job::{Batch, Block, ChunkRule, Delivery, Job, JobKey, Outcome, Sink, Terms as JobTerms};
use super::slot::Violation;
use super::solo::Solo;
use crate::identity::StartMethod;
use crate::outcome::End;
use crate::process::message::encode;
use crate::shared::References;
use crate::spec::{self, Initializer};
use crate::wire::pools::{Garbled, Head, JobOptions, LEAST_ORDER, Prepare, Reader, Writing, news, order};
use crate::wire::{LINK_BYTES, REPLIES_AT, RING_CAPACITY};

/// Bytes of the reason why a pool gave up, for an owner that may have no call whose end says it: one record.
const MAX_WHY: usize = 1024;

/// Orders that are read in one turn.
const IN_A_ROW: usize = 256;

/// Blocks that may wait for a worker before no more orders are read, and their bytes.
const MAX_WAITING_BLOCKS: usize = 4096;
const MAX_WAITING_BYTES: usize = 64 << 20;

/// Jobs that more items may come for, at a time.
const MAX_OPEN_JOBS: usize = 1 << 16;

/// Bytes of results that wait for the owner before no more work is given out.
const MAX_OWED: usize = 16 << 20;

/// What an outcome takes of [`MAX_OWED`] beside its bytes.
const OUTCOME_BYTES: usize = 32;

/// The owner of a pool, as that pool sees it.
#[derive(Debug)]
pub(super) struct Customer {
    orders: Consumer,
    news: Producer,
    reader: Reader,
    /// Whether it has said that the pool may begin.
    started: bool,
    jobs: HashMap<u32, Ordered>,
    sender: Sender<(u32, Delivery)>,
    deliveries: Receiver<(u32, Delivery)>,
    owed: VecDeque<(u32, Delivery)>,
    owed_bytes: usize,
    /// How far the first of `owed` has been told: outcomes, and bytes of the next one.
    told: (usize, usize),
    /// It knows that the pool is gone.
    told_gone: bool,
    /// It knows the id of its process.
    told_pid: bool,
    /// It broke the protocol: nothing that it orders is looked at any more.
    condemned: bool,
}

/// A job as its owner knows it.
#[derive(Debug)]
struct Ordered {
    key: JobKey,
    /// Items submitted so far.
    items: u64,
}

impl Customer {
    /// A customer, and the rings for it.
    pub(super) fn new() -> std::io::Result<(Self, OwnedFd)> {
        let (memory, mapping) = Mapping::create("wasmp-rings", LINK_BYTES)?;
        let mapping = Arc::new(mapping);
        let (sender, deliveries) = unbounded();
        let customer = Self {
            orders: Consumer::new(&mapping, 0, RING_CAPACITY)?,
            news: Producer::new(&mapping, REPLIES_AT, RING_CAPACITY)?,
            reader: Reader::default(),
            started: false,
            jobs: HashMap::new(),
            sender,
            deliveries,
            owed: VecDeque::new(),
            owed_bytes: 0,
            told: (0, 0),
            told_gone: false,
            told_pid: false,
            condemned: false,
        };
        Ok((customer, memory))
    }

    /// Whether the pool may have workers.
    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// Whether it has been told that the pool is gone, or will not be.
    pub(super) fn knows_the_end(&self) -> bool {
        self.told_gone || self.condemned
    }

    /// Whether it has to fetch results before there are more.
    pub(super) fn is_sated(&self) -> bool {
        self.owed_bytes > MAX_OWED
    }

    /// Makes the owner ring for its next order. False: there is one already.
    pub(super) fn arm(&mut self) -> bool {
        self.condemned || self.orders.prepare_park()
    }

    /// Writes what is owed, as far as there is room.
    fn tell(&mut self, gone: Option<&str>, solo: Option<&Solo>) -> Result<(), Violation> {
        // A copy of its owner may be there before it is called, and what it is called with can be wrong.
        let is_told = |solo: &&Solo| (solo.called || solo.exit().is_some()) && !self.told_pid;
        if let Some(pid) = solo.filter(is_told).and_then(Solo::pid) {
            self.told_pid = self.tell_of(Head::new(news::STARTED, 0, pid.into()), "")?;
        }
        for (job, delivery) in self.deliveries.try_iter() {
            // A process has no outcome but its end, unless it could not begin.
            if solo.is_some() && (self.told_pid || !matches!(delivery, Delivery::End(_))) {
                continue;
            }
            self.owed_bytes += size(&delivery);
            self.owed.push_back((job, delivery));
        }
        while let Some((job, delivery)) = self.owed.front() {
            if tell_one(&mut self.news, *job, delivery, &mut self.told)? {
                self.owed_bytes -= size(delivery);
                self.told = (0, 0);
                self.owed.pop_front();
                continue;
            }
            self.publish();
            // It rings when there is room, unless there is by now.
            if !self.news.ask_for_space()? {
                return Ok(());
            }
        }
        if let Some(why) = gone.filter(|_| !self.told_gone) {
            let exit = solo.and_then(Solo::exit).unwrap_or_default();
            let head = Head::new(news::GONE, 0, u64::from(exit.cast_unsigned()));
            self.told_gone = self.tell_of(head, &why[..why.floor_char_boundary(MAX_WHY)])?;
        }
        self.publish();
        Ok(())
    }

    /// Writes something that is one record. False: there is no room, and the owner rings when there is.
    fn tell_of(&mut self, head: Head, body: &str) -> Result<bool, Violation> {
        loop {
            if Writing::new(head, body.as_bytes()).write(&mut self.news)? {
                return Ok(true);
            }
            self.publish();
            if !self.news.ask_for_space()? {
                return Ok(false);
            }
        }
    }

    /// Lets the owner see what was written, and have the room of what was read; wakes it if it waits for either.
    fn publish(&mut self) {
        self.news.publish();
        self.orders.release();
        let room = self.orders.producer_parked();
        if self.news.consumer_parked() || room {
            self.news.wake_consumer();
        }
    }
}

/// What a delivery takes of the memory for what is owed.
fn size(delivery: &Delivery) -> usize {
    match delivery {
        Delivery::Batch(batch) => batch.bytes.len() + batch.items.len() * OUTCOME_BYTES,
        Delivery::Complete | Delivery::End(_) => OUTCOME_BYTES,
    }
}

/// Writes a delivery from where it stopped the last time. False: there was no room for all of it.
fn tell_one(ring: &mut Producer, job: u32, delivery: &Delivery, told: &mut (usize, usize)) -> Result<bool, Violation> {
    let mut write = |head: Head, body: &[u8], written: &mut usize| {
        let mut writing = Writing::resume(head, body, *written);
        let whole = writing.write(ring)?;
        *written = body.len() - writing.left();
        Ok::<_, Violation>(whole)
    };
    let Batch { bytes, items } = match delivery {
        Delivery::Batch(batch) => batch,
        Delivery::Complete => return write(Head::new(news::COMPLETE, job, 0), &[], &mut told.1),
        Delivery::End(end) => return write(Head::new(news::ENDED, job, 0), &encode(end), &mut told.1),
    };
    for item in &items[told.0..] {
        let whole = match &item.outcome {
            Outcome::Done { start, len } => {
                let head = Head::new(news::DONE, job, item.index);
                write(head, &bytes[*start..start + len], &mut told.1)?
            }
            Outcome::Failed(failure) => write(Head::new(news::FAILED, job, item.index), &encode(failure), &mut told.1)?,
        };
        if !whole {
            return Ok(false);
        }
        *told = (told.0 + 1, 0);
    }
    Ok(true)
}

impl From<Garbled> for Violation {
    fn from(garbled: Garbled) -> Self {
        Self(format!("an order that makes no sense: {garbled}"))
    }
}

impl Core {
    /// Reads what the owner of this pool orders. Returns how many orders were read.
    pub(super) fn take_orders(&mut self) -> usize {
        let Some(mut customer) = self.customer.take_if(|customer| !customer.condemned) else {
            return 0;
        };
        let mut taken = Ok(true);
        let mut orders = 0;
        while orders < IN_A_ROW && !self.has_enough() && !customer.is_sated() {
            taken = self.take_order(&mut customer);
            if !matches!(taken, Ok(true)) {
                break;
            }
            orders += 1;
        }
        self.customer = Some(customer);
        self.hold_against(taken.map(drop));
        orders
    }

    /// Whether so much work waits that no more is taken in.
    fn has_enough(&self) -> bool {
        let bytes = || {
            self.backlog
                .iter()
                .map(|pending| pending.block.byte_len())
                .sum::<usize>()
        };
        self.backlog.len() >= MAX_WAITING_BLOCKS || (!self.backlog.is_empty() && bytes() > MAX_WAITING_BYTES)
    }

    /// Tells the owner of this pool what there is to tell.
    pub(super) fn tell_customer(&mut self) {
        let gone = self.is_gone();
        // A process may still be on its way; the workers of a pool are being killed.
        let over = gone || (self.solo.is_none() && matches!(self.state, State::Over(_)));
        if over && let Some(claim) = &mut self.claim {
            claim.resize(0);
        }
        if let Some(customer) = self.customer.as_mut().filter(|customer| !customer.condemned) {
            let why = match &self.state {
                State::Over(End::Broken(why)) => why,
                _ => "",
            };
            let told = customer.tell(gone.then_some(why), self.solo.as_ref());
            self.hold_against(told);
        }
    }

    /// Makes the owner ring for its next order. False: there is one already that can be taken.
    pub(super) fn arm_customer(&mut self) -> bool {
        let enough = self.has_enough();
        match &mut self.customer {
            Some(customer) => customer.arm() || enough || customer.is_sated(),
            None => true,
        }
    }

    /// An owner that breaks the protocol loses its pool, and then its life. What it has written stays in its ring, and would
    /// keep whoever waits for an empty one here for ever.
    fn hold_against(&mut self, done: Result<(), Violation>) {
        if let Err(violation) = done {
            if let Some(customer) = &mut self.customer {
                customer.condemned = true;
            }
            self.end(&End::Broken(violation.to_string()));
            self.grudge.get_or_insert(violation);
        }
    }

    /// Whether there was an order.
    fn take_order(&mut self, customer: &mut Customer) -> Result<bool, Violation> {
        let most = self.limits.result.max(LEAST_ORDER);
        let Some((head, body)) = customer.reader.next(&mut customer.orders, most)? else {
            return Ok(false);
        };
        let key = customer.jobs.get(&head.job).map(|ordered| ordered.key);
        match (head.kind, key) {
            (order::START, _) if !customer.started => {
                customer.started = true;
                self.prepare(&body)?;
            }
            (order::JOB, None) => self.begin_job(customer, head.job, &body)?,
            (order::ITEMS, Some(_)) if !self.may_be_called(head.number) => {
                return Err(Violation("more than one call of a process".into()));
            }
            (order::ITEMS, Some(key)) => {
                if let Some(solo) = &mut self.solo {
                    solo.seal_snapshot();
                }
                let Some(ordered) = customer.jobs.get_mut(&head.job) else {
                    return Ok(true);
                };
                let block = Block::of(ordered.items, head.number, body)
                    .ok_or_else(|| Violation("items that are not laid out as items are".into()))?;
                ordered.items += head.number;
                self.submit(key, block);
            }
            (order::SEAL, Some(key)) => {
                customer.jobs.remove(&head.job);
                self.seal_job(key);
            }
            (order::CANCEL, key) => {
                if let Some(key) = key.or_else(|| self.jobs.of_guest(head.job)) {
                    customer.jobs.remove(&head.job);
                    self.cancel(key, Instant::now());
                }
            }
            (order::CLOSE, _) => self.close(),
            (order::TERMINATE, _) => self.end(&End::Terminated),
            (order::SIGNAL, _) if self.solo.is_some() => {
                let signal = [Signal::TERM, Signal::KILL, Signal::INT]
                    .into_iter()
                    .find(|signal| signal.as_raw() as u64 == head.number)
                    .ok_or_else(|| Violation("a signal that nobody sends".into()))?;
                self.signal_process(signal);
            }
            // It has ended, which the owner may not know yet.
            (order::ITEMS | order::SEAL, None) => {}
            _ => return Err(Violation("an order out of turn".into())),
        }
        Ok(true)
    }

    /// Whether this many calls can be taken: of a process only one, ever.
    fn may_be_called(&mut self, calls: u64) -> bool {
        let Some(solo) = &mut self.solo else { return true };
        solo.spawning |= solo.identity.method == StartMethod::Spawn && !solo.called;
        !std::mem::replace(&mut solo.called, true) && calls == 1
    }

    /// Whether what this process comes from is to be made, which is asked once.
    pub(super) fn has_to_spawn(&mut self) -> bool {
        let runs = self.is_running();
        self.solo.as_mut().is_some_and(|solo| {
            let due = solo.spawning && !std::mem::replace(&mut solo.spawn_asked, true);
            if due && !runs {
                solo.spawning = false;
            }
            due && runs
        })
    }

    fn prepare(&mut self, body: &[u8]) -> Result<(), Violation> {
        let prepare: Option<Prepare> = read(body)?;
        let Some(Prepare { task, args }) = prepare else {
            return Ok(());
        };
        let initializer = self.task_number(&task).map(|task| Initializer { task, args });
        let prepared = initializer.and_then(|initializer| {
            let (memory, bytes) =
                spec::to_memfd("wasmp-initializer", &initializer).map_err(|error| error.to_string())?;
            let len = bytes.len() as u64;
            let references = References::default();
            Ok(Preparation {
                memory,
                len,
                references,
            })
        });
        match prepared {
            Ok(preparation) => self.preparation = Some(preparation),
            Err(why) => self.end(&End::Broken(why)),
        }
        Ok(())
    }

    fn begin_job(&mut self, customer: &mut Customer, job: u32, body: &[u8]) -> Result<(), Violation> {
        let options: JobOptions = read(body)?;
        if customer.jobs.len() >= MAX_OPEN_JOBS {
            let refused = End::Refused("too many calls are open: end the input of some".into());
            let _ = customer.sender.send((job, Delivery::End(refused)));
            return Ok(());
        }
        let sink = Sink::Guest(Box::new((customer.sender.clone(), job)));
        let refused = match self.task_number(&options.task) {
            Ok(task) => {
                let terms = JobTerms {
                    task,
                    chunk: match options.chunk {
                        0 => ChunkRule::Adaptive,
                        items => ChunkRule::Exact(items),
                    },
                    timeout: (options.timeout > 0).then(|| Duration::from_nanos(options.timeout)),
                    retry: options.retry,
                };
                match self.open_job(Job::new(Arc::new(terms), sink, None)) {
                    Ok(key) => {
                        customer.jobs.insert(job, Ordered { key, items: 0 });
                        return Ok(());
                    }
                    Err(end) => end,
                }
            }
            Err(why) => End::Refused(why),
        };
        let _ = customer.sender.send((job, Delivery::End(refused)));
        Ok(())
    }

    /// The number of a task, by its name.
    fn task_number(&self, name: &str) -> Result<u32, String> {
        crate::pool::task_number(&self.family.module, name).map_err(|error| error.to_string())
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Violation> {
    ciborium::from_reader(body).map_err(|_| Violation("an order that cannot be read".into()))
}
