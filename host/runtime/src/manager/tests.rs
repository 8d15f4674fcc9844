//! The store, without processes.

use std::time::{Duration, Instant};

use wasmp_abi::ErrorKind;
use wasmp_manager::protocol::{
    ANY_FENCE, FOREVER, Fields, Id, KEYS, Kind, MAX_MESSAGE, Op, REQUEST_HEAD, Status, VALUES, Writer,
};

use super::custom::{Instance, Order, Refusal, Returned, Types};
use super::store::{Caller, Content, Served, Store};
use crate::fuzz::{Random, fuzz_with};
use crate::wire::Fault;

const ONE: Caller = Caller {
    connection: 1,
    client: 1,
};
const OTHER: Caller = Caller {
    connection: 2,
    client: 2,
};

/// Has a request served, and returns the status and the fields of the answer.
fn ask(store: &mut Store, caller: Caller, op: Op, id: Id, write: impl FnOnce(&mut Writer<'_>)) -> (Status, Vec<u8>) {
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    let mut writer = Writer(&mut request);
    writer.request(op, id);
    write(&mut writer);
    request[..4].copy_from_slice(&77_u32.to_le_bytes());
    let served = store.serve(caller, &request, &mut answer, Instant::now);
    assert_ne!(served, Served::Silent);
    parts(&answer)
}

fn parts(answer: &[u8]) -> (Status, Vec<u8>) {
    let mut fields = Fields(answer);
    assert_eq!(fields.u32(), Some(77));
    (Status::from_code(fields.u8().unwrap()).unwrap(), fields.0.to_vec())
}

/// The only answer to somebody who has waited: the status and the fields.
fn late(store: &mut Store) -> (Status, Vec<u8>) {
    let late = store.take_late();
    assert_eq!(late.len(), 1);
    assert_eq!(late[0].connection, OTHER.connection);
    let mut answer = Vec::new();
    late[0].write(&mut answer);
    parts(&answer)
}

fn new(store: &mut Store, op: Op) -> Id {
    let (status, fields) = ask(store, ONE, op, Id::NONE, |writer| writer.u32(0));
    assert_eq!(status, Status::Done);
    Fields(&fields).id().unwrap()
}

fn new_shared(store: &mut Store, kind: Kind) -> Id {
    let (status, fields) = ask(store, ONE, Op::NewShared, Id::NONE, |writer| {
        writer.u8(kind as u8);
        writer.u32(2);
    });
    assert_eq!(status, Status::Done);
    Fields(&fields).id().unwrap()
}

fn release(store: &mut Store, caller: Caller, id: Id) {
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    Writer(&mut request).request(Op::Release, id);
    assert_eq!(store.serve(caller, &request, &mut answer, Instant::now), Served::Silent);
}

fn used(store: &mut Store) -> u64 {
    used_as_told(store, ONE)
}

/// The same, where it matters who asks.
fn used_as_told(store: &mut Store, caller: Caller) -> u64 {
    let (_, fields) = ask(store, caller, Op::Usage, Id::NONE, |_| ());
    let mut fields = Fields(&fields);
    fields.u64().unwrap();
    fields.u64().unwrap()
}

fn forget_all(store: &mut Store) {
    store.forget(ONE.client);
    store.forget(OTHER.client);
}

#[test]
fn what_is_served_late_goes_to_who_has_waited() {
    let mut store = Store::new(1 << 20);
    let map = new(&mut store, Op::NewMap);
    let wait = |store: &mut Store, time: u64| {
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        let mut writer = Writer(&mut request);
        writer.request(Op::MapWait, map);
        writer.item(b"key");
        writer.option(None);
        writer.u64(time);
        request[..4].copy_from_slice(&77_u32.to_le_bytes());
        store.serve(OTHER, &request, &mut answer, Instant::now)
    };
    assert_eq!(wait(&mut store, FOREVER), Served::Silent);
    assert_eq!(store.next_deadline(), None);
    ask(&mut store, ONE, Op::MapSet, map, |writer| {
        writer.item(b"other");
        writer.item(b"1");
    });
    assert!(store.take_late().is_empty());
    ask(&mut store, ONE, Op::MapSet, map, |writer| {
        writer.item(b"key");
        writer.item(b"1");
    });
    let (status, fields) = late(&mut store);
    assert_eq!(
        (status, Fields(&fields).option()),
        (Status::Done, Some(Some(&b"1"[..])))
    );

    ask(&mut store, ONE, Op::MapClear, map, |_| ());
    assert_eq!(wait(&mut store, 1_000_000), Served::Silent);
    let deadline = store.next_deadline().unwrap();
    store.expire(deadline - Duration::from_nanos(1));
    assert!(store.take_late().is_empty());
    store.expire(deadline);
    assert_eq!(late(&mut store).0, Status::TimedOut);

    // An object that goes away takes nobody along who waits for it.
    assert_eq!(wait(&mut store, FOREVER), Served::Silent);
    store.forget(ONE.client);
    assert_eq!(late(&mut store).0, Status::NoSuchObject);
}

#[test]
fn objects_are_their_makers_until_they_are_kept() {
    let mut store = Store::new(1 << 20);
    let (mine, kept) = (new(&mut store, Op::NewMap), new(&mut store, Op::NewList));
    let is_there = |store: &mut Store, op, id| ask(store, OTHER, op, id, |_| ()).0 == Status::Done;
    release(&mut store, OTHER, mine);
    assert!(is_there(&mut store, Op::MapLength, mine));
    assert_eq!(ask(&mut store, ONE, Op::Keep, kept, |_| ()).0, Status::Done);
    release(&mut store, ONE, mine);
    release(&mut store, ONE, kept);
    assert!(!is_there(&mut store, Op::MapLength, mine));
    assert!(is_there(&mut store, Op::ListLength, kept));
    store.forget(ONE.client);
    assert!(is_there(&mut store, Op::ListLength, kept));
}

/// A request of nearly the right form: fields of all kinds, in any order, some cut off.
fn garbage(random: &mut Random, ids: &[Id]) -> Vec<u8> {
    let mut request = Vec::new();
    let mut writer = Writer(&mut request);
    let op = Op::ALL[random.below(Op::ALL.len())];
    writer.request(op, ids[random.below(ids.len())]);
    for _ in 0..random.below(5) {
        match random.below(9) {
            0 => writer.u8(random.byte()),
            1 => writer.u32(random.below(4) as u32),
            2 => writer.u64(random.below(1 << 40) as u64),
            3 => writer.i64((random.below(16) as i64) - 8),
            4 => writer.option(None),
            5 => writer.u32(u32::MAX - random.below(2) as u32),
            6 => writer.id(Id::new([random.below(3) as u8; Id::LEN])),
            _ => {
                let item = vec![random.below(4) as u8; random.below(40)];
                writer.item(&item);
            }
        }
    }
    if random.below(4) == 0 {
        let len = random.below(request.len() + 1);
        request.truncate(len);
    }
    request
}

/// A request of the right form, about something that is used together.
fn sensible(random: &mut Random, (kind, id): (Kind, Id)) -> Vec<u8> {
    let mut request = Vec::new();
    let mut writer = Writer(&mut request);
    let ops: &[Op] = match kind {
        Kind::Lock | Kind::RLock => &[Op::LockAcquire, Op::LockRelease, Op::LockHeld],
        Kind::Condition => &[Op::LockAcquire, Op::ConditionWait, Op::ConditionNotify, Op::LockRelease],
        Kind::Semaphore | Kind::BoundedSemaphore => &[Op::SemaphoreAcquire, Op::SemaphoreRelease],
        Kind::Event => &[Op::EventSet, Op::EventWait, Op::EventIsSet],
        Kind::Barrier => &[Op::BarrierWait, Op::BarrierWait, Op::BarrierBreak, Op::BarrierState],
        _ => &[
            Op::QueuePut,
            Op::QueueGet,
            Op::QueueTaskDone,
            Op::QueueJoin,
            Op::QueueLength,
        ],
    };
    let op = ops[random.below(ops.len())];
    writer.request(op, id);
    let time = [0, 1, 1000, FOREVER][random.below(4)];
    match op {
        Op::LockAcquire | Op::ConditionWait => {
            writer.id(Id::NONE);
            writer.u64(time);
        }
        Op::LockRelease => {
            writer.id(Id::NONE);
            writer.u64([ANY_FENCE, 1, 7][random.below(3)]);
        }
        Op::LockHeld | Op::ConditionNotify => {
            writer.id(Id::NONE);
            writer.u32(random.below(3) as u32);
        }
        Op::SemaphoreAcquire => {
            writer.u8(random.below(2) as u8);
            writer.u64(time);
        }
        Op::SemaphoreRelease => {
            writer.u8(random.below(2) as u8);
            writer.u32(random.below(3) as u32);
        }
        Op::EventSet | Op::BarrierBreak => writer.u8(random.below(2) as u8),
        Op::QueuePut => {
            writer.u64(time);
            writer.item(&vec![7; random.below(300)]);
        }
        _ => writer.u64(time),
    }
    request
}

/// Clients that know no shame: for as long as there is time. Whatever they ask, the books are right, and nobody waits for what
/// is there.
#[test]
fn whatever_is_asked_the_books_are_right() {
    fuzz_with(|random| {
        let mut store = Store::new(20_000).with_types(Box::new(Purses));
        let callers: Vec<Caller> = (1..7)
            .map(|connection| Caller {
                connection,
                client: connection / 2,
            })
            .collect();
        let mut ids = vec![Id::NONE, new(&mut store, Op::NewMap), new(&mut store, Op::NewList)];
        let together: Vec<(Kind, Id)> = Kind::ALL
            .iter()
            .map(|kind| (*kind, new_shared(&mut store, *kind)))
            .collect();
        ids.extend(together.iter().map(|(_, id)| *id));
        let mut answer = Vec::new();
        for round in 0..3000 {
            let caller = callers[random.below(callers.len())];
            match random.below(40) {
                0 => store.leave(caller, random.below(2) == 0),
                1 => store.forget(caller.client),
                2 => drop(store.take_late()),
                3 => store.expire(Instant::now() + Duration::from_micros(random.below(2) as u64)),
                sides => {
                    let request = if sides < 20 {
                        garbage(random, &ids)
                    } else {
                        let one = together[random.below(together.len())];
                        sensible(random, one)
                    };
                    store.serve(caller, &request, &mut answer, Instant::now);
                    assert!(answer.len() <= MAX_MESSAGE);
                    if let [_, _, _, _, 0, rest @ ..] = &answer[..]
                        && request
                            .get(4)
                            .is_some_and(|op| [1, 2, Op::NewShared as u8, Op::NewObject as u8].contains(op))
                        && let Some(id) = Fields(rest).id()
                    {
                        ids.push(id);
                        if ids.len() > 40 {
                            ids.swap_remove(1 + random.below(39));
                        }
                    }
                }
            }
            if round % 10 == 0 {
                store.audit();
            }
        }
        // What was kept is the manager's: everything else goes with its makers.
        for caller in callers {
            store.leave(caller, true);
            store.forget(caller.client);
        }
        store.audit();
    });
}

/// A type of which an object takes as many bytes as were put into it, and at most what it may.
#[derive(Debug)]
struct Purses;

#[derive(Debug)]
struct Purse {
    bytes: u64,
    broken: bool,
}

const PURSE_BYTES: u64 = 100;

impl Types for Purses {
    fn create(&mut self, of: &[u8], _args: &[u8], room: u64) -> Result<Box<dyn Instance>, Refusal> {
        match of {
            b"Purse" if room >= PURSE_BYTES => Ok(Box::new(Purse {
                bytes: PURSE_BYTES,
                broken: false,
            })),
            b"Purse" => Err(Refusal::Status(Status::Full)),
            _ => Err(Refusal::NoSuchType(vec!["Purse".into()])),
        }
    }
}

impl Instance for Purse {
    fn call(&mut self, method: &[u8], args: &[u8], room: u64) -> Result<Returned, Refusal> {
        let broken = || Fault::new(ErrorKind::Trap, "broken");
        match method {
            _ if self.broken => Err(Refusal::Spoiled(broken())),
            b"put" if args.len() as u64 <= room => {
                self.bytes += args.len() as u64;
                Ok(Returned::Value(args.to_vec()))
            }
            b"put" => Err(Refusal::Failed(Fault::new(ErrorKind::Error, "no room"))),
            // One byte more for each that was ordered.
            b"order" if room > 0 => {
                self.bytes += 1;
                Ok(Returned::New(Order {
                    of: String::from_utf8_lossy(args).into_owned(),
                    args: vec![0x80],
                }))
            }
            b"break" => {
                (self.bytes, self.broken) = (0, true);
                Err(Refusal::Failed(broken()))
            }
            _ => Err(Refusal::NoSuchMethod(vec!["put".into(), "break".into()])),
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn new_purse(store: &mut Store) -> (Status, Vec<u8>) {
    ask(store, ONE, Op::NewObject, Id::NONE, |writer| {
        writer.item(b"Purse");
        writer.item(&[0x80]);
    })
}

fn call_purse(store: &mut Store, purse: Id, method: &[u8], args: &[u8]) -> (Status, Vec<u8>) {
    ask(store, OTHER, Op::CallMethod, purse, |writer| {
        writer.item(method);
        writer.item(args);
    })
}

#[test]
fn what_objects_of_types_take_is_in_the_books() {
    let mut store = Store::new(10_000).with_types(Box::new(Purses));
    let before = used(&mut store);
    let (status, fields) = new_purse(&mut store);
    let purse = Fields(&fields).id().unwrap();
    let empty = used(&mut store);
    assert_eq!((status, empty > before + PURSE_BYTES), (Status::Done, true));
    let (status, fields) = call_purse(&mut store, purse, b"put", &[7; 1000]);
    assert_eq!((status, Fields(&fields).item()), (Status::Done, Some(&[7; 1000][..])));
    assert_eq!(used(&mut store), empty + 1000);
    assert_eq!(call_purse(&mut store, purse, b"put", &[7; 10_000]).0, Status::Failed);
    assert_eq!(used(&mut store), empty + 1000);
    let (status, fields) = call_purse(&mut store, purse, b"take", &[]);
    let exposed = Fields(&fields).items().map(|names| names.concat());
    assert_eq!((status, exposed), (Status::NoSuchMethod, Some(b"putbreak".to_vec())));
    assert_eq!(ask(&mut store, ONE, Op::MapLength, purse, |_| ()).0, Status::WrongType);
    let list = new(&mut store, Op::NewList);
    assert_eq!(call_purse(&mut store, list, b"put", &[]).0, Status::WrongType);
    assert_eq!(call_purse(&mut store, purse, b"break", &[]).0, Status::Failed);
    assert_eq!(call_purse(&mut store, purse, b"put", &[]).0, Status::Spoiled);
    forget_all(&mut store);
    assert_eq!((used(&mut store), store.customs), (before, 0));
}

#[test]
fn an_object_that_a_method_has_made_is_its_callers_and_in_the_books() {
    let mut store = Store::new(10_000).with_types(Box::new(Purses));
    let (_, fields) = new_purse(&mut store);
    let purse = Fields(&fields).id().unwrap();
    let one = used(&mut store);
    let (status, fields) = call_purse(&mut store, purse, b"order", b"Purse");
    let proxy = Fields(&fields).item().unwrap();
    assert_eq!((status, &proxy[..3]), (Status::Done, &[0x82, 0xf6, 0x50][..]));
    let made = Id::new(proxy[3..].try_into().unwrap());
    assert_eq!(used(&mut store), 2 * one + 1);
    assert_eq!(call_purse(&mut store, made, b"put", &[7; 10]).0, Status::Done);
    assert_eq!(used(&mut store), 2 * one + 11);
    // It was not made for the one who has made the first.
    release(&mut store, ONE, made);
    assert_eq!(used(&mut store), 2 * one + 11);
    store.forget(OTHER.client);
    assert_eq!(used(&mut store), one + 1);
    assert_eq!(call_purse(&mut store, made, b"put", &[]).0, Status::NoSuchObject);

    assert_eq!(call_purse(&mut store, purse, b"order", b"Bag").0, Status::NoSuchType);
    assert_eq!(used(&mut store), one + 2);
    // Whether or not it can be made, the method is called once.
    call_purse(&mut store, purse, b"put", &vec![7; 9_999 - one as usize - 2]);
    assert_eq!(call_purse(&mut store, purse, b"order", b"Purse").0, Status::Full);
    assert_eq!(used(&mut store), 10_000);
    store.audit();
}

#[test]
fn a_method_is_called_once_though_room_is_made_for_what_it_makes() {
    let mut store = Store::new(10_000).with_types(Box::new(Purses));
    let (_, fields) = new_purse(&mut store);
    let purse = Fields(&fields).id().unwrap();
    let one = used(&mut store);
    let queue = new_shared(&mut store, Kind::Queue);
    let fixed = used(&mut store);
    ask(&mut store, ONE, Op::QueuePut, queue, |writer| {
        writer.u64(0);
        writer.item(&[7; 1000]);
    });
    ask(&mut store, ONE, Op::QueueGet, queue, |writer| writer.u64(0));
    // But for the item, which may not have been read, there is no room. That one does not ask again.
    let before = used_as_told(&mut store, OTHER);
    assert!(before >= fixed + 1000);
    let put = vec![7; 9_900 - before as usize];
    assert_eq!(call_purse(&mut store, purse, b"put", &put).0, Status::Done);
    assert_eq!(call_purse(&mut store, purse, b"order", b"Purse").0, Status::Done);
    assert_eq!(used_as_told(&mut store, OTHER), fixed + put.len() as u64 + one + 1);
    store.audit();
}

#[test]
fn whatever_is_asked_of_objects_of_types_the_books_are_right() {
    let mut answered = [0; 256];
    fuzz_with(|random| {
        let mut store = Store::new(20_000).with_types(Box::new(Purses));
        let mut ids = vec![Id::NONE, new(&mut store, Op::NewMap)];
        let mut answer = Vec::new();
        let ops = [
            Op::NewObject,
            Op::NamedObject,
            Op::CallMethod,
            Op::CallMethod,
            Op::Release,
            Op::Keep,
        ];
        let words = [&b"Purse"[..], b"put", b"break", b"order", b"name", b"", &[7; 500]];
        for round in 0..20_000 {
            let op = ops[random.below(6)];
            let mut request = Vec::new();
            let mut writer = Writer(&mut request);
            writer.request(op, ids[random.below(ids.len())]);
            for _ in 0..random.below(5) {
                match random.below(10) {
                    0 => writer.option(None),
                    1 => writer.u32(u32::MAX - 1),
                    _ => writer.item(words[random.below(7)]),
                }
            }
            if random.below(10) == 0 {
                request.truncate(random.below(request.len() + 1));
            }
            let caller = if random.below(2) == 0 { ONE } else { OTHER };
            if store.serve(caller, &request, &mut answer, Instant::now) != Served::Answered {
                continue;
            }
            answered[usize::from(answer[4])] += 1;
            if let (Op::NewObject | Op::NamedObject, [_, _, _, _, 0, id @ ..]) = (op, &answer[..])
                && let Some(id) = Fields(id).id()
                && request.len() > REQUEST_HEAD
            {
                ids.push(id);
            }
            if ids.len() > 20 {
                store.forget(OTHER.client);
                ids.truncate(2 + random.below(10));
            }
            if round % 10 == 0 {
                store.audit();
            }
        }
        // Those of the names stay.
        forget_all(&mut store);
        let kept = store.objects.values();
        let customs = kept
            .filter(|object| matches!(object.content, Content::Custom(_)))
            .count();
        assert_eq!(store.customs, customs);
    });
    let often = [
        Status::Done,
        Status::NoSuchType,
        Status::NoSuchMethod,
        Status::Failed,
        Status::Spoiled,
        Status::NoSuchObject,
        Status::WrongType,
        Status::Malformed,
        Status::Full,
    ];
    for status in often {
        assert!(answered[status as usize] > 0, "never {status:?}");
    }
}

#[test]
fn there_are_so_many_objects_of_types_and_no_more() {
    let mut store = Store::new(1 << 30).with_types(Box::new(Purses));
    for _ in 0..1000 {
        assert_eq!(new_purse(&mut store).0, Status::Done);
    }
    assert_eq!(new_purse(&mut store).0, Status::Full);
    forget_all(&mut store);
    assert_eq!(new_purse(&mut store).0, Status::Done);
    assert_eq!(new_purse(&mut Store::new(1 << 20)).0, Status::NoSuchType);
}

#[test]
fn what_is_taken_out_is_given_back() {
    let mut store = Store::new(1 << 20);
    let before = used(&mut store);
    let map = new(&mut store, Op::NewMap);
    let empty = used(&mut store);
    for key in 0..100_u8 {
        ask(&mut store, ONE, Op::MapSet, map, |writer| {
            writer.item(&[key % 10]);
            writer.item(&vec![0; key.into()]);
        });
    }
    for key in 0..5_u8 {
        ask(&mut store, ONE, Op::MapRemove, map, |writer| writer.item(&[key]));
    }
    let (_, fields) = ask(&mut store, ONE, Op::MapItems, map, |writer| writer.u8(KEYS | VALUES));
    let mut fields = Fields(&fields);
    fields.u64().unwrap();
    let items = fields.items().unwrap();
    assert_eq!(items.len(), 10);
    ask(&mut store, ONE, Op::MapReplace, map, |writer| {
        writer.u64(u64::MAX);
        writer.u32(2);
        writer.item(b"key");
        writer.item(b"value");
    });
    ask(&mut store, ONE, Op::MapClear, map, |_| ());
    assert_eq!(used(&mut store), empty);
    let list = new(&mut store, Op::NewList);
    ask(&mut store, ONE, Op::ListPush, list, |writer| {
        writer.u32(2);
        writer.item(b"one");
        writer.item(b"two");
    });
    ask(&mut store, ONE, Op::ListRepeat, list, |writer| writer.u64(100));
    let (_, fields) = ask(&mut store, ONE, Op::ListRepeat, list, |writer| writer.u64(u64::MAX / 2));
    assert!(fields.is_empty());
    let (_, fields) = ask(&mut store, ONE, Op::ListLength, list, |_| ());
    assert_eq!(Fields(&fields).u64(), Some(200));
    forget_all(&mut store);
    assert_eq!(used(&mut store), before);
}
