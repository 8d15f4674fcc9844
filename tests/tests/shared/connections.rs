//! Pipes and `wait`.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_bytes::{ByteBuf, Bytes};
use wasmp::{
    Connection, Error, ErrorKind, Event, Queue, RecvError, SendError, Waitable, pipe, pipe_one_way, try_wait, wait,
    wait_timeout,
};
use wasmp_tests::{eventually, isolated};

use crate::common::{asleep, builder, call, error, failure, kill, pool, start, timed};

/// For ever, as a task's time.
const FOREVER: Option<u64> = None;

/// Longer than anything takes, in milliseconds and as it is.
const LONG: u64 = 20_000;
const PATIENCE: Duration = Duration::from_millis(LONG);

/// A time that will be up, in the same two ways.
const BRIEF: u64 = 100;
const MOMENT: Duration = Duration::from_millis(BRIEF);

const END: &str = "the other end of the connection is gone, and nothing is left to receive";
const BROKEN: &str = "the other end of the connection is gone";
const ONLY_RECEIVES: &str = "this end of the connection only receives";
const ONLY_SENDS: &str = "this end of the connection only sends";
const NOTHING: &str = "nothing was received in time";

#[test]
fn cn_01_messages_go_both_ways() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let (here, there): (Connection, Connection) = call(&one, "pipe_new", (true,));
        // Worker to worker.
        let pings = start::<u64>(&one, "ping", (&here, 100));
        call::<()>(&other, "pong", (&there, 100));
        assert_eq!(pings.get_timeout(PATIENCE).unwrap(), 100);
        // Worker to host and back; a message of no bytes is one.
        let echoed = start::<u64>(&one, "echo", (&there,));
        drop(there);
        for message in [&b"one"[..], b"", &[7; 100_000]] {
            here.send_bytes(message).unwrap();
            assert!(here.recv_bytes_timeout(PATIENCE).unwrap() == message);
        }
        here.send_bytes(&vec![3; 64 << 20]).unwrap();
        assert!(here.recv_bytes_timeout(PATIENCE * 3).unwrap() == vec![3; 64 << 20]);
        drop(here);
        assert_eq!(echoed.get_timeout(PATIENCE).unwrap(), 4);
    });
}

#[test]
fn cn_02_a_pipe_of_one_way_is_one() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let (receiver, sender): (Connection, Connection) = call(&one, "pipe_new", (false,));
        for pool in [&one, &other] {
            let directions = |end: &Connection| call::<(bool, bool)>(pool, "connection_directions", (end,));
            assert_eq!(
                [directions(&receiver), directions(&sender)],
                [(true, false), (false, true)]
            );
            assert_eq!(
                error(pool, "connection_send", (&receiver, "no", FOREVER)),
                ONLY_RECEIVES
            );
            assert_eq!(error(pool, "connection_recv", (&sender, FOREVER)), ONLY_SENDS);
            assert_eq!(error(pool, "connection_poll", (&sender, 0)), ONLY_SENDS);
        }
        assert_eq!((receiver.readable(), receiver.writable()), (true, false));
        assert_eq!((sender.readable(), sender.writable()), (false, true));
        assert_eq!(receiver.send("no"), Err(SendError::Direction));
        assert_eq!(sender.recv::<String>(), Err(RecvError::Direction));
        assert_eq!(sender.poll(), Err(RecvError::Direction));

        call::<()>(&one, "connection_send", (&sender, "yes", FOREVER));
        assert_eq!(call::<String>(&other, "connection_recv", (&receiver, LONG)), "yes");
    });
}

#[test]
fn cn_03_the_host_may_close_its_end_at_once() {
    isolated(|| {
        let pool = pool(1);
        for message in ["the first", "the second"] {
            let (here, there) = pipe().unwrap();
            let echoed = start::<u64>(&pool, "echo", (&there,));
            there.close();
            here.send_bytes(message.as_bytes()).unwrap();
            assert_eq!(here.recv_bytes_timeout(PATIENCE).unwrap(), message.as_bytes());
            here.close();
            assert_eq!(echoed.get_timeout(PATIENCE).unwrap(), 1);
        }
    });
}

