//! How a command has ended, and what is expected of it.

use std::fmt;
use std::process::ExitStatus;

/// How a command has ended, and what it has written.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// For the message of a test that fails, so of streams only what a person would read.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        let beginning = |text: &str| text.chars().take(2000).collect::<String>();
        write!(
            f,
            "{}\nstdout: {}\nstderr: {}",
            self.status,
            beginning(&stdout),
            beginning(&self.stderr)
        )
    }
}

impl Outcome {
    pub(crate) fn new(status: ExitStatus, stdout: Vec<u8>, stderr: &[u8]) -> Self {
        let stderr = String::from_utf8_lossy(stderr).into_owned();
        // Guests may panic, and have Rust's words for what the system says. The command has none of that.
        assert!(!stderr.contains("panicked at host/"), "{stderr}");
        assert!(!stderr.contains("(os error "), "{stderr}");
        Self { status, stdout, stderr }
    }

    /// Its exit code.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{self:?}"))
    }

    /// Its standard output, which is text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text")
    }

    /// It ended well, with this output and without a word.
    #[track_caller]
    pub(crate) fn prints(&self, stdout: &str) {
        self.ends(0, stdout, "");
    }

    /// It ended with this code, and with exactly this on its two streams.
    #[track_caller]
    pub(crate) fn ends(&self, code: i32, stdout: &str, stderr: &str) {
        assert_eq!(
            (self.status.code(), self.text(), self.stderr.as_str()),
            (Some(code), stdout, stderr),
            "{}",
            self.status
        );
    }

    /// It did nothing but complain, with all of these words.
    #[track_caller]
    pub(crate) fn is_refused(&self, words: &[&str]) {
        assert_eq!((self.status.code(), self.text()), (Some(2), ""), "{self:?}");
        self.says(words);
    }

    /// These words are on its standard error.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in: {}", self.stderr);
        }
    }

    /// The lines of its standard output, each of which is JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.text().lines().map(parse).collect()
    }
}
