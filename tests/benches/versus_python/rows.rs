//! The budget: what is measured, against whom, and what must come out.

use super::ours::{cpu, latency, memory, objects, processes, throughput, walls};
use super::{Failure, Sampler, Stage};

/// One line of the budget.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) work: &'static str,
    pub(crate) unit: Unit,
    pub(crate) bar: Bar,
    /// Makes ready, and returns what takes samples, in seconds, items a second or bytes.
    pub(crate) ours: Prepare,
    pub(crate) peers: &'static [Peer],
}

type Prepare = fn(&Stage) -> Result<Sampler, Failure>;

/// Who else does the work of a row.
#[derive(Debug)]
pub(crate) enum Peer {
    Python {
        library: Library,
        items: u64,
    },
    /// The same Rust code without wasm.
    Native(Prepare),
    /// The same with `Sandbox::Off`.
    Unwalled(Prepare),
}

impl Peer {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Python {
                library: Library::Multiprocessing,
                ..
            } => "multiprocessing.Pool",
            Self::Python {
                library: Library::Executor,
                ..
            } => "ProcessPoolExecutor",
            Self::Python {
                library: Library::Objects,
                ..
            } => "multiprocessing",
            Self::Native(_) => "native",
            Self::Unwalled(_) => "without the second wall",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Library {
    Multiprocessing,
    Executor,
    /// `multiprocessing`, for what its processes share.
    Objects,
}

impl Library {
    /// As `peer.py` knows it.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::Multiprocessing | Self::Objects => "multiprocessing",
            Self::Executor => "executor",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Kibibytes,
    /// How much of two processors two workers make use of.
    Efficiency,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "items/s",
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Kibibytes => "KiB",
            Self::Efficiency => "%",
        }
    }

    /// A sample in this unit.
    pub(crate) fn of(self, sample: f64) -> f64 {
        match self {
            Self::PerSecond => sample,
            Self::Nanoseconds => sample * 1e9,
            Self::Microseconds => sample * 1e6,
            Self::Milliseconds => sample * 1e3,
            Self::Kibibytes => sample / 1024.0,
            Self::Efficiency => sample * 100.0,
        }
    }

    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::Efficiency)
    }
}

/// What must be reached.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) subject: Subject,
    pub(crate) limit: Limit,
    /// In words.
    pub(crate) text: &'static str,
}

/// What the bar is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Ours ÷ that of the peer.
    Ratio,
    /// Ours.
    Figure,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    const fn ratio(limit: Limit, text: &'static str) -> Self {
        Self {
            subject: Subject::Ratio,
            limit,
            text,
        }
    }

    const fn figure(limit: Limit, text: &'static str) -> Self {
        Self {
            subject: Subject::Figure,
            limit,
            text,
        }
    }

    pub(crate) fn is_cleared_by(&self, value: f64) -> bool {
        self.margin(value) >= 1.0
    }

    /// How many times better than it must be.
    pub(crate) fn margin(&self, value: f64) -> f64 {
        match self.limit {
            Limit::AtLeast(limit) => value / limit,
            Limit::AtMost(limit) => limit / value,
        }
    }
}

/// Both Python libraries, with so many items for each sample.
macro_rules! both {
    ($multiprocessing:expr, $executor:expr) => {
        &[
            Peer::Python {
                library: Library::Multiprocessing,
                items: $multiprocessing,
            },
            Peer::Python {
                library: Library::Executor,
                items: $executor,
            },
        ]
    };
}

/// What `multiprocessing` offers to share, with so many operations for each sample.
macro_rules! objects {
    ($operations:expr) => {
        &[Peer::Python {
            library: Library::Objects,
            items: $operations,
        }]
    };
}

