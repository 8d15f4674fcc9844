//! What is not a usable module is refused with words that help; what is compiled once is not compiled again.

use std::fs;
use std::path::{Path, PathBuf};

use wasmp::{Error, Module, ModuleError, ModuleSource, Pool};
use wasmp_tests::{descendants, isolated, tasks};

fn refusal(source: impl Into<ModuleSource>) -> ModuleError {
    match Pool::builder(source).processes(1).build() {
        Err(Error::Module(error)) => error,
        other => panic!("expected an unusable module, got {other:?}"),
    }
}

fn refused_text(wat: &str) -> ModuleError {
    refusal(wat.as_bytes().to_vec())
}

#[test]
fn a_file_that_is_missing_empty_or_no_module() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let missing = folder.path().join("missing.wasm");
        let error = refusal(&missing);
        assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
        assert!(matches!(error, ModuleError::Read { .. }));
        assert!(matches!(refusal(folder.path()), ModuleError::Read { .. }));
        assert!(matches!(refusal(file("empty.wasm", b"")), ModuleError::Empty { .. }));
        assert!(matches!(
            refusal(file("image.wasm", b"\x89PNG\r\n\x1a\n")),
            ModuleError::NotWasm { .. }
        ));
        assert!(matches!(
            refusal(file("program.wasm", b"\x7fELF\x02\x01\x01")),
            ModuleError::NotWasm { .. }
        ));
        let wasm = fs::read(tasks()).unwrap();
        assert!(matches!(
            refusal(file("cut.wasm", &wasm[..wasm.len() / 2])),
            ModuleError::Malformed { .. }
        ));
    });
}

#[test]
fn modules_that_cannot_run_here_are_refused_with_advice() {
    isolated(|| {
        let error = refused_text("(component)");
        assert!(error.to_string().contains("wasm32-wasip1"), "{error}");
        assert!(matches!(error, ModuleError::Component { .. }));

        let error = refused_text(r#"(module (import "env" "magic" (func)) (func (export "one")))"#);
        assert!(
            error.to_string().contains("magic") && error.to_string().contains("env"),
            "{error}"
        );
        assert!(matches!(error, ModuleError::UnknownImports { .. }));

        assert!(matches!(refused_text("(module)"), ModuleError::NoTasks { .. }));
        let error = refused_text("(module (func (export \"f\") (result i32)))");
        assert!(error.to_string().contains("type mismatch"), "{error}");
        assert!(matches!(error, ModuleError::Compile { .. }), "{error:?}");
        let error = refused_text("(module (fun))");
        assert!(error.to_string().contains("1:"), "{error}");
        assert!(matches!(error, ModuleError::Text { .. }));
        assert!(descendants(std::process::id(), "wasmp-worker").is_empty());
    });
}

#[test]
fn a_precompiled_module_runs_only_where_it_is_trusted() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.cwasm");
        let module = Module::load(tasks()).unwrap();
        module.compile_to(&mut fs::File::create(&path).unwrap()).unwrap();
        assert!(matches!(refusal(&path), ModuleError::PrecompiledNotAllowed { .. }));
        let trusted = |path: &Path| ModuleSource::from(path).allow_precompiled(true);
        let pool = Pool::builder(trusted(&path)).processes(1).build().unwrap();
        assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        assert_eq!(pool.module().tasks(), module.tasks());

        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(
            refusal(trusted(&path)),
            ModuleError::PrecompiledDamaged { .. }
        ));
        fs::write(&path, &bytes[..middle]).unwrap();
        assert!(matches!(
            refusal(trusted(&path)),
            ModuleError::PrecompiledDamaged { .. }
        ));
    });
}

#[test]
fn a_module_says_what_it_offers() {
    isolated(|| {
        let module = Module::load(tasks()).unwrap();
        let square = module.tasks().iter().find(|task| task.name == "square").unwrap();
        assert_eq!(square.doc, "Squares a number.");
        let params: Vec<(&str, &str)> = square
            .params
            .iter()
            .map(|param| (param.name.as_str(), param.ty.as_str()))
            .collect();
        assert_eq!((params, square.returns.as_deref()), (vec![("x", "i64")], Some("i64")));
    });
}

/// The files of compiled code that are kept in a folder.
fn kept_code(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| if path.is_dir() { kept_code(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|it| it == "code"))
        .collect()
}

#[test]
fn compiled_code_is_kept_and_a_forged_copy_is_never_run() {
    isolated(|| {
        // A module that nobody else has, with a number in it that is easy to find.
        let number = 0x5eed_0000 | (std::process::id() & 0xffff);
        let wat = format!(r#"(module (func (export "number") (result i32) (i32.const {number})))"#);
        // Pools that differ in their settings have zygotes of their own, which load the code anew.
        let run = |setting: &str| {
            let builder = Pool::builder(wat.clone().into_bytes()).processes(1);
            let pool = builder.env("SETTING", setting).build().unwrap();
            assert_eq!(pool.apply::<_, u32>("number", ()).unwrap(), number);
        };
        run("first");
        // Code that runs just as well, and says something else.
        let mut forged = Vec::new();
        for path in kept_code(Path::new(&std::env::var_os("XDG_CACHE_HOME").unwrap())) {
            let mut bytes = fs::read(&path).unwrap();
            let places: Vec<usize> = (0..bytes.len() - 3)
                .filter(|at| bytes[*at..at + 4] == number.to_le_bytes())
                .collect();
            if !places.is_empty() {
                places.into_iter().for_each(|at| bytes[at] ^= 1);
                fs::write(&path, bytes).unwrap();
                forged.push(path);
            }
        }
        assert!(!forged.is_empty(), "the code is kept");
        run("second");
        for path in forged {
            let _ = fs::remove_file(path);
        }
    });
}
