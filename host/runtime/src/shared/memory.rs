//! Memory.

use wasmp_ipc::SharedBytes;

use super::error::{MemoryError, SharedError};
use super::handle::{Handle, object, travels, unpin};
use crate::error::Result;
use crate::objects::{Entry, Shape};

/// Memory that several processes read and write.
///
/// It has no lock; see [`Lock`](super::Lock). Numbers of 1, 2, 4 or 8 bytes that lie at a multiple of their size are
/// copied as a whole; larger pieces may be mixed of several writes. The memory goes when nobody has a handle to it any
/// more.
///
/// CPython: `multiprocessing.shared_memory.SharedMemory`.
///
/// ```no_run
/// use wasmp::{Pool, SharedMemory};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let picture = SharedMemory::create(640 * 480)?;
/// let _: Vec<()> = pool.starmap("paint", (0..480_u64).map(|line| (&picture, line, 0x7f)))?;
/// let mut first = [0; 640];
/// picture.read(0, &mut first)?;
/// assert_eq!(first, [0x7f; 640]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    handle: Handle,
}

impl From<Handle> for SharedMemory {
    fn from(handle: Handle) -> Self {
        Self { handle }
    }
}

travels!(SharedMemory, Memory);

impl SharedMemory {
    /// New memory of so many bytes, all zero.
    ///
    /// # Errors
    ///
    /// The size is 0 or beyond 1 TiB, or the system has no memory or no descriptor for it.
    pub fn create(size: u64) -> Result<Self> {
        Handle::create(&Shape::Memory { size }).map(Self::from)
    }

    /// How many bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes().size() as u64
    }

    /// Copies out of the memory, from so many bytes after its start.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfRange`]: that would be beyond the end.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        Ok(self.bytes().read(place(offset)?, bytes)?)
    }

    /// Copies into the memory, to so many bytes after its start.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfRange`]: that would be beyond the end. Nothing was written.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        Ok(self.bytes().write(place(offset)?, bytes)?)
    }

    /// From now on nobody can open it from a message. Who has it keeps it.
    ///
    /// # Errors
    ///
    /// [`SharedError::NotFound`]: somebody was faster.
    pub fn unlink(&self) -> Result<(), SharedError> {
        let entry = self.handle.entry();
        if Entry::by_token(entry.token(0)).is_none() {
            return Err(SharedError::NotFound);
        }
        entry.unlink();
        unpin(entry);
        Ok(())
    }

    pub(super) fn bytes(&self) -> &SharedBytes {
        object!(self.handle, Memory)
    }
}

fn place(offset: u64) -> Result<usize, MemoryError> {
    usize::try_from(offset).map_err(|_| MemoryError::OutOfRange)
}
