//! What is set about workers: how many there are, how they come, and what they begin with.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::{PoolBuilder, Prepared, Spread};
use crate::identity::StartMethod;
use crate::shared::collect_references;
use crate::spec::Isolation;

impl PoolBuilder {
    /// How many workers; from 1 to 1000. Default: the CPUs that this process may use.
    pub fn processes(mut self, processes: usize) -> Self {
        self.processes = Some(processes);
        self
    }

    /// Starts workers only when there is work for them, and stops those that had none for so long, down to
    /// [`min_processes`](Self::min_processes). Default: all workers are there from the start, and stay.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle_timeout = Some(idle);
        self
    }

    /// How many workers stay when there is no work, if there is an [`idle_timeout`](Self::idle_timeout). Default: 0.
    pub fn min_processes(mut self, processes: usize) -> Self {
        self.min_processes = Some(processes);
        self
    }

    /// Replaces a worker process after this many tasks (CPython: `maxtasksperchild`, which counts chunks). To begin with a
    /// fresh instance, but in the same process, is what [`Isolation`] is for, and much faster. Default: never.
    pub fn max_tasks_per_child(mut self, tasks: u32) -> Self {
        self.max_tasks_per_child = Some(tasks);
        self
    }

    /// A task that each instance runs before any other, with these arguments, a tuple (CPython: `initializer` and
    /// `initargs`). When one fails, its worker is replaced; when three in a row do, the pool gives up with
    /// [`Error::Broken`](crate::Error::Broken), which says why. It may take as long as [`timeout`](Self::timeout) says.
    pub fn initializer<A: Serialize>(mut self, task: impl Into<String>, args: A) -> Self {
        let mut bytes = Vec::new();
        let written = collect_references(|| Spread::Star.write(&args, &mut bytes));
        self.initializer = Some(Prepared {
            task: task.into(),
            args: written.map(|((), references)| (bytes, references)),
        });
        self
    }

    /// How workers are started (CPython: `get_context(method).Pool`). With [`StartMethod::Spawn`] each comes from an executable
    /// that is started anew for it, also one that replaces another. [`StartMethod::Fork`] is `Forkserver`: a worker that takes
    /// the place of another has nobody to be a copy of. The workers of an inline pool are threads whatever this says. It is
    /// what the guests' own processes and pools begin with. Default: [`StartMethod::Forkserver`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// How much of an instance's state one task leaves to the next. Default: all of it.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// The executable to start workers from. Default: this program itself; no cooperation from its `main` is needed.
    pub fn worker_exe(mut self, path: impl Into<PathBuf>) -> Self {
        self.worker_exe = Some(path.into());
        self
    }

    /// Has the pool's workers be threads of this process, for debugging: a debugger, a profiler or a sanitizer that looks at
    /// this process sees them. Everything else is as ever. CPython: `multiprocessing.dummy`, and joblib's inline mode.
    ///
    /// Guests are as confined as WebAssembly confines them, and by nothing else: there is no second wall around code that
    /// you do not trust. A worker cannot be killed from outside; a deadline and [`terminate`](crate::Pool::terminate) still end
    /// its task, at its next loop or call, but for a call on a file that blocks. Its tasks can have pools, whose workers are threads, too, but no processes.
    /// Compiled code differs, as guests can be stopped in it, and tight loops are slower. Default: no.
    ///
    /// ```no_run
    /// # fn main() -> wasmp::Result<()> {
    /// let pool = wasmp::Pool::builder("tasks.wasm").processes(1).inline(true).build()?;
    /// assert_eq!(pool.worker_pids(), [std::process::id()]);
    /// assert_eq!(pool.apply::<_, i64>("square", (7,))?, 49);
    /// # Ok(())
    /// # }
    /// ```
    pub fn inline(mut self, inline: bool) -> Self {
        self.inline = inline;
        self
    }
}
