//! What guests and hosts of wasmp share of a manager: its [protocol], and typed proxies of what it manages.
//!
//! `wasmp` and `wasmp-guest` have these types under the same names, with a [`Client`] of their own filled in: use those.
//! CPython: `multiprocessing.managers`.

mod client;
mod counter;
mod dict;
mod error;
mod list;
mod namespace;
mod object;
pub mod pool;
pub mod protocol;
mod set;
mod snapshot;
pub mod sync;
mod tls;

pub use client::{Client, answers, give_up, number};
pub use counter::Counter;
pub use dict::Dict;
pub use error::{CallError, ManagerError};
pub use list::List;
pub use namespace::Namespace;
pub use object::Object;
pub use set::Set;
pub use snapshot::{SnapshotError, load, save};
pub use tls::TlsError;

use client::ask;
use protocol::{Fields, Id, MAX_ITEMS, Op, Writer};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How much a manager holds: see `Manager::usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Usage {
    /// How many objects.
    pub objects: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// How many they may take.
    pub max_bytes: u64,
}

/// How much a manager holds.
///
/// # Errors
///
/// [`ManagerError`].
pub fn usage<C: Client>(client: &C) -> Result<Usage, ManagerError> {
    ask(
        client,
        (Op::Usage, Id::NONE),
        |_| Ok(()),
        |_, mut fields| {
            Ok(Usage {
                objects: told(fields.u64())?,
                bytes: told(fields.u64())?,
                max_bytes: told(fields.u64())?,
            })
        },
    )
}

/// Ends a manager.
///
/// # Errors
///
/// [`ManagerError`]; that it is gone already is none.
pub fn shut_down<C: Client>(client: &C) -> Result<(), ManagerError> {
    match ask(client, (Op::ShutDown, Id::NONE), |_| Ok(()), |_, _| Ok(())) {
        Err(ManagerError::Gone) => Ok(()),
        other => other,
    }
}

/// What an answer has to have.
fn told<T>(field: Option<T>) -> Result<T, ManagerError> {
    field.ok_or(ManagerError::Protocol)
}

fn flag(mut fields: Fields<'_>) -> Result<bool, ManagerError> {
    Ok(told(fields.u8())? != 0)
}

fn count(mut fields: Fields<'_>) -> Result<u64, ManagerError> {
    told(fields.u64())
}

fn option<C: Client, T: DeserializeOwned>(item: Option<Option<&[u8]>>) -> Result<Option<T>, ManagerError> {
    told(item)?.map(C::decode).transpose()
}

/// Writes a value as an item.
fn item<C: Client>(writer: &mut Writer<'_>, value: &(impl Serialize + ?Sized)) -> Result<(), ManagerError> {
    writer.item_by(|bytes| C::encode(value, bytes))
}

/// Writes values as items.
fn items<C: Client>(
    writer: &mut Writer<'_>,
    values: impl IntoIterator<Item = impl Serialize>,
) -> Result<(), ManagerError> {
    writer.counted(|writer| {
        let mut count = 0;
        for value in values {
            item::<C>(writer, &value)?;
            count += 1;
        }
        few_enough(count)
    })
}

/// Writes keys, and behind each its value, as items.
fn pairs<C: Client>(
    writer: &mut Writer<'_>,
    pairs: impl IntoIterator<Item = (impl Serialize, impl Serialize)>,
) -> Result<(), ManagerError> {
    writer.counted(|writer| {
        let mut count = 0;
        for (key, value) in pairs {
            item::<C>(writer, &key)?;
            item::<C>(writer, &value)?;
            count += 2;
        }
        few_enough(count)
    })
}

/// How many items there are, if a request may have so many.
fn few_enough(count: usize) -> Result<u32, ManagerError> {
    let few = u32::try_from(count).ok().filter(|_| count <= MAX_ITEMS);
    few.ok_or(ManagerError::TooLarge)
}

/// Reads keys, and behind each its value.
fn read_pairs<C: Client, T: FromIterator<(K, V)>, K: DeserializeOwned, V: DeserializeOwned>(
    items: Option<Vec<&[u8]>>,
) -> Result<T, ManagerError> {
    let items = told(items)?;
    let (pairs, rest) = items.as_chunks();
    if !rest.is_empty() {
        return Err(ManagerError::Protocol);
    }
    pairs
        .iter()
        .map(|[key, value]| Ok((C::decode(key)?, C::decode(value)?)))
        .collect()
}

/// What every proxy has: it is cheap to clone, shows which manager it belongs to, and travels. All of it is that of one field.
macro_rules! proxy {
    ($name:ident [$($parameter:ident)*], $field:ident) => {
        impl<$($parameter,)* C: Client> Clone for $name<$($parameter,)* C> {
            fn clone(&self) -> Self {
                let $field = self.$field.clone();
                Self { $field, of: PhantomData }
            }
        }

        impl<$($parameter,)* C: Client> std::fmt::Debug for $name<$($parameter,)* C> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.$field).finish()
            }
        }

        impl<$($parameter,)* C: Client> serde::Serialize for $name<$($parameter,)* C> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.$field.serialize(serializer)
            }
        }

        impl<'de, $($parameter,)* C: Client> serde::Deserialize<'de> for $name<$($parameter,)* C> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let $field = serde::Deserialize::deserialize(deserializer)?;
                Ok(Self { $field, of: PhantomData })
            }
        }
    };
}
pub(crate) use proxy;
