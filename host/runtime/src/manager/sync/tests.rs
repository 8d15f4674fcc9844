//! What is used together, without processes: who gets what when somebody goes, or gives up.

use std::time::{Duration, Instant};

use wasmp_manager::protocol::{ANY_FENCE, ELSEWHERE, FOREVER, Fields, Id, Kind, Op, Status, Writer};

use crate::manager::store::{Caller, Served, Store};

/// A client with one connection.
fn client(number: u32) -> Caller {
    Caller {
        connection: number,
        client: number,
    }
}

/// A store, and how many requests there were.
struct Scene {
    store: Store,
    sequence: u32,
}

impl Scene {
    fn new(max_bytes: u64) -> Self {
        Self {
            store: Store::new(max_bytes),
            sequence: 0,
        }
    }

    /// Has somebody ask; the status and fields, if there is an answer at once.
    fn ask(&mut self, number: u32, op: Op, id: Id, write: impl FnOnce(&mut Writer<'_>)) -> Option<(Status, Vec<u8>)> {
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        let mut writer = Writer(&mut request);
        writer.request(op, id);
        write(&mut writer);
        self.sequence += 1;
        request[..4].copy_from_slice(&self.sequence.to_le_bytes());
        let served = self.store.serve(client(number), &request, &mut answer, Instant::now);
        self.store.audit();
        (served != Served::Silent).then(|| parts(&answer))
    }

    fn done(&mut self, number: u32, op: Op, id: Id, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let (status, fields) = self.ask(number, op, id, write).expect("an answer");
        assert_eq!(status, Status::Done);
        fields
    }

    /// The first of the requests waits.
    fn waits(&mut self, number: u32, op: Op, id: Id, write: impl FnOnce(&mut Writer<'_>)) {
        assert_eq!(self.ask(number, op, id, write), None);
    }

    fn new_object(&mut self, kind: Kind, number: u32) -> Id {
        let fields = self.done(0, Op::NewShared, Id::NONE, |writer| {
            writer.u8(kind as u8);
            writer.u32(number);
        });
        Fields(&fields).id().unwrap()
    }

    /// What was answered since: to whom, and what.
    fn late(&mut self) -> Vec<(u32, Status, Vec<u8>)> {
        let late = self.store.take_late();
        let said = late.iter().map(|late| {
            let mut answer = Vec::new();
            late.write(&mut answer);
            let (status, fields) = parts(&answer);
            (late.connection, status, fields)
        });
        said.collect()
    }

    /// The only one, which is good.
    #[track_caller]
    fn late_to(&mut self, number: u32) -> Vec<u8> {
        let mut late = self.late();
        assert_eq!(late.len(), 1, "{late:?}");
        let (connection, status, fields) = late.remove(0);
        assert_eq!((connection, status), (number, Status::Done));
        fields
    }

    fn leave(&mut self, number: u32, read: bool) {
        self.store.leave(client(number), read);
        self.store.forget(number);
        self.store.audit();
    }

    fn give_up(&mut self, number: u32, sequence: u32) {
        assert_eq!(
            self.ask(number, Op::GiveUp, Id::NONE, |writer| writer.u32(sequence)),
            None
        );
    }

    fn put(&mut self, number: u32, queue: Id, item: &[u8]) {
        self.done(number, Op::QueuePut, queue, |writer| {
            writer.u64(0);
            writer.item(item);
        });
    }

    /// The next item, if there is one.
    fn get(&mut self, number: u32, queue: Id) -> Option<Vec<u8>> {
        match self.ask(number, Op::QueueGet, queue, |writer| writer.u64(0)).unwrap() {
            (Status::Done, fields) => Some(Fields(&fields).item().unwrap().to_vec()),
            (status, _) => {
                assert_eq!(status, Status::TimedOut);
                None
            }
        }
    }

    fn release(&mut self, number: u32, lock: Id, fence: u64) -> Status {
        let answer = self.ask(number, Op::LockRelease, lock, |writer| {
            writer.id(Id::NONE);
            writer.u64(fence);
        });
        answer.unwrap().0
    }

    fn held(&mut self, number: u32, lock: Id) -> u32 {
        let fields = self.done(number, Op::LockHeld, lock, |writer| writer.id(Id::NONE));
        Fields(&fields).u32().unwrap()
    }
}

fn parts(answer: &[u8]) -> (Status, Vec<u8>) {
    let mut fields = Fields(answer);
    fields.u32().unwrap();
    (Status::from_code(fields.u8().unwrap()).unwrap(), fields.0.to_vec())
}

fn in_time(time: u64) -> impl Fn(&mut Writer<'_>) {
    move |writer| {
        writer.id(Id::NONE);
        writer.u64(time);
    }
}

/// What a lock tells: the fence, and whether it was abandoned.
fn acquired(fields: &[u8]) -> (u64, bool) {
    let mut fields = Fields(fields);
    (fields.u64().unwrap(), fields.u8().unwrap() != 0)
}

/// What a wait at a condition tells: whether it was notified, and the same.
fn woken(fields: &[u8]) -> (bool, u64, bool) {
    let (notified, rest) = fields.split_first().unwrap();
    let (fence, abandoned) = acquired(rest);
    (*notified != 0, fence, abandoned)
}

#[test]
fn an_item_that_nobody_has_read_goes_back_to_the_front() {
    for (read, left) in [
        (false, vec![b"one".to_vec(), b"two".to_vec()]),
        (true, vec![b"two".to_vec()]),
    ] {
        let mut scene = Scene::new(1 << 20);
        let queue = scene.new_object(Kind::Queue, 0);
        scene.waits(2, Op::QueueGet, queue, |writer| writer.u64(FOREVER));
        scene.put(1, queue, b"one");
        scene.late_to(2);
        scene.put(1, queue, b"two");
        scene.leave(2, read);
        let gotten: Vec<Vec<u8>> = std::iter::from_fn(|| scene.get(1, queue)).collect();
        assert_eq!(gotten, left);
    }
}

#[test]
fn an_item_goes_on_to_the_next_who_waits() {
    let mut scene = Scene::new(1 << 20);
    let queue = scene.new_object(Kind::Queue, 1);
    scene.waits(2, Op::QueueGet, queue, |writer| writer.u64(FOREVER));
    scene.waits(3, Op::QueueGet, queue, |writer| writer.u64(FOREVER));
    scene.put(1, queue, b"item");
    // It is on its way, and not yet sent, when the one that it is for is gone.
    scene.store.leave(client(2), true);
    let late = scene.late();
    assert_eq!(late.last().unwrap().0, 3);
    assert_eq!(scene.get(1, queue), None);
}

#[test]
fn who_gives_up_says_which_request() {
    let mut scene = Scene::new(1 << 20);
    let queue = scene.new_object(Kind::Queue, 0);
    scene.waits(2, Op::QueueGet, queue, |writer| writer.u64(FOREVER));
    let waiting = scene.sequence;
    scene.put(1, queue, b"item");
    scene.late_to(2);
    scene.give_up(2, waiting - 1);
    assert_eq!(scene.get(1, queue), None);
    scene.give_up(2, waiting);
    assert_eq!(scene.get(1, queue), Some(b"item".to_vec()));
    // Once is enough, and what was read before something else was asked is not given back.
    scene.give_up(2, waiting);
    assert_eq!(scene.get(1, queue), None);
    scene.put(1, queue, b"other");
    assert_eq!(scene.get(2, queue), Some(b"other".to_vec()));
    let gotten = scene.sequence;
    scene.done(2, Op::QueueLength, queue, |_| ());
    scene.give_up(2, gotten);
    assert_eq!(scene.get(1, queue), None);
    // Who gives up while it waits is not waiting any more.
    scene.waits(2, Op::QueueGet, queue, |writer| writer.u64(FOREVER));
    let waiting = scene.sequence;
    scene.give_up(2, waiting);
    scene.put(1, queue, b"item");
    assert!(scene.late().is_empty());
}

#[test]
fn an_item_that_may_be_unread_makes_room_when_it_is_needed() {
    let mut scene = Scene::new(5000);
    let queue = scene.new_object(Kind::Queue, 0);
    scene.put(1, queue, &[7; 4000]);
    assert!(scene.get(2, queue).is_some());
    // In spite of what 2 has not acknowledged.
    scene.put(1, queue, &[8; 4000]);
    scene.leave(2, false);
    assert_eq!(scene.get(1, queue), Some(vec![8; 4000]));
    assert_eq!(scene.get(1, queue), None);
}

#[test]
fn a_lock_that_was_granted_unread_is_free_and_not_abandoned() {
    let mut scene = Scene::new(1 << 20);
    let lock = scene.new_object(Kind::Lock, 0);
    scene.done(1, Op::LockAcquire, lock, in_time(0));
    scene.waits(2, Op::LockAcquire, lock, in_time(FOREVER));
    scene.waits(3, Op::LockAcquire, lock, in_time(FOREVER));
    assert_eq!(scene.release(1, lock, ANY_FENCE), Status::Done);
    assert_eq!(acquired(&scene.late_to(2)), (2, false));
    scene.leave(2, false);
    assert_eq!(acquired(&scene.late_to(3)), (3, false));
    // It has read that, and then it is gone.
    scene.waits(1, Op::LockAcquire, lock, in_time(FOREVER));
    scene.leave(3, true);
    assert_eq!(acquired(&scene.late_to(1)), (4, true));
    assert_eq!(scene.release(1, lock, 3), Status::NotOwner);
    assert_eq!(scene.release(1, lock, 4), Status::Done);
    assert_eq!(scene.release(1, lock, ANY_FENCE), Status::TooMany);
}

#[test]
fn an_rlock_that_waited_at_a_condition_is_as_deep_as_before() {
    let mut scene = Scene::new(1 << 20);
    let condition = scene.new_object(Kind::Condition, 0);
    let (first, _) = acquired(&scene.done(1, Op::LockAcquire, condition, in_time(0)));
    scene.done(1, Op::LockAcquire, condition, in_time(0));
    scene.waits(1, Op::ConditionWait, condition, in_time(FOREVER));
    assert_eq!(scene.held(2, condition), 0);
    scene.done(2, Op::LockAcquire, condition, in_time(0));
    scene.done(2, Op::ConditionNotify, condition, |writer| {
        writer.id(Id::NONE);
        writer.u32(1);
    });
    assert!(scene.late().is_empty(), "the lock is held");
    assert_eq!(scene.release(2, condition, ANY_FENCE), Status::Done);
    let (notified, fence, abandoned) = woken(&scene.late_to(1));
    assert!(notified && !abandoned && fence > first);
    assert_eq!((scene.held(1, condition), scene.held(2, condition)), (2, ELSEWHERE));
    // Guards from before the wait and from after it.
    assert_eq!(scene.release(1, condition, fence), Status::Done);
    assert_eq!(scene.release(1, condition, first), Status::Done);
    assert_eq!(scene.held(1, condition), 0);
    // One from before the lock was lost has nothing of what was acquired later.
    scene.done(1, Op::LockAcquire, condition, in_time(0));
    scene.store.forget(1);
    scene.done(1, Op::LockAcquire, condition, in_time(0));
    assert_eq!(scene.release(1, condition, fence + 1), Status::NotOwner);
    assert_eq!(scene.held(1, condition), 1);
}

#[test]
fn a_notification_is_not_lost_with_who_is_gone() {
    // Before it has the lock again; with the lock, before it has read so; after it has read so, when it is its own.
    for (unlocked, read, next) in [(false, true, true), (true, false, true), (true, true, false)] {
        let mut scene = Scene::new(1 << 20);
        let condition = scene.new_object(Kind::Condition, 0);
        for sleeper in [2, 3] {
            scene.done(sleeper, Op::LockAcquire, condition, in_time(0));
            scene.waits(sleeper, Op::ConditionWait, condition, in_time(FOREVER));
        }
        scene.done(1, Op::LockAcquire, condition, in_time(0));
        scene.done(1, Op::ConditionNotify, condition, |writer| {
            writer.id(Id::NONE);
            writer.u32(1);
        });
        if unlocked {
            scene.release(1, condition, ANY_FENCE);
            scene.late_to(2);
        }
        scene.leave(2, read);
        if !unlocked {
            scene.release(1, condition, ANY_FENCE);
        }
        let woken: Vec<u32> = scene.late().iter().map(|(connection, ..)| *connection).collect();
        assert_eq!(woken, if next { vec![3] } else { vec![] });
    }
}

#[test]
fn the_time_at_a_condition_is_up_when_the_lock_is_there_again() {
    let mut scene = Scene::new(1 << 20);
    let condition = scene.new_object(Kind::Condition, 0);
    scene.done(2, Op::LockAcquire, condition, in_time(0));
    scene.waits(2, Op::ConditionWait, condition, in_time(1_000_000));
    scene.done(1, Op::LockAcquire, condition, in_time(0));
    let deadline = scene.store.next_deadline().unwrap();
    scene.store.expire(deadline);
    scene.store.audit();
    assert!(scene.late().is_empty());
    assert_eq!(scene.store.next_deadline(), None);
    scene.release(1, condition, ANY_FENCE);
    assert!(!woken(&scene.late_to(2)).0);
}

#[test]
fn permits_come_back_as_they_were_taken() {
    let mut scene = Scene::new(1 << 20);
    let semaphore = scene.new_object(Kind::Semaphore, 4);
    let take = |scene: &mut Scene, number: u32, comes_back: bool| {
        scene.ask(number, Op::SemaphoreAcquire, semaphore, |writer| {
            writer.u8(comes_back.into());
            writer.u64(FOREVER);
        })
    };
    let value = |scene: &mut Scene| {
        Fields(&scene.done(1, Op::SemaphoreValue, semaphore, |_| ()))
            .u32()
            .unwrap()
    };
    let give_back = |scene: &mut Scene, number: u32| {
        let answer = scene.ask(number, Op::SemaphoreRelease, semaphore, |writer| {
            writer.u8(1);
            writer.u32(1);
        });
        answer.unwrap().0
    };
    take(&mut scene, 2, true);
    take(&mut scene, 2, false);
    take(&mut scene, 3, true);
    take(&mut scene, 4, false);
    assert_eq!(give_back(&mut scene, 4), Status::NotOwner);
    // One is borrowed, and one was a signal that was read.
    scene.leave(2, true);
    assert_eq!(value(&mut scene), 1);
    // One that was not read is still there.
    take(&mut scene, 5, false);
    scene.leave(5, false);
    assert_eq!(value(&mut scene), 1);
    take(&mut scene, 5, true);
    assert_eq!(take(&mut scene, 6, true), None);
    scene.leave(3, true);
    scene.late_to(6);
    assert_eq!(give_back(&mut scene, 6), Status::Done);
    assert_eq!(give_back(&mut scene, 6), Status::NotOwner);
    assert_eq!(value(&mut scene), 1);
}

#[test]
fn a_barrier_breaks_when_somebody_does_not_wait_for_it() {
    let mut scene = Scene::new(1 << 20);
    let barrier = scene.new_object(Kind::Barrier, 3);
    let asleep = |scene: &mut Scene| {
        for number in [2, 3] {
            scene.waits(number, Op::BarrierWait, barrier, |writer| writer.u64(1_000_000));
        }
    };
    let broken = |scene: &mut Scene, told: &[u32]| {
        let late = scene.late();
        assert!(late.iter().all(|(_, status, _)| *status == Status::Broken));
        let to: Vec<u32> = late.iter().map(|(connection, ..)| *connection).collect();
        assert_eq!(to, told);
        scene.done(1, Op::BarrierBreak, barrier, |writer| writer.u8(1));
    };
    asleep(&mut scene);
    scene.leave(2, true);
    broken(&mut scene, &[3]);
    asleep(&mut scene);
    let deadline = scene.store.next_deadline().unwrap();
    scene.store.expire(deadline + Duration::from_secs(1));
    broken(&mut scene, &[2, 3]);
    asleep(&mut scene);
    scene.done(3, Op::BarrierState, barrier, |_| ());
    broken(&mut scene, &[2]);
}

#[test]
fn an_object_that_goes_away_takes_nobody_along() {
    for (kind, op) in [
        (Kind::Queue, Op::QueueGet),
        (Kind::Event, Op::EventWait),
        (Kind::Barrier, Op::BarrierWait),
    ] {
        let mut scene = Scene::new(1 << 20);
        let object = scene.new_object(kind, if kind == Kind::Barrier { 2 } else { 0 });
        scene.waits(1, op, object, |writer| writer.u64(FOREVER));
        scene.leave(0, true);
        let late = scene.late();
        assert_eq!((late[0].0, late[0].1), (1, Status::NoSuchObject));
    }
}
