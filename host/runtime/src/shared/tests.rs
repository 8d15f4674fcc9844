//! The types as the host's threads use them. What happens between processes is tested where there are some.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use super::*;
use crate::cbor::{self, Decoder};
use crate::error::{Error, Result};

const MOMENT: Duration = Duration::from_millis(20);

/// The message of a value, and what it refers to.
fn message(value: &impl Serialize) -> (Vec<u8>, References) {
    let mut bytes = Vec::new();
    let ((), references) = collect_references(|| cbor::write(value, &mut bytes)).unwrap();
    (bytes, references)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    Decoder::new().read(bytes)
}

/// The value as one gets it who receives it.
fn received<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, String> {
    let (bytes, _references) = message(value);
    read(&bytes)
}

/// Serializes to nothing.
#[derive(Debug, Deserialize, PartialEq)]
struct Never;

impl Serialize for Never {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it is only a test"))
    }
}

mod handles {
    use super::*;

    #[test]
    fn every_kind_travels_and_is_the_same_object() {
        let lock = Lock::new().unwrap();
        let _held = lock.lock().unwrap();
        assert!(received::<Lock>(&lock).unwrap().locked());

        let rlock = RLock::new().unwrap();
        let _held = received::<RLock>(&rlock).unwrap().acquire();
        assert!(rlock.locked());

        let semaphore = Semaphore::new(3).unwrap();
        received::<Semaphore>(&semaphore).unwrap().acquire().unwrap();
        assert_eq!(semaphore.value(), 2);

        let bounded = BoundedSemaphore::new(3).unwrap();
        let refused = received::<BoundedSemaphore>(&bounded).unwrap().release();
        assert_eq!(refused, Err(ReleaseError::TooMany));

        let event = Event::new().unwrap();
        received::<Event>(&event).unwrap().set();
        assert!(event.is_set());

        let condition = Condition::with_lock(&lock).unwrap();
        let other = received::<Condition>(&condition).unwrap();
        assert!(other.get_lock().try_lock().unwrap().is_none());

        let barrier = Barrier::new(1).unwrap();
        assert_eq!(received::<Barrier>(&barrier).unwrap().wait(), Ok(0));

        let queue = Queue::new(0).unwrap();
        received::<Queue<_>>(&queue).unwrap().put(1).unwrap();
        received::<JoinableQueue<_>>(&queue).unwrap().put(2).unwrap();
        received::<SimpleQueue<_>>(&queue).unwrap().put(3).unwrap();
        assert_eq!(queue.get_many(10), Ok(vec![1, 2, 3]));

        let (first, second) = pipe().unwrap();
        received::<Connection>(&second).unwrap().send("hello").unwrap();
        assert_eq!(first.recv(), Ok("hello".to_owned()));

        let value = Value::new(1_u8).unwrap();
        received::<Value<u8>>(&value).unwrap().set(2).unwrap();
        assert_eq!(value.get(), Ok(2));

        let array = Array::from_slice(&[1, 2]).unwrap();
        received::<Array<i32>>(&array).unwrap().set(1, 3).unwrap();
        assert_eq!(array.read(..), Ok(vec![1, 3]));

        let list = ShareableList::new(["a"]).unwrap();
        received::<ShareableList>(&list).unwrap().set(0, "b").unwrap();
        assert_eq!(list.get(0), Ok("b".into()));
    }

    #[test]
    fn a_handle_is_of_its_kind() {
        let queue = Queue::<()>::new(0).unwrap();
        assert_eq!(received::<Lock>(&queue).unwrap_err(), "expected lock, got queue");
        assert_eq!(received::<AnyLock>(&queue).unwrap_err(), "expected lock, got queue");
        assert!(received::<Event>(&7).is_err());
        // A queue's token, said to be that of a lock.
        let (mut bytes, _references) = message(&queue);
        bytes[6] = wasmp_abi::ObjectKind::Lock as u8;
        assert_eq!(read::<Lock>(&bytes).unwrap_err(), "expected lock, got queue");
    }

