//! What guests are given, and what they may use up: one set of it for the library, the command line and a file.

mod dir;
mod file;
mod limits;
mod object;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use self::dir::DirGrant;
#[cfg(test)]
pub(crate) use self::file::parse;
pub use self::limits::Limits;
pub(crate) use self::limits::MAX_MEMORY;
pub use self::object::{NamedObject, ObjectKind};
use crate::error::{Error, Result};
use crate::sandbox::Sandbox;

/// What guests are given, and what they may use up.
///
/// By default that is nothing beyond their arguments: no files, no environment, no objects, and never a network. The methods of
/// [`PoolBuilder`](crate::PoolBuilder) say the same one by one, and `wasmp map --explain` prints it.
///
/// # The file
///
/// [`Grants::load`] reads it from a file, `wasmp.toml`, whose keys are the long options of the command and whose values are
/// what is typed after them:
///
/// ```toml
/// dir = ["data", "results::/out:rw"]   # relative to this file
/// env = { LANG = "C" }
/// queue = ["jobs:100"]
/// timeout = "2s"
/// max-memory = "64M"
/// sandbox = "strict"
/// ```
///
/// | key | value | |
/// | --- | --- | --- |
/// | `dir` | texts `HOST[::GUEST][:rw]` | [`dirs`](Self::dirs); a relative HOST begins where the file is |
/// | `env` | a table of texts | [`env`](Self::env) |
/// | `args` | texts | [`args`](Self::args) |
/// | `stdin`, `deterministic` | `true` or `false` | the fields of these names |
/// | `queue`, `lock`, `event`, `semaphore`, `shared-memory` | texts, `NAME` or `NAME:NUMBER` | [`objects`](Self::objects) |
/// | `sandbox` | `"strict"`, `"best-effort"`, `"off"` | [`sandbox`](Self::sandbox) |
/// | `timeout`, `soft-timeout`, `compile-timeout` | a [duration](crate::units::duration) | [`limits`](Self::limits) |
/// | `max-memory`, `max-total-memory`, `max-message`, `max-output`, `output-rate`, `compile-memory` | a [size](crate::units::size), or a number of bytes | |
/// | `fuel`, `max-processes` | a number | |
///
/// A file is read only by those who name it, never because it lies somewhere: whoever ships a module could ship a file beside
/// it, and would grant himself what he likes.
///
/// ```no_run
/// use wasmp::{Grants, Pool};
///
/// # fn main() -> wasmp::Result<()> {
/// let mut grants = Grants::load("wasmp.toml")?;
/// grants.limits.max_memory = 64 << 20;
/// let pool = Pool::builder("tasks.wasm").grants(grants).build()?;
/// # drop(pool);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grants {
    /// Directories: see [`PoolBuilder::dir`](crate::PoolBuilder::dir).
    pub dirs: Vec<DirGrant>,
    /// Names and values of environment variables. Guests see none of the host's.
    pub env: Vec<(String, String)>,
    /// The arguments that guests see, the program's name first.
    pub args: Vec<String>,
    /// Whether a program that is run with a standard input may read it; to one that may not, it is empty. Default: yes. Tasks
    /// have none in any case.
    pub stdin: bool,
    /// No clock and no randomness but invented ones: see [`PoolBuilder::deterministic`](crate::PoolBuilder::deterministic).
    pub deterministic: bool,
    /// Shared objects that are made for the guests, and that they open by name.
    pub objects: Vec<NamedObject>,
    /// How much of the wall around a worker's process there has to be.
    pub sandbox: Sandbox,
    /// What they may use up.
    pub limits: Limits,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            dirs: Vec::new(),
            env: Vec::new(),
            args: Vec::new(),
            stdin: true,
            deterministic: false,
            objects: Vec::new(),
            sandbox: Sandbox::default(),
            limits: Limits::default(),
        }
    }
}

impl Grants {
    /// The name of the file, where only its folder is named.
    pub const FILE_NAME: &str = "wasmp.toml";

    /// Reads a file, or the one called `wasmp.toml` in a folder.
    ///
    /// # Errors
    ///
    /// [`Error::Grants`], with the line, if it cannot be read, has a key that there is none of or a value that makes no
    /// sense, or names a directory that is not there.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let path = match path.is_dir() {
            true => path.join(Self::FILE_NAME),
            false => path.to_owned(),
        };
        file::load(&path).map_err(|refused| Error::Grants {
            path,
            line: refused.line,
            why: refused.why,
        })
    }

    /// Grants this directory, in place of another that guests would see under the same name.
    pub fn add_dir(&mut self, dir: DirGrant) {
        self.dirs.retain(|other| other.guest() != dir.guest());
        self.dirs.push(dir);
    }

    /// Sets this variable, in place of another of the same name.
    pub fn add_env(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        self.env.retain(|(other, _)| *other != name);
        self.env.push((name, value.into()));
    }

    /// Makes this object, in place of another of the same name.
    pub fn add_object(&mut self, object: NamedObject) {
        self.objects.retain(|other| other.name != object.name);
        self.objects.push(object);
    }
}
