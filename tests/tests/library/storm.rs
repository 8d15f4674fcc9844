//! Everything at once: a mixed load on one pool, whose workers and zygotes are killed, whose size changes, whose items are
//! cancelled, run out of time and are as large as they like. Every item has one outcome, it is the right one, and
//! nothing is left.
//!
//! `WASMP_CHAOS_SECONDS` says how long it lasts, `WASMP_SEED` repeats the choices of an earlier storm.

#![allow(clippy::print_stderr, reason = "a seed that is not told cannot be tried again")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_bytes::{ByteBuf, Bytes};
use wasmp::{AsyncResult, Error, ErrorKind, Pool};
use wasmp_tests::{FDS_OF_A_SPARE, Process, chaos_time, descendants, eventually, isolated, own_fds};

use crate::chaos::Random;
use crate::common::{builder, close};

/// An outcome that has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the host's memory may grow by from one storm to the next: what its allocator keeps.
const MARGIN: u64 = 64 << 10;

/// Memory of this process, in KiB.
fn memory() -> u64 {
    let status = Process::open(std::process::id()).expect("this process").status("VmRSS");
    status.split_whitespace().next().unwrap().parse().unwrap()
}

/// One item whose outcome is called back.
struct Tracked<R> {
    result: AsyncResult<R>,
    calls: Arc<AtomicU64>,
}

fn track<R: 'static>(result: AsyncResult<R>) -> Tracked<R> {
    let calls = Arc::new(AtomicU64::new(0));
    let (good, bad) = (Arc::clone(&calls), Arc::clone(&calls));
    let count = |calls: &AtomicU64| {
        calls.fetch_add(1, Ordering::Relaxed);
    };
    let result = result
        .callback(move |_| count(&good))
        .error_callback(move |_| count(&bad));
    Tracked { result, calls }
}

impl<R: serde::de::DeserializeOwned> Tracked<R> {
    /// The outcome, which must come, and once.
    #[track_caller]
    fn resolve(self, what: &str) -> Result<R, ErrorKind> {
        let outcome = match self.result.get_timeout(PATIENCE) {
            Ok(value) => Ok(value),
            Err(Error::Task(error)) => Err(error.kind),
            Err(other) => panic!("{what}: {other}"),
        };
        assert_eq!(
            self.calls.load(Ordering::Relaxed),
            1,
            "{what} was called back more than once"
        );
        outcome
    }
}

