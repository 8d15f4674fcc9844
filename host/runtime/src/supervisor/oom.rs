//! Whether the system has run out of memory: the difference between somebody's SIGKILL and the kernel's.

use std::sync::atomic::{AtomicU64, Ordering};

/// Processes that the kernel has killed as it, or a control group, was out of memory. It counts those of the whole
/// machine and names none, so this is a hint: each kill is held to explain one worker's end.
#[derive(Debug)]
pub(crate) struct OomKills {
    /// Those that explain something else; `None`: the system does not count.
    explained: Option<AtomicU64>,
}

impl OomKills {
    /// Counts from now on.
    pub(crate) fn watch() -> Self {
        Self {
            explained: count().map(AtomicU64::new),
        }
    }

    /// Whether there is one more. `None`: nobody knows.
    pub(crate) fn any_more(&self) -> Option<bool> {
        Some(explain(self.explained.as_ref()?, count()?))
    }
}

/// Takes one of so many kills if there is one left.
fn explain(explained: &AtomicU64, kills: u64) -> bool {
    explained
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |explained| {
            (explained < kills).then_some(explained + 1)
        })
        .is_ok()
}

fn count() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/vmstat").ok()?)
}

fn parse(vmstat: &str) -> Option<u64> {
    vmstat
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_found_among_the_others() {
        let vmstat = "nr_free_pages 5\noom_killer_disabled 1\noom_kill 3\ndrop_pagecache 0\n";
        assert_eq!(parse(vmstat), Some(3));
        assert_eq!(parse("nr_free_pages 5\n"), None);
        assert_eq!(parse("oom_kill many\n"), None);
    }

    #[test]
    fn each_kill_explains_one_end() {
        let explained = AtomicU64::new(3);
        let ends = [3, 5, 5, 5].map(|kills| explain(&explained, kills));
        assert_eq!(ends, [false, true, true, false]);
    }
}
