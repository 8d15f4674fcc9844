//! The server process: takes requests from its clients, has them served, and sends the answers.
//!
//! A client shares memory with the server, and may write anything there. It is waited for no longer than it takes to look
//! whether it asks again, and only for as long as its turn is. What cannot be received
//! at once costs it its place; an answer that it does not take at once is kept for a moment in its [`outbox`], and nothing
//! else that it asks for is looked at meanwhile. Nor is a [crew] of one of its pools waited for. While more clients ask than
//! there are CPUs for, they have [turns].

mod crew;
mod desk;
mod outbox;
mod turns;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wasmp_abi::ObjectKind;
use wasmp_ipc::{Connection, Limit, RecvError, Spinner, WaitError, Waitable, wait_any};
use wasmp_manager::protocol::MAX_MESSAGE;

use self::crew::Crews;
use self::desk::{Buffers, Desk, IN_A_ROW, Turn, end_of};
use self::outbox::TRY_AGAIN;
use self::turns::Turns;
use super::interruption;
use super::link::Link;
use super::objects::{Handle, Objects, OpenError};
use crate::manager::{Call, Caller, Knock as Letter, Store, Types};
use crate::process::message::decode;

/// Bytes of answers that may be kept for all clients together, however little a manager may hold.
const ALWAYS_KEPT: usize = 1 << 20;

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what a manager was given makes no sense")
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
    let mut server = Server {
        objects,
        door: Some(door),
        store,
        crews: Crews::new(link),
        desks: Vec::new(),
        turns: Turns::new(settings.cpus as usize),
        connections: 0,
        // Of the memory of the process, what is held takes a third, and an answer that is being made as much: see `found`.
        most_kept: (settings.max_bytes / 2).clamp(ALWAYS_KEPT as u64, MAX_MESSAGE as u64) as usize,
        buffers: Buffers::default(),
        spinner: Spinner::new(),
    };
    while server.door.is_some() || !server.desks.is_empty() {
        let let_in = server.let_in()?;
        let attended = match server.attend()? {
            Attended::Nobody => false,
            Attended::Somebody => true,
            Attended::Last => return Ok(()),
        };
        server.expire();
        let passed_on = server.crews.take_turn(server.objects, &mut server.store)?;
        // Those who leave because they do not take it may have had work for crews.
        let sent = server.send_late()?;
        if !(let_in || attended || passed_on || sent) {
            server.rest()?;
        }
    }
    Ok(())
}

struct Server<'o> {
    objects: &'o mut Objects,
    /// Through which clients come; none: there will be no more.
    door: Option<Handle>,
    store: Store,
    crews: Crews,
    desks: Vec<Desk>,
    turns: Turns,
    /// How many there have been.
    connections: u32,
    /// Bytes of answers that may be kept for all clients together.
    most_kept: usize,
    buffers: Buffers,
    spinner: Spinner,
}

/// What there is at the door.
enum Knock {
    Letter(Letter),
    Nobody,
    /// There never will be.
    Closed,
}

/// Whom there was something to do for.
enum Attended {
    Nobody,
    Somebody,
    /// Somebody who has shut the manager down.
    Last,
}

