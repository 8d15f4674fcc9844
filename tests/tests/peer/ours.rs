//! wasmp in the situations of the gauntlet: each function asserts what it does, and says it in short.

use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use wasmp::{AsyncResult, Error, ErrorKind, Event, Lock, PutError, Queue, TaskError};

use crate::library::{Touchy, builder, close, kill_the_begun, listen, pool, task_error};
use crate::shared::{self, asleep, call, kill, start};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same, for guests.
const LONG: u64 = 20_000;

fn squares(count: i64) -> Vec<i64> {
    (0..count).map(|x| x * x).collect()
}

/// How an item has failed.
#[track_caller]
fn failed<R: std::fmt::Debug + DeserializeOwned>(result: &AsyncResult<R>, kind: ErrorKind) -> TaskError {
    let error = task_error(result.get_timeout(PATIENCE));
    assert_eq!(error.kind, kind, "{error}");
    error
}

pub(crate) fn killed() -> String {
    let (builder, lines) = listen(builder(2));
    let pool = builder.build().unwrap();
    let lost: AsyncResult<()> = pool.apply_async("spin", ()).unwrap();
    kill_the_begun(&pool, &lines);
    let error = failed(&lost, ErrorKind::WorkerLost);
    assert_eq!((error.signal, error.attempt), (Some(9), 1));
    assert_eq!(pool.map::<_, i64>("square", 0..100).unwrap(), squares(100));
    format!("{error}, then the pool goes on")
}

pub(crate) fn exit() -> String {
    let pool = pool(2);
    let error = failed(
        &pool.apply_async::<_, i64>("misbehave", ("exit 3",)).unwrap(),
        ErrorKind::Exit,
    );
    assert_eq!(error.exit_code, Some(3));
    assert_eq!(pool.map::<_, i64>("square", 0..100).unwrap(), squares(100));
    format!("{error}, then the pool goes on")
}

pub(crate) fn picky() -> String {
    let pool = pool(2);
    let error = failed(
        &pool.apply_async::<_, ()>("fail_for_reasons", ()).unwrap(),
        ErrorKind::Error,
    );
    let said = format!("{error:#}");
    assert_eq!(said, "cannot sum up: cannot open the list: no such file");
    said
}

pub(crate) fn callback() -> String {
    let pool = pool(2);
    let result = pool.apply_async::<_, i64>("square", (3,)).unwrap();
    // A panic, but one that nothing is printed about.
    let result = result.callback(|_| resume_unwind(Box::new("told to fail")));
    let error = result.get_timeout(PATIENCE).unwrap_err();
    assert!(
        matches!(&error, Error::Callback(why) if why == "told to fail"),
        "{error:?}"
    );
    let next = pool.apply::<_, i64>("square", (4,)).unwrap();
    assert_eq!(next, 16);
    format!("{error}, then {next}")
}

pub(crate) fn initializer() -> String {
    let (builder, lines) = listen(builder(2).initializer("prepare", ("panic", 0)));
    let pool = builder.build().unwrap();
    let error = pool
        .apply_async::<_, i64>("square", (3,))
        .and_then(|result| result.get_timeout(PATIENCE))
        .unwrap_err();
    assert!(matches!(&error, Error::Broken(why) if why.starts_with("the initializer failed: told to panic")));
    drop(pool);
    assert!(lines.rest().len() < 50, "it was not tried for ever");
    // Without the place of the panic.
    error.to_string().split(" (").next().unwrap_or_default().to_owned()
}

