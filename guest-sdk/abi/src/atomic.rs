//! Atomic operations on shared memory.

/// What `memory_atomic` does to a number in memory. All of them give the old value, and are sequentially consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Atomic {
    /// Changes nothing.
    Load = 0,
    /// Becomes the operand.
    Store = 1,
    /// The operand is added, wrapping around.
    Add = 2,
    /// The operand is subtracted, wrapping around.
    Sub = 3,
    /// Only the bits of the operand stay.
    And = 4,
    /// The bits of the operand are set.
    Or = 5,
    /// The bits of the operand are flipped.
    Xor = 6,
    /// Becomes the operand, if it was `expected`.
    CompareExchange = 7,
}

impl Atomic {
    /// Every operation, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Load,
        Self::Store,
        Self::Add,
        Self::Sub,
        Self::And,
        Self::Or,
        Self::Xor,
        Self::CompareExchange,
    ];

    /// The operation with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// One lower-case word, words joined by `_`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::Add => "add",
            Self::Sub => "sub",
            Self::And => "and",
            Self::Or => "or",
            Self::Xor => "xor",
            Self::CompareExchange => "compare_exchange",
        }
    }
}
