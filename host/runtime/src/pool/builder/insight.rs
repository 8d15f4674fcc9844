//! What is set about what comes out beside results: output, logs, measurements.

use std::io::Write;
use std::path::PathBuf;

use super::PoolBuilder;
use crate::output::GuestOutput;

impl PoolBuilder {
    /// Where to pass on what guests write to their standard streams: whole lines, one at a time, on a thread of their
    /// own. Default: to the host's own streams; where those are terminals, control characters are escaped.
    pub fn on_output(mut self, handler: impl FnMut(GuestOutput<'_>) + Send + 'static) -> Self {
        self.output = Some(Box::new(handler));
        self
    }

    /// Keeps what each process writes to its standard error, its log records among that, also in a file of its own in this
    /// directory, which is made if it is not there. A file is called by the process and its id, as
    /// `PoolWorker-1-4711.log`; whatever a name has beside letters, digits, `-` and `_` is `_`. It is always a new one, and
    /// this process writes it, so that guests need no grant. Control characters are escaped. When a file cannot be written,
    /// that is a warning of `tracing`, and nothing else comes of it. Each process that has written something takes a
    /// descriptor while it runs. Default: none.
    ///
    /// CPython has nothing of the kind: a logger of `multiprocessing` is given a handler in each process.
    pub fn log_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.log_dir = Some(path.into());
        self
    }

    /// Measures how long items run and what workers do with their time, for [`Pool::stats`](crate::Pool::stats). It costs two looks at the
    /// clock and 24 bytes for each item; without it, nothing is measured and nothing is paid. Default: no.
    pub fn insight(mut self, measured: bool) -> Self {
        self.insight = measured;
        self
    }

    /// Writes a timeline of the pool in Chrome's trace event format, which Perfetto (ui.perfetto.dev) and
    /// `chrome://tracing` show: what each worker ran and when, and its births and deaths. It is written on a thread of its
    /// own, whole when [`Pool::join`](crate::Pool::join) returns or the pool has been dropped, both of which wait for the writer. When the
    /// writer is a million items behind, some are left out, and the last event says how many. Implies
    /// [`insight`](Self::insight). Default: none.
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use wasmp::Pool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::builder("tasks.wasm").trace(File::create("trace.json")?).build()?;
    /// let _: Vec<i64> = pool.map("square", 0..1000)?;
    /// pool.close();
    /// pool.join()?; // an `Error::Trace` if the file could not be written
    /// # Ok(())
    /// # }
    /// ```
    pub fn trace(mut self, writer: impl Write + Send + 'static) -> Self {
        self.trace = Some(Box::new(writer));
        self
    }
}