    #[test]
    fn it_travels_as_the_contract_says() {
        let (bytes, _references) = message(&Lock::new().unwrap());
        assert_eq!(bytes[..8], *b"\xda\x77\x61\x73\x6d\x82\x01\x50");
        assert_eq!(bytes.len(), 8 + wasmp_abi::TOKEN_LEN);
        let (bytes, _references) = message(&Condition::new().unwrap());
        assert_eq!(bytes[..7], *b"\x82\xda\x77\x61\x73\x6d\x82");
    }

    #[test]
    fn an_object_ends_with_its_last_handle() {
        let event = Event::new().unwrap();
        let (bytes, references) = message(&event);
        let clone = event.clone();
        drop(event);
        assert!(read::<Event>(&bytes).is_ok());
        drop(clone);
        assert!(read::<Event>(&bytes).is_ok(), "the message is still there");
        drop(references);
        assert_eq!(read::<Event>(&bytes).unwrap_err(), "the event does not exist any more");
    }

    #[test]
    fn what_somebody_else_serializes_lives_until_it_is_unlinked() {
        let memory = SharedMemory::create(8).unwrap();
        let mut bytes = Vec::new();
        ciborium::into_writer(&memory, &mut bytes).unwrap();
        drop(memory);
        let memory = read::<SharedMemory>(&bytes).unwrap();
        assert_eq!(memory.unlink(), Ok(()));
        assert_eq!(memory.unlink(), Err(SharedError::NotFound));
        assert!(read::<SharedMemory>(&bytes).is_err());
        assert_eq!(memory.write(0, &[1; 8]), Ok(()), "who has it keeps it");
    }

    #[test]
    fn a_queue_keeps_alive_what_its_messages_refer_to() {
        let queue = Queue::new(0).unwrap();
        let (inner, counted) = (Queue::new(0).unwrap(), Semaphore::new(5).unwrap());
        inner.put((7, counted.clone())).unwrap();
        queue.put(inner).unwrap();
        drop(counted);
        let (seven, counted) = queue.get().unwrap().get().unwrap();
        assert_eq!((seven, counted.value()), (7, 5));
    }

    #[test]
    fn a_queue_does_not_keep_itself_alive() {
        /// A queue of queues like itself.
        #[derive(Deserialize, Serialize)]
        struct Itself(Queue<Itself>);

        let queue = Queue::new(0).unwrap();
        queue.put(Itself(queue.clone())).unwrap();
        let (bytes, references) = message(&queue);
        drop((queue, references));
        assert!(read::<Queue<Itself>>(&bytes).is_err());
    }

    #[test]
    fn threads_share_them() {
        fn shareable<T: Send + Sync + Clone>() {}
        shareable::<Lock>();
        shareable::<RLock>();
        shareable::<AnyLock>();
        shareable::<BoundedSemaphore>();
        shareable::<Condition>();
        shareable::<Barrier>();
        shareable::<JoinableQueue<std::rc::Rc<u8>>>();
        shareable::<Connection>();
        shareable::<Value<u8>>();
        shareable::<Array<u8>>();
        shareable::<ShareableList>();
    }

    #[test]
    fn what_is_impossible_is_an_error() {
        assert!(matches!(SharedMemory::create(0), Err(Error::Invalid(_))));
        assert!(matches!(SharedMemory::create(u64::MAX), Err(Error::Invalid(_))));
        assert!(matches!(RawArray::<u64>::new(usize::MAX / 4), Err(Error::Invalid(_))));
        assert!(matches!(Semaphore::new(u32::MAX), Err(Error::Invalid(_))));
        assert!(matches!(Barrier::new(0), Err(Error::Invalid(_))));
        assert!(matches!(Barrier::new(u32::MAX), Err(Error::Invalid(_))));
    }
}

mod locks {
    use super::*;

