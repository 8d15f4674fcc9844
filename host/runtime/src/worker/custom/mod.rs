//! Objects of the module's own types, in the process of a manager: each is an instance, in which the code of its methods runs.
//!
//! The instance is as sealed off as that of any worker, and more: of what guests can [import](imports) it has the functions for
//! items, and WASI; the manager's own objects are out of its reach. All that a method can have of the manager is one new object of
//! a type, for its caller, by what it returns. What its memory takes counts in the manager's budget. A
//! [timer](alarm) of the kernel's ends the process if a call takes too long, since nothing else in its one thread could.

mod alarm;
mod guest;
mod imports;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmp_abi::ErrorKind;
use wasmp_manager::protocol::Status;
use wasmtime::{Engine, Instance as Instantiated, InstancePre, Module, Store, TypedFunc};

use self::alarm::Alarm;
use self::guest::{Allowance, Guest};
use super::link::Link;
use super::session::initialize;
use super::wasi::{WasiSpec, WasiState};
use super::{Template, fault};
use crate::engine::Allocation;
use crate::manager::{Instance, Order, Refusal, Returned, Types};
use crate::spec::TypeSpec;
use crate::wire::Fault;

/// What an instance takes beside its memory and its tables: what the engine keeps of it.
const INSTANCE_BYTES: u64 = 64 << 10;

/// What a spoiled object takes.
const SPOILED_BYTES: u64 = 4 << 10;

/// Characters that a spoiled object keeps of how that happened.
const MAX_EPITAPH: usize = 500;

/// Epochs until a guest is stopped that never is.
const NEVER: u64 = u64::MAX / 2;

/// Makes the objects.
pub(super) struct Maker {
    engine: Engine,
    module: Module,
    types: Vec<Arc<TypeSpec>>,
    wasi: Arc<WasiSpec>,
    /// Whether there can be but one instance at a time.
    limited: bool,
    allowance: Allowance,
    slot: u32,
    link: Arc<Mutex<Link>>,
    alarm: Alarm,
    /// The module with what its instances import, from the first object on.
    linked: Option<InstancePre<Guest>>,
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maker")
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}

impl Maker {
    /// For the types of this module. What they print goes through `link`.
    pub(super) fn new(template: &Template, slot: u32, link: &Arc<Mutex<Link>>, call_timeout: Duration) -> Self {
        let spec = &template.spec;
        Self {
            engine: template.engine.clone(),
            module: template.module.module().clone(),
            types: spec.types.iter().cloned().map(Arc::new).collect(),
            wasi: Arc::clone(&template.wasi),
            limited: spec.options.allocation == Allocation::Pooling,
            allowance: Allowance {
                max_output: spec.max_output,
                fuel: spec.fuel,
            },
            slot,
            link: Arc::clone(link),
            alarm: Alarm::new(call_timeout),
            linked: None,
        }
    }

    fn linked(&mut self) -> Result<InstancePre<Guest>, Fault> {
        if let Some(linked) = &self.linked {
            return Ok(linked.clone());
        }
        let linked =
            imports::link(&self.engine, &self.module).map_err(|error| not_instantiated(&format!("{error:#}")))?;
        Ok(self.linked.insert(linked).clone())
    }
}

fn not_instantiated(why: &str) -> Fault {
    Fault::new(
        ErrorKind::Instantiate,
        format!("the module cannot be instantiated: {why}"),
    )
}

impl Types for Maker {
    fn create(&mut self, of: &[u8], args: &[u8], room: u64) -> Result<Box<dyn Instance>, Refusal> {
        let Some(of) = self.types.iter().find(|known| known.name.as_bytes() == of) else {
            let names = self.types.iter().map(|known| known.name.clone());
            return Err(Refusal::NoSuchType(names.collect()));
        };
        let of = Arc::clone(of);
        if self.limited {
            let why = "in a pool whose instances are made afresh for each task, there is no room for those of types, unless the \
                       module has little initial data and was not compiled ahead of time";
            return Err(Refusal::Failed(not_instantiated(why)));
        }
        let room = room.checked_sub(INSTANCE_BYTES).ok_or(Refusal::Status(Status::Full))?;
        let linked = self.linked().map_err(Refusal::Failed)?;
        let wasi = WasiState::new(&self.wasi)
            .map_err(|error| Refusal::Failed(not_instantiated(&format!("no WASI for it: {error}"))))?;
        let guest = Guest::new(wasi, &self.link, self.slot, self.allowance, room);
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.limits);
        store.set_epoch_deadline(NEVER);
        fill(&mut store);
        let alarm = self.alarm;
        alarm.around(|| {
            let made = linked.instantiate(&mut store);
            if made.is_err() && store.data().limits.was_refused() {
                return Err(Refusal::Status(Status::Full));
            }
            let made = made.and_then(|instance| initialize(&mut store, instance).map(|()| instance));
            let instance = made.map_err(|error| {
                let fault = fault::explain(&error, store.data_mut().clues());
                Refusal::Failed(match fault.kind() {
                    ErrorKind::Trap => not_instantiated(&format!("{error:#}")),
                    _ => fault,
                })
            })?;
            let methods = vec![None; of.methods.len()];
            let mut living = Living {
                store,
                instance,
                methods,
            };
            let constructor = living.export(&of.constructor);
            let made = constructor.and_then(|constructor| living.run(&constructor, args));
            match made {
                Ok(_) => Ok(Box::new(Custom {
                    of,
                    alarm,
                    state: State::Living(Box::new(living)),
                }) as Box<dyn Instance>),
                // It never was.
                Err(Failure::Refused(refusal)) => Err(refusal),
                Err(Failure::Spoiled(fault)) => Err(Refusal::Failed(fault)),
            }
        })
    }
}

