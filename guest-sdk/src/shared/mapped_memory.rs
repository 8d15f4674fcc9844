use super::{SharedError, SharedMemory};
use crate::{AtomicNumber, host::memory::Mapping};

/// [`SharedMemory`] as a part of this worker's own memory, until it is dropped.
///
/// Others write to it at any time, so there are no plain references into it: only atomic numbers, and a pointer for
/// those who know what they do. What an access means depends on how the guest is compiled:
///
/// * With `-Ctarget-feature=+atomics`, an atomic operation is one, also for other workers.
/// * Without, it is a plain load, or a load and a store. Each happens once, as it is written, but others may come
///   between them. Hold a [`Lock`](super::Lock) around what belongs together: to take or release it is also a barrier,
///   for the compiler and for the processor.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use wasmp_guest::{Result, Lock, SharedMemory, task};
///
/// /// Counts bytes.
/// #[task]
/// fn histogram(bytes: &[u8], counts: SharedMemory, lock: Lock) -> Result<()> {
///     let counts = counts.map()?;
///     let counts = counts.atomics::<AtomicU32>();
///     let _guard = lock.lock()?;
///     for &byte in bytes {
///         let count = &counts[usize::from(byte)];
///         count.store(count.load(Relaxed) + 1, Relaxed);
///     }
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct MappedMemory {
    mapping: Mapping,
    size: usize,
}

impl MappedMemory {
    pub(crate) fn new(memory: &SharedMemory) -> Result<Self, SharedError> {
        let size = usize::try_from(memory.size()).map_err(|_| SharedError::Invalid)?;
        let mapping = Mapping::new(memory.number(), size).map_err(SharedError::new)?;
        Ok(Self { mapping, size })
    }

    /// How many bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Where it starts, at a multiple of 64 KiB. Use it as what others change at any time: with atomic or volatile
    /// accesses, and under a lock.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.mapping.as_ptr()
    }

    /// All of it as numbers of this type; what is left over at the end is not among them.
    #[must_use]
    pub fn atomics<N: AtomicNumber>(&self) -> &[N] {
        self.mapping.view(self.size)
    }
}
