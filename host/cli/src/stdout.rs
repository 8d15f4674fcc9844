//! Standard output, without Rust's buffer, which would flush at every line.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;

use crate::error::Error;

/// Standard output as a plain file.
pub(crate) fn open() -> Result<File, Error> {
    io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map(File::from)
        .map_err(failed)
}

/// Prints all there is to print. Whoever has stopped reading has read enough.
pub(crate) fn print(text: &[u8]) -> Result<(), Error> {
    match open()?.write_all(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(failed(error)),
        _ => Ok(()),
    }
}

/// What it means that standard output cannot be written.
pub(crate) fn failed(error: io::Error) -> Error {
    Error::stream("write to", "standard output", error)
}