/// What may become of an item when workers are killed: this, or its worker is lost.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "what is compared is made for it")]
fn expect<R: PartialEq + std::fmt::Debug>(outcome: Result<R, ErrorKind>, expected: Result<R, ErrorKind>, what: &str) {
    if outcome != Err(ErrorKind::WorkerLost) {
        assert_eq!(outcome, expected, "{what}");
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// One piece of work, chosen at random.
fn work(pool: &Pool, random: &mut Random) {
    let call = |task: &str| pool.task(task).retries(30);
    match random.below(10) {
        0 => {
            let x = random.below(1000) as i64;
            let square = track(call("square").apply_async::<_, i64>((x,)).unwrap());
            expect(square.resolve("square"), Ok(x * x), "square");
        }
        1 => {
            let count = 1 + random.below(300) as i64;
            let squares: Vec<i64> = call("slow_square").starmap((0..count).map(|x| (x, 20))).unwrap();
            assert_eq!(squares, (0..count).map(|x| x * x).collect::<Vec<_>>());
        }
        2 => {
            let len = random.below(8 << 20) as usize;
            let bytes = pattern(len);
            let sent = track(call("check_bytes").apply_async((Bytes::new(&bytes),)).unwrap());
            expect(sent.resolve("check_bytes"), Ok((len, true)), "check_bytes");
        }
        3 => {
            let len = random.below(8 << 20) as usize;
            let made = track(call("make_bytes").apply_async::<_, ByteBuf>((len,)).unwrap());
            let made = made.resolve("make_bytes").map(|bytes| bytes.into_vec() == pattern(len));
            expect(made, Ok(true), "make_bytes");
        }
        4 => {
            let limit = Duration::from_millis(1 + random.below(20));
            let spun = track(pool.task("spin").timeout(limit).apply_async::<_, ()>(()).unwrap());
            expect(spun.resolve("spin"), Err(ErrorKind::Timeout), "spin");
        }
        5 => {
            let sleeping = track(pool.task("sleep").apply_async::<_, ()>((600_000,)).unwrap());
            thread::sleep(Duration::from_micros(random.below(5000)));
            sleeping.result.cancel();
            expect(sleeping.resolve("sleep"), Err(ErrorKind::Cancelled), "sleep");
        }
        6 => {
            let waiting: Vec<_> = (0..50)
                .map(|_| track(pool.task("sleep").apply_async::<_, ()>((random.below(3),)).unwrap()))
                .collect();
            for sleeping in waiting {
                let cancelled = sleeping.result.cancel();
                let expected = if cancelled { Err(ErrorKind::Cancelled) } else { Ok(()) };
                expect(sleeping.resolve("short sleep"), expected, "short sleep");
            }
        }
        7 => {
            let wanted = random.below(500) as usize;
            let results = call("square").imap::<_, i64>(0..).unwrap();
            for (x, result) in (0..).zip(results.take(wanted)) {
                assert_eq!(result.unwrap(), x * x);
            }
        }
        8 => {
            let (how, kind) = [
                ("error", ErrorKind::Error),
                ("panic", ErrorKind::Panic),
                ("unreachable", ErrorKind::Trap),
                ("exit 3", ErrorKind::Exit),
            ][random.below(4) as usize];
            let failed = track(call("misbehave").apply_async::<_, i64>((how,)).unwrap());
            expect(failed.resolve(how), Err(kind), how);
        }
        _ => {
            let (count, workers) = (random.below(50) as i64, 1 + random.below(3));
            let nested = track(
                pool.apply_async::<_, Vec<i64>>("nested_squares", (count, workers))
                    .unwrap(),
            );
            let squares = (0..count).map(|x| x * x).collect();
            match nested.resolve("nested squares") {
                // Its own pool's worker may have been the one that was killed, or there were too many already.
                Err(ErrorKind::Error) => {}
                outcome => expect(outcome, Ok(squares), "nested squares"),
            }
        }
    }
}

/// A storm of so long; returns how many pieces of work were done, and how many processes killed.
fn storm(pool: &Pool, seed: u64, time: Duration) -> (u64, u64) {
    let (stop, done, killed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    /// Ends the storm even when something in it fails.
    struct Calm<'a>(&'a AtomicBool);
    impl Drop for Calm<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        let (stop, done, killed) = (&stop, &done, &killed);
        let blows = || !stop.load(Ordering::Relaxed);
        scope.spawn(move || {
            let mut random = Random(seed ^ 1);
            while blows() {
                thread::sleep(Duration::from_micros(random.below(50_000)));
                let kind = match random.below(20) {
                    0 => "wasmp-zygote",
                    1 => "wasmp-spare",
                    _ => "wasmp-worker",
                };
                let mut victims = descendants(std::process::id(), kind);
                if !victims.is_empty() {
                    victims.swap_remove(random.below(victims.len() as u64) as usize).kill();
                    killed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        scope.spawn(move || {
            let mut random = Random(seed ^ 2);
            while blows() {
                thread::sleep(Duration::from_millis(random.below(200)));
                pool.resize(1 + random.below(4) as usize).unwrap();
            }
        });
        let workers: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn(move || {
                    let _calm = Calm(stop);
                    let mut random = Random(seed ^ (3 + number));
                    let begun = Instant::now();
                    while begun.elapsed() < time && blows() {
                        work(pool, &mut random);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    });
    (done.into_inner(), killed.into_inner())
}

#[test]
fn everything_at_once() {
    isolated(|| {
        let seed = Random::seed();
        // Few enough for guests that they get in each other's way.
        let pool = builder(3).max_tasks_per_child(300).max_processes(3).on_output(|_| ());
        let pool = pool.build().unwrap();
        let time = chaos_time();
        storm(&pool, seed, time / 6);
        let quiet = || {
            pool.resize(2).unwrap();
            // Its own, and not one that is about to be replaced, and one of a pool inside of it.
            eventually("two workers are left", || {
                let left = descendants(std::process::id(), "wasmp-worker");
                let own = pool.worker_pids();
                (left.len() == 2 && left.iter().all(|worker| own.contains(&worker.pid()))).then_some(())
            });
            // What belonged to others is closed a moment after they have ended.
            let fds = (0..50).map(|_| {
                thread::sleep(Duration::from_millis(10));
                own_fds().len()
            });
            (fds.min().unwrap_or_default(), memory())
        };
        let (fds, before) = quiet();
        let (done, killed) = storm(&pool, seed.wrapping_add(1), time * 5 / 6);
        eprintln!("{done} pieces of work, {killed} processes killed");
        assert!(
            done > 20 && killed > 20,
            "{done} pieces of work, {killed} kills: that was no storm"
        );
        let (fds_after, after) = quiet();
        assert!(
            fds_after <= fds + FDS_OF_A_SPARE,
            "descriptors are left, {fds_after} instead of {fds}: {:?}",
            own_fds()
        );
        assert!(after < before + MARGIN, "memory has grown from {before} to {after} KiB");
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        close(&pool);
    });
}
