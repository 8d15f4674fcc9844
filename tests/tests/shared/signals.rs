//! Events, conditions and barriers.

use std::thread;
use std::time::Duration;

use wasmp::{
    AsyncResult, Barrier, BarrierError, Condition, ConditionError, Error, Event, Lock, Pool, RawValue, Semaphore,
};
use wasmp_tests::{eventually, isolated};

use crate::common::{call, error, pool, start, timed};

/// Longer than anything takes, in milliseconds.
const LONG: u64 = 20_000;
/// The same.
const PATIENCE: Duration = Duration::from_millis(LONG);
/// A time that will be up.
const SHORT: Duration = Duration::from_millis(60);
/// The same, in milliseconds.
const SOON: u64 = 60;

const NOT_OWNER: &str = "the condition's lock is held by another worker, or by nobody";
const BROKEN: &str = "the barrier is broken";

#[test]
fn e_01_an_event_that_is_not_set_is_waited_for_as_long_as_it_is_said() {
    isolated(|| {
        let pool = pool(1);
        let event: Event = call(&pool, "event_new", ());
        assert!(!event.is_set() && !call::<bool>(&pool, "event_is_set", (&event,)));
        let (set, time) =
            timed(|| event.wait_timeout(Duration::ZERO).unwrap() || call::<bool>(&pool, "event_wait", (&event, 0)));
        assert!(!set && time < PATIENCE, "{time:?}");
        let (set, time) = timed(|| event.wait_timeout(SHORT).unwrap());
        assert!(!set && time >= SHORT && time < PATIENCE, "{time:?}");
        let (set, time) = timed(|| call::<bool>(&pool, "event_wait", (&event, SOON)));
        assert!(!set && time >= SHORT && time < PATIENCE, "{time:?}");
    });
}

#[test]
fn e_02_a_set_event_is_not_waited_for() {
    isolated(|| {
        let pool = pool(2);
        let event = Event::new().unwrap();
        call::<()>(&pool, "event_set", (&event,));
        for _ in 0..2 {
            assert!(event.is_set() && call::<bool>(&pool, "event_is_set", (&event,)));
            event.wait().unwrap();
            assert!(event.wait_timeout(Duration::ZERO).unwrap());
            for timeout in [None, Some(0), Some(SOON)] {
                assert!(call::<bool>(&pool, "event_wait", (&event, timeout)), "{timeout:?}");
            }
            call::<()>(&pool, "event_clear", (&event,));
            assert!(!event.is_set() && !call::<bool>(&pool, "event_wait", (&event, 0)));
            event.set();
        }
    });
}

#[test]
fn e_03_setting_an_event_wakes_all() {
    isolated(|| {
        let (waiting, setting) = (pool(3), pool(1));
        let event = Event::new().unwrap();
        let workers = [(); 3].map(|()| start::<bool>(&waiting, "event_wait", (&event, None::<u64>)));
        let threads = [(); 2].map(|()| {
            let event = event.clone();
            thread::spawn(move || event.wait_timeout(PATIENCE).unwrap())
        });
        eventually("all workers wait", || all_asleep(&waiting).then_some(()));
        assert!(workers.iter().all(|worker| !worker.ready()));
        call::<()>(&setting, "event_set", (&event,));
        // Who was woken has seen it set, even if it is not any more.
        event.clear();
        assert!(workers.iter().all(|worker| worker.get_timeout(PATIENCE).unwrap()));
        event.set();
        for thread in threads {
            assert!(thread.join().unwrap());
        }
    });
}

/// Whether all workers sleep.
fn all_asleep(pool: &Pool) -> bool {
    let pids = pool.worker_pids();
    let workers = pids.iter().filter_map(|pid| wasmp_tests::Process::open(*pid));
    workers.filter(|worker| worker.status("State").starts_with('S')).count() == pool.processes()
}

#[test]
fn e_04_an_event_shows_whether_it_is_set() {
    isolated(|| {
        let pool = pool(1);
        let event = Event::new().unwrap();
        assert_eq!(call::<String>(&pool, "event_debug", (&event,)), "Event(not set)");
        assert!(format!("{event:?}").contains("set: false"));
        event.set();
        assert_eq!(call::<String>(&pool, "event_debug", (&event,)), "Event(set)");
        assert!(format!("{event:?}").contains("set: true"));
    });
}

