//! How others wait for the end of a process: a pipe for each of them, which closes then.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::objects::Token;
use crate::shared::{Connection, sentinel};

/// Whether a process lives, for everyone who waits for its end.
#[derive(Debug, Default)]
pub(crate) struct Life(Mutex<Sentinels>);

/// Who waits has a pipe of its own for that: whoever has one can write into its memory, and make its end come at any time.
#[derive(Debug, Default)]
struct Sentinels {
    ended: bool,
    /// By the numbers of the pools whose workers have asked; 0: the host.
    pipes: HashMap<u32, Sentinel>,
}

/// One end of a pipe to wait on, and the other, which closes when the process ends.
#[derive(Debug)]
struct Sentinel {
    reader: Connection,
    _writer: Option<Connection>,
    /// By which a worker opens it.
    token: Option<Token>,
}

impl Life {
    fn lock(&self) -> MutexGuard<'_, Sentinels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self) {
        let mut sentinels = self.lock();
        sentinels.ended = true;
        for sentinel in sentinels.pipes.values_mut() {
            sentinel._writer = None;
        }
    }

    /// Whoever has asked is no more.
    pub(super) fn forget(&self, asker: u32) {
        self.lock().pipes.remove(&asker);
    }

    fn with<T>(&self, asker: u32, look: impl FnOnce(&mut Sentinel) -> Option<T>) -> Result<Option<T>> {
        let mut sentinels = self.lock();
        let ended = sentinels.ended;
        let sentinel = match sentinels.pipes.entry(asker) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let (reader, writer) = sentinel()?;
                place.insert(Sentinel {
                    reader,
                    _writer: (!ended).then_some(writer),
                    token: None,
                })
            }
        };
        Ok(look(sentinel))
    }

    /// What is at its end when the process is, for the host.
    pub(crate) fn sentinel(&self) -> Result<Connection> {
        let reader = self.with(0, |sentinel| Some(sentinel.reader.clone()))?;
        Ok(reader.expect("it was asked for"))
    }

    /// The same for the worker of a pool, which opens it by this token.
    pub(super) fn sentinel_token(&self, asker: u32) -> Option<Token> {
        let token = self.with(asker, |sentinel| {
            if sentinel.token.is_none() {
                sentinel.token = sentinel.reader.send_off().ok();
            }
            sentinel.token
        });
        token.ok().flatten()
    }
}
