//! What stands for an object in a message.

use std::fmt;

use wasmp_abi::TOKEN_LEN;

/// 128 random bits: whoever has them may open the object.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token([u8; TOKEN_LEN]);

impl Token {
    /// One that nobody has seen before.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut bytes = [0; TOKEN_LEN];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Self(bytes))
    }

    pub(crate) const fn from_bytes(bytes: [u8; TOKEN_LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(self) -> [u8; TOKEN_LEN] {
        self.0
    }
}

/// Does not show it: what is logged must not be a key.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
