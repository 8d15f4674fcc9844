//! What one may ask a result that is not there yet: `wasmp run examples/async_result`.

#![allow(clippy::print_stdout, reason = "the answers are this program's output")]

use std::{thread::sleep, time::Duration};

use wasmp_guest::{Pool, PoolError, Result, main, task};

/// Takes its time.
#[task]
fn nap(milliseconds: u64) -> String {
    sleep(Duration::from_millis(milliseconds));
    format!("slept for {milliseconds} ms")
}

#[main]
fn main() -> Result<()> {
    let pool = Pool::new(1)?;
    let result = pool.apply_async(nap, (1000,))?;
    println!("ready: {}, successful: {:?}", result.ready(), result.successful());

    match result.get_timeout(Duration::from_millis(100)) {
        Err(PoolError::WaitTimeout(limit)) => println!("nothing within {limit:?}"),
        other => println!("too fast: {}", other?),
    }

    // The task has gone on meanwhile.
    result.wait();
    println!("ready: {}, successful: {:?}", result.ready(), result.successful());
    println!("{}", result.get()?);
    Ok(())
}
