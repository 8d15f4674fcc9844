//! A worker that writes whatever it likes into the memory that it shares with its host, while the host reads it.
//!
//! A guest cannot do that; native code that has escaped from wasm can. The test plays it from the host's own process,
//! whose mappings of that memory are as good as the worker's. `WASMP_FUZZ_SECONDS` says for how long, `WASMP_SEED` repeats
//! the choices of an earlier run.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use wasmp::{AsyncResult, Error, Pool, Result};
use wasmp_tests::{Process, fuzz_time, isolated};

use crate::chaos::Random;
use crate::common::{builder, close, listen, worker};

/// How long the host waits for an outcome that has a deadline of [`DEADLINE`].
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an item may take, as its worker may never answer.
const DEADLINE: Duration = Duration::from_millis(200);

/// Where things stand in a ring: see `host/ipc/src/ring.rs`.
const LINE: usize = 128;
const DATA: usize = 4 * LINE;

/// Where the ring with a worker's replies begins, behind that with its calls.
const REPLIES: usize = DATA + 256 * 1024;

/// A mapping of memory with this name in this process: where it is, how long, and of which file.
#[derive(Clone, Copy, Debug)]
struct Mapped {
    start: usize,
    len: usize,
    file: u64,
}

/// The memory between this host and its workers, or a worker's own pools.
fn rings() -> Vec<Mapped> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let ours = maps.lines().filter(|line| line.contains("/memfd:wasmp-rings"));
    let parse = |line: &str| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        Some(Mapped {
            start,
            len: usize::from_str_radix(end, 16).ok()? - start,
            file: fields.nth(3)?.parse().ok()?,
        })
    };
    ours.map(|line| parse(line).expect("a line of maps")).collect()
}

/// A second mapping of a worker's memory, which stays when the host has given up its own.
struct Stolen(Mapped);

impl Stolen {
    /// `None`: the worker is gone, or it is one of `others`.
    fn take(mapped: Mapped, others: &HashSet<u64>) -> Option<Self> {
        let Mapped { start, len, .. } = mapped;
        // SAFETY: an old length of zero changes nothing about the old mapping; if it is gone by now, this fails.
        let copy = unsafe { libc::mremap(start as *mut libc::c_void, 0, len, libc::MREMAP_MAYMOVE) };
        if copy == libc::MAP_FAILED {
            return None;
        }
        // Something else may have taken its place meanwhile.
        let found = rings().into_iter().find(|mapped| mapped.start == copy as usize);
        let stolen = Self(Mapped {
            start: copy as usize,
            len,
            file: found.map_or(0, |found| found.file),
        });
        (found.is_some() && !others.contains(&stolen.0.file)).then_some(stolen)
    }

    fn write(&self, at: usize, word: u64) {
        let at = (at % self.0.len) & !7;
        // SAFETY: inside of the mapping, and aligned. Everybody else who looks at it expects it to change at any time.
        unsafe { (self.0.start as *mut u64).byte_add(at).write_volatile(word) };
    }

    fn read(&self, at: usize) -> u64 {
        let at = (at % self.0.len) & !7;
        // SAFETY: as for `write`.
        unsafe { (self.0.start as *const u64).byte_add(at).read_volatile() }
    }
}

impl Drop for Stolen {
    fn drop(&mut self) {
        // SAFETY: this mapping is nobody else's.
        unsafe { libc::munmap(self.0.start as *mut libc::c_void, self.0.len) };
    }
}

// SAFETY: numbers, and memory that is written with volatile accesses only.
unsafe impl Sync for Stolen {}

/// Writes something that is meant to hurt: any word anywhere, positions that are nearly right, or frames that are.
fn scribble(stolen: &Stolen, random: &mut Random) {
    let ring = [0, REPLIES][random.below(2) as usize];
    match random.below(8) {
        0 => stolen.write(random.below(stolen.0.len as u64) as usize, random.below(u64::MAX)),
        // A position of either side, a little further or back.
        1..4 => {
            let at = ring + LINE * random.below(4) as usize;
            let step = random
                .below(64)
                .wrapping_sub(32)
                .wrapping_mul([1, 8][random.below(2) as usize]);
            stolen.write(at, stolen.read(at).wrapping_add(step));
        }
        // The length and state of a record.
        4 => stolen.write(
            ring + DATA + 8 * random.below(64) as usize,
            (random.below(5) << 32) | random.below(300),
        ),
        // The head of a reply, of every kind and some more, with and without flags.
        5..7 => {
            let at = ring + DATA + 8 * random.below(64) as usize;
            stolen.write(at, (1 << 32) | (16 + random.below(64)));
            stolen.write(at + 8, (random.below(5) << 8) | random.below(10));
            stolen.write(at + 16, random.below(8));
            stolen.write(ring, stolen.read(ring).wrapping_add(8 * random.below(8)));
        }
        _ => stolen.write(random.below(stolen.0.len as u64) as usize, 0),
    }
}

