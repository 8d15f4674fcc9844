//! Linear memories that go from one instance to the next.
//!
//! A pool with a fresh instance for each task needs a fresh memory for each. To map one, or to drop the pages of one and
//! have them faulted in again, takes longer than most tasks. So a memory is mapped once, and made as new when its instance
//! is gone:
//!
//! * pages that instances usually write are overwritten with zeros, and stay where they are;
//! * all others are given back to the system, and read as zeros from then on. That costs nothing for those that nobody has
//!   touched.
//!
//! Both hold for private memory with no file behind it. What is mapped into a guest's memory later (shared memory, the copy
//! that `fork` makes) is mapped only where that goes on to nobody: in instances that are kept, and in processes that run
//! one call.
//!
//! Which pages are usual is found out by looking for what the first instances have left behind. Nothing but time depends on
//! that being right: each page is made as new in one way or the other. This is what makes it different from asking the kernel
//! which pages are dirty (wasmtime's `pagemap_scan`), which passes over those that are swapped out or on the move, so that
//! the next instance could find what this one wrote (bytecodealliance/wasmtime#14357).

use std::ffi::c_void;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// The unit in which memory is kept or given back. Where pages are larger, several of these share one, which is no harm.
const PAGE: usize = 4096;

/// Most pages of one memory that are kept. Overwriting more would take longer than to fault in what is needed of them.
const MAX_KEPT: usize = 64;

/// Pages between two that are kept which are kept as well: to overwrite them takes no longer than one more system call.
const MAX_GAP: usize = 8;

/// How much of a memory, from its start, is looked through for usual pages.
const LOOKED_THROUGH: usize = 4 << 20;

/// A memory is looked through after its first use, its fourth, its sixteenth and so on, this one the last.
const LAST_LOOK: u32 = 1024;

/// Most memories that wait for an instance: a worker has one instance at a time.
const MAX_FREE: usize = 8;

/// Where memories come from, and go back to.
#[derive(Debug, Default)]
pub(crate) struct Recycler {
    free: Arc<Mutex<Vec<Region>>>,
}

/// Addresses for one memory, of which the first are accessible, and none but zeros in them while no instance has it.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    /// All of them: what a memory can grow to, and the guard behind that.
    len: usize,
    accessible: usize,
    /// What is kept, in pages: in order, and apart from each other.
    kept: Vec<Range<usize>>,
    uses: u32,
    next_look: u32,
}

// SAFETY: it owns these addresses, and whoever has the region may use them from any thread.
unsafe impl Send for Region {}
// SAFETY: a shared reference gives access to none of what is there.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves addresses.
    fn reserve(len: usize) -> rustix::io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags)? };
        Ok(Self {
            start: NonNull::new(start.cast()).ok_or(rustix::io::Errno::NOMEM)?,
            len,
            accessible: 0,
            kept: Vec::new(),
            uses: 0,
            next_look: 1,
        })
    }

    fn at(&self, offset: usize) -> *mut c_void {
        debug_assert!(offset <= self.len);
        self.start.as_ptr().wrapping_add(offset).cast()
    }

    /// Makes the first `len` bytes accessible, and no others.
    fn set_accessible(&mut self, len: usize) -> rustix::io::Result<()> {
        let len = len.next_multiple_of(PAGE).min(self.len);
        let (from, to, access) = if len > self.accessible {
            (self.accessible, len, MprotectFlags::READ | MprotectFlags::WRITE)
        } else {
            (len, self.accessible, MprotectFlags::empty())
        };
        if from < to {
            // SAFETY: within the mapping, which has no other use; nothing in here refers to what becomes inaccessible.
            unsafe { rustix::mm::mprotect(self.at(from), to - from, access)? };
        }
        self.accessible = len;
        Ok(())
    }

    /// Makes it as new, with `len` bytes accessible. What has failed is of no more use.
    fn renew(&mut self, len: usize) -> rustix::io::Result<()> {
        self.uses = self.uses.saturating_add(1);
        if self.uses == self.next_look && self.uses <= LAST_LOOK {
            self.look_through();
            self.next_look = self.uses * 4;
        }
        let mut from = 0;
        for kept in &self.kept {
            let Range { start, end } = bytes(kept, self.accessible);
            self.give_back(from..start)?;
            // SAFETY: accessible, and no instance is there that could have a reference to it.
            unsafe { ptr::write_bytes(self.start.as_ptr().add(start), 0, end - start) };
            from = end;
        }
        self.give_back(from..self.accessible)?;
        self.set_accessible(len)
    }

    /// Gives accessible pages back to the system. They read as zeros afterwards.
    fn give_back(&self, bytes: Range<usize>) -> rustix::io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: within the mapping, private and anonymous; no instance is there that could have a reference to it.
        unsafe { rustix::mm::madvise(self.at(bytes.start), bytes.len(), Advice::LinuxDontNeed) }
    }

    /// Adds pages that an instance has left something in to those that are kept.
    fn look_through(&mut self) {
        let len = self.accessible.min(LOOKED_THROUGH);
        // SAFETY: accessible, initialized by the kernel, and no instance is there that could write to it.
        let content = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), len) };
        let known = self.kept.iter().flat_map(Range::clone);
        let found = content
            .chunks(PAGE)
            .enumerate()
            .filter(|(_, page)| page.iter().any(|byte| *byte != 0))
            .map(|(number, _)| number);
        self.kept = ranges(known.chain(found).collect());
    }
}

