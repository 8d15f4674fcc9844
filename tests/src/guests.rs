//! The guests of the tests, built when the first test asks for them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use wasmp_build::{GuestBuild, build};

/// One guest crate.
struct Guest {
    /// Its folder in `guests`.
    folder: &'static str,
    /// Tells the processes that a test starts where the module is, so that they need not ask cargo again.
    variable: &'static str,
    built: OnceLock<PathBuf>,
}

static GUESTS: [Guest; 4] = [
    Guest {
        folder: "tasks",
        variable: "WASMP_TEST_TASKS",
        built: OnceLock::new(),
    },
    Guest {
        folder: "program",
        variable: "WASMP_TEST_PROGRAM",
        built: OnceLock::new(),
    },
    Guest {
        folder: "objects",
        variable: "WASMP_TEST_OBJECTS",
        built: OnceLock::new(),
    },
    Guest {
        folder: "processes",
        variable: "WASMP_TEST_PROCESSES",
        built: OnceLock::new(),
    },
];

impl Guest {
    fn path(&self) -> &Path {
        self.built.get_or_init(|| {
            if let Some(path) = std::env::var_os(self.variable) {
                return path.into();
            }
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(self.folder);
            match build(&GuestBuild::new(dir), &mut |_| ()) {
                Ok(built) => built.wasm,
                Err(error) => panic!("the guest `{}` cannot be built: {error}", self.folder),
            }
        })
    }
}

/// The module with the tasks of `guests/tasks`.
///
/// # Panics
///
/// If it cannot be built.
pub fn tasks() -> &'static Path {
    GUESTS[0].path()
}

/// The program of `guests/program`, which knows nothing of wasmp.
///
/// # Panics
///
/// If it cannot be built.
pub fn program() -> &'static Path {
    GUESTS[1].path()
}

/// The module with the tasks of `guests/objects`, which use what processes share.
///
/// # Panics
///
/// If it cannot be built.
pub fn objects() -> &'static Path {
    GUESTS[2].path()
}

/// The program of `guests/processes`, which starts processes and pools.
///
/// # Panics
///
/// If it cannot be built.
pub fn processes() -> &'static Path {
    GUESTS[3].path()
}

/// Environment that tells another process of this test run where the guests are.
pub(crate) fn environment() -> impl Iterator<Item = (&'static str, OsString)> {
    GUESTS.iter().map(|guest| (guest.variable, guest.path().into()))
}
