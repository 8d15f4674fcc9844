//! From what was typed as MODULE to a loaded module. A folder is a guest crate, and is built.

use std::path::PathBuf;

use wasmp::{Module, ModuleSource};
use wasmp_build::GuestBuild;

use crate::args;
use crate::error::Error;
use crate::terminal::Messages;

/// Loads the module.
pub(crate) fn load(typed: &args::Module, messages: &Messages) -> Result<Module, Error> {
    let path = match typed.path.is_dir() {
        // Whoever runs a task wants it fast; `wasmp build` leaves the choice.
        true => build(&GuestBuild::new(&typed.path), messages)?,
        false => typed.path.clone(),
    };
    let source = ModuleSource::from(path).allow_precompiled(typed.allow_precompiled);
    Module::load(source).map_err(|error| Error::Library(error.into()))
}

/// Builds a guest crate, and tells how it goes.
pub(crate) fn build(guest: &GuestBuild, messages: &Messages) -> Result<PathBuf, Error> {
    Ok(wasmp_build::build(guest, &mut |progress| messages.note(progress))?.wasm)
}
