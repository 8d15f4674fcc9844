//! Memory that two processes share: a sealed memfd, mapped.
//!
//! [`Mapping`] owns the mapped range. What is in it is reached through [`View`], a typed look at a header made of
//! atomics, and [`Region`], a range of bytes to copy into and out of.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, MremapFlags, ProtFlags};

/// What keeps the size of a mapped memfd as it is: a file truncated under a mapping kills whoever touches it (SIGBUS).
pub(crate) const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// Alignment of what different processes write alternately. Processors fetch cache lines in pairs.
pub(crate) const LINE: usize = 128;

/// What is given back to the system begins and ends at multiples of this, which every system's pages fit into. The size
/// of its own pages is more than a worker can ask for: it may not read `/proc`.
const PAGE: usize = 64 << 10;

/// A word that has its cache line to itself.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(crate) struct Line<W>(pub(crate) W);

/// A memfd mapped into this process, shared with whoever else maps it.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is reached only through atomics and through `Region`'s copies, which may run on any thread; the
// mapping itself changes in `drop` alone.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Creates a memfd of `len` zeroed bytes, seals its size for good, and maps it.
    ///
    /// `name` is what `/proc/*/maps` shows; it need not be unique. The descriptor is what another process needs for
    /// [`open`](Self::open); the mapping does not need it. Pages come when they are first touched: filling them in advance
    /// is cheaper for each, but a ring of which little is used would pay for all of it whenever a worker starts.
    pub fn create(name: &str, len: usize) -> io::Result<(OwnedFd, Mapping)> {
        let fd = sealable_memfd(name, len)?;
        rustix::fs::fcntl_add_seals(&fd, SIZE_SEALS | SealFlags::SEAL)?;
        let mapping = Mapping::map(fd.as_fd(), len)?;
        Ok((fd, mapping))
    }

    /// Maps a memfd that another process has created.
    ///
    /// # Errors
    ///
    /// `InvalidData` if its size is not `len`, or if its size could change later.
    pub fn open(fd: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        let seals = rustix::fs::fcntl_get_seals(fd)?;
        if !seals.contains(SIZE_SEALS) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "shared memory is not sealed against resizing",
            ));
        }
        // After the seals: what is read now stays true.
        let size = rustix::fs::fstat(fd)?.st_size;
        if usize::try_from(size) != Ok(len) {
            let message = format!("shared memory has {size} bytes instead of {len}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Mapping::map(fd, len)
    }

    /// Maps a memfd as its creator describes it, who is trusted: for a process that may not ask the system about it.
    pub fn of_host(fd: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        Mapping::map(fd, len)
    }

    /// Maps `len` bytes from `offset` once more, in place of what is at `address`. Whole pages; false if they are not
    /// inside of the mapping, or if the system refuses.
    ///
    /// # Safety
    ///
    /// The `len` bytes at `address` belong to the caller, who expects them to change at any time from now on.
    pub unsafe fn map_again(&self, offset: usize, len: usize, address: *mut u8) -> bool {
        let Some(source) = self.range(offset, len).filter(|_| len > 0) else {
            return false;
        };
        let flags = MremapFlags::MAYMOVE;
        // SAFETY: an old length of zero leaves this mapping as it is, and makes another one of the same pages, which
        // takes the place of what the caller gives away.
        unsafe { rustix::mm::mremap_fixed(source.as_ptr().cast(), 0, len, flags, address.cast()) }.is_ok()
    }

    fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        // SAFETY: a null hint without MAP_FIXED: the kernel picks an unused range, so that no memory in use changes.
        let start = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, len })
    }

    /// Number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty range cannot be mapped")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// A look at the header of type `T` at byte `offset`; `None` if it is not inside of the mapping, or misaligned.
    pub(crate) fn view<T: SharedLayout>(self: &Arc<Self>, offset: usize) -> Option<View<T>> {
        let start = self.range(offset, size_of::<T>())?.cast::<T>();
        start.is_aligned().then(|| View {
            start,
            _mapping: Arc::clone(self),
        })
    }

    /// A look at the `count` values of type `T` from byte `offset`; `None` as for [`view`](Self::view).
    pub(crate) fn array<T: SharedLayout>(self: &Arc<Self>, offset: usize, count: usize) -> Option<View<[T]>> {
        Some(View {
            start: self.slice(offset, count)?.into(),
            _mapping: Arc::clone(self),
        })
    }

    /// The `count` values of type `T` from byte `offset`, for a short look; `None` as for [`view`](Self::view).
    #[inline]
    pub(crate) fn slice<T: SharedLayout>(&self, offset: usize, count: usize) -> Option<&[T]> {
        let start = self.range(offset, count.checked_mul(size_of::<T>())?)?.cast::<T>();
        if !start.is_aligned() {
            return None;
        }
        // SAFETY: aligned, inside of the mapping, which outlives the reference, and a `SharedLayout` is valid whatever is
        // in the memory.
        Some(unsafe { NonNull::slice_from_raw_parts(start, count).as_ref() })
    }

    /// The `len` bytes from byte `offset`; `None` if they are not inside of the mapping.
    pub fn region(self: &Arc<Self>, offset: usize, len: usize) -> Option<Region> {
        let start = self.range(offset, len)?;
        Some(Region {
            start,
            len,
            _mapping: Arc::clone(self),
        })
    }

    #[inline]
    fn range(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(len)?;
        // SAFETY: `offset <= end <= self.len`: the result is inside of the mapped range or one past it.
        (end <= self.len).then(|| unsafe { self.start.add(offset) })
    }
}

