//! What is set about grants: what guests are given beyond their arguments, and the wall around them.

use super::PoolBuilder;
use crate::grants::{DirGrant, Grants};
use crate::sandbox::Sandbox;
use crate::shared::Shareable;

impl PoolBuilder {
    /// Gives guests all of this, and nothing else: it takes the place of whatever was set before of grants and of limits.
    pub fn grants(mut self, grants: Grants) -> Self {
        self.grants = grants;
        self
    }

    /// Has the same task do the same each time, bit for bit, with the same arguments: on every machine with this version, and
    /// whatever else runs. Each task gets a fresh instance ([`Isolation::Task`](crate::Isolation::Task)), whose clocks begin at 0 (which is
    /// 1970) and go on by 1 µs whenever they are read; a sleep takes no time, and the clock shows its end. Random numbers
    /// are the same ones for each instance, so they are no secret. All NaNs have the same bits, which makes
    /// floating point code slower.
    ///
    /// What tasks learn from elsewhere is as it is: files, [shared objects](crate#shared-objects), pools and processes of
    /// their own, the number of their worker. Default: no.
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.grants.deterministic = deterministic;
        self
    }

    /// How much of the wall around a worker's process there has to be. Default: [`Sandbox::BestEffort`].
    ///
    /// ```no_run
    /// use wasmp::{Pool, Sandbox};
    ///
    /// # fn main() -> wasmp::Result<()> {
    /// // An `Error::Sandbox` where Landlock or seccomp is missing.
    /// let pool = Pool::builder("tasks.wasm").sandbox(Sandbox::Strict).build()?;
    /// # drop(pool);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sandbox(mut self, level: Sandbox) -> Self {
        self.grants.sandbox = level;
        self
    }

    /// Grants a directory.
    pub fn dir(mut self, grant: DirGrant) -> Self {
        self.grants.dirs.push(grant);
        self
    }

    /// Sets an environment variable for guests, which see none of the host's.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.grants.env.push((name.into(), value.into()));
        self
    }

    /// The arguments that guests see, the program's name first. A command that is called with an array gets that instead.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.grants.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Makes an object known to guests by this name, of 1 to 255 bytes: `Queue::named` and the like open it there. Names
    /// are for those who cannot pass handles; arguments can carry them, and need no name.
    pub fn share(mut self, name: impl Into<String>, object: &impl Shareable) -> Self {
        self.shared.push((name.into(), object.handle().clone()));
        self
    }
}
