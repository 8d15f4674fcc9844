//! What workers ask for beside their work: objects that they share, and pools of their own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use wasmp_abi::{HOME_TOKEN, ObjectKind};

use super::core::Core;
use super::slot::{Link, Process, Violation};
use crate::objects::message::{Answer, Ask, MAX_MESSAGE, Request};
use crate::process::message::{decode, encode};

/// Requests of one worker that are answered in a row, so that none can keep the supervisor to itself.
const IN_A_ROW: usize = 16;

impl Core {
    /// Answers what a worker asks.
    pub(super) fn answer(&mut self, at: usize) {
        for _ in 0..IN_A_ROW {
            match self.answer_next(at) {
                Ok(true) => {}
                Ok(false) => return,
                Err(violation) => {
                    if let Some(link) = &self.slots[at].link {
                        self.supervisor.unwatch(&link.control);
                    }
                    return self.punish(at, violation);
                }
            }
        }
    }

    /// Whether there was something to answer.
    fn answer_next(&mut self, at: usize) -> Result<bool, Violation> {
        let slot = &mut self.slots[at];
        let (Some(link), Process::Running { .. }, false) = (&slot.link, &slot.process, slot.condemned) else {
            return Ok(false);
        };
        let mut buffer = [0; MAX_MESSAGE];
        let request = match link.control.try_recv(&mut buffer) {
            Ok(Some((len, _))) => decode::<Ask>(&buffer[..len]).map_err(|error| wrong(&error))?,
            // Its end is closed: so it is dead, or about to be.
            Ok(None) => {
                self.supervisor.unwatch(&link.control);
                return Ok(false);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(wrong(&error)),
        };
        match request {
            Ask::Object(mut request) => {
                if let Request::Open { kind, token } = &mut request
                    && (*kind, *token) == (ObjectKind::Manager as u8, HOME_TOKEN)
                    && let Some(home) = self.home.upgrade()
                {
                    *token = home.token(0).bytes();
                }
                if let Some((answer, entry)) = self.family.scope.serve(&mut slot.seat, request) {
                    reply(link, &answer, entry.as_ref().map(|entry| entry.as_fd()).as_slice())?;
                }
            }
            Ask::Pool(request) => {
                if let Some((answer, memories)) = self.serve_pool(at, &request)
                    && let Some(link) = &self.slots[at].link
                {
                    let memories: Vec<BorrowedFd<'_>> = memories.iter().map(|memory| memory.as_fd()).collect();
                    reply(link, &answer, &memories)?;
                }
            }
            Ask::AnotherCpu { not } => slot.change_cpu(not, Instant::now()),
        }
        Ok(true)
    }
}

fn reply(link: &Link, answer: &Answer, memories: &[BorrowedFd<'_>]) -> Result<(), Violation> {
    match link.control.try_send(&encode(answer), memories) {
        // Gone: nobody to answer.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        // An honest worker waits for each answer, so there is always room for one.
        sent => sent.map_err(|error| wrong(&error)),
    }
}

fn wrong(error: &io::Error) -> Violation {
    Violation(format!("a request that makes no sense: {error}"))
}
