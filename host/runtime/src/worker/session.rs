//! A worker at work: takes items, runs the guest on them, makes a new instance when the old one is spoiled.

mod once;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ciborium::Value;
use wasmp_abi::ErrorKind;
use wasmtime::{Func, Instance, Store, TypedFunc, Val};
use wasmtime_wasi::I32Exit;

use super::cpu::Moves;
use super::interruption;
use super::link::Link;
use super::pools::Pools;
use super::processes::Processes;
use super::state::{Apart, Host, MemoryLimit, State, Who};
use super::wasi::{Strings, WasiState};
use super::{Template, fault, fuel, plain};
use crate::module::ModuleKind;
use crate::spec::Initializer;
use crate::wire::Fault;

/// A store with the instance in it.
struct Guest {
    store: Store<State>,
    instance: Instance,
    /// The tasks that were called, looked up once.
    tasks: Vec<Option<TypedFunc<(), ()>>>,
}

pub(super) struct Session<'t> {
    template: &'t Template,
    slot: u32,
    who: Arc<Who>,
    stdin: Option<File>,
    initializer: Option<Initializer>,
    /// What connects this worker with its host, while no instance has it.
    host: Option<Host>,
    guest: Option<Guest>,
}

impl<'t> Session<'t> {
    pub(super) fn new(
        template: &'t Template,
        host: Host,
        slot: u32,
        who: Arc<Who>,
        stdin: Option<OwnedFd>,
        initializer: Option<Initializer>,
    ) -> io::Result<Self> {
        let mut session = Self {
            template,
            slot,
            who,
            stdin: stdin.map(File::from),
            initializer,
            host: Some(host),
            guest: None,
        };
        if session.initializer.is_some()
            && let Err(fault) = session.prepare()?
        {
            session.link().unable(&fault)?;
            return Err(unprepared());
        }
        session.link().ready()?;
        Ok(session)
    }

    /// Makes an instance, and has it initialized. An instance that cannot be initialized is the end of this worker; one
    /// that cannot be made is the fault of the item that needs it.
    fn prepare(&mut self) -> io::Result<Result<(), Fault>> {
        if self.guest.is_some() {
            return Ok(Ok(()));
        }
        if let Err(fault) = self.instantiate() {
            return Ok(Err(fault));
        }
        match self.initialize() {
            Ok(()) => Ok(Ok(())),
            Err(fault) => {
                self.link().unable(&fault)?;
                Err(unprepared())
            }
        }
    }

    /// Runs the initializer, if there is one.
    fn initialize(&mut self) -> Result<(), Fault> {
        match &self.initializer {
            Some(Initializer { task, args }) => self.call_apart(*task, args.clone()),
            None => Ok(()),
        }
    }

    /// Has the instance run a task whose outcome is not one of an item.
    fn call_apart(&mut self, task: u32, args: Vec<u8>) -> Result<(), Fault> {
        let Some(guest) = &mut self.guest else { return Ok(()) };
        guest.store.data_mut().apart = Some(Apart::new(args));
        fuel::fill(&mut guest.store);
        let called =
            lookup(guest, &self.template.spec.exports, task).and_then(|function| function.call(&mut guest.store, ()));
        let state = guest.store.data_mut();
        let outcome = state.apart.take().and_then(|apart| apart.outcome);
        match (called, outcome) {
            (Err(error), _) => Err(fault::of_call(&error, state)),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(Fault::new(ErrorKind::NoResult, "the task returned without a result")),
        }
    }

    /// Runs items until the host has no more.
    pub(super) fn serve(mut self) -> io::Result<()> {
        while let Some(task) = self.link().wait_for_call()? {
            match self.template.spec.kind {
                ModuleKind::Tasks => self.run_task(task)?,
                ModuleKind::Plain => self.run_plain(task)?,
                ModuleKind::Command => self.run_command()?,
            }
        }
        Ok(())
    }

    fn link(&mut self) -> &mut Link {
        match &mut self.guest {
            Some(guest) => &mut guest.store.data_mut().link,
            None => {
                let host = self.host.as_mut();
                &mut host.expect("the rings are with the guest, if there is one").link
            }
        }
    }

