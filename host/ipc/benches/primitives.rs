//! What the primitives cost without a guest around them: alone, and against another thread with a mapping of its own, as
//! another process has.

use std::hint::black_box;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wasmp_ipc::{
    Connection, Consumer, End, Event, GetError, Limit, Lock, Mapping, Party, Producer, Queue, QueueOptions, Semaphore,
    SharedBytes, Slot, ring_bytes,
};

const SIZES: [(&str, usize); 3] = [("16 B", 16), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)];
const QUOTA: usize = 64 << 20;
const RING: usize = 64 << 10;

/// Zeroed memory, mapped twice.
fn mappings(len: usize) -> [Arc<Mapping>; 2] {
    let (fd, mapping) = Mapping::create("bench", len).expect("memory");
    let other = Mapping::open(fd.as_fd(), len).expect("the same memory");
    [mapping, other].map(Arc::new)
}

fn party(number: usize) -> Party {
    Party::worker(Slot::new(number).expect("a slot"), None)
}

fn unwrap<T>(result: io::Result<T>) -> T {
    result.expect("memory of the right size")
}

/// A thread that does something again and again until it is dropped.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    fn start(mut work: impl FnMut() + Send + 'static) -> Busy {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    work();
                }
            }
        });
        Busy {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not fail");
        }
    }
}

fn lock(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lock, acquire and release");
    let [mapping, other] = mappings(Lock::BYTES);
    let (lock, other) = (unwrap(Lock::create(&mapping)), unwrap(Lock::open(&other)));
    let pair = |lock: &Lock, party: &Party| {
        lock.acquire(party, Limit::Forever).expect("it is released");
        lock.release(party).expect("it is held");
    };
    let me = party(1);
    group.bench_function("alone", |bencher| bencher.iter(|| pair(&lock, &me)));
    let busy = Busy::start({
        let me = party(2);
        move || pair(&other, &me)
    });
    group.bench_function("against another thread", |bencher| bencher.iter(|| pair(&lock, &me)));
    drop(busy);
    group.finish();
}

fn semaphore(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("semaphore, acquire and release");
    let [mapping, _] = mappings(Semaphore::BYTES);
    let semaphore = unwrap(Semaphore::create(&mapping, 2, None));
    let me = party(1);
    group.bench_function("bare", |bencher| {
        bencher.iter(|| {
            semaphore.acquire(&me, Limit::Forever).expect("a permit");
            semaphore.release(&me, 1).expect("it fits");
        });
    });
    group.bench_function("held", |bencher| {
        bencher.iter(|| {
            semaphore.acquire_held(&me, Limit::Forever).expect("a permit");
            semaphore.release_held(&me, 1).expect("it fits");
        });
    });
    group.finish();
}

fn event(criterion: &mut Criterion) {
    let [mapping, _] = mappings(Event::BYTES);
    let event = unwrap(Event::create(&mapping));
    event.set();
    criterion.bench_function("event, is_set", |bencher| bencher.iter(|| black_box(&event).is_set()));
}

/// Gets a message; false: the queue was shut down.
fn get(queue: &Queue, party: &Party, target: &mut [u8]) -> bool {
    match queue.get(party, Limit::Forever, |message| message.read(0, target)) {
        Ok(()) => true,
        Err(GetError::ShutDown) => false,
        Err(why) => panic!("{why}"),
    }
}

fn put(queue: &Queue, party: &Party, source: &[u8]) {
    queue.put(party, 0, &[source], Limit::Forever).expect("room");
}

fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue, put and get");
    for (name, size) in SIZES {
        let [mapping, other] = mappings(Queue::bytes(QUOTA));
        let queue = unwrap(Queue::create(&mapping, QueueOptions::default()));
        let other = unwrap(Queue::open(&other));
        let (me, source, mut target) = (party(1), vec![7; size], vec![0; size]);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("one thread", name), |bencher| {
            bencher.iter(|| {
                put(&queue, &me, &source);
                get(&queue, &me, &mut target);
            });
        });
        let source = source.clone();
        // It is as full as it may be all the time: what is measured is the slower one of the two.
        let producer = thread::spawn(move || {
            let me = party(2);
            while other.put(&me, 0, &[&source], Limit::Forever).is_ok() {}
        });
        group.bench_function(BenchmarkId::new("one way between threads", name), |bencher| {
            bencher.iter(|| assert!(get(&queue, &me, &mut target)));
        });
        queue.shutdown(&me, true).expect("nobody dies");
        producer.join().expect("it ends with the queue");
    }
    group.finish();
}

fn pipe(criterion: &mut Criterion) {
    let [mapping, other] = mappings(Connection::bytes(true, QUOTA));
    let (first, second) = unwrap(Connection::create(&mapping, true));
    let echo = unwrap(Connection::open(&other, End::Second));
    assert!(echo.attach(Slot::new(2).expect("a slot")));
    second.detach(Slot::HOST);
    let echoing = thread::spawn(move || {
        let me = party(2);
        let mut buffer = [0; 16];
        while echo
            .recv(&me, Limit::Forever, |message| message.read(0, &mut buffer))
            .is_ok()
        {
            echo.send(&me, 0, &[&buffer], Limit::Forever).expect("it is received");
        }
    });
    let me = party(1);
    criterion.bench_function("pipe, round trip of 16 B to another thread", |bencher| {
        let mut buffer = [0; 16];
        bencher.iter(|| {
            first.send(&me, 0, &[&buffer], Limit::Forever).expect("it is received");
            first
                .recv(&me, Limit::Forever, |message| message.read(0, &mut buffer))
                .expect("an answer");
        });
    });
    first.detach(Slot::HOST);
    echoing.join().expect("it ends with the pipe");
}

fn bytes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shared bytes");
    for (name, size) in SIZES {
        let [mapping, _] = mappings(size);
        let bytes = SharedBytes::open(&mapping, size);
        let mut copy = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("read", name), |bencher| {
            bencher.iter(|| bytes.read(0, black_box(&mut copy)).expect("in range"));
        });
        group.bench_function(BenchmarkId::new("write", name), |bencher| {
            bencher.iter(|| bytes.write(0, black_box(&copy)).expect("in range"));
        });
    }
    group.finish();
}

fn push(producer: &mut Producer, payload: &[u8]) -> bool {
    let written = producer.try_write(&[payload]).expect("an honest consumer").is_some();
    producer.publish();
    written
}

fn pop(consumer: &mut Consumer, target: &mut [u8]) -> bool {
    let Some(record) = consumer.peek().expect("an honest producer") else {
        return false;
    };
    consumer.read(0, &mut target[..record.len()]).expect("so many bytes");
    consumer.advance();
    consumer.release();
    true
}

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring, push and pop of 16 B");
    let ends = || {
        let [mapping, other] = mappings(ring_bytes(RING));
        let producer = unwrap(Producer::new(&mapping, 0, RING));
        (producer, unwrap(Consumer::new(&other, 0, RING)))
    };
    let (mut producer, mut consumer) = ends();
    let mut buffer = [0; 16];
    group.bench_function("one thread", |bencher| {
        bencher.iter(|| push(&mut producer, &buffer) && pop(&mut consumer, &mut buffer));
    });
    group.bench_function("one way between threads", |bencher| {
        bencher.iter_custom(|count| {
            let (mut producer, mut consumer) = ends();
            let pushing = thread::spawn(move || {
                for _ in 0..count {
                    while !push(&mut producer, &[7; 16]) {
                        thread::yield_now();
                    }
                }
            });
            let began = Instant::now();
            for _ in 0..count {
                while !pop(&mut consumer, &mut buffer) {
                    thread::yield_now();
                }
            }
            let took = began.elapsed();
            pushing.join().expect("it does not fail");
            took
        });
    });
    group.finish();
}

criterion_group! {
    name = primitives;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = lock, semaphore, event, queue, pipe, bytes, ring
}
criterion_main!(primitives);