#[test]
fn cn_05_a_connection_travels_through_a_connection() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        // From worker to worker, and the host keeps nothing of it.
        let (way_in, way_out) = pipe().unwrap();
        let (here, there) = pipe().unwrap();
        call::<()>(&one, "connection_send_connection", (&way_in, &there));
        drop(there);
        assert_eq!(here.try_recv::<String>(), Err(RecvError::TimedOut), "it is on its way");
        call::<()>(&other, "connection_recv_connection", (&way_out, "from afar"));
        assert_eq!(here.recv_timeout::<String>(PATIENCE).unwrap(), "from afar");
        assert_eq!(
            here.recv_timeout::<String>(PATIENCE),
            Err(RecvError::EndOfFile),
            "it has ended with the task"
        );
        // From the host to the host, by way of no worker.
        let (here, there) = pipe().unwrap();
        way_in.send(&(there, "and more")).unwrap();
        let (came, _): (Connection, String) = way_out.recv().unwrap();
        came.send("still open").unwrap();
        drop(came);
        assert_eq!(here.recv::<String>().unwrap(), "still open");
        assert_eq!(here.recv::<String>(), Err(RecvError::EndOfFile));
    });
}

#[test]
fn cn_05_an_end_that_a_dead_worker_had_sent_is_gone() {
    isolated(|| {
        let pool = pool(1);
        let (way_in, way_out) = pipe().unwrap();
        let (here, there) = pipe().unwrap();
        call::<()>(&pool, "connection_send_connection", (&way_in, &there));
        drop(there);
        assert_eq!(here.try_recv::<String>(), Err(RecvError::TimedOut), "it is on its way");
        kill(pool.worker_pids()[0]);
        assert_eq!(here.recv_timeout::<String>(PATIENCE), Err(RecvError::EndOfFile));
        assert_eq!(here.send("nobody"), Err(SendError::BrokenPipe));
        // The message itself is there.
        way_out.recv_timeout::<Connection>(PATIENCE).unwrap();
    });
}

#[test]
fn cn_07_a_message_that_only_looks_like_a_handle_is_none() {
    isolated(|| {
        let pool = pool(1);
        let (here, there) = pipe().unwrap();
        let forged = |kind: u8| [&[0xda, 0x77, 0x61, 0x73, 0x6d, 0x82, kind, 0x50][..], &[9; 16]].concat();
        for kind in [8, 7, 23] {
            here.send_bytes(&forged(kind)).unwrap();
            let words = error(&pool, "connection_recv_connection", (&there, "nobody"));
            assert!(words.starts_with("the message cannot be decoded: "), "{words}");
            there.send_bytes(&forged(kind)).unwrap();
            assert!(matches!(here.recv::<Connection>(), Err(RecvError::Decode(_))));
        }
        // Nor is anything else in its place.
        here.send("a text").unwrap();
        let words = error(&pool, "connection_recv_connection", (&there, "nobody"));
        assert!(words.starts_with("the message cannot be decoded: "), "{words}");
        // A handle of another kind is not one to this.
        here.send(&Event::new().unwrap()).unwrap();
        let words = error(&pool, "connection_recv_connection", (&there, "nobody"));
        assert!(words.starts_with("the message cannot be decoded: "), "{words}");
        let failure = failure(&pool, "connection_recv", (&Event::new().unwrap(), FOREVER));
        assert_eq!(failure.kind, ErrorKind::Arguments, "{failure}");
    });
}

#[test]
fn cn_08_an_end_is_closed_with_its_last_handle() {
    isolated(|| {
        let pool = pool(1);
        let ended: (String, String) = call(&pool, "connection_scoped", ());
        assert_eq!(ended, (END.to_owned(), BROKEN.to_owned()));

        let (here, there) = pipe().unwrap();
        let again = there.clone();
        there.send("left").unwrap();
        there.close();
        assert_eq!(here.recv::<String>().unwrap(), "left");
        assert_eq!(
            here.try_recv::<String>(),
            Err(RecvError::TimedOut),
            "there is another handle"
        );
        again.close();
        assert_eq!(here.recv::<String>(), Err(RecvError::EndOfFile));
        assert_eq!(here.send("nobody"), Err(SendError::BrokenPipe));
    });
}

