//! What guests write to their standard output and error, on its way to whoever wants it.
//!
//! Workers hand it to the supervisor through their reply rings; a thread for each family of pools cuts it into whole lines
//! and passes them on. The supervisor never waits for that thread: when it is behind, the worker's ring is left unread,
//! and the guest waits in its write.
//!
//! Each piece says when it was written. Two guests that print in turns, as with a lock, are read from two rings, in no
//! particular order; so before the thread passes on what was written up to some moment, it has all rings read, and puts what
//! has come in order.

mod meter;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use wasmp_ipc::monotonic;

use self::meter::{Admitted, Meter};
use crate::logs::LogDir;

/// Bytes that may wait for the receiver before a guest has to.
const MAX_QUEUED: usize = 4 << 20;

/// What one write costs here beside its bytes: a guest may write them one by one.
const OVERHEAD: usize = 128;

/// A line longer than this is passed on in pieces.
const MAX_LINE: usize = 64 * 1024;

/// Which of its streams a guest wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
}

/// Something that a guest wrote.
#[derive(Clone, Copy, Debug)]
pub struct GuestOutput<'a> {
    /// The slot of the worker, from 1.
    pub worker: u32,
    /// Where the guest wrote it.
    pub stream: Stream,
    /// One line with its line end; without one, the rest that a worker left when it ended, or a piece of a line of more
    /// than 64 KiB. The guest chose these bytes: escape them before they reach a terminal.
    pub line: &'a [u8],
}

/// A process that writes.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    /// The slot of the worker, from 1.
    pub(crate) worker: u32,
    pub(crate) name: String,
    /// 0 if it is not known.
    pub(crate) pid: u32,
}

/// Receives what guests write.
pub(crate) type OutputHandler = Box<dyn FnMut(GuestOutput<'_>) + Send>;

/// How output is cut before it is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Into whole lines, so that those of several workers do not mix.
    Lines,
    /// As it was written.
    Raw,
}

/// The default: to the host's own streams. A terminal gets no control characters, with which a guest could type an answer
/// or hide what it did.
pub(crate) fn inherit(output: GuestOutput<'_>) {
    // Nobody is left to tell when these are closed.
    let _ = match output.stream {
        Stream::Stdout => pass_to(io::stdout().lock(), output.line),
        Stream::Stderr => pass_to(io::stderr().lock(), output.line),
    };
}

fn pass_to(mut stream: impl Write + IsTerminal, line: &[u8]) -> io::Result<()> {
    if stream.is_terminal() {
        return stream.write_all(visible(line).as_bytes());
    }
    stream.write_all(line)
}

/// The text of a line, with control characters as escapes.
fn visible(line: &[u8]) -> String {
    let mut shown = String::with_capacity(line.len());
    for character in String::from_utf8_lossy(line).chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

enum What {
    Output {
        writer: Arc<Writer>,
        stream: Stream,
        bytes: Vec<u8>,
    },
    /// This process is gone: what it left of a line is all there will be.
    End { writer: Arc<Writer> },
    /// Everything before this is passed on when the sender of it is dropped.
    Flush(Sender<()>),
}

/// Something for the thread, and when it came about on the monotonic clock.
struct Message {
    at: u64,
    what: What,
}

#[derive(Debug, Default)]
struct Level {
    queued: AtomicUsize,
    refused: AtomicBool,
    /// The thread has ended: what is sent now reaches nobody.
    over: AtomicBool,
}

/// The supervisor's end.
#[derive(Clone)]
pub(crate) struct OutputSender {
    sender: Sender<Message>,
    level: Arc<Level>,
}

impl fmt::Debug for OutputSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputSender")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl OutputSender {
    /// Passes something on that was written `at` this time, as the worker says; gives it back if too much is waiting, unless
    /// it is `urgent`.
    pub(crate) fn send(
        &self,
        writer: &Arc<Writer>,
        stream: Stream,
        at: u64,
        bytes: Vec<u8>,
        urgent: bool,
    ) -> Result<(), Vec<u8>> {
        let writer = Arc::clone(writer);
        let level = &self.level;
        if !urgent && level.queued.load(Ordering::Acquire) > MAX_QUEUED {
            level.refused.store(true, Ordering::SeqCst);
            // The thread may have caught up, or ended, before it could see that.
            if level.queued.load(Ordering::SeqCst) > MAX_QUEUED && !level.over.load(Ordering::SeqCst) {
                return Err(bytes);
            }
        }
        level.queued.fetch_add(bytes.len() + OVERHEAD, Ordering::AcqRel);
        // Nothing was written later than it is now, whatever a worker says.
        self.tell(at.min(monotonic()), What::Output { writer, stream, bytes });
        Ok(())
    }

    /// A process has ended.
    pub(crate) fn end_writer(&self, writer: Arc<Writer>) {
        self.tell(monotonic(), What::End { writer });
    }

    /// Waits until everything that was sent is passed on.
    pub(crate) fn flush(&self) {
        let (passed, wait) = bounded(0);
        self.tell(monotonic(), What::Flush(passed));
        let _ = wait.recv();
    }

    fn tell(&self, at: u64, what: What) {
        let _ = self.sender.send(Message { at, what });
    }
}

