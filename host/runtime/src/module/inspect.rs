//! Reads what a module is from its bytes: kind, tasks, imports, exports, sizes.
//!
//! The bytes may be hostile. Everything that is kept is bounded by a count or a length; function bodies are skipped,
//! for the compiler validates them.

mod types;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use wasmparser::{
    CompositeInnerType, Encoding, ExternalKind, FuncType, KnownCustom, Name, Parser, Payload, TypeRef, ValType,
};

use super::descriptors::{self, Descriptor};
use super::error::{ModuleError, UnknownImport};
use super::imports::{self, Wanted};
use super::info::{ExportInfo, ImportInfo, MemoryInfo, ModuleInfo, ModuleKind, Param, TaskInfo};

/// Most imports, and most exports.
const MAX_EXTERNS: usize = 100_000;
/// Longest rendering of a type; what is longer ends in `…`.
const MAX_TYPE_TEXT: usize = 200;
/// Most parameters and results of an exported function that is a task as it is.
const MAX_PLAIN_VALUES: usize = 64;
/// Most unknown imports that are kept for the error.
const MAX_UNKNOWN: usize = 1_000;

/// Looks at a binary module. `module` is what errors call it.
pub(crate) fn inspect(module: &str, wasm: &[u8]) -> Result<ModuleInfo, ModuleError> {
    let mut parts = Parts::default();
    parts.read(module, wasm)?;
    if !parts.unknown.is_empty() {
        return Err(ModuleError::UnknownImports {
            module: module.to_owned(),
            imports: parts.unknown,
        });
    }
    check_abi(module, &parts.abi)?;
    let described = |section: &[u8]| {
        descriptors::parse(section).map_err(|why| ModuleError::Descriptor {
            module: module.to_owned(),
            why,
        })
    };
    let types = types::types(module, &parts, described(&parts.types_described)?)?;
    let (kind, tasks) = tasks(module, &parts, described(&parts.descriptors)?, !types.is_empty())?;
    Ok(ModuleInfo {
        name: parts.name,
        kind,
        tasks,
        types,
        imports: parts.imports,
        exports: parts.exports.into_iter().map(|export| export.info).collect(),
        memories: parts.memories,
        mutable_globals: parts.mutable_globals,
        tables: parts.tables,
        functions: parts.defined,
        code_size: parts.code_size,
        data_size: parts.data_size,
    })
}

/// The parts of a module that matter here.
#[derive(Default)]
struct Parts {
    /// By type index; `None` is not the type of a function.
    types: Vec<Option<FuncType>>,
    /// The type index of each function, imported ones first.
    functions: Vec<u32>,
    imports: Vec<ImportInfo>,
    unknown: Vec<UnknownImport>,
    exports: Vec<Export>,
    memories: Vec<MemoryInfo>,
    mutable_globals: u32,
    tables: Vec<u64>,
    defined: u32,
    code_size: u64,
    data_size: u64,
    name: Option<String>,
    abi: Vec<u8>,
    descriptors: Vec<u8>,
    types_described: Vec<u8>,
}

struct Export {
    info: ExportInfo,
    /// The type index, if it is a function.
    function: Option<u32>,
}

