//! wasmp beside CPython: each row of the performance budget, through the library as it is released (sandbox on) and
//! through `multiprocessing.Pool` and `concurrent.futures.ProcessPoolExecutor`, on this machine, in this run.
//!
//! ```text
//! cargo bench -p wasmp-tests --bench versus_python -- [--json FILE] [--markdown FILE] [--plot FILE] [--quick] [ROW…]
//! ```
//!
//! # How a row is measured
//!
//! Both sides do the same work with two workers, and check its result. Pools are warm before rates and round trips are
//! taken. The sides take turns, sample by sample (ours, peer, ours, peer, …), so that whatever else the machine does
//! hits both; the first turn of each warms caches and does not count. A figure is the median of its samples, its spread their
//! minimum and maximum. Where both Python libraries can do the work, the faster one is the peer.
//!
//! # How a row is judged
//!
//! Each turn gives one ratio, ours ÷ peer. A bar on the ratio is **met** if every turn's ratio clears it, **missed** if
//! none does, and the row is **noisy** if some do and some do not: then run it again on a quieter machine. A bar on our
//! own figure is judged in the same way, figure by figure, with or without a peer. Where the peer is this library itself without
//! the second wall (`wall-…`), its bar is what the wall may cost, and a difference of a few hundredths is noisy on all but
//! a quiet machine: the median of the ratios and its spread say more. Without `python3`, rows whose bar is a ratio
//! to it have **no peer** and no judgement.
//!
//! It runs from a copy of itself, as an installed program does, and Python: what a linker has just written lies in the system's
//! cache in pages of 4 KiB, which makes each start of a process, which maps it, take up to a fifth longer than what was copied
//! or read from a disk.
//!
//! Started other than by `cargo bench`, as by `cargo test --benches`, it takes only the few samples of `--quick`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what it prints is what it is for"
)]

mod child;
mod installed;
#[path = "guest/src/kernels.rs"]
mod kernels;
mod machine;
mod measure;
mod ours;
mod plot;
mod python;
mod report;
mod rows;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use wasmp::Module;

use self::machine::Machine;
use self::python::Python;

/// What went wrong, for whoever reads the terminal.
type Failure = Box<dyn Error>;

/// Takes one sample.
type Sampler = Box<dyn FnMut() -> Result<f64, Failure>>;

/// wasmp beside CPython, row by row.
#[derive(Debug, Parser)]
struct Options {
    /// Rows to run, by their names or the beginnings of them [default: all]
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write a plot of all rows against their bars to this file, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Few and short samples: whether it works, rather than how fast
    #[arg(long)]
    quick: bool,
    /// What `cargo bench` says
    #[arg(long, hide = true)]
    bench: bool,
}

/// What every row needs.
struct Stage {
    quick: bool,
    wasm: PathBuf,
    module: Module,
    python: Option<Python>,
}

impl Stage {
    /// How many items, of so many in a full run.
    fn items(&self, full: u64) -> u64 {
        if self.quick { full.div_ceil(5) } else { full }
    }

    /// How many samples of each side.
    fn samples(&self) -> usize {
        if self.quick { 3 } else { 9 }
    }
}

fn main() -> ExitCode {
    let outcome = match child::role() {
        Some(role) => child::play(role).map(|()| true),
        None => installed::ensure().and_then(|()| run(&Options::parse())),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the rows and writes the reports. False: not all of them could be measured.
fn run(options: &Options) -> Result<bool, Failure> {
    let rows = rows::select(&options.rows)?;
    let python = Python::find()
        .inspect_err(|why| eprintln!("no peer: {why}; only wasmp is measured"))
        .ok();
    let machine = Machine::look(python.as_ref());
    println!("{machine}\n");

    let wasm = build_guest()?;
    let module = Module::load(wasm.as_path())?;
    let stage = Stage {
        quick: options.quick || !options.bench,
        wasm,
        module,
        python,
    };
    let mut measured = Vec::new();
    for row in &rows {
        eprintln!("{}: {}", row.name, row.work);
        match measure::measure(row, &stage) {
            Ok(figures) => measured.push(figures),
            Err(error) => eprintln!("error: {}: {error}", row.name),
        }
    }

    println!("{}", report::table(&measured));
    let write = |file: &Option<PathBuf>, text: &dyn Fn() -> String| match file {
        Some(file) => std::fs::write(file, text()).map_err(|error| format!("{}: {error}", file.display())),
        None => Ok(()),
    };
    write(&options.json, &|| report::json(&machine, &measured))?;
    write(&options.markdown, &|| report::markdown(&machine, &measured))?;
    write(&options.plot, &|| plot::svg(&machine, &measured))?;
    Ok(measured.len() == rows.len())
}

/// Compiles the tasks to wasm.
fn build_guest() -> Result<PathBuf, Failure> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus_python/guest");
    let built = wasmp_build::build(&wasmp_build::GuestBuild::new(dir), &mut |message| {
        eprintln!("{message}");
    })?;
    Ok(built.wasm)
}
