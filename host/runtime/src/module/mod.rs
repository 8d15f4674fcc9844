//! Modules: where they come from, what they are, and their compiled code.
//!
//! Loading only looks at a module. It is compiled when workers need it: once, then kept in memory as long as anybody
//! uses it and on disk for the next time.

mod artifact;
mod cache;
mod descriptors;
mod error;
mod imports;
mod info;
mod inspect;
mod precompiled;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use sha2::{Digest, Sha256};

pub(crate) use artifact::Artifact;
pub use error::{ModuleError, UnknownImport};
pub(crate) use imports::WASI_MODULE;
pub use info::{ExportInfo, ImportInfo, MemoryInfo, ModuleKind, Param, TaskInfo, TypeInfo};
pub use source::ModuleSource;

use crate::engine::{self, Allocation, Flavor, POOL_MEMORIES, POOL_TABLE_ELEMENTS, POOL_TABLES};
use artifact::WeakArtifact;
use cache::{Cache, Key};
use info::ModuleInfo;
use precompiled::Refused;
use source::Bytes;

/// A WebAssembly module. Cheap to clone: clones are the same module.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    info: ModuleInfo,
    /// What tells it from all other modules, for this process and the cache.
    id: [u8; 32],
    /// Its SHA-256 digest, once somebody has asked for it: that takes longer than all the rest of loading it.
    digest: OnceLock<[u8; 32]>,
    code: Code,
    /// The compiled code of each flavor, once somebody needed it.
    artifacts: Mutex<[Option<Artifact>; Flavor::COUNT]>,
}

/// What a module is made of.
enum Code {
    Wasm(Vec<u8>),
    /// Machine code, and the engine that compiled it.
    Precompiled(Artifact, [u8; 32]),
}

/// Most bytes of initial data that each fresh instance copies. Beside what else an instance writes, so many fit into the pages
/// that [its memory keeps](engine::Recycler).
const MAX_COPIED_DATA: u64 = 128 << 10;

/// Compiled code that somebody in this process uses: modules that were loaded twice share it.
static IN_USE: LazyLock<Mutex<HashMap<Key, WeakArtifact>>> = LazyLock::new(Mutex::default);

impl Module {
    /// Loads a module and looks at it. Its functions are not compiled yet.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is not a module that wasmp can run, or has no task.
    pub fn load(source: impl Into<ModuleSource>) -> Result<Self, ModuleError> {
        match source.into() {
            ModuleSource::Loaded(module) => Ok(module),
            ModuleSource::Path(path) => Self::load_file(&path, false),
            ModuleSource::TrustedPath(path) => Self::load_file(&path, true),
            ModuleSource::Bytes(bytes) => Self::from_bytes("the module", None, bytes, false),
        }
    }

    fn load_file(path: &Path, trusted: bool) -> Result<Self, ModuleError> {
        let bytes = source::read(path)?;
        Self::from_bytes(&path.display().to_string(), Some(path), bytes, trusted)
    }

    fn from_bytes(shown: &str, path: Option<&Path>, bytes: Vec<u8>, trusted: bool) -> Result<Self, ModuleError> {
        let digest = OnceLock::new();
        let (info, id, code) = match source::classify(shown, path, bytes)? {
            Bytes::Wasm(wasm) => (
                inspect::inspect(shown, &wasm)?,
                blake3::hash(&wasm).into(),
                Code::Wasm(wasm),
            ),
            Bytes::Precompiled(_) if !trusted => {
                return Err(ModuleError::PrecompiledNotAllowed {
                    module: shown.to_owned(),
                });
            }
            Bytes::Precompiled(bytes) => {
                let read = precompiled::parse(&bytes).map_err(|refused| match refused {
                    Refused::Damaged(why) => ModuleError::PrecompiledDamaged {
                        module: shown.to_owned(),
                        why: why.to_owned(),
                    },
                    Refused::Version => ModuleError::PrecompiledElsewhere {
                        module: shown.to_owned(),
                    },
                })?;
                let code = Artifact::from_bytes(read.code).map_err(ModuleError::Store)?;
                let id = *digest.get_or_init(|| read.digest);
                (read.info, id, Code::Precompiled(code, read.engine))
            }
        };
        let stem = path
            .and_then(Path::file_stem)
            .map(|stem| stem.to_string_lossy().into_owned());
        let name = stem
            .or_else(|| info.name.clone())
            .unwrap_or_else(|| "module".to_owned());
        Ok(Self {
            inner: Arc::new(Inner {
                name,
                info,
                id,
                digest,
                code,
                artifacts: Mutex::default(),
            }),
        })
    }

    /// The module's name: that of its file without the ending, else the one it gives itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What the module is.
    #[must_use]
    pub fn kind(&self) -> ModuleKind {
        self.inner.info.kind
    }

    /// The tasks that can be called. There is at least one, or a [type](Self::types).
    #[must_use]
    pub fn tasks(&self) -> &[TaskInfo] {
        &self.inner.info.tasks
    }

