//! The server process: takes requests from its clients, has them served, and sends the answers.
//!
//! A client shares memory with the server, and may write anything there. It is waited for no longer than it takes to look
//! whether it asks again, and only for as long as its turn is. What cannot be received
//! at once costs it its place; an answer that it does not take at once is kept for a moment in its [`outbox`], and nothing
//! else that it asks for is looked at meanwhile. Nor is a [crew] of one of its pools waited for. While more clients ask than
//! there are CPUs for, they have [turns].

mod crew;
mod outbox;
mod turns;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wasmp_abi::ObjectKind;
use wasmp_ipc::{Advice, Connection, Limit, Party, RecvError, Spinner, WaitError, Waitable, wait_any};
use wasmp_manager::protocol::{MAX_MESSAGE, Status};

use self::crew::Crews;
use self::outbox::{Outbox, PATIENCE, TRY_AGAIN};
use self::turns::{Seat, Turns};
use super::interruption;
use super::link::Link;
use super::objects::{Handle, Objects, OpenError};
use crate::manager::{Call, Caller, Knock as Letter, Served, Store, Types, refuse};
use crate::objects::Object;
use crate::process::message::decode;

/// Requests of one client that are served in a row.
const IN_A_ROW: usize = 32;

/// Buffers above this size are given back after the request that needed them.
const KEEP: usize = 1 << 20;

/// How often something may be said to be there that cannot be taken, before the one who says so has to go.
const MAX_FALSE_ALARMS: u32 = 10;

/// Bytes of answers that may be kept for all clients together, however little a manager may hold.
const ALWAYS_KEPT: usize = 1 << 20;

/// The other end of a client's pipe.
struct Desk {
    caller: Caller,
    /// The number by which it is given back.
    number: u32,
    pipe: Handle,
    false_alarms: u32,
    outbox: Outbox,
    /// An answer could not be sent to it.
    refused: bool,
    has_turn: bool,
    /// What it was told last.
    advice: Advice,
}

impl Seat for Desk {
    fn has_turn(&self) -> bool {
        self.has_turn
    }

    fn set_turn(&mut self, turn: bool) {
        self.has_turn = turn;
    }

    fn asks(&self) -> bool {
        self.outbox.is_empty() && end_of(&self.pipe).is_ok_and(Connection::is_ready)
    }

    fn sleeps(&self) -> bool {
        end_of(&self.pipe).is_ok_and(Connection::is_awaited)
    }

    fn advise(&mut self, advice: Advice) {
        if self.advice != advice
            && let Ok(end) = end_of(&self.pipe)
        {
            self.advice = advice;
            end.advise(advice);
        }
    }
}

fn end_of(pipe: &Handle) -> io::Result<&Connection> {
    match &pipe.held.object {
        Object::Pipe(ends) => Ok(&ends[pipe.end]),
        _ => Err(nonsense()),
    }
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what a manager was given makes no sense")
}

/// How it went with one desk.
enum Turn {
    /// There was nothing to do.
    Idle,
    Served,
    /// The client is gone, or has to go.
    Over,
    /// The last answer is given.
    ShutDown,
}

