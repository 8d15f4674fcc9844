//! The attribute macros of `wasmp-guest`. Use them from there: `use wasmp_guest::{main, task};`.
//!
//! | file | what it does |
//! | --- | --- |
//! | `options.rs` | what stands in the parentheses of `#[task(…)]` |
//! | `signature.rs` | which functions can be tasks, and the errors for those which cannot |
//! | `descriptor.rs` | what `wasmp inspect` shows of a task, as CBOR |
//! | `expand.rs` | the code that is generated beside the function |
//! | `entry.rs` | `#[main]` |

mod descriptor;
mod entry;
mod expand;
mod options;
mod signature;

use proc_macro::TokenStream;

/// Makes a function a task: something a wasmp pool can call in its worker processes.
///
/// The function stays exactly as it is written: other code calls it, and unit tests run it natively. Beside it, a module
/// compiled to wasm gets an export that a worker calls and a descriptor that `wasmp inspect` shows, with the function's
/// doc comment, parameters and result type.
///
/// ```
/// use wasmp_guest::task;
///
/// /// Squares a number.
/// #[task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// assert_eq!(square(7), 49);
/// ```
///
/// # Parameters
///
/// Any number of parameters, each a name and a type that serde can deserialize. `&str` and `&[u8]` borrow straight from
/// the message; `&[u8]` and `Vec<u8>` are byte strings on the wire. Whole numbers fit `f64` parameters too.
///
/// # Result
///
/// Anything that serde can serialize, or a `Result` of it with an error that implements `Display`: `Err` makes the item
/// fail with the error's text, and with the chain of what caused it if the error knows
/// ([`source`](std::error::Error::source); `anyhow` and the like do). It need not be called `Result`: `io::Result`,
/// `anyhow::Result` and other aliases are recognised by their type.
///
/// ```
/// use wasmp_guest::{Result, task};
///
/// /// Words in the text file at `path`.
/// #[task(name = "count_words")]
/// fn count(path: &str) -> Result<usize> {
///     Ok(std::fs::read_to_string(path)?.split_whitespace().count())
/// }
///
/// assert!(count("/no/such/file").is_err());
/// ```
///
/// # Options
///
/// * `name = "…"`: the name the host calls the task by, an ASCII identifier. Default: the function's name.
///
/// # What cannot be a task
///
/// Methods, and functions that are `async`, `const`, `unsafe`, `extern`, generic or variadic, take patterns or `impl
/// Trait`, or references other than `&str` and `&[u8]`: these are compile errors that point at the place.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(options.into(), &item.into()).into()
}

/// Makes a function the `main` of a program for `wasmp run`.
///
/// It takes nothing, and returns nothing or a `Result<()>` with any error that implements `Display`: an error or a panic ends
/// the process with the exit code 1 and is told on standard error as that of any other process is, behind a line
/// `Process MainProcess:`. When it has come to its end, the processes that it has started are waited for, except daemons,
/// which are terminated.
///
/// Natively, it is an ordinary `main`.
///
/// ```no_run
/// use wasmp_guest::{Result, cpu_count, main};
///
/// #[main]
/// fn main() -> Result<()> {
///     println!("{} CPUs", cpu_count()?);
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    entry::main(&options.into(), &item.into()).into()
}
