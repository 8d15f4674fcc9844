use serde::{Deserialize, Serialize};
use wasmp_abi::{
    ListItem,
    list::{self, Slot, TABLE},
};

use super::{ListError, SharedError, SharedMemory};

/// A list of a fixed length whose items, numbers and short texts, can be replaced by others that have room in their
/// place.
///
/// A text or byte string has the room of the first one, rounded up to eight bytes; everything else needs no more than
/// eight. An item is read and written without a lock: who writes while others read has to take one.
///
/// CPython: `multiprocessing.shared_memory.ShareableList`.
///
/// ```
/// use wasmp_guest::{ListItem, Result, ShareableList, task};
///
/// fn settings() -> Result<ShareableList> {
///     Ok(ShareableList::new([ListItem::from("blue"), 3.into(), ListItem::None])?)
/// }
///
/// #[task]
/// fn repaint(settings: ShareableList) -> Result<bool> {
///     settings.set(0, "green")?;
///     Ok(settings.get(1)? == 3.into())
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "SharedMemory", try_from = "SharedMemory")]
pub struct ShareableList {
    memory: SharedMemory,
    len: u32,
}

impl ShareableList {
    /// A new list of these items.
    ///
    /// # Errors
    ///
    /// They are too large altogether, and those of [`SharedMemory::create`].
    pub fn new<I: Into<ListItem>>(items: impl IntoIterator<Item = I>) -> Result<Self, ListError> {
        Self::make(items, SharedMemory::create)
    }

    /// A new list of these items that others can find by this name.
    ///
    /// # Errors
    ///
    /// They are too large altogether, and those of [`SharedMemory::create_named`].
    pub fn create_named<I: Into<ListItem>>(name: &str, items: impl IntoIterator<Item = I>) -> Result<Self, ListError> {
        Self::make(items, |size| SharedMemory::create_named(name, size))
    }

    fn make<I: Into<ListItem>>(
        items: impl IntoIterator<Item = I>,
        create: impl FnOnce(u64) -> Result<SharedMemory, SharedError>,
    ) -> Result<Self, ListError> {
        let items = Vec::from_iter(items.into_iter().map(Into::into));
        let image = list::image(&items).ok_or(SharedError::Invalid)?;
        let memory = create(image.len() as u64)?;
        memory.write(0, &image)?;
        Self::try_from(memory)
    }

    /// The list of this name.
    ///
    /// # Errors
    ///
    /// There is none, or it is something else.
    pub fn open_named(name: &str) -> Result<Self, ListError> {
        SharedMemory::open_named(name)?.try_into()
    }

    /// How many items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The item at this place.
    ///
    /// # Errors
    ///
    /// The list is not so long, or somebody is writing there.
    pub fn get(&self, index: usize) -> Result<ListItem, ListError> {
        let slot = self.slot(index)?;
        let mut bytes = vec![0; slot.length as usize];
        self.memory.read(slot.start.into(), &mut bytes)?;
        slot.item(bytes).ok_or(ListError::Malformed)
    }

    /// Replaces the item at this place, be it by one of another type.
    ///
    /// # Errors
    ///
    /// The list is not so long, or the item too long.
    pub fn set(&self, index: usize, item: impl Into<ListItem>) -> Result<(), ListError> {
        let item = item.into();
        let (slot, bytes) = self.slot(index)?.filled(&item).ok_or(ListError::TooLong)?;
        self.memory.write(slot.start.into(), &bytes)?;
        self.memory.write(Slot::place(index), &slot.bytes())?;
        Ok(())
    }

    fn slot(&self, index: usize) -> Result<Slot, ListError> {
        if index >= self.len() {
            return Err(ListError::OutOfRange);
        }
        let mut bytes = [0; Slot::SIZE];
        self.memory.read(Slot::place(index), &mut bytes)?;
        Slot::parse(&bytes, self.memory.size()).ok_or(ListError::Malformed)
    }

    /// All items.
    ///
    /// # Errors
    ///
    /// Somebody is writing to one.
    pub fn to_vec(&self) -> Result<Vec<ListItem>, ListError> {
        (0..self.len()).map(|index| self.get(index)).collect()
    }

    /// How many items are equal to this one.
    ///
    /// # Errors
    ///
    /// As those of [`to_vec`](Self::to_vec).
    pub fn count(&self, item: impl Into<ListItem>) -> Result<usize, ListError> {
        let item = item.into();
        Ok(self.to_vec()?.iter().filter(|other| **other == item).count())
    }

    /// The place of the first item that is equal to this one.
    ///
    /// # Errors
    ///
    /// As those of [`to_vec`](Self::to_vec).
    pub fn index(&self, item: impl Into<ListItem>) -> Result<Option<usize>, ListError> {
        let item = item.into();
        Ok(self.to_vec()?.iter().position(|other| *other == item))
    }

    /// The memory that it is in. CPython: `shm`.
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }
}

impl TryFrom<SharedMemory> for ShareableList {
    type Error = ListError;

    /// The list in this memory.
    fn try_from(memory: SharedMemory) -> Result<Self, ListError> {
        let mut head = [0; TABLE as usize];
        memory.read(0, &mut head)?;
        let len = list::length(&head, memory.size()).ok_or(ListError::Malformed)?;
        Ok(Self { memory, len })
    }
}

impl From<ShareableList> for SharedMemory {
    fn from(list: ShareableList) -> Self {
        list.memory
    }
}
