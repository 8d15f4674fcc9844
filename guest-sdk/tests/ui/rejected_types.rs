#![allow(unused)]

use wasmp_guest::task;

struct Opaque;

#[task]
fn takes(x: Opaque) -> i64 {
    0
}

#[task]
fn gives(x: i64) -> Opaque {
    Opaque
}

#[task]
fn gives_perhaps(x: i64) -> Result<Opaque, String> {
    Ok(Opaque)
}

#[task]
fn fails(x: i64) -> Result<i64, Opaque> {
    Err(Opaque)
}

// Both sides can be encoded, but an error has to be shown.
#[task]
fn fails_with_data(x: i64) -> Result<i64, Vec<u8>> {
    Ok(x)
}

fn main() {}
