//! CPython, which may hang.

use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use wasmp_tests::Process;

/// What takes longer hangs: a few times what the slowest row needs that does not.
const LIMIT: Duration = Duration::from_secs(8);

/// What the interpreter calls its version.
///
/// # Panics
///
/// If there is none: whoever asks for the peer has to have it.
pub(crate) fn version() -> String {
    let output = Command::new("python3")
        .args(["-c", "import platform; print(platform.python_version())"])
        .output()
        .unwrap_or_else(|error| panic!("the feature `peer` needs `python3`, which cannot be started: {error}"));
    assert!(
        output.status.success(),
        "the feature `peer` needs a `python3` that works: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What comes of a row.
pub(crate) fn outcome(id: &str) -> String {
    // A pipe would be open for as long as any process of it is.
    let mut output = tempfile::tempfile().expect("a temporary file");
    let mut child = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer/gauntlet.py"))
        .arg(id)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a descriptor"))
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("python3 can be started");
    let ends = Process::open(child.id()).is_none_or(|process| process.ends_within(LIMIT));
    // Before its status is taken, so that its number is no other's; and also if it has ended, for what it has left behind.
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // It can only fail if all of them have ended.
    let _ = kill_process_group(group.expect("a process id"), Signal::KILL);
    let status = child.wait().expect("the status of a child");

    let mut said = String::new();
    output
        .rewind()
        .and_then(|()| output.read_to_string(&mut said))
        .expect("what it has said");
    let mut words: Vec<String> = said.lines().map(str::to_owned).collect();
    if !ends {
        words.push("hangs".to_owned());
    } else if !status.success() {
        words.push(status.to_string());
    }
    words.join(", then ")
}