    /// The task of a name.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&TaskInfo> {
        self.tasks().iter().find(|task| task.name == name)
    }

    /// The types whose objects a [`Manager`](crate::Manager) can hold.
    #[must_use]
    pub fn types(&self) -> &[TypeInfo] {
        &self.inner.info.types
    }

    /// What the module needs from its host.
    #[must_use]
    pub fn imports(&self) -> &[ImportInfo] {
        &self.inner.info.imports
    }

    /// What the module offers.
    #[must_use]
    pub fn exports(&self) -> &[ExportInfo] {
        &self.inner.info.exports
    }

    /// The linear memories of an instance.
    #[must_use]
    pub fn memories(&self) -> &[MemoryInfo] {
        &self.inner.info.memories
    }

    /// Whether an instance is nothing but its memory: a module of a compiler's has one global that can change, where the
    /// stack is.
    pub(crate) fn is_all_memory(&self) -> bool {
        self.inner.info.memories.len() == 1 && self.inner.info.mutable_globals <= 1
    }

    /// How many functions the module defines.
    #[must_use]
    pub fn functions(&self) -> u32 {
        self.inner.info.functions
    }

    /// Bytes of function bodies.
    #[must_use]
    pub fn code_size(&self) -> u64 {
        self.inner.info.code_size
    }

    /// Bytes of initial data.
    #[must_use]
    pub fn data_size(&self) -> u64 {
        self.inner.info.data_size
    }

    /// Whether this is a precompiled module.
    #[must_use]
    pub fn is_precompiled(&self) -> bool {
        matches!(self.inner.code, Code::Precompiled(..))
    }

    /// The SHA-256 digest of the binary module.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *self.inner.digest.get_or_init(|| match &self.inner.code {
            Code::Wasm(wasm) => Sha256::digest(wasm).into(),
            Code::Precompiled(..) => self.inner.id,
        })
    }

    /// What tells it from all other modules, as long as this process lives.
    pub(crate) fn id(&self) -> [u8; 32] {
        self.inner.id
    }

    /// Where the memories of its instances come from if `fresh` ones are made all the time.
    ///
    /// Data that is copied each time must be short; and what was compiled ahead of time does not copy it. Then there is
    /// wasmtime's pool, if it has room for so many memories and tables.
    pub(crate) fn allocation(&self, fresh: bool) -> Allocation {
        let info = &self.inner.info;
        if !fresh {
            return Allocation::OnDemand;
        }
        if !self.is_precompiled() && info.data_size <= MAX_COPIED_DATA {
            return Allocation::Recycled;
        }
        let fits = info.memories.len() <= POOL_MEMORIES as usize
            && info.tables.len() <= POOL_TABLES as usize
            && info.tables.iter().all(|elements| *elements <= POOL_TABLE_ELEMENTS);
        if fits {
            Allocation::Pooling
        } else {
            Allocation::OnDemand
        }
    }

    /// The compiled code, from wherever it is had soonest: this process, the disk, the compiler.
    ///
    /// `compile` gets the binary module. It is called at most once at a time for one module, and not at all if the code
    /// is there already.
    pub(crate) fn artifact<E: From<ModuleError>>(
        &self,
        flavor: Flavor,
        compile: &dyn Fn(&[u8]) -> Result<Artifact, E>,
    ) -> Result<Artifact, E> {
        self.artifact_through(Cache::default_path().as_deref(), flavor, compile)
    }

    fn artifact_through<E: From<ModuleError>>(
        &self,
        cache: Option<&Path>,
        flavor: Flavor,
        compile: &dyn Fn(&[u8]) -> Result<Artifact, E>,
    ) -> Result<Artifact, E> {
        // Only what was checked before is behind the lock: after a panic it is as good as before.
        let mut slots = self.inner.artifacts.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[flavor.number()];
        if let Some(artifact) = slot {
            return Ok(artifact.clone());
        }
        let artifact = match &self.inner.code {
            Code::Precompiled(artifact, engine) if Some(*engine) == engine::compatibility(flavor) => artifact.clone(),
            Code::Precompiled(..) => {
                let module = self.inner.name.clone();
                return Err(ModuleError::PrecompiledElsewhere { module }.into());
            }
            Code::Wasm(wasm) => match self.key(flavor) {
                Some(key) => shared_artifact(&key, cache, || compile(wasm))?,
                None => compile(wasm)?,
            },
        };
        *slot = Some(artifact.clone());
        Ok(artifact)
    }

    /// Writes the module with its compiled code, to be loaded with [`ModuleSource::allow_precompiled`] where the same
    /// version of wasmp runs on the same kind of CPU.
    pub(crate) fn write_precompiled(&self, artifact: &Artifact, to: &mut dyn Write) -> io::Result<()> {
        let engine = engine::compatibility(Flavor::default()).ok_or(io::ErrorKind::Unsupported)?;
        precompiled::write(&self.inner.info, &self.digest(), &engine, artifact, to)
    }

    fn key(&self, flavor: Flavor) -> Option<Key> {
        Some(Key {
            wasm: self.inner.id,
            engine: engine::compatibility(flavor)?,
        })
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("name", &self.name())
            .field("kind", &self.kind())
            .field("tasks", &self.tasks().len())
            .finish_non_exhaustive()
    }
}

/// Compiled code from this process or from the disk, else from the compiler, kept for the next time. A cache that
/// does not work is no reason to fail.
fn shared_artifact<E>(
    key: &Key,
    cache: Option<&Path>,
    compile: impl FnOnce() -> Result<Artifact, E>,
) -> Result<Artifact, E> {
    let in_use = || IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(artifact) = in_use().get(key).and_then(WeakArtifact::upgrade) {
        return Ok(artifact);
    }
    let cache = cache.and_then(|path| {
        Cache::open(path)
            .inspect_err(|error| tracing::debug!("no module cache in {}: {error}", path.display()))
            .ok()
    });
    let artifact = match cache.as_ref().map(|cache| cache.load(key)) {
        Some(Ok(artifact)) => artifact,
        _ => {
            let artifact = compile()?;
            if let Some(Err(error)) = cache.map(|cache| cache.store(key, &artifact)) {
                tracing::debug!("the compiled module is not cached: {error}");
            }
            artifact
        }
    };
    let mut in_use = in_use();
    in_use.retain(|_, artifact| artifact.upgrade().is_some());
    in_use.insert(*key, artifact.downgrade());
    Ok(artifact)
}
