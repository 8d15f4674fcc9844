//! What can be typed. The doc comments are the help texts; decisions are made elsewhere.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use wasmp::{DirGrant, NamedObject, units};

use crate::grants::{self, Variable};
use crate::policies::{self, Initargs, Level, RetryOn};
use crate::progress::When;

/// Runs tasks compiled to WebAssembly on a pool of sandboxed worker processes: Python's multiprocessing, for wasm.
#[derive(Debug, Parser)]
#[command(name = "wasmp", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 everything worked; 1 an item failed; 2 wrong usage, or the module or an input \
                        cannot be used; 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// What was typed; wrong usage and requests for help end the process here.
    pub(crate) fn parse_or_exit() -> Self {
        Self::read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn read(typed: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut cli = Self::try_parse_from(typed)?;
        if let Command::Map(map) = &mut cli.command {
            map.take_null_from_inputs()
                .map_err(|error| error.format(&mut Self::command()))?;
        }
        Ok(cli)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Map(Map),
    Call(Call),
    Run(Run),
    Exec(Exec),
    Inspect(Inspect),
    Build(Build),
    Compile(Compile),
    Manager(Manager),
    Doctor(Doctor),
}

/// Run a task over many inputs, in parallel
///
/// Each INPUT is JSON, or else a string. Without any, JSON values are read from standard input, one a line. Results
/// are printed as JSON, one a line, in the order of the inputs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  seq 10 | wasmp map tasks.wasm square")]
pub(crate) struct Map {
    #[command(flatten)]
    pub(crate) module: Module,

    /// The task to run; `wasmp inspect MODULE` lists them
    pub(crate) task: String,

    /// Inputs: each JSON, or else a string [default: JSON Lines on standard input]
    #[arg(allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,

    /// Read inputs from FILE, one a line (`-`: standard input)
    #[arg(long = "input", value_name = "FILE", conflicts_with = "input")]
    pub(crate) input_file: Option<PathBuf>,

    /// Take each input as a string, not as JSON
    #[arg(long)]
    pub(crate) raw_input: bool,

    /// Inputs that are read end in NUL, not in a line end (as from `find -print0`)
    #[arg(short = '0', long = "null")]
    pub(crate) null: bool,

    /// Spread each input, an array, over the task's parameters
    #[arg(long, conflicts_with = "raw_input")]
    pub(crate) star: bool,

    /// Worker processes [default: one for each CPU that may be used]
    #[arg(short = 'j', long, value_name = "N")]
    pub(crate) processes: Option<NonZeroUsize>,

    /// Items handed to a worker at once [default: adapts to how long they take]
    #[arg(long, value_name = "N")]
    pub(crate) chunksize: Option<NonZeroU32>,

    /// Inputs read ahead of the results [default: adapts to how long items take]
    #[arg(long, value_name = "N")]
    pub(crate) buffersize: Option<NonZeroUsize>,

    /// Replace a worker process after N items
    #[arg(long, value_name = "N")]
    pub(crate) max_tasks_per_child: Option<NonZeroU32>,

    /// How long an instance is kept: as long as its `worker`, for one `task`, or for N tasks
    #[arg(long, value_name = "worker|task|N", default_value = "worker", value_parser = policies::isolation)]
    pub(crate) isolation: wasmp::Isolation,

    /// Print results as they come, not in the order of the inputs
    #[arg(long)]
    pub(crate) unordered: bool,

    /// Go on after an item has failed
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// Print {"index","input","ok"} or {"index","input","error"} for each item
    #[arg(long)]
    pub(crate) envelope: bool,

    #[command(flatten)]
    pub(crate) limits: Limits,

    #[command(flatten)]
    pub(crate) grants: Grants,

    #[command(flatten)]
    pub(crate) objects: Objects,

    #[command(flatten)]
    pub(crate) insight: Insight,

    /// When to show a progress bar
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) progress: When,

    /// Print errors and failed items only: no progress bar, no notes
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl Map {
    /// To clap, `-0` after TASK is a negative number. It is the option: whoever wants nought types `0`.
    fn take_null_from_inputs(&mut self) -> Result<(), clap::Error> {
        let inputs = self.input.len();
        self.input.retain(|input| input != "-0");
        self.null |= self.input.len() < inputs;
        match self.null && !self.input.is_empty() {
            true => Err(clap::Error::raw(
                ErrorKind::ArgumentConflict,
                "-0 is about inputs that are read, and cannot be used with an INPUT that is typed",
            )),
            false => Ok(()),
        }
    }
}

/// Run a task once
///
/// Each ARG is JSON, or else a string. The result is printed as JSON.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmp call tasks.wasm add 1 2")]
pub(crate) struct Call {
    #[command(flatten)]
    pub(crate) module: Module,

    /// The task to run; `wasmp inspect MODULE` lists them
    pub(crate) task: String,

    /// Arguments: each JSON, or else a string
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,

    /// Take each argument as a string, not as JSON
    #[arg(long)]
    pub(crate) raw_input: bool,

    #[command(flatten)]
    pub(crate) limits: Limits,

    #[command(flatten)]
    pub(crate) grants: Grants,

    #[command(flatten)]
    pub(crate) objects: Objects,

    #[command(flatten)]
    pub(crate) insight: Insight,

    /// Print errors only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Run a program that starts processes and pools of its own
///
/// Its `main` runs in the sandbox, as do all processes that it starts. Standard input, output and error are the program's,
/// and so is the exit code. A module that uses nothing of wasmp runs as by `exec`.
#[derive(Debug, Args)]
#[command(
    override_usage = "wasmp run [OPTIONS] <MODULE> [ARG]...",
    after_help = "Examples:\n  wasmp run --dir data app.wasm --verbose\n  wasmp run examples/pool_map\n\n\
                  As cargo's runner, in .cargo/config.toml:\n  [target.wasm32-wasip1]\n  runner = \"wasmp run\""
)]
pub(crate) struct Run {
    /// A .wasm or .wat file, or the folder of a guest crate, which is built first; what follows goes to the program
    #[arg(value_name = "MODULE", required = true, num_args = 1.., trailing_var_arg = true)]
    pub(crate) program: Vec<String>,

