//! What more processes gain: `wasmp run examples/scaling`. A number behind it says how far the primes are counted.

#![allow(clippy::print_stdout, reason = "the table is this program's output")]

use std::time::Instant;

use wasmp_guest::{Pool, Result, cpu_count, main, task};

/// How many pieces the work is in: enough to keep every process busy to the end.
const PIECES: u64 = 64;

/// Counts the primes from `start` up to, but not including, `end`.
#[task]
fn count_primes(start: u64, end: u64) -> u64 {
    (start..end).filter(|&number| is_prime(number)).count() as u64
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

#[main]
fn main() -> Result<()> {
    let below = std::env::args().nth(1).map_or(Ok(2_000_000), |below| below.parse())?;
    let pieces = (0..PIECES).map(|piece| (below * piece / PIECES, below * (piece + 1) / PIECES));

    let start = Instant::now();
    let primes = count_primes(0, below);
    let alone = start.elapsed();
    println!("{primes} primes below {below}");
    println!("{:>10} {:>9} {:>7}", "processes", "time", "speedup");
    println!("{:>10} {:>6} ms {:>6.2}x", "sequential", alone.as_millis(), 1.0);

    let cpus = cpu_count()?;
    let mut sizes = vec![1, 2, 4, 2 * cpus];
    sizes.sort_unstable();
    sizes.dedup();
    for processes in sizes {
        let start = Instant::now();
        let counts = Pool::new(processes)?.starmap(count_primes, pieces.clone())?;
        let together = start.elapsed();
        assert_eq!(counts.iter().sum::<u64>(), primes);
        let speedup = alone.as_secs_f64() / together.as_secs_f64();
        println!("{processes:>10} {:>6} ms {speedup:>6.2}x", together.as_millis());
    }
    Ok(())
}
