//! Values, arrays, shared memory, and lists in it.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering::SeqCst};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use wasmp_guest::{
    Array, Event, ListError, ListItem, Lock, MemoryError, Plain, RawArray, RawValue, Result, ShareableList,
    SharedError, SharedMemory, Value, task,
};

use crate::within;

/// A new value.
#[task]
fn value_new(value: i64) -> Result<Value<i64>, SharedError> {
    Value::new(value)
}

/// A new value that goes with this lock.
#[task]
fn value_with_lock(value: i64, lock: Lock) -> Result<Value<i64>, SharedError> {
    Value::with_lock(value, &lock)
}

/// The value.
#[task]
fn value_get(value: Value<i64>) -> Result<i64, SharedError> {
    value.get()
}

/// Replaces the value.
#[task]
fn value_set(value: Value<i64>, new: i64) -> Result<(), SharedError> {
    value.set(new)
}

/// Adds 1 so often, each time under the lock.
#[task]
fn incr(value: Value<i64>, times: u64) -> Result<(), SharedError> {
    for _ in 0..times {
        value.update(|value| value + 1)?;
    }
    Ok(())
}

/// Adds 1 so often, atomically.
#[task]
fn incr_atomic(value: RawValue<i64>, times: u64) -> Result<(), SharedError> {
    for _ in 0..times {
        value.fetch_add(1)?;
    }
    Ok(())
}

/// Adds 1 so often, by comparing and exchanging.
#[task]
fn incr_exchanging(value: RawValue<i64>, times: u64) -> Result<(), SharedError> {
    for _ in 0..times {
        let mut current = value.load()?;
        while let Err(other) = value.compare_exchange(current, current + 1)? {
            current = other;
        }
    }
    Ok(())
}

/// Sets `taken` when it has the value's lock, and has it until `release` is set, when it sets the value.
#[task]
fn value_hold(value: Value<i64>, new: i64, taken: Event, release: Event) -> Result<bool, SharedError> {
    let locked = value.lock()?;
    taken.set()?;
    release.wait()?;
    locked.set(new)?;
    Ok(locked.abandoned())
}

/// The value, if its lock can be had in time.
#[task]
fn value_try(value: Value<i64>, timeout: Option<u64>) -> Result<Option<i64>, SharedError> {
    let locked = within(
        timeout,
        || value.lock().map(Some),
        |time| value.lock_timeout(time),
        || value.try_lock(),
    )?;
    locked.map(|locked| locked.get()).transpose()
}

/// Whether the value's lock is the lock, which must be free.
#[task]
fn value_has_lock(value: Value<i64>, lock: Lock) -> Result<bool, SharedError> {
    let _guard = value.get_lock().lock()?;
    lock.locked()
}

/// A new value without a lock.
#[task]
fn raw_value_new(value: i64) -> Result<RawValue<i64>, SharedError> {
    RawValue::new(value)
}

/// The value.
#[task]
fn raw_value_get(value: RawValue<i64>) -> Result<i64, SharedError> {
    value.get()
}

/// Replaces the value.
#[task]
fn raw_value_set(value: RawValue<i64>, new: i64) -> Result<(), SharedError> {
    value.set(new)
}

/// All atomic operations of a number of this width: what each has found, and what is left.
macro_rules! atomics {
    ($($name:ident: $ty:ty;)*) => {$(
        /// All atomic operations: what each has found, and what is left.
        #[task]
        fn $name(start: $ty, operand: $ty) -> Result<[$ty; 10], SharedError> {
            let value = RawValue::new(start)?;
            Ok([
                value.load()?,
                value.fetch_add(operand)?,
                value.fetch_sub(operand)?,
                value.fetch_or(operand)?,
                value.fetch_and(operand)?,
                value.fetch_xor(start)?,
                value.swap(start)?,
                value.compare_exchange(operand, 0)?.unwrap_or_else(|other| other),
                value.compare_exchange(start, operand)?.unwrap_or_else(|other| other),
                value.get()?,
            ])
        }
    )*};
}

atomics! {
    atomics_u8: u8; atomics_i8: i8; atomics_u16: u16; atomics_i16: i16;
    atomics_u32: u32; atomics_i32: i32; atomics_u64: u64; atomics_i64: i64;
}

/// A new array.
#[task]
fn array_new(values: Vec<i64>) -> Result<Array<i64>, SharedError> {
    Array::from_slice(&values)
}

