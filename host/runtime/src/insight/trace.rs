//! A timeline of a pool in the trace event format of Chrome, which Perfetto and `chrome://tracing` show.
//!
//! The file is an array of events: each item is a bar in the row of its worker, births and deaths are marks. It is written
//! by a thread of its own, since the writer is the caller's. The supervisor never waits for that thread: when it is too
//! far behind, events are left out, and the last event says how many.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use serde::Serialize;
use wasmp_ipc::monotonic;

use super::{Fate, Ran};

/// Events that may wait for the writer; each takes some 64 bytes.
const MAX_QUEUED: usize = 1 << 20;

/// Bytes that are written at once.
const BUFFERED: usize = 256 << 10;

/// Something that a worker did, or that happened to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// 0 for the pool as a whole.
    pub(super) worker: u32,
    /// Nanoseconds of the monotonic clock.
    pub(super) at: u64,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// Nanoseconds.
    Ran {
        ran: Ran,
        took: u64,
        fate: Fate,
    },
    Started {
        pid: u32,
    },
    Ended {
        pid: u32,
        why: &'static str,
    },
    Timeout {
        ran: Ran,
    },
    Cancelled {
        task: u32,
    },
}

impl Event {
    pub(super) fn now(worker: u32, what: What) -> Self {
        let at = monotonic();
        Self { worker, at, what }
    }
}

enum Message {
    Events(Vec<Event>),
    /// That was all. The sender is dropped when the writer has it.
    Finish(Sender<()>),
}

#[derive(Debug, Default)]
struct State {
    queued: AtomicUsize,
    /// Events that were left out.
    lost: AtomicU64,
    /// Why it cannot be written, until somebody asks.
    error: Mutex<Option<io::Error>>,
}

/// The way to the thread that writes.
#[derive(Clone, Debug)]
pub(crate) struct TraceSender {
    sender: Sender<Message>,
    state: Arc<State>,
}

impl TraceSender {
    pub(super) fn send(&self, events: Vec<Event>) {
        let count = events.len();
        if self.state.queued.load(Ordering::Relaxed) + count > MAX_QUEUED {
            self.state.lost.fetch_add(count as u64, Ordering::Relaxed);
            return;
        }
        self.state.queued.fetch_add(count, Ordering::Relaxed);
        // The thread may have ended, after an error or at the end of the trace.
        let _ = self.sender.send(Message::Events(events));
    }

    /// Ends the trace with what was sent so far, and waits until it is written, until `deadline` at most. Whether it was.
    ///
    /// # Errors
    ///
    /// The first error of the writer; told once.
    pub(crate) fn finish(&self, deadline: Option<Instant>) -> io::Result<bool> {
        let (done, is_done) = bounded::<()>(0);
        let _ = self.sender.send(Message::Finish(done));
        let in_time = match deadline {
            Some(deadline) => !matches!(is_done.recv_deadline(deadline), Err(RecvTimeoutError::Timeout)),
            None => is_done.recv().is_err(),
        };
        let error = self.state.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        error.map_or(Ok(in_time), Err)
    }
}

/// Starts the thread that writes a trace. It ends with the trace, or with the last sender.
pub(crate) fn start(writer: Box<dyn Write + Send>, pool: u32, tasks: Vec<String>) -> io::Result<TraceSender> {
    let (sender, receiver) = unbounded();
    let state = Arc::new(State::default());
    let shared = Arc::clone(&state);
    // Not when the thread gets to it: items may run by then.
    let origin = monotonic();
    std::thread::Builder::new().name("wasmp-trace".into()).spawn(move || {
        let mut ending = Ending {
            state: &shared,
            outcome: Err(io::Error::other("the writer panicked")),
            finished: None,
        };
        let file = File::begin(BufWriter::with_capacity(BUFFERED, writer), origin, pool, &tasks);
        ending.outcome = file.and_then(|file| write(&receiver, file, &shared, &mut ending.finished));
    })?;
    Ok(TraceSender { sender, state })
}

/// Tells how it ended before letting go of whoever waits for it.
struct Ending<'a> {
    state: &'a State,
    outcome: io::Result<()>,
    finished: Option<Sender<()>>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Ok(()));
        *self.state.error.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err();
        drop(self.finished.take());
    }
}

fn write(
    receiver: &Receiver<Message>,
    mut file: File<'_, impl Write>,
    state: &State,
    finished: &mut Option<Sender<()>>,
) -> io::Result<()> {
    for message in receiver {
        match message {
            Message::Events(events) => {
                state.queued.fetch_sub(events.len(), Ordering::Relaxed);
                for event in &events {
                    file.event(event)?;
                }
            }
            Message::Finish(done) => {
                *finished = Some(done);
                break;
            }
        }
    }
    file.end(state.lost.load(Ordering::Relaxed))
}

