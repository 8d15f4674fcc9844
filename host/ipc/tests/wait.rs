//! Waiting for the first of several queues and connections.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Child, PATIENCE};
use wasmp_ipc::{
    Connection, Consumer, Interrupt, Limit, MOST_WAITABLES, Mapping, Party, Producer, Queue, QueueOptions, Slot,
    WaitError, Waitable, ring_bytes, wait_any,
};

fn pipe() -> (Connection, Connection) {
    let mapping = Mapping::create("test", Connection::bytes(false, 4096)).unwrap().1;
    Connection::create(&Arc::new(mapping), false).unwrap()
}

fn queue(acknowledged: bool) -> Queue {
    let mapping = Mapping::create("test", Queue::bytes(4096)).unwrap().1;
    let options = QueueOptions {
        maxsize: 0,
        acknowledged,
    };
    Queue::create(&Arc::new(mapping), options).unwrap()
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

fn put(queue: &Queue) {
    queue.put(&party(1), 0, &[b"x"], Limit::Poll).unwrap();
}

/// A process that waits until some of these are ready, and which those are.
fn waiter(waitables: &[Waitable<'_>], ready: &[usize]) -> Child {
    let child = Child::run(|| assert_eq!(wait_any(&party(2), waitables, soon()).as_deref(), Ok(ready)));
    assert!(child.falls_asleep());
    child
}

#[test]
fn w_03_nothing_is_ready_until_something_is() {
    let ((receiver, sender), queue) = (pipe(), queue(false));
    let waitables = [Waitable::Connection(&receiver), Waitable::Queue(&queue)];
    let started = Instant::now();
    let limit = Limit::after(Some(Duration::from_millis(50)));
    assert_eq!(wait_any(&party(1), &waitables, limit), Err(WaitError::TimedOut));
    assert!(started.elapsed() >= Duration::from_millis(50));
    sender.send(&party(1), 0, &[b""], Limit::Poll).unwrap();
    assert_eq!(wait_any(&party(1), &waitables, limit), Ok(vec![0]));
    put(&queue);
    assert_eq!(wait_any(&party(1), &waitables, Limit::Poll), Ok(vec![0, 1]));
    receiver.recv(&party(1), Limit::Poll, |_| ()).unwrap();
    assert_eq!(wait_any(&party(1), &waitables, Limit::Forever), Ok(vec![1]));
}

#[test]
fn w_05_a_poll_returns_at_once() {
    let (receiver, _sender) = pipe();
    for limit in [Limit::Poll, Limit::Until(Instant::now())] {
        let result = wait_any(&party(1), &[Waitable::Connection(&receiver)], limit);
        assert_eq!(result, Err(WaitError::TimedOut));
    }
    assert_eq!(wait_any(&party(1), &[], Limit::Forever), Ok(vec![]), "none of none");
}

#[test]
fn whatever_makes_one_ready_wakes_the_waiter() {
    type Change<'c> = &'c dyn Fn(&Connection, &Connection, &[Queue; 2]) -> usize;
    let changes: [Change<'_>; 6] = [
        &|_, sender, _| {
            sender.send(&party(1), 0, &[b"x"], Limit::Poll).unwrap();
            0
        },
        &|_, sender, _| {
            sender.detach(Slot::HOST);
            0
        },
        &|_, sender, _| {
            assert!(sender.attach(slot(3)));
            sender.detach(Slot::HOST);
            sender.recover(slot(3));
            0
        },
        &|_, _, queues| {
            put(&queues[0]);
            1
        },
        &|_, _, queues| {
            queues[0].shutdown(&Party::host(), false).unwrap();
            1
        },
        &|_, _, queues| {
            // The task of a dead process.
            queues[1].recover(slot(3));
            2
        },
    ];
    for change in changes {
        let ((receiver, sender), queues) = (pipe(), [queue(false), queue(true)]);
        put(&queues[1]);
        queues[1].get(&party(3), Limit::Poll, |_| ()).unwrap();
        let [plain, acknowledged] = &queues;
        let waitables = [
            Waitable::Connection(&receiver),
            Waitable::Queue(plain),
            Waitable::Queue(acknowledged),
        ];
        assert_eq!(wait_any(&party(1), &waitables, Limit::Poll), Err(WaitError::TimedOut));
        let child = Child::run(|| {
            let ready = wait_any(&party(2), &waitables, soon()).unwrap();
            // The places are known to the parent only.
            assert_eq!(ready.len(), 1);
            assert_eq!(wait_any(&party(2), &waitables, Limit::Poll), Ok(ready));
        });
        assert!(child.falls_asleep());
        let place = change(&receiver, &sender, &queues);
        child.join();
        assert_eq!(wait_any(&party(1), &waitables, Limit::Poll), Ok(vec![place]));
    }
}

#[test]
fn an_end_that_only_sends_is_always_ready() {
    let (receiver, sender) = pipe();
    let waitables = [Waitable::Connection(&receiver), Waitable::Connection(&sender)];
    assert_eq!(wait_any(&party(1), &waitables, Limit::Forever), Ok(vec![1]));
}

#[test]
fn as_many_as_there_may_be() {
    let queues: Vec<Queue> = (0..MOST_WAITABLES).map(|_| queue(false)).collect();
    let waitables: Vec<Waitable<'_>> = queues.iter().map(Waitable::Queue).collect();
    let memory = Arc::new(Mapping::create("test", Interrupt::BYTES).unwrap().1);
    let child = Child::run(|| {
        let party = Party::worker(slot(2), Some(Interrupt::open(&memory, 0).unwrap()));
        let last = waitables.len() - 1;
        assert_eq!(wait_any(&party, &waitables, soon()), Ok(vec![last]));
        queues[last].get(&party, Limit::Poll, |_| ()).unwrap();
        assert_eq!(wait_any(&party, &waitables, soon()), Err(WaitError::Interrupted));
    });
    assert!(child.falls_asleep());
    put(queues.last().unwrap());
    while !queues.last().unwrap().is_empty() {
        std::thread::yield_now();
    }
    assert!(child.falls_asleep());
    Interrupt::open(&memory, 0).unwrap().raise();
    child.join();
}

#[test]
fn who_only_waits_does_not_keep_the_message_from_one_who_takes_it() {
    // The wake-up is for one. The waiter, which was asleep first, gets it, takes nothing and passes it on.
    for _ in 0..50 {
        let (first, second) = (queue(false), queue(false));
        let waiter = waiter(&[Waitable::Queue(&second), Waitable::Queue(&first)], &[1]);
        let taker = Child::run(|| first.get(&party(3), soon(), |_| ()).unwrap());
        assert!(taker.falls_asleep());
        let message = || first.put(&party(1), 0, &[b"x"], Limit::Poll).unwrap();
        message();
        taker.join();
        // If the taker was faster.
        message();
        waiter.join();
    }
}

#[test]
fn several_processes_wait_for_the_same() {
    let queue = queue(false);
    let waiters: Vec<Child> = (0..3).map(|_| waiter(&[Waitable::Queue(&queue)], &[0])).collect();
    put(&queue);
    waiters.into_iter().for_each(Child::join);
}

/// A ring of 64 bytes: the writing end, and the reading end.
fn ring() -> (Producer, Consumer) {
    let mapping = Arc::new(Mapping::create("test", ring_bytes(64)).unwrap().1);
    let open = (Producer::new(&mapping, 0, 64), Consumer::new(&mapping, 0, 64));
    (open.0.unwrap(), open.1.unwrap())
}

#[test]
fn a_record_wakes_who_waits_for_a_ring_among_others() {
    let ((receiver, _sender), (mut producer, mut consumer)) = (pipe(), ring());
    for round in 0..20_u8 {
        let waitables = [Waitable::Connection(&receiver), Waitable::Ring(&consumer, None)];
        let child = waiter(&waitables, &[1]);
        producer.try_write(&[&[round]]).unwrap().unwrap();
        producer.publish();
        assert!(producer.consumer_parked(), "it is to be rung");
        producer.wake_consumer();
        child.join();
        assert!(!producer.consumer_parked(), "nobody sleeps any more");
        assert_eq!(wait_any(&party(1), &waitables, Limit::Poll), Ok(vec![1]));
        consumer.peek().unwrap().unwrap();
        consumer.advance();
        consumer.release();
    }
}

#[test]
fn room_in_the_other_ring_wakes_who_has_asked_for_it() {
    let ((mut orders, mut ordered), (news, heard)) = (ring(), ring());
    let mut news = news;
    while orders.try_write(&[b"order"]).unwrap().is_some() {}
    orders.publish();
    assert!(!orders.ask_for_space().unwrap());
    let child = waiter(&[Waitable::Ring(&heard, Some(&orders))], &[0]);
    while ordered.peek().unwrap().is_some() {
        ordered.advance();
    }
    ordered.release();
    // The other side rings for room as for news.
    assert!(ordered.producer_parked() && news.consumer_parked());
    news.wake_consumer();
    child.join();
    assert!(heard.is_empty());
}
