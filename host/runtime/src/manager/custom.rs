//! Objects of the module's own types, as the store sees them: it keeps the books, somebody else runs their code.

use std::fmt;

use wasmp_manager::protocol::{ANSWER_HEAD, Fields, Op, Status, Writer};

use super::store::{Budget, Content, OBJECT_BYTES, Object, Served, Store, malformed, new_id};
use crate::wire::Fault;

/// Most objects of types at a time: each takes some GiB of addresses.
const MAX_OBJECTS: usize = 1000;

/// What makes objects of the types of a module.
pub(crate) trait Types: fmt::Debug {
    /// Makes an object of a type with these arguments. It takes no more than `room` bytes.
    fn create(&mut self, of: &[u8], args: &[u8], room: u64) -> Result<Box<dyn Instance>, Refusal>;
}

/// An object, and the code of its methods.
pub(crate) trait Instance: fmt::Debug {
    /// Calls a method. Afterwards it takes at most `room` bytes more than before.
    fn call(&mut self, method: &[u8], args: &[u8], room: u64) -> Result<Vec<u8>, Refusal>;

    /// How many bytes it takes.
    fn bytes(&self) -> u64;
}

/// Why there is no object, or no result.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It was not tried, or is too much.
    Status(Status),
    /// There is no such type. These there are.
    NoSuchType(Vec<String>),
    /// There is no such method. These there are.
    NoSuchMethod(Vec<String>),
    /// The code has failed.
    Failed(Fault),
    /// An earlier call has spoiled the object.
    Spoiled(Fault),
}

impl Refusal {
    /// Makes this the answer, of which nothing is written but the head.
    fn write(self, answer: &mut Writer<'_>) -> Result<Served, Status> {
        let status = match &self {
            Self::Status(status) => return Err(*status),
            Self::NoSuchType(_) => Status::NoSuchType,
            Self::NoSuchMethod(_) => Status::NoSuchMethod,
            Self::Failed(_) => Status::Failed,
            Self::Spoiled(_) => Status::Spoiled,
        };
        answer.0[ANSWER_HEAD - 1] = status as u8;
        match self {
            Self::Status(_) => {}
            Self::NoSuchType(names) | Self::NoSuchMethod(names) => {
                // There are no more than descriptors.
                answer.u32(names.len() as u32);
                names.iter().for_each(|name| answer.item(name.as_bytes()));
            }
            Self::Failed(fault) | Self::Spoiled(fault) => answer.item(&fault.to_bytes()),
        }
        Ok(Served::Answered)
    }
}

/// An object of a type.
#[derive(Debug)]
pub(super) struct Custom {
    of: Box<[u8]>,
    instance: Box<dyn Instance>,
    /// What it counts in the budget.
    bytes: u64,
}

impl Custom {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn serve(
        &mut self,
        op: Op,
        mut fields: Fields<'_>,
        answer: &mut Writer<'_>,
        budget: &mut Budget,
    ) -> Result<Served, Status> {
        if op != Op::CallMethod {
            return Err(Status::WrongType);
        }
        let (method, args) = malformed(fields.item().zip(fields.item()))?;
        let room = budget.room();
        let called = self.instance.call(method, args, room);
        let bytes = self.instance.bytes().min(self.bytes.saturating_add(room));
        budget.exchange(self.bytes, bytes)?;
        self.bytes = bytes;
        match called {
            Ok(result) => {
                answer.item(&result);
                Ok(Served::Answered)
            }
            Err(refusal) => refusal.write(answer),
        }
    }
}

impl Store {
    /// Makes an object, or finds the one of a name.
    pub(super) fn custom(
        &mut self,
        client: u32,
        op: Op,
        mut fields: Fields<'_>,
        answer: &mut Writer<'_>,
    ) -> Result<Served, Status> {
        let name = match op {
            Op::NamedObject => Some(malformed(fields.item())?),
            _ => None,
        };
        let (of, args) = malformed(fields.item().zip(fields.item()))?;
        if let Some(id) = name.and_then(|name| self.names.get(name)) {
            return match &self.objects[id].content {
                Content::Custom(custom) if *custom.of == *of => {
                    answer.id(*id);
                    Ok(Served::Answered)
                }
                _ => Err(Status::WrongType),
            };
        }
        if self.customs >= MAX_OBJECTS {
            return Err(Status::Full);
        }
        // Of the type's name there is but a short one: one that the module has.
        let fixed = OBJECT_BYTES + name.map_or(0, |name| name.len() as u64);
        self.budget.has_room(fixed)?;
        let made = match &mut self.types {
            Some(types) => types.create(of, args, self.budget.room() - fixed),
            None => Err(Refusal::NoSuchType(Vec::new())),
        };
        let instance = match made {
            Ok(instance) => instance,
            Err(refusal) => return refusal.write(answer),
        };
        let custom = Custom {
            of: of.into(),
            bytes: instance.bytes(),
            instance,
        };
        let id = new_id()?;
        self.budget.exchange(0, fixed + custom.bytes)?;
        self.customs += 1;
        let owner = name.is_none().then_some(client);
        self.objects.insert(
            id,
            Object {
                content: Content::Custom(custom),
                owner,
            },
        );
        if let Some(name) = name {
            self.names.insert(name.into(), id);
        }
        answer.id(id);
        Ok(Served::Answered)
    }
}
