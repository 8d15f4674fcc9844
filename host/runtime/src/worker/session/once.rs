//! A worker that is a process of its own: it runs one call, tells how it ended, sees its children off, and ends.

use std::fmt::Write;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use wasmp_abi::ErrorKind;

use super::{Session, call_plain, fault};
use crate::module::ModuleKind;
use crate::wire::{Fault, MAIN, MANAGER, ReplyKind};
use crate::worker::copy::Snapshot;
use crate::worker::custom::Maker;
use crate::worker::state::Host;
use crate::worker::{fuel, interruption, manager};

impl Session<'_> {
    /// Runs the one call that comes. Returns the exit code.
    ///
    /// CPython: `BaseProcess._bootstrap`.
    pub(in crate::worker) fn serve_once(mut self, snapshot: Option<Snapshot>) -> io::Result<i32> {
        // Until the call comes, the parent writes what this is to be a copy of.
        let begun = match snapshot {
            Some(_) => self.instantiate(),
            None => Ok(()),
        };
        let Some(task) = self.link().wait_for_call()? else {
            return Ok(0);
        };
        let Some(item) = self.take_item()? else { return Ok(0) };
        if task == MANAGER {
            return self.manage(&item);
        }
        let ended = begun
            .and_then(|()| self.instantiate())
            .and_then(|()| self.restore(snapshot))
            .and_then(|()| self.call_once(task, item));
        let code = match &ended {
            Ok(()) => 0,
            Err(fault) => match fault.exit_code {
                // The parent sees eight bits of it.
                Some(code) => code & 0xff,
                None => {
                    self.report(fault)?;
                    1
                }
            },
        };
        if let Some(guest) = &mut self.guest {
            let state = guest.store.data_mut();
            state.processes.finish(&state.link)?;
        }
        match ended {
            Ok(()) => self.link().finish(&[])?,
            Err(fault) => self.link().fail(&fault)?,
        }
        self.link().ending(code as u8)?;
        // Whoever waits for the end waits for this, too: the kernel is quicker at it.
        mem::forget(self);
        Ok(code)
    }

    /// Is a manager, which has instances of its own, if any. Returns the exit code.
    fn manage(mut self, call: &[u8]) -> io::Result<i32> {
        let Some(Host { link, mut objects }) = self.host.take() else {
            return Ok(0);
        };
        let link = Arc::new(Mutex::new(link));
        let max_block = self.template.spec.max_message;
        manager::serve(&mut objects, (&link, max_block), call, |timeout| {
            Box::new(Maker::new(self.template, self.slot, &link, timeout))
        })?;
        let mut link = link.lock().unwrap_or_else(PoisonError::into_inner);
        link.finish(&[])?;
        link.ending(0)?;
        mem::forget((self, objects));
        Ok(0)
    }

    /// Makes the instance a copy of another, if it is to be one.
    fn restore(&mut self, snapshot: Option<Snapshot>) -> Result<(), Fault> {
        let (Some(snapshot), Some(guest)) = (snapshot, &mut self.guest) else {
            return Ok(());
        };
        let restored = snapshot.restore(&mut guest.store, &guest.instance);
        restored.map_err(|error| {
            Fault::new(
                ErrorKind::Instantiate,
                format!("it cannot be a copy of its parent: {error}"),
            )
        })
    }

    fn call_once(&mut self, task: u32, item: Vec<u8>) -> Result<(), Fault> {
        match (task, self.template.spec.kind) {
            (MAIN, _) => self.call_main(),
            (_, ModuleKind::Tasks) => self.call_apart(task, item),
            (_, ModuleKind::Command) => self.call_command(&item).map(drop),
            (_, ModuleKind::Plain) => self.call_number(task, &item),
        }
    }

    fn call_main(&mut self) -> Result<(), Fault> {
        let stdin = self.stdin.take();
        let Some(guest) = &mut self.guest else { return Ok(()) };
        if let Some(stdin) = stdin {
            guest.store.data_mut().wasi.set_stdin_pipe(stdin);
        }
        fuel::fill(&mut guest.store);
        interruption::begin(&mut guest.store);
        guest
            .instance
            .get_typed_func::<(), ()>(&mut guest.store, "_start")
            .and_then(|start| start.call(&mut guest.store, ()))
            .or_else(|error| match fault::of_call(&error, guest.store.data_mut()) {
                Fault { exit_code: Some(0), .. } => Ok(()),
                fault => Err(fault),
            })
    }

    fn call_number(&mut self, task: u32, item: &[u8]) -> Result<(), Fault> {
        let name = self.template.spec.exports.get(task as usize);
        let Some(guest) = &mut self.guest else { return Ok(()) };
        let function = name.and_then(|name| guest.instance.get_func(&mut guest.store, name));
        let function = function.ok_or_else(|| Fault::new(ErrorKind::Instantiate, "the module has no such export"))?;
        fuel::fill(&mut guest.store);
        interruption::begin(&mut guest.store);
        call_plain(guest, &function, item).map(drop)
    }

    /// Says on standard error what the process died of, in one piece.
    fn report(&mut self, fault: &Fault) -> io::Result<()> {
        let mut text = format!("Process {}:\n", self.who.identity.name);
        let _ = writeln!(text, "{}: {}", fault.kind().name(), fault.message);
        for cause in &fault.causes {
            let _ = writeln!(text, "  caused by: {cause}");
        }
        if let Some(backtrace) = &fault.backtrace {
            let _ = writeln!(text, "{backtrace}");
        }
        // It does not count as the guest's, who may have printed all that it was allowed to.
        self.link().output(ReplyKind::Stderr, text.as_bytes())
    }
}
