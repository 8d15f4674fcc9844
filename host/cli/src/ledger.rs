//! Brings two streams into one order: items that come back from the pool, and inputs that never got there.
//!
//! The pool numbers what it was given from 0. That is not an item's number once an input has been refused, nor its line
//! once there was a blank one, so whatever its number in the pool does not say is noted here while it is under way. A
//! run without such inputs needs no notes at all.

use std::collections::{HashMap, VecDeque};

use crate::failure::Failure;
use crate::input::Place;
use crate::report::Item;

/// Which inputs are whose.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Results come in the order of the inputs, and so shall refused inputs.
    ordered: bool,
    notes: HashMap<u64, Item>,
    refused: VecDeque<Refused>,
    /// How many items have come back from the pool.
    returned: u64,
}

/// An input that waits for the items before it.
#[derive(Debug)]
struct Refused {
    /// How many items the pool had been given by then.
    after: u64,
    item: Item,
    failure: Failure,
}

impl Ledger {
    pub(crate) fn new(ordered: bool) -> Self {
        Self {
            ordered,
            ..Self::default()
        }
    }

    /// Whether an item can be told by its number in the pool alone.
    pub(crate) fn is_plain(number: u64, item: &Item) -> bool {
        *item == plain(number, item.place)
    }

    /// Notes what will be number `number` in the pool.
    pub(crate) fn note(&mut self, number: u64, item: Item) {
        self.notes.insert(number, item);
    }

    /// The item with this number in the pool; `place` is the kind of place that its input stands in.
    pub(crate) fn take(&mut self, number: u64, place: Place) -> Item {
        self.notes.remove(&number).unwrap_or_else(|| plain(number, place))
    }

    /// An input is refused after the pool was given `after` items. It is handed back when it is its turn already.
    #[must_use]
    pub(crate) fn refuse(&mut self, after: u64, item: Item, failure: Failure) -> Option<(Item, Failure)> {
        if !self.ordered || self.returned == after {
            return Some((item, failure));
        }
        self.refused.push_back(Refused { after, item, failure });
        None
    }

    /// The same, for an item that has come back.
    pub(crate) fn returned(&mut self, number: u64, place: Place) -> Item {
        self.returned += 1;
        self.take(number, place)
    }

    /// The next refused input whose turn has come.
    pub(crate) fn next_refused(&mut self) -> Option<(Item, Failure)> {
        let Refused { item, failure, .. } = self.refused.pop_front_if(|first| first.after <= self.returned)?;
        Some((item, failure))
    }

    /// How many refused inputs wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.refused.len()
    }
}

/// What the item with this number in the pool is, as long as every line has been an item.
fn plain(number: u64, place: Place) -> Item {
    let place = match place {
        Place::Typed => Place::Typed,
        Place::Line(_) => Place::Line(number + 1),
        Place::Record(_) => Place::Record(number + 1),
    };
    Item {
        index: number,
        place,
        input: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputError;

    fn item(index: u64, line: u64) -> Item {
        Item {
            index,
            place: Place::Line(line),
            input: None,
        }
    }

    fn failure() -> Failure {
        InputError::NotSpreadable.into()
    }

    fn refused(ledger: &mut Ledger) -> Option<u64> {
        ledger.next_refused().map(|(item, _)| item.index)
    }

    #[test]
    fn an_item_without_a_note_has_its_number_in_the_pool() {
        let mut ledger = Ledger::new(true);
        assert!(Ledger::is_plain(4, &item(4, 5)));
        assert_eq!(ledger.returned(4, Place::Line(0)), item(4, 5));
        assert_eq!(ledger.returned(5, Place::Typed).place, Place::Typed);
    }

    #[test]
    fn after_a_blank_or_a_refused_line_items_are_noted() {
        let mut ledger = Ledger::new(true);
        assert!(!Ledger::is_plain(4, &item(4, 6)));
        assert!(!Ledger::is_plain(4, &item(5, 6)));
        ledger.note(4, item(5, 6));
        assert_eq!(ledger.returned(4, Place::Line(0)), item(5, 6));
        assert!(ledger.notes.is_empty());
    }

    #[test]
    fn a_refused_input_waits_for_the_items_before_it() {
        let mut ledger = Ledger::new(true);
        assert!(ledger.refuse(2, item(2, 3), failure()).is_none());
        assert!(ledger.refuse(2, item(3, 4), failure()).is_none());
        ledger.returned(0, Place::Line(0));
        assert_eq!(refused(&mut ledger), None);
        ledger.returned(1, Place::Line(0));
        assert_eq!(
            [refused(&mut ledger), refused(&mut ledger), refused(&mut ledger)],
            [Some(2), Some(3), None]
        );
    }

    #[test]
    fn a_refused_input_with_nothing_before_it_has_its_turn_at_once() {
        let mut ledger = Ledger::new(true);
        assert!(ledger.refuse(0, item(0, 1), failure()).is_some());
        ledger.returned(0, Place::Line(0));
        assert!(ledger.refuse(1, item(2, 3), failure()).is_some());
    }

    #[test]
    fn without_an_order_nobody_waits() {
        assert!(Ledger::new(false).refuse(7, item(7, 8), failure()).is_some());
    }
}
