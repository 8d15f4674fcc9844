//! Deadlines, memory, and messages of every size.

use std::time::{Duration, Instant};

use serde_bytes::{ByteBuf, Bytes};
use wasmp::{Chunksize, Error, ErrorKind, Isolation, ModuleError, Platform, Pool, Retry};
use wasmp_tests::isolated;

use crate::common::{builder, close, listen, pool, task_error, worker, workers};

#[test]
fn a_deadline_kills_its_item_and_nothing_else() {
    isolated(|| {
        let pool = builder(2).on_output(|_| ()).build().unwrap();
        let call = pool
            .task("misbehave")
            .timeout(Duration::from_millis(300))
            .chunksize(Chunksize::Exact(4));
        let inputs = ["fine", "fine", "loop", "fine", "fine", "fine", "fine", "loop"];
        let results: Vec<wasmp::Result<i64>> = call.imap(inputs).unwrap().collect();
        for (index, (input, result)) in inputs.into_iter().zip(results).enumerate() {
            if input == "fine" {
                assert_eq!(result.unwrap(), 1);
            } else {
                let error = task_error(result);
                assert_eq!((error.kind, error.index), (ErrorKind::Timeout, index as u64));
                assert!(error.message.contains("300ms"), "{}", error.message);
            }
        }
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
    });
}

#[test]
fn a_deadline_counts_from_when_its_item_begins() {
    isolated(|| {
        // Each item takes a third of its time limit, and each waits for all those before it.
        let pool = builder(1)
            .timeout(Duration::from_millis(600))
            .on_output(|_| ())
            .build()
            .unwrap();
        for chunksize in [Chunksize::Exact(1), Chunksize::Exact(6)] {
            pool.task("sleep")
                .chunksize(chunksize)
                .map::<_, ()>([200_u64; 6])
                .unwrap();
        }
    });
}

#[test]
fn a_deadline_ends_a_guest_that_sleeps() {
    isolated(|| {
        let pool = builder(1).on_output(|_| ()).build().unwrap();
        let started = Instant::now();
        let call = pool.task("sleep").timeout(Duration::from_millis(100));
        assert_eq!(task_error(call.apply::<_, ()>((600_000_u64,))).kind, ErrorKind::Timeout);
        assert!(started.elapsed() >= Duration::from_millis(100));
    });
}

#[test]
fn the_deadline_of_one_call_is_not_that_of_another() {
    isolated(|| {
        let (builder, lines) = listen(builder(2));
        let pool = builder.build().unwrap();
        let short = pool
            .task("spin")
            .timeout(Duration::from_millis(100))
            .apply_async::<_, ()>(())
            .unwrap();
        let long = pool.apply_async::<_, ()>("sleep", (500_u64,)).unwrap();
        lines.wait_for_begun();
        lines.wait_for_begun();
        assert_eq!(task_error(short.get()).kind, ErrorKind::Timeout);
        long.get().unwrap();
    });
}

#[test]
fn a_worker_that_was_killed_at_a_deadline_is_replaced() {
    isolated(|| {
        let pool = builder(1).on_output(|_| ()).build().unwrap();
        let mut pids = vec![worker(&pool).pid()];
        for _ in 0..10 {
            let call = pool.task("misbehave").timeout(Duration::from_millis(20));
            let error = task_error(call.apply::<_, i64>(("loop",)));
            assert_eq!((error.kind, error.pid), (ErrorKind::Timeout, *pids.last().unwrap()));
            assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
            pids.push(worker(&pool).pid());
        }
        assert!(pids.windows(2).all(|pair| pair[0] != pair[1]));
    });
}

/// A pool whose tasks are stopped after so long.
fn stopping(after: Duration) -> (Pool, crate::common::Lines) {
    let (builder, lines) = listen(builder(1).soft_timeout(after));
    (builder.build().unwrap(), lines)
}

