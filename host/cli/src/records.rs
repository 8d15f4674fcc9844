//! A stream cut into records: lines, or what stands before each NUL.

use std::io::{self, BufRead as _, BufReader, Read};

/// Longest record, in bytes. One that is longer is its item's failure and is skipped without being kept in memory.
pub(crate) const LONGEST: usize = 64 << 20;

/// A buffer that grew beyond this for one record is not kept for the small ones after it.
const KEPT: usize = 1 << 20;

/// Bytes read from the stream at once.
const BUFFERED: usize = 256 << 10;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What ends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A line feed, with a carriage return before it or without.
    Line,
    /// A NUL character.
    Nul,
}

impl Ending {
    const fn byte(self) -> u8 {
        match self {
            Self::Line => b'\n',
            Self::Nul => 0,
        }
    }
}

/// Reads records. The last one needs no ending; nothing after an ending is no record.
pub(crate) struct Records<R> {
    stream: BufReader<R>,
    ending: Ending,
    longest: usize,
    buffer: Vec<u8>,
    number: u64,
    whole: bool,
}

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Its place in the stream, from 1.
    pub(crate) number: u64,
    /// What it holds, without its ending.
    pub(crate) text: &'a [u8],
    /// Whether that is all of it, or only as much as a record may have.
    pub(crate) whole: bool,
}

impl<R: Read> Records<R> {
    pub(crate) fn new(stream: R, ending: Ending) -> Self {
        let stream = BufReader::with_capacity(BUFFERED, stream);
        Self {
            stream,
            ending,
            longest: LONGEST,
            buffer: Vec::new(),
            number: 0,
            whole: true,
        }
    }

    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }

    pub(crate) fn stream(&self) -> &R {
        self.stream.get_ref()
    }

    /// Reads the next record: then it is [`Self::current`].
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        let end = self.ending.byte();
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        let limit = self.longest as u64 + 1;
        if (&mut self.stream).take(limit).read_until(end, &mut self.buffer)? == 0 {
            return Ok(false);
        }
        self.number += 1;
        self.whole = self.buffer.pop_if(|last| *last == end).is_some() || self.buffer.len() <= self.longest;
        if !self.whole {
            self.stream.skip_until(end)?;
        } else if self.ending == Ending::Line {
            self.buffer.pop_if(|last| *last == b'\r');
        }
        Ok(true)
    }

    /// The record that was read last.
    pub(crate) fn current(&self) -> Record<'_> {
        let text = match self.buffer.strip_prefix(BYTE_ORDER_MARK) {
            Some(text) if self.number == 1 => text,
            _ => &self.buffer,
        };
        Record {
            number: self.number,
            text,
            whole: self.whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8], ending: Ending, longest: usize) -> Vec<String> {
        let mut records = Records::new(stream, ending);
        records.longest = longest;
        let mut read = Vec::new();
        while records.advance().expect("memory can be read") {
            let record = records.current();
            assert_eq!(record.number, read.len() as u64 + 1);
            let text = String::from_utf8_lossy(record.text).into_owned();
            read.push(if record.whole { text } else { format!("{text}…") });
        }
        read
    }

    fn lines(stream: &[u8]) -> Vec<String> {
        read(stream, Ending::Line, LONGEST)
    }

    #[test]
    fn every_line_is_a_record_and_the_last_needs_no_end() {
        assert_eq!(lines(b"1\n\n2\n"), ["1", "", "2"]);
        assert_eq!(lines(b"1\n2"), ["1", "2"]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn a_carriage_return_is_part_of_the_line_end_only_there() {
        assert_eq!(lines(b"a\rb\r\nc\r"), ["a\rb", "c"]);
        assert_eq!(read(b"a\r\0", Ending::Nul, LONGEST), ["a\r"]);
    }

    #[test]
    fn records_that_end_in_nul_may_hold_line_ends() {
        assert_eq!(read(b"a\nb\0\0c", Ending::Nul, LONGEST), ["a\nb", "", "c"]);
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_record() {
        assert_eq!(lines(b"\xef\xbb\xbf1\n\xef\xbb\xbf2"), ["1", "\u{feff}2"]);
    }

    #[test]
    fn a_record_that_is_too_long_is_cut_and_the_next_one_read() {
        for stream in [&b"1234\n12345\n67\n"[..], b"1234\n1234567890\n67"] {
            assert_eq!(read(stream, Ending::Line, 4), ["1234", "12345…", "67"]);
        }
        assert_eq!(read(b"12345", Ending::Line, 4), ["12345…"]);
    }
}