/// Serves until the manager is shut down, or nobody can ask any more. Of items, its pools pass on at most `max_block` bytes at
/// once, and `link` is where the host is rung. `types` makes what it takes to run the code of types, when it is known how long
/// that may take.
pub(super) fn serve(
    objects: &mut Objects,
    (link, max_block): (&Arc<Mutex<Link>>, usize),
    call: &[u8],
    types: impl FnOnce(Duration) -> Box<dyn Types>,
) -> io::Result<()> {
    let Call { door, settings } = decode(call)?;
    let opened = objects.open_token(ObjectKind::Connection, door).map_err(failed)?;
    let door = handle(objects, opened)?;
    interruption::ignore()?;
    let mut store = Store::new(settings.max_bytes).with_types(types(settings.call_timeout));
    if settings.has_module {
        store = store.with_pools(max_block, settings.cpus);
    }
    let mut crews = Crews::new(link);
    // Of the memory of the process, what is held takes a third, and an answer that is being made as much: see `found`.
    let most_kept = (settings.max_bytes / 2).clamp(ALWAYS_KEPT as u64, MAX_MESSAGE as u64) as usize;
    let mut desks: Vec<Desk> = Vec::new();
    let mut connections = 0;
    let mut buffers = Buffers::default();
    let mut spinner = Spinner::new();
    let mut turns = Turns::new(settings.cpus as usize);
    let mut open = true;
    while open || !desks.is_empty() {
        let mut busy = false;
        while open {
            match receive(objects, &door)? {
                Knock::Letter(Letter { token, client }) => {
                    busy = true;
                    connections += 1;
                    let caller = Caller {
                        connection: connections,
                        client,
                    };
                    match objects.open_token(ObjectKind::Connection, token) {
                        Ok(number) => desks.push(Desk {
                            caller,
                            number,
                            pipe: handle(objects, number)?,
                            false_alarms: 0,
                            outbox: Outbox::default(),
                            refused: false,
                            has_turn: false,
                            advice: Advice::Look,
                        }),
                        // It has gone again.
                        Err(OpenError::Refused(_)) => {}
                        // Were it left alone, it would wait for ever. There may be no descriptors left: the objects of a
                        // guest's types can use them up, in a directory that was granted.
                        Err(error) => return Err(failed(error)),
                    }
                }
                Knock::Nobody => break,
                Knock::Closed => open = false,
            }
        }
        let kept: usize = desks.iter().map(|desk| desk.outbox.bytes()).sum();
        let mut room = most_kept.saturating_sub(kept);
        let crowded = turns.give(&mut desks);
        let mut served = false;
        let mut at = 0;
        while at < desks.len() {
            let has_turn = !crowded || desks[at].has_turn;
            if !has_turn && desks[at].outbox.is_empty() {
                at += 1;
                continue;
            }
            let most = if has_turn { IN_A_ROW } else { 0 };
            let house = (&*objects, &mut crews);
            match take_turn(&mut store, (&mut desks[at], most), house, &mut buffers, &mut room)? {
                Turn::Idle => at += 1,
                Turn::Served => {
                    busy = true;
                    served |= has_turn;
                    at += 1;
                }
                Turn::ShutDown => return Ok(()),
                Turn::Over => {
                    busy = true;
                    leave(objects, &mut store, (&mut desks, &mut turns), at);
                }
            }
        }
        turns.go_on(&mut desks, served, crowded);
        busy |= crowded;
        if store.next_deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            store.expire(Instant::now());
        }
        busy |= crews.take_turn(objects, &mut store)?;
        // Those who leave because they do not take it may have had work for crews.
        busy |= send_late(objects, &mut store, (&mut desks, &mut turns), &mut buffers, &mut room)?;
        if !busy {
            let door = open.then_some(&door);
            rest(objects, (door, &desks, &crews), &mut spinner, store.next_deadline())?;
        }
    }
    Ok(())
}

/// Answers those who have waited. Who does not take it leaves, and what was theirs may be the answer for others. Whether there
/// was anybody.
fn send_late(
    objects: &mut Objects,
    store: &mut Store,
    (desks, turns): (&mut Vec<Desk>, &mut Turns),
    buffers: &mut Buffers,
    room: &mut usize,
) -> io::Result<bool> {
    let mut any = false;
    loop {
        let late = store.take_late();
        if late.is_empty() {
            return Ok(any);
        }
        any = true;
        for late in late {
            if let Some(at) = desks.iter().position(|desk| desk.caller.connection == late.connection) {
                let party = objects.party().ok_or_else(nonsense)?;
                late.write(&mut buffers.answer);
                if !send(&mut desks[at], party, &buffers.answer, room)? {
                    leave(objects, store, (desks, turns), at);
                }
                buffers.shrink();
            }
        }
    }
}

fn failed(error: OpenError) -> io::Error {
    match error {
        OpenError::Io(error) => error,
        OpenError::Refused(status) => io::Error::other(status.name()),
    }
}

fn handle(objects: &Objects, number: u32) -> io::Result<Handle> {
    let (handle, _) = objects.get(number).ok_or_else(nonsense)?;
    Ok(handle.clone())
}

/// What there is at the door.
enum Knock {
    Letter(Letter),
    Nobody,
    /// There never will be.
    Closed,
}

