//! The smallest task module: `wasmp call examples/square square 7`.

use wasmp_guest::task;

/// Squares a number.
#[task]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares() {
        assert_eq!(square(7), 49);
        assert_eq!(square(-7), 49);
    }
}
