//! Dictionaries.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, Proxy};
use crate::protocol::{ANY_VERSION, FOREVER, KEYS, Op, Status, VALUES};
use crate::{ManagerError, count, flag, item, items, option, pairs, proxy, read_pairs, told};

/// A dictionary in a manager, in the order in which its keys were added. All clones are the same dictionary, in whatever
/// process. CPython: `SyncManager.dict`.
///
/// Each method is one request, which the manager serves as a whole before the next. Values that come out are copies: to
/// change one, [`set`](Self::set) it, or [`fetch_update`](Self::fetch_update) what can change meanwhile. A managed object
/// as a value is that object.
///
/// Keys are the same if their CBOR is: `1u8` and `1i64` are, `1` and `1.0` are not.
pub struct Dict<K, V, C: Client> {
    pub(crate) proxy: Proxy<C>,
    of: PhantomData<fn() -> (K, V)>,
}

proxy!(Dict[K V], proxy);

impl<K, V, C: Client> Dict<K, V, C> {
    /// The one that this is a way to.
    pub(crate) fn of(proxy: Proxy<C>) -> Self {
        Self { proxy, of: PhantomData }
    }
}

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned, C: Client> Dict<K, V, C> {
    /// A new one with these pairs, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new<I>(client: &C, content: I) -> Result<Self, ManagerError>
    where
        I: IntoIterator<Item = (K, V)>,
    {
        let proxy = Proxy::create(client, Op::NewMap, |writer| pairs::<C>(writer, content))?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// The one of this name, in the manager that `client` reaches: a new one if there was none. It stays as long as the
    /// manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn named(client: &C, name: &str) -> Result<Self, ManagerError> {
        let proxy = Proxy::named(client, Op::NamedMap, name)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// The value of this key, if it is there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`], as from every method.
    pub fn get<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.ask(
            Op::MapGet,
            |writer| item::<C>(writer, key),
            |mut fields| option::<C, _>(fields.option()),
        )
    }

    /// The values of these keys, in their order (CPython has no such method).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn get_many<Q: Serialize + ?Sized>(&self, keys: &[&Q]) -> Result<Vec<Option<V>>, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.ask(
            Op::MapGetMany,
            |writer| items::<C>(writer, keys),
            |mut fields| (0..keys.len()).map(|_| option::<C, _>(fields.option())).collect(),
        )
    }

    /// Whether the key is there (CPython: `in`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn contains_key<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<bool, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.ask(Op::MapContains, |writer| item::<C>(writer, key), flag)
    }

    /// How many keys there are.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn len(&self) -> Result<u64, ManagerError> {
        self.proxy.ask(Op::MapLength, |_| Ok(()), count)
    }

    /// Whether there are none.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        Ok(self.len()? == 0)
    }

    /// Gives the key this value (CPython: `d[key] = value`). Returns whether it is new.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn set<Q: Serialize + ?Sized>(&self, key: &Q, value: &V) -> Result<bool, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.ask(
            Op::MapSet,
            |writer| {
                item::<C>(writer, key)?;
                item::<C>(writer, value)
            },
            flag,
        )
    }

    /// As [`set`](Self::set), but returns the value that the key had before.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn insert<Q: Serialize + ?Sized>(&self, key: &Q, value: &V) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.ask(
            Op::MapInsert,
            |writer| {
                item::<C>(writer, key)?;
                item::<C>(writer, value)
            },
            |mut fields| option::<C, _>(fields.option()),
        )
    }

    /// The value of the key, which is this one from now on if there was none (CPython: `setdefault`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn get_or_insert<Q: Serialize + ?Sized>(&self, key: &Q, value: &V) -> Result<V, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.ask(
            Op::MapGetOrInsert,
            |writer| {
                item::<C>(writer, key)?;
                item::<C>(writer, value)
            },
            |mut fields| C::decode(told(fields.item())?),
        )
    }

    /// Takes the key out. Returns the value that it had (CPython: `pop` with the default `None`, or `del`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn remove<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.ask(
            Op::MapRemove,
            |writer| item::<C>(writer, key),
            |mut fields| option::<C, _>(fields.option()),
        )
    }

    /// Takes out the key that was added last (CPython: `popitem`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn pop_item(&self) -> Result<Option<(K, V)>, ManagerError> {
        self.proxy.ask(
            Op::MapPopItem,
            |_| Ok(()),
            |mut fields| match told(fields.option())? {
                Some(key) => Ok(Some((C::decode(key)?, C::decode(told(fields.item())?)?))),
                None => Ok(None),
            },
        )
    }

    /// Takes everything out.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.proxy.ask(Op::MapClear, |_| Ok(()), |_| Ok(()))
    }

    /// Gives keys values, all at once.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; then nothing was changed.
    pub fn update(&self, content: impl IntoIterator<Item = (K, V)>) -> Result<(), ManagerError> {
        self.proxy.ask(
            Op::MapUpdate,
            |writer| {
                writer.option(None);
                pairs::<C>(writer, content)
            },
            |_| Ok(()),
        )
    }

    /// As [`update`](Self::update), unless that was done once under the same name: for a task that may be tried again after
    /// the manager has heard of it. Returns whether it was done now.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; then nothing was changed, unless the manager is [gone](ManagerError::Gone).
    pub fn update_once(
        &self,
        name: &(impl Serialize + ?Sized),
        content: impl IntoIterator<Item = (K, V)>,
    ) -> Result<bool, ManagerError> {
        self.proxy.ask(
            Op::MapUpdate,
            |writer| {
                item::<C>(writer, name)?;
                pairs::<C>(writer, content)
            },
            flag,
        )
    }

    /// All keys, in order, as they are at one moment.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn keys(&self) -> Result<Vec<K>, ManagerError> {
        self.some(KEYS)
    }

    /// All values, in the order of their keys, as they are at one moment.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn values(&self) -> Result<Vec<V>, ManagerError> {
        self.some(VALUES)
    }

    fn some<T: DeserializeOwned>(&self, which: u8) -> Result<Vec<T>, ManagerError> {
        self.proxy.ask(
            Op::MapItems,
            |writer| {
                writer.u8(which);
                Ok(())
            },
            |mut fields| {
                told(fields.u64())?;
                told(fields.all_items())?.into_iter().map(C::decode).collect()
            },
        )
    }

    /// All keys and their values, in order, as they are at one moment (CPython: `copy`, `items`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn items<T: FromIterator<(K, V)>>(&self) -> Result<T, ManagerError> {
        Ok(self.versioned()?.1)
    }

    fn versioned<T: FromIterator<(K, V)>>(&self) -> Result<(u64, T), ManagerError> {
        self.proxy.ask(
            Op::MapItems,
            |writer| {
                writer.u8(KEYS | VALUES);
                Ok(())
            },
            |mut fields| Ok((told(fields.u64())?, read_pairs::<C, _, K, V>(fields.all_items())?)),
        )
    }

    /// Puts these in the place of everything that is there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; then nothing was changed.
    pub fn replace_all(&self, content: impl IntoIterator<Item = (K, V)>) -> Result<(), ManagerError> {
        self.replace(ANY_VERSION, content).map(drop)
    }

    fn replace(&self, version: u64, content: impl IntoIterator<Item = (K, V)>) -> Result<bool, ManagerError> {
        self.proxy.ask(
            Op::MapReplace,
            |writer| {
                writer.u64(version);
                pairs::<C>(writer, content)
            },
            flag,
        )
    }

    /// Changes the whole of it: `change` gets what is there, and says what is to be there instead, once more for each time
    /// that somebody was faster. For anything that no other method does in one step.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn update_all<T: FromIterator<(K, V)> + IntoIterator<Item = (K, V)>>(
        &self,
        mut change: impl FnMut(&mut T),
    ) -> Result<(), ManagerError> {
        loop {
            let (version, mut content) = self.versioned()?;
            change(&mut content);
            if self.replace(version, content)? {
                return Ok(());
            }
        }
    }

    /// If the key has the value `expected` (`None`: is not there), gives it the value `new` (takes it out). Otherwise says
    /// what is there. Values are the same if their CBOR is, as with keys: a `HashMap` has its pairs in another order each time.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn compare_exchange<Q: Serialize + ?Sized>(
        &self,
        key: &Q,
        expected: Option<&V>,
        new: Option<&V>,
    ) -> Result<Result<(), Option<V>>, ManagerError>
    where
        K: Borrow<Q>,
    {
        let mut bytes = Vec::new();
        if let Some(expected) = expected {
            self.proxy.within(|| C::encode(expected, &mut bytes))?;
        }
        match self.swap(key, expected.map(|_| &bytes[..]), new)? {
            Ok(()) => Ok(Ok(())),
            Err(there) => Ok(Err(there
                .map(|there| self.proxy.within(|| C::decode(&there)))
                .transpose()?)),
        }
    }

    /// The same, with the bytes that are expected, and those that are there.
    fn swap<Q: Serialize + ?Sized>(
        &self,
        key: &Q,
        expected: Option<&[u8]>,
        new: Option<&V>,
    ) -> Result<Result<(), Option<Vec<u8>>>, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.ask(
            Op::MapSwap,
            |writer| {
                item::<C>(writer, key)?;
                writer.option(expected);
                match new {
                    Some(new) => item::<C>(writer, new),
                    None => {
                        writer.option(None);
                        Ok(())
                    }
                }
            },
            |mut fields| match told(fields.u8())? {
                0 => Ok(Err(told(fields.option())?.map(<[u8]>::to_vec))),
                _ => Ok(Ok(())),
            },
        )
    }

    /// Changes the value of a key: `change` gets what is there, and says what is to be there instead (`None`: nothing), once
    /// more for each time that somebody was faster. Returns what is there now.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn fetch_update<Q: Serialize + ?Sized>(
        &self,
        key: &Q,
        mut change: impl FnMut(Option<&V>) -> Option<V>,
    ) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        // By the bytes that are there: a value need not be written as it was read.
        let mut there = self.proxy.ask(
            Op::MapGet,
            |writer| item::<C>(writer, key),
            |mut fields| Ok(told(fields.option())?.map(<[u8]>::to_vec)),
        )?;
        loop {
            let now: Option<V> = self.proxy.within(|| there.as_deref().map(C::decode).transpose())?;
            let new = change(now.as_ref());
            match self.swap(key, there.as_deref(), new.as_ref())? {
                Ok(()) => return Ok(new),
                Err(other) => there = other,
            }
        }
    }

    /// Adds to the whole number that the key has, 0 if it has none, in one step. Returns the sum.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NoNumber`], and the others.
    pub fn add<Q: Serialize + ?Sized>(&self, key: &Q, summand: i64) -> Result<i64, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.ask(
            Op::MapAdd,
            |writer| {
                writer.option(None);
                writer.u32(1);
                item::<C>(writer, key)?;
                writer.i64(summand);
                Ok(())
            },
            |mut fields| {
                told(fields.u8().and_then(|_| fields.u32()))?;
                told(fields.i64())
            },
        )
    }

    /// Waits until the key has another value than `known` (`None`: is not there), and returns that. Values are the same if
    /// their CBOR is.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Interrupted`], and the others.
    pub fn wait_for_change<Q: Serialize + ?Sized>(&self, key: &Q, known: Option<&V>) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        let changed = self.wait_until(key, known, FOREVER)?;
        told(changed)
    }

    /// As [`wait_for_change`](Self::wait_for_change), but no longer than `timeout`: then it is `None`.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Interrupted`], and the others.
    pub fn wait_for_change_timeout<Q: Serialize + ?Sized>(
        &self,
        key: &Q,
        known: Option<&V>,
        timeout: Duration,
    ) -> Result<Option<Option<V>>, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.wait_until(key, known, u64::try_from(timeout.as_nanos()).unwrap_or(FOREVER))
    }

    fn wait_until<Q: Serialize + ?Sized>(
        &self,
        key: &Q,
        known: Option<&V>,
        nanoseconds: u64,
    ) -> Result<Option<Option<V>>, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.ask_for_long(
            Op::MapWait,
            |writer| {
                item::<C>(writer, key)?;
                match known {
                    Some(value) => item::<C>(writer, value)?,
                    None => writer.option(None),
                }
                writer.u64(nanoseconds);
                Ok(())
            },
            |status, mut fields| match status {
                Status::Done => option::<C, _>(fields.option()).map(Some),
                _ => Ok(None),
            },
        )
    }
}