    #[test]
    fn a_guard_releases_and_an_acquisition_does_not() {
        let lock = Lock::new().unwrap();
        drop(lock.lock().unwrap());
        assert!(!lock.locked());
        assert_eq!(lock.try_acquire(), Ok(true));
        assert_eq!(lock.try_acquire(), Ok(false));
        assert_eq!(lock.acquire_timeout(MOMENT), Ok(false));
        assert!(lock.lock_timeout(MOMENT).unwrap().is_none());
        thread::scope(|scope| scope.spawn(|| lock.release()).join().unwrap()).unwrap();
        assert_eq!(lock.release(), Err(ReleaseError::TooMany));
    }

    #[test]
    fn an_rlock_belongs_to_a_thread() {
        let lock = RLock::new().unwrap();
        let outer = lock.lock().unwrap();
        let inner = lock.lock().unwrap();
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                assert!(lock.try_lock().unwrap().is_none());
                assert_eq!(lock.release(), Err(ReleaseError::NotOwner));
            });
            other.join().unwrap();
        });
        drop(outer);
        assert!(lock.locked());
        drop(inner);
        assert!(!lock.locked());
    }

    #[test]
    fn permits_come_back_and_signals_do_not() {
        let semaphore = Semaphore::new(1).unwrap();
        let permit = semaphore.permit().unwrap();
        assert!(semaphore.try_permit().unwrap().is_none());
        assert!(semaphore.permit_timeout(MOMENT).unwrap().is_none());
        drop(permit);
        assert_eq!(semaphore.acquire_timeout(MOMENT), Ok(true));
        assert_eq!(semaphore.try_acquire(), Ok(false));
        semaphore.release_many(3).unwrap();
        assert_eq!(semaphore.value(), 3);
    }

    #[test]
    fn a_condition_wakes_who_waits() {
        let (condition, count) = (Condition::new().unwrap(), RawValue::new(0).unwrap());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let _guard = condition.lock().unwrap();
                    count.set(count.get() + 1);
                    condition.notify(1).unwrap();
                });
            }
            let mut guard = condition.lock().unwrap();
            condition.wait_for(&mut guard, || count.get() == 3).unwrap();
            assert!(!guard.abandoned());
        });
    }

    #[test]
    fn a_condition_gives_up_in_time_with_its_lock() {
        let lock = Lock::new().unwrap();
        let condition = Condition::with_lock(&lock).unwrap();
        let mut guard = condition.lock().unwrap();
        assert_eq!(condition.wait_timeout(&mut guard, MOMENT), Ok(false));
        assert_eq!(condition.wait_for_timeout(&mut guard, MOMENT, || false), Ok(false));
        assert_eq!(
            condition.wait_for_timeout(&mut guard, Duration::ZERO, || true),
            Ok(true)
        );
        assert!(lock.locked());
    }

    #[test]
    fn a_condition_wants_its_own_lock() {
        let (condition, other) = (Condition::new().unwrap(), RLock::new().unwrap());
        assert_eq!(condition.notify_all(), Err(ConditionError::NotOwner));
        let _own = condition.lock().unwrap();
        let mut wrong = other.lock().unwrap();
        let refused = condition.wait_timeout(&mut wrong, MOMENT);
        assert_eq!(refused, Err(ConditionError::NotOwner));
    }

    #[test]
    fn an_event_lets_everyone_go() {
        let event = Event::new().unwrap();
        assert_eq!(event.wait_timeout(MOMENT), Ok(false));
        thread::scope(|scope| {
            let waiting = [scope.spawn(|| event.wait()), scope.spawn(|| event.wait())];
            event.set();
            assert!(waiting.map(|thread| thread.join().unwrap()).iter().all(Result::is_ok));
        });
        event.clear();
        assert!(!event.is_set());
    }

    #[test]
    fn the_parties_of_a_barrier_have_different_places_and_one_acts() {
        let barrier = Barrier::new(3).unwrap();
        let acted = AtomicU32::new(0);
        let pass = || {
            let place = barrier.wait_with(|| _ = acted.fetch_add(1, Ordering::Relaxed)).unwrap();
            assert_eq!(acted.load(Ordering::Relaxed), 1);
            place
        };
        let mut places = thread::scope(|scope| {
            let others = [scope.spawn(pass), scope.spawn(pass)];
            let mine = pass();
            let [one, two] = others.map(|thread| thread.join().unwrap());
            [mine, one, two]
        });
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2]);
        assert_eq!((barrier.parties(), barrier.n_waiting()), (3, 0));
    }

    #[test]
    fn a_barrier_breaks_and_is_made_as_new() {
        let barrier = Barrier::new(2).unwrap();
        assert!(barrier.wait_timeout(MOMENT).unwrap_err().is_timeout());
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
        barrier.reset().unwrap();
        assert!(!barrier.is_broken());
        barrier.abort().unwrap();
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    }

    #[test]
    fn an_action_that_panics_breaks_the_barrier() {
        let barrier = Barrier::new(1).unwrap();
        // Without a backtrace: the child of a test that forks meanwhile could not make one of its own.
        let panic = || std::panic::resume_unwind(Box::new("it is only a test"));
        let panics = std::panic::AssertUnwindSafe(|| barrier.wait_with(panic));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(barrier.is_broken());
    }
}

