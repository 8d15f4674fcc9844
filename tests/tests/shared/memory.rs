//! Values, arrays, shared memory and lists.

use std::time::Duration;

use serde_bytes::ByteBuf;
use wasmp::{
    AnyLock, Array, Error, ErrorKind, Isolation, ListError, ListItem, Lock, MemoryError, RLock, RawArray, RawValue,
    ShareableList, SharedError, SharedMemory, Value,
};
use wasmp_tests::{eventually, isolated, own_fds};

use crate::common::{builder, call, error, failure, pool, start};

/// Longer than anything takes, in milliseconds.
const LONG: u64 = 20_000;
/// The same.
const PATIENCE: Duration = Duration::from_millis(LONG);

const OUT_OF_RANGE: &str = "out of range";
const INVALID: &str = "a number or a name is outside of what is possible";
const NOT_FOUND: &str = "there is no such object";
const MAPPED: &str = "the range is mapped to a shared object: copy it first";

/// The unit of maps.
const UNIT: u64 = 65536;

#[test]
fn v_01_workers_and_host_change_one_value() {
    isolated(|| {
        let pool = pool(3);
        let value: Value<i64> = call(&pool, "value_new", (5,));
        assert_eq!(value.get().unwrap(), 5);
        value.set(-7).unwrap();
        assert_eq!(call::<i64>(&pool, "value_get", (&value,)), -7);
        call::<()>(&pool, "value_set", (&value, 0));
        let workers = [(); 3].map(|()| start::<()>(&pool, "incr", (&value, 1000)));
        for _ in 0..1000 {
            value.update(|value| value + 1).unwrap();
        }
        for worker in workers {
            worker.get_timeout(PATIENCE).unwrap();
        }
        assert_eq!(value.get().unwrap(), 4000);
    });
}

#[test]
fn v_02_a_raw_value_has_atomic_operations_and_no_lock() {
    isolated(|| {
        let pool = pool(3);
        let value: RawValue<i64> = call(&pool, "raw_value_new", (i64::MIN,));
        assert_eq!(value.get(), i64::MIN);
        value.set(i64::MAX);
        assert_eq!(call::<i64>(&pool, "raw_value_get", (&value,)), i64::MAX);
        call::<()>(&pool, "raw_value_set", (&value, 0));
        let workers =
            ["incr_atomic", "incr_exchanging", "incr_atomic"].map(|task| start::<()>(&pool, task, (&value, 1000)));
        for _ in 0..1000 {
            value.fetch_add(1);
        }
        for worker in workers {
            worker.get_timeout(PATIENCE).unwrap();
        }
        assert_eq!(value.load(), 4000);

        // Loaded, +, -, |, &, ^, swapped, not exchanged, exchanged, got.
        let expected = [200, 200, 44, 200, 236, 100, 172, 200, 200, 100];
        assert_eq!(call::<[u8; 10]>(&pool, "atomics_u8", (200, 100)), expected);
        assert_eq!(
            call::<[u64; 10]>(&pool, "atomics_u64", (u64::MAX, 1))[..3],
            [u64::MAX, u64::MAX, 0]
        );
        assert_eq!(
            call::<[i32; 10]>(&pool, "atomics_i32", (-1, i32::MIN))[..3],
            [-1, -1, i32::MAX]
        );
    });
}

