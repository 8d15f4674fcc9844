//! Log records, each under the name of the process that writes it.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    fmt,
    io::{Write, stderr},
    panic::Location,
};

use crate::{current_process, host::processes::log_inherit};

/// How important a record is. A logger writes those of its own level and above. CPython: the levels of `logging`, and those
/// that `multiprocessing.util` has beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// 5, less than `Debug`.
    SubDebug = 5,
    /// 10.
    Debug = 10,
    /// 20.
    Info = 20,
    /// 25, less than `Warning`.
    SubWarning = 25,
    /// 30, the level of a logger of which nobody has set it.
    Warning = 30,
    /// 40.
    Error = 40,
    /// 50.
    Critical = 50,
}

impl Level {
    const ALL: [Self; 7] = [
        Self::SubDebug,
        Self::Debug,
        Self::Info,
        Self::SubWarning,
        Self::Warning,
        Self::Error,
        Self::Critical,
    ];

    /// As Python calls it: `INFO`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubDebug => "SUBDEBUG",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::SubWarning => "SUBWARNING",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// CPython: `multiprocessing.util.DEFAULT_LOGGING_FORMAT`.
const DEFAULT_FORMAT: &str = "[%(levelname)s/%(processName)s] %(message)s";

/// Says that records are written at all. The level is in the eight bits below; 0: nobody has set it.
const TO_STDERR: u32 = 1 << 8;

thread_local! {
    /// The level and [`TO_STDERR`], once this instance has asked, or was told.
    static SETTINGS: Cell<Option<u32>> = const { Cell::new(None) };
    static FORMAT: RefCell<Cow<'static, str>> = const { RefCell::new(Cow::Borrowed(DEFAULT_FORMAT)) };
}

/// What was set here, or by whoever started this process before it did.
fn settings() -> u32 {
    SETTINGS.get().unwrap_or_else(|| {
        // Outside of a wasmp worker nobody has set anything.
        let inherited = current_process().map_or(0, |process| process.log());
        SETTINGS.set(Some(inherited));
        inherited
    })
}

fn set(settings: u32) {
    SETTINGS.set(Some(settings));
    log_inherit(settings);
}

/// The logger of this process; from [`get_logger`] and [`log_to_stderr`].
///
/// Records are lines on standard error, which the host passes on as any other that a process writes there, and with
/// `wasmp run --log-dir` also keeps in a file for each process. Nothing is written until [`log_to_stderr`] is called, here or
/// in an ancestor. Levels, and that records are written, are inherited by the processes and pools that are started from then
/// on, with every start method; a format is not, but by a fork.
#[derive(Clone, Copy, Debug)]
pub struct Logger(());

/// The logger of this process (CPython: `multiprocessing.get_logger`).
#[must_use]
pub fn get_logger() -> Logger {
    Logger(())
}

/// Has this process, and those that it starts from now on, write their log records to standard error; with a level, that is
/// set, too. Returns the logger (CPython: `multiprocessing.log_to_stderr`).
///
/// ```no_run
/// use wasmp_guest::{Level, Process, Result, get_logger, log_to_stderr, main, task};
///
/// #[task]
/// fn work(number: u32) {
///     get_logger().info(format_args!("working on {number}")); // [INFO/Process-1] working on 7
/// }
///
/// #[main]
/// fn main() -> Result<()> {
///     log_to_stderr(Level::Info).info("doing some work"); // [INFO/MainProcess] doing some work
///     Ok(Process::new(work).args((7,)).start()?.join()?)
/// }
/// ```
pub fn log_to_stderr(level: impl Into<Option<Level>>) -> Logger {
    set(settings() | TO_STDERR);
    let logger = get_logger();
    if let Some(level) = level.into() {
        logger.set_level(level);
    }
    logger
}

impl Logger {
    /// Which records are written: those of this level and above. Default: [`Level::Warning`] (CPython: `getEffectiveLevel`).
    #[must_use]
    pub fn level(self) -> Level {
        let number = settings() & 0xff;
        let known = Level::ALL.into_iter().find(|level| *level as u32 == number);
        known.unwrap_or(Level::Warning)
    }

    /// Which records are written from now on, here and in processes that are started from here (CPython: `setLevel`).
    pub fn set_level(self, level: Level) {
        set(settings() & !0xff | level as u32);
    }

    /// How records look from now on in this process (CPython: a handler's formatter). Fields are `%(levelname)s`,
    /// `%(processName)s`, `%(process)d`, `%(message)s`, and of the place that has written the record `%(filename)s`,
    /// `%(pathname)s` and `%(lineno)d`; anything else is written as it stands. Default:
    /// `[%(levelname)s/%(processName)s] %(message)s`.
    pub fn set_format(self, format: impl Into<Cow<'static, str>>) {
        FORMAT.set(format.into());
    }

