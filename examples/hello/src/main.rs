//! An ordinary program that knows nothing of wasmp. Compiled to wasm it is a task all the same: a text is its standard
//! input, a list its arguments after its name, and what it prints is the result:
//! `wasmp call examples/hello _start '["hello", "Ada", "Grace"]'`.

#![allow(clippy::print_stdout, reason = "the greeting is this program's output")]

use std::io;

/// Greets everyone named in the arguments or, when there are none, in the lines of standard input.
fn main() -> io::Result<()> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    if arguments.is_empty() {
        for name in io::stdin().lines() {
            println!("{}", greeting(name?.trim()));
        }
    } else {
        for name in arguments {
            println!("{}", greeting(&name));
        }
    }
    Ok(())
}

fn greeting(name: &str) -> String {
    match name {
        "" => "Hello!".to_owned(),
        name => format!("Hello, {name}!"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets() {
        assert_eq!(greeting("Ada"), "Hello, Ada!");
        assert_eq!(greeting(""), "Hello!");
    }
}