#[test]
fn v_03_a_value_has_a_lock_of_its_own_or_a_given_one() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let lock = Lock::new().unwrap();
        let value: Value<i64> = call(&one, "value_with_lock", (1, &lock));
        assert!(matches!(value.get_lock(), AnyLock::Lock(_)));
        assert!(call::<bool>(&other, "value_has_lock", (&value, &lock)));
        let own: Value<i64> = call(&one, "value_new", (1,));
        assert!(matches!(own.get_lock(), AnyLock::RLock(_)), "as in CPython");
        assert!(!call::<bool>(&other, "value_has_lock", (&own, &lock)));

        let guard = lock.lock().unwrap();
        assert_eq!(call::<Option<i64>>(&one, "value_try", (&value, 0)), None);
        assert_eq!(call::<Option<i64>>(&one, "value_try", (&value, 60)), None);
        assert_eq!(call::<Option<i64>>(&one, "value_try", (&own, 0)), Some(1));
        drop(guard);
        assert_eq!(call::<Option<i64>>(&one, "value_try", (&value, LONG)), Some(1));

        let shared = RLock::new().unwrap();
        let (value, array) = (
            Value::with_lock(1_i64, &shared).unwrap(),
            Array::<i64>::with_lock(3, &shared).unwrap(),
        );
        let locked = array.lock().unwrap();
        assert!(value.try_lock().unwrap().is_some(), "this thread's");
        assert_eq!(call::<Option<i64>>(&other, "value_try", (&value, 0)), None);
        drop(locked);
        assert_eq!(call::<Option<i64>>(&other, "value_try", (&value, 0)), Some(1));
    });
}

#[test]
fn a_01_an_array_is_read_written_and_changed_in_place() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let array: Array<i64> = call(&one, "array_new", (vec![680, 626, 934, 821],));
        assert_eq!((array.len(), call::<usize>(&other, "array_len", (&array,))), (4, 4));
        assert_eq!(
            (array.get(2).unwrap(), call::<i64>(&other, "array_get", (&array, 2))),
            (934, 934)
        );
        assert_eq!(call::<Vec<i64>>(&other, "array_read", (&array, 1, 3)), [626, 934]);
        call::<()>(&other, "array_write", (&array, 2, [1, 2]));
        array.write(0, &[-1]).unwrap();
        call::<()>(&other, "array_set", (&array, 1, 5));
        assert_eq!(array.read(..).unwrap(), [-1, 5, 1, 2]);
        call::<()>(&one, "array_double", (&array,));
        call::<()>(&other, "array_double_mapped", (&array,));
        assert_eq!(
            call::<Vec<i64>>(&one, "array_read", (&array, 0, None::<usize>)),
            [-4, 20, 4, 8]
        );
    });
}

#[test]
fn a_02_an_array_has_its_length_and_no_more() {
    isolated(|| {
        let pool = pool(1);
        let array: Array<i64> = call(&pool, "array_zeroed", (10,));
        assert_eq!(array.read(..).unwrap(), [0; 10]);
        assert_eq!(error(&pool, "array_get", (&array, 10)), OUT_OF_RANGE);
        assert_eq!(error(&pool, "array_set", (&array, 10, 1)), OUT_OF_RANGE);
        assert_eq!(error(&pool, "array_read", (&array, 9, 11)), OUT_OF_RANGE);
        assert_eq!(error(&pool, "array_read", (&array, 4, 3)), OUT_OF_RANGE);
        assert_eq!(error(&pool, "array_write", (&array, 9, [1, 2])), OUT_OF_RANGE);
        assert_eq!(array.get(10), Err(MemoryError::OutOfRange));
        assert_eq!(array.write(9, &[1, 2]), Err(MemoryError::OutOfRange));
        assert_eq!(array.read(..).unwrap(), [0; 10], "nothing was replaced");
        assert_eq!(error(&pool, "array_zeroed", (0,)), INVALID);
        assert!(matches!(Array::<i64>::new(0), Err(Error::Invalid(_))));
    });
}

#[test]
fn a_03_a_raw_array_has_no_lock() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let array: RawArray<i64> = call(&one, "raw_array_new", ([1, 2, 3],));
        call::<()>(&other, "raw_array_double", (&array,));
        assert_eq!(array.read(..).unwrap(), [2, 4, 6]);
        array.set(1, -1).unwrap();
        assert_eq!(call::<Vec<i64>>(&one, "raw_array_read", (&array,)), [2, -1, 6]);
    });
}

#[test]
fn a_04_the_lock_of_an_array_keeps_others_out() {
    isolated(|| {
        let pool = pool(1);
        let array = Array::from_slice(&[1_i64, 2]).unwrap();
        let locked = array.lock().unwrap();
        let doubling = start::<()>(&pool, "array_double", (&array,));
        for value in [10, 20, 30] {
            locked.set(0, value).unwrap();
            locked.set(1, value).unwrap();
        }
        assert_eq!(locked.read(..).unwrap(), [30, 30]);
        drop(locked);
        doubling.get_timeout(PATIENCE).unwrap();
        assert_eq!(array.read(..).unwrap(), [60, 60]);
    });
}

