//! Memory that one process writes, and that others then have copies of, page by page as they change them.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::SealFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, MremapFlags, ProtFlags};

use crate::memory::{Mapping, SIZE_SEALS, sealable_memfd};

/// A memfd of so many bytes, all zero, to be written by whoever maps it, until it is [sealed](seal).
///
/// # Errors
///
/// What the system has against it.
pub fn original(name: &str, len: usize) -> io::Result<OwnedFd> {
    let fd = sealable_memfd(name, len)?;
    rustix::fs::fcntl_add_seals(&fd, SIZE_SEALS)?;
    Ok(fd)
}

/// Sees to it that nobody changes an [`original`] any more.
///
/// # Errors
///
/// `ResourceBusy` if somebody still has it mapped to write, or, after some 0.15 s, if the system itself is busy with one of its
/// pages, as when it looks for memory that nobody uses.
pub fn seal(original: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(original, SealFlags::WRITE)?)
}

/// A copy of an [`original`] that is [sealed](seal).
#[derive(Debug)]
pub struct Duplicate {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its range of memory, which nobody changes.
unsafe impl Send for Duplicate {}
// SAFETY: as for `Send`.
unsafe impl Sync for Duplicate {}

impl Duplicate {
    /// Maps one of `len` bytes. `None` if it is not [sealed](seal).
    ///
    /// # Errors
    ///
    /// What the system has against it.
    ///
    /// # Safety
    ///
    /// It is an [`original`] of so many bytes. Who is locked down cannot ask the system for that.
    pub unsafe fn of_host(fd: BorrowedFd<'_>, len: usize) -> io::Result<Option<Duplicate>> {
        // Nor for its seals, but what is sealed cannot be mapped to be written, and says so by this error and by no other: who
        // may not map it for another reason does not learn whether it is sealed.
        match Mapping::of_host(fd, len) {
            Ok(_) => return Ok(None),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {}
            Err(error) => return Err(error),
        }
        // Not writable yet, so that it does not count as memory of this process.
        // SAFETY: a null hint without MAP_FIXED: the kernel picks an unused range, so that no memory in use changes.
        let start = unsafe { rustix::mm::mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, fd, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Some(Duplicate { start, len }))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped until `self` is dropped, and an original that was found to be sealed: so nobody changes it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Puts the first `len` bytes, whole pages, in place of what is at `address`. False if there are not so many, or if the
    /// system refuses; what is there then is nobody's to use.
    ///
    /// # Safety
    ///
    /// The `len` bytes at `address` belong to the caller, and may be written.
    pub unsafe fn move_to(mut self, len: usize, address: *mut u8) -> bool {
        if len == 0 || len > self.len {
            return false;
        }
        let start = self.start.as_ptr();
        // SAFETY: the whole pages at `start` are this value's, which gives them up below, and the target is the caller's.
        let moved = unsafe { rustix::mm::mremap_fixed(start.cast(), len, len, MremapFlags::MAYMOVE, address.cast()) };
        if moved.is_err() {
            return false;
        }
        self.len -= len;
        // SAFETY: inside of the old range, or one past it; what is left to drop is what was not moved.
        self.start = unsafe { self.start.add(len) };
        // SAFETY: what was moved is there now, and the caller's.
        unsafe { rustix::mm::mprotect(address.cast(), len, MprotectFlags::READ | MprotectFlags::WRITE) }.is_ok()
    }
}

impl Drop for Duplicate {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the range came from `mmap` and was not moved away; no borrow of its bytes outlives this value.
            let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::Arc;

    use super::*;
    use crate::map_zeroes;

    const PAGES: usize = 64 << 10;

    fn written(bytes: &[u8]) -> OwnedFd {
        let original = original("original", PAGES + bytes.len()).unwrap();
        let mapping = Arc::new(Mapping::of_host(original.as_fd(), PAGES + bytes.len()).unwrap());
        mapping.region(0, 4).unwrap().write(0, b"page");
        mapping.region(PAGES, bytes.len()).unwrap().write(0, bytes);
        drop(mapping);
        seal(original.as_fd()).unwrap();
        original
    }

    /// A copy of an original, which has so many bytes.
    fn copy(original: &OwnedFd, len: usize) -> Option<Duplicate> {
        // SAFETY: that is what it is.
        unsafe { Duplicate::of_host(original.as_fd(), len) }.unwrap()
    }

    #[test]
    fn a_copy_has_what_was_written_and_changes_by_itself() {
        let original = written(b"rest");
        let copies = [(); 2].map(|()| copy(&original, PAGES + 4).unwrap());
        assert_eq!(&copies[0].bytes()[PAGES..], b"rest");
        let (_, target) = Mapping::create("target", PAGES).unwrap();
        let target = Arc::new(target);
        let place = target.region(0, PAGES).unwrap();
        let [first, second] = copies;
        // SAFETY: the whole of the mapping, which nothing else uses.
        unsafe {
            assert!(first.move_to(PAGES, place_of(&target)));
        }
        let mut bytes = [0; 4];
        place.read(0, &mut bytes);
        assert_eq!(&bytes, b"page");
        place.write(0, b"mine");
        assert_eq!(&second.bytes()[..4], b"page");
        // SAFETY: as above.
        unsafe { assert!(map_zeroes(place_of(&target), PAGES)) };
    }

    fn place_of(mapping: &Mapping) -> *mut u8 {
        mapping
            .slice::<std::sync::atomic::AtomicU8>(0, 1)
            .unwrap()
            .as_ptr()
            .cast_mut()
            .cast()
    }

    #[test]
    fn what_is_still_mapped_cannot_be_sealed_and_what_is_sealed_cannot_be_written() {
        let original = original("original", PAGES).unwrap();
        let mapping = Mapping::of_host(original.as_fd(), PAGES).unwrap();
        let busy = seal(original.as_fd()).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        assert!(copy(&original, PAGES).is_none(), "it is mapped");
        drop(mapping);
        assert!(copy(&original, PAGES).is_none(), "it can be mapped");
        seal(original.as_fd()).unwrap();
        assert!(copy(&original, PAGES).is_some());
        assert!(Mapping::of_host(original.as_fd(), PAGES).is_err());
    }

    #[test]
    fn more_than_there_is_cannot_be_moved() {
        let original = written(b"rest");
        let copy = copy(&original, PAGES + 4).unwrap();
        let (_, target) = Mapping::create("target", 2 * PAGES).unwrap();
        // SAFETY: as above.
        unsafe { assert!(!copy.move_to(2 * PAGES, place_of(&target))) };
    }
}