    /// Calls the task's export, which takes items until there are no more.
    fn run_task(&mut self, task: u32) -> io::Result<()> {
        if let Err(fault) = self.prepare()? {
            return self.fail_next(&fault);
        }
        let Some(guest) = &mut self.guest else { return Ok(()) };
        let before = guest.store.data().link.committed();
        interruption::end(&mut guest.store);
        fuel::fill(&mut guest.store);
        let called =
            lookup(guest, &self.template.spec.exports, task).and_then(|function| function.call(&mut guest.store, ()));
        let state = guest.store.data_mut();
        let idle = state.link.committed() == before;
        let fault = match called {
            Err(error) => Some(fault::of_call(&error, state)),
            Ok(()) if idle || state.link.is_running() => Some(Fault::new(
                ErrorKind::NoResult,
                "the task returned without a result for its item",
            )),
            Ok(()) => None,
        };
        // A guest that fails between two items has wronged neither; the next begins with a fresh instance.
        let wronged = idle || state.link.is_running();
        if fault.is_some() || state.items_left == Some(0) {
            self.discard();
        }
        match fault {
            Some(fault) if wronged => self.fail_next(&fault),
            _ => Ok(()),
        }
    }

    /// Calls an exported function of numbers.
    fn run_plain(&mut self, task: u32) -> io::Result<()> {
        if let Err(fault) = self.instantiate() {
            return self.fail_next(&fault);
        }
        let Some(item) = self.take_item()? else { return Ok(()) };
        let Some(guest) = &mut self.guest else { return Ok(()) };
        let name = self.template.spec.exports.get(task as usize);
        let Some(function) = name.and_then(|name| guest.instance.get_func(&mut guest.store, name)) else {
            return self.fail_next(&Fault::new(ErrorKind::Instantiate, "the module has no such export"));
        };
        guest.store.data_mut().begin_item();
        fuel::fill(&mut guest.store);
        interruption::begin(&mut guest.store);
        let outcome = call_plain(guest, &function, &item);
        let spoiled = outcome
            .as_ref()
            .is_err_and(|fault| fault.kind() != ErrorKind::Arguments);
        let state = guest.store.data_mut();
        state.items_left = state.items_left.map(|left| left - 1);
        if spoiled || state.items_left == Some(0) {
            self.discard();
        }
        match outcome {
            Ok(result) => self.link().finish(&result),
            Err(fault) => self.fail_next(&fault),
        }
    }

    /// Runs a program, from start to exit, in an instance of its own.
    fn run_command(&mut self) -> io::Result<()> {
        let Some(item) = self.take_item()? else { return Ok(()) };
        let outcome = self.instantiate().and_then(|()| self.call_command(&item));
        self.discard();
        match outcome {
            Ok(result) => self.link().finish(&result),
            Err(fault) => self.fail_next(&fault),
        }
    }

    fn call_command(&mut self, item: &[u8]) -> Result<Vec<u8>, Fault> {
        let stdin = self.stdin.take();
        let Some(guest) = &mut self.guest else {
            return Err(Fault::default());
        };
        let state = guest.store.data_mut();
        give_input(&mut state.wasi, item)?;
        if let Some(stdin) = stdin {
            state.wasi.set_stdin_pipe(stdin);
        }
        state.captured = self.template.spec.capture.then(Vec::new);
        fuel::fill(&mut guest.store);
        interruption::begin(&mut guest.store);
        let called = guest
            .instance
            .get_typed_func::<(), ()>(&mut guest.store, "_start")
            .and_then(|start| start.call(&mut guest.store, ()));
        let state = guest.store.data_mut();
        match called {
            Err(error) if error.downcast_ref::<I32Exit>().is_none_or(|exit| exit.0 != 0) => {
                Err(fault::of_call(&error, state))
            }
            _ => Ok(printed(state.captured.take())),
        }
    }

    /// Makes an instance, if there is none.
    fn instantiate(&mut self) -> Result<(), Fault> {
        if self.guest.is_some() {
            return Ok(());
        }
        let template = self.template;
        let Some(host) = self.host.take() else { return Ok(()) };
        let wasi = match WasiState::new(&template.wasi) {
            Ok(wasi) => wasi,
            Err(error) => {
                self.host = Some(host);
                return Err(Fault::new(
                    ErrorKind::Instantiate,
                    format!("no WASI for the module: {error}"),
                ));
            }
        };
        let Host { link, objects } = host;
        let limits = MemoryLimit::new(template.spec.max_memory, Arc::clone(link.gauges()));
        let state = State {
            link,
            objects,
            moves: Moves::default(),
            all_memory: template.spec.all_memory,
            pools: Pools::default(),
            processes: Processes::default(),
            who: Arc::clone(&self.who),
            log: self.who.identity.log,
            wasi,
            limits,
            printable: template.spec.max_output,
            max_output: template.spec.max_output,
            fuel: template.spec.fuel,
            max_message: template.spec.max_message,
            slot: self.slot,
            memory: None,
            panic: None,
            items_left: template.spec.isolation.tasks(),
            apart: None,
            captured: None,
        };
        let mut store = Store::new(&template.engine, state);
        store.limiter(|state| &mut state.limits);
        interruption::end(&mut store);
        fuel::fill(&mut store);
        let made = template.module.instantiate(&mut store).and_then(|instance| {
            if template.spec.kind != ModuleKind::Command {
                initialize(&mut store, instance)?;
            }
            Ok(instance)
        });
        match made {
            Ok(instance) => {
                let tasks = vec![None; template.spec.exports.len()];
                self.guest = Some(Guest { store, instance, tasks });
                Ok(())
            }
            Err(error) => {
                let fault = fault::of_instantiation(&error, store.data_mut());
                self.host = Some(store.into_data().into_host());
                Err(fault)
            }
        }
    }

