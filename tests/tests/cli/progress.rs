//! The bar on standard error, and what a terminal gets to see of guests.

use crate::pty::Terminal;
use crate::run::{Wasmp, map};
use crate::scene::Folder;

/// What a terminal shows of a run. Its results go elsewhere.
fn seen(command: Wasmp) -> String {
    let terminal = Terminal::new();
    let running = command.at(&terminal).start();
    let seen = terminal.everything();
    running.end();
    seen
}

#[test]
fn at_a_terminal_there_is_a_bar_while_it_runs() {
    let gate = Folder::new();
    let terminal = Terminal::new();
    let running = map(r#"wait_for --star ["/gate/a",0] ["/gate/b",1] -j 1"#)
        .arg(gate.granted_as("/gate"))
        .at(&terminal)
        .start();
    gate.open("a");
    let mut screen = terminal.screen();
    screen.wait_for("1/2 items");
    screen.wait_for("/s");
    screen.wait_for("ETA");
    gate.open("b");
    assert_eq!(running.end().text(), "0\n1\n");
}

#[test]
fn a_file_shows_how_much_of_it_is_read_and_a_pipe_only_counts() {
    let gate = Folder::new();
    let file = Folder::new().with("inputs", "[\"/gate/a\",0]\n[\"/gate/b\",1]\n");
    let wait = || map("wait_for --star -j 1").arg(gate.granted_as("/gate"));
    gate.open("a");

    let terminal = Terminal::new();
    let running = wait()
        .arg("--input")
        .arg(file.path().join("inputs"))
        .at(&terminal)
        .start();
    let mut screen = terminal.screen();
    screen.wait_for("100%  1 items");
    gate.open("b");
    assert_eq!(running.end().text(), "0\n1\n");

    let terminal = Terminal::new();
    let mut running = wait().at(&terminal).start();
    running.write("[\"/gate/a\",0]\n");
    let mut screen = terminal.screen();
    screen.wait_for(" 1 items");
    assert!(
        !screen.has_shown("%") && !screen.has_shown("ETA"),
        "nobody knows how much there is"
    );
    assert_eq!(running.end().text(), "0\n");
}

#[test]
fn elsewhere_there_is_none_unless_always() {
    map("square 7").run().prints("49\n");
    map("square 7 --progress auto").run().prints("49\n");
    let outcome = map("square 7 --progress always").run();
    assert_eq!((outcome.code(), outcome.text()), (0, "49\n"));
    outcome.says(&["/1 items"]);
    map("square 7 --progress always --quiet").run().says(&["/1 items"]);
}

#[test]
fn never_and_quiet_take_it_from_a_terminal() {
    for option in ["--progress never", "--quiet"] {
        assert_eq!(seen(map("square 7").words(option)), "");
    }
}

#[test]
fn lines_push_the_bar_aside() {
    let seen = seen(map("misbehave fine error fine panic --keep-going -j 1"));
    for line in [
        "wasmp: item 1: error: told to fail\r\n",
        "wasmp: 4 items, 2 of them failed\r\n",
    ] {
        let start = seen.find(line).unwrap_or_else(|| panic!("no {line:?} in {seen:?}"));
        let before = &seen[..start];
        assert!(
            before.is_empty() || before.ends_with(['\n', '\r', 'K', 'G']),
            "it begins in the middle of a line: {before:?}"
        );
    }
    assert!(!seen.ends_with("items"), "the bar is taken away: {seen:?}");
}

#[test]
fn what_guests_print_is_escaped_at_a_terminal_only() {
    let print = || map("print --star -j 1 --progress never").arg(r#"["\u001b[31mred\t\u0007\n","\u009b5n\n"]"#);
    assert_eq!(seen(print()), "\\u{1b}[31mred\t\\u{7}\r\n\\u{9b}5n\r\n");
    print().run().ends(0, "null\n", "\u{1b}[31mred\t\u{7}\n\u{9b}5n\n");
}
