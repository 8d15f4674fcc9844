//! Results that are waited for: by `get`, callbacks, futures, in order of completion; and those that nobody wants any more.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use wasmp::{AsyncResult, Chunksize, Error, ErrorKind, Pool, as_completed};
use wasmp_tests::{eventually, isolated};

use crate::common::{Gate, builder, close, listen, pool, task_error, workers};

const PATIENCE: Duration = Duration::from_secs(20);

fn squares(count: i64) -> Vec<i64> {
    (0..count).map(|x| x * x).collect()
}

/// Sends on what a callback gets.
fn sending<T: Send + 'static>(sender: &Sender<T>) -> impl FnOnce(T) + Send + 'static {
    let sender = sender.clone();
    move |value| {
        let _ = sender.send(value);
    }
}

#[test]
fn pl_04_starmap_async_spreads_each_input_over_the_parameters() {
    isolated(|| {
        let pool = pool(2);
        let sums: AsyncResult<Vec<i64>> = pool.starmap_async("add", (0..100).map(|x| (x, 2 * x))).unwrap();
        assert_eq!(sums.get().unwrap(), (0..100).map(|x| 3 * x).collect::<Vec<i64>>());
        assert_eq!(sums.successful(), Some(true));
    });
}

#[test]
fn pl_05_map_async_returns_before_its_results() {
    isolated(|| {
        let (builder, gate) = Gate::before(builder(2));
        let pool = builder.on_output(|_| ()).build().unwrap();
        let inputs = (0..10).map(|value| ("/gate/open", value));
        let results: AsyncResult<Vec<i64>> = pool.starmap_async("wait_for", inputs).unwrap();
        assert!(!results.ready());
        assert_eq!(results.successful(), None);
        assert!(matches!(
            results.get_timeout(Duration::from_millis(10)),
            Err(Error::WaitTimeout(_))
        ));
        gate.open();
        assert_eq!(results.get().unwrap(), Vec::from_iter(0..10));
        for chunksize in [Chunksize::Exact(7), Chunksize::Python] {
            let call = pool.task("square").chunksize(chunksize);
            assert_eq!(call.map_async::<_, i64>(0..1000).unwrap().get().unwrap(), squares(1000));
        }
    });
}

#[test]
fn pl_06_the_callback_gets_the_whole_list_and_the_error_callback_the_error() {
    isolated(|| {
        let pool = pool(2);
        let (lists, got) = channel();
        let (errors, failed) = channel();
        for inputs in [vec!["fine"; 3], vec!["fine", "error", "panic"]] {
            pool.map_async::<_, i64>("misbehave", inputs)
                .unwrap()
                .callback(sending(&lists))
                .error_callback(sending(&errors))
                .wait();
        }
        close(&pool);
        drop((lists, errors));
        assert_eq!(got.into_iter().collect::<Vec<_>>(), [[1, 1, 1]]);
        let errors: Vec<Error> = failed.into_iter().collect();
        let [Error::Task(error)] = errors.as_slice() else {
            panic!("{errors:?}");
        };
        assert_eq!((error.kind, error.index), (ErrorKind::Error, 1));
    });
}

#[test]
fn pl_18_map_async_of_nothing_gives_nothing() {
    isolated(|| {
        let pool = pool(1);
        let (sender, got) = channel();
        let nothing = pool
            .map_async::<_, i64>("square", 0..0)
            .unwrap()
            .callback(sending(&sender));
        assert_eq!(nothing.get_timeout(PATIENCE).unwrap(), squares(0));
        // CPython calls no callback then; here nobody has to know how many there were.
        assert_eq!(got.try_recv(), Ok(vec![]));
        close(&pool);
    });
}

#[test]
fn callbacks_have_run_when_the_result_is_seen() {
    isolated(|| {
        let pool = pool(2);
        let (sender, got) = channel();
        for x in 0..50 {
            let result = pool.apply_async::<_, i64>("square", (x,)).unwrap();
            if x % 2 == 0 {
                // The result may be there before the callback.
                result.wait();
            }
            let result = result.callback(sending(&sender)).callback(sending(&sender));
            assert_eq!(result.get().unwrap(), x * x);
            assert_eq!(got.try_iter().collect::<Vec<_>>(), [x * x, x * x]);
        }
    });
}

#[test]
fn pe_01_the_error_callback_gets_the_error_and_get_raises_it() {
    isolated(|| {
        let pool = pool(1);
        let (sender, got) = channel();
        let result = pool.apply_async::<_, i64>("misbehave", ("error",)).unwrap();
        let result = result
            .callback(|_| panic!("it has failed"))
            .error_callback(sending(&sender));
        let seen = task_error(result.get());
        assert_eq!(seen.kind, ErrorKind::Error);
        assert_eq!(seen, task_error::<i64>(Err(got.try_recv().unwrap())));
    });
}