/// An object.
#[derive(Debug)]
struct Custom {
    of: Arc<TypeSpec>,
    alarm: Alarm,
    state: State,
}

enum State {
    Living(Box<Living>),
    /// By what.
    Spoiled(Fault),
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Living(_) => f.write_str("Living"),
            Self::Spoiled(fault) => f.debug_tuple("Spoiled").field(fault).finish(),
        }
    }
}

impl Instance for Custom {
    fn call(&mut self, method: &[u8], args: &[u8], room: u64) -> Result<Returned, Refusal> {
        let Some(at) = self.of.methods.iter().position(|known| known.name.as_bytes() == method) else {
            let names = self.of.methods.iter().map(|known| known.name.clone());
            return Err(Refusal::NoSuchMethod(names.collect()));
        };
        let living = match &mut self.state {
            State::Living(living) => living,
            State::Spoiled(fault) => return Err(Refusal::Spoiled(fault.clone())),
        };
        living.store.data_mut().limits.allow(room);
        let called = self.alarm.around(|| {
            let function = living.method(at, &self.of.methods[at].export)?;
            living.run(&function, args)
        });
        let returned = |result| match &self.of.methods[at].makes {
            Some(of) => Returned::New(Order {
                of: of.clone(),
                args: result,
            }),
            None => Returned::Value(result),
        };
        called.map(returned).map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Spoiled(fault) => {
                self.state = State::Spoiled(epitaph(&fault));
                Refusal::Failed(fault)
            }
        })
    }

    fn bytes(&self) -> u64 {
        match &self.state {
            State::Living(living) => INSTANCE_BYTES + living.store.data().limits.used() as u64,
            State::Spoiled(_) => SPOILED_BYTES,
        }
    }
}

/// What is kept of how an object was spoiled.
fn epitaph(fault: &Fault) -> Fault {
    Fault {
        exit_code: fault.exit_code,
        ..Fault::new(
            fault.kind(),
            fault.message.chars().take(MAX_EPITAPH).collect::<String>(),
        )
    }
}

/// Gives what runs now all that it may compute.
fn fill(store: &mut Store<Guest>) {
    if let Some(fuel) = store.data().allowance.fuel {
        // It fails only where guests do not count.
        let _ = store.set_fuel(fuel);
    }
}

/// Why there is no result.
enum Failure {
    /// The object is as it should be.
    Refused(Refusal),
    /// Nobody knows what it is like.
    Spoiled(Fault),
}

/// An instance.
struct Living {
    store: Store<Guest>,
    instance: Instantiated,
    /// The methods that were called, looked up once.
    methods: Vec<Option<TypedFunc<(), ()>>>,
}

impl Living {
    fn method(&mut self, at: usize, export: &str) -> Result<TypedFunc<(), ()>, Failure> {
        if let Some(Some(function)) = self.methods.get(at) {
            return Ok(function.clone());
        }
        let function = self.export(export)?;
        self.methods[at] = Some(function.clone());
        Ok(function)
    }

    fn export(&mut self, name: &str) -> Result<TypedFunc<(), ()>, Failure> {
        // It was looked at when the module was loaded.
        let function = self.instance.get_typed_func::<(), ()>(&mut self.store, name);
        function.map_err(|error| Failure::Spoiled(not_instantiated(&error.to_string())))
    }

    /// Has the instance serve one item.
    fn run(&mut self, function: &TypedFunc<(), ()>, args: &[u8]) -> Result<Vec<u8>, Failure> {
        self.store.data_mut().begin(args.to_vec());
        fill(&mut self.store);
        let called = function.call(&mut self.store, ());
        let guest = self.store.data_mut();
        match (called, guest.end()) {
            (Err(error), _) => Err(Failure::Spoiled(fault::explain(&error, guest.clues()))),
            (Ok(()), Some(outcome)) => outcome.map_err(Failure::Refused),
            (Ok(()), None) => {
                let fault = Fault::new(ErrorKind::NoResult, "the method returned without a result");
                Err(Failure::Spoiled(fault))
            }
        }
    }
}
