//! Where workers come from: one zygote for each module and set of grants, started again when it is lost.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Supervisor;
use crate::error::{Error, Result};
use crate::process::control::Channel;
use crate::process::launcher::Keeper;
use crate::process::message::{MAX_MESSAGE, ToZygote, encode};

/// How long a zygote may take to load a module that is compiled already.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How many idle nurseries are kept for the next pool of the same kind.
const KEPT: usize = 4;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Loading,
    Ready,
    /// It has said why, and is about to end.
    Unusable(String),
    /// It has ended, and everyone who waited for it knows. With what it said last.
    Gone(Option<String>),
}

/// A zygote as the host sees it.
#[derive(Debug)]
pub(super) struct Zygote {
    control: Channel,
    state: Mutex<State>,
    changed: Condvar,
    /// Workers that were ordered and have not been heard of.
    ordered: Mutex<HashSet<u64>>,
}

impl Zygote {
    pub(super) fn control(&self) -> &Channel {
        &self.control
    }

    fn set(&self, state: State) {
        *lock(&self.state) = state;
        self.changed.notify_all();
    }

    pub(super) fn set_ready(&self) {
        self.set(State::Ready);
    }

    pub(super) fn set_unusable(&self, why: String) {
        self.set(State::Unusable(why));
    }

    /// Its socket is closed. Returns why, as far as it said so.
    pub(super) fn set_gone(&self) -> String {
        let mut state = lock(&self.state);
        let said = match &*state {
            State::Unusable(why) => Some(why.clone()),
            _ => None,
        };
        *state = State::Gone(said.clone());
        self.changed.notify_all();
        said.unwrap_or_else(|| "the zygote process ended".into())
    }

    pub(super) fn answered(&self, birth: u64) {
        lock(&self.ordered).remove(&birth);
    }

    pub(super) fn unanswered(&self) -> HashSet<u64> {
        std::mem::take(&mut lock(&self.ordered))
    }

    fn is_gone(&self) -> bool {
        matches!(*lock(&self.state), State::Gone(_))
    }
}

/// What a zygote is told and given, so that it can be started any number of times.
#[derive(Debug)]
pub(crate) struct Nursery {
    supervisor: &'static Supervisor,
    keeper: Arc<Keeper>,
    /// Identifies module, settings and grants.
    key: Vec<u8>,
    spec_len: u64,
    /// The spec, the compiled module, and the granted directories.
    fds: Vec<Arc<OwnedFd>>,
    zygote: Mutex<Option<Arc<Zygote>>>,
}

/// The nurseries that pools of this process have used last, newest at the end.
static NURSERIES: Mutex<Vec<Arc<Nursery>>> = Mutex::new(Vec::new());

impl Nursery {
    /// The nursery for these settings: one that is warm already, or a new one.
    pub(crate) fn open(
        supervisor: &'static Supervisor,
        keeper: &Arc<Keeper>,
        key: Vec<u8>,
        spec_len: u64,
        fds: Vec<Arc<OwnedFd>>,
    ) -> Result<Arc<Self>> {
        let mut nurseries = lock(&NURSERIES);
        let kept = nurseries
            .iter()
            .position(|nursery| nursery.is_of(keeper) && nursery.key == key);
        let nursery = match kept {
            Some(at) => nurseries.remove(at),
            None => Arc::new(Self {
                supervisor,
                keeper: Arc::clone(keeper),
                key,
                spec_len,
                fds,
                zygote: Mutex::new(None),
            }),
        };
        nurseries.push(Arc::clone(&nursery));
        if nurseries.len() > KEPT {
            nurseries.remove(0);
        }
        drop(nurseries);
        nursery.wait_until_ready()?;
        Ok(nursery)
    }

    /// One for the same module, settings and grants, from an executable that is started anew.
    pub(super) fn like_it(&self) -> Result<Arc<Self>> {
        let keeper = Arc::new(self.keeper.another()?);
        self.supervisor.watch_spawner(&keeper).map_err(|source| Error::Start {
            what: "watch the keeper process",
            source,
        })?;
        let nursery = Self {
            supervisor: self.supervisor,
            keeper,
            key: Vec::new(),
            spec_len: self.spec_len,
            fds: self.fds.clone(),
            zygote: Mutex::new(None),
        };
        nursery.wait_until_ready()?;
        Ok(Arc::new(nursery))
    }

    /// Whether this is a nursery of that keeper.
    pub(super) fn is_of(&self, keeper: &Arc<Keeper>) -> bool {
        Arc::ptr_eq(&self.keeper, keeper)
    }

    /// Orders a worker. It is heard of through the supervisor.
    pub(super) fn fork(&self, order: &ToZygote, birth: u64, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let message = encode(order);
        if message.len() > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let zygote = self.zygote()?;
        lock(&zygote.ordered).insert(birth);
        zygote.control.try_send(&message, fds).map_err(|error| {
            zygote.answered(birth);
            match error.kind() {
                // It died a moment ago. Until the supervisor has noticed, and told those who still wait for it, it is
                // not replaced.
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => io::ErrorKind::WouldBlock.into(),
                _ => error,
            }
        })
    }

    /// The zygote that runs, or a new one.
    fn zygote(&self) -> io::Result<Arc<Zygote>> {
        let mut current = lock(&self.zygote);
        if let Some(zygote) = current.as_ref().filter(|zygote| !zygote.is_gone()) {
            return Ok(Arc::clone(zygote));
        }
        let zygote = Arc::new(Zygote {
            control: self.keeper.start_zygote()?,
            state: Mutex::new(State::Loading),
            changed: Condvar::new(),
            ordered: Mutex::default(),
        });
        let fds: Vec<BorrowedFd<'_>> = self.fds.iter().map(|fd| fd.as_fd()).collect();
        zygote.control.send(
            &encode(&ToZygote::Load {
                spec_len: self.spec_len,
            }),
            &fds,
        )?;
        self.supervisor.watch_zygote(&zygote)?;
        *current = Some(Arc::clone(&zygote));
        Ok(zygote)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let start = |source| Error::Start {
            what: "start the zygote process",
            source,
        };
        let zygote = self.zygote().map_err(start)?;
        let deadline = Instant::now() + LOAD_TIMEOUT;
        let mut state = lock(&zygote.state);
        loop {
            match &*state {
                State::Ready => return Ok(()),
                State::Unusable(why) | State::Gone(Some(why)) => return Err(Error::Broken(why.clone())),
                State::Gone(None) => return Err(start(io::Error::other("it ended while it loaded the module"))),
                State::Loading => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(start(io::ErrorKind::TimedOut.into()));
                    }
                    state = zygote
                        .changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
            }
        }
    }
}
