//! Queues.

use std::thread;
use std::time::Duration;

use serde_bytes::{ByteBuf, Bytes};
use wasmp::{
    ErrorKind, Event, GetError, JoinableQueue, Lock, PutError, Queue, RawArray, SimpleQueue, TaskDoneError,
    pipe_one_way,
};
use wasmp_tests::isolated;

use crate::common::{asleep, builder, call, error, failure, kill, pool, start, timed};

/// For ever, as a task's time.
const FOREVER: Option<u64> = None;

/// Longer than anything takes, in milliseconds and as it is.
const LONG: u64 = 20_000;
const PATIENCE: Duration = Duration::from_millis(LONG);

/// A time that will be up, in the same two ways.
const BRIEF: u64 = 100;
const MOMENT: Duration = Duration::from_millis(BRIEF);

const FULL: &str = "the queue is full";
const EMPTY: &str = "the queue is empty";
const TOO_LARGE: &str = "the message is too large for the queue";
const SHUT_DOWN: &str = "the queue was shut down";
const TOO_MANY: &str = "more messages were reported as done than gotten";

type State = (u64, bool, bool);

#[test]
fn q_01_a_full_queue_takes_no_more() {
    isolated(|| {
        let pool = pool(2);
        let queue: Queue<i64> = call(&pool, "queue_new", (6,));
        let state = || call::<State>(&pool, "queue_state", (&queue,));
        assert_eq!(state(), (0, true, false));
        call::<()>(&pool, "queue_put", (&queue, [1], FOREVER));
        call::<()>(&pool, "queue_put", (&queue, [2], LONG));
        call::<()>(&pool, "queue_put", (&queue, [3], 0));
        queue.put(4).unwrap();
        queue.put_timeout(5, PATIENCE).unwrap();
        assert_eq!(state(), (5, false, false));
        queue.try_put(6).unwrap();
        assert_eq!(state(), (6, false, true));
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (6, false, true));

        assert_eq!(error(&pool, "queue_put", (&queue, [7], 0)), FULL);
        let (words, time) = timed(|| error(&pool, "queue_put", (&queue, [7], BRIEF)));
        assert_eq!(words, FULL);
        assert!(time >= MOMENT, "{time:?}");
        assert!(queue.try_put(7) == Err(PutError::Full(7)));
        let (put, time) = timed(|| queue.put_timeout(7, MOMENT));
        assert!(put == Err(PutError::Full(7)) && time >= MOMENT, "{time:?}");

        // None of these is in.
        let values: Vec<i64> = call(&pool, "queue_get", (&queue, 6, 0));
        assert_eq!(values, [1, 2, 3, 4, 5, 6]);
        assert_eq!(state(), (0, true, false));
    });
}

#[test]
fn q_01_a_put_that_waits_goes_on_when_there_is_room() {
    isolated(|| {
        let (producer, consumer) = (pool(1), pool(1));
        let queue: Queue<i64> = call(&consumer, "queue_new", (1,));
        for round in 0..5 {
            queue.put(round).unwrap();
            let begun = Event::new().unwrap();
            let put = start::<()>(&producer, "queue_put_begun", (&queue, -round, &begun));
            begun.wait().unwrap();
            asleep(&producer);
            assert!(!put.ready());
            assert_eq!(call::<Vec<i64>>(&consumer, "queue_get", (&queue, 1, 0)), [round]);
            put.get_timeout(PATIENCE).unwrap();
            assert_eq!(queue.try_get(), Ok(-round));
        }
    });
}

#[test]
fn q_03_a_drained_queue_is_empty_and_not_full() {
    isolated(|| {
        let (producer, consumer) = (pool(1), pool(1));
        let queue: Queue<i64> = call(&producer, "queue_new", (3,));
        for _ in 0..3 {
            call::<()>(&producer, "queue_put", (&queue, [1, 2, 3], 0));
            assert_eq!(call::<State>(&consumer, "queue_state", (&queue,)), (3, false, true));
            assert_eq!(call::<Vec<i64>>(&consumer, "queue_get", (&queue, 3, LONG)), [1, 2, 3]);
            for pool in [&producer, &consumer] {
                assert_eq!(call::<State>(pool, "queue_state", (&queue,)), (0, true, false));
            }
            assert!(queue.is_empty() && !queue.is_full());
        }
    });
}

