#![allow(unused)]

use wasmp_guest::task;

#[task]
fn of_any_type<T: Clone>(x: T) -> i64 {
    0
}

#[task]
fn of_any_length<const N: usize>(x: i64) -> i64 {
    x
}

#[task]
fn of_any_lifetime<'a>(x: &'a str) -> &'a str {
    x
}

fn main() {}
