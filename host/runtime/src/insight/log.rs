//! What the supervisor notes about one slot.

use std::time::Duration;

use wasmp_ipc::{Gauges, monotonic};

use super::Insight;
use super::stats::{Slow, WorkerStats, WorkerTimes, rank};
use super::trace::{Event, TraceSender, What};
use crate::wire::Stamp;

/// An item that has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) task: u32,
    /// Its number within its job.
    pub(crate) index: u64,
    /// How often it had been tried with this time.
    pub(crate) attempt: u32,
}

/// What became of an item, as a trace has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    Failed,
    Timeout,
    Cancelled,
    Lost,
}

impl Fate {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

/// Of one slot, through all the processes that live in it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    worker: u32,
    max_memory: u64,
    done: u64,
    failed: u64,
    retried: u64,
    started: u64,
    deaths: u64,
    peak_memory: u64,
    times: Option<Times>,
    trace: Option<TraceSender>,
    /// Not yet sent to the trace.
    events: Vec<Event>,
}

/// Nanoseconds.
#[derive(Debug, Default)]
struct Times {
    busy: u64,
    waited: u64,
    /// How long the processes lived that are gone.
    alive: u64,
    /// When the one that lives was ordered.
    alive_since: Option<u64>,
    /// Until when its time is accounted for: what comes now began later.
    settled: u64,
    /// What the clock showed when it was last looked at.
    now: u64,
    slowest: Vec<Slow>,
}

impl Times {
    /// Accounts for an item that claims to have run then. Returns when it did, as far as that can be.
    fn account(&mut self, stamp: Stamp) -> Stamp {
        if stamp.ended > self.now {
            self.now = monotonic();
        }
        let ended = stamp.ended.min(self.now).max(self.settled);
        let began = stamp.began.min(ended).max(self.settled);
        self.settled = ended;
        self.busy += ended - began;
        Stamp { began, ended, ..stamp }
    }

    /// How long its processes have lived until now.
    fn alive(&self) -> u64 {
        let now = self.alive_since.map_or(0, |since| monotonic().saturating_sub(since));
        self.alive.saturating_add(now)
    }
}

impl Log {
    pub(crate) fn new(worker: u32, insight: &Insight) -> Self {
        Self {
            worker,
            max_memory: insight.max_memory,
            times: insight.timed.then(Times::default),
            trace: insight.trace.clone(),
            ..Self::default()
        }
    }

    /// Whether stamps are expected.
    pub(crate) fn is_timed(&self) -> bool {
        self.times.is_some()
    }

    /// A process was ordered.
    pub(crate) fn ordered(&mut self) {
        if let Some(times) = &mut self.times {
            let now = monotonic();
            (times.alive_since, times.settled, times.now) = (Some(now), now, now);
        }
    }

    /// It runs.
    pub(crate) fn started(&mut self, pid: u32) {
        self.started += 1;
        self.note(What::Started { pid });
        self.flush();
    }

    /// It is gone; `death` if nobody had told it to go.
    pub(crate) fn ended(&mut self, pid: u32, why: &'static str, death: bool, gauges: Option<&Gauges>) {
        if let Some(gauges) = gauges {
            self.peak_memory = self.peak(gauges);
        }
        if let Some(times) = &mut self.times {
            let lived = times
                .alive_since
                .take()
                .map_or(0, |since| monotonic().saturating_sub(since));
            times.alive += lived;
            times.waited += gauges.map_or(0, |gauges| gauges.waited().min(lived));
        }
        // One that never came has nothing to tell.
        if pid != 0 {
            self.deaths += u64::from(death);
            self.note(What::Ended { pid, why });
        }
        self.flush();
    }

    /// So many items have results.
    pub(crate) fn done(&mut self, items: usize) {
        self.done += items as u64;
    }

    /// An item has failed: for good, or to be tried again.
    pub(crate) fn failed(&mut self, again: bool) {
        if again {
            self.retried += 1;
        } else {
            self.failed += 1;
        }
    }

    /// An item ran, and says when.
    pub(crate) fn ran(&mut self, ran: Ran, stamp: Stamp, fate: Fate) {
        let Some(times) = &mut self.times else { return };
        let Stamp { began, ended, memory } = times.account(stamp);
        let slow = Slow {
            ran,
            worker: self.worker,
            took: ended - began,
            memory: memory.min(self.max_memory),
        };
        rank(&mut times.slowest, slow);
        if self.trace.is_some() {
            let worker = self.worker;
            self.events.push(Event {
                worker,
                at: began,
                what: What::Ran {
                    ran,
                    took: ended - began,
                    fate,
                },
            });
        }
    }

    /// An item had run for so long, and had so much memory, when its process ended under it.
    pub(crate) fn perished(&mut self, ran: Ran, took: Duration, memory: u64, fate: Fate) {
        if self.times.is_none() {
            return;
        }
        let ended = monotonic();
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let began = ended.saturating_sub(took);
        self.ran(ran, Stamp { began, ended, memory }, fate);
        if fate == Fate::Timeout {
            self.note(What::Timeout { ran });
        }
    }