impl Parts {
    fn read(&mut self, module: &str, wasm: &[u8]) -> Result<(), ModuleError> {
        let malformed = |error: wasmparser::BinaryReaderError| ModuleError::Malformed {
            module: module.to_owned(),
            message: format!("{} (at byte {})", error.message(), error.offset()),
        };
        let too_many = |what: &str| ModuleError::TooLarge {
            module: module.to_owned(),
            what: format!("it has more than {MAX_EXTERNS} {what}"),
        };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(malformed)? {
                Payload::Version {
                    encoding: Encoding::Component,
                    ..
                } => {
                    return Err(ModuleError::Component {
                        module: module.to_owned(),
                    });
                }
                Payload::TypeSection(types) => {
                    for group in types {
                        for ty in group.map_err(malformed)?.into_types() {
                            self.types.push(match ty.composite_type.inner {
                                CompositeInnerType::Func(ty) => Some(ty),
                                _ => None,
                            });
                        }
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        if self.imports.len() == MAX_EXTERNS {
                            return Err(too_many("imports"));
                        }
                        self.import(&import.map_err(malformed)?);
                    }
                }
                Payload::FunctionSection(functions) => {
                    self.defined = functions.count();
                    for ty in functions {
                        self.functions.push(ty.map_err(malformed)?);
                    }
                }
                Payload::TableSection(tables) => {
                    for table in tables {
                        self.tables.push(table.map_err(malformed)?.ty.initial);
                    }
                }
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        self.memories.push(memory_info(&memory.map_err(malformed)?));
                    }
                }
                Payload::GlobalSection(globals) => {
                    for global in globals {
                        self.mutable_globals += u32::from(global.map_err(malformed)?.ty.mutable);
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        if self.exports.len() == MAX_EXTERNS {
                            return Err(too_many("exports"));
                        }
                        let export = export.map_err(malformed)?;
                        self.export(export.name, export.kind, export.index);
                    }
                }
                Payload::CodeSectionStart { size, .. } => self.code_size = size.into(),
                Payload::DataSection(segments) => {
                    for segment in segments {
                        self.data_size += segment.map_err(malformed)?.data.len() as u64;
                    }
                }
                Payload::CustomSection(section) if section.name() == wasmp_abi::ABI_SECTION => {
                    self.abi.extend(section.data().iter().take(64));
                }
                Payload::CustomSection(section) if section.name() == wasmp_abi::TASKS_SECTION => {
                    add_descriptors(module, &mut self.descriptors, section.data())?;
                }
                Payload::CustomSection(section) if section.name() == wasmp_abi::TYPES_SECTION => {
                    add_descriptors(module, &mut self.types_described, section.data())?;
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        // A name is a convenience: a broken name section is none.
                        for name in names.into_iter().map_while(Result::ok) {
                            if let Name::Module { name, .. } = name {
                                self.name = Some(elide(name));
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn import(&mut self, import: &wasmparser::Import<'_>) {
        let (wanted, ty) = match import.ty {
            TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                self.functions.push(index);
                (Wanted::Function, self.function_text(index))
            }
            TypeRef::Memory(_) => (Wanted::Memory, "memory".to_owned()),
            TypeRef::Table(_) => (Wanted::Other, "table".to_owned()),
            TypeRef::Global(_) => (Wanted::Other, "global".to_owned()),
            TypeRef::Tag(_) => (Wanted::Other, "tag".to_owned()),
        };
        if let Some(advice) = imports::advice(import.module, import.name, wanted)
            && self.unknown.len() < MAX_UNKNOWN
        {
            self.unknown.push(UnknownImport {
                module: elide(import.module),
                name: elide(import.name),
                advice: advice.to_owned(),
            });
        }
        self.imports.push(ImportInfo {
            module: import.module.to_owned(),
            name: import.name.to_owned(),
            ty,
        });
    }

    fn export(&mut self, name: &str, kind: ExternalKind, index: u32) {
        let mut function = None;
        let ty = match kind {
            ExternalKind::Func | ExternalKind::FuncExact => {
                function = self.functions.get(index as usize).copied();
                self.function_text(function.unwrap_or(u32::MAX))
            }
            ExternalKind::Memory => "memory".to_owned(),
            ExternalKind::Table => "table".to_owned(),
            ExternalKind::Global => "global".to_owned(),
            ExternalKind::Tag => "tag".to_owned(),
        };
        self.exports.push(Export {
            info: ExportInfo {
                name: name.to_owned(),
                ty,
            },
            function,
        });
    }

    fn function(&self, ty: u32) -> Option<&FuncType> {
        self.types.get(ty as usize)?.as_ref()
    }

    /// Whether an export is a function of type `() -> ()`.
    fn is_procedure(&self, export: &Export) -> bool {
        let ty = export.function.and_then(|ty| self.function(ty));
        ty.is_some_and(|ty| ty.params().is_empty() && ty.results().is_empty())
    }

    fn exports_by_name(&self) -> HashMap<&str, &Export> {
        let named = self.exports.iter().map(|export| (export.info.name.as_str(), export));
        named.collect()
    }

    /// The function that a descriptor speaks of.
    fn procedure<'p>(
        &self,
        module: &str,
        exports: &HashMap<&str, &'p Export>,
        described: &Descriptor,
    ) -> Result<&'p Export, ModuleError> {
        let Descriptor { name, of, export, .. } = described;
        let wrong = |what: &str| ModuleError::Descriptor {
            module: module.to_owned(),
            why: match of.as_str() {
                "" => format!("task `{}` is to be the export `{}`, {what}", elide(name), elide(export)),
                of => format!(
                    "method `{}` of the type `{}` is to be the export `{}`, {what}",
                    elide(name),
                    elide(of),
                    elide(export)
                ),
            },
        };
        let found = exports.get(export.as_str()).ok_or_else(|| wrong("which is missing"))?;
        if !self.is_procedure(found) {
            return Err(wrong("which is not a function of type `() -> ()`"));
        }
        Ok(found)
    }

