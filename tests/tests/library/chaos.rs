//! Workers are killed at random under load, and the answer is still exact.

#![allow(clippy::print_stderr, reason = "a seed that is not told cannot be tried again")]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmp::{Chunksize, Order, Pool};
use wasmp_tests::{Process, descendants, isolated};

use crate::common::pool;

/// Splits a seed into as many numbers as are needed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn new() -> Self {
        Self(Self::seed())
    }

    /// From the environment or the clock; printed, so that a failure can be looked into.
    pub(crate) fn seed() -> u64 {
        let told = std::env::var("WASMP_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = told.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
        eprintln!("WASMP_SEED={seed}");
        seed
    }

    /// SplitMix64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Kills one of these processes, now and then, until it is told to stop; returns how many it has killed.
fn killer(stop: &AtomicBool, mut random: Random, every: Duration, victims: impl Fn() -> Vec<Process>) -> u32 {
    let mut killed = 0;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_micros(random.below(2 * every.as_micros() as u64)));
        let mut victims = victims();
        if !victims.is_empty() {
            victims.swap_remove(random.below(victims.len() as u64) as usize).kill();
            killed += 1;
        }
    }
    killed
}

fn live_workers(pool: &Pool) -> Vec<Process> {
    let workers = pool.worker_pids().into_iter().filter_map(Process::open);
    workers.filter(|process| process.name() == "wasmp-worker").collect()
}

/// Runs `work` while processes are killed; returns how many were.
fn under_fire(every: Duration, victims: impl Fn() -> Vec<Process> + Send, work: impl FnOnce()) -> u32 {
    /// Ends the killing even when the work fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| killer(&stop, Random::new(), every, victims));
        let stop_at_the_end = Stop(&stop);
        work();
        drop(stop_at_the_end);
        killer.join().unwrap()
    })
}

/// Inputs of `slow_square`.
fn slow(numbers: Range<i64>, rounds: u32) -> impl Iterator<Item = (i64, u32)> {
    numbers.map(move |x| (x, rounds))
}

fn squares(numbers: Range<i64>) -> Vec<i64> {
    numbers.map(|x| x * x).collect()
}

#[test]
fn a_hundred_thousand_items_come_out_exact_while_workers_are_killed() {
    isolated(|| {
        let pool = pool(2);
        let rules = [
            Chunksize::Adaptive,
            Chunksize::Exact(1),
            Chunksize::Exact(25),
            Chunksize::Python,
        ];
        let killed = under_fire(
            Duration::from_millis(40),
            || live_workers(&pool),
            || {
                for (part, rule) in (0..).zip(rules) {
                    let numbers = part * 25_000..(part + 1) * 25_000;
                    let call = pool.task("slow_square").retries(3).chunksize(rule);
                    let results: Vec<i64> = call.starmap(slow(numbers.clone(), 40)).unwrap();
                    assert!(results == squares(numbers), "{rule:?}");
                }
            },
        );
        assert!(killed >= 20, "only {killed} workers were killed");
    });
}

#[test]
fn streams_come_out_exact_while_workers_are_killed() {
    isolated(|| {
        let pool = pool(2);
        let killed = under_fire(
            Duration::from_millis(30),
            || live_workers(&pool),
            || {
                let call = pool.task("slow_square").retries(3);
                for order in [Order::Input, Order::Completion] {
                    let (mut inputs, results) = call.stream::<(i64, u32), i64>(order).unwrap();
                    let submitter = std::thread::spawn(move || {
                        for input in slow(0..20_000, 40) {
                            inputs.submit(&input).unwrap();
                        }
                    });
                    let mut results: Vec<(u64, i64)> =
                        results.map(|(index, result)| (index, result.unwrap())).collect();
                    submitter.join().unwrap();
                    if order == Order::Completion {
                        results.sort_unstable();
                    }
                    assert!(
                        results == (0..).zip(squares(0..20_000)).collect::<Vec<_>>(),
                        "{order:?}"
                    );
                }
            },
        );
        assert!(killed >= 10, "only {killed} workers were killed");
    });
}

#[test]
fn a_run_survives_the_death_of_zygotes_and_workers() {
    isolated(|| {
        let pool = pool(2);
        let zygotes_and_workers = || {
            let mut victims = descendants(std::process::id(), "wasmp-zygote");
            victims.extend(live_workers(&pool));
            victims
        };
        let killed = under_fire(Duration::from_millis(60), zygotes_and_workers, || {
            let call = pool.task("slow_square").retries(3);
            let results: Vec<i64> = call.starmap(slow(0..10_000, 200)).unwrap();
            assert!(results == squares(0..10_000));
        });
        assert!(killed >= 5, "only {killed} processes were killed");
    });
}
