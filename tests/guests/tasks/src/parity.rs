//! What CPython's own tests ask of a pool, asked of the pools that tasks make: each task here is the whole test whose name it
//! has, and a check that fails is a panic. What `pools.rs` asks already is not asked again.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use wasmp_guest::{AsyncResult, Barrier, ErrorKind, Event, Pool, PoolError, Queue, Result, current_process, task};

use crate::pools::{MOMENT, squares, task_error};

/// Longer than anything takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// An argument that serde cannot carry when it is negative.
pub(crate) struct Touchy(pub(crate) i64);

impl Serialize for Touchy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            ..0 => Err(serde::ser::Error::custom("it is negative")),
            value => serializer.serialize_i64(value),
        }
    }
}

/// Ten inputs, of which the seventh cannot be sent.
fn touchy() -> impl Iterator<Item = Touchy> {
    (0..10).map(|x| Touchy(if x == 6 { -1 } else { x }))
}

#[track_caller]
pub(crate) fn assert_encode(error: &PoolError) {
    assert!(
        matches!(error, PoolError::Encode(why) if why.contains("it is negative")),
        "{error:?}"
    );
}

/// Sets `begun`, waits for `go`, and returns its process.
#[task]
pub(crate) fn wait_to_go(begun: Event, go: Event) -> Result<u32> {
    begun.set()?;
    go.wait()?;
    pid()
}

/// Returns its process when all have come.
#[task]
fn meet(all: Barrier) -> Result<u32> {
    all.wait()?;
    pid()
}

/// Its process.
#[task]
pub(crate) fn pid() -> Result<u32> {
    Ok(current_process()?.pid())
}

/// Puts the square of a number.
#[task]
fn put_square(x: i64, squares: Queue<i64>) -> Result<()> {
    Ok(squares.put(x * x)?)
}

/// The processes of so many workers, each of which waits for the others to be there.
fn all_workers(pool: &Pool, count: u32) -> Result<HashSet<u32>> {
    let all = Barrier::new(count)?;
    let pids: Vec<u32> = pool
        .task("meet")
        .chunksize(1)
        .starmap(std::iter::repeat_n((&all,), count as usize))?;
    Ok(pids.into_iter().collect())
}

/// A task that waits for `go`, and has begun.
pub(crate) fn waiting(pool: &Pool, go: &Event) -> Result<AsyncResult<u32>> {
    let begun = Event::new()?;
    let result = pool.task("wait_to_go").apply_async((&begun, go))?;
    begun.wait()?;
    Ok(result)
}

#[task]
fn pl_04_starmap_async_spreads_each_input_over_the_parameters() -> Result<()> {
    let pool = Pool::new(2)?;
    let sums = pool.starmap_async(crate::add, (0..100).map(|x| (x, 2 * x)))?;
    assert_eq!(sums.get()?, (0..100).map(|x| 3 * x).collect::<Vec<_>>());
    assert_eq!(sums.successful(), Some(true));
    let wrong = pool.task("add").map::<i64>((0..3).map(|x| (x, x)));
    assert_eq!(task_error(wrong).kind, ErrorKind::Arguments, "a tuple is one argument");
    Ok(())
}

#[task]
fn pl_06_the_callback_gets_the_whole_list_and_the_error_callback_the_error() -> Result<()> {
    let pool = Pool::new(2)?;
    let called = Rc::new(std::cell::RefCell::new((Vec::new(), Vec::new())));
    for inputs in [vec!["fine"; 3], vec!["fine", "error", "panic"]] {
        let (good, bad) = (Rc::clone(&called), Rc::clone(&called));
        pool.task("misbehave")
            .map_async::<i64>(inputs)?
            .callback(move |list| good.borrow_mut().0.push(list))
            .error_callback(move |error| bad.borrow_mut().1.push(error))
            .wait();
    }
    let (lists, mut errors) = called.take();
    assert_eq!(lists, [[1, 1, 1]]);
    assert_eq!(errors.len(), 1);
    let error = task_error::<()>(Err(errors.remove(0)));
    assert_eq!((error.kind, error.index), (ErrorKind::Error, 1));
    Ok(())
}

