//! Answers that their client has not taken yet.
//!
//! A client that has received a large answer holds its pipe while it gives the memory of that back, which is no reason to send
//! it away; and one that never lets go of it must not keep others waiting. So nothing is ever waited for: what does not go at
//! once is kept, and tried again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wasmp_ipc::{Connection, Limit, Party, SendError};

/// How long an answer is kept.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is tried again. Nothing tells when it would go.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(1);

/// The client has to go: it is not there, or does not take what it has asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Untaken;

/// What is kept for one client, in its order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    kept: VecDeque<Vec<u8>>,
    /// Until when it may take the first of them.
    until: Option<Instant>,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many bytes are kept.
    pub(super) fn bytes(&self) -> usize {
        self.kept.iter().map(Vec::len).sum()
    }

    /// Sends an answer behind those that are kept, or keeps it, too. `room`: how many more bytes may be kept, for all clients.
    pub(super) fn send(
        &mut self,
        end: &Connection,
        party: &Party,
        answer: &[u8],
        room: &mut usize,
    ) -> Result<(), Untaken> {
        if self.is_empty() {
            match end.send(party, 0, &[answer], Limit::Poll) {
                Ok(_) => return Ok(()),
                Err(SendError::TimedOut | SendError::Interrupted) => self.until = Some(Instant::now() + PATIENCE),
                Err(_) => return Err(Untaken),
            }
        }
        *room = room.checked_sub(answer.len()).ok_or(Untaken)?;
        self.kept.push_back(answer.to_vec());
        Ok(())
    }

    /// Sends what is kept, as far as it goes now.
    pub(super) fn flush(&mut self, end: &Connection, party: &Party, now: Instant) -> Result<(), Untaken> {
        while let Some(answer) = self.kept.front() {
            match end.send(party, 0, &[answer], Limit::Poll) {
                Ok(_) => {
                    self.kept.pop_front();
                    self.until = Some(now + PATIENCE);
                }
                Err(SendError::TimedOut | SendError::Interrupted) if self.until.is_some_and(|until| now < until) => {
                    return Ok(());
                }
                Err(_) => return Err(Untaken),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmp_ipc::Mapping;

    use super::*;

    const ANSWER: [u8; 1000] = [7; 1000];

    /// The ends of a pipe that is full of earlier answers, and an outbox for more.
    fn full() -> (Connection, Connection, Outbox) {
        let (_, mapping) = Mapping::create("test", Connection::bytes(true, 4096)).unwrap();
        let (server, client) = Connection::create(&Arc::new(mapping), true).unwrap();
        for earlier in [&ANSWER[..], &ANSWER[..1]] {
            while server.send(&Party::host(), 0, &[earlier], Limit::Poll).is_ok() {}
        }
        (server, client, Outbox::default())
    }

    fn received(client: &Connection) -> Vec<u8> {
        client
            .recv(&Party::host(), Limit::Poll, |message| message.to_vec())
            .unwrap()
    }

    #[test]
    fn what_does_not_go_at_once_goes_later_and_in_its_order() {
        let (server, client, mut outbox) = full();
        let party = Party::host();
        let mut room = 1000;
        for answer in [&b"first"[..], b"second"] {
            outbox.send(&server, &party, answer, &mut room).unwrap();
        }
        assert_eq!((outbox.bytes(), room), (11, 1000 - 11));
        outbox.flush(&server, &party, Instant::now()).unwrap();
        assert_eq!(outbox.bytes(), 11, "there is no room yet");
        while received(&client).starts_with(&ANSWER[..1]) {
            outbox.flush(&server, &party, Instant::now()).unwrap();
            if outbox.is_empty() {
                break;
            }
        }
        outbox.send(&server, &party, b"third", &mut room).unwrap();
        assert_eq!(room, 1000 - 11, "the third need not be kept");
        let rest = std::iter::repeat_with(|| received(&client)).skip_while(|message| message.starts_with(&ANSWER[..1]));
        assert_eq!(rest.take(3).collect::<Vec<_>>(), [&b"first"[..], b"second", b"third"]);
    }

    #[test]
    fn what_is_not_taken_in_time_or_too_much_is_the_end_of_the_client() {
        let (server, _client, mut outbox) = full();
        let party = Party::host();
        let mut room = 1500;
        outbox.send(&server, &party, &ANSWER, &mut room).unwrap();
        assert_eq!(outbox.send(&server, &party, &ANSWER, &mut room), Err(Untaken));
        assert_eq!((outbox.bytes(), room), (1000, 500), "what was refused takes nothing");
        let soon = Instant::now();
        assert_eq!(outbox.flush(&server, &party, soon), Ok(()));
        assert_eq!(outbox.flush(&server, &party, soon + PATIENCE), Err(Untaken));
    }

    #[test]
    fn who_is_gone_is_sent_nothing() {
        let (server, client, mut outbox) = full();
        let party = Party::host();
        let mut room = 1000;
        outbox.send(&server, &party, b"kept", &mut room).unwrap();
        client.detach(wasmp_ipc::Slot::HOST);
        assert_eq!(outbox.flush(&server, &party, Instant::now()), Err(Untaken));
        assert_eq!(Outbox::default().send(&server, &party, b"new", &mut room), Err(Untaken));
    }
}
