//! Queues.

use std::collections::VecDeque;

use wasmp_manager::protocol::{Fields, Op, Status, Writer};

use super::{Given, Item, Step, Want};
use crate::manager::store::{Late, Served, malformed};

/// What an item takes beside its bytes.
const ITEM_BYTES: u64 = 64;

#[derive(Debug)]
pub(in crate::manager) struct Queue {
    items: VecDeque<Item>,
    /// 0: any number.
    maxsize: u32,
    /// How many that were put in are not dealt with.
    unfinished: u64,
    shut_down: bool,
    bytes: u64,
}

pub(super) fn bytes_of(item: &[u8]) -> u64 {
    ITEM_BYTES + item.len() as u64
}

impl Queue {
    pub(super) fn new(maxsize: u32) -> Self {
        Self {
            items: VecDeque::new(),
            maxsize,
            unfinished: 0,
            shut_down: false,
            bytes: 0,
        }
    }

    /// What it counts in the budget.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn is_full(&self) -> bool {
        self.maxsize != 0 && self.items.len() >= self.maxsize as usize
    }

    pub(super) fn serve(
        &mut self,
        step: &mut Step<'_>,
        op: Op,
        fields: &mut Fields<'_>,
        answer: &mut Writer<'_>,
    ) -> Result<Served, Status> {
        match op {
            Op::QueuePut => {
                let (time, item) = malformed(fields.u64().zip(fields.item()))?;
                if self.shut_down {
                    return Err(Status::ShutDown);
                }
                if self.is_full() {
                    if time == 0 {
                        return Err(Status::TimedOut);
                    }
                    return step.wait(Want::Room(item.into()), time);
                }
                step.budget.exchange(0, bytes_of(item))?;
                self.put(item.into());
                self.settle(step);
            }
            Op::QueueGet => {
                let time = malformed(fields.u64())?;
                let Some(item) = self.get(step) else {
                    return if self.shut_down {
                        Err(Status::ShutDown)
                    } else {
                        step.wait(Want::Item, time)
                    };
                };
                answer.item(&item);
                step.grant(step.caller, step.sequence, Given::Item(item));
                self.settle(step);
            }
            Op::QueueLength => {
                answer.u64(self.items.len() as u64);
                answer.u32(self.maxsize);
            }
            Op::QueueTaskDone => {
                self.unfinished = self.unfinished.checked_sub(1).ok_or(Status::TooMany)?;
                self.settle(step);
            }
            Op::QueueJoin => {
                let time = malformed(fields.u64())?;
                if self.unfinished > 0 {
                    return step.wait(Want::Dealt, time);
                }
            }
            Op::QueueShutDown => {
                let immediately = malformed(fields.u8())? != 0;
                self.shut_down = true;
                if immediately {
                    while self.get(step).is_some() {
                        self.unfinished = self.unfinished.saturating_sub(1);
                    }
                }
                self.settle(step);
            }
            _ => return Err(Status::WrongType),
        }
        Ok(Served::Answered)
    }

    /// It counts in the budget.
    fn put(&mut self, item: Item) {
        self.bytes += bytes_of(&item);
        self.unfinished += 1;
        self.items.push_back(item);
    }

    fn get(&mut self, step: &mut Step<'_>) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= bytes_of(&item);
        step.budget.give_back(bytes_of(&item));
        Some(item)
    }

    /// Gives what there is to those who wait for it, and room to those who wait for that.
    fn settle(&mut self, step: &mut Step<'_>) {
        loop {
            if !self.items.is_empty()
                && let Some((caller, sequence, _)) = step.first(|want| matches!(want, Want::Item))
            {
                if let Some(item) = self.get(step) {
                    step.grant(caller, sequence, Given::Item(item.clone()));
                    step.late.push(Late::item(caller.connection, sequence, item));
                }
            } else if self.shut_down
                && let Some((caller, sequence, _)) = step.first(|want| matches!(want, Want::Room(_) | Want::Item))
            {
                step.refuse(caller, sequence, Status::ShutDown);
            } else if !self.is_full()
                && let Some((caller, sequence, Want::Room(item))) = step.first(|want| matches!(want, Want::Room(_)))
            {
                // It took more room while it waited.
                let _ = step.budget.exchange(0, bytes_of(&item));
                self.put(item);
                step.answer(caller, sequence, |_| ());
            } else if self.unfinished == 0 && step.answer_first(|want| matches!(want, Want::Dealt), |_| ()) {
            } else {
                return;
            }
        }
    }

    /// Somebody has gotten an item, and never knew.
    pub(super) fn take_back(&mut self, step: &mut Step<'_>, item: Item) {
        // What it counted was given back just now.
        let _ = step.budget.exchange(0, bytes_of(&item));
        self.bytes += bytes_of(&item);
        self.items.push_front(item);
        self.settle(step);
    }
}

#[cfg(test)]
impl Queue {
    /// Whether it has this for who waits.
    pub(super) fn has(&self, want: &Want) -> bool {
        match want {
            Want::Item => !self.items.is_empty() || self.shut_down,
            Want::Room(_) => !self.is_full() || self.shut_down,
            _ => self.unfinished == 0,
        }
    }
}