#[test]
fn the_end_comes_when_the_other_worker_closes() {
    isolated(|| {
        let (keeper, other) = (pool(1), pool(1));
        let (here, there): (Connection, Connection) = call(&other, "pipe_new", (true,));
        call::<()>(&keeper, "connection_send", (&there, "left", FOREVER));
        call::<()>(&keeper, "connection_keep", (&there,));
        drop(there);
        assert_eq!(call::<String>(&other, "connection_recv", (&here, LONG)), "left");
        assert_eq!(error(&other, "connection_recv", (&here, BRIEF)), NOTHING);
        let begun = Event::new().unwrap();
        let waits = start::<String>(&other, "connection_recv_begun", (&here, &begun));
        begun.wait().unwrap();
        asleep(&other);
        assert_eq!(call::<usize>(&keeper, "connection_drop_kept", ()), 1);
        let words = waits.get_timeout(PATIENCE).unwrap_err().to_string();
        assert!(words.contains(END), "{words}");
        assert_eq!(error(&other, "connection_send", (&here, "nobody", FOREVER)), BROKEN);
        assert_eq!(here.recv::<String>(), Err(RecvError::EndOfFile));
        assert_eq!(here.send("nobody"), Err(SendError::BrokenPipe));
    });
}

#[test]
fn the_end_comes_when_the_other_worker_dies() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(1));
        for host_waits in [false, true] {
            let (here, there) = pipe().unwrap();
            call::<()>(&victim, "connection_send", (&there, "left", FOREVER));
            call::<()>(&victim, "connection_keep", (&there,));
            drop(there);
            let pid = victim.worker_pids()[0];
            if host_waits {
                thread::scope(|scope| {
                    assert_eq!(here.recv::<String>().unwrap(), "left");
                    let waits = scope.spawn(|| here.recv_timeout::<String>(PATIENCE));
                    kill(pid);
                    assert_eq!(waits.join().unwrap(), Err(RecvError::EndOfFile));
                });
            } else {
                assert_eq!(call::<String>(&other, "connection_recv", (&here, LONG)), "left");
                let begun = Event::new().unwrap();
                let waits = start::<String>(&other, "connection_recv_begun", (&here, &begun));
                begun.wait().unwrap();
                asleep(&other);
                kill(pid);
                let words = waits.get_timeout(PATIENCE).unwrap_err().to_string();
                assert!(words.contains(END), "{words}");
            }
            assert_eq!(error(&other, "connection_send", (&here, "nobody", FOREVER)), BROKEN);
            assert_eq!(here.send("nobody"), Err(SendError::BrokenPipe));
        }
    });
}

#[test]
fn the_end_comes_when_the_other_instance_traps() {
    isolated(|| {
        let pool = pool(1);
        let (here, there) = pipe().unwrap();
        call::<()>(&pool, "connection_keep", (&there,));
        drop(there);
        assert_eq!(here.try_recv::<String>(), Err(RecvError::TimedOut));
        assert_eq!(
            failure(&pool, "lock_panic", (wasmp::Lock::new().unwrap(),)).kind,
            ErrorKind::Panic
        );
        assert_eq!(here.recv_timeout::<String>(PATIENCE), Err(RecvError::EndOfFile));
        assert_eq!(here.send("nobody"), Err(SendError::BrokenPipe));
    });
}