#[test]
fn a_soft_deadline_says_where_the_task_was_stuck_and_keeps_the_worker() {
    isolated(|| {
        let limit = Duration::from_millis(50);
        let (pool, _lines) = stopping(limit);
        let pid = worker(&pool).pid();
        let error = task_error(pool.apply::<_, ()>("spin", ()));
        assert_eq!(error.kind, ErrorKind::Timeout);
        assert_eq!(error.message, "ran longer than 50ms and was stopped");
        let backtrace = error.backtrace.expect("where it was");
        assert!(backtrace.contains("spin"), "{backtrace}");
        // It counts from when each item begins.
        let results: Vec<()> = pool
            .task("sleep")
            .chunksize(Chunksize::Exact(10))
            .map([10_u64; 20])
            .unwrap();
        assert_eq!(results.len(), 20);
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        assert_eq!(worker(&pool).pid(), pid);
    });
}

#[test]
fn a_soft_deadline_stops_a_loop_in_the_very_function_that_took_the_item() {
    isolated(|| {
        // Compiled code looks up its deadline when a function begins, which is before there is an item.
        let module = r#"(module
            (import "wasmp_v1" "task_next" (func $next (param i32 i32) (result i64)))
            (memory (export "memory") 1)
            (func (export "wasmp_task_raw")
                (drop (call $next (i32.const 0) (i32.const 1024)))
                (loop $forever (br $forever))))"#;
        let pool = Pool::builder(module.as_bytes().to_vec())
            .processes(1)
            .soft_timeout(Duration::from_millis(50))
            .build()
            .unwrap();
        let pid = worker(&pool).pid();
        for _ in 0..2 {
            let error = task_error(pool.apply::<_, i64>("raw", ()));
            assert_eq!((error.kind, error.pid), (ErrorKind::Timeout, pid));
            assert_eq!(error.message, "ran longer than 50ms and was stopped");
        }
    });
}

#[test]
fn a_soft_deadline_ends_what_a_guest_waits_for() {
    isolated(|| {
        let (pool, _lines) = stopping(Duration::from_millis(50));
        let pid = worker(&pool).pid();
        let error = task_error(pool.apply::<_, ()>("sleep", (600_000,)));
        assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
        assert!(error.backtrace.expect("where it was").contains("sleep"));
        assert_eq!(worker(&pool).pid(), pid);

        let pool = Pool::builder(wasmp_tests::objects())
            .processes(1)
            .soft_timeout(Duration::from_millis(50))
            .build()
            .unwrap();
        let pid = worker(&pool).pid();
        let queue = wasmp::Queue::<i64>::new(0).unwrap();
        let error = task_error(pool.apply::<_, Vec<i64>>("queue_get", (&queue, 1, None::<u64>)));
        assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
        queue.put(3).unwrap();
        assert_eq!(
            pool.apply::<_, Vec<i64>>("queue_get", (&queue, 1, None::<u64>))
                .unwrap(),
            [3]
        );
        assert_eq!(worker(&pool).pid(), pid);
    });
}

#[test]
fn a_hard_deadline_and_retries_go_with_a_soft_one() {
    isolated(|| {
        let (pool, lines) = stopping(Duration::from_millis(20));
        let again = pool.task("spin").retry(Retry::times(2).on_timeout());
        let error = task_error(again.apply::<_, ()>(()));
        assert_eq!((error.kind, error.attempt), (ErrorKind::Timeout, 3));
        for _ in 0..3 {
            lines.wait_for_begun();
        }
        let pid = worker(&pool).pid();
        let hard = pool.task("spin").timeout(Duration::from_millis(5));
        let error = task_error(hard.apply::<_, ()>(()));
        assert!(error.message.contains("5ms and was killed"), "{error}");
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        assert_ne!(worker(&pool).pid(), pid);
    });
}

