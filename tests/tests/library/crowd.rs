//! Very many items at once.

use std::time::{Duration, Instant};

use wasmp::{AsyncResult, ErrorKind};
use wasmp_tests::{Process, isolated};

use crate::common::{Gate, builder, close, listen, task_error};

/// Memory of this process, in bytes.
fn memory() -> u64 {
    let status = Process::open(std::process::id()).expect("this process").status("VmRSS");
    let kibibytes: u64 = status.split_whitespace().next().unwrap().parse().unwrap();
    kibibytes << 10
}

#[test]
fn a_million_items_wait_in_three_hundred_bytes_each() {
    isolated(|| {
        const ITEMS: usize = 1_000_000;
        // The CBOR of `(x,)` and the length in front of it.
        const PAYLOAD: u64 = 4 + 1 + 5;
        let (builder, gate) = Gate::before(builder(1));
        let (builder, lines) = listen(builder);
        let pool = builder.build().unwrap();
        let first: AsyncResult<i64> = pool.apply_async("wait_for", ("/gate/open", 1)).unwrap();
        lines.wait_for_begun();
        let square = pool.task("square");
        let mut results: Vec<AsyncResult<i64>> = Vec::with_capacity(ITEMS);
        let before = memory();
        results.extend((0..ITEMS as i64).map(|x| square.apply_async((x,)).unwrap()));
        let each = (memory() - before) / ITEMS as u64;
        assert!(each <= 300 + PAYLOAD, "{each} bytes each");
        gate.open();
        assert_eq!(first.get().unwrap(), 1);
        for (x, result) in results.iter().enumerate() {
            assert_eq!(result.get().unwrap(), (x * x) as i64);
        }
        drop(results);
        close(&pool);
    });
}

#[test]
fn ten_thousand_waiting_items_are_terminated_at_once() {
    isolated(|| {
        let pool = builder(2).on_output(|_| ()).build().unwrap();
        let results: Vec<AsyncResult<()>> = (0..10_000)
            .map(|_| pool.apply_async("sleep", (600_000,)).unwrap())
            .collect();
        let begun = Instant::now();
        pool.terminate();
        let took = begun.elapsed();
        for result in &results {
            assert_eq!(task_error(result.get()).kind, ErrorKind::Cancelled);
        }
        // Milliseconds, on a machine that does nothing else.
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
    });
}
