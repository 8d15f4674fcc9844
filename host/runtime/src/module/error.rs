//! Why a module cannot be used, said so that the reader knows what to do next.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Most imports that an error lists.
const LISTED: usize = 8;

/// Why a module cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum ModuleError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// There is nothing in it.
    Empty {
        /// The module.
        module: String,
    },
    /// It is larger than a module can be.
    TooLarge {
        /// The module.
        module: String,
        /// What is too large, and the limit.
        what: String,
    },
    /// It is something else than WebAssembly.
    NotWasm {
        /// The module.
        module: String,
        /// What it looks like, with the way from there to a module.
        looks_like: String,
    },
    /// It is a WebAssembly component.
    Component {
        /// The module.
        module: String,
    },
    /// The text format has an error.
    Text {
        /// What the error is and where, over several lines.
        message: String,
    },
    /// The binary format has an error.
    Malformed {
        /// The module.
        module: String,
        /// What the error is.
        message: String,
    },
    /// It was built for another version of the wasmp ABI.
    Abi {
        /// The module.
        module: String,
        /// The version it was built for.
        found: String,
    },
    /// Its descriptors of tasks or types are wrong.
    Descriptor {
        /// The module.
        module: String,
        /// What is wrong.
        why: String,
    },
    /// Two tasks, or two methods of one type, have the same name.
    DuplicateTask {
        /// The module.
        module: String,
        /// The task, or the type and its method: `Type::method`.
        task: String,
        /// The two crates that define it.
        crates: [String; 2],
    },
    /// It imports what no host gives.
    UnknownImports {
        /// The module.
        module: String,
        /// The imports.
        imports: Vec<UnknownImport>,
    },
    /// It exports nothing that can be called as a task.
    NoTasks {
        /// The module.
        module: String,
    },
    /// It is precompiled machine code, and the caller did not say that it trusts it.
    PrecompiledNotAllowed {
        /// The module.
        module: String,
    },
    /// The precompiled file is damaged.
    PrecompiledDamaged {
        /// The module.
        module: String,
        /// What is wrong with it.
        why: String,
    },
    /// The precompiled file was made by another version or for another CPU.
    PrecompiledElsewhere {
        /// The module.
        module: String,
    },
    /// It does not compile.
    Compile {
        /// The module.
        module: String,
        /// What the compiler said.
        message: String,
    },
    /// The compiled code cannot be put where the workers can map it.
    Store(io::Error),
}

/// An import that no host gives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownImport {
    /// The module it is imported from.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// Why it may be there and what to do.
    pub advice: String,
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Empty { module } => write!(f, "{module} is empty"),
            Self::TooLarge { module, what } => write!(f, "{module} is too large: {what}"),
            Self::NotWasm { module, looks_like } => write!(f, "{module} is not a WebAssembly module: {looks_like}"),
            Self::Component { module } => write!(
                f,
                "{module} is a WebAssembly component, which wasmp does not run yet: build it for the target \
                 `wasm32-wasip1` to get a core module (`wasm32-wasip2` and `cargo component` make components)"
            ),
            Self::Text { message } => f.write_str(message),
            Self::Malformed { module, message } => {
                write!(
                    f,
                    "{module} is not a valid WebAssembly module: {message}; was it cut off or changed?"
                )
            }
            Self::Abi { module, found } => write!(
                f,
                "{module} was built for version {found} of the wasmp ABI, this wasmp speaks version {}: build the \
                 module with the `wasmp-guest` that belongs to this wasmp",
                wasmp_abi::ABI_VERSION
            ),
            Self::Descriptor { module, why } => write!(
                f,
                "the list of tasks or types in {module} (custom section `{}` or `{}`) is wrong: {why}",
                wasmp_abi::TASKS_SECTION,
                wasmp_abi::TYPES_SECTION
            ),
            Self::DuplicateTask {
                module,
                task,
                crates: [one, other],
            } => {
                let what = if task.contains("::") { "methods" } else { "tasks" };
                write!(f, "{module} has two {what} named `{task}`, ")?;
                if one == other {
                    write!(f, "both in `{one}`: rename one of them")
                } else {
                    write!(f, "one in `{one}` and one in `{other}`: rename one of them")
                }
            }
            Self::UnknownImports { module, imports } => fmt_imports(f, module, imports),
            Self::NoTasks { module } => write!(
                f,
                "{module} exports no task: mark a function with `#[task]`, export one that takes and returns numbers, \
                 or build a program with a `main`"
            ),
            Self::PrecompiledNotAllowed { module } => write!(
                f,
                "{module} is precompiled: machine code that runs as it is, so its origin must be trusted. Allow \
                 precompiled modules if you made it yourself, or give the .wasm it was made from"
            ),
            Self::PrecompiledDamaged { module, why } => {
                write!(f, "{module} is a damaged precompiled module ({why}): compile it again")
            }
            Self::PrecompiledElsewhere { module } => write!(
                f,
                "{module} was precompiled by another version of wasmp or for another CPU: compile it again here"
            ),
            Self::Compile { module, message } => write!(f, "{module} does not compile: {message}"),
            Self::Store(source) => write!(f, "cannot keep the compiled module in memory: {source}"),
        }
    }
}

fn fmt_imports(f: &mut fmt::Formatter<'_>, module: &str, imports: &[UnknownImport]) -> fmt::Result {
    match imports {
        [one] => {
            return write!(
                f,
                "{module} imports `{}` from `{}`: {}",
                one.name, one.module, one.advice
            );
        }
        [] => return write!(f, "{module} has imports that nothing provides"),
        _ => {}
    }
    write!(f, "{module} has {} imports that nothing provides:", imports.len())?;
    let mut advised = "";
    for import in imports.iter().take(LISTED) {
        write!(f, "\n  `{}` from `{}`", import.name, import.module)?;
        // Imports come in families; what was just said need not be said again.
        if import.advice != advised {
            write!(f, ": {}", import.advice)?;
            advised = &import.advice;
        }
    }
    match imports.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => write!(f, "\n  and {more} more"),
    }
}

impl std::error::Error for ModuleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Store(source) => Some(source),
            _ => None,
        }
    }
}
