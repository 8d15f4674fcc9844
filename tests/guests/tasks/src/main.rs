//! Tasks that behave, and tasks that misbehave in every way there is.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a guest prints is part of what is tested"
)]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

mod executor;
mod managed;
mod parity;
mod pools;

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wasmp_guest::{Unsupported, task, worker_slot};

/// Squares a number.
#[task]
fn square(x: i64) -> i64 {
    x * x
}

/// Adds two numbers.
#[task]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Gives back what it gets.
#[task]
fn echo(text: &str) -> String {
    text.to_owned()
}

/// Squares a number after keeping a CPU busy for some microseconds for each of the `rounds`.
#[task]
fn slow_square(x: i64, rounds: u32) -> i64 {
    black_box((0..rounds.saturating_mul(500)).fold(x, |state, round| {
        (state ^ i64::from(round)).wrapping_mul(0x0100_0000_01b3).rotate_left(7)
    }));
    x * x
}

/// Fails with an error that has two causes.
#[task]
fn fail_for_reasons() -> wasmp_guest::Result<()> {
    #[derive(Debug)]
    struct Because(&'static str, Option<Box<Because>>);

    impl std::fmt::Display for Because {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Because {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    let cause = Because("cannot open the list", Some(Box::new(Because("no such file", None))));
    Err(Because("cannot sum up", Some(Box::new(cause))))?
}

/// Fails as it is told to, or returns 1 if that is `fine`.
#[task]
fn misbehave(how: &str) -> Result<i64, String> {
    match how {
        "fine" => Ok(1),
        "error" => Err("told to fail".into()),
        "panic" => panic!("told to panic"),
        "unwrap" => Ok(black_box(None).unwrap()),
        "index" => Ok([1, 2, 3][black_box(3)]),
        "unreachable" => trap(),
        "stack overflow" => Ok(descend(1)),
        "exit 3" => std::process::exit(3),
        "exit 0" => std::process::exit(0),
        "allocate" => Ok(allocate(1500)),
        "loop" => loop {
            black_box(());
        },
        _ => Err(format!("cannot {how}")),
    }
}

fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

#[allow(unconditional_recursion, reason = "this is how a stack overflows")]
fn descend(depth: i64) -> i64 {
    black_box(descend(black_box(depth + 1))) + depth
}

/// Uses so much memory, and returns how much it was.
#[task]
fn allocate(mebibytes: usize) -> i64 {
    let memory = black_box(vec![1_u8; mebibytes << 20]);
    (memory.len() >> 20) as i64
}

/// Uses so much memory, and then does as it is told.
#[task]
fn allocate_and(mebibytes: usize, how: &str) -> Result<i64, String> {
    allocate(mebibytes);
    misbehave(how)
}

/// Asks for so much memory, and does without if there is none.
#[task]
fn try_to_allocate(mebibytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(mebibytes << 20).is_ok()
}

/// A result that serde cannot carry.
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("I will not"))
    }
}

/// Returns what cannot be encoded.
#[task]
fn unencodable() -> Stubborn {
    Stubborn
}

/// A result whose encoding goes as it is told to.
struct Packed(String);

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = misbehave(&self.0).map_err(serde::ser::Error::custom)?;
        serializer.serialize_i64(value)
    }
}

/// Returns what misbehaves when it is encoded.
#[task]
fn give_packed(how: String) -> Packed {
    Packed(how)
}

/// An argument whose decoding goes as it says.
struct Unpacked(i64);

impl<'de> Deserialize<'de> for Unpacked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let how = String::deserialize(deserializer)?;
        if how == "spin" {
            spin();
        }
        misbehave(&how).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Takes what misbehaves when it is decoded.
#[task]
fn take_unpacked(value: Unpacked) -> i64 {
    value.0
}

/// How many arguments there are at the moment.
static HELD: AtomicI64 = AtomicI64::new(0);

/// An argument that is counted for as long as there is it.
struct Held;

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer)?;
        HELD.fetch_add(1, Ordering::Relaxed);
        Ok(Self)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many such arguments there are while it has one.
#[task]
fn hold(_one: Held) -> i64 {
    held()
}

/// How many such arguments there are.
#[task]
fn held() -> i64 {
    HELD.load(Ordering::Relaxed)
}

/// Says `begun`, and never ends.
#[task]
fn spin() {
    println!("begun");
    loop {
        black_box(());
    }
}