#[test]
fn g_04_pl_27_a_callback_that_panics_is_its_results_error_and_the_pool_goes_on() {
    isolated(|| {
        let pool = pool(1);
        let result = pool.apply_async::<_, i64>("square", (3,)).unwrap();
        let result = result.callback(|_| panic!("told to panic"));
        assert!(matches!(result.get(), Err(Error::Callback(why)) if why == "told to panic"));
        assert_eq!(result.successful(), Some(false));
        let (sender, got) = channel();
        let result = pool
            .apply_async::<_, i64>("square", (4,))
            .unwrap()
            .callback(sending(&sender));
        assert_eq!((result.get().unwrap(), got.try_recv()), (16, Ok(16)));
    });
}

#[test]
fn a_slow_callback_holds_up_no_other_result() {
    isolated(|| {
        let pool = pool(1);
        let (go_on, gate) = channel::<()>();
        let slow = pool.apply_async::<_, i64>("square", (3,)).unwrap().callback(move |_| {
            let _ = gate.recv();
        });
        assert_eq!(pool.map::<_, i64>("square", 0..100).unwrap(), squares(100));
        assert!(!slow.ready());
        drop(go_on);
        assert_eq!(slow.get().unwrap(), 9);
    });
}

#[test]
fn a_callback_may_use_the_pool() {
    isolated(|| {
        let pool = Arc::new(pool(1));
        let (sender, got) = channel();
        let again = Arc::clone(&pool);
        let first = pool
            .apply_async::<_, i64>("square", (3,))
            .unwrap()
            .callback(move |nine| {
                let _ = sender.send(again.apply::<_, i64>("square", (nine,)));
            });
        first.wait();
        assert_eq!(got.recv_timeout(PATIENCE).unwrap().unwrap(), 81);
    });
}

/// Unparks its thread.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The simplest executor there is.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let begun = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody wakes the task");
        thread::park_timeout(PATIENCE);
    }
}

#[test]
fn a_result_is_a_future_of_no_particular_runtime() {
    isolated(|| {
        let (builder, gate) = Gate::before(builder(2));
        let (builder, lines) = listen(builder);
        let pool = builder.build().unwrap();
        let opener = thread::spawn(move || {
            lines.wait_for_begun();
            gate.open();
            gate
        });
        let five = block_on(async {
            let five: i64 = pool.apply_async("wait_for", ("/gate/open", 5))?.await?;
            let more: Vec<i64> = pool.map_async("square", [five])?.await?;
            assert_eq!(more, [25]);
            Ok::<_, Error>(five)
        });
        assert_eq!(five.unwrap(), 5);
        // The gate must not go before the guest has passed.
        drop(opener.join().unwrap());
        let error = task_error(block_on(pool.apply_async::<_, i64>("misbehave", ("panic",)).unwrap()));
        assert_eq!(error.kind, ErrorKind::Panic);
    });
}

#[test]
fn as_completed_yields_results_as_they_come() {
    isolated(|| {
        let (builder, gate) = Gate::before(builder(2));
        let (builder, lines) = listen(builder);
        let pool = builder.build().unwrap();
        let slow: AsyncResult<i64> = pool.apply_async("wait_for", ("/gate/open", -1)).unwrap();
        lines.wait_for_begun();
        let quick = (0..5).map(|x| pool.apply_async("square", (x,)).unwrap());
        let mut results = as_completed([slow].into_iter().chain(quick));
        let mut first: Vec<i64> = results.by_ref().take(5).map(|result| result.get().unwrap()).collect();
        first.sort_unstable();
        assert_eq!(first, squares(5));
        let timeout = results.next_timeout(Duration::from_millis(10));
        assert!(matches!(timeout, Err(Error::WaitTimeout(_))), "{timeout:?}");
        gate.open();
        assert_eq!(results.next_timeout(PATIENCE).unwrap().unwrap().get().unwrap(), -1);
        assert!(results.next_timeout(PATIENCE).unwrap().is_none());
        assert!(results.next().is_none());
    });
}

#[test]
fn imap_next_with_a_timeout_stops_waiting_and_can_be_asked_again() {
    isolated(|| {
        let (builder, gate) = Gate::before(builder(1));
        let pool = builder.on_output(|_| ()).build().unwrap();
        let mut results = pool.imap::<_, i64>("wait_at_the_gate", [7_i64, -1]).unwrap();
        let timeout = results.next_timeout(Duration::from_millis(50));
        assert!(matches!(timeout, Err(Error::WaitTimeout(_))), "{timeout:?}");
        gate.open();
        assert_eq!(results.next_timeout(PATIENCE).unwrap(), Some(7));
        // It goes on after an error, which stands where its input stood.
        assert_eq!(task_error(results.next_timeout(PATIENCE)).index, 1);
        assert_eq!(results.next_timeout(PATIENCE).unwrap(), None);
    });
}