#[derive(Debug, serde::Deserialize, serde::Serialize)]
struct Types {
    int: Value<i32>,
    float: RawValue<f64>,
    flag: Value<bool>,
    point: Value<(i32, f64)>,
    points: RawArray<(i32, f64)>,
    floats: Array<f64>,
    text: RawArray<u8>,
    matrix: Value<[[i16; 2]; 2]>,
}

/// A structure of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
struct Point {
    x: i32,
    y: f64,
}

type Contents = (i32, f64, bool, Point, Vec<Point>, Vec<f64>, ByteBuf, [[i16; 2]; 2]);

#[test]
fn sc_01_values_and_arrays_of_many_types_are_doubled_by_a_worker() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let types: Types = call(&one, "types_new", ());
        call::<()>(&other, "types_double", (&types,));
        assert_eq!(types.int.get().unwrap(), 14);
        assert_eq!(types.float.get(), 2.0 / 3.0);
        assert!(types.flag.get().unwrap());
        assert_eq!(types.point.get().unwrap(), (6, 8.0));
        assert_eq!(types.points.read(..).unwrap(), [(-2, -1.0); 3]);
        assert_eq!(types.floats.read(..).unwrap(), [0.0, 2.0, 4.0]);
        assert_eq!(types.text.read(..).unwrap(), b"hello");
        assert_eq!(types.matrix.get().unwrap(), [[2, 4], [6, 8]]);
        types.point.set((1, -0.5)).unwrap();
        types.matrix.set([[-1; 2]; 2]).unwrap();
        let seen: Contents = call(&one, "types_read", (&types,));
        assert_eq!(seen.3, Point { x: 1, y: -0.5 });
        assert_eq!(seen.4, [Point { x: -2, y: -1.0 }; 3]);
        assert_eq!((seen.6.as_slice(), seen.7), (&b"hello"[..], [[-1; 2]; 2]));
    });
}

#[test]
fn sc_02_a_copy_is_independent() {
    isolated(|| {
        let pool = pool(1);
        let value: Value<i64> = call(&pool, "value_new", (2,));
        let copy = Value::new(value.get().unwrap()).unwrap();
        call::<()>(&pool, "value_set", (&value, 3));
        assert_eq!((value.get().unwrap(), copy.get().unwrap()), (3, 2));
    });
}

#[test]
fn h_01_memory_that_is_dropped_is_there_again() {
    isolated(|| {
        let pool = pool(2);
        // More objects than there may be at a time.
        let workers = [(); 2].map(|()| start::<u64>(&pool, "memory_churn", (2500, 4 * UNIT)));
        for worker in workers {
            let most = worker.get_timeout(3 * PATIENCE).unwrap();
            assert!(most > 4 * UNIT && most <= 22 * 4 * UNIT, "{most}");
        }
        eventually("the host has closed all of it", || {
            own_fds().iter().all(|fd| !fd.contains("wasmp-object")).then_some(())
        });
    });
}

#[test]
fn sh_01_memory_is_as_large_as_it_was_asked_for_and_seen_by_all() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let memory: SharedMemory = call(&one, "memory_create", (1000,));
        assert_eq!(
            (memory.size(), call::<u64>(&other, "memory_size", (&memory,))),
            (1000, 1000)
        );
        assert_eq!(call::<ByteBuf>(&other, "memory_read", (&memory, 0, 1000)), [0; 1000]);
        call::<()>(&one, "memory_write", (&memory, 990, ByteBuf::from(b"0123456789")));
        let mut end = [0; 4];
        memory.read(996, &mut end).unwrap();
        assert_eq!(&end, b"6789");
        memory.write(0, b"host").unwrap();
        assert_eq!(call::<ByteBuf>(&other, "memory_read", (&memory, 0, 5)), *b"host\0");
        assert_eq!(error(&one, "memory_read", (&memory, 996, 5)), OUT_OF_RANGE);
        assert_eq!(
            error(&one, "memory_write", (&memory, u64::MAX, ByteBuf::from(b"x"))),
            OUT_OF_RANGE
        );
        assert_eq!(memory.write(997, b"1234"), Err(MemoryError::OutOfRange));
        assert_eq!(memory.read(u64::MAX, &mut end), Err(MemoryError::OutOfRange));
    });
}

