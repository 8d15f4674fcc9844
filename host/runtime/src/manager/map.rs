//! Keys and their values, in the order in which the keys were added.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use wasmp_manager::protocol::{ANY_VERSION, Fields, KEYS, Op, Status, VALUES, Writer};

use super::number;
use super::store::{Budget, malformed, no_longer_than_may_be};

/// What a key takes beside its bytes and those of its value.
const KEY_BYTES: u64 = 160;

/// Values are given to those who have waited for them without being copied for each.
type Item = Arc<[u8]>;

#[derive(Debug, Default)]
pub(super) struct Map {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// The keys, by when they were added.
    order: BTreeMap<u64, Arc<[u8]>>,
    /// How many keys were ever added.
    added: u64,
    /// How often it was changed.
    version: u64,
    /// What was done once, and is not done again.
    done: HashSet<Box<[u8]>>,
    /// What the keys and values take, and what it takes to remember what was done.
    bytes: u64,
    done_bytes: u64,
}

#[derive(Debug)]
struct Entry {
    added: u64,
    value: Item,
}

fn bytes_of(key: &[u8], value: &[u8]) -> u64 {
    KEY_BYTES + (key.len() + value.len()) as u64
}

impl Map {
    /// One with these pairs.
    pub(super) fn new(pairs: &[&[u8]], budget: &mut Budget) -> Result<Self, Status> {
        let mut map = Self::default();
        map.update(None, pairs, budget)?;
        Ok(map)
    }

