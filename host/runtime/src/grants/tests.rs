use std::path::Path;
use std::time::Duration;

use super::file::{Refused, parse};
use super::*;

fn read(text: &str) -> Result<Grants, Refused> {
    parse(text, Path::new("/there"), |_| Ok(()))
}

#[track_caller]
fn refused(text: &str, line: usize, why: &str) {
    let refused = read(text).expect_err(text);
    assert_eq!(refused.line, Some(line), "{refused:?}");
    assert!(refused.why.contains(why), "{refused:?}");
}

#[test]
fn an_empty_file_grants_nothing() {
    assert_eq!(read(""), Ok(Grants::default()));
    assert!(Grants::default().dirs.is_empty() && Grants::default().env.is_empty());
}

#[test]
fn each_key_is_an_option_and_each_value_what_is_typed_after_it() {
    let grants = read(
        r#"
        dir = ["data", "out::/out:rw", "/abs::abs"]
        args = ["program", "-x"]
        stdin = false
        deterministic = true
        queue = ["jobs:100", "done"]
        lock = ["turn"]
        event = ["go"]
        semaphore = ["slots:3"]
        shared-memory = ["frame:64K"]
        sandbox = "strict"
        timeout = "2s"
        soft-timeout = "500ms"
        compile-timeout = "1m"
        compile-memory = "1G"
        max-memory = "64M"
        max-total-memory = "1G"
        max-message = 4096
        max-output = "1K"
        output-rate = "1M"
        fuel = 1_000_000
        max-processes = 3
        env = { LANG = "C", EMPTY = "" }
        "#,
    )
    .expect("valid");
    let object = |name: &str, kind| NamedObject {
        name: name.into(),
        kind,
    };
    let expected = Grants {
        dirs: vec![
            DirGrant::read_only("/there/data", "data"),
            DirGrant::read_write("/there/out", "/out"),
            DirGrant::read_only("/abs", "abs"),
        ],
        env: vec![("EMPTY".into(), String::new()), ("LANG".into(), "C".into())],
        args: vec!["program".into(), "-x".into()],
        stdin: false,
        deterministic: true,
        objects: vec![
            object("jobs", ObjectKind::Queue(100)),
            object("done", ObjectKind::Queue(0)),
            object("turn", ObjectKind::Lock),
            object("go", ObjectKind::Event),
            object("slots", ObjectKind::Semaphore(3)),
            object("frame", ObjectKind::SharedMemory(64 << 10)),
        ],
        sandbox: Sandbox::Strict,
        limits: Limits {
            timeout: Some(Duration::from_secs(2)),
            soft_timeout: Some(Duration::from_millis(500)),
            fuel: Some(1_000_000),
            max_memory: 64 << 20,
            max_total_memory: Some(1 << 30),
            max_message: 4096,
            max_output: Some(1024),
            output_rate: Some(1 << 20),
            max_processes: 3,
            compile_timeout: Duration::from_secs(60),
            compile_memory: 1 << 30,
        },
    };
    assert_eq!(grants, expected);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_line_and_advice() {
    refused("timeout = \"2s\"\nmax-memroy = \"1M\"", 2, "did you mean `max-memory`?");
    refused(
        "network = true",
        1,
        "there is no setting `network`; there are dir, env, args",
    );
    refused(
        "\n\ndir = \"data\"",
        3,
        "invalid type: string \"data\", expected a sequence",
    );
    refused("dir = [\n  \"data\",\n  \"::x\",\n]", 3, "HOST::GUEST");
    refused("timeout = 5", 1, "did you mean 5s or 5ms?");
    refused("timeout = true", 1, "a duration is a number with a unit");
    refused("max-memory = \"64Q\"", 1, "there is no unit `Q`");
    refused("max-memory = -1", 1, "a size is a number of bytes");
    refused("max-memory = 1.5", 1, "a size is a number of bytes");
    refused("fuel = -1", 1, "it cannot be less than 0");
    refused("fuel = \"many\"", 1, "it is a number, without quotes");
    refused("sandbox = \"none\"", 1, "strict, best-effort or off");
    refused("lock = [\"\"]", 1, "it needs a name");
    refused("semaphore = [\"s\"]", 1, "such as s:4");
    refused("lock = [\"a\"]\nqueue = [\"b\",\n\"a\"]", 1, "two objects called `a`");
    refused("env = { A = 1 }", 1, "expected a string");
    refused("dir = [\"a\"]\ndir = [\"b\"]", 2, "duplicate key");
    refused("dir = [", 1, "");
}

#[test]
fn what_is_added_takes_the_place_of_its_like() {
    let mut grants = read("dir = [\"a::d\", \"b\"]\nenv = { A = \"1\" }\nlock = [\"l\"]").expect("valid");
    grants.add_dir(DirGrant::read_write("c", "d"));
    grants.add_env("A", "2");
    grants.add_object(NamedObject::queue("l:3").expect("valid"));
    let dirs = [DirGrant::read_only("/there/b", "b"), DirGrant::read_write("c", "d")];
    assert_eq!(grants.dirs, dirs);
    assert_eq!(grants.env, [("A".to_owned(), "2".to_owned())]);
    assert_eq!(grants.objects, [NamedObject::queue("l:3").expect("valid")]);
}

#[test]
fn a_folder_stands_for_the_file_in_it_and_a_directory_must_be_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |text: &str| std::fs::write(folder.path().join("wasmp.toml"), text).expect("written");
    write("dir = [\".\"]");
    let grants = Grants::load(folder.path()).expect("valid");
    assert_eq!(grants.dirs[0].host(), folder.path().join("."));
    write("dir = [\"nowhere\"]");
    let error = Grants::load(folder.path()).expect_err("there is none").to_string();
    assert!(error.contains("wasmp.toml:1: the directory `"), "{error}");
    assert!(error.contains("/nowhere` cannot be granted"), "{error}");
    write("\nfoo = 1");
    let error = Grants::load(folder.path()).expect_err("no such key").to_string();
    assert!(error.contains("wasmp.toml:2: there is no setting `foo`"), "{error}");
    std::fs::write(folder.path().join("wasmp.toml"), vec![b'#'; (1 << 20) + 1]).expect("written");
    let error = Grants::load(folder.path()).expect_err("too long").to_string();
    assert!(error.contains("longer than 1 MiB"), "{error}");
    let error = Grants::load(folder.path().join("other")).expect_err("none").to_string();
    assert!(error.contains("it cannot be read"), "{error}");
}

