//! Time and randomness that are the same in every run.

/// How far time goes whenever somebody looks: whoever waits for it in a loop gets there.
const TICK: u64 = 1_000;

/// The clocks and the random numbers of an instance that is to do the same each time.
#[derive(Debug, Default)]
pub(super) struct Invented {
    /// Nanoseconds since the instance was made, and since 1970: it is the same clock.
    now: u64,
    random: u64,
}

impl Invented {
    /// How finely the clocks tell the time.
    pub(super) const RESOLUTION: u64 = TICK;

    /// Looks at the clock.
    pub(super) fn look(&mut self) -> u64 {
        self.now = self.now.saturating_add(TICK);
        self.now
    }

    /// What it shows, for who does not look on behalf of the guest.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Sleeps: it is then, without a wait.
    pub(super) fn sleep_until(&mut self, then: u64) {
        self.now = self.now.max(then);
    }

    /// SplitMix64. Numbers that everybody can foretell, as they have to be.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}