/// A memfd of `len` zeroed bytes.
pub(crate) fn sealable_memfd(name: &str, len: usize) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        result => result?,
    };
    rustix::fs::ftruncate(&fd, len as u64)?;
    Ok(fd)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range came from `mmap`; views and regions keep the mapping alive, so nothing points into it now.
        // An error is impossible for a whole mapping, and would leave it mapped, which is safe.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Puts fresh zeroes in place of what is at `address`. Whole pages; false if the system refuses.
///
/// # Safety
///
/// The `len` bytes at `address` belong to the caller, who expects nothing else than zeroes there.
pub unsafe fn map_zeroes(address: *mut u8, len: usize) -> bool {
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
    // SAFETY: what the new mapping takes the place of is the caller's.
    unsafe { rustix::mm::mmap_anonymous(address.cast(), len, access, flags) }.is_ok()
}

/// A type that may be looked at in shared memory.
///
/// # Safety
///
/// `repr(C)`, made of atomics and padding only, so that every content is a valid value and every access is atomic
/// whatever the peer does; and without drop glue.
pub(crate) unsafe trait SharedLayout: Send + Sync + 'static {}

/// A typed look at a header in a mapping, which it keeps alive.
#[derive(Debug)]
pub struct View<T: ?Sized> {
    start: NonNull<T>,
    _mapping: Arc<Mapping>,
}

// SAFETY: it hands out `&T` only, like `Arc<T>`.
unsafe impl<T: ?Sized + Send + Sync> Send for View<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: ?Sized + Send + Sync> Sync for View<T> {}

impl<T: ?Sized> Deref for View<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `view` or `array` checked alignment and bounds, the mapping is alive, and a `SharedLayout` is valid
        // whatever is in the memory.
        unsafe { self.start.as_ref() }
    }
}

/// A range of bytes in a mapping, which it keeps alive. Bytes are copied in and out; nothing ever borrows them.
///
/// # Copies that race with a hostile writer
///
/// An honest peer never writes what is being copied: the algorithms hand ranges over by an atomic store. A hostile one
/// may. To this process that is a change of memory from outside, and all it can do is decide which bytes arrive, as
/// long as the compiler treats the copy as *the* one read: it must not look at the source again where the program looks
/// at the copy. The compiler fences see to that, and this type is the only place that touches payload bytes.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    len: usize,
    _mapping: Arc<Mapping>,
}

// SAFETY: a pointer into a `Mapping`, which is `Send` and `Sync`; see there.
unsafe impl Send for Region {}
// SAFETY: as for `Send`; two threads of this process race no worse than two processes do.
unsafe impl Sync for Region {}

impl Region {
    /// Number of bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a range of no bytes is of no use")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies `source` to byte `at`.
    ///
    /// # Panics
    ///
    /// If there is no room for it.
    #[inline]
    pub fn write(&self, at: usize, source: &[u8]) {
        let target = self.bytes(at, source.len());
        // SAFETY: `bytes` checked the bounds; `source` is private memory, so the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), target.as_ptr(), source.len()) };
        compiler_fence(Ordering::SeqCst);
    }

    /// Copies the bytes from `at` to `target`.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    #[inline]
    pub fn read(&self, at: usize, target: &mut [u8]) {
        let source = self.bytes(at, target.len());
        // SAFETY: `bytes` checked the bounds; `target` is private memory, so the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), target.as_mut_ptr(), target.len()) };
        compiler_fence(Ordering::SeqCst);
    }

    /// Has the system make all pages of a range at once, which is cheaper than one by one.
    pub fn populate(&self, at: usize, len: usize) {
        let range = self.bytes(at, len).as_ptr();
        // SAFETY: inside of the mapping, whose contents it does not change. If the system refuses, pages come one by one.
        let _ = unsafe { rustix::mm::madvise(range.cast(), len, Advice::LinuxPopulateWrite) };
    }

    /// Copies `len` bytes from byte `from` to byte `to`. The two ranges do not overlap.
    pub(crate) fn copy(&self, from: usize, to: usize, len: usize) {
        assert!(from.abs_diff(to) >= len, "overlapping bytes of a region");
        let (source, target) = (self.bytes(from, len), self.bytes(to, len));
        // SAFETY: `bytes` checked the bounds, and the ranges are apart.
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), target.as_ptr(), len) };
        compiler_fence(Ordering::SeqCst);
    }

    /// Gives the whole pages of a range back to the system; they read as zero from then on.
    pub(crate) fn discard(&self, at: usize, len: usize) {
        let range = self.bytes(at, len);
        let before_page = range.align_offset(PAGE).min(len);
        let pages_len = (len - before_page) / PAGE * PAGE;
        // SAFETY: inside of the mapping, which is shared memory that anyone may zero at any time. If the system refuses,
        // the memory stays in use, and that is all.
        let _ = unsafe {
            let pages = range.as_ptr().add(before_page).cast();
            rustix::mm::madvise(pages, pages_len, Advice::LinuxRemove)
        };
    }

    /// The atomic word at byte `at`.
    #[inline]
    pub(crate) fn word<T: SharedLayout>(&self, at: usize) -> &T {
        let word = self.bytes(at, size_of::<T>()).cast::<T>();
        assert!(word.is_aligned(), "a misaligned word");
        // SAFETY: inside of the mapping, aligned, and valid whatever is in the memory.
        unsafe { word.as_ref() }
    }

    /// Where the `len` bytes from `at` are. The algorithms check what they got from a peer before they come here, so
    /// that only a bug of theirs can fail this.
    #[inline]
    fn bytes(&self, at: usize, len: usize) -> NonNull<u8> {
        assert!(at <= self.len && len <= self.len - at, "bytes outside of a region");
        // SAFETY: just checked.
        unsafe { self.start.add(at) }
    }
}