#[test]
fn sh_04_a_name_is_taken_once_and_unlinked_once() {
    isolated(|| {
        let pool = pool(2);
        let memory: SharedMemory = call(&pool, "memory_create_named", ("shm", 10));
        assert_eq!(error(&pool, "memory_create_named", ("shm", 20)), "the name is taken");
        assert_eq!(error(&pool, "memory_open_named", ("other",)), NOT_FOUND);
        let again: SharedMemory = call(&pool, "memory_open_named", ("shm",));
        again.write(0, b"x").unwrap();
        assert_eq!(call::<ByteBuf>(&pool, "memory_read", (&memory, 0, 1)), *b"x");
        call::<()>(&pool, "memory_unlink", (&memory,));
        assert_eq!(memory.unlink(), Err(SharedError::NotFound));
        assert_eq!(error(&pool, "memory_open_named", ("shm",)), NOT_FOUND);
        // Who has it keeps it, and the name is free.
        memory.write(0, b"y").unwrap();
        assert_eq!(
            call::<SharedMemory>(&pool, "memory_create_named", ("shm", 20)).size(),
            20
        );
    });
}

#[test]
fn sh_05_memory_has_a_size() {
    isolated(|| {
        let pool = pool(1);
        for size in [0, 1 << 41, u64::MAX] {
            assert_eq!(error(&pool, "memory_create", (size,)), INVALID, "{size}");
            assert!(matches!(SharedMemory::create(size), Err(Error::Invalid(_))), "{size}");
        }
    });
}

#[test]
fn sh_06_not_every_text_is_a_name() {
    isolated(|| {
        let pool = pool(1);
        for name in ["", "a\0b", &"n".repeat(256)] {
            assert_eq!(error(&pool, "memory_create_named", (name, 10)), INVALID, "{name:?}");
        }
        let longest = "n".repeat(255);
        let memory: SharedMemory = call(&pool, "memory_create_named", (&longest, 10));
        assert_eq!(
            call::<SharedMemory>(&pool, "memory_open_named", (&longest,)).size(),
            memory.size()
        );
    });
}

#[test]
fn sh_08_what_was_unlinked_cannot_be_passed_on() {
    isolated(|| {
        let pool = pool(1);
        let memory: SharedMemory = call(&pool, "memory_create", (10,));
        memory.unlink().unwrap();
        let error = failure(&pool, "memory_size", (&memory,));
        assert_eq!(error.kind, ErrorKind::Arguments);
        assert_eq!(
            error.message,
            "argument 1 (memory: SharedMemory): the memory does not exist any more"
        );
    });
}

#[test]
fn sh_09_workers_write_by_name_and_by_handle() {
    isolated(|| {
        let memory = SharedMemory::create(8).unwrap();
        let pool = builder(2).share("shm", &memory).build().unwrap();
        call::<()>(&pool, "memory_write_named", ("shm", 0, ByteBuf::from(b"name")));
        call::<()>(&pool, "memory_write", (&memory, 4, ByteBuf::from(b"hand")));
        let mut bytes = [0; 8];
        memory.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"namehand");
    });
}

/// An item of a list as it travels.
#[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(untagged)]
enum Item {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Bytes(ByteBuf),
    None,
}

fn text(text: &str) -> Item {
    Item::Str(text.into())
}

