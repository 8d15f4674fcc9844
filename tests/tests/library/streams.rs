//! Many items: `imap`, `imap_unordered` and `stream`, which read only so far ahead as keeps the workers busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmp::{Chunksize, Error, ErrorKind, Order};
use wasmp_tests::isolated;

use crate::common::{Gate, Touchy, builder, close, listen, pool, task_error};

#[test]
fn imap_gives_results_in_the_order_of_the_inputs() {
    isolated(|| {
        let pool = pool(2);
        for chunksize in [
            Chunksize::Adaptive,
            Chunksize::Python,
            Chunksize::Exact(1),
            Chunksize::Exact(100),
        ] {
            let results = pool
                .task("square")
                .chunksize(chunksize)
                .imap::<_, i64>(0..5000)
                .unwrap();
            let results: Vec<i64> = results.map(Result::unwrap).collect();
            assert_eq!(results, (0..5000).map(|x| x * x).collect::<Vec<i64>>(), "{chunksize:?}");
        }
    });
}

#[test]
fn pl_14_imap_unordered_gives_the_same_results_in_any_order() {
    isolated(|| {
        let pool = pool(4);
        for chunksize in [Chunksize::Adaptive, Chunksize::Exact(53)] {
            let results = pool
                .task("square")
                .chunksize(chunksize)
                .imap_unordered::<_, i64>(0..5000)
                .unwrap();
            let mut results: Vec<i64> = results.map(Result::unwrap).collect();
            results.sort_unstable();
            assert_eq!(results, (0..5000).map(|x| x * x).collect::<Vec<i64>>(), "{chunksize:?}");
        }
    });
}

#[test]
fn imap_unordered_does_not_wait_for_a_slow_neighbour_and_imap_does() {
    isolated(|| {
        for order in [Order::Input, Order::Completion] {
            let (builder, lines) = listen(builder(2));
            let (builder, gate) = Gate::before(builder);
            let pool = builder.build().unwrap();
            let (mut inputs, mut results) = pool.task("wait_for").stream::<(&str, i64), i64>(order).unwrap();
            inputs.submit(&("/gate/open", 0)).unwrap();
            lines.wait_for_begun();
            // This one is there already, for whoever is allowed to see it.
            inputs.submit(&("/gate", 1)).unwrap();
            lines.wait_for_begun();
            drop(inputs);
            if order == Order::Completion {
                assert_eq!(
                    results.next().map(|(index, result)| (index, result.unwrap())),
                    Some((1, 1))
                );
            } else {
                pool.apply::<_, i64>("wait_for", ("/gate", 2)).unwrap();
                assert!(results.try_next().is_none());
            }
            gate.open();
            let rest: Vec<_> = results.map(|(index, result)| (index, result.unwrap())).collect();
            let expected = if order == Order::Completion {
                vec![(0, 0)]
            } else {
                vec![(0, 0), (1, 1)]
            };
            assert_eq!(rest, expected);
        }
    });
}

#[test]
fn no_item_waits_behind_a_slow_neighbour_while_a_worker_is_idle() {
    isolated(|| {
        let (builder, gate) = Gate::before(builder(2).on_output(|_| ()));
        let pool = builder.build().unwrap();
        let call = pool.task("wait_for").chunksize(Chunksize::Exact(1));
        // Quick items, so that each worker is trusted with many at a time.
        call.starmap::<_, i64>(std::iter::repeat_n(("/gate", 0), 5000)).unwrap();
        let (mut inputs, results) = call.stream::<(&str, i64), i64>(Order::Completion).unwrap();
        let submitter = std::thread::spawn(move || {
            inputs.submit(&("/gate/open", 0)).unwrap();
            for value in 1..=200 {
                inputs.submit(&("/gate", value)).unwrap();
            }
        });
        let mut results = results.map(|(_, result)| result.unwrap());
        let mut quick: Vec<i64> = results.by_ref().take(200).collect();
        quick.sort_unstable();
        assert_eq!(quick, (1..=200).collect::<Vec<i64>>());
        gate.open();
        assert_eq!(results.next(), Some(0));
        submitter.join().unwrap();
    });
}

#[test]
fn pl_13_imap_delivers_what_came_before_an_input_that_cannot_be_sent() {
    isolated(|| {
        let pool = pool(2);
        let inputs = || (0..10).map(|x| Touchy(if x == 6 { -1 } else { x }));
        let mut results = pool.imap::<_, i64>("square", inputs()).unwrap();
        for x in 0..6 {
            assert_eq!(results.next().unwrap().unwrap(), x * x);
        }
        assert!(matches!(results.next(), Some(Err(Error::Encode(why))) if why.contains("it is negative")));
        assert!(results.next().is_none());
        // An item that fails in its worker is not the last, though.
        let inputs = ["fine", "error", "fine"];
        let results: Vec<_> = pool
            .imap::<_, i64>("misbehave", inputs)
            .unwrap()
            .map(|result| result.ok())
            .collect();
        assert_eq!(results, [Some(1), None, Some(1)]);
    });
}

