//! Queues under the model checker: the end of a queue, tasks, and who has which message.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use loom::thread::{self, JoinHandle};

use super::acknowledged::Acknowledgements;
use super::{GetError, Header, PutError, Queue, QueueOptions, Settings, TaskDoneError};
use crate::backend::Word;
use crate::fifo::Fifo;
use crate::fifo::model::ring;
use crate::gate::Gate;
use crate::memory::Line;
use crate::model::{Checker, FutexWord, Model, PlainWord, die_within, explore};
use crate::party::{Limit, Party, Slot};

/// A queue with room for four messages.
fn queue(options: QueueOptions) -> Arc<Queue<Model>> {
    queue_over(ring(4, 4), options)
}

pub(super) fn queue_over<C: Checker>(ring: Fifo<Model<C>>, options: QueueOptions) -> Arc<Queue<Model<C>>> {
    let header = Header::<Model<C>> {
        settings: Settings {
            maxsize: FutexWord::default(),
            acknowledged: FutexWord::default(),
            closed: FutexWord::default(),
        },
        done: Line(FutexWord::default()),
        all_done: Line(Gate(FutexWord::default())),
        acknowledgements: Acknowledgements {
            next: PlainWord::default(),
            returned: FutexWord::default(),
            settled: FutexWord::default(),
            deaths: Line(FutexWord::default()),
        },
    };
    header.settings.maxsize.store(options.maxsize, Relaxed);
    header.settings.acknowledged.store(options.acknowledged.into(), Relaxed);
    let dead = Arc::new([FutexWord::default()]);
    Arc::new(Queue::over(ring, Arc::new(header), dead).expect("a queue"))
}

fn plain() -> Arc<Queue<Model>> {
    queue(QueueOptions::default())
}

fn acknowledged() -> Arc<Queue<Model>> {
    queue(QueueOptions {
        acknowledged: true,
        ..QueueOptions::default()
    })
}

fn party(number: usize) -> Party<Model> {
    Party::worker(slot(number), None)
}

fn slot(number: usize) -> Slot {
    Slot::new(number).expect("a slot")
}

fn put(queue: &Queue<Model>, number: usize, value: u64) -> Result<(), PutError> {
    queue.put(&party(number), 0, &[&value.to_ne_bytes()], Limit::Forever)
}

fn get(queue: &Queue<Model>, number: usize, limit: Limit) -> Result<u64, GetError> {
    queue.get(&party(number), limit, |message| {
        let mut value = [0; 8];
        message.read(0, &mut value);
        u64::from_ne_bytes(value)
    })
}

/// A thread that does something with the queue.
fn spawn<R: 'static>(queue: &Arc<Queue<Model>>, body: impl FnOnce(&Queue<Model>) -> R + 'static) -> JoinHandle<R> {
    let queue = Arc::clone(queue);
    thread::spawn(move || body(&queue))
}

