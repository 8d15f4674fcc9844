//! Values in a row.

use wasmp_manager::protocol::{ANY_VERSION, END, Fields, NOWHERE, Op, Status, Writer};

use super::store::{Budget, malformed, no_longer_than_may_be};

/// What a value takes beside its bytes.
const VALUE_BYTES: u64 = 48;

type Item = Box<[u8]>;

#[derive(Debug, Default)]
pub(super) struct List {
    values: Vec<Item>,
    /// How often it was changed.
    version: u64,
    bytes: u64,
}

fn bytes_of(value: &[u8]) -> u64 {
    VALUE_BYTES + value.len() as u64
}

fn bytes_of_all<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> u64 {
    values.into_iter().map(bytes_of).sum()
}

impl List {
    /// One with these values.
    pub(super) fn new(values: &[&[u8]], budget: &mut Budget) -> Result<Self, Status> {
        let mut list = Self::default();
        list.splice(0, 0, values, budget)?;
        Ok(list)
    }

    /// What it counts in the budget.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Serves a request that is about nothing but this list.
    pub(super) fn serve(
        &mut self,
        op: Op,
        mut fields: Fields<'_>,
        answer: &mut Writer<'_>,
        budget: &mut Budget,
    ) -> Result<(), Status> {
        let fields = &mut fields;
        match op {
            Op::ListGet => answer.item(&self.values[self.place(malformed(fields.i64())?)?]),
            Op::ListSet => {
                let (place, value) = malformed(fields.i64().zip(fields.item()))?;
                let place = self.place(place)?;
                self.splice(place, place + 1, &[value], budget)?;
            }
            Op::ListPush => {
                let end = self.values.len();
                self.splice(end, end, &malformed(fields.items())?, budget)?;
            }
            Op::ListPop => {
                let place = self.place(malformed(fields.i64())?)?;
                answer.item(&self.values[place]);
                self.splice(place, place + 1, &[], budget)?;
            }
            Op::ListSplice => {
                let (from, to) = self.range(fields)?;
                self.splice(from, to, &malformed(fields.items())?, budget)?;
            }
            Op::ListItems => {
                let (from, to) = self.range(fields)?;
                answer.u64(self.version);
                // Each takes memory, of which there is less than 4 GiB for all.
                answer.u32((to - from) as u32);
                for value in &self.values[from..to] {
                    answer.item(value);
                    no_longer_than_may_be(answer)?;
                }
            }
            Op::ListLength => answer.u64(self.values.len() as u64),
            Op::ListIndex => {
                let value = malformed(fields.item())?;
                let place = self.values.iter().position(|there| **there == *value);
                answer.u64(place.map_or(NOWHERE, |place| place as u64));
            }
            Op::ListCount => {
                let value = malformed(fields.item())?;
                answer.u64(self.values.iter().filter(|there| ***there == *value).count() as u64);
            }
            Op::ListReverse => {
                self.values.reverse();
                self.version += 1;
            }
            Op::ListRepeat => self.repeat(malformed(fields.u64())?, budget)?,
            Op::ListReplace => {
                let (version, values) = malformed(fields.u64().zip(fields.items()))?;
                let is_it = version == ANY_VERSION || version == self.version;
                if is_it {
                    self.splice(0, self.values.len(), &values, budget)?;
                }
                answer.u8(is_it.into());
            }
            _ => return Err(Status::WrongType),
        }
        Ok(())
    }

    /// Where a value is, counted from the end if it is negative.
    fn place(&self, place: i64) -> Result<usize, Status> {
        let place = if place < 0 {
            place.saturating_add_unsigned(self.values.len() as u64)
        } else {
            place
        };
        let place = usize::try_from(place).map_err(|_| Status::OutOfRange)?;
        if place < self.values.len() {
            Ok(place)
        } else {
            Err(Status::OutOfRange)
        }
    }

    /// A range, of which what is outside of the list is not there.
    fn range(&self, fields: &mut Fields<'_>) -> Result<(usize, usize), Status> {
        let (from, to) = malformed(fields.i64().zip(fields.i64()))?;
        let len = self.values.len();
        let inside = |place: i64| match place {
            END => len,
            place if place < 0 => len.saturating_sub(usize::try_from(place.unsigned_abs()).unwrap_or(len)),
            place => usize::try_from(place).map_or(len, |place| place.min(len)),
        };
        let (from, to) = (inside(from), inside(to));
        Ok((from, to.max(from)))
    }

    /// All of them, or none. The range is inside of the list.
    fn splice(&mut self, from: usize, to: usize, values: &[&[u8]], budget: &mut Budget) -> Result<(), Status> {
        let old = bytes_of_all(self.values[from..to].iter().map(|value| &**value));
        let new = bytes_of_all(values.iter().copied());
        budget.exchange(old, new)?;
        self.bytes = self.bytes - old + new;
        self.version += 1;
        let values = values.iter().map(|value| Item::from(*value));
        self.values.splice(from..to, values);
        Ok(())
    }

    fn repeat(&mut self, times: u64, budget: &mut Budget) -> Result<(), Status> {
        let bytes = self.bytes.checked_mul(times).ok_or(Status::Full)?;
        budget.exchange(self.bytes, bytes)?;
        self.bytes = bytes;
        self.version += 1;
        // By the budget there is room for so many: an empty list stays empty.
        let len = self.values.len() * usize::try_from(times).unwrap_or_default();
        self.values = self.values.iter().cycle().take(len).cloned().collect();
        Ok(())
    }
}
