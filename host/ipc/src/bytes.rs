//! Plain memory that any number of processes read, write and count in.
//!
//! What CPython's `Value`, `Array` and `SharedMemory` stand on. The object is its bytes: there is no header, nobody owns
//! anything, and so nothing is to be recovered when somebody dies. Only [`wait`](SharedBytes::wait) depends on others, and
//! what they owe each other there is the caller's protocol.
//!
//! # Racing
//!
//! Every access is atomic, so that parties that race decide which bytes arrive and nothing else. How much of a copy is
//! one access: it is cut at multiples of eight, and the ends at smaller powers of two. Hence **every value of 1, 2, 4 or 8
//! bytes that lies at a multiple of its size arrives whole**, whatever range it is copied with; larger ones may be mixed
//! of several writes, which is what a lock is for.
//!
//! Copies order nothing around them (a lock does, or an atomic operation); atomic operations are `SeqCst`.
//!
//! The language knows no order between accesses of different widths to the same bytes. Here the processor's holds: each
//! is one access of its own, and a wider one that races with a narrower sees all of it or nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::backend::{Backend, Native};
use crate::memory::{Mapping, SharedLayout};
use crate::party::{Limit, Party, WaitError};
use crate::spin::Patience;

/// Bytes shared by processes. CPython: `SharedMemory`, and what `Value` and `Array` are in.
#[derive(Debug)]
pub struct SharedBytes {
    mapping: Arc<Mapping>,
    size: usize,
    patience: Patience,
}

/// How many bytes an atomic operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 8 bits.
    One,
    /// 16 bits.
    Two,
    /// 32 bits.
    Four,
    /// 64 bits.
    Eight,
}

impl Width {
    /// The width of so many bytes, if there is one.
    pub fn new(bytes: usize) -> Option<Width> {
        match bytes {
            1 => Some(Width::One),
            2 => Some(Width::Two),
            4 => Some(Width::Four),
            8 => Some(Width::Eight),
            _ => None,
        }
    }
}

/// An access that is not possible; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// Some of the bytes are outside of the memory.
    OutOfRange,
    /// The offset is not a multiple of the width.
    Misaligned,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AccessError::OutOfRange => "an access outside of the shared memory",
            AccessError::Misaligned => "an atomic access to an offset that is not a multiple of its width",
        })
    }
}

impl std::error::Error for AccessError {}

/// Why [`SharedBytes::wait`] ended without a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordWaitError {
    /// There is no such word.
    Access(AccessError),
    /// The time was up.
    TimedOut,
    /// This party was told to stop waiting.
    Interrupted,
}

impl fmt::Display for WordWaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WordWaitError::Access(why) => why.fmt(f),
            WordWaitError::TimedOut => f.write_str("timed out"),
            WordWaitError::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for WordWaitError {}

impl From<AccessError> for WordWaitError {
    fn from(why: AccessError) -> WordWaitError {
        WordWaitError::Access(why)
    }
}

/// `$body` with `$atomic` and `$int` being the types of a width.
macro_rules! at_width {
    ($width:expr, |$atomic:ident, $int:ident| $body:expr) => {
        match $width {
            Width::One => at_width!(AtomicU8, u8, $atomic, $int, $body),
            Width::Two => at_width!(AtomicU16, u16, $atomic, $int, $body),
            Width::Four => at_width!(AtomicU32, u32, $atomic, $int, $body),
            Width::Eight => at_width!(AtomicU64, u64, $atomic, $int, $body),
        }
    };
    ($word:ty, $unsigned:ty, $atomic:ident, $int:ident, $body:expr) => {{
        type $atomic = $word;
        type $int = $unsigned;
        $body
    }};
}

impl SharedBytes {
    /// The first `size` bytes of a mapping, or all of them if it is shorter. A new object and an old one look the same.
    pub fn open(mapping: &Arc<Mapping>, size: usize) -> SharedBytes {
        SharedBytes {
            mapping: Arc::clone(mapping),
            size: size.min(mapping.len()),
            patience: Patience::default(),
        }
    }