#[task]
fn pl_07_px_01_unserializable_arguments_are_the_callers_error() -> Result<()> {
    let pool = Pool::new(2)?;
    assert_encode(&pool.task("square").apply::<i64>((Touchy(-1),)).unwrap_err());
    let many = (0..50_000).map(|x| Touchy(40_000 - x));
    assert_encode(&pool.task("square").map::<i64>(many).unwrap_err());
    assert_eq!(pool.map(crate::square, 0..100)?, squares(100));
    pool.close();
    Ok(pool.join()?)
}

#[task]
fn pl_08_px_14_items_go_in_chunks_of_any_size_but_0() -> Result<()> {
    let pool = Pool::new(2)?;
    for chunksize in [6, 40, 50] {
        let call = pool.task("square").chunksize(chunksize);
        assert_eq!(call.map::<i64>(0..40)?, squares(40), "{chunksize}");
        assert_eq!(call.map::<i64>(0..0)?, squares(0), "{chunksize}");
    }
    let call = pool.task("square").chunksize(0);
    assert!(matches!(call.map::<i64>(0..40), Err(PoolError::Invalid(_))));
    assert!(matches!(call.imap::<_, i64>(0..40), Err(PoolError::Invalid(_))));
    Ok(())
}

#[task]
fn pl_10_apply_async_returns_before_its_result() -> Result<()> {
    let pool = Pool::new(1)?;
    let go = Event::new()?;
    let result = waiting(&pool, &go)?;
    assert_eq!((result.ready(), result.successful()), (false, None));
    go.set()?;
    let pid = result.get()?;
    assert_eq!((result.ready(), result.successful()), (true, Some(true)));
    assert_eq!(result.get()?, pid, "it can be asked again");
    Ok(())
}

#[task]
fn pl_11_get_with_a_timeout_stops_waiting_and_the_task_goes_on() -> Result<()> {
    let pool = Pool::new(1)?;
    let go = Event::new()?;
    let result = waiting(&pool, &go)?;
    assert_eq!(result.get_timeout(MOMENT), Err(PoolError::WaitTimeout(MOMENT)));
    assert!(!result.wait_timeout(Duration::ZERO));
    go.set()?;
    assert!(result.wait_timeout(LONG));
    result.get_timeout(Duration::ZERO)?;
    Ok(())
}

#[task]
fn pl_13_imap_delivers_what_came_before_an_input_that_cannot_be_sent() -> Result<()> {
    let pool = Pool::new(2)?;
    let mut results = pool.task("square").imap::<_, i64>(touchy())?;
    for square in squares(6) {
        assert_eq!(results.next().transpose()?, Some(square));
    }
    assert_encode(&results.next().expect("an error").unwrap_err());
    assert!(results.next().is_none());
    Ok(())
}

#[task]
fn pl_15_imap_unordered_gives_only_expected_values_before_an_input_that_cannot_be_sent() -> Result<()> {
    let pool = Pool::new(2)?;
    let results = pool.task("square").imap_unordered::<_, i64>(touchy())?;
    let (good, bad): (Vec<_>, Vec<_>) = results.partition(|result| result.is_ok());
    let mut good: Vec<i64> = good.into_iter().collect::<Result<_, _>>()?;
    good.sort_unstable();
    assert_eq!((good, bad.len()), (squares(6), 1));
    assert_encode(bad[0].as_ref().unwrap_err());
    Ok(())
}

#[task]
fn pl_16_px_16_a_pool_has_as_many_workers_as_asked() -> Result<()> {
    let none = |pool: Result<Pool, PoolError>| assert!(matches!(pool, Err(PoolError::Invalid(_))), "{pool:?}");
    none(Pool::new(0));
    none(Pool::builder().processes(0).build());
    let pool = Pool::new(3)?;
    let pids = all_workers(&pool, 3)?;
    assert_eq!(pids.len(), 3);
    let seen: Vec<u32> = pool.task("pid").starmap(std::iter::repeat_n((), 45))?;
    assert!(seen.iter().all(|pid| pids.contains(pid)), "{seen:?} of {pids:?}");
    assert!(matches!(pool.resize(0), Err(PoolError::Invalid(_))));
    Ok(())
}

