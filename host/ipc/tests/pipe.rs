//! What the two ends of a pipe promise to several processes.

mod common;

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Child, PATIENCE, Random, fill, number_from_env};
use proptest::prelude::*;
use wasmp_ipc::{Advice, Connection, End, Interrupt, Limit, Mapping, Party, RecvError, SendError, Slot};

const QUOTA: usize = 4096;

struct Pipe {
    fd: OwnedFd,
    len: usize,
    first: Connection,
    second: Connection,
}

fn pipe(duplex: bool) -> Pipe {
    let len = Connection::bytes(duplex, QUOTA);
    let (fd, mapping) = Mapping::create("test", len).unwrap();
    let (first, second) = Connection::create(&Arc::new(mapping), duplex).unwrap();
    Pipe { fd, len, first, second }
}

impl Pipe {
    /// As another process opens it.
    fn open(&self, end: End) -> Connection {
        let mapping = Mapping::open(self.fd.as_fd(), self.len).unwrap();
        Connection::open(&Arc::new(mapping), end).unwrap()
    }

    /// Moves an end from the host to a process, as if it were given to it at its start.
    fn give(&self, end: End, number: usize) {
        let connection = match end {
            End::First => &self.first,
            End::Second => &self.second,
        };
        assert!(connection.attach(slot(number)));
        connection.detach(Slot::HOST);
    }
}

fn slot(number: usize) -> Slot {
    Slot::new(number).unwrap()
}

fn party(number: usize) -> Party {
    Party::worker(slot(number), None)
}

fn soon() -> Limit {
    Limit::after(Some(PATIENCE))
}

fn send(connection: &Connection, payload: &[u8], limit: Limit) -> Result<(), SendError> {
    connection.send(&party(1), 0, &[payload], limit)
}

fn recv(connection: &Connection, limit: Limit) -> Result<Vec<u8>, RecvError> {
    connection.recv(&party(2), limit, |message| message.to_vec())
}

/// A process that has fallen asleep over `body`.
fn sleeper(body: impl FnOnce()) -> Child {
    let child = Child::run(body);
    assert!(child.falls_asleep());
    child
}

// What CPython's connections do

#[test]
fn cn_02_a_simplex_pipe_has_an_end_that_receives_and_one_that_sends() {
    let Pipe { first, second, .. } = pipe(false);
    assert!(first.is_readable() && !first.is_writable());
    assert!(!second.is_readable() && second.is_writable());
    assert_eq!(send(&first, b"x", Limit::Poll), Err(SendError::ReadOnly));
    assert_eq!(recv(&second, Limit::Poll), Err(RecvError::WriteOnly));
    assert_eq!(second.poll(&party(1), Limit::Poll), Err(RecvError::WriteOnly));
    send(&second, b"x", Limit::Poll).unwrap();
    assert_eq!(recv(&first, Limit::Poll), Ok(b"x".to_vec()));
}

#[test]
fn a_duplex_pipe_goes_both_ways() {
    let Pipe { first, second, .. } = pipe(true);
    for connection in [&first, &second] {
        assert!(connection.is_readable() && connection.is_writable());
    }
    for number in 0..100 {
        send(&first, &[1; 100], Limit::Poll).unwrap();
        send(&second, &[number; 61], Limit::Poll).unwrap();
        assert_eq!(recv(&first, Limit::Poll), Ok(vec![number; 61]));
        assert_eq!(recv(&second, Limit::Poll), Ok(vec![1; 100]));
    }
}

#[test]
fn cn_03_the_parent_closes_its_copy_of_the_childs_end() {
    let pipe = pipe(true);
    pipe.give(End::Second, 1);
    let child = Child::run(|| {
        let theirs = pipe.open(End::Second);
        while let Ok(message) = recv(&theirs, soon()) {
            send(&theirs, &message, soon()).unwrap();
        }
        theirs.detach(slot(1));
    });
    for message in [&b"one"[..], b"", b"three"] {
        send(&pipe.first, message, soon()).unwrap();
        assert_eq!(recv(&pipe.first, soon()), Ok(message.to_vec()));
    }
    pipe.first.detach(Slot::HOST);
    child.join();
    assert_eq!(recv(&pipe.first, soon()), Err(RecvError::End));
}

