//! Birth and death of workers: what is started, what is killed, and who pays for a death.
//!
//! A death is seen on the worker's [body](Body): a pidfd, which becomes readable when the process can no longer write
//! anything. Then its reply ring is read to the end: what it committed stands. The one item that it was running is charged,
//! every other goes back to the backlog as if nothing had happened, and a replacement is ordered at once. How the process
//! ended comes a moment later, from whoever is its parent; only the charged item waits for that. The worker of a process that
//! has said that it ends is not waited for: it is [released](Core::release).

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Watched;
use super::body::Body;
use super::core::{Core, Mourned};
use super::job::{Pending, Verdict};
use super::slot::{Cause, Link, Process, file_failure};
use crate::insight::Fate;
use crate::outcome::{End, Failure, Loss, Runner, What};
use crate::output::Writer;
use crate::process::message::{Order, Status};
use crate::retry::Mishap;

/// How long a charged item waits to learn how its worker ended.
const OBITUARY_TIMEOUT: Duration = Duration::from_millis(500);

/// A worker that ran this long before it died was able to work: its death is not one of a series.
const SOUND_AFTER: Duration = Duration::from_secs(1);

/// Deaths in a row without any item done that are answered without a pause.
const FREE_DEATHS: u32 = 3;

/// Initializers in a row that are allowed to fail, before the pool gives up.
const MAX_UNPREPARED: u32 = 2;

/// Deaths in a row without any item done, beyond three for each worker, after which the pool gives up.
const MAX_BARREN_DEATHS: u32 = 12;

impl Core {
    /// Orders a worker for an empty slot.
    pub(super) fn raise(&mut self, at: usize, now: Instant) {
        if self.has_to_spawn_worker(at) {
            return self.spawn_origin(at, now);
        }
        let identity = self.identity(at);
        let birth = self.supervisor.next_birth();
        let ordered = Link::new().and_then(|(link, [memory, doorbell, control, lifeline])| {
            self.supervisor.expect_birth(birth, self.pool, at);
            self.supervisor
                .watch(&link.doorbell, Watched::Doorbell { pool: self.pool })?;
            self.supervisor.watch_level(
                &link.control,
                Watched::Request {
                    pool: self.pool,
                    slot: at,
                },
            )?;
            let slot = &mut self.slots[at];
            slot.birth = birth;
            slot.link = Some(link);
            slot.process = Process::Ordered;
            slot.ordered_at = now;
            slot.log.ordered();
            let mut fds = vec![memory.as_fd(), doorbell.as_fd(), control.as_fd(), lifeline.as_fd()];
            fds.extend(self.stdin.as_ref().map(AsFd::as_fd));
            fds.extend(self.preparation.as_ref().map(|preparation| preparation.memory.as_fd()));
            let snapshot = self.solo.as_ref().and_then(|solo| solo.snapshot.as_ref());
            fds.extend(snapshot.map(|(memory, _)| memory.as_fd()));
            let order = Order {
                birth,
                slot: at as u32 + 1,
                stdin: self.stdin.is_some(),
                initializer: self.preparation.as_ref().map(|preparation| preparation.len),
                snapshot: snapshot.map(|(_, bytes)| *bytes),
                identity,
            };
            self.slots[at]
                .origin
                .as_ref()
                .unwrap_or(self.source())
                .order(order, &fds)
        });
        let error = match ordered {
            Ok(Some((pid, body))) => return self.on_forked(at, birth, pid, body),
            Ok(None) => return,
            Err(error) => error,
        };
        self.supervisor.forget_birth(birth);
        if error.kind() == io::ErrorKind::WouldBlock {
            // The zygote has more orders than its socket holds.
            let slot = &mut self.slots[at];
            let (identity, interrupted) = (slot.identity.take(), slot.interrupted);
            slot.vacate(now + Duration::from_millis(1));
            (slot.identity, slot.interrupted) = (identity, interrupted);
        } else {
            self.bury(at, now, &format!("a worker cannot be started: {error}"));
        }
    }

