//! What a pool is to be, as a client asks for it.

use wasmp_manager::protocol::{Fields, Op, Policy};

use super::MAX_NAME;
use crate::process::message::encode;
use crate::wire::pools::{LEAST_ORDER, Prepare};

/// What stands around the name and the arguments of an initializer in an order, at most.
const AROUND: usize = 64;

/// A crew that is wished for.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) processes: u32,
    /// Tasks after which a process is replaced; 0: never.
    pub(crate) max_tasks: u32,
    /// How long an initializer may take, in nanoseconds; 0: any time.
    pub(crate) patience: u64,
    /// The body of the first order.
    pub(crate) start: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Wanted<'r> {
    /// 0: as many as there are CPUs.
    processes: u32,
    pub(super) max_tasks: u32,
    pub(super) policy: Policy,
    /// The task that prepares each instance, and its arguments.
    initializer: Option<(&'r str, &'r [u8])>,
}

impl Wanted<'_> {
    pub(super) fn processes(&self, cpus: u32) -> u32 {
        match self.processes {
            0 => cpus,
            processes => processes,
        }
    }

    /// Whether the crew reads the first order, if it reads so many bytes as one: it holds a longer one against the manager.
    pub(super) fn fits(&self, max_block: usize) -> bool {
        let named = |(task, _): (&str, &[u8])| task.len() <= MAX_NAME;
        self.initializer.is_none_or(named) && self.ordered() <= max_block.max(LEAST_ORDER)
    }

    /// What the first order counts in the budget, as long as it is in this process.
    pub(super) fn ordered(&self) -> usize {
        self.initializer
            .map_or(0, |(task, args)| task.len() + args.len() + AROUND)
    }

    /// The body of the first order.
    pub(super) fn start(&self) -> Vec<u8> {
        let prepare = self.initializer.map(|(task, args)| Prepare {
            task: task.into(),
            args: args.into(),
        });
        encode(&prepare)
    }
}

/// The name that a pool is to have, if any, and what else a request for it says.
pub(super) fn wanted<'r>(op: Op, fields: &mut Fields<'r>) -> Option<(Option<&'r [u8]>, Wanted<'r>)> {
    let name = match op {
        Op::NamedPool => Some(fields.item()?),
        _ => None,
    };
    let (processes, max_tasks) = fields.u32().zip(fields.u32())?;
    let policy = Policy::read(fields)?;
    let initializer = match fields.option()? {
        Some(task) => Some((str::from_utf8(task).ok()?, fields.item()?)),
        None => None,
    };
    let wanted = Wanted {
        processes,
        max_tasks,
        policy,
        initializer,
    };
    Some((name, wanted))
}

/// The same, of a whole request.
pub(super) fn requested(request: &[u8]) -> Option<(Option<&[u8]>, Wanted<'_>)> {
    let mut fields = Fields(request);
    fields.u32()?;
    let (op, _) = fields.u8().zip(fields.id())?;
    wanted(Op::from_code(op)?, &mut fields)
}
