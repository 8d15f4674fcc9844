//! How a proxy reaches its manager.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use crate::ManagerError;
use crate::protocol::{ANSWER_HEAD, Fields, Id, MAX_MESSAGE, Op, REQUEST_HEAD, Status, Writer};

/// A connection to a manager, and how values travel over it. What guests have is one, what hosts have is another.
pub trait Client: Clone + fmt::Debug + Serialize + DeserializeOwned {
    /// What an item of a [`Pool`](crate::pool::Pool) has failed with, as everywhere else where this client is.
    type TaskError: Clone + fmt::Debug + std::error::Error + DeserializeOwned;

    /// Has `write` write a request, sends it, and waits for an answer, which goes to `read`. The sequence number is for this
    /// function to put in and to compare. Should the wait for the answer be ended from outside, the manager is told that it
    /// was [given up](give_up), over the same connection.
    ///
    /// # Errors
    ///
    /// Those of `write` and `read`, and of what lies between.
    fn exchange<R>(
        &self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
        read: impl FnOnce(&[u8]) -> Result<R, ManagerError>,
    ) -> Result<R, ManagerError>;

    /// The same for a request that may wait for others: where there are only so many connections, those leave one for the
    /// others' requests.
    ///
    /// # Errors
    ///
    /// As those of [`exchange`](Self::exchange).
    fn exchange_in_time<R>(
        &self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError>,
        read: impl FnOnce(&[u8]) -> Result<R, ManagerError>,
    ) -> Result<R, ManagerError> {
        self.exchange(write, read)
    }

    /// Does what reads and writes items of this manager: in those it is `null`, so that all its clients understand what they
    /// refer to. What an exchange calls is called so.
    fn within<R>(&self, work: impl FnOnce() -> R) -> R;

    /// Writes a part of a request that is asked later. What it refers to is as good as what an exchange has written.
    ///
    /// # Errors
    ///
    /// Those of `write`, and [`ManagerError::Encode`].
    fn compose(&self, write: impl FnOnce() -> Result<(), ManagerError>) -> Result<(), ManagerError> {
        self.within(write)
    }

    /// Which thread asks, among those of one program: it is the holder of what it acquires. [`Id::NONE`]: there is one.
    #[must_use]
    fn holder() -> Id {
        Id::NONE
    }

    /// Sends a request that has no answer. A manager that is gone need not be told.
    fn tell(&self, request: &[u8]);

    /// Appends a value's CBOR.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Encode`].
    fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), ManagerError>;

    /// The value of which this is the CBOR.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Decode`].
    fn decode<T: DeserializeOwned>(item: &[u8]) -> Result<T, ManagerError>;
}

/// Puts the sequence number into a request that has been written.
///
/// # Errors
///
/// [`ManagerError::TooLarge`].
pub fn number(request: &mut [u8], sequence: u32) -> Result<(), ManagerError> {
    if request.len() > MAX_MESSAGE {
        return Err(ManagerError::TooLarge);
    }
    request[..size_of::<u32>()].copy_from_slice(&sequence.to_le_bytes());
    Ok(())
}

/// Whether this answers the request with that number; one before it is late. `None`: it is no answer.
#[must_use]
pub fn answers(answer: &[u8], sequence: u32) -> Option<bool> {
    (answer.len() >= ANSWER_HEAD).then(|| answer[..size_of::<u32>()] == sequence.to_le_bytes())
}

/// A request that says that nobody waits for the answer to the one with this number any more.
#[must_use]
pub fn give_up(sequence: u32) -> Vec<u8> {
    let mut request = Vec::with_capacity(REQUEST_HEAD + size_of::<u32>());
    let mut writer = Writer(&mut request);
    writer.request(Op::GiveUp, Id::NONE);
    writer.u32(sequence);
    request
}

/// Asks, and reads what an answer has behind its head.
pub(crate) fn ask<C: Client, R>(
    client: &C,
    (op, object): (Op, Id),
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), ManagerError>,
    read: impl FnOnce(Status, Fields<'_>) -> Result<R, ManagerError>,
) -> Result<R, ManagerError> {
    client.exchange(request((op, object), write), answer(read))
}

/// Writes a request: its head, and then what `write` writes.
fn request(
    (op, object): (Op, Id),
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), ManagerError>,
) -> impl FnOnce(&mut Vec<u8>) -> Result<(), ManagerError> {
    move |request| {
        let mut writer = Writer(request);
        writer.request(op, object);
        write(&mut writer)
    }
}