    /// Accept a MODULE made by `wasmp compile`; it is machine code, so trust where it comes from
    #[arg(long)]
    pub(crate) allow_precompiled: bool,

    /// Processes that the program may have started at a time, in pools or by themselves [default: 64]
    #[arg(long, value_name = "N")]
    pub(crate) max_processes: Option<usize>,

    /// Kill the program when it runs longer (500ms, 2s, 1.5m, 1h)
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) timeout: Option<Duration>,

    /// Memory each of its processes may use (64M, 1GiB)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_memory: Option<u64>,

    /// Bytes a message may have, and a result in a pool [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_message: Option<u64>,

    /// Bytes each of its processes may print, and each item in a pool
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_output: Option<u64>,

    #[command(flatten)]
    pub(crate) grants: Grants,

    /// Keep what each process writes to standard error, log records among that, also in a file in DIR: NAME-PID.log
    #[arg(long, value_name = "DIR")]
    pub(crate) log_dir: Option<PathBuf>,

    /// Print errors only: no notes about building
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Run a WASI command once, in the same sandbox
///
/// Standard input and output are the command's, and so is the exit code.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) module: Module,

    /// Arguments for the command
    #[arg(value_name = "ARG", last = true)]
    pub(crate) arguments: Vec<String>,

    /// Kill the command when it runs longer (500ms, 2s, 1.5m, 1h)
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) timeout: Option<Duration>,

    /// Memory the command may use (64M, 1GiB)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_memory: Option<u64>,

    /// Bytes the command may print
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_output: Option<u64>,

    #[command(flatten)]
    pub(crate) grants: Grants,
}

