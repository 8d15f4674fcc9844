//! What is known about a module without running it.

use serde::{Deserialize, Serialize};

/// What a module is, told by what it exports and imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ModuleKind {
    /// Written for wasmp: it exports tasks that take and give structured values.
    Tasks,
    /// A program with a `main`: its one task `_start` takes stdin or arguments and gives what it printed.
    Command,
    /// Its exported functions take and return numbers; each is a task.
    Plain,
}

impl ModuleKind {
    /// The kind in a few words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tasks => "task module",
            Self::Command => "WASI command",
            Self::Plain => "plain exports",
        }
    }
}

/// One task of a module, or one method of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The name it is called by.
    pub name: String,
    /// What its documentation says; empty if it has none.
    pub doc: String,
    /// Its parameters, as far as the module says them.
    pub params: Vec<Param>,
    /// The type of its result, as its language writes it; `None` if the module does not say.
    pub returns: Option<String>,
    /// The export that implements it.
    pub(crate) export: String,
    /// Of a method: the type of which its result makes an object.
    pub(crate) makes: Option<String>,
}

/// A type of a module, whose objects a [`Manager`](crate::Manager) can hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TypeInfo {
    /// Its name.
    pub name: String,
    /// What makes an object: its parameters are those of [`Manager::create`](crate::Manager::create).
    pub constructor: TaskInfo,
    /// Its exposed methods.
    pub methods: Vec<TaskInfo>,
}

/// A parameter of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Param {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its type, as its language writes it.
    pub ty: String,
}

/// Something that a module needs from its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportInfo {
    /// The module it comes from.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// Its type, in words of the text format.
    pub ty: String,
}

/// Something that a module offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportInfo {
    /// Its name.
    pub name: String,
    /// Its type, in words of the text format.
    pub ty: String,
}

/// A linear memory of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryInfo {
    /// Bytes it has from the start.
    pub minimum: u64,
    /// Bytes it can grow to, where the module sets a limit of its own.
    pub maximum: Option<u64>,
}

/// All of it, as it also stands in a precompiled file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModuleInfo {
    /// The name in the module's name section.
    pub(crate) name: Option<String>,
    pub(crate) kind: ModuleKind,
    pub(crate) tasks: Vec<TaskInfo>,
    #[serde(default)]
    pub(crate) types: Vec<TypeInfo>,
    pub(crate) imports: Vec<ImportInfo>,
    pub(crate) exports: Vec<ExportInfo>,
    pub(crate) memories: Vec<MemoryInfo>,
    /// How many globals of its own can change.
    pub(crate) mutable_globals: u32,
    /// Initial elements of each table.
    pub(crate) tables: Vec<u64>,
    /// Functions defined, not imported.
    pub(crate) functions: u32,
    /// Bytes of function bodies.
    pub(crate) code_size: u64,
    /// Bytes of data segments.
    pub(crate) data_size: u64,
}
