//! Tasks that may fail do not take the others with them: `wasmp run examples/risky_tasks`.

#![allow(clippy::print_stdout, reason = "what came of each is this program's output")]

use wasmp_guest::{AsyncResult, Error, Pool, Result, main, task};

/// Succeeds for most numbers.
#[task]
fn risk(number: i64) -> Result<i64> {
    match number {
        3 => Err(Error::new("three is not allowed")),
        5 => panic!("five was not expected"),
        _ => Ok(number * 10),
    }
}

#[main]
fn main() -> Result<()> {
    let pool = Pool::new(2)?;
    let mut results: Vec<AsyncResult<i64>> = Vec::new();
    for number in 1..=6 {
        let result = pool
            .apply_async(risk, (number,))?
            .error_callback(move |error| println!("task {number} failed: {error}"));
        results.push(result);
    }
    // The callbacks are called in here.
    results.iter().for_each(AsyncResult::wait);
    let good: Vec<i64> = results.iter().filter_map(|result| result.get().ok()).collect();
    println!("the others: {good:?}");
    Ok(())
}
