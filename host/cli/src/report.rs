//! What `map` prints about each item: results on standard output, failures on standard error.

use std::fmt;
use std::io::{self, Write};

use ciborium::Value;

use crate::failure::Failure;
use crate::input::{Input, Place};
use crate::json::{self, Json};
use crate::terminal::Messages;

/// What is printed about an item beside its outcome.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its number among all items, from 0.
    pub(crate) index: u64,
    pub(crate) place: Place,
    /// Its input as one line of JSON; only kept for an envelope.
    pub(crate) input: Option<Vec<u8>>,
}

impl Item {
    pub(crate) fn new(index: u64, input: &Input<'_>, keep_input: bool) -> Self {
        Self {
            index,
            place: input.place,
            input: keep_input.then(|| echo(input)),
        }
    }
}

/// The input as it was given: its JSON, or the string that it is or was taken for.
fn echo(input: &Input<'_>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&input.text);
    match input.arguments.as_deref() {
        // A string of JSON has quotes, so one that equals its own text was never JSON.
        Ok([Value::Text(value)]) if *value == text => json::string(&text),
        Ok(_) => json::single_line(&text),
        Err(_) => json::string(&text),
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {}", self.index)?;
        match self.place {
            Place::Typed => Ok(()),
            Place::Line(number) => write!(f, " (line {number})"),
            Place::Record(number) => write!(f, " (record {number})"),
        }
    }
}

/// Bytes of results that are written at once.
const BUFFERED: usize = 64 << 10;

/// Prints items, and counts them.
pub(crate) struct Report<W> {
    stdout: W,
    /// Progress may be drawn on the same terminal.
    is_terminal: bool,
    buffer: Vec<u8>,
    envelope: bool,
    done: u64,
    failed: u64,
}

impl<W: Write> Report<W> {
    pub(crate) fn new(stdout: W, is_terminal: bool, envelope: bool) -> Self {
        Self {
            stdout,
            is_terminal,
            buffer: Vec::with_capacity(BUFFERED),
            envelope,
            done: 0,
            failed: 0,
        }
    }

    /// Prints one item. An error is one of standard output.
    pub(crate) fn item(&mut self, messages: &Messages, item: &Item, outcome: Result<Json, Failure>) -> io::Result<()> {
        messages.progress.item_done();
        match outcome {
            Ok(Json(result)) => {
                self.done += 1;
                self.line(item, b"ok", &result);
            }
            Err(failure) => {
                self.failed += 1;
                let failure = failure.at(item.place);
                // Whoever reads both streams expects the results before it first.
                self.flush(messages)?;
                messages.failure(&format!("{item}: {}", failure.in_brief()));
                if self.envelope {
                    let mut error = Vec::new();
                    json::write(&mut error, &failure)?;
                    self.line(item, b"error", &error);
                }
            }
        }
        match self.buffer.len() < BUFFERED {
            true => Ok(()),
            false => self.flush(messages),
        }
    }

    /// Adds a line to what is to be written.
    fn line(&mut self, item: &Item, field: &[u8], json: &[u8]) {
        let out = &mut self.buffer;
        if self.envelope {
            out.extend(b"{\"index\":");
            out.extend(item.index.to_string().as_bytes());
            out.extend(b",\"input\":");
            out.extend(item.input.as_deref().unwrap_or(b"null"));
            out.extend(b",\"");
            out.extend(field);
            out.extend(b"\":");
        }
        out.extend(json);
        out.extend(if self.envelope { &b"}\n"[..] } else { b"\n" });
    }

    /// Writes all there is so far.
    pub(crate) fn flush(&mut self, messages: &Messages) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut write = || self.stdout.write_all(&self.buffer);
        let written = if self.is_terminal {
            messages.progress.suspend(write)
        } else {
            write()
        };
        self.buffer.clear();
        written
    }

    /// Items that have a result.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Items that have failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Inputs, Reading};
    use crate::terminal::tests::messages;

    /// What two items print on both streams: one with a result, one that failed.
    fn printed(envelope: bool, inputs: [&str; 2]) -> (String, String) {
        let mut report = Report::new(Vec::new(), false, envelope);
        let (messages, stderr) = messages(false, false);
        let mut inputs = Inputs::<&[u8]>::typed(
            inputs.map(str::to_owned).to_vec(),
            Reading {
                raw: false,
                star: false,
            },
        );
        let mut index = 0;
        while let Some(input) = inputs.next_input().expect("memory can be read") {
            let outcome = match index {
                0 => Ok(Json(b"[49]".to_vec())),
                _ => Err(Failure::from_library(wasmp::Error::Decode("a\ntag".into())).expect("about an item")),
            };
            report
                .item(&messages, &Item::new(index, &input, envelope), outcome)
                .expect("a Vec takes everything");
            index += 1;
        }
        assert_eq!((report.done(), report.failed()), (1, 1));
        report.flush(&messages).expect("a Vec takes everything");
        (String::from_utf8(report.stdout).expect("JSON is text"), stderr.text())
    }

    #[test]
    fn without_an_envelope_only_results_are_on_stdout() {
        let (stdout, stderr) = printed(false, ["7", "8"]);
        assert_eq!(stdout, "[49]\n");
        assert_eq!(
            stderr,
            "wasmp: item 1: result: the result cannot be written as JSON: a\\ntag\n"
        );
    }

    #[test]
    fn an_envelope_has_a_line_for_every_item() {
        let (stdout, _) = printed(true, ["7", "8"]);
        assert_eq!(
            stdout,
            "{\"index\":0,\"input\":7,\"ok\":[49]}\n\
             {\"index\":1,\"input\":8,\"error\":{\"kind\":\"result\",\
             \"message\":\"the result cannot be written as JSON: a\\ntag\"}}\n"
        );
    }

    #[test]
    fn an_envelope_shows_the_input_as_it_was_given() {
        let (stdout, _) = printed(true, ["{\"b\": 1.50, \"a\":[]}", "a \"word\""]);
        let inputs: Vec<_> = stdout
            .lines()
            .map(|line| line.split(",\"input\":").nth(1).unwrap_or(line))
            .collect();
        assert!(inputs[0].starts_with("{\"b\": 1.50, \"a\":[]},\"ok\""), "{stdout}");
        assert!(inputs[1].starts_with("\"a \\\"word\\\"\",\"error\""), "{stdout}");
    }

    #[test]
    fn a_failure_says_where_its_input_stands() {
        let (messages, stderr) = messages(false, false);
        let mut report = Report::new(Vec::new(), false, false);
        let item = Item {
            index: 3,
            place: Place::Line(7),
            input: None,
        };
        let failure = Failure::from(crate::input::InputError::NotSpreadable);
        report
            .item(&messages, &item, Err(failure))
            .expect("a Vec takes everything");
        assert!(
            stderr.text().starts_with("wasmp: item 3 (line 7): input: not an array"),
            "{}",
            stderr.text()
        );
    }
}
