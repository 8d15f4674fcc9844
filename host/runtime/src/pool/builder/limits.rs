//! What is set about limits, and what is done when one is hit.

use std::time::Duration;

use super::PoolBuilder;
use crate::retry::Retry;

impl PoolBuilder {
    /// Kills an item that runs longer than this; it fails with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    /// Default: no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.grants.limits.timeout = Some(timeout);
        self
    }

    /// Stops an item that runs longer than this where it is, so that its error, of the kind
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), has the backtrace of where that was. The worker goes on with a new
    /// instance. One that does not stop within a second is killed, as [`timeout`](Self::timeout) does at once.
    ///
    /// The guest is compiled so that it can be stopped, which makes tight loops slower, up to twice as slow. Default: no
    /// limit.
    pub fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.grants.limits.soft_timeout = Some(timeout);
        self
    }

    /// How often an item is tried again whose worker died under it. A task that fails in any other way is not tried
    /// again. Default: 0.
    pub fn retries(self, retries: u32) -> Self {
        self.retry(Retry::times(retries))
    }

    /// When an item that failed is tried again. Default: never.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How many bytes of memory a guest may use. Default, and at most: 4 GiB.
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.grants.limits.max_memory = bytes;
        self
    }

    /// How many bytes of memory all processes of the pool have together, with what they were the first to touch of
    /// what they share. Where it is exceeded the system kills one of them, whose item is
    /// [`WorkerLost`](crate::ErrorKind::WorkerLost). Default: no limit but [`max_memory`](Self::max_memory) for each.
    ///
    /// It takes a control group for the pool. They can be made where version 2 of them is in use and the group around that of
    /// this process is this user's to divide, as in a service of systemd with `Delegate=yes` and `DelegateSubgroup=`.
    /// [`Platform::cgroup_delegated`](crate::Platform::cgroup_delegated) and `wasmp doctor` say whether that is so; where it is not,
    /// **there is no such limit**, and one on the group of the host holds for its workers, too. An inline pool has none
    /// either.
    pub fn max_total_memory(mut self, bytes: u64) -> Self {
        self.grants.limits.max_total_memory = Some(bytes);
        self
    }

    /// How many bytes a result may have, and a message that a guest puts into a queue or a pipe. It bounds what a guest can
    /// make the host hold at once. Default: 256 MiB; at most 4 GiB. What a queue or a pipe made by a guest can hold grows
    /// with it.
    pub fn max_message(mut self, bytes: u64) -> Self {
        self.grants.limits.max_message = bytes;
        self
    }

    /// How many bytes an item may print, to standard output and error together, before it fails with
    /// [`ErrorKind::OutputLimit`](crate::ErrorKind::OutputLimit); what it has printed until then is passed on. For a process it
    /// is the sum over its life. Default: no limit; a guest that prints faster than anybody reads has to wait, and so
    /// have others of its pool that print.
    pub fn max_output(mut self, bytes: u64) -> Self {
        self.grants.limits.max_output = Some(bytes);
        self
    }

    /// How many processes guests may have started at a time: `Process`es and workers of their pools together. One more is an
    /// error of theirs. Default: 64.
    pub fn max_processes(mut self, processes: usize) -> Self {
        self.grants.limits.max_processes = processes;
        self
    }

    /// How much of a worker's output is passed on: so many bytes a second, and as many at once after a pause. Lines beyond that are
    /// dropped, and a line on standard error says how many bytes it were, before the next one that is passed on. What is the
    /// result of a command is no output. Default: everything is passed on.
    ///
    /// It is for guests that run for long and may log without end, where nobody should have to read it all, or keep it
    /// ([`log_dir`](Self::log_dir)); [`max_output`](Self::max_output) ends those that print too much.
    pub fn output_rate(mut self, bytes: u64) -> Self {
        self.grants.limits.output_rate = Some(bytes);
        self
    }

    /// How much an item may compute, before it fails with [`ErrorKind::FuelLimit`](crate::ErrorKind::FuelLimit): a unit is about an
    /// instruction of WebAssembly, and copying memory counts by its length. Unlike a [`timeout`](Self::timeout) it hits in
    /// the same place each time, on every machine with this version. What the guest does between items, and
    /// to get an instance ready, has as much. For a process it is the sum over its life. Waiting costs nothing.
    ///
    /// The guest is compiled so that it counts, which makes the tightest loops two to four times as slow, and most code less
    /// so. Default: it does not count.
    pub fn fuel(mut self, units: u64) -> Self {
        self.grants.limits.fuel = Some(units);
        self
    }

    /// How long compiling the module may take, before [`build`](Self::build) fails. A module can be made to make a compiler
    /// suffer. One that is compiled already is not compiled again. Default: 120 s.
    pub fn compile_timeout(mut self, timeout: Duration) -> Self {
        self.grants.limits.compile_timeout = timeout;
        self
    }

    /// How many bytes of memory compiling the module may take, beside some 128 MiB that it always has. Default: 4 GiB.
    pub fn compile_memory(mut self, bytes: u64) -> Self {
        self.grants.limits.compile_memory = bytes;
        self
    }
}
