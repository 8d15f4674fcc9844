//! `wasmp doctor`, and the levels of the sandbox.

use crate::run::{call, wasmp};

#[test]
fn the_doctor_fits_on_a_screen_and_says_what_there_is() {
    let outcome = wasmp("doctor").run();
    assert_eq!(outcome.code(), 0, "{}", outcome.text());
    let text = outcome.text();
    assert!(text.lines().count() <= 24, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 240), "{text}");
    for row in [
        "Linux",
        "seccomp filters",
        "Landlock",
        "open files",
        "no Python needed",
        "A worker would have: ",
    ] {
        assert!(text.contains(row), "{row}: {text}");
    }
}

#[test]
fn the_sandbox_has_levels() {
    let strict_works = wasmp("doctor").run().text().contains("--sandbox strict works here");
    let strict = call("square 7 --sandbox strict").run();
    match strict_works {
        true => strict.prints("49\n"),
        false => strict.is_refused(&["the sandbox is strict, and this system has no "]),
    }
    call("square 7 --sandbox best-effort").run().prints("49\n");
    let off = call("square 7 --sandbox off").run();
    assert_eq!((off.code(), off.text()), (0, "49\n"));
    off.says(&["wasmp: the sandbox is off: only WebAssembly stands between the guest and your files"]);
    call("square 7 --sandbox none")
        .run()
        .is_refused(&["--sandbox <LEVEL>", "strict, best-effort, off"]);
}
