//! Whose turn it is, while more clients ask than there are CPUs for.
//!
//! With a CPU for each of them, all that ask are served in a round. With fewer, each answer would be for one who has to get a
//! CPU first, and to give it one takes several times as long as to answer. So as many as there are CPUs for have a turn: for
//! that long they keep their CPUs, and find the server looking for what they ask next, and for nothing that others ask: what one
//! client asks is served a little faster so than if it was the only one. The others sleep, because they are
//! [told](Seat::advise) to: looking, they would take turns on the CPUs of those that are served.
//!
//! That pays off if those who have a turn ask again at once. Where they do not, the server soon stops waiting for them, nobody
//! else is told to sleep, and turns pass from one client to the next with each request.
//!
//! Who has a turn may have been put on the server's CPU. The system leaves it there, as both seem to be busy all the time, and
//! each request takes ten times as long: so it is told which CPU that is, and [asks](crate::worker::cpu) to be put on another.

use std::time::{Duration, Instant};

use wasmp_ipc::{Advice, Spinner};

use crate::worker::cpu;

/// How long a turn takes: long against the change to another one, which takes some 15 µs, and no longer than others would have
/// to wait for the CPU if they looked, too, and the system gave it to one after the other. Who does not let the server go on has
/// it for no longer.
const TURN: Duration = Duration::from_millis(1);

/// A client, as seen from here.
pub(super) trait Seat {
    /// Whether it is its turn.
    fn has_turn(&self) -> bool;
    /// Now it is, or no longer.
    fn set_turn(&mut self, turn: bool);
    /// Whether it has asked something that can be served.
    fn asks(&self) -> bool;
    /// Whether it sleeps until it is answered.
    fn sleeps(&self) -> bool;
    /// Tells it how to wait for its answer.
    fn advise(&mut self, advice: Advice);
}

/// See the [module](self).
pub(super) struct Turns {
    /// How many can have a turn at once.
    seats: usize,
    /// With whom to begin to look for the next.
    next: usize,
    length: Duration,
    /// The end of this turn.
    until: Instant,
    /// Those who have a turn ask again at once.
    brisk: bool,
    for_requests: Spinner,
    for_sleep: Spinner,
}

impl Turns {
    /// With so many CPUs, one of which is the server's.
    pub(super) fn new(cpus: usize) -> Self {
        Self {
            seats: cpus.saturating_sub(1).max(1),
            next: 0,
            length: TURN,
            until: Instant::now(),
            brisk: false,
            for_requests: Spinner::new(),
            for_sleep: Spinner::new(),
        }
    }

    /// Gives a turn to those who ask, as far as there are seats, one after the other. Whether there are others who ask.
    pub(super) fn give(&mut self, clients: &mut [impl Seat]) -> bool {
        if clients.len() <= self.seats {
            for client in clients {
                client.advise(Advice::Look);
            }
            return false;
        }
        let mut taken = having_turn(clients).count();
        let mut crowded = false;
        let (first, all) = (self.next, clients.len());
        for at in (first..first + all).map(|at| at % all) {
            let client = &mut clients[at];
            if client.has_turn() || !client.asks() {
                continue;
            }
            if taken < self.seats {
                if taken == 0 {
                    self.until = Instant::now() + self.length;
                }
                taken += 1;
                self.next = at + 1;
                client.set_turn(true);
                client.advise(match cpu::current() {
                    Some(cpu) if self.brisk => Advice::LookElsewhere(cpu),
                    _ => Advice::Look,
                });
            } else {
                crowded = true;
                if self.brisk {
                    client.advise(Advice::Sleep);
                }
            }
        }
        crowded
    }

    /// After those who have a turn were looked at, and `served` if one of them had asked something. If others ask, too, waits a
    /// moment for what they ask next, and ends the turn when it is over. If nobody else does, there are no turns. Whether there is
    /// more to be served before others have their turn.
    pub(super) fn go_on(&mut self, clients: &mut [impl Seat], served: bool, crowded: bool) -> bool {
        if !crowded {
            end(clients);
        } else if Instant::now() >= self.until {
            if served && self.brisk {
                self.see_off(clients);
            }
            end(clients);
        } else {
            self.brisk = self
                .for_requests
                .spin(|| having_turn(clients).any(|client| client.asks()));
            if !self.brisk {
                end(clients);
            }
            return self.brisk;
        }
        false
    }

