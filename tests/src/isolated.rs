//! A process for each test, so that it can look at all that wasmp has started, and so that everything must be gone
//! when it is over.

use std::any::type_name;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::guests;
use crate::process::{Process, descendants, eventually, own_fds};

/// Names the test that a process was started for.
const TEST: &str = "WASMP_TEST";

/// Where that process lists what it leaves to its keeper.
const REMAINS: &str = "WASMP_TEST_REMAINS";

/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// How long chaos lasts: `WASMP_CHAOS_SECONDS`, or what a run of all tests has time for.
#[must_use]
pub fn chaos_time() -> Duration {
    seconds_told("WASMP_CHAOS_SECONDS", 30)
}

/// How long a test tries garbage: `WASMP_FUZZ_SECONDS`, or what a run of all tests has time for.
#[must_use]
pub fn fuzz_time() -> Duration {
    seconds_told("WASMP_FUZZ_SECONDS", 3)
}

fn seconds_told(variable: &str, otherwise: u64) -> Duration {
    let told = std::env::var(variable).ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(told.unwrap_or(otherwise))
}

/// What wasmp keeps warm for the next pool, until its host ends.
const KEPT: [&str; 3] = ["wasmp-keeper", "wasmp-zygote", "wasmp-spare"];

/// Runs `test` in a process of its own: this very program, told to run the one test that called this.
///
/// When `test` returns, its pools must be gone: no worker process, no shared memory, no thread of theirs is left. And
/// when its process has ended, keeper and zygotes must be gone too.
///
/// # Panics
///
/// If the test fails, hangs, or leaves something behind.
pub fn isolated<F: FnOnce()>(test: F) {
    let name = test_name::<F>();
    if std::env::var_os(TEST).is_some_and(|running| running == name.as_str()) {
        test();
        nothing_is_left();
        let kept = KEPT.iter().flat_map(|kept| descendants(std::process::id(), kept));
        let remains: Vec<String> = kept.map(|process| process.pid().to_string()).collect();
        let list = std::env::var_os(REMAINS).expect("the place for the list");
        fs::write(list, remains.join(" ")).expect("the list of what is left");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let remains = folder.path().join("remains");
    let mut output = tempfile::tempfile().expect("a temporary file");
    let same = |file: &File| Stdio::from(file.try_clone().expect("a descriptor"));
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([&name, "--exact", "--nocapture", "--include-ignored"])
        .env(TEST, &name)
        .env(REMAINS, &remains)
        .env("XDG_CACHE_HOME", code_cache())
        .envs(guests::environment())
        .stdin(Stdio::null())
        .stdout(same(&output))
        .stderr(same(&output))
        .spawn()
        .expect("this program again");
    let in_time =
        Process::open(child.id()).is_none_or(|process| process.ends_within(LIMIT + chaos_time() + fuzz_time()));
    if !in_time {
        child.kill().expect("a child can be killed");
    }
    let status = child.wait().expect("the status of a child");
    let mut said = String::new();
    output
        .rewind()
        .and_then(|()| output.read_to_string(&mut said))
        .expect("what the test said");
    assert!(in_time, "{name} hangs\n{said}");
    assert!(status.success(), "{name}: {status}\n{said}");
    say(&said);
    let remains = fs::read_to_string(remains).unwrap_or_else(|error| panic!("{name} did not run: {error}\n{said}"));
    for pid in remains.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        if let Some(process) = Process::open(pid).filter(|process| KEPT.contains(&process.name())) {
            process.wait_until_gone();
        }
    }
}

/// For who runs a test with `--nocapture`.
#[allow(clippy::print_stdout, reason = "the test harness captures it")]
fn say(said: &str) {
    print!("{said}");
}

/// Compiled guests are kept where the next test finds them, and not among those of this user.
fn code_cache() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/cache")
}

/// The name by which the test harness knows the function that this closure is in.
fn test_name<F>() -> String {
    let path = type_name::<F>();
    let path = path
        .strip_suffix("::{{closure}}")
        .expect("`isolated` is called with a closure");
    path.split_once("::").map_or(path, |(_crate, path)| path).to_owned()
}

/// Waits until nothing of any pool is left in this process or beneath it.
fn nothing_is_left() {
    for worker in descendants(std::process::id(), "wasmp-worker") {
        worker.wait_until_gone();
    }
    eventually(
        "the rings of all workers, and all objects, are unmapped and closed",
        || {
            let maps = fs::read_to_string("/proc/self/maps").ok()?;
            let is_ours = |text: &str| ["wasmp-rings", "wasmp-object"].iter().any(|name| text.contains(name));
            (!is_ours(&maps) && own_fds().iter().all(|fd| !is_ours(fd))).then_some(())
        },
    );
    eventually("the output threads of all pools have ended", || {
        let threads = fs::read_dir("/proc/self/task").ok()?;
        let mut names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.all(|name| !name.starts_with("wasmp-output")).then_some(())
    });
}
