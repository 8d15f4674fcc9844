//! `wasmp inspect`: what a module offers and needs, for people and, with `--json`, for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;
use wasmp::{ImportInfo, Module, ModuleKind, TaskInfo};

use crate::args;
use crate::error::Error;
use crate::progress::Progress;
use crate::terminal::{Messages, visible};
use crate::{json, module, stdout};

pub(crate) fn run(args: &args::Inspect) -> Result<ExitCode, Error> {
    let module = module::load(&args.module, &Messages::new(args.json, Progress::none()))?;
    let view = View::new(&module);
    stdout::print(&match args.json {
        true => {
            let mut line = Vec::new();
            json::write(&mut line, &view).map_err(|error| stdout::failed(error.into()))?;
            line.push(b'\n');
            line
        }
        // Names and docs are the guest's words, and this is most likely a terminal.
        false => visible(&view.text(), "\n\t").into_owned().into_bytes(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What is shown: in this form, as JSON.
#[derive(Debug, Serialize)]
struct View<'a> {
    name: &'a str,
    kind: &'static str,
    precompiled: bool,
    tasks: Vec<Task<'a>>,
    types: Vec<Type<'a>>,
    imports: Vec<Import<'a>>,
    exports: Vec<Named<'a>>,
    memories: Vec<Memory>,
    functions: u32,
    code_size: u64,
    data_size: u64,
    sha256: String,
    asks: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Task<'a> {
    name: &'a str,
    doc: &'a str,
    params: Vec<Named<'a>>,
    returns: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Type<'a> {
    name: &'a str,
    constructor: Task<'a>,
    methods: Vec<Task<'a>>,
}

#[derive(Debug, Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    ty: &'a str,
}

#[derive(Debug, Serialize)]
struct Import<'a> {
    module: &'a str,
    name: &'a str,
    #[serde(rename = "type")]
    ty: &'a str,
}

#[derive(Debug, Serialize)]
struct Memory {
    minimum: u64,
    maximum: Option<u64>,
}

impl<'a> View<'a> {
    fn new(module: &'a Module) -> Self {
        let imports = module.imports();
        Self {
            name: module.name(),
            kind: kind(module.kind()),
            precompiled: module.is_precompiled(),
            tasks: module.tasks().iter().map(task).collect(),
            types: (module.types().iter())
                .map(|ty| Type {
                    name: &ty.name,
                    constructor: task(&ty.constructor),
                    methods: ty.methods.iter().map(task).collect(),
                })
                .collect(),
            imports: imports
                .iter()
                .map(|i| Import {
                    module: &i.module,
                    name: &i.name,
                    ty: &i.ty,
                })
                .collect(),
            exports: module
                .exports()
                .iter()
                .map(|export| Named {
                    name: &export.name,
                    ty: &export.ty,
                })
                .collect(),
            memories: (module.memories().iter())
                .map(|memory| Memory {
                    minimum: memory.minimum,
                    maximum: memory.maximum,
                })
                .collect(),
            functions: module.functions(),
            code_size: module.code_size(),
            data_size: module.data_size(),
            sha256: module.digest().iter().map(|byte| format!("{byte:02x}")).collect(),
            asks: asks(imports),
        }
    }

    /// For people. Writing to a `String` cannot fail.
    fn text(&self) -> String {
        let mut text = format!("{}: {}", self.name, self.kind.replace('_', " "));
        if self.precompiled {
            text.push_str(", precompiled");
        }
        text.push('\n');
        if !self.tasks.is_empty() {
            text.push_str("\nTasks\n");
        }
        for task in &self.tasks {
            describe(&mut text, "  ", task);
        }
        if !self.types.is_empty() {
            text.push_str("\nTypes for managers\n");
        }
        for ty in &self.types {
            let _ = writeln!(text, "  {}", ty.name);
            for method in std::iter::once(&ty.constructor).chain(&ty.methods) {
                describe(&mut text, "    ", method);
            }
        }
        if !self.imports.is_empty() {
            text.push_str("\nImports\n");
            // A line for each module that something comes from: there may be dozens of functions of WASI.
            let mut by_module = BTreeMap::<_, Vec<_>>::new();
            for import in &self.imports {
                by_module.entry(import.module).or_default().push(import.name);
            }
            for (module, names) in by_module {
                let _ = writeln!(text, "  {module}: {}", names.join(", "));
            }
        }
        text.push_str("\nExports\n");
        for export in &self.exports {
            let _ = writeln!(text, "  {}  {}", export.name, export.ty);
        }
        text.push_str("\nMemory\n");
        for memory in &self.memories {
            let most = memory
                .maximum
                .map_or_else(String::new, |bytes| format!(", at most {}", bytes_in_words(bytes)));
            let _ = writeln!(text, "  {} at the start{most}", bytes_in_words(memory.minimum));
        }
        if self.memories.is_empty() {
            text.push_str("  none\n");
        }
        let _ = writeln!(
            text,
            "\nCode\n  functions: {}, {}; data: {}",
            self.functions,
            bytes_in_words(self.code_size),
            bytes_in_words(self.data_size)
        );
        text.push_str("\nMay ask for\n");
        for ask in &self.asks {
            let _ = writeln!(text, "  {}", explained(ask));
        }
        if self.asks.is_empty() {
            text.push_str("  nothing beyond its arguments\n");
        }
        text
    }
}

fn task(info: &TaskInfo) -> Task<'_> {
    Task {
        name: &info.name,
        doc: &info.doc,
        params: info
            .params
            .iter()
            .map(|param| Named {
                name: &param.name,
                ty: &param.ty,
            })
            .collect(),
        returns: info.returns.as_deref(),
    }
}

