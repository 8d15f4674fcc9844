//! Workers of a pool that are spawned: each comes from an executable that is started for it alone.

use std::thread;
use std::time::Instant;

use super::core::{Core, State};
use super::source::Source;
use crate::error::Result;
use crate::identity::StartMethod;

impl Core {
    /// Whether what this worker is to come from is not there yet. A process looks after that itself.
    pub(super) fn has_to_spawn_worker(&self, at: usize) -> bool {
        let spawned = self.method == StartMethod::Spawn && self.solo.is_none() && self.family.source.has_processes();
        spawned && self.slots[at].origin.is_none()
    }

    /// Starts it, on a thread of its own: it takes an executable that answers.
    pub(super) fn spawn_origin(&mut self, at: usize, now: Instant) {
        let (supervisor, pool) = (self.supervisor, self.pool);
        let source = self.family.source.clone();
        let prepare = move || {
            let opened = source.like_it();
            // The pool may be gone by now, and what was opened goes, too.
            let Some(pool) = supervisor.pool(pool) else { return };
            pool.act(|core, now| core.on_spawned(at, opened, now));
            supervisor.nudge_ancestors(&pool);
            source.expect_another();
        };
        self.slots[at].preparing = true;
        let started = thread::Builder::new().name("wasmp-spawn".into()).spawn(prepare);
        if let Err(error) = started {
            self.on_spawned(
                at,
                Err(crate::Error::Start {
                    what: "start the thread that spawns",
                    source: error,
                }),
                now,
            );
        }
    }

    /// The worker can be ordered, by the turn that follows, or not at all.
    fn on_spawned(&mut self, at: usize, opened: Result<Source>, now: Instant) {
        self.slots[at].preparing = false;
        match opened {
            Ok(_) if matches!(self.state, State::Over(_)) || at >= self.size.max => {}
            Ok(source) => self.slots[at].origin = Some(source),
            Err(error) => self.bury(at, now, &format!("a worker cannot be spawned: {error}")),
        }
    }
}