/// Starts the thread that passes output on, which ends with the last sender. `gather` has everything sent that was written
/// until now, also what was refused before there was room again.
pub(crate) fn start(
    handler: OutputHandler,
    logs: Option<LogDir>,
    framing: Framing,
    rate: Option<u64>,
    gather: impl Fn() + Send + 'static,
) -> io::Result<OutputSender> {
    let (sender, receiver) = unbounded();
    let level = Arc::new(Level::default());
    let sender = OutputSender {
        sender,
        level: Arc::clone(&level),
    };
    std::thread::Builder::new().name("wasmp-output".into()).spawn(move || {
        let ending = Ending { level: &level, gather };
        let mut passing = Passing {
            target: Target {
                handler,
                logs,
                meter: rate.map(Meter::new),
            },
            framing,
            level: &level,
            rests: HashMap::new(),
        };
        let refused = || level.refused.swap(false, Ordering::SeqCst);
        in_order(&receiver, refused, &ending.gather, |what| passing.pass(what));
    })?;
    Ok(sender)
}

/// Lets go of everyone who waits for the thread when it ends: with the last sender, or because the handler panicked.
struct Ending<'a, F: Fn()> {
    level: &'a Level,
    gather: F,
}

impl<F: Fn()> Drop for Ending<'_, F> {
    fn drop(&mut self) {
        self.level.over.store(true, Ordering::SeqCst);
        if self.level.refused.swap(false, Ordering::SeqCst) {
            (self.gather)();
        }
    }
}

/// Takes what comes, in the order in which it came about.
fn in_order(receiver: &Receiver<Message>, refused: impl Fn() -> bool, gather: impl Fn(), mut take: impl FnMut(What)) {
    let mut waiting: Vec<Message> = Vec::new();
    loop {
        if waiting.is_empty() {
            // There is room again for what was refused.
            if refused() {
                gather();
            }
            match receiver.recv() {
                Ok(message) => waiting.push(message),
                Err(_) => return,
            }
        }
        waiting.extend(receiver.try_iter());
        // Whoever had written before one of these was written had done so by now.
        let until = waiting.iter().map(|message| message.at).max().unwrap_or_default();
        gather();
        waiting.extend(receiver.try_iter());
        waiting.sort_by_key(|message| message.at);
        let due = waiting.partition_point(|message| message.at <= until);
        for message in waiting.drain(..due) {
            take(message.what);
        }
    }
}

/// Where output goes.
struct Target {
    handler: OutputHandler,
    /// What is written to standard error goes there, too.
    logs: Option<LogDir>,
    /// How much goes there, if that is limited.
    meter: Option<Meter>,
}

impl Target {
    /// Passes a line on, unless its writer has had enough.
    fn pass(&mut self, writer: &Writer, stream: Stream, line: &[u8]) {
        if let Some(meter) = &mut self.meter {
            match meter.admit(writer.worker, line.len(), Instant::now()) {
                Admitted::Dropped => return,
                Admitted::Passed { dropped } => self.note(writer, dropped),
            }
        }
        self.write(writer, stream, line);
    }