/// Reads an answer: its head, and then what `read` reads.
fn answer<R>(
    read: impl FnOnce(Status, Fields<'_>) -> Result<R, ManagerError>,
) -> impl FnOnce(&[u8]) -> Result<R, ManagerError> {
    |answer| {
        let mut fields = Fields(answer);
        let status = fields.u32().and_then(|_| fields.u8()).and_then(Status::from_code);
        read(ManagerError::of(status.ok_or(ManagerError::Protocol)?)?, fields)
    }
}

/// An object of a manager, as one process knows it.
pub(crate) struct Proxy<C: Client>(Arc<Held<C>>);

struct Held<C: Client> {
    client: C,
    id: Id,
}

impl<C: Client> Drop for Held<C> {
    fn drop(&mut self) {
        let mut request = Vec::with_capacity(REQUEST_HEAD);
        Writer(&mut request).request(Op::Release, self.id);
        self.client.tell(&request);
    }
}

impl<C: Client> Proxy<C> {
    /// A new object, of which `write` says what is in it.
    pub(crate) fn create(
        client: &C,
        op: Op,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), ManagerError>,
    ) -> Result<Self, ManagerError> {
        Self::create_by(client, op, write, |_, mut fields| {
            fields.id().ok_or(ManagerError::Protocol)
        })
    }

    /// The same, where `read` looks for the id.
    pub(crate) fn create_by(
        client: &C,
        op: Op,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), ManagerError>,
        read: impl FnOnce(Status, Fields<'_>) -> Result<Id, ManagerError>,
    ) -> Result<Self, ManagerError> {
        let id = ask(client, (op, Id::NONE), write, read)?;
        let client = client.clone();
        Ok(Self(Arc::new(Held { client, id })))
    }

    /// The object of this name, which is new if there was none.
    pub(crate) fn named(client: &C, op: Op, name: &str) -> Result<Self, ManagerError> {
        Self::named_with(client, op, name, |_| Ok(()))
    }

    /// The object of this name; of a new one `write` says what is in it.
    pub(crate) fn named_with(
        client: &C,
        op: Op,
        name: &str,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), ManagerError>,
    ) -> Result<Self, ManagerError> {
        Self::create(client, op, |writer| {
            writer.item(name.as_bytes());
            write(writer)
        })
    }

    /// Another object of the same manager, that nobody else knows of.
    pub(crate) fn sibling(&self, id: Id) -> Self {
        let client = self.0.client.clone();
        Self(Arc::new(Held { client, id }))
    }

    /// Does what reads and writes items of its manager.
    pub(crate) fn within<R>(&self, work: impl FnOnce() -> R) -> R {
        self.0.client.within(work)
    }

    /// Whether it is the same object.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }

    /// Asks something about it.
    pub(crate) fn ask<R>(
        &self,
        op: Op,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), ManagerError>,
        read: impl FnOnce(Fields<'_>) -> Result<R, ManagerError>,
    ) -> Result<R, ManagerError> {
        ask(&self.0.client, (op, self.0.id), write, |status, fields| match status {
            Status::Done => read(fields),
            _ => Err(ManagerError::Protocol),
        })
    }

    /// The same, where others are waited for and the time can be up.
    pub(crate) fn ask_for_long<R>(
        &self,
        op: Op,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), ManagerError>,
        read: impl FnOnce(Status, Fields<'_>) -> Result<R, ManagerError>,
    ) -> Result<R, ManagerError> {
        let Held { client, id } = &*self.0;
        client.exchange_in_time(request((op, *id), write), answer(read))
    }
}

impl<C: Client> Clone for Proxy<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Client> fmt::Debug for Proxy<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.client.fmt(f)
    }
}

impl<C: Client> Serialize for Proxy<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Err(ser::Error::custom(
                "a managed object can only travel to another process of wasmp",
            ));
        }
        // Before anybody can have heard of it, and let go of it.
        self.ask(Op::Keep, |_| Ok(()), |_| Ok(())).map_err(ser::Error::custom)?;
        (&self.0.client, self.0.id).serialize(serializer)
    }
}

impl<'de, C: Client> Deserialize<'de> for Proxy<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (client, id) = Deserialize::deserialize(deserializer)?;
        Ok(Self(Arc::new(Held { client, id })))
    }
}