#[test]
fn the_memory_limit_is_that_of_an_instance() {
    isolated(|| {
        let pool = builder(1).max_memory(64 << 20).on_output(|_| ()).build().unwrap();
        assert_eq!(pool.apply::<_, i64>("allocate", (40,)).unwrap(), 40);
        let error = task_error(pool.apply::<_, i64>("allocate", (100,)));
        assert_eq!(error.kind, ErrorKind::MemoryLimit);
        assert!(error.message.contains("64 MiB are allowed"), "{}", error.message);
        // The next instance starts from nothing.
        assert_eq!(pool.apply::<_, i64>("allocate", (40,)).unwrap(), 40);
    });
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run here has to say so")]
fn the_memory_of_all_workers_together_is_limited_where_the_system_lets_it() {
    isolated(|| {
        let pool = builder(2).max_total_memory(96 << 20).on_output(|_| ()).build().unwrap();
        let pids = workers(&pool).iter().map(wasmp_tests::Process::pid).collect::<Vec<_>>();
        let group = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let ours = format!("/wasmp-{}-", std::process::id());
        if !Platform::probe().cgroup_delegated {
            eprintln!("no control groups can be made here: only that it makes no difference is tested");
            assert!(pids.iter().all(|pid| !group(*pid).contains(&ours)));
            assert_eq!(pool.apply::<_, i64>("allocate", (200,)).unwrap(), 200);
            return;
        }
        assert!(pids.iter().all(|pid| group(*pid).contains(&ours)));
        assert_eq!(pool.apply::<_, i64>("allocate", (40,)).unwrap(), 40);
        let error = task_error(pool.apply::<_, i64>("allocate", (200,)));
        assert_eq!(error.kind, ErrorKind::WorkerLost);
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
    });
}

#[test]
fn a_result_beyond_the_limit_of_a_message_fails_its_item() {
    isolated(|| {
        let pool = builder(1).max_message(1000).build().unwrap();
        let (long, short) = ("x".repeat(1000), "x".repeat(990));
        let error = task_error(pool.apply::<_, String>("echo", (&long,)));
        assert_eq!(error.kind, ErrorKind::TooLarge);
        assert!(error.message.contains("at most 1000 are allowed"), "{}", error.message);
        assert_eq!(pool.apply::<_, String>("echo", (&short,)).unwrap(), short);
    });
}

#[test]
fn without_a_limit_a_guest_may_use_more_than_a_gibibyte() {
    isolated(|| {
        let pool = pool(1);
        assert_eq!(pool.apply::<_, i64>("allocate", (1200,)).unwrap(), 1200);
    });
}

#[test]
fn a_module_that_starts_beyond_the_limit_fails_its_items() {
    isolated(|| {
        let wat = r#"(module (memory 1000) (func (export "one") (result i32) (i32.const 1)))"#;
        let pool = Pool::builder(wat.as_bytes().to_vec())
            .processes(1)
            .max_memory(1 << 20)
            .build()
            .unwrap();
        for _ in 0..3 {
            assert_eq!(task_error(pool.apply::<_, i32>("one", ())).kind, ErrorKind::MemoryLimit);
        }
        close(&pool);
    });
}

#[test]
fn tables_are_limited_too() {
    isolated(|| {
        let wat = r#"(module (table $t 0 funcref) (func (export "grow") (param i32) (result i32)
            (table.grow $t (ref.null func) (local.get 0))))"#;
        let pool = Pool::builder(wat.as_bytes().to_vec()).processes(1).build().unwrap();
        assert_eq!(pool.apply::<_, i32>("grow", (1000,)).unwrap(), 0);
        assert_eq!(pool.apply::<_, i32>("grow", (1_000_000_000,)).unwrap(), -1);
    });
}

const SIZES: [usize; 12] = [
    0,
    1,
    23,
    4095,
    65_000,
    65_536,
    65_600,
    131_000,
    131_072,
    300_000,
    (8 << 20) + 1,
    64 << 20,
];

#[test]
fn arguments_of_every_size_arrive() {
    isolated(|| {
        let pool = pool(2);
        let bytes: Vec<u8> = (0..*SIZES.last().unwrap()).map(|at| (at % 251) as u8).collect();
        for len in SIZES {
            let checked: (usize, bool) = pool.apply("check_bytes", (Bytes::new(&bytes[..len]),)).unwrap();
            assert_eq!(checked, (len, true));
        }
    });
}

#[test]
fn results_of_every_size_arrive() {
    isolated(|| {
        let pool = pool(2);
        for len in SIZES {
            let bytes: ByteBuf = pool.apply("make_bytes", (len,)).unwrap();
            assert_eq!(bytes.len(), len);
            assert!(
                bytes.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8),
                "{len} bytes"
            );
        }
    });
}

