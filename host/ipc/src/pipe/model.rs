//! Pipes under the model checker: when an end is gone, and who hears of it.

use std::sync::Arc;

use loom::thread::{self, JoinHandle};

use super::{Connection, End, Holders, RecvError, SendError};
use crate::fifo::model::rings;
use crate::memory::Line;
use crate::model::{Checker, FutexWord, Loom, Model, die_within, explore};
use crate::party::{Limit, Party, Slot};

/// Slots that take part.
const SLOTS: usize = 4;

type Shared<C = Loom> = Arc<Connection<Model<C>>>;

/// A pipe from the second end to the first, with room for so many messages. The first end is open in slot 1, the second
/// one in these.
pub(super) fn pipe<C: Checker>(room: usize, senders: &[usize]) -> (Shared<C>, Shared<C>) {
    let shared = [(); 2].map(|()| {
        let columns = (0..SLOTS).map(|_| FutexWord::default()).collect::<Arc<[_]>>();
        let attached: Arc<[FutexWord<C>]> = Arc::new([FutexWord::default()]);
        let advice = Arc::new(FutexWord::default());
        (Arc::new(Line(FutexWord::default())), advice, attached, columns)
    });
    let holders = || {
        shared
            .each_ref()
            .map(|(life, advice, attached, columns)| Holders::<Model<C>> {
                life: Arc::clone(life),
                advice: Arc::clone(advice),
                attached: Arc::clone(attached),
                in_transit: Arc::clone(columns),
            })
    };
    let [to_first, to_first_again] = rings(room, room);
    let first = Connection::over(End::First, [Some(to_first), None], holders());
    let second = Connection::over(End::Second, [Some(to_first_again), None], holders());
    assert!(first.attach(slot(1)));
    for &sender in senders {
        assert!(second.attach(slot(sender)));
    }
    (Arc::new(first), Arc::new(second))
}

fn slot(number: usize) -> Slot {
    Slot::new(number).expect("a slot")
}

fn send(connection: &Connection<Model>, number: usize) -> Result<(), SendError> {
    let party = Party::worker(slot(number), None);
    connection.send(&party, 0, &[&[0; 8]], Limit::Forever)
}

fn recv(connection: &Connection<Model>) -> Result<(), RecvError> {
    connection.recv(&Party::worker(slot(1), None), Limit::Forever, |_| ())
}

/// A thread that does something with a connection.
fn spawn<R: 'static>(
    connection: &Arc<Connection<Model>>,
    body: impl FnOnce(&Connection<Model>) -> R + 'static,
) -> JoinHandle<R> {
    let connection = Arc::clone(connection);
    thread::spawn(move || body(&connection))
}

#[test]
fn what_was_sent_before_the_end_is_received_before_it() {
    explore(3, || {
        let (receiver, sender) = pipe(2, &[2]);
        let sending = spawn(&sender, |sender| {
            send(sender, 2).expect("room");
            sender.detach(slot(2));
        });
        assert_eq!(recv(&receiver), Ok(()));
        assert_eq!(recv(&receiver), Err(RecvError::End));
        sending.join().unwrap();
    });
}

#[test]
fn a_sender_that_waits_for_room_hears_that_the_receiver_is_gone() {
    explore(3, || {
        let (receiver, sender) = pipe(1, &[2]);
        send(&sender, 2).expect("room");
        let sending = spawn(&sender, |sender| send(sender, 2));
        receiver.detach(slot(1));
        assert_eq!(sending.join().unwrap(), Err(SendError::BrokenPipe));
    });
}

#[test]
fn the_last_of_two_that_close_an_end_makes_it_gone() {
    explore(3, || {
        let (receiver, sender) = pipe(1, &[2, 3]);
        let closing = [2, 3].map(|number| spawn(&sender, move |sender| sender.detach(slot(number))));
        assert_eq!(recv(&receiver), Err(RecvError::End));
        for closing in closing {
            closing.join().unwrap();
        }
    });
}

#[test]
fn an_end_that_moves_in_a_message_is_never_gone() {
    explore(3, || {
        let (receiver, sender) = pipe(1, &[2]);
        let moving = spawn(&sender, |sender| {
            sender.export(slot(2));
            sender.detach(slot(2));
        });
        // It searches in the middle of everything.
        let other = spawn(&receiver, |receiver| receiver.recover(slot(0)));
        assert!(sender.import(slot(3)));
        moving.join().unwrap();
        other.join().unwrap();
        assert!(!receiver.peer.are_gone());
        sender.detach(slot(3));
        // If the import came before the export, the end is still on its way.
        sender.recover(slot(2));
        assert_eq!(recv(&receiver), Err(RecvError::End));
    });
}

#[test]
fn the_receiver_hears_the_end_of_one_who_dies() {
    for effects in 0..14 {
        explore(1, move || {
            let (receiver, sender) = pipe(2, &[2]);
            let dying = spawn(&sender, move |sender| {
                die_within(effects, || {
                    send(sender, 2).expect("room");
                    sender.export(slot(2));
                    sender.detach(slot(2));
                });
            });
            let receiving = spawn(&receiver, |receiver| {
                let first = recv(receiver);
                assert!(first.is_err() || recv(receiver) == Err(RecvError::End));
            });
            dying.join().unwrap();
            receiver.recover(slot(2));
            receiving.join().unwrap();
        });
    }
}

#[test]
fn one_who_dies_while_it_gets_an_end_has_it_or_has_not() {
    for effects in 0..6 {
        explore(2, move || {
            let (receiver, sender) = pipe(2, &[2]);
            sender.export(slot(2));
            let dying = spawn(&sender, move |sender| {
                die_within(effects, || sender.import(slot(3)));
            });
            sender.detach(slot(2));
            dying.join().unwrap();
            sender.recover(slot(3));
            sender.recover(slot(2));
            assert_eq!(recv(&receiver), Err(RecvError::End));
        });
    }
}
