//! Garbage for everything that reads bytes of a worker or a file: it is refused, or read as something, and nothing else
//! happens. The first half of it is what an honest sender would send, with some bytes changed.
//!
//! `WASMP_FUZZ_SECONDS` says how long each test goes on, `WASMP_SEED` repeats the choices of an earlier run.

#![allow(clippy::print_stderr, reason = "a seed that is not told cannot be tried again")]

mod live;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ciborium::cbor;
use wasmp_abi::ErrorKind;

use crate::grants;
use crate::identity::{Identity, StartMethod};
use crate::module::Module;
use crate::objects::message::{Answer, Ask, MAX_MESSAGE, NewProcess, PoolRequest, Request};
use crate::objects::registry::Seat;
use crate::objects::{Quota, Scope, Shape};
use crate::process::message::{FromZygote, Status, decode, encode};
use crate::retry::Retry;
use crate::wire::pools::{JobOptions, Prepare};
use crate::wire::{Call, Fault, ReplyHead, ReplyKind, Stamp, TaskHead};

/// Splits a seed into as many numbers as are needed.
pub(crate) struct Random(u64);

impl Random {
    /// SplitMix64.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    pub(crate) fn byte(&mut self) -> u8 {
        // Lengths and types at their limits more often than others.
        match self.below(4) {
            0 => [0, 1, 0x17, 0x18, 0x1b, 0x5f, 0x7f, 0x80, 0x9f, 0xbf, 0xff][self.below(11)],
            _ => self.below(256) as u8,
        }
    }

    /// One of the seeds as it is or changed, or bytes from nowhere.
    fn garbage(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if self.below(4) == 0 {
            return (0..self.below(100)).map(|_| self.byte()).collect();
        }
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len() + 1);
            match self.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.byte()),
                2 => {
                    let part = bytes[at..].to_vec();
                    bytes.extend(part);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = self.below(256) as u8;
                    }
                }
            }
        }
        bytes
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What the choices of this run come from.
fn seed() -> u64 {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_nanos() as u64)
    };
    let seed = number("WASMP_SEED").unwrap_or_else(now);
    eprintln!("WASMP_SEED={seed}");
    seed
}

/// When it ends.
fn until() -> Instant {
    Instant::now() + Duration::from_secs(number("WASMP_FUZZ_SECONDS").unwrap_or(1))
}

/// Has `read` look at garbage, for as long as there is time.
pub(crate) fn fuzz(seeds: &[Vec<u8>], mut read: impl FnMut(&[u8])) {
    seeds.iter().for_each(|seed| read(seed));
    fuzz_with(|random| {
        for _ in 0..100 {
            read(&random.garbage(seeds));
        }
    });
}

/// Has something done at random again and again, for as long as there is time.
pub(crate) fn fuzz_with(mut work: impl FnMut(&mut Random)) {
    let mut random = Random(seed());
    let until = until();
    while Instant::now() < until {
        work(&mut random);
    }
}

#[test]
fn frames_of_a_worker() {
    let call = Call {
        count: 3,
        task: 1,
        seq: 70,
        total: 90,
    };
    let reply = ReplyHead {
        kind: ReplyKind::Done,
        more: true,
        stamped: false,
        seq: 9,
    };
    let stamp = Stamp {
        began: 1,
        ended: u64::MAX,
        memory: 7,
    };
    let seeds = [
        TaskHead::call_bytes(&call).to_vec(),
        TaskHead::MORE_BYTES.to_vec(),
        reply.bytes().to_vec(),
        stamp.bytes().to_vec(),
    ];
    fuzz(&seeds, |bytes| {
        TaskHead::parse(bytes);
        if let Some(head) = ReplyHead::parse(bytes) {
            assert_eq!(ReplyHead::parse(&head.bytes()), Some(head));
        }
    });
}

#[test]
fn failures_of_a_worker() {
    let fault = Fault {
        causes: vec!["because".into(), "of that".into()],
        backtrace: Some("0: here".into()),
        exit_code: Some(3),
        ..Fault::new(ErrorKind::Exit, "it failed")
    };
    fuzz(&[fault.to_bytes()], |bytes| {
        // Whatever it is, there is a kind and a message.
        let fault = Fault::from_bytes(bytes);
        assert!(ErrorKind::ALL.contains(&fault.kind()));
    });
}

#[test]
fn orders_of_a_guests_pool_and_words_of_other_processes() {
    let options = JobOptions {
        task: "square".into(),
        chunk: 3,
        timeout: 1 << 40,
        retry: Retry::times(2),
    };
    let prepare = Some(Prepare {
        task: "prepare".into(),
        args: vec![0x80],
    });
    let exited = FromZygote::Exited {
        pid: 7,
        status: Status::Signaled(9),
    };
    fuzz(&[encode(&options), encode(&prepare), encode(&exited)], |bytes| {
        let _ = decode::<JobOptions>(bytes);
        let _ = decode::<Option<Prepare>>(bytes);
        let _ = decode::<FromZygote>(bytes);
        let _ = decode::<Answer>(bytes);
        let _ = decode::<Identity>(bytes);
    });
}

