//! Tasks with pools of their own. Each checks by itself what its pool does: a check that fails is a panic.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use wasmp_guest::{AsyncResult, ErrorKind, Pool, PoolError, Result, Retry, TaskError, as_completed, task};

pub(crate) const MOMENT: Duration = Duration::from_millis(20);

pub(crate) fn squares(count: i64) -> Vec<i64> {
    (0..count).map(|x| x * x).collect()
}

/// What became of the item that failed.
#[track_caller]
pub(crate) fn task_error<T: std::fmt::Debug>(result: Result<T, PoolError>) -> TaskError {
    match result {
        Err(PoolError::Task(error)) => *error,
        other => panic!("expected a failed item, got {other:?}"),
    }
}

/// The squares of the numbers below `count`, by workers of its own.
#[task]
fn nested_squares(count: i64, workers: usize) -> Result<Vec<i64>, PoolError> {
    Pool::new(workers)?.map(crate::square, 0..count)
}

/// The numbers below `2 ** depth`, each level of them by a pool inside of the one above.
#[task]
fn nested_depth(depth: u32) -> Result<i64, PoolError> {
    if depth == 0 {
        return Ok(1);
    }
    let halves: Vec<i64> = Pool::new(1)?.map(nested_depth, [depth - 1; 2])?;
    Ok(halves.iter().sum())
}

/// Fails as the task of its pool does.
#[task]
fn nested_reasons() -> Result<(), PoolError> {
    Pool::new(1)?.task("fail_for_reasons").apply(())
}

/// Every way to call a task.
#[task]
fn nested_calls() -> Result<()> {
    let pool = Pool::new(2)?;
    assert_eq!(pool.task("square").apply::<i64>((7,))?, 49);
    assert_eq!(pool.task("square").map::<i64>(0..1000)?, squares(1000));
    assert_eq!(pool.task("square").chunksize(20).map::<i64>(0..100)?, squares(100));
    assert_eq!(pool.task("square").map::<i64>(0..0)?, squares(0));
    assert_eq!(
        pool.task("add").starmap::<i64>((0..50).map(|x| (x, x)))?,
        (0..50).map(|x| 2 * x).collect::<Vec<_>>()
    );
    let later: Vec<AsyncResult<i64>> = (0..20)
        .map(|x| pool.apply_async("square", (x,)))
        .collect::<Result<_, _>>()?;
    let all = pool.task("square").map_async::<i64>(0..500)?;
    for (x, result) in later.iter().enumerate() {
        assert_eq!(result.get()?, (x * x) as i64);
        assert_eq!(result.get()?, (x * x) as i64, "it may be asked again");
        assert_eq!((result.ready(), result.successful()), (true, Some(true)));
    }
    assert_eq!(all.get()?, squares(500));
    let text = "grüße\0".repeat(100_000);
    assert_eq!(pool.task("echo").apply::<String>((&text,))?, text);
    pool.close();
    assert!(matches!(
        pool.task("square").apply::<i64>((1,)),
        Err(PoolError::NotRunning)
    ));
    Ok(pool.join()?)
}

/// Arguments and results that are larger than what fits into memory that is shared at a time.
#[task]
fn nested_large(len: usize) -> Result<()> {
    let pool = Pool::new(2)?;
    let text = "ü".repeat(len);
    assert_eq!(pool.task("echo").apply::<String>((&text,))?, text);
    let many: Vec<String> = pool.map("echo", vec![&text[..len / 10]; 20])?;
    assert!(many.iter().all(|one| *one == text[..len / 10]));
    Ok(())
}

