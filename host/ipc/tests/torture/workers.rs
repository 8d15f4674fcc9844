//! Keeping processes at work while killing them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wasmp_ipc::{Mapping, Party, Slot};

use crate::common::{Child, PATIENCE, Random, Words, number_from_env};

/// So long after one death comes the next, at most: some hundred operations, or some sleeps.
const MOST_MICROSECONDS: u64 = 800;
/// One death in so many is looked into before the next.
const LOOK_EVERY: u64 = 8;

/// How many processes each test kills.
pub(crate) fn kills() -> u64 {
    number_from_env("WASMP_KILLS").unwrap_or(600)
}

/// The choices of a test. Says how to repeat them.
#[expect(
    clippy::print_stdout,
    reason = "the test harness shows it on demand, or when the test fails"
)]
pub(crate) fn choices(test: &str) -> Random {
    let seed = number_from_env("WASMP_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{test}: {} kills, WASMP_SEED={seed}", kills());
    Random(seed)
}

pub(crate) fn memory(bytes: usize) -> Arc<Mapping> {
    Arc::new(Mapping::create("test", bytes).unwrap().1)
}

/// The one who works as number `index`.
pub(crate) fn party(index: usize) -> Party {
    Party::worker(slot(index), None)
}

/// Its slot, in all its lives.
pub(crate) fn slot(index: usize) -> Slot {
    Slot::new(index + 1).unwrap()
}

/// A group of processes that are killed and replaced.
pub(crate) struct Workers<W> {
    work: W,
    children: Vec<Option<Child>>,
    /// How often each has got on.
    progress: Words,
    random: Random,
}

impl<W: Fn(usize, &mut dyn FnMut())> Workers<W> {
    /// Starts `count` of them. Each runs `work` with its number, and calls the function that it gets whenever it has got on.
    /// Work does not end.
    pub(crate) fn start(test: &str, count: usize, work: W) -> Workers<W> {
        let mut workers = Workers {
            work,
            children: (0..count).map(|_| None).collect(),
            progress: Words::new(count),
            random: choices(test),
        };
        for index in 0..count {
            workers.replace(index);
        }
        workers
    }

    fn replace(&mut self, index: usize) {
        let Workers { work, progress, .. } = self;
        let child = Child::run(|| {
            work(index, &mut || progress.increment_alone(index));
            panic!("work that ends");
        });
        self.children[index] = Some(child);
    }

    fn kill(&mut self, index: usize) {
        self.children[index].take().expect("alive").kill();
    }

    /// Kills them one after the other. After each death, `recover` is called with the number of the dead.
    pub(crate) fn torture(&mut self, mut recover: impl FnMut(usize)) {
        for _ in 0..kills() {
            let alive_until = Duration::from_micros(self.random.below(MOST_MICROSECONDS));
            thread::sleep(alive_until);
            let index = self.random.below(self.children.len() as u64) as usize;
            self.kill(index);
            recover(index);
            self.replace(index);
            if self.random.below(LOOK_EVERY) == 0 {
                self.all_get_on();
            }
        }
        self.all_get_on();
    }

    /// Waits until everyone has got on.
    fn all_get_on(&self) {
        let deadline = Instant::now() + PATIENCE;
        let before: Vec<u64> = (0..self.children.len()).map(|index| self.progress.get(index)).collect();
        for (index, before) in before.into_iter().enumerate() {
            while self.progress.get(index) == before {
                assert!(Instant::now() < deadline, "worker {index} is stuck");
                thread::yield_now();
            }
        }
    }

    /// Kills everyone.
    pub(crate) fn end(mut self, mut recover: impl FnMut(usize)) {
        for index in 0..self.children.len() {
            self.kill(index);
            recover(index);
        }
    }
}
