//! Barriers.

use wasmp_manager::protocol::{Fields, Op, Status, Writer};

use super::{Step, Want};
use crate::manager::store::{Served, malformed};

#[derive(Debug)]
pub(in crate::manager) struct Barrier {
    parties: u32,
    broken: bool,
}

fn meets(want: &Want) -> bool {
    matches!(want, Want::Meeting { .. })
}

impl Barrier {
    pub(super) fn new(parties: u32) -> Result<Self, Status> {
        if parties == 0 {
            return Err(Status::Invalid);
        }
        Ok(Self { parties, broken: false })
    }

    pub(super) fn serve(
        &mut self,
        step: &mut Step<'_>,
        op: Op,
        fields: &mut Fields<'_>,
        answer: &mut Writer<'_>,
    ) -> Result<Served, Status> {
        match op {
            Op::BarrierWait => {
                let time = malformed(fields.u64())?;
                if self.broken {
                    return Err(Status::Broken);
                }
                let place = step.count(meets);
                if place + 1 < self.parties {
                    return step.wait_even_so(Want::Meeting { place }, time);
                }
                while let Some((caller, sequence, Want::Meeting { place })) = step.first(meets) {
                    step.answer(caller, sequence, |answer| answer.u32(place));
                }
                answer.u32(place);
            }
            Op::BarrierBreak => {
                let as_new = malformed(fields.u8())? != 0;
                self.break_up(step);
                self.broken = !as_new;
            }
            Op::BarrierState => {
                answer.u32(self.parties);
                answer.u32(step.count(meets));
                answer.u8(self.broken.into());
            }
            _ => return Err(Status::WrongType),
        }
        Ok(Served::Answered)
    }

    /// One of those who wait waits no longer, and nobody is to wait for it.
    pub(super) fn break_up(&mut self, step: &mut Step<'_>) {
        self.broken = true;
        while let Some((caller, sequence, _)) = step.first(meets) {
            step.refuse(caller, sequence, Status::Broken);
        }
    }
}

#[cfg(test)]
impl Barrier {
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }
}