#[test]
fn q_04_what_was_put_comes_in_its_order() {
    isolated(|| {
        let (producer, consumer) = (pool(1), pool(1));
        let queue = Queue::<i64>::new(0).unwrap();
        call::<()>(&producer, "queue_put", (&queue, [1, 2, 3, 4, 5, 6, 7], FOREVER));
        let get = |timeout: Option<u64>| call::<Vec<i64>>(&consumer, "queue_get", (&queue, 1, timeout));
        assert_eq!([get(None), get(Some(LONG)), get(Some(0))], [[1], [2], [3]]);
        let values = [queue.get(), queue.get_timeout(PATIENCE), queue.try_get()];
        assert_eq!(values, [Ok(4), Ok(5), Ok(6)]);
        assert_eq!(call::<Vec<i64>>(&producer, "queue_get", (&queue, 1, 0)), [7]);
    });
}

#[test]
fn q_05_get_on_empty_times_out() {
    isolated(|| {
        let pool = pool(2);
        let queue: Queue<i64> = call(&pool, "queue_new", (0,));
        assert_eq!(error(&pool, "queue_get", (&queue, 1, 0)), EMPTY);
        let (words, time) = timed(|| error(&pool, "queue_get", (&queue, 1, BRIEF)));
        assert_eq!(words, EMPTY);
        assert!(time >= MOMENT, "{time:?}");
        assert_eq!(error(&pool, "queue_get_many", (&queue, 9, BRIEF)), EMPTY);

        assert_eq!(queue.try_get(), Err(GetError::Empty));
        assert_eq!(queue.try_get_many(9), Err(GetError::Empty));
        let (gotten, time) = timed(|| queue.get_timeout(MOMENT));
        assert_eq!(gotten, Err(GetError::Empty));
        assert!(time >= MOMENT, "{time:?}");
    });
}

#[test]
fn q_05_a_get_that_waits_goes_on_when_something_comes() {
    isolated(|| {
        let (producer, consumer) = (pool(1), pool(1));
        let queue: Queue<i64> = call(&producer, "queue_new", (0,));
        for round in 0..5 {
            let begun = Event::new().unwrap();
            let gotten = start::<i64>(&consumer, "queue_get_begun", (&queue, &begun));
            begun.wait().unwrap();
            asleep(&consumer);
            assert!(!gotten.ready());
            call::<()>(&producer, "queue_put", (&queue, [round], 0));
            assert_eq!(gotten.get_timeout(PATIENCE).unwrap(), round);
        }
    });
}

#[test]
fn q_07_the_size_is_exact() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let queue: Queue<i64> = call(&one, "queue_new", (0,));
        let len = || {
            let there = [&one, &other].map(|pool| call::<State>(pool, "queue_state", (&queue,)).0);
            assert_eq!(there, [queue.len() as u64; 2]);
            there[0]
        };
        let mut sizes = vec![len()];
        call::<()>(&one, "queue_put", (&queue, [1], FOREVER));
        sizes.push(len());
        queue.put(2).unwrap();
        sizes.push(len());
        call::<Vec<i64>>(&other, "queue_get", (&queue, 1, 0));
        sizes.push(len());
        queue.get().unwrap();
        sizes.push(len());
        assert_eq!(sizes, [0, 1, 2, 1, 0]);
    });
}

#[test]
fn q_10_a_time_out_is_not_early() {
    isolated(|| {
        let pool = pool(1);
        let queue = Queue::<i64>::new(0).unwrap();
        let (words, time) = timed(|| error(&pool, "queue_get", (&queue, 1, 200)));
        assert_eq!(words, EMPTY);
        assert!(time >= Duration::from_millis(200), "{time:?}");
    });
}

#[test]
fn q_11_what_cannot_be_encoded_takes_no_place() {
    isolated(|| {
        let pool = pool(2);
        let queue: Queue<i64> = call(&pool, "queue_new", (1,));
        let errors: Vec<String> = call(&pool, "queue_put_natural", (&queue, [-1, 7]));
        assert_eq!(errors, ["the value cannot be encoded: I will not"]);
        assert_eq!(call::<State>(&pool, "queue_state", (&queue,)), (1, false, true));
        assert_eq!(call::<Vec<i64>>(&pool, "queue_get", (&queue, 1, 0)), [7]);
        assert_eq!(call::<State>(&pool, "queue_state", (&queue,)), (0, true, false));
    });
}

