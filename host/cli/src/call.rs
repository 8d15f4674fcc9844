//! `wasmp call`: a task once.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ciborium::Value;

use crate::args;
use crate::error::Error;
use crate::explain::{self, Tasks};
use crate::failure::Failure;
use crate::json::Json;
use crate::progress::Progress;
use crate::stats::{self, Inputs};
use crate::terminal::Messages;
use crate::{FAILED, INTERRUPTED, UNUSABLE, grants, input, module, sandbox, signals, stdout};

pub(crate) fn run(args: &args::Call) -> Result<ExitCode, Error> {
    let messages = Arc::new(Messages::new(args.quiet, Progress::none()));
    let mut arguments = Vec::with_capacity(args.arguments.len());
    for (number, text) in (1..).zip(&args.arguments) {
        match input::typed(text, args.raw_input) {
            Ok(value) => arguments.push(value),
            Err(error) => {
                messages.error(&format!("argument {number}: {error}"));
                return Ok(UNUSABLE.into());
            }
        }
    }
    let module = module::load(&args.module, &messages)?;
    let granted = grants::resolve(&args.grants, &args.limits, &args.objects, &args.module.path, &messages)?;
    if args.grants.explain {
        return explain::print(
            &module,
            &granted,
            args.grants.file.as_deref(),
            Tasks::Pool(NonZero::new(1)),
        );
    }
    let builder = sandbox::pool(&module, granted, &args.limits, &messages).processes(1);
    let pool = Arc::new(sandbox::observe(builder, &args.insight)?.build()?);

    let interrupted = Arc::new(AtomicBool::new(false));
    let (terminated, asked) = (Arc::clone(&pool), Arc::clone(&interrupted));
    signals::on_interrupt(move || {
        asked.store(true, Ordering::Release);
        terminated.terminate();
    })?;
    let outcome = pool.apply::<Vec<Value>, Json>(&args.task, arguments);
    pool.close();
    let joined = sandbox::joined(pool.join(), &args.insight);
    if args.insight.stats {
        let mut inputs = Inputs::default();
        inputs.note(0, "the call", args.arguments.join(" ").as_bytes());
        messages.table(&stats::screen(&pool.stats(), &inputs));
    }
    joined?;
    if interrupted.load(Ordering::Acquire) {
        messages.note("interrupted");
        return Ok(INTERRUPTED.into());
    }
    match outcome {
        Ok(Json(mut result)) => {
            result.push(b'\n');
            stdout::print(&result)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            messages.error(&Failure::from_library(error)?.in_full());
            Ok(FAILED.into())
        }
    }
}