/// A condition, and what tells how many have begun and ended to wait for it.
struct Sleepers {
    condition: Condition,
    sleeping: Semaphore,
    woken: Semaphore,
}

impl Sleepers {
    fn of(condition: Condition) -> Self {
        let none = || Semaphore::new(0).unwrap();
        Self {
            condition,
            sleeping: none(),
            woken: none(),
        }
    }

    /// Lets a worker wait.
    fn send(&self, pool: &Pool, depth: u32, timeout: Option<u64>) -> AsyncResult<bool> {
        start(
            pool,
            "condition_wait",
            (&self.condition, &self.sleeping, &self.woken, depth, timeout),
        )
    }

    /// Lets a thread of the host wait.
    fn spawn(&self, timeout: Duration) -> thread::JoinHandle<bool> {
        let (condition, sleeping, woken) = (self.condition.clone(), self.sleeping.clone(), self.woken.clone());
        thread::spawn(move || {
            let mut guard = condition.lock().unwrap();
            sleeping.release().unwrap();
            let notified = condition.wait_timeout(&mut guard, timeout).unwrap();
            woken.release().unwrap();
            notified
        })
    }

    /// Waits until so many wait for the condition: they say so under its lock.
    fn asleep(&self, count: u32) {
        for _ in 0..count {
            assert!(self.sleeping.acquire_timeout(PATIENCE).unwrap(), "somebody waits");
        }
        let _guard = self.condition.lock().unwrap();
    }

    /// Waits until so many go on, and no more than these.
    fn go_on(&self, count: u32) {
        for _ in 0..count {
            assert!(self.woken.acquire_timeout(PATIENCE).unwrap(), "somebody goes on");
        }
        assert!(!self.woken.try_acquire().unwrap(), "nobody else goes on");
    }

    /// How many wait.
    fn waiting(&self) -> usize {
        let shown = format!("{:?}", self.condition);
        let rest = shown.split("waiting: ").nth(1).unwrap_or_else(|| panic!("{shown}"));
        let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next();
        digits
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("{shown}"))
    }
}

#[test]
fn c_01_a_notification_wakes_one_of_those_who_wait() {
    isolated(|| {
        let (waiting, notifying) = (pool(2), pool(1));
        let sleepers = Sleepers::of(call(&notifying, "condition_new", ()));
        let workers = [1, 2].map(|depth| sleepers.send(&waiting, depth, None));
        let thread = sleepers.spawn(PATIENCE);
        sleepers.asleep(3);
        assert_eq!(sleepers.waiting(), 3);
        call::<()>(&notifying, "condition_notify", (&sleepers.condition, 1));
        sleepers.go_on(1);
        assert_eq!(sleepers.waiting(), 2);
        {
            let _guard = sleepers.condition.lock().unwrap();
            sleepers.condition.notify(1).unwrap();
        }
        sleepers.go_on(1);
        call::<()>(&notifying, "condition_notify", (&sleepers.condition, 1));
        sleepers.go_on(1);
        for worker in workers {
            assert!(worker.get_timeout(PATIENCE).unwrap());
        }
        assert!(thread.join().unwrap());
        assert_eq!(sleepers.waiting(), 0);
    });
}

#[test]
fn c_02_notifying_all_wakes_all_whose_time_is_not_up() {
    isolated(|| {
        let (waiting, notifying) = (pool(3), pool(1));
        let sleepers = Sleepers::of(Condition::new().unwrap());
        let workers = [(); 3].map(|()| sleepers.send(&waiting, 1, Some(SOON)));
        let threads = [(); 3].map(|()| sleepers.spawn(SHORT));
        for worker in workers {
            assert!(!worker.get_timeout(PATIENCE).unwrap());
        }
        for thread in threads {
            assert!(!thread.join().unwrap());
        }
        sleepers.asleep(6);
        sleepers.go_on(6);

        let workers = [(); 3].map(|()| sleepers.send(&waiting, 1, None));
        let threads = [(); 3].map(|()| sleepers.spawn(PATIENCE));
        sleepers.asleep(6);
        assert_eq!(sleepers.waiting(), 6);
        call::<()>(&notifying, "condition_notify", (&sleepers.condition, None::<u32>));
        sleepers.go_on(6);
        for worker in workers {
            assert!(worker.get_timeout(PATIENCE).unwrap());
        }
        for thread in threads {
            assert!(thread.join().unwrap());
        }
        assert_eq!(sleepers.waiting(), 0);
    });
}

