//! `wasmp run`: a program, with the processes and pools that it starts.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmp::{Module, ModuleKind, PoolBuilder};

use crate::args::{self, Limits, Objects};
use crate::error::Error;
use crate::explain::{self, Tasks};
use crate::progress::Progress;
use crate::terminal::Messages;
use crate::{FAILED, INTERRUPTED, exec, grants, input, module, sandbox, signals, stdout};

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
    let is_program = uses_wasmp(&module);
    let limits = Limits {
        // Of a program it is the command that keeps it.
        timeout: args.timeout.filter(|_| !is_program),
        max_memory: args.max_memory,
        max_message: args.max_message,
        max_output: args.max_output,
        max_processes: args.max_processes,
        ..Limits::default()
    };
    let mut granted = grants::resolve(&args.grants, &limits, &Objects::default(), &typed.path, &messages)?;
    let name = if is_program { path.as_str() } else { module.name() };
    grants::set_arguments(&mut granted, name, arguments);
    if args.grants.explain {
        return explain::print(&module, &granted, args.grants.file.as_deref(), Tasks::Program);
    }
    let timeout = args.timeout.or(granted.limits.timeout);
    let builder = log(sandbox::pool(&module, granted, &limits, &messages), args);
    if !is_program {
        return exec::command(&module, builder, &messages);
    }
    let context = builder
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
    if let Some(timeout) = timeout
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
