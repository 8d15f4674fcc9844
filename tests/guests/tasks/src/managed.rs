//! Pools of managers, as guests use them. Each task checks by itself what its pool does: a check that fails is a panic.

use wasmp_guest::{ErrorKind, Manager, ManagerError, Result, managed, task};

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
