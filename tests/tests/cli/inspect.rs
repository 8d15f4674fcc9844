//! `wasmp inspect`: what a module offers and needs, for people and for programs.

use serde_json::{Value, json};
use wasmp_tests::{objects, program, tasks};

use crate::run::wasmp;
use crate::scene::{Folder, escaped};

fn as_json(module: impl AsRef<std::ffi::OsStr>) -> Value {
    let outcome = wasmp("inspect --json").arg(module).run();
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
    let mut objects = outcome.json();
    assert_eq!(objects.len(), 1, "one object");
    objects.remove(0)
}

#[test]
fn for_people_it_is_a_page() {
    wasmp("inspect examples/plain/square.wat").run().prints(
        "square: plain exports\n\
         \n\
         Tasks\n  square(i64) -> i64\n\
         \n\
         Exports\n  square  func (i64) -> i64\n\
         \n\
         Memory\n  none\n\
         \n\
         Code\n  functions: 1, 8 bytes; data: 0 bytes\n\
         \n\
         May ask for\n  nothing beyond its arguments\n",
    );
}

#[test]
fn tasks_have_their_parameters_and_docs() {
    let outcome = wasmp("inspect").arg(tasks()).run();
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
    for part in [
        ": task module\n",
        "  square(x: i64) -> i64\n      Squares a number.\n",
        "  add(a: i64, b: i64) -> i64\n      Adds two numbers.\n",
        "  wasmp_v1: ",
        "  wasi_snapshot_preview1: ",
        "  memory  memory\n",
        " at the start\n",
        "  files: those in directories granted with --dir\n",
        "  environment variables: those set with --env\n",
    ] {
        assert!(outcome.text().contains(part), "no {part:?} in: {}", outcome.text());
    }
}

#[test]
fn types_have_their_methods() {
    let outcome = wasmp("inspect").arg(objects()).run();
    for part in [
        "\nTypes for managers\n  Account\n    new(owner: &str, cents: u64) -> Result<Account, String>\n",
        "    deposit(cents: u64) -> u64\n        Puts money in.\n",
        "  Trouble\n    new(how: &str) -> Trouble\n    account(cents: u64) -> New<Account>\n",
    ] {
        assert!(outcome.text().contains(part), "no {part:?} in: {}", outcome.text());
    }
    assert!(!outcome.text().contains("  note("), "it is not public");
    let module = as_json(objects());
    let account = &module["types"][0];
    assert_eq!(
        (&account["name"], &account["constructor"]["name"]),
        (&json!("Account"), &json!("new"))
    );
    assert_eq!(account["methods"][0]["name"], "book");
}

#[test]
fn for_programs_it_is_one_object() {
    assert_eq!(
        as_json("examples/plain/square.wat"),
        json!({
            "name": "square", "kind": "plain_exports", "precompiled": false,
            "tasks": [{"name": "square", "doc": "", "params": [{"name": "", "type": "i64"}], "returns": "i64"}],
            "types": [], "imports": [], "exports": [{"name": "square", "type": "func (i64) -> i64"}],
            "memories": [], "functions": 1, "code_size": 8, "data_size": 0,
            "sha256": "46589df81bd0032dfed4670ffeae62efadd3d82d254dc05e80ba3f3987a49f75",
            "asks": [],
        })
    );
}

#[test]
fn for_programs_tasks_are_complete() {
    let module = as_json(tasks());
    assert_eq!(module["kind"], "task_module");
    let named = |name: &str| {
        let tasks = module["tasks"].as_array().expect("an array");
        tasks.iter().find(|task| task["name"] == name).expect("a task").clone()
    };
    assert_eq!(
        named("add"),
        json!({
            "name": "add", "doc": "Adds two numbers.", "returns": "i64",
            "params": [{"name": "a", "type": "i64"}, {"name": "b", "type": "i64"}],
        })
    );
    assert!(module["imports"].as_array().expect("an array").contains(&json!({
        "module": "wasmp_v1", "name": "task_next", "type": "func (i32, i32) -> i64",
    })));
    assert!(
        module["memories"][0]["minimum"]
            .as_u64()
            .is_some_and(|bytes| bytes >= 65536)
    );
    assert_eq!(module["memories"][0]["maximum"], Value::Null);
    for ask in ["arguments", "clock", "environment", "files", "stdio"] {
        assert!(
            module["asks"].as_array().expect("an array").contains(&ask.into()),
            "{ask}"
        );
    }
}

#[test]
fn a_wasi_command_has_the_task_start() {
    let module = as_json(program());
    assert_eq!(
        (&module["kind"], &module["tasks"][0]["name"]),
        (&"wasi_command".into(), &"_start".into())
    );
}

#[test]
fn what_a_module_may_ask_for_is_what_it_imports() {
    let import = |name| format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func (param i32 i32) (result i32)))");
    let folder = Folder::new();
    for (function, ask) in [
        ("random_get", "random"),
        ("sock_shutdown", "network"),
        ("clock_res_get", "clock"),
    ] {
        let module = format!(
            "(module {} (memory (export \"memory\") 1 2) (func (export \"f\")))",
            import(function)
        );
        let module = as_json(folder.write("asks.wat", module));
        assert_eq!(module["asks"], json!([ask]));
        assert_eq!(module["memories"], json!([{"minimum": 65536, "maximum": 131_072}]));
    }
}

#[test]
fn control_characters_of_a_module_are_escaped() {
    let text = |text: &str| [&[0x60 + text.len() as u8], text.as_bytes()].concat();
    let descriptor = [
        vec![0xa3],
        text("name"),
        text("t\u{1b}c"),
        text("export"),
        text("f"),
        text("doc"),
        text("one\ntwo\u{7f}\u{9b}"),
    ]
    .concat();
    let module = format!(
        "(module (func (export \"f\")) (@custom \"wasmp.tasks\" \"{}\"))",
        escaped(&descriptor)
    );
    let folder = Folder::new().with("odd.wat", module);
    let outcome = wasmp("inspect odd.wat").within(folder.path()).run();
    assert_eq!(outcome.code(), 0);
    let expected = "  t\\u{1b}c()\n      one\n      two\\u{7f}\\u{9b}\n";
    assert!(outcome.text().contains(expected), "{}", outcome.text());
    let outcome = wasmp("inspect odd.wat --json").within(folder.path()).run();
    let expected = r#"{"name":"t\u001bc","doc":"one\ntwo\u007f\u009b","#;
    assert!(outcome.text().contains(expected), "{}", outcome.text());
}
