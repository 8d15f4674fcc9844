//! The frames that cross between host and worker: the only thing the two sides of this crate share.
//!
//! A frame is a header and a body. It travels as one record of a ring, or, when the body is larger than a record may
//! be, as one record with the header and the first part of the body, followed by [`TaskHead::More`] or
//! [`ReplyHead::More`] records with the rest; nothing comes between them, since each ring has one producer.
//!
//! ```text
//! host → worker   Call   kind u8 · 3 × 0 · count u32 · task u32 · 0 u32 · seq u64 · total u64, then `total` bytes:
//!                        `count` items, each len u32 and its CBOR arguments
//!                 More   kind u8 · 7 × 0, then the next part of the body
//!                 Stop   kind u8 · 7 × 0
//! worker → host   Done / Failed / Output …   kind u8 · flags u8 · 6 × 0 · seq u64, then the body; before that of a
//!                        stamped outcome, its times: began u64 · ended u64
//! ```
//!
//! Items are numbered per worker in the order of dispatch (`seq` is that of a call's first item), so that replies,
//! which come in the same order, need no lookup. Numbers are little-endian. Everything that comes from a worker is
//! parsed here, and nothing in it is believed.

pub(crate) mod pools;

use serde::{Deserialize, Serialize};
use wasmp_abi::ErrorKind;
use wasmp_ipc::Gauges;
use wasmp_ipc::ring::ring_bytes;

/// Bytes before an item's arguments in the body of a call: their length.
pub(crate) const ITEM_PREFIX: usize = 4;

/// Bytes of each ring: room for some five thousand small items. Pages that are never written take no memory.
pub(crate) const RING_CAPACITY: usize = 256 * 1024;

/// Bytes of the memory that a worker shares with the host: the ring of its tasks, that of its replies, its gauges.
pub(crate) const LINK_BYTES: usize = GAUGES_AT + Gauges::BYTES;

/// Where the reply ring starts.
pub(crate) const REPLIES_AT: usize = ring_bytes(RING_CAPACITY);

/// Where the gauges stand.
pub(crate) const GAUGES_AT: usize = 2 * ring_bytes(RING_CAPACITY);

/// Header of a record in the task ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskHead {
    /// Run a chunk: one call of the guest, one reply an item.
    Call(Call),
    /// The next part of the body of the call before.
    More,
    /// Finish: no task will follow.
    Stop,
}

/// What a call frame says beside its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// How many items the body holds.
    pub(crate) count: u32,
    /// Which task, by its place in the module's list.
    pub(crate) task: u32,
    /// The number of the first item.
    pub(crate) seq: u64,
    /// Length of the whole body.
    pub(crate) total: u64,
}

/// The number of the task that is a program's `main`.
pub(crate) const MAIN: u32 = u32::MAX;

/// The number of what a manager does, which is no task of the module.
pub(crate) const MANAGER: u32 = u32::MAX - 1;

const CALL: u8 = 1;
const MORE: u8 = 2;
const STOP: u8 = 3;

impl TaskHead {
    /// Length of the header of a call.
    pub(crate) const CALL_LEN: usize = 32;
    /// Length of every other header.
    pub(crate) const SHORT_LEN: usize = 8;

    /// The bytes of a call's header.
    pub(crate) fn call_bytes(call: &Call) -> [u8; Self::CALL_LEN] {
        let mut bytes = [0; Self::CALL_LEN];
        bytes[0] = CALL;
        bytes[4..8].copy_from_slice(&call.count.to_le_bytes());
        bytes[8..12].copy_from_slice(&call.task.to_le_bytes());
        bytes[16..24].copy_from_slice(&call.seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&call.total.to_le_bytes());
        bytes
    }

    /// The header of a record that continues a body.
    pub(crate) const MORE_BYTES: [u8; Self::SHORT_LEN] = [MORE, 0, 0, 0, 0, 0, 0, 0];

    /// The header (and whole record) that ends a worker.
    pub(crate) const STOP_BYTES: [u8; Self::SHORT_LEN] = [STOP, 0, 0, 0, 0, 0, 0, 0];

    /// Reads the header at the start of a record, of which `bytes` are the first up to [`Self::CALL_LEN`] bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        match *bytes.first()? {
            CALL => Some(Self::Call(Call {
                count: u32_at(bytes, 4)?,
                task: u32_at(bytes, 8)?,
                seq: u64_at(bytes, 16)?,
                total: u64_at(bytes, 24)?,
            })),
            MORE => Some(Self::More),
            STOP => Some(Self::Stop),
            _ => None,
        }
    }
}

/// What a record in the reply ring is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    /// The worker is locked down and takes tasks.
    Ready = 1,
    /// Item `seq` has a result: the body is its CBOR.
    Done = 2,
    /// Item `seq` failed: the body is a [`Fault`].
    Failed = 3,
    /// The guest wrote the body to its standard output, at the time `seq` of the monotonic clock.
    Stdout = 4,
    /// The same for its standard error.
    Stderr = 5,
    /// The next part of the body of the reply before.
    More = 6,
    /// The worker cannot take tasks, and is about to end: the body is a [`Fault`].
    Unable = 7,
    /// A process has run its one call, and is about to end: with the exit code `seq`.
    Ending = 8,
}

