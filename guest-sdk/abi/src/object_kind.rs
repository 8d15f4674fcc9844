//! The kinds of shared objects.

/// What a handle or a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum ObjectKind {
    /// Mutual exclusion; whoever likes may release it.
    Lock = 1,
    /// A lock that its owner may take again, and nobody else release.
    RLock = 2,
    /// A number of permits.
    Semaphore = 3,
    /// A flag to wait for.
    Event = 4,
    /// Something to be notified about, under a lock.
    Condition = 5,
    /// A meeting point.
    Barrier = 6,
    /// Messages in order, for any number of senders and receivers.
    Queue = 7,
    /// One end of a pipe.
    Connection = 8,
    /// Bytes.
    Memory = 9,
    /// A process that holds values for others: a handle is a pipe to it.
    Manager = 10,
}

impl ObjectKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Lock,
        Self::RLock,
        Self::Semaphore,
        Self::Event,
        Self::Condition,
        Self::Barrier,
        Self::Queue,
        Self::Connection,
        Self::Memory,
        Self::Manager,
    ];

    /// The kind with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }

    /// One lower-case word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::RLock => "rlock",
            Self::Semaphore => "semaphore",
            Self::Event => "event",
            Self::Condition => "condition",
            Self::Barrier => "barrier",
            Self::Queue => "queue",
            Self::Connection => "connection",
            Self::Memory => "memory",
            Self::Manager => "manager",
        }
    }
}
