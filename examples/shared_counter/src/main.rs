//! Four processes count together: `wasmp run examples/shared_counter`.

#![allow(clippy::print_stdout, reason = "the totals are this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use wasmp_guest::{Lock, Process, Result, Value, main, task};

const TIMES: u32 = 10_000;

/// Counts up. To read and to write are two steps, and the lock keeps others from coming between them.
#[task]
fn count(counter: Value<u32>, lock: Lock) -> Result<()> {
    for _ in 0..TIMES {
        let _guard = lock.lock()?;
        counter.set(counter.get()? + 1)?;
    }
    Ok(())
}

/// The same with the lock that every value has.
#[task]
fn count_by_update(counter: Value<u32>) -> Result<()> {
    for _ in 0..TIMES {
        counter.update(|count| count + 1)?;
    }
    Ok(())
}

#[main]
fn main() -> Result<()> {
    let (counter, lock) = (Value::new(0)?, Lock::new()?);
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(Process::new(count).args((&counter, &lock)).start()?);
    }
    for process in processes.drain(..) {
        process.join()?;
    }
    println!("with a lock: {}", counter.get()?);

    counter.set(0)?;
    for _ in 0..4 {
        processes.push(Process::new(count_by_update).args((&counter,)).start()?);
    }
    for process in processes {
        process.join()?;
    }
    println!("by updates: {}", counter.get()?);
    Ok(())
}
