//! `wasmp map`: a task over many inputs.
//!
//! Two threads. One reads inputs and submits them; the pool makes it wait when enough is under way, so memory stays
//! constant however long the input is. The main thread takes results and prints them. Inputs that never reach the pool
//! are printed by whichever of the two knows that it is their turn (see [`Ledger`]).

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use ciborium::Value;
use wasmp::{Chunksize, Order, Pool, Results, Submitter};

use crate::args;
use crate::error::Error;
use crate::explain::{self, Tasks};
use crate::failure::Failure;
use crate::input::{Inputs, Place, Reading};
use crate::json::Json;
use crate::ledger::Ledger;
use crate::progress::Progress;
use crate::records::Ending;
use crate::report::{Item, Report};
use crate::stats::{self, Inputs as Shown};
use crate::terminal::Messages;
use crate::{FAILED, INTERRUPTED, grants, module, sandbox, signals, stdout};

/// Refused inputs that may wait for the items before them; beyond, reading waits, too.
const REFUSED_AHEAD: usize = 1024;

pub(crate) fn run(args: &args::Map) -> Result<ExitCode, Error> {
    let reading = Reading {
        raw: args.raw_input,
        star: args.star,
    };
    let ending = if args.null { Ending::Nul } else { Ending::Line };
    let inputs = match args.input.is_empty() {
        true => Inputs::open(args.input_file.as_deref(), ending, reading)?,
        false => Inputs::typed(args.input.clone(), reading),
    };
    let module = module::load(&args.module, &Messages::new(args.quiet, Progress::none()))?;
    let granted = grants::resolve(
        &args.grants,
        &args.limits,
        &args.objects,
        &args.module.path,
        &Messages::new(args.quiet, Progress::none()),
    )?;
    if args.grants.explain {
        return explain::print(
            &module,
            &granted,
            args.grants.file.as_deref(),
            Tasks::Pool(args.processes),
        );
    }
    let progress = Progress::start(args.progress, args.quiet, inputs.total());
    let messages = Arc::new(Messages::new(args.quiet, progress));

    let builder = sandbox::pool(&module, granted, &args.limits, &messages);
    let mut builder = sandbox::observe(builder, &args.insight)?.isolation(args.isolation);
    if let Some(tasks) = args.max_tasks_per_child {
        builder = builder.max_tasks_per_child(tasks.get());
    }
    if let Some(processes) = args.processes {
        builder = builder.processes(processes.get());
    }
    let pool = builder.build()?;
    let mut task = pool.task(&args.task);
    if let Some(size) = args.chunksize {
        task = task.chunksize(Chunksize::Exact(size.get()));
    }
    if let Some(items) = args.buffersize {
        task = task.buffersize(items.get());
    }
    let order = if args.unordered {
        Order::Completion
    } else {
        Order::Input
    };
    let (submitter, results) = task.stream::<Vec<Value>, Json>(order)?;

    let run = Arc::new(Run {
        pool,
        places: match (args.input.is_empty(), ending) {
            (false, _) => Place::Typed,
            (true, Ending::Line) => Place::Line(0),
            (true, Ending::Nul) => Place::Record(0),
        },
        keep_going: args.keep_going,
        keep_inputs: args.envelope,
        state: Mutex::new(State {
            ledger: Ledger::new(!args.unordered),
            report: Report::new(stdout::open()?, io::stdout().is_terminal(), args.envelope),
            unreadable: None,
            shown: args.insight.stats.then(Shown::default),
        }),
        room: Condvar::new(),
        ended: AtomicBool::new(false),
        end: Mutex::new(None),
        messages,
    });
    if args.input.is_empty() && args.input_file.is_none() && io::stdin().is_terminal() {
        run.messages
            .note("reading inputs from the terminal, one a line; Ctrl-D ends them");
    }
    let interrupted = Arc::clone(&run);
    signals::on_interrupt(move || interrupted.end(End::Interrupted))?;
    let feeder = Arc::clone(&run);
    // Never joined: it may be waiting for input that will not come, and ends with the process.
    thread::Builder::new()
        .name("wasmp-input".to_owned())
        .spawn(move || feeder.feed(inputs, submitter))
        .map_err(|error| Error::stream("start", "a thread for the input", error))?;
    run.print(results);
    run.conclude(&args.insight)
}

/// A run under way, as its threads share it.
struct Run {
    pool: Pool,
    messages: Arc<Messages>,
    /// What kind of place the inputs stand in.
    places: Place,
    keep_going: bool,
    keep_inputs: bool,
    state: Mutex<State>,
    /// Told when a refused input has been printed.
    room: Condvar,
    ended: AtomicBool,
    end: Mutex<Option<End>>,
}

struct State {
    ledger: Ledger,
    report: Report<File>,
    /// Why reading stopped before the end of the input. What was read before is still run.
    unreadable: Option<Error>,
    /// Inputs that may be among the slowest, if those are to be printed.
    shown: Option<Shown>,
}

/// Why a run ends before its input does.
enum End {
    FirstFailure,
    Interrupted,
    /// Whoever read the results has stopped reading.
    OutputClosed,
    Broken(Error),
}