#[test]
fn c_03_so_many_are_woken_as_are_notified() {
    isolated(|| {
        let (waiting, notifying) = (pool(5), pool(1));
        let sleepers = Sleepers::of(Condition::with_lock(&Lock::new().unwrap()).unwrap());
        let workers = [(); 5].map(|()| sleepers.send(&waiting, 1, None));
        sleepers.asleep(5);
        let notify = |count: u32| call::<()>(&notifying, "condition_notify", (&sleepers.condition, count));
        notify(0);
        sleepers.go_on(0);
        notify(2);
        sleepers.go_on(2);
        assert_eq!(sleepers.waiting(), 3);
        // More than there are.
        notify(4);
        sleepers.go_on(3);
        for worker in workers {
            assert!(worker.get_timeout(PATIENCE).unwrap());
        }
        // That nobody waited for is not kept for those who come.
        assert!(!sleepers.send(&waiting, 1, Some(SOON)).get_timeout(PATIENCE).unwrap());
    });
}

#[test]
fn c_04_a_wait_ends_with_its_time() {
    isolated(|| {
        let pool = pool(1);
        let condition = Condition::new().unwrap();
        let sleepers = Sleepers::of(condition.clone());
        let (notified, time) = timed(|| sleepers.send(&pool, 1, Some(SOON)).get_timeout(PATIENCE).unwrap());
        assert!(!notified && time >= SHORT && time < PATIENCE, "{time:?}");
        let mut guard = condition.lock().unwrap();
        let (notified, time) = timed(|| condition.wait_timeout(&mut guard, SHORT).unwrap());
        assert!(!notified && time >= SHORT && time < PATIENCE, "{time:?}");
        // The lock is held again.
        assert_eq!(error(&pool, "condition_notify_without_lock", (&condition,)), NOT_OWNER);
        condition.notify_all().unwrap();
    });
}

#[test]
fn c_05_a_predicate_is_waited_for() {
    isolated(|| {
        let pool = pool(2);
        let (condition, value) = (Condition::new().unwrap(), RawValue::new(0_i64).unwrap());
        let waiting = start::<bool>(&pool, "condition_wait_for", (&condition, &value, 4, None::<u64>));
        let host = {
            let (condition, value) = (condition.clone(), value.clone());
            thread::spawn(move || {
                let mut guard = condition.lock().unwrap();
                condition
                    .wait_for_timeout(&mut guard, PATIENCE, || value.get() == 4)
                    .unwrap()
            })
        };
        for new in 1..=4 {
            assert!(!waiting.ready(), "before {new}");
            call::<()>(&pool, "condition_change", (&condition, &value, new));
        }
        assert!(waiting.get_timeout(PATIENCE).unwrap());
        assert!(host.join().unwrap());
        // It holds already.
        assert!(call::<bool>(
            &pool,
            "condition_wait_for",
            (&condition, &value, 4, None::<u64>)
        ));
        let mut guard = condition.lock().unwrap();
        condition.wait_for(&mut guard, || value.get() == 4).unwrap();
    });
}

#[test]
fn c_06_a_predicate_that_never_holds_is_waited_for_until_the_time_is_up() {
    isolated(|| {
        let pool = pool(1);
        let (condition, value) = (Condition::new().unwrap(), RawValue::new(0_i64).unwrap());
        let (held, time) = timed(|| call::<bool>(&pool, "condition_wait_for", (&condition, &value, 1, SOON)));
        assert!(!held && time >= SHORT && time < PATIENCE, "{time:?}");
        let mut guard = condition.lock().unwrap();
        let (held, time) = timed(|| condition.wait_for_timeout(&mut guard, SHORT, || false).unwrap());
        assert!(!held && time >= SHORT && time < PATIENCE, "{time:?}");
    });
}