/// A new array of zeroes.
#[task]
fn array_zeroed(len: usize) -> Result<Array<i64>, SharedError> {
    Array::new(len)
}

/// How many values.
#[task]
fn array_len(array: Array<i64>) -> usize {
    array.len()
}

/// The value at this place.
#[task]
fn array_get(array: Array<i64>, index: usize) -> Result<i64, MemoryError> {
    array.get(index)
}

/// Replaces the value at this place.
#[task]
fn array_set(array: Array<i64>, index: usize, value: i64) -> Result<(), MemoryError> {
    array.set(index, value)
}

/// The values from `start` to `end`.
#[task]
fn array_read(array: Array<i64>, start: usize, end: Option<usize>) -> Result<Vec<i64>, MemoryError> {
    match end {
        Some(end) => array.read(start..end),
        None => array.read(start..),
    }
}

/// Replaces the values from this place on.
#[task]
fn array_write(array: Array<i64>, index: usize, values: Vec<i64>) -> Result<(), MemoryError> {
    array.write(index, &values)
}

/// Doubles each value, all under one lock.
#[task]
fn array_double(array: Array<i64>) -> Result<(), MemoryError> {
    let array = array.lock()?;
    for index in 0..array.len() {
        array.set(index, array.get(index)? * 2)?;
    }
    Ok(())
}

/// Doubles each value where it is.
#[task]
fn array_double_mapped(array: Array<i64>) -> Result<(), SharedError> {
    let array = array.lock()?;
    let mapped = array.map()?;
    for number in mapped.atomics::<AtomicI64>() {
        number.store(number.load(SeqCst) * 2, SeqCst);
    }
    Ok(())
}

/// A new array without a lock.
#[task]
fn raw_array_new(values: Vec<i64>) -> Result<RawArray<i64>, SharedError> {
    RawArray::from_slice(&values)
}

/// Doubles each value.
#[task]
fn raw_array_double(array: RawArray<i64>) -> Result<(), MemoryError> {
    let doubled = Vec::from_iter(array.read(..)?.iter().map(|value| value * 2));
    array.write(0, &doubled)
}

/// All values.
#[task]
fn raw_array_read(array: RawArray<i64>) -> Result<Vec<i64>, MemoryError> {
    array.read(..)
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: f64,
}

impl Plain for Point {
    const SIZE: usize = <(i32, f64)>::SIZE;

    fn load(bytes: &[u8]) -> Self {
        let (x, y) = Plain::load(bytes);
        Self { x, y }
    }

    fn store(&self, bytes: &mut [u8]) {
        (self.x, self.y).store(bytes);
    }
}

/// Values and arrays of many types.
#[derive(Serialize, Deserialize)]
struct Types {
    int: Value<i32>,
    float: RawValue<f64>,
    flag: Value<bool>,
    point: Value<Point>,
    points: RawArray<Point>,
    floats: Array<f64>,
    text: RawArray<u8>,
    matrix: Value<[[i16; 2]; 2]>,
}

/// New values and arrays of many types.
#[task]
fn types_new() -> Result<Types, SharedError> {
    Ok(Types {
        int: Value::new(7)?,
        float: RawValue::new(1.0 / 3.0)?,
        flag: Value::new(false)?,
        point: Value::new(Point { x: 3, y: 4.0 })?,
        points: RawArray::from_slice(&[Point { x: -1, y: -0.5 }; 3])?,
        floats: Array::from_slice(&[0.0, 1.0, 2.0])?,
        text: RawArray::from_slice(b"hello")?,
        matrix: Value::new([[1, 2], [3, 4]])?,
    })
}

/// Doubles all of them.
#[task]
fn types_double(types: Types) -> Result<()> {
    let twice = |point: Point| Point {
        x: point.x * 2,
        y: point.y * 2.0,
    };
    types.int.update(|int| int * 2)?;
    types.float.set(types.float.get()? * 2.0)?;
    types.flag.update(|flag| !flag)?;
    types.point.update(twice)?;
    for index in 0..types.points.len() {
        types.points.set(index, twice(types.points.get(index)?))?;
    }
    let floats = Vec::from_iter(types.floats.read(..)?.iter().map(|float| float * 2.0));
    types.floats.write(0, &floats)?;
    let text = types.text.read(..)?.repeat(2);
    types.text.write(0, &text[..types.text.len()])?;
    types
        .matrix
        .update(|matrix| matrix.map(|row| row.map(|cell| cell * 2)))?;
    Ok(())
}

