//! Shared memory: copies, atomic operations, and the object itself in this instance's memory.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64},
};

use wasmp_abi::{Atomic, MAP_UNIT, Status};

use super::objects::{Object, check};

imports! {
    safe fn memory_size(handle: u32) -> i64;

    unsafe fn memory_new(size: u64, name: *const u8, length: usize) -> i32;
    unsafe fn memory_read(handle: u32, offset: u64, buffer: *mut u8, length: usize) -> i32;
    unsafe fn memory_write(handle: u32, offset: u64, bytes: *const u8, length: usize) -> i32;
    unsafe fn memory_atomic(
        handle: u32,
        operation: u32,
        width: u32,
        offset: u64,
        operand: u64,
        expected: u64,
        old: *mut u64
    ) -> i32;
    unsafe fn memory_map(handle: u32, offset: u64, address: *mut u8, length: usize) -> i32;
    unsafe fn memory_unmap(address: *mut u8, length: usize) -> i32;
}

/// New memory; without a name if that is empty.
pub(crate) fn make(size: u64, name: &str) -> Result<Object, Status> {
    // SAFETY: the host reads the name before it returns.
    Object::made(unsafe { memory_new(size, name.as_ptr(), name.len()) })
}

/// Copies out of memory.
pub(crate) fn read(memory: u32, offset: u64, bytes: &mut [u8]) -> Result<(), Status> {
    // SAFETY: the host writes these bytes before it returns.
    check(unsafe { memory_read(memory, offset, bytes.as_mut_ptr(), bytes.len()) }).map(drop)
}

/// Copies into memory.
pub(crate) fn write(memory: u32, offset: u64, bytes: &[u8]) -> Result<(), Status> {
    // SAFETY: the host reads these bytes before it returns.
    check(unsafe { memory_write(memory, offset, bytes.as_ptr(), bytes.len()) }).map(drop)
}

/// One atomic operation on a number of so many bytes; the result is the old one.
pub(crate) fn atomic(
    memory: u32,
    operation: Atomic,
    width: usize,
    offset: u64,
    operand: u64,
    expected: u64,
) -> Result<u64, Status> {
    let mut old = 0;
    // SAFETY: the host writes eight bytes before it returns.
    let result = unsafe {
        memory_atomic(
            memory,
            operation as u32,
            width as u32,
            offset,
            operand,
            expected,
            &raw mut old,
        )
    };
    check(result).map(|_| old)
}

/// Memory of this instance in which a whole memory object stands, until this is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    /// The object's size, in whole units.
    layout: Layout,
}

impl Mapping {
    pub(crate) fn new(memory: u32, size: usize) -> Result<Self, Status> {
        const UNIT: usize = MAP_UNIT as usize;

        let layout = size
            .checked_next_multiple_of(UNIT)
            .and_then(|size| Layout::from_size_align(size, UNIT).ok())
            .filter(|layout| layout.size() > 0)
            .ok_or(Status::Invalid)?;
        // SAFETY: the layout has a size.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: the range has just been allocated; nothing else points into it.
        let result = unsafe { memory_map(memory, 0, start.as_ptr(), layout.size()) };
        if let Err(status) = check(result) {
            // SAFETY: it was allocated with this layout, and nothing was mapped.
            unsafe { dealloc(start.as_ptr(), layout) };
            return Err(status);
        }
        Ok(Self { start, layout })
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The numbers in the first `size` bytes.
    pub(crate) fn view<N: AtomicNumber>(&self, size: usize) -> &[N] {
        let length = size.min(self.layout.size()) / size_of::<N>();
        // SAFETY: the range is this mapping's for as long as the result can be used, it is aligned to more than any
        // number, and an atomic one may have any bits and be changed by others at any time.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: whoever has used this memory has borrowed this mapping.
        let result = unsafe { memory_unmap(self.as_ptr(), self.layout.size()) };
        // What could not be taken back is still shared: the allocator must not have it.
        if check(result).is_ok() {
            // SAFETY: it was allocated with this layout.
            unsafe { dealloc(self.as_ptr(), self.layout) };
        }
    }
}

/// The atomic integers of the standard library, from [`AtomicU8`] to [`AtomicI64`]: what mapped memory can be looked at
/// as.
///
/// It cannot be implemented elsewhere.
pub trait AtomicNumber: sealed::AnyBits {}

mod sealed {
    /// Has no invalid bits, no padding, and may change behind a shared reference.
    ///
    /// # Safety
    ///
    /// As it says.
    pub unsafe trait AnyBits {}
}

macro_rules! atomic_numbers {
    ($($ty:ty)*) => {$(
        // SAFETY: an integer in an `UnsafeCell`.
        unsafe impl sealed::AnyBits for $ty {}
        impl AtomicNumber for $ty {}
    )*};
}

atomic_numbers!(AtomicU8 AtomicI8 AtomicU16 AtomicI16 AtomicU32 AtomicI32 AtomicU64 AtomicI64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_mapped_is_given_back_to_the_allocator() {
        assert_eq!(Mapping::new(1, 100_000).unwrap_err(), Status::Unsupported);
        assert_eq!(Mapping::new(1, 0).unwrap_err(), Status::Invalid);
        assert_eq!(Mapping::new(1, usize::MAX).unwrap_err(), Status::Invalid);
    }
}
