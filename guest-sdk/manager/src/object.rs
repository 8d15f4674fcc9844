//! Objects of a module's own types.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, Proxy};
use crate::protocol::{Fields, Op, Status, Writer};
use crate::{ManagerError, proxy, told};

/// An object of a type of the manager's module, which lives in the manager. CPython: what a registered type makes
/// (`BaseManager.register`).
///
/// Each call is one request: it runs in the manager, while nothing else does. Who is killed while it waits for the answer
/// does not know whether the call was done; it was, or was not, as a whole, unless it has spoiled the object. What the
/// methods of a type are, its module says; `wasmp inspect` shows them. No others can be called.
///
/// A method that returns an error leaves the object as it is. One that panics, traps, exits or needs more memory than the
/// manager has spoils it, and nothing else: later calls are [`ManagerError::Spoiled`]. One that takes longer than the manager's
/// `call_timeout` is the end of the manager.
pub struct Object<C: Client> {
    proxy: Proxy<C>,
    of: PhantomData<()>,
}

proxy!(Object[], proxy);

impl<C: Client> Object<C> {
    /// A new one of this type, in the manager that `client` reaches, made with these arguments, a tuple.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Call`] if the constructor fails, [`NoSuchType`](ManagerError::NoSuchType), the others.
    pub fn new(client: &C, name: &str, args: impl Serialize) -> Result<Self, ManagerError> {
        Self::new_by(client, name, |bytes| C::encode(&args, bytes))
    }

    /// The same; `write` appends the CBOR of the array of its arguments.
    #[doc(hidden)]
    pub fn new_by(
        client: &C,
        name: &str,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
    ) -> Result<Self, ManagerError> {
        Self::make(client, Op::NewObject, name, |writer| {
            writer.item(name.as_bytes());
            writer.item_by(write)
        })
    }

    /// The one of this name, in the manager that `client` reaches: a new one of this type, made with these arguments, if
    /// there was none. It stays as long as the manager.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new); [`ManagerError::WrongType`] if the name is that of something else.
    pub fn named(client: &C, name: &str, of: &str, args: impl Serialize) -> Result<Self, ManagerError> {
        Self::named_by(client, name, of, |bytes| C::encode(&args, bytes))
    }

    /// The same; `write` appends the CBOR of the array of its arguments.
    #[doc(hidden)]
    pub fn named_by(
        client: &C,
        name: &str,
        of: &str,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
    ) -> Result<Self, ManagerError> {
        Self::make(client, Op::NamedObject, of, |writer| {
            writer.item(name.as_bytes());
            writer.item(of.as_bytes());
            writer.item_by(write)
        })
    }

    fn make(
        client: &C,
        op: Op,
        of: &str,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), ManagerError>,
    ) -> Result<Self, ManagerError> {
        let proxy = Proxy::create_by(client, op, write, |status, mut fields| match status {
            Status::Done => told(fields.id()),
            _ => Err(why_not::<C>(status, of, fields)),
        })?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// Calls a method with these arguments, a tuple, and returns its result.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Call`] if it fails, [`NoSuchMethod`](ManagerError::NoSuchMethod),
    /// [`Spoiled`](ManagerError::Spoiled), the others.
    pub fn call<A: Serialize, R: DeserializeOwned>(&self, method: &str, args: A) -> Result<R, ManagerError> {
        self.call_by(method, |bytes| C::encode(&args, bytes))
    }

    /// The same; `write` appends the CBOR of the array of its arguments.
    #[doc(hidden)]
    pub fn call_by<R: DeserializeOwned>(
        &self,
        method: &str,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
    ) -> Result<R, ManagerError> {
        self.proxy.ask_for_long(
            Op::CallMethod,
            |writer| {
                writer.item(method.as_bytes());
                writer.item_by(write)
            },
            |status, mut fields| match status {
                Status::Done => C::decode(told(fields.item())?),
                _ => Err(why_not::<C>(status, method, fields)),
            },
        )
    }
}

/// What an answer says that is not the one that was asked for.
fn why_not<C: Client>(status: Status, asked: &str, mut fields: Fields<'_>) -> ManagerError {
    let error = |item: Option<&[u8]>| told(item).and_then(C::decode).map(Box::new);
    let names = |items: Option<Vec<&[u8]>>| -> Result<Vec<String>, ManagerError> {
        let name = |item: &[u8]| String::from_utf8_lossy(item).into_owned();
        Ok(told(items)?.into_iter().map(name).collect())
    };
    let name = asked.to_owned();
    let said = match status {
        Status::Failed => error(fields.item()).map(ManagerError::Call),
        Status::Spoiled => error(fields.item()).map(ManagerError::Spoiled),
        Status::NoSuchType => names(fields.all_items()).map(|known| ManagerError::NoSuchType { name, known }),
        Status::NoSuchMethod => names(fields.all_items()).map(|exposed| ManagerError::NoSuchMethod { name, exposed }),
        _ => Err(ManagerError::Protocol),
    };
    said.unwrap_or_else(|error| error)
}
