//! A pool squares some numbers: `wasmp run examples/pool_map`.

#![allow(clippy::print_stdout, reason = "the results are this program's output")]

use wasmp_guest::{Pool, Result, cpu_count, main, task};

/// Squares a number.
#[task]
fn square(x: i64) -> i64 {
    x * x
}

#[main]
fn main() -> Result<()> {
    println!("CPUs: {}", cpu_count()?);
    let pool = Pool::new(5)?;
    println!("{:?}", pool.map(square, [1, 2, 3])?);
    Ok(())
}