impl Server<'_> {
    /// Gives those a desk who are at the door. Whether there was anybody.
    fn let_in(&mut self) -> io::Result<bool> {
        let mut anybody = false;
        while let Some(door) = &self.door {
            match receive(self.objects, door)? {
                Knock::Letter(letter) => {
                    anybody = true;
                    self.give_desk(letter)?;
                }
                Knock::Nobody => break,
                Knock::Closed => self.door = None,
            }
        }
        Ok(anybody)
    }

    fn give_desk(&mut self, Letter { token, client }: Letter) -> io::Result<()> {
        self.connections += 1;
        let caller = Caller {
            connection: self.connections,
            client,
        };
        match self.objects.open_token(ObjectKind::Connection, token) {
            Ok(number) => {
                let pipe = handle(self.objects, number)?;
                self.desks.push(Desk::new(caller, number, pipe));
                Ok(())
            }
            // It has gone again.
            Err(OpenError::Refused(_)) => Ok(()),
            // Were it left alone, it would wait for ever. There may be no descriptors left: the objects of a
            // guest's types can use them up, in a directory that was granted.
            Err(error) => Err(failed(error)),
        }
    }

    /// How many more bytes of answers may be kept.
    fn room(&self) -> usize {
        let kept: usize = self.desks.iter().map(|desk| desk.outbox.bytes()).sum();
        self.most_kept.saturating_sub(kept)
    }

    /// Serves those whose turn it is: once, or if others wait for their turn, for as long as it is and there is nobody else to be
    /// told anything.
    fn attend(&mut self) -> io::Result<Attended> {
        let crowded = self.turns.give(&mut self.desks);
        let mut attended = if crowded { Attended::Somebody } else { Attended::Nobody };
        let mut room = self.room();
        loop {
            let mut served = false;
            let mut at = 0;
            while at < self.desks.len() {
                let desk = &mut self.desks[at];
                let has_turn = !crowded || desk.has_turn;
                if !has_turn && desk.outbox.is_empty() {
                    at += 1;
                    continue;
                }
                let most = if has_turn { IN_A_ROW } else { 0 };
                let house = (&*self.objects, &mut self.store, &mut self.crews);
                match desk.take_turn(most, house, &mut self.buffers, &mut room)? {
                    Turn::Idle => at += 1,
                    Turn::Served => {
                        attended = Attended::Somebody;
                        served |= has_turn;
                        at += 1;
                    }
                    Turn::ShutDown => return Ok(Attended::Last),
                    Turn::Over => {
                        attended = Attended::Somebody;
                        self.leave(at);
                    }
                }
            }
            let goes_on = self.turns.go_on(&mut self.desks, served, crowded);
            if !goes_on || self.store.has_late() || !self.crews.is_empty() {
                return Ok(attended);
            }
        }
    }

    /// Ends those waits whose time is up.
    fn expire(&mut self) {
        if let Some(deadline) = self.store.next_deadline() {
            let now = Instant::now();
            if deadline <= now {
                self.store.expire(now);
            }
        }
    }

    /// Answers those who have waited. Who does not take it leaves, and what was theirs may be the answer for others. Whether there
    /// was anybody.
    fn send_late(&mut self) -> io::Result<bool> {
        let mut any = false;
        loop {
            let late = self.store.take_late();
            if late.is_empty() {
                return Ok(any);
            }
            any = true;
            let mut room = self.room();
            for late in late {
                let theirs = |desk: &Desk| desk.caller.connection == late.connection;
                let Some(at) = self.desks.iter().position(theirs) else {
                    continue;
                };
                let party = self.objects.party().ok_or_else(nonsense)?;
                late.write(&mut self.buffers.answer);
                if !self.desks[at].send(party, &self.buffers.answer, &mut room)? {
                    self.leave(at);
                }
                self.buffers.shrink();
            }
        }
    }

    /// Takes a client's place away.
    fn leave(&mut self, at: usize) {
        let desk = self.desks.remove(at);
        self.turns.leave(at);
        let (caller, number) = (desk.caller, desk.number);
        let read = desk.has_read_all();
        // Before its handle is closed.
        drop(desk);
        self.objects.close(number);
        self.store.leave(caller, read);
        if !self.desks.iter().any(|desk| desk.caller.client == caller.client) {
            self.store.forget(caller.client);
        }
    }

    /// Waits until there is something to do.
    fn rest(&mut self) -> io::Result<()> {
        let party = self.objects.party().ok_or_else(nonsense)?;
        let is_owed = |desk: &Desk| !desk.outbox.is_empty();
        let again = self.desks.iter().any(is_owed).then(|| Instant::now() + TRY_AGAIN);
        let deadline = self.store.next_deadline().into_iter().chain(again).min();
        let heard = self.desks.iter().filter(|desk| !is_owed(desk));
        let pipes = self.door.iter().chain(heard.map(|desk| &desk.pipe));
        let ends: Vec<&Connection> = pipes.map(end_of).collect::<io::Result<_>>()?;
        let crews = &self.crews;
        if self
            .spinner
            .spin(|| ends.iter().any(|end| end.is_ready()) || crews.are_heard())
        {
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
}

fn receive(objects: &Objects, door: &Handle) -> io::Result<Knock> {
    let (door, party) = (end_of(door)?, objects.party().ok_or_else(nonsense)?);
    // As a rule: and to see that costs less than to try.
    if !door.is_ready() {
        return Ok(Knock::Nobody);
    }
    let copied = door.recv(party, Limit::Poll, |message| message.to_vec());
    match copied {
        Ok(message) => decode(&message).map(Knock::Letter),
        Err(RecvError::TimedOut | RecvError::Interrupted) => Ok(Knock::Nobody),
        Err(RecvError::End) => Ok(Knock::Closed),
        Err(error) => Err(io::Error::other(error)),
    }
}