#[test]
fn large_and_small_items_share_their_workers() {
    isolated(|| {
        let pool = pool(2);
        let lens: Vec<usize> = SIZES
            .into_iter()
            .filter(|len| *len < 1 << 20)
            .cycle()
            .take(200)
            .collect();
        for chunksize in [Chunksize::Adaptive, Chunksize::Exact(7)] {
            let results: Vec<ByteBuf> = pool.task("make_bytes").chunksize(chunksize).map(lens.iter()).unwrap();
            assert_eq!(results.iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), lens);
            let inputs = results.iter().map(|bytes| Bytes::new(bytes));
            let checked: Vec<(usize, bool)> = pool.task("check_bytes").chunksize(chunksize).map(inputs).unwrap();
            assert_eq!(checked, lens.iter().map(|len| (*len, true)).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_worker_that_dies_with_a_large_argument_half_read_costs_one_item() {
    isolated(|| {
        let pool = pool(1);
        let bytes = vec![7; 64 << 20];
        for _ in 0..5 {
            let victim = worker(&pool);
            let large = pool
                .apply_async::<_, (usize, bool)>("check_bytes", (Bytes::new(&bytes),))
                .unwrap();
            let small = pool.apply_async::<_, i64>("square", (3,)).unwrap();
            victim.kill();
            // Whether it had begun by then is a matter of luck; whether it is answered is not.
            match large.get() {
                Ok(checked) => assert_eq!(checked, (bytes.len(), false)),
                error => assert_eq!(task_error(error).kind, ErrorKind::WorkerLost),
            }
            assert_eq!(small.get().unwrap(), 9);
            workers(&pool);
        }
    });
}

#[test]
fn much_output_is_passed_on_whole_while_the_listener_is_slow() {
    isolated(|| {
        let (sender, lines) = std::sync::mpsc::sync_channel(0);
        let pool = builder(1)
            .on_output(move |output| {
                let _ = sender.send(output.line.len());
            })
            .build()
            .unwrap();
        // More than may wait: the guest has to.
        let printed = pool.apply_async::<_, ()>("print_lines", (1_000_000_u32,)).unwrap();
        let mut bytes = 0;
        for number in 0..1_000_000 {
            let len = lines.recv().unwrap();
            assert_eq!(len, format!("line {number}\n").len());
            bytes += len;
            if number == 0 {
                assert!(!printed.ready(), "12 MB cannot all wait");
            }
        }
        printed.get().unwrap();
        assert_eq!(bytes, 11_888_890);
    });
}

#[test]
fn an_item_that_prints_too_much_fails_and_its_neighbours_do_not() {
    isolated(|| {
        let (builder, lines) = listen(builder(2).max_output(10_000));
        let pool = builder.build().unwrap();
        let flood = pool.apply_async::<_, ()>("print_lines", (u32::MAX,)).unwrap();
        let few: Vec<()> = pool.map("print_lines", [10_u32; 50]).unwrap();
        assert_eq!(few.len(), 50);
        let error = task_error(flood.get());
        drop(flood);
        assert_eq!(error.kind, ErrorKind::OutputLimit);
        assert_eq!(
            error.message,
            "printed more than 10000 bytes, which is all that is allowed"
        );
        // It counts anew for each item, in an instance that goes on.
        let much: Vec<()> = pool.map("print_lines", [800_u32; 20]).unwrap();
        assert_eq!(much.len(), 20);
        close(&pool);
        drop(pool);
        let printed = |lines: u32| (0..lines).map(|line| format!("line {line}\n").len()).sum::<usize>();
        let bytes: usize = lines.rest().iter().map(|line| line.text.len()).sum();
        assert_eq!(bytes, 10_000 + 50 * printed(10) + 20 * printed(800));
    });
}

#[test]
fn an_item_that_computes_too_much_fails_and_its_neighbours_do_not() {
    isolated(|| {
        let pool = builder(1).fuel(5_000_000).on_output(|_| ()).build().unwrap();
        let pid = worker(&pool).pid();
        let inputs = ["fine", "fine", "loop", "fine", "fine", "fine", "fine", "loop"];
        let call = pool.task("misbehave").chunksize(Chunksize::Exact(4));
        let results: Vec<wasmp::Result<i64>> = call.imap(inputs).unwrap().collect();
        for (index, (input, result)) in inputs.into_iter().zip(results).enumerate() {
            if input == "fine" {
                assert_eq!(result.unwrap(), 1);
            } else {
                let error = task_error(result);
                assert_eq!((error.kind, error.index), (ErrorKind::FuelLimit, index as u64));
                assert_eq!(error.message, "computed more than 5000000 units of fuel allow");
                let backtrace = error.backtrace.expect("where it was");
                assert!(backtrace.contains("misbehave"), "{backtrace}");
            }
        }
        // Each item has as much, however many there are in a chunk, and the worker goes on.
        let squares: Vec<i64> = pool
            .task("slow_square")
            .chunksize(Chunksize::Exact(500))
            .starmap((0..500).map(|x| (x, 100_u32)))
            .unwrap();
        assert_eq!(squares, (0..500).map(|x| x * x).collect::<Vec<_>>());
        assert_eq!(worker(&pool).pid(), pid);
    });
}

#[test]
fn fuel_counts_the_same_in_every_run() {
    isolated(|| {
        // The number of rounds that fit is found by halving, and is the same in another worker.
        let fits = |pool: &Pool| {
            let (mut fits, mut fails) = (0_u32, 1_u32 << 20);
            while fits + 1 < fails {
                let rounds = fits + (fails - fits) / 2;
                match pool.apply::<_, i64>("slow_square", (3, rounds)) {
                    Ok(nine) => {
                        assert_eq!(nine, 9);
                        fits = rounds;
                    }
                    error => {
                        assert_eq!(task_error(error).kind, ErrorKind::FuelLimit);
                        fails = rounds;
                    }
                }
            }
            fits
        };
        let build = || builder(1).fuel(1_000_000).isolation(Isolation::Task).build().unwrap();
        let most = fits(&build());
        assert!((1..1000).contains(&most), "{most}");
        assert_eq!(fits(&build()), most);
    });
}

#[test]
fn commands_and_plain_functions_and_initializers_have_fuel_too() {
    isolated(|| {
        let plain = r#"(module (func (export "f") (param i64) (result i64)
            (loop $l (br_if $l (i64.eqz (local.get 0)))) (local.get 0)))"#;
        let fueled = |module: &str| Pool::builder(module.as_bytes().to_vec()).processes(1).fuel(10_000);
        let pool = fueled(plain).build().unwrap();
        assert_eq!(task_error(pool.apply::<_, i64>("f", (0,))).kind, ErrorKind::FuelLimit);
        assert_eq!(pool.apply::<_, i64>("f", (7,)).unwrap(), 7);

        let command = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))"#;
        let error = task_error(fueled(command).exec(std::io::empty()));
        assert_eq!(error.kind, ErrorKind::FuelLimit);

        let start =
            r#"(module (func $s (loop $l (br $l))) (start $s) (func (export "one") (result i32) (i32.const 1)))"#;
        let pool = fueled(start).build().unwrap();
        assert_eq!(task_error(pool.apply::<_, i32>("one", ())).kind, ErrorKind::FuelLimit);

        let pool = builder(1)
            .fuel(5_000_000)
            .on_output(|_| ())
            .initializer("misbehave", ("loop",));
        let broken = pool.build().unwrap().apply::<_, i64>("square", (3,)).unwrap_err();
        assert!(broken.to_string().contains("units of fuel"), "{broken}");
    });
}

