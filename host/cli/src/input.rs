//! The inputs of a run: typed as arguments, or read from a stream, each turned into the arguments of one call.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::vec;

use ciborium::Value;

use crate::error::Error;
use crate::json::{self, Malformed};
use crate::progress::Total;
use crate::records::{Ending, LONGEST, Record, Records};

/// All the inputs of a run, in order.
pub(crate) struct Inputs<R = File> {
    source: Source<R>,
    reading: Reading,
}

enum Source<R> {
    Typed(vec::IntoIter<String>),
    Read { records: Records<R>, name: String },
}

/// How the text of an input is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// The text is the value: a string.
    pub(crate) raw: bool,
    /// An array is not one argument, but all of them.
    pub(crate) star: bool,
}

/// One input.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) place: Place,
    /// As it was given; not all of it when it is too long.
    pub(crate) text: Cow<'a, [u8]>,
    /// The arguments of the call that it makes.
    pub(crate) arguments: Result<Vec<Value>, InputError>,
}

/// Where an input was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Typed,
    /// The number of its line, from 1.
    Line(u64),
    /// The number of its record, from 1, where records are not lines.
    Record(u64),
}

impl Inputs {
    /// The inputs in a file or, when it is `-` or not given, on standard input.
    pub(crate) fn open(file: Option<&Path>, ending: Ending, reading: Reading) -> Result<Self, Error> {
        let (stream, name) = match file.filter(|path| path.as_os_str() != "-") {
            Some(path) => (
                File::open(path).map_err(|e| Error::file("read", path, e))?,
                path.display().to_string(),
            ),
            None => (stdin()?, STDIN.to_owned()),
        };
        Ok(Self {
            source: Source::Read {
                records: Records::new(stream, ending),
                name,
            },
            reading,
        })
    }

    /// How much there is, as far as that can be told.
    pub(crate) fn total(&self) -> Total {
        match &self.source {
            Source::Typed(inputs) => Total::Items(inputs.len() as u64),
            Source::Read { records, .. } => match records.stream().metadata() {
                Ok(file) if file.is_file() => Total::Bytes(file.len()),
                _ => Total::Unknown,
            },
        }
    }
}

const STDIN: &str = "standard input";

/// Standard input as a plain file: `io::stdin` has a buffer of its own.
pub(crate) fn stdin() -> Result<File, Error> {
    io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(File::from)
        .map_err(|error| Error::stream("read", STDIN, error))
}

/// How much is shown of a record that is too long.
const SHOWN: usize = 1000;

impl<R: Read> Inputs<R> {
    /// The inputs that were typed.
    pub(crate) fn typed(inputs: Vec<String>, reading: Reading) -> Self {
        Self {
            source: Source::Typed(inputs.into_iter()),
            reading,
        }
    }

    /// The next input. Blank records are none, unless they are read raw: then they are the empty string.
    pub(crate) fn next_input(&mut self) -> Result<Option<Input<'_>>, Error> {
        let reading = self.reading;
        let (records, name) = match &mut self.source {
            Source::Typed(inputs) => {
                return Ok(inputs.next().map(|text| {
                    let arguments = typed(&text, reading.raw).and_then(|value| reading.spread(value));
                    Input {
                        place: Place::Typed,
                        text: Cow::Owned(text.into_bytes()),
                        arguments,
                    }
                }));
            }
            Source::Read { records, name } => (records, name),
        };
        let ending = records.ending();
        loop {
            if !records
                .advance()
                .map_err(|source| Error::stream("read", name, source))?
            {
                return Ok(None);
            }
            let Record { text, whole, .. } = records.current();
            if reading.raw || !whole || !text.trim_ascii().is_empty() {
                break;
            }
        }
        let record = records.current();
        let place = match ending {
            Ending::Line => Place::Line(record.number),
            Ending::Nul => Place::Record(record.number),
        };
        let (text, arguments) = match record.whole {
            true => (record.text, reading.read(record.text)),
            false => (&record.text[..SHOWN], Err(InputError::TooLong)),
        };
        Ok(Some(Input {
            place,
            text: Cow::Borrowed(text),
            arguments,
        }))
    }
}

impl Reading {
    fn read(self, bytes: &[u8]) -> Result<Vec<Value>, InputError> {
        let text = str::from_utf8(bytes).map_err(|error| InputError::NotUtf8 {
            at: error.valid_up_to() + 1,
        })?;
        self.spread(if self.raw {
            Value::Text(text.to_owned())
        } else {
            json::parse(text)?
        })
    }

    fn spread(self, value: Value) -> Result<Vec<Value>, InputError> {
        match value {
            Value::Array(arguments) if self.star => Ok(arguments),
            _ if self.star => Err(InputError::NotSpreadable),
            value => Ok(vec![value]),
        }
    }
}

/// A value as it is typed: JSON, or else the string that it is.
pub(crate) fn typed(text: &str, raw: bool) -> Result<Value, InputError> {
    match json::parse(text) {
        Ok(value) if !raw => Ok(value),
        Err(refused) if !raw && refused.is_json() => Err(refused.into()),
        _ => Ok(Value::Text(text.to_owned())),
    }
}