#[test]
fn a_dead_worker_is_no_end_while_somebody_else_has_it_too() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(1));
        let (here, there) = pipe().unwrap();
        for pool in [&victim, &other] {
            call::<()>(pool, "connection_keep", (&there,));
        }
        let begun = Event::new().unwrap();
        let task = start::<String>(&victim, "connection_recv_begun", (&there, &begun));
        drop(there);
        begun.wait().unwrap();
        kill(victim.worker_pids()[0]);
        assert!(task.get_timeout(PATIENCE).is_err());
        assert_eq!(here.recv_timeout::<String>(MOMENT), Err(RecvError::TimedOut));
        here.send("somebody").unwrap();
        kill(other.worker_pids()[0]);
        assert_eq!(here.recv_timeout::<String>(PATIENCE), Err(RecvError::EndOfFile));
    });
}

#[test]
fn messages_go_into_buffers_that_are_long_enough() {
    isolated(|| {
        let pool = pool(1);
        let (here, there) = pipe().unwrap();
        let receive = |size: usize| call::<(bool, ByteBuf)>(&pool, "connection_recv_bytes_into", (&there, size, LONG));
        here.send_bytes(b"just").unwrap();
        assert_eq!(receive(4), (true, ByteBuf::from("just")));
        here.send_bytes(b"too long").unwrap();
        assert_eq!(receive(7), (false, ByteBuf::from("too long")));
        here.send_bytes(b"").unwrap();
        assert_eq!(receive(0), (true, ByteBuf::new()));

        call::<()>(
            &pool,
            "connection_send_bytes",
            (&there, [Bytes::new(b"abc"), Bytes::new(b"de")], FOREVER),
        );
        assert_eq!(
            here.recv_bytes_into(&mut [0; 2]),
            Err(RecvError::BufferTooShort(b"abc".into()))
        );
        let mut buffer = [0; 4];
        assert_eq!(here.recv_bytes_into_timeout(&mut buffer, PATIENCE), Ok(2));
        assert_eq!(&buffer, b"de\0\0");
        assert_eq!(here.try_recv_bytes_into(&mut buffer), Err(RecvError::TimedOut));
    });
}

#[test]
fn po_01_a_poll_takes_nothing() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let (here, there) = pipe().unwrap();
        let poll = |timeout: u64| call::<bool>(&other, "connection_poll", (&there, timeout));
        assert!(!poll(0) && !there.poll().unwrap());
        let (found, time) = timed(|| poll(BRIEF));
        assert!(!found && time >= MOMENT, "{time:?}");
        let (found, time) = timed(|| there.poll_timeout(MOMENT).unwrap());
        assert!(!found && time >= MOMENT, "{time:?}");

        call::<()>(&one, "connection_send_bytes", (&here, [Bytes::new(b"")], FOREVER));
        assert!(poll(0) && poll(LONG) && there.poll().unwrap() && there.poll_timeout(PATIENCE).unwrap());
        assert_eq!(call::<ByteBuf>(&other, "connection_recv_bytes", (&there, 0)), b"");
        assert!(!poll(0) && !there.poll().unwrap());
        // The end can be received, too.
        drop(here);
        assert!(poll(0) && poll(LONG) && there.poll().unwrap());
        assert_eq!(error(&other, "connection_recv_bytes", (&there, 0)), END);
    });
}

#[test]
fn po_02_messages_arrive_whole_and_in_order_under_polling() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let (here, there): (Connection, Connection) = call(&one, "pipe_new", (false,));
        let received = start::<Vec<ByteBuf>>(&other, "connection_poll_and_recv", (&here, 3));
        let sent = [&b"hello"[..], b"", b"a", b"", b"", b"bb", &[1; 70_000], b"bye"].map(Bytes::new);
        call::<()>(&one, "connection_send_bytes", (&there, sent, FOREVER));
        drop(there);
        assert!(received.get_timeout(PATIENCE).unwrap() == sent);
    });
}

#[test]
fn pk_02_both_ends_of_a_one_way_pipe_can_be_given_away() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let (way_in, way_out) = pipe().unwrap();
        let (receiver, sender) = pipe_one_way().unwrap();
        way_in.send(&sender).unwrap();
        drop(sender);
        call::<()>(&one, "connection_recv_connection", (&way_out, "through the first"));
        call::<()>(&one, "connection_send_connection", (&way_in, &receiver));
        drop(receiver);
        let receiver: Connection = way_out.recv().unwrap();
        assert_eq!(
            call::<String>(&other, "connection_recv", (&receiver, LONG)),
            "through the first"
        );
        assert_eq!(error(&other, "connection_recv", (&receiver, LONG)), END);
    });
}

