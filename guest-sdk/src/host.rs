//! The line between this crate and the host: the imports of `wasmp_v1`, the start of the C library, and the section that
//! says which ABI the module was built for. The only `unsafe` code of the crate is here and in the folder of this name.
//!
//! `wasmp-abi` is the contract behind these functions. Outside wasm there is no host: no item ever comes, and what a
//! program can ask for by itself is [`Unsupported`].

/// Imports of which natively nothing is left but the answer [`Status::Unsupported`](wasmp_abi::Status::Unsupported).
macro_rules! imports {
    (
        $(safe fn $safe:ident($($safe_name:ident: $safe_type:ty),*) -> $safe_result:ty;)*
        $(unsafe fn $name:ident($($parameter:ident: $ty:ty),*) -> $result:ty;)*
    ) => {
        #[cfg(target_family = "wasm")]
        #[link(wasm_import_module = "wasmp_v1")]
        unsafe extern "C" {
            $(pub(crate) safe fn $safe($($safe_name: $safe_type),*) -> $safe_result;)*
            $(fn $name($($parameter: $ty),*) -> $result;)*
        }

        $(#[cfg(not(target_family = "wasm"))]
        pub(crate) fn $safe($(_: $safe_type),*) -> $safe_result {
            wasmp_abi::Status::Unsupported.result() as $safe_result
        })*

        $(#[cfg(not(target_family = "wasm"))]
        unsafe fn $name($(_: $ty),*) -> $result {
            wasmp_abi::Status::Unsupported.result() as $result
        })*
    };
}

use std::sync::atomic::{AtomicPtr, Ordering};

use crate::task::Node;

pub(crate) mod memory;
pub(crate) mod objects;
pub(crate) mod pools;
pub(crate) mod processes;

/// The task that this leads to, if there is one: the places of nodes and the one of the first are private to `task.rs`, and it
/// puts nothing there but null and the addresses of statics.
pub(crate) fn node_at(place: &AtomicPtr<Node>) -> Option<&'static Node> {
    // SAFETY: see above; what is there is never written through.
    unsafe { place.load(Ordering::Relaxed).as_ref() }
}

#[cfg(target_family = "wasm")]
pub(crate) use wasm::{call_at_exit, fail, next, panicked, run_constructors, succeed, worker_slot};

#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{call_at_exit, fail, next, panicked, run_constructors, succeed, worker_slot};

#[cfg(target_family = "wasm")]
mod wasm {
    use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use crate::Unsupported;

    #[link(wasm_import_module = "wasmp_v1")]
    unsafe extern "C" {
        fn task_next(buffer: *mut u8, capacity: usize) -> i64;
        fn task_return(result: *const u8, length: usize);
        fn task_fail(kind: i32, message: *const u8, length: usize);
        fn task_panic(message: *const u8, length: usize);
        #[link_name = "worker_slot"]
        safe fn slot() -> i32;
    }

    unsafe extern "C" {
        /// Made by the linker: runs `.init_array`.
        fn __wasm_call_ctors();
    }

    /// Room for the first message, so that most need not be asked for twice.
    const ROOM: usize = 1024;

    /// Starts the next item and fills `message` with its arguments; `false` when this call has no item left.
    pub(crate) fn next(message: &mut Vec<u8>) -> bool {
        message.clear();
        message.reserve(ROOM);
        loop {
            let capacity = message.capacity();
            // SAFETY: the vector owns `capacity` writable bytes at its pointer, and the host writes no more than that.
            let length = unsafe { task_next(message.as_mut_ptr(), capacity) };
            let Ok(length) = usize::try_from(length) else {
                return false;
            };
            if length <= capacity {
                // SAFETY: the host has written the first `length` bytes.
                unsafe { message.set_len(length) };
                return true;
            }
            message.reserve(length);
        }
    }

    /// Commits the running item's result.
    pub(crate) fn succeed(result: &[u8]) {
        // SAFETY: the host reads these bytes before it returns.
        unsafe { task_return(result.as_ptr(), result.len()) }
    }

    /// Commits the running item as failed.
    pub(crate) fn fail(kind: i32, message: &str) {
        // SAFETY: as in `succeed`.
        unsafe { task_fail(kind, message.as_ptr(), message.len()) }
    }

    /// Says why the instance is about to trap.
    pub(crate) fn panicked(message: &str) {
        // SAFETY: as in `succeed`.
        unsafe { task_panic(message.as_ptr(), message.len()) }
    }

    /// See [`crate::worker_slot`].
    pub(crate) fn worker_slot() -> Result<u32, Unsupported> {
        Ok(slot().cast_unsigned())
    }

    /// Whether the constructors of this instance have run.
    static CONSTRUCTED: AtomicBool = AtomicBool::new(false);

    /// One of the constructors, so that [`run_constructors`] knows about the others.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static MARK_CONSTRUCTED: extern "C" fn() = {
        extern "C" fn mark_constructed() {
            CONSTRUCTED.store(true, Relaxed);
        }
        mark_constructed
    };

    /// Runs the constructors of the C library (and of C and C++ code in the module) if nobody has: `_start` of a command
    /// and `_initialize` of a reactor do, but the host calls tasks in an instance where neither has run. Naming
    /// `__wasm_call_ctors` has a second effect: without it the linker would wrap every export of a module that has no
    /// entry point, to run constructors before and destructors after each call.
    pub(crate) fn run_constructors() {
        if !CONSTRUCTED.load(Relaxed) {
            // SAFETY: they have not run in this instance, and no other code depends on their not having run.
            unsafe { __wasm_call_ctors() }
        }
    }

    unsafe extern "C" {
        /// Of the C library: what `exit` calls, and the end of `_start`.
        fn atexit(function: extern "C" fn()) -> core::ffi::c_int;
    }

    /// From now on, what is registered is called at the end of `main`, and by `std::process::exit`.
    pub(crate) fn call_at_exit() {
        static REGISTERED: AtomicBool = AtomicBool::new(false);
        extern "C" fn exit() {
            crate::finalize::exit();
        }
        if !REGISTERED.swap(true, Relaxed) {
            // SAFETY: the function lives as long as the module, and takes nothing. That there is no room left for it, which
            // the library says, cannot be: it keeps room for 32, and has one of ours.
            unsafe { atexit(exit) };
        }
    }

    /// The ABI version, in the custom section `wasmp.abi`.
    #[used]
    #[unsafe(link_section = "wasmp.abi")]
    static ABI_VERSION: [u8; 1] = *b"1";

    const _: () = assert!(wasmp_abi::ABI_VERSION.len() == 1 && wasmp_abi::ABI_VERSION.as_bytes()[0] == ABI_VERSION[0]);
}

#[cfg(not(target_family = "wasm"))]
mod native {
    use crate::Unsupported;

    pub(crate) fn next(_message: &mut Vec<u8>) -> bool {
        false
    }

    pub(crate) fn succeed(_result: &[u8]) {}

    pub(crate) fn fail(_kind: i32, _message: &str) {}

    pub(crate) fn panicked(_message: &str) {}

    pub(crate) fn worker_slot() -> Result<u32, Unsupported> {
        Err(Unsupported)
    }

    pub(crate) fn run_constructors() {}

    pub(crate) fn call_at_exit() {}
}
