//! JSON ↔ CBOR: what a task gets, and what comes back, for every line of the contract's table.

use crate::run::{Wasmp, call, wasmp};
use crate::scene::{Folder, constants};

/// Gives each text to a task that returns its argument as it is, and expects it back.
#[track_caller]
fn comes_back(values: &[&str]) {
    echo(values).run().prints(&(values.join("\n") + "\n"));
}

fn echo(values: &[&str]) -> Wasmp {
    wasmp("map examples/wat-task/echo.wat echo").input(values.join("\n"))
}

/// Expects that this is refused before it reaches a task.
#[track_caller]
fn is_refused(value: &str, message: &str) {
    let outcome = echo(&[value]).words("-q").run();
    assert_eq!((outcome.code(), outcome.text()), (1, ""), "{value}");
    outcome.says(&["wasmp: item 0 (line 1): input: ", message]);
}

/// What becomes of these CBOR items when a task returns them.
fn returned(items: &[(&str, &[u8])]) -> Vec<Result<String, String>> {
    let folder = Folder::new();
    let module = folder.write("constants.wat", constants(items));
    let run = |(name, _): &(&str, &[u8])| {
        let outcome = wasmp("call").arg(&module).arg(name).run();
        match outcome.code() {
            0 => Ok(outcome.text().trim_end().to_owned()),
            1 => Err(outcome.stderr.trim_end().to_owned()),
            _ => panic!("{name}: {outcome:?}"),
        }
    };
    items.iter().map(run).collect()
}

#[test]
fn plain_values_come_back_as_they_were() {
    comes_back(&[
        "null",
        "true",
        "false",
        "7",
        "-7",
        "0",
        "\"text\"",
        "[]",
        "{}",
        "[1,[2,[]]]",
    ]);
}

#[test]
fn integers_keep_all_their_digits() {
    comes_back(&[
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-18446744073709551616",
        "-18446744073709551617",
        "340282366920938463463374607431768211455",
        "-170141183460469231731687303715884105728",
    ]);
    echo(&["-0"]).run().prints("0\n");
}

#[test]
fn integers_that_no_guest_type_holds_are_refused() {
    for value in [
        "340282366920938463463374607431768211456",
        "-170141183460469231731687303715884105729",
    ] {
        is_refused(value, "beyond the range of 128-bit integers");
    }
}

#[test]
fn an_integer_that_the_parameter_does_not_hold_is_an_error_of_the_arguments() {
    let outcome = call("square 18446744073709551616").run();
    assert_eq!(outcome.code(), 1);
    outcome.says(&["wasmp: arguments: argument 1 (x: i64): expected i64, got "]);
}

#[test]
fn floats_are_told_from_integers_and_have_the_shortest_digits() {
    comes_back(&["1.0", "-0.0", "0.1", "1.5", "5e-324", "1.7976931348623157e+308"]);
    echo(&["1e3", "100e-2", "0.30000000000000004"])
        .run()
        .prints("1000.0\n1.0\n0.30000000000000004\n");
}

#[test]
fn a_float_beyond_64_bits_is_refused() {
    is_refused("1e999", "1e+999 is beyond the range of a 64-bit float");
    is_refused("[-1e999]", "beyond the range of a 64-bit float");
}

#[test]
fn a_text_that_looks_like_a_float_stays_a_text() {
    comes_back(&["\"NaN\"", "\"Infinity\"", "\"-Infinity\""]);
    is_refused("NaN", "not JSON");
}

#[test]
fn floats_that_json_has_no_words_for_become_texts() {
    let words = returned(&[
        ("nan", b"\xf9\x7e\x00"),
        ("infinity", b"\xf9\x7c\x00"),
        ("negative", b"\xfb\xff\xf0\0\0\0\0\0\0"),
        ("inside", b"\x82\x01\xfa\x7f\x80\0\0"),
    ]);
    let expected = ["\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "[1,\"Infinity\"]"];
    assert_eq!(words, expected.map(|word| Ok(word.to_owned())));
}

#[test]
fn a_32_bit_float_has_the_digits_of_its_exact_value() {
    let digits = returned(&[("tenth", b"\xfa\x3d\xcc\xcc\xcd"), ("half", b"\xf9\x38\x00")]);
    assert_eq!(digits, [Ok("0.10000000149011612".to_owned()), Ok("0.5".to_owned())]);
}

#[test]
fn byte_strings_are_objects_with_base64() {
    comes_back(&[r#"{"$bytes":"AQI="}"#, r#"{"$bytes":""}"#, r#"[{"$bytes":"+/8="}]"#]);
    echo(&[r#"{"$bytes":"AQI"}"#]).run().prints("{\"$bytes\":\"AQI=\"}\n");
    call(r#"check_bytes {"$bytes":"AAECAw=="}"#).run().prints("[4,true]\n");
    call("make_bytes 4").run().prints("{\"$bytes\":\"AAECAw==\"}\n");
}

#[test]
fn bytes_are_a_reserved_key() {
    is_refused(r#"{"$bytes":"","a":1}"#, "`$bytes` is reserved");
    is_refused(r#"{"a":1,"$bytes":""}"#, "`$bytes` is reserved");
    is_refused(r#"{"$bytes":"*"}"#, "bad base64 in `$bytes`");
    is_refused(r#"{"$bytes":5}"#, "expected base64 in a string");
}

#[test]
fn objects_keep_the_order_of_their_keys_and_keys_that_occur_twice() {
    comes_back(&[r#"{"z":1,"a":{"c":2,"b":3}}"#, r#"{"a":1,"a":2}"#]);
}

#[test]
fn control_characters_come_back_as_escapes() {
    comes_back(&[r#""\u0000\u001b[2J\u007f\u009b""#, r#"{"\u001b":1}"#]);
    echo(&["\"tab\\tline\\n\"", "\"\u{7f}\u{85}\u{9f}\u{a0}\""])
        .run()
        .prints("\"tab\\tline\\n\"\n\"\\u007f\\u0085\\u009f\u{a0}\"\n");
}

#[test]
fn values_nest_127_deep() {
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    comes_back(&[&nested(127)]);
    is_refused(&nested(128), "recursion limit exceeded");
}

#[test]
fn what_json_cannot_carry_is_that_items_failure() {
    let outcomes = returned(&[
        ("key", b"\xa1\x01\x02"),
        ("tag", b"\xc6\x01"),
        ("bignum", b"\xc2\x51\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("reserved", b"\xa2\x66$bytes\x01\x61a\x02"),
        ("cut", b"\x82\x01"),
        ("none", b""),
    ]);
    for (outcome, words) in outcomes
        .iter()
        .zip(["a string as the key", "tag", "128", "`$bytes`", "", ""])
    {
        let error = outcome.as_ref().expect_err("a failure");
        assert!(
            error.starts_with("wasmp: result: the result cannot be written as JSON: "),
            "{error}"
        );
        assert!(error.contains(words), "no {words:?} in: {error}");
    }
}

#[test]
fn undefined_and_no_result_are_null() {
    assert_eq!(returned(&[("undefined", b"\xf7")]), [Ok("null".to_owned())]);
    call("print --raw-input").args(["", ""]).run().prints("null\n");
}

#[test]
fn whole_numbers_are_good_enough_for_floats() {
    let half = "(module (func (export \"half\") (param f64) (result f64) (f64.mul (local.get 0) (f64.const 0.5))))";
    let folder = Folder::new().with("half.wat", half);
    wasmp("map half.wat half 3 3.0 -1")
        .within(folder.path())
        .run()
        .prints("1.5\n1.5\n-0.5\n");
}