#[test]
fn a_directory_keeps_its_name_and_is_read_only_unless_told_otherwise() {
    let dir = |text: &str| text.parse::<DirGrant>();
    assert_eq!(dir("."), Ok(DirGrant::read_only(".", ".")));
    assert_eq!(dir(".:rw"), Ok(DirGrant::read_write(".", ".")));
    assert_eq!(dir("/tmp::/data"), Ok(DirGrant::read_only("/tmp", "/data")));
    assert_eq!(dir("/tmp::/data:rw"), Ok(DirGrant::read_write("/tmp", "/data")));
    assert_eq!(dir("/::rw"), Ok(DirGrant::read_only("/", "rw")));
    for text in ["", "/tmp::", "::x"] {
        assert!(dir(text).is_err_and(|error| error.contains("HOST::GUEST")), "{text}");
    }
}

#[test]
fn an_object_has_a_name_and_what_has_a_size_must_have_one() {
    let object = |name: &str, kind| {
        Ok(NamedObject {
            name: name.into(),
            kind,
        })
    };
    assert_eq!(NamedObject::queue("jobs"), object("jobs", ObjectKind::Queue(0)));
    assert_eq!(NamedObject::queue("a:b:3"), object("a:b", ObjectKind::Queue(3)));
    assert!(NamedObject::queue("jobs:x").is_err_and(|error| error.contains("`x` is not a number")));
    assert!(NamedObject::queue("jobs:-1").is_err());
    assert_eq!(NamedObject::queue(":3"), Err("it needs a name".into()));
    assert_eq!(NamedObject::semaphore("s:4"), object("s", ObjectKind::Semaphore(4)));
    assert!(NamedObject::semaphore("s").is_err_and(|error| error.ends_with("such as s:4")));
    assert_eq!(
        NamedObject::shared_memory("m:1M"),
        object("m", ObjectKind::SharedMemory(1 << 20))
    );
    assert!(NamedObject::shared_memory("m").is_err_and(|error| error.ends_with("such as m:64M")));
    assert!(NamedObject::shared_memory("m:0").is_err());
    assert!(NamedObject::lock("").is_err());
    assert!(NamedObject::event(&"n".repeat(256)).is_err());
}
