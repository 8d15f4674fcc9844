//! What CPython's own tests ask of `concurrent.futures.ProcessPoolExecutor`, asked of the pools that tasks make, as in `parity.rs`.

use std::collections::HashSet;
use std::time::Duration;

use wasmp_guest::{AsyncResult, ErrorKind, Event, Pool, PoolError, Result, task};

use crate::parity::{LONG, Touchy, assert_encode, pid, wait_to_go, waiting};
use crate::pools::{squares, task_error};

#[task]
fn px_02_arguments_may_do_anything_when_they_are_decoded() -> Result<()> {
    let pool = Pool::new(1)?;
    let take = |how: &str| pool.task("take_unpacked").apply::<i64>((how,));
    let error = task_error(take("error"));
    assert_eq!(error.kind, ErrorKind::Arguments);
    assert!(error.message.contains("told to fail"), "{}", error.message);
    assert_eq!(task_error(take("panic")).kind, ErrorKind::Panic);
    assert_eq!(task_error(take("unreachable")).kind, ErrorKind::Trap);
    assert_eq!(task_error(take("exit 3")).exit_code, Some(3));
    assert_eq!(take("fine")?, 1);
    Ok(())
}

#[task]
fn px_06_a_result_that_cannot_be_decoded_is_the_callers_error() -> Result<()> {
    let pool = Pool::new(1)?;
    let echo = pool.task("echo").apply_async::<Refused>(("text",))?;
    for _ in 0..2 {
        assert!(matches!(echo.get(), Err(PoolError::Decode(why)) if why.contains("I will not")));
    }
    assert_eq!(pool.apply(crate::square, (3,))?, 9);
    Ok(())
}

/// What cannot be decoded.
#[derive(Debug)]
struct Refused;

impl<'de> serde::Deserialize<'de> for Refused {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("I will not"))
    }
}

/// Waits for `go`, and traps.
#[task]
fn trap_later(begun: Event, go: Event) -> Result<()> {
    wait_to_go(begun, go)?;
    crate::trap()
}

#[task]
fn px_07_a_crash_while_the_pool_shuts_down_is_one_failure() -> Result<()> {
    let pool = Pool::new(2)?;
    let (begun, go) = (Event::new()?, Event::new()?);
    let crash = pool.task("trap_later").apply_async::<()>((&begun, &go))?;
    let others = pool.map_async(crate::square, 0..50)?;
    begun.wait()?;
    pool.close();
    go.set()?;
    pool.join()?;
    assert_eq!(task_error(crash.get_timeout(Duration::ZERO)).kind, ErrorKind::Trap);
    assert_eq!(others.get_timeout(Duration::ZERO)?, squares(50));
    Ok(())
}

#[task]
fn px_08_a_pool_that_was_given_nothing_it_could_send_closes() -> Result<()> {
    let pool = Pool::new(2)?;
    assert_encode(&pool.task("square").apply_async::<i64>((Touchy(-1),)).unwrap_err());
    pool.close();
    assert!(pool.join_timeout(LONG)?);
    Ok(())
}

#[task]
fn px_12_each_result_has_an_error_of_its_own() -> Result<()> {
    let pool = Pool::new(2)?;
    let results: Vec<AsyncResult<i64>> = (0..4)
        .map(|number| pool.task("misbehave").apply_async((format!("obey {number}"),)))
        .collect::<Result<_, _>>()?;
    for (number, result) in results.iter().enumerate() {
        let words = format!("cannot obey {number}");
        assert_eq!(task_error(result.get()).message, words);
        assert_eq!(task_error(result.get()).message, words, "also the second time");
    }
    let broken = Pool::builder()
        .processes(1)
        .initializer("prepare", ("error", 0))
        .build()?;
    let results: Vec<AsyncResult<i64>> = (0..4)
        .filter_map(|x| broken.task("square").apply_async((x,)).ok())
        .collect();
    for result in results {
        match result.get() {
            Err(PoolError::Broken(why)) => assert_eq!(why, "the initializer failed: told to fail"),
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

#[task]
fn px_15_a_task_keeps_no_arguments() -> Result<()> {
    let pool = Pool::new(1)?;
    let counts: Vec<i64> = pool.task("hold").map(0..100)?;
    assert_eq!(counts, [1; 100]);
    assert_eq!(pool.task("held").apply::<i64>(())?, 0);
    Ok(())
}

#[task]
fn px_18_a_worker_does_exactly_as_many_tasks_as_it_may() -> Result<()> {
    let pool = Pool::builder().processes(1).max_tasks_per_child(3).build()?;
    let pids: Vec<u32> = (0..9).map(|_| pool.apply(pid, ())).collect::<Result<_, _>>()?;
    let (lives, _) = pids.as_chunks::<3>();
    assert!(lives.iter().all(|life| *life == [life[0]; 3]), "{pids:?}");
    assert_eq!(lives.iter().map(|life| life[0]).collect::<HashSet<_>>().len(), 3);
    Ok(())
}

#[task]
fn px_20_g_22_what_is_left_at_the_end_is_finished_by_replaced_workers() -> Result<()> {
    let pool = Pool::builder().processes(2).max_tasks_per_child(2).build()?;
    let results: Vec<AsyncResult<i64>> = (0..10)
        .map(|x| pool.apply_async(crate::square, (x,)))
        .collect::<Result<_, _>>()?;
    pool.close();
    for (result, square) in results.iter().zip(squares(10)) {
        assert_eq!(result.get_timeout(LONG)?, square);
    }
    assert!(pool.join_timeout(LONG)?);
    Ok(())
}

#[task]
fn px_22_join_waits_for_what_was_submitted() -> Result<()> {
    let pool = Pool::new(2)?;
    let results: Vec<AsyncResult<i64>> = (0..50)
        .map(|x| pool.task("slow_square").apply_async((x, 100)))
        .collect::<Result<_, _>>()?;
    pool.close();
    pool.join()?;
    for (result, square) in results.iter().zip(squares(50)) {
        assert_eq!(result.get_timeout(Duration::ZERO)?, square);
    }
    Ok(())
}

#[task]
fn px_23_what_waits_is_cancelled_and_the_rest_finishes() -> Result<()> {
    let pool = Pool::new(1)?;
    let go = Event::new()?;
    let running = waiting(&pool, &go)?;
    let results: Vec<AsyncResult<i64>> = (0..50)
        .map(|x| pool.apply_async(crate::square, (x,)))
        .collect::<Result<_, _>>()?;
    assert!(results[20..].iter().all(AsyncResult::cancel), "none has begun");
    pool.close();
    go.set()?;
    running.get()?;
    pool.join()?;
    for (result, square) in results[..20].iter().zip(squares(20)) {
        assert_eq!(result.get()?, square);
    }
    for result in &results[20..] {
        assert_eq!(task_error(result.get()).kind, ErrorKind::Cancelled);
    }
    Ok(())
}
