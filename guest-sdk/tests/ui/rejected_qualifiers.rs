use wasmp_guest::task;

#[task]
async fn waits(x: i64) -> i64 {
    x
}

#[task]
unsafe fn trusts(x: i64) -> i64 {
    x
}

#[task]
const fn at_compile_time(x: i64) -> i64 {
    x
}

#[task]
extern "C" fn exported_already(x: i64) -> i64 {
    x
}

fn main() {}
