//! The attribute macros of `wasmp-guest`. Use them from there: `use wasmp_guest::{main, managed, task};`.
//!
//! | file | what it does |
//! | --- | --- |
//! | `options.rs` | what stands in the parentheses of `#[task(…)]` |
//! | `signature.rs` | which functions can be tasks or methods of a managed type, and the errors for those which cannot |
//! | `descriptor.rs` | what `wasmp inspect` shows of them, as CBOR |
//! | `expand.rs` | the code that is generated beside a task |
//! | `managed.rs` | `#[managed]` |
//! | `entry.rs` | `#[main]` |

mod descriptor;
mod entry;
mod expand;
mod managed;
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

/// Lets managers hold objects of a type: the attribute goes on its `impl` (CPython: `BaseManager.register`).
///
/// The type stays exactly as it is written. Beside it comes a proxy of the same name with `Proxy` behind, whose objects live in
/// a manager: `new` makes one there, `named` finds or makes the one of a name, and each exposed method is one of the proxy. A
/// proxy travels in arguments, results and messages, and is the same object everywhere.
///
/// ```no_run
/// use wasmp_guest::{Manager, Process, Result, main, managed, task};
///
/// struct Account {
///     cents: u64,
/// }
///
/// #[managed]
/// impl Account {
///     pub fn new(cents: u64) -> Self {
///         Self { cents }
///     }
///
///     /// Takes money out, and returns what is left.
///     pub fn withdraw(&mut self, cents: u64) -> Result<u64, String> {
///         self.cents = self.cents.checked_sub(cents).ok_or("there is not so much")?;
///         Ok(self.cents)
///     }
/// }
///
/// #[task]
/// fn spend(account: AccountProxy) -> Result<()> {
///     account.withdraw(10)?;
///     Ok(())
/// }
///
/// #[main]
/// fn main() -> Result<()> {
///     let manager = Manager::new()?;
///     let account = AccountProxy::new(&manager, 100)?;
///     Process::new(spend).args((&account,)).start()?.join()?;
///     assert_eq!(account.withdraw(0)?, 90);
///     Ok(())
/// }
/// ```
///
/// # What is exposed
///
/// The constructor, `pub fn new`, and every `pub` method with `&self` or `&mut self`. What is not `pub`, or has no `self`, is
/// not: nobody can call it through a manager (CPython: `exposed`). Parameters and results are as those of a
/// [task](macro@task). A `Result` has to be called that for its error to become the caller's `ManagerError::Call`; of what a
/// method lends, `&str` or `&T`, a caller gets a copy.
///
/// # New objects
///
/// A method that returns `New<Account>`, or a `Result` of it, has the manager make an object of the type `Account` when it has
/// returned, in an instance of its own as any other, and the caller gets its proxy: `AccountProxy`, which has to be where
/// `Account` is. The object that the method is called on may be of the same type. `AccountProxy::new_here` takes the arguments of
/// `Account::new`. An object that cannot be made is an error for the caller, and what the method has done stays done.
///
/// ```
/// use wasmp_guest::{New, managed};
///
/// struct Account {
///     cents: u64,
/// }
///
/// #[managed]
/// impl Account {
///     pub fn new(cents: u64) -> Self {
///         Self { cents }
///     }
/// }
///
/// struct Bank {
///     accounts: u64,
/// }
///
/// #[managed]
/// impl Bank {
///     pub fn new() -> Self {
///         Self { accounts: 0 }
///     }
///
///     pub fn open(&mut self, cents: u64) -> New<Account> {
///         self.accounts += 1;
///         AccountProxy::new_here(cents)
///     }
/// }
///
/// fn first(bank: &BankProxy) -> wasmp_guest::Result<AccountProxy> {
///     Ok(bank.open(100)?)
/// }
/// ```
///
/// # Where the code runs
///
/// Each object is an instance of the module in the manager's process, in the same two walls as a worker. A method is one
/// step: nothing else happens in the manager meanwhile, and a task that is killed while it waits has had it called or has not; to
/// be sure when it is tried again, have the method look at who calls. It sees what the manager's pool was given, can print, and has no
/// shared objects, processes or pools: those report `Unsupported`. An object that is let go of goes with its memory, without its
/// `Drop`.
///
/// One that panics, traps, exits or uses up the manager's memory spoils its object, and nothing else: the caller gets a
/// `ManagerError::Call` with the backtrace, whoever comes later a `ManagerError::Spoiled`. One that takes longer than the
/// manager's `call_timeout`, 10 s, is killed with the manager, which is `ManagerError::Gone` for everybody.
///
/// # Options
///
/// * `pub`, `pub(crate)`, …: who may use the proxy. Default: the module.
#[proc_macro_attribute]
pub fn managed(options: TokenStream, item: TokenStream) -> TokenStream {
    managed::managed(options.into(), &item.into()).into()
}