    /// Says how much was dropped, if anything was.
    fn note(&mut self, writer: &Writer, dropped: u64) {
        if let (1.., Some(meter)) = (dropped, &self.meter) {
            let rate = meter.rate();
            let note = format!("wasmp: {dropped} bytes dropped: more than {rate} bytes a second are not passed on\n");
            self.write(writer, Stream::Stderr, note.as_bytes());
        }
    }

    fn write(&mut self, writer: &Writer, stream: Stream, line: &[u8]) {
        if let (Stream::Stderr, Some(logs)) = (stream, &mut self.logs) {
            logs.write(writer, line);
        }
        (self.handler)(GuestOutput {
            worker: writer.worker,
            stream,
            line,
        });
    }

    fn end(&mut self, writer: &Writer) {
        let dropped = self.meter.as_mut().map(|meter| meter.forget(writer.worker));
        self.note(writer, dropped.unwrap_or_default());
        if let Some(logs) = &mut self.logs {
            logs.end(writer.worker);
        }
    }
}

/// What output goes through on its way.
struct Passing<'l> {
    target: Target,
    framing: Framing,
    level: &'l Level,
    /// What workers have begun of a line.
    rests: HashMap<(u32, Stream), Vec<u8>>,
}

impl Passing<'_> {
    fn pass(&mut self, what: What) {
        let Self {
            target,
            framing,
            level,
            rests,
        } = self;
        match what {
            What::Output { writer, stream, bytes } => {
                let cost = bytes.len() + OVERHEAD;
                if *framing == Framing::Raw {
                    target.pass(&writer, stream, &bytes);
                } else {
                    let rest = rests.entry((writer.worker, stream)).or_default();
                    let known = rest.len();
                    rest.extend_from_slice(&bytes);
                    let passed = pass_lines(rest, known, |line| target.pass(&writer, stream, line));
                    rest.drain(..passed);
                }
                level.queued.fetch_sub(cost, Ordering::SeqCst);
            }
            What::End { writer } => {
                for stream in [Stream::Stdout, Stream::Stderr] {
                    let rest = rests.remove(&(writer.worker, stream));
                    if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                        target.pass(&writer, stream, &rest);
                    }
                }
                target.end(&writer);
            }
            What::Flush(passed) => drop(passed),
        }
    }
}

