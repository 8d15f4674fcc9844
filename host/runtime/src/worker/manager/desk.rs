//! The server's end of a client's pipe: what is asked there is served, and answered.

use std::io;
use std::time::Instant;

use wasmp_ipc::{Advice, Connection, Limit, Party, RecvError};
use wasmp_manager::protocol::{MAX_MESSAGE, Status};

use super::super::interruption;
use super::super::objects::{Handle, Objects};
use super::crew::Crews;
use super::nonsense;
use super::outbox::{Outbox, PATIENCE};
use super::turns::Seat;
use crate::manager::{Caller, Served, Store, refuse};
use crate::objects::Object;

/// Requests of one client that are served in a row.
pub(super) const IN_A_ROW: usize = 32;

/// Buffers above this size are given back after the request that needed them.
const KEEP: usize = 1 << 20;

/// How often something may be said to be there that cannot be taken, before the one who says so has to go.
const MAX_FALSE_ALARMS: u32 = 10;

/// The other end of a client's pipe.
pub(super) struct Desk {
    pub(super) caller: Caller,
    /// The number by which it is given back.
    pub(super) number: u32,
    pub(super) pipe: Handle,
    pub(super) outbox: Outbox,
    pub(super) has_turn: bool,
    /// What it was told last.
    advice: Advice,
    false_alarms: u32,
    /// An answer could not be sent to it.
    refused: bool,
}

impl Seat for Desk {
    fn has_turn(&self) -> bool {
        self.has_turn
    }

    fn set_turn(&mut self, turn: bool) {
        self.has_turn = turn;
    }

    fn asks(&self) -> bool {
        self.outbox.is_empty() && end_of(&self.pipe).is_ok_and(Connection::is_ready)
    }

    fn sleeps(&self) -> bool {
        end_of(&self.pipe).is_ok_and(Connection::is_awaited)
    }

    fn advise(&mut self, advice: Advice) {
        if self.advice != advice
            && let Ok(end) = end_of(&self.pipe)
        {
            self.advice = advice;
            end.advise(advice);
        }
    }
}

pub(super) fn end_of(pipe: &Handle) -> io::Result<&Connection> {
    match &pipe.held.object {
        Object::Pipe(ends) => Ok(&ends[pipe.end]),
        _ => Err(nonsense()),
    }
}

/// How it went with one desk.
pub(super) enum Turn {
    /// There was nothing to do.
    Idle,
    Served,
    /// The client is gone, or has to go.
    Over,
    /// The last answer is given.
    ShutDown,
}

/// What requests are read into, and answers written. Kept, but for what has grown large.
#[derive(Default)]
pub(super) struct Buffers {
    request: Vec<u8>,
    pub(super) answer: Vec<u8>,
}

impl Buffers {
    pub(super) fn shrink(&mut self) {
        for buffer in [&mut self.request, &mut self.answer] {
            buffer.clear();
            buffer.shrink_to(KEEP);
        }
    }
}

impl Desk {
    pub(super) fn new(caller: Caller, number: u32, pipe: Handle) -> Self {
        Self {
            caller,
            number,
            pipe,
            outbox: Outbox::default(),
            has_turn: false,
            advice: Advice::Look,
            false_alarms: 0,
            refused: false,
        }
    }

    /// Serves what its client has asked, at most so many requests. `room`: how many more bytes of answers may be kept.
    pub(super) fn take_turn(
        &mut self,
        most: usize,
        (objects, store, crews): (&Objects, &mut Store, &mut Crews),
        buffers: &mut Buffers,
        room: &mut usize,
    ) -> io::Result<Turn> {
        let party = objects.party().ok_or_else(nonsense)?;
        let mut turn = Turn::Idle;
        if !self.outbox.is_empty() {
            if self.outbox.flush(end_of(&self.pipe)?, party, Instant::now()).is_err() {
                self.refused = true;
                return Ok(Turn::Over);
            }
            if !self.outbox.is_empty() {
                return Ok(turn);
            }
            turn = Turn::Served;
        }
        for _ in 0..most {
            let Buffers { request, answer } = buffers;
            let end = end_of(&self.pipe)?;
            // Not to look for what is not there: whoever has locked the way to it would be waited for.
            if !end.is_ready() {
                return Ok(turn);
            }
            let received = end.recv(party, Limit::Poll, |message| {
                let fits = message.len() <= MAX_MESSAGE;
                if fits {
                    request.resize(message.len(), 0);
                    message.read(0, request);
                }
                fits
            });
            match received {
                Ok(true) => {}
                Err(error @ (RecvError::TimedOut | RecvError::Interrupted)) => {
                    if error == RecvError::Interrupted {
                        interruption::take();
                    }
                    // Whoever says that there is something, and too often there is not, is lying.
                    self.false_alarms += 1;
                    return Ok(if self.false_alarms > MAX_FALSE_ALARMS {
                        Turn::Over
                    } else {
                        turn
                    });
                }
                Ok(false) | Err(RecvError::End | RecvError::Broken | RecvError::WriteOnly) => return Ok(Turn::Over),
            }
            self.false_alarms = 0;
            turn = Turn::Served;
            let served = store.serve(self.caller, request, answer, Instant::now);
            match served {
                Served::Answered | Served::Silent => {}
                Served::Last => {
                    // Nobody has to wait for anything any more.
                    let _ = end.send(party, 0, &[answer], Limit::after(Some(PATIENCE)));
                    return Ok(Turn::ShutDown);
                }
                Served::Hire => {
                    let crew = match store.wish(request) {
                        Ok(wish) => crews.hire(objects, wish)?,
                        Err(status) => Err(status),
                    };
                    store.hired(self.caller, request, crew, answer);
                }
                Served::Resize(resizing) => {
                    let done = crews.resize(objects, resizing)?;
                    store.resized(request, resizing, done, answer);
                }
            }
            let sent = served == Served::Silent || self.send(party, answer, room)?;
            buffers.shrink();
            if !sent {
                return Ok(Turn::Over);
            }
            if !self.outbox.is_empty() {
                return Ok(turn);
            }
        }
        Ok(turn)
    }

    /// Sends an answer, now or later. False: whoever it is for does not take it.
    pub(super) fn send(&mut self, party: &Party, answer: &[u8], room: &mut usize) -> io::Result<bool> {
        let mut refusal = Vec::new();
        let answer = match answer.first_chunk() {
            Some(sequence) if answer.len() > MAX_MESSAGE => {
                refuse(u32::from_le_bytes(*sequence), Status::TooLarge, &mut refusal);
                &refusal
            }
            _ => answer,
        };
        self.refused = self.outbox.send(end_of(&self.pipe)?, party, answer, room).is_err();
        Ok(!self.refused)
    }

    /// Whether its client has received all that was sent to it.
    pub(super) fn has_read_all(&self) -> bool {
        !self.refused && self.outbox.is_empty() && end_of(&self.pipe).is_ok_and(Connection::is_drained)
    }
}
