//! The worker side: what happens in the process that runs guests.
//!
//! A zygote prepares a [`Template`] (engine, linked module, grants) and [`Walls`], and forks. The child locks itself
//! down, tells its host that it is ready, and then turns task frames into replies until it is told to stop or
//! its host is gone. The way of a task: [`link`] takes it from the ring, [`session`] calls the guest, [`imports`] is
//! what the guest calls back, and [`link`] again puts the outcome into the reply ring. [`fault`] is what became of a
//! guest that failed.

mod copy;
pub(crate) mod cpu;
mod custom;
mod fault;
mod fuel;
mod imports;
pub(crate) mod interruption;
mod lean;
mod link;
mod manager;
mod objects;
mod plain;
mod pools;
mod processes;
mod session;
mod state;
mod template;
pub(crate) mod wasi;
mod windows;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use wasmtime::Engine;

use self::copy::Snapshot;
use self::interruption::Watch;
use self::link::Link;
use self::objects::Objects;
use self::session::Session;
use self::state::{Host, Who};
pub(crate) use self::template::{Draft, Template, Walls};
use crate::identity::Identity;
use crate::lockdown;
use crate::process::control::Channel;
use crate::process::lifeline;
use crate::process::message::Order;
use crate::spec;

/// What one worker is given at birth.
#[derive(Debug)]
pub(crate) struct Belongings {
    slot: u32,
    identity: Identity,
    rings: OwnedFd,
    doorbell: OwnedFd,
    control: OwnedFd,
    lifeline: OwnedFd,
    stdin: Option<OwnedFd>,
    /// A memfd and how many bytes are in it.
    initializer: Option<(OwnedFd, u64)>,
    /// What this is a copy of.
    snapshot: Option<(OwnedFd, u64)>,
}

impl Belongings {
    /// From the descriptors that came with the order to fork. `None` if they are not what the order says.
    pub(crate) fn from_order(order: Order, fds: Vec<OwnedFd>) -> Option<Self> {
        let Order {
            slot,
            stdin,
            initializer,
            snapshot,
            identity,
            ..
        } = order;
        let mut fds = fds.into_iter();
        let (rings, doorbell) = (fds.next()?, fds.next()?);
        let (control, lifeline) = (fds.next()?, fds.next()?);
        let stdin = if stdin { Some(fds.next()?) } else { None };
        let initializer = match initializer {
            Some(len) => Some((fds.next()?, len)),
            None => None,
        };
        let snapshot = match snapshot {
            Some(len) => Some((fds.next()?, len)),
            None => None,
        };
        Some(Self {
            slot,
            identity,
            rings,
            doorbell,
            control,
            lifeline,
            stdin,
            initializer,
            snapshot,
        })
    }
}

/// Runs as a worker until the host says stop. Never returns.
pub(crate) fn main(template: &Template, walls: &Walls, belongings: Belongings) -> ! {
    let watch = interruption::prepare(template, false);
    end(watch.and_then(|watch| run(template, belongings, watch.as_ref(), Origin::Forked(walls))))
}

/// The same for one that was forked before anybody has asked for it. It goes as far as it can, and waits for what it is to
/// `receive` through the one descriptor that it keeps. `None`: it is not needed.
pub(crate) fn stand_by(
    template: &Template,
    walls: &Walls,
    through: BorrowedFd<'_>,
    receive: impl FnOnce() -> io::Result<Option<Belongings>>,
) -> ! {
    let prepared = interruption::prepare(template, false).and_then(|watch| {
        walls.close(template, &[through], None, lockdown::confine)?;
        Engine::tls_eager_initialize();
        Ok((watch, receive()?))
    });
    end(match prepared {
        Ok((watch, Some(belongings))) => run(template, belongings, watch.as_ref(), Origin::StoodBy(walls)),
        Ok((_, None)) => Ok(0),
        Err(error) => Err(error),
    })
}

fn end(ended: io::Result<i32>) -> ! {
    // SAFETY: ends this process at once; nothing in it has to be cleaned up.
    unsafe { libc::_exit(ended.unwrap_or(1)) }
}

/// The same in a thread. `born` gets what it takes to end it.
pub(crate) fn run_in_thread(
    template: &Template,
    belongings: Belongings,
    born: impl FnOnce(Arc<Watch>),
) -> io::Result<i32> {
    let watch = interruption::prepare(template, true)?;
    run(template, belongings, watch.as_ref(), Origin::Thread(Box::new(born)))
}

/// How a worker has come into being, which decides what is still to be done before it runs guests.
enum Origin<'w> {
    /// A process forked for this, as free as its zygote.
    Forked(&'w Walls),
    /// One that is confined already.
    StoodBy(&'w Walls),
    /// A thread, which has no walls around it.
    Thread(Box<dyn FnOnce(Arc<Watch>) + 'w>),
}

fn run(template: &Template, belongings: Belongings, watch: Option<&Arc<Watch>>, origin: Origin<'_>) -> io::Result<i32> {
    let Belongings {
        slot,
        identity,
        rings,
        doorbell,
        control,
        lifeline,
        stdin,
        initializer,
        snapshot,
    } = belongings;
    if !matches!(origin, Origin::Thread(_)) {
        lifeline::arm(lifeline.as_fd())?;
    }
    let once = identity.once;
    let pid = std::process::id();
    let who = Arc::new(Who {
        identity,
        pid,
        cpus: template.spec.cpus,
    });
    let initializer = match initializer {
        Some((memory, len)) => Some(spec::from_memfd(memory, len)?),
        None => None,
    };
    let snapshot = match snapshot {
        Some((memory, len)) => Some(Snapshot::new(memory, len)?),
        None => None,
    };
    let interrupt = watch.map(|watch| watch.interrupt()).transpose()?;
    let link = Link::open(rings.as_fd(), doorbell, template.spec.max_message, template.spec.timed)?;
    drop(rings);

    let mut keep = vec![link.doorbell(), lifeline.as_fd()];
    keep.extend(stdin.as_ref().map(AsFd::as_fd));
    keep.extend(snapshot.as_ref().map(Snapshot::descriptor));
    match origin {
        Origin::Forked(walls) => walls.close(template, &keep, Some(control.as_fd()), lockdown::lock_down)?,
        Origin::StoodBy(walls) => walls.close(template, &keep, Some(control.as_fd()), lockdown::seal)?,
        Origin::Thread(born) => {
            watch.cloned().map(born);
        }
    }
    interruption::arm(watch)?;
    Engine::tls_eager_initialize();
    let host = Host {
        objects: Objects::new(Channel::from(control), interrupt, link.clock().cloned()),
        link,
    };
    let session = Session::new(template, host, slot, who, stdin, initializer)?;
    if once {
        return session.serve_once(snapshot);
    }
    session.serve().map(|()| 0)
}