#[test]
fn g_15_callers_set_how_far_imap_reads_ahead() {
    isolated(|| {
        let pool = pool(2);
        for ahead in [1, 7, 200] {
            let mut pulled = 0;
            let inputs = std::iter::repeat_with(|| {
                pulled += 1;
                pulled - 1
            });
            let mut results = pool.task("square").buffersize(ahead).imap::<_, i64>(inputs).unwrap();
            assert_eq!(results.next().unwrap().unwrap(), 0);
            drop(results);
            assert_eq!(pulled, ahead, "so many inputs are read for the first result");
        }
        let call = pool.task("square").buffersize(1);
        let results: Vec<i64> = call.imap(0..100).unwrap().collect::<wasmp::Result<_>>().unwrap();
        assert_eq!(results, squares(100));
    });
}

/// Cancels a result, which has to be `Cancelled` then.
#[track_caller]
fn cancel<R: std::fmt::Debug>(result: &AsyncResult<R>) {
    assert!(result.cancel());
    let error = task_error(result.get_timeout(PATIENCE));
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(error.message.contains("it was cancelled"), "{}", error.message);
    assert!(!result.cancel(), "it is over");
}

#[test]
fn g_20_a_running_task_is_cancelled_and_nothing_else() {
    isolated(|| {
        let (builder, lines) = listen(builder(2));
        let pool = builder.build().unwrap();
        for task in ["spin", "sleep"] {
            let before: Vec<u32> = workers(&pool).iter().map(|worker| worker.pid()).collect();
            let result = match task {
                "spin" => pool.apply_async::<_, ()>(task, ()).unwrap(),
                _ => pool.apply_async::<_, ()>(task, (600_000,)).unwrap(),
            };
            let slot = lines.wait_for_begun() as usize - 1;
            cancel(&result);
            assert_eq!(pool.map::<_, i64>("square", 0..100).unwrap(), squares(100));
            let after = eventually("the worker that ran it is replaced", || {
                let pids = pool.worker_pids();
                (pids.len() == 2 && !pids.contains(&before[slot])).then_some(pids)
            });
            assert_eq!(before[1 - slot], after[1 - slot], "the other is not");
        }
    });
}

#[test]
fn a_task_that_waits_for_a_worker_is_cancelled_at_no_cost() {
    isolated(|| {
        let (builder, gate) = Gate::before(builder(1));
        let (builder, lines) = listen(builder);
        let pool = builder.build().unwrap();
        let running: AsyncResult<i64> = pool.apply_async("wait_for", ("/gate/open", 1)).unwrap();
        lines.wait_for_begun();
        let pid = workers(&pool)[0].pid();
        let waiting: Vec<AsyncResult<i64>> = (0..100)
            .map(|x| pool.apply_async("spin_if_negative", (x - 50,)).unwrap())
            .collect();
        for result in &waiting[..60] {
            cancel(result);
        }
        gate.open();
        assert_eq!(running.get().unwrap(), 1);
        for (x, result) in waiting.iter().enumerate().skip(60) {
            assert_eq!(result.get_timeout(PATIENCE).unwrap(), x as i64 - 50);
        }
        assert_eq!(workers(&pool)[0].pid(), pid);
        assert!(!running.cancel(), "what is done cannot be cancelled");
    });
}

#[test]
fn a_map_is_cancelled_as_a_whole() {
    isolated(|| {
        let (builder, lines) = listen(builder(2));
        let pool = builder.build().unwrap();
        let call = pool.task("sleep").chunksize(Chunksize::Exact(8));
        let results: AsyncResult<Vec<()>> = call.map_async([600_000_u64; 100]).unwrap();
        lines.wait_for_begun();
        cancel(&results);
        assert_eq!(pool.map::<_, i64>("square", 0..100).unwrap(), squares(100));
        pool.close();
        assert!(pool.join_timeout(PATIENCE).unwrap(), "nothing of it runs any more");
    });
}

#[test]
fn px_26_a_pool_that_is_shut_down_without_waiting_completes_what_was_submitted() {
    isolated(|| {
        let (builder, gate) = Gate::before(builder(2));
        let pool = builder.on_output(|_| ()).build().unwrap();
        let workers = workers(&pool);
        let results: Vec<AsyncResult<i64>> = (0..10)
            .map(|value| pool.apply_async("wait_for", ("/gate/open", value)).unwrap())
            .collect();
        let begun = Instant::now();
        pool.shutdown(false);
        assert!(begun.elapsed() < PATIENCE / 4);
        assert!(!results[0].ready());
        gate.open();
        for (value, result) in results.iter().enumerate() {
            assert_eq!(result.get_timeout(PATIENCE).unwrap(), value as i64);
        }
        for worker in workers {
            worker.wait_until_gone();
        }
    });
}

#[test]
fn px_22_a_shutdown_waits_for_what_was_submitted() {
    isolated(|| {
        let pool: Pool = pool(2);
        let results: Vec<AsyncResult<i64>> = (0..50)
            .map(|x| pool.apply_async("slow_square", (x, 100)).unwrap())
            .collect();
        pool.shutdown(true);
        assert!(results.iter().all(AsyncResult::ready));
    });
}
