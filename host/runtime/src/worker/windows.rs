//! Shared memory mapped into an instance's own memory.
//!
//! The guest gives a range that it owns, in whole wasm pages; the object's pages take the place of the range's. wasmtime
//! does not know: it never moves a memory (4 GiB are reserved for it), a growth changes only what is beyond the old end,
//! and dropping the instance unmaps everything. What holds no longer is that a slice of the memory is private. So every
//! range that a guest passes to the host is checked against the windows, and one that touches a window is refused.
//!
//! Where an instance is there for so many tasks only, its memory goes on to the next one, and the shared pages would show up
//! in that: there, nothing is mapped.

use std::ops::Range;
use std::sync::Arc;

use wasmp_ipc::Mapping;

/// The ranges of an instance's memory that are mapped.
#[derive(Debug, Default)]
pub(in crate::worker) struct Windows(Vec<Window>);

/// One of them: which range shows what.
#[derive(Debug)]
pub(in crate::worker) struct Window {
    pub(in crate::worker) range: Range<usize>,
    pub(in crate::worker) object: Arc<Mapping>,
    pub(in crate::worker) offset: usize,
}

impl Windows {
    /// Whether a range touches one of them.
    #[inline]
    pub(in crate::worker) fn touch(&self, start: usize, len: usize) -> bool {
        // Almost always there are none.
        !self.0.is_empty() && self.overlap(start..start + len)
    }

    #[cold]
    fn overlap(&self, range: Range<usize>) -> bool {
        let mut windows = self.0.iter().map(|window| &window.range);
        !range.is_empty() && windows.any(|window| window.start < range.end && range.start < window.end)
    }

    pub(in crate::worker) fn all(&self) -> &[Window] {
        &self.0
    }

    /// Maps the bytes of `object` from `offset` over a range of the memory that begins at `base`. The range is inside of
    /// the memory, in no window, and in whole pages, as `offset` is. False: the system refuses.
    pub(in crate::worker) fn map(
        &mut self,
        object: &Arc<Mapping>,
        offset: usize,
        base: *mut u8,
        range: Range<usize>,
    ) -> bool {
        // SAFETY: these bytes of the memory are the guest's, which may do with them what it likes; no reference into them
        // exists while an import runs that has not made one, and later ones are kept out by `touch`.
        let mapped = unsafe { object.map_again(offset, range.len(), base.add(range.start)) };
        if mapped {
            let object = Arc::clone(object);
            self.0.push(Window { range, object, offset });
        }
        mapped
    }

    /// Puts zeroes in the place of a window. False: this is none, or the system refuses.
    pub(in crate::worker) fn unmap(&mut self, base: *mut u8, range: &Range<usize>) -> bool {
        let Some(at) = self.0.iter().position(|window| window.range == *range) else {
            return false;
        };
        // SAFETY: as in `map`; the range is one that `map` has replaced.
        let unmapped = unsafe { wasmp_ipc::map_zeroes(base.add(range.start), range.len()) };
        if unmapped {
            self.0.swap_remove(at);
        }
        unmapped
    }
}
