//! Setting up a process.

use std::{
    borrow::Cow,
    fmt,
    io::{Write, stdout},
};

use serde::Serialize;
use wasmp_abi::Status;

use super::{Process, ProcessError, StartMethod, method};
use crate::{
    cbor,
    host::processes::ProcessNumber,
    task::{Named, Task},
};

/// Sets up a [`Process`]; from [`Process::new`].
#[must_use = "a process does nothing until `start`"]
pub struct ProcessBuilder<F> {
    task: F,
    name: String,
    daemon: Option<bool>,
    method: Option<StartMethod>,
    args: Result<Vec<u8>, String>,
}

impl<F> fmt::Debug for ProcessBuilder<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("name", &self.name)
            .field("daemon", &self.daemon)
            .finish_non_exhaustive()
    }
}

/// A CBOR array of nothing.
const NO_ARGS: u8 = 0x80;

impl<F> ProcessBuilder<F> {
    pub(super) fn new(task: F) -> Self {
        Self {
            task,
            name: String::new(),
            daemon: None,
            method: None,
            args: Ok(vec![NO_ARGS]),
        }
    }

    /// What to call the task with, a tuple. Default: nothing.
    pub fn args<A: Serialize, M>(mut self, args: A) -> Self
    where
        F: Task<A, M>,
    {
        let mut bytes = Vec::new();
        self.args = cbor::encode(&args, &mut bytes).map(|()| bytes);
        self
    }

    /// What the process is called, up to 255 bytes. It means nothing. Default: `Process-` and its number among the processes
    /// of its parent, behind that of its parent if that has one.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether it is terminated when this process comes to its end, instead of being waited for. Default: if this process is
    /// a daemon.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// How it is started. Default: [`get_start_method`](crate::get_start_method).
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Starts the process, and waits until it runs (CPython: `Process.start`).
    ///
    /// # Errors
    ///
    /// [`ProcessError::Limit`]; that there is no such task, or that its arguments cannot be serialized; and
    /// [`ProcessError::Unsupported`] outside of a wasmp worker. Whether a task that is given by its name takes these
    /// arguments is found out by the process.
    pub fn start<M>(self) -> Result<Process, ProcessError>
    where
        F: Named<M>,
    {
        let task: Cow<'static, str> = match self.task.task_name() {
            Ok(name) => name,
            // Nothing is noted down there.
            Err(_) if !cfg!(target_family = "wasm") => return Err(ProcessError::Unsupported),
            Err(why) => return Err(ProcessError::NotATask(why)),
        };
        let args = self.args.map_err(ProcessError::Encode)?;
        let daemon: u32 = match self.daemon {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        };
        let length = |text: &str| u32::try_from(text.len()).expect("memory has 32 bits");
        let mut options = Vec::new();
        let method = self.method.or_else(method::chosen).map_or(0, StartMethod::number);
        options.extend_from_slice(&daemon.to_le_bytes());
        options.extend_from_slice(&method.to_le_bytes());
        options.extend_from_slice(&length(&task).to_le_bytes());
        options.extend_from_slice(&length(&self.name).to_le_bytes());
        options.extend_from_slice(task.as_bytes());
        options.extend_from_slice(self.name.as_bytes());
        // A copy of this process would print once more what waits here to be printed. CPython does the same; there is nobody to
        // tell if it cannot be written.
        let _ = stdout().flush();
        let number = ProcessNumber::start(&options, &args).map_err(|status| match status {
            Status::NotFound => ProcessError::NoSuchTask(task.into_owned()),
            Status::Unsupported if cfg!(target_family = "wasm") => ProcessError::CannotFork,
            status => status.into(),
        })?;
        Process::of(number)
    }
}