    /// The type of a function, as `func (i32, i32) -> i64`.
    fn function_text(&self, ty: u32) -> String {
        let Some(ty) = self.function(ty) else {
            return "func".to_owned();
        };
        let list = |types: &[ValType]| {
            types
                .iter()
                .take(32)
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut text = format!("func ({})", list(ty.params()));
        match ty.results() {
            [] => {}
            [one] => text += &format!(" -> {one}"),
            many => text += &format!(" -> ({})", list(many)),
        }
        elide(&text)
    }
}

/// Takes one more section of descriptors.
fn add_descriptors(module: &str, descriptors: &mut Vec<u8>, section: &[u8]) -> Result<(), ModuleError> {
    if descriptors.len() + section.len() > descriptors::MAX_SECTION {
        return Err(ModuleError::TooLarge {
            module: module.to_owned(),
            what: format!("its list of tasks is longer than {} bytes", descriptors::MAX_SECTION),
        });
    }
    descriptors.extend(section);
    Ok(())
}

fn memory_info(memory: &wasmparser::MemoryType) -> MemoryInfo {
    let page = 1u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(1);
    MemoryInfo {
        minimum: memory.initial.saturating_mul(page),
        maximum: memory.maximum.map(|pages| pages.saturating_mul(page)),
    }
}

/// A text of the module, short enough for a message.
fn elide(text: &str) -> String {
    match text.char_indices().nth(MAX_TYPE_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The linker joins the sections of several crates, so the text may stand there more than once.
fn check_abi(module: &str, section: &[u8]) -> Result<(), ModuleError> {
    let version = wasmp_abi::ABI_VERSION.as_bytes();
    if section.chunks(version.len()).all(|found| found == version) {
        return Ok(());
    }
    Err(ModuleError::Abi {
        module: module.to_owned(),
        found: elide(&String::from_utf8_lossy(section)),
    })
}

fn tasks(
    module: &str,
    parts: &Parts,
    described: Vec<Descriptor>,
    has_types: bool,
) -> Result<(ModuleKind, Vec<TaskInfo>), ModuleError> {
    let tasks = sdk_tasks(module, parts, described)?;
    if !tasks.is_empty() || has_types {
        return Ok((ModuleKind::Tasks, tasks));
    }
    if parts
        .exports
        .iter()
        .any(|export| export.info.name == "_start" && parts.is_procedure(export))
    {
        let start = TaskInfo {
            name: "_start".to_owned(),
            doc: String::new(),
            params: Vec::new(),
            returns: None,
            export: "_start".to_owned(),
            makes: None,
        };
        return Ok((ModuleKind::Command, vec![start]));
    }
    let tasks: Vec<_> = parts
        .exports
        .iter()
        .filter_map(|export| plain_task(parts, export))
        .take(descriptors::MAX_TASKS)
        .collect();
    if tasks.is_empty() {
        return Err(ModuleError::NoTasks {
            module: module.to_owned(),
        });
    }
    Ok((ModuleKind::Plain, tasks))
}

/// The tasks that were written for wasmp: those described, then those that only have an export.
fn sdk_tasks(module: &str, parts: &Parts, described: Vec<Descriptor>) -> Result<Vec<TaskInfo>, ModuleError> {
    let exports = parts.exports_by_name();
    let mut names = Names {
        module,
        crates: HashMap::new(),
    };
    let mut tasks = Vec::new();
    let mut taken = HashSet::new();
    for task in described {
        let export = parts.procedure(module, &exports, &task)?;
        taken.insert(export.info.name.as_str());
        names.claim(&task.name, task.krate.clone())?;
        tasks.push(info(task));
    }
    for export in &parts.exports {
        let Some(name) = export.info.name.strip_prefix(wasmp_abi::TASK_EXPORT_PREFIX) else {
            continue;
        };
        if name.is_empty() || !parts.is_procedure(export) || !taken.insert(&export.info.name) {
            continue;
        }
        names.claim(name, "the module itself".to_owned())?;
        tasks.push(TaskInfo {
            name: name.to_owned(),
            doc: String::new(),
            params: Vec::new(),
            returns: None,
            export: export.info.name.clone(),
            makes: None,
        });
    }
    Ok(tasks)
}

/// What a descriptor tells.
fn info(task: Descriptor) -> TaskInfo {
    TaskInfo {
        name: task.name,
        doc: task.doc,
        params: task.params.into_iter().map(|(name, ty)| Param { name, ty }).collect(),
        returns: task.returns,
        export: task.export,
        makes: task.makes,
    }
}

/// The names of tasks, each with the crate that defines it.
struct Names<'a> {
    module: &'a str,
    crates: HashMap<String, String>,
}

impl Names<'_> {
    fn claim(&mut self, task: &str, krate: String) -> Result<(), ModuleError> {
        match self.crates.entry(task.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(krate);
                Ok(())
            }
            Entry::Occupied(entry) => Err(ModuleError::DuplicateTask {
                module: self.module.to_owned(),
                task: elide(task),
                crates: [elide(entry.get()), elide(&krate)],
            }),
        }
    }
}

/// An export as a task that takes and returns numbers, if it can be one.
fn plain_task(parts: &Parts, export: &Export) -> Option<TaskInfo> {
    let ty = parts.function(export.function?)?;
    let numeric = |ty: &ValType| matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64);
    let name = &export.info.name;
    // Names that compilers reserve: initialisers and the allocator's entry points.
    let reserved = name == "_initialize" || name.starts_with("__") || name.starts_with("cabi_");
    let values = ty.params().iter().chain(ty.results());
    if reserved || values.clone().count() > MAX_PLAIN_VALUES || !values.clone().all(numeric) {
        return None;
    }
    let returns = match ty.results() {
        [] => "()".to_owned(),
        [one] => one.to_string(),
        many => format!(
            "({})",
            many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
    };
    Some(TaskInfo {
        name: name.clone(),
        doc: String::new(),
        params: ty
            .params()
            .iter()
            .map(|ty| Param {
                name: String::new(),
                ty: ty.to_string(),
            })
            .collect(),
        returns: Some(returns),
        export: name.clone(),
        makes: None,
    })
}