#[test]
fn li_07_the_other_side_may_speak_first() {
    let pipe = pipe(true);
    let child = sleeper(|| assert_eq!(pipe.open(End::Second).poll(&party(1), soon()), Ok(true)));
    send(&pipe.first, b"hello", Limit::Poll).unwrap();
    child.join();
}

#[test]
fn po_01_an_empty_message_is_a_message() {
    let Pipe { first, second, .. } = pipe(false);
    let poll = || first.poll(&party(2), Limit::Poll);
    assert_eq!(poll(), Ok(false));
    send(&second, b"", Limit::Poll).unwrap();
    assert_eq!([poll(), poll()], [Ok(true); 2]);
    assert_eq!(recv(&first, Limit::Poll), Ok(vec![]));
    assert_eq!(poll(), Ok(false));
}

#[test]
fn po_02_messages_arrive_whole_and_in_order_under_polling() {
    let pipe = pipe(false);
    let strings: [&[u8]; 8] = [b"hello", b"", b"a", b"b", b"", b"bye", b"", b"lop"];
    let child = Child::run(|| {
        let theirs = pipe.open(End::Second);
        strings.iter().for_each(|string| send(&theirs, string, soon()).unwrap());
    });
    for string in strings {
        for _ in 0..3 {
            assert_eq!(pipe.first.poll(&party(2), soon()), Ok(true));
        }
        assert_eq!(recv(&pipe.first, Limit::Poll).as_deref(), Ok(string));
    }
    child.join();
}

#[test]
fn who_is_advised_to_sleep_does_and_hears_all_the_same() {
    let pipe = pipe(true);
    assert!(!pipe.second.is_awaited());
    pipe.second.advise(Advice::Sleep);
    for advice in [Advice::Sleep, Advice::Look] {
        let child = sleeper(|| {
            let ours = pipe.open(End::First);
            assert_eq!(recv(&ours, soon()).as_deref(), Ok(&b"late"[..]));
            assert_eq!(recv(&ours, Limit::Poll), Err(RecvError::TimedOut));
            // It is about what comes from there alone.
            send(&ours, b"thanks", Limit::Poll).unwrap();
        });
        assert!(pipe.second.is_awaited());
        // It is not looked at by who sleeps already.
        pipe.second.advise(advice);
        send(&pipe.second, b"late", Limit::Poll).unwrap();
        child.join();
        assert_eq!(recv(&pipe.second, Limit::Poll).as_deref(), Ok(&b"thanks"[..]));
    }
}

#[test]
fn polling_takes_its_time_and_says_true_at_the_end() {
    let pipe = pipe(false);
    let started = Instant::now();
    let limit = Limit::after(Some(Duration::from_millis(30)));
    assert_eq!(pipe.first.poll(&party(2), limit), Ok(false));
    assert_eq!(recv(&pipe.first, limit), Err(RecvError::TimedOut));
    assert!(started.elapsed() >= Duration::from_millis(30));
    let poller = sleeper(|| assert_eq!(pipe.first.poll(&party(2), soon()), Ok(true)));
    pipe.second.detach(Slot::HOST);
    poller.join();
    assert_eq!(pipe.first.poll(&party(2), Limit::Poll), Ok(true));
    assert_eq!(recv(&pipe.first, Limit::Poll), Err(RecvError::End));
}

#[test]
fn what_was_sent_before_closing_arrives_before_the_end() {
    let Pipe { first, second, .. } = pipe(true);
    for number in 0..3 {
        send(&second, &[number], Limit::Poll).unwrap();
    }
    second.detach(Slot::HOST);
    for number in 0..3 {
        assert_eq!(recv(&first, Limit::Poll), Ok(vec![number]));
    }
    assert_eq!(recv(&first, Limit::Forever), Err(RecvError::End));
    assert_eq!(send(&first, b"x", Limit::Forever), Err(SendError::BrokenPipe));
}