/// Streams: their order, their bound, their errors.
#[task]
fn nested_streams() -> Result<()> {
    let pool = Pool::new(2)?;
    let results: Vec<i64> = pool.imap(crate::square, 0..1000)?.collect::<Result<_, _>>()?;
    assert_eq!(results, squares(1000));
    let mut results: Vec<i64> = pool.imap_unordered("square", 0..1000)?.collect::<Result<_, _>>()?;
    results.sort_unstable();
    assert_eq!(results, squares(1000));

    let mut pulled = 0;
    let endless = std::iter::repeat_with(|| {
        pulled += 1;
        pulled
    });
    let mut results = pool.task("square").buffersize(10).imap::<_, i64>(endless)?;
    assert_eq!(results.next().transpose()?, Some(1));
    drop(results);
    assert_eq!(pulled, 10);

    let mut results = pool
        .task("misbehave")
        .imap::<_, i64>(["fine", "error", "fine", "unreachable", "fine"])?;
    assert_eq!(results.next_timeout(Duration::from_secs(20))?, Some(1));
    assert_eq!(task_error(results.next_timeout(Duration::from_secs(20))).index, 1);
    let rest: Vec<bool> = results.map(|result| result.is_ok()).collect();
    assert_eq!(rest, [true, false, true]);

    let mut slow = pool.task("sleep").imap::<_, ()>([600_000_u64])?;
    assert!(matches!(slow.next_timeout(MOMENT), Err(PoolError::WaitTimeout(_))));
    Ok(())
}

/// Whatever goes wrong is the error of its item.
#[task]
fn nested_errors() -> Result<()> {
    let pool = Pool::new(2)?;
    let fail = |how: &str| task_error(pool.task("misbehave").apply::<i64>((how,)));
    assert_eq!(
        (fail("error").kind, fail("error").message),
        (ErrorKind::Error, "told to fail".to_owned())
    );
    assert_eq!(fail("panic").kind, ErrorKind::Panic);
    assert!(
        fail("unreachable")
            .backtrace
            .is_some_and(|trace| trace.contains("misbehave"))
    );
    assert_eq!(
        (fail("exit 3").kind, fail("exit 3").exit_code),
        (ErrorKind::Exit, Some(3))
    );
    assert_eq!(
        task_error(pool.task("square").apply::<i64>(())).kind,
        ErrorKind::Arguments
    );
    assert!(matches!(
        pool.task("square").apply::<String>((3,)),
        Err(PoolError::Decode(_))
    ));
    match pool.task("squre").apply::<i64>((3,)) {
        Err(PoolError::Invalid(why)) => assert!(why.contains("did you mean `square`"), "{why}"),
        other => panic!("{other:?}"),
    }
    let first = task_error(pool.task("misbehave").map::<i64>(["fine", "error", "panic", "fine"]));
    assert_eq!((first.kind, first.index), (ErrorKind::Error, 1));

    let limited = pool.task("spin").timeout(MOMENT);
    assert_eq!(task_error(limited.apply::<()>(())).kind, ErrorKind::Timeout);
    let again = pool.task("succeed_at").retry(Retry::times(2).on_error());
    assert_eq!(
        Pool::new(1)?
            .task("succeed_at")
            .retry(Retry::times(2).on_error())
            .apply::<i64>((3,))?,
        3
    );
    assert_eq!(task_error(again.apply::<i64>((1000,))).attempt, 3);
    Ok(())
}

/// Callbacks, and results in the order in which they come.
#[task]
fn nested_callbacks() -> Result<()> {
    let pool = Pool::new(2)?;
    let seen = Rc::new(RefCell::new(Vec::new()));
    let note = |words: &'static str| {
        let seen = Rc::clone(&seen);
        move |value: String| seen.borrow_mut().push(format!("{words} {value}"))
    };
    let (good, bad) = (note("good"), note("bad"));
    let fine = pool.task("misbehave").apply_async::<i64>(("fine",))?;
    let fine = fine
        .callback(move |value| good(value.to_string()))
        .error_callback(|_| panic!("it was fine"));
    let failed = pool.task("misbehave").apply_async::<i64>(("error",))?;
    let failed = failed
        .callback(|_| panic!("it was not"))
        .error_callback(move |error| bad(error.to_string()));
    fine.wait();
    failed.wait();
    let mut words = seen.borrow().clone();
    words.sort();
    assert_eq!(words, ["bad told to fail", "good 1"]);

    // A callback may go on with the pool, and one whose result nobody keeps is called all the same.
    let last = note("last");
    drop(
        pool.task("square")
            .apply_async::<i64>((3,))?
            .callback(move |nine| last(nine.to_string())),
    );
    let slow = pool.task("sleep").apply_async::<()>((50,))?;
    let quick = pool.task("sleep").apply_async::<()>((0,))?;
    let order: Vec<bool> = as_completed([slow, quick])
        .map(|result| result.successful() == Some(true))
        .collect();
    assert_eq!(order, [true, true]);
    pool.close();
    pool.join()?;
    assert_eq!(seen.borrow().last().map(String::as_str), Some("last 9"));
    Ok(())
}