    /// A worker runs.
    pub(super) fn on_forked(&mut self, at: usize, birth: u64, pid: u32, body: Body) {
        let slot = &mut self.slots[at];
        if slot.birth != birth || !matches!(slot.process, Process::Ordered) {
            return;
        }
        if self
            .supervisor
            .watch(
                &body,
                Watched::Death {
                    pool: self.pool,
                    slot: at,
                },
            )
            .is_err()
        {
            // Its death would go unnoticed, so it must not live: its lifeline goes with its link.
            self.bury(at, Instant::now(), "a worker cannot be watched");
            return;
        }
        slot.process = Process::Running { pid, body };
        slot.log.started(pid);
        self.know_writer(at);
        self.tell_start(at);
        if self.slots[at].cause.is_some() {
            self.signal(at);
        }
        if std::mem::take(&mut self.slots[at].interrupted)
            && let Process::Running { body, .. } = &self.slots[at].process
        {
            body.interrupt();
        }
        if let Some(solo) = &mut self.solo {
            solo.pid = Some(pid);
            solo.release_snapshot();
        }
    }

    /// What the worker prints is its own from now on.
    fn know_writer(&mut self, at: usize) {
        let name = self.identity(at).name;
        let slot = &mut self.slots[at];
        let (worker, pid) = (slot.number, slot.pid());
        let writer = || Arc::new(Writer { worker, name, pid });
        slot.writer.get_or_insert_with(writer);
    }

    /// A worker that was ordered will not come, or died before its pidfd came.
    pub(super) fn on_not_forked(&mut self, at: usize, birth: u64, why: &str, now: Instant) {
        if self.slots[at].birth == birth && matches!(self.slots[at].process, Process::Ordered) {
            self.bury(at, now, why);
        }
    }

    /// A worker is dead.
    pub(super) fn on_death(&mut self, at: usize, now: Instant) {
        self.bury(at, now, "a worker died before it had done anything");
    }

    /// Buries the worker of a process as soon as it has said that it ends. All that is left of it is what the system takes
    /// down, which takes longer than many a task, and whoever waits for the end need not wait for that.
    ///
    /// It may be lying, so it is killed. Its seat is cleared now, and once more when it is dead.
    pub(super) fn release(&mut self, at: usize, now: Instant) {
        let slot = &mut self.slots[at];
        let pid = slot.pid();
        if slot.exit.is_none() || slot.condemned || !matches!(slot.process, Process::Running { .. }) {
            return;
        }
        if let Process::Running { body, .. } = std::mem::replace(&mut slot.process, Process::Released { pid }) {
            body.kill();
            if let Some(mut seat) = slot.seat.take() {
                seat.leave();
                self.supervisor.bury(body, seat);
            }
        }
        self.bury(at, now, "a process ended");
    }

    /// It is known how a worker ended.
    pub(super) fn on_status(&mut self, birth: u64, status: Status, now: Instant) {
        self.statuses.insert(birth, status);
        self.settle_mourned(now);
        self.settle_solo(now);
        // A status whose death has not been seen yet waits for it; there is at most one for each slot.
        if self.slots.iter().all(|slot| slot.birth != birth) {
            self.statuses.remove(&birth);
        }
    }

    /// Kills a worker, for this reason unless there is one already.
    pub(super) fn kill(&mut self, at: usize, cause: Cause) {
        let slot = &mut self.slots[at];
        if let Process::Absent { .. } = slot.process {
            return;
        }
        let dismissed = matches!(cause, Cause::Dismissed);
        if dismissed || matches!(slot.cause, None | Some(Cause::Stopped)) {
            slot.cause = Some(cause);
        }
        self.signal(at);
    }

    fn signal(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if let Process::Running { body, .. } = &slot.process {
            body.kill();
        }
        // One that is being forked is killed when its pidfd comes.
    }

