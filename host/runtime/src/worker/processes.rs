//! The worker's side of the processes that its guest starts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::process::Signal;
use wasmp_abi::Status;

use super::link::Link;
use super::objects::{Objects, OpenError};
use super::pools::{Numbered, Pool};
use crate::objects::message::{Answer, Ask, NewProcess, PoolRequest, TokenBytes};
use crate::outcome::End;
use crate::process::message::encode;
use crate::retry::Retry;
use crate::wire::ITEM_PREFIX;
use crate::wire::pools::{self, Head, JobOptions, Prepare};

/// A process that this guest has started.
#[derive(Debug)]
pub(super) struct Child {
    /// To the host, it is a pool.
    pool: Pool,
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) pid: u32,
    /// The guest has no use for it any more, but it runs, and may have to be waited for.
    released: bool,
}

/// A process that the host has promised.
#[derive(Debug)]
pub(super) struct Ordered {
    pool: Pool,
    /// Its call.
    job: u32,
    name: String,
    daemon: bool,
}

/// Orders a process that calls this task. If it is to be a copy, the memory comes with it that this is written into, while it
/// starts.
pub(super) fn order(
    objects: &Objects,
    link: &Link,
    wanted: NewProcess,
    task: String,
) -> Result<(Ordered, Option<OwnedFd>), OpenError> {
    let (answer, fds) = objects.ask_for_all(&Ask::Pool(PoolRequest::Start(wanted)))?;
    let mut fds = fds.into_iter();
    let (Answer::Process { pool, name, daemon }, Some(memory)) = (answer, fds.next()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidData).into());
    };
    let mut pool = Pool::open(pool, memory.as_fd())?;
    let options = JobOptions {
        task,
        chunk: 1,
        timeout: 0,
        retry: Retry::default(),
    };
    // What is wrong with the call is said before it is said that the process has started.
    let job = pool.begin(link, &options)?;
    pool.order(link, Head::new(pools::order::START, 0, 0), &encode(&None::<Prepare>))?;
    let ordered = Ordered {
        pool,
        job,
        name,
        daemon,
    };
    Ok((ordered, fds.next()))
}

/// Tells the host that a process is not asked about any more. One that has not been given its call is not there any more.
fn give_back(objects: &Objects, pool: &Pool) -> io::Result<()> {
    objects.tell(&Ask::Pool(PoolRequest::Drop { pool: pool.id() }))
}

impl Ordered {
    /// It is not needed.
    pub(super) fn cancel(&self, objects: &Objects) -> io::Result<()> {
        give_back(objects, &self.pool)
    }
}

/// The processes of an instance, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Processes(Numbered<Child>);

impl Processes {
    /// Gives a process that was ordered the arguments of its call; the number by which the guest knows it, from 1.
    pub(super) fn start(
        &mut self,
        objects: &Objects,
        link: &Link,
        ordered: Ordered,
        args: &[u8],
    ) -> Result<u32, OpenError> {
        let Ordered {
            mut pool,
            job,
            name,
            daemon,
        } = ordered;
        let mut item = Vec::with_capacity(ITEM_PREFIX + args.len());
        item.extend_from_slice(&(args.len() as u32).to_le_bytes());
        item.extend_from_slice(args);
        pool.order(link, Head::new(pools::order::ITEMS, job, 1), &item)?;
        pool.order(link, Head::new(pools::order::SEAL, job, 0), &[])?;
        let pid = match pool.wait_for_start(link)? {
            Ok(pid) => pid,
            Err(end) => {
                give_back(objects, &pool)?;
                return Err(OpenError::Refused(match end {
                    End::Refused(_) => Status::NotFound,
                    _ => Status::ProcessLimit,
                }));
            }
        };
        Ok(self.0.add(Child {
            pool,
            name,
            daemon,
            pid,
            released: false,
        }))
    }

    pub(super) fn numbered(&mut self) -> &mut Numbered<Child> {
        &mut self.0
    }

    /// How many numbers have been given out.
    pub(super) fn numbers(&self) -> u32 {
        self.0.numbers()
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut Child> {
        self.0.place(number)?.as_mut().filter(|child| !child.released)
    }

    /// The guest has no use for this process any more. False: there is none of this number.
    pub(super) fn release(&mut self, objects: &Objects, link: &Link, number: u32) -> io::Result<bool> {
        match self.get(number) {
            Some(child) => child.released = true,
            None => return Ok(false),
        }
        self.reap(objects, link)?;
        Ok(true)
    }

    /// Forgets those that have ended and that nobody asks about.
    pub(super) fn reap(&mut self, objects: &Objects, link: &Link) -> io::Result<()> {
        for place in self.0.places() {
            if let Some(child) = place
                && child.released
                && child.pool.exit(link)?.is_some()
            {
                give_back(objects, &child.pool)?;
                *place = None;
            }
        }
        Ok(())
    }

    /// The guest has come to its end: daemons are terminated, and all are waited for.
    pub(super) fn finish(&mut self, link: &Link) -> io::Result<()> {
        for child in self.0.places().iter_mut().flatten().filter(|child| child.daemon) {
            child.signal(link, Signal::TERM)?;
        }
        for child in self.0.places().iter_mut().flatten() {
            // Whoever interrupts this has interrupted them, too.
            while child.pool.join(link, None)?.is_err() {}
        }
        Ok(())
    }

    /// The instance is gone, and its process is not.
    pub(super) fn abandon(&mut self, objects: &Objects) {
        for child in self.0.places().drain(..).flatten() {
            // If the host is gone, this process is about to be.
            let _ = give_back(objects, &child.pool);
        }
    }
}

impl Child {
    pub(super) fn signal(&mut self, link: &Link, signal: Signal) -> io::Result<()> {
        self.pool
            .order(link, Head::new(pools::order::SIGNAL, 0, signal.as_raw() as u64), &[])
    }

    pub(super) fn join(&mut self, link: &Link, deadline: Option<Instant>) -> io::Result<Result<(), Status>> {
        self.pool.join(link, deadline)
    }

    /// How it ended, if it has.
    pub(super) fn exit(&mut self, link: &Link) -> io::Result<Option<i32>> {
        self.pool.exit(link)
    }

    /// The token of what ends with it.
    pub(super) fn sentinel(&self, objects: &Objects) -> Result<TokenBytes, OpenError> {
        sentinel(objects, self.pool.id())
    }
}

/// The token of what ends with a process; with the number 0, with whoever started this one.
pub(super) fn sentinel(objects: &Objects, pool: u32) -> Result<TokenBytes, OpenError> {
    match objects.ask(&Ask::Pool(PoolRequest::Sentinel { pool }))? {
        (Answer::Sentinel { token }, _) => Ok(token),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
    }
}