#[test]
fn a_flood_of_output_is_cut_to_its_rate_and_what_is_dropped_is_counted() {
    isolated(|| {
        const LINES: u32 = 200_000;
        let (builder, lines) = listen(builder(2).output_rate(20_000));
        let pool = builder.build().unwrap();
        pool.apply::<_, ()>("print_lines", (LINES,)).unwrap();
        close(&pool);
        drop(pool);
        let (mut passed, mut dropped) = (0, 0);
        for line in lines.rest() {
            match line.text.strip_prefix("wasmp: ") {
                None => passed += line.text.len(),
                Some(note) => {
                    assert_eq!(line.stream, wasmp::Stream::Stderr);
                    assert!(note.ends_with(" bytes dropped: more than 20000 bytes a second are not passed on\n"));
                    dropped += note.split(' ').next().unwrap().parse::<usize>().unwrap();
                }
            }
        }
        let printed: usize = (0..LINES).map(|line| format!("line {line}\n").len()).sum();
        assert_eq!(passed + dropped, printed);
        assert!(passed >= 20_000 && dropped > 0, "{passed} of {printed}");
    });
}

#[test]
fn a_guest_may_have_so_many_files_open_and_its_neighbours_do_not_notice() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "text").unwrap();
        let pool = builder(2)
            .dir(wasmp::DirGrant::read_only(folder.path(), "d"))
            .build()
            .unwrap();
        let greedy = pool
            .apply_async::<_, (usize, String)>("open_files", ("d/file", 100_000))
            .unwrap();
        let texts: Vec<String> = pool.map("read_file", ["d/file"; 200]).unwrap();
        assert!(texts.iter().all(|text| text == "text"));
        let (opened, error) = greedy.get().unwrap();
        assert!((500..1152).contains(&opened), "{opened}: {error}");
        assert!(error.contains("os error"), "{error}");
        // They are closed when the task drops them.
        assert_eq!(pool.apply::<_, String>("read_file", ("d/file",)).unwrap(), "text");
    });
}

