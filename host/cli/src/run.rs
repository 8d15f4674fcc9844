//! `wasmp run`: a program, with the processes and pools that it starts.

use std::iter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmp::{Module, ModuleKind, PoolBuilder};

use crate::args::{self, Limits};
use crate::error::Error;
use crate::progress::Progress;
use crate::terminal::Messages;
use crate::{FAILED, INTERRUPTED, exec, input, module, sandbox, signals, stdout};

/// What a shell adds to the number of the signal that has ended a command.
const SIGNALED: i32 = 128;

pub(crate) fn run(args: &args::Run) -> Result<ExitCode, Error> {
    let messages = Arc::new(Messages::new(args.quiet, Progress::none()));
    let Some((path, arguments)) = args.program.split_first() else {
        return Ok(ExitCode::SUCCESS);
    };
    let typed = args::Module {
        path: PathBuf::from(path),
        allow_precompiled: args.allow_precompiled,
    };
    let module = module::load(&typed, &messages)?;
    let limits = Limits {
        max_memory: args.max_memory,
        max_message: args.max_message,
        max_output: args.max_output,
        ..Limits::default()
    };
    if !uses_wasmp(&module) {
        let limits = Limits {
            timeout: args.timeout,
            ..limits
        };
        let command = log(sandbox::pool(&module, &limits, &args.grants, &messages), args);
        return exec::command(&module, arguments, command, &messages);
    }
    let context = log(sandbox::pool(&module, &limits, &args.grants, &messages), args)
        .args(iter::once(path.clone()).chain(arguments.iter().cloned()))
        .max_processes(args.max_processes)
        .on_output(exec::pass_on(stdout::open()?, Arc::clone(&messages)))
        .context()?;
    let context = Arc::new(context);
    let interrupted = Arc::new(AtomicBool::new(false));
    let (all, asked) = (Arc::clone(&context), Arc::clone(&interrupted));
    // The second Ctrl-C ends this process, and everyone with it.
    signals::on_interrupt(move || {
        asked.store(true, Ordering::Release);
        all.interrupt();
    })?;
    let main = context.main(input::stdin()?)?;
    if let Some(timeout) = args.timeout
        && !main.join_timeout(timeout)
    {
        context.kill();
        main.join();
        messages.error(&format!("the program ran longer than {timeout:?} and was killed"));
        return Ok(FAILED.into());
    }
    main.join();
    Ok(match main.exitcode() {
        // What it was in the middle of when Ctrl-C came was its end.
        Some(1) if interrupted.load(Ordering::Acquire) => INTERRUPTED.into(),
        Some(code @ 0..) => ExitCode::from(code as u8),
        Some(signal) => {
            messages.error(&format!("the program was killed by signal {}", -signal));
            ExitCode::from((SIGNALED - signal) as u8)
        }
        None => ExitCode::from(FAILED),
    })
}

/// The pool, which keeps logs if it is to.
fn log(builder: PoolBuilder, args: &args::Run) -> PoolBuilder {
    match &args.log_dir {
        Some(dir) => builder.log_dir(dir),
        None => builder,
    }
}

/// Whether the program needs more than WASI. One that does not and is no command is told so by `exec`.
fn uses_wasmp(module: &Module) -> bool {
    module.kind() == ModuleKind::Tasks || module.imports().iter().any(|import| import.module == "wasmp_v1")
}