    /// What it counts in the budget.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.done_bytes
    }

    /// Changes with each change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(|entry| &*entry.value)
    }

    /// The same, to be kept.
    pub(super) fn share(&self, key: &[u8]) -> Option<Arc<[u8]>> {
        self.entries.get(key).map(|entry| Arc::clone(&entry.value))
    }

    /// Serves a request that is about nothing but this map.
    pub(super) fn serve(
        &mut self,
        op: Op,
        mut fields: Fields<'_>,
        answer: &mut Writer<'_>,
        budget: &mut Budget,
    ) -> Result<(), Status> {
        let fields = &mut fields;
        match op {
            Op::MapGet => answer.option(self.get(malformed(fields.item())?)),
            Op::MapGetMany => {
                for key in malformed(fields.items())? {
                    answer.option(self.get(key));
                    no_longer_than_may_be(answer)?;
                }
            }
            Op::MapContains => answer.u8(self.entries.contains_key(malformed(fields.item())?).into()),
            Op::MapLength => answer.u64(self.entries.len() as u64),
            Op::MapItems => self.items(malformed(fields.u8())?, answer)?,
            Op::MapSet => {
                let (key, value) = malformed(fields.item().zip(fields.item()))?;
                answer.u8(self.set(key, value, budget)?.is_none().into());
            }
            Op::MapInsert => {
                let (key, value) = malformed(fields.item().zip(fields.item()))?;
                answer.option(self.set(key, value, budget)?.as_deref());
            }
            Op::MapGetOrInsert => {
                let (key, value) = malformed(fields.item().zip(fields.item()))?;
                match self.get(key) {
                    Some(there) => answer.item(there),
                    None => {
                        self.set(key, value, budget)?;
                        answer.item(value);
                    }
                }
            }
            Op::MapRemove => {
                let removed = self.remove(malformed(fields.item())?, budget);
                answer.option(removed.as_deref());
            }
            Op::MapPopItem => match self.order.last_key_value().map(|(_, key)| Arc::clone(key)) {
                Some(key) => {
                    answer.item(&key);
                    let removed = self.remove(&key, budget);
                    answer.option(removed.as_deref());
                }
                None => answer.option(None),
            },
            Op::MapClear => self.clear(budget),
            Op::MapUpdate => {
                let (once, pairs) = malformed(fields.option().zip(fields.items()))?;
                answer.u8(self.update(once, &pairs, budget)?.into());
            }
            Op::MapReplace => {
                let (version, pairs) = malformed(fields.u64().zip(fields.items()))?;
                let is_it = version == ANY_VERSION || version == self.version;
                if is_it {
                    self.replace(&pairs, budget)?;
                }
                answer.u8(is_it.into());
            }
            Op::MapSwap => {
                let key = malformed(fields.item())?;
                let (expected, new) = malformed(fields.option().zip(fields.option()))?;
                let there = self.get(key);
                if there != expected {
                    answer.u8(0);
                    answer.option(there);
                    return Ok(());
                }
                match new {
                    Some(new) => drop(self.set(key, new, budget)?),
                    None => drop(self.remove(key, budget)),
                }
                answer.u8(1);
            }
            Op::MapAdd => self.add(fields, answer, budget)?,
            _ => return Err(Status::WrongType),
        }
        Ok(())
    }

    fn items(&self, which: u8, answer: &mut Writer<'_>) -> Result<(), Status> {
        let (keys, values) = (which & KEYS != 0, which & VALUES != 0);
        answer.u64(self.version);
        // Each takes memory, of which there is less than 4 GiB for all.
        answer.u32((self.entries.len() * (usize::from(keys) + usize::from(values))) as u32);
        for key in self.order.values() {
            if keys {
                answer.item(key);
            }
            if values {
                answer.item(self.get(key).unwrap_or_default());
            }
            no_longer_than_may_be(answer)?;
        }
        Ok(())
    }

    /// Returns what was there before.
    fn set(&mut self, key: &[u8], value: &[u8], budget: &mut Budget) -> Result<Option<Item>, Status> {
        let old = self.get(key).map_or(0, |old| bytes_of(key, old));
        let new = bytes_of(key, value);
        budget.exchange(old, new)?;
        self.bytes = self.bytes - old + new;
        self.version += 1;
        if let Some(entry) = self.entries.get_mut(key) {
            return Ok(Some(std::mem::replace(&mut entry.value, value.into())));
        }
        let key: Arc<[u8]> = key.into();
        let added = self.added;
        self.added += 1;
        self.order.insert(added, Arc::clone(&key));
        self.entries.insert(
            key,
            Entry {
                added,
                value: value.into(),
            },
        );
        Ok(None)
    }

    fn remove(&mut self, key: &[u8], budget: &mut Budget) -> Option<Item> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.added);
        let bytes = bytes_of(key, &entry.value);
        budget.give_back(bytes);
        self.bytes -= bytes;
        self.version += 1;
        Some(entry.value)
    }

    fn clear(&mut self, budget: &mut Budget) {
        budget.give_back(self.bytes);
        self.bytes = 0;
        self.entries.clear();
        self.order.clear();
        self.version += 1;
    }

    /// Sets all of them, or none: if `once` was done, or there is no room. Returns whether it did.
    fn update(&mut self, once: Option<&[u8]>, pairs: &[&[u8]], budget: &mut Budget) -> Result<bool, Status> {
        let (pairs, rest) = pairs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Status::Malformed);
        }
        if once.is_some_and(|name| self.done.contains(name)) {
            return Ok(false);
        }
        // More than it will be where a key comes twice.
        let growth = |[key, value]: &[&[u8]; 2]| match self.get(key) {
            Some(old) => (value.len() as u64).saturating_sub(old.len() as u64),
            None => bytes_of(key, value),
        };
        let name_bytes = once.map_or(0, |name| bytes_of(name, &[]));
        budget.has_room(name_bytes + pairs.iter().map(growth).sum::<u64>())?;
        for [key, value] in pairs {
            self.set(key, value, budget)?;
        }
        if let Some(name) = once {
            budget.exchange(0, name_bytes)?;
            self.done_bytes += name_bytes;
            self.done.insert(name.into());
        }
        Ok(true)
    }

    fn replace(&mut self, pairs: &[&[u8]], budget: &mut Budget) -> Result<(), Status> {
        let new = Self::new(pairs, &mut budget.without(self.bytes))?;
        self.clear(budget);
        budget.exchange(0, new.bytes)?;
        self.bytes = new.bytes;
        self.entries = new.entries;
        self.order = new.order;
        self.added = new.added;
        Ok(())
    }

    /// Adds to numbers: to all of them, or to none.
    fn add(&mut self, fields: &mut Fields<'_>, answer: &mut Writer<'_>, budget: &mut Budget) -> Result<(), Status> {
        let once = malformed(fields.option())?;
        let count = malformed(fields.count())?;
        if once.is_some_and(|name| self.done.contains(name)) {
            answer.u8(0);
            answer.u32(0);
            return Ok(());
        }
        // What each key is to be: one may come more than once.
        let mut sums: HashMap<&[u8], i64> = HashMap::new();
        let mut told = Vec::new();
        for _ in 0..count {
            let (key, summand) = malformed(fields.item().zip(fields.i64()))?;
            let there = match (sums.get(key), self.get(key)) {
                (Some(sum), _) => *sum,
                (None, Some(value)) => number::read(value).ok_or(Status::NoNumber)?,
                (None, None) => 0,
            };
            let sum = there.checked_add(summand).ok_or(Status::NoNumber)?;
            sums.insert(key, sum);
            told.push((key, sum));
        }
        // In the order in which they came, so that new keys are added in that.
        let sums: Vec<Vec<u8>> = told.iter().map(|(_, sum)| number::write(*sum)).collect();
        let pairs: Vec<&[u8]> = told.iter().zip(&sums).flat_map(|((key, _), sum)| [*key, sum]).collect();
        self.update(once, &pairs, budget)?;
        answer.u8(1);
        answer.u32(told.len() as u32);
        for (_, sum) in told {
            answer.i64(sum);
        }
        Ok(())
    }
}
