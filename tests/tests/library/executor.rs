//! What CPython's own tests ask of `concurrent.futures.ProcessPoolExecutor`, as far as the files about pools do not ask it already.
//! PX-21, work after a shutdown, does not compile: `shutdown` takes the pool. After `close` it is refused, with PL-19.

use std::sync::mpsc::channel;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use wasmp::{AsyncResult, Chunksize, Error, ErrorKind};
use wasmp_tests::{Process, descendants, eventually, isolated};

use crate::common::{Gate, Touchy, builder, close, listen, pool, task_error, worker, workers};

const PATIENCE: Duration = Duration::from_secs(20);

fn squares(count: i64) -> Vec<i64> {
    (0..count).map(|x| x * x).collect()
}

#[test]
fn px_02_arguments_may_do_anything_when_they_are_decoded() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        let take = |how: &str| pool.apply_async::<_, i64>("take_unpacked", (how,)).unwrap();
        let error = task_error(take("error").get());
        assert_eq!(error.kind, ErrorKind::Arguments);
        assert!(error.message.contains("told to fail"), "{}", error.message);
        assert_eq!(task_error(take("panic").get()).kind, ErrorKind::Panic);
        assert_eq!(task_error(take("unreachable").get()).kind, ErrorKind::Trap);
        let exit = task_error(take("exit 3").get());
        assert_eq!((exit.kind, exit.exit_code), (ErrorKind::Exit, Some(3)));
        let (lost, next) = (take("spin"), take("fine"));
        while lines.next().text != "begun\n" {}
        worker(&pool).kill();
        assert_eq!(task_error(lost.get()).kind, ErrorKind::WorkerLost);
        assert_eq!(next.get().unwrap(), 1);
    });
}

#[test]
fn px_05_results_may_do_anything_when_they_are_encoded() {
    isolated(|| {
        let pool = builder(1).on_output(|_| ()).build().unwrap();
        let pid = worker(&pool).pid();
        let give = |how: &str| pool.apply::<_, i64>("give_packed", (how,));
        let error = task_error(give("error"));
        assert_eq!(error.kind, ErrorKind::Result);
        assert!(error.message.contains("told to fail"), "{}", error.message);
        assert_eq!(task_error(give("panic")).kind, ErrorKind::Panic);
        assert_eq!(task_error(give("unreachable")).kind, ErrorKind::Trap);
        let exit = task_error(give("exit 3"));
        assert_eq!((exit.kind, exit.exit_code), (ErrorKind::Exit, Some(3)));
        assert_eq!(give("fine").unwrap(), 1);
        assert_eq!(worker(&pool).pid(), pid);
    });
}

/// What fails to be decoded, or panics.
#[derive(Debug)]
struct Awkward;

impl<'de> Deserialize<'de> for Awkward {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "panic" => panic!("told to panic"),
            _ => Err(serde::de::Error::custom("I will not")),
        }
    }
}

#[test]
fn px_06_what_a_result_does_when_it_is_decoded_is_between_it_and_its_caller() {
    isolated(|| {
        let pool = pool(1);
        let refused: AsyncResult<Awkward> = pool.apply_async("echo", ("text",)).unwrap();
        for _ in 0..2 {
            assert!(matches!(refused.get(), Err(Error::Decode(why)) if why.contains("I will not")));
        }
        let panics: AsyncResult<Awkward> = pool.apply_async("echo", ("panic",)).unwrap();
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| panics.get_timeout(PATIENCE));
            assert_eq!(caller.join().unwrap_err().downcast_ref(), Some(&"told to panic"));
        });
        // Nor does one that is decoded for a callback, on a thread that all callbacks share.
        let (sender, called) = channel();
        let (panics, nine) = (sender.clone(), sender);
        let result: AsyncResult<Awkward> = pool.apply_async("echo", ("panic",)).unwrap();
        result.callback(move |_| panics.send(1).unwrap()).wait();
        let result = pool.apply_async::<_, i64>("square", (3,)).unwrap();
        let result = result.callback(move |value| nine.send(value).unwrap());
        assert_eq!(result.get_timeout(PATIENCE).unwrap(), 9);
        assert_eq!(called.into_iter().collect::<Vec<_>>(), [9]);
        close(&pool);
    });
}

#[test]
fn px_07_a_worker_that_dies_while_the_pool_shuts_down_is_one_failure() {
    isolated(|| {
        let (builder, lines) = listen(builder(2));
        let pool = builder.build().unwrap();
        let lost = pool.apply_async::<_, ()>("spin", ()).unwrap();
        let slot = lines.wait_for_begun();
        let victim = workers(&pool).remove(slot as usize - 1);
        let others = pool.map_async::<_, i64>("square", 0..50).unwrap();
        let shutdown = std::thread::spawn(move || pool.shutdown(true));
        assert_eq!(others.get().unwrap(), squares(50));
        assert!(!shutdown.is_finished(), "it waits for what runs");
        victim.kill();
        shutdown.join().unwrap();
        let error = task_error(lost.get_timeout(Duration::ZERO));
        assert_eq!((error.kind, error.signal), (ErrorKind::WorkerLost, Some(9)));
    });
}

