//! Every way to call a pool, and its options: `wasmp run examples/pool_reference`.

#![allow(clippy::print_stdout, reason = "the results are this program's output")]

use std::{
    collections::HashSet,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    thread::sleep,
    time::Duration,
};

use wasmp_guest::{Error, Pool, PoolError, Result, current_process, main, task};

/// Squares a number.
#[task]
fn square(x: i64) -> i64 {
    x * x
}

/// Raises a number to a power.
#[task]
fn power(base: i64, exponent: u32) -> i64 {
    base.pow(exponent)
}

/// Divides a number by another, if that makes sense.
#[task]
fn divide(x: i64, y: i64) -> Result<i64> {
    x.checked_div(y)
        .ok_or_else(|| Error::new(format!("{x} cannot be divided by {y}")))
}

/// Takes so long, and says so.
#[task]
fn nap(milliseconds: u64) -> u64 {
    sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// Each worker has its own.
static OFFSET: AtomicI64 = AtomicI64::new(0);

/// Sets up a worker before its first task.
#[task]
fn set_offset(offset: i64) {
    OFFSET.store(offset, Relaxed);
}

/// Adds what the worker was set up with.
#[task]
fn shift(x: i64) -> i64 {
    x + OFFSET.load(Relaxed)
}

/// The id of the process that ran item `_item`.
#[task]
fn pid(_item: u32) -> Result<u32> {
    Ok(current_process()?.pid())
}

#[main]
fn main() -> Result<()> {
    let pool = Pool::new(4)?;
    calls(&pool)?;
    callbacks(&pool)?;
    iterators(&pool)?;
    pool.close();
    pool.join()?;
    options()
}

/// One item or many, waited for at once or later.
fn calls(pool: &Pool) -> Result<()> {
    println!("apply: {}", pool.apply(power, (2, 10))?);
    println!("map: {:?}", pool.map(square, 0..10)?);
    let squares: Vec<i64> = pool.task(square).chunksize(3).map(0..10)?;
    println!("map, three items at a time: {squares:?}");
    println!("starmap: {:?}", pool.starmap(power, [(2, 3), (3, 2), (10, 6)])?);

    let one = pool.apply_async(square, (12,))?;
    let many = pool.map_async(square, [1, 2, 3])?;
    let pairs = pool.starmap_async(power, [(1, 1), (2, 2), (3, 3)])?;
    println!("apply_async: {}", one.get()?);
    println!("map_async: {:?}", many.get()?);
    println!("starmap_async: {:?}", pairs.get()?);
    Ok(())
}

/// One of the two is called, when the result is there.
fn callbacks(pool: &Pool) -> Result<()> {
    for divisor in [4, 0] {
        let result = pool
            .apply_async(divide, (12, divisor))?
            .callback(|quotient: i64| println!("callback: {quotient}"))
            .error_callback(|error| println!("error_callback: {error}"));
        // There are no threads: callbacks run inside of calls like this one.
        result.wait();
    }
    Ok(())
}

/// Results one by one.
fn iterators(pool: &Pool) -> Result<()> {
    let squares: Vec<i64> = pool.imap(square, 0..5)?.collect::<Result<_, _>>()?;
    println!("imap: {squares:?}");

    let mut naps = pool.imap(nap, [500, 0])?;
    match naps.next_timeout(Duration::from_millis(50)) {
        Err(PoolError::WaitTimeout(limit)) => println!("imap: nothing within {limit:?}"),
        other => println!("imap: {:?} too early", other?),
    }
    for milliseconds in naps {
        println!("imap: slept for {} ms", milliseconds?);
    }

    let mut squares: Vec<i64> = pool.imap_unordered(square, 0..5)?.collect::<Result<_, _>>()?;
    // They have come in the order in which they were finished.
    squares.sort_unstable();
    println!("imap_unordered: {squares:?}");
    Ok(())
}

/// Workers that are set up, and that are replaced.
fn options() -> Result<()> {
    let pool = Pool::builder().processes(2).initializer(set_offset, (100,)).build()?;
    println!("initializer: {:?}", pool.map(shift, [1, 2, 3])?);

    let pool = Pool::builder().processes(2).max_tasks_per_child(1).build()?;
    let pids: Vec<u32> = pool.task(pid).chunksize(1).map(0..6)?;
    let processes = HashSet::<u32>::from_iter(pids);
    println!("max_tasks_per_child: 6 tasks in {} processes", processes.len());
    Ok(())
}