#[test]
fn compiling_has_limits_of_its_own() {
    isolated(|| {
        // Of no interest to anybody else, so that it is in no cache.
        let module = format!(
            r#"(module (func (export "f") (result i64) (i64.const {})) {})"#,
            std::process::id(),
            r#"(func (param i64) (result i64) (i64.mul (local.get 0) (i64.const 3)))"#.repeat(2_000)
        );
        let build = |timeout| {
            Pool::builder(module.as_bytes().to_vec())
                .processes(1)
                .compile_timeout(timeout)
                .build()
        };
        match build(Duration::from_nanos(1)) {
            Err(Error::Module(ModuleError::Compile { message, .. })) => {
                assert_eq!(message, "the compiler took longer than 1ns and was stopped");
            }
            other => panic!("{other:?}"),
        }
        let pool = build(Duration::from_secs(60)).unwrap();
        assert_eq!(pool.apply::<_, i64>("f", ()).unwrap(), i64::from(std::process::id()));
    });
}

#[test]
fn a_deterministic_task_does_the_same_in_every_run() {
    isolated(|| {
        type Chance = (u128, u128, Vec<i64>);
        let run = || {
            let pool = builder(2).deterministic(true).build().unwrap();
            let outcomes: Vec<Chance> = pool.task("chance").starmap([(); 20]).unwrap();
            assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "all items alike");
            // Nor does it matter what ran before.
            assert_eq!(pool.apply::<_, i64>("count", ()).unwrap(), 1);
            assert_eq!(pool.apply::<_, i64>("count", ()).unwrap(), 1);
            outcomes[0].clone()
        };
        let (time, slept, order) = run();
        assert_eq!((time, slept, order.clone()), run());
        assert!(time < 1_000_000, "{time} ns after 1970");
        assert!((3_600_000_000_000..3_600_001_000_000).contains(&slept), "{slept} ns");
        assert_eq!(order.len(), 100);
    });
}

#[test]
fn deterministic_tasks_know_one_nan_only() {
    isolated(|| {
        let module = r#"(module (func (export "nan") (param f64 f64) (result i64)
            (i64.reinterpret_f64 (f64.div (local.get 0) (local.get 1)))))"#;
        let pool = Pool::builder(module.as_bytes().to_vec())
            .processes(1)
            .deterministic(true)
            .build()
            .unwrap();
        for numbers in [(0.0, 0.0), (f64::INFINITY, f64::INFINITY), (-f64::NAN, 1.0)] {
            assert_eq!(
                pool.apply::<_, i64>("nan", numbers).unwrap(),
                0x7ff8_0000_0000_0000,
                "{numbers:?}"
            );
        }
        close(&pool);
    });
}
