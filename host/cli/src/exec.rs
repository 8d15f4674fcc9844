//! `wasmp exec`: a WASI command once, in the sandbox, as if it had been started here.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::{self, ExitCode};
use std::sync::Arc;

use wasmp::{GuestOutput, Module, ModuleKind, PoolBuilder, Stream};

use crate::args::{self, Limits, Objects};
use crate::error::Error;
use crate::explain::{self, Tasks};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal::{Escaper, Messages};
use crate::{FAILED, INTERRUPTED, UNUSABLE, grants, input, module, sandbox, signals, stdout};

pub(crate) fn run(args: &args::Exec) -> Result<ExitCode, Error> {
    let messages = Arc::new(Messages::new(false, Progress::none()));
    let module = module::load(&args.module, &messages)?;
    let limits = Limits {
        timeout: args.timeout,
        max_memory: args.max_memory,
        max_output: args.max_output,
        ..Limits::default()
    };
    let mut granted = grants::resolve(&args.grants, &limits, &Objects::default(), &args.module.path, &messages)?;
    grants::set_arguments(&mut granted, module.name(), &args.arguments);
    if args.grants.explain {
        return explain::print(&module, &granted, args.grants.file.as_deref(), Tasks::Program);
    }
    command(&module, sandbox::pool(&module, granted, &limits, &messages), &messages)
}

/// Runs a module that is a WASI command.
pub(crate) fn command(module: &Module, builder: PoolBuilder, messages: &Arc<Messages>) -> Result<ExitCode, Error> {
    if module.kind() != ModuleKind::Command {
        return Err(Error::NotACommand {
            module: module.name().to_owned(),
            kind: module.kind().name(),
        });
    }
    let command = builder.on_output(pass_on(stdout::open()?, Arc::clone(messages)));
    // The command dies with this process, so there is nothing to wind down.
    signals::on_interrupt(|| process::exit(INTERRUPTED.into()))?;
    match command.exec(input::stdin()?) {
        // A shell sees eight bits of an exit code.
        Ok(code) => Ok(ExitCode::from(code as u8)),
        Err(error) => {
            messages.error(&Failure::from_library(error)?.in_full());
            Ok(FAILED.into())
        }
    }
}

/// Passes on what the command prints, as it comes: byte for byte, except on a terminal.
pub(crate) fn pass_on(mut stdout: File, messages: Arc<Messages>) -> impl FnMut(GuestOutput<'_>) + Send + 'static {
    let mut on_terminal = io::stdout().is_terminal().then(Escaper::default);
    move |GuestOutput { stream, line, .. }| {
        if stream == Stream::Stderr {
            return messages.guest(line);
        }
        let written = match &mut on_terminal {
            Some(escaper) => stdout.write_all(escaper.push(line).as_bytes()),
            None => stdout.write_all(line),
        };
        if let Err(error) = written {
            // The command cannot be told, and may print for ever. It ends with this process.
            if error.kind() == ErrorKind::BrokenPipe {
                process::exit(0);
            }
            messages.error(&stdout::failed(error).to_string());
            process::exit(UNUSABLE.into());
        }
    }
}