    /// Whether a record of this level would be written (CPython: `isEnabledFor`).
    #[must_use]
    pub fn is_enabled_for(self, level: Level) -> bool {
        settings() & TO_STDERR != 0 && level >= self.level()
    }

    /// Writes a record, if its level is high enough.
    #[track_caller]
    pub fn log(self, level: Level, message: impl fmt::Display) {
        if !self.is_enabled_for(level) {
            return;
        }
        let place = Location::caller();
        let (process, pid) = current_process().map_or_else(
            |_| ("MainProcess".to_owned(), 0),
            |process| (process.name().to_owned(), process.pid()),
        );
        let record = Record {
            level,
            process: &process,
            pid,
            place: (place.file(), place.line()),
            message: &message,
        };
        let line = FORMAT.with_borrow(|format| record.format(format));
        // In one piece, so that no other process's is in between. There is nobody to tell if it cannot be written.
        let _ = stderr().write_all(line.as_bytes());
    }

    /// Writes a record of [`Level::Debug`].
    #[track_caller]
    pub fn debug(self, message: impl fmt::Display) {
        self.log(Level::Debug, message);
    }

    /// Writes a record of [`Level::Info`].
    #[track_caller]
    pub fn info(self, message: impl fmt::Display) {
        self.log(Level::Info, message);
    }

    /// Writes a record of [`Level::Warning`].
    #[track_caller]
    pub fn warning(self, message: impl fmt::Display) {
        self.log(Level::Warning, message);
    }

    /// Writes a record of [`Level::Error`].
    #[track_caller]
    pub fn error(self, message: impl fmt::Display) {
        self.log(Level::Error, message);
    }

    /// Writes a record of [`Level::Critical`].
    #[track_caller]
    pub fn critical(self, message: impl fmt::Display) {
        self.log(Level::Critical, message);
    }
}

/// What there is to say.
struct Record<'r> {
    level: Level,
    process: &'r str,
    pid: u32,
    place: (&'r str, u32),
    message: &'r dyn fmt::Display,
}

impl Record<'_> {
    /// One line, unless the message has several.
    fn format(&self, format: &str) -> String {
        let mut line = String::new();
        let mut rest = format;
        while let Some((before, field)) = rest.split_once("%(") {
            line.push_str(before);
            rest = match field
                .split_once(')')
                .and_then(|(name, rest)| Some((self.field(name)?, rest)))
            {
                Some((value, rest)) => {
                    line.push_str(&value);
                    // The letter for its type says nothing new.
                    rest.strip_prefix(['s', 'd']).unwrap_or(rest)
                }
                None => {
                    line.push_str("%(");
                    field
                }
            };
        }
        line.push_str(rest);
        line.push('\n');
        line
    }

    fn field(&self, name: &str) -> Option<String> {
        let (path, number) = self.place;
        Some(match name {
            "levelname" => self.level.name().to_owned(),
            "processName" => self.process.to_owned(),
            "process" => self.pid.to_string(),
            "message" => self.message.to_string(),
            "filename" => path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned(),
            "pathname" => path.to_owned(),
            "lineno" => number.to_string(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: &dyn fmt::Display) -> Record<'_> {
        Record {
            level: Level::Info,
            process: "Process-1",
            pid: 7,
            place: ("src/deep/main.rs", 12),
            message,
        }
    }

    #[test]
    fn a_record_looks_as_in_python() {
        assert_eq!(record(&"hello").format(DEFAULT_FORMAT), "[INFO/Process-1] hello\n");
    }

    #[test]
    fn a_format_has_every_field_and_keeps_what_it_does_not_know() {
        let format = "%(process)d %(pathname)s:%(lineno)d %(filename)s %(nothing)s %(unclosed 100%";
        assert_eq!(
            record(&"").format(format),
            "7 src/deep/main.rs:12 main.rs %(nothing)s %(unclosed 100%\n"
        );
    }

    #[test]
    fn a_message_is_no_format() {
        assert_eq!(record(&"%(process)d").format("%(message)s!"), "%(process)d!\n");
    }

    #[test]
    fn levels_are_those_of_python() {
        assert!(Level::ALL.is_sorted());
        assert_eq!(format!("{:>8}", Level::Error), "   ERROR");
        let logger = get_logger();
        assert_eq!(logger.level(), Level::Warning, "nobody has set it");
        logger.set_level(Level::Debug);
        assert_eq!(logger.level(), Level::Debug);
        assert!(!logger.is_enabled_for(Level::Critical), "nobody has asked for records");
    }
}
