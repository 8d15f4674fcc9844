//! The host's end of the process tree: starts keepers, and has them start zygotes and compilers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::control::Channel;
use super::executable;
use super::group::Group;
use super::message::{FromKeeper, MAX_MESSAGE, ToKeeper, decode, encode};
use crate::error::{Error, Result};

/// How long a keeper may take to say hello: it is a fresh process, on a machine that may be busy.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A running keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    control: Channel,
    child: Mutex<Option<Child>>,
    executable: PathBuf,
    acquaintance: Mutex<Acquaintance>,
    /// One that waits for whoever wants [another](Self::another).
    spare: Mutex<Option<Box<Keeper>>>,
}

/// Whether a keeper has said who it is.
#[derive(Clone, Debug)]
enum Acquaintance {
    /// It is to say this.
    Expected(String),
    Made,
    /// It did not. It is gone.
    Refused,
}

/// The keepers of this process, by executable. There is one, unless an embedder asks for several executables.
static KEEPERS: Mutex<Vec<(PathBuf, Arc<Keeper>)>> = Mutex::new(Vec::new());

impl Keeper {
    /// The keeper for `worker_exe` (see [`executable::find`]). It can be given orders at once; [`meet`](Self::meet) it before you
    /// wait for what comes of them.
    pub(crate) fn get(worker_exe: Option<&Path>) -> Result<Arc<Self>> {
        let executable = executable::find(worker_exe)?;
        let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, keeper)) = keepers.iter().find(|(path, _)| *path == executable) {
            return Ok(Arc::clone(keeper));
        }
        let keeper = Arc::new(Self::start(&executable)?);
        keepers.push((executable, Arc::clone(&keeper)));
        Ok(keeper)
    }

    /// Another one of the same executable, for those who have it.
    pub(crate) fn another(&self) -> Result<Self> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        match spare.filter(|spare| spare.is_there()) {
            Some(spare) => Ok(*spare),
            None => Self::start(&self.executable),
        }
    }

    /// Starts another one before somebody wants it: who has wanted one may want more. Most of what it takes to start a process
    /// anew is to load its executable.
    pub(crate) fn keep_spare(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.is_none() {
            // Whoever wants one learns why there is none.
            *spare = Self::start(&self.executable).ok().map(Box::new);
        }
    }

    fn is_there(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = child.as_mut().map(Child::try_wait);
        matches!(ended, Some(Ok(None)))
    }

    /// Waits until the keeper has said that it is one, and has it watched by `watch` then: until that its messages are read
    /// here. Does nothing if that has been done.
    pub(crate) fn meet(&self, watch: impl FnOnce() -> io::Result<()>) -> Result<()> {
        let failed = |source| Error::Start {
            what: "start the keeper process",
            source,
        };
        let mut acquaintance = self.acquaintance.lock().unwrap_or_else(PoisonError::into_inner);
        let met = match &*acquaintance {
            Acquaintance::Made => return Ok(()),
            Acquaintance::Refused => return Err(failed(io::Error::other("it was refused"))),
            Acquaintance::Expected(nonce) => self.greet(nonce).and_then(|()| watch()),
        };
        *acquaintance = if met.is_ok() {
            Acquaintance::Made
        } else {
            Acquaintance::Refused
        };
        drop(acquaintance);
        met.map_err(|source| {
            self.bury();
            failed(source)
        })
    }

    fn start(executable: &Path) -> Result<Self> {
        let failed = |source| Error::Start {
            what: "start the keeper process",
            source,
        };
        let nonce = nonce();
        let (control, theirs) = Channel::pair().map_err(failed)?;
        let child = Command::new(executable)
            .arg0("wasmp-keeper")
            .env_clear()
            .envs(executable::inherited_environment())
            .env(executable::KEEPER_VARIABLE, &nonce)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        // From here on, dropping this ends the child: it sees its control socket close.
        Ok(Self {
            control,
            child: Mutex::new(Some(child)),
            executable: executable.to_owned(),
            acquaintance: Mutex::new(Acquaintance::Expected(nonce)),
            spare: Mutex::default(),
        })
    }

    /// Waits for the first message, and checks that it comes from this library in this version.
    fn greet(&self, nonce: &str) -> io::Result<()> {
        let refused = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        wait_readable(&self.control, Instant::now() + HELLO_TIMEOUT).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => refused(format!(
                "the worker executable did not answer as one within {HELLO_TIMEOUT:?}"
            )),
            _ => error,
        })?;
        let mut buffer = vec![0; MAX_MESSAGE];
        let Some((len, _)) = self.control.recv(&mut buffer)? else {
            return Err(refused(
                "the worker executable ended without a word: it does not contain this library".into(),
            ));
        };
        let FromKeeper::Hello {
            version,
            nonce: answered,
            threads,
        } = decode(&buffer[..len])?
        else {
            return Err(refused("the worker executable does not speak this protocol".into()));
        };
        if version != env!("CARGO_PKG_VERSION") || answered != nonce {
            return Err(refused(format!(
                "the worker executable has version {version} of this library, not {}",
                env!("CARGO_PKG_VERSION")
            )));
        }
        if threads != 1 {
            return Err(refused(format!(
                "the worker executable starts threads before `main`, and a process with threads cannot be forked \
                 safely; set {} to the `wasmp` command",
                executable::EXECUTABLE_VARIABLE
            )));
        }
        Ok(())
    }

    /// The socket on which the keeper reports; the supervisor reads it.
    pub(crate) fn control(&self) -> &Channel {
        &self.control
    }

    /// Has a zygote started; the channel is the host's end of its control socket.
    pub(crate) fn start_zygote(&self, group: Option<&Group>) -> io::Result<Channel> {
        self.start_child(&ToKeeper::Zygote { group: group.cloned() })
    }

    /// Has a compiler started.
    pub(crate) fn start_compiler(&self) -> io::Result<Channel> {
        self.start_child(&ToKeeper::Compiler)
    }

    fn start_child(&self, what: &ToKeeper) -> io::Result<Channel> {
        let (ours, theirs) = Channel::pair()?;
        self.control.send(&encode(what), &[theirs.as_fd()])?;
        Ok(ours)
    }

    /// Forgets a keeper that is gone, so that the next pool starts another. Returns how it ended.
    pub(crate) fn bury(&self) -> String {
        let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.retain(|(_, keeper)| !std::ptr::eq(Arc::as_ptr(keeper), self));
        drop(keepers);
        self.wait_for_end()
    }

    /// Kills the process if it is still there, and takes its status.
    fn wait_for_end(&self) -> String {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut child) = child.take() else {
            return "before".into();
        };
        // It has closed its socket, so it is ending; the signal only makes sure that this does not wait for ever.
        if !matches!(child.try_wait(), Ok(Some(_))) {
            std::thread::yield_now();
            if !matches!(child.try_wait(), Ok(Some(_))) {
                let _ = child.kill();
            }
        }
        match child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

/// One that nobody has any more ends: it sees its control socket close.
impl Drop for Keeper {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = child.take() {
            // Somebody has to take its status, and it is not done yet. Without a thread it stays until this process ends.
            let wait = move || drop(child.wait());
            let _ = std::thread::Builder::new().name("wasmp-reaper".into()).spawn(wait);
        }
    }
}

/// Waits until `channel` has a message or is closed; `TimedOut` when `deadline` comes first.
pub(crate) fn wait_readable(channel: &Channel, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(channel, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// 128 random bits, in hexadecimal.
fn nonce() -> String {
    let mut bits = [0; 16];
    // Up to 256 bytes come whole; should the system have none, the version check still stands.
    let _ = rustix::rand::getrandom(&mut bits, rustix::rand::GetRandomFlags::empty());
    bits.iter().map(|byte| format!("{byte:02x}")).collect()
}