/// Says `begun`, and sleeps.
#[task]
fn sleep(milliseconds: u64) {
    println!("begun");
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// Says `begun`, waits until there is a file of that name, and returns `value`.
#[task]
fn wait_for(path: &str, value: i64) -> i64 {
    println!("begun");
    while !Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    value
}

/// Waits until there is a file `/gate/open`, and returns `value`, if that is not negative.
#[task]
fn wait_at_the_gate(value: i64) -> Result<i64, String> {
    wait_for("/gate/open", value);
    if value < 0 {
        Err("it is negative".into())
    } else {
        Ok(value)
    }
}

/// [`spin`] if it is negative; else says that it was done.
#[task]
fn spin_if_negative(value: i64) -> i64 {
    if value < 0 {
        spin();
    }
    println!("did {value}");
    value
}

/// How often it was called in this instance.
#[task]
fn count() -> i64 {
    static CALLS: AtomicI64 = AtomicI64::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

/// What [`prepare`] has left.
static PREPARED: AtomicI64 = AtomicI64::new(0);

/// Prepares this instance, or does not, as it is told to.
#[task]
fn prepare(how: &str, value: i64) -> Result<(), String> {
    match how {
        "fine" => PREPARED.store(PREPARED.load(Ordering::Relaxed) + value, Ordering::Relaxed),
        "sleep" => std::thread::sleep(Duration::from_secs(600)),
        "talk" => return Err("words ".repeat(50_000)),
        _ => {
            misbehave(how)?;
        }
    }
    Ok(())
}

/// What this instance was prepared with.
#[task]
fn prepared() -> i64 {
    PREPARED.load(Ordering::Relaxed)
}

/// Fails until it was called so often in this instance; returns how often it was.
#[task]
fn succeed_at(call: i64) -> Result<i64, String> {
    let calls = count();
    if calls < call {
        Err(format!("call {calls}"))
    } else {
        Ok(calls)
    }
}

/// The number of the worker.
#[task]
fn slot() -> Result<u32, Unsupported> {
    worker_slot()
}

/// Prints, and adds no line end.
#[task]
fn print(to_stdout: &str, to_stderr: &str) {
    print!("{to_stdout}");
    eprint!("{to_stderr}");
}

/// Prints so many numbered lines.
#[task]
fn print_lines(lines: u32) {
    let mut out = std::io::stdout().lock();
    for line in 0..lines {
        let _ = writeln!(out, "line {line}");
    }
}

/// So many bytes.
#[task]
fn make_bytes(len: usize) -> Vec<u8> {
    (0..len).map(pattern).collect()
}

/// How many bytes it was given, and whether they are those of [`make_bytes`].
#[task]
fn check_bytes(bytes: &[u8]) -> (usize, bool) {
    (
        bytes.len(),
        bytes.iter().enumerate().all(|(at, byte)| *byte == pattern(at)),
    )
}

fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

/// The text in a file.
#[task]
fn read_file(path: &str) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// Writes a file.
#[task]
fn write_file(path: &str, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)
}

/// Opens a file again and again, at most so often. Returns how often that worked, and what was wrong then.
#[task]
fn open_files(path: &str, most: u32) -> (usize, String) {
    let mut files = Vec::new();
    for _ in 0..most {
        match std::fs::File::open(path) {
            Ok(file) => files.push(file),
            Err(error) => return (files.len(), error.to_string()),
        }
    }
    (files.len(), String::new())
}

/// Everything that differs from run to run: the times before and after an hour of sleep, random numbers, the order in a map.
#[task]
fn chance() -> (u128, u128, Vec<i64>) {
    let (start, since) = (std::time::SystemTime::now(), std::time::Instant::now());
    std::thread::sleep(Duration::from_secs(3600));
    let map: std::collections::HashMap<i64, ()> = (0..100).map(|key| (key, ())).collect();
    let time = start.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (time.as_nanos(), since.elapsed().as_nanos(), map.into_keys().collect())
}

type Surroundings = (Vec<String>, Vec<(String, String)>, String);

/// What this guest can see: its arguments, its environment, its standard input.
#[task]
fn surroundings() -> std::io::Result<Surroundings> {
    let stdin = std::io::read_to_string(std::io::stdin())?;
    Ok((std::env::args().collect(), std::env::vars().collect(), stdin))
}

fn main() {}
