//! Three workers double numbers, and are waited for: `wasmp run examples/pool_doubling`.

#![allow(clippy::print_stdout, reason = "the numbers are this program's output")]

use wasmp_guest::{Pool, Result, main, task};

/// Twice as much.
#[task]
fn double(x: i64) -> i64 {
    x * 2
}

#[main]
fn main() -> Result<()> {
    let pool = Pool::new(3)?;
    println!("{:?}", pool.map(double, 1..=10)?);
    // No more work: the workers end, and `join` waits until they have. Without this, dropping the pool would kill them.
    pool.close();
    pool.join()?;
    Ok(())
}