#[test]
fn w_02_a_wait_tells_which_are_ready() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let (pipes, queues) = (
            [pipe().unwrap(), pipe().unwrap()],
            [Queue::<i64>::new(0), Queue::<i64>::new(0)],
        );
        let queues = queues.map(Result::unwrap);
        let ends: Vec<&Connection> = pipes.iter().map(|pipe| &pipe.0).collect();
        let there = |timeout: Option<u64>| call::<Vec<usize>>(&one, "wait_any", (&ends, &queues, timeout));
        let objects: [&dyn Waitable; 4] = [ends[0], ends[1], &queues[0], &queues[1]];

        call::<()>(&other, "queue_put", (&queues[1], [1], FOREVER));
        assert_eq!([there(FOREVER), wait(&objects).unwrap()], [[3], [3]]);
        call::<()>(&other, "connection_send", (&pipes[0].1, "x", FOREVER));
        assert_eq!(
            [there(Some(LONG)), wait_timeout(&objects, PATIENCE).unwrap()],
            [[0, 3], [0, 3]]
        );
        queues[1].get().unwrap();
        ends[0].recv::<String>().unwrap();
        assert_eq!([there(Some(0)), try_wait(&objects).unwrap()], [[0; 0], [0; 0]]);
        // An end and a shutdown are something, too.
        queues[0].shutdown().unwrap();
        assert_eq!([there(FOREVER), wait(&objects).unwrap()], [[2], [2]]);
    });
}

#[test]
fn w_02_a_wait_is_woken_by_each() {
    isolated(|| {
        let (waiter, other) = (pool(1), pool(1));
        let (here, there) = pipe().unwrap();
        let queue: Queue<i64> = call(&other, "queue_new", (0,));
        let wait_there = || {
            let begun = Event::new().unwrap();
            let waits = start::<Vec<usize>>(&waiter, "wait_begun", (&here, &queue, &begun));
            begun.wait().unwrap();
            asleep(&waiter);
            assert!(!waits.ready());
            waits
        };
        let waits = wait_there();
        call::<()>(&other, "queue_put", (&queue, [1], FOREVER));
        assert_eq!(waits.get_timeout(PATIENCE).unwrap(), [1]);
        queue.get().unwrap();

        let waits = wait_there();
        call::<()>(&other, "connection_send", (&there, "x", FOREVER));
        assert_eq!(waits.get_timeout(PATIENCE).unwrap(), [0]);
        here.recv::<String>().unwrap();

        call::<()>(&other, "connection_keep", (&there,));
        drop(there);
        let waits = wait_there();
        kill(other.worker_pids()[0]);
        assert_eq!(waits.get_timeout(PATIENCE).unwrap(), [0]);
    });
}

#[test]
fn w_03_a_wait_times_out() {
    isolated(|| {
        let pool = pool(1);
        let ((here, there), queue) = (pipe().unwrap(), Queue::<i64>::new(0).unwrap());
        let (ready, time) = timed(|| call::<Vec<usize>>(&pool, "wait_any", ([&here], [&queue], BRIEF)));
        assert!(ready.is_empty() && time >= MOMENT, "{ready:?} after {time:?}");
        let (ready, time) = timed(|| wait_timeout(&[&here, &queue], MOMENT).unwrap());
        assert!(ready.is_empty() && time >= MOMENT, "{ready:?} after {time:?}");
        there.send("x").unwrap();
        assert_eq!(call::<Vec<usize>>(&pool, "wait_any", ([&here], [&queue], LONG)), [0]);
        assert_eq!(wait_timeout(&[&here, &queue], PATIENCE), Ok(vec![0]));
    });
}