type Contents = (i32, f64, bool, Point, Vec<Point>, Vec<f64>, ByteBuf, [[i16; 2]; 2]);

/// What is in all of them.
#[task]
fn types_read(types: Types) -> Result<Contents> {
    Ok((
        types.int.get()?,
        types.float.get()?,
        types.flag.get()?,
        types.point.get()?,
        types.points.read(..)?,
        types.floats.read(..)?,
        types.text.read(..)?.into(),
        types.matrix.get()?,
    ))
}

/// New memory.
#[task]
fn memory_create(size: u64) -> Result<SharedMemory, SharedError> {
    SharedMemory::create(size)
}

/// New memory with a name.
#[task]
fn memory_create_named(name: &str, size: u64) -> Result<SharedMemory, SharedError> {
    SharedMemory::create_named(name, size)
}

/// The memory of this name.
#[task]
fn memory_open_named(name: &str) -> Result<SharedMemory, SharedError> {
    SharedMemory::open_named(name)
}

/// How many bytes.
#[task]
fn memory_size(memory: SharedMemory) -> u64 {
    memory.size()
}

/// So many bytes from there on.
#[task]
fn memory_read(memory: SharedMemory, offset: u64, len: usize) -> Result<Vec<u8>, MemoryError> {
    let mut bytes = vec![0; len];
    memory.read(offset, &mut bytes)?;
    Ok(bytes)
}

/// Writes bytes there.
#[task]
fn memory_write(memory: SharedMemory, offset: u64, bytes: &[u8]) -> Result<(), MemoryError> {
    memory.write(offset, bytes)
}

/// Writes bytes to the memory of this name.
#[task]
fn memory_write_named(name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
    Ok(SharedMemory::open_named(name)?.write(offset, bytes)?)
}

/// Takes the name and the token away.
#[task]
fn memory_unlink(memory: SharedMemory) -> Result<(), SharedError> {
    memory.unlink()
}

/// Fills all of it where it is; how many bytes.
#[task]
fn memory_fill_mapped(memory: SharedMemory, byte: u8) -> Result<usize, SharedError> {
    let mapped = memory.map()?;
    for cell in mapped.atomics::<AtomicU8>() {
        cell.store(byte, SeqCst);
    }
    Ok(mapped.size())
}

/// The sum of all bytes where they are.
#[task]
fn memory_sum_mapped(memory: SharedMemory) -> Result<u64, SharedError> {
    let mapped = memory.map()?;
    Ok(mapped
        .atomics::<AtomicU8>()
        .iter()
        .map(|cell| u64::from(cell.load(SeqCst)))
        .sum())
}

/// Adds 1 to the first number so often, each time under the lock.
#[task]
fn incr_mapped(memory: SharedMemory, lock: Lock, times: u64) -> Result<(), SharedError> {
    let mapped = memory.map()?;
    let number = &mapped.atomics::<AtomicI64>()[0];
    for _ in 0..times {
        let _guard = lock.lock()?;
        number.store(number.load(SeqCst) + 1, SeqCst);
    }
    Ok(())
}

/// Maps and gives back so often, while the heap around is in use; what was written into the maps must be there at the
/// end, and nothing of the heap may be lost.
#[task]
fn memory_map_often(memory: SharedMemory, times: u64) -> Result<bool> {
    let mut kept = Vec::new();
    for round in 0..times {
        let mapped = memory.map()?;
        mapped.atomics::<AtomicU8>()[0].fetch_add(1, SeqCst);
        kept.push(vec![round as u8; 1000]);
        drop(mapped);
        kept.push(vec![!round as u8; 100_000]);
        if round % 3 == 0 {
            kept.remove(0);
        }
    }
    let mut first = [0];
    memory.read(0, &mut first)?;
    let whole = kept.iter().all(|bytes| bytes.iter().all(|byte| *byte == bytes[0]));
    Ok(whole && first[0] == times as u8)
}

/// The sum of all bytes where they are, after this instance's own memory has grown by so many bytes.
#[task]
fn memory_sum_mapped_grown(memory: SharedMemory, more: usize) -> Result<u64, SharedError> {
    let mapped = memory.map()?;
    let grown = vec![1_u8; more];
    let cells = mapped.atomics::<AtomicU8>().iter();
    Ok(cells.map(|cell| u64::from(cell.load(SeqCst))).sum::<u64>()
        + grown.iter().map(|byte| u64::from(*byte)).sum::<u64>())
}

