//! A pipe and a socket, and what is said passed on from one to the other, until one of them ends.

use std::io;
use std::thread;

use super::address::Socket;
use super::frame;
use crate::shared::{Connection, sentinel, wait};

/// Buffers above this size are given back after the message that needed them.
const KEEP: usize = 1 << 20;

/// Passes on what comes from both until one of them ends; then so does the other. Returns at once if there is no thread for
/// it.
pub(super) fn relay(socket: Socket, pipe: &Connection) -> io::Result<()> {
    // Ends when nothing comes from the socket any more.
    let (ended, ends) = sentinel().map_err(io::Error::other)?;
    let incoming = (socket.try_clone()?, pipe.clone());
    let reader = thread::Builder::new().name("wasmp-remote".into()).spawn(move || {
        let (mut socket, pipe) = incoming;
        // Whatever is wrong with the connection ends it.
        let _ = pass_in(&mut socket, &pipe);
        drop(pipe);
        drop(ends);
    })?;
    let mut outgoing = socket;
    let _ = pass_out(pipe, &ended, &mut outgoing);
    outgoing.close();
    drop(reader.join());
    Ok(())
}

fn pass_in(socket: &mut Socket, pipe: &Connection) -> io::Result<()> {
    let mut message = Vec::new();
    while frame::read(socket, &mut message)? {
        pipe.send_bytes(&message).map_err(io::Error::other)?;
        message.shrink_to(KEEP);
    }
    Ok(())
}

fn pass_out(pipe: &Connection, ended: &Connection, socket: &mut Socket) -> io::Result<()> {
    let mut message = Vec::new();
    loop {
        let ready = wait(&[pipe, ended]).map_err(io::Error::other)?;
        if ready.contains(&1) {
            return Ok(());
        }
        pipe.recv_bytes_to(&mut message).map_err(io::Error::other)?;
        frame::write(socket, &message)?;
        message.clear();
        message.shrink_to(KEEP);
    }
}
