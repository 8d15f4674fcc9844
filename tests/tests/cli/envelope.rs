//! `--envelope`: one line for every item, with its fields in the order of the contract.

use crate::run::map;

#[test]
fn every_item_has_a_line_and_its_fields_have_an_order() {
    map("square 7 x 9 --envelope --keep-going -q").run().ends(
        1,
        "{\"index\":0,\"input\":7,\"ok\":49}\n\
         {\"index\":1,\"input\":\"x\",\"error\":{\"kind\":\"arguments\",\
         \"message\":\"argument 1 (x: i64): expected i64, got text \\\"x\\\"\",\"attempts\":1}}\n\
         {\"index\":2,\"input\":9,\"ok\":81}\n",
        "wasmp: item 1: arguments: argument 1 (x: i64): expected i64, got text \"x\"\n",
    );
}

#[test]
fn the_failed_item_has_a_line_also_when_the_run_stops_there() {
    let outcome = map("square 7 x 9 --envelope -q").run();
    assert_eq!((outcome.code(), outcome.json().len()), (1, 2));
    assert_eq!(outcome.json()[1]["error"]["kind"], "arguments");
}

#[test]
fn the_input_is_echoed_as_it_was_given() {
    let outcome = map("echo --envelope --keep-going -q")
        .input("\"a\\u0062\"\n  {\"b\": 1.50, \"a\":[]} \n{broken \u{1b}\n\n")
        .run();
    let inputs: Vec<&str> = outcome
        .text()
        .lines()
        .map(|line| {
            let (_, rest) = line.split_once("\"input\":").expect("an input");
            let end = rest
                .find(",\"ok\"")
                .or_else(|| rest.find(",\"error\""))
                .expect("an outcome");
            &rest[..end]
        })
        .collect();
    assert_eq!(
        inputs,
        ["\"a\\u0062\"", "{\"b\": 1.50, \"a\":[]}", "\"{broken \\u001b\""]
    );
}

#[test]
fn a_typed_string_and_a_raw_line_are_echoed_as_strings() {
    let outcome = map("echo hello --envelope").run();
    outcome.prints("{\"index\":0,\"input\":\"hello\",\"ok\":\"hello\"}\n");
    let outcome = map("echo --envelope --raw-input").input("7\n\"q\"\n").run();
    outcome.prints(
        "{\"index\":0,\"input\":\"7\",\"ok\":\"7\"}\n{\"index\":1,\"input\":\"\\\"q\\\"\",\"ok\":\"\\\"q\\\"\"}\n",
    );
}

#[test]
fn unordered_lines_say_whose_they_are() {
    let outcome = map("square --envelope --unordered --keep-going -j 2 --chunksize 3 -q")
        .input((0..200).map(|number| format!("{number}\n")).collect::<String>() + "oops\n7\n")
        .run();
    assert_eq!(outcome.code(), 1);
    let mut lines = outcome.json();
    lines.sort_by_key(|line| line["index"].as_u64());
    assert_eq!(lines.len(), 202);
    for (index, line) in lines.iter().enumerate() {
        match index {
            200 => assert_eq!(
                (&line["error"]["kind"], &line["error"]["line"]),
                (&"input".into(), &201.into())
            ),
            201 => assert_eq!(line["ok"], 49),
            _ => assert_eq!((&line["input"], &line["ok"]), (&index.into(), &(index * index).into())),
        }
    }
}

#[test]
fn refused_inputs_keep_their_place_among_the_others() {
    let input: String = (0..3000)
        .map(|line| if line % 3 == 0 { "oops\n" } else { "2\n" })
        .collect();
    let outcome = map("square --envelope --keep-going -q").input(input).run();
    assert_eq!(outcome.code(), 1);
    let lines = outcome.json();
    assert_eq!(lines.len(), 3000);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["index"], index);
        match index % 3 {
            0 => assert_eq!(line["error"]["line"], index + 1),
            _ => assert_eq!(line["ok"], 4),
        }
    }
}
