//! Locks, and conditions, which are locks at which one can wait.

use wasmp_manager::protocol::{ANY_FENCE, ELSEWHERE, Fields, Op, Status, Writer};

use super::{Asleep, Awoken, Given, Holder, Step, Want};
use crate::manager::store::{Served, malformed};

#[derive(Debug)]
pub(in crate::manager) struct Lock {
    recursive: bool,
    held: Option<Held>,
    /// How often it was acquired by somebody who did not hold it.
    fence: u64,
    /// Who held it is gone, and nobody has been told.
    abandoned: bool,
}

#[derive(Debug)]
struct Held {
    holder: Holder,
    /// Over whose connection it was acquired.
    client: u32,
    depth: u32,
    /// The fence with which this holder got it, before it has waited at the condition.
    since: u64,
}

impl Lock {
    pub(super) fn new(recursive: bool) -> Self {
        Self {
            recursive,
            held: None,
            fence: 0,
            abandoned: false,
        }
    }

    pub(super) fn is_recursive(&self) -> bool {
        self.recursive
    }

    pub(super) fn serve(
        &mut self,
        step: &mut Step<'_>,
        op: Op,
        fields: &mut Fields<'_>,
        answer: &mut Writer<'_>,
    ) -> Result<Served, Status> {
        let holder = Holder::read(fields, step.caller)?;
        match op {
            Op::LockAcquire => {
                let time = malformed(fields.u64())?;
                return self.acquire(step, holder, time, answer);
            }
            Op::LockRelease => {
                let fence = malformed(fields.u64())?;
                self.release(holder, fence)?;
                self.settle(step);
            }
            Op::LockHeld => answer.u32(match &self.held {
                None => 0,
                Some(held) if held.holder == holder => held.depth,
                Some(_) => ELSEWHERE,
            }),
            Op::ConditionWait => {
                let time = malformed(fields.u64())?;
                let held = self.held_by(holder)?;
                let asleep = Asleep {
                    holder,
                    depth: held.depth,
                    since: held.since,
                };
                let served = step.wait_even_so(Want::Notification(asleep), time)?;
                self.held = None;
                self.settle(step);
                return Ok(served);
            }
            Op::ConditionNotify => {
                let waiters = malformed(fields.u32())?;
                self.held_by(holder)?;
                self.notify(step, waiters);
            }
            _ => return Err(Status::WrongType),
        }
        Ok(Served::Answered)
    }

    fn held_by(&self, holder: Holder) -> Result<&Held, Status> {
        self.held
            .as_ref()
            .filter(|held| held.holder == holder)
            .ok_or(Status::NotOwner)
    }

    fn acquire(
        &mut self,
        step: &mut Step<'_>,
        holder: Holder,
        time: u64,
        answer: &mut Writer<'_>,
    ) -> Result<Served, Status> {
        match &mut self.held {
            None => {
                self.take(holder, step.caller.client, (1, None));
                answer.u64(self.fence);
                answer.u8(std::mem::take(&mut self.abandoned).into());
            }
            Some(held) if self.recursive && held.holder == holder => {
                held.depth = held.depth.checked_add(1).ok_or(Status::TooMany)?;
                answer.u64(self.fence);
                answer.u8(0);
            }
            Some(_) => return step.wait(Want::Lock(holder), time),
        }
        let given = Given::Lock {
            fence: self.fence,
            levels: 1,
        };
        step.grant(step.caller, step.sequence, given);
        Ok(Served::Answered)
    }

    /// Nobody holds it.
    fn take(&mut self, holder: Holder, client: u32, (depth, since): (u32, Option<u64>)) {
        self.fence += 1;
        self.held = Some(Held {
            holder,
            client,
            depth,
            since: since.unwrap_or(self.fence),
        });
    }

    fn release(&mut self, holder: Holder, fence: u64) -> Result<(), Status> {
        let held = self.held.as_mut();
        if !self.recursive {
            return match held {
                None if fence == ANY_FENCE => Err(Status::TooMany),
                // Whoever asks.
                Some(_) if fence == ANY_FENCE || fence == self.fence => {
                    self.held = None;
                    Ok(())
                }
                _ => Err(Status::NotOwner),
            };
        }
        // A guard from before the lock was lost has nothing to release of what the holder has acquired since.
        let held = held.filter(|held| held.holder == holder && fence >= held.since);
        let held = held.ok_or(Status::NotOwner)?;
        held.depth -= 1;
        if held.depth == 0 {
            self.held = None;
        }
        Ok(())
    }

    /// Gives the lock to who has waited longest, if it is free.
    pub(super) fn settle(&mut self, step: &mut Step<'_>) {
        if self.held.is_some() {
            return;
        }
        let Some((caller, sequence, want)) = step.first(|want| matches!(want, Want::Lock(_) | Want::Again(..))) else {
            return;
        };
        let (levels, notified) = match want {
            Want::Again(asleep, awoken) => {
                self.take(asleep.holder, caller.client, (asleep.depth, Some(asleep.since)));
                (asleep.depth, Some(awoken == Awoken::Notified))
            }
            Want::Lock(holder) => {
                self.take(holder, caller.client, (1, None));
                (1, None)
            }
            _ => return,
        };
        let (fence, abandoned) = (self.fence, std::mem::take(&mut self.abandoned));
        let given = match notified {
            Some(true) => Given::Notification { fence, levels },
            _ => Given::Lock { fence, levels },
        };
        step.grant(caller, sequence, given);
        step.answer(caller, sequence, |answer| {
            if let Some(notified) = notified {
                answer.u8(notified.into());
            }
            answer.u64(fence);
            answer.u8(abandoned.into());
        });
    }

    /// Has so many of those who wait at the condition wait for the lock.
    pub(super) fn notify(&mut self, step: &mut Step<'_>, waiters: u32) {
        for _ in 0..waiters {
            let Some((caller, sequence, Want::Notification(asleep))) =
                step.first(|want| matches!(want, Want::Notification(_)))
            else {
                break;
            };
            step.stand(caller, sequence, Want::Again(asleep, Awoken::Notified));
        }
        self.settle(step);
    }

    /// Somebody has acquired so many levels, and never knew.
    pub(super) fn take_back(&mut self, step: &mut Step<'_>, fence: u64, levels: u32) {
        if self.fence != fence {
            return;
        }
        if let Some(held) = &mut self.held {
            held.depth = held.depth.saturating_sub(levels);
            if held.depth == 0 {
                self.held = None;
                self.settle(step);
            }
        }
    }

    pub(super) fn forget(&mut self, step: &mut Step<'_>, client: u32) {
        if self.held.as_ref().is_some_and(|held| held.client == client) {
            self.held = None;
            self.abandoned = true;
            self.settle(step);
        }
    }
}

#[cfg(test)]
impl Lock {
    pub(super) fn is_free(&self) -> bool {
        self.held.is_none()
    }
}
