//! What a crew is given, and in which order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use wasmp_manager::protocol::{Policy, Status};

use super::block::Block;
use super::job::{Job, Over};
use super::pace::Pace;
use super::{AtWork, Books, MAX_BYTES_AT_WORK, MAX_OPEN, MAX_TAKEN, Pool, State};
use crate::process::message::encode;
use crate::wire::pools::{Head, order};

impl Pool {
    /// One whose crew has been asked for, with so many bytes of orders that are still in this process.
    pub(super) fn new(crew: u32, processes: u32, policy: Policy, ordered: u64) -> Self {
        Self {
            crew,
            policy,
            state: State::Running,
            broken: None,
            unwanted: false,
            jobs: HashMap::new(),
            next_job: 0,
            open: HashMap::new(),
            lines: VecDeque::new(),
            unbegun: 0,
            taken: ordered,
            at_work: AtWork::default(),
            pace: Pace::new(processes),
            orders: Vec::new(),
        }
    }

    /// The number of a new job.
    pub(super) fn number(&mut self) -> u32 {
        loop {
            let number = self.next_job;
            self.next_job = number.wrapping_add(1);
            if !self.jobs.contains_key(&number) {
                return number;
            }
        }
    }

    /// What a job has as long as more items may come for it.
    pub(super) fn open_one(&mut self, client: u32) -> Result<Arc<()>, Status> {
        let open = self.open.entry(client).or_default();
        if Arc::strong_count(open) > MAX_OPEN {
            return Err(Status::Full);
        }
        Ok(Arc::clone(open))
    }

    /// Nothing more will come of this job.
    pub(super) fn end_job(&mut self, number: u32, over: Over) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let by_crew = matches!(over, Over::Complete | Over::Refused(_) | Over::Broken(_));
        if job.has_begun() && !by_crew {
            self.orders.push((Head::new(order::CANCEL, number, 0), Vec::new()));
        }
        let (items, bytes) = job.end(over);
        self.at_work.items = self.at_work.items.saturating_sub(items);
        self.at_work.bytes = self.at_work.bytes.saturating_sub(bytes);
    }

    /// Has the crew take what it can. Returns the jobs that are over thereby.
    pub(super) fn give_out(&mut self, books: &mut Books<'_>, now: Instant) -> Vec<u32> {
        // What it took before is out of this process.
        books.budget.give_back(std::mem::take(&mut self.taken));
        self.pace.keep(now);
        let mut completed = Vec::new();
        while self.taken < MAX_TAKEN
            && let Some(block) = self.next_block()
        {
            self.taken += block.counts();
            books.ledger.leaves(&block);
            block.answer(books.late);
            self.unbegun -= usize::from(block.new.is_some());
            let Some(job) = self.jobs.get_mut(&block.job) else {
                continue;
            };
            if !block.is_part {
                job.block_leaves();
            }
            if job.over().is_some() {
                continue;
            }
            if block.items > 0 {
                if job.begin() {
                    self.orders
                        .push((Head::new(order::JOB, block.job, 0), encode(&job.options())));
                }
                let bytes = block.bytes.rest().len() as u64;
                job.put_to_work(block.items, bytes);
                self.at_work.items += block.items;
                self.at_work.bytes += bytes;
                self.orders
                    .push((Head::new(order::ITEMS, block.job, block.items), block.bytes.into_vec()));
            }
            let is_last = block.last || (!job.is_wanted() && !job.has_waiting());
            if is_last && job.seal() {
                if job.has_begun() {
                    self.orders.push((Head::new(order::SEAL, block.job, 0), Vec::new()));
                } else {
                    job.end(Over::Complete);
                    completed.push(block.job);
                }
            }
        }
        if self.state == State::Closing && self.unbegun == 0 {
            self.state = State::Closed;
            self.orders.push((Head::new(order::CLOSE, 0, 0), Vec::new()));
        }
        completed
    }

    /// The next block, or the first part of it, if the crew has room for that.
    fn next_block(&mut self) -> Option<Block> {
        let block = self.lines.front_mut()?.blocks.front_mut()?;
        let chunk = self.jobs.get(&block.job).map_or(1, Job::chunk);
        let most = self.pace.part(chunk).min(block.items);
        let AtWork { items, bytes } = self.at_work;
        let has_room = items == 0
            || (items + most <= self.pace.most(chunk) && bytes + block.first(most) as u64 <= MAX_BYTES_AT_WORK);
        if !has_room {
            return None;
        }
        let part = block.split(most);
        let mut line = self.lines.pop_front()?;
        let block = part.or_else(|| line.blocks.pop_front());
        if !line.blocks.is_empty() {
            self.lines.push_back(line);
        }
        block
    }

    /// The block of this client's with which that connection waits: it is one of the last.
    pub(super) fn take_stalled(&mut self, connection: u32, client: u32) -> Option<Block> {
        let at = self.lines.iter().position(|line| line.client == client)?;
        let blocks = &mut self.lines[at].blocks;
        let theirs = |block: &Block| block.waiting.is_some_and(|(caller, _)| caller.connection == connection);
        let block = blocks.remove(blocks.iter().rposition(theirs)?)?;
        if blocks.is_empty() {
            self.lines.remove(at);
        }
        self.unbegun -= usize::from(block.new.is_some());
        if let Some(job) = self.jobs.get_mut(&block.job) {
            job.block_leaves();
        }
        Some(block)
    }
}
