//! Modules as a user meets them: what each file turns out to be, and what is said when it is not a module.

use std::cell::Cell;
use std::fs;
use std::io::Write as _;

use ciborium::cbor;
use proptest::prelude::*;

use super::inspect::inspect;
use super::*;
use crate::engine::EngineOptions;

fn wasm(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap()
}

fn load(bytes: impl AsRef<[u8]>) -> Result<Module, ModuleError> {
    Module::load(bytes.as_ref().to_vec())
}

fn error(bytes: impl AsRef<[u8]>) -> String {
    load(bytes).unwrap_err().to_string()
}

/// Loads bytes from a file of this name.
fn error_of_file(name: &str, bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    let error = Module::load(path.clone()).unwrap_err().to_string();
    error.replace(&path.display().to_string(), name)
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn with_section(mut wasm: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    let body = [&leb(name.len()), name.as_bytes(), data].concat();
    wasm.push(0);
    wasm.extend(leb(body.len()));
    wasm.extend(body);
    wasm
}

fn with_task(wasm: Vec<u8>, name: &str, krate: &str) -> Vec<u8> {
    let task = cbor!({
        "name" => name, "export" => format!("wasmp_task_{krate}__{name}"), "crate" => krate,
        "doc" => "Squares a number.", "params" => [["x", "i64"]], "returns" => "i64",
    });
    let mut data = Vec::new();
    ciborium::into_writer(&task.unwrap(), &mut data).unwrap();
    with_section(wasm, wasmp_abi::TASKS_SECTION, &data)
}

fn sdk_module() -> Vec<u8> {
    wasm(
        r#"(module
        (import "wasmp_v1" "task_next" (func (param i32 i32) (result i64)))
        (memory (export "memory") 2 10) (data (i32.const 0) "hello")
        (func (export "_start"))
        (func (export "wasmp_task_one__square"))
        (func (export "wasmp_task_two__square"))
        (func (export "helper") (param i32)))"#,
    )
}

#[test]
fn a_task_module() {
    let module = load(with_section(
        with_task(sdk_module(), "square", "one"),
        "wasmp.abi",
        b"1",
    ))
    .unwrap();
    assert_eq!(module.kind(), ModuleKind::Tasks);
    let square = module.task("square").unwrap();
    assert_eq!(
        (square.doc.as_str(), square.export.as_str()),
        ("Squares a number.", "wasmp_task_one__square")
    );
    assert_eq!(
        (square.params[0].name.as_str(), square.params[0].ty.as_str()),
        ("x", "i64")
    );
    assert_eq!(square.returns.as_deref(), Some("i64"));
    assert_eq!(
        module.tasks()[1].name,
        "two__square",
        "an export without a description is a task, too"
    );
    assert_eq!(
        module.memories(),
        [MemoryInfo {
            minimum: 2 << 16,
            maximum: Some(10 << 16)
        }]
    );
    assert_eq!((module.functions(), module.data_size()), (4, 5));
    assert_eq!(module.imports()[0].ty, "func (i32, i32) -> i64");
    assert_eq!(
        module.exports()[0],
        ExportInfo {
            name: "memory".into(),
            ty: "memory".into()
        }
    );
}

#[test]
fn tasks_need_no_description() {
    let module = load(wasm("(module (func (export \"wasmp_task_double\")))")).unwrap();
    assert_eq!(
        (module.kind(), module.tasks()[0].name.as_str()),
        (ModuleKind::Tasks, "double")
    );
}

