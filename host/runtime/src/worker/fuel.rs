//! How much a guest may compute.
//!
//! Compiled code counts down what it was given, and traps when nothing is left. Each item is given as much anew, and so is what
//! comes between items: else an item would be charged for what others have left.

use wasmtime::{AsContextMut, StoreContextMut};

use super::state::State;

/// Gives what runs now all that it may compute.
#[inline]
pub(super) fn fill(mut store: impl AsContextMut<Data = State>) {
    let mut store: StoreContextMut<'_, State> = store.as_context_mut();
    if let Some(fuel) = store.data().fuel {
        // It fails only where guests do not count.
        let _ = store.set_fuel(fuel);
    }
}
