//! A pipe and a socket, and what is said passed on from one to the other, until one of them ends.

use std::io;
use std::thread;
use std::time::Duration;

use super::address::Socket;
use super::frame;
use crate::shared::{Connection, RecvError, sentinel, wait};

/// How long a client or a manager may take to take what it is sent.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long the other side may be gone without a word.
const SILENCE: Duration = Duration::from_secs(60);

/// How often something may be said to be there that cannot be received.
const MAX_FALSE_ALARMS: u32 = 10;

/// Buffers above this size are given back after the message that needed them.
const KEEP: usize = 1 << 20;

/// Passes on what comes from both until one of them ends; then so does the other. `patience`: how long each side may take to
/// take what it is sent; `None`: as long as it likes. Returns at once if there is no thread for it.
pub(super) fn relay(socket: Socket, pipe: &Connection, patience: Option<Duration>) -> io::Result<()> {
    socket.keep_alive(SILENCE, patience)?;
    // Ends when nothing comes from the socket any more.
    let (ended, ends) = sentinel().map_err(io::Error::other)?;
    let incoming = (socket.try_clone()?, pipe.clone());
    let reader = thread::Builder::new().name("wasmp-remote".into()).spawn(move || {
        let (mut socket, pipe) = incoming;
        // Whatever is wrong with the connection ends it.
        let _ = pass_in(&mut socket, &pipe, patience);
        drop(pipe);
        drop(ends);
    })?;
    let mut outgoing = socket;
    let _ = pass_out(pipe, &ended, &mut outgoing);
    outgoing.close();
    drop(reader.join());
    Ok(())
}

fn pass_in(socket: &mut Socket, pipe: &Connection, patience: Option<Duration>) -> io::Result<()> {
    let mut message = Vec::new();
    while frame::read(socket, &mut message)? {
        let passed = match patience {
            Some(patience) => pipe.send_bytes_timeout(&message, patience),
            None => pipe.send_bytes(&message),
        };
        passed.map_err(io::Error::other)?;
        message.clear();
        message.shrink_to(KEEP);
    }
    Ok(())
}

fn pass_out(pipe: &Connection, ended: &Connection, socket: &mut Socket) -> io::Result<()> {
    let (mut message, mut alarms) = (Vec::new(), 0);
    loop {
        let ready = wait(&[pipe, ended]).map_err(io::Error::other)?;
        if ready.contains(&1) {
            return Ok(());
        }
        match pipe.try_recv_bytes_to(&mut message) {
            Ok(()) => alarms = 0,
            // Whoever says that there is something, and too often there is not, is lying.
            Err(RecvError::TimedOut) if alarms < MAX_FALSE_ALARMS => {
                alarms += 1;
                continue;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        frame::write(socket, &message)?;
        message.clear();
        message.shrink_to(KEEP);
    }
}
