//! Pools of this guest's own.

use wasmp_abi::{Status, pool};

use super::objects::{Timeout, check, check_long, fill};

imports! {
    safe fn pool_seal(pool: u32, job: u32) -> i32;
    safe fn pool_cancel(pool: u32, job: u32) -> i32;
    safe fn pool_forget(pool: u32, job: u32) -> i32;
    safe fn pool_close(pool: u32) -> i32;
    safe fn pool_terminate(pool: u32) -> i32;
    safe fn pool_resize(pool: u32, processes: u32) -> i32;
    safe fn pool_join(pool: u32, timeout: Timeout) -> i32;

    unsafe fn pool_new(options: *const u8, length: usize) -> i32;
    unsafe fn pool_begin(pool: u32, task: *const u8, task_length: usize, options: *const u8, length: usize) -> i64;
    unsafe fn pool_submit(pool: u32, job: u32, items: *const u8, length: usize) -> i32;
    unsafe fn pool_next(pool: u32, buffer: *mut u8, capacity: usize, timeout: Timeout) -> i64;
}

#[cfg(target_family = "wasm")]
#[link(wasm_import_module = "wasmp_v1")]
unsafe extern "C" {
    safe fn pool_drop(pool: u32);
}

#[cfg(not(target_family = "wasm"))]
fn pool_drop(_pool: u32) {}

/// A pool of this instance; the host gets it back when this is dropped.
#[derive(Debug)]
pub(crate) struct PoolNumber(u32);

impl PoolNumber {
    /// A new pool, by these options.
    pub(crate) fn make(options: &[u8]) -> Result<Self, Status> {
        // SAFETY: the host reads these bytes before it returns.
        check(unsafe { pool_new(options.as_ptr(), options.len()) }).map(Self)
    }

    /// Begins a job: its number.
    pub(crate) fn begin(&self, task: &str, options: &[u8]) -> Result<u32, Status> {
        // SAFETY: the host reads these bytes before it returns.
        let number = unsafe { pool_begin(self.0, task.as_ptr(), task.len(), options.as_ptr(), options.len()) };
        check_long(number).map(|number| u32::try_from(number).expect("jobs are counted in 32 bits"))
    }

    /// Submits items.
    pub(crate) fn submit(&self, job: u32, items: &[u8]) -> Result<(), Status> {
        // SAFETY: the host reads these bytes before it returns.
        check(unsafe { pool_submit(self.0, job, items.as_ptr(), items.len()) }).map(drop)
    }

    /// Waits for the next record of any job.
    pub(crate) fn next(&self, buffer: &mut Vec<u8>, timeout: Timeout) -> Result<(), Status> {
        // SAFETY: the host writes no more than `capacity` bytes.
        fill(buffer, |at, capacity| unsafe {
            pool_next(self.0, at, capacity, timeout)
        })?;
        assert!(buffer.len() >= pool::RECORD_HEAD, "the host has written half a record");
        Ok(())
    }

    /// No more items for this job.
    pub(crate) fn seal(&self, job: u32) -> Result<(), Status> {
        check(pool_seal(self.0, job)).map(drop)
    }

    pub(crate) fn cancel(&self, job: u32) -> Result<(), Status> {
        check(pool_cancel(self.0, job)).map(drop)
    }

    /// Nobody will ask for the outcomes of this job.
    pub(crate) fn forget(&self, job: u32) {
        // It cannot fail: what there is to forget is forgotten.
        let _ = pool_forget(self.0, job);
    }

    pub(crate) fn close(&self) -> Result<(), Status> {
        check(pool_close(self.0)).map(drop)
    }

    pub(crate) fn terminate(&self) -> Result<(), Status> {
        check(pool_terminate(self.0)).map(drop)
    }

    pub(crate) fn resize(&self, processes: u32) -> Result<(), Status> {
        check(pool_resize(self.0, processes)).map(drop)
    }

    pub(crate) fn join(&self, timeout: Timeout) -> Result<(), Status> {
        check(pool_join(self.0, timeout)).map(drop)
    }
}

impl Drop for PoolNumber {
    fn drop(&mut self) {
        pool_drop(self.0);
    }
}
