//! The limits and grants that were typed, as settings of a pool.

use std::fs::File;
use std::sync::Arc;

use wasmp::{DirGrant, Event, Lock, Module, Platform, Pool, PoolBuilder, Queue, Semaphore, SharedMemory};

use crate::args::{Grants, Insight, Limits, Objects};
use crate::error::Error;
use crate::grants::Dir;
use crate::objects::Name;
use crate::policies::{self, Initargs, Level};
use crate::terminal::Messages;

/// A pool for this module, whose guests may use what was typed and print to standard error.
pub(crate) fn pool(module: &Module, limits: &Limits, grants: &Grants, messages: &Arc<Messages>) -> PoolBuilder {
    let Limits {
        timeout,
        soft_timeout,
        retries,
        retry_on,
        backoff,
        initializer,
        initargs,
        max_memory,
        max_message,
        max_output,
        deterministic,
    } = limits;
    match grants.sandbox {
        Level::Off => messages.note("the sandbox is off: only WebAssembly stands between the guest and your files"),
        Level::BestEffort if !grants.dirs.is_empty() && Platform::probe().landlock.is_none() => messages.note(
            "this system has no Landlock: a guest that breaks out of WebAssembly is not kept within its directories",
        ),
        Level::Strict | Level::BestEffort => {}
    }
    let messages = Arc::clone(messages);
    let mut builder = Pool::builder(module)
        .sandbox(grants.sandbox.into())
        .deterministic(*deterministic)
        .retry(policies::retry(*retries, retry_on, *backoff))
        .on_output(move |output| messages.guest(output.line));
    if let Some(timeout) = timeout {
        builder = builder.timeout(*timeout);
    }
    if let Some(timeout) = soft_timeout {
        builder = builder.soft_timeout(*timeout);
    }
    if let Some(task) = initializer {
        let args = initargs.as_ref().map_or(&[][..], |Initargs(args)| args);
        builder = builder.initializer(task, args);
    }
    if let Some(bytes) = max_memory {
        builder = builder.max_memory(*bytes);
    }
    if let Some(bytes) = max_message {
        builder = builder.max_message(*bytes);
    }
    if let Some(bytes) = max_output {
        builder = builder.max_output(*bytes);
    }
    for dir in &grants.dirs {
        builder = builder.dir(grant(dir));
    }
    for variable in &grants.variables {
        builder = builder.env(&variable.name, &variable.value);
    }
    builder
}

/// The pool, which tells what is to be told about the run.
pub(crate) fn observe(builder: PoolBuilder, insight: &Insight) -> Result<PoolBuilder, Error> {
    let builder = builder.insight(insight.stats);
    match &insight.trace {
        None => Ok(builder),
        Some(path) => {
            let file = File::create(path).map_err(|error| Error::file("write", path, error))?;
            Ok(builder.trace(file))
        }
    }
}

/// What became of the workers when they were seen off: the trace may be unfinished.
pub(crate) fn joined(joined: Result<(), wasmp::Error>, insight: &Insight) -> Result<(), Error> {
    match (joined, &insight.trace) {
        (Err(wasmp::Error::Trace(error)), Some(path)) => Err(Error::file("write", path, error)),
        (joined, _) => Ok(joined?),
    }
}

/// The pool, with the objects that were asked for.
pub(crate) fn share(mut builder: PoolBuilder, objects: &Objects) -> Result<PoolBuilder, wasmp::Error> {
    for queue in &objects.queues {
        builder = builder.share(&queue.name, &Queue::<()>::new(queue.maxsize)?);
    }
    for Name(name) in &objects.locks {
        builder = builder.share(name, &Lock::new()?);
    }
    for Name(name) in &objects.events {
        builder = builder.share(name, &Event::new()?);
    }
    for semaphore in &objects.semaphores {
        builder = builder.share(&semaphore.name, &Semaphore::new(semaphore.value)?);
    }
    for memory in &objects.memories {
        builder = builder.share(&memory.name, &SharedMemory::create(memory.size)?);
    }
    Ok(builder)
}

/// The directory as the library grants it.
pub(crate) fn grant(dir: &Dir) -> DirGrant {
    match dir.writable {
        true => DirGrant::read_write(&dir.host, &dir.guest),
        false => DirGrant::read_only(&dir.host, &dir.guest),
    }
}
