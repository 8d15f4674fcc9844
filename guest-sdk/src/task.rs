//! Tasks as values: a function with `#[task]` stands for itself, and is known by its type.
//!
//! Each task has a type of its own, as every function has, and the code that the macro makes notes down which name goes with
//! it when the instance starts. So nothing depends on addresses of functions, which a linker may merge.

use std::{
    any::{TypeId, type_name},
    borrow::Cow,
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use serde::Serialize;

/// The name of a task, noted down with the others.
#[derive(Debug)]
pub struct Node {
    id: fn() -> TypeId,
    name: &'static str,
    next: AtomicPtr<Node>,
    registered: AtomicBool,
}

static FIRST: AtomicPtr<Node> = AtomicPtr::new(ptr::null_mut());

impl Node {
    /// For the task whose type has this id.
    #[must_use]
    pub const fn new(id: fn() -> TypeId, name: &'static str) -> Self {
        Self {
            id,
            name,
            next: AtomicPtr::new(ptr::null_mut()),
            registered: AtomicBool::new(false),
        }
    }

    /// Notes it down, when the instance starts. Constructors may run twice.
    pub fn register(&'static self) {
        if self.registered.swap(true, Ordering::Relaxed) {
            return;
        }
        let first = FIRST.swap(ptr::from_ref(self).cast_mut(), Ordering::Relaxed);
        self.next.store(first, Ordering::Relaxed);
    }
}

/// The id of a function's own type.
#[must_use]
pub fn id_of<F: 'static>(_: &F) -> TypeId {
    TypeId::of::<F>()
}

/// The name of the task that has this type.
fn name_of<F: 'static>() -> Option<&'static str> {
    crate::host::run_constructors();
    let wanted = TypeId::of::<F>();
    let mut next = crate::host::node_at(&FIRST);
    while let Some(node) = next {
        if (node.id)() == wanted {
            return Some(node.name);
        }
        next = crate::host::node_at(&node.next);
    }
    None
}

/// What is wrong with a function that has no name.
fn no_task<F>() -> String {
    let name = type_name::<F>();
    if name.ends_with("{{closure}}") {
        "a closure cannot be a task: make it a function with #[task], which may stand in the same place".into()
    } else {
        format!("`{name}` is no task: it has no #[task]")
    }
}

/// What stands for a task: the function itself, or its name. `M` is for the compiler.
///
/// It cannot be implemented elsewhere.
pub trait Named<M>: sealed::Sealed<M> {
    /// The name; an error says what is wrong with what stands for it.
    #[doc(hidden)]
    fn task_name(&self) -> Result<Cow<'static, str>, String>;
}

/// A task that can be called with the arguments `A`, a tuple. A name can be called with any; a function with what
/// [fits](Fits) its parameters. `M` is for the compiler.
///
/// A closure is none, not even one that captures nothing: another instance would have to make it up from its type, which Rust
/// allows for no type (one of size zero may still stand for something that only that instance has done), or be told its place in
/// the table of functions, which whoever calls the module could get wrong. A `#[task]` function can stand inside of the function that
/// uses it.
///
/// It cannot be implemented elsewhere.
pub trait Task<A, M>: Named<M> {
    /// What it returns.
    type Returns;
}

/// What becomes an `R` when it has travelled: an `R`, or a `Result` of it. `M` is for the compiler.
pub trait Gives<R, M> {}

/// A value that can be given to a parameter of the type `P`: a `P`, a reference to one, or for texts and lists what they are
/// made of.
pub trait Fits<P>: Serialize {}

impl<T: Serialize> Fits<T> for T {}
impl<T: Serialize> Fits<T> for &T {}
impl Fits<String> for &str {}
impl Fits<&str> for String {}
impl Fits<&str> for &String {}
impl<T: Serialize> Fits<Vec<T>> for &[T] {}

/// The task is known by its name, and its types are not.
#[derive(Debug)]
pub struct ByName;

/// What a task returns of which only the name is known.
#[derive(Debug)]
pub struct Anything;

/// It returns the result itself.
#[derive(Debug)]
pub struct Plainly;

/// It returns a `Result`.
#[derive(Debug)]
pub struct Fallibly;

impl<T> Gives<T, Plainly> for T {}
impl<T, E> Gives<T, Fallibly> for Result<T, E> {}
impl<R> Gives<R, ByName> for Anything {}

mod sealed {
    pub trait Sealed<M> {}
}

impl sealed::Sealed<ByName> for &str {}

impl Named<ByName> for &str {
    fn task_name(&self) -> Result<Cow<'static, str>, String> {
        Ok((*self).to_owned().into())
    }
}

impl<A: Serialize> Task<A, ByName> for &str {
    type Returns = Anything;
}

macro_rules! functions {
    ($(($($argument:ident $parameter:ident),*))*) => {$(
        impl<F, R $(, $parameter)*> sealed::Sealed<($($parameter,)*)> for F where F: Fn($($parameter),*) -> R {}

        impl<F, R $(, $parameter)*> Named<($($parameter,)*)> for F
        where
            F: Fn($($parameter),*) -> R + 'static,
        {
            fn task_name(&self) -> Result<Cow<'static, str>, String> {
                name_of::<F>().map(Cow::Borrowed).ok_or_else(no_task::<F>)
            }
        }

        impl<F, R $(, $argument, $parameter)*> Task<($($argument,)*), ($($parameter,)*)> for F
        where
            F: Fn($($parameter),*) -> R + 'static,
            $($argument: Fits<$parameter>,)*
        {
            type Returns = R;
        }
    )*};
}

functions! {
    ()
    (A1 P1)
    (A1 P1, A2 P2)
    (A1 P1, A2 P2, A3 P3)
    (A1 P1, A2 P2, A3 P3, A4 P4)
    (A1 P1, A2 P2, A3 P3, A4 P4, A5 P5)
    (A1 P1, A2 P2, A3 P3, A4 P4, A5 P5, A6 P6)
    (A1 P1, A2 P2, A3 P3, A4 P4, A5 P5, A6 P6, A7 P7)
    (A1 P1, A2 P2, A3 P3, A4 P4, A5 P5, A6 P6, A7 P7, A8 P8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_task_says_what_would_be_one() {
        fn plain(x: i64) -> i64 {
            x
        }
        let why = plain.task_name().unwrap_err();
        assert!(why.ends_with("plain` is no task: it has no #[task]"), "{why}");
        let why = (|x: i64| x).task_name().unwrap_err();
        assert!(why.starts_with("a closure cannot be a task"), "{why}");
    }
}
