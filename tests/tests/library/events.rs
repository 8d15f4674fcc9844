//! What an operator is told.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use wasmp::ErrorKind;
use wasmp_tests::{Process, descendants, eventually, isolated};

use crate::common::{builder, task_error};

/// Keeps what it is told: a line for each event, its level first.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// From now on, in the whole process.
    fn begin() -> Self {
        let heard = Self::default();
        tracing::subscriber::set_global_default(heard.clone()).expect("nobody else listens");
        heard
    }

    /// Waits for an event that has all of these words.
    #[track_caller]
    fn wait_for(&self, words: &[&str]) {
        let lines = || self.0.lock().expect("nobody panics with it");
        eventually(&words.join(" … "), || {
            lines()
                .iter()
                .any(|line| words.iter().all(|word| line.contains(word)))
                .then_some(())
        });
    }

    fn count(&self, words: &str) -> usize {
        let lines = self.0.lock().expect("nobody panics with it");
        lines.iter().filter(|line| line.contains(words)).count()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("wasmp::") && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().expect("nobody panics with it").push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn births_deaths_deadlines_and_ends_are_told() {
    isolated(|| {
        let heard = Heard::begin();
        let pool = builder(1).timeout(Duration::from_millis(50)).build().unwrap();
        assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        let first = pool.worker_pids()[0];
        heard.wait_for(&["DEBUG", "a worker has started", &format!("pid={first}"), "PoolWorker-1"]);
        Process::open(first).expect("it runs").kill();
        heard.wait_for(&["WARN", "a worker died", &format!("pid={first}"), "died"]);
        heard.wait_for(&["DEBUG", "a worker has started", "PoolWorker-2"]);

        let spinning = pool.apply::<_, ()>("spin", ());
        assert_eq!(task_error(spinning).kind, ErrorKind::Timeout);
        heard.wait_for(&["WARN", "an item runs longer than it may", "limit=50ms"]);
        heard.wait_for(&["DEBUG", "a worker has ended", "timeout"]);

        assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        let before = heard.0.lock().unwrap().len();
        let _: Vec<i64> = pool.map("square", 0..10_000).unwrap();
        assert_eq!(heard.0.lock().unwrap().len(), before, "nothing is told of items");

        pool.close();
        pool.join().unwrap();
        heard.wait_for(&["DEBUG", "a pool was closed"]);
        assert_eq!(heard.count("a worker died"), 1);
    });
}

#[test]
fn lost_processes_are_told() {
    isolated(|| {
        let heard = Heard::begin();
        let pool = builder(1).build().unwrap();
        assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        descendants(std::process::id(), "wasmp-zygote")
            .iter()
            .for_each(Process::kill);
        heard.wait_for(&["WARN", "a zygote is lost"]);
        descendants(std::process::id(), "wasmp-keeper")
            .iter()
            .for_each(Process::kill);
        heard.wait_for(&["ERROR", "a keeper is lost", "SIGKILL"]);
        heard.wait_for(&["ERROR", "a pool gave up", "the keeper process"]);
    });
}

#[test]
fn a_soft_deadline_is_told_once() {
    isolated(|| {
        let heard = Heard::begin();
        let pool = builder(1).soft_timeout(Duration::from_millis(50)).build().unwrap();
        let spinning = pool.apply::<_, ()>("spin", ());
        assert_eq!(task_error(spinning).kind, ErrorKind::Timeout);
        assert_eq!(heard.count("an item runs longer than it may"), 1);
        assert_eq!(heard.count("a worker died"), 0);
    });
}