/// Ends the scribbling even when the work fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits for an outcome, whatever it is: it may be forged.
fn settled<T: DeserializeOwned>(outcome: Result<AsyncResult<T>>) {
    match outcome {
        Ok(outcome) => {
            let outcome = outcome.get_timeout(PATIENCE);
            assert!(
                !matches!(outcome, Err(Error::WaitTimeout(_))),
                "an item without an outcome"
            );
        }
        // It was broken often enough to give up.
        Err(Error::Broken(_) | Error::NotRunning) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Has the worker of a pool write garbage while it is given `work`, again and again.
fn forge(neighbour: &Pool, build: impl Fn() -> Pool, work: impl Fn(&Pool)) {
    worker(neighbour);
    assert_eq!(neighbour.apply::<_, i64>("square", (3,)).unwrap(), 9);
    let others: HashSet<u64> = rings().into_iter().map(|mapped| mapped.file).collect();
    let mut random = Random(Random::seed());
    let until = Instant::now() + fuzz_time();
    let mut pool = build();
    let mut rounds = 0;
    while Instant::now() < until || rounds == 0 {
        if pool.apply::<_, i64>("square", (3,)).is_err() {
            pool = build();
        }
        let strangers = rings().into_iter().filter(|mapped| !others.contains(&mapped.file));
        let stolen: Vec<Stolen> = strangers.filter_map(|mapped| Stolen::take(mapped, &others)).collect();
        if stolen.is_empty() {
            continue;
        }
        let (stop, seed) = (AtomicBool::new(false), random.below(u64::MAX));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random(seed);
                while !stop.load(Ordering::Relaxed) {
                    for stolen in &stolen {
                        scribble(stolen, &mut random);
                    }
                    if random.below(4) == 0 {
                        std::thread::sleep(Duration::from_micros(random.below(300)));
                    }
                }
            });
            let stop_at_the_end = Stop(&stop);
            work(&pool);
            let squares: Vec<i64> = neighbour.map("square", 0..500).unwrap();
            drop(stop_at_the_end);
            assert!(squares == (0..500).map(|x| x * x).collect::<Vec<_>>(), "the neighbour");
        });
        rounds += 1;
    }
    pool.terminate();
    pool.join().unwrap();
}

#[test]
fn a_worker_that_forges_frames_harms_its_own_items_only() {
    isolated(|| {
        let neighbour = builder(1).build().unwrap();
        let build = || builder(1).timeout(DEADLINE).on_output(|_| ()).build().unwrap();
        forge(&neighbour, build, |pool| {
            let small: Vec<_> = (0..50).map(|x| pool.apply_async::<_, i64>("square", (x,))).collect();
            let large = pool.apply_async::<_, ByteBuf>("make_bytes", (200_000,));
            let printed = pool.apply_async::<_, ()>("print_lines", (50,));
            small.into_iter().for_each(settled);
            settled(large);
            settled(printed);
        });
        close(&neighbour);
    });
}

#[test]
fn an_owner_of_pools_that_forges_orders_harms_its_own_pools_only() {
    isolated(|| {
        let neighbour = builder(1).build().unwrap();
        let build = || builder(1).timeout(DEADLINE).on_output(|_| ()).build().unwrap();
        forge(&neighbour, build, |pool| {
            for _ in 0..3 {
                settled(pool.apply_async::<_, Vec<i64>>("nested_squares", (100, 2)));
            }
        });
        close(&neighbour);
    });
}

/// Wakes whoever waits for one of this process's doorbells.
fn ring_all() {
    let one = 1_u64;
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let paths = open.map(|entry| entry.unwrap().path());
    let bells = paths.filter(|path| fs::read_link(path).is_ok_and(|file| file.as_os_str() == "anon_inode:[eventfd]"));
    for bell in bells {
        let bell: i32 = bell.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // SAFETY: eight bytes that live until it returns.
        unsafe { libc::write(bell, (&raw const one).cast(), size_of_val(&one)) };
    }
}

#[test]
fn a_process_that_only_says_that_it_ends_is_ended() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let context = builder.context().unwrap();
        let liar = context.process("sleep").args((600_000,)).start().unwrap();
        let running = Process::open(liar.pid()).expect("it runs");
        let stolen = Stolen::take(rings().remove(0), &HashSet::new()).expect("what it shares with the host");
        // From now on it writes nothing.
        lines.wait_for_begun();
        let (done, ending) = (2, 8);
        let mut tail = stolen.read(REPLIES);
        for (kind, number) in [(done, 0), (ending, 7)] {
            let at = REPLIES + DATA + usize::try_from(tail).unwrap();
            stolen.write(at, (1 << 32) | 16);
            stolen.write(at + 8, kind);
            stolen.write(at + 16, number);
            tail += 24;
        }
        stolen.write(REPLIES, tail);
        ring_all();
        assert!(liar.join_timeout(PATIENCE));
        assert_eq!(liar.exitcode(), Some(7), "it is believed");
        running.wait_until_gone();
    });
}
