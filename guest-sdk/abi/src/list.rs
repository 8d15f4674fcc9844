//! How a shareable list lies in memory. Numbers are little-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | how many items there are |
//! | 16 for each item | where its contents are and how much room they have, its type (`Slot::kind`), their length |
//! | the rest | the contents of the items: integers and floats in eight bytes, truth values in one, texts in UTF-8 |

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Plain;

/// An item of a `ShareableList`.
///
/// Items are equal when their types are as well: `1` is not `1.0`, which it is in Python.
///
/// ```
/// # use wasmp_abi::ListItem;
/// assert_eq!(ListItem::from("text"), ListItem::Str("text".into()));
/// assert_ne!(ListItem::from(1), ListItem::from(1.0));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum ListItem {
    /// Nothing.
    None,
    /// An integer of 64 bits.
    Int(i64),
    /// A float.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Str(String),
    /// A byte string.
    Bytes(Vec<u8>),
}

macro_rules! from {
    ($($ty:ty => $variant:ident;)*) => {$(
        impl From<$ty> for ListItem {
            fn from(value: $ty) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    i64 => Int;
    f64 => Float;
    bool => Bool;
    &str => Str;
    String => Str;
    &[u8] => Bytes;
    Vec<u8> => Bytes;
}

/// Where the table starts.
pub const TABLE: u64 = u64::SIZE as u64;

/// What the room of an item is a multiple of.
const UNIT: u32 = 8;

/// Where an item is, how much room it has, and what there is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Where the contents are.
    pub start: u32,
    room: u32,
    /// 0: nothing; 1: an integer; 2: a float; 3: a truth value; 4: a text; 5: a byte string.
    kind: u32,
    /// How many bytes the contents have.
    pub length: u32,
}

type Fields = (u32, u32, u32, u32);

impl Slot {
    /// How many bytes it has itself.
    pub const SIZE: usize = Fields::SIZE;

    /// Where the slot of this item is.
    pub fn place(index: usize) -> u64 {
        TABLE + index as u64 * Self::SIZE as u64
    }

    /// A slot that lies within the memory and has room for what it says it has.
    pub fn parse(bytes: &[u8], size: u64) -> Option<Self> {
        let (start, room, kind, length) = Fields::load(bytes);
        let fits = length <= room && u64::from(start) + u64::from(room) <= size;
        fits.then_some(Self {
            start,
            room,
            kind,
            length,
        })
    }

    /// The slot as it lies in the memory.
    pub fn bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        (self.start, self.room, self.kind, self.length).store(&mut bytes);
        bytes
    }

    /// The slot with another item, and that item's contents, if there is room for it.
    pub fn filled(self, item: &ListItem) -> Option<(Self, Cow<'_, [u8]>)> {
        let (kind, bytes) = contents(item);
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= self.room)?;
        Some((Self { kind, length, ..self }, bytes))
    }

    /// The item of these contents, unless they are none of its kind.
    pub fn item(self, bytes: Vec<u8>) -> Option<ListItem> {
        Some(match self.kind {
            NONE => ListItem::None,
            INT => ListItem::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
            FLOAT => ListItem::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
            BOOL => ListItem::Bool(*bytes.first()? != 0),
            STR => ListItem::Str(String::from_utf8(bytes).ok()?),
            BYTES => ListItem::Bytes(bytes),
            _ => return None,
        })
    }
}

const NONE: u32 = 0;
const INT: u32 = 1;
const FLOAT: u32 = 2;
const BOOL: u32 = 3;
const STR: u32 = 4;
const BYTES: u32 = 5;

fn contents(item: &ListItem) -> (u32, Cow<'_, [u8]>) {
    match item {
        ListItem::None => (NONE, Cow::default()),
        ListItem::Int(value) => (INT, value.to_le_bytes().to_vec().into()),
        ListItem::Float(value) => (FLOAT, value.to_le_bytes().to_vec().into()),
        ListItem::Bool(value) => (BOOL, alloc::vec![u8::from(*value)].into()),
        ListItem::Str(text) => (STR, text.as_bytes().into()),
        ListItem::Bytes(bytes) => (BYTES, bytes.into()),
    }
}

