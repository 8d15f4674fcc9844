//! `poll_oneoff`: how a guest sleeps.
//!
//! Standard streams and files never make a guest wait, so only clocks do. The sleep is one system call with an absolute
//! deadline: no timer thread, and nothing is lost when a signal interrupts it. Where no signal does, there are several.

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};
use wasmtime::{Caller, Result, bail};

use super::basics::{clock, nanoseconds};
use super::guest::{Guest, element, errno, offset, open};
use super::{HasWasi, WasiState};
use crate::module::WASI_MODULE;
use crate::worker::interruption;
use crate::worker::lean::LeanLinker;

/// Most subscriptions of one call.
const MAX_SUBSCRIPTIONS: u32 = 4096;
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;
/// A clock's deadline is a point in time, not a duration.
const ABSTIME: u16 = 1;

/// What a guest waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subscription {
    userdata: [u8; 8],
    /// The kind, as it also stands in the event.
    tag: u8,
    wants: Wants,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Deadline(Deadline),
    Descriptor(u32),
    /// A clock that guests do not have.
    UnknownClock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deadline {
    clock: ClockId,
    at: u64,
}

impl Deadline {
    /// Nanoseconds until then.
    fn left(&self) -> u64 {
        self.at.saturating_sub(nanoseconds(clock_gettime(self.clock)))
    }

    fn sleep(&self) {
        // The guest is stopped as soon as it is back.
        while !interruption::is_overdue() && !interruption::is_asked() {
            let left = self.left();
            if left == 0 {
                return;
            }
            let most = interruption::look_interval().map_or(left, |most| left.min(most.as_nanos() as u64));
            let until = self.at - (left - most);
            let request = Timespec {
                tv_sec: (until / 1_000_000_000).cast_signed(),
                tv_nsec: (until % 1_000_000_000) as _,
            };
            // A signal is a reason to look again.
            let _ = clock_nanosleep_absolute(self.clock, &request);
        }
    }
}

pub(super) fn add_to_linker<T: HasWasi>(linker: &mut LeanLinker<'_, T>) -> Result<()> {
    linker.func_wrap(WASI_MODULE, "poll_oneoff", poll_oneoff::<T>)?;
    Ok(())
}

fn poll_oneoff<T: HasWasi>(mut caller: Caller<'_, T>, list: u32, events: u32, count: u32, out: u32) -> Result<i32> {
    let (mut guest, data) = open(&mut caller)?;
    match count {
        0 => return Ok(errno::INVAL),
        1..=MAX_SUBSCRIPTIONS => {}
        _ => return Ok(errno::NOMEM),
    }
    // All are read before the first event is written: the lists may overlap.
    let mut subscriptions = Vec::with_capacity(count as usize);
    for index in 0..count {
        match subscription(&guest, element(list, index, SUBSCRIPTION)?, data.wasi())? {
            Some(subscription) => subscriptions.push(subscription),
            None => return Ok(errno::INVAL),
        }
    }

    let deadlines = || {
        subscriptions
            .iter()
            .filter_map(|subscription| match subscription.wants {
                Wants::Deadline(deadline) => Some(deadline),
                _ => None,
            })
    };
    if deadlines().count() == subscriptions.len()
        && let Some(first) = deadlines().min_by_key(Deadline::left)
    {
        match &mut data.wasi().invented {
            Some(invented) => invented.sleep_until(deadlines().map(|deadline| deadline.at).min().unwrap_or_default()),
            None => data.asleep(|| first.sleep()),
        }
        if interruption::take() {
            // As CPython raises `KeyboardInterrupt` here. There is no result of this call that says so.
            bail!("interrupted");
        }
    }

    let mut written = 0;
    for subscription in &subscriptions {
        if let Some(error) = outcome(subscription.wants, data.wasi()) {
            let mut event = [0; EVENT as usize];
            event[..8].copy_from_slice(&subscription.userdata);
            event[8..10].copy_from_slice(&(error as u16).to_le_bytes());
            event[10] = subscription.tag;
            guest.write(element(events, written, EVENT)?, &event)?;
            written += 1;
        }
    }
    guest.write(out, &written.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

/// Reads a subscription; a relative deadline counts from now. `None` if it is of no known kind.
fn subscription(guest: &Guest<'_>, at: u32, wasi: &WasiState) -> Result<Option<Subscription>> {
    let userdata = guest.read(at)?;
    let [tag] = guest.read(offset(at, 8)?)?;
    let wants = match tag {
        0 => {
            let timeout = u64::from_le_bytes(guest.read(offset(at, 24)?)?);
            let flags = u16::from_le_bytes(guest.read(offset(at, 40)?)?);
            match clock(guest.u32(offset(at, 16)?)?) {
                None => Wants::UnknownClock,
                Some(clock) if flags & ABSTIME != 0 => Wants::Deadline(Deadline { clock, at: timeout }),
                // A duration is one, whatever happens to the wall clock meanwhile.
                Some(_) => {
                    let now = match &wasi.invented {
                        Some(invented) => invented.now(),
                        None => nanoseconds(clock_gettime(ClockId::Monotonic)),
                    };
                    Wants::Deadline(Deadline {
                        clock: ClockId::Monotonic,
                        at: now.saturating_add(timeout),
                    })
                }
            }
        }
        1 | 2 => Wants::Descriptor(guest.u32(offset(at, 16)?)?),
        _ => return Ok(None),
    };
    Ok(Some(Subscription { userdata, tag, wants }))
}

/// `None` if it did not happen yet, else its error number.
fn outcome(wants: Wants, wasi: &WasiState) -> Option<i32> {
    match wants {
        Wants::Deadline(deadline) => {
            let over = match &wasi.invented {
                Some(invented) => deadline.at <= invented.now(),
                None => deadline.left() == 0,
            };
            over.then_some(errno::SUCCESS)
        }
        Wants::Descriptor(fd) if wasi.standard(fd).is_some() || wasi.may_be_file(fd) => Some(errno::SUCCESS),
        Wants::Descriptor(_) => Some(errno::BADF),
        Wants::UnknownClock => Some(errno::INVAL),
    }
}