#[test]
fn w_05_a_wait_that_may_not_wait_ends_at_once() {
    isolated(|| {
        let pool = pool(1);
        let ((here, _there), queue) = (pipe().unwrap(), Queue::<i64>::new(0).unwrap());
        assert_eq!(call::<Vec<usize>>(&pool, "wait_any", ([&here], [&queue], 0)), [0; 0]);
        assert_eq!(try_wait(&[&here, &queue]), Ok(vec![]));
        assert_eq!(wait_timeout(&[&here, &queue], Duration::ZERO), Ok(vec![]));
        // Of none, none is ready.
        let none: [&Connection; 0] = [];
        assert_eq!(call::<Vec<usize>>(&pool, "wait_any", (none, [0; 0], FOREVER)), [0; 0]);
    });
}

#[test]
fn to_01_a_task_that_waits_has_the_deadline_of_its_pool_and_no_other() {
    isolated(|| {
        let brief = builder(1).timeout(MOMENT * 3).build().unwrap();
        let (here, there) = pipe().unwrap();
        match brief.apply::<_, String>("connection_recv", (&there, FOREVER)) {
            Err(Error::Task(error)) => assert_eq!(error.kind, ErrorKind::Timeout, "{error}"),
            other => panic!("{other:?}"),
        }
        // The pipe goes on, and whoever waits longer than that elsewhere.
        let patient = pool(1);
        let waits = start::<String>(&patient, "connection_recv", (&there, FOREVER));
        assert!(!waits.wait_timeout(MOMENT * 4));
        here.send("late").unwrap();
        assert_eq!(waits.get_timeout(PATIENCE).unwrap(), "late");
    });
}

#[test]
fn ei_02_a_wait_goes_on_after_a_signal() {
    isolated(|| {
        let pool = pool(1);
        let (here, there) = pipe().unwrap();
        let begun = Event::new().unwrap();
        let waits = start::<String>(&pool, "connection_recv_begun", (&there, &begun));
        begun.wait().unwrap();
        let worker = asleep(&pool);
        for _ in 0..3 {
            assert!(worker.signal(Signal::STOP));
            eventually("it has stopped", || {
                worker.status("State").starts_with('T').then_some(())
            });
            assert!(worker.signal(Signal::CONT));
            asleep(&pool);
        }
        assert!(!waits.ready());
        here.send("after all").unwrap();
        assert_eq!(waits.get_timeout(PATIENCE).unwrap(), "after all");
    });
}

#[test]
fn a_pool_that_is_terminated_ends_all_waits() {
    isolated(|| {
        let pool = pool(2);
        let (here, there) = pipe().unwrap();
        let queue = Queue::<i64>::new(0).unwrap();
        let begun = [Event::new().unwrap(), Event::new().unwrap()];
        let waits = start::<String>(&pool, "connection_recv_begun", (&there, &begun[0]));
        let gets = start::<i64>(&pool, "queue_get_begun", (&queue, &begun[1]));
        begun.iter().for_each(|begun| begun.wait().unwrap());
        drop(there);
        pool.terminate();
        for error in [waits.get().unwrap_err(), gets.get().unwrap_err()] {
            assert!(
                matches!(&error, Error::Task(error) if error.kind == ErrorKind::Cancelled),
                "{error}"
            );
        }
        pool.join().unwrap();
        assert_eq!(here.recv_timeout::<String>(PATIENCE), Err(RecvError::EndOfFile));
    });
}

#[test]
fn the_end_comes_when_the_task_that_was_to_get_it_never_runs() {
    isolated(|| {
        let pool = pool(1);
        let (here, there) = pipe().unwrap();
        let (queue, begun) = (Queue::<i64>::new(0).unwrap(), Event::new().unwrap());
        let busy = start::<i64>(&pool, "queue_get_begun", (&queue, &begun));
        begun.wait().unwrap();
        let never = start::<String>(&pool, "connection_recv", (&there, FOREVER));
        drop(there);
        pool.terminate();
        assert!(busy.get().is_err() && never.get().is_err());
        pool.join().unwrap();
        drop((busy, never, pool));
        assert_eq!(here.recv_timeout::<String>(PATIENCE), Err(RecvError::EndOfFile));
    });
}
