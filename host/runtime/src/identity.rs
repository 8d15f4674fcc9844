//! Who a worker is, as its guest may know.

use serde::{Deserialize, Serialize};

/// How a process is started (CPython: start methods).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum StartMethod {
    /// Forked from a process that has the module loaded, and nothing else. The default, as in CPython since 3.14.
    #[default]
    Forkserver,
    /// An executable that is started anew and loads the module anew: nothing of it is laid out in memory as in any other
    /// process. It takes a few times as long.
    Spawn,
    /// Forked from the same process, with a copy of the memory of the guest that starts it: variables have the values there
    /// that they have here, and handles to objects are good there, too. It owns no locks. The host starts it as by
    /// `Forkserver`.
    Fork,
}

impl StartMethod {
    /// All of them, the default first (CPython: `get_all_start_methods`).
    pub const ALL: [Self; 3] = [Self::Forkserver, Self::Spawn, Self::Fork];

    /// As Python calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forkserver => "forkserver",
            Self::Spawn => "spawn",
            Self::Fork => "fork",
        }
    }
}

/// What a worker is told about itself when it is started.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Identity {
    pub(crate) name: String,
    /// Its number among its parent's children, behind that of its parent: `1:2`. Empty for the first process of a program.
    pub(crate) lineage: String,
    pub(crate) daemon: bool,
    /// The name and the process id of who started it; `None` for the first process of a program.
    pub(crate) parent: Option<(String, u32)>,
    /// How it was started, and its children are unless they are told otherwise.
    pub(crate) method: StartMethod,
    /// It runs one call, and ends with it.
    pub(crate) once: bool,
    /// How it logs, as its parent has said it: for guests alone.
    pub(crate) log: u32,
}

impl Identity {
    /// The first process of a program.
    pub(crate) fn main() -> Self {
        Self {
            name: "MainProcess".to_owned(),
            lineage: String::new(),
            daemon: false,
            parent: None,
            method: StartMethod::default(),
            once: true,
            log: 0,
        }
    }
}