#[test]
fn q_12_a_put_tells_what_it_could_not_encode() {
    isolated(|| {
        let pool = pool(1);
        let queue: Queue<i64> = call(&pool, "queue_new", (0,));
        // All or nothing: the first one could have been put.
        let words = error(&pool, "queue_put_many_natural", (&queue, [1, -2, 3]));
        assert_eq!(words, "the value cannot be encoded: I will not");
        assert!(queue.is_empty());
        call::<()>(&pool, "queue_put_many_natural", (&queue, [1, 2, 3]));
        assert_eq!(queue.get_many(9), Ok(vec![1, 2, 3]));
    });
}

#[test]
fn what_is_of_another_type_is_an_error_of_its_get_and_gone() {
    isolated(|| {
        let pool = pool(1);
        let queue: Queue<i64> = call(&pool, "queue_new", (0,));
        queue.put_many([1, 2]).unwrap();
        let words = error(&pool, "queue_get_text", (&queue,));
        assert!(words.starts_with("the message cannot be decoded: "), "{words}");
        assert_eq!(call::<Vec<i64>>(&pool, "queue_get", (&queue, 1, 0)), [2]);

        call::<()>(&pool, "queue_put_bytes", (&queue, Bytes::new(b"\xff"), 0));
        call::<()>(&pool, "queue_put", (&queue, [3], 0));
        assert!(matches!(queue.get(), Err(GetError::Decode(_))));
        assert_eq!(queue.get(), Ok(3));
    });
}

#[test]
fn q_14_nothing_can_be_put_or_gotten_after_a_shutdown() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        for joinable in [false, true] {
            let queue: Queue<i64> = match joinable {
                false => call(&one, "queue_new", (0,)),
                true => call(&one, "joinable_queue_new", (0, false)),
            };
            call::<()>(&one, "queue_shutdown", (&queue, false));
            for timeout in [FOREVER, Some(LONG), Some(0)] {
                assert_eq!(error(&other, "queue_put", (&queue, [1], timeout)), SHUT_DOWN);
                assert_eq!(error(&other, "queue_get", (&queue, 1, timeout)), SHUT_DOWN);
                assert_eq!(error(&other, "queue_put_many", (&queue, [1], timeout)), SHUT_DOWN);
                assert_eq!(error(&other, "queue_get_many", (&queue, 1, timeout)), SHUT_DOWN);
            }
            assert!(queue.put(1) == Err(PutError::ShutDown(1)));
            assert!(queue.put_many([1, 2]) == Err(PutError::ShutDown(vec![1, 2])));
            assert_eq!(queue.get(), Err(GetError::ShutDown));
        }
    });
}

#[test]
fn q_15_a_simple_queue_tells_whether_it_is_empty() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let queue: SimpleQueue<i64> = call(&one, "simple_queue_new", ());
        assert!(queue.is_empty());
        let seen: (bool, bool) = call(&other, "simple_queue_empty_twice", (&queue, 5));
        assert_eq!(seen, (true, false));
        assert!(!queue.is_empty());
        assert_eq!(call::<i64>(&one, "simple_queue_get", (&queue,)), 5);
        assert!(queue.is_empty());
        call::<()>(&one, "simple_queue_put", (&queue, 6));
        assert_eq!(queue.get(), Ok(6));
        queue.put(7).unwrap();
        assert_eq!(call::<i64>(&other, "simple_queue_get", (&queue,)), 7);
    });
}

#[test]
fn q_17_a_handle_that_is_given_back_leaves_the_others() {
    isolated(|| {
        let pool = pool(1);
        let queue: SimpleQueue<i64> = call(&pool, "simple_queue_new", ());
        let other = queue.clone();
        drop(queue);
        // The worker has given its handle back with each task.
        for value in 0..3 {
            call::<()>(&pool, "simple_queue_put", (&other, value));
            assert_eq!(call::<i64>(&pool, "simple_queue_get", (&other,)), value);
        }
        // In a task that has begun, the queue goes on without the host.
        let (waits, begun) = (Queue::<i64>::new(0).unwrap(), Event::new().unwrap());
        let (way, end) = pipe_one_way().unwrap();
        end.send(&waits).unwrap();
        let gotten = start::<i64>(&pool, "queue_get_begun", (&waits, &begun));
        begun.wait().unwrap();
        drop(waits);
        way.recv::<Queue<i64>>().unwrap().put(9).unwrap();
        assert_eq!(gotten.get_timeout(PATIENCE).unwrap(), 9);
    });
}

