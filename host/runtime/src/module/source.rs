//! Where a module comes from, and what the bytes turn out to be.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::ModuleError;
use super::{Module, precompiled};

/// Most bytes of a module's file: what WebAssembly's own limits allow.
const MAX_SIZE: u64 = 1 << 30;

/// Where a module comes from.
///
/// A file may be a `.wasm` module or its text format, `.wat`. It is recognised by what is in it, not by its name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ModuleSource {
    /// A file.
    Path(PathBuf),
    /// A file that may also be precompiled: machine code that runs as it is, so the file must come from somebody
    /// you trust as much as this program.
    TrustedPath(PathBuf),
    /// The module itself, in binary or text format.
    Bytes(Vec<u8>),
    /// A module that is loaded already.
    Loaded(Module),
}

impl ModuleSource {
    /// Says whether the file may be a precompiled one, made by `wasmp compile`. It holds
    /// machine code, so a wrong file can do whatever this program can: allow it only for files that you made.
    #[must_use]
    pub fn allow_precompiled(self, allow: bool) -> Self {
        match (self, allow) {
            (Self::Path(path), true) => Self::TrustedPath(path),
            (Self::TrustedPath(path), false) => Self::Path(path),
            (source, _) => source,
        }
    }
}

impl From<&str> for ModuleSource {
    fn from(path: &str) -> Self {
        Self::Path(path.into())
    }
}

impl From<String> for ModuleSource {
    fn from(path: String) -> Self {
        Self::Path(path.into())
    }
}

impl From<&Path> for ModuleSource {
    fn from(path: &Path) -> Self {
        Self::Path(path.into())
    }
}

impl From<PathBuf> for ModuleSource {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&PathBuf> for ModuleSource {
    fn from(path: &PathBuf) -> Self {
        Self::Path(path.clone())
    }
}

impl From<Vec<u8>> for ModuleSource {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Module> for ModuleSource {
    fn from(module: Module) -> Self {
        Self::Loaded(module)
    }
}

impl From<&Module> for ModuleSource {
    fn from(module: &Module) -> Self {
        Self::Loaded(module.clone())
    }
}

/// The bytes of a module, and what they are.
#[derive(Debug)]
pub(crate) enum Bytes {
    Wasm(Vec<u8>),
    Precompiled(Vec<u8>),
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let fail = |source| ModuleError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Err(fail(io::ErrorKind::IsADirectory.into()));
    }
    // A pipe is as good as a file, so it is not the metadata that says where to stop.
    let mut bytes = Vec::with_capacity(metadata.len().min(MAX_SIZE) as usize + 1);
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_SIZE {
        let what = format!("a module has at most {MAX_SIZE} bytes");
        return Err(ModuleError::TooLarge {
            module: path.display().to_string(),
            what,
        });
    }
    Ok(bytes)
}

/// Tells what the bytes are; turns text into a binary module. `name` is what errors call it, `path` where it stands.
pub(crate) fn classify(name: &str, path: Option<&Path>, bytes: Vec<u8>) -> Result<Bytes, ModuleError> {
    let module = || name.to_owned();
    if bytes.is_empty() {
        return Err(ModuleError::Empty { module: module() });
    }
    if bytes.starts_with(precompiled::MAGIC) {
        return Ok(Bytes::Precompiled(bytes));
    }
    if let Some(version) = bytes.strip_prefix(b"\0asm") {
        return match version {
            [1, 0, 0, 0, ..] => Ok(Bytes::Wasm(bytes)),
            [_, _, 1, 0, ..] => Err(ModuleError::Component { module: module() }),
            _ => Err(ModuleError::Malformed {
                module: module(),
                message: "its version is not known".into(),
            }),
        };
    }
    if is_text_format(path, &bytes) {
        return parse_text(name, path, &bytes).map(Bytes::Wasm);
    }
    Err(ModuleError::NotWasm {
        module: module(),
        looks_like: looks_like(path, &bytes),
    })
}

/// The text format is known by its beginning or, while it is too broken for that, by its name.
fn is_text_format(path: Option<&Path>, bytes: &[u8]) -> bool {
    wat::Detect::from_bytes(bytes) == wat::Detect::WasmText || extension(path) == "wat"
}

fn parse_text(name: &str, path: Option<&Path>, bytes: &[u8]) -> Result<Vec<u8>, ModuleError> {
    let text = |mut error: wat::Error| {
        if let Some(path) = path {
            error.set_path(path);
        }
        ModuleError::Text {
            message: error.to_string(),
        }
    };
    let wasm = wat::parse_bytes(bytes).map_err(text)?;
    // `(component …)` is text, too.
    match wasm.get(4..8) {
        Some([1, 0, 0, 0]) => Ok(wasm.into_owned()),
        _ => Err(ModuleError::Component {
            module: name.to_owned(),
        }),
    }
}

fn extension(path: Option<&Path>) -> &str {
    path.and_then(Path::extension)
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
}

/// What a file that is not a module seems to be, and how to get from there to one.
fn looks_like(path: Option<&Path>, bytes: &[u8]) -> String {
    const TARGET: &str = "build it for the target `wasm32-wasip1`";
    let packed = |tool| format!("it is compressed; unpack it first (`{tool}`)");
    let signatures: &[(&[u8], String)] = &[
        (b"\x1f\x8b", packed("gunzip")),
        (b"\x28\xb5\x2f\xfd", packed("unzstd")),
        (b"\xfd7zXZ\0", packed("unxz")),
        (b"BZh", packed("bunzip2")),
        (b"PK\x03\x04", packed("unzip")),
        (
            b"!<arch>\n",
            format!("it is a static library; link a program or a `cdylib` and {TARGET}"),
        ),
        (
            b"BC\xc0\xde",
            format!("it is LLVM bitcode; compile and link it, and {TARGET}"),
        ),
        (b"MZ", format!("it is a Windows program; {TARGET}")),
        (b"\xcf\xfa\xed\xfe", format!("it is a macOS program; {TARGET}")),
        (b"#!", "it is a script".to_owned()),
        (b"%PDF", "it is a PDF document".to_owned()),
    ];
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return "it was compiled to machine code by wasmtime; give the .wasm it was made from".to_owned();
    }
    if bytes.starts_with(b"\x7fELF") {
        return format!("it is a native program or library (ELF); {TARGET}");
    }
    if let Some((_, what)) = signatures.iter().find(|(signature, _)| bytes.starts_with(signature)) {
        return what.clone();
    }
    let language = match extension(path) {
        "rs" => "Rust",
        "c" | "h" => "C",
        "cc" | "cpp" | "cxx" => "C++",
        "go" => "Go",
        "zig" => "Zig",
        "ts" | "js" | "mjs" => "JavaScript",
        "py" => "Python",
        "toml" => return format!("it is a TOML file; {TARGET} and give the .wasm file that comes out"),
        _ => "",
    };
    if !language.is_empty() {
        return format!("it is {language} source; compile it for the target `wasm32-wasip1`");
    }
    match std::str::from_utf8(&bytes[..bytes.len().min(4096)]) {
        Ok(text) if text.trim_start().starts_with('<') => {
            "it is an HTML or XML document; was the download an error page?".to_owned()
        }
        Ok(text) if text.trim_start().starts_with(['{', '[']) => "it is JSON".to_owned(),
        Ok(text) if text.trim().is_empty() => "it is blank".to_owned(),
        Ok(_) => "it is text, but not WebAssembly's text format, which begins with `(module`".to_owned(),
        Err(_) => format!("it begins with the bytes {}", first_bytes(bytes)),
    }
}

fn first_bytes(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}
