//! Processes that have the workers of one pool work for them: `wasmp run examples/shared_pool`.

#![allow(clippy::print_stdout, reason = "what they were told is this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use wasmp_guest::{Dict, Manager, Process, Result, main, managed, task};

#[task]
fn cube(number: i64) -> i64 {
    number * number * number
}

/// Asks the pool for some cubes, and notes their sum under its name.
#[task]
fn customer(name: String, numbers: Vec<i64>, pool: managed::Pool, sums: Dict<String, i64>) -> Result<()> {
    let cubes: Vec<i64> = pool.map(cube, numbers)?;
    sums.set(&name, &cubes.iter().sum())?;
    Ok(())
}

#[main]
fn main() -> Result<()> {
    let manager = Manager::new()?;
    // Two workers, however many ask.
    let pool = manager.pool(2)?;
    let sums = manager.dict([])?;

    let mut customers = Vec::new();
    for (name, numbers) in [("Ada", vec![1, 2, 3]), ("Grace", vec![4, 5]), ("Mary", vec![6])] {
        customers.push(Process::new(customer).args((name, numbers, &pool, &sums)).start()?);
    }
    println!("my own: {}", pool.apply(cube, (10,))?);
    for customer in customers {
        customer.join()?;
    }
    let mut sums: Vec<(String, i64)> = sums.items()?;
    sums.sort_unstable();
    println!("theirs: {sums:?}");

    pool.close()?;
    pool.join()?;
    println!("the workers have gone");
    Ok(())
}