/// Why an input is not the arguments of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InputError {
    Malformed(Malformed),
    NotUtf8 { at: usize },
    NotSpreadable,
    TooLong,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::NotUtf8 { at } => write!(f, "not UTF-8 text: byte {at} does not fit"),
            Self::NotSpreadable => f.write_str("not an array, and --star needs one to spread over the parameters"),
            Self::TooLong => write!(f, "longer than {} MiB", LONGEST >> 20),
        }
    }
}

impl From<Malformed> for InputError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Reading = Reading {
        raw: false,
        star: false,
    };
    const RAW: Reading = Reading { raw: true, star: false };
    const STAR: Reading = Reading { raw: false, star: true };

    /// Each input as its place and its arguments or error, in words.
    fn read(stream: &[u8], ending: Ending, reading: Reading) -> Vec<(Place, String)> {
        let source = Source::Read {
            records: Records::new(stream, ending),
            name: "memory".into(),
        };
        drain(Inputs { source, reading })
    }

    fn typed_inputs(inputs: &[&str], reading: Reading) -> Vec<(Place, String)> {
        drain(Inputs::<&[u8]>::typed(
            inputs.iter().map(|&input| input.to_owned()).collect(),
            reading,
        ))
    }

    fn drain(mut inputs: Inputs<&[u8]>) -> Vec<(Place, String)> {
        let mut all = Vec::new();
        while let Some(input) = inputs.next_input().expect("memory can be read") {
            let words = match &input.arguments {
                Ok(arguments) => arguments.iter().map(show).collect::<Vec<_>>().join(" "),
                Err(error) => format!("! {error}"),
            };
            all.push((input.place, words));
        }
        all
    }

    fn show(value: &Value) -> String {
        match value {
            Value::Text(text) => format!("{text:?}"),
            Value::Integer(integer) => i128::from(*integer).to_string(),
            Value::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            other => format!("{other:?}"),
        }
    }

    fn lines<const N: usize>(expected: [(u64, &str); N]) -> Vec<(Place, String)> {
        expected
            .map(|(number, words)| (Place::Line(number), words.to_owned()))
            .to_vec()
    }

    #[test]
    fn each_line_is_one_value() {
        assert_eq!(
            read(b"1\n\"a\"\n[2]", Ending::Line, JSON),
            lines([(1, "1"), (2, "\"a\""), (3, "[2]")])
        );
    }

    #[test]
    fn blank_lines_are_no_items_but_count_as_lines() {
        assert_eq!(
            read(b"\n1\n \t\r\n\n2\n", Ending::Line, JSON),
            lines([(2, "1"), (5, "2")])
        );
    }

    #[test]
    fn a_malformed_line_is_an_error_of_its_own() {
        let expected = [(1, "1"), (2, "! not JSON: key must be a string at column 2"), (3, "3")];
        assert_eq!(read(b"1\n{oops\n3\n", Ending::Line, JSON), lines(expected));
    }

    #[test]
    fn a_raw_line_is_a_string_even_if_blank() {
        assert_eq!(
            read(b"1\n\na b\r\n", Ending::Line, RAW),
            lines([(1, "\"1\""), (2, "\"\""), (3, "\"a b\"")])
        );
    }

    #[test]
    fn a_record_that_ends_in_nul_may_span_lines() {
        assert_eq!(
            read(b"[\n7]\0\n\0", Ending::Nul, JSON),
            [(Place::Record(1), "[7]".to_owned())]
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        assert_eq!(
            read(b"ab\xff\n", Ending::Line, RAW),
            lines([(1, "! not UTF-8 text: byte 3 does not fit")])
        );
        assert_eq!(
            read(b"\xff\n", Ending::Line, JSON),
            lines([(1, "! not UTF-8 text: byte 1 does not fit")])
        );
    }

    #[test]
    fn an_array_is_one_argument_and_star_spreads_it() {
        assert_eq!(read(b"[1,2]", Ending::Line, JSON), lines([(1, "[1 2]")]));
        assert_eq!(read(b"[1,2]\n[]", Ending::Line, STAR), lines([(1, "1 2"), (2, "")]));
        assert!(read(b"7", Ending::Line, STAR)[0].1.starts_with("! not an array"));
    }

    #[test]
    fn what_is_typed_is_json_or_else_a_string() {
        let shown = |inputs, reading| {
            typed_inputs(inputs, reading)
                .into_iter()
                .map(|(_, words)| words)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            shown(&["7", "\"7\"", "README.md", ""], JSON),
            ["7", "\"7\"", "\"README.md\"", "\"\""]
        );
        assert_eq!(shown(&["7", "[1]"], RAW), ["\"7\"", "\"[1]\""]);
        assert_eq!(shown(&["[1,2]"], STAR), ["1 2"]);
    }

    #[test]
    fn a_typed_number_that_cannot_be_kept_is_not_quietly_a_string() {
        assert!(typed("1e999", false).is_err());
    }
}
