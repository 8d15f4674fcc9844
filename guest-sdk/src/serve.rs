//! What an exported task does when a worker calls it: one item after the other, until the host has none left.
//!
//! Each item is committed on its own, so that the host always knows which one is running. An item costs two imports and
//! no allocation: messages and results live in buffers that are kept from call to call.

use std::{
    cell::Cell,
    io::{Write, stdout},
    sync::Once,
};

use crate::{
    argument::{Arguments, Parameters},
    failure::Failure,
    finalize, host,
};

/// A task as the macro hands it over: decodes its arguments, runs, and encodes its result.
type Task = fn(&mut Arguments<'_>, &mut Vec<u8>) -> Result<(), Failure>;

/// Runs the items of one call.
pub fn serve(parameters: Parameters, task: Task) {
    static START: Once = Once::new();
    START.call_once(|| {
        host::run_constructors();
        crate::panic::report_panics();
    });

    let mut buffers = BUFFERS.take();
    while host::next(&mut buffers.message) {
        let outcome = buffers.run(parameters, task);
        // What the item printed comes before its outcome, also a line that it has not ended: once the outcome is out,
        // the worker may be gone at any moment. There is nobody left to tell if it cannot be written.
        let _ = stdout().flush();
        match outcome {
            Ok(()) => host::succeed(&buffers.result),
            Err(failure) => host::fail(failure.kind, &failure.message),
        }
        buffers.shrink();
    }
    BUFFERS.set(buffers);
    finalize::exit_if_over();
}

thread_local! {
    /// Where the buffers are between two calls.
    static BUFFERS: Cell<Buffers> = const { Cell::new(Buffers::NONE) };
}

/// The memory that items share.
#[derive(Debug, Default)]
struct Buffers {
    /// The arguments of the item.
    message: Vec<u8>,
    /// The encoded result.
    result: Vec<u8>,
    /// Where ciborium puts pieces of text while it decodes.
    scratch: Vec<u8>,
}

impl Buffers {
    /// Before the first call.
    const NONE: Self = Self {
        message: Vec::new(),
        result: Vec::new(),
        scratch: Vec::new(),
    };

    /// A buffer above this size is given back after the item that needed it.
    const KEEP: usize = 1 << 20;

    fn run(&mut self, parameters: Parameters, task: Task) -> Result<(), Failure> {
        self.result.clear();
        let mut arguments = Arguments::parse(&self.message, parameters, &mut self.scratch)?;
        task(&mut arguments, &mut self.result)
    }

    fn shrink(&mut self) {
        for buffer in [&mut self.message, &mut self.result] {
            if buffer.capacity() > Self::KEEP {
                *buffer = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argument::Argument;

    fn repeat(arguments: &mut Arguments<'_>, output: &mut Vec<u8>) -> Result<(), Failure> {
        let times = Argument::<usize>::decode(arguments)?;
        output.resize(times, 7);
        Ok(())
    }

    #[test]
    fn results_do_not_run_into_each_other() {
        let mut buffers = Buffers::default();
        for (message, result) in [(&[0x81, 3][..], &[7; 3][..]), (&[0x81, 1], &[7])] {
            buffers.message = message.to_vec();
            buffers.run(&[("times", "usize")], repeat).unwrap();
            assert_eq!(buffers.result, result);
            buffers.shrink();
        }
    }

    #[test]
    fn buffers_stay_until_they_are_huge() {
        let mut buffers = Buffers {
            message: vec![0; Buffers::KEEP],
            result: vec![0; 2 * Buffers::KEEP],
            ..Buffers::NONE
        };
        buffers.shrink();
        assert_eq!(buffers.message.capacity(), Buffers::KEEP);
        assert_eq!(buffers.result.capacity(), 0);
    }
}