#[test]
fn c_07_a_wait_gives_up_the_lock_however_often_it_was_taken_and_has_it_as_often_again() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let sleepers = Sleepers::of(Condition::new().unwrap());
        let worker = sleepers.send(&one, 3, None);
        // This takes the lock.
        sleepers.asleep(1);
        call::<()>(&other, "condition_notify", (&sleepers.condition, None::<u32>));
        assert!(worker.get_timeout(PATIENCE).unwrap());
        // The task has released it three times: once too little, and it would not be free; once too often is an error.
        assert!(sleepers.condition.get_lock().try_lock().unwrap().is_some());

        let (outer, mut inner) = (sleepers.condition.lock().unwrap(), sleepers.condition.lock().unwrap());
        assert!(!sleepers.condition.wait_timeout(&mut inner, SHORT).unwrap());
        drop(inner);
        assert_eq!(
            error(&other, "condition_notify_without_lock", (&sleepers.condition,)),
            NOT_OWNER
        );
        assert!(!lock_is_free(&sleepers.condition));
        drop(outer);
        assert!(lock_is_free(&sleepers.condition));
    });
}

/// Whether another thread can have the lock.
fn lock_is_free(condition: &Condition) -> bool {
    thread::scope(|scope| {
        let thread = scope.spawn(|| condition.get_lock().try_lock().unwrap().is_some());
        thread.join().unwrap()
    })
}

#[test]
fn c_08_nobody_is_counted_who_does_not_wait() {
    isolated(|| {
        let (waiting, notifying) = (pool(2), pool(1));
        let sleepers = Sleepers::of(Condition::new().unwrap());
        for _ in 0..5 {
            let workers = [Some(1), None].map(|timeout| sleepers.send(&waiting, 1, timeout));
            sleepers.asleep(2);
            call::<()>(&notifying, "condition_notify", (&sleepers.condition, None::<u32>));
            sleepers.go_on(2);
            for worker in workers {
                worker.get_timeout(PATIENCE).unwrap();
            }
            assert_eq!(sleepers.waiting(), 0);
        }
    });
}

#[test]
fn c_09_without_its_lock_a_condition_is_an_error() {
    isolated(|| {
        let pool = pool(1);
        let condition = Condition::new().unwrap();
        assert_eq!(error(&pool, "condition_notify_without_lock", (&condition,)), NOT_OWNER);
        assert_eq!(condition.notify_all(), Err(ConditionError::NotOwner));
        let with_lock: Condition = call(&pool, "condition_with_lock", (Lock::new().unwrap(),));
        for condition in [condition, with_lock] {
            let wait = || error(&pool, "condition_wait_with_another_lock", (&condition,));
            assert_eq!(wait(), NOT_OWNER);
            let _guard = condition.lock().unwrap();
            assert_eq!(wait(), NOT_OWNER);
            let other = Lock::new().unwrap();
            let mut guard = other.lock().unwrap();
            assert_eq!(condition.wait(&mut guard), Err(ConditionError::NotOwner));
            assert!(other.locked());
        }
    });
}

const PARTIES: u32 = 5;

/// Lets all workers wait at a barrier.
fn all_wait(pool: &Pool, barrier: &Barrier) -> Vec<AsyncResult<u32>> {
    let waits = (0..pool.processes()).map(|_| start(pool, "barrier_wait", (barrier, None::<u64>)));
    waits.collect()
}

fn state(pool: &Pool, barrier: &Barrier) -> (u32, u32, bool) {
    let state = call(pool, "barrier_state", (barrier,));
    let seen_by_host = (barrier.parties(), barrier.n_waiting(), barrier.is_broken());
    assert_eq!(state, seen_by_host);
    state
}

/// Waits until so many wait at a barrier.
fn wait_for_waiting(barrier: &Barrier, count: u32) {
    eventually("they are at the barrier", || {
        (barrier.n_waiting() == count).then_some(())
    });
}

/// What each of them got.
fn words(waits: Vec<AsyncResult<u32>>) -> Vec<Result<u32, String>> {
    let outcome = |wait: AsyncResult<u32>| match wait.get_timeout(PATIENCE) {
        Ok(place) => Ok(place),
        Err(Error::Task(error)) => Err(error.message),
        Err(other) => panic!("{other}"),
    };
    waits.into_iter().map(outcome).collect()
}