/// The memory of a new list, unless it is too large.
pub fn image(items: &[ListItem]) -> Option<Vec<u8>> {
    let mut image = (items.len() as u64).to_le_bytes().to_vec();
    let mut start = u32::try_from(Slot::place(items.len())).ok()?;
    let mut all = Vec::new();
    for item in items {
        let (kind, bytes) = contents(item);
        let length = u32::try_from(bytes.len()).ok()?;
        let room = length.max(1).checked_next_multiple_of(UNIT)?;
        let slot = Slot {
            start,
            room,
            kind,
            length,
        };
        image.extend(slot.bytes());
        all.extend_from_slice(&bytes);
        start = start.checked_add(room)?;
        all.resize(all.len() + (room - length) as usize, 0);
    }
    image.append(&mut all);
    Some(image)
}

/// The length of the list in a memory of this size, if it has room for so many slots.
pub fn length(head: &[u8], size: u64) -> Option<u32> {
    let length = u32::try_from(u64::load(head)).ok()?;
    (Slot::place(length as usize) <= size).then_some(length)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// All items of an image.
    fn items(image: &[u8]) -> Option<Vec<ListItem>> {
        let size = image.len() as u64;
        let length = length(&image[..TABLE as usize], size)?;
        (0..length as usize)
            .map(|index| {
                let slot = Slot::parse(&image[Slot::place(index) as usize..][..Slot::SIZE], size)?;
                slot.item(image[slot.start as usize..][..slot.length as usize].to_vec())
            })
            .collect()
    }

    fn all_kinds() -> [ListItem; 8] {
        [
            ListItem::None,
            i64::MIN.into(),
            f64::INFINITY.into(),
            true.into(),
            "".into(),
            "eight ch".into(),
            "nine char".into(),
            [0, 255].as_slice().into(),
        ]
    }

    #[test]
    fn items_are_found_where_the_table_says() {
        let image = image(&all_kinds()).unwrap();
        assert_eq!(items(&image).unwrap(), all_kinds());
        assert_eq!(image.len(), 8 + 8 * Slot::SIZE + 9 * 8);
        assert_eq!(items(&super::image(&[]).unwrap()).unwrap(), []);
    }

    #[test]
    fn an_item_is_replaced_by_what_has_room() {
        let image = image(&all_kinds()).unwrap();
        let size = image.len() as u64;
        for (index, room) in [8, 8, 8, 8, 8, 8, 16, 8].into_iter().enumerate() {
            let slot = Slot::parse(&image[Slot::place(index) as usize..][..Slot::SIZE], size).unwrap();
            for item in all_kinds() {
                let length = contents(&item).1.len();
                let filled = slot.filled(&item);
                assert_eq!(filled.is_some(), length <= room, "{item:?} in {room}");
                if let Some((slot, bytes)) = filled {
                    assert_eq!(Slot::parse(&slot.bytes(), size), Some(slot));
                    assert_eq!(slot.item(bytes.into_owned()), Some(item.clone()));
                }
            }
        }
    }

    #[test]
    fn what_others_have_written_is_not_followed() {
        let image = image(&["text".into()]).unwrap();
        let slot = &image[TABLE as usize..][..Slot::SIZE];
        let size = image.len() as u64;
        let changed = |field: usize, value: u32| {
            let mut slot = slot.to_vec();
            slot[field * 4..][..4].copy_from_slice(&value.to_le_bytes());
            Slot::parse(&slot, size)
        };
        assert!(changed(0, u32::MAX).is_none());
        assert!(changed(1, u32::MAX).is_none());
        assert!(changed(3, 9).is_none());
        assert_eq!(changed(2, 6).unwrap().item(b"text".to_vec()), None);
        assert_eq!(changed(2, INT).unwrap().item(b"text".to_vec()), None);
        assert_eq!(changed(2, STR).unwrap().item(b"\xff".to_vec()), None);
        assert_eq!(length(&u64::MAX.to_le_bytes(), u64::MAX), None);
        assert_eq!(length(&2_u64.to_le_bytes(), size), None);
    }
}
