//! Objects of the module's own types, as the store sees them: it keeps the books, somebody else runs their code.

use std::fmt;

use wasmp_manager::protocol::{ANSWER_HEAD, Fields, Id, Op, Status, Writer};

use super::store::{Budget, Content, OBJECT_BYTES, Object, Store, malformed, new_id};
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
    fn call(&mut self, method: &[u8], args: &[u8], room: u64) -> Result<Returned, Refusal>;

    /// How many bytes it takes.
    fn bytes(&self) -> u64;
}

/// What a method has returned.
#[derive(Debug)]
pub(crate) enum Returned {
    Value(Vec<u8>),
    /// The caller gets an object that is yet to be made.
    New(Order),
}

/// An object that is to be made.
#[derive(Debug)]
pub(crate) struct Order {
    /// The type.
    pub(crate) of: String,
    /// The arguments of its constructor.
    pub(crate) args: Vec<u8>,
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

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl Refusal {
    /// Makes this the answer, of which nothing is written but the head.
    fn write(self, answer: &mut Writer<'_>) -> Result<(), Status> {
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
        Ok(())
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

    /// Serves a request, but for an object that is to be made for the answer.
    pub(super) fn serve(
        &mut self,
        op: Op,
        mut fields: Fields<'_>,
        answer: &mut Writer<'_>,
        budget: &mut Budget,
    ) -> Result<Option<Order>, Status> {
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
            Ok(Returned::Value(result)) => answer.item(&result),
            Ok(Returned::New(order)) => return Ok(Some(order)),
            Err(refusal) => refusal.write(answer)?,
        }
        Ok(None)
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
    ) -> Result<(), Status> {
        let name = match op {
            Op::NamedObject => Some(malformed(fields.item())?),
            _ => None,
        };
        let (of, args) = malformed(fields.item().zip(fields.item()))?;
        if let Some(id) = name.and_then(|name| self.names.get(name)) {
            return match &self.objects[id].content {
                Content::Custom(custom) if *custom.of == *of => {
                    answer.id(*id);
                    Ok(())
                }
                _ => Err(Status::WrongType),
            };
        }
        let owner = name.is_none().then_some(client);
        match self.make(owner, name, (of, args)) {
            Ok(id) => {
                answer.id(id);
                Ok(())
            }
            Err(refusal) => refusal.write(answer),
        }
    }

    /// Makes the object that a method has returned, for this client, which has called it.
    pub(super) fn make_returned(&mut self, client: u32, order: &Order, answer: &mut Writer<'_>) -> Result<(), Status> {
        let order = (order.of.as_bytes(), &order.args[..]);
        let mut made = self.make(Some(client), None, order);
        // Its method is not called once more, should there be room.
        if matches!(made, Err(Refusal::Status(Status::Full))) && self.waiters.make_room(&mut self.budget) {
            made = self.make(Some(client), None, order);
        }
        match made {
            Ok(id) => answer.reference(id),
            Err(Refusal::Status(status)) => answer.0[ANSWER_HEAD - 1] = status as u8,
            Err(refusal) => refusal.write(answer)?,
        }
        Ok(())
    }

    fn make(&mut self, owner: Option<u32>, name: Option<&[u8]>, (of, args): (&[u8], &[u8])) -> Result<Id, Refusal> {
        if self.customs >= MAX_OBJECTS {
            return Err(Status::Full.into());
        }
        // Of the type's name there is but a short one: one that the module has.
        let fixed = OBJECT_BYTES + name.map_or(0, |name| name.len() as u64);
        self.budget.has_room(fixed)?;
        let instance = match &mut self.types {
            Some(types) => types.create(of, args, self.budget.room() - fixed)?,
            None => return Err(Refusal::NoSuchType(Vec::new())),
        };
        let custom = Custom {
            of: of.into(),
            bytes: instance.bytes(),
            instance,
        };
        let id = new_id()?;
        self.budget.exchange(0, fixed + custom.bytes)?;
        self.customs += 1;
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
        Ok(id)
    }
}
