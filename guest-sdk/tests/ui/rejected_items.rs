use wasmp_guest::task;

#[task]
struct Square;

#[task]
mod tasks {}

fn main() {}
