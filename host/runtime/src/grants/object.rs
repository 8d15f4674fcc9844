//! Shared objects that are made for a pool, and known to its guests by name.

use crate::error::Result;
use crate::objects::message::is_name;
use crate::shared::{Event, Handle, Lock, Queue, Semaphore, Shareable, SharedMemory};
use crate::units;

/// A shared object that is made for the guests, which open it by its name: `Queue::named` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedObject {
    /// Its name, of 1 to 255 bytes.
    pub name: String,
    /// What it is.
    pub kind: ObjectKind,
}

/// What a [`NamedObject`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObjectKind {
    /// A [`Queue`] of at most so many messages; 0: as many as there is memory for.
    Queue(u32),
    /// A [`Lock`].
    Lock,
    /// An [`Event`].
    Event,
    /// A [`Semaphore`] with so many permits.
    Semaphore(u32),
    /// [`SharedMemory`] of so many bytes.
    SharedMemory(u64),
}

/// From texts, as they stand on a command line and in a file. An error says what it should be.
impl NamedObject {
    /// `NAME` or `NAME:MAXSIZE`.
    ///
    /// # Errors
    ///
    /// If it is neither.
    pub fn queue(text: &str) -> Result<Self, String> {
        let (name, maxsize) = match text.rsplit_once(':') {
            None => (text, 0),
            Some((text, maxsize)) => (text, number(maxsize, "how many messages it holds at most")?),
        };
        Self::new(name, ObjectKind::Queue(maxsize))
    }

    /// `NAME`.
    ///
    /// # Errors
    ///
    /// If it is empty or too long.
    pub fn lock(text: &str) -> Result<Self, String> {
        Self::new(text, ObjectKind::Lock)
    }

    /// `NAME`.
    ///
    /// # Errors
    ///
    /// If it is empty or too long.
    pub fn event(text: &str) -> Result<Self, String> {
        Self::new(text, ObjectKind::Event)
    }

    /// `NAME:VALUE`.
    ///
    /// # Errors
    ///
    /// If it is not that.
    pub fn semaphore(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("a semaphore is given as NAME:VALUE, such as {text}:4"))?;
        Self::new(name, ObjectKind::Semaphore(number(value, "how many permits it has")?))
    }

    /// `NAME:SIZE`.
    ///
    /// # Errors
    ///
    /// If it is not that.
    pub fn shared_memory(text: &str) -> Result<Self, String> {
        let (name, size) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("shared memory is given as NAME:SIZE, such as {text}:64M"))?;
        Self::new(name, ObjectKind::SharedMemory(units::size(size)?))
    }

    fn new(name: &str, kind: ObjectKind) -> Result<Self, String> {
        match (name.is_empty(), is_name(name)) {
            (true, _) => Err("it needs a name".to_owned()),
            (_, false) => Err("a name has at most 255 bytes, and no NUL among them".to_owned()),
            _ => Ok(Self {
                name: name.to_owned(),
                kind,
            }),
        }
    }

    /// Makes it.
    pub(crate) fn make(&self) -> Result<Handle> {
        match self.kind {
            ObjectKind::Queue(maxsize) => Ok(handle(&Queue::<()>::new(maxsize)?)),
            ObjectKind::Lock => Ok(handle(&Lock::new()?)),
            ObjectKind::Event => Ok(handle(&Event::new()?)),
            ObjectKind::Semaphore(value) => Ok(handle(&Semaphore::new(value)?)),
            ObjectKind::SharedMemory(size) => Ok(handle(&SharedMemory::create(size)?)),
        }
    }
}

fn handle(object: &impl Shareable) -> Handle {
    object.handle().clone()
}

fn number(text: &str, what: &str) -> Result<u32, String> {
    let number = text.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("`{text}` is not a number; after the colon stands {what}"))
}
