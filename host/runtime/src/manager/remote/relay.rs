//! A pipe and a socket, and what is said passed on from one to the other, until one of them ends.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use super::frame;
use super::stream::Stream;
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
pub(super) fn relay(stream: Stream, pipe: &Connection, patience: Option<Duration>) -> io::Result<()> {
    let Stream {
        socket,
        mut incoming,
        mut outgoing,
        ..
    } = stream;
    socket.keep_alive(SILENCE, patience)?;
    // Ends when nothing comes any more.
    let (ended, ends) = sentinel().map_err(io::Error::other)?;
    let inside = pipe.clone();
    let reader = thread::Builder::new().name("wasmp-remote".into()).spawn(move || {
        // Whatever is wrong with the connection ends it.
        let _ = pass_in(&mut incoming, &inside, patience);
        drop(inside);
        drop(ends);
    })?;
    let _ = pass_out(pipe, &ended, &mut outgoing);
    drop(outgoing);
    socket.close();
    drop(reader.join());
    Ok(())
}

fn pass_in(incoming: &mut impl Read, pipe: &Connection, patience: Option<Duration>) -> io::Result<()> {
    let mut message = Vec::new();
    while frame::read(incoming, &mut message)? {
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

fn pass_out(pipe: &Connection, ended: &Connection, outgoing: &mut impl Write) -> io::Result<()> {
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
        frame::write(outgoing, &message)?;
        message.clear();
        message.shrink_to(KEEP);
    }
}
