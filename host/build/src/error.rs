//! The one error type of the crate: each variant reads as advice.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::TARGET;

/// Why a guest could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The folder holds no `Cargo.toml`.
    NoManifest {
        /// The folder as it was given.
        dir: PathBuf,
    },
    /// Cargo could not be started.
    NoCargo {
        /// The program that was tried.
        cargo: PathBuf,
        /// Why it did not start.
        source: io::Error,
    },
    /// Cargo cannot make sense of the crate or of the workspace around it.
    Manifest {
        /// The guest's folder.
        dir: PathBuf,
        /// What cargo says.
        message: String,
    },
    /// The folder is the root of a workspace and no crate itself.
    Workspace {
        /// The workspace's folder.
        dir: PathBuf,
        /// The folders of its members.
        members: Vec<PathBuf>,
    },
    /// The crate has neither a program nor a `cdylib`, so that no module would come out.
    NothingToBuild {
        /// The name of the package.
        package: String,
    },
    /// The crate makes several modules, none of which is plainly the main one.
    Ambiguous {
        /// The name of the package.
        package: String,
        /// The candidates, such as `program a`.
        products: Vec<String>,
    },
    /// There is no compiler for [`TARGET`], and none could be made.
    NoToolchain {
        /// What was tried, in order.
        tried: Vec<Attempt>,
    },
    /// Cargo ran and failed; its diagnostics have gone to stderr.
    Compile {
        /// The name of the package.
        package: String,
        /// How cargo ended.
        status: ExitStatus,
    },
    /// Cargo succeeded, but reported no module.
    NoModule {
        /// The name of the package.
        package: String,
    },
    /// Cargo's reports could not be read.
    Io(io::Error),
}

/// One way to get a compiler that did not work out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried.
    pub what: String,
    /// How it ended.
    pub outcome: String,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoManifest { dir } => {
                write!(f, "{} is not a crate: it holds no Cargo.toml", dir.display())
            }
            Self::NoCargo { cargo, source } => write!(
                f,
                "cannot start {}: {source}; a guest is built by cargo, install it from https://rustup.rs",
                cargo.display()
            ),
            Self::Manifest { dir, message } => {
                write!(f, "cargo cannot read the crate in {}:\n{message}", dir.display())
            }
            Self::Workspace { dir, members } => {
                write!(
                    f,
                    "{} is a workspace, not a crate; name one of its members:",
                    dir.display()
                )?;
                members
                    .iter()
                    .try_for_each(|member| write!(f, "\n  {}", member.display()))
            }
            Self::NothingToBuild { package } => write!(
                f,
                "{package} is a plain library, which makes no .wasm: give it a src/main.rs, \
                 or put crate-type = [\"cdylib\"] under [lib] in its Cargo.toml"
            ),
            Self::Ambiguous { package, products } => write!(
                f,
                "{package} makes several modules ({}): choose a program with default-run = \"<name>\" \
                 under [package] in its Cargo.toml",
                products.join(", ")
            ),
            Self::NoToolchain { tried } => {
                write!(
                    f,
                    "no compiler for {TARGET} on this machine, and none could be fetched or made"
                )?;
                tried
                    .iter()
                    .try_for_each(|attempt| write!(f, "\n  tried {}: {}", attempt.what, attempt.outcome))?;
                write!(
                    f,
                    "\nget it with `rustup target add {TARGET}` (rustup itself: https://rustup.rs)"
                )
            }
            Self::Compile { package, status } => write!(f, "cargo could not compile {package} ({status})"),
            Self::NoModule { package } => {
                write!(
                    f,
                    "cargo compiled {package}, but named no .wasm file among its products"
                )
            }
            Self::Io(source) => write!(f, "cannot read what cargo reports: {source}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoCargo { source, .. } | Self::Io(source) => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_toolchain_lists_the_attempts_and_what_to_type() {
        let attempt = |what: &str, outcome: &str| Attempt {
            what: what.into(),
            outcome: outcome.into(),
        };
        let error = BuildError::NoToolchain {
            tried: vec![
                attempt("rustc 1.95.0", "it lacks the target"),
                attempt("apt", "apt-get is not installed"),
            ],
        };
        assert_eq!(
            error.to_string(),
            "no compiler for wasm32-wasip1 on this machine, and none could be fetched or made\n  \
             tried rustc 1.95.0: it lacks the target\n  \
             tried apt: apt-get is not installed\n\
             get it with `rustup target add wasm32-wasip1` (rustup itself: https://rustup.rs)"
        );
    }

    #[test]
    fn a_workspace_names_its_members() {
        let error = BuildError::Workspace {
            dir: "all".into(),
            members: vec!["all/a".into(), "all/b".into()],
        };
        assert_eq!(
            error.to_string(),
            "all is a workspace, not a crate; name one of its members:\n  all/a\n  all/b"
        );
    }
}
