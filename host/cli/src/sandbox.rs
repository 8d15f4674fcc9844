//! The limits and grants that were typed, as settings of a pool.

use std::sync::Arc;

use wasmp::{DirGrant, Module, Pool, PoolBuilder};

use crate::args::{Grants, Limits};
use crate::grants::Dir;
use crate::terminal::Messages;

/// A pool for this module, whose guests may use what was typed and print to standard error.
pub(crate) fn pool(module: &Module, limits: &Limits, grants: &Grants, messages: &Arc<Messages>) -> PoolBuilder {
    let Limits {
        timeout,
        retries,
        max_memory,
    } = limits;
    let messages = Arc::clone(messages);
    let mut builder = Pool::builder(module)
        .retries(*retries)
        .on_output(move |output| messages.guest(output.line));
    if let Some(timeout) = timeout {
        builder = builder.timeout(*timeout);
    }
    if let Some(bytes) = max_memory {
        builder = builder.max_memory(*bytes);
    }
    for dir in &grants.dirs {
        builder = builder.dir(grant(dir));
    }
    for variable in &grants.variables {
        builder = builder.env(&variable.name, &variable.value);
    }
    builder
}

/// The directory as the library grants it.
pub(crate) fn grant(dir: &Dir) -> DirGrant {
    match dir.writable {
        true => DirGrant::read_write(&dir.host, &dir.guest),
        false => DirGrant::read_only(&dir.host, &dir.guest),
    }
}
