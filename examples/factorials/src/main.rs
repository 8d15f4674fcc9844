//! Squares and factorials of large numbers, to the last digit: `wasmp run examples/factorials`.

#![allow(clippy::print_stdout, reason = "the numbers are this program's output")]

use num_bigint::BigUint;
use wasmp_guest::{Pool, Result, main, task};

/// The square of a number, in decimal digits.
#[task]
fn square(number: u64) -> String {
    BigUint::from(number).pow(2).to_string()
}

/// The factorial of a number, in decimal digits.
#[task]
fn factorial(number: u32) -> String {
    (1..=number).map(BigUint::from).product::<BigUint>().to_string()
}

#[main]
fn main() -> Result<()> {
    let pool = Pool::new(4)?;
    let numbers = [12_345_678_901, 999_999_999_999, u64::MAX];
    for (number, square) in numbers.iter().zip(pool.map(square, numbers)?) {
        println!("{number}² = {square}");
    }
    let numbers = [20, 30, 1000, 5000];
    for (number, digits) in numbers.iter().zip(pool.map(factorial, numbers)?) {
        match digits.len() {
            ..40 => println!("{number}! = {digits}"),
            length => println!("{number}! = {}… ({length} digits)", &digits[..20]),
        }
    }
    Ok(())
}
