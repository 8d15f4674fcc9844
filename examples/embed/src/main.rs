//! A Rust program that runs wasm tasks in sandboxed worker processes: `cargo run --release -p embed`.

#![allow(clippy::print_stdout, reason = "the results are this program's output")]

use std::time::Duration;

use wasmp::{Error, ErrorKind, Pool};

fn main() -> wasmp::Result<()> {
    // The module travels inside this program. `Pool::builder("tasks.wasm")` would read what `wasmp build` made.
    let pool = Pool::builder(include_bytes!("../tasks.wat").to_vec())
        .processes(2)
        .build()?;

    // One call. The arguments are a tuple; the type of the result is whatever is wanted of it.
    let square: i64 = pool.apply("square", (7,))?;
    println!("apply: {square}");

    // A call that goes on while this program does something else.
    let pending = pool.apply_async::<_, i64>("square", (8,))?;
    println!("apply_async: {}", pending.get()?);

    // Many calls, spread over the workers. `starmap` takes a tuple of all arguments for each call.
    let squares: Vec<i64> = pool.map("square", 0..10)?;
    println!("map: {squares:?}");
    let halves: Vec<i64> = pool.starmap("divide", (0..10).map(|x| (x, 2)))?;
    println!("starmap: {halves:?}");

    // The same, one result after the other as they come in: the inputs may be endless.
    let first_above_a_million = pool
        .imap::<_, i64>("square", 0..)?
        .find(|square| square.as_ref().is_ok_and(|&square| square > 1_000_000))
        .transpose()?;
    println!("imap: {first_above_a_million:?}");

    // Whatever a task does wrong is the error of that call. The pool goes on.
    match pool.apply::<_, i64>("divide", (1, 0)) {
        Err(Error::Task(error)) if error.kind == ErrorKind::Trap => println!("a trap: {error}"),
        other => println!("not expected: {other:?}"),
    }
    let spin = pool.task("spin").timeout(Duration::from_millis(100));
    match spin.apply::<_, ()>(()) {
        Err(Error::Task(error)) if error.kind == ErrorKind::Timeout => println!("a deadline: {error}"),
        other => println!("not expected: {other:?}"),
    }
    println!("still there: {}", pool.apply::<_, i64>("square", (9,))?);

    // Finish what was submitted, then wait until the workers are gone. Dropping the pool would kill them.
    pool.close();
    pool.join()
}
