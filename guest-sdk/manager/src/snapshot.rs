//! What has a name in a manager, as bytes that outlive it.
//!
//! ```text
//! file     magic 16 bytes │ count u32 │ entry …
//! entry    name (item) │ MAP or LIST, u8 │ items
//! ```
//!
//! Items are as in the [protocol](crate::protocol): those of a map are keys, and behind each its value.

use std::fmt;

use crate::client::{Client, Proxy, ask};
use crate::protocol::{ANY_VERSION, END, Fields, Id, KEYS, LIST, MAP, MAX_ITEMS, Op, VALUES, Writer};
use crate::{ManagerError, few_enough, told};

/// What a snapshot begins with: what it is, and its version.
const MAGIC: &[u8; 16] = b"wasmp snapshot 1";

/// Items of a map or a list that are put back with one request: pairs of them.
const MAX_PIECE: usize = MAX_ITEMS / 2;

/// Why a snapshot was not written or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It is none, or one of another version.
    NoSnapshot,
    /// It ends too early, or has what no snapshot has.
    Damaged,
    /// The file cannot be read or written.
    File(std::io::Error),
    /// The manager has not done its part.
    Manager(ManagerError),
}

impl From<ManagerError> for SnapshotError {
    fn from(error: ManagerError) -> Self {
        Self::Manager(error)
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSnapshot => f.write_str("it is no snapshot of a manager, or one of another version"),
            Self::Damaged => f.write_str("the snapshot is damaged: it ends too early, or has what no snapshot has"),
            Self::File(error) => error.fmt(f),
            Self::Manager(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoSnapshot | Self::Damaged => None,
            Self::File(error) => Some(error),
            Self::Manager(error) => Some(error),
        }
    }
}

/// The maps and lists of a manager that have a name, each as it is at one moment.
///
/// # Errors
///
/// [`SnapshotError::Manager`]; [`ManagerError::TooLarge`] if one of them is longer than a message may be.
pub fn save<C: Client>(client: &C) -> Result<Vec<u8>, SnapshotError> {
    let names = ask(
        client,
        (Op::Names, Id::NONE),
        |_| Ok(()),
        |_, mut fields| {
            let items = told(fields.all_items())?;
            let (pairs, _) = items.as_chunks();
            Ok(pairs
                .iter()
                .map(|[name, kind]| (name.to_vec(), kind.to_vec()))
                .collect::<Vec<_>>())
        },
    )?;
    let mut bytes = MAGIC.to_vec();
    let mut writer = Writer(&mut bytes);
    writer.counted(|writer| {
        let mut count = 0;
        for (name, kind) in names {
            let (op, items) = match kind[..] {
                [MAP] => (Op::NamedMap, Op::MapItems),
                [LIST] => (Op::NamedList, Op::ListItems),
                // What is used together does not outlive those who use it, and of an object nobody knows what is in it.
                _ => continue,
            };
            let object = Proxy::create(client, op, |writer| {
                writer.item(&name);
                Ok(())
            })?;
            writer.item(&name);
            writer.u8(kind[0]);
            object.ask(
                items,
                |writer| {
                    if items == Op::MapItems {
                        writer.u8(KEYS | VALUES);
                    } else {
                        writer.i64(0);
                        writer.i64(END);
                    }
                    Ok(())
                },
                |mut fields| {
                    told(fields.u64())?;
                    writer.0.extend_from_slice(fields.0);
                    Ok(())
                },
            )?;
            count += 1;
        }
        Ok::<_, ManagerError>(count)
    })?;
    Ok(bytes)
}

/// Puts what a snapshot has in the place of what has the same names in a manager, one after the other.
///
/// # Errors
///
/// [`SnapshotError::NoSnapshot`] and [`SnapshotError::Damaged`]: then nothing was changed. [`SnapshotError::Manager`] if there
/// is no room, or something of another type has one of the names: then what came before is there.
pub fn load<C: Client>(client: &C, snapshot: &[u8]) -> Result<(), SnapshotError> {
    for Entry { name, kind, items } in read(snapshot)? {
        let (named, replace, add) = match kind {
            MAP => (Op::NamedMap, Op::MapReplace, Op::MapUpdate),
            _ => (Op::NamedList, Op::ListReplace, Op::ListPush),
        };
        let object = Proxy::create(client, named, |writer| {
            writer.item(name);
            Ok(())
        })?;
        let (first, rest) = items.split_at(items.len().min(MAX_PIECE));
        for (at, piece) in std::iter::once(first).chain(rest.chunks(MAX_PIECE)).enumerate() {
            object.ask(
                if at == 0 { replace } else { add },
                |writer| {
                    match (at, add) {
                        (0, _) => writer.u64(ANY_VERSION),
                        (_, Op::MapUpdate) => writer.option(None),
                        _ => {}
                    }
                    writer.u32(few_enough(piece.len())?);
                    piece.iter().for_each(|item| writer.item(item));
                    Ok(())
                },
                |_| Ok(()),
            )?;
        }
    }
    Ok(())
}

struct Entry<'s> {
    name: &'s [u8],
    kind: u8,
    items: Vec<&'s [u8]>,
}

fn read(snapshot: &[u8]) -> Result<Vec<Entry<'_>>, SnapshotError> {
    let mut fields = Fields(snapshot.strip_prefix(MAGIC).ok_or(SnapshotError::NoSnapshot)?);
    let count = fields.u32().ok_or(SnapshotError::Damaged)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (name, kind) = fields.item().zip(fields.u8()).ok_or(SnapshotError::Damaged)?;
        let items = fields.all_items().ok_or(SnapshotError::Damaged)?;
        let makes_sense = match kind {
            MAP => items.len().is_multiple_of(2),
            LIST => true,
            _ => false,
        };
        if !makes_sense {
            return Err(SnapshotError::Damaged);
        }
        entries.push(Entry { name, kind, items });
    }
    if fields.is_empty() {
        Ok(entries)
    } else {
        Err(SnapshotError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let mut writer = Writer(&mut bytes);
        writer.u32(2);
        writer.item(b"map");
        writer.u8(MAP);
        writer.u32(2);
        writer.item(b"key");
        writer.item(b"value");
        writer.item(b"list");
        writer.u8(LIST);
        writer.u32(1);
        writer.item(b"one");
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = snapshot();
        let entries = read(&bytes).unwrap();
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| (entry.name, entry.kind, &entry.items[..]))
            .collect();
        let (pair, one): ([&[u8]; 2], [&[u8]; 1]) = ([b"key", b"value"], [b"one"]);
        assert_eq!(entries, [(&b"map"[..], MAP, &pair[..]), (b"list", LIST, &one)]);
    }

    #[test]
    fn what_is_damaged_is_refused_or_something_else() {
        let good = snapshot();
        assert!(matches!(read(b"wasmp snapshot 2"), Err(SnapshotError::NoSnapshot)));
        for at in 0..good.len() {
            assert!(read(&good[..at]).is_err());
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                for entry in read(&bytes).unwrap_or_default() {
                    assert!(entry.kind == LIST || entry.kind == MAP && entry.items.len().is_multiple_of(2));
                }
            }
        }
        // Of what it announces no memory is taken.
        let many = [&MAGIC[..], &u32::MAX.to_le_bytes()].concat();
        assert!(matches!(read(&many), Err(SnapshotError::Damaged)));
    }
}