#[test]
fn qs_01_a_shutdown_ends_all_who_wait() {
    isolated(|| {
        let (getter, putter, other) = (pool(1), pool(1), pool(1));
        for immediate in [false, true] {
            let empty: Queue<i64> = call(&other, "queue_new", (0,));
            let full: Queue<i64> = call(&other, "queue_new", (1,));
            full.put(1).unwrap();
            let begun = [Event::new().unwrap(), Event::new().unwrap()];
            let gets = start::<i64>(&getter, "queue_get_begun", (&empty, &begun[0]));
            let puts = start::<()>(&putter, "queue_put_begun", (&full, 2, &begun[1]));
            begun.iter().for_each(|begun| begun.wait().unwrap());
            asleep(&getter);
            asleep(&putter);
            thread::scope(|scope| {
                let here = scope.spawn(|| empty.get_timeout(PATIENCE));
                let there = scope.spawn(|| full.put_timeout(3, PATIENCE));
                call::<()>(&other, "queue_shutdown", (&empty, immediate));
                call::<()>(&other, "queue_shutdown", (&full, immediate));
                assert_eq!(here.join().unwrap(), Err(GetError::ShutDown));
                assert!(there.join().unwrap() == Err(PutError::ShutDown(3)));
            });
            let words = gets.get_timeout(PATIENCE).unwrap_err().to_string();
            assert!(words.contains(SHUT_DOWN), "{words}");
            let words = puts.get_timeout(PATIENCE).unwrap_err().to_string();
            assert!(words.contains(SHUT_DOWN), "{words}");
        }
    });
}

#[test]
fn qs_01_a_shutdown_of_an_empty_queue_leaves_nothing_to_wait_for() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let queue: JoinableQueue<i64> = call(&one, "joinable_queue_new", (0, false));
        call::<()>(&one, "queue_shutdown", (&queue, false));
        assert!(call::<bool>(&other, "joinable_queue_join", (&queue, FOREVER)));
        assert_eq!(queue.join_timeout(PATIENCE), Ok(true));
        assert_eq!(error(&other, "joinable_queue_work", (&queue, 1)), SHUT_DOWN);
        assert_eq!(error(&other, "queue_put", (&queue, [1], FOREVER)), SHUT_DOWN);
    });
}

#[test]
fn qs_02_after_a_shutdown_what_is_there_can_be_gotten() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let queue: JoinableQueue<i64> = call(&one, "joinable_queue_new", (0, false));
        call::<()>(&one, "queue_put", (&queue, [1, 2, 3], FOREVER));
        queue.shutdown().unwrap();
        assert_eq!(call::<State>(&other, "queue_state", (&queue,)).0, 3);
        assert_eq!(queue.join_timeout(MOMENT), Ok(false), "it is not done");
        assert_eq!(call::<Vec<i64>>(&other, "queue_get", (&queue, 1, FOREVER)), [1]);
        assert_eq!(call::<Vec<i64>>(&other, "queue_get_many", (&queue, 9, FOREVER)), [2, 3]);
        assert_eq!(error(&other, "queue_get", (&queue, 1, FOREVER)), SHUT_DOWN);
        call::<()>(&one, "joinable_queue_task_done", (&queue, 3));
        assert!(call::<bool>(&one, "joinable_queue_join", (&queue, LONG)));
    });
}

#[test]
fn qs_03_an_immediate_shutdown_drops_what_is_there() {
    isolated(|| {
        for acknowledged in [false, true] {
            let (one, other) = (pool(1), pool(1));
            let queue: JoinableQueue<i64> = call(&one, "joinable_queue_new", (0, acknowledged));
            call::<()>(&one, "queue_put", (&queue, [1, 2, 3], FOREVER));
            let joined = start::<bool>(&other, "joinable_queue_join", (&queue, LONG));
            call::<()>(&one, "queue_shutdown", (&queue, true));
            assert!(joined.get_timeout(PATIENCE).unwrap());
            assert_eq!(call::<State>(&other, "queue_state", (&queue,)), (0, true, false));
            assert_eq!(queue.len(), 0);
            assert_eq!(queue.get(), Err(GetError::ShutDown));
            assert_eq!(error(&other, "queue_get", (&queue, 1, FOREVER)), SHUT_DOWN);
            assert_eq!(error(&other, "joinable_queue_task_done", (&queue, 1)), TOO_MANY);
            assert_eq!(queue.task_done(), Err(TaskDoneError::TooMany));
        }
    });
}

