//! Pools of managers, as guests use them. Each task checks by itself what its pool does: a check that fails is a panic.

use wasmp_guest::{ErrorKind, Manager, ManagerError, Result, Retry, managed, task};

use crate::pools::{MOMENT, squares};

/// Everything that can be done with a pool that somebody else has made.
#[task]
fn managed_calls(pool: managed::Pool) -> Result<()> {
    assert_eq!(pool.apply(crate::square, (7,))?, 49);
    assert_eq!(pool.map(crate::square, 0..10_000)?, squares(10_000));
    assert_eq!(pool.starmap(crate::add, [(1, 2), (3, 4)])?, [3, 7]);
    let later = pool.apply_async(crate::square, (3,))?;
    let many = pool.map_async("square", 0..500)?;
    let pairs = pool.starmap_async(crate::add, [(5, 6)])?;
    assert_eq!((many.get()?, later.get()?, pairs.get()?), (squares(500), 9, vec![11]));
    assert_eq!(
        (later.get()?, later.ready()?, later.successful()?),
        (9, true, Some(true))
    );
    let streamed: Result<Vec<i64>, _> = pool.imap(crate::square, 0..).unwrap().take(300).collect();
    assert_eq!(streamed?, squares(300));
    let mut unordered = pool
        .imap_unordered(crate::square, 0..300)?
        .collect::<Result<Vec<i64>, _>>()?;
    unordered.sort_unstable();
    assert_eq!(unordered, squares(300));
    let failed = pool.apply::<_, _, i64, _>(crate::misbehave, ("panic",));
    let Err(managed::PoolError::Task(error)) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(error.kind, ErrorKind::Panic);
    assert!(error.message.starts_with("told to panic"), "{error}");
    assert!(error.backtrace.is_some_and(|frames| frames.contains("misbehave")));
    let closure = pool.apply(|x: i64| x, (1,)).unwrap_err().to_string();
    assert!(closure.starts_with("a closure cannot be a task"), "{closure}");
    let asleep = pool.apply_async(crate::sleep, (600_000_u64,))?;
    assert_eq!(asleep.get_timeout(MOMENT), Err(managed::PoolError::WaitTimeout(MOMENT)));
    assert!(asleep.cancel()?);
    assert_eq!(pool.task(crate::square).chunksize(8).map(0..1000)?, squares(1000));
    let refused = pool.task(crate::square).chunksize(0).map(0..3).unwrap_err();
    assert!(matches!(refused, managed::PoolError::Invalid(_)), "{refused}");
    let late = pool.task(crate::spin).timeout(MOMENT).apply(()).unwrap_err();
    assert!(
        matches!(&late, managed::PoolError::Task(error) if error.kind == ErrorKind::Timeout),
        "{late}"
    );
    let again = pool.task(crate::succeed_at).retry(Retry::times(1).on_error());
    let again = again.apply::<_, i64, _>((1000,)).unwrap_err();
    assert!(
        matches!(&again, managed::PoolError::Task(error) if error.attempt == 2),
        "{again}"
    );
    let streamed = pool.task(crate::square).buffersize(1).imap(0..)?;
    assert_eq!(streamed.take(10).collect::<Result<Vec<i64>, _>>()?, squares(10));
    pool.resize(3)?;
    assert_eq!(pool.resize(0), Err(ManagerError::Invalid));
    assert_eq!(pool.map(crate::square, 0..1000)?, squares(1000));
    Ok(())
}

/// Pools that are set up, from the handle of a manager.
#[task]
fn managed_builders() -> Result<()> {
    let manager = Manager::new()?;
    let set_up = || manager.pool_builder().processes(2);
    let pool = set_up()
        .initializer(crate::prepare, ("fine", 7_i64))
        .max_tasks_per_child(5)
        .build()?;
    let prepared = pool.starmap(crate::prepared, vec![(); 40])?;
    assert_eq!(prepared, [7; 40]);
    let counts = pool.task(crate::count).chunksize(4).starmap(vec![(); 40])?;
    assert!(counts.iter().all(|count| *count <= 5), "{counts:?}");
    let broken = set_up().initializer(crate::prepare, ("error", 0_i64)).named("broken")?;
    for _ in 0..2 {
        let why = broken.apply(crate::square, (1,)).unwrap_err();
        let told = managed::PoolError::Broken("the initializer failed: told to fail".into());
        assert_eq!(why, told);
    }
    assert_eq!(pool.apply(crate::square, (3,))?, 9);
    let again = set_up().timeout(MOMENT).retry(Retry::times(1).on_timeout()).build()?;
    let late = again.apply(crate::spin, ()).unwrap_err();
    assert!(
        matches!(&late, managed::PoolError::Task(error) if (error.kind, error.attempt) == (ErrorKind::Timeout, 2)),
        "{late}"
    );
    let nobody = set_up().processes(0).build().unwrap_err();
    assert!(matches!(nobody, managed::PoolError::Invalid(_)), "{nobody}");
    let idle = set_up().max_tasks_per_child(0).build().unwrap_err();
    assert!(matches!(idle, managed::PoolError::Invalid(_)), "{idle}");
    let closure = set_up().initializer(|x: i64| x, (1,)).build().unwrap_err();
    assert!(
        closure.to_string().starts_with("a closure cannot be a task"),
        "{closure}"
    );
    Ok(())
}

/// A pool of a manager of its own, from its beginning to its end.
#[task]
fn managed_own(processes: usize) -> Result<i64> {
    let manager = Manager::new()?;
    let too_many = manager.pool(1000);
    assert_eq!(too_many.unwrap_err(), ManagerError::ProcessLimit);
    let pool = manager.named_pool("shared", processes)?;
    let sum = pool.map(crate::square, 0..100)?.into_iter().sum();
    assert_eq!(pool.join(), Err(ManagerError::PoolStillRunning));
    pool.close()?;
    pool.join()?;
    let refused = pool.apply(crate::square, (1,));
    assert_eq!(refused, Err(ManagerError::PoolNotRunning.into()));
    manager.shutdown()?;
    assert_eq!(pool.apply(crate::square, (1,)), Err(ManagerError::Gone.into()));
    Ok(sum)
}

/// A pool of a manager of its own.
#[task]
fn managed_pool() -> Result<managed::Pool> {
    Ok(Manager::new()?.named_pool("shared", 1)?)
}

/// A pool of a manager of its own, whose initializer has so many bytes of arguments.
#[task]
fn managed_pool_prepared(bytes: usize) -> Result<managed::Pool> {
    let words = "x".repeat(bytes);
    let set_up = Manager::new()?.pool_builder().processes(1);
    Ok(set_up.initializer(crate::echo, (words.as_str(),)).named("prepared")?)
}

/// Takes so many milliseconds, and tells which process that was.
#[task]
fn slow_pid(milliseconds: u64) -> Result<u32> {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    Ok(wasmp_guest::current_process()?.pid())
}