/// What nobody wants any more ends.
#[task]
fn nested_ends() -> Result<()> {
    let pool = Pool::new(1)?;
    let running = pool.task("spin").apply_async::<()>(())?;
    let waiting = pool.task("square").apply_async::<i64>((3,))?;
    assert!(matches!(running.get_timeout(MOMENT), Err(PoolError::WaitTimeout(_))));
    assert!(waiting.cancel());
    assert!(running.cancel());
    assert_eq!(task_error(running.get()).kind, ErrorKind::Cancelled);
    assert!(!running.cancel());
    assert_eq!(pool.task("square").apply::<i64>((3,))?, 9);

    let pending = pool.task("sleep").map_async::<()>([600_000_u64; 50])?;
    assert!(matches!(pool.join(), Err(PoolError::StillRunning)));
    pool.terminate();
    assert_eq!(task_error(pending.get()).kind, ErrorKind::Cancelled);
    assert!(pool.join_timeout(Duration::from_secs(20))?);
    let dropped = Pool::new(1)?.task("spin").apply_async::<()>(())?;
    assert_eq!(task_error(dropped.get()).kind, ErrorKind::Cancelled);
    Ok(())
}

/// Prepared workers, replaced workers, more workers.
#[task]
fn nested_workers() -> Result<()> {
    let pool = Pool::builder()
        .processes(1)
        .initializer(crate::prepare, ("fine", 7))
        .max_tasks_per_child(2)
        .build()?;
    let prepared: Vec<i64> = pool.starmap(crate::prepared, [(); 6])?;
    assert_eq!(prepared, [7; 6]);
    let counts: Vec<i64> = pool.starmap("count", [[0; 0]; 4])?;
    assert_eq!(counts, [1, 2, 1, 2]);
    pool.resize(3)?;
    assert_eq!(pool.task("square").map::<i64>(0..100)?, squares(100));
    let broken = Pool::builder()
        .processes(1)
        .initializer("prepare", ("error", 0))
        .build()?;
    match broken.task("square").apply::<i64>((3,)) {
        Err(PoolError::Broken(why)) => assert_eq!(why, "the initializer failed: told to fail"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// [`nested_spin`], so many pools further down.
#[task]
fn nested_spin_below(depth: u32) -> Result<()> {
    if depth == 0 {
        return nested_spin();
    }
    Pool::new(1)?.task("nested_spin_below").apply::<()>((depth - 1,))?;
    Ok(())
}

/// The limit of what tasks may start is an error, and gives back what ends.
#[task]
fn nested_limit() -> Result<()> {
    assert!(matches!(Pool::new(65), Err(PoolError::ProcessLimit)));
    let most = Pool::new(60)?;
    let more = Pool::new(4)?;
    assert!(matches!(Pool::new(1), Err(PoolError::ProcessLimit)));
    assert!(matches!(more.resize(5), Err(PoolError::ProcessLimit)));
    assert_eq!(more.task("square").map::<i64>(0..100)?, squares(100));
    more.resize(2)?;
    drop(most);
    for _ in 0..20 {
        assert_eq!(Pool::new(10)?.task("square").apply::<i64>((3,))?, 9);
    }
    Ok(())
}

/// Starts a pool with a task that never ends, says `begun`, and does not end either.
#[task]
fn nested_spin() -> Result<()> {
    let pool = Pool::new(2)?;
    let results = pool.task("sleep").map_async::<()>([600_000_u64; 2])?;
    results.get()?;
    Ok(())
}
