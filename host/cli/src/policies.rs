//! What is done about failures and with instances, and how they are walled in, as it is typed: `--retry-on`,
//! `--isolation`, `--initargs`, `--sandbox`.

use std::str::FromStr;
use std::time::Duration;

use ciborium::Value;
use clap::ValueEnum;
use wasmp::{Isolation, Retry, Sandbox};

use crate::json;

/// A failure after which an item is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RetryOn {
    /// Its worker process died
    Lost,
    /// It ran longer than --timeout
    Timeout,
    /// It failed by itself: an error, a panic, a trap, an exit
    Error,
}

/// How much of the sandbox there has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Refuse to start where Landlock or seccomp is missing
    Strict,
    /// Go on without Landlock
    BestEffort,
    /// No wall but WebAssembly: never for code that you do not trust
    Off,
}

impl From<Level> for Sandbox {
    fn from(level: Level) -> Self {
        match level {
            Level::Strict => Self::Strict,
            Level::BestEffort => Self::BestEffort,
            Level::Off => Self::Off,
        }
    }
}

/// The policy that was typed.
pub(crate) fn retry(times: u32, on: &[RetryOn], backoff: Option<Duration>) -> Retry {
    on.iter()
        .fold(Retry::times(times), |retry, on| match on {
            RetryOn::Lost => retry,
            RetryOn::Timeout => retry.on_timeout(),
            RetryOn::Error => retry.on_error(),
        })
        .backoff(backoff.unwrap_or_default())
}

/// Reads how long an instance is kept.
pub(crate) fn isolation(text: &str) -> Result<Isolation, String> {
    match (text, text.parse()) {
        ("worker", _) => Ok(Isolation::Worker),
        ("task", _) => Ok(Isolation::Task),
        (_, Ok(0)) => Err("an instance runs at least one task".to_owned()),
        (_, Ok(tasks)) => Ok(Isolation::Every(tasks)),
        _ => Err("it is `worker`, `task` or a number of tasks".to_owned()),
    }
}

/// The arguments of an initializer.
#[derive(Clone, Debug)]
pub(crate) struct Initargs(pub(crate) Vec<Value>);

impl FromStr for Initargs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match json::parse(text) {
            Ok(Value::Array(args)) => Ok(Self(args)),
            Ok(_) => Err(format!("the arguments stand in brackets: [{text}]")),
            Err(error) => Err(error.to_string()),
        }
    }
}