/// Hold dictionaries, queues, objects, pools and more for programs that have the key
///
/// Prints the address where it listens, and runs until Ctrl-C or until a client shuts it down. Programs reach it by
/// `Manager::connect`. The key is proved, not sent; what is said afterwards is neither secret nor protected. With a
/// certificate it is both, and programs use `Manager::connect_tls`, which has to trust that certificate. It must not be that
/// of an authority: see `--tls-cert`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wasmp manager --listen 127.0.0.1:5000 --authkey-file key.txt")]
pub(crate) struct Manager {
    /// Where to listen: HOST:PORT (port 0: any that is free) or unix:PATH
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: wasmp::Address,

    /// The key: what is in FILE, without the line end at its end
    #[arg(long, value_name = "FILE")]
    pub(crate) authkey_file: PathBuf,

    /// Speak TLS 1.3: the certificate in FILE, and those that vouch for it after it, PEM. For one that nobody else vouches
    /// for: `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=wasmp -addext
    /// subjectAltName=DNS:HOST -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem`
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Most bytes to hold (64M, 1GiB) [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_bytes: Option<u64>,

    /// Hold objects of the types of MODULE, and pools that run its tasks, too: a .wasm or .wat file, or the folder of a guest
    /// crate, which is built first
    #[arg(long, value_name = "MODULE")]
    pub(crate) module: Option<PathBuf>,

    /// Processes that its pools may have at a time, all together [default: 64]
    #[arg(long, value_name = "N", requires = "module")]
    pub(crate) max_processes: Option<usize>,

    /// Accept a MODULE made by `wasmp compile`; it is machine code, so trust where it comes from
    #[arg(long, requires = "module")]
    pub(crate) allow_precompiled: bool,

    /// How long a method of an object of a type may take; longer, and the manager is killed (500ms, 2s, 1.5m) [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = units::duration, requires = "module")]
    pub(crate) call_timeout: Option<Duration>,

    /// Begin with what `--save` has written to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) load: Option<PathBuf>,

    /// At Ctrl-C write what has a name to FILE, queues and locks excepted; a client that shuts it down has nothing saved
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

/// Show what a module offers and needs, without running it
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) module: Module,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Compile a guest crate to WebAssembly and print where it is
///
/// Finds a compiler for wasm32-wasip1 or makes one.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The folder of the crate
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,

    /// Optimise
    #[arg(long)]
    pub(crate) release: bool,
}

/// Compile a module to machine code ahead of time
///
/// What comes out runs on this kind of machine and with this version of wasmp. Give it as MODULE with
/// `--allow-precompiled`.
#[derive(Debug, Args)]
pub(crate) struct Compile {
    #[command(flatten)]
    pub(crate) module: Module,

    /// Where to write it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// Show what this machine has for workers and their sandbox, and what would be better
#[derive(Debug, Args)]
pub(crate) struct Doctor {}

#[derive(Debug, Args)]
pub(crate) struct Module {
    /// A .wasm or .wat file, or the folder of a guest crate, which is built first
    #[arg(value_name = "MODULE")]
    pub(crate) path: PathBuf,

    /// Accept a MODULE made by `wasmp compile`; it is machine code, so trust where it comes from
    #[arg(long)]
    pub(crate) allow_precompiled: bool,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Limits {
    /// Kill an item that runs longer; it fails, the rest goes on (500ms, 2s, 1.5m, 1h)
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) timeout: Option<Duration>,

    /// Stop an item that runs longer, and say where it was stuck; makes tight loops slower
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) soft_timeout: Option<Duration>,

    /// Run an item again, up to N times, when its worker process died
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u32,

    /// Use --retries for more failures: `timeout` and `error`; a worker that died (`lost`) always counts
    #[arg(long, value_name = "WHAT,…", value_delimiter = ',', requires = "retries")]
    pub(crate) retry_on: Vec<RetryOn>,

    /// Wait before an item is tried again, twice as long each time (100ms, 2s)
    #[arg(long, value_name = "DURATION", value_parser = units::duration, requires = "retries")]
    pub(crate) backoff: Option<Duration>,

    /// Run this task before any other, in each instance
    #[arg(long, value_name = "TASK")]
    pub(crate) initializer: Option<String>,