pub(crate) fn lock_holder() -> String {
    let (victim, other) = (shared::pool(1), shared::pool(1));
    let (lock, taken, release) = (Lock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
    let holder = start::<bool>(&victim, "lock_hold", (&lock, &taken, &release));
    assert!(taken.wait_timeout(PATIENCE).unwrap());
    kill(victim.worker_pids()[0]);
    failed(&holder, ErrorKind::WorkerLost);
    let abandoned = call::<Option<bool>>(&other, "lock_scoped", (&lock, LONG));
    assert_eq!(abandoned, Some(true));
    "acquired, and told that it was abandoned".to_owned()
}

pub(crate) fn event_waiter() -> String {
    let victim = shared::pool(1);
    let (lock, taken, event) = (Lock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
    // It waits for the event last.
    let waiter = start::<bool>(&victim, "lock_hold", (&lock, &taken, &event));
    assert!(taken.wait_timeout(PATIENCE).unwrap());
    asleep(&victim).kill();
    failed(&waiter, ErrorKind::WorkerLost);
    event.set();
    assert!(call::<bool>(&victim, "event_wait", (&event, LONG)));
    "set returns, and who waits hears it".to_owned()
}

pub(crate) fn join_first() -> String {
    const SIZE: usize = 1 << 20;
    let pool = shared::pool(1);
    let queue = Queue::<Vec<u8>>::new(0).unwrap();
    call::<()>(&pool, "pump", (&queue, 1, SIZE));
    close(&pool);
    assert_eq!(queue.try_get().unwrap().len(), SIZE);
    "join returns, then it is gotten".to_owned()
}

pub(crate) fn terminate() -> String {
    let pool = builder(1).on_output(|_| ()).build().unwrap();
    let pending: AsyncResult<()> = pool.apply_async("sleep", (600_000,)).unwrap();
    pool.terminate();
    failed(&pending, ErrorKind::Cancelled).to_string()
}

pub(crate) fn read_ahead() -> String {
    let pool = builder(2).on_output(|_| ()).build().unwrap();
    let mut pulled = 0;
    let inputs = (0..1000).map(|_| {
        pulled += 1;
        1_u64
    });
    let mut results = pool.imap::<_, ()>("sleep", inputs).unwrap();
    results.next().unwrap().unwrap();
    drop(results);
    assert!(pulled <= 20, "{pulled}");
    format!("{pulled} of 1000 inputs are read")
}

pub(crate) fn unencodable() -> String {
    let queue = Queue::<Touchy>::new(0).unwrap();
    let error = queue.put(Touchy(-1)).unwrap_err();
    assert!(matches!(&error, PutError::Encode(..)), "{error}");
    assert_eq!(queue.len(), 0);
    format!("put fails: {error}")
}

pub(crate) fn pool_in_pool() -> String {
    let result: Vec<i64> = pool(1).apply("nested_squares", (4, 1)).unwrap();
    assert_eq!(result, squares(4));
    format!("{result:?}")
}

pub(crate) fn shutdown() -> String {
    let limit = Duration::from_millis(200);
    let pool = builder(1).timeout(limit).on_output(|_| ()).build().unwrap();
    let result: AsyncResult<()> = pool.apply_async("sleep", (600_000,)).unwrap();
    let waited = result.get_timeout(Duration::from_millis(100)).unwrap_err();
    assert!(matches!(waited, Error::WaitTimeout(_)), "{waited:?}");
    let begun = Instant::now();
    pool.shutdown(true);
    let took = begun.elapsed();
    assert!(took < PATIENCE, "{took:?}");
    failed(&result, ErrorKind::Timeout);
    format!(
        "{waited}, then shutdown waits {:.1} s, for a task with a deadline of {limit:?}",
        took.as_secs_f64()
    )
}

pub(crate) fn cancel() -> String {
    let (builder, lines) = listen(builder(1));
    let pool = builder.build().unwrap();
    let running: AsyncResult<()> = pool.apply_async("spin", ()).unwrap();
    lines.wait_for_begun();
    let cancelled = running.cancel();
    assert!(cancelled);
    format!("{cancelled}, then {}", failed(&running, ErrorKind::Cancelled))
}

pub(crate) fn one_of_five() -> String {
    let (builder, lines) = listen(builder(2));
    let pool = builder.build().unwrap();
    let results: Vec<AsyncResult<i64>> = (0..5)
        .map(|x| match x {
            2 => pool.apply_async("spin", ()).unwrap(),
            x => pool.apply_async("square", (x,)).unwrap(),
        })
        .collect();
    kill_the_begun(&pool, &lines);
    let lost = results
        .iter()
        .filter(|result| result.get_timeout(PATIENCE).is_err())
        .count();
    let next = pool.apply::<_, i64>("square", (3,)).unwrap();
    assert_eq!((lost, next), (1, 9));
    format!("{lost} of 5 fails, then {next}")
}

pub(crate) fn two_tasks_each() -> String {
    let pool = builder(2).max_tasks_per_child(2).build().unwrap();
    let results: Vec<AsyncResult<i64>> = (0..10).map(|x| pool.apply_async("square", (x,)).unwrap()).collect();
    let done = results
        .iter()
        .filter(|result| result.get_timeout(PATIENCE).is_ok())
        .count();
    close(&pool);
    assert_eq!(done, 10);
    format!("{done} of 10 finish")
}