    /// How many bytes there are. CPython: `size`; not rounded up to pages.
    #[inline]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Copies the bytes from `offset` to `target`.
    ///
    /// # Errors
    ///
    /// [`AccessError::OutOfRange`].
    #[inline]
    pub fn read(&self, mut offset: usize, mut target: &mut [u8]) -> Result<(), AccessError> {
        self.words::<AtomicU8>(offset, target.len())?;
        while !target.is_empty() {
            let (width, length) = next_run(offset, target.len());
            let run;
            (run, target) = target.split_at_mut(length);
            at_width!(width, |Atomic, Int| {
                let words = self.words::<Atomic>(offset, length / size_of::<Int>())?;
                for (word, bytes) in words.iter().zip(run.as_chunks_mut().0) {
                    *bytes = Int::to_ne_bytes(word.load(Ordering::Relaxed));
                }
            });
            offset += length;
        }
        Ok(())
    }

    /// Copies `source` to the bytes from `offset`.
    ///
    /// # Errors
    ///
    /// [`AccessError::OutOfRange`]: nothing is written.
    #[inline]
    pub fn write(&self, mut offset: usize, mut source: &[u8]) -> Result<(), AccessError> {
        self.words::<AtomicU8>(offset, source.len())?;
        while !source.is_empty() {
            let (width, length) = next_run(offset, source.len());
            let run;
            (run, source) = source.split_at(length);
            at_width!(width, |Atomic, Int| {
                let words = self.words::<Atomic>(offset, length / size_of::<Int>())?;
                for (word, bytes) in words.iter().zip(run.as_chunks().0) {
                    word.store(Int::from_ne_bytes(*bytes), Ordering::Relaxed);
                }
            });
            offset += length;
        }
        Ok(())
    }

    /// The value at `offset`.
    ///
    /// # Errors
    ///
    /// Of this and of all the following: [`AccessError`]. Their operands are cut to the width, and what they return is
    /// extended by zeroes.
    #[inline]
    pub fn load(&self, width: Width, offset: usize) -> Result<u64, AccessError> {
        at_width!(width, |Atomic, Int| Ok(widen::<Int>(
            self.word::<Atomic>(offset)?.load(Ordering::SeqCst)
        )))
    }

    /// Replaces the value at `offset`.
    #[inline]
    pub fn store(&self, width: Width, offset: usize, value: u64) -> Result<(), AccessError> {
        at_width!(width, |Atomic, Int| {
            self.word::<Atomic>(offset)?.store(value as Int, Ordering::SeqCst);
            Ok(())
        })
    }

    /// Replaces the value at `offset`; what it was.
    #[inline]
    pub fn swap(&self, width: Width, offset: usize, value: u64) -> Result<u64, AccessError> {
        at_width!(width, |Atomic, Int| {
            let was = self.word::<Atomic>(offset)?.swap(value as Int, Ordering::SeqCst);
            Ok(widen::<Int>(was))
        })
    }

    /// Adds to the value at `offset`, wrapping around; what it was.
    #[inline]
    pub fn add(&self, width: Width, offset: usize, value: u64) -> Result<u64, AccessError> {
        at_width!(width, |Atomic, Int| {
            let was = self.word::<Atomic>(offset)?.fetch_add(value as Int, Ordering::SeqCst);
            Ok(widen::<Int>(was))
        })
    }

    /// Subtracts from the value at `offset`, wrapping around; what it was.
    #[inline]
    pub fn sub(&self, width: Width, offset: usize, value: u64) -> Result<u64, AccessError> {
        at_width!(width, |Atomic, Int| {
            let was = self.word::<Atomic>(offset)?.fetch_sub(value as Int, Ordering::SeqCst);
            Ok(widen::<Int>(was))
        })
    }

    /// Keeps only these bits of the value at `offset`; what it was.
    #[inline]
    pub fn and(&self, width: Width, offset: usize, bits: u64) -> Result<u64, AccessError> {
        at_width!(width, |Atomic, Int| {
            let was = self.word::<Atomic>(offset)?.fetch_and(bits as Int, Ordering::SeqCst);
            Ok(widen::<Int>(was))
        })
    }