mod queues {
    use super::*;

    #[test]
    fn values_come_in_order_and_as_they_were() {
        let queue = Queue::new(0).unwrap();
        for value in [Some(("text".to_owned(), 1.5)), None] {
            queue.put(value.clone()).unwrap();
            assert_eq!(queue.get(), Ok(value));
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn a_queue_is_full_or_empty_for_so_long() {
        let queue = Queue::new(1).unwrap();
        assert_eq!(queue.get_timeout(MOMENT), Err(GetError::Empty));
        assert!(queue.try_get().unwrap_err().is_timeout());
        queue.put("a".to_owned()).unwrap();
        assert!(queue.is_full());
        let full = queue.put_timeout("b".to_owned(), MOMENT).unwrap_err();
        assert!(full.is_timeout());
        assert_eq!(full.into_inner(), "b");
        assert_eq!(queue.try_put("c".to_owned()), Err(PutError::Full("c".to_owned())));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn what_cannot_be_serialized_comes_back_and_is_not_put() {
        let queue = Queue::new(0).unwrap();
        let refused = queue.put(Never).unwrap_err();
        assert_eq!(refused, PutError::Encode(Never, "it is only a test".into()));
        assert_eq!(queue.put_many([Never, Never]).unwrap_err().into_inner().len(), 2);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_not_of_the_type_is_an_error_and_gone() {
        let numbers = Queue::<u64>::new(0).unwrap();
        let texts = received::<Queue<String>>(&numbers).unwrap();
        texts.put("text".into()).unwrap();
        numbers.put(7).unwrap();
        assert!(matches!(numbers.get(), Err(GetError::Decode(_))));
        assert_eq!(numbers.get(), Ok(7));
        for hostile in [
            &b""[..],
            b"\xff",
            b"\x9f\x9f",
            b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
            &[0x81; 10_000],
        ] {
            numbers.put_bytes(hostile).unwrap();
            texts.put_bytes(hostile).unwrap();
            assert!(matches!(numbers.get(), Err(GetError::Decode(_))));
            assert!(matches!(texts.get(), Err(GetError::Decode(_))));
        }
    }

    #[test]
    fn many_go_in_as_there_is_room() {
        let queue = Queue::new(3).unwrap();
        assert_eq!(queue.try_put_many(0..5), Err(PutError::Full(vec![3, 4])));
        thread::scope(|scope| {
            let rest = scope.spawn(|| queue.put_many(3..10));
            let mut values = Vec::new();
            while values.len() < 10 {
                values.extend(queue.get_many(4).unwrap());
            }
            rest.join().unwrap().unwrap();
            assert_eq!(values, Vec::from_iter(0..10));
        });
        assert_eq!(queue.get_many_timeout(1, MOMENT), Err(GetError::Empty));
        assert_eq!(queue.try_get_many(1), Err(GetError::Empty));
        assert_eq!(queue.put_many_timeout(0..4, MOMENT), Err(PutError::Full(vec![3])));
    }

    #[test]
    fn byte_strings_travel_as_they_are() {
        let queue = Queue::<Vec<u8>>::new(0).unwrap();
        queue.put(vec![1, 2, 200]).unwrap();
        assert_eq!(queue.get_bytes().unwrap(), [0x43, 1, 2, 200]);
        for message in [&[0x43, 1, 2, 200][..], &[0x83, 1, 2, 0x18, 200]] {
            queue.put_bytes(message).unwrap();
            assert_eq!(queue.get(), Ok(vec![1, 2, 200]));
        }
        queue.put(vec![7; 3 << 20]).unwrap();
        assert_eq!(queue.get(), Ok(vec![7; 3 << 20]));
    }

    #[test]
    fn after_a_shutdown_what_is_there_can_be_got() {
        let queue = Queue::new(0).unwrap();
        queue.put(1).unwrap();
        queue.shutdown().unwrap();
        assert_eq!(queue.put(2), Err(PutError::ShutDown(2)));
        assert_eq!(queue.get(), Ok(1));
        assert!(queue.get().unwrap_err().is_shut_down());

        let queue = Queue::new(0).unwrap();
        queue.put(1).unwrap();
        queue.shutdown_immediately().unwrap();
        assert_eq!(queue.get(), Err(GetError::ShutDown));
    }

    #[test]
    fn a_joinable_queue_knows_what_is_done() {
        for queue in [JoinableQueue::new(0), JoinableQueue::acknowledged(0)].map(Result::unwrap) {
            queue.put_many([1, 2]).unwrap();
            assert_eq!(queue.join_timeout(MOMENT), Ok(false));
            for _ in 0..2 {
                queue.get().unwrap();
                queue.task_done().unwrap();
            }
            queue.join().unwrap();
            assert_eq!(queue.task_done(), Err(TaskDoneError::TooMany));
        }
    }
}

mod pipes {
    use super::*;

    #[test]
    fn the_end_comes_after_what_was_sent() {
        let (receiver, sender) = pipe_one_way().unwrap();
        sender.send(&1).unwrap();
        let clone = sender.clone();
        drop(sender);
        clone.send(&2).unwrap();
        clone.close();
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
        assert_eq!(receiver.poll(), Ok(true));
        assert_eq!(receiver.try_recv::<i32>(), Err(RecvError::EndOfFile));
    }

    #[test]
    fn the_end_wakes_who_waits_for_a_message() {
        let (receiver, sender) = pipe_one_way().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| receiver.recv::<i32>());
            thread::sleep(MOMENT);
            drop(sender);
            assert_eq!(waiting.join().unwrap(), Err(RecvError::EndOfFile));
        });
    }

    #[test]
    fn nobody_sends_to_an_end_that_is_gone() {
        let (here, there) = pipe().unwrap();
        drop(there);
        assert_eq!(here.send(&1), Err(SendError::BrokenPipe));
    }

    #[test]
    fn an_end_goes_one_way_or_both() {
        let (receiver, sender) = pipe_one_way().unwrap();
        assert!(receiver.readable() && !receiver.writable());
        assert!(sender.writable() && !sender.readable());
        assert_eq!(receiver.send(&1), Err(SendError::Direction));
        assert_eq!(sender.recv::<i32>(), Err(RecvError::Direction));
        assert_eq!(sender.poll(), Err(RecvError::Direction));
        let (one, other) = pipe().unwrap();
        assert!(one.readable() && one.writable() && other.readable() && other.writable());
    }

    #[test]
    fn messages_keep_their_bounds() {
        let (receiver, sender) = pipe_one_way().unwrap();
        for message in [&b"abc"[..], b"", b"defgh"] {
            sender.send_bytes(message).unwrap();
        }
        assert_eq!(receiver.recv_bytes().unwrap(), b"abc");
        let mut buffer = [0; 4];
        assert_eq!(receiver.recv_bytes_into(&mut buffer), Ok(0));
        let too_long = receiver.recv_bytes_into(&mut buffer);
        assert_eq!(too_long, Err(RecvError::BufferTooShort(b"defgh".into())));
        assert_eq!(receiver.poll(), Ok(false));
        assert_eq!(receiver.poll_timeout(MOMENT), Ok(false));
        assert!(receiver.recv_timeout::<i32>(MOMENT).unwrap_err().is_timeout());
        assert_eq!(receiver.try_recv_bytes(), Err(RecvError::TimedOut));
    }

    #[test]
    fn an_end_on_its_way_is_open() {
        let (receiver, sender) = pipe_one_way().unwrap();
        let queue = Queue::new(0).unwrap();
        queue.put(sender).unwrap();
        assert_eq!(receiver.poll(), Ok(false));
        let sender = queue.get().unwrap();
        sender.send(&1).unwrap();
        drop(sender);
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.try_recv::<i32>(), Err(RecvError::EndOfFile));
    }

