use std::borrow::Cow;

use wasmp_guest::task;

#[task]
fn number(x: &i64) -> i64 {
    *x
}

#[task]
fn slice(x: &[i64]) -> i64 {
    x[0]
}

#[task]
fn mutable(x: &mut [u8]) -> u8 {
    x[0]
}

#[task]
fn nested(x: Option<&str>, y: Vec<(i64, &[u8])>) -> bool {
    x.is_some() || y.is_empty()
}

#[task]
fn for_ever(x: &'static str) -> usize {
    x.len()
}

#[task]
fn perhaps(x: Cow<'_, str>) -> usize {
    x.len()
}

fn main() {}
