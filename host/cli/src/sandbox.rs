//! What was typed and granted, as settings of a pool.

use std::fs::File;
use std::sync::Arc;

use wasmp::{Grants, Module, Platform, Pool, PoolBuilder, Sandbox};

use crate::args::{Insight, Limits};
use crate::error::Error;
use crate::policies::{self, Initargs};
use crate::terminal::Messages;

/// A pool for this module, whose guests may use what was granted and print to standard error.
pub(crate) fn pool(module: &Module, granted: Grants, limits: &Limits, messages: &Arc<Messages>) -> PoolBuilder {
    match granted.sandbox {
        Sandbox::Off => messages.note("the sandbox is off: only WebAssembly stands between the guest and your files"),
        Sandbox::BestEffort if !granted.dirs.is_empty() && Platform::probe().landlock.is_none() => messages.note(
            "this system has no Landlock: a guest that breaks out of WebAssembly is not kept within its directories",
        ),
        _ => {}
    }
    let messages = Arc::clone(messages);
    let builder = Pool::builder(module)
        .grants(granted)
        .retry(policies::retry(limits.retries, &limits.retry_on, limits.backoff))
        .on_output(move |output| messages.guest(output.line));
    match &limits.initializer {
        None => builder,
        Some(task) => {
            let args = limits.initargs.as_ref().map_or(&[][..], |Initargs(args)| args);
            builder.initializer(task, args)
        }
    }
}

/// The pool, which tells what is to be told about the run.
pub(crate) fn observe(builder: PoolBuilder, insight: &Insight) -> Result<PoolBuilder, Error> {
    let builder = builder.insight(insight.stats);
    match &insight.trace {
        None => Ok(builder),
        Some(path) => {
            let file = File::create(path).map_err(|error| Error::file("write", path, error))?;
            Ok(builder.trace(file))
        }
    }
}

/// What became of the workers when they were seen off: the trace may be unfinished.
pub(crate) fn joined(joined: Result<(), wasmp::Error>, insight: &Insight) -> Result<(), Error> {
    match (joined, &insight.trace) {
        (Err(wasmp::Error::Trace(error)), Some(path)) => Err(Error::file("write", path, error)),
        (joined, _) => Ok(joined?),
    }
}
