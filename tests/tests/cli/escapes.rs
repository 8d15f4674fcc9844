//! Escape sequences in every text that is a guest's: none reaches whoever looks at a terminal.

use crate::run::wasmp;
use crate::scene::Folder;

/// Clears the screen, retitles the window, and asks for an answer that is typed as if by the user.
const SEQUENCE: &str = r"\1b[2J\1b]0;mine\07\c2\9b6n\0d";

/// A module whose every name has such a sequence in it.
fn module() -> String {
    format!(
        r#"(module $"{SEQUENCE}"
            (import "wasmp_v1" "task_next" (func $next (param i32 i32) (result i64)))
            (import "wasmp_v1" "task_fail" (func $fail (param i32 i32 i32)))
            (import "wasmp_v1" "task_panic" (func $panic (param i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "{SEQUENCE}\00{SEQUENCE}")
            (func $"begin{SEQUENCE}" (drop (call $next (i32.const 4096) (i32.const 4096))))
            (func $"fail{SEQUENCE}" (export "wasmp_task_fail") (call 3) (call $fail (i32.const 1) (i32.const 0) (i32.const 37)))
            (func $"trap{SEQUENCE}" (export "wasmp_task_trap") (call 3) (unreachable))
            (func $"panic{SEQUENCE}" (export "wasmp_task_panic")
                (call 3) (call $panic (i32.const 0) (i32.const 18)) (unreachable))
            (func (export "wasmp_task_{SEQUENCE}"))
            (export "{SEQUENCE}" (func 3)))"#
    )
}

/// Runs it with these words; everything that it says.
#[track_caller]
fn said(folder: &Folder, words: &str) -> String {
    let outcome = wasmp(words).within(folder.path()).run();
    let said = format!("{}{}", outcome.text(), outcome.stderr);
    let control = said.chars().find(|c| c.is_control() && !"\n\t".contains(*c));
    assert_eq!(control, None, "{words}: {said:?}");
    said
}

#[test]
fn no_text_of_a_module_reaches_a_terminal_as_it_is() {
    let folder = Folder::new().with("m.wat", module());
    for words in ["inspect m.wat", "inspect m.wat --json"] {
        assert!(said(&folder, words).contains("[2J"), "{words}");
    }
    for (task, words) in [
        ("fail", r"\u{1b}[2J"),
        ("trap", r"trap\u{1b}[2J"),
        ("panic", r"\u{1b}[2J"),
        // The names that there are.
        ("none", r"\u{1b}[2J"),
    ] {
        let said = said(&folder, &format!("call m.wat {task}"));
        assert!(said.contains(words), "{task}: {said}");
    }
    assert!(said(&folder, "map m.wat fail 1 --envelope").contains(r"\u001b[2J"));
}

#[test]
fn nor_do_the_names_of_what_it_lacks() {
    let folder = Folder::new().with(
        "m.wat",
        format!(r#"(module (import "{SEQUENCE}" "{SEQUENCE}" (func)) (func (export "wasmp_task_t")))"#),
    );
    assert!(said(&folder, "inspect m.wat").contains(r"\u{1b}[2J"));
    let folder = Folder::new().with(
        "m.wat",
        format!(r#"(module (func (export "{SEQUENCE}") (param externref)))"#),
    );
    said(&folder, "call m.wat t");
}
