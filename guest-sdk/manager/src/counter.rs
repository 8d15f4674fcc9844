//! Counters.

use std::borrow::Borrow;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::protocol::{Op, Writer};
use crate::{Dict, ManagerError, few_enough, flag, item, proxy};

/// How often each of many things was counted, in a manager. CPython: `collections.Counter`, which its managers do not
/// have.
///
/// What is said of a [`Dict`] about requests, copies and keys holds here. All counts are 0 that are not there.
pub struct Counter<K, C: Client> {
    dict: Dict<K, i64, C>,
    of: PhantomData<fn() -> K>,
}

proxy!(Counter[K], dict);

impl<K: Serialize + DeserializeOwned, C: Client> Counter<K, C> {
    /// A new one with these counts, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new(client: &C, counts: impl IntoIterator<Item = (K, i64)>) -> Result<Self, ManagerError> {
        Ok(Self {
            dict: Dict::new(client, counts)?,
            of: PhantomData,
        })
    }

    /// The one of this name, in the manager that `client` reaches: a new one if there was none. It stays as long as the
    /// manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn named(client: &C, name: &str) -> Result<Self, ManagerError> {
        let dict = Dict::named(client, name)?;
        Ok(Self { dict, of: PhantomData })
    }

    /// The count of this key.
    ///
    /// # Errors
    ///
    /// [`ManagerError`], as from every method.
    pub fn get<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<i64, ManagerError>
    where
        K: Borrow<Q>,
    {
        Ok(self.dict.get(key)?.unwrap_or_default())
    }

    /// Counts this key so many times more, and returns its count. It may be negative.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn add<Q: Serialize + ?Sized>(&self, key: &Q, times: i64) -> Result<i64, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.dict.add(key, times)
    }

    /// Counts many keys, all at once (CPython: `update`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; then nothing was counted.
    pub fn update<Q: Serialize>(&self, counts: impl IntoIterator<Item = (Q, i64)>) -> Result<(), ManagerError>
    where
        K: Borrow<Q>,
    {
        self.dict.proxy.ask(
            Op::MapAdd,
            |writer| {
                writer.option(None);
                summands::<C>(writer, counts)
            },
            |_| Ok(()),
        )
    }

    /// As [`update`](Self::update), unless that was done once under the same name: for a task that may be tried again after
    /// the manager has heard of it. Returns whether it was done now.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; then nothing was counted, unless the manager is [gone](ManagerError::Gone).
    pub fn update_once<Q: Serialize>(
        &self,
        name: &(impl Serialize + ?Sized),
        counts: impl IntoIterator<Item = (Q, i64)>,
    ) -> Result<bool, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.dict.proxy.ask(
            Op::MapAdd,
            |writer| {
                item::<C>(writer, name)?;
                summands::<C>(writer, counts)
            },
            flag,
        )
    }

    /// How many keys were counted.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn len(&self) -> Result<u64, ManagerError> {
        self.dict.len()
    }

    /// Whether there are none.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.dict.is_empty()
    }

    /// The sum of all counts (CPython: `total`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn total(&self) -> Result<i128, ManagerError> {
        Ok(self.dict.values()?.into_iter().map(i128::from).sum())
    }

    /// All keys and their counts, as they are at one moment.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn items<T: FromIterator<(K, i64)>>(&self) -> Result<T, ManagerError> {
        self.dict.items()
    }

    /// The `most` keys with the highest counts, the highest first; of equal ones the one that was there first.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn most_common(&self, most: usize) -> Result<Vec<(K, i64)>, ManagerError> {
        let mut counts: Vec<_> = self.items()?;
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(most);
        Ok(counts)
    }

    /// Forgets all counts.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.dict.clear()
    }
}

fn summands<C: Client>(
    writer: &mut Writer<'_>,
    counts: impl IntoIterator<Item = (impl Serialize, i64)>,
) -> Result<(), ManagerError> {
    writer.counted(|writer| {
        let mut keys = 0;
        for (key, count) in counts {
            item::<C>(writer, &key)?;
            writer.i64(count);
            keys += 1;
        }
        few_enough(keys)
    })
}
