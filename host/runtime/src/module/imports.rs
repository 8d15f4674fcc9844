//! Which imports a host gives, and advice about the others.

use wasmp_abi::{IMPORT_MODULE, import};

/// The module that WASI preview 1 is imported from.
pub(crate) const WASI_MODULE: &str = "wasi_snapshot_preview1";

/// The functions of [`WASI_MODULE`].
const WASI: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// What an import is, as far as it decides who can give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Function,
    Memory,
    Other,
}

/// `None` if the import is given, else why it may be there and what to do.
pub(crate) fn advice(module: &str, name: &str, wanted: Wanted) -> Option<&'static str> {
    let known: [&[&str]; 4] = match module {
        IMPORT_MODULE => [
            &import::TASK_FUNCTIONS,
            &import::OBJECT_FUNCTIONS,
            &import::POOL_FUNCTIONS,
            &import::PROCESS_FUNCTIONS,
        ],
        WASI_MODULE => [WASI, &[], &[], &[]],
        _ => [&[], &[], &[], &[]],
    };
    if wanted == Wanted::Function && known.iter().any(|names| names.contains(&name)) {
        return None;
    }
    Some(match module {
        IMPORT_MODULE => {
            "this wasmp does not have it; the module was built with a newer `wasmp-guest`, so update wasmp"
        }
        WASI_MODULE => "this is not part of WASI preview 1; build for the target `wasm32-wasip1`",
        "wasi_unstable" => {
            "this is a preview of WASI that no current compiler makes; build again with a current toolchain"
        }
        "wasi" => "threads inside a module are not supported; build for `wasm32-wasip1` and use tasks or processes",
        "go" | "gojs" => "this Go program was built for a browser; build with GOOS=wasip1 GOARCH=wasm",
        "wbg" | "__wbindgen_placeholder__" | "__wbindgen_externref_xform__" => {
            "wasm-bindgen makes modules for JavaScript; build for `wasm32-wasip1` and leave out the crates that need \
             JavaScript (for `getrandom`, its `js` feature)"
        }
        "env" if wanted == Wanted::Memory => "build it without `--import-memory`, so that it has a memory of its own",
        "env"
            if matches!(
                name,
                "__linear_memory" | "__stack_pointer" | "__indirect_function_table"
            ) =>
        {
            "this is an object file that was not linked; give the linker's output"
        }
        "env" if name.starts_with("emscripten") || name.starts_with("invoke_") || name.starts_with("_embind") => {
            "this is Emscripten output for JavaScript; build with `-sSTANDALONE_WASM`, or with wasi-sdk"
        }
        "env" => {
            "an undefined symbol: a function that is declared and called, but was not linked in; link the library \
             that has it"
        }
        _ if module.starts_with("wasmp_v") => "the module was built for a newer wasmp ABI; update wasmp",
        _ if module.starts_with("wasi:") => "this is WASI preview 2; build for the target `wasm32-wasip1`",
        _ => "no host function of this name exists; wasmp gives `wasmp_v1` and `wasi_snapshot_preview1`",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_gives_needs_no_advice() {
        assert_eq!(advice("wasmp_v1", "task_next", Wanted::Function), None);
        assert_eq!(advice("wasi_snapshot_preview1", "fd_write", Wanted::Function), None);
        assert_eq!(WASI.len(), 46);
    }

    #[test]
    fn a_known_name_of_another_sort_is_refused() {
        assert!(advice("wasmp_v1", "task_next", Wanted::Memory).is_some());
    }

    #[test]
    fn advice_fits_the_toolchain() {
        let of = |module, name| advice(module, name, Wanted::Function).unwrap();
        assert!(of("wbg", "__wbindgen_throw").contains("wasm-bindgen"));
        assert!(of("gojs", "runtime.wasmExit").contains("GOOS=wasip1"));
        assert!(of("env", "sqlite3_open").contains("undefined symbol"));
        assert!(of("env", "emscripten_memcpy_js").contains("Emscripten"));
        assert!(of("env", "__stack_pointer").contains("object file"));
        assert!(of("wasmp_v1", "process_new").contains("update wasmp"));
        assert!(of("wasmp_v2", "task_next").contains("update wasmp"));
        assert!(of("wasi:io/streams@0.2.0", "read").contains("preview 2"));
        assert!(
            advice("env", "memory", Wanted::Memory)
                .unwrap()
                .contains("--import-memory")
        );
    }
}
