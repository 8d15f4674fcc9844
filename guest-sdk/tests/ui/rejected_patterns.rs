use wasmp_guest::task;

#[task]
fn pair((a, b): (i64, i64)) -> i64 {
    a + b
}

#[task]
fn ignored(_: i64) -> i64 {
    0
}

#[task]
fn by_reference(ref x: i64) -> i64 {
    *x
}

fn main() {}
