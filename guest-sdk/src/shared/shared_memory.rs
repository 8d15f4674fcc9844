use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    MappedMemory, MemoryError, SharedError,
    handle::{Handle, MEMORY},
};
use crate::host::{
    memory,
    objects::{check, check_long, object_unlink},
};

/// Memory that several workers read and write.
///
/// It has no lock; see [`Lock`](super::Lock). It goes when nobody has a handle to it any more, and what was sent in a
/// message goes with the pool.
///
/// CPython: `multiprocessing.shared_memory.SharedMemory`.
///
/// ```
/// use wasmp_guest::{Result, SharedMemory, task};
///
/// #[task]
/// fn paint(picture: SharedMemory, line: u64, color: u8) -> Result<()> {
///     const WIDTH: usize = 640;
///     Ok(picture.write(line * WIDTH as u64, &[color; WIDTH])?)
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "Handle<MEMORY>", try_from = "Handle<MEMORY>")]
pub struct SharedMemory {
    handle: Handle<MEMORY>,
    size: u64,
}

impl SharedMemory {
    /// New memory of so many bytes, all zero.
    ///
    /// # Errors
    ///
    /// The size is 0; the pool may have no more objects or share no more bytes, or this is not a wasmp worker.
    pub fn create(size: u64) -> Result<Self, SharedError> {
        Self::make(size, "")
    }

    /// New memory of so many bytes, all zero, that others can find by this name.
    ///
    /// # Errors
    ///
    /// The name is taken or cannot be one, and those of [`create`](Self::create).
    pub fn create_named(name: &str, size: u64) -> Result<Self, SharedError> {
        if name.is_empty() {
            return Err(SharedError::Invalid);
        }
        Self::make(size, name)
    }

    fn make(size: u64, name: &str) -> Result<Self, SharedError> {
        let handle = memory::make(size, name).map_err(SharedError::new)?.into();
        Ok(Self { handle, size })
    }

    /// The memory of this name.
    ///
    /// # Errors
    ///
    /// There is none, or it is something else.
    pub fn open_named(name: &str) -> Result<Self, SharedError> {
        Handle::find(name)?.try_into()
    }

    /// How many bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Copies out of the memory, from so many bytes after its start.
    ///
    /// # Errors
    ///
    /// That would be beyond the end.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        memory::read(self.number(), offset, bytes).map_err(MemoryError::new)
    }

    /// Copies into the memory, to so many bytes after its start.
    ///
    /// # Errors
    ///
    /// That would be beyond the end.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        memory::write(self.number(), offset, bytes).map_err(MemoryError::new)
    }

    /// The memory as a part of this worker's own, without copies.
    ///
    /// # Errors
    ///
    /// It is too large for that, or this worker makes an instance for each item and has no memory that stays.
    pub fn map(&self) -> Result<MappedMemory, SharedError> {
        MappedMemory::new(self)
    }

    /// From now on nobody can find it by its name or open it from a message. Who has it keeps it.
    ///
    /// # Errors
    ///
    /// [`SharedError::NotFound`]: somebody was faster.
    pub fn unlink(&self) -> Result<(), SharedError> {
        check(object_unlink(self.number())).map(drop).map_err(SharedError::new)
    }

    pub(crate) fn number(&self) -> u32 {
        self.handle.number()
    }
}

impl TryFrom<Handle<MEMORY>> for SharedMemory {
    type Error = SharedError;

    fn try_from(handle: Handle<MEMORY>) -> Result<Self, SharedError> {
        let size = check_long(memory::memory_size(handle.number())).map_err(SharedError::new)?;
        Ok(Self { handle, size })
    }
}

impl From<SharedMemory> for Handle<MEMORY> {
    fn from(memory: SharedMemory) -> Self {
        memory.handle
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedMemory({:?}, {} bytes)", self.handle, self.size)
    }
}
