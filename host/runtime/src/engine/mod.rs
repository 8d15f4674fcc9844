//! The engine's configuration: one function, used by whoever compiles and by whoever runs.
//!
//! Compiled code says which settings it was made with, and an engine with others refuses it. So there is one place
//! that decides them, and what may differ between processes is small enough to travel with a job: [`EngineOptions`].

mod recycled;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

pub(crate) use self::recycled::Recycler;

/// Stack for wasm frames. Above it a guest traps with a stack overflow; the thread's own stack must be larger.
pub(crate) const MAX_WASM_STACK: usize = 1 << 20;

/// Most memories a module may define and still be instantiated from a pool; each reserves some 4 GiB of addresses.
pub(crate) const POOL_MEMORIES: u32 = 2;
/// Most tables a module may define and still be instantiated from a pool.
pub(crate) const POOL_TABLES: u32 = 4;
/// Most elements one of these tables may have.
pub(crate) const POOL_TABLE_ELEMENTS: u64 = 1 << 20;

/// What a host may choose about the engine of its workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EngineOptions {
    /// Where the memories of an instance come from.
    pub(crate) allocation: Allocation,
    /// What code is compiled.
    pub(crate) flavor: Flavor,
}

/// What compiled code can do beside its work, which decides what code is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flavor {
    /// Guests can be stopped where they are; that makes tight loops slower.
    pub(crate) interruptible: bool,
    /// What WebAssembly leaves open is the same each time: the bits of a NaN, relaxed vector instructions.
    pub(crate) deterministic: bool,
    /// An instance copies its initial data into its memory; else that is mapped from the file of the code.
    pub(crate) copies_data: bool,
    /// Guests count what they compute, and stop when it is too much; that makes tight loops slower.
    pub(crate) metered: bool,
}

impl Flavor {
    /// How many there are.
    pub(crate) const COUNT: usize = 16;

    /// Which of them this is.
    pub(crate) fn number(self) -> usize {
        let bits = [self.interruptible, self.deterministic, self.copies_data, self.metered];
        bits.iter().rev().fold(0, |number, bit| number << 1 | usize::from(*bit))
    }
}

/// Where the memories of an instance come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Allocation {
    /// Mapped when an instance is made, unmapped when it is dropped: no limits to explain.
    #[default]
    OnDemand,
    /// Reset and reused, by wasmtime, for fresh instances of modules with much initial data: that is mapped.
    Pooling,
    /// Reset and reused, by [`recycled`], for fresh instances of all others. Needs code that
    /// [copies its data](Flavor::copies_data).
    Recycled,
}

/// What an engine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineRole {
    /// Compiling, on every CPU. Starts threads: never in a process that forks.
    Compile,
    /// Running compiled code. Starts no thread and cannot compile.
    Run,
}

/// The configuration of an engine. Whether compiled code can be loaded depends on its [`Flavor`] alone.
pub(crate) fn config(options: &EngineOptions, role: EngineRole) -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .max_wasm_stack(MAX_WASM_STACK)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .native_unwind_info(false)
        .relaxed_simd_deterministic(options.flavor.deterministic)
        .memory_init_cow(!options.flavor.copies_data)
        .epoch_interruption(options.flavor.interruptible)
        .consume_fuel(options.flavor.metered);
    match role {
        EngineRole::Compile => {
            config
                .parallel_compilation(true)
                .cranelift_nan_canonicalization(options.flavor.deterministic);
        }
        EngineRole::Run => {
            config.parallel_compilation(false).enable_compiler(false);
            match options.allocation {
                Allocation::OnDemand => {}
                Allocation::Pooling => {
                    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
                }
                Allocation::Recycled => {
                    config.with_host_memory(Arc::new(Recycler::default()));
                }
            }
        }
    }
    config
}