/// Maps the memory and lets the host copy `len` bytes, which begin at `start` of the mapped ones or before them, to
/// `target`.
#[task]
fn memory_copy_mapped(memory: SharedMemory, target: SharedMemory, start: isize, len: usize) -> Result<(), MemoryError> {
    let mapped = memory.map()?;
    // SAFETY: all of it is memory of this instance, which has one thread; the host is to refuse what it shares.
    let bytes = unsafe { std::slice::from_raw_parts(mapped.as_ptr().offset(start), len) };
    target.write(0, bytes)
}

/// Makes and drops memory of sizes from 1 to `largest`, so often; how much was there at most.
#[task]
fn memory_churn(times: u64, largest: u64) -> Result<u64> {
    let mut state = 1_u64;
    let (mut held, mut most) = (Vec::<SharedMemory>::new(), 0);
    for _ in 0..times {
        // Knuth's linear congruential generator.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if held.len() > 20 || (state >> 63 == 1 && !held.is_empty()) {
            held.swap_remove((state >> 33) as usize % held.len());
        } else {
            let memory = SharedMemory::create((state >> 33) % largest + 1)?;
            let mut last = [1];
            memory.read(memory.size() - 1, &mut last)?;
            assert_eq!(last, [0], "new memory is zero");
            memory.write(memory.size() - 1, &[7])?;
            held.push(memory);
        }
        most = most.max(held.iter().map(SharedMemory::size).sum());
    }
    Ok(most)
}

/// An item of a list as it travels; null is none of these.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Item {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Bytes(ByteBuf),
}

fn to_list(item: Option<Item>) -> ListItem {
    match item {
        None => ListItem::None,
        Some(Item::Bool(value)) => value.into(),
        Some(Item::Int(value)) => value.into(),
        Some(Item::Float(value)) => value.into(),
        Some(Item::Str(text)) => text.into(),
        Some(Item::Bytes(bytes)) => bytes.into_vec().into(),
    }
}

fn from_list(item: ListItem) -> Option<Item> {
    Some(match item {
        ListItem::None => return None,
        ListItem::Bool(value) => Item::Bool(value),
        ListItem::Int(value) => Item::Int(value),
        ListItem::Float(value) => Item::Float(value),
        ListItem::Str(text) => Item::Str(text),
        ListItem::Bytes(bytes) => Item::Bytes(bytes.into()),
    })
}

/// A new list.
#[task]
fn list_new(items: Vec<Option<Item>>) -> Result<ShareableList, ListError> {
    ShareableList::new(items.into_iter().map(to_list))
}

/// A new list with a name.
#[task]
fn list_create_named(name: &str, items: Vec<Option<Item>>) -> Result<ShareableList, ListError> {
    ShareableList::create_named(name, items.into_iter().map(to_list))
}

/// The list of this name.
#[task]
fn list_open_named(name: &str) -> Result<ShareableList, ListError> {
    ShareableList::open_named(name)
}

/// The list in this memory.
#[task]
fn list_in_memory(memory: SharedMemory) -> Result<ShareableList, ListError> {
    memory.try_into()
}

/// How many items.
#[task]
fn list_len(list: ShareableList) -> usize {
    list.len()
}

/// The item at this place.
#[task]
fn list_get(list: ShareableList, index: usize) -> Result<Option<Item>, ListError> {
    list.get(index).map(from_list)
}

/// Replaces the item at this place.
#[task]
fn list_set(list: ShareableList, index: usize, item: Option<Item>) -> Result<(), ListError> {
    list.set(index, to_list(item))
}

/// All items.
#[task]
fn list_items(list: ShareableList) -> Result<Vec<Option<Item>>, ListError> {
    Ok(list.to_vec()?.into_iter().map(from_list).collect())
}

/// How many items are equal to this one, and the place of the first.
#[task]
fn list_find(list: ShareableList, item: Option<Item>) -> Result<(usize, Option<usize>), ListError> {
    let item = to_list(item);
    Ok((list.count(item.clone())?, list.index(item)?))
}

/// The memory that the list is in.
#[task]
fn list_memory(list: ShareableList) -> SharedMemory {
    list.memory().clone()
}
