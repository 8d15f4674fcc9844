use wasmp_guest::task;

#[task]
unsafe extern "C" fn any_number(x: i64, ...) -> i64 {
    x
}

fn main() {}
