//! `--stats`: what a run has done, on one screen of 80 columns.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use wasmp::{PoolStats, WorkerStats};

use crate::terminal::visible;

/// Characters of a line.
const WIDTH: usize = 80;

/// Bytes of an input that are kept until it is known whether it is shown.
const KEPT: usize = 4 * WIDTH;

/// Items that may have come back before those among them are forgotten that were not slow.
const SWEEP: usize = 4096;

/// Rows for workers; what more of them did is in one row.
const ROWS: usize = 8;

/// Inputs that may yet be among the slowest. Their number is bounded, however many there are: who was not among the
/// slowest of those that are done will not be among the slowest of all.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// By their number in the pool: which item it is, and its text.
    texts: HashMap<u64, (String, Vec<u8>)>,
    returned: Vec<u64>,
}

impl Inputs {
    /// Notes what will be number `number` in the pool.
    pub(crate) fn note(&mut self, number: u64, item: &str, text: &[u8]) {
        let text = text[..text.len().min(KEPT)].to_vec();
        self.texts.insert(number, (item.to_owned(), text));
    }

    /// One has come back.
    pub(crate) fn returned(&mut self, number: u64, stats: impl FnOnce() -> PoolStats) {
        self.returned.push(number);
        if self.returned.len() < SWEEP {
            return;
        }
        let slowest: HashSet<u64> = stats().slowest.iter().map(|item| item.index).collect();
        for number in self.returned.drain(..) {
            if !slowest.contains(&number) {
                self.texts.remove(&number);
            }
        }
        self.returned
            .extend(slowest.into_iter().filter(|number| self.texts.contains_key(number)));
    }

    /// Which item it is, and its text, fit for a terminal.
    fn show(&self, number: u64) -> (&str, String) {
        match self.texts.get(&number) {
            Some((item, text)) => (item, visible(&String::from_utf8_lossy(text), "").into_owned()),
            None => ("", String::new()),
        }
    }
}

/// The text, or so much of it as has room.
fn cut(mut text: String, room: usize) -> String {
    if text.chars().count() > room
        && let Some((end, _)) = text.char_indices().nth(room.saturating_sub(1))
    {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// All there is to tell.
pub(crate) fn screen(stats: &PoolStats, inputs: &Inputs) -> String {
    let mut out = String::from(" worker    tasks  failed  retried  restarts     busy  waiting     idle    memory\n");
    let mut row = |name: &str, sum: &Sum| {
        let Sum {
            tasks,
            failed,
            retried,
            restarts,
            memory,
            times: [busy, waiting, idle],
        } = sum;
        let [busy, waiting, idle] = [busy, waiting, idle].map(|time| duration(*time));
        let (tasks, memory) = (count(*tasks), size(*memory));
        let (failed, retried, restarts) = (count(*failed), count(*retried), count(*restarts));
        let _ = writeln!(
            out,
            "{name:>7} {tasks:>8} {failed:>7} {retried:>8} {restarts:>9} {busy:>8} {waiting:>8} {idle:>8} {memory:>9}"
        );
    };
    let rows = if stats.workers.len() > ROWS { ROWS - 1 } else { ROWS };
    let (shown, others) = stats.workers.split_at(rows.min(stats.workers.len()));
    for worker in shown {
        row(&worker.worker.to_string(), &Sum::of(std::slice::from_ref(worker)));
    }
    if !others.is_empty() {
        row(&format!("+{}", others.len()), &Sum::of(others));
    }
    if stats.workers.len() > 1 {
        row("all", &Sum::of(&stats.workers));
    }
    if !stats.slowest.is_empty() {
        out.push_str("\nslowest items\n");
    }
    for item in &stats.slowest {
        let (name, text) = inputs.show(item.index);
        let head = format!("{:>8}  worker {:<4}  {name}  ", duration(item.took), item.worker);
        let text = cut(text, WIDTH.saturating_sub(head.chars().count()));
        let _ = writeln!(out, "{head}{text}");
    }
    out
}

/// What some workers did together.
#[derive(Debug, Default)]
struct Sum {
    tasks: u64,
    failed: u64,
    retried: u64,
    restarts: u64,
    memory: u64,
    /// Busy, waiting, idle.
    times: [Duration; 3],
}

impl Sum {
    fn of(workers: &[WorkerStats]) -> Self {
        workers.iter().fold(Self::default(), |mut sum, worker| {
            sum.tasks += worker.done + worker.failed;
            sum.failed += worker.failed;
            sum.retried += worker.retried;
            sum.restarts += worker.restarts;
            sum.memory += worker.peak_memory;
            if let Some(times) = worker.times {
                for (sum, time) in sum.times.iter_mut().zip([times.busy, times.waiting, times.idle]) {
                    *sum += time;
                }
            }
            sum
        })
    }
}

/// A number of at most seven characters.
fn count(number: u64) -> String {
    scaled(number as f64, 1000.0, &["", "k", "M", "G", "T"], |number| number < 1e6)
}

/// At most seven characters, in bytes.
fn size(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"], |bytes| {
        bytes < 1024.0
    })
}

fn scaled(mut number: f64, base: f64, units: &[&str], whole: impl Fn(f64) -> bool) -> String {
    if whole(number) {
        return format!("{number:.0}{}", units[0]);
    }
    let mut unit = 0;
    while number >= base && unit + 1 < units.len() {
        number /= base;
        unit += 1;
    }
    format!("{number:.1}{}", units[unit])
}

/// At most eight characters.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..0.000_999_5 => format!("{:.0}µs", seconds * 1e6),
        ..0.999_5 => format!("{:.0}ms", seconds * 1e3),
        ..99.995 => format!("{seconds:.2}s"),
        ..5999.5 => format!("{:.1}m", seconds / 60.0),
        _ => format!("{:.1}h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        let microseconds = [0, 7, 999_400, 1_234_000, 99_000_000, 600_000_000, 360_000_000_000];
        let shown = microseconds.map(|time| duration(Duration::from_micros(time)));
        assert_eq!(shown, ["0µs", "7µs", "999ms", "1.23s", "99.00s", "10.0m", "100.0h"]);
        assert_eq!([7, 999_999, 12_345_678].map(count), ["7", "999999", "12.3M"]);
        assert_eq!([7, 1 << 20, 5 << 29].map(size), ["7 B", "1.0 MiB", "2.5 GiB"]);
    }

    #[test]
    fn an_input_is_cut_and_cannot_touch_the_terminal() {
        let mut inputs = Inputs::default();
        inputs.note(3, "item 4 (line 5)", "\u{1b}[2J".as_bytes());
        inputs.note(4, "item 5", "é".repeat(500).as_bytes());
        assert_eq!(inputs.show(3), ("item 4 (line 5)", "\\u{1b}[2J".to_owned()));
        assert_eq!(cut(inputs.show(4).1, 10), "ééééééééé…");
        assert_eq!(cut("short".to_owned(), 5), "short");
        assert_eq!(inputs.show(9), ("", String::new()));
    }
}
