//! Work for the processor alone: `seq 100000 100000 1000000 | wasmp map examples/primes count_primes`.

#![allow(clippy::print_stdout, reason = "the count is this program's output")]

use wasmp_guest::task;

/// Counts the primes below a number.
#[task]
fn count_primes(below: u64) -> u64 {
    count_primes_between(0, below)
}

/// Counts the primes from `start` up to, but not including, `end`: pieces of one long count add up.
#[task]
fn count_primes_between(start: u64, end: u64) -> u64 {
    (start..end).filter(|&number| is_prime(number)).count() as u64
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

/// Run natively: one count, on one processor.
fn main() {
    println!("{} primes below 1 000 000", count_primes(1_000_000));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_the_known_ones() {
        for (below, primes) in [(0, 0), (2, 0), (3, 1), (10, 4), (100, 25), (10_000, 1229)] {
            assert_eq!(count_primes(below), primes, "below {below}");
        }
    }

    #[test]
    fn pieces_add_up() {
        let pieces = (0..10).map(|piece| count_primes_between(piece * 1000, (piece + 1) * 1000));
        assert_eq!(pieces.sum::<u64>(), count_primes(10_000));
    }
}
