//! What waits for crews, in figures: so that nobody has to look through all of it.

use std::collections::HashMap;

use wasmp_manager::protocol::Id;

use super::Block;

#[derive(Debug, Default)]
pub(in crate::manager) struct Ledger {
    /// Bytes that wait, by client.
    bytes: HashMap<u32, u64>,
    /// The connections that wait with a block of theirs, each with one: for which pool, and of which client.
    stalled: HashMap<u32, (Id, u32)>,
}

impl Ledger {
    /// What waits of a client's.
    pub(super) fn of(&self, client: u32) -> u64 {
        self.bytes.get(&client).copied().unwrap_or_default()
    }

    /// A block begins to wait for the crew of this pool.
    pub(super) fn joins(&mut self, block: &Block, pool: Id) {
        *self.bytes.entry(block.client).or_default() += block.counts();
        if let Some((caller, _)) = block.waiting {
            self.stalled.insert(caller.connection, (pool, block.client));
        }
    }

    /// It waits no longer.
    pub(super) fn leaves(&mut self, block: &Block) {
        if let Some(bytes) = self.bytes.get_mut(&block.client) {
            *bytes = bytes.saturating_sub(block.counts());
            if *bytes == 0 {
                self.bytes.remove(&block.client);
            }
        }
        if let Some((caller, _)) = block.waiting {
            self.stalled.remove(&caller.connection);
        }
    }

    /// Where the block is that this connection waits with.
    pub(super) fn stalled(&self, connection: u32) -> Option<(Id, u32)> {
        self.stalled.get(&connection).copied()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.values().sum()
    }
}