    fn note(&mut self, what: What) {
        if self.trace.is_some() {
            self.events.push(Event::now(self.worker, what));
        }
    }

    /// Hands what was noted to the trace.
    pub(crate) fn flush(&mut self) {
        if let Some(trace) = &self.trace
            && !self.events.is_empty()
        {
            trace.send(std::mem::take(&mut self.events));
        }
    }

    /// What a worker says of its memory, as far as it can be true.
    pub(crate) fn believable(&self, memory: u64) -> u64 {
        memory.min(self.max_memory)
    }

    fn peak(&self, gauges: &Gauges) -> u64 {
        self.peak_memory.max(self.believable(gauges.peak_memory()))
    }

    pub(crate) fn slowest(&self) -> &[Slow] {
        self.times.as_ref().map_or(&[], |times| &times.slowest)
    }

    /// What there is to tell, if the process of this number lives and its item has been running for so long.
    pub(crate) fn report(&self, pid: u32, gauges: Option<&Gauges>, running: Option<Duration>) -> WorkerStats {
        let times = self.times.as_ref().map(|times| {
            let alive = times.alive();
            let running = running.map_or(0, |running| u64::try_from(running.as_nanos()).unwrap_or(u64::MAX));
            let busy = times.busy.saturating_add(running).min(alive);
            let waited = gauges.map_or(0, Gauges::waited).saturating_add(times.waited);
            WorkerTimes {
                busy: Duration::from_nanos(busy),
                waiting: Duration::from_nanos(waited.min(busy)),
                idle: Duration::from_nanos(alive - busy),
            }
        });
        WorkerStats {
            worker: self.worker,
            pid: (pid != 0).then_some(pid),
            done: self.done,
            failed: self.failed,
            retried: self.retried,
            restarts: self.started.saturating_sub(1),
            deaths: self.deaths,
            peak_memory: gauges.map_or(self.peak_memory, |gauges| self.peak(gauges)),
            times,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use wasmp_ipc::Mapping;

    use super::*;

    const RAN: Ran = Ran {
        task: 0,
        index: 0,
        attempt: 1,
    };

    fn log() -> Log {
        let insight = Insight {
            timed: true,
            max_memory: 1 << 20,
            ..Insight::default()
        };
        Log::new(1, &insight)
    }

    fn times(log: &Log) -> WorkerTimes {
        log.report(1, None, None).times.expect("it is timed")
    }

    #[test]
    fn honest_stamps_are_added_up() {
        let mut log = log();
        log.ordered();
        let start = monotonic();
        while monotonic() < start + 10_000 {}
        for (began, ended) in [(start, start + 3000), (start + 4000, start + 5000)] {
            log.ran(
                RAN,
                Stamp {
                    began,
                    ended,
                    memory: 0,
                },
                Fate::Done,
            );
        }
        assert_eq!(times(&log).busy, Duration::from_nanos(4000));
        assert_eq!(log.slowest()[0].took, 3000);
    }

    proptest! {
        #[test]
        fn no_stamps_make_a_worker_busier_than_it_can_have_been(
            stamps in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
            near in prop::collection::vec((-3000_i64..3000, -3000_i64..3000), 0..20),
        ) {
            let mut log = log();
            let before = monotonic();
            log.ordered();
            let near = near.into_iter().map(|(began, ended)| {
                let now = monotonic();
                (now.saturating_add_signed(began), now.saturating_add_signed(ended))
            });
            for (began, ended) in stamps.into_iter().chain(near) {
                log.ran(RAN, Stamp { began, ended, memory: 0 }, Fate::Done);
            }
            let WorkerTimes { busy, .. } = times(&log);
            prop_assert!(busy <= Duration::from_nanos(monotonic() - before));
        }
    }

    #[test]
    fn gauges_are_believed_as_far_as_they_can_be_true() {
        let (_, memory) = Mapping::create("gauges", Gauges::BYTES).unwrap();
        let gauges = Gauges::open(&Arc::new(memory), 0).unwrap();
        gauges.uses_memory(u64::MAX);
        let mut log = log();
        log.ordered();
        gauges.wait(|| std::thread::sleep(Duration::from_millis(1)));
        let report = log.report(7, Some(&gauges), None);
        assert_eq!((report.pid, report.peak_memory), (Some(7), 1 << 20));
        assert_eq!(
            report.times.unwrap().waiting,
            Duration::ZERO,
            "nothing ran that could wait"
        );
        log.ended(7, "died", true, Some(&gauges));
        let report = log.report(0, None, None);
        assert_eq!((report.pid, report.peak_memory, report.deaths), (None, 1 << 20, 1));
    }
}
