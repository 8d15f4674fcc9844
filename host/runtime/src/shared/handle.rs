//! A reference of the host to an object: how it is made, travels, and ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use ciborium::tag::Required;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use serde_bytes::ByteArray;
use wasmp_abi::{HANDLE_TAG, ObjectKind, Status, TOKEN_LEN};
use wasmp_ipc::{Party, Slot};

use crate::error::{Error, Result};
use crate::objects::registry::CreateError;
use crate::objects::{Entry, Object, Shape, Token};

/// A handle that has no type yet.
pub struct Handle {
    entry: Arc<Entry>,
    /// Which end of a pipe.
    end: usize,
}

impl Handle {
    /// A new object; for a pipe, the handle to its first end.
    pub(super) fn create(shape: &Shape) -> Result<Self> {
        let entry = Entry::create(shape).map_err(|error| match error {
            CreateError::Refused(Status::Invalid) => Error::Invalid("a shared object of an impossible size".into()),
            CreateError::Refused(status) => Error::Invalid(format!("a shared object was refused: {}", status.name())),
            CreateError::System(source) => Error::Start {
                what: "create a shared object",
                source,
            },
        })?;
        Ok(Self::attach(entry, 0))
    }

    /// The other end of a pipe.
    pub(super) fn other_end(&self) -> Self {
        Self::attach(Arc::clone(&self.entry), 1 - self.end)
    }

    /// A handle to what has this token.
    fn open(kind: ObjectKind, token: Token) -> std::result::Result<Self, String> {
        let (entry, end) =
            Entry::by_token(token).ok_or_else(|| format!("the {} does not exist any more", kind.name()))?;
        if entry.object().kind() != kind {
            return Err(format!(
                "expected {}, got {}",
                kind.name(),
                entry.object().kind().name()
            ));
        }
        let handle = Self::attach(entry, end);
        // An end that is gone can be held like any other: it is at its end.
        let _ = handle.entry.arrive(token, end, Slot::HOST);
        Ok(handle)
    }

    /// A handle to an object, or to this end of a pipe.
    pub(crate) fn attach(entry: Arc<Entry>, end: usize) -> Self {
        entry.host_opens(end);
        Self { entry, end }
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    pub(crate) fn end(&self) -> usize {
        self.end
    }

    #[inline]
    pub(super) fn object(&self) -> &Object {
        self.entry.object()
    }
}

/// What it is of.
impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object().fmt(f)
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::attach(Arc::clone(&self.entry), self.end)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.entry.host_closes(self.end);
    }
}

/// What can be made known by a name: see [`PoolBuilder::share`](crate::PoolBuilder::share). Implemented for every handle to
/// a single object.
pub trait Shareable: sealed::Handle {}

pub(crate) mod sealed {
    /// What a typed handle is made of.
    pub trait Handle {
        #[doc(hidden)]
        fn handle(&self) -> &super::Handle;
    }
}

/// The calling thread, as objects see it.
#[inline]
pub(super) fn with_party<R>(act: impl FnOnce(&Party) -> R) -> R {
    thread_local! {
        static PARTY: Party = Party::host();
    }
    PARTY.with(act)
}

/// The object behind a handle, whose kind its type vouches for.
macro_rules! object {
    ($handle:expr, $kind:ident) => {
        match $handle.object() {
            $crate::objects::Object::$kind(object) => object,
            _ => unreachable!("a handle's type says what it is of"),
        }
    };
}
pub(super) use object;

/// An object that a message refers to, which end of it, and by which token.
type Reference = (Arc<Entry>, usize, Token);

/// What a message refers to.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "most refer to nothing, and there may be very many of them"
)]
pub(crate) struct References(Option<Box<Vec<Reference>>>);