/// The signature of a task or a method, and what its documentation says.
fn describe(text: &mut String, margin: &str, task: &Task<'_>) {
    let _ = writeln!(text, "{margin}{}", signature(task));
    for line in task.doc.lines() {
        let _ = writeln!(text, "{margin}    {line}");
    }
}

/// `square(x: i64) -> i64`
fn signature(task: &Task<'_>) -> String {
    let param = |Named { name, ty }: &Named<'_>| match (name.is_empty(), ty.is_empty()) {
        (false, false) => format!("{name}: {ty}"),
        _ => format!("{name}{ty}"),
    };
    let params = task.params.iter().map(param).collect::<Vec<_>>().join(", ");
    let returns = task.returns.map_or_else(String::new, |ty| format!(" -> {ty}"));
    format!("{}({params}){returns}", task.name)
}

pub(crate) const fn kind(kind: ModuleKind) -> &'static str {
    match kind {
        ModuleKind::Tasks => "task_module",
        ModuleKind::Command => "wasi_command",
        ModuleKind::Plain => "plain_exports",
        _ => "other",
    }
}

pub(crate) const FILES: &str = "files";
pub(crate) const ENVIRONMENT: &str = "environment";
pub(crate) const ARGUMENTS: &str = "arguments";
pub(crate) const STDIO: &str = "stdio";
pub(crate) const CLOCK: &str = "clock";
pub(crate) const RANDOM: &str = "random";
pub(crate) const NETWORK: &str = "network";

/// What a module may ask its host for at run time, as its imports tell.
pub(crate) fn asks(imports: &[ImportInfo]) -> Vec<&'static str> {
    let asked = |import: &ImportInfo| match import.name.split('_').next().unwrap_or_default() {
        _ if !import.module.starts_with("wasi") => None,
        "path" => Some(FILES),
        "environ" => Some(ENVIRONMENT),
        "args" => Some(ARGUMENTS),
        "fd" => matches!(import.name.as_str(), "fd_read" | "fd_write").then_some(STDIO),
        "clock" | "poll" => Some(CLOCK),
        "random" => Some(RANDOM),
        "sock" => Some(NETWORK),
        _ => None,
    };
    let mut asks: Vec<_> = imports.iter().filter_map(asked).collect();
    asks.sort_unstable();
    asks.dedup();
    asks
}

/// What is asked for, and who decides whether it is given.
fn explained(ask: &str) -> &'static str {
    match ask {
        FILES => "files: those in directories granted with --dir",
        ENVIRONMENT => "environment variables: those set with --env",
        ARGUMENTS => "command line arguments",
        STDIO => "standard streams: what it prints is passed on",
        CLOCK => "the time, and waiting",
        RANDOM => "random numbers",
        NETWORK => "network connections: it gets none",
        _ => "something else",
    }
}

/// A size in its largest binary unit, rounded.
pub(crate) fn bytes_in_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / *size as f64).replace(".0 ", " "),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAT: &str = r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_open"
            (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (memory (export "memory") 17 32)
        (func (export "square") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0))))"#;

    fn module() -> Module {
        Module::load(WAT.as_bytes().to_vec()).expect("a valid module")
    }

    #[test]
    fn the_view_for_programs_names_everything() {
        let json = serde_json::to_value(View::new(&module())).expect("plain data");
        assert_eq!(json["kind"], "plain_exports");
        assert_eq!(json["tasks"][0]["name"], "square");
        assert_eq!(json["tasks"][0]["params"][0]["type"], "i64");
        assert_eq!(json["tasks"][0]["returns"], "i64");
        assert_eq!(json["memories"][0]["minimum"], 17 << 16);
        assert_eq!(json["asks"], serde_json::json!(["files", "random"]));
        assert_eq!(json["sha256"].as_str().map(str::len), Some(64));
    }

    #[test]
    fn the_view_for_people_names_tasks_memory_and_needs() {
        let module = module();
        let text = View::new(&module).text();
        for part in [
            "plain exports",
            "  square(i64) -> i64\n",
            "1.1 MiB at the start, at most 2 MiB",
            "--dir",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_signature_reads_like_the_source() {
        let params = vec![
            Named {
                name: "path",
                ty: "String",
            },
            Named { name: "", ty: "i64" },
            Named { name: "z", ty: "" },
        ];
        let task = Task {
            name: "count",
            doc: "",
            params,
            returns: None,
        };
        assert_eq!(signature(&task), "count(path: String, i64, z)");
    }

    #[test]
    fn sizes_are_rounded_to_one_digit() {
        assert_eq!(bytes_in_words(500), "500 bytes");
        assert_eq!(bytes_in_words(1024), "1 KiB");
        assert_eq!(bytes_in_words(17 << 16), "1.1 MiB");
        assert_eq!(bytes_in_words(4 << 30), "4 GiB");
    }
}
