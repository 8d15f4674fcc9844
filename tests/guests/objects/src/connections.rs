//! Connections, and waiting for several objects at once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_bytes::ByteBuf;
use wasmp_guest::{
    Connection, Event, Queue, RecvError, Result, SendError, SharedError, Waitable, pipe, pipe_one_way, task, try_wait,
    wait, wait_timeout,
};

use crate::within;

/// A new pipe.
#[task]
fn pipe_new(duplex: bool) -> Result<(Connection, Connection), SharedError> {
    if duplex { pipe() } else { pipe_one_way() }
}

/// Sends a text.
#[task]
fn connection_send(connection: Connection, text: String, timeout: Option<u64>) -> Result<(), SendError> {
    within(
        timeout,
        || connection.send(&text),
        |time| connection.send_timeout(&text, time),
        || connection.try_send(&text),
    )
}

/// Receives a text.
#[task]
fn connection_recv(connection: Connection, timeout: Option<u64>) -> Result<String, RecvError> {
    within(
        timeout,
        || connection.recv(),
        |time| connection.recv_timeout(time),
        || connection.try_recv(),
    )
}

/// Sets `begun`, and receives a text.
#[task]
fn connection_recv_begun(connection: Connection, begun: Event) -> Result<String> {
    begun.set()?;
    Ok(connection.recv()?)
}

/// Sends all numbers from 0 on.
#[task]
fn connection_count(connection: Connection) -> Result<(), SendError> {
    (0_u64..).try_for_each(|number| connection.send(&number))
}

/// Sends messages as they are.
#[task]
fn connection_send_bytes(
    connection: Connection,
    messages: Vec<ByteBuf>,
    timeout: Option<u64>,
) -> Result<(), SendError> {
    messages.iter().try_for_each(|message| {
        within(
            timeout,
            || connection.send_bytes(message),
            |time| connection.send_bytes_timeout(message, time),
            || connection.try_send_bytes(message),
        )
    })
}

/// Receives a message as it is.
#[task]
fn connection_recv_bytes(connection: Connection, timeout: Option<u64>) -> Result<Vec<u8>, RecvError> {
    within(
        timeout,
        || connection.recv_bytes(),
        |time| connection.recv_bytes_timeout(time),
        || connection.try_recv_bytes(),
    )
}

/// Receives a message into a buffer of this size: whether it did fit, and the message.
#[task]
fn connection_recv_bytes_into(
    connection: Connection,
    size: usize,
    timeout: Option<u64>,
) -> Result<(bool, ByteBuf), RecvError> {
    let mut buffer = vec![0; size];
    let received = match timeout {
        None => connection.recv_bytes_into(&mut buffer),
        Some(0) => connection.try_recv_bytes_into(&mut buffer),
        Some(milliseconds) => connection.recv_bytes_into_timeout(&mut buffer, Duration::from_millis(milliseconds)),
    };
    match received {
        Ok(length) => {
            buffer.truncate(length);
            Ok((true, buffer.into()))
        }
        Err(RecvError::BufferTooShort(message)) => Ok((false, message.into())),
        Err(error) => Err(error),
    }
}

/// Whether something can be received.
#[task]
fn connection_poll(connection: Connection, timeout: u64) -> Result<bool, RecvError> {
    match timeout {
        0 => connection.poll(),
        milliseconds => connection.poll_timeout(Duration::from_millis(milliseconds)),
    }
}

/// Receives all messages, each after so many polls that must say that it is there; none of them is split or merged.
#[task]
fn connection_poll_and_recv(connection: Connection, polls: u32) -> Result<Vec<ByteBuf>> {
    let mut messages = Vec::new();
    loop {
        while !connection.poll_timeout(Duration::from_secs(1))? {}
        for _ in 0..polls {
            assert!(connection.poll()?, "a poll has taken the message");
        }
        match connection.recv_bytes() {
            Ok(message) => messages.push(message.into()),
            Err(RecvError::EndOfFile) => return Ok(messages),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether it receives, and whether it sends.
#[task]
fn connection_directions(connection: Connection) -> Result<(bool, bool), SharedError> {
    Ok((connection.readable()?, connection.writable()?))
}

/// Closes the only handle that this worker has.
#[task]
fn connection_close(connection: Connection) {
    connection.close();
}

/// Sends back what comes, until nothing comes any more; how many messages.
#[task]
fn echo(connection: Connection) -> Result<u64> {
    let mut count = 0;
    loop {
        match connection.recv_bytes() {
            Ok(message) => connection.send_bytes(&message)?,
            Err(RecvError::EndOfFile) => return Ok(count),
            Err(error) => return Err(error.into()),
        }
        count += 1;
    }
}

/// Sends a number and waits for the answer, so often; the last answer.
#[task]
fn ping(connection: Connection, times: u64) -> Result<u64> {
    let mut number = 0;
    for _ in 0..times {
        connection.send(&number)?;
        number = connection.recv()?;
    }
    Ok(number)
}

/// Answers with the next number, so often.
#[task]
fn pong(connection: Connection, times: u64) -> Result<()> {
    for _ in 0..times {
        let number = connection.recv::<u64>()?;
        connection.send(&(number + 1))?;
    }
    Ok(())
}

/// Sends a connection through another one.
#[task]
fn connection_send_connection(through: Connection, connection: Connection) -> Result<(), SendError> {
    through.send(&connection)
}

/// Receives a connection through another one, and sends a text through it.
#[task]
fn connection_recv_connection(through: Connection, text: &str) -> Result<()> {
    let connection = through.recv::<Connection>()?;
    Ok(connection.send(text)?)
}

/// Whether the end of the file is found, and a sender is told so, where the only other end was closed here.
#[task]
fn connection_scoped() -> Result<(String, String)> {
    let (here, there) = pipe()?;
    there.send("left")?;
    drop(there);
    assert_eq!(here.recv::<String>()?, "left");
    let received = here.recv::<String>().expect_err("nothing is left");
    let sent = here.send("nobody").expect_err("nobody is there");
    Ok((received.to_string(), sent.to_string()))
}

/// What [`connection_keep`] keeps.
static KEPT: Mutex<Vec<Connection>> = Mutex::new(Vec::new());

/// Keeps a handle after the task has returned.
#[task]
fn connection_keep(connection: Connection) {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
}

/// Gives back what this worker has kept; how many.
#[task]
fn connection_drop_kept() -> usize {
    std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner)).len()
}

/// Which of the connections and, after them, the queues are ready.
#[task]
fn wait_any(
    connections: Vec<Connection>,
    queues: Vec<Queue<i64>>,
    timeout: Option<u64>,
) -> Result<Vec<usize>, SharedError> {
    let connections = connections.iter().map(|connection| connection as &dyn Waitable);
    let objects = Vec::from_iter(connections.chain(queues.iter().map(|queue| queue as _)));
    within(
        timeout,
        || wait(&objects),
        |time| wait_timeout(&objects, time),
        || try_wait(&objects),
    )
}

/// Sets `begun`, and waits for either; which of them are ready.
#[task]
fn wait_begun(connection: Connection, queue: Queue<i64>, begun: Event) -> Result<Vec<usize>, SharedError> {
    begun.set()?;
    wait(&[&connection, &queue])
}
