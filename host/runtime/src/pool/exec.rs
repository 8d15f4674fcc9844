//! A WASI command that is run once, as a program rather than as a task.

use std::io::Read;

use super::PoolBuilder;
use crate::context::pump;
use crate::error::{Error, ErrorKind, Result};
use crate::output::Framing;

impl PoolBuilder {
    /// Runs a WASI command once, in a worker of its own, and returns its exit code.
    ///
    /// `stdin` is read on a thread of its own, as the command asks for it. What the command writes is passed on as it
    /// comes, in pieces and not in lines. The thread ends when `stdin` does; it is not waited for.
    ///
    /// ```no_run
    /// # fn main() -> wasmp::Result<()> {
    /// let code = wasmp::Pool::builder("tool.wasm").args(["tool", "--version"]).exec(std::io::stdin())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build); [`Error::Task`] if the command did not come to an end of its own: a trap, a
    /// deadline, a limit.
    pub fn exec(mut self, stdin: impl Read + Send + 'static) -> Result<i32> {
        self.framing = Framing::Raw;
        self.capture = false;
        self.stdin = self.grants.stdin.then(|| pump(stdin)).transpose()?;
        let pool = self.processes(1).build()?;
        let ended: Result<()> = pool.apply("_start", ());
        pool.close();
        pool.join()?;
        match ended {
            Ok(()) => Ok(0),
            Err(Error::Task(error)) if error.kind == ErrorKind::Exit => Ok(error.exit_code.unwrap_or(1)),
            Err(error) => Err(error),
        }
    }
}