fn receive(objects: &Objects, door: &Handle) -> io::Result<Knock> {
    let party = objects.party().ok_or_else(nonsense)?;
    let copied = end_of(door)?.recv(party, Limit::Poll, |message| message.to_vec());
    match copied {
        Ok(message) => decode(&message).map(Knock::Letter),
        Err(RecvError::TimedOut | RecvError::Interrupted) => Ok(Knock::Nobody),
        Err(RecvError::End) => Ok(Knock::Closed),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// What requests are read into, and answers written. Kept, but for what has grown large.
#[derive(Default)]
struct Buffers {
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Buffers {
    fn shrink(&mut self) {
        for buffer in [&mut self.request, &mut self.answer] {
            buffer.clear();
            buffer.shrink_to(KEEP);
        }
    }
}

/// Serves what one client has asked, at most so many requests. `room`: how many more bytes of answers may be kept.
fn take_turn(
    store: &mut Store,
    (desk, most): (&mut Desk, usize),
    (objects, crews): (&Objects, &mut Crews),
    buffers: &mut Buffers,
    room: &mut usize,
) -> io::Result<Turn> {
    let party = objects.party().ok_or_else(nonsense)?;
    let mut turn = Turn::Idle;
    if !desk.outbox.is_empty() {
        if desk.outbox.flush(end_of(&desk.pipe)?, party, Instant::now()).is_err() {
            desk.refused = true;
            return Ok(Turn::Over);
        }
        if !desk.outbox.is_empty() {
            return Ok(turn);
        }
        turn = Turn::Served;
    }
    for _ in 0..most {
        let Buffers { request, answer } = buffers;
        let end = end_of(&desk.pipe)?;
        // Not to look for what is not there: whoever has locked the way to it would be waited for.
        if !end.is_ready() {
            return Ok(turn);
        }
        let received = end.recv(party, Limit::Poll, |message| {
            let fits = message.len() <= MAX_MESSAGE;
            if fits {
                request.resize(message.len(), 0);
                message.read(0, request);
            }
            fits
        });
        match received {
            Ok(true) => {}
            Err(error @ (RecvError::TimedOut | RecvError::Interrupted)) => {
                if error == RecvError::Interrupted {
                    interruption::take();
                }
                // Whoever says that there is something, and too often there is not, is lying.
                desk.false_alarms += 1;
                return Ok(if desk.false_alarms > MAX_FALSE_ALARMS {
                    Turn::Over
                } else {
                    turn
                });
            }
            Ok(false) | Err(RecvError::End | RecvError::Broken | RecvError::WriteOnly) => return Ok(Turn::Over),
        }
        desk.false_alarms = 0;
        turn = Turn::Served;
        let served = store.serve(desk.caller, request, answer, Instant::now);
        if served == Served::Last {
            // Nobody has to wait for anything any more.
            let _ = end.send(party, 0, &[answer], Limit::after(Some(PATIENCE)));
            return Ok(Turn::ShutDown);
        }
        if served == Served::Hire {
            let crew = match store.wish(request) {
                Ok(wish) => crews.hire(objects, wish)?,
                Err(status) => Err(status),
            };
            store.hired(desk.caller, request, crew, answer);
        }
        if let Served::Resize(resizing) = served {
            let done = crews.resize(objects, resizing)?;
            store.resized(request, resizing, done, answer);
        }
        let sent = served == Served::Silent || send(desk, party, answer, room)?;
        buffers.shrink();
        if !sent {
            return Ok(Turn::Over);
        }
        if !desk.outbox.is_empty() {
            return Ok(turn);
        }
    }
    Ok(turn)
}

/// Sends an answer, now or later. False: whoever it is for does not take it.
fn send(desk: &mut Desk, party: &Party, answer: &[u8], room: &mut usize) -> io::Result<bool> {
    let mut refusal = Vec::new();
    let answer = match answer.first_chunk() {
        Some(sequence) if answer.len() > MAX_MESSAGE => {
            refuse(u32::from_le_bytes(*sequence), Status::TooLarge, &mut refusal);
            &refusal
        }
        _ => answer,
    };
    desk.refused = desk.outbox.send(end_of(&desk.pipe)?, party, answer, room).is_err();
    Ok(!desk.refused)
}

/// Takes a client's place away.
fn leave(objects: &mut Objects, store: &mut Store, (desks, turns): (&mut Vec<Desk>, &mut Turns), at: usize) {
    let Desk {
        caller,
        number,
        pipe,
        outbox,
        refused,
        ..
    } = desks.remove(at);
    turns.leave(at);
    let read = !refused && outbox.is_empty() && end_of(&pipe).is_ok_and(|end| end.is_drained());
    drop(pipe);
    objects.close(number);
    store.leave(caller, read);
    if !desks.iter().any(|desk| desk.caller.client == caller.client) {
        store.forget(caller.client);
    }
}

/// Waits until there is something to do.
fn rest(
    objects: &Objects,
    (door, desks, crews): (Option<&Handle>, &[Desk], &Crews),
    spinner: &mut Spinner,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let party = objects.party().ok_or_else(nonsense)?;
    let is_owed = |desk: &Desk| !desk.outbox.is_empty();
    let again = desks.iter().any(is_owed).then(|| Instant::now() + TRY_AGAIN);
    let deadline = deadline.into_iter().chain(again).min();
    let heard = desks.iter().filter(|desk| !is_owed(desk));
    let pipes = door.into_iter().chain(heard.map(|desk| &desk.pipe));
    let ends: Vec<&Connection> = pipes.map(end_of).collect::<io::Result<_>>()?;
    if spinner.spin(|| ends.iter().any(|end| end.is_ready()) || crews.are_heard()) {
        return Ok(());
    }
    let pipes = ends.into_iter().map(Waitable::Connection);
    let waitables: Vec<Waitable<'_>> = pipes.chain(crews.waitables()).collect();
    match wait_any(party, &waitables, deadline.map_or(Limit::Forever, Limit::Until)) {
        Ok(_) | Err(WaitError::TimedOut) => Ok(()),
        // Ctrl-C is for those who use it (CPython: a manager ignores SIGINT).
        Err(WaitError::Interrupted) => {
            interruption::take();
            Ok(())
        }
        Err(WaitError::Broken) => Err(io::Error::other(WaitError::Broken)),
    }
}