#[task]
fn pl_18_nothing_in_gives_nothing_out_and_the_pool_closes() -> Result<()> {
    let pool = Pool::new(2)?;
    assert_eq!(pool.map(crate::square, 0..0)?, squares(0));
    assert_eq!(pool.map_async(crate::square, 0..0)?.get()?, squares(0));
    assert_eq!(pool.starmap(crate::add, [(0, 0); 0])?, squares(0));
    assert_eq!(pool.imap::<_, _, i64, _, _>(crate::square, 0..0)?.count(), 0);
    assert_eq!(pool.imap_unordered::<_, _, i64, _, _>(crate::square, 0..0)?.count(), 0);
    pool.close();
    Ok(pool.join()?)
}

#[task]
fn pl_19_px_21_a_pool_that_was_closed_or_terminated_takes_no_more_work() -> Result<()> {
    for end in [Pool::close, Pool::terminate] {
        let pool = Pool::new(2)?;
        assert_eq!(pool.apply(crate::square, (3,))?, 9);
        end(&pool);
        let square = pool.task("square");
        assert_eq!(square.apply::<i64>((3,)), Err(PoolError::NotRunning));
        assert_eq!(square.map::<i64>(0..3), Err(PoolError::NotRunning));
        assert!(matches!(square.imap::<_, i64>(0..3), Err(PoolError::NotRunning)));
        pool.join()?;
    }
    Ok(())
}

/// Says how many there are of it.
struct Counted(Rc<()>);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(Rc::strong_count(&self.0) as u64)
    }
}

#[task]
fn pl_23_arguments_are_released_when_they_are_submitted() -> Result<()> {
    let pool = Pool::new(1)?;
    let token = Rc::new(());
    let go = Event::new()?;
    let running = waiting(&pool, &go)?;
    let result = pool.task("square").apply_async::<i64>((Counted(Rc::clone(&token)),))?;
    let many = (0..10).map(|_| Counted(Rc::clone(&token)));
    let results = pool.task("square").map_async::<i64>(many)?;
    assert_eq!(Rc::strong_count(&token), 1, "though none of them has begun");
    go.set()?;
    running.get()?;
    assert_eq!((result.get()?, results.get()?), (4, vec![4; 10]));
    Ok(())
}

#[task]
fn pl_24_closing_and_joining_again_changes_nothing() -> Result<()> {
    let pool = Pool::new(2)?;
    for end in [Pool::close, Pool::close, Pool::terminate, Pool::close] {
        end(&pool);
        assert!(pool.join_timeout(LONG)?);
    }
    assert_eq!(pool.task("square").apply::<i64>((3,)), Err(PoolError::NotRunning));
    Ok(())
}

#[task]
fn pl_25_a_pool_that_is_dropped_ends_its_busy_workers() -> Result<()> {
    let pool = Pool::new(2)?;
    let go = Event::new()?;
    let running = waiting(&pool, &go)?;
    drop(pool);
    assert_eq!(task_error(running.get()).kind, ErrorKind::Cancelled);
    Ok(())
}

#[task]
fn pl_26_two_hundred_workers_map_a_thousand_items() -> Result<()> {
    let pool = Pool::new(200)?;
    assert_eq!(pool.task("square").chunksize(1).map::<i64>(0..1000)?, squares(1000));
    assert_eq!(all_workers(&pool, 200)?.len(), 200);
    pool.close();
    Ok(pool.join()?)
}

/// Not a test by itself: its panic is one.
#[task]
fn call_back_and_panic() -> Result<()> {
    let pool = Pool::new(1)?;
    let result = pool.task("square").apply_async::<i64>((3,))?;
    result.callback(|_| panic!("told to panic")).wait();
    Ok(())
}