/// Requests of honest workers.
fn requests() -> Vec<Vec<u8>> {
    let token = [7; wasmp_abi::TOKEN_LEN];
    let new = |shape, name| Ask::Object(Request::New { shape, name });
    let queue = Shape::Queue {
        maxsize: 0,
        acknowledged: true,
    };
    let asks = [
        new(Shape::Lock, None),
        new(Shape::Memory { size: 1 << 16 }, Some("name".into())),
        new(Shape::Barrier { parties: 2 }, None),
        new(queue, None),
        new(Shape::Pipe { duplex: true }, Some(String::new())),
        new(Shape::Desk, None),
        Ask::Object(Request::Open { kind: 10, token }),
        Ask::Pool(PoolRequest::Manager {
            max_bytes: 1,
            call_timeout: 1,
        }),
        Ask::Object(Request::Open { kind: 1, token }),
        Ask::Object(Request::Find {
            kind: 9,
            name: "name".into(),
        }),
        Ask::Object(Request::Keep { token }),
        Ask::Object(Request::Unlink { token }),
        Ask::Object(Request::Close { token }),
        Ask::Object(Request::Abandon),
        Ask::Pool(PoolRequest::Start(NewProcess {
            name: Some("child".into()),
            daemon: None,
            method: Some(StartMethod::Fork),
            snapshot: Some(u64::MAX),
            log: 0,
        })),
    ];
    asks.iter().map(encode).collect()
}

#[test]
fn requests_of_a_worker_are_served_within_its_quota() {
    let seeds = requests();
    let scope = Scope::new(Quota {
        objects: 20,
        bytes: 8 << 30,
        ..Quota::default()
    });
    let mut seat: Option<Seat> = None;
    let mut calls = 0_u32;
    fuzz(&seeds, |bytes| {
        // What is longer never arrives.
        let Ok(Ask::Object(request)) = decode(&bytes[..bytes.len().min(MAX_MESSAGE)]) else {
            return;
        };
        if let Some((answer, _memory)) = scope.serve(&mut seat, request) {
            assert!(encode(&answer).len() <= MAX_MESSAGE);
        }
        calls += 1;
        if calls.is_multiple_of(200) {
            // The worker is dead, and the next has its place.
            seat = None;
        }
    });
}

#[test]
fn modules_and_their_descriptors() {
    let descriptor = cbor!({
        "name" => "square", "export" => "wasmp_task_square", "doc" => "Squares.", "params" => [["x", "i64"]], "returns" => null
    });
    let constructor = cbor!({ "type" => "Square", "name" => "new", "export" => "wasmp_task_square" });
    let escaped = [descriptor, constructor].map(|descriptor| {
        let mut section = Vec::new();
        ciborium::into_writer(&descriptor.expect("plain data"), &mut section).expect("plain data");
        let escaped: String = section.iter().map(|byte| format!("\\{byte:02x}")).collect();
        escaped
    });
    let [task, method] = escaped;
    let module = wat::parse_str(format!(
        r#"(module (import "wasmp_v1" "worker_slot" (func (result i32))) (memory (export "memory") 1)
            (func (export "wasmp_task_square")) (@custom "wasmp.tasks" "{task}") (@custom "wasmp.types" "{method}")
            (@custom "wasmp.abi" "1"))"#
    ));
    let seeds = [module.expect("valid text")];
    fuzz(&seeds, |bytes| {
        if let Ok(module) = Module::load(bytes.to_vec()) {
            assert!(!module.tasks().is_empty() || !module.types().is_empty());
        }
    });
}

#[test]
fn files_of_grants() {
    let seeds = [
        &b"dir = [\"data\", \"out::/out:rw\"]\nenv = { A = \"1\" }\nqueue = [\"jobs:100\"]\n"[..],
        b"timeout = \"1.5m\"\nmax-memory = \"64MiB\"\nfuel = 1_000\nmax-output = 99999999999\n",
        b"sandbox = \"strict\"\nstdin = false\n[env]\nLANG = \"C\"\n",
    ]
    .map(<[u8]>::to_vec);
    fuzz(&seeds, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        match grants::parse(text, Path::new("/there"), |_| Ok(())) {
            Ok(grants) => assert!(grants.dirs.iter().all(|dir| dir.host().starts_with("/"))),
            Err(refused) => {
                assert!(!refused.why.is_empty());
                assert!(refused.line.is_none_or(|line| line <= 1 + text.matches('\n').count()));
            }
        }
    });
}