    /// Sets these bits of the value at `offset`; what it was.
    #[inline]
    pub fn or(&self, width: Width, offset: usize, bits: u64) -> Result<u64, AccessError> {
        at_width!(width, |Atomic, Int| {
            let was = self.word::<Atomic>(offset)?.fetch_or(bits as Int, Ordering::SeqCst);
            Ok(widen::<Int>(was))
        })
    }

    /// Flips these bits of the value at `offset`; what it was.
    #[inline]
    pub fn xor(&self, width: Width, offset: usize, bits: u64) -> Result<u64, AccessError> {
        at_width!(width, |Atomic, Int| {
            let was = self.word::<Atomic>(offset)?.fetch_xor(bits as Int, Ordering::SeqCst);
            Ok(widen::<Int>(was))
        })
    }

    /// Replaces the value at `offset` by `new` if it is `current`; what it was, as the error if it was something else.
    #[inline]
    pub fn compare_exchange(
        &self,
        width: Width,
        offset: usize,
        current: u64,
        new: u64,
    ) -> Result<Result<u64, u64>, AccessError> {
        at_width!(width, |Atomic, Int| {
            let word = self.word::<Atomic>(offset)?;
            let was = word.compare_exchange(current as Int, new as Int, Ordering::SeqCst, Ordering::SeqCst);
            Ok(was.map(widen::<Int>).map_err(widen::<Int>))
        })
    }

    /// Sleeps while the four bytes at `offset` are `expected`, until a [`wake`](Self::wake). May return early: callers look
    /// again, and loop.
    ///
    /// Whoever is to wake this party may die before; then nobody does. A limit is the remedy, or another word that the
    /// host writes.
    ///
    /// # Errors
    ///
    /// See [`WordWaitError`].
    pub fn wait(&self, party: &Party, offset: usize, expected: u32, limit: Limit) -> Result<(), WordWaitError> {
        let word = self.word::<AtomicU32>(offset)?;
        let changed = || word.load(Ordering::SeqCst) != expected;
        if changed() || (limit != Limit::Poll && Native::spin(&self.patience, changed)) {
            return Ok(());
        }
        party.sleep(word, expected, limit).map_err(|why| match why {
            WaitError::Interrupted => WordWaitError::Interrupted,
            WaitError::TimedOut | WaitError::Broken => WordWaitError::TimedOut,
        })
    }

    /// Wakes up to `count` of those who [`wait`](Self::wait) at `offset`. A system call, whether or not someone does.
    ///
    /// # Errors
    ///
    /// See [`AccessError`].
    pub fn wake(&self, offset: usize, count: u32) -> Result<(), AccessError> {
        Native::wake(self.word(offset)?, count);
        Ok(())
    }

    #[inline]
    fn word<T: SharedLayout>(&self, offset: usize) -> Result<&T, AccessError> {
        if !offset.is_multiple_of(size_of::<T>()) {
            return Err(AccessError::Misaligned);
        }
        Ok(&self.words(offset, 1)?[0])
    }

    /// `offset` is a multiple of the width of `T`.
    #[inline]
    fn words<T: SharedLayout>(&self, offset: usize, count: usize) -> Result<&[T], AccessError> {
        let end = count
            .checked_mul(size_of::<T>())
            .and_then(|len| offset.checked_add(len));
        end.filter(|end| *end <= self.size)
            .and_then(|_| self.mapping.slice(offset, count))
            .ok_or(AccessError::OutOfRange)
    }
}

/// What is copied next of a range: words of this width, so many bytes of them. `length` is not 0.
#[inline]
fn next_run(offset: usize, length: usize) -> (Width, usize) {
    // The largest power of two that both the place and the rest of the range allow.
    match offset.trailing_zeros().min(length.ilog2()) {
        0 => (Width::One, 1),
        1 => (Width::Two, 2),
        2 => (Width::Four, 4),
        _ => (Width::Eight, length & !7),
    }
}

#[inline]
fn widen<T: Into<u64>>(value: T) -> u64 {
    value.into()
}
