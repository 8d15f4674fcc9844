//! The ring: one of its ends is killed, again and again.

use std::time::{Duration, Instant};

use wasmp_ipc::Ticket;

use crate::common::rings::{publish, read, release, two_rings, write_or_sleep};
use crate::common::{Child, PATIENCE, fill};
use crate::workers::{choices, kills};

#[test]
fn a_killed_producer_leaves_whole_publications_only() {
    /// Records in a publication.
    const TOGETHER: u64 = 3;
    let longest = 300;
    let mut random = choices("ring, producer");
    let (mut payload, mut expected) = (Vec::new(), Vec::new());
    let mut records = 0;
    for kill in 0..kills() {
        let ((mut producer, mut consumer), _) = two_rings(4096);
        let child = Child::run(|| {
            let mut payload = Vec::new();
            for publication in 0.. {
                // Room for all, so that nothing of it is published early.
                assert!(producer.park_for_space(1000, Some(Instant::now() + PATIENCE)).unwrap());
                for number in 0..TOGETHER {
                    fill(publication * TOGETHER + number, longest, &mut payload);
                    producer.try_write(&[&payload]).unwrap().unwrap();
                }
                publish(&mut producer);
            }
        });
        let mut number = 0;
        let mut check_all = || {
            while read(&mut consumer, &mut payload) {
                fill(number, longest, &mut expected);
                assert_eq!(payload, expected, "kill {kill}");
                number += 1;
            }
            release(&mut consumer);
        };
        let alive_until = Instant::now() + Duration::from_micros(random.below(800));
        while Instant::now() < alive_until {
            check_all();
        }
        child.kill();
        check_all();
        assert_eq!(number % TOGETHER, 0, "kill {kill}: a part of a publication");
        records += number;
    }
    assert!(records > 0, "killed before they did anything");
}

#[test]
fn a_killed_consumer_leaves_at_most_one_task_in_doubt() {
    const TASKS: u64 = 3000;
    let mut random = choices("ring, consumer");
    let mut partly_done = 0;
    for kill in 0..kills() {
        let ((mut tasks, mut their_tasks), (mut their_results, mut results)) = two_rings(1 << 16);
        let tickets: Vec<Ticket> = (0..TASKS)
            .map(|number| tasks.try_write(&[&number.to_ne_bytes()]).unwrap().expect("room"))
            .collect();
        publish(&mut tasks);
        let child = Child::run(|| {
            let mut payload = Vec::new();
            loop {
                while their_tasks.peek().unwrap().is_some() {
                    let taken = their_tasks.take();
                    read(&mut their_tasks, &mut payload);
                    if taken {
                        write_or_sleep(&mut their_results, &payload);
                        publish(&mut their_results);
                    }
                }
                release(&mut their_tasks);
                if their_tasks.prepare_park() {
                    their_tasks.park(None);
                }
            }
        });
        let alive_until = Instant::now() + Duration::from_micros(random.below(800));
        let mut done = vec![false; tickets.len()];
        let mut payload = Vec::new();
        let mut note_done = || {
            while read(&mut results, &mut payload) {
                let number = u64::from_ne_bytes(payload[..].try_into().unwrap());
                assert!(
                    !std::mem::replace(&mut done[number as usize], true),
                    "kill {kill}: done twice"
                );
            }
            release(&mut results);
        };
        while Instant::now() < alive_until {
            note_done();
        }
        child.kill();
        note_done();
        let mut lost = 0;
        for (done, ticket) in done.iter().zip(&tickets) {
            let came_back = tasks.revoke(ticket);
            assert!(!(*done && came_back), "kill {kill}: a task that was done came back");
            lost += u64::from(!done && !came_back);
        }
        assert!(lost <= 1, "kill {kill}: {lost} tasks neither done nor back");
        partly_done += u64::from(done.contains(&true) && done.contains(&false));
    }
    assert!(partly_done > 0, "no kill came in the middle");
}
