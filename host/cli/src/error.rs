//! What ends a command before its work is done. Failed items are not here: they are results.

use std::fmt;
use std::io;
use std::path::Path;

use wasmp::ModuleError;

/// Why a command cannot do what it was asked to: exit code 2.
#[derive(Debug)]
pub(crate) enum Error {
    /// A file or a standard stream cannot be read or written.
    Io {
        doing: &'static str,
        what: String,
        source: io::Error,
    },
    /// `exec` was given something that does not run by itself.
    NotACommand { module: String, kind: &'static str },
    /// The library refuses the module, or cannot run its workers.
    Library(wasmp::Error),
    /// The guest crate does not build.
    Build(wasmp_build::BuildError),
}

impl Error {
    pub(crate) fn file(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            what: path.display().to_string(),
            source,
        }
    }

    pub(crate) fn snapshot(doing: &'static str, path: &Path, error: wasmp::SnapshotError) -> Self {
        let source = match error {
            wasmp::SnapshotError::File(source) => source,
            other => io::Error::other(other),
        };
        Self::file(doing, path, source)
    }

    pub(crate) fn stream(doing: &'static str, what: &str, source: io::Error) -> Self {
        Self::Io {
            doing,
            what: what.to_owned(),
            source,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, what, source } => write!(f, "cannot {doing} {what}: {}", reason(source)),
            Self::NotACommand { module, kind } => write!(
                f,
                "{module} is no WASI command, but has tasks ({kind}): run them with `wasmp map` or `wasmp call`, and its `main`, if there is one, with `wasmp run`"
            ),
            Self::Library(wasmp::Error::Module(ModuleError::PrecompiledNotAllowed { module })) => write!(
                f,
                "{module} is precompiled: machine code that runs as it is. If you trust where it comes from, say so with \
                 --allow-precompiled; else give the .wasm that it was made from"
            ),
            Self::Library(wasmp::Error::Module(ModuleError::Read { path, source })) => {
                write!(f, "cannot read {}: {}", path.display(), reason(source))
            }
            Self::Library(error) => error.fmt(f),
            Self::Build(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::NotACommand { .. } => None,
            Self::Library(error) => Some(error),
            Self::Build(error) => Some(error),
        }
    }
}

impl From<wasmp::Error> for Error {
    fn from(error: wasmp::Error) -> Self {
        Self::Library(error)
    }
}

impl From<wasmp_build::BuildError> for Error {
    fn from(error: wasmp_build::BuildError) -> Self {
        Self::Build(error)
    }
}

/// A text without the numbers that Rust adds to the operating system's words.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        words.push_str(part.split_once(')').map_or(part, |(_, after)| after));
    }
    words
}

/// What went wrong, in the operating system's words, fit for the middle of a sentence.
pub(crate) fn reason(error: &io::Error) -> String {
    let words = without_numbers(&error.to_string());
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "unknown error".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_words_and_no_number() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(reason(&io::Error::other("Too bad")), "too bad");
    }

    #[test]
    fn numbers_are_taken_out_of_any_sentence() {
        assert_eq!(without_numbers("no a (os error 2), nor b (os error 13)"), "no a, nor b");
        assert_eq!(without_numbers("as it was"), "as it was");
    }

    #[test]
    fn an_error_names_the_file_and_the_deed() {
        let error = Error::file("read", Path::new("in.jsonl"), io::Error::from_raw_os_error(13));
        assert_eq!(error.to_string(), "cannot read in.jsonl: permission denied");
    }
}
