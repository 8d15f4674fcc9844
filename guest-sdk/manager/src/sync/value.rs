//! Single values.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::client::{Client, Proxy};
use crate::protocol::Op;
use crate::{Dict, ManagerError, pairs};

/// One value, in a manager. CPython: `SyncManager.Value`, whose type is any here.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Value<T, C: Client>(Dict<(), T, C>);

impl<T: Serialize + DeserializeOwned, C: Client> Value<T, C> {
    /// A new one, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new(client: &C, value: T) -> Result<Self, ManagerError> {
        Dict::new(client, [((), value)]).map(Self)
    }

    /// The one of this name, in the manager that `client` reaches: with this value if there was none. It stays as long as the
    /// manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn named(client: &C, name: &str, value: T) -> Result<Self, ManagerError> {
        let proxy = Proxy::named_with(client, Op::NamedMap, name, |writer| pairs::<C>(writer, [((), value)]))?;
        Ok(Self(Dict::of(proxy)))
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// [`ManagerError`], as from every method.
    pub fn get(&self) -> Result<T, ManagerError> {
        crate::told(self.0.get(&())?)
    }

    /// Puts another in its place.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn set(&self, value: &T) -> Result<(), ManagerError> {
        self.0.set(&(), value).map(drop)
    }

    /// Adds to a whole number, in one step. Returns the sum.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NoNumber`], and the others.
    pub fn add(&self, summand: i64) -> Result<i64, ManagerError> {
        self.0.add(&(), summand)
    }

    /// Changes the value: `change` gets what is there, and says what is to be there instead, once more for each time that
    /// somebody was faster. Returns what is there now.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn update(&self, mut change: impl FnMut(&T) -> T) -> Result<T, ManagerError> {
        crate::told(self.0.fetch_update(&(), |value| value.map(&mut change))?)
    }

    /// Waits until it is another than `known`, and returns that. Values are the same if their CBOR is.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Interrupted`], and the others.
    pub fn wait_for_change(&self, known: &T) -> Result<T, ManagerError> {
        crate::told(self.0.wait_for_change(&(), Some(known))?)
    }

    /// As [`wait_for_change`](Self::wait_for_change), but no longer than `timeout`: then it is `None`.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Interrupted`], and the others.
    pub fn wait_for_change_timeout(&self, known: &T, timeout: Duration) -> Result<Option<T>, ManagerError> {
        let changed = self.0.wait_for_change_timeout(&(), Some(known), timeout)?;
        Ok(changed.flatten())
    }
}

impl<T, C: Client> Clone for Value<T, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, C: Client> std::fmt::Debug for Value<T, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Value").field(&self.0.proxy).finish()
    }
}
