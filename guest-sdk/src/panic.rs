//! Panics become messages: a wasm trap by itself says `unreachable` and nothing else.

use std::panic::{PanicHookInfo, set_hook};

use crate::host;

/// From now on the host learns what a panic said and where it happened.
pub(crate) fn report_panics() {
    set_hook(Box::new(|info| host::panicked(&describe(info))));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("explicit panic");
    match info.location() {
        Some(location) => format!("{message} ({location})"),
        None => message.to_owned(),
    }
}