#[test]
fn sending_to_nobody_is_a_broken_pipe_even_from_the_middle_of_a_wait() {
    let pipe = pipe(false);
    while send(&pipe.second, &[0; 500], Limit::Poll).is_ok() {}
    assert_eq!(send(&pipe.second, &[0; 500], Limit::Poll), Err(SendError::TimedOut));
    let sender = sleeper(|| {
        assert_eq!(send(&pipe.second, &[0; 500], soon()), Err(SendError::BrokenPipe));
    });
    pipe.first.detach(Slot::HOST);
    sender.join();
    assert_eq!(send(&pipe.second, b"", Limit::Poll), Err(SendError::BrokenPipe));
}

#[test]
fn a_message_longer_than_the_pipe_never_fits() {
    let Pipe { first, second, .. } = pipe(false);
    assert_eq!(send(&second, &[0; QUOTA - 7], Limit::Forever), Err(SendError::TooLarge));
    send(&second, &[7; QUOTA - 8], Limit::Poll).unwrap();
    assert_eq!(recv(&first, Limit::Poll), Ok(vec![7; QUOTA - 8]));
}

#[test]
fn pk_02_ends_are_sent_to_a_child_which_uses_them() {
    let (control, writing, reading) = (pipe(false), pipe(false), pipe(false));
    let child = Child::run(|| {
        let ends = [(&writing, End::Second), (&reading, End::First)].map(|(pipe, end)| {
            recv(&control.first, soon()).unwrap();
            let connection = pipe.open(end);
            assert!(connection.import(slot(3)));
            connection
        });
        send(&ends[0], b"by the child", Limit::Poll).unwrap();
        ends[0].detach(slot(3));
        assert_eq!(recv(&ends[1], soon()), Ok(b"by the host".to_vec()));
        assert_eq!(recv(&ends[1], soon()), Err(RecvError::End));
    });
    // The host closes what it has sent before the child has opened it.
    for end in [&writing.second, &reading.first] {
        end.export(Slot::HOST);
        end.detach(Slot::HOST);
        send(&control.second, b"an end", Limit::Poll).unwrap();
    }
    assert_eq!(recv(&writing.first, soon()), Ok(b"by the child".to_vec()));
    assert_eq!(recv(&writing.first, soon()), Err(RecvError::End));
    send(&reading.second, b"by the host", soon()).unwrap();
    reading.second.detach(Slot::HOST);
    child.join();
}

// Who has an end open

#[test]
fn an_end_is_open_until_everyone_has_closed_it() {
    let Pipe { first, second, .. } = pipe(false);
    let is_gone = || recv(&first, Limit::Poll) == Err(RecvError::End);
    // However often one process says so.
    for _ in 0..3 {
        assert!(second.attach(slot(1)));
        assert!(second.attach(slot(1023)));
    }
    second.detach(Slot::HOST);
    second.detach(slot(1));
    second.detach(slot(1));
    assert!(!is_gone());
    second.detach(slot(1023));
    assert!(is_gone());
    assert!(!second.attach(slot(1)), "gone for good");
    assert!(!second.import(slot(1)));
    assert!(is_gone());
}

#[test]
fn an_end_in_two_messages_is_open_until_both_were_opened_and_closed() {
    let Pipe { first, second, .. } = pipe(false);
    let is_gone = || recv(&first, Limit::Poll) == Err(RecvError::End);
    second.export(Slot::HOST);
    second.export(Slot::HOST);
    second.detach(Slot::HOST);
    for number in [1, 2] {
        assert!(!is_gone());
        assert!(second.import(slot(number)));
        second.detach(slot(number));
    }
    assert!(is_gone());
}

#[test]
fn the_dead_have_closed_everything() {
    for exported in [false, true] {
        let Pipe { first, second, .. } = pipe(true);
        for connection in [&first, &second] {
            assert!(connection.attach(slot(1)));
        }
        if exported {
            second.export(slot(1));
        }
        second.detach(Slot::HOST);
        send(&second, b"last words", Limit::Poll).unwrap();
        for _ in 0..2 {
            first.recover(slot(1));
        }
        assert_eq!(recv(&first, Limit::Poll), Ok(b"last words".to_vec()));
        assert_eq!(recv(&first, Limit::Poll), Err(RecvError::End));
        // The host still has the first end.
        assert!(first.attach(slot(2)));
    }
}

