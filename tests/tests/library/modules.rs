//! What is not a usable module is refused with words that help; what is compiled once is not compiled again.

use std::fs;
use std::path::Path;

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

#[test]
fn compiled_code_is_kept_and_a_damaged_copy_is_never_run() {
    isolated(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").unwrap();
        let entries = || {
            let mut found = Vec::new();
            let mut folders = vec![Path::new(&cache).to_owned()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        folders.push(path);
                    } else {
                        found.push(path);
                    }
                }
            }
            found
        };
        // A module that nobody else has: what it returns tells it apart.
        let number = std::process::id();
        let wat = format!(r#"(module (func (export "number") (result i32) (i32.const {number})))"#);
        let run = || {
            let pool = Pool::builder(wat.clone().into_bytes()).processes(1).build().unwrap();
            assert_eq!(pool.apply::<_, u32>("number", ()).unwrap(), number);
        };
        let before = entries();
        run();
        let new: Vec<_> = entries().into_iter().filter(|path| !before.contains(path)).collect();
        assert!(!new.is_empty(), "the code is kept");
        for path in &new {
            let mut bytes = fs::read(path).unwrap();
            for byte in bytes.iter_mut().skip(64) {
                *byte ^= 0x55;
            }
            fs::write(path, bytes).unwrap();
        }
        run();
        for path in new {
            let _ = fs::remove_file(path);
        }
    });
}
