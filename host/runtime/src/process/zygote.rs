//! The zygote: holds one module mapped and linked, and forks a worker from itself whenever the host asks.
//!
//! It has one thread, runs no guest code, and compiles nothing. What a worker is given (rings, doorbell, lifeline)
//! comes with the order to fork, and the zygote keeps none of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::control::Channel;
use super::message::{FromZygote, MAX_MESSAGE, Order, ToZygote, decode, encode};
use super::reaper::{ChildSignal, fork, open_child, reap};
use super::spare::Spare;
use crate::spec::{self, Spec};
use crate::worker::{self, Belongings, Draft, Template, Walls};

/// Serves the host until it closes its end. Never returns.
pub(super) fn main(control: &Channel) -> ! {
    let served = serve(control);
    // SAFETY: ends this process without running the embedder's exit handlers, which belong to its `main`.
    unsafe { libc::_exit(i32::from(served.is_err())) }
}

fn serve(control: &Channel) -> io::Result<()> {
    rustix::thread::set_name(c"wasmp-zygote")?;
    let children = ChildSignal::new()?;
    let mut buffer = vec![0; MAX_MESSAGE];

    let Some((len, fds)) = control.recv(&mut buffer)? else {
        return Ok(());
    };
    let ToZygote::Prepare { spec_len, once } = decode(&buffer[..len])? else {
        return Err(out_of_turn());
    };
    let (walls, template) = match load(fds, spec_len, || receive_module(control)) {
        Ok(loaded) => loaded,
        Err(why) => return control.send(&encode(&FromZygote::Unusable { why }), &[]),
    };
    control.send(&encode(&FromZygote::Ready), &[])?;

    let mut spare = Spare::new(!once);
    loop {
        let attention = children.wait(control, spare.due())?;
        if attention.child {
            let mut lost = Ok(());
            reap(|pid, status| {
                spare.leave(pid);
                if lost.is_ok() {
                    lost = control.send(&encode(&FromZygote::Exited { pid, status }), &[]);
                }
            });
            lost?;
        }
        if attention.order {
            let Some((len, fds)) = control.recv(&mut buffer)? else {
                return Ok(());
            };
            match decode(&buffer[..len])? {
                ToZygote::Fork(order) => {
                    spare.wish();
                    let birth = order.birth;
                    let worker =
                        belongings(order, fds).and_then(|belongings| start_worker(&template, &walls, belongings));
                    report(control, birth, worker)?;
                }
                ToZygote::Taken { pid } => {
                    spare.leave(pid);
                    spare.wish();
                }
                ToZygote::Prepare { .. } | ToZygote::Load => return Err(out_of_turn()),
            }
        }
        if !attention.child && !attention.order {
            spare.prepare(control, (&template, &walls), |message, fds| match decode(message)? {
                ToZygote::Fork(order) => belongings(order, fds),
                _ => Err(out_of_turn()),
            });
        }
    }
}

fn belongings(order: Order, fds: Vec<OwnedFd>) -> io::Result<Belongings> {
    Belongings::from_order(order, fds).ok_or_else(out_of_turn)
}

/// Makes everything ready. Descriptors: the spec, and the granted directories.
fn load(
    fds: Vec<OwnedFd>,
    spec_len: u64,
    receive_module: impl FnOnce() -> io::Result<OwnedFd>,
) -> Result<(Walls, Template), String> {
    let mut fds = fds.into_iter();
    let spec = fds.next().ok_or("the settings did not arrive")?;
    let spec: Spec =
        spec::from_memfd(spec, spec_len).map_err(|error| format!("the settings are unreadable: {error}"))?;
    Walls::around(Draft::new(spec, fds)?, receive_module)
}

fn receive_module(control: &Channel) -> io::Result<OwnedFd> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let Some((len, fds)) = control.recv(&mut buffer)? else {
        return Err(io::ErrorKind::ConnectionAborted.into());
    };
    match (decode(&buffer[..len])?, fds.into_iter().next()) {
        (ToZygote::Load, Some(module)) => Ok(module),
        _ => Err(out_of_turn()),
    }
}

fn start_worker(template: &Template, walls: &Walls, belongings: Belongings) -> io::Result<u32> {
    match fork()? {
        // Signals stay blocked until the worker has made up its mind about them. The first thing a worker does is to close
        // every descriptor that is not its own.
        0 => worker::main(template, walls, belongings),
        pid => Ok(pid),
    }
}

/// Tells the host what has become of its order.
fn report(control: &Channel, birth: u64, worker: io::Result<u32>) -> io::Result<()> {
    match worker {
        Ok(pid) => {
            let pidfd = open_child(pid)?;
            control.send(&encode(&FromZygote::Forked { birth, pid }), &[pidfd.as_fd()])
        }
        Err(error) => {
            let why = error.to_string();
            control.send(&encode(&FromZygote::NotForked { birth, why }), &[])
        }
    }
}

fn out_of_turn() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "control message out of turn")
}
