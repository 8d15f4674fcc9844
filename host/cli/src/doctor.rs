//! `wasmp doctor`: what this machine has for workers and their sandbox, on one screen.

use std::fmt::Write as _;
use std::process::ExitCode;

use wasmp::Platform;

use crate::error::Error;
use crate::{FAILED, stdout};

pub(crate) fn run() -> Result<ExitCode, Error> {
    let platform = Platform::probe();
    stdout::print(screen(&platform).as_bytes())?;
    Ok(match platform.is_usable() {
        true => ExitCode::SUCCESS,
        false => FAILED.into(),
    })
}

fn screen(platform: &Platform) -> String {
    let Platform {
        kernel,
        seccomp,
        landlock,
        memory_policy,
        pidfd,
        futex_waitv,
        memfd_seals,
        user_namespaces,
        cgroup_delegated,
        oom_score,
        open_files: (files, most_files),
        cpus,
        ..
    } = platform;
    let landlock_version = landlock.map_or("no".to_owned(), |version| format!("version {version}"));
    let number = |number: &Option<u64>| number.map_or("no limit".to_owned(), |number| number.to_string());
    let rows = [
        (
            "wasmp",
            env!("CARGO_PKG_VERSION").to_owned(),
            "no Python needed, nor any other runtime",
        ),
        ("Linux", kernel.clone(), "5.16 or later"),
        ("CPUs", cpus.to_string(), "workers of a pool, unless told otherwise"),
        (
            "open files",
            format!("{}, at most {}", number(files), number(most_files)),
            "one for each shared object, four for each worker",
        ),
        ("seccomp filters", yes(*seccomp), "needed: the system calls of a worker"),
        ("Landlock", landlock_version, "the directories of a worker"),
        (
            "memory policy",
            yes(*memory_policy),
            "no executable memory; seccomp forbids it as well",
        ),
        ("pidfd", yes(*pidfd), "needed: processes held by descriptor"),
        (
            "memfd seals",
            yes(*memfd_seals),
            "needed: shared memory that nobody can cut off",
        ),
        ("futex_waitv", yes(*futex_waitv), "waits that are answered at once"),
        (
            "OOM score",
            yes(*oom_score),
            "when memory runs out, workers go before their host",
        ),
        (
            "cgroup delegation",
            yes(*cgroup_delegated),
            "--max-total-memory; the memory limit of this group holds in any case",
        ),
        (
            "user namespaces",
            yes(*user_namespaces),
            "not used: what they hide is denied by seccomp",
        ),
    ];
    let mut screen = String::new();
    for (what, found, why) in rows {
        let _ = writeln!(screen, "{what:<18}{found:<26}{why}");
    }
    let _ = writeln!(screen, "\nA worker would have: {}", walls(platform).join(" · "));
    let advice = platform.advice();
    if advice.is_empty() {
        screen += "Nothing is missing; --sandbox strict works here.\n";
    }
    for advice in advice {
        let _ = writeln!(screen, "* {advice}");
    }
    screen
}

fn yes(there: bool) -> String {
    if there { "yes" } else { "no" }.to_owned()
}

/// What stands around a worker here, from the inside out.
pub(crate) fn walls(platform: &Platform) -> Vec<&'static str> {
    let walls = [
        ("WebAssembly", true),
        ("no capabilities", true),
        ("resource limits", true),
        ("no executable memory", platform.memory_policy || platform.seccomp),
        ("Landlock", platform.landlock.is_some()),
        ("seccomp", platform.seccomp),
    ];
    walls
        .into_iter()
        .filter_map(|(wall, there)| there.then_some(wall))
        .collect()
}
