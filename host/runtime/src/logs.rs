//! A directory of logs: what each process of a pool or a context writes to its standard error, in a file of its own.
//!
//! The host writes them, so guests need no grant for it, and nothing but this directory is touched: it is opened once, names
//! are made of letters and digits, and a file is always a new one, so that no link leads elsewhere.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::output::Writer;

/// Characters of a process's name that are in that of its file.
const MAX_NAME: usize = 100;

/// Files of the same name that may be there from earlier runs.
const MAX_EARLIER: u32 = 1000;

/// The directory, and the files of the processes that run.
#[derive(Debug)]
pub(crate) struct LogDir {
    path: PathBuf,
    dir: OwnedFd,
    /// By the number of the worker; `None`: its file cannot be written.
    files: HashMap<u32, Option<File>>,
}

impl LogDir {
    /// Opens the directory, and makes it if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            path: path.to_owned(),
            dir: rustix::fs::open(path, flags, Mode::empty())?,
            files: HashMap::new(),
        })
    }

    /// Adds to the log of a process. When that fails, there is no more of its log; the process itself is not affected.
    pub(crate) fn write(&mut self, writer: &Writer, bytes: &[u8]) {
        let file = self
            .files
            .entry(writer.worker)
            .or_insert_with(|| told(&self.path, writer, create(&self.dir, writer)));
        if let Some(open) = file
            && told(&self.path, writer, open.write_all(visible(bytes).as_bytes())).is_none()
        {
            *file = None;
        }
    }

    /// The process of this worker has ended.
    pub(crate) fn end(&mut self, worker: u32) {
        self.files.remove(&worker);
    }
}

/// What there is, or `None` when the operator has been told that there is not.
fn told<T>(path: &Path, writer: &Writer, done: io::Result<T>) -> Option<T> {
    done.inspect_err(|error| {
        tracing::warn!(dir = %path.display(), process = writer.name, pid = writer.pid, %error, "a log cannot be written");
    })
    .ok()
}

/// A new file for this process.
fn create(dir: &OwnedFd, writer: &Writer) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    for earlier in 0..MAX_EARLIER {
        match rustix::fs::openat(dir, file_name(writer, earlier), flags, Mode::from_raw_mode(0o666)) {
            Err(rustix::io::Errno::EXIST) => {}
            opened => return Ok(opened?.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `Process-1_2-4711.log` for the process `Process-1:2`; `earlier`: how many files there are of that name.
fn file_name(writer: &Writer, earlier: u32) -> String {
    let harmless = |c: char| match c {
        '-' | '_' => c,
        c if c.is_alphanumeric() => c,
        _ => '_',
    };
    let mut name: String = writer.name.chars().take(MAX_NAME).map(harmless).collect();
    // As many bytes as there may be in the name of a file, with what follows.
    name.truncate(name.floor_char_boundary(2 * MAX_NAME));
    match earlier {
        0 => format!("{name}-{}.log", writer.pid),
        earlier => format!("{name}-{}.{}.log", writer.pid, earlier + 1),
    }
}

/// The text with every control character written as an escape, except those that lines and columns are made of.
fn visible(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            hidden if hidden.is_control() => shown.extend(hidden.escape_default()),
            character => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(name: &str) -> Writer {
        Writer {
            worker: 1,
            name: name.to_owned(),
            pid: 7,
        }
    }

    /// The files in a directory, sorted, with what is in them.
    fn files(path: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn whatever_a_process_is_called_its_log_is_in_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/logs");
        let mut logs = LogDir::open(&path).unwrap();
        for (worker, name) in ["../../up", "/etc/passwd", "..", "", "a\0b\n", &"ü".repeat(255)]
            .into_iter()
            .enumerate()
        {
            let writer = Writer {
                worker: worker as u32,
                ..writer(name)
            };
            logs.write(&writer, b"x\n");
        }
        let long = format!("{}-7.log", "ü".repeat(100));
        let names: Vec<String> = files(&path).into_iter().map(|(name, _)| name).collect();
        let mut expected = [
            "______up-7.log",
            "_etc_passwd-7.log",
            "__-7.log",
            "-7.log",
            "a_b_-7.log",
            &long,
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1);
    }

    #[test]
    fn a_log_is_never_written_over_nor_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs");
        let target = folder.path().join("target");
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(&target, path.join("A-7.log")).unwrap();
        for line in [b"first\n", b"later\n"] {
            LogDir::open(&path).unwrap().write(&writer("A"), line);
        }
        assert!(!target.exists());
        fs::remove_file(path.join("A-7.log")).unwrap();
        let text = |text: &str| text.to_owned();
        assert_eq!(
            files(&path),
            [
                (text("A-7.2.log"), text("first\n")),
                (text("A-7.3.log"), text("later\n"))
            ]
        );
    }

    #[test]
    fn who_comes_after_another_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = LogDir::open(folder.path()).unwrap();
        logs.write(&writer("A"), b"one\n");
        logs.write(&writer("A"), b"two\x1b[2J\t\xff\n");
        logs.end(1);
        logs.write(&writer("B"), b"three\n");
        let text = |text: &str| text.to_owned();
        assert_eq!(
            files(folder.path()),
            [
                (text("A-7.log"), text("one\ntwo\\u{1b}[2J\t\u{fffd}\n")),
                (text("B-7.log"), text("three\n"))
            ]
        );
    }
}
