#![doc = include_str!("../README.md")]
#![no_std]

mod error_kind;

pub use error_kind::ErrorKind;

/// The module that every wasmp import comes from. A change of meaning gets a new module beside it (`wasmp_v2`); new
/// functions may be added here.
pub const IMPORT_MODULE: &str = "wasmp_v1";

/// Prefix of the exports that are tasks: `wasmp_task_<name>`, of type `() -> ()`.
pub const TASK_EXPORT_PREFIX: &str = "wasmp_task_";

/// Custom section with the ABI version that a module was built for: the text `1`.
pub const ABI_SECTION: &str = "wasmp.abi";

/// Contents of [`ABI_SECTION`].
pub const ABI_VERSION: &str = "1";

/// Custom section with task descriptors: CBOR maps, one right after the other.
pub const TASKS_SECTION: &str = "wasmp.tasks";

/// Names of the imported functions of [`IMPORT_MODULE`].
pub mod import {
    /// `task_next(buf: i32, cap: i32) -> i64`: the arguments of the next item of this call.
    ///
    /// * `n >= 0`, `n <= cap`: the item has started; its `n` bytes of CBOR stand at `buf`.
    /// * `n > cap`: nothing was copied; call again with at least `n` bytes of room. The item counts as started.
    /// * [`END`](super::END): nothing is left; return from the task export.
    ///
    /// The item that was started before must have been committed by `task_return` or `task_fail`, else it traps.
    pub const TASK_NEXT: &str = "task_next";
    /// `task_return(ptr: i32, len: i32)`: commits the running item's result, `len` bytes of CBOR at `ptr`.
    pub const TASK_RETURN: &str = "task_return";
    /// `task_fail(kind: i32, ptr: i32, len: i32)`: commits the running item as failed: one of
    /// [`FAIL_ERROR`](super::FAIL_ERROR), [`FAIL_ARGUMENTS`](super::FAIL_ARGUMENTS), [`FAIL_RESULT`](super::FAIL_RESULT)
    /// and a UTF-8 message.
    pub const TASK_FAIL: &str = "task_fail";
    /// `task_panic(ptr: i32, len: i32)`: keeps a UTF-8 message for the trap that is about to happen, so that it is
    /// reported as a panic with this text.
    pub const TASK_PANIC: &str = "task_panic";
    /// `worker_slot() -> i32`: the number of the worker slot this instance runs in, from 1.
    pub const WORKER_SLOT: &str = "worker_slot";
}

/// What `task_next` returns when no item is left for this call.
pub const END: i64 = -1;

/// `task_fail`: the task returned an error.
pub const FAIL_ERROR: i32 = 1;
/// `task_fail`: the arguments could not be decoded, or their number is wrong.
pub const FAIL_ARGUMENTS: i32 = 2;
/// `task_fail`: the result could not be encoded.
pub const FAIL_RESULT: i32 = 3;

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;

    use super::*;

    const CONTRACT: &str = include_str!("../README.md");

    #[test]
    fn the_contract_names_everything() {
        for name in [
            import::TASK_NEXT,
            import::TASK_RETURN,
            import::TASK_FAIL,
            import::TASK_PANIC,
            import::WORKER_SLOT,
        ] {
            assert!(CONTRACT.contains(&format!("| `{name}` | `(")), "{name}");
        }
        for name in [IMPORT_MODULE, ABI_SECTION, TASKS_SECTION] {
            assert!(CONTRACT.contains(&format!("`{name}`")), "{name}");
        }
        for kind in ErrorKind::ALL {
            assert!(
                CONTRACT.contains(&format!("| {} | `{}` |", kind as u16, kind.name())),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn the_module_in_the_contract_is_the_example() {
        let example = include_str!("../../../examples/wat-task/echo.wat");
        let module = example.split_once("(module").unwrap().1;
        assert!(CONTRACT.contains(module));
    }
}
