//! Processes that this guest starts, and what it may know about its own.

use wasmp_abi::Status;

use super::objects::{Got, Object, Timeout, check, fill};

imports! {
    safe fn process_join(process: u32, timeout: Timeout) -> i32;
    safe fn process_signal(process: u32, signal: i32) -> i32;
    safe fn process_sentinel(process: u32) -> i32;
    safe fn cpu_count() -> i32;

    unsafe fn process_start(options: *const u8, length: usize, args: *const u8, args_length: usize) -> i32;
    unsafe fn process_info(process: u32, buffer: *mut u8, capacity: usize) -> i64;
    unsafe fn process_exitcode(process: u32, code: *mut i32) -> i32;
}

#[cfg(target_family = "wasm")]
#[link(wasm_import_module = "wasmp_v1")]
unsafe extern "C" {
    safe fn process_drop(process: u32);
    pub(crate) safe fn log_inherit(log: u32);
}

#[cfg(not(target_family = "wasm"))]
fn process_drop(_process: u32) {}

/// How what this guest starts from now on is to log.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn log_inherit(_log: u32) {}

/// How many CPUs there are.
pub(crate) fn cpus() -> Result<u32, Status> {
    check(cpu_count())
}

/// What there is to know about this process, a CBOR map.
pub(crate) fn own_info() -> Result<Vec<u8>, Status> {
    info(0)
}

/// What is at its end when whoever started this process is.
pub(crate) fn parent_sentinel() -> Result<Object, Status> {
    Object::made(process_sentinel(0))
}

fn info(number: u32) -> Result<Vec<u8>, Status> {
    let mut record = Vec::new();
    // SAFETY: the buffer has this capacity, and the host writes no more than that.
    let got = fill(&mut record, |buffer, capacity| unsafe {
        process_info(number, buffer, capacity)
    })?;
    match got {
        Got::Frames | Got::Message => Ok(record),
    }
}

/// A process that this guest has started; the host gets its number back when this is dropped.
#[derive(Debug)]
pub(crate) struct ProcessNumber(u32);

impl ProcessNumber {
    /// Starts a process, by these options.
    pub(crate) fn start(options: &[u8], args: &[u8]) -> Result<Self, Status> {
        // SAFETY: the host reads these bytes before it returns.
        check(unsafe { process_start(options.as_ptr(), options.len(), args.as_ptr(), args.len()) }).map(Self)
    }

    pub(crate) fn info(&self) -> Result<Vec<u8>, Status> {
        info(self.0)
    }

    pub(crate) fn join(&self, timeout: Timeout) -> Result<(), Status> {
        check(process_join(self.0, timeout)).map(drop)
    }

    /// How it ended, if it has.
    pub(crate) fn exitcode(&self) -> Result<Option<i32>, Status> {
        let mut code = 0;
        // SAFETY: the host writes four bytes there, before it returns.
        let ended = check(unsafe { process_exitcode(self.0, &raw mut code) })?;
        Ok((ended == 1).then_some(code))
    }

    pub(crate) fn signal(&self, signal: i32) -> Result<(), Status> {
        check(process_signal(self.0, signal)).map(drop)
    }

    pub(crate) fn sentinel(&self) -> Result<Object, Status> {
        Object::made(process_sentinel(self.0))
    }
}

impl Drop for ProcessNumber {
    fn drop(&mut self) {
        process_drop(self.0);
    }
}
