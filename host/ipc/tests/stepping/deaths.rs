//! Killing processes at every moment of an operation.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use wasmp_ipc::futex;

use crate::traced::{Path, Stage, Traced};

/// Where the victim was when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// In the operation, awake.
    Within,
    /// In the operation, asleep in a system call.
    Asleep,
    /// Behind the operation.
    After,
}

/// In a long loop there is a death for each so many steps only.
const STRIDE: u32 = 61;

/// Kills a victim at every moment of one operation, which does not sleep.
///
/// `make` makes what is needed for one death; `victim` prepares, in the victim, and calls [`Stage::perform`]; `check` is told
/// when it died.
pub(crate) fn kill_everywhere<W>(
    name: &str,
    make: impl Fn() -> W,
    victim: impl Fn(&W, &Stage),
    check: impl Fn(W, Moment),
) {
    kill_everywhere_and_asleep(name, make, victim, |_| panic!("the victim sleeps"), check);
}

/// As [`kill_everywhere`], and `rouse` wakes the victim whenever it has fallen asleep.
pub(crate) fn kill_everywhere_and_asleep<W>(
    name: &str,
    make: impl Fn() -> W,
    victim: impl Fn(&W, &Stage),
    rouse: impl Fn(&W),
    check: impl Fn(W, Moment),
) {
    stay_on_one_cpu();
    let mut report = Report {
        name,
        deaths: 0,
        naps: 0,
    };
    let (mut ways, mut steps) = (vec![Path::default()], 0);
    loop {
        let world = make();
        let Some((moment, led)) = die(&mut ways, steps, |stage| victim(&world, stage), || rouse(&world)) else {
            continue;
        };
        check(world, moment);
        report.deaths += 1;
        match moment {
            Moment::Within => steps = led + 1,
            Moment::Asleep => {
                report.naps += 1;
                ways.push(Path::default());
                steps = 0;
            }
            Moment::After => break,
        }
    }
}

/// Kills a victim so many steps behind its last sleep, or when it falls asleep again before. It sleeps at the end of every way
/// but the last one.
///
/// In a long loop it takes more steps than that. How many is returned as well. `None`: it took another way than before, by
/// the clock's doing. The last one is unknown again.
fn die(ways: &mut [Path], steps: u32, body: impl FnOnce(&Stage), rouse: impl Fn()) -> Option<(Moment, u32)> {
    let victim = Traced::at_operation(body);
    let (last, slept) = ways.split_last_mut().expect("one at least");
    for way in slept {
        way.follow(&victim).expect("where it sleeps it has read no clock");
        while victim.step() {
            assert!(victim.is_inside(), "it slept here before");
        }
        rouse();
        victim.wake_up();
    }
    let Some(mut led) = last.follow(&victim) else {
        *last = Path::default();
        return None;
    };
    if led == 0 {
        last.begin(&victim);
    }
    let mut moment = Moment::Within;
    while led < steps || led < steps + STRIDE && last.ends_in_long_loop() {
        led += 1;
        if !victim.step() {
            moment = Moment::Asleep;
            break;
        }
        if !victim.is_inside() {
            moment = Moment::After;
            break;
        }
        last.go_on(&victim);
    }
    victim.kill();
    Some((moment, led))
}

/// Kills a victim after so many instructions of an operation that is longer.
pub(crate) fn kill_after(steps: u32, body: impl FnOnce(&Stage)) -> Moment {
    let died = die(&mut [Path::default()], steps, body, || panic!("the victim sleeps"));
    died.expect("the way is not known").0
}

/// After how many instructions of an operation there is something new in shared memory. `look` is at what is there.
pub(crate) fn turning_points<W>(
    make: impl Fn() -> W,
    victim: impl Fn(&W, &Stage),
    look: impl Fn(&W) -> Vec<u8>,
) -> Vec<u32> {
    let (mut points, mut before) = (Vec::new(), look(&make()));
    for steps in 0.. {
        let world = make();
        let moment = kill_after(steps, |stage| victim(&world, stage));
        let now = look(&world);
        if now != before {
            points.push(steps);
            before = now;
        }
        if moment != Moment::Within {
            break;
        }
    }
    points
}

/// Ties this thread, and whom it forks, to one CPU: a step is then two switches between processes, and nobody waits for
/// another CPU to wake up. And on one CPU nobody looks at a clock while it looks whether it needs to sleep, so that the
/// victim takes the same way each time.
fn stay_on_one_cpu() {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Finds the clock, once in a process.
    futex::wait(&AtomicU32::new(0), 0, Some(Instant::now()));
    let allowed = sched_getaffinity(None).unwrap();
    if allowed.count() > 1 {
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        let mut one = CpuSet::new();
        one.set(cpus[NEXT.fetch_add(1, Ordering::Relaxed) % cpus.len()]);
        sched_setaffinity(None, &one).unwrap();
    }
}

/// Says how many deaths there were, or which of them went wrong.
struct Report<'a> {
    name: &'a str,
    deaths: u32,
    naps: u32,
}

impl Drop for Report<'_> {
    #[expect(
        clippy::print_stdout,
        reason = "the test harness shows it on demand, or when the test fails"
    )]
    fn drop(&mut self) {
        let Report { name, deaths, naps } = self;
        if thread::panicking() {
            println!("{name}: wrong after {deaths} deaths, {naps} of them asleep");
        } else {
            println!("{name}: {deaths} deaths, {naps} of them asleep");
        }
    }
}
