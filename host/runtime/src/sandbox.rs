//! How much of the wall around a worker's process there has to be.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::platform::Platform;

/// How much of the second wall there has to be: of what a worker process gives up before it runs a guest.
///
/// The first wall, WebAssembly, always stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Sandbox {
    /// All of it: a pool is not built where Landlock or seccomp filters are missing.
    Strict,
    /// What there is. Without seccomp filters no worker starts. Without Landlock workers do, and then one that has broken
    /// out of WebAssembly can open whatever its user can as soon as it was granted any directory.
    #[default]
    BestEffort,
    /// **None.** Workers keep capabilities, resource limits, files, network and every system call. For debugging, and for
    /// measuring what the wall costs; never for code that you do not trust.
    Off,
}

/// As it is typed: `strict`, `best-effort` or `off`.
impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::BestEffort => "best-effort",
            Self::Off => "off",
        })
    }
}

impl FromStr for Sandbox {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Strict, Self::BestEffort, Self::Off]
            .into_iter()
            .find(|level| level.to_string() == text)
            .ok_or_else(|| format!("`{text}` is no level of the sandbox: it is strict, best-effort or off"))
    }
}

impl Sandbox {
    /// Whether this machine has what it takes for a pool with or without directories.
    pub(crate) fn check(self, has_dirs: bool) -> Result<()> {
        match self {
            Self::Strict => match Platform::probe().missing_for_strict() {
                None => Ok(()),
                Some(missing) => Err(Error::Sandbox(missing)),
            },
            Self::BestEffort => {
                if has_dirs && Platform::landlock_abi().is_none() {
                    tracing::warn!(
                        "no Landlock: if a guest breaks out of WebAssembly, nothing keeps it within its directories"
                    );
                }
                Ok(())
            }
            Self::Off => {
                tracing::warn!("the sandbox is off: WebAssembly alone stands between guests and this user's files");
                Ok(())
            }
        }
    }
}