#[test]
fn sh_13_a_list_holds_items_of_all_types_and_replaces_them_in_place() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let items = [
            text("howdy"),
            Item::Float(-273.15),
            Item::Int(-100),
            Item::None,
            Item::Bool(true),
            Item::Bytes(ByteBuf::from(b"\xff\0")),
            text("Grüße"),
        ];
        let list: ShareableList = call(&one, "list_new", (&items,));
        assert_eq!((list.len(), call::<usize>(&other, "list_len", (&list,))), (7, 7));
        assert_eq!(call::<Vec<Item>>(&other, "list_items", (&list,)), items);
        assert_eq!(list.get(6).unwrap(), ListItem::from("Grüße"));
        call::<()>(&other, "list_set", (&list, 3, "8 bytes!"));
        call::<()>(&other, "list_set", (&list, 0, 1.5));
        list.set(4, ListItem::None).unwrap();
        list.set(0, "12345678").unwrap();
        let changed = [
            text("12345678"),
            Item::Float(-273.15),
            Item::Int(-100),
            text("8 bytes!"),
            Item::None,
            Item::Bytes(ByteBuf::from(b"\xff\0")),
            text("Grüße"),
        ];
        assert_eq!(call::<Vec<Item>>(&one, "list_items", (&list,)), changed);

        assert_eq!(
            error(&other, "list_set", (&list, 0, "123456789")),
            "the item exceeds the available storage"
        );
        assert_eq!(list.set(3, "123456789"), Err(ListError::TooLong));
        assert_eq!(error(&other, "list_get", (&list, 7)), "the index is out of range");
        assert_eq!(error(&other, "list_set", (&list, 7, 1)), "the index is out of range");
        assert_eq!(list.get(7), Err(ListError::OutOfRange));
        assert_eq!(call::<Vec<Item>>(&one, "list_items", (&list,)), changed);

        let twice: ShareableList = call(&one, "list_new", ([1, 2, 1],));
        assert_eq!(
            call::<(usize, Option<usize>)>(&other, "list_find", (&twice, 1)),
            (2, Some(0))
        );
        assert_eq!(
            call::<(usize, Option<usize>)>(&other, "list_find", (&twice, 3)),
            (0, None)
        );
        assert_eq!((twice.count(1).unwrap(), twice.index(2).unwrap()), (2, Some(1)));
        assert_eq!(ShareableList::new::<i64>([]).unwrap().len(), 0);
    });
}

#[test]
fn sh_14_a_list_that_travels_is_the_same_list() {
    isolated(|| {
        let pool = pool(2);
        let list = ShareableList::new([1, 2]).unwrap();
        let memory: SharedMemory = call(&pool, "list_memory", (&list,));
        let again: ShareableList = call(&pool, "list_in_memory", (&memory,));
        call::<()>(&pool, "list_set", (&again, 0, 7));
        assert_eq!(list.to_vec().unwrap(), [ListItem::Int(7), ListItem::Int(2)]);
        let named: ShareableList = call(&pool, "list_create_named", ("list", ["a"]));
        call::<()>(
            &pool,
            "list_set",
            (call::<ShareableList>(&pool, "list_open_named", ("list",)), 0, "b"),
        );
        assert_eq!(named.get(0).unwrap(), ListItem::from("b"));
        assert_eq!(
            error(&pool, "list_in_memory", (SharedMemory::create(4).unwrap(),)),
            "the memory holds no shareable list, or one that is being written"
        );
    });
}

#[test]
fn sh_15_a_list_that_was_unlinked_cannot_be_passed_on() {
    isolated(|| {
        let pool = pool(1);
        let list = ShareableList::new([1]).unwrap();
        list.memory().unlink().unwrap();
        let error = failure(&pool, "list_len", (&list,));
        assert_eq!(error.kind, ErrorKind::Arguments);
        assert!(error.message.ends_with("the memory does not exist any more"), "{error}");
        assert_eq!(list.get(0).unwrap(), ListItem::Int(1));
    });
}

#[test]
fn sh_17_memory_outlives_the_workers_that_had_it() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let memory: SharedMemory = call(&one, "memory_create", (4,));
        call::<()>(&other, "memory_write", (&memory, 0, ByteBuf::from(b"kept")));
        drop((one, other));
        let mut bytes = [0; 4];
        memory.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"kept");
        assert_eq!(call::<ByteBuf>(&pool(1), "memory_read", (&memory, 0, 4)), *b"kept");
    });
}

