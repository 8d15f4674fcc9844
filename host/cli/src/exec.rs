//! `wasmp exec`: a WASI command once, in the sandbox, as if it had been started here.

use std::process::ExitCode;
use std::sync::Arc;

use wasmp::{ErrorKind, Module, ModuleKind};

use crate::args::{self, Limits};
use crate::error::Error;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal::Messages;
use crate::{FAILED, module, sandbox, stdout};

pub(crate) fn run(args: &args::Exec) -> Result<ExitCode, Error> {
    let messages = Arc::new(Messages::new(false, Progress::none()));
    let module = module::load(&args.module, &messages)?;
    if module.kind() != ModuleKind::Command {
        return Err(Error::NotACommand {
            module: module.name().to_owned(),
            kind: module.kind().name(),
        });
    }
    // Ctrl-C needs no handler: it ends this process, and the command dies with it.
    match execute(&module, args, &messages) {
        // An exit code has eight bits, for a shell.
        Ok(code) => Ok(ExitCode::from(code as u8)),
        Err(error) => {
            messages.error(&Failure::from_library(error)?.in_full());
            Ok(FAILED.into())
        }
    }
}

/// Runs the command on this process's standard streams, and returns its exit code.
fn execute(module: &Module, args: &args::Exec, messages: &Arc<Messages>) -> wasmp::Result<i32> {
    let argv = std::iter::once(module.name().to_owned()).chain(args.arguments.iter().cloned());
    let limits = Limits {
        timeout: args.timeout,
        retries: 0,
        max_memory: args.max_memory,
    };
    let pool = sandbox::pool(module, &limits, &args.grants, messages)
        .args(argv)
        .processes(1)
        .build()?;
    let printed: wasmp::Result<String> = pool.apply("_start", ("",));
    match printed {
        Ok(text) => stdout::print(text.as_bytes()).map(|()| 0).or(Ok(0)),
        Err(wasmp::Error::Task(error)) if error.kind == ErrorKind::Exit => Ok(error.exit_code.unwrap_or(1)),
        Err(error) => Err(error),
    }
}