#[test]
fn px_08_a_pool_that_was_given_what_it_cannot_send_shuts_down() {
    isolated(|| {
        let pool = pool(2);
        let workers = workers(&pool);
        let refused = pool.apply_async::<_, i64>("square", (Touchy(-1),));
        assert!(matches!(refused, Err(Error::Encode(_))), "{refused:?}");
        pool.shutdown(false);
        workers.iter().for_each(Process::wait_until_gone);
    });
}

#[test]
fn px_12_each_result_has_an_error_of_its_own() {
    isolated(|| {
        let (listening, lines) = listen(builder(2));
        let pool = listening.build().unwrap();
        let lost = [(); 2].map(|()| pool.apply_async::<_, ()>("spin", ()).unwrap());
        let pids: Vec<u32> = workers(&pool).iter().map(Process::pid).collect();
        lines.wait_for_begun();
        lines.wait_for_begun();
        workers(&pool).iter().for_each(Process::kill);
        let mut charged: Vec<u32> = lost.map(|lost| task_error(lost.get()).pid).into();
        charged.sort_by_key(|pid| pids.iter().position(|known| known == pid));
        assert_eq!(charged, pids, "each names the worker that it was lost with");

        let broken = builder(1).initializer("prepare", ("error", 0)).build().unwrap();
        let results: Vec<AsyncResult<i64>> = (0..4).filter_map(|x| broken.apply_async("square", (x,)).ok()).collect();
        for result in results {
            assert!(matches!(result.get(), Err(Error::Broken(why)) if why.contains("told to fail")));
        }
    });
}

#[test]
fn px_14_items_go_in_chunks_of_any_size_but_0() {
    isolated(|| {
        let pool = pool(2);
        let call = |chunksize| pool.task("square").chunksize(Chunksize::Exact(chunksize));
        for chunksize in [6, 40, 50] {
            assert_eq!(
                call(chunksize).map::<_, i64>(0..40).unwrap(),
                squares(40),
                "{chunksize}"
            );
        }
        assert!(matches!(call(0).map::<_, i64>(0..40), Err(Error::Invalid(_))));
        assert!(matches!(
            call(0).imap::<_, i64>(0..40).map(|_| ()),
            Err(Error::Invalid(_))
        ));
    });
}

#[test]
fn px_15_a_task_keeps_no_arguments() {
    isolated(|| {
        let pool = pool(1);
        let counts: Vec<i64> = pool.map("hold", 0..100).unwrap();
        assert_eq!(counts, [1; 100]);
        assert_eq!(pool.apply::<_, i64>("held", ()).unwrap(), 0);
    });
}

#[test]
fn px_20_what_is_left_at_a_shutdown_is_finished_by_replaced_workers() {
    isolated(|| {
        for wait in [true, false] {
            let pool = builder(2).max_tasks_per_child(2).build().unwrap();
            let results: Vec<AsyncResult<i64>> = (0..20).map(|x| pool.apply_async("square", (x,)).unwrap()).collect();
            pool.shutdown(wait);
            for (result, square) in results.iter().zip(squares(20)) {
                assert_eq!(result.get_timeout(PATIENCE).unwrap(), square);
            }
            eventually("no worker is left", || {
                descendants(std::process::id(), "wasmp-worker").is_empty().then_some(())
            });
        }
    });
}

#[test]
fn px_23_what_waits_is_cancelled_and_the_rest_finishes() {
    isolated(|| {
        let (builder, gate) = Gate::before(builder(1));
        let (builder, lines) = listen(builder);
        let pool = builder.build().unwrap();
        let running: AsyncResult<i64> = pool.apply_async("wait_for", ("/gate/open", 7)).unwrap();
        lines.wait_for_begun();
        let results: Vec<AsyncResult<i64>> = (0..50).map(|x| pool.apply_async("square", (x,)).unwrap()).collect();
        assert!(results[20..].iter().all(AsyncResult::cancel), "none has begun");
        gate.open();
        pool.shutdown(true);
        assert_eq!(running.get().unwrap(), 7);
        for (x, result) in (0_i64..).zip(&results) {
            match result.get_timeout(Duration::ZERO) {
                Ok(square) => assert!(x < 20 && square == x * x),
                error => assert!(x >= 20 && task_error(error).kind == ErrorKind::Cancelled),
            }
        }
    });
}