/// An event as it stands in the file.
#[derive(Serialize)]
struct Record<'a, A> {
    name: &'a str,
    #[serde(rename = "ph")]
    phase: &'static str,
    /// Microseconds since the trace began.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    /// How far a mark reaches.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    pid: u32,
    tid: u32,
    args: A,
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct RanArgs {
    index: u64,
    attempt: u32,
    outcome: &'static str,
}

#[derive(Serialize)]
struct ItemArgs<'a> {
    task: &'a str,
    index: u64,
    attempt: u32,
}

#[derive(Serialize)]
struct StartedArgs {
    pid: u32,
}

#[derive(Serialize)]
struct EndedArgs {
    pid: u32,
    reason: &'static str,
}

#[derive(Serialize)]
struct TaskArgs<'a> {
    task: &'a str,
}

#[derive(Serialize)]
struct LostArgs {
    events: u64,
}

/// A trace that is being written.
struct File<'t, W> {
    out: W,
    tasks: &'t [String],
    /// When it began, on the monotonic clock.
    origin: u64,
    pid: u32,
    /// Workers whose row has its name.
    named: HashSet<u32>,
    first: bool,
}

impl<'t, W: Write> File<'t, W> {
    fn begin(mut out: W, origin: u64, pool: u32, tasks: &'t [String]) -> io::Result<Self> {
        out.write_all(b"[")?;
        let mut file = Self {
            out,
            tasks,
            origin,
            pid: std::process::id(),
            named: HashSet::new(),
            first: true,
        };
        file.name("process_name", 0, &format!("wasmp pool {pool}"))?;
        file.name("thread_name", 0, "pool")?;
        Ok(file)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let Event { worker, at, what } = *event;
        if worker != 0 && self.named.insert(worker) {
            self.name("thread_name", worker, &format!("worker {worker}"))?;
        }
        let tasks = self.tasks;
        let task = |task: u32| tasks.get(task as usize).map_or("", String::as_str);
        match what {
            What::Ran { ran, took, fate } => {
                let record = Record {
                    name: task(ran.task),
                    phase: "X",
                    ts: Some(self.since_origin(at)),
                    dur: Some(took as f64 / 1000.0),
                    scope: None,
                    pid: self.pid,
                    tid: worker,
                    args: RanArgs {
                        index: ran.index,
                        attempt: ran.attempt,
                        outcome: fate.name(),
                    },
                };
                self.record(&record)
            }
            What::Started { pid } => self.mark("worker started", worker, at, StartedArgs { pid }),
            What::Ended { pid, why } => self.mark("worker ended", worker, at, EndedArgs { pid, reason: why }),
            What::Timeout { ran } => {
                let args = ItemArgs {
                    task: task(ran.task),
                    index: ran.index,
                    attempt: ran.attempt,
                };
                self.mark("timeout", worker, at, args)
            }
            What::Cancelled { task: number } => self.mark("cancelled", worker, at, TaskArgs { task: task(number) }),
        }
    }

    fn end(mut self, lost: u64) -> io::Result<()> {
        if lost > 0 {
            self.mark("events left out", 0, monotonic(), LostArgs { events: lost })?;
        }
        self.out.write_all(b"\n]\n")?;
        self.out.flush()
    }

    fn mark(&mut self, name: &str, worker: u32, at: u64, args: impl Serialize) -> io::Result<()> {
        let record = Record {
            name,
            phase: "i",
            ts: Some(self.since_origin(at)),
            dur: None,
            scope: Some(if worker == 0 { "p" } else { "t" }),
            pid: self.pid,
            tid: worker,
            args,
        };
        self.record(&record)
    }

    fn name(&mut self, what: &'static str, worker: u32, name: &str) -> io::Result<()> {
        let record = Record {
            name: what,
            phase: "M",
            ts: None,
            dur: None,
            scope: None,
            pid: self.pid,
            tid: worker,
            args: Name { name },
        };
        self.record(&record)
    }

    fn record(&mut self, record: &Record<'_, impl Serialize>) -> io::Result<()> {
        let separator: &[u8] = if std::mem::take(&mut self.first) { b"\n" } else { b",\n" };
        self.out.write_all(separator)?;
        serde_json::to_writer(&mut self.out, record).map_err(io::Error::from)
    }

    /// Microseconds since the trace began.
    fn since_origin(&self, at: u64) -> f64 {
        at.saturating_sub(self.origin) as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what is written; fails when it has this many bytes.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<Vec<u8>>>, usize);