/// These pages as ranges, as many of them as are kept.
fn ranges(mut pages: Vec<usize>) -> Vec<Range<usize>> {
    pages.sort_unstable();
    pages.dedup();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut left = MAX_KEPT;
    for page in pages {
        let (cost, joins) = match ranges.last() {
            Some(last) if page - last.end <= MAX_GAP => (page + 1 - last.end, true),
            _ => (1, false),
        };
        if cost > left {
            break;
        }
        left -= cost;
        match ranges.last_mut() {
            Some(last) if joins => last.end = page + 1,
            _ => ranges.push(page..page + 1),
        }
    }
    ranges
}

/// What these pages are in bytes, as far as there are any.
fn bytes(pages: &Range<usize>, end: usize) -> Range<usize> {
    (pages.start * PAGE).min(end)..(pages.end * PAGE).min(end)
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the region owns the mapping, and nobody has it any more.
        let _ = unsafe { rustix::mm::munmap(self.at(0), self.len) };
    }
}

// SAFETY: a memory has as many addresses as are asked for, with those behind its size inaccessible; all accessible bytes are
// zero in a new region, and in one that comes back (`Region::renew`).
unsafe impl MemoryCreator for Recycler {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        _: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let capacity = reserved.unwrap_or_default().max(minimum);
        let len = capacity
            .checked_next_multiple_of(PAGE)
            .and_then(|len| len.checked_add(guard));
        let len = len.ok_or("there are not as many addresses")?;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // The first memories of two instances of a module are alike: one that has this size has been the same.
        let used = free
            .iter()
            .position(|region| region.len == len && region.accessible == minimum.next_multiple_of(PAGE))
            .map(|at| free.swap_remove(at));
        drop(free);
        let region = match used {
            Some(region) => region,
            None => {
                let mut region = Region::reserve(len).map_err(|error| error.to_string())?;
                region.set_accessible(minimum).map_err(|error| error.to_string())?;
                region
            }
        };
        Ok(Box::new(Memory {
            region: Some(region),
            minimum,
            size: minimum,
            capacity,
            free: Arc::clone(&self.free),
        }))
    }
}

/// The memory of one instance.
struct Memory {
    /// There until it is dropped.
    region: Option<Region>,
    minimum: usize,
    size: usize,
    capacity: usize,
    free: Arc<Mutex<Vec<Region>>>,
}

