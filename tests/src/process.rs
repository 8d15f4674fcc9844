//! Processes, held by descriptor: a number may be reused, a descriptor may not.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long anything may take that is expected to happen at once: long enough for a machine that is busy with
/// something else.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that was alive when it was found.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    name: String,
    pidfd: OwnedFd,
}

impl Process {
    /// The process with this number; `None` if there is none, or only its exit status is left.
    pub fn open(pid: u32) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_raw(pid.try_into().ok()?)?, PidfdFlags::empty()).ok()?;
        let stat = Stat::of(pid)?;
        // Read after the descriptor was opened, so if this is not its process, that one is gone.
        let process = Self {
            pid,
            name: stat.name,
            pidfd,
        };
        (!stat.zombie && !process.is_gone()).then_some(process)
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name when it was found.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends it a signal; whether it was still there to get it.
    pub fn signal(&self, signal: Signal) -> bool {
        pidfd_send_signal(&self.pidfd, signal).is_ok()
    }

    /// Kills it, and waits until it is dead.
    ///
    /// # Panics
    ///
    /// If it does not die.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        self.wait_until_gone();
    }

    /// Whether it has ended.
    pub fn is_gone(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    /// Waits until it has ended, for so long at most; whether it has.
    ///
    /// # Panics
    ///
    /// If the system cannot tell.
    pub fn ends_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("a time that the system can count");
            match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&left)) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("poll: {error}"),
            }
        }
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// If it goes on.
    #[track_caller]
    pub fn wait_until_gone(&self) {
        assert!(
            self.ends_within(PATIENCE),
            "{} ({}) goes on after {PATIENCE:?}",
            self.name,
            self.pid
        );
    }

    /// A line of `/proc/PID/status`.
    ///
    /// # Panics
    ///
    /// If it is gone, or there is no such line.
    #[track_caller]
    pub fn status(&self, field: &str) -> String {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the status of a process that runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no `{field}` in the status of a process"))
            .trim()
            .to_owned()
    }
}

/// What a line of `/proc/PID/stat` says.
struct Stat {
    name: String,
    zombie: bool,
    parent: u32,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may contain anything, parentheses too.
        let (before, after) = stat.rsplit_once(") ")?;
        let (_, name) = before.split_once(" (")?;
        let mut fields = after.split(' ');
        let state = fields.next()?;
        Some(Self {
            name: name.to_owned(),
            zombie: state == "Z" || state == "X",
            parent: fields.next()?.parse().ok()?,
        })
    }
}

/// The children of a process, their children, and so on, that have this name. One that was forked just now goes by the name of its
/// parent, for a moment, and does not count.
///
/// # Panics
///
/// If `/proc` cannot be read.
pub fn descendants(of: u32, name: &str) -> Vec<Process> {
    let pids = fs::read_dir("/proc").expect("/proc");
    let stats: HashMap<u32, Stat> = pids
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Stat::of(pid)?)))
        .collect();
    let is_descendant = |pid: u32| {
        let ancestors = std::iter::successors(stats.get(&pid), |stat| stats.get(&stat.parent));
        ancestors.take(stats.len()).any(|stat| stat.parent == of)
    };
    let is_new = |stat: &Stat| stats.get(&stat.parent).is_some_and(|parent| parent.name == stat.name);
    let found = stats
        .iter()
        .filter(|(pid, stat)| stat.name == name && is_descendant(**pid) && !is_new(stat));
    found.filter_map(|(pid, _)| Process::open(*pid)).collect()
}

/// Waits for something that nobody rings a bell for.
///
/// # Panics
///
/// If it does not come.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Descriptors that a host has for the worker that stands by, if one does: it may be about to come, or have been killed.
pub const FDS_OF_A_SPARE: usize = 2;

/// What the descriptors of this process are open on.
///
/// # Panics
///
/// If `/proc` cannot be read.
pub fn own_fds() -> Vec<String> {
    let fds = fs::read_dir("/proc/self/fd").expect("/proc/self/fd");
    // The one that the listing is read through is gone by now, and so has no target.
    let targets = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    targets
        .map(|target| target.display().to_string())
        .filter(|target| !target.contains("/proc/"))
        .collect()
}