#[test]
fn pl_15_imap_unordered_gives_only_expected_values_before_an_input_that_cannot_be_sent() {
    isolated(|| {
        let pool = pool(2);
        let inputs = (0..10).map(|x| Touchy(if x == 6 { -1 } else { x }));
        let mut values = Vec::new();
        let mut failures = 0;
        for result in pool.imap_unordered::<_, i64>("square", inputs).unwrap() {
            match result {
                Ok(value) => values.push(value),
                Err(Error::Encode(_)) => failures += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        values.sort_unstable();
        assert_eq!((values, failures), (vec![0, 1, 4, 9, 16, 25], 1));
    });
}

#[test]
fn g_15_imap_reads_only_so_far_ahead() {
    isolated(|| {
        let pool = builder(2).on_output(|_| ()).build().unwrap();
        let pulled = AtomicU64::new(0);
        let inputs = (0..100_000).map(|_| {
            pulled.fetch_add(1, Ordering::Relaxed);
            1_u64
        });
        let mut results = pool.imap::<_, ()>("sleep", inputs).unwrap();
        for taken in 1..20 {
            results.next().unwrap().unwrap();
            let ahead = pulled.load(Ordering::Relaxed) - taken;
            assert!(ahead <= 16, "{ahead} inputs ahead of tasks that take a millisecond");
        }
    });
}

#[test]
fn endless_inputs_are_no_trouble() {
    isolated(|| {
        let pool = pool(2);
        let results: Vec<i64> = pool
            .imap::<_, i64>("square", 0..)
            .unwrap()
            .take(3000)
            .map(Result::unwrap)
            .collect();
        assert_eq!(results, (0..3000).map(|x| x * x).collect::<Vec<i64>>());
        // What had been read ahead went with the iterator.
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        close(&pool);
    });
}

#[test]
fn submit_waits_for_room_and_goes_on_when_results_are_taken() {
    isolated(|| {
        let pool = pool(2);
        let (mut inputs, mut results) = pool.task("square").stream::<(i64,), i64>(Order::Input).unwrap();
        let submitted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&submitted);
        let submitter = std::thread::spawn(move || {
            for x in 0..50_000 {
                assert_eq!(inputs.submit(&(x,)).unwrap(), x as u64);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        for x in 0..50_000 {
            let (index, result) = results.next().unwrap();
            assert_eq!((index, result.unwrap()), (x, (x * x) as i64));
            // However quick the tasks are, two full windows of both workers are enough.
            let ahead = submitted.load(Ordering::Relaxed).saturating_sub(x);
            assert!(ahead <= 20_000, "{ahead} ahead");
        }
        submitter.join().unwrap();
        assert!(results.next().is_none());
    });
}

#[test]
fn dropping_the_results_wakes_who_waits_to_submit() {
    isolated(|| {
        let pool = builder(1).on_output(|_| ()).build().unwrap();
        let (mut inputs, results) = pool.task("sleep").stream::<(u64,), ()>(Order::Input).unwrap();
        let submitter = std::thread::spawn(move || {
            loop {
                if let Err(error) = inputs.submit(&(1,)) {
                    return error;
                }
            }
        });
        drop(results);
        assert!(matches!(submitter.join().unwrap(), Error::NotRunning));
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        close(&pool);
    });
}

#[test]
fn terminate_gives_every_open_input_of_a_stream_its_outcome() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        let (mut inputs, results) = pool
            .task("spin_if_negative")
            .stream::<(i64,), i64>(Order::Input)
            .unwrap();
        inputs.submit(&(-1,)).unwrap();
        inputs.submit(&(1,)).unwrap();
        lines.wait_for_begun();
        pool.terminate();
        let kinds: Vec<_> = results
            .map(|(index, result)| (index, task_error(result).kind))
            .collect();
        assert_eq!(kinds, [(0, ErrorKind::Cancelled), (1, ErrorKind::Cancelled)]);
    });
}

#[test]
fn a_slow_producer_gets_each_result_at_once() {
    isolated(|| {
        let pool = pool(2);
        let (mut inputs, mut results) = pool.task("square").stream::<(i64,), i64>(Order::Input).unwrap();
        for x in 0..200 {
            inputs.submit(&(x,)).unwrap();
            // The next input comes only after this result: nothing may wait for a batch to fill.
            assert_eq!(results.next().map(|(_, result)| result.unwrap()), Some(x * x));
        }
    });
}

#[test]
fn several_streams_share_a_pool() {
    isolated(|| {
        let pool = pool(2);
        let streams: Vec<_> = (0..4_i64)
            .map(|at| pool.imap::<_, i64>("square", at..at + 2000).unwrap())
            .collect();
        for (at, stream) in (0..).zip(streams) {
            let results: Vec<i64> = stream.map(Result::unwrap).collect();
            assert_eq!(results, (at..at + 2000).map(|x| x * x).collect::<Vec<i64>>());
        }
    });
}

/// Most memory that this process has had resident so far, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn a_long_stream_takes_constant_memory() {
    isolated(|| {
        let pool = pool(2);
        let run = |count: i64| {
            let texts = (0..count).map(|number| format!("{number:0>100}"));
            let mut seen = 0;
            for (number, result) in (0..).zip(pool.imap::<_, String>("echo", texts).unwrap()) {
                assert_eq!(result.unwrap(), format!("{number:0>100}"));
                seen += 1;
            }
            assert_eq!(seen, count);
        };
        run(40_000);
        let before = peak_memory();
        run(400_000);
        let grown = peak_memory() - before;
        // All of it would be 40 MB, twice.
        assert!(grown < 8 << 10, "{grown} KiB more for ten times as many items");
    });
}

#[test]
fn inputs_and_results_may_be_handled_by_different_threads() {
    isolated(|| {
        let pool = pool(2);
        let (mut inputs, results) = pool.task("add").stream::<(i64, i64), i64>(Order::Completion).unwrap();
        let consumer =
            std::thread::spawn(move || results.map(|(index, sum)| (index, sum.unwrap())).collect::<Vec<_>>());
        for x in 0..5000 {
            inputs.submit(&(x, x)).unwrap();
            if x % 1000 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        drop(inputs);
        let mut sums = consumer.join().unwrap();
        sums.sort_unstable();
        assert_eq!(sums, (0..5000).map(|x| (x as u64, 2 * x)).collect::<Vec<_>>());
    });
}
