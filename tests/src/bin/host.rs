//! A host for the tests to kill, or to see end: a program that uses the library and knows nothing of tests.
//!
//! `host MODULE busy` has two workers that never come to an end; it says who its processes are, then waits until its
//! standard input ends. `host MODULE share` has some objects and a worker that knows them, and then does the same.
//! `host MODULE leave` uses a pool, and returns from `main` with it.

#![allow(clippy::print_stdout, reason = "the test reads it")]

use std::io::{Read, stdin};
use std::process::ExitCode;
use std::sync::mpsc::channel;

use wasmp::{Lock, Pool, Result, Semaphore, SharedMemory};
use wasmp_tests::descendants;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1..) {
        Some([module, how]) if how == "busy" => busy(module)?,
        Some([module, how]) if how == "share" => share(module)?,
        Some([module, how]) if how == "leave" => leave(module)?,
        _ => return Ok(ExitCode::FAILURE),
    }
    Ok(ExitCode::SUCCESS)
}

fn busy(module: &str) -> Result<()> {
    let (begun, wait) = channel();
    let pool = Pool::builder(module)
        .processes(2)
        .on_output(move |_| {
            let _ = begun.send(());
        })
        .build()?;
    let _running = [
        pool.apply_async::<_, ()>("spin", ())?,
        pool.apply_async::<_, ()>("spin", ())?,
    ];
    for _ in 0..2 {
        let _ = wait.recv();
    }
    wait_for_the_end();
    Ok(())
}

/// Says who its processes are, and waits.
fn wait_for_the_end() {
    for name in ["wasmp-keeper", "wasmp-zygote", "wasmp-spare", "wasmp-worker"] {
        for process in descendants(std::process::id(), name) {
            println!("{}", process.pid());
        }
    }
    println!("ready");
    let _ = stdin().read_to_end(&mut Vec::new());
}

fn share(module: &str) -> Result<()> {
    let lock = Lock::new()?;
    let semaphore = Semaphore::new(3)?;
    let memory = SharedMemory::create(1 << 20)?;
    let pool = Pool::builder(module)
        .processes(1)
        .share("lock", &lock)
        .share("semaphore", &semaphore)
        .share("memory", &memory)
        .build()?;
    pool.apply::<_, i64>("square", (7,))?;
    wait_for_the_end();
    Ok(())
}

fn leave(module: &str) -> Result<()> {
    let pool = Box::leak(Box::new(Pool::builder(module).processes(2).build()?));
    let pending = pool.apply_async::<_, i64>("square", (3,))?;
    println!("{}", pool.apply::<_, i64>("square", (7,))?);
    std::mem::forget(pending);
    Ok(())
}