#[test]
fn a_shutdown_tells_a_chain_of_workers_one_by_one() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let ways: Vec<Queue<i64>> = (0..3).map(|_| Queue::new(4).unwrap()).collect();
        let first = start::<u64>(&one, "queue_forward", (&ways[0], &ways[1]));
        let second = start::<u64>(&other, "queue_forward", (&ways[1], &ways[2]));
        thread::scope(|scope| {
            scope.spawn(|| {
                ways[0].put_many(0..100).unwrap();
                ways[0].shutdown().unwrap();
            });
            for expected in 0..100 {
                assert_eq!(ways[2].get_timeout(PATIENCE), Ok(expected));
            }
        });
        assert_eq!(first.get_timeout(PATIENCE).unwrap(), 100);
        ways[1].shutdown().unwrap();
        assert_eq!(second.get_timeout(PATIENCE).unwrap(), 100);
        assert_eq!(ways[2].try_get(), Err(GetError::Empty));
    });
}

#[test]
fn many_are_put_as_far_as_there_is_room() {
    isolated(|| {
        let pool = pool(2);
        let queue: Queue<i64> = call(&pool, "queue_new", (4,));
        let rest: Vec<i64> = call(&pool, "queue_put_many", (&queue, [1, 2, 3, 4, 5, 6], 0));
        assert_eq!(rest, [5, 6]);
        let (rest, time) = timed(|| call::<Vec<i64>>(&pool, "queue_put_many", (&queue, [7], BRIEF)));
        assert!(rest == [7] && time >= MOMENT, "{rest:?} after {time:?}");
        assert!(queue.try_put_many([8, 9]) == Err(PutError::Full(vec![8, 9])));
        assert_eq!(
            call::<Vec<i64>>(&pool, "queue_get_many", (&queue, 3, FOREVER)),
            [1, 2, 3]
        );
        assert!(queue.put_many_timeout([5, 6, 7, 8], MOMENT) == Err(PutError::Full(vec![8])));
        // It does not wait until there are so many.
        assert_eq!(
            call::<Vec<i64>>(&pool, "queue_get_many", (&queue, 100, FOREVER)),
            [4, 5, 6, 7]
        );
        assert_eq!(call::<Vec<i64>>(&pool, "queue_get_many", (&queue, 0, 0)), [0; 0]);
        assert_eq!(call::<Vec<i64>>(&pool, "queue_put_many", (&queue, [0; 0], 0)), [0; 0]);
        assert!(queue.is_empty());
    });
}

#[test]
fn many_more_are_put_than_there_is_room_for() {
    isolated(|| {
        let (producer, consumer) = (pool(1), pool(1));
        let queue: Queue<u64> = call(&producer, "queue_new", (7,));
        let put = start::<()>(&producer, "pump_many", (&queue, 1000, 100));
        let sum: u64 = call(&consumer, "drain_many", (&queue, 1000, 10));
        assert_eq!(sum, 499_500);
        put.get_timeout(PATIENCE).unwrap();
        assert!(queue.is_empty());
    });
}

#[test]
fn messages_are_of_any_size() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let ways: Vec<Queue<Vec<u8>>> = (0..3).map(|_| Queue::new(0).unwrap()).collect();
        let sizes = [0, 1, 1 << 20, 0, 128 << 20, 5];
        let first = start::<()>(&one, "queue_forward_bytes", (&ways[0], &ways[1], sizes.len()));
        let second = start::<()>(&other, "queue_forward_bytes", (&ways[1], &ways[2], sizes.len()));
        let message = |size: u32| Vec::from_iter((0..size).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8));
        for size in sizes {
            let sent = message(size);
            ways[0].put(sent.clone()).unwrap();
            let came = ways[2].get_timeout(PATIENCE * 3).unwrap();
            assert!(came == sent, "{size} bytes have become others, {} of them", came.len());
        }
        first.get_timeout(PATIENCE).unwrap();
        second.get_timeout(PATIENCE).unwrap();
    });
}

#[test]
fn a_guest_cannot_put_more_than_a_message_may_have() {
    isolated(|| {
        let pool = builder(1).max_message(1000).build().unwrap();
        let queue = Queue::<i64>::new(0).unwrap();
        let put = |len| (&queue, Bytes::new(&[1; 1001][..len]), FOREVER);
        assert_eq!(error(&pool, "queue_put_bytes", put(1001)), TOO_LARGE);
        call::<()>(&pool, "queue_put_bytes", put(1000));
        assert_eq!(queue.len(), 1, "what is too large is not put at all");

        let (from, to) = pipe_one_way().unwrap();
        let send = |len| (&to, [Bytes::new(&[1; 1001][..len])], FOREVER);
        assert_eq!(
            error(&pool, "connection_send_bytes", send(1001)),
            "the message is too large"
        );
        call::<()>(&pool, "connection_send_bytes", send(1000));
        assert_eq!(from.recv_bytes().unwrap().len(), 1000);
    });
}

