//! Multiplies two matrices, each process some rows: `wasmp run examples/matrix`. A number behind it is their size.

#![allow(clippy::print_stdout, reason = "the times are this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use wasmp_guest::{Array, Process, RawArray, Result, cpu_count, main, task};

/// One row of `a * b`.
fn multiply_row(a_row: &[f64], b: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; a_row.len()];
    // Line by line through `b`, as it lies in memory.
    for (x, b_row) in a_row.iter().zip(b.chunks_exact(a_row.len())) {
        for (sum, y) in sums.iter_mut().zip(b_row) {
            *sum += x * y;
        }
    }
    sums
}

/// These rows of `a * b`.
#[task]
fn multiply_rows(
    a: RawArray<f64>,
    b: RawArray<f64>,
    product: Array<f64>,
    size: usize,
    rows: Range<usize>,
) -> Result<()> {
    let a = a.read(rows.start * size..rows.end * size)?;
    let b = b.read(..)?;
    // The product is mapped, so that results go where they belong. Nobody else writes to these rows: no lock is needed.
    let product = product.map()?;
    let product = &product.atomics::<AtomicU64>()[rows.start * size..];
    for (a_row, product_row) in a.chunks_exact(size).zip(product.chunks_exact(size)) {
        for (number, sum) in product_row.iter().zip(multiply_row(a_row, &b)) {
            number.store(sum.to_bits(), Relaxed);
        }
    }
    Ok(())
}

/// Numbers between 0 and 1 that look random, and are the same each time.
fn random(count: usize, seed: u32) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state) / f64::from(u32::MAX)
    };
    (0..count).map(|_| next()).collect()
}

#[main]
fn main() -> Result<()> {
    let size: usize = std::env::args().nth(1).map_or(Ok(1000), |size| size.parse())?;
    let (a, b) = (random(size * size, 1), random(size * size, 2));

    let start = Instant::now();
    let expected: Vec<f64> = a.chunks_exact(size).flat_map(|a_row| multiply_row(a_row, &b)).collect();
    println!("{size}×{size}, sequential: {} ms", start.elapsed().as_millis());

    let start = Instant::now();
    let (a, b) = (RawArray::from_slice(&a)?, RawArray::from_slice(&b)?);
    let product = Array::new(size * size)?;
    let count = cpu_count()?.max(2);
    let mut processes = Vec::new();
    for number in 0..count {
        let rows = size * number / count..size * (number + 1) / count;
        processes.push(
            Process::new(multiply_rows)
                .args((&a, &b, &product, size, rows))
                .start()?,
        );
    }
    for process in &processes {
        process.join()?;
    }
    println!("{size}×{size}, {count} processes: {} ms", start.elapsed().as_millis());
    println!("the same product: {}", product.read(..)? == expected);
    Ok(())
}