/// Passes on the whole lines at the start of `bytes`, of which the first `known` hold no line end, and returns their
/// length.
fn pass_lines(bytes: &[u8], known: usize, mut pass: impl FnMut(&[u8])) -> usize {
    let (mut start, mut at) = (0, known);
    while let Some(len) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        at += len + 1;
        pass(&bytes[start..at]);
        start = at;
    }
    if bytes.len() - start >= MAX_LINE {
        pass(&bytes[start..]);
        start = bytes.len();
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn worker(number: u32) -> Arc<Writer> {
        Arc::new(Writer {
            worker: number,
            name: String::new(),
            pid: 0,
        })
    }

    fn collect(framing: Framing, feed: impl FnOnce(&OutputSender)) -> Vec<(u32, Stream, Vec<u8>)> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let handler: OutputHandler = Box::new(move |output| {
            kept.lock()
                .unwrap()
                .push((output.worker, output.stream, output.line.to_vec()));
        });
        let sender = start(handler, None, framing, None, || ()).unwrap();
        feed(&sender);
        sender.flush();
        std::mem::take(&mut *lines.lock().unwrap())
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(
            visible(b"\x1b[2Jred\t\xc2\x9b5n\x07\xff\n"),
            "\\u{1b}[2Jred\t\\u{9b}5n\\u{7}\u{fffd}\n"
        );
    }

    #[test]
    fn lines_of_two_workers_do_not_mix() {
        let lines = collect(Framing::Lines, |sender| {
            sender
                .send(&worker(1), Stream::Stdout, monotonic(), b"one ".to_vec(), false)
                .unwrap();
            sender
                .send(&worker(2), Stream::Stdout, monotonic(), b"two\n".to_vec(), false)
                .unwrap();
            sender
                .send(&worker(1), Stream::Stdout, monotonic(), b"line\nrest".to_vec(), false)
                .unwrap();
            sender.end_writer(worker(1));
        });
        let stdout = |worker, line: &[u8]| (worker, Stream::Stdout, line.to_vec());
        assert_eq!(
            lines,
            [stdout(2, b"two\n"), stdout(1, b"one line\n"), stdout(1, b"rest")]
        );
    }

    /// Two workers that print in turns, whose rings are read the wrong way round.
    #[test]
    fn what_was_written_first_is_passed_on_first_even_if_it_comes_later() {
        let late = Arc::new(Mutex::new(Vec::new()));
        let (sent, seen) = (Arc::clone(&late), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&seen);
        let handler: OutputHandler = Box::new(move |output| kept.lock().unwrap().push(output.line.to_vec()));
        let gather = move || {
            for (sender, at, line) in sent.lock().unwrap().drain(..) {
                let sender: OutputSender = sender;
                let line: &[u8] = line;
                sender
                    .send(&worker(1), Stream::Stdout, at, line.to_vec(), false)
                    .unwrap();
            }
        };
        let sender = start(handler, None, Framing::Lines, None, gather).unwrap();
        let (first, second, third) = (monotonic(), monotonic(), monotonic());
        late.lock().unwrap().extend([
            (sender.clone(), first, &b"first\n"[..]),
            (sender.clone(), third + 1_000_000_000, &b"after all\n"[..]),
        ]);
        sender
            .send(&worker(2), Stream::Stdout, second, b"second\n".to_vec(), false)
            .unwrap();
        sender.flush();
        // What a worker has written meanwhile is for the next time, whatever time it says.
        sender.flush();
        assert_eq!(*seen.lock().unwrap(), [&b"first\n"[..], b"second\n", b"after all\n"]);
    }

    #[test]
    fn raw_output_passes_as_it_was_written() {
        let lines = collect(Framing::Raw, |sender| {
            sender
                .send(&worker(1), Stream::Stderr, monotonic(), b"no line".to_vec(), false)
                .unwrap();
        });
        assert_eq!(lines, [(1, Stream::Stderr, b"no line".to_vec())]);
    }

    #[test]
    fn too_much_is_refused_until_there_is_room_again() {
        let (pause, paused) = bounded::<()>(0);
        let (room, has_room) = unbounded();
        let handler: OutputHandler = Box::new(move |_| {
            let _ = paused.recv();
        });
        let sender = start(handler, None, Framing::Raw, None, move || room.send(()).unwrap()).unwrap();
        sender
            .send(&worker(1), Stream::Stdout, monotonic(), vec![0; MAX_QUEUED + 1], false)
            .unwrap();
        assert!(
            sender
                .send(&worker(1), Stream::Stdout, monotonic(), vec![1], false)
                .is_err()
        );
        drop(pause);
        while sender
            .send(&worker(1), Stream::Stdout, monotonic(), vec![1], false)
            .is_err()
        {
            has_room.recv().unwrap();
        }
        sender.flush();
    }

    #[test]
    fn a_handler_that_panics_keeps_no_guest_waiting() {
        let (room, has_room) = unbounded();
        let (pause, paused) = bounded::<()>(0);
        let handler: OutputHandler = Box::new(move |_| {
            let _ = paused.recv();
            // Without a backtrace: the child of a test that forks meanwhile could not make one of its own.
            std::panic::resume_unwind(Box::new("as a test of it"));
        });
        let sender = start(handler, None, Framing::Raw, None, move || room.send(()).unwrap()).unwrap();
        sender
            .send(&worker(1), Stream::Stdout, monotonic(), vec![0; MAX_QUEUED + 1], false)
            .unwrap();
        assert!(
            sender
                .send(&worker(1), Stream::Stdout, monotonic(), vec![1], false)
                .is_err()
        );
        drop(pause);
        while sender
            .send(&worker(1), Stream::Stdout, monotonic(), vec![1], false)
            .is_err()
        {
            has_room.recv().unwrap();
        }
        sender.flush();
    }

    #[test]
    fn a_line_that_comes_in_pieces_is_one() {
        let lines = collect(Framing::Lines, |sender| {
            for byte in b"ab\n\nc" {
                sender
                    .send(&worker(1), Stream::Stdout, monotonic(), vec![*byte], false)
                    .unwrap();
            }
            sender.end_writer(worker(1));
        });
        let texts: Vec<&[u8]> = lines.iter().map(|(_, _, line)| &line[..]).collect();
        assert_eq!(texts, [&b"ab\n"[..], b"\n", b"c"]);
    }
}
