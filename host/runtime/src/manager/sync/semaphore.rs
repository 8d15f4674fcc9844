//! Semaphores.

use std::collections::HashMap;

use wasmp_manager::protocol::{Fields, Op, Status, Writer};

use super::{Given, Step, Want};
use crate::manager::store::{Served, malformed};

/// As many permits as there can be.
const MAX: u32 = i32::MAX as u32;

#[derive(Debug)]
pub(in crate::manager) struct Semaphore {
    permits: u32,
    max: u32,
    bounded: bool,
    /// Those that come back, by the client that has them.
    borrowed: HashMap<u32, u32>,
}

impl Semaphore {
    pub(super) fn new(permits: u32, bounded: bool) -> Result<Self, Status> {
        if permits > MAX {
            return Err(Status::Invalid);
        }
        Ok(Self {
            permits,
            max: if bounded { permits } else { MAX },
            bounded,
            borrowed: HashMap::new(),
        })
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.bounded
    }

    pub(super) fn serve(
        &mut self,
        step: &mut Step<'_>,
        op: Op,
        fields: &mut Fields<'_>,
        answer: &mut Writer<'_>,
    ) -> Result<Served, Status> {
        match op {
            Op::SemaphoreAcquire => {
                let (comes_back, time) = malformed(fields.u8().zip(fields.u64()))?;
                let comes_back = comes_back != 0;
                if self.permits == 0 {
                    return step.wait(Want::Permit { comes_back }, time);
                }
                self.take(step.caller.client, comes_back);
                step.grant(step.caller, step.sequence, Given::Permit { comes_back });
            }
            Op::SemaphoreRelease => {
                let (came_back, permits) = malformed(fields.u8().zip(fields.u32()))?;
                self.release(step.caller.client, came_back != 0, permits)?;
                self.settle(step);
            }
            Op::SemaphoreValue => answer.u32(self.permits),
            _ => return Err(Status::WrongType),
        }
        Ok(Served::Answered)
    }

    fn take(&mut self, client: u32, comes_back: bool) {
        self.permits -= 1;
        if comes_back {
            *self.borrowed.entry(client).or_default() += 1;
        }
    }

    fn release(&mut self, client: u32, came_back: bool, permits: u32) -> Result<(), Status> {
        if permits == 0 {
            return Err(Status::Invalid);
        }
        if came_back {
            let borrowed = self.borrowed.get_mut(&client).ok_or(Status::NotOwner)?;
            *borrowed = borrowed.checked_sub(permits).ok_or(Status::NotOwner)?;
            if *borrowed == 0 {
                self.borrowed.remove(&client);
            }
            // Others may have released what they had not acquired: there are no more than there may be for all that.
            self.permits = self.permits.saturating_add(permits).min(self.max);
            return Ok(());
        }
        let more = self.permits.checked_add(permits).filter(|more| *more <= self.max);
        self.permits = more.ok_or(Status::TooMany)?;
        Ok(())
    }

    fn settle(&mut self, step: &mut Step<'_>) {
        while self.permits > 0 {
            let Some((caller, sequence, Want::Permit { comes_back })) =
                step.first(|want| matches!(want, Want::Permit { .. }))
            else {
                break;
            };
            self.take(caller.client, comes_back);
            step.grant(caller, sequence, Given::Permit { comes_back });
            step.answer(caller, sequence, |_| ());
        }
    }

    pub(super) fn take_back(&mut self, step: &mut Step<'_>, client: u32, comes_back: bool) {
        // That there are more than there may be now is for who has released them.
        let _ = self.release(client, comes_back, 1);
        self.settle(step);
    }

    pub(super) fn forget(&mut self, step: &mut Step<'_>, client: u32) {
        if let Some(borrowed) = self.borrowed.remove(&client) {
            self.permits = self.permits.saturating_add(borrowed).min(self.max);
            self.settle(step);
        }
    }
}

#[cfg(test)]
impl Semaphore {
    pub(super) fn has_permits(&self) -> bool {
        self.permits > 0
    }
}