#[task]
fn pe_02_px_05_a_result_that_cannot_be_encoded_fails_its_item() -> Result<()> {
    let pool = Pool::new(1)?;
    let pid: u32 = pool.apply(pid, ())?;
    for _ in 0..20 {
        let error = task_error(pool.task("unencodable").apply::<()>(()));
        assert_eq!((error.kind, error.pid), (ErrorKind::Result, pid));
        assert!(error.message.contains("I will not"), "{}", error.message);
    }
    let fail = |how: &str| task_error(pool.task("give_packed").apply::<i64>((how,)));
    assert_eq!(fail("panic").kind, ErrorKind::Panic);
    assert_eq!(fail("unreachable").kind, ErrorKind::Trap);
    let exit = fail("exit 3");
    assert_eq!((exit.kind, exit.exit_code), (ErrorKind::Exit, Some(3)));
    assert_eq!(pool.task("give_packed").apply::<i64>(("fine",))?, 1);
    assert_eq!(pool.task("pid").apply::<u32>(())?, pid);
    Ok(())
}

#[task]
fn pw_01_no_worker_does_more_tasks_than_it_may() -> Result<()> {
    let pool = Pool::builder().processes(2).max_tasks_per_child(10).build()?;
    for chunksize in [1, 4, 50] {
        let call = pool.task("pid").chunksize(chunksize);
        let mut tasks = HashMap::new();
        for pid in call.starmap::<u32>(std::iter::repeat_n((), 100))? {
            *tasks.entry(pid).or_insert(0) += 1;
        }
        assert!(tasks.values().all(|count| *count <= 10), "{chunksize}: {tasks:?}");
        assert!(tasks.len() >= 10);
    }
    assert_eq!(all_workers(&pool, 2)?.len(), 2);
    Ok(())
}

#[task]
fn pw_03_a_worker_without_tasks_is_refused() {
    let pool = Pool::builder().processes(1).max_tasks_per_child(0).build();
    assert!(matches!(pool, Err(PoolError::Invalid(why)) if why.contains("1 or more")));
}

#[task]
fn pw_04_a_pool_that_is_left_at_exit_keeps_nobody() -> Result<()> {
    let pool = Pool::new(2)?;
    let busy = waiting(&pool, &Event::new()?)?;
    assert_eq!(pool.apply(crate::square, (7,))?, 49);
    std::mem::forget((pool, busy));
    Ok(())
}

#[task]
fn pw_05_a_pool_that_cannot_be_made_leaves_nothing() -> Result<()> {
    let _most = Pool::new(60)?;
    for _ in 0..3 {
        assert!(matches!(Pool::new(5), Err(PoolError::ProcessLimit)));
    }
    assert_eq!(Pool::new(4)?.apply(crate::square, (3,))?, 9);
    Ok(())
}

#[task]
fn pw_06_a_worker_uses_queues_and_pools_of_its_own() -> Result<()> {
    print!("before, ");
    let queue = Queue::<i64>::new(0)?;
    let pool = Pool::new(2)?;
    let _: Vec<()> = pool.task("put_square").starmap((0..10).map(|x| (x, &queue)))?;
    let mut got = Vec::new();
    for _ in 0..10 {
        got.push(queue.get()?);
    }
    got.sort_unstable();
    assert_eq!(got, squares(10));
    println!("and after");
    Ok(())
}

/// Calls itself, in a pool of its own, for as long as there can be another; returns how often that was.
#[task]
fn multiply() -> Result<u32> {
    match Pool::new(1) {
        Ok(pool) => Ok(pool.apply::<_, _, u32, _, _>(multiply, ())? + 1),
        Err(PoolError::ProcessLimit) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

#[task]
fn pw_07_a_task_that_has_itself_called_for_ever_comes_to_an_end() -> Result<()> {
    assert_eq!(multiply()?, 20, "as many as the host allows");
    Ok(())
}
