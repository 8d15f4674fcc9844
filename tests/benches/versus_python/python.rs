//! Python processes that take samples on demand: one line in, one figure out. See `peer.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::{Failure, Sampler};

/// The interpreter.
#[derive(Debug)]
pub(crate) struct Python {
    script: PathBuf,
    /// What it says of itself.
    pub(crate) facts: String,
}

impl Python {
    /// The `python3` of this machine.
    pub(crate) fn find() -> Result<Self, Failure> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus_python/peer.py");
        let output = Command::new("python3")
            .arg(&script)
            .arg("facts")
            .output()
            .map_err(|error| format!("python3 cannot be started: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "python3 does not work: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )
            .into());
        }
        let facts = String::from_utf8_lossy(&output.stdout);
        let facts: Vec<_> = facts.split_whitespace().collect();
        let [implementation, version, method] = facts[..] else {
            return Err("python3 speaks in riddles".into());
        };
        Ok(Self {
            script,
            facts: format!("{implementation} {version} (start method {method})"),
        })
    }

    /// A process that takes samples of this row.
    pub(crate) fn sampler(&self, row: &str, library: &str, items: u64) -> Result<Sampler, Failure> {
        let mut command = Command::new("python3");
        command.arg(&self.script).args([row, library, &items.to_string()]);
        let mut process = Samples::start(command)?;
        if process.line()? != "ready" {
            return Err("python3 is not ready".into());
        }
        Ok(Box::new(move || process.sample()))
    }
}

/// A process that answers each line with a figure.
#[derive(Debug)]
pub(crate) struct Samples {
    process: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Samples {
    pub(crate) fn start(mut command: Command) -> Result<Self, Failure> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = BufReader::new(process.stdout.take().ok_or("no pipe from the process")?);
        Ok(Self {
            ask: process.stdin.take(),
            process,
            answers,
        })
    }

    /// Has it begin, without waiting for the answer.
    pub(crate) fn ask(&mut self) -> Result<(), Failure> {
        Ok(self
            .ask
            .as_mut()
            .ok_or("no pipe to the process")?
            .write_all(b"sample\n")?)
    }

    pub(crate) fn answer(&mut self) -> Result<f64, Failure> {
        Ok(self.line()?.parse()?)
    }

    pub(crate) fn sample(&mut self) -> Result<f64, Failure> {
        self.ask()?;
        self.answer()
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("the peer has ended; what it said is above".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        // It ends with its input.
        self.ask = None;
        let _ = self.process.wait();
    }
}
