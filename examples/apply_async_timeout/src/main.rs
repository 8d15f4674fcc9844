//! One call, whose result is waited for no longer than a while: `wasmp run examples/apply_async_timeout`.

#![allow(clippy::print_stdout, reason = "the result is this program's output")]

use std::time::Duration;

use wasmp_guest::{Pool, Result, main, task};

/// Squares a number.
#[task]
fn square(x: i64) -> i64 {
    x * x
}

#[main]
fn main() -> Result<()> {
    let pool = Pool::new(4)?;
    let result = pool.apply_async(square, (10,))?;
    // Here would be something else to do meanwhile.
    println!("{}", result.get_timeout(Duration::from_secs(10))?);
    Ok(())
}