#[test]
fn b_01_nobody_passes_before_all_have_come() {
    isolated(|| {
        let (workers, watching) = (pool(4), pool(1));
        let (barrier, arrivals): (Barrier, _) = (
            call(&watching, "barrier_new", (PARTIES,)),
            RawValue::new(0_u32).unwrap(),
        );
        let waits = all_wait(&workers, &barrier);
        wait_for_waiting(&barrier, 4);
        assert_eq!(state(&watching, &barrier), (PARTIES, 4, false));
        assert_eq!(
            call::<String>(&watching, "barrier_debug", (&barrier,)),
            "Barrier(4 of 5)"
        );
        assert!(waits.iter().all(|wait| !wait.ready()));
        assert_eq!(barrier.wait_timeout(PATIENCE), Ok(4), "the host is the last to come");
        assert!(words(waits).iter().all(Result::is_ok));
        assert_eq!(state(&watching, &barrier), (PARTIES, 0, false));

        let waits = [(); 4].map(|()| start::<()>(&workers, "barrier_lockstep", (&barrier, &arrivals, 1)));
        arrivals.fetch_add(1);
        barrier.wait_timeout(PATIENCE).unwrap();
        assert_eq!(arrivals.load(), PARTIES);
        barrier.wait_timeout(PATIENCE).unwrap();
        for wait in waits {
            wait.get_timeout(PATIENCE).unwrap();
        }
    });
}

#[test]
fn b_02_a_barrier_is_used_again_and_again() {
    isolated(|| {
        let pool = pool(PARTIES as usize);
        let (barrier, arrivals) = (Barrier::new(PARTIES).unwrap(), RawValue::new(0_u32).unwrap());
        let waits = [(); PARTIES as usize].map(|()| start::<()>(&pool, "barrier_lockstep", (&barrier, &arrivals, 10)));
        for wait in waits {
            wait.get_timeout(PATIENCE).unwrap();
        }
        assert_eq!(arrivals.load(), 10 * PARTIES);
        assert_eq!(state(&pool, &barrier), (PARTIES, 0, false));
    });
}

#[test]
fn b_03_each_has_a_place_of_its_own() {
    isolated(|| {
        let pool = pool(PARTIES as usize);
        let barrier = Barrier::new(PARTIES).unwrap();
        for _ in 0..3 {
            let mut places = words(all_wait(&pool, &barrier));
            places.sort();
            assert_eq!(places, Vec::from_iter((0..PARTIES).map(Ok)));
        }
    });
}

#[test]
fn b_04_an_action_is_run_once_before_anybody_goes_on() {
    isolated(|| {
        let pool = pool(3);
        let (barrier, actions) = (Barrier::new(4).unwrap(), RawValue::new(0_u32).unwrap());
        for trip in 1..=5 {
            let args = (&barrier, &actions, LONG);
            let waits = [(); 3].map(|()| start::<(u32, u32)>(&pool, "barrier_wait_with", args));
            let place = barrier
                .wait_with_timeout(PATIENCE, || {
                    actions.fetch_add(1);
                })
                .unwrap();
            assert_eq!(actions.load(), trip);
            let passed = waits.map(|wait| wait.get_timeout(PATIENCE).unwrap());
            assert_eq!(passed.map(|(_, actions)| actions), [trip; 3]);
            let mut places = Vec::from_iter(passed.iter().map(|(place, _)| *place).chain([place]));
            places.sort_unstable();
            assert_eq!(places, [0, 1, 2, 3]);
        }
    });
}

#[test]
fn b_05_an_aborted_barrier_is_broken_for_those_who_wait_and_those_who_come() {
    isolated(|| {
        let (workers, other) = (pool(2), pool(1));
        let barrier = Barrier::new(PARTIES).unwrap();
        let waits = all_wait(&workers, &barrier);
        wait_for_waiting(&barrier, 2);
        call::<()>(&other, "barrier_abort", (&barrier,));
        assert_eq!(words(waits), [Err(BROKEN.into()), Err(BROKEN.into())]);
        assert_eq!(error(&other, "barrier_wait", (&barrier, None::<u64>)), BROKEN);
        assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken));
        assert_eq!(state(&other, &barrier), (PARTIES, 0, true));
        assert_eq!(call::<String>(&other, "barrier_debug", (&barrier,)), "Barrier(broken)");
    });
}