    impl Disk {
        fn new(size: usize) -> Self {
            Self(Arc::default(), size)
        }

        fn json(&self) -> Vec<serde_json::Value> {
            serde_json::from_slice(&self.0.lock().unwrap()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.0.lock().unwrap();
            if written.len() + bytes.len() > self.1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const RAN: Ran = Ran {
        task: 0,
        index: 7,
        attempt: 2,
    };

    fn trace(disk: &Disk) -> TraceSender {
        start(Box::new(disk.clone()), 3, vec!["say \"\u{1b}\"".into()]).unwrap()
    }

    #[test]
    fn a_trace_is_json_whatever_a_task_is_called() {
        let disk = Disk::new(usize::MAX);
        let sender = trace(&disk);
        let at = monotonic() + 5_000_000;
        let (took, fate) = (1500, Fate::Timeout);
        sender.send(vec![
            Event::now(4, What::Started { pid: 11 }),
            Event {
                worker: 4,
                at,
                what: What::Ran { ran: RAN, took, fate },
            },
            Event::now(4, What::Timeout { ran: RAN }),
        ]);
        sender.send(vec![
            Event::now(
                4,
                What::Ended {
                    pid: 11,
                    why: "timeout",
                },
            ),
            Event::now(0, What::Cancelled { task: 9 }),
        ]);
        assert!(sender.finish(None).unwrap());
        let events = disk.json();
        let names: Vec<_> = events.iter().map(|event| event["name"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "process_name",
                "thread_name",
                "thread_name",
                "worker started",
                "say \"\u{1b}\"",
                "timeout",
                "worker ended",
                "cancelled"
            ]
        );
        assert_eq!(events[2]["args"]["name"], "worker 4");
        let item = &events[4];
        assert_eq!((&item["ph"], &item["tid"]), (&"X".into(), &4.into()));
        assert_eq!(item["pid"], std::process::id());
        assert_eq!(item["dur"].as_f64(), Some(1.5));
        assert!(item["ts"].as_f64().unwrap() > 0.0);
        assert_eq!(item["args"]["outcome"], "timeout");
        assert_eq!(
            (&item["args"]["index"], &item["args"]["attempt"]),
            (&7.into(), &2.into())
        );
        assert_eq!(events[7]["s"], "p");
    }

    #[test]
    fn what_comes_after_the_end_is_not_in_it() {
        let disk = Disk::new(usize::MAX);
        let sender = trace(&disk);
        assert!(sender.finish(None).unwrap());
        sender.send(vec![Event::now(1, What::Started { pid: 1 })]);
        assert!(sender.finish(None).unwrap());
        assert_eq!(disk.json().len(), 2);
    }

    #[test]
    fn the_last_sender_ends_it_too() {
        let disk = Disk::new(usize::MAX);
        let sender = trace(&disk);
        sender.send(vec![Event::now(1, What::Started { pid: 1 })]);
        let state = Arc::downgrade(&sender.state);
        drop(sender);
        while state.strong_count() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(disk.json().len(), 4);
    }

    #[test]
    fn an_error_is_told_once_and_stops_nobody() {
        let sender = trace(&Disk::new(10));
        sender.send(vec![Event::now(1, What::Started { pid: 1 })]);
        assert_eq!(sender.finish(None).unwrap_err().kind(), io::ErrorKind::StorageFull);
        sender.send(vec![Event::now(1, What::Started { pid: 1 })]);
        assert!(sender.finish(None).unwrap());
    }

    #[test]
    fn a_writer_that_panics_is_an_error() {
        struct Bomb;
        impl Write for Bomb {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                // Without a backtrace: the child of a test that forks meanwhile could not make one of its own.
                std::panic::resume_unwind(Box::new("as a test of it"));
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sender = start(Box::new(Bomb), 1, Vec::new()).unwrap();
        assert_eq!(sender.finish(None).unwrap_err().to_string(), "the writer panicked");
    }

    #[test]
    fn a_writer_that_is_too_slow_is_told_what_it_has_missed() {
        let disk = Disk::new(usize::MAX);
        let (begin, begun) = bounded::<()>(0);
        struct Slow(Disk, Receiver<()>);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.1.recv();
                self.0.write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sender = start(Box::new(Slow(disk.clone(), begun)), 1, Vec::new()).unwrap();
        // As if the thread were that far behind.
        sender.state.queued.store(MAX_QUEUED, Ordering::Relaxed);
        sender.send(vec![Event::now(1, What::Started { pid: 1 }); 3]);
        drop(begin);
        assert!(sender.finish(None).unwrap());
        let events = disk.json();
        assert_eq!(events.last().unwrap()["args"]["events"], 3);
    }
}