/// Header of a record in the reply ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyHead {
    pub(crate) kind: ReplyKind,
    /// Whether records with more of the body follow.
    pub(crate) more: bool,
    /// Whether a [`Stamp`] stands before the body.
    pub(crate) stamped: bool,
    pub(crate) seq: u64,
}

const FLAG_MORE: u8 = 1;
const FLAG_STAMPED: u8 = 2;

impl ReplyHead {
    /// Length of the header.
    pub(crate) const LEN: usize = 16;

    /// The header's bytes.
    pub(crate) fn bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = self.kind as u8;
        bytes[1] = (u8::from(self.more) * FLAG_MORE) | (u8::from(self.stamped) * FLAG_STAMPED);
        bytes[8..].copy_from_slice(&self.seq.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of a record.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let kind = match *bytes.first()? {
            1 => ReplyKind::Ready,
            2 => ReplyKind::Done,
            3 => ReplyKind::Failed,
            4 => ReplyKind::Stdout,
            5 => ReplyKind::Stderr,
            6 => ReplyKind::More,
            7 => ReplyKind::Unable,
            8 => ReplyKind::Ending,
            _ => return None,
        };
        let flags = *bytes.get(1)?;
        if flags > FLAG_MORE | FLAG_STAMPED {
            return None;
        }
        Some(Self {
            kind,
            more: flags & FLAG_MORE != 0,
            stamped: flags & FLAG_STAMPED != 0,
            seq: u64_at(bytes, 8)?,
        })
    }
}

/// What an item took, before the body of its outcome, if the pool wants to know. Times are nanoseconds of the monotonic
/// clock that host and worker share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// Bytes that the memory of the instance had when it ended.
    pub(crate) memory: u64,
}

impl Stamp {
    /// How many bytes it has.
    pub(crate) const LEN: usize = 24;

    /// Its bytes.
    pub(crate) fn bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let words = [self.began, self.ended, self.memory];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    /// Reads one: any bytes are.
    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let word = |at: usize| u64_at(&bytes, 8 * at).unwrap_or_default();
        Self {
            began: word(0),
            ended: word(1),
            memory: word(2),
        }
    }
}

/// Why an item failed, as the worker saw it: the CBOR body of a [`ReplyKind::Failed`] frame.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// Number of an [`ErrorKind`].
    pub(crate) kind: u16,
    pub(crate) message: String,
    /// What caused it, then what caused that.
    pub(crate) causes: Vec<String>,
    pub(crate) backtrace: Option<String>,
    pub(crate) exit_code: Option<i32>,
    /// Bytes that the memory of the instance had.
    pub(crate) memory: u64,
}

impl Fault {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind: kind as u16,
            message: message.into(),
            ..Self::default()
        }
    }

    /// The bytes of the frame's body.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).expect("plain data into a Vec cannot fail");
        bytes
    }

    /// Reads a body; what cannot be read is itself a fault that says so.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        ciborium::from_reader(bytes).unwrap_or_else(|error| {
            Self::new(
                ErrorKind::WorkerLost,
                format!("the worker sent a garbled failure: {error}"),
            )
        })
    }

    /// The kind, for what it is worth: a number that no kind has reads as a lost worker.
    pub(crate) fn kind(&self) -> ErrorKind {
        ErrorKind::from_code(self.kind).unwrap_or(ErrorKind::WorkerLost)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_as_written() {
        let call = Call {
            count: 3,
            task: 1,
            seq: 1 << 40,
            total: 5_000_000_000,
        };
        assert_eq!(
            TaskHead::parse(&TaskHead::call_bytes(&call)),
            Some(TaskHead::Call(call))
        );
        assert_eq!(TaskHead::parse(&TaskHead::MORE_BYTES), Some(TaskHead::More));
        assert_eq!(TaskHead::parse(&TaskHead::STOP_BYTES), Some(TaskHead::Stop));
        let head = ReplyHead {
            kind: ReplyKind::Failed,
            more: true,
            stamped: false,
            seq: 9,
        };
        assert_eq!(ReplyHead::parse(&head.bytes()), Some(head));
        let stamped = ReplyHead { stamped: true, ..head };
        assert_eq!(ReplyHead::parse(&stamped.bytes()), Some(stamped));
        let stamp = Stamp {
            began: 1 << 40,
            ended: 3,
            memory: 70_000,
        };
        assert_eq!(Stamp::from_bytes(stamp.bytes()), stamp);
    }

    #[test]
    fn a_short_or_unknown_header_is_refused() {
        let call = TaskHead::call_bytes(&Call {
            count: 1,
            task: 0,
            seq: 0,
            total: 4,
        });
        assert_eq!(TaskHead::parse(&call[..31]), None);
        assert_eq!(TaskHead::parse(&[9; 32]), None);
        assert_eq!(ReplyHead::parse(&[2; 15]), None);
        assert_eq!(ReplyHead::parse(&[7; 16]), None);
        assert_eq!(
            ReplyHead::parse(&[2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            None
        );
        assert_eq!(ReplyHead::parse(&[]), None);
    }

    #[test]
    fn a_garbled_fault_is_still_a_fault() {
        assert_eq!(Fault::from_bytes(b"\xff\xff").kind(), ErrorKind::WorkerLost);
        let fault = Fault::new(ErrorKind::Panic, "no");
        assert_eq!(Fault::from_bytes(&fault.to_bytes()), fault);
    }
}