impl Run {
    /// Submits all inputs.
    fn feed(&self, mut inputs: Inputs, mut submitter: Submitter<Vec<Value>>) {
        let mut index = 0;
        let mut submitted = 0;
        while !self.has_ended() {
            let input = match inputs.next_input() {
                Ok(Some(input)) => input,
                Ok(None) => return,
                Err(error) => return self.state().unreadable = Some(error),
            };
            self.messages.progress.bytes_read(input.text.len() + 1);
            let item = Item::new(index, &input, self.keep_inputs);
            if let Some(shown) = &mut self.state().shown {
                shown.note(submitted, &item.to_string(), &input.text);
            }
            index += 1;
            let refused = match input.arguments {
                Err(error) => (item, error.into()),
                Ok(arguments) => match self.submit(&mut submitter, submitted, item, &arguments) {
                    Ok(None) => {
                        submitted += 1;
                        continue;
                    }
                    Ok(Some(refused)) => refused,
                    Err(error) => return self.end(End::Broken(error)),
                },
            };
            self.refuse(submitted, refused);
        }
    }

    /// Hands an item to the pool, where its number will be `number`; gives it back if it cannot be sent.
    fn submit(
        &self,
        submitter: &mut Submitter<Vec<Value>>,
        number: u64,
        item: Item,
        arguments: &Vec<Value>,
    ) -> Result<Option<(Item, Failure)>, Error> {
        if !Ledger::is_plain(number, &item) {
            self.state().ledger.note(number, item);
        }
        match submitter.submit(arguments) {
            Ok(_) => Ok(None),
            Err(error) => {
                let failure = Failure::from_library(error)?;
                Ok(Some((self.state().ledger.take(number, self.places), failure)))
            }
        }
    }

    /// Prints an input that never reached the pool, or leaves that to the printing thread.
    fn refuse(&self, submitted: u64, (item, failure): (Item, Failure)) {
        let mut state = self.state();
        while state.ledger.waiting() >= REFUSED_AHEAD && !self.has_ended() {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some((item, failure)) = state.ledger.refuse(submitted, item, failure) {
            let _ = self.report(&mut state.report, &item, Err(failure));
        }
    }

    /// Prints results until the last one or the end of the run.
    fn print(&self, mut results: Results<Json>) {
        loop {
            let next = match results.try_next() {
                None => {
                    // Waiting may take for ever; what is there already must not wait for it.
                    if let Err(error) = self.state().report.flush(&self.messages) {
                        return self.end(output_end(error));
                    }
                    results.next()
                }
                next => next,
            };
            let Some((number, outcome)) = next else { return };
            if self.returned(number, outcome).is_break() {
                return;
            }
        }
    }

    /// Prints an item that has come back, and refused inputs that waited for it.
    fn returned(&self, number: u64, outcome: Result<Json, wasmp::Error>) -> ControlFlow<()> {
        if self.has_ended() {
            return ControlFlow::Break(());
        }
        let outcome = match outcome.map_err(Failure::from_library) {
            Ok(result) => Ok(result),
            Err(Ok(failure)) => Err(failure),
            Err(Err(error)) => {
                self.end(End::Broken(error.into()));
                return ControlFlow::Break(());
            }
        };
        let State {
            ledger, report, shown, ..
        } = &mut *self.state();
        if let Some(shown) = shown {
            shown.returned(number, || self.pool.stats());
        }
        let item = ledger.returned(number, self.places);
        self.report(report, &item, outcome)?;
        while let Some((item, failure)) = ledger.next_refused() {
            self.room.notify_one();
            self.report(report, &item, Err(failure))?;
        }
        ControlFlow::Continue(())
    }

    fn report(&self, report: &mut Report<File>, item: &Item, outcome: Result<Json, Failure>) -> ControlFlow<()> {
        if self.has_ended() {
            return ControlFlow::Break(());
        }
        let failed = outcome.is_err();
        let end = match report.item(&self.messages, item, outcome) {
            Err(error) => output_end(error),
            Ok(()) if failed && !self.keep_going => End::FirstFailure,
            Ok(()) => return ControlFlow::Continue(()),
        };
        self.end(end);
        ControlFlow::Break(())
    }

    /// Ends the run, unless it has ended. Items that are running are killed.
    fn end(&self, end: End) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
            self.pool.terminate();
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Sees the workers off, reports what is to be said at the end, and finds the exit code.
    fn conclude(&self, insight: &args::Insight) -> Result<ExitCode, Error> {
        self.pool.close();
        let joined = sandbox::joined(self.pool.join(), insight);
        let mut state = self.state();
        let flushed = state.report.flush(&self.messages);
        self.messages.progress.finish();
        if let Some(shown) = &state.shown {
            self.messages.table(&stats::screen(&self.pool.stats(), shown));
        }
        let (done, failed) = (state.report.done(), state.report.failed());
        let code = if failed == 0 { ExitCode::SUCCESS } else { FAILED.into() };
        match self.end.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(End::Broken(error)) => return Err(error),
            Some(End::OutputClosed) => return Ok(code),
            Some(End::Interrupted) => {
                self.messages.note(&format!("interrupted: {}", tally(done, failed)));
                return Ok(INTERRUPTED.into());
            }
            Some(End::FirstFailure) => {
                self.messages.note(&format!(
                    "stopped at the first failed item ({done} done); --keep-going goes on"
                ));
            }
            None if failed > 0 => self.messages.note(&tally(done, failed)),
            None => {}
        }
        joined?;
        match (flushed, state.unreadable.take()) {
            (Err(error), _) if error.kind() != ErrorKind::BrokenPipe => Err(stdout::failed(error)),
            (_, Some(error)) => Err(error),
            _ => Ok(code),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an error of standard output means for the run.
fn output_end(error: io::Error) -> End {
    match error.kind() {
        ErrorKind::BrokenPipe => End::OutputClosed,
        _ => End::Broken(stdout::failed(error)),
    }
}

/// How many items there were and how many of them failed.
fn tally(done: u64, failed: u64) -> String {
    format!("{} items, {failed} of them failed", done + failed)
}