#[test]
fn a_command_and_plain_exports() {
    let command = load(wasm(
        "(module (func (export \"_start\")) (func (export \"f\") (param i32)))",
    ))
    .unwrap();
    assert_eq!((command.kind(), command.tasks().len()), (ModuleKind::Command, 1));
    assert_eq!(command.tasks()[0].name, "_start");

    let plain = load(
        "(module $maths
            (func (export \"square\") (param i64) (result i64) (local.get 0))
            (func (export \"two\") (result i32 f64) (i32.const 1) (f64.const 2))
            (func (export \"takes_a_reference\") (param externref))
            (func (export \"__wasm_call_ctors\")) (func (export \"_initialize\")))",
    )
    .unwrap();
    assert_eq!((plain.kind(), plain.name()), (ModuleKind::Plain, "maths"));
    let names: Vec<_> = plain.tasks().iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["square", "two"]);
    assert_eq!(plain.tasks()[0].returns.as_deref(), Some("i64"));
    assert_eq!(plain.tasks()[1].returns.as_deref(), Some("(i32, f64)"));
}

#[test]
fn the_name_is_that_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tasks.wasm");
    fs::write(&path, sdk_module()).unwrap();
    assert_eq!(Module::load(path).unwrap().name(), "tasks");
}

#[test]
fn two_tasks_of_one_name_name_their_crates() {
    let twice = with_task(with_task(sdk_module(), "square", "one"), "square", "two");
    assert_eq!(
        error(twice),
        "the module has two tasks named `square`, one in `one` and one in `two`: rename one of them"
    );
    let same = with_task(with_task(sdk_module(), "square", "one"), "square", "one");
    assert!(error(same).contains("both in `one`"));
}

#[test]
fn a_description_must_fit_the_exports() {
    let missing = error(with_task(sdk_module(), "cube", "one"));
    assert!(
        missing.contains("task `cube` is to be the export `wasmp_task_one__cube`, which is missing"),
        "{missing}"
    );
    let typed = wasm("(module (func (export \"wasmp_task_a__f\") (param i32)))");
    let wrong = error(with_task(typed, "f", "a"));
    assert!(wrong.contains("which is not a function of type `() -> ()`"), "{wrong}");
    let damaged = error(with_section(sdk_module(), "wasmp.tasks", b"\xff"));
    assert!(
        damaged.contains("(custom section `wasmp.tasks` or `wasmp.types`) is wrong: entry 1 at byte 0"),
        "{damaged}"
    );
}

fn with_method(wasm: Vec<u8>, of: &str, name: &str, krate: &str) -> Vec<u8> {
    let method = cbor!({ "type" => of, "name" => name, "export" => name, "crate" => krate, "doc" => "Does so." });
    let mut data = Vec::new();
    ciborium::into_writer(&method.unwrap(), &mut data).unwrap();
    with_section(wasm, wasmp_abi::TYPES_SECTION, &data)
}

#[test]
fn types_have_their_methods_and_are_no_tasks() {
    let bare = wasm("(module (func (export \"new\")) (func (export \"put\")) (func (export \"_start\")))");
    let put = |bare| with_method(bare, "Account", "put", "one");
    let described = with_method(put(bare.clone()), "Account", "new", "one");
    let module = load(&described).unwrap();
    assert_eq!((module.kind(), module.tasks()), (ModuleKind::Tasks, &[][..]));
    let [account] = module.types() else {
        panic!("{:?}", module.types())
    };
    assert_eq!(
        (account.name.as_str(), account.constructor.name.as_str()),
        ("Account", "new")
    );
    let [method] = &account.methods[..] else {
        panic!("{account:?}")
    };
    assert_eq!((method.name.as_str(), method.doc.as_str()), ("put", "Does so."));

    assert!(error(put(bare.clone())).ends_with("the type `Account` has no constructor `new`"));
    let twice = error(with_method(described.clone(), "Account", "put", "two"));
    let words = "the module has two methods named `Account::put`, one in `one` and one in `two`: rename one of them";
    assert_eq!(twice, words);
    let other = load(with_method(described.clone(), "Purse", "new", "two")).unwrap();
    let names: Vec<_> = other.types().iter().map(|of| of.name.as_str()).collect();
    assert_eq!(names, ["Account", "Purse"]);
    let missing = error(with_method(described.clone(), "Account", "get", "one"));
    let words = "method `get` of the type `Account` is to be the export `get`, which is missing";
    assert!(missing.ends_with(words), "{missing}");
    assert!(error(with_method(described.clone(), "", "put", "one")).ends_with("`put` is the method of no type"));

    let making = |wasm, name: &str, makes: &str| {
        let method = cbor!({ "type" => "Account", "name" => name, "export" => "put", "makes" => makes });
        let mut data = Vec::new();
        ciborium::into_writer(&method.unwrap(), &mut data).unwrap();
        with_section(wasm, wasmp_abi::TYPES_SECTION, &data)
    };
    assert!(load(making(described.clone(), "split", "Account")).is_ok());
    let unknown = error(making(described, "split", "Purse"));
    let words = "`split` of the type `Account` is to make a `Purse`, which it cannot";
    assert!(unknown.ends_with(words), "{unknown}");
    let constructor = error(making(bare, "new", "Account"));
    let words = "`new` of the type `Account` is to make a `Account`, which it cannot";
    assert!(constructor.ends_with(words), "{constructor}");
}

#[test]
fn the_abi_version_is_checked() {
    assert!(
        load(with_section(sdk_module(), "wasmp.abi", b"11")).is_ok(),
        "joined by the linker"
    );
    let newer = error(with_section(sdk_module(), "wasmp.abi", b"2"));
    assert!(
        newer.starts_with("the module was built for version 2 of the wasmp ABI"),
        "{newer}"
    );
}

#[test]
fn unknown_imports_are_named_with_advice() {
    let one = error("(module (import \"env\" \"sqlite3_open\" (func)) (func (export \"_start\")))");
    assert!(
        one.starts_with("the module imports `sqlite3_open` from `env`: an undefined symbol"),
        "{one}"
    );
    let imports: String = (0..20).map(|n| format!("(import \"wbg\" \"f{n}\" (func))")).collect();
    let many = error(format!("(module {imports} (func (export \"_start\")))"));
    assert!(many.starts_with("the module has 20 imports that nothing provides:\n  `f0` from `wbg`: wasm-bindgen"));
    assert!(many.ends_with("\n  `f7` from `wbg`\n  and 12 more"), "{many}");
}

#[test]
fn files_that_are_no_modules_say_what_they_are() {
    for (name, bytes, expected) in [
        ("a.wasm", &b""[..], "a.wasm is empty"),
        (
            "a.out",
            b"\x7fELF\x02\x01\x01",
            "a.out is not a WebAssembly module: it is a native program or library (ELF)",
        ),
        (
            "a.wasm",
            b"\x1f\x8b\x08",
            "it is compressed; unpack it first (`gunzip`)",
        ),
        (
            "main.rs",
            b"fn main() {}",
            "it is Rust source; compile it for the target `wasm32-wasip1`",
        ),
        ("liba.rlib", b"!<arch>\nx", "it is a static library"),
        (
            "a.wasm",
            b"<!DOCTYPE html>",
            "it is an HTML or XML document; was the download an error page?",
        ),
        ("a.wasm", b"hello", "it is text, but not WebAssembly's text format"),
        ("a.wasm", b"\xde\xad\xbe\xef", "it begins with the bytes de ad be ef"),
        ("a.wasm", b"  \n", "it is blank"),
        (
            "a.wasm",
            b"\0asm\x0d\0\x01\0",
            "a.wasm is a WebAssembly component, which wasmp does not run yet: build it",
        ),
        ("a.wat", b"(component)", "a.wat is a WebAssembly component"),
        ("a.wasm", b"\0asm\x02\0\0\0", "its version is not known"),
        ("a.wasm", b"\0asm", "its version is not known"),
    ] {
        let error = error_of_file(name, bytes);
        assert!(error.contains(expected), "{name}: {error}");
    }
    let missing = Module::load("/nonexistent/tasks.wasm").unwrap_err().to_string();
    assert!(
        missing.starts_with("cannot read /nonexistent/tasks.wasm: No such file"),
        "{missing}"
    );
    let directory = Module::load("/").unwrap_err().to_string();
    assert!(directory.contains("directory"), "{directory}");
}

#[test]
fn code_that_wasmtime_compiled_is_not_run() {
    let code = engine::compile(&wasm("(module)"), &EngineOptions::default()).unwrap();
    assert!(error(code).contains("it was compiled to machine code by wasmtime; give the .wasm"));
}

#[test]
fn errors_in_the_text_format_say_where() {
    let error = error_of_file("tasks.wat", b"(module\n  (func (export \"f\") i32.bad))");
    assert!(error.contains("tasks.wat:2:22"), "{error}");
    assert!(error.contains("i32.bad"), "{error}");
}

#[test]
fn a_module_without_tasks_says_what_to_do() {
    let error = error("(module (memory (export \"memory\") 1))");
    assert!(
        error.starts_with("the module exports no task: mark a function with `#[task]`"),
        "{error}"
    );
}

#[test]
fn fresh_instances_get_their_memories_from_where_it_is_fastest() {
    let allocation = |elements: u32, data: usize| {
        let data = "x".repeat(data);
        let module = format!(
            "(module (memory 100) (table {elements} funcref) (func (export \"f\")) (data (i32.const 0) \"{data}\"))"
        );
        let module = load(module).unwrap();
        assert_eq!(module.allocation(false), Allocation::OnDemand);
        module.allocation(true)
    };
    assert_eq!(allocation(2_000_000, 1000), Allocation::Recycled);
    assert_eq!(allocation(1000, 1_000_000), Allocation::Pooling);
    assert_eq!(allocation(2_000_000, 1_000_000), Allocation::OnDemand);
}

#[test]
fn code_is_compiled_once_then_found() {
    let home = tempfile::tempdir().unwrap();
    let cache = Some(home.path().join("modules"));
    let source = wasm("(module (func (export \"only_in_this_test\")))");
    let compiled = Cell::new(0);
    let compile = |wasm: &[u8]| {
        compiled.set(compiled.get() + 1);
        Artifact::from_bytes(wasm).map_err(ModuleError::Store)
    };
    let module = load(&source).unwrap();
    let first = module
        .artifact_through(cache.as_deref(), Flavor::default(), &compile)
        .unwrap();
    assert_eq!(compiled.get(), 1);
    // The same module, a clone of it, another load while somebody uses it.
    module
        .clone()
        .artifact_through(None, Flavor::default(), &compile)
        .unwrap();
    load(&source)
        .unwrap()
        .artifact_through(None, Flavor::default(), &compile)
        .unwrap();
    assert_eq!(compiled.get(), 1);
    // Nobody uses it any more: from the disk.
    drop((module, first));
    load(&source)
        .unwrap()
        .artifact_through(cache.as_deref(), Flavor::default(), &compile)
        .unwrap();
    assert_eq!(compiled.get(), 1);
    // No disk, a failing one.
    load(&source)
        .unwrap()
        .artifact_through(None, Flavor::default(), &compile)
        .unwrap();
    load(&source)
        .unwrap()
        .artifact_through(Some(Path::new("/proc/none")), Flavor::default(), &compile)
        .unwrap();
    assert_eq!(compiled.get(), 3);
}

#[test]
fn what_does_not_compile_is_tried_again() {
    let module = load("(module (func (export \"never_compiles\")))").unwrap();
    let fails = |_: &[u8]| {
        Err(ModuleError::Compile {
            module: "m".into(),
            message: "because".into(),
        })
    };
    assert_eq!(
        module
            .artifact_through(None, Flavor::default(), &fails)
            .unwrap_err()
            .to_string(),
        "m does not compile: because"
    );
    assert!(
        module
            .artifact_through(None, Flavor::default(), &|_| Artifact::from_bytes(b"x")
                .map_err(ModuleError::Store))
            .is_ok()
    );
}

#[test]
fn a_precompiled_module_must_be_allowed() {
    let source = load("(module (func (export \"precompiled\") (param i32)))").unwrap();
    let artifact = Artifact::from_bytes(b"machine code").unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    source.write_precompiled(&artifact, &mut file).unwrap();
    let path = file.path().to_owned();

    let refused = Module::load(path.clone()).unwrap_err().to_string();
    assert!(
        refused.contains("is precompiled: machine code that runs as it is"),
        "{refused}"
    );
    let trusted = || Module::load(ModuleSource::from(path.clone()).allow_precompiled(true));
    let module = trusted().unwrap();
    assert!(module.is_precompiled());
    assert_eq!((module.tasks(), module.digest()), (source.tasks(), source.digest()));
    let never = |_: &[u8]| -> Result<Artifact, ModuleError> { panic!("there is nothing to compile") };
    assert_eq!(module.artifact(Flavor::default(), &never).unwrap().len(), 12);

    file.write_all(b"x").unwrap();
    assert!(
        trusted()
            .unwrap_err()
            .to_string()
            .contains("damaged precompiled module (something follows its end)")
    );
}

#[test]
fn a_precompiled_module_of_another_engine_is_refused() {
    let source = load("(module (func (export \"elsewhere\")))").unwrap();
    let mut bytes = Vec::new();
    precompiled::write(
        &source.inner.info,
        &source.digest(),
        &[9; 32],
        &Artifact::from_bytes(b"x").unwrap(),
        &mut bytes,
    )
    .unwrap();
    let module = Module::from_bytes("m", None, bytes, true).unwrap();
    let never = |_: &[u8]| -> Result<Artifact, ModuleError> { panic!("it must not be compiled") };
    let error = module.artifact(Flavor::default(), &never).unwrap_err().to_string();
    assert!(
        error.contains("precompiled by another version of wasmp or for another CPU"),
        "{error}"
    );
}

#[test]
fn a_type_that_many_functions_share_does_not_multiply() {
    let params = "i64 ".repeat(1000);
    let exports: String = (0..2000).map(|n| format!("(export \"f{n}\")")).collect();
    let module = inspect(
        "m",
        &wasm(&format!(
            "(module (func {exports} (param {params})) (func (export \"g\")))"
        )),
    );
    let module = module.unwrap();
    assert_eq!(module.tasks.len(), 1);
    assert!(module.exports.iter().all(|export| export.ty.len() < 1000));
}

proptest! {
    #[test]
    fn any_module_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = load([&b"\0asm\x01\0\0\0"[..], &bytes].concat());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = load(&bytes);
    }

    #[test]
    fn a_changed_or_cut_module_is_read_or_refused(at: prop::sample::Index, byte: u8, end: prop::sample::Index) {
        let mut bytes = with_task(sdk_module(), "square", "one");
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = load(&bytes);
        bytes.truncate(end.index(bytes.len()));
        let _ = load(&bytes);
    }
}
