//! Child processes that are waited for, but not for ever.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for the last output of a child that has ended: a grandchild may still hold its pipes.
const DRAIN: Duration = Duration::from_secs(1);

/// Why one step towards a compiler failed.
#[derive(Debug)]
pub(crate) enum StepError {
    /// The program is not on this machine.
    Missing { program: String },
    /// It was started and failed.
    Failed { command: String, output: String },
    /// It did not end in time, and was killed.
    TimedOut { command: String, limit: Duration },
    /// A file operation, or the start of a program, failed.
    Io { action: String, source: io::Error },
    /// The machine does not offer what the step needs.
    Unavailable(String),
}

impl StepError {
    /// For `map_err` on a file operation: `action` completes "cannot …".
    pub(crate) fn io(action: impl fmt::Display, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action: format!("{action} {}", path.display()),
            source,
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { program } => write!(f, "{program} is not installed"),
            Self::Failed { command, output } if output.is_empty() => write!(f, "`{command}` failed without a word"),
            Self::Failed { command, output } => write!(f, "`{command}` failed: {output}"),
            Self::TimedOut { command, limit } => write!(f, "`{command}` gave no result within {} s", limit.as_secs()),
            Self::Io { action, source } => write!(f, "cannot {action}: {source}"),
            Self::Unavailable(reason) => f.write_str(reason),
        }
    }
}

/// Runs the command to its end, successful if it is to be `Ok`, and returns its standard output.
/// The child is killed after `limit`.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<String, StepError> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| {
            let program = command.get_program().display().to_string();
            if source.kind() == io::ErrorKind::NotFound {
                StepError::Missing { program }
            } else {
                StepError::Io {
                    action: format!("start {program}"),
                    source,
                }
            }
        })?;
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let ended = wait(&mut child, limit);
    match ended.map_err(|source| StepError::Io {
        action: format!("wait for {}", line(command)),
        source,
    })? {
        None => Err(StepError::TimedOut {
            command: line(command),
            limit,
        }),
        Some(status) if status.success() => Ok(drain(stdout)),
        Some(_) => Err(StepError::Failed {
            command: line(command),
            output: gist(&drain(stderr)),
        }),
    }
}

/// Waits until the child ends or the time is over; in the latter case it is dead and reaped on return.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Reads the pipe on a thread of its own, so that a talkative child never blocks on a full one.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A read error ends the output where it is; a receiver that is gone has no use for it.
        let _ = pipe.read_to_end(&mut bytes);
        let _ = send.send(bytes);
    });
    receive
}

fn drain(pipe: Option<Receiver<Vec<u8>>>) -> String {
    let bytes = pipe.and_then(|pipe| pipe.recv_timeout(DRAIN).ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The command as a reader would type it: program name and arguments.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// What matters of an error output: from the first line that says "error" on, or else the last lines.
fn gist(output: &str) -> String {
    const LINES: usize = 4;
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let start = lines
        .iter()
        .position(|line| line.starts_with("error") || line.starts_with("E:"));
    let start = start.unwrap_or(lines.len().saturating_sub(LINES));
    lines[start..]
        .iter()
        .take(LINES)
        .copied()
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_a_success() {
        let out = output(
            Command::new("sh").args(["-c", "echo out; echo err >&2"]),
            Duration::from_secs(10),
        );
        assert_eq!(out.unwrap(), "out\n");
    }

    #[test]
    fn a_failure_tells_the_command_and_its_words() {
        let failed = output(
            Command::new("sh").args(["-c", "echo why >&2; exit 3"]),
            Duration::from_secs(10),
        );
        assert_eq!(
            failed.unwrap_err().to_string(),
            "`sh -c echo why >&2; exit 3` failed: why"
        );
    }

    #[test]
    fn a_program_that_is_not_there() {
        let missing = output(&mut Command::new("wasmp-no-such-program"), Duration::from_secs(10));
        assert_eq!(
            missing.unwrap_err().to_string(),
            "wasmp-no-such-program is not installed"
        );
    }

    #[test]
    fn a_child_that_hangs_is_killed() {
        let start = Instant::now();
        let hung = output(Command::new("sleep").arg("600"), Duration::from_millis(100));
        assert!(matches!(hung, Err(StepError::TimedOut { .. })));
        assert!(start.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn the_gist_prefers_errors() {
        assert_eq!(gist("info: a\nerror: b\n  cause\n"), "error: b; cause");
        assert_eq!(gist("a\nb\n\nc\nd\ne\n"), "b; c; d; e");
        assert_eq!(gist(""), "");
    }
}
