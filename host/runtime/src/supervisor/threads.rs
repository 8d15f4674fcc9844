//! Workers that are threads of this process, for whoever wants to look at them there.
//!
//! Each is what a zygote and its one worker are elsewhere: it loads the module, links it, and serves. It has the same rings,
//! speaks the same protocol, and its end is seen in the same way.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use rustix::pipe::{PipeFlags, pipe_with};

use super::Supervisor;
use super::body::Body;
use crate::engine::MAX_WASM_STACK;
use crate::module::Artifact;
use crate::process::message::{Order, Status};
use crate::spec::Spec;
use crate::worker::{self, Belongings, Draft};

/// Stack of a thread: what the guest may use, and as much for the host.
const STACK: usize = 2 * MAX_WASM_STACK;

/// The exit code of a Rust program that panics.
const PANICKED: i32 = 101;

/// What such workers are made of.
#[derive(Debug)]
pub(crate) struct Threads {
    pub(crate) supervisor: &'static Supervisor,
    pub(crate) spec: Spec,
    /// Those that the spec speaks of.
    pub(crate) dirs: Vec<OwnedFd>,
    pub(crate) module: Artifact,
}

impl Threads {
    /// Starts a worker, as a zygote would. It is heard of through the supervisor.
    pub(super) fn start(self: &Arc<Self>, order: Order, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let (birth, slot) = (order.birth, order.slot);
        let fds = fds
            .iter()
            .map(BorrowedFd::try_clone_to_owned)
            .collect::<Result<_, _>>()?;
        let belongings = Belongings::from_order(order, fds).ok_or(io::ErrorKind::InvalidInput)?;
        let (end, alive) = pipe_with(PipeFlags::CLOEXEC)?;
        let this = Arc::clone(self);
        thread::Builder::new()
            .name(format!("wasmp-worker-{slot}"))
            .stack_size(STACK)
            .spawn(move || {
                let run = AssertUnwindSafe(|| this.run(birth, belongings, end));
                if catch_unwind(run).is_err() {
                    // At most one of these is news.
                    this.supervisor.on_not_forked(birth, "it panicked");
                    this.supervisor.on_ended(birth, Status::Exited(PANICKED));
                }
                drop(alive);
            })?;
        Ok(())
    }

    fn run(&self, birth: u64, belongings: Belongings, end: OwnedFd) {
        let template = self
            .dirs
            .iter()
            .map(|dir| dir.try_clone())
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| format!("the directories cannot be passed on: {error}"))
            .and_then(|dirs| Draft::new(self.spec.clone(), dirs))
            .and_then(|draft| draft.complete(|| self.module.fd().try_clone_to_owned()));
        let template = match template {
            Ok(template) => template,
            Err(why) => return self.supervisor.on_not_forked(birth, &why),
        };
        let mut born = false;
        let ended = worker::run_in_thread(&template, belongings, |watch| {
            born = true;
            let body = Body::Thread { end, watch };
            self.supervisor.on_born(birth, std::process::id(), body);
        });
        if let (false, Err(error)) = (born, &ended) {
            self.supervisor.on_not_forked(birth, &error.to_string());
        }
        self.supervisor.on_ended(birth, Status::Exited(ended.unwrap_or(1)));
    }
}