    /// Takes what the dead worker left, settles its items, and frees the slot.
    pub(super) fn bury(&mut self, at: usize, now: Instant, reason: &str) {
        self.slots[at].dead = true;
        // It may have printed something and died before anybody could tell that it was there.
        self.know_writer(at);
        while self.collect(at, now).more {}
        let slot = &mut self.slots[at];
        let pid = slot.pid();
        let cause = slot.cause.take();
        let unable = match cause {
            Some(Cause::Unprepared { limit }) => Some(format!("it took longer than {limit:?}")),
            _ => slot.unable.take(),
        };
        // One that could not prepare has begun nothing, whatever it has read.
        let begun = slot.head_has_begun() && unable.is_none();
        let flights = std::mem::take(&mut slot.flights);
        let ran_for = now.saturating_duration_since(slot.head_since);
        let writer = slot.writer.take();
        let (birth, sound) = (slot.birth, slot.ready && now - slot.ordered_at >= SOUND_AFTER);
        let mut charged = false;
        for (place, flight) in flights.into_iter().enumerate().rev() {
            let mut rest = flight.rest();
            // By the time the signal came, it may have been at another item than the one it was sent for.
            let innocent = match cause {
                Some(Cause::Timeout { seq, .. }) => seq != flight.next_seq(),
                Some(Cause::Disobedient) => true,
                _ => false,
            };
            if place == 0 && begun && !innocent {
                charged = true;
                rest.first += 1;
                self.put_back(rest);
                let fate = fate(cause.as_ref());
                let head = flight.head();
                let runner = self.slots[at].runner(head.attempts);
                self.slots[at]
                    .log
                    .perished(flight.running(), ran_for, runner.memory, fate);
                let verdict = self.charge(head, cause.as_ref(), birth, runner, now);
                if let Some(again) = verdict {
                    self.slots[at].log.failed(again);
                }
            } else {
                self.put_back(rest);
            }
        }
        self.drop_pools(at, |_| true);
        let why = reason_to_end(cause.as_ref(), unable.is_some());
        self.tell_end(at, cause.as_ref(), unable.as_deref().unwrap_or(why));
        let slot = &mut self.slots[at];
        let untold = !matches!(cause, Some(Cause::Stopped | Cause::Dismissed));
        let gauges = slot.link.as_ref().map(|link| &link.gauges);
        slot.log.ended(pid, why, untold, gauges);
        slot.life.end();
        let mourned = self.mourned.iter_mut().find(|mourned| mourned.birth == birth);
        match (slot.origin.take(), mourned) {
            (origin @ Some(_), Some(mourned)) => mourned.origin = origin,
            // Who would tell how it ended is gone with it.
            (Some(_), None) => self.supervisor.forget_death(birth, pid),
            (None, _) => {}
        }
        let exit = slot.exit;
        slot.vacate(now);
        // It may have begun although nobody could tell that it was there.
        if pid != 0 || begun {
            self.solo_died(birth, exit, now);
            self.settle_solo(now);
        }
        if let Some(writer) = writer {
            self.family.output.end_writer(writer);
        }
        if let Some(why) = unable {
            self.unprepared += 1;
            if self.unprepared > MAX_UNPREPARED {
                self.end(&End::Broken(format!("the initializer failed: {why}")));
            }
        }
        if !self.mourned.iter().any(|mourned| mourned.birth == birth) {
            self.statuses.remove(&birth);
        }
        let expected = matches!(cause, Some(Cause::Timeout { .. } | Cause::Stopped | Cause::Dismissed));
        if charged || sound || expected {
            self.barren_deaths = 0;
        } else {
            self.barren_deaths += 1;
            self.slots[at].process = Process::Absent {
                retry_at: now + backoff(self.barren_deaths),
            };
            if self.barren_deaths > MAX_BARREN_DEATHS + 3 * self.slots.len() as u32 {
                self.end(&End::Broken(format!(
                    "{} workers in a row: {reason}",
                    self.barren_deaths
                )));
            }
        }
    }

