//! The compiler: a process that compiles one module and ends.
//!
//! A module can be built to make a compiler suffer, so it happens where it can be killed: locked down like a worker,
//! with a limit on its memory, and with a deadline that the host keeps.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::control::Channel;
use super::launcher::{Keeper, wait_readable};
use super::lifeline::{self, Lifeline};
use super::message::{CompileReply, CompileRequest, MAX_MESSAGE, decode, encode};
use crate::compile::CompileLimits;
use crate::engine::{self, EngineOptions};
use crate::lockdown::{self, Files, Filter, Profile, Role};
use crate::module::{Artifact, ModuleError};
use crate::sandbox::Sandbox;

/// Serves the one request that comes. Never returns.
pub(super) fn main(control: &Channel) -> ! {
    let served = serve(control);
    // SAFETY: ends this process without running the embedder's exit handlers, which belong to its `main`.
    unsafe { libc::_exit(i32::from(served.is_err())) }
}

fn serve(control: &Channel) -> io::Result<()> {
    rustix::thread::set_name(c"wasmp-compile")?;
    let mut buffer = vec![0; MAX_MESSAGE];
    let Some((len, fds)) = control.recv(&mut buffer)? else {
        return Ok(());
    };
    let CompileRequest {
        wasm_len,
        memory_limit,
        options,
    } = decode(&buffer[..len])?;
    let Ok([wasm, code, lifeline]) = <[OwnedFd; 3]>::try_from(fds) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a compile order has three descriptors",
        ));
    };
    lifeline::arm(lifeline.as_fd())?;
    let mut source = Vec::new();
    File::from(wasm).take(wasm_len).read_to_end(&mut source)?;
    let mut code = File::from(code);

    let keep: [BorrowedFd<'_>; 3] = [control.as_fd(), code.as_fd(), lifeline.as_fd()];
    let filter = Filter::compile(Role::Compiler, Files::None);
    let profile = Profile {
        role: Role::Compiler,
        level: Sandbox::BestEffort,
        keep: &keep,
        control: None,
        images: &[],
        dirs: &[],
        max_memory: memory_limit,
        filter: &filter,
    };
    lockdown::lock_down(&profile).map_err(io::Error::other)?;

    let reply = match engine::compile(&source, &options) {
        Ok(artifact) => match code.write_all(&artifact) {
            Ok(()) => CompileReply::Compiled,
            Err(error) => CompileReply::Refused {
                why: format!("the compiled code cannot be written: {error}"),
            },
        },
        // Whatever the module made the compiler say must still fit a message.
        Err(why) => CompileReply::Refused {
            why: why.chars().take(MAX_MESSAGE / 8).collect(),
        },
    };
    control.send(&encode(&reply), &[])
}

/// Compiles `wasm` in a process of its own, and returns the code.
pub(crate) fn compile_in_helper(
    limits: CompileLimits,
    keeper: &Keeper,
    name: &str,
    wasm: &[u8],
    options: &EngineOptions,
) -> Result<Artifact, ModuleError> {
    let CompileLimits { timeout, memory } = limits;
    let failed = |message| ModuleError::Compile {
        module: name.to_owned(),
        message,
    };
    let request = CompileRequest {
        wasm_len: wasm.len() as u64,
        memory_limit: memory,
        options: options.clone(),
    };
    let (reply, code) = ask(keeper, wasm, &request, timeout).map_err(|error| {
        failed(match error.kind() {
            io::ErrorKind::TimedOut => {
                format!("the compiler took longer than {timeout:?} and was stopped")
            }
            io::ErrorKind::UnexpectedEof => {
                format!(
                    "the compiler died: it crashed, or needed more than {} MiB of memory",
                    memory.div_ceil(1 << 20)
                )
            }
            _ => format!("the compiler process cannot be used: {error}"),
        })
    })?;
    match reply {
        CompileReply::Refused { why } => Err(failed(why)),
        CompileReply::Compiled => Artifact::from_memfd(code).map_err(ModuleError::Store),
    }
}

fn ask(
    keeper: &Keeper,
    wasm: &[u8],
    request: &CompileRequest,
    deadline: Duration,
) -> io::Result<(CompileReply, OwnedFd)> {
    let mut source = memory_file("wasmp-wasm")?;
    source.write_all(wasm)?;
    source.rewind()?;
    let code = memory_file("wasmp-code")?;
    // Dropped when this function ends, however it ends: then the compiler is dead, too.
    let (_alive, lifeline) = Lifeline::pair()?;
    let control = keeper.start_compiler()?;
    control.send(&encode(request), &[source.as_fd(), code.as_fd(), lifeline.as_fd()])?;
    wait_readable(&control, Instant::now() + deadline)?;
    let mut buffer = vec![0; MAX_MESSAGE];
    match control.recv(&mut buffer)? {
        Some((len, _)) => Ok((decode(&buffer[..len])?, code.into())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn memory_file(name: &str) -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    Ok(File::from(rustix::fs::memfd_create(name, flags)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::processes;

    /// One function in which each value depends on all before it, by as many ways as there are.
    fn suffering() -> Vec<u8> {
        let locals = "(local i64)".repeat(2_000);
        let steps: String = (0..100_000)
            .map(|step| {
                let (from, to) = (step % 2_000, (step * 7 + 1) % 2_000);
                format!("(if (i32.wrap_i64 (local.get {from})) (then (local.set {to} (i64.add (local.get {from}) (local.get {to})))))")
            })
            .collect();
        let text = format!("(module (func (export \"f\") (result i64) {locals} {steps} (local.get 0)))");
        wat::parse_str(text).expect("valid text")
    }

    #[test]
    fn a_module_that_makes_the_compiler_suffer_is_given_up_and_others_compile() {
        let (supervisor, keeper) = processes(None).expect("a keeper");
        supervisor.meet(&keeper).expect("it answers");
        let options = EngineOptions::default();
        let hurried = CompileLimits {
            timeout: Duration::from_millis(100),
            ..CompileLimits::default()
        };
        match compile_in_helper(hurried, &keeper, "slow", &suffering(), &options) {
            Err(ModuleError::Compile { module, message }) => {
                assert_eq!(module, "slow");
                assert_eq!(message, "the compiler took longer than 100ms and was stopped");
            }
            other => panic!("{other:?}"),
        }
        let small = CompileLimits {
            memory: 1 << 20,
            ..CompileLimits::default()
        };
        match compile_in_helper(small, &keeper, "large", &suffering(), &options) {
            Err(ModuleError::Compile { message, .. }) => assert_eq!(
                message,
                "the compiler died: it crashed, or needed more than 1 MiB of memory"
            ),
            other => panic!("{other:?}"),
        }
        let plain = wat::parse_str("(module (func (export \"f\")))").expect("valid text");
        compile_in_helper(CompileLimits::default(), &keeper, "plain", &plain, &options).expect("compiled");
    }
}
