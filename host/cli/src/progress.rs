//! A bar on standard error: items done, their rate, and how long the rest will take where that can be known.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// When to show the bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// When standard error is a terminal
    Auto,
    /// Even when standard error is a file or a pipe
    Always,
    /// Not at all
    Never,
}

/// How much there is to do, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Total {
    Items(u64),
    /// The size of the file that the items stand in.
    Bytes(u64),
    Unknown,
}

/// The bar, or none.
#[derive(Clone)]
pub(crate) struct Progress(Option<Bar>);

#[derive(Clone)]
struct Bar {
    bar: ProgressBar,
    items: Arc<AtomicU64>,
    total: Total,
}

impl Progress {
    /// No bar.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// A bar, if there is to be one.
    pub(crate) fn start(when: When, quiet: bool, total: Total) -> Self {
        let shown = match when {
            When::Auto => !quiet && io::stderr().is_terminal(),
            When::Always => true,
            When::Never => false,
        };
        if !shown {
            return Self::none();
        }
        // indicatif by itself draws on terminals only; `always` is for those who know better.
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(console::Term::stderr()), REDRAWS_PER_SECOND);
        let items = Arc::new(AtomicU64::new(0));
        let bar = ProgressBar::with_draw_target(None, target).with_style(style(total, Arc::clone(&items)));
        if let Total::Items(length) | Total::Bytes(length) = total {
            bar.set_length(length);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(Bar { bar, items, total }))
    }

    /// One more item has an outcome.
    pub(crate) fn item_done(&self) {
        if let Some(Bar { bar, items, total }) = &self.0 {
            items.fetch_add(1, Ordering::Relaxed);
            if let Total::Items(_) = total {
                bar.inc(1);
            }
        }
    }

    /// So many more bytes of the input have been read.
    pub(crate) fn bytes_read(&self, bytes: usize) {
        if let Some(Bar {
            bar,
            total: Total::Bytes(_),
            ..
        }) = &self.0
        {
            bar.inc(bytes as u64);
        }
    }

    /// Runs something that writes to the terminal, with the bar out of its way.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(Bar { bar, .. }) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(Bar { bar, .. }) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

const REDRAWS_PER_SECOND: u8 = 20;

/// What the bar looks like.
const fn template(total: Total) -> &'static str {
    match total {
        Total::Items(_) => "{bar:30} {items}/{human_len} items  {rate}/s  ETA {eta}",
        Total::Bytes(_) => "{bar:30} {percent}%  {items} items  {rate}/s  ETA {eta}",
        Total::Unknown => "{spinner} {items} items  {rate}/s  {elapsed}",
    }
}

fn style(total: Total, items: Arc<AtomicU64>) -> ProgressStyle {
    let counted = Arc::clone(&items);
    ProgressStyle::with_template(template(total))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("items", move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{}", HumanCount(items.load(Ordering::Relaxed)));
        })
        .with_key("rate", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let rate = rate(counted.load(Ordering::Relaxed), state.elapsed());
            let _ = write!(out, "{}", HumanCount(rate));
        })
}

/// Items a second, so far.
fn rate(items: u64, elapsed: Duration) -> u64 {
    (items as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_items_over_time() {
        assert_eq!(rate(500, Duration::from_millis(250)), 2000);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }

    #[test]
    fn every_template_is_valid() {
        for total in [Total::Items(3), Total::Bytes(100), Total::Unknown] {
            assert!(ProgressStyle::with_template(template(total)).is_ok(), "{total:?}");
        }
    }

    #[test]
    fn without_a_bar_nothing_is_in_the_way() {
        let progress = Progress::start(When::Never, false, Total::Unknown);
        progress.item_done();
        assert_eq!(progress.suspend(|| 7), 7);
        progress.finish();
    }
}
