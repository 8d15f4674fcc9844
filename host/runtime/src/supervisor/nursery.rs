//! Where workers come from: one zygote for each module and set of grants, started again when it is lost.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Supervisor;
use crate::error::{Error, Result};
use crate::module::Artifact;
use crate::process::control::Channel;
use crate::process::group::Group;
use crate::process::launcher::Keeper;
use crate::process::message::{MAX_MESSAGE, Order, ToZygote, encode};

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
    /// The worker that stands by.
    spare: Mutex<Option<Spare>>,
    /// One that has stood by and was given an order, of which the zygote has not been told.
    taken: Mutex<Option<u32>>,
}

/// A worker that waits for its order. It ends when this is dropped without one.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) channel: Channel,
}

impl Zygote {
    pub(super) fn control(&self) -> &Channel {
        &self.control
    }

    fn load(&self, module: &Artifact) -> io::Result<()> {
        self.control.send(&encode(&ToZygote::Load), &[module.fd()])
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
        lock(&self.spare).take();
        self.changed.notify_all();
        said.unwrap_or_else(|| "the zygote process ended".into())
    }

    pub(super) fn stands_by(&self, spare: Spare) {
        *lock(&self.spare) = Some(spare);
    }

    /// Tells the zygote that nobody stands by any more, if it does not know. Where that does not work now, it does before the
    /// next order.
    fn tell_taken(&self) {
        lock(&self.taken).take_if(|pid| {
            self.control
                .try_send(&encode(&ToZygote::Taken { pid: *pid }), &[])
                .is_ok()
        });
    }

    /// A worker of it has ended.
    pub(super) fn ended(&self, pid: u32) {
        lock(&self.spare).take_if(|spare| spare.pid == pid);
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
    /// It is for one process.
    once: bool,
    /// What its workers are in, if it is for one pool.
    group: Option<Group>,
    /// The spec and the granted directories.
    fds: Vec<Arc<OwnedFd>>,
    /// The compiled module, once it is there.
    module: OnceLock<Artifact>,
    zygote: Mutex<Option<Arc<Zygote>>>,
}

/// The nurseries that pools of this process have used last, newest at the end.
static NURSERIES: Mutex<Vec<Arc<Nursery>>> = Mutex::new(Vec::new());

/// Removes the nursery for these settings from among those that are kept.
fn take_out(nurseries: &mut Vec<Arc<Nursery>>, keeper: &Arc<Keeper>, key: &[u8]) -> Option<Arc<Nursery>> {
    let at = nurseries
        .iter()
        .position(|nursery| nursery.is_of(keeper) && nursery.key == key)?;
    Some(nurseries.remove(at))
}

fn not_started(source: io::Error) -> Error {
    Error::Start {
        what: "start the zygote process",
        source,
    }
}

impl Nursery {
    /// The nursery for these settings: one that is warm already, or a new one whose zygote starts while the module is
    /// being got ready. It has to be [given](Self::give) that.
    pub(crate) fn open(
        supervisor: &'static Supervisor,
        keeper: &Arc<Keeper>,
        key: Vec<u8>,
        spec_len: u64,
        fds: Vec<Arc<OwnedFd>>,
        group: Option<Group>,
    ) -> Result<Arc<Self>> {
        let warm = take_out(&mut lock(&NURSERIES), keeper, &key);
        if let Some(warm) = warm {
            warm.keep();
            return Ok(warm);
        }
        let nursery = Self {
            supervisor,
            keeper: Arc::clone(keeper),
            key,
            spec_len,
            once: false,
            group,
            fds,
            module: OnceLock::new(),
            zygote: Mutex::new(None),
        };
        let ordered = nursery.zygote().map(drop);
        // What is wrong with the keeper is the better explanation.
        ordered.or_else(|error| supervisor.meet(keeper).and(Err(not_started(error))))?;
        Ok(Arc::new(nursery))
    }

    /// Hands the compiled module on to the zygote, and keeps the nursery for the next pool of its kind.
    pub(crate) fn give(self: &Arc<Self>, module: &Artifact) {
        let zygote = lock(&self.zygote);
        if self.module.set(module.clone()).is_err() {
            return;
        }
        if let Some(zygote) = &*zygote {
            // It may be dead. Whoever waits for it is told.
            let _ = zygote.load(module);
        }
        drop(zygote);
        self.keep();
    }