#[test]
fn queues_and_pipes_of_a_guest_hold_the_largest_message() {
    isolated(|| {
        // More than what they hold by default; nobody fills it.
        let pool = builder(1).max_message(3 << 30).build().unwrap();
        let queue: Queue<i64> = call(&pool, "queue_new", (0,));
        queue.put(1).unwrap();
        assert_eq!(queue.get().unwrap(), 1);
    });
}

#[test]
fn many_messages_of_any_size_come_at_once() {
    isolated(|| {
        let pool = pool(1);
        let queue = Queue::<Vec<u8>>::new(0).unwrap();
        let sizes = [0, 10, 3 << 20, 0, 1 << 20, 7, 2 << 20, 1];
        queue.put_many(sizes.map(|size| vec![1; size])).unwrap();
        let mut lengths = Vec::<usize>::new();
        while lengths.len() < sizes.len() {
            assert!(!queue.is_empty(), "only {lengths:?} came");
            lengths.extend(call::<Vec<usize>>(&pool, "queue_get_many_lengths", (&queue, 5)));
        }
        assert_eq!(lengths, sizes);
        assert!(queue.is_empty());
    });
}

#[test]
fn messages_of_no_bytes_are_messages() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let queue = Queue::<i64>::new(3).unwrap();
        for timeout in [FOREVER, Some(LONG), Some(0)] {
            call::<()>(&one, "queue_put_bytes", (&queue, Bytes::new(b""), timeout));
        }
        assert_eq!(error(&one, "queue_put_bytes", (&queue, Bytes::new(b""), 0)), FULL);
        assert_eq!(queue.len(), 3);
        for timeout in [FOREVER, Some(LONG)] {
            assert_eq!(call::<ByteBuf>(&other, "queue_get_bytes", (&queue, timeout)), b"");
        }
        assert_eq!(queue.get_bytes(), Ok(Vec::new()));
        assert_eq!(error(&other, "queue_get_bytes", (&queue, 0)), EMPTY);
        queue.put_bytes(b"").unwrap();
        queue.put_bytes(&[7; 100_000]).unwrap();
        assert_eq!(call::<ByteBuf>(&other, "queue_get_bytes", (&queue, 0)), b"");
        assert_eq!(call::<ByteBuf>(&other, "queue_get_bytes", (&queue, 0)), [7; 100_000]);
    });
}

#[test]
fn handles_travel_in_messages() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let lock: Lock = call(&one, "lock_new", ());
        let queue = Queue::<Vec<(Lock, Queue<Lock>)>>::new(0).unwrap();
        // From worker to worker, which finds the lock in the queue in the list in the queue.
        call::<()>(&one, "queue_put_handles", (&queue, &lock));
        assert!(call::<bool>(&other, "queue_get_handles", (&queue,)));
        // From a worker to the host.
        call::<()>(&one, "queue_put_handles", (&queue, &lock));
        let (outer, inner) = queue.get_timeout(PATIENCE).unwrap().pop().expect("one pair");
        let deepest = inner.get_timeout(PATIENCE).unwrap();
        let guard = deepest.lock().unwrap();
        assert!(lock.locked() && outer.locked());
        drop(guard);
        // From the host to a worker, where nobody else has the objects any more when they come.
        inner.put(deepest).unwrap();
        queue.put(vec![(outer, inner)]).unwrap();
        drop(lock);
        assert!(call::<bool>(&other, "queue_get_handles", (&queue,)));
    });
}

#[test]
fn what_lies_in_a_queue_keeps_what_it_refers_to() {
    isolated(|| {
        let pool = pool(1);
        let nested = Queue::<Queue<Queue<i64>>>::new(0).unwrap();
        {
            let (inner, innermost) = (Queue::new(0).unwrap(), Queue::new(0).unwrap());
            innermost.put(42).unwrap();
            inner.put(innermost).unwrap();
            nested.put(inner).unwrap();
        }
        let innermost = nested.get().unwrap().get().unwrap();
        assert_eq!(call::<Vec<i64>>(&pool, "queue_get", (&innermost, 1, 0)), [42]);
    });
}

