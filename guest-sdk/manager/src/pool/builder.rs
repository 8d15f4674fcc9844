//! Pools that are set up.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use wasmp_abi::Retry;

use super::{Error, Pool, PoolError, Prepares};
use crate::ManagerError;
use crate::client::{Client, Proxy};
use crate::protocol::{Op, Policy, Writer};

/// What each instance runs before anything else, or what is wrong with it.
#[derive(Clone, Debug)]
struct Initializer {
    task: Result<String, String>,
    args: Result<Vec<u8>, ManagerError>,
}

/// Sets up a [`Pool`]; from [`Pool::builder`], or `pool_builder` of a manager.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` or `named`"]
pub struct PoolBuilder<C: Client> {
    client: C,
    processes: Option<u32>,
    max_tasks: Option<u32>,
    policy: Policy,
    initializer: Option<Initializer>,
}

/// So many processes, for a manager, which may have no more than it can count in 32 bits anyway.
pub(super) fn count(processes: usize) -> u32 {
    u32::try_from(processes).unwrap_or(u32::MAX)
}

impl<C: Client> PoolBuilder<C> {
    pub(super) fn new(client: &C) -> Self {
        Self {
            client: client.clone(),
            processes: None,
            max_tasks: None,
            policy: Policy::default(),
            initializer: None,
        }
    }

    /// How many workers. Default: as many as the manager's machine has CPUs.
    pub fn processes(mut self, processes: usize) -> Self {
        self.processes = Some(count(processes));
        self
    }

    /// Replaces a worker process after this many tasks (CPython: `maxtasksperchild`, which counts chunks). Default: never.
    pub fn max_tasks_per_child(mut self, tasks: u32) -> Self {
        self.max_tasks = Some(tasks);
        self
    }

    /// A task of the manager's module that each instance runs before any other, with these arguments, a tuple (CPython:
    /// `initializer` and `initargs`). When three in a row fail, the pool gives up: all that is called then, and later, ends with
    /// [`PoolError::Broken`], which says why. So it does at once if there is no such task. One that never returns holds the pool until
    /// somebody terminates it, unless there is a [`timeout`](Self::timeout).
    ///
    /// What the manager itself holds can be in the arguments, wherever they come from, and handles of this host where a manager and
    /// its client are on the same one. What has travelled so from a host lives as long as the manager. From a guest, handles of this
    /// host do not: somebody has to hold them as long as workers may start.
    #[expect(clippy::needless_pass_by_value, reason = "a task is named like a value")]
    pub fn initializer<F, A: Serialize, M>(mut self, task: F, args: A) -> Self
    where
        C: Prepares<F, A, M>,
    {
        let mut bytes = Vec::new();
        let encoded = self.client.compose(|| C::encode(&args, &mut bytes));
        self.initializer = Some(Initializer {
            task: C::initializer_name(&task).map(Into::into),
            args: encoded.map(|()| bytes),
        });
        self
    }

    /// Kills an item that runs longer than this, and an initializer, whoever has called it. Calls may [say
    /// otherwise](super::Call::timeout). Default: no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.policy.timeout = Some(timeout);
        self
    }

    /// When an item that failed is tried again. Calls may [say otherwise](super::Call::retry). Default: never.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.policy.retry = Some(retry);
        self
    }

    /// Makes it.
    ///
    /// # Errors
    ///
    /// [`PoolError::Invalid`] for a pool without workers, workers without tasks, or an initializer that is no task;
    /// [`PoolError::Manager`] with [`ManagerError::ProcessLimit`] if there are too many processes, [`ManagerError::Encode`] if the
    /// initializer's arguments cannot be serialized, [`ManagerError::TooLarge`] if they are longer than a message of the manager's
    /// tasks may be; and the others.
    pub fn build(self) -> Result<Pool<C>, Error<C>> {
        self.check()?;
        let proxy = Proxy::create(&self.client, Op::NewPool, |writer| self.write(writer))?;
        Ok(Pool { proxy, of: PhantomData })
    }

    /// The pool of this name: this one if there was none. It stays as long as the manager, also when it has given up.
    ///
    /// # Errors
    ///
    /// As those of [`build`](Self::build), and [`ManagerError::WrongType`].
    pub fn named(self, name: &str) -> Result<Pool<C>, Error<C>> {
        self.check()?;
        let proxy = Proxy::named_with(&self.client, Op::NamedPool, name, |writer| self.write(writer))?;
        Ok(Pool { proxy, of: PhantomData })
    }

    fn check(&self) -> Result<(), Error<C>> {
        for (setting, what) in [
            (self.processes, "a pool of 0 processes"),
            (self.max_tasks, "a worker that runs 0 tasks"),
        ] {
            if setting == Some(0) {
                return Err(PoolError::Invalid(format!(
                    "{what} makes no sense: it must be 1 or more"
                )));
            }
        }
        match &self.initializer {
            Some(Initializer { task: Err(why), .. }) => Err(PoolError::Invalid(why.clone())),
            Some(Initializer { args: Err(error), .. }) => Err(error.clone().into()),
            _ => Ok(()),
        }
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), ManagerError> {
        writer.u32(self.processes.unwrap_or(0));
        writer.u32(self.max_tasks.unwrap_or(0));
        self.policy.write(writer);
        match &self.initializer {
            Some(Initializer {
                task: Ok(task),
                args: Ok(args),
            }) => {
                writer.item(task.as_bytes());
                writer.item(args);
            }
            _ => writer.option(None),
        }
        Ok(())
    }
}
