//! What became of a guest that did not return: a trap, a panic, an exit, a limit.

use std::fmt::Write;

use wasmp_abi::ErrorKind;
use wasmtime::{Error, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::interruption;
use super::state::{State, TooMuchOutput};
use crate::wire::Fault;

/// Longest name in a backtrace, and where the backtrace ends that grows longer: what is in it is the module's, which may have
/// names as large as itself.
const MAX_NAME: usize = 1000;
const MAX_BACKTRACE: usize = 64 << 10;

/// Most functions that were inlined into one frame.
const MAX_PLACES: usize = 32;

/// What is known beside the error.
pub(super) struct Clues {
    /// The guest said that it panics, and why.
    pub(super) panic: Option<String>,
    /// It was refused memory: how much it would have had then.
    pub(super) refused: Option<usize>,
    pub(super) max_memory: usize,
    pub(super) max_output: Option<u64>,
    pub(super) fuel: Option<u64>,
}

/// The fault behind an error that a guest call ended with. Takes what the state knows about it.
pub(super) fn of_call(error: &Error, state: &mut State) -> Fault {
    let clues = Clues {
        panic: state.panic.take(),
        refused: state.limits.refused.take(),
        max_memory: state.limits.max,
        max_output: state.max_output,
        fuel: state.fuel,
    };
    explain(error, clues)
}

/// The fault behind an error.
pub(super) fn explain(error: &Error, clues: Clues) -> Fault {
    let Clues {
        panic,
        refused,
        max_memory,
        max_output,
        fuel,
    } = clues;
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Fault {
            exit_code: Some(*code),
            ..Fault::new(ErrorKind::Exit, format!("the guest ended with exit code {code}"))
        };
    }
    if error.downcast_ref::<TooMuchOutput>().is_some() {
        let most = max_output.unwrap_or_default();
        return Fault::new(
            ErrorKind::OutputLimit,
            format!("printed more than {most} bytes, which is all that is allowed"),
        );
    }
    let trap = error.downcast_ref::<Trap>();
    let mut fault = match (panic, refused, trap) {
        (Some(message), ..) => Fault::new(ErrorKind::Panic, message),
        (None, Some(wanted), _) => {
            let (wanted, max) = (mebibytes(wanted), mebibytes(max_memory));
            Fault::new(
                ErrorKind::MemoryLimit,
                format!("needed {wanted} MiB of memory, and {max} MiB are allowed"),
            )
        }
        (None, None, Some(Trap::Interrupt)) => {
            let limit = interruption::limit().unwrap_or_default();
            Fault::new(ErrorKind::Timeout, format!("ran longer than {limit:?} and was stopped"))
        }
        (None, None, Some(Trap::OutOfFuel)) => {
            let most = fuel.unwrap_or_default();
            Fault::new(
                ErrorKind::FuelLimit,
                format!("computed more than {most} units of fuel allow"),
            )
        }
        (None, None, Some(trap)) => Fault::new(ErrorKind::Trap, trap.to_string()),
        (None, None, None) => Fault::new(ErrorKind::Trap, error.root_cause().to_string()),
    };
    fault.backtrace = error
        .downcast_ref()
        .map(describe)
        .filter(|backtrace| !backtrace.is_empty());
    fault
}

/// The fault behind an error that instantiation ended with.
pub(super) fn of_instantiation(error: &Error, state: &mut State) -> Fault {
    let fault = of_call(error, state);
    match fault.kind() {
        ErrorKind::Trap => Fault {
            message: format!("the module cannot be instantiated: {error:#}"),
            kind: ErrorKind::Instantiate as u16,
            ..fault
        },
        _ => fault,
    }
}

fn mebibytes(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}

/// The guest's stack, innermost call first: functions, and their places where the module has debug information.
fn describe(backtrace: &WasmBacktrace) -> String {
    let mut text = String::new();
    for (number, frame) in backtrace.frames().iter().enumerate() {
        if text.len() > MAX_BACKTRACE {
            break;
        }
        let places = frame.symbols();
        if places.is_empty() {
            let name = frame
                .func_name()
                .map_or_else(|| format!("function {}", frame.func_index()), demangle);
            let _ = writeln!(text, "{number:>3}: {name}");
        }
        for place in places.iter().take(MAX_PLACES) {
            let name = place
                .name()
                .or(frame.func_name())
                .map_or_else(|| "an unnamed function".into(), demangle);
            let _ = write!(text, "{number:>3}: {name}");
            if let Some(file) = place.file() {
                let _ = write!(text, " at {}", shortened(file.to_owned()));
                for number in [place.line(), place.column()].into_iter().flatten() {
                    let _ = write!(text, ":{number}");
                }
            }
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn demangle(name: &str) -> String {
    shortened(format!("{:#}", rustc_demangle::demangle(name)))
}

fn shortened(mut name: String) -> String {
    if let Some((end, _)) = name.char_indices().nth(MAX_NAME) {
        name.truncate(end);
        name.push('…');
    }
    name
}
