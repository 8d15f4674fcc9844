//! Sets.

use std::borrow::Borrow;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::{Dict, ManagerError, proxy};

/// A set in a manager, in the order in which its members were added. CPython 3.14: `SyncManager.set`.
///
/// As a [`Dict`] without values: what is said there about requests, copies and keys holds here. What combines sets (union,
/// difference) is for copies: [`members`](Self::members) makes one, and [`extend`](Self::extend) and
/// [`update_all`](Self::update_all) put one back.
pub struct Set<T, C: Client> {
    dict: Dict<T, (), C>,
    of: PhantomData<fn() -> T>,
}

proxy!(Set[T], dict);

impl<T: Serialize + DeserializeOwned, C: Client> Set<T, C> {
    /// A new one with these members, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new(client: &C, members: impl IntoIterator<Item = T>) -> Result<Self, ManagerError> {
        let dict = Dict::new(client, members.into_iter().map(|member| (member, ())))?;
        Ok(Self { dict, of: PhantomData })
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

    /// Adds a member (CPython: `add`). Returns whether it is new.
    ///
    /// # Errors
    ///
    /// [`ManagerError`], as from every method.
    pub fn insert<Q: Serialize + ?Sized>(&self, member: &Q) -> Result<bool, ManagerError>
    where
        T: Borrow<Q>,
    {
        self.dict.set(member, &())
    }

    /// Takes a member out (CPython: `discard`; `remove` if you look at the result). Returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn remove<Q: Serialize + ?Sized>(&self, member: &Q) -> Result<bool, ManagerError>
    where
        T: Borrow<Q>,
    {
        Ok(self.dict.remove(member)?.is_some())
    }

    /// Takes out the member that was added last (CPython: `pop`, which takes any).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        Ok(self.dict.pop_item()?.map(|(member, ())| member))
    }

    /// Whether it is a member (CPython: `in`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn contains<Q: Serialize + ?Sized>(&self, member: &Q) -> Result<bool, ManagerError>
    where
        T: Borrow<Q>,
    {
        self.dict.contains_key(member)
    }

    /// Adds members, all at once (CPython: `update`, `|=`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; then nothing was changed.
    pub fn extend(&self, members: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        self.dict.update(members.into_iter().map(|member| (member, ())))
    }

    /// How many members there are.
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

    /// Takes all members out.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.dict.clear()
    }

    /// All members, in order, as they are at one moment (CPython: `copy`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn members<S: FromIterator<T>>(&self) -> Result<S, ManagerError> {
        Ok(self.dict.keys()?.into_iter().collect())
    }

    /// Changes the whole of it: `change` gets the members, and says who is to be one instead, once more for each time that
    /// somebody was faster (CPython: `&=`, `-=`, `^=`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn update_all<S: FromIterator<T> + IntoIterator<Item = T>>(
        &self,
        mut change: impl FnMut(&mut S),
    ) -> Result<(), ManagerError> {
        self.dict.update_all(|pairs: &mut Vec<(T, ())>| {
            let mut members = pairs.drain(..).map(|(member, ())| member).collect();
            change(&mut members);
            pairs.extend(members.into_iter().map(|member| (member, ())));
        })
    }
}