#[test]
fn one_who_waits_for_room_hears_that_the_receiver_died() {
    for recovered_at_first in [true, false] {
        let pipe = pipe(true);
        pipe.give(End::Second, 1);
        while send(&pipe.first, &[0; 504], Limit::Poll).is_ok() {}
        let sender = sleeper(|| assert_eq!(send(&pipe.first, &[0; 504], soon()), Err(SendError::BrokenPipe)));
        match recovered_at_first {
            true => pipe.first.recover(slot(1)),
            false => pipe.second.recover(slot(1)),
        }
        sender.join();
    }
}

#[test]
fn a_killed_process_leaves_whole_messages_and_the_end() {
    let kills = number_from_env("WASMP_KILLS").unwrap_or(150);
    let mut random = Random(u64::from(std::process::id()));
    let (mut expected, mut received) = (Vec::new(), 0);
    for kill in 0..kills {
        let pipe = pipe(true);
        pipe.give(End::Second, 1);
        let child = Child::run(|| {
            let mut payload = Vec::new();
            for number in 0.. {
                fill(number, 1000, &mut payload);
                let half = payload.len() / 2;
                let parts = [&payload[..half], &payload[half..]];
                pipe.second.send(&party(1), 0, &parts, Limit::Forever).unwrap();
            }
        });
        let (mut number, count) = (0, random.below(40));
        let mut check = |message: Vec<u8>| {
            fill(number, 1000, &mut expected);
            assert!(message == expected, "kill {kill}: message {number}");
            number += 1;
        };
        for _ in 0..count {
            check(recv(&pipe.first, soon()).unwrap());
        }
        child.kill();
        // Somebody waits for the end that the dead one could not announce.
        let poller = Child::run(|| while recv(&pipe.first, soon()).is_ok() {});
        pipe.first.recover(slot(1));
        poller.join();
        assert_eq!(recv(&pipe.first, Limit::Poll), Err(RecvError::End));
        assert_eq!(send(&pipe.first, b"x", Limit::Poll), Err(SendError::BrokenPipe));
        received += number;
    }
    assert!(received > 0);
}

#[test]
fn threads_on_one_end_take_turns() {
    const EACH: u64 = 5_000;
    let Pipe { first, second, .. } = pipe(false);
    let mut counts = [0; 3];
    thread::scope(|scope| {
        for sender in 0..3u8 {
            let second = &second;
            scope.spawn(move || {
                let mut payload = Vec::new();
                for number in 0..EACH {
                    fill(number, 200, &mut payload);
                    second.send(&Party::host(), sender, &[&payload], soon()).unwrap();
                }
            });
        }
        let mut expected = Vec::new();
        for _ in 0..3 * EACH {
            let received = first.recv(&Party::host(), soon(), |message| (message.kind(), message.to_vec()));
            let (sender, payload) = received.unwrap();
            let count = &mut counts[usize::from(sender)];
            fill(*count, 200, &mut expected);
            assert_eq!(payload, expected);
            *count += 1;
        }
    });
    assert_eq!(counts, [EACH; 3]);
}

#[test]
fn every_wait_hears_an_interruption() {
    let memory = Arc::new(Mapping::create("test", Interrupt::BYTES).unwrap().1);
    let interrupt = Interrupt::open(&memory, 0).unwrap();
    let told = || Party::worker(slot(1), Some(Interrupt::open(&memory, 0).unwrap()));
    let Pipe { first, second, .. } = pipe(true);
    while send(&first, &[0; 500], Limit::Poll).is_ok() {}
    let waiting: [&dyn Fn(); 3] = [
        &|| assert_eq!(first.recv(&told(), soon(), |_| ()), Err(RecvError::Interrupted)),
        &|| assert_eq!(first.poll(&told(), soon()), Err(RecvError::Interrupted)),
        &|| {
            let result = first.send(&told(), 0, &[&[0; 500]], soon());
            assert_eq!(result, Err(SendError::Interrupted));
        },
    ];
    let sleepers = waiting.map(sleeper);
    interrupt.raise();
    sleepers.into_iter().for_each(Child::join);
    send(&second, b"x", Limit::Poll).unwrap();
    assert_eq!(first.poll(&told(), soon()), Ok(true), "need not wait");
}