    /// Arguments of the initializer, a JSON array [default: none]
    #[arg(long, value_name = "JSON", requires = "initializer")]
    pub(crate) initargs: Option<Initargs>,

    /// Memory each worker's guest may use (64M, 1GiB)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_memory: Option<u64>,

    /// Bytes a result may have, or a message that a guest puts into a queue or a pipe [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_message: Option<u64>,

    /// Bytes an item may print before it fails
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_output: Option<u64>,

    /// Processes that the tasks may have started at a time, in pools or by themselves [default: 64]
    #[arg(long, value_name = "N")]
    pub(crate) max_processes: Option<usize>,

    /// Have each item do the same in every run: its clocks begin at 0, its random numbers are no secret
    #[arg(long)]
    pub(crate) deterministic: bool,
}

/// What is told about the run.
#[derive(Debug, Args)]
pub(crate) struct Insight {
    /// After the run, print what each worker did, and the slowest items
    #[arg(long)]
    pub(crate) stats: bool,

    /// Write a timeline for ui.perfetto.dev or chrome://tracing
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

/// Objects that the tasks share, made for this run. A task opens them by their names.
#[derive(Debug, Default, Args)]
pub(crate) struct Objects {
    /// Make a queue for the tasks, of at most MAXSIZE messages if given
    #[arg(long = "queue", value_name = "NAME[:MAXSIZE]", value_parser = NamedObject::queue)]
    pub(crate) queues: Vec<NamedObject>,

    /// Make a lock for the tasks
    #[arg(long = "lock", value_name = "NAME", value_parser = NamedObject::lock)]
    pub(crate) locks: Vec<NamedObject>,

    /// Make an event for the tasks
    #[arg(long = "event", value_name = "NAME", value_parser = NamedObject::event)]
    pub(crate) events: Vec<NamedObject>,

    /// Make a semaphore for the tasks, with VALUE permits
    #[arg(long = "semaphore", value_name = "NAME:VALUE", value_parser = NamedObject::semaphore)]
    pub(crate) semaphores: Vec<NamedObject>,

    /// Make shared memory for the tasks, all zero (64K, 1GiB)
    #[arg(long = "shared-memory", value_name = "NAME:SIZE", value_parser = NamedObject::shared_memory)]
    pub(crate) memories: Vec<NamedObject>,
}

/// What the guest is given, nothing by default; and the limits that are the same for tasks and programs.
#[derive(Debug, Args)]
pub(crate) struct Grants {
    /// Read grants and limits from FILE, or from the wasmp.toml in a folder; its keys are options like these, which go first
    #[arg(long = "grants", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Say what the guest would be given, within which limits and walls, and run nothing
    #[arg(long)]
    pub(crate) explain: bool,

    /// Let the guest read a directory, under its own name or as GUEST; `:rw`: write, too
    #[arg(long = "dir", value_name = "HOST[::GUEST][:rw]", value_parser = grants::dir)]
    pub(crate) dirs: Vec<DirGrant>,

    /// Set an environment variable for the guest
    #[arg(long = "env", value_name = "K=V")]
    pub(crate) variables: Vec<Variable>,

    /// The wall around worker processes: all of it or an error, what this system has [default], or (for debugging only) none
    #[arg(long, value_name = "LEVEL")]
    pub(crate) sandbox: Option<Level>,

    /// Memory of all processes together; it takes a control group: `wasmp doctor` says whether there can be one
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_total_memory: Option<u64>,

    /// What an item, or a process, may compute, in units of about an instruction; makes tight loops slower
    #[arg(long, value_name = "UNITS")]
    pub(crate) fuel: Option<u64>,

    /// Bytes of what each worker prints that are passed on each second; the rest is dropped, and counted
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) output_rate: Option<u64>,

    /// How long compiling the module may take [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) compile_timeout: Option<Duration>,

    /// Memory that compiling the module may take [default: 4GiB]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) compile_memory: Option<u64>,
}

#[cfg(test)]
mod tests;
