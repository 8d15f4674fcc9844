//! An ordinary program that does as its first argument says.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what it prints is part of what is tested"
)]

use std::io::{Read, Write};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        None => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .expect("text on standard input");
            print!("{}", text.to_uppercase());
        }
        Some("echo") => println!("{}", arguments[1..].join(" ")),
        Some("both") => {
            println!("to stdout");
            eprintln!("to stderr");
        }
        Some("bytes") => std::io::stdout().write_all(&[0xff, 0xfe, 0]).expect("standard output"),
        Some("exit") => std::process::exit(arguments[1].parse().expect("a number")),
        Some("panic") => panic!("told to panic"),
        Some(what) => panic!("cannot {what}"),
    }
}
