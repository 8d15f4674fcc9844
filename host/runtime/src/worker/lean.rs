//! A linker that defines no more than what a module imports: there are a hundred and fifty functions, of which a module needs
//! some twenty, and a new process would spend a fifth of a millisecond on the others.

use std::collections::HashSet;

use wasmtime::{Engine, IntoFunc, Linker, Result};

pub(crate) struct LeanLinker<'n, T: 'static> {
    linker: Linker<T>,
    /// Modules, and names of theirs.
    wanted: HashSet<(&'n str, &'n str)>,
}

impl<'n, T: 'static> LeanLinker<'n, T> {
    /// For a module that imports these, of which each is the name of a module and one of what it has.
    pub(crate) fn new(engine: &Engine, wanted: impl IntoIterator<Item = (&'n str, &'n str)>) -> Self {
        Self {
            linker: Linker::new(engine),
            wanted: wanted.into_iter().collect(),
        }
    }

    /// Defines a function, if it is wanted.
    pub(super) fn func_wrap<Params, Args>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, Params, Args>,
    ) -> Result<&mut Self> {
        if self.wanted.contains(&(module, name)) {
            self.linker.func_wrap(module, name, func)?;
        }
        Ok(self)
    }

    /// What is wanted of this module.
    pub(super) fn wanted_of(&self, module: &str) -> impl Iterator<Item = &'n str> {
        let of_it = move |(of, name): &(&str, &'n str)| (*of == module).then_some(*name);
        self.wanted.iter().filter_map(of_it)
    }

    /// The linker, for what is defined otherwise.
    pub(super) fn whole(&mut self) -> &mut Linker<T> {
        &mut self.linker
    }
}