    #[test]
    fn an_end_that_was_not_sent_is_not_on_its_way() {
        let (receiver, sender) = pipe_one_way().unwrap();
        let full = Queue::new(1).unwrap();
        full.put(None).unwrap();
        for _ in 0..3 {
            assert!(full.try_put(Some(sender.clone())).unwrap_err().is_timeout());
            assert!(full.try_put_many([Some(sender.clone())]).unwrap_err().is_timeout());
        }
        let broken = pipe().unwrap().0;
        assert_eq!(broken.send(&sender), Err(SendError::BrokenPipe));
        let queue = Queue::new(0).unwrap();
        assert!(queue.put((sender, Never)).is_err());
        assert_eq!(receiver.try_recv::<i32>(), Err(RecvError::EndOfFile));
    }
}

mod memories {
    use super::*;

    #[test]
    fn memory_ends_where_it_ends() {
        let memory = SharedMemory::create(10).unwrap();
        assert_eq!(memory.size(), 10);
        memory.write(7, b"abc").unwrap();
        let mut bytes = [1; 4];
        memory.read(6, &mut bytes).unwrap();
        assert_eq!(bytes, *b"\0abc");
        assert_eq!(memory.write(8, b"abc"), Err(MemoryError::OutOfRange));
        assert_eq!(memory.read(u64::MAX, &mut bytes), Err(MemoryError::OutOfRange));
    }