// SAFETY: the addresses up to the capacity are this memory's alone and stay where they are; those up to the size are accessible.
unsafe impl LinearMemory for Memory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        let Some(region) = self.region.as_mut().filter(|_| new_size <= self.capacity) else {
            return Err(wasmtime::Error::msg("a memory of a fresh instance cannot be as large"));
        };
        region.set_accessible(new_size)?;
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.region
            .as_ref()
            .map_or_else(|| NonNull::dangling().as_ptr(), |region| region.start.as_ptr())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(mut region) = self.region.take()
            && region.renew(self.minimum).is_ok()
        {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < MAX_FREE {
                free.push(region);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WASM_PAGE: usize = 64 << 10;

    fn memory(recycler: &Recycler, minimum: usize) -> Box<dyn LinearMemory> {
        let ty = MemoryType::new((minimum / WASM_PAGE) as u32, None);
        recycler.new_memory(ty, minimum, None, Some(16 << 20), 1 << 20).unwrap()
    }

    fn content(memory: &mut dyn LinearMemory) -> &mut [u8] {
        // SAFETY: the accessible bytes of a memory that nobody else has.
        unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), memory.byte_size()) }
    }

    #[test]
    fn whatever_an_instance_has_written_the_next_finds_zeros() {
        let recycler = Recycler::default();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |end: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % end as u64) as usize
        };
        for round in 0..200 {
            let mut memory = memory(&recycler, 17 * WASM_PAGE);
            assert!(content(&mut *memory).iter().all(|byte| *byte == 0), "round {round}");
            if round % 3 == 0 {
                memory.grow_to((18 + below(100)) * WASM_PAGE).unwrap();
                assert!(content(&mut *memory).iter().all(|byte| *byte == 0), "round {round}");
            }
            let content = content(&mut *memory);
            let len = content.len();
            // Some pages each time, some now and then, in some rounds more than are kept.
            let writes = if round % 7 == 0 { 500 } else { 5 };
            for at in (0..writes).map(|_| below(len)).chain([WASM_PAGE, 16 * WASM_PAGE + 5]) {
                content[at] = 1;
            }
        }
        let free = recycler.free.lock().unwrap();
        assert_eq!(free.len(), 1, "each round had the same memory");
        assert!(!free[0].kept.is_empty());
    }

    #[test]
    fn what_a_memory_has_grown_by_is_out_of_reach_for_the_next() {
        let recycler = Recycler::default();
        let mut grown = memory(&recycler, WASM_PAGE);
        grown.grow_to(5 * WASM_PAGE).unwrap();
        assert!(grown.grow_to(17 << 20).is_err(), "beyond what is reserved");
        assert_eq!(grown.byte_size(), 5 * WASM_PAGE);
        content(&mut *grown)[4 * WASM_PAGE] = 1;
        drop(grown);
        let next = memory(&recycler, WASM_PAGE);
        assert_eq!(accessible(next.as_ptr()), WASM_PAGE);
        drop(next);
        // One of another size has addresses of its own.
        assert_eq!(memory(&recycler, 2 * WASM_PAGE).byte_size(), 2 * WASM_PAGE);
        assert_eq!(recycler.free.lock().unwrap().len(), 2);
    }

    /// Bytes from here on that the kernel says can be written.
    fn accessible(start: *const u8) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let start = start as usize;
        let mapping = maps.lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (from, to) = range.split_once('-')?;
            let (from, to) = (
                usize::from_str_radix(from, 16).ok()?,
                usize::from_str_radix(to, 16).ok()?,
            );
            (from..to).contains(&start).then(|| (to, rest.starts_with("rw")))
        });
        let (end, writable) = mapping.unwrap();
        if writable { end - start } else { 0 }
    }

    #[test]
    fn pages_that_are_near_each_other_are_kept_together_and_not_too_many() {
        let kept = |pages: Vec<usize>| -> Vec<(usize, usize)> {
            let ranges = ranges(pages).into_iter();
            ranges.map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(kept(vec![]), []);
        assert_eq!(kept(vec![3]), [(3, 4)]);
        assert_eq!(kept(vec![20, 3, 5, 3]), [(3, 6), (20, 21)]);
        assert_eq!(kept(vec![3, 4 + MAX_GAP]), [(3, 5 + MAX_GAP)]);
        assert_eq!(kept(vec![3, 5 + MAX_GAP]), [(3, 4), (5 + MAX_GAP, 6 + MAX_GAP)]);
        assert_eq!(kept((0..1000).collect()), [(0, MAX_KEPT)]);
        let far_apart = kept((0..1000).map(|page| page * 10).collect());
        assert_eq!(far_apart.len(), MAX_KEPT);
    }
}
