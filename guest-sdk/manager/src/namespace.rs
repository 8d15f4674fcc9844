//! Namespaces.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, Proxy};
use crate::protocol::{KEYS, Op};
use crate::{ManagerError, flag, item, option, proxy, told};

/// Attributes of any types in a manager. CPython: `SyncManager.Namespace`, where attributes that begin with `_` are the
/// proxy's own; here all are the namespace's.
pub struct Namespace<C: Client> {
    proxy: Proxy<C>,
    of: PhantomData<()>,
}

proxy!(Namespace[], proxy);

impl<C: Client> Namespace<C> {
    /// A new one without attributes, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new(client: &C) -> Result<Self, ManagerError> {
        let proxy = Proxy::create(client, Op::NewMap, |writer| {
            writer.u32(0);
            Ok(())
        })?;
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

    /// The value of an attribute, if it is there (CPython: `ns.name`, which raises `AttributeError`).
    ///
    /// # Errors
    ///
    /// [`ManagerError::Decode`] if it is of another type; the others, as from every method.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ManagerError> {
        self.proxy.ask(
            Op::MapGet,
            |writer| item::<C>(writer, name),
            |mut fields| option::<C, _>(fields.option()),
        )
    }

    /// Gives an attribute a value (CPython: `ns.name = value`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn set(&self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), ManagerError> {
        self.proxy.ask(
            Op::MapSet,
            |writer| {
                item::<C>(writer, name)?;
                item::<C>(writer, value)
            },
            |_| Ok(()),
        )
    }

    /// Takes an attribute away (CPython: `del ns.name`). Returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn remove(&self, name: &str) -> Result<bool, ManagerError> {
        self.proxy.ask(
            Op::MapRemove,
            |writer| item::<C>(writer, name),
            |mut fields| Ok(told(fields.option())?.is_some()),
        )
    }

    /// Whether there is an attribute of this name (CPython: `hasattr`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn has(&self, name: &str) -> Result<bool, ManagerError> {
        self.proxy.ask(Op::MapContains, |writer| item::<C>(writer, name), flag)
    }

    /// Adds to an attribute that is a whole number, 0 if it is not there, in one step. Returns the sum.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NoNumber`], and the others.
    pub fn add(&self, name: &str, summand: i64) -> Result<i64, ManagerError> {
        self.proxy.ask(
            Op::MapAdd,
            |writer| {
                writer.option(None);
                writer.u32(1);
                item::<C>(writer, name)?;
                writer.i64(summand);
                Ok(())
            },
            |mut fields| {
                told(fields.u8().and_then(|_| fields.u32()))?;
                told(fields.i64())
            },
        )
    }

    /// The names of all attributes, in the order in which they were added (CPython: `dir`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn names(&self) -> Result<Vec<String>, ManagerError> {
        self.proxy.ask(
            Op::MapItems,
            |writer| {
                writer.u8(KEYS);
                Ok(())
            },
            |mut fields| {
                told(fields.u64())?;
                told(fields.all_items())?.into_iter().map(C::decode).collect()
            },
        )
    }
}
