//! Ctrl-C: the first asks, the second does not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::SIGINT;
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::INTERRUPTED;
use crate::error::Error;

/// Runs `first` on a thread of its own at the first Ctrl-C. The second one ends this process on the spot, and the
/// workers with it: each holds a lifeline to this process.
pub(crate) fn on_interrupt(first: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    watch(first).map_err(|error| Error::stream("listen for", "Ctrl-C", error))
}

fn watch(first: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    // Handlers run in the order in which they were registered: this one finds the flag that an earlier signal has set.
    flag::register_conditional_shutdown(SIGINT, INTERRUPTED.into(), Arc::clone(&asked))?;
    flag::register(SIGINT, asked)?;
    let mut signals = Signals::new([SIGINT])?;
    thread::Builder::new().name("wasmp-signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            first();
        }
    })?;
    Ok(())
}
