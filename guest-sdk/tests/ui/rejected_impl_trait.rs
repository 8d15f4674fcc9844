use wasmp_guest::task;

#[task]
fn takes(x: impl Into<i64>) -> i64 {
    x.into()
}

#[task]
fn gives(x: i64) -> impl Iterator<Item = i64> {
    0..x
}

fn main() {}