#[test]
fn joining_ends_when_the_last_task_is_done() {
    explore(2, || {
        let queue = plain();
        for value in 1..=2 {
            put(&queue, 1, value).expect("room");
        }
        let workers = [2, 3].map(|number| {
            spawn(&queue, move |queue| {
                get(queue, number, Limit::Forever).expect("a task");
                queue.task_done(&party(number)).expect("a task");
            })
        });
        assert_eq!(queue.join(&party(1), Limit::Forever), Ok(()));
        assert_eq!(queue.len(), 0);
        assert_eq!(queue.task_done(&party(1)), Err(TaskDoneError::TooMany));
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn what_was_put_before_the_end_is_got_by_those_who_hear_of_the_end() {
    explore(2, || {
        let queue = plain();
        let producer = spawn(&queue, |queue| put(queue, 1, 1));
        let consumer = spawn(&queue, |queue| {
            let first = get(queue, 2, Limit::Forever);
            assert!(first.is_err() || get(queue, 2, Limit::Forever) == Err(GetError::ShutDown));
            first
        });
        queue.shutdown(&party(3), false).expect("nobody dies");
        match producer.join().unwrap() {
            Ok(()) => assert_eq!(consumer.join().unwrap(), Ok(1)),
            Err(why) => {
                assert_eq!(why, PutError::ShutDown);
                assert_eq!(consumer.join().unwrap(), Err(GetError::ShutDown));
            }
        }
    });
}

#[test]
fn after_an_immediate_end_the_tasks_are_those_that_were_got() {
    explore(2, || {
        let queue = plain();
        for value in 1..=2 {
            put(&queue, 1, value).expect("room");
        }
        let worker = spawn(&queue, |queue| {
            let task = get(queue, 2, Limit::Forever);
            if task.is_ok() {
                queue.task_done(&party(2)).expect("the task that was got");
            }
            task
        });
        let joiner = spawn(&queue, |queue| queue.join(&party(3), Limit::Forever));
        queue.shutdown(&party(1), true).expect("nobody dies");
        assert_eq!(queue.len(), 0);
        assert_eq!(joiner.join().unwrap(), Ok(()));
        assert!([Ok(1), Err(GetError::ShutDown)].contains(&worker.join().unwrap()));
        assert_eq!(queue.task_done(&party(2)), Err(TaskDoneError::TooMany));
    });
}

#[test]
fn two_workers_acknowledge_in_any_order() {
    explore(2, || {
        let queue = acknowledged();
        for value in 1..=2 {
            put(&queue, 1, value).expect("room");
        }
        let workers = [2, 3].map(|number| {
            spawn(&queue, move |queue| {
                let task = get(queue, number, Limit::Forever).expect("a task");
                queue.task_done(&party(number)).expect("the task that was got");
                task
            })
        });
        assert_eq!(queue.join(&party(1), Limit::Forever), Ok(()));
        let mut tasks = workers.map(|worker| worker.join().unwrap());
        tasks.sort_unstable();
        assert_eq!(tasks, [1, 2]);
        assert_eq!(queue.task_done(&party(2)), Err(TaskDoneError::TooMany));
    });
}

#[test]
fn a_task_of_the_dead_is_done_by_somebody_else_unless_it_was_done() {
    for effects in 0..14 {
        explore(1, move || {
            let queue = acknowledged();
            for value in 1..=2 {
                put(&queue, 1, value).expect("room");
            }
            let dying = spawn(&queue, move |queue| {
                die_within(effects, || {
                    if get(queue, 2, Limit::Poll).is_ok() {
                        queue.task_done(&party(2)).expect("the task that was got");
                    }
                });
            });
            let worker = spawn(&queue, |queue| {
                let mut done = Vec::new();
                while let Ok(task) = get(queue, 3, Limit::Forever) {
                    queue.task_done(&party(3)).expect("the task that was got");
                    done.push(task);
                }
                done
            });
            dying.join().unwrap();
            queue.recover(slot(2));
            queue.join(&party(1), Limit::Forever).expect("every task gets done");
            queue.shutdown(&party(1), false).expect("nobody else dies");
            let mut done = worker.join().unwrap();
            done.sort_unstable();
            assert!([&[1, 2][..], &[1], &[2]].contains(&&done[..]), "{done:?}");
            assert_eq!(queue.len(), 0);
        });
    }
}

#[test]
fn whoever_dies_while_settling_a_death_leaves_it_to_the_next() {
    for effects in 0..14 {
        explore(1, move || {
            let queue = acknowledged();
            for value in 1..=2 {
                put(&queue, 1, value).expect("room");
            }
            assert_eq!(get(&queue, 2, Limit::Poll), Ok(1));
            queue.recover(slot(2));
            let dying = spawn(&queue, move |queue| {
                die_within(effects, || get(queue, 3, Limit::Poll));
            });
            dying.join().unwrap();
            queue.recover(slot(3));
            assert_eq!(queue.fifo.items(), Ok(2));
            assert_eq!(get(&queue, 4, Limit::Poll), Ok(1));
            assert_eq!(get(&queue, 4, Limit::Poll), Ok(2));
            assert_eq!(get(&queue, 4, Limit::Poll), Err(GetError::Empty));
        });
    }
}

#[test]
fn what_can_be_got_is_counted_anew_after_a_death() {
    for effects in 0..14 {
        explore(1, move || {
            let queue = acknowledged();
            for value in 1..=2 {
                put(&queue, 1, value).expect("room");
            }
            let dying = spawn(&queue, move |queue| {
                die_within(effects, || get(queue, 2, Limit::Poll));
            });
            dying.join().unwrap();
            queue.recover(slot(2));
            assert_eq!(queue.get_many(&party(3), 1, Limit::Poll, |_| false), Ok(0));
            assert_eq!(queue.len(), 2);
        });
    }
}

#[test]
fn a_task_of_the_dead_is_dropped_when_everything_is() {
    explore(2, || {
        let queue = acknowledged();
        for value in 1..=2 {
            put(&queue, 1, value).expect("room");
        }
        assert_eq!(get(&queue, 2, Limit::Poll), Ok(1));
        queue.shutdown(&party(1), true).expect("nobody dies");
        let joiners = [3, 4].map(|number| spawn(&queue, move |queue| queue.join(&party(number), Limit::Forever)));
        queue.recover(slot(2));
        for joiner in joiners {
            assert_eq!(joiner.join().unwrap(), Ok(()));
        }
    });
}

#[test]
fn a_shutdown_by_the_dead_has_happened_or_has_not() {
    for immediate in [false, true] {
        for effects in 0..10 {
            explore(1, move || {
                let queue = acknowledged();
                put(&queue, 1, 1).expect("room");
                let dying = spawn(&queue, move |queue| {
                    die_within(effects, || queue.shutdown(&party(2), immediate));
                });
                let consumer = spawn(&queue, |queue| {
                    let task = get(queue, 3, Limit::Forever);
                    if task.is_ok() {
                        queue.task_done(&party(3)).expect("the task that was got");
                    }
                });
                dying.join().unwrap();
                queue.recover(slot(2));
                consumer.join().unwrap();
                queue.join(&party(1), Limit::Forever).expect("nothing is left to do");
            });
        }
    }
}

#[test]
fn a_death_during_the_settlement_of_another_is_settled_as_well() {
    explore(2, || {
        let queue = acknowledged();
        for (number, value) in [(2, 1), (3, 2)] {
            put(&queue, 1, value).expect("room");
            assert_eq!(get(&queue, number, Limit::Poll), Ok(value));
        }
        queue.recover(slot(2));
        let settling = spawn(&queue, |queue| get(queue, 4, Limit::Forever));
        queue.recover(slot(3));
        assert_eq!(settling.join().unwrap(), Ok(1));
        assert_eq!(get(&queue, 4, Limit::Poll), Ok(2));
    });
}

#[test]
fn one_who_waits_finds_what_another_has_settled() {
    explore(2, || {
        let queue = acknowledged();
        for value in 1..=2 {
            put(&queue, 1, value).expect("room");
            assert_eq!(get(&queue, 2, Limit::Poll), Ok(value));
        }
        let waiting = spawn(&queue, |queue| get(queue, 3, Limit::Forever));
        queue.recover(slot(2));
        let mut got = [get(&queue, 4, Limit::Forever), waiting.join().unwrap()];
        got.sort_unstable_by_key(|task| *task.as_ref().expect("a task"));
        assert_eq!(got, [Ok(1), Ok(2)]);
    });
}

#[test]
fn a_settlement_leaves_alone_what_was_never_given() {
    explore(1, || {
        let queue = acknowledged();
        for value in 1..=3 {
            put(&queue, 1, value).expect("room");
        }
        assert_eq!(get(&queue, 2, Limit::Poll), Ok(1));
        queue.recover(slot(2));
        assert_eq!(queue.get_many(&party(3), 1, Limit::Poll, |_| false), Ok(0));
        assert_eq!(queue.header.acknowledgements.returned.load(Relaxed), 1);
        assert_eq!(queue.len(), 3);
    });
}
