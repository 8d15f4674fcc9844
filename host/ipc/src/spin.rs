//! How long to look before going to sleep.

use std::hint;
use std::num::NonZero;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The longest look, in time of one's own: what it takes to wake a sleeping process on another CPU and to hear from it.
const MAX_BUDGET: Duration = Duration::from_micros(25);
/// Below this, looking is given up.
const MIN_BUDGET: Duration = Duration::from_micros(1);
/// A spinner that has given up looks again every so many times, because the load may have changed.
const PROBE_EVERY: u32 = 64;
/// How long to look before the CPU is offered to others for the first time. What another CPU is at is done by then, as a rule,
/// and to offer the CPU takes a quarter of that, even if nobody wants it.
const ALONE: Duration = Duration::from_micros(2);
/// For how long others may have the CPU during a look, in all. Who keeps it for longer has work of its own: it is not the one
/// that is waited for, nor another one that looks.
const LONG: Duration = Duration::from_micros(100);
/// Looks between two looks at the clock, which takes as long as several of them.
const LOOKS_PER_TICK: u32 = 8;

static ONE_CPU: OnceLock<bool> = OnceLock::new();

/// Looks for something for a short while before its owner goes to sleep, if that has paid off lately.
///
/// Catching an event while looking is twenty times faster than being woken up, but looking takes a CPU away. So the time
/// is short, is restored by a success and shrinks to nothing while looking fails, and on one CPU it is zero. Time and
/// not turns: how long a turn takes differs tenfold between processors.
///
/// The process that is waited for may share this CPU, and then looking is what keeps it from running. So after a moment the
/// CPU is offered to others between looks. What they do with it is not counted: one of them may be at the very thing that is
/// waited for. But if they keep it for long, the time is up when it comes back, and looking has not paid off.
#[derive(Clone, Debug)]
pub struct Spinner {
    budget: Duration,
    /// Sleeps without a look since the last look.
    skipped: u32,
    /// Looking is of no use: there is one CPU.
    off: bool,
}

impl Spinner {
    /// A spinner for this process, which looks at all only if it may use more than one CPU.
    ///
    /// The first one asks the system how many that are, and may read files for it, unless the process has been
    /// [told](Self::assume_cpus).
    pub fn new() -> Spinner {
        let one_cpu = || thread::available_parallelism().map_or(1, NonZero::get) == 1;
        Spinner {
            budget: MAX_BUDGET,
            skipped: 0,
            off: *ONE_CPU.get_or_init(one_cpu),
        }
    }

    /// Tells this process, and all that are forked from it, how many CPUs they may use, if they do not know yet: a worker cannot
    /// ask.
    pub fn assume_cpus(cpus: u32) {
        let _ = ONE_CPU.set(cpus == 1);
    }

    /// Looks until `ready` or until the time is used up. False: not ready; go to sleep.
    pub fn spin(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        let Some(budget) = self.worth_trying() else {
            return false;
        };
        let (caught, paid_off) = look(budget, ready, thread::yield_now);
        self.budget = match paid_off {
            true => (self.budget * 2).clamp(MIN_BUDGET * 4, MAX_BUDGET),
            false => self.budget / 2,
        };
        caught
    }

    /// How long to look this time.
    fn worth_trying(&mut self) -> Option<Duration> {
        if self.off {
            return None;
        }
        if self.budget >= MIN_BUDGET {
            return Some(self.budget);
        }
        self.skipped = (self.skipped + 1) % PROBE_EVERY;
        (self.skipped == 0).then_some(MAX_BUDGET)
    }
}

impl Default for Spinner {
    fn default() -> Spinner {
        Spinner::new()
    }
}

/// A [`Spinner`] that the threads of this process share: one of them looks, the others go to sleep at once.
#[derive(Debug, Default)]
pub struct Patience(Mutex<Spinner>);

impl Patience {
    /// See [`Spinner::spin`].
    pub(crate) fn spin(&self, mut ready: impl FnMut() -> bool) -> bool {
        match self.0.try_lock() {
            Ok(mut spinner) => spinner.spin(ready),
            Err(_) => ready(),
        }
    }
}

/// Whether it is ready, and whether looking has paid off. `offer` gives the CPU to others for as long as they want it.
fn look(budget: Duration, mut ready: impl FnMut() -> bool, mut offer: impl FnMut()) -> (bool, bool) {
    let begun = Instant::now();
    let alone = begun + ALONE;
    let mut others = Duration::ZERO;
    loop {
        for _ in 0..LOOKS_PER_TICK {
            hint::spin_loop();
            if ready() {
                return (true, true);
            }
        }
        let now = Instant::now();
        if now >= begun + budget + others {
            return (false, false);
        }
        if now >= alone {
            offer();
            others += now.elapsed();
            if others > LONG {
                return (ready(), false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn spinner() -> Spinner {
        Spinner {
            off: false,
            ..Spinner::new()
        }
    }

    /// How often `ready` is asked in one spin that fails.
    fn looks(spinner: &mut Spinner) -> u32 {
        let mut looks = 0;
        assert!(!spinner.spin(|| {
            looks += 1;
            false
        }));
        looks
    }

    #[test]
    fn what_is_ready_at_once_costs_one_look() {
        let mut looks = 0;
        assert!(spinner().spin(|| {
            looks += 1;
            true
        }));
        assert_eq!(looks, 1);
    }

    #[test]
    fn spinning_in_vain_is_given_up_and_probed_now_and_then() {
        let mut spinner = spinner();
        assert!(looks(&mut spinner) > 1);
        for _ in 0..50 {
            looks(&mut spinner);
        }
        let probes = (0..10 * PROBE_EVERY).filter(|_| looks(&mut spinner) > 1).count();
        assert_eq!(probes, 10);
    }

    #[test]
    fn what_others_do_for_long_ends_the_look_and_does_not_pay_off() {
        for ready_after in [true, false] {
            let offered = Cell::new(0);
            let offer = || {
                offered.set(offered.get() + 1);
                thread::sleep(2 * LONG);
            };
            let ready = || ready_after && offered.get() > 0;
            assert_eq!(look(Duration::from_secs(3600), ready, offer), (ready_after, false));
            assert_eq!(offered.get(), 1);
        }
    }

    #[test]
    fn the_time_of_others_counts_as_a_whole() {
        let offered = Cell::new(0);
        let offer = || {
            offered.set(offered.get() + 1);
            let begun = Instant::now();
            while begun.elapsed() < LONG / 4 {}
        };
        assert_eq!(look(Duration::from_secs(3600), || false, offer), (false, false));
        assert!(offered.get() <= 4, "{}", offered.get());
    }

    #[test]
    fn success_makes_it_look_longer() {
        let mut spinner = spinner();
        for _ in 0..50 {
            let mut looks = 0;
            spinner.spin(|| {
                looks += 1;
                looks == 3
            });
        }
        assert_eq!(spinner.budget, MAX_BUDGET);
    }

    #[test]
    fn one_cpu_means_no_spinning() {
        let mut spinner = Spinner {
            off: true,
            ..Spinner::new()
        };
        assert_eq!(looks(&mut spinner), 1);
    }
}