    #[test]
    fn updates_and_atomics_lose_nothing() {
        let (value, raw) = (Value::new(0_u32).unwrap(), RawValue::new(0_u32).unwrap());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        value.update(|value| value + 1).unwrap();
                        raw.fetch_add(1);
                    }
                });
            }
        });
        assert_eq!((value.get(), raw.get()), (Ok(4000), 4000));
    }

    #[test]
    fn integers_have_atomic_operations() {
        let value = RawValue::new(-1_i8).unwrap();
        assert_eq!((value.load(), value.swap(6)), (-1, -1));
        assert_eq!((value.fetch_sub(8), value.load()), (6, -2));
        assert_eq!((value.fetch_and(0x0f), value.load()), (-2, 0x0e));
        assert_eq!(
            (value.fetch_or(1), value.fetch_xor(0x0f), value.load()),
            (0x0e, 0x0f, 0)
        );
        assert_eq!(
            (value.compare_exchange(0, i8::MIN), value.compare_exchange(0, 1)),
            (Ok(0), Err(i8::MIN))
        );
        value.store(3);
        assert_eq!(value.get(), 3);
    }

    #[test]
    fn an_array_ends_where_it_ends() {
        let array = RawArray::from_slice(&[1_u16, 2, 3]).unwrap();
        assert_eq!(
            (array.len(), array.get(2), array.read(1..=2)),
            (3, Ok(3), Ok(vec![2, 3]))
        );
        assert_eq!(array.get(3), Err(MemoryError::OutOfRange));
        assert_eq!(array.get(usize::MAX), Err(MemoryError::OutOfRange));
        assert_eq!(array.set(3, 0), Err(MemoryError::OutOfRange));
        assert_eq!(array.write(2, &[7, 8]), Err(MemoryError::OutOfRange));
        #[expect(clippy::reversed_empty_ranges, reason = "it is what is tested")]
        let reversed = array.read(2..1);
        assert_eq!(reversed, Err(MemoryError::OutOfRange));
        assert_eq!(array.read(0..4), Err(MemoryError::OutOfRange));
        assert_eq!(array.read(0..usize::MAX), Err(MemoryError::OutOfRange));
        assert_eq!(array.read(..), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn values_need_their_memory() {
        let small = || SharedMemory::create(3).unwrap();
        assert_eq!(RawValue::<u32>::try_from(small()).unwrap_err(), SharedError::Invalid);
        assert_eq!(RawArray::<u16>::try_from(small()).unwrap().len(), 1);
        assert_eq!(ShareableList::try_from(small()).unwrap_err(), ListError::Malformed);
        assert!(received::<RawValue<u32>>(&small()).is_err());
    }

    #[test]
    fn a_value_and_an_array_can_go_with_one_lock() {
        let value = Value::new(1.5).unwrap();
        let array = Array::<bool>::with_lock(3, value.get_lock()).unwrap();
        let locked = value.lock().unwrap();
        assert_eq!(locked.get(), 1.5);
        thread::scope(|scope| {
            let other = scope.spawn(|| array.try_lock().unwrap().is_none());
            assert!(other.join().unwrap());
        });
    }

    #[test]
    fn a_list_holds_what_has_room() {
        let list = ShareableList::new([ListItem::from(1), "four".into(), ListItem::None]).unwrap();
        assert_eq!(list.len(), 3);
        list.set(0, 2.5).unwrap();
        list.set(2, &b"12345678"[..]).unwrap();
        assert_eq!(list.set(1, "nine char"), Err(ListError::TooLong));
        assert_eq!(list.get(3), Err(ListError::OutOfRange));
        assert_eq!(
            list.to_vec(),
            Ok(vec![2.5.into(), "four".into(), b"12345678"[..].into()])
        );
        assert_eq!((list.count("four"), list.index(7)), (Ok(1), Ok(None)));
        list.memory().write(8, &[0xff; 16]).unwrap();
        assert_eq!(list.get(0), Err(ListError::Malformed));
    }
}

mod waiting {
    use super::*;

    #[test]
    fn what_is_ready_is_told_by_its_place() {
        let queue = JoinableQueue::new(0).unwrap();
        let (receiver, sender) = pipe_one_way().unwrap();
        assert_eq!(try_wait(&[&queue, &receiver]), Ok(vec![]));
        assert_eq!(wait_timeout(&[&queue, &receiver], MOMENT), Ok(vec![]));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&[&queue, &receiver]));
            thread::sleep(MOMENT);
            drop(sender);
            assert_eq!(waiting.join().unwrap(), Ok(vec![1]));
        });
        queue.put(7).unwrap();
        assert_eq!(wait(&[&queue, &receiver]), Ok(vec![0, 1]));
    }

    #[test]
    fn there_is_a_limit() {
        assert_eq!(wait(&[]), Ok(vec![]));
        let queue = SimpleQueue::<()>::new().unwrap();
        assert_eq!(wait(&[&queue as &dyn Waitable; 200]), Err(SharedError::Invalid));
    }
}
