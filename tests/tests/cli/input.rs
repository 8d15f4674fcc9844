//! Where inputs come from, and how they are cut and read.

use crate::run::{Wasmp, map, wasmp};
use crate::scene::Folder;

/// A task that returns what it is given.
fn echo(words: &str) -> Wasmp {
    wasmp("map examples/wat-task/echo.wat echo").words(words)
}

#[test]
fn a_typed_input_is_json_or_else_a_string() {
    echo(r#"7 -1.5 "7" README.md true null {"a":[1]}"#)
        .arg("two words")
        .arg("")
        .run()
        .prints("7\n-1.5\n\"7\"\n\"README.md\"\ntrue\nnull\n{\"a\":[1]}\n\"two words\"\n\"\"\n");
}

#[test]
fn typed_json_that_cannot_be_carried_is_an_error_and_no_string() {
    echo(r#"1e999 {"$bytes":5} ok --keep-going -q"#).run().ends(
        1,
        "\"ok\"\n",
        "wasmp: item 0: input: 1e+999 is beyond the range of a 64-bit float at column 5\n\
         wasmp: item 1: input: invalid type: integer `5`, expected base64 in a string as the value of `$bytes` at column \
         11\n",
    );
}

#[test]
fn raw_input_makes_a_string_of_everything() {
    echo("--raw-input 7 [1] null")
        .run()
        .prints("\"7\"\n\"[1]\"\n\"null\"\n");
    echo("--raw-input")
        .input("7\n\n a \"b\" \r\nlast")
        .run()
        .prints("\"7\"\n\"\"\n\" a \\\"b\\\" \"\n\"last\"\n");
}

#[test]
fn each_line_of_standard_input_is_json() {
    map("square").input("1\n2\n3").run().prints("1\n4\n9\n");
    map("square --input -").input("4\n").run().prints("16\n");
}

#[test]
fn inputs_are_read_from_a_file() {
    let folder = Folder::new().with("numbers", "5\n6\n");
    map("square --input")
        .arg(folder.path().join("numbers"))
        .input("7\n")
        .run()
        .prints("25\n36\n");
}

#[test]
fn inputs_come_from_one_place() {
    map("square 1 --input README.md")
        .run()
        .is_refused(&["'[INPUT]...' cannot be used with '--input <FILE>'"]);
    for typed in ["square 1 -0", "square 1 --null"] {
        map(typed).run().is_refused(&["-0 is about inputs that are read"]);
    }
}

#[test]
fn an_input_file_that_cannot_be_read_is_named() {
    map("square --input no/such/file").run().ends(
        2,
        "",
        "wasmp: cannot read no/such/file: no such file or directory\n",
    );
    map("square --input examples")
        .run()
        .ends(2, "", "wasmp: cannot read examples: is a directory\n");
}

#[test]
fn no_input_is_no_work() {
    map("square").run().prints("");
    map("square").input("\n\n \t \n").run().prints("");
    map("square --envelope").run().prints("");
}

#[test]
fn lines_end_in_lf_or_crlf_and_the_last_may_lack_it() {
    echo("")
        .input("\"a\"\r\n\"b\"\n\"c\"")
        .run()
        .prints("\"a\"\n\"b\"\n\"c\"\n");
}

#[test]
fn a_byte_order_mark_is_skipped_where_the_input_begins() {
    echo("").input("\u{feff}7\n8\n").run().prints("7\n8\n");
}

#[test]
fn blank_lines_are_no_items_but_count_as_lines() {
    let outcome = map("square --envelope --keep-going").input("\n2\n\n\nx\n3\n").run();
    assert_eq!(
        outcome.text(),
        "{\"index\":0,\"input\":2,\"ok\":4}\n\
         {\"index\":1,\"input\":\"x\",\"error\":{\"kind\":\"input\",\
         \"message\":\"not JSON: expected value at column 1\",\"line\":5}}\n\
         {\"index\":2,\"input\":3,\"ok\":9}\n"
    );
}

#[test]
fn a_malformed_line_is_that_items_error_with_its_number() {
    map("square -q --keep-going").input("1\n{oops\n\n3\n4 4\n").run().ends(
        1,
        "1\n9\n",
        "wasmp: item 1 (line 2): input: not JSON: key must be a string at column 2\n\
         wasmp: item 3 (line 5): input: not JSON: trailing characters at column 3\n",
    );
    map("square -q").input("1\n{oops\n3\n").run().ends(
        1,
        "1\n",
        "wasmp: item 1 (line 2): input: not JSON: key must be a string at column 2\n",
    );
}

#[test]
fn a_failure_names_the_line_of_its_input() {
    map("square -q").input("\n1\n\n\"x\"\n").run().ends(
        1,
        "1\n",
        "wasmp: item 1 (line 4): arguments: argument 1 (x: i64): expected i64, got text \"x\"\n",
    );
}

#[test]
fn bytes_that_are_no_text_are_that_items_error() {
    for option in ["", "--raw-input"] {
        map("echo -q --keep-going")
            .words(option)
            .input(b"\"ab\xff\"\n".to_vec())
            .run()
            .ends(
                1,
                "",
                "wasmp: item 0 (line 1): input: not UTF-8 text: byte 4 does not fit\n",
            );
    }
}

#[test]
fn star_takes_arrays_from_lines() {
    map("add --star -q --keep-going").input("[1,2]\n7\n[3,4]\n").run().ends(
        1,
        "3\n7\n",
        "wasmp: item 1 (line 2): input: not an array, and --star needs one to spread over the parameters\n",
    );
}

#[test]
fn records_that_end_in_nul_may_hold_line_ends() {
    for option in ["-0", "--null"] {
        echo("")
            .words(option)
            .input("[1,\n2]\0\0\"a\"\n\0{}")
            .run()
            .prints("[1,2]\n\"a\"\n{}\n");
        echo("--raw-input")
            .words(option)
            .input("a\nb\0\0c\r\0")
            .run()
            .prints("\"a\\nb\"\n\"\"\n\"c\\r\"\n");
    }
}

#[test]
fn a_failure_names_the_record_of_its_input() {
    let outcome = map("square -0 --envelope -q").input("1\0x\0").run();
    assert_eq!((outcome.code(), &outcome.json()[1]["error"]["record"]), (1, &2.into()));
    assert_eq!(
        outcome.stderr,
        "wasmp: item 1 (record 2): input: not JSON: expected value at column 1\n"
    );
}

#[test]
fn a_line_that_is_too_long_is_that_items_error() {
    let mut input = b"\"short\"\n\"".to_vec();
    input.resize(input.len() + (64 << 20), b'x');
    input.extend(b"\"\n\"next\"\n");
    let outcome = echo("--envelope --keep-going -q").input(input).run();
    assert_eq!(outcome.code(), 1);
    assert_eq!(
        outcome.stderr,
        "wasmp: item 1 (line 2): too_large: longer than 64 MiB\n"
    );
    let lines = outcome.json();
    assert_eq!((&lines[0]["ok"], &lines[2]["ok"]), (&"short".into(), &"next".into()));
    assert_eq!(
        (&lines[1]["error"]["kind"], &lines[1]["error"]["line"]),
        (&"too_large".into(), &2.into())
    );
    let cut = lines[1]["input"].as_str().expect("the beginning of the line");
    assert!(cut.starts_with("\"xxx") && cut.len() < 10_000, "{} bytes", cut.len());
}

#[test]
fn megabytes_fit_in_one_line() {
    let text = "é".repeat(2 << 20);
    map("echo")
        .input(format!("\"{text}\"\n"))
        .run()
        .prints(&format!("\"{text}\"\n"));
}
