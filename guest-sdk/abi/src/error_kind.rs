//! The vocabulary of failures.

/// Why an item failed: a closed numeric vocabulary, the same on the wire, in the library and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum ErrorKind {
    /// The task returned an error.
    Error = 1,
    /// The arguments do not fit the task: their number or a type.
    Arguments = 2,
    /// The result could not be encoded by the guest, or decoded by the host.
    Result = 3,
    /// The guest panicked.
    Panic = 4,
    /// The guest trapped: out-of-bounds access, division by zero, `unreachable`, stack overflow, …
    Trap = 5,
    /// The guest called `proc_exit`.
    Exit = 6,
    /// The item ran longer than its deadline and was killed.
    Timeout = 7,
    /// The guest asked for more memory than it was allowed and could not go on without.
    MemoryLimit = 8,
    /// The worker process died while it ran the item.
    WorkerLost = 9,
    /// The item was given up before it finished: the pool was terminated.
    Cancelled = 10,
    /// The module could not be instantiated.
    Instantiate = 11,
    /// The arguments or the result are larger than a message may be.
    TooLarge = 12,
    /// The task export returned without a result for the item it had taken.
    NoResult = 13,
    /// The guest printed more than it was allowed.
    OutputLimit = 14,
    /// The guest computed more than it was allowed.
    FuelLimit = 15,
}

impl ErrorKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Error,
        Self::Arguments,
        Self::Result,
        Self::Panic,
        Self::Trap,
        Self::Exit,
        Self::Timeout,
        Self::MemoryLimit,
        Self::WorkerLost,
        Self::Cancelled,
        Self::Instantiate,
        Self::TooLarge,
        Self::NoResult,
        Self::OutputLimit,
        Self::FuelLimit,
    ];

    /// The kind with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u16 == code)
    }

    /// The kind as scripts see it: one lower-case word, words joined by `_`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Arguments => "arguments",
            Self::Result => "result",
            Self::Panic => "panic",
            Self::Trap => "trap",
            Self::Exit => "exit",
            Self::Timeout => "timeout",
            Self::MemoryLimit => "memory_limit",
            Self::WorkerLost => "worker_lost",
            Self::Cancelled => "cancelled",
            Self::Instantiate => "instantiate",
            Self::TooLarge => "too_large",
            Self::NoResult => "no_result",
            Self::OutputLimit => "output_limit",
            Self::FuelLimit => "fuel_limit",
        }
    }
}
