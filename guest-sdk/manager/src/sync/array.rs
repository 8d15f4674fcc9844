//! Arrays.

use std::ops::RangeBounds;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::client::{Client, Proxy};
use crate::protocol::Op;
use crate::{List, ManagerError, items};

/// As many values as at first, in a manager. CPython: `SyncManager.Array`, whose type is any here.
///
/// Places are counted as in Python: from 0, or from the end if they are negative, where -1 is the last.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Array<T, C: Client>(List<T, C>);

impl<T: Serialize + DeserializeOwned, C: Client> Array<T, C> {
    /// A new one with these values, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new(client: &C, values: impl IntoIterator<Item = T>) -> Result<Self, ManagerError> {
        List::new(client, values).map(Self)
    }

    /// The one of this name, in the manager that `client` reaches: with these values if there was none. It stays as long as
    /// the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn named(client: &C, name: &str, values: impl IntoIterator<Item = T>) -> Result<Self, ManagerError> {
        let proxy = Proxy::named_with(client, Op::NamedList, name, |writer| items::<C>(writer, values))?;
        Ok(Self(List::of(proxy)))
    }

    /// The value at this place (CPython: `a[place]`).
    ///
    /// # Errors
    ///
    /// [`ManagerError::OutOfRange`], and the others, as from every method.
    pub fn get(&self, place: i64) -> Result<T, ManagerError> {
        self.0.get(place)
    }

    /// Puts a value in the place of another (CPython: `a[place] = value`).
    ///
    /// # Errors
    ///
    /// [`ManagerError::OutOfRange`], and the others.
    pub fn set(&self, place: i64, value: &T) -> Result<(), ManagerError> {
        self.0.set(place, value)
    }

    /// How many values there are.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn len(&self) -> Result<u64, ManagerError> {
        self.0.len()
    }

    /// Whether there are none.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.0.is_empty()
    }

    /// The values in a range (CPython: `a[from:to]`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn slice<R: FromIterator<T>>(&self, range: impl RangeBounds<i64>) -> Result<R, ManagerError> {
        self.0.slice(range)
    }

    /// All values, as they are at one moment.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn items<R: FromIterator<T>>(&self) -> Result<R, ManagerError> {
        self.0.items()
    }

    /// Changes all values: `change` gets what is there, once more for each time that somebody was faster.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn update(&self, mut change: impl FnMut(&mut [T])) -> Result<(), ManagerError> {
        self.0.update_all(|values| change(values))
    }
}

impl<T, C: Client> Clone for Array<T, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, C: Client> std::fmt::Debug for Array<T, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Array").field(&self.0.proxy).finish()
    }
}