// Memory

#[test]
fn what_is_not_the_memory_of_a_pipe_is_refused() {
    let size = Connection::bytes(false, QUOTA);
    for len in [1, 4096, size - 4096, size + 8, size + 2 * 4096] {
        let mapping = Arc::new(Mapping::create("test", len).unwrap().1);
        let refusal = Connection::create(&mapping, false).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::InvalidData, "{len}");
        let refusal = Connection::open(&mapping, End::First).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::InvalidData, "{len}");
    }
    let (fd, mapping) = Mapping::create("test", size).unwrap();
    File::from(fd).write_all_at(&[2], 0).unwrap();
    let refusal = Connection::open(&Arc::new(mapping), End::First).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::InvalidData, "neither simplex nor duplex");
}

#[derive(Clone, Debug)]
enum Step {
    Poke { at: u64, value: u64 },
    Send { first: bool, len: usize },
    Recv { first: bool },
    Poll { first: bool },
    Attach { first: bool, slot: usize },
    Import { first: bool, slot: usize },
    Export { first: bool, slot: usize },
    Detach { first: bool, slot: usize },
    Recover { slot: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        0..64u64,
        any::<u64>(),
        (0..64u64).prop_map(u64::wrapping_neg),
        (0..8u64, 0..1200u64).prop_map(|(high, low)| high << 32 | low),
    ];
    // Everything but the four locks: those make everybody wait.
    let at = (0..2300 / 8u64)
        .prop_map(|word| 8 * word)
        .prop_filter("a lock", |at| ![640, 640 + 256, 1536, 1536 + 256].contains(at));
    let transit = (4096 / 8..12288 / 8u64).prop_map(|word| 8 * word);
    let data = (12288 / 8..12288 / 8 + 64u64).prop_map(|word| 8 * word);
    let at = prop_oneof![4 => at, 1 => transit, 2 => data];
    let who = || (any::<bool>(), 0..4usize);
    prop_oneof![
        4 => (at, value).prop_map(|(at, value)| Step::Poke { at, value }),
        4 => (any::<bool>(), 0..2000usize).prop_map(|(first, len)| Step::Send { first, len }),
        4 => any::<bool>().prop_map(|first| Step::Recv { first }),
        1 => any::<bool>().prop_map(|first| Step::Poll { first }),
        1 => who().prop_map(|(first, slot)| Step::Attach { first, slot }),
        1 => who().prop_map(|(first, slot)| Step::Import { first, slot }),
        1 => who().prop_map(|(first, slot)| Step::Export { first, slot }),
        1 => who().prop_map(|(first, slot)| Step::Detach { first, slot }),
        1 => (0..4usize).prop_map(|slot| Step::Recover { slot }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn anything_in_its_memory_leads_to_errors_at_most(steps in prop::collection::vec(step(), 1..60)) {
        let Pipe { fd, first: one, second: other, .. } = pipe(true);
        let file = File::from(fd);
        let end = |first| if first { &one } else { &other };
        let limit = || Limit::after(Some(Duration::from_micros(100)));
        for step in steps {
            match step {
                Step::Poke { at, value } => file.write_all_at(&value.to_ne_bytes(), at).unwrap(),
                Step::Send { first, len } => drop(send(end(first), &vec![1; len], limit())),
                Step::Recv { first } => drop(recv(end(first), limit())),
                Step::Poll { first } => drop(end(first).poll(&party(1), limit())),
                Step::Attach { first, slot: number } => {
                    let _ = end(first).attach(slot(number));
                }
                Step::Import { first, slot: number } => {
                    let _ = end(first).import(slot(number));
                }
                Step::Export { first, slot: number } => end(first).export(slot(number)),
                Step::Detach { first, slot: number } => end(first).detach(slot(number)),
                Step::Recover { slot: number } => one.recover(slot(number)),
            }
        }
    }
}
