//! Work for the processor alone, in wasm and natively.

use std::env;
use std::process::Command;
use std::time::Instant;

use super::{WORKERS, seconds_since, warm_pair};
use crate::child::CHILD;
use crate::python::Samples;
use crate::{Failure, Sampler, Stage, kernels};

/// The kernel of the efficiency row, which is about processors and not about code.
const ON_TWO: Kernel = Kernel {
    name: "collatz",
    rounds: 1_000_000,
};

/// A kernel, and as many rounds as take about 0.1 s.
#[derive(Clone, Copy)]
struct Kernel {
    name: &'static str,
    rounds: u64,
}

const NBODY: Kernel = Kernel {
    name: "nbody",
    rounds: 1_500_000,
};
const SIEVE: Kernel = Kernel {
    name: "sieve",
    rounds: 200,
};
const COLLATZ: Kernel = Kernel {
    name: "collatz",
    rounds: 500_000,
};

pub(crate) fn nbody(stage: &Stage) -> Result<Sampler, Failure> {
    in_wasm(stage, NBODY)
}

pub(crate) fn nbody_native(_: &Stage) -> Result<Sampler, Failure> {
    natively(NBODY)
}

pub(crate) fn sieve(stage: &Stage) -> Result<Sampler, Failure> {
    in_wasm(stage, SIEVE)
}

pub(crate) fn sieve_native(_: &Stage) -> Result<Sampler, Failure> {
    natively(SIEVE)
}

pub(crate) fn collatz(stage: &Stage) -> Result<Sampler, Failure> {
    in_wasm(stage, COLLATZ)
}

pub(crate) fn collatz_native(_: &Stage) -> Result<Sampler, Failure> {
    natively(COLLATZ)
}

fn in_wasm(stage: &Stage, Kernel { name, rounds }: Kernel) -> Result<Sampler, Failure> {
    let pool = warm_pair(stage)?;
    let expected = kernels::find(name).ok_or("no such kernel")?(rounds);
    Ok(Box::new(move || {
        let begin = Instant::now();
        let checksum: u64 = pool.apply("kernel", (name, rounds))?;
        let took = seconds_since(begin);
        if checksum != expected {
            return Err("wasm and native code disagree".into());
        }
        Ok(took)
    }))
}

fn natively(Kernel { name, rounds }: Kernel) -> Result<Sampler, Failure> {
    let kernel = kernels::find(name).ok_or("no such kernel")?;
    Ok(Box::new(move || {
        let begin = Instant::now();
        std::hint::black_box(kernel(std::hint::black_box(rounds)));
        Ok(seconds_since(begin))
    }))
}

/// How long one worker takes for one kernel, over how long two take for one each.
pub(crate) fn two_workers(stage: &Stage) -> Result<Sampler, Failure> {
    let pool = warm_pair(stage)?;
    Ok(Box::new(move || {
        let timed = |workers: usize| -> Result<f64, Failure> {
            let begin = Instant::now();
            let results = (0..workers)
                .map(|_| pool.apply_async::<_, u64>("kernel", (ON_TWO.name, ON_TWO.rounds)))
                .collect::<Result<Vec<_>, _>>()?;
            for result in results {
                result.get()?;
            }
            Ok(seconds_since(begin))
        };
        Ok(timed(1)? / timed(WORKERS)?)
    }))
}

/// The same with processes of our own that run native code.
pub(crate) fn two_processes(_: &Stage) -> Result<Sampler, Failure> {
    let start = |_| {
        let mut command = Command::new(env::current_exe()?);
        command.args([CHILD, "kernel", ON_TWO.name, &ON_TWO.rounds.to_string()]);
        Samples::start(command)
    };
    let mut processes = (0..WORKERS).map(start).collect::<Result<Vec<_>, Failure>>()?;
    Ok(Box::new(move || {
        let mut timed = |workers: usize| -> Result<f64, Failure> {
            let begin = Instant::now();
            for process in &mut processes[..workers] {
                process.ask()?;
            }
            for process in &mut processes[..workers] {
                process.answer()?;
            }
            Ok(seconds_since(begin))
        };
        Ok(timed(1)? / timed(WORKERS)?)
    }))
}
