use wasmp_guest::task;

#[task]
fn by_value(self) -> i64 {
    0
}

#[task]
fn by_reference(&self, x: i64) -> i64 {
    x
}

fn main() {}