#[test]
fn several_producers_and_consumers_lose_and_double_nothing() {
    const COUNT: u64 = 2000;
    isolated(|| {
        let pool = pool(4);
        let (queue, all) = (
            Queue::<(u64, u64)>::new(16).unwrap(),
            Queue::<(u64, u64, u64)>::new(0).unwrap(),
        );
        let progress = RawArray::<u64>::new(3).unwrap();
        let producers = [(0, 1), (1, 7)]
            .map(|(producer, batch)| start::<()>(&pool, "produce", (&queue, producer, COUNT, batch, &progress)));
        let consumers =
            [(0, 1), (1, 5)].map(|(consumer, most)| start::<()>(&pool, "consume", (&queue, consumer, most, &all)));
        queue.put_many((0..COUNT).map(|number| (2, number))).unwrap();
        producers
            .into_iter()
            .for_each(|done| done.get_timeout(PATIENCE).unwrap());
        queue.shutdown().unwrap();
        consumers
            .into_iter()
            .for_each(|done| done.get_timeout(PATIENCE).unwrap());
        let mut seen = all.get_many(usize::MAX).unwrap();
        for consumer in 0..2 {
            for producer in 0..3 {
                let numbers = seen.iter().filter(|seen| (seen.0, seen.1) == (consumer, producer));
                assert!(numbers.is_sorted_by(|one, next| one.2 < next.2), "out of order");
            }
        }
        seen.sort_unstable_by_key(|seen| (seen.1, seen.2));
        let seen = seen.iter().map(|seen| (seen.1, seen.2));
        assert!(seen.eq((0..3).flat_map(|producer| (0..COUNT).map(move |number| (producer, number)))));
    });
}

#[test]
fn join_waits_until_all_is_done() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        for acknowledged in [false, true] {
            let queue: JoinableQueue<i64> = call(&one, "joinable_queue_new", (0, acknowledged));
            assert!(
                call::<bool>(&one, "joinable_queue_join", (&queue, FOREVER)),
                "nothing to do"
            );
            queue.put_many([1, 2, 3]).unwrap();
            assert!(!call::<bool>(&one, "joinable_queue_join", (&queue, 0)));
            assert_eq!(call::<i64>(&other, "joinable_queue_work", (&queue, 2)), 3);
            assert!(!call::<bool>(&one, "joinable_queue_join", (&queue, BRIEF)));
            let joined = start::<bool>(&one, "joinable_queue_join", (&queue, LONG));
            thread::scope(|scope| {
                let here = scope.spawn(|| queue.join_timeout(PATIENCE));
                // Taken, but not done.
                let (taken, go_on) = (Event::new().unwrap(), Event::new().unwrap());
                let last = start::<i64>(&other, "joinable_queue_take", (&queue, &taken, &go_on));
                taken.wait().unwrap();
                assert!(queue.is_empty() && !joined.ready() && !here.is_finished());
                go_on.set();
                assert_eq!(last.get_timeout(PATIENCE).unwrap(), 3);
                assert_eq!(here.join().unwrap(), Ok(true));
            });
            assert!(joined.get_timeout(PATIENCE).unwrap());
            assert_eq!(error(&other, "joinable_queue_task_done", (&queue, 1)), TOO_MANY);
            assert_eq!(queue.task_done(), Err(TaskDoneError::TooMany));
        }
    });
}

#[test]
fn what_a_dead_worker_had_not_acknowledged_comes_again() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(1));
        let queue: JoinableQueue<i64> = call(&other, "joinable_queue_new", (3, true));
        queue.put_many([1, 2, 3]).unwrap();
        let (taken, never) = (Event::new().unwrap(), Event::new().unwrap());
        let lost = start::<i64>(&victim, "joinable_queue_take", (&queue, &taken, &never));
        taken.wait().unwrap();
        assert_eq!(
            call::<State>(&other, "queue_state", (&queue,)),
            (2, false, true),
            "it is held"
        );
        assert_eq!(error(&other, "queue_put", (&queue, [4], 0)), FULL);
        // Somebody who has taken everything else waits already when it comes again.
        let work = start::<i64>(&other, "joinable_queue_work", (&queue, 3));
        while !queue.is_empty() {
            thread::yield_now();
        }
        asleep(&other);
        assert_eq!(queue.join_timeout(MOMENT), Ok(false));
        kill(victim.worker_pids()[0]);
        assert_eq!(work.get_timeout(PATIENCE).unwrap(), 6);
        assert!(
            matches!(lost.get_timeout(PATIENCE), Err(wasmp::Error::Task(error)) if error.kind == ErrorKind::WorkerLost)
        );
        assert_eq!(queue.join_timeout(PATIENCE), Ok(true));
        assert_eq!(call::<State>(&other, "queue_state", (&queue,)), (0, true, false));
        assert_eq!(error(&other, "joinable_queue_task_done", (&queue, 1)), TOO_MANY);
    });
}