#[test]
fn mapped_memory_is_one_for_all_who_map_it() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        for size in [100, UNIT, 3 * UNIT + 5] {
            let memory: SharedMemory = call(&one, "memory_create", (size,));
            assert_eq!(call::<u64>(&one, "memory_fill_mapped", (&memory, 3)), size);
            assert_eq!(call::<u64>(&other, "memory_sum_mapped", (&memory,)), 3 * size);
            memory.write(size - 1, &[5]).unwrap();
            assert_eq!(call::<u64>(&one, "memory_sum_mapped", (&memory,)), 3 * size + 2);
        }
        let (memory, lock) = (SharedMemory::create(UNIT).unwrap(), Lock::new().unwrap());
        let counting = [&one, &other].map(|pool| start::<()>(pool, "incr_mapped", (&memory, &lock, 3000)));
        for counting in counting {
            counting.get_timeout(PATIENCE).unwrap();
        }
        let mut number = [0; 8];
        memory.read(0, &mut number).unwrap();
        assert_eq!(i64::from_le_bytes(number), 6000);
    });
}

#[test]
fn a_guest_grows_and_allocates_while_memory_is_mapped_into_it() {
    isolated(|| {
        let pool = pool(1);
        let memory = SharedMemory::create(2 * UNIT).unwrap();
        memory.write(UNIT, &[1; 1000]).unwrap();
        let more = 20 << 20;
        assert_eq!(
            call::<u64>(&pool, "memory_sum_mapped_grown", (&memory, more)),
            1000 + more
        );
        assert_eq!(call::<u64>(&pool, "memory_sum_mapped", (&memory,)), 1000);
    });
}

#[test]
fn an_unmapped_range_is_the_guests_again() {
    isolated(|| {
        // Were it not, 200 times 4 MiB would not fit.
        let pool = builder(1).max_memory(64 << 20).build().unwrap();
        let memory = SharedMemory::create(64 * UNIT).unwrap();
        assert!(call::<bool>(&pool, "memory_map_often", (&memory, 200)));
        let mut bytes = vec![0; 64 * UNIT as usize];
        memory.read(0, &mut bytes).unwrap();
        assert!(
            bytes[0] == 200 && bytes[1..].iter().all(|byte| *byte == 0),
            "the heap is elsewhere"
        );
    });
}

#[test]
fn a_range_that_touches_a_mapped_one_traps() {
    isolated(|| {
        let pool = pool(1);
        let size = UNIT as isize;
        let (memory, target) = (
            SharedMemory::create(UNIT).unwrap(),
            SharedMemory::create(2 * UNIT).unwrap(),
        );
        memory.write(0, &[9; UNIT as usize]).unwrap();
        for (start, len) in [(0, 1), (size - 1, 1), (-1, 2), (-1, size + 2), (size - 1, 2), (0, size)] {
            let error = failure(&pool, "memory_copy_mapped", (&memory, &target, start, len));
            assert_eq!(
                (error.kind, error.message.as_str()),
                (ErrorKind::Trap, MAPPED),
                "{start}, {len}"
            );
        }
        for (start, len) in [(-1, 1), (-8, 8), (size, 1), (0, 0), (size / 2, 0)] {
            call::<()>(&pool, "memory_copy_mapped", (&memory, &target, start, len));
        }
        let mut bytes = [0; 16];
        target.read(8, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 16], "nothing of it was copied");
        // A trap takes the map with it.
        assert_eq!(call::<u64>(&pool, "memory_sum_mapped", (&memory,)), 9 * UNIT);
    });
}

#[test]
fn memory_is_not_mapped_into_instances_for_one_item() {
    isolated(|| {
        let pool = builder(1).isolation(Isolation::Task).build().unwrap();
        let memory: SharedMemory = call(&pool, "memory_create", (UNIT,));
        for task in ["memory_sum_mapped"; 2] {
            assert_eq!(
                error(&pool, task, (&memory,)),
                "not in a wasmp worker, or not supported by it"
            );
        }
        call::<()>(&pool, "memory_write", (&memory, 0, ByteBuf::from(b"copy")));
        assert_eq!(call::<ByteBuf>(&pool, "memory_read", (&memory, 0, 4)), *b"copy");
    });
}