impl References {
    pub(crate) fn append(&mut self, others: Self) {
        match (&mut self.0, others.0) {
            (Some(references), Some(others)) => references.extend(*others),
            (none @ None, others) => *none = others,
            (Some(_), None) => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn add(&mut self, entry: Arc<Entry>, end: usize, token: Token) {
        self.0.get_or_insert_default().push((entry, end, token));
    }

    /// Lets them live as long as this object: the message goes into it.
    pub(crate) fn keep_in(&self, target: &Arc<Entry>) {
        let others = self.0.iter().flat_map(|references| references.iter());
        let others = others.filter(|(entry, _, _)| !Arc::ptr_eq(entry, target));
        target.keep(others.map(|(entry, _, _)| Arc::clone(entry)));
    }

    /// The message will not be opened any more: ends of pipes that have not arrived are not on their way.
    pub(crate) fn retract(self) {
        for (entry, end, token) in self.0.into_iter().flat_map(|references| *references) {
            if let Object::Pipe(_) = entry.object() {
                entry.take_back(token, end);
            }
        }
    }
}

thread_local! {
    /// What the message that is being written refers to.
    static REFERENCES: RefCell<Option<References>> = const { RefCell::new(None) };
}

/// Writes a message; with it comes what it refers to, which must live at least as long.
pub(crate) fn collect_references<R, E>(
    write: impl FnOnce() -> std::result::Result<R, E>,
) -> std::result::Result<(R, References), E> {
    let outer = REFERENCES.replace(Some(References::default()));
    let written = write();
    let references = REFERENCES.replace(outer).unwrap_or_default();
    match written {
        Ok(written) => Ok((written, references)),
        Err(error) => {
            references.retract();
            Err(error)
        }
    }
}

/// Tokens in messages that somebody else writes: their objects live as long as this process, or until they are unlinked.
static PINNED: LazyLock<Mutex<HashMap<Token, Arc<Entry>>>> = LazyLock::new(Mutex::default);

fn refer_to(entry: &Arc<Entry>, end: usize, token: Token) {
    let collected = REFERENCES.with_borrow_mut(|references| match references {
        Some(references) => {
            references.add(Arc::clone(entry), end, token);
            true
        }
        None => false,
    });
    if !collected {
        let mut pinned = PINNED.lock().unwrap_or_else(PoisonError::into_inner);
        pinned.insert(entry.token(0), Arc::clone(entry));
    }
}

/// Forgets that its token was handed out.
pub(super) fn unpin(entry: &Entry) {
    let mut pinned = PINNED.lock().unwrap_or_else(PoisonError::into_inner);
    pinned.remove(&entry.token(0));
}

type Travelling = Required<(u8, ByteArray<TOKEN_LEN>), HANDLE_TAG>;

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Err(ser::Error::custom(format!(
                "a {} can only travel to another process of wasmp",
                self.object().kind().name()
            )));
        }
        let token = match self.object() {
            Object::Pipe(_) => self.entry.send_off(self.end).map_err(ser::Error::custom)?,
            _ => self.entry.token(self.end),
        };
        refer_to(&self.entry, self.end, token);
        let token = ByteArray::new(token.bytes());
        Required::<_, HANDLE_TAG>((self.object().kind() as u8, token)).serialize(serializer)
    }
}

impl Handle {
    /// Reads a handle to an object of one of these kinds.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        kinds: &[ObjectKind],
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        let Required((given, token)) = Travelling::deserialize(deserializer)?;
        match kinds.iter().find(|kind| **kind as u8 == given) {
            Some(kind) => Self::open(*kind, Token::from_bytes(token.into_array())).map_err(D::Error::custom),
            None => {
                let given = ObjectKind::from_code(given).map_or("something unknown", ObjectKind::name);
                Err(D::Error::custom(format!("expected {}, got {given}", kinds[0].name())))
            }
        }
    }
}

/// What every type of handle has: it can be shared by a name, shows what it is of, and travels.
macro_rules! travels {
    ($handle:ident $(<$parameter:ident>)?, $kind:ident) => {
        impl $(<$parameter>)? $crate::shared::handle::sealed::Handle for $handle $(<$parameter>)? {
            fn handle(&self) -> &$crate::shared::handle::Handle {
                &self.handle
            }
        }

        impl $(<$parameter>)? $crate::shared::handle::Shareable for $handle $(<$parameter>)? {}

        impl $(<$parameter>)? std::fmt::Debug for $handle $(<$parameter>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.handle.fmt(f)
            }
        }

        impl $(<$parameter>)? serde::Serialize for $handle $(<$parameter>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.handle.serialize(serializer)
            }
        }

        impl<'de $(, $parameter)?> serde::Deserialize<'de> for $handle $(<$parameter>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let kind = wasmp_abi::ObjectKind::$kind;
                $crate::shared::handle::Handle::deserialize(&[kind], deserializer).map(Self::from)
            }
        }
    };
}
pub(super) use travels;