#[test]
fn b_06_a_reset_frees_those_who_wait_and_leaves_the_barrier_as_new() {
    isolated(|| {
        let (workers, other) = (pool(2), pool(1));
        let barrier = Barrier::new(3).unwrap();
        let waits = all_wait(&workers, &barrier);
        wait_for_waiting(&barrier, 2);
        call::<()>(&other, "barrier_reset", (&barrier,));
        assert_eq!(words(waits), [Err(BROKEN.into()), Err(BROKEN.into())]);
        assert_eq!(state(&other, &barrier), (3, 0, false));
        let waits = all_wait(&workers, &barrier);
        barrier.wait_timeout(PATIENCE).unwrap();
        assert!(words(waits).iter().all(Result::is_ok));
    });
}

#[test]
fn b_07_a_broken_barrier_is_reset_and_all_pass() {
    isolated(|| {
        let pool = pool(3);
        let barrier = Barrier::new(3).unwrap();
        barrier.abort().unwrap();
        assert_eq!(words(all_wait(&pool, &barrier)), vec![Err(BROKEN.to_owned()); 3]);
        call::<()>(&pool, "barrier_reset", (&barrier,));
        assert_eq!(state(&pool, &barrier), (3, 0, false));
        assert!(words(all_wait(&pool, &barrier)).iter().all(Result::is_ok));
    });
}

#[test]
fn b_08_the_end_of_one_ones_time_breaks_the_barrier_for_all() {
    isolated(|| {
        let (workers, other) = (pool(2), pool(1));
        let barrier = Barrier::new(4).unwrap();
        let waits = all_wait(&workers, &barrier);
        wait_for_waiting(&barrier, 2);
        let (words_of_one, time) = timed(|| error(&other, "barrier_wait", (&barrier, SOON)));
        assert_eq!(words_of_one, BROKEN);
        assert!(time >= SHORT && time < PATIENCE, "{time:?}");
        assert_eq!(words(waits), [Err(BROKEN.into()), Err(BROKEN.into())]);
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));

        barrier.reset().unwrap();
        let waits = all_wait(&workers, &barrier);
        wait_for_waiting(&barrier, 2);
        let (passed, time) = timed(|| barrier.wait_timeout(SHORT));
        assert_eq!(passed, Err(BarrierError::TimedOut));
        assert!(time >= SHORT && time < PATIENCE, "{time:?}");
        assert_eq!(words(waits), [Err(BROKEN.into()), Err(BROKEN.into())]);
    });
}

#[test]
fn b_09_a_time_limit_with_an_action_breaks_the_barrier_as_well() {
    isolated(|| {
        let pool = pool(1);
        let (barrier, actions) = (Barrier::new(2).unwrap(), RawValue::new(0_u32).unwrap());
        assert_eq!(error(&pool, "barrier_wait_with", (&barrier, &actions, SOON)), BROKEN);
        assert_eq!(
            barrier.wait_with_timeout(SHORT, || {
                actions.fetch_add(1);
            }),
            Err(BarrierError::Broken)
        );
        assert_eq!(actions.load(), 0);
    });
}

#[test]
fn b_10_a_barrier_for_one_never_waits() {
    isolated(|| {
        let pool = pool(1);
        let (barrier, actions) = (Barrier::new(1).unwrap(), RawValue::new(0_u32).unwrap());
        for _ in 0..3 {
            assert_eq!(call::<u32>(&pool, "barrier_wait", (&barrier, None::<u64>)), 0);
            assert_eq!(barrier.wait(), Ok(0));
        }
        assert_eq!(
            call::<(u32, u32)>(&pool, "barrier_wait_with", (&barrier, &actions, LONG)),
            (0, 1)
        );
        assert_eq!(state(&pool, &barrier), (1, 0, false));
        assert!(matches!(Barrier::new(0), Err(Error::Invalid(_))));
        assert_eq!(
            error(&pool, "barrier_new", (0,)),
            "a number or a name is outside of what is possible"
        );
    });
}
