//! `--explain`: what a guest would be given, within which limits and walls, on one screen.

use std::fmt::Write as _;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use wasmp::{DirGrant, Grants, Limits, Module, NamedObject, ObjectKind, Platform, Sandbox};

use crate::error::Error;
use crate::inspect::{self, ARGUMENTS, CLOCK, ENVIRONMENT, FILES, NETWORK, RANDOM, bytes_in_words};
use crate::terminal::visible;
use crate::{doctor, stdout};

/// What would be run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tasks {
    /// Tasks, in so many workers; by default one for each CPU.
    Pool(Option<NonZero<usize>>),
    /// A program, with the standard input that was typed.
    Program,
}

/// Prints it instead of running anything.
pub(crate) fn print(module: &Module, granted: &Grants, file: Option<&Path>, tasks: Tasks) -> Result<ExitCode, Error> {
    let screen = screen(module, granted, file, tasks, &Platform::probe());
    // Names may be the guest's words.
    stdout::print(visible(&screen, "\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Writing to a `String` cannot fail.
fn screen(module: &Module, granted: &Grants, file: Option<&Path>, tasks: Tasks, platform: &Platform) -> String {
    let kind = inspect::kind(module.kind()).replace('_', " ");
    let mut screen = format!("{}: {kind}, {} functions\n", module.name(), module.functions());
    let from = file.map_or_else(
        || "the command line".to_owned(),
        |file| format!("{}, and the command line before that", file.display()),
    );
    let _ = writeln!(screen, "Granted by {from}\n\nGiven");
    rows(&mut screen, &given(module, granted, tasks));
    screen += "\nLimits\n";
    rows(&mut screen, &limits(&granted.limits, tasks, platform));
    let _ = writeln!(screen, "\nWalls ({})", granted.sandbox);
    let _ = writeln!(screen, "  {}", walls(granted.sandbox, platform));
    screen
}

fn rows(screen: &mut String, rows: &[(&str, String)]) {
    for (what, value) in rows {
        let _ = writeln!(screen, "  {what:<18}{value}");
    }
}

fn given(module: &Module, granted: &Grants, tasks: Tasks) -> Vec<(&'static str, String)> {
    let asks = inspect::asks(module.imports());
    // What is asked for in vain is worth a word.
    let none = |ask: &str| match asks.contains(&ask) {
        true => "none; the module may ask for it".to_owned(),
        false => "none".to_owned(),
    };
    let list = |words: Vec<String>, ask: &str| match words.is_empty() {
        true => none(ask),
        false => words.join(", "),
    };
    let time = match (granted.deterministic, asks.contains(&CLOCK) || asks.contains(&RANDOM)) {
        (true, _) => "invented, the same in every run",
        (false, true) => "this machine's",
        (false, false) => "this machine's; the module does not ask for it",
    };
    let stdin = match (tasks, granted.stdin) {
        (Tasks::Program, true) => "that of this command",
        _ => "none",
    };
    let variables = granted.env.iter().map(|(name, value)| format!("{name}={value}"));
    vec![
        ("directories", list(granted.dirs.iter().map(dir).collect(), FILES)),
        ("environment", list(variables.collect(), ENVIRONMENT)),
        ("arguments", list(granted.args.clone(), ARGUMENTS)),
        ("standard input", stdin.to_owned()),
        ("time, randomness", time.to_owned()),
        ("network", none(NETWORK)),
        ("shared objects", list(granted.objects.iter().map(object).collect(), "")),
        ("processes", processes(granted.limits.max_processes, tasks)),
    ]
}

fn dir(dir: &DirGrant) -> String {
    let rights = if dir.is_writable() { "read and write" } else { "read" };
    match dir.host() == Path::new(dir.guest()) {
        true => format!("{} ({rights})", dir.guest()),
        false => format!("{} as {} ({rights})", dir.host().display(), dir.guest()),
    }
}

fn object(object: &NamedObject) -> String {
    let name = &object.name;
    match object.kind {
        ObjectKind::Queue(0) => format!("queue {name}"),
        ObjectKind::Queue(maxsize) => format!("queue {name} of {maxsize}"),
        ObjectKind::Lock => format!("lock {name}"),
        ObjectKind::Event => format!("event {name}"),
        ObjectKind::Semaphore(value) => format!("semaphore {name} of {value}"),
        ObjectKind::SharedMemory(size) => format!("memory {name} of {}", bytes_in_words(size)),
        _ => name.clone(),
    }
}

fn processes(most: usize, tasks: Tasks) -> String {
    let workers = match tasks {
        Tasks::Pool(Some(workers)) => format!("workers: {workers}"),
        Tasks::Pool(None) => "workers: one for each CPU".to_owned(),
        Tasks::Program => "one".to_owned(),
    };
    format!("{workers}; started by guests: at most {most} at a time")
}

fn limits(limits: &Limits, tasks: Tasks, platform: &Platform) -> Vec<(&'static str, String)> {
    let each = match tasks {
        Tasks::Pool(_) => "an item",
        Tasks::Program => "a process",
    };
    let no_limit = || "no limit".to_owned();
    let size = |bytes: Option<u64>, what: &str| bytes.map_or_else(no_limit, |bytes| bytes_in_words(bytes) + what);
    let time = |time: Option<Duration>, end: &str| time.map(|time| format!("{time:?}, then it is {end}"));
    let times: Vec<String> = [time(limits.soft_timeout, "stopped"), time(limits.timeout, "killed")]
        .into_iter()
        .flatten()
        .collect();
    let total = match (limits.max_total_memory, platform.cgroup_delegated) {
        (Some(_), false) => "no limit: this process may not make control groups".to_owned(),
        (limit, _) => size(limit, " (all processes)"),
    };
    vec![
        (
            "time",
            match times.is_empty() {
                true => no_limit(),
                false => format!("{} ({each})", times.join("; ")),
            },
        ),
        (
            "fuel",
            limits
                .fuel
                .map_or_else(no_limit, |units| format!("{units} units ({each})")),
        ),
        ("memory", bytes_in_words(limits.max_memory) + " (an instance)"),
        ("total memory", total),
        ("messages", bytes_in_words(limits.max_message)),
        ("output", size(limits.max_output, &format!(" ({each})"))),
        ("output rate", size(limits.output_rate, " a second (a worker)")),
        (
            "compiling",
            format!(
                "{:?}, {}",
                limits.compile_timeout,
                bytes_in_words(limits.compile_memory)
            ),
        ),
    ]
}

fn walls(level: Sandbox, platform: &Platform) -> String {
    let walls = doctor::walls(platform).join(" · ");
    match (level, platform.landlock) {
        (Sandbox::Off, _) => "WebAssembly, and nothing else".to_owned(),
        (Sandbox::Strict, None) => format!("{walls}\n  It would not run: this system has no Landlock"),
        (_, None) => format!("{walls}\n  Landlock is missing: `wasmp doctor` says more"),
        (_, Some(_)) => walls,
    }
}
