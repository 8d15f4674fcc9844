//! Which executable the keeper is started from, and how it knows what it is there for.
//!
//! No cooperation from the embedder's `main` is needed: a constructor in `.init_array`, linked into every program that
//! uses this crate, looks for one environment variable when the program starts. Whether re-executing this program would
//! reach the constructor is proven, not hoped for: it has run in this process, and it lies in the main executable.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Set in the environment of a keeper, to the nonce that it has to repeat. Its control socket is its descriptor 0.
pub(crate) const KEEPER_VARIABLE: &str = "WASMP_KEEPER";

/// Names an executable to start workers from, for programs that cannot re-execute themselves.
pub(crate) const EXECUTABLE_VARIABLE: &str = "WASMP_WORKER_EXE";

static HOOK_RAN: AtomicBool = AtomicBool::new(false);

#[used]
#[unsafe(link_section = ".init_array")]
static HOOK: extern "C" fn() = hook;

/// Runs before `main` of every program that this crate is linked into. In a keeper it never returns.
extern "C" fn hook() {
    HOOK_RAN.store(true, Ordering::Relaxed);
    if let Some(nonce) = std::env::var_os(KEEPER_VARIABLE) {
        super::keeper::main(&nonce.to_string_lossy());
    }
}

/// The executable to start the keeper from: the one asked for, that of the environment, this very program, or a
/// `wasmp` beside it or on the `PATH`.
pub(crate) fn find(asked: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = asked {
        return Ok(path.to_owned());
    }
    if let Some(path) = std::env::var_os(EXECUTABLE_VARIABLE) {
        return Ok(path.into());
    }
    if hook_is_in_main_executable() {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("wasmp")));
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .map(|folder| folder.join("wasmp"));
    beside
        .into_iter()
        .chain(on_path)
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            Error::NoWorkerExecutable(format!(
                "this library is not part of the main executable, so it cannot start itself again; \
             install the `wasmp` command, or name it with `PoolBuilder::worker_exe` or {EXECUTABLE_VARIABLE}"
            ))
        })
}

/// Whether the constructor has run here and lies in the program that `/proc/self/exe` names.
fn hook_is_in_main_executable() -> bool {
    HOOK_RAN.load(Ordering::Relaxed) && object_of(hook as *const () as usize).is_some_and(|name| name.is_empty())
}

/// The name of the loaded object that `address` lies in, as the dynamic linker has it: empty for the main executable.
fn object_of(address: usize) -> Option<Vec<u8>> {
    struct Search {
        address: usize,
        found: Option<Vec<u8>>,
    }
    unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, data: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the linker calls this with a valid `info`, and `data` is the `Search` below, borrowed by nobody else.
        let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
        // SAFETY: `dlpi_phdr` points to `dlpi_phnum` headers for as long as the object is loaded.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let inside = headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
            .any(|header| {
                let start = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
                (start..start.saturating_add(header.p_memsz as usize)).contains(&search.address)
            });
        if inside {
            // SAFETY: `dlpi_name` is a C string, or null for some linkers' main executable.
            let name = (!info.dlpi_name.is_null()).then(|| unsafe { CStr::from_ptr(info.dlpi_name) });
            search.found = Some(name.map_or_else(Vec::new, |name| name.to_bytes().to_vec()));
        }
        libc::c_int::from(inside)
    }
    let mut search = Search { address, found: None };
    // SAFETY: `visit` has the required signature, and `search` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

/// What of this process's environment a keeper needs: where shared libraries are.
pub(crate) fn inherited_environment() -> impl Iterator<Item = (&'static OsStr, std::ffi::OsString)> {
    ["LD_LIBRARY_PATH"].into_iter().filter_map(|name| {
        let name = OsStr::from_bytes(name.as_bytes());
        Some((name, std::env::var_os(name)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constructor_is_proven_to_be_part_of_this_program() {
        assert!(hook_is_in_main_executable());
    }

    #[test]
    fn a_function_of_the_c_library_is_not_taken_for_the_main_executable() {
        assert_ne!(object_of(libc::getpid as *const () as usize), Some(Vec::new()));
    }
}
