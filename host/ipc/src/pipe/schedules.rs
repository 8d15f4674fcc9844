//! Pipes in long schedules: who sends and who receives may die, and the others hear of it.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use super::model::pipe;
use super::{Connection, RecvError, SendError};
use crate::model::shuttle::{Model, Shuttle, any, any_limit, live, party, slot, spawn, try_schedules};

const RECEIVER: usize = 1;
const SENDERS: [usize; 2] = [2, 3];
/// For each sender.
const MESSAGES: u64 = 15;

/// Sends all that are left of a sender's messages, then closes the end. False: there is no receiver.
fn send_all(sender: &Connection<Model>, number: usize, begun: &Cell<u64>, sent: &Mutex<Vec<u64>>) -> bool {
    while begun.get() < MESSAGES {
        let value = number as u64 * 1000 + begun.get();
        begun.set(begun.get() + 1);
        loop {
            match sender.send(&party(number), 0, &[&value.to_ne_bytes()], any_limit()) {
                Ok(()) => break sent.lock().unwrap().push(value),
                Err(SendError::TimedOut | SendError::Interrupted) => {}
                Err(SendError::BrokenPipe) => return false,
                Err(why) => panic!("{why}"),
            }
        }
    }
    sender.detach(slot(number));
    true
}

/// Receives until nobody can send any more.
fn receive_all(receiver: &Connection<Model>, received: &Mutex<Vec<u64>>) {
    loop {
        let got = receiver.recv(&party(RECEIVER), any_limit(), |message| {
            let mut bytes = [0; 8];
            message.read(0, &mut bytes);
            u64::from_ne_bytes(bytes)
        });
        match got {
            Ok(value) => received.lock().unwrap().push(value),
            Err(RecvError::TimedOut | RecvError::Interrupted) => {}
            Err(RecvError::End) => return,
            Err(why) => panic!("{why}"),
        }
    }
}

#[test]
fn everything_arrives_in_order_and_everyone_hears_the_end() {
    try_schedules(3000, || {
        let (receiver, sender) = pipe::<Shuttle>(1 << any(3), &SENDERS);
        let receiver_dies = any(3) == 0;
        let [sent, received] = [(); 2].map(|()| Arc::new(Mutex::new(Vec::new())));
        let senders = SENDERS.map(|number| {
            let sent = Arc::clone(&sent);
            spawn(&sender, move |sender: &Connection<Model>| {
                let begun = Cell::new(0);
                let found_it_gone = Cell::new(false);
                let work = || {
                    // The end is open already in the first one. Later ones are given it by the host, unless it is gone.
                    match sender.attach(slot(number)) {
                        true => found_it_gone.set(!send_all(sender, number, &begun, &sent)),
                        false => begun.set(MESSAGES),
                    }
                };
                let deaths = live(2, 60, work, || sender.recover(slot(number)));
                assert!(receiver_dies || !found_it_gone.get());
                deaths
            })
        });
        let receiving = spawn(&receiver, {
            let received = Arc::clone(&received);
            move |receiver: &Connection<Model>| {
                // One life: nobody else has this end.
                let deaths = usize::from(receiver_dies);
                let died = Cell::new(false);
                let work = || {
                    if !died.get() {
                        receive_all(receiver, &received);
                    }
                };
                live(deaths, 150, work, || {
                    died.set(true);
                    receiver.recover(slot(RECEIVER));
                });
                died.get()
            }
        });
        for sender in senders {
            sender.join().unwrap();
        }
        let receiver_died = receiving.join().unwrap();
        let (sent, received) = (sent.lock().unwrap(), received.lock().unwrap());
        for number in SENDERS {
            let of = |values: &[u64]| -> Vec<u64> {
                let own = values.iter().copied().filter(|value| value / 1000 == number as u64);
                own.collect()
            };
            let (sent, received) = (of(&sent), of(&received));
            assert!(received.is_sorted_by(|a, b| a < b), "{received:?}");
            let lost = sent.iter().filter(|value| !received.contains(value)).count();
            assert!(lost == 0 || receiver_died, "{sent:?}, {received:?}");
        }
    });
}
