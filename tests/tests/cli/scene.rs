//! Modules and folders that tests make.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder that is gone after the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Puts a file there.
    pub(crate) fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(name, content);
        self
    }

    /// The same.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        let parent = path.parent().expect("a file is in a folder");
        fs::create_dir_all(parent).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    /// Lets tasks go on that wait for this file, where guests see the folder as `/gate`.
    pub(crate) fn open(&self, name: &str) {
        File::create(self.path().join(name)).expect("a file");
    }

    /// The option that shows the folder to guests under this name.
    pub(crate) fn granted_as(&self, guest: &str) -> String {
        format!("--dir={}::{guest}", self.path().display())
    }

    /// The name of every file, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).expect("a folder").flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }
}

/// A module, as text, with tasks that return these CBOR items, whatever they are given.
pub(crate) fn constants(tasks: &[(&str, &[u8])]) -> String {
    let mut module = String::from(
        r#"(module
  (import "wasmp_v1" "task_next" (func $task_next (param i32 i32) (result i64)))
  (import "wasmp_v1" "task_return" (func $task_return (param i32 i32)))
  (memory (export "memory") 1)
  (func $give (param $at i32) (param $length i32)
    (loop $items
      (if (i64.lt_s (call $task_next (i32.const 32768) (i32.const 32768)) (i64.const 0)) (then (return)))
      (call $task_return (local.get $at) (local.get $length))
      (br $items)))
"#,
    );
    let mut at = 0;
    for (name, cbor) in tasks {
        let length = cbor.len();
        let bytes = escaped(cbor);
        let _ = write!(
            module,
            r#"  (data (i32.const {at}) "{bytes}")
  (func (export "wasmp_task_{name}") (call $give (i32.const {at}) (i32.const {length})))
"#
        );
        at += length;
    }
    module + ")"
}

/// Bytes as a string of WAT.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
