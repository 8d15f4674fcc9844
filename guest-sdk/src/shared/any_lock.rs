use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};
use wasmp_abi::ObjectKind;

use super::{
    Lock, LockGuard, RLock, SharedError,
    handle::{Handle, Token},
};
use crate::host::objects::Timeout;

/// A lock of either kind: what a [`Condition`](super::Condition), a [`Value`](super::Value) or an
/// [`Array`](super::Array) goes with.
///
/// ```
/// use wasmp_guest::{AnyLock, Array, Result, Value};
///
/// /// Both under one lock.
/// fn stock() -> Result<(Value<u64>, Array<u32>)> {
///     let total = Value::new(0)?;
///     let parts = Array::with_lock(100, total.get_lock())?;
///     Ok((total, parts))
/// }
/// # assert!(stock().is_err());
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum AnyLock {
    /// One that any worker may release.
    Lock(Lock),
    /// One that its owner may take again.
    RLock(RLock),
}

impl AnyLock {
    /// See [`Lock::lock`].
    ///
    /// # Errors
    ///
    /// As those of [`Lock::lock`].
    pub fn lock(&self) -> Result<LockGuard<'_>, SharedError> {
        LockGuard::wait(self.number())
    }

    /// See [`Lock::lock_timeout`].
    ///
    /// # Errors
    ///
    /// As those of [`Lock::lock`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_>>, SharedError> {
        LockGuard::acquire(self.number(), timeout.into())
    }

    /// See [`Lock::try_lock`].
    ///
    /// # Errors
    ///
    /// As those of [`Lock::lock`].
    pub fn try_lock(&self) -> Result<Option<LockGuard<'_>>, SharedError> {
        LockGuard::acquire(self.number(), Timeout::POLL)
    }

    pub(crate) fn number(&self) -> u32 {
        match self {
            Self::Lock(lock) => lock.number(),
            Self::RLock(lock) => lock.number(),
        }
    }
}

impl From<&Lock> for AnyLock {
    fn from(lock: &Lock) -> Self {
        Self::Lock(lock.clone())
    }
}

impl From<&RLock> for AnyLock {
    fn from(lock: &RLock) -> Self {
        Self::RLock(lock.clone())
    }
}

impl From<&Self> for AnyLock {
    fn from(lock: &Self) -> Self {
        lock.clone()
    }
}

impl<'de> Deserialize<'de> for AnyLock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let token = Token::deserialize(deserializer)?;
        match token.kind {
            ObjectKind::RLock => Handle::open(&token).map(RLock).map(Self::RLock),
            _ => Handle::open(&token).map(Lock).map(Self::Lock),
        }
        .map_err(de::Error::custom)
    }
}