#[test]
fn what_comes_again_comes_first() {
    isolated(|| {
        let victim = pool(1);
        let queue = JoinableQueue::<i64>::acknowledged(0).unwrap();
        queue.put_many(1..=4).unwrap();
        let (taken, never) = (Event::new().unwrap(), Event::new().unwrap());
        let lost = start::<i64>(&victim, "joinable_queue_take", (&queue, &taken, &never));
        taken.wait().unwrap();
        assert_eq!(queue.get(), Ok(2));
        kill(victim.worker_pids()[0]);
        assert!(lost.get_timeout(PATIENCE).is_err());
        assert_eq!(queue.get_many(9), Ok(vec![1, 3, 4]));
        (0..4).for_each(|_| queue.task_done().unwrap());
        assert_eq!(queue.join_timeout(PATIENCE), Ok(true));
    });
}

#[test]
fn what_a_dead_instance_had_not_acknowledged_comes_again() {
    isolated(|| {
        let pool = pool(1);
        let queue = JoinableQueue::<i64>::acknowledged(0).unwrap();
        queue.put(5).unwrap();
        assert_eq!(call::<Vec<i64>>(&pool, "queue_get", (&queue, 1, 0)), [5]);
        assert_eq!(queue.try_get(), Err(GetError::Empty), "the worker has it, and lives");
        let panicked = failure(&pool, "lock_panic", (Lock::new().unwrap(),));
        assert_eq!(panicked.kind, ErrorKind::Panic);
        assert_eq!(queue.get_timeout(PATIENCE), Ok(5));
    });
}

#[test]
fn what_a_dead_worker_has_taken_from_a_plain_queue_is_lost() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(1));
        let queue: JoinableQueue<i64> = call(&other, "joinable_queue_new", (0, false));
        queue.put_many([1, 2]).unwrap();
        let (taken, never) = (Event::new().unwrap(), Event::new().unwrap());
        let lost = start::<i64>(&victim, "queue_take", (&queue, &taken, &never));
        taken.wait().unwrap();
        kill(victim.worker_pids()[0]);
        assert!(lost.get_timeout(PATIENCE).is_err());
        assert_eq!(call::<Vec<i64>>(&other, "queue_get", (&queue, 1, 0)), [2]);
        assert_eq!(error(&other, "queue_get", (&queue, 1, 0)), EMPTY);
        // Nobody knows whether it was dealt with but the one who counts.
        call::<()>(&other, "joinable_queue_task_done", (&queue, 1));
        assert_eq!(queue.join_timeout(MOMENT), Ok(false));
        queue.task_done().unwrap();
        assert_eq!(queue.join_timeout(PATIENCE), Ok(true));
    });
}

#[test]
fn workers_that_die_while_they_wait_leave_the_queue_to_others() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(1));
        let (empty, full) = (Queue::<i64>::new(0).unwrap(), Queue::<i64>::new(1).unwrap());
        full.put(1).unwrap();
        for round in 0..5 {
            let begun = Event::new().unwrap();
            let lost = start::<i64>(&victim, "queue_get_begun", (&empty, &begun));
            begun.wait().unwrap();
            asleep(&victim).kill();
            assert!(lost.get_timeout(PATIENCE).is_err());
            empty.put(round).unwrap();
            assert_eq!(call::<Vec<i64>>(&other, "queue_get", (&empty, 1, LONG)), [round]);

            let begun = Event::new().unwrap();
            let lost = start::<()>(&victim, "queue_put_begun", (&full, 2, &begun));
            begun.wait().unwrap();
            asleep(&victim).kill();
            assert!(lost.get_timeout(PATIENCE).is_err());
            assert_eq!(call::<Vec<i64>>(&other, "queue_get", (&full, 1, LONG)), [1]);
            assert_eq!(full.try_get(), Err(GetError::Empty), "the dead have put nothing");
            call::<()>(&other, "queue_put", (&full, [1], LONG));
        }
    });
}
