//! Standard error, line by line and from any thread: errors, notes, failed items, and what guests print.
//!
//! A guest's words never reach a terminal as they are: an escape sequence in them could move the cursor, retitle the
//! window or type an answer.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::without_numbers;
use crate::progress::Progress;

/// Where messages go.
pub(crate) struct Messages {
    stderr: Mutex<Stderr>,
    is_terminal: bool,
    quiet: bool,
    /// Drawn on the same terminal, so every line has to push it aside.
    pub(crate) progress: Progress,
}

struct Stderr {
    stream: Box<dyn Write + Send>,
    /// A guest has begun a line and not ended it.
    in_line: bool,
}

impl Messages {
    /// Messages on standard error.
    pub(crate) fn new(quiet: bool, progress: Progress) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self::on(Box::new(io::stderr()), is_terminal, quiet, progress)
    }

    fn on(stream: Box<dyn Write + Send>, is_terminal: bool, quiet: bool, progress: Progress) -> Self {
        Self {
            stderr: Mutex::new(Stderr { stream, in_line: false }),
            is_terminal,
            quiet,
            progress,
        }
    }

    /// An error: what keeps the command from going on. It may have several lines.
    pub(crate) fn error(&self, text: &str) {
        self.write(format!("wasmp: {}\n", visible(&without_numbers(text), "\n\t")).as_bytes());
    }

    /// A failed item: one line, whatever the guest's message holds.
    pub(crate) fn failure(&self, text: &str) {
        self.write(format!("wasmp: {}\n", visible(&without_numbers(text), "")).as_bytes());
    }

    /// What was asked for, and is no message: printed as it is, lines and all.
    pub(crate) fn table(&self, text: &str) {
        self.write(visible(text, "\n").as_bytes());
    }

    /// Something good to know, unless the user wants quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// What a guest printed, a line with its end or a part of one: byte for byte, except on a terminal.
    pub(crate) fn guest(&self, line: &[u8]) {
        let shown = match self.is_terminal {
            true => Cow::Owned(
                visible(&String::from_utf8_lossy(line), "\t\n")
                    .into_owned()
                    .into_bytes(),
            ),
            false => Cow::Borrowed(line),
        };
        let mut stderr = self.lock();
        self.progress.suspend(|| stderr.write(&shown));
        stderr.in_line = !line.ends_with(b"\n");
    }

    fn write(&self, lines: &[u8]) {
        let mut stderr = self.lock();
        self.progress.suspend(|| {
            if mem::take(&mut stderr.in_line) {
                stderr.write(b"\n");
            }
            stderr.write(lines);
        });
    }

    fn lock(&self) -> MutexGuard<'_, Stderr> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stderr {
    /// With nobody left to read messages, the results may still matter to somebody: errors are nobody's business.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
}

/// The text with every control character written as an escape, except those in `allowed`.
pub(crate) fn visible<'a>(text: &'a str, allowed: &str) -> Cow<'a, str> {
    let hidden = |c: char| c.is_control() && !allowed.contains(c);
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match hidden(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Makes a stream of bytes fit for a terminal, piece by piece. A piece may end within a character: the rest of it is in
/// the next one.
#[derive(Debug, Default)]
pub(crate) struct Escaper {
    begun: Vec<u8>,
}

impl Escaper {
    /// The text that the terminal may see of what has come so far.
    pub(crate) fn push(&mut self, piece: &[u8]) -> String {
        let bytes = [mem::take(&mut self.begun), piece.to_vec()].concat();
        let whole = match bytes.utf8_chunks().last() {
            // Bytes at the very end that could still become a character.
            Some(chunk) if is_begun(chunk.invalid()) => bytes.len() - chunk.invalid().len(),
            _ => bytes.len(),
        };
        self.begun = bytes[whole..].to_vec();
        visible(&String::from_utf8_lossy(&bytes[..whole]), "\t\n").into_owned()
    }
}

/// Whether these bytes are the beginning of a character and not merely wrong.
fn is_begun(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// Bytes that a test can look at after something else has written them.
    #[derive(Clone, Default)]
    pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        pub(crate) fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().expect("no test panics here")).into_owned()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics here").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn messages(is_terminal: bool, quiet: bool) -> (Messages, Shared) {
        let written = Shared::default();
        (
            Messages::on(Box::new(written.clone()), is_terminal, quiet, Progress::none()),
            written,
        )
    }

    #[test]
    fn control_characters_become_escapes() {
        assert_eq!(visible("plain é 🦀", ""), "plain é 🦀");
        assert_eq!(visible("\u{1b}[2J\u{9b}\u{7f}\r", ""), "\\u{1b}[2J\\u{9b}\\u{7f}\\r");
        assert_eq!(visible("a\tb\nc", "\t"), "a\tb\\nc");
    }

    #[test]
    fn a_failed_item_is_one_line() {
        let (messages, written) = messages(false, false);
        messages.failure("item 3: error: first\nsecond\u{1b}c");
        assert_eq!(written.text(), "wasmp: item 3: error: first\\nsecond\\u{1b}c\n");
    }

    #[test]
    fn an_error_keeps_its_lines() {
        let (messages, written) = messages(true, true);
        messages.error("no:\n  a (os error 2)\u{7}");
        assert_eq!(written.text(), "wasmp: no:\n  a\\u{7}\n");
    }

    #[test]
    fn a_character_may_come_in_two_pieces() {
        let mut escaper = Escaper::default();
        let (first, second) = "x🦀y".as_bytes().split_at(3);
        assert_eq!([escaper.push(first), escaper.push(second)], ["x", "🦀y"]);
        assert_eq!(
            [escaper.push(b"a\xff"), escaper.push(b"b\x1b")],
            ["a\u{fffd}", "b\\u{1b}"]
        );
        assert_eq!([escaper.push(b"\xf0"), escaper.push(b"c")], ["", "\u{fffd}c"]);
    }

    #[test]
    fn quiet_silences_notes_only() {
        let (messages, written) = messages(false, true);
        messages.note("compiling");
        messages.guest(b"printed\n");
        assert_eq!(written.text(), "printed\n");
    }

    #[test]
    fn a_message_does_not_go_on_in_a_guests_line() {
        let (messages, written) = messages(false, false);
        messages.guest(b"no ");
        messages.guest(b"end");
        messages.failure("item 0: exit");
        messages.guest(b"next\n");
        assert_eq!(written.text(), "no end\nwasmp: item 0: exit\nnext\n");
    }

    #[test]
    fn a_guest_reaches_a_file_as_it_is_and_a_terminal_escaped() {
        let (file, in_file) = messages(false, false);
        file.guest(b"\x1b[31mred\t1\n");
        assert_eq!(in_file.text(), "\u{1b}[31mred\t1\n");
        let (terminal, on_terminal) = messages(true, false);
        terminal.guest(b"\x1b[31mred\t1\xff\n");
        assert_eq!(on_terminal.text(), "\\u{1b}[31mred\t1\u{fffd}\n");
    }
}