/// A pool for one live instance at a time. No linear memory is kept resident: a Rust guest's first pages are the unused end of
/// its stack, and clearing them would touch what the guest never did. Nor are dirty pages looked for: [`recycled`] says why.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(2)
        .max_core_instance_size(64 << 20)
        .total_memories(POOL_MEMORIES)
        .max_memories_per_module(POOL_MEMORIES)
        .total_tables(POOL_TABLES)
        .max_tables_per_module(POOL_TABLES)
        .table_elements(POOL_TABLE_ELEMENTS as usize)
        // Tables are small: clearing one costs less than two page faults.
        .table_keep_resident(4096)
        .total_stacks(1);
    pool
}

/// Compiles a module, on every CPU this process may use. Runs where it may be killed: a hostile module can be built to
/// make a compiler suffer.
pub(crate) fn compile(wasm: &[u8], options: &EngineOptions) -> Result<Vec<u8>, String> {
    let engine = Engine::new(&config(options, EngineRole::Compile)).map_err(|error| format!("{error:#}"))?;
    engine.precompile_module(wasm).map_err(|error| format!("{error:#}"))
}

/// Identifies everything but the module that compiled code depends on: the engine's version and settings, the CPU.
/// `None` if no engine can be made here.
pub(crate) fn compatibility(flavor: Flavor) -> Option<[u8; 32]> {
    static HASHES: [OnceLock<Option<[u8; 32]>>; Flavor::COUNT] = [const { OnceLock::new() }; Flavor::COUNT];
    *HASHES[flavor.number()].get_or_init(|| {
        // An engine with signal-based traps would install signal handlers in the host's process, which this
        // question does not need: the one setting that is the same everywhere is left out of the hash.
        let options = EngineOptions {
            flavor,
            ..EngineOptions::default()
        };
        let mut config = config(&options, EngineRole::Compile);
        config.signals_based_traps(false);
        let engine = Engine::new(&config).ok()?;
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        Some(hasher.0.finalize().into())
    })
}

/// Collects what a `Hash` implementation feeds it, so that a collision is out of the question.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        u64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAT: &str = r#"(module
        (memory (export "memory") 1) (data (i32.const 0) "x")
        (func (export "f") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0))))"#;

    #[test]
    fn what_the_compiler_makes_every_worker_loads() {
        let wasm = wat::parse_str(WAT).unwrap();
        for allocation in [Allocation::OnDemand, Allocation::Pooling, Allocation::Recycled] {
            let options = EngineOptions {
                allocation,
                flavor: Flavor {
                    copies_data: allocation == Allocation::Recycled,
                    ..Flavor::default()
                },
            };
            let code = compile(&wasm, &options).unwrap();
            let engine = Engine::new(&config(&options, EngineRole::Run)).unwrap();
            // SAFETY: the bytes come straight from the compiler.
            let module = unsafe { wasmtime::Module::deserialize(&engine, &code) }.unwrap();
            let mut store = wasmtime::Store::new(&engine, ());
            let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
            let f = instance.get_typed_func::<i64, i64>(&mut store, "f").unwrap();
            assert_eq!(f.call(&mut store, 7).unwrap(), 49);
        }
    }

    #[test]
    fn an_engine_that_runs_cannot_compile() {
        let wasm = wat::parse_str(WAT).unwrap();
        let engine = Engine::new(&config(&EngineOptions::default(), EngineRole::Run)).unwrap();
        assert!(engine.precompile_module(&wasm).is_err());
    }

    #[test]
    fn a_module_that_does_not_validate_is_an_error() {
        let wasm = wat::parse_str("(module (func (result i32)))").unwrap();
        let error = compile(&wasm, &EngineOptions::default()).unwrap_err();
        assert!(error.contains("type mismatch"), "{error}");
    }

    #[test]
    fn the_compatibility_hash_is_stable() {
        let hashes: [_; Flavor::COUNT] = std::array::from_fn(|number| {
            let flavor = Flavor {
                interruptible: number & 1 != 0,
                deterministic: number & 2 != 0,
                copies_data: number & 4 != 0,
                metered: number & 8 != 0,
            };
            assert_eq!(flavor.number(), number);
            assert_eq!(compatibility(flavor), compatibility(flavor));
            compatibility(flavor).unwrap()
        });
        let different: std::collections::HashSet<_> = hashes.into_iter().collect();
        assert_eq!(different.len(), Flavor::COUNT);
    }
}