    /// This client is gone, and those behind it have moved up.
    pub(super) fn leave(&mut self, at: usize) {
        if at < self.next {
            self.next -= 1;
        }
    }

    /// Has those who have a turn sleep when they ask next. Who wakes while they do not is put where they are, and would stay
    /// there beside them, or beside the server.
    fn see_off(&mut self, clients: &mut [impl Seat]) {
        having_turn(clients).for_each(|client| client.advise(Advice::Sleep));
        self.for_sleep
            .spin(|| having_turn(clients).all(|client| client.asks() && client.sleeps()));
    }
}

fn having_turn<S: Seat>(clients: &mut [S]) -> impl Iterator<Item = &mut S> {
    clients.iter_mut().filter(|client| client.has_turn())
}

fn end(clients: &mut [impl Seat]) {
    having_turn(clients).for_each(|client| client.set_turn(false));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A client that asks again after it was looked at so many times.
    #[derive(Default)]
    struct Fake {
        turn: bool,
        asks_after: Cell<u32>,
        advice: Advice,
        served: u32,
    }

    impl Seat for Fake {
        fn has_turn(&self) -> bool {
            self.turn
        }

        fn set_turn(&mut self, turn: bool) {
            self.turn = turn;
        }

        fn asks(&self) -> bool {
            let left = self.asks_after.get();
            self.asks_after.set(left.saturating_sub(1));
            left == 0
        }

        fn sleeps(&self) -> bool {
            self.advice == Advice::Sleep
        }

        fn advise(&mut self, advice: Advice) {
            self.advice = advice;
        }
    }

    const NEVER: u32 = u32::MAX;

    /// Turns that end when it is said.
    fn turns(cpus: usize) -> Turns {
        Turns {
            length: Duration::from_secs(3600),
            ..Turns::new(cpus)
        }
    }

    fn clients(count: usize) -> Vec<Fake> {
        (0..count).map(|_| Fake::default()).collect()
    }

    /// One round of the server, after which those who were served ask again after so many looks. Who was served.
    fn round(turns: &mut Turns, clients: &mut [Fake], again: u32) -> Vec<usize> {
        let crowded = turns.give(clients);
        let mut served = Vec::new();
        for (at, client) in clients.iter_mut().enumerate() {
            if (!crowded || client.turn) && client.asks() {
                client.served += 1;
                client.asks_after.set(again);
                served.push(at);
            }
        }
        turns.go_on(clients, !served.is_empty(), crowded);
        served
    }

    fn told_to_sleep(clients: &[Fake]) -> Vec<bool> {
        clients.iter().map(|client| client.advice == Advice::Sleep).collect()
    }

    #[test]
    fn with_a_cpu_for_each_all_are_served() {
        let mut turns = turns(5);
        let mut clients = clients(4);
        for _ in 0..3 {
            assert_eq!(round(&mut turns, &mut clients, 0), [0, 1, 2, 3]);
        }
        assert_eq!(told_to_sleep(&clients), [false; 4]);
    }

    #[test]
    fn with_fewer_some_are_served_again_and_again_while_the_others_sleep() {
        let mut turns = turns(3);
        let mut clients = clients(4);
        for _ in 0..10 {
            assert_eq!(round(&mut turns, &mut clients, 0), [0, 1]);
        }
        assert_eq!(told_to_sleep(&clients), [false, false, true, true]);
    }

    #[test]
    fn who_has_a_turn_is_told_where_the_server_is_once_they_ask_again_at_once() {
        let mut turns = turns(2);
        let mut clients = clients(2);
        turns.give(&mut clients);
        assert_eq!(
            clients[0].advice,
            Advice::Look,
            "who thinks between two requests can do so anywhere"
        );
        turns.brisk = true;
        end(&mut clients);
        turns.give(&mut clients);
        assert!(
            matches!(clients[1].advice, Advice::LookElsewhere(_)),
            "{:?}",
            clients[1].advice
        );
        turns.give(&mut clients[..1]);
        assert_eq!(
            clients[0].advice,
            Advice::Look,
            "with a CPU for each the system does it"
        );
    }

    #[test]
    fn when_the_time_is_over_it_is_the_turn_of_the_next_and_those_who_had_it_sleep() {
        let mut turns = turns(2);
        let mut clients = clients(3);
        let mut order = Vec::new();
        for _ in 0..6 {
            order.extend(round(&mut turns, &mut clients, 0));
            round(&mut turns, &mut clients, 0);
            turns.until = Instant::now();
            round(&mut turns, &mut clients, 0);
            assert_eq!(told_to_sleep(&clients), [true; 3], "also the one whose turn is over");
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn who_seems_to_ask_and_has_nothing_to_be_served_loses_its_turn_in_time_as_well() {
        let mut turns = turns(2);
        let mut clients = clients(3);
        let crowded = turns.give(&mut clients);
        turns.go_on(&mut clients, false, crowded);
        assert!(clients[0].turn, "it may be about to");
        turns.until = Instant::now();
        turns.go_on(&mut clients, false, crowded);
        assert!(!clients[0].turn);
        assert_eq!(round(&mut turns, &mut clients, 0), [1]);
    }

    #[test]
    fn who_does_not_ask_again_loses_its_turn_and_nobody_is_told_to_sleep() {
        let mut turns = turns(2);
        let mut clients = clients(3);
        let mut order = Vec::new();
        for _ in 0..3 {
            order.extend(round(&mut turns, &mut clients, NEVER));
            assert_eq!(told_to_sleep(&clients), [false; 3]);
        }
        assert_eq!(order, [0, 1, 2]);
        assert!(clients.iter().all(|client| !client.turn));
    }

    #[test]
    fn there_is_more_to_be_served_until_the_turn_is_over_or_nobody_asks_again() {
        let mut turns = turns(2);
        let mut clients = clients(3);
        let crowded = turns.give(&mut clients);
        assert!(turns.go_on(&mut clients, true, crowded), "it asks again at once");
        clients[0].asks_after.set(NEVER);
        assert!(!turns.go_on(&mut clients, true, crowded));
        let crowded = turns.give(&mut clients);
        assert!(turns.go_on(&mut clients, true, crowded));
        turns.until = Instant::now();
        assert!(!turns.go_on(&mut clients, true, crowded));
        assert!(!turns.go_on(&mut clients[..1], true, false), "there are no turns");
    }

    #[test]
    fn who_joins_does_not_make_the_turn_longer() {
        let mut turns = turns(3);
        let mut clients = clients(4);
        clients[1..].iter().for_each(|client| client.asks_after.set(NEVER));
        turns.give(&mut clients);
        let until = turns.until;
        clients[2].asks_after.set(0);
        turns.give(&mut clients);
        assert!(clients[0].turn && clients[2].turn);
        assert_eq!(turns.until, until);
    }

    #[test]
    fn nobody_is_passed_over_because_somebody_leaves() {
        let mut turns = turns(2);
        let mut clients = clients(4);
        for at in [0, 1] {
            assert_eq!(round(&mut turns, &mut clients, 0), [at]);
            turns.until = Instant::now();
            round(&mut turns, &mut clients, 0);
        }
        clients.remove(1);
        turns.leave(1);
        assert_eq!(round(&mut turns, &mut clients, 0), [1], "who was the third");
    }

    #[test]
    fn who_was_told_to_sleep_is_told_when_there_is_room_again() {
        let mut turns = turns(2);
        let mut clients = clients(1);
        clients[0].advice = Advice::Sleep;
        assert_eq!(round(&mut turns, &mut clients, 0), [0]);
        assert_eq!(told_to_sleep(&clients), [false]);
    }

    #[test]
    fn on_one_cpu_everybody_has_a_turn_too() {
        let mut turns = turns(1);
        let mut clients = clients(3);
        (0..30).for_each(|_| drop(round(&mut turns, &mut clients, NEVER)));
        assert!(clients.iter().all(|client| client.served == 1));
    }
}