    /// The item that a dead worker was running pays: with another attempt if it has one, else with its outcome. Returns
    /// whether it is tried again; `None` if its job is over.
    fn charge(
        &mut self,
        victim: Pending,
        cause: Option<&Cause>,
        birth: u64,
        runner: Runner,
        now: Instant,
    ) -> Option<bool> {
        if self.solo.is_some() {
            // The call of a process has no outcome but how the process ended.
            return None;
        }
        let job = self.jobs.get(victim.job)?;
        let index = victim.block.base + u64::from(victim.first);
        let what = match cause {
            Some(Cause::Timeout { limit, .. }) => Some(What::Timeout(*limit)),
            Some(Cause::Violation(why)) => Some(What::Lost(Loss::Violation(why.clone()))),
            Some(Cause::Unprepared { .. } | Cause::Disobedient | Cause::Stopped | Cause::Dismissed) | None => None,
        };
        let mishap = match what {
            Some(What::Timeout(_)) => Mishap::Timeout,
            _ => Mishap::Lost,
        };
        let key = victim.job;
        if let Verdict::Again(victim, pause) = victim.judge(job.terms.retry, mishap) {
            self.try_again(victim, pause, now);
            return Some(true);
        }
        match what {
            Some(what) => {
                let failure = Failure { what, runner };
                file_failure(&mut self.jobs, &mut self.touched, key, index, failure);
            }
            None => {
                let until = now + OBITUARY_TIMEOUT;
                self.mourned.push(Mourned {
                    birth,
                    job: key,
                    index,
                    runner,
                    until,
                    origin: None,
                });
            }
        }
        Some(false)
    }

    /// Gives their outcome to the charged items whose worker's end is known, or has remained unknown for long enough.
    pub(super) fn settle_mourned(&mut self, now: Instant) {
        let mut at = 0;
        while at < self.mourned.len() {
            let loss = match self.statuses.remove(&self.mourned[at].birth) {
                Some(Status::Signaled(signal)) => Loss::Signaled {
                    signal,
                    out_of_memory: (signal == Signal::KILL.as_raw())
                        .then(|| self.supervisor.oom_kills().any_more())
                        .flatten(),
                },
                Some(Status::Exited(code)) => Loss::Exited(code),
                None if self.mourned[at].until <= now => Loss::Unknown,
                None => {
                    at += 1;
                    continue;
                }
            };
            let Mourned { job, index, runner, .. } = self.mourned.swap_remove(at);
            let what = What::Lost(loss);
            let failure = Failure { what, runner };
            file_failure(&mut self.jobs, &mut self.touched, job, index, failure);
        }
    }
}

/// What became of the item that a worker was running when it ended for this reason.
fn fate(cause: Option<&Cause>) -> Fate {
    match cause {
        Some(Cause::Timeout { limit, .. }) if limit.is_zero() => Fate::Cancelled,
        Some(Cause::Timeout { .. }) => Fate::Timeout,
        Some(Cause::Dismissed) => Fate::Cancelled,
        _ => Fate::Lost,
    }
}

/// Why a worker ended, in a few words.
fn reason_to_end(cause: Option<&Cause>, unable: bool) -> &'static str {
    match cause {
        None if unable => "initializer failed",
        None => "died",
        Some(Cause::Timeout { limit, .. }) if limit.is_zero() => "cancelled",
        Some(Cause::Timeout { .. }) => "timeout",
        Some(Cause::Disobedient) => "disobedient",
        Some(Cause::Violation(_)) => "broke the protocol",
        Some(Cause::Unprepared { .. }) => "initializer took too long",
        Some(Cause::Stopped) => "stopped",
        Some(Cause::Dismissed) => "dismissed",
    }
}

/// How long to wait before the next attempt to start a worker, after this many failures in a row.
fn backoff(deaths: u32) -> Duration {
    match deaths.checked_sub(FREE_DEATHS + 1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_millis(1 << doublings.min(9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_deaths_cost_no_time_and_a_series_slows_down() {
        assert_eq!(backoff(1), Duration::ZERO);
        assert_eq!(backoff(3), Duration::ZERO);
        assert_eq!(backoff(4), Duration::from_millis(1));
        assert_eq!(backoff(8), Duration::from_millis(16));
        assert_eq!(backoff(100), Duration::from_millis(512));
    }
}
