//! What requests and answers are written with, and read.

use super::{Id, MAX_ITEMS, Op};

/// The length of an item that is not there.
const NONE: u32 = u32::MAX;

/// The length of an item. One of 4 GiB gets that of none: a message with it is far too long to be sent.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(NONE)
}

/// Appends fields.
#[derive(Debug)]
pub struct Writer<'m>(pub &'m mut Vec<u8>);

impl Writer<'_> {
    /// What stands in front of every request. The sequence number comes later.
    pub fn request(&mut self, op: Op, object: Id) {
        self.u32(0);
        self.u8(op as u8);
        self.id(object);
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes, with a sign.
    pub fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// The id of an object.
    pub fn id(&mut self, id: Id) {
        self.0.extend_from_slice(id.bytes());
    }

    /// An item that is there.
    pub fn item(&mut self, item: &[u8]) {
        self.u32(length(item.len()));
        self.0.extend_from_slice(item);
    }

    /// A proxy of an object of this manager, as an item: `[null, id]`, and all of it in CBOR.
    pub fn reference(&mut self, id: Id) {
        const NULL_AND_BYTES: [u8; 3] = [0x82, 0xf6, 0x40 + Id::LEN as u8];
        self.u32(length(NULL_AND_BYTES.len() + Id::LEN));
        self.0.extend_from_slice(&NULL_AND_BYTES);
        self.id(id);
    }

    /// An item that may not be there.
    pub fn option(&mut self, item: Option<&[u8]>) {
        match item {
            Some(item) => self.item(item),
            None => self.u32(NONE),
        }
    }

    /// An item that `write` appends; its length is known afterwards.
    ///
    /// # Errors
    ///
    /// Those of `write`; then a part of it may be there.
    pub fn item_by<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.0.len();
        self.u32(0);
        write(self.0)?;
        let length = length(self.0.len() - start - size_of::<u32>());
        self.0[start..][..size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// What `write` appends, with how many that are in front.
    ///
    /// # Errors
    ///
    /// Those of `write`; then a part of it may be there.
    pub fn counted<E>(&mut self, write: impl FnOnce(&mut Writer<'_>) -> Result<u32, E>) -> Result<(), E> {
        let start = self.0.len();
        self.u32(0);
        let count = write(self)?;
        self.0[start..][..size_of::<u32>()].copy_from_slice(&count.to_le_bytes());
        Ok(())
    }
}

/// Reads fields. `None`: it is not there, and what it was read from makes no sense.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'m>(pub &'m [u8]);

impl<'m> Fields<'m> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    /// Eight bytes, with a sign.
    pub fn i64(&mut self) -> Option<i64> {
        self.chunk().map(i64::from_le_bytes)
    }

    /// The id of an object.
    pub fn id(&mut self) -> Option<Id> {
        self.chunk().map(Id::new)
    }

    /// An item that is there.
    pub fn item(&mut self) -> Option<&'m [u8]> {
        self.option()?
    }

    /// An item that may not be there.
    pub fn option(&mut self) -> Option<Option<&'m [u8]>> {
        match self.u32()? {
            NONE => Some(None),
            length => self.0.split_off(..length as usize).map(Some),
        }
    }

    /// How many items follow, if there may be so many.
    pub fn count(&mut self) -> Option<usize> {
        self.u32()
            .map(|count| count as usize)
            .filter(|count| *count <= MAX_ITEMS)
    }

    /// Items, with how many in front: any number that may be in a request. All of them, or none.
    pub fn items(&mut self) -> Option<Vec<&'m [u8]>> {
        let count = self.count()?;
        self.so_many(count)
    }

    /// Items, with how many in front: any number that there is in an answer. All of them, or none.
    pub fn all_items(&mut self) -> Option<Vec<&'m [u8]>> {
        let count = self.u32()? as usize;
        self.so_many(count)
    }

    fn so_many(&mut self, count: usize) -> Option<Vec<&'m [u8]>> {
        // Each has its length, at least: no count makes this ask for more memory than the message has.
        if count > self.0.len() / size_of::<u32>() {
            return None;
        }
        (0..count).map(|_| self.item()).collect()
    }

    /// Whether that was all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_written() {
        let mut bytes = Vec::new();
        let mut writer = Writer(&mut bytes);
        writer.u8(7);
        writer.u32(8);
        writer.u64(9);
        writer.i64(-10);
        writer.id(Id::new(*b"0123456789abcdef"));
        writer.item(b"item");
        writer.option(None);
        writer.option(Some(b""));
        let counted: Result<(), ()> = writer.counted(|writer| {
            writer.item(b"one");
            writer.item_by(|bytes| {
                bytes.extend_from_slice(b"two");
                Ok(())
            })?;
            Ok(2)
        });
        counted.unwrap();

        let mut fields = Fields(&bytes);
        assert_eq!((fields.u8(), fields.u32(), fields.u64()), (Some(7), Some(8), Some(9)));
        assert_eq!(fields.i64(), Some(-10));
        assert_eq!(fields.id().unwrap().bytes(), b"0123456789abcdef");
        assert_eq!(fields.item(), Some(&b"item"[..]));
        assert_eq!(fields.option(), Some(None));
        assert_eq!(fields.option(), Some(Some(&b""[..])));
        assert_eq!(fields.items(), Some(vec![&b"one"[..], b"two"]));
        assert!(fields.is_empty());
    }

    #[test]
    fn what_is_cut_off_is_not_there() {
        let mut bytes = Vec::new();
        Writer(&mut bytes).item(b"item");
        for length in 0..bytes.len() {
            assert_eq!(Fields(&bytes[..length]).item(), None);
        }
        let many = u32::MAX.to_le_bytes();
        assert_eq!(Fields(&many).items(), None);
        assert_eq!(Fields(&[2, 0, 0, 0, 0, 0, 0, 0]).items(), None);
    }
}