    /// Puts it at the end of those that are kept, unless it is for one pool.
    fn keep(self: &Arc<Self>) {
        if self.group.is_some() {
            return;
        }
        let mut nurseries = lock(&NURSERIES);
        take_out(&mut nurseries, &self.keeper, &self.key);
        nurseries.push(Arc::clone(self));
        if nurseries.len() > KEPT {
            nurseries.remove(0);
        }
    }

    /// One for the same module, settings and grants, from an executable that is started anew. It loads the module while it is
    /// given its first order.
    pub(super) fn like_it(&self) -> Result<Arc<Self>> {
        let keeper = Arc::new(self.keeper.another()?);
        let nursery = Self {
            supervisor: self.supervisor,
            keeper,
            key: Vec::new(),
            spec_len: self.spec_len,
            once: true,
            group: self.group.clone(),
            fds: self.fds.clone(),
            module: self.module.clone(),
            zygote: Mutex::new(None),
        };
        let ordered = nursery.zygote().map(drop);
        self.supervisor.meet_spawner(&nursery.keeper)?;
        ordered.map_err(not_started)?;
        Ok(Arc::new(nursery))
    }

    /// Gets ready for the next that is to be [like it](Self::like_it).
    pub(super) fn expect_another(&self) {
        self.keeper.keep_spare();
    }

    /// Whether this is a nursery of that keeper.
    pub(super) fn is_of(&self, keeper: &Arc<Keeper>) -> bool {
        Arc::ptr_eq(&self.keeper, keeper)
    }

    /// Orders a worker. One that has stood by is returned; any other is heard of through the supervisor.
    pub(super) fn fork(&self, order: Order, fds: &[BorrowedFd<'_>]) -> io::Result<Option<(u32, OwnedFd)>> {
        let birth = order.birth;
        let message = encode(&ToZygote::Fork(order));
        if message.len() > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let zygote = self.zygote()?;
        zygote.tell_taken();
        let spare = lock(&zygote.spare).take();
        if let Some(Spare { pid, pidfd, channel }) = spare {
            let handed = self.supervisor.hand(birth, pid, || channel.try_send(&message, fds));
            *lock(&zygote.taken) = Some(pid);
            zygote.tell_taken();
            // One that has died meanwhile has got nothing.
            if handed.is_ok() {
                return Ok(Some((pid, pidfd)));
            }
        }
        lock(&zygote.ordered).insert(birth);
        zygote.control.try_send(&message, fds).map(|()| None).map_err(|error| {
            zygote.answered(birth);
            match Errno::from_io_error(&error) {
                // It died a moment ago: until the supervisor has noticed, and told those who still wait for it, it is
                // not replaced. Or it has so many orders that the system refuses to carry more descriptors.
                Some(Errno::PIPE | Errno::CONNRESET | Errno::TOOMANYREFS) => io::ErrorKind::WouldBlock.into(),
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
            control: self.keeper.start_zygote(self.group.as_ref())?,
            state: Mutex::new(State::Loading),
            changed: Condvar::new(),
            ordered: Mutex::default(),
            spare: Mutex::default(),
            taken: Mutex::default(),
        });
        let fds: Vec<BorrowedFd<'_>> = self.fds.iter().map(|fd| fd.as_fd()).collect();
        let (spec_len, once) = (self.spec_len, self.once);
        zygote
            .control
            .send(&encode(&ToZygote::Prepare { spec_len, once }), &fds)?;
        if let Some(module) = self.module.get() {
            zygote.load(module)?;
        }
        self.supervisor.watch_zygote(&zygote)?;
        *current = Some(Arc::clone(&zygote));
        Ok(zygote)
    }

    /// Waits until the zygote, which has been given its module, has loaded it.
    pub(crate) fn wait_until_ready(&self) -> Result<()> {
        let zygote = self.zygote().map_err(not_started)?;
        let deadline = Instant::now() + LOAD_TIMEOUT;
        let mut state = lock(&zygote.state);
        loop {
            match &*state {
                State::Ready => return Ok(()),
                State::Unusable(why) | State::Gone(Some(why)) => return Err(Error::Broken(why.clone())),
                State::Gone(None) => return Err(not_started(io::Error::other("it ended while it loaded the module"))),
                State::Loading => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(not_started(io::ErrorKind::TimedOut.into()));
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