/// All rows. Rates need not be taken over the same number of items on both sides, and are not where one side is a
/// hundred times faster; `map-default` has the same, because the size of its chunks depends on it.
static ROWS: [Row; 32] = [
    Row {
        name: "map-chunk-1",
        work: "`map` square, chunksize 1",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(50.0), "≥ 50 ×"),
        ours: throughput::map_chunk_1,
        peers: both!(20_000, 10_000),
    },
    Row {
        name: "map-default",
        work: "`map` square, default chunks",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(1.2), "≥ 1.2 ×"),
        ours: throughput::map_default,
        peers: both!(throughput::ITEMS, throughput::ITEMS),
    },
    Row {
        name: "imap-chunk-1",
        work: "`imap` square, chunksize 1",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(50.0), "≥ 50 ×"),
        ours: throughput::imap_chunk_1,
        peers: both!(20_000, 10_000),
    },
    Row {
        name: "apply",
        work: "`apply` square, round trip, median",
        unit: Unit::Microseconds,
        bar: Bar::ratio(Limit::AtMost(0.1), "≤ 1/10"),
        ours: latency::apply,
        peers: both!(2_000, 2_000),
    },
    Row {
        name: "fresh-instance",
        work: "`map` square, a fresh instance for each item",
        unit: Unit::PerSecond,
        bar: Bar::figure(Limit::AtLeast(80e3), "≥ 80 k/s"),
        ours: throughput::fresh_instance,
        peers: &[],
    },
    Row {
        name: "pool-warm",
        work: "`Pool(2)` → first result, not the first pool of the process",
        unit: Unit::Milliseconds,
        bar: Bar::figure(Limit::AtMost(1e-3), "≤ 1 ms"),
        ours: latency::pool_warm,
        peers: both!(1, 1),
    },
    Row {
        name: "pool-cold",
        work: "`Pool(2)` → first result, the first pool of the process, module compiled before",
        unit: Unit::Milliseconds,
        bar: Bar::figure(Limit::AtMost(4e-3), "≤ 4 ms"),
        ours: latency::pool_cold,
        peers: both!(1, 1),
    },
    Row {
        name: "replacement",
        work: "`kill -9` of a busy worker → first result of its replacement",
        unit: Unit::Milliseconds,
        bar: Bar::figure(Limit::AtMost(5e-3), "≤ 5 ms"),
        ours: latency::replacement,
        // An executor is broken by the death of a worker, for good.
        peers: &[Peer::Python {
            library: Library::Multiprocessing,
            items: 1,
        }],
    },
    Row {
        name: "process-forkserver",
        work: "`Process` start → join, start method forkserver, median",
        unit: Unit::Milliseconds,
        bar: Bar::ratio(Limit::AtMost(1.0 / 20.0), "≤ 1/20"),
        ours: processes::forkserver,
        peers: objects!(20),
    },
    Row {
        name: "process-spawn",
        work: "`Process` start → join, start method spawn, median",
        unit: Unit::Milliseconds,
        bar: Bar::ratio(Limit::AtMost(1.0 / 25.0), "≤ 1/25"),
        ours: processes::spawn,
        peers: objects!(10),
    },
    Row {
        name: "process-fork",
        work: "`Process` start → join, start method fork, from a guest of 1 MiB",
        unit: Unit::Milliseconds,
        bar: Bar::ratio(Limit::AtMost(1.0 / 2.0), "≤ 1/2"),
        ours: processes::fork,
        peers: objects!(50),
    },
    Row {
        name: "process-fork-64-mib",
        work: "the same, from a guest of 65 MiB",
        unit: Unit::Milliseconds,
        // What the copy costs: Python has the kernel make one when it is written to.
        bar: Bar::figure(Limit::AtMost(0.1), "≤ 100 ms"),
        ours: processes::fork_64_mib,
        peers: objects!(20),
    },
    Row {
        name: "cpu-nbody",
        work: "CPU-bound, floating point, against native code",
        unit: Unit::Milliseconds,
        bar: Bar::ratio(Limit::AtMost(1.1), "≤ 1.10 ×"),
        ours: cpu::nbody,
        peers: &[Peer::Native(cpu::nbody_native)],
    },
    Row {
        name: "cpu-sieve",
        work: "CPU-bound, memory, against native code",
        unit: Unit::Milliseconds,
        bar: Bar::ratio(Limit::AtMost(1.1), "≤ 1.10 ×"),
        ours: cpu::sieve,
        peers: &[Peer::Native(cpu::sieve_native)],
    },
    Row {
        name: "cpu-collatz",
        work: "CPU-bound, whole numbers, against native code",
        unit: Unit::Milliseconds,
        bar: Bar::ratio(Limit::AtMost(1.1), "≤ 1.10 ×"),
        ours: cpu::collatz,
        peers: &[Peer::Native(cpu::collatz_native)],
    },
    Row {
        name: "cpu-two-workers",
        work: "efficiency of two CPU-bound workers, against two native processes",
        unit: Unit::Efficiency,
        bar: Bar::ratio(Limit::AtLeast(0.95), "≥ 0.95 ×"),
        ours: cpu::two_workers,
        peers: &[Peer::Native(cpu::two_processes)],
    },
    Row {
        name: "memory",
        work: "private memory (USS) of an idle worker, one of eight",
        unit: Unit::Kibibytes,
        bar: Bar::figure(Limit::AtMost(1024.0 * 1024.0), "≤ 1 MiB"),
        ours: memory::idle_worker,
        peers: both!(memory::WORKERS, memory::WORKERS),
    },
    Row {
        name: "queue-16-b",
        work: "`Queue`, one way between two guests, 16 bytes",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(12.0), "≥ 12 ×"),
        ours: objects::queue_16_b,
        peers: objects!(100_000),
    },
    Row {
        name: "queue-64-kib",
        work: "`Queue`, one way between two guests, 64 KiB",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(4.0), "≥ 4 ×"),
        ours: objects::queue_64_kib,
        peers: objects!(10_000),
    },
    Row {
        name: "queue-1-mib",
        work: "`Queue`, one way between two guests, 1 MiB",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(6.0), "≥ 6 ×"),
        ours: objects::queue_1_mib,
        peers: objects!(500),
    },
    Row {
        name: "pipe",
        work: "`Pipe`, there and back between two guests",
        unit: Unit::Microseconds,
        bar: Bar::ratio(Limit::AtMost(0.1), "≤ 1/10"),
        ours: objects::pipe,
        peers: objects!(20_000),
    },
    Row {
        name: "lock-alone",
        work: "`Lock`, acquired and released by a guest, alone",
        unit: Unit::Nanoseconds,
        bar: Bar::ratio(Limit::AtMost(1.0 / 3.0), "≤ 1/3"),
        ours: objects::lock_alone,
        peers: objects!(500_000),
    },
    Row {
        name: "lock-two",
        work: "`Lock`, acquired and released by two guests at the same time",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(3.0), "≥ 3 ×"),
        ours: objects::lock_two,
        peers: objects!(500_000),
    },
    Row {
        name: "value",
        work: "`Value` += 1 under its lock, by a guest",
        unit: Unit::Nanoseconds,
        bar: Bar::ratio(Limit::AtMost(0.2), "≤ 1/5"),
        ours: objects::value,
        peers: objects!(200_000),
    },
    Row {
        name: "value-atomic",
        work: "atomic add to a `Value`, by a guest, against += 1 under the lock",
        unit: Unit::Nanoseconds,
        bar: Bar::ratio(Limit::AtMost(0.05), "≤ 1/20"),
        ours: objects::value_atomic,
        peers: objects!(200_000),
    },
    Row {
        name: "dict",
        work: "managed `dict`, get or set, by one guest",
        unit: Unit::Microseconds,
        bar: Bar::ratio(Limit::AtMost(1.0 / 3.0), "≤ 1/3"),
        ours: objects::dict,
        peers: objects!(10_000),
    },
    Row {
        name: "dict-1",
        work: "managed `dict`, get or set, by 1 guest together",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(3.0), "≥ 3 ×"),
        ours: objects::dict_1,
        peers: objects!(10_000),
    },
    Row {
        name: "dict-4",
        work: "managed `dict`, get or set, by 4 guests together",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(3.0), "≥ 3 ×"),
        ours: objects::dict_4,
        peers: objects!(10_000),
    },
    Row {
        name: "dict-16",
        work: "managed `dict`, get or set, by 16 guests together",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(3.0), "≥ 3 ×"),
        ours: objects::dict_16,
        peers: objects!(10_000),
    },
    Row {
        name: "wall-apply",
        work: "`apply` square, round trip, median, against `Sandbox::Off`",
        unit: Unit::Microseconds,
        bar: Bar::ratio(Limit::AtMost(1.05), "≤ 1.05 ×"),
        ours: walls::apply,
        peers: &[Peer::Unwalled(walls::apply_without)],
    },
    Row {
        name: "wall-map",
        work: "`map` square, chunksize 1, against `Sandbox::Off`",
        unit: Unit::PerSecond,
        bar: Bar::ratio(Limit::AtLeast(0.95), "≥ 0.95 ×"),
        ours: walls::map,
        peers: &[Peer::Unwalled(walls::map_without)],
    },
    Row {
        name: "wall-start",
        work: "`Pool(2)` → first result, not the first pool of the process, median, against `Sandbox::Off`",
        unit: Unit::Milliseconds,
        bar: Bar::ratio(Limit::AtMost(1.05), "≤ 1.05 ×"),
        ours: walls::start,
        peers: &[Peer::Unwalled(walls::start_without)],
    },
];

/// The rows whose names begin with one of these; all, if there are none.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Row>, Failure> {
    for name in names {
        if !ROWS.iter().any(|row| row.name.starts_with(name.as_str())) {
            let rows: Vec<_> = ROWS.iter().map(|row| row.name).collect();
            return Err(format!("no row is called `{name}`; rows are {}", rows.join(", ")).into());
        }
    }
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| row.name.starts_with(name.as_str()));
    Ok(ROWS.iter().filter(wanted).collect())
}