    /// Drops the instance.
    fn discard(&mut self) {
        if let Some(guest) = self.guest.take() {
            self.host = Some(guest.store.into_data().into_host());
        }
    }

    /// Takes the next item out of the ring.
    fn take_item(&mut self) -> io::Result<Option<Vec<u8>>> {
        let link = self.link();
        let Some(len) = link.next_item(true)? else {
            return Ok(None);
        };
        let mut item = vec![0; len];
        link.read_item(&mut item)?;
        Ok(Some(item))
    }

    /// Commits the running item as failed, or the next one if none is running.
    fn fail_next(&mut self, fault: &Fault) -> io::Result<()> {
        let link = self.link();
        if !link.is_running() && link.next_item(true)?.is_none() {
            return Ok(());
        }
        link.fail(fault)
    }
}

fn unprepared() -> io::Error {
    io::Error::other("no instance for the tasks")
}

/// The task's function.
fn lookup(guest: &mut Guest, exports: &[String], task: u32) -> wasmtime::Result<TypedFunc<(), ()>> {
    let task = task as usize;
    if let Some(Some(function)) = guest.tasks.get(task) {
        return Ok(function.clone());
    }
    let name = exports
        .get(task)
        .ok_or_else(|| wasmtime::format_err!("the module has no task number {task}"))?;
    let function = guest.instance.get_typed_func::<(), ()>(&mut guest.store, name)?;
    guest.tasks[task] = Some(function.clone());
    Ok(function)
}

/// Runs what a module that is not a program wants to be run before its exports are used.
pub(super) fn initialize<T: 'static>(store: &mut Store<T>, instance: Instance) -> wasmtime::Result<()> {
    for name in ["_initialize", "__wasm_call_ctors"] {
        if let Some(function) = instance.get_func(&mut *store, name) {
            return function.typed::<(), ()>(&*store)?.call(store, ());
        }
    }
    Ok(())
}

fn call_plain(guest: &mut Guest, function: &Func, item: &[u8]) -> Result<Vec<u8>, Fault> {
    let ty = function.ty(&guest.store);
    let arguments = plain::arguments(item, &ty)?;
    let mut results = vec![Val::I32(0); ty.results().len()];
    match function.call(&mut guest.store, &arguments, &mut results) {
        Ok(()) => Ok(plain::results(&results)),
        Err(error) => Err(fault::of_call(&error, guest.store.data_mut())),
    }
}

/// Gives a program its input: a text is its stdin, a sequence its arguments.
fn give_input(wasi: &mut WasiState, item: &[u8]) -> Result<(), Fault> {
    let wrong = |why: &str| {
        Fault::new(
            ErrorKind::Arguments,
            format!("a program takes one text or a sequence of texts: {why}"),
        )
    };
    let mut given = match ciborium::from_reader(item) {
        Ok(Value::Array(given)) => given,
        Ok(Value::Null) => Vec::new(),
        _ => return Err(wrong("the arguments are not a sequence")),
    };
    if given.len() > 1 {
        return Err(wrong("there is more than one argument"));
    }
    match given.pop() {
        None | Some(Value::Null) => {}
        Some(Value::Text(text)) => wasi.set_stdin(text.into_bytes()),
        Some(Value::Bytes(bytes)) => wasi.set_stdin(bytes),
        Some(Value::Array(words)) => {
            let words: Vec<String> = words
                .into_iter()
                .map(|word| {
                    word.into_text()
                        .map_err(|_| wrong("the sequence holds something else than texts"))
                })
                .collect::<Result<_, _>>()?;
            wasi.set_args(Strings::args(words).map_err(|error| wrong(&error.to_string()))?);
        }
        Some(_) => return Err(wrong("the argument is neither")),
    }
    Ok(())
}

/// What a program printed, as CBOR: a text, or bytes if it is none.
fn printed(captured: Option<Vec<u8>>) -> Vec<u8> {
    let value = match captured.map(String::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => Value::Text(text),
        Some(Err(error)) => Value::Bytes(error.into_bytes()),
    };
    let mut bytes = Vec::new();
    ciborium::into_writer(&value, &mut bytes).expect("plain data into a Vec cannot fail");
    bytes
}
