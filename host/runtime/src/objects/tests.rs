//! Scopes and seats without workers: what a request does, and what dies when.

use std::os::fd::AsFd;
use std::sync::Arc;

use wasmp_abi::{ObjectKind, Status};
use wasmp_ipc::{Limit, Lock, Mapping, Party, Slot};

use super::message::{Answer, Opened, Request, TokenBytes};
use super::registry::Seat;
use super::{Entry, Object, Quota, Scope, Shape, Token};

/// A worker as its host sees it.
#[derive(Default)]
struct Worker(Option<Seat>);

impl Worker {
    fn ask(&mut self, scope: &Scope, request: Request) -> Result<Option<Opened>, Status> {
        match scope.serve(&mut self.0, request) {
            Some((Answer::Opened(opened), Some(_))) => Ok(Some(opened)),
            Some((Answer::Done, None)) | None => Ok(None),
            Some((Answer::Refused { status }, None)) => Err(Status::ALL
                .into_iter()
                .find(|known| *known as u8 == status)
                .expect("a status")),
            other => panic!("{other:?}"),
        }
    }

    fn new_object(&mut self, scope: &Scope, shape: Shape) -> Result<TokenBytes, Status> {
        let opened = self.ask(scope, Request::New { shape, name: None })?;
        Ok(opened.expect("it is open").tokens[0])
    }

    fn open(&mut self, scope: &Scope, kind: ObjectKind, token: TokenBytes) -> Result<(), Status> {
        let kind = kind as u8;
        self.ask(scope, Request::Open { kind, token }).map(drop)
    }
}

fn entry(token: TokenBytes) -> Option<Arc<Entry>> {
    Entry::by_token(Token::from_bytes(token)).map(|(entry, _)| entry)
}

#[test]
fn an_object_lives_while_somebody_has_it_open() {
    let scope = Scope::default();
    let (mut one, mut other) = (Worker::default(), Worker::default());
    let token = one.new_object(&scope, Shape::Lock).unwrap();
    other.open(&scope, ObjectKind::Lock, token).unwrap();
    one.ask(&scope, Request::Close { token }).unwrap();
    assert!(entry(token).is_some());
    drop(other);
    assert!(entry(token).is_none());
    assert_eq!(one.open(&scope, ObjectKind::Lock, token), Err(Status::NotFound));
}

#[test]
fn an_object_whose_token_was_handed_out_lives_as_long_as_its_scope() {
    let scope = Scope::default();
    let mut worker = Worker::default();
    let token = worker.new_object(&scope, Shape::Event).unwrap();
    worker.ask(&scope, Request::Keep { token }).unwrap();
    drop(worker);
    assert!(entry(token).is_some());
    drop(scope);
    assert!(entry(token).is_none());
}

#[test]
fn the_dead_give_back_what_they_held_also_where_they_closed_their_handle() {
    let scope = Scope::default();
    let (mut worker, mut witness) = (Worker::default(), Worker::default());
    for closed in [false, true] {
        let token = worker.new_object(&scope, Shape::Lock).unwrap();
        witness.open(&scope, ObjectKind::Lock, token).unwrap();
        let entry = entry(token).expect("it is open");
        let slot = (1..)
            .filter_map(Slot::new)
            .find(|slot| is_sitting(&worker, *slot))
            .expect("a seat");
        let mapping = Mapping::open(entry.as_fd(), entry.len()).unwrap();
        let lock = Lock::open(&Arc::new(mapping)).unwrap();
        lock.acquire(&Party::worker(slot, None), Limit::Poll).unwrap();
        if closed {
            worker.ask(&scope, Request::Close { token }).unwrap();
        }
        worker = Worker::default();
        let Object::Lock(seen_by_host) = entry.object() else {
            panic!("a lock")
        };
        assert!(seen_by_host.acquire(&Party::host(), Limit::Poll).unwrap().abandoned);
    }
}

fn is_sitting(worker: &Worker, slot: Slot) -> bool {
    worker.0.as_ref().is_some_and(|seat| seat.slot() == slot)
}

#[test]
fn what_workers_create_is_limited_in_number_and_in_bytes_and_what_is_gone_does_not_count() {
    let scope = Scope::new(Quota {
        objects: 2,
        bytes: 1 << 20,
        ..Quota::default()
    });
    let mut worker = Worker::default();
    let first = worker.new_object(&scope, Shape::Lock).unwrap();
    let memory = |size| Shape::Memory { size };
    assert_eq!(worker.new_object(&scope, memory(2 << 20)), Err(Status::ByteLimit));
    worker.new_object(&scope, memory(512 << 10)).unwrap();
    assert_eq!(worker.new_object(&scope, Shape::Lock), Err(Status::ObjectLimit));
    worker.ask(&scope, Request::Close { token: first }).unwrap();
    worker.new_object(&scope, Shape::Lock).unwrap();
    assert_eq!(worker.new_object(&scope, memory(0)), Err(Status::Invalid));
}

#[test]
fn names_are_known_in_their_scope_alone_and_taken_once() {
    let (here, elsewhere) = (Scope::default(), Scope::default());
    let mut worker = Worker::default();
    let named = |name: &str| Request::New {
        shape: Shape::Event,
        name: Some(name.into()),
    };
    let find = |kind: ObjectKind| Request::Find {
        kind: kind as u8,
        name: "stop".into(),
    };
    let token = worker.ask(&here, named("stop")).unwrap().expect("it is open").tokens[0];
    assert_eq!(worker.ask(&here, named("stop")).map(drop), Err(Status::Exists));
    assert_eq!(worker.ask(&here, named("")).map(drop), Err(Status::Invalid));
    assert_eq!(
        worker.ask(&here, named(&"n".repeat(256))).map(drop),
        Err(Status::Invalid)
    );
    let mut other = Worker::default();
    assert_eq!(
        other
            .ask(&here, find(ObjectKind::Event))
            .unwrap()
            .expect("it is open")
            .tokens,
        [token]
    );
    assert_eq!(
        other.ask(&here, find(ObjectKind::Lock)).map(drop),
        Err(Status::WrongKind)
    );
    assert_eq!(
        other.ask(&elsewhere, find(ObjectKind::Event)).map(drop),
        Err(Status::NotFound)
    );
    worker.ask(&here, Request::Unlink { token }).unwrap();
    assert_eq!(
        other.ask(&here, find(ObjectKind::Event)).map(drop),
        Err(Status::NotFound)
    );
    assert_eq!(
        worker.ask(&here, Request::Unlink { token }).map(drop),
        Err(Status::NotFound)
    );
    assert!(worker.ask(&here, named("stop")).is_ok(), "the name is free again");
}

#[test]
fn a_worker_can_do_nothing_with_a_token_that_it_has_not_opened_or_that_is_none() {
    let scope = Scope::default();
    let (mut owner, mut stranger) = (Worker::default(), Worker::default());
    let token = owner.new_object(&scope, Shape::Lock).unwrap();
    for request in [Request::Keep { token }, Request::Unlink { token }] {
        assert_eq!(stranger.ask(&scope, request).map(drop), Err(Status::NotFound));
    }
    stranger.ask(&scope, Request::Close { token }).unwrap();
    assert!(entry(token).is_some());
    assert_eq!(stranger.open(&scope, ObjectKind::Lock, [7; 16]), Err(Status::NotFound));
    assert_eq!(stranger.open(&scope, ObjectKind::Queue, token), Err(Status::WrongKind));
}
