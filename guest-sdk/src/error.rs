//! What can go wrong, as a task's author meets it.

use std::{error, fmt, ops::Deref};

/// A result with [`Error`], for tasks that use `?` on whatever comes.
///
/// ```
/// use wasmp_guest::{Result, task};
///
/// #[task]
/// fn sum(numbers: &str) -> Result<i64> {
///     let mut sum = 0;
///     for number in numbers.split(',') {
///         sum += number.trim().parse::<i64>()?;
///     }
///     Ok(sum)
/// }
///
/// assert_eq!(sum("1, 2, 3").unwrap(), 6);
/// assert_eq!(sum("1, two").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Any error at all: what `?` makes of an error when the task returns [`Result`].
///
/// A task may as well return an error type of its own: all it needs is `Display`. As this type can be made from any
/// error it is, like `anyhow::Error`, not itself a [`std::error::Error`].
///
/// ```
/// use wasmp_guest::Error;
///
/// let missing = Error::from(std::fs::read("/no/such/file").unwrap_err());
/// assert!(missing.to_string().starts_with("No such file or directory"));
///
/// assert_eq!(Error::new("the list is empty").to_string(), "the list is empty");
/// ```
pub struct Error(Box<dyn error::Error + Send + Sync>);

impl Error {
    /// An error that says this.
    ///
    /// ```
    /// use wasmp_guest::{Error, Result};
    ///
    /// fn mean(numbers: &[f64]) -> Result<f64> {
    ///     if numbers.is_empty() {
    ///         return Err(Error::new("no numbers, no mean"));
    ///     }
    ///     Ok(numbers.iter().sum::<f64>() / numbers.len() as f64)
    /// }
    ///
    /// assert_eq!(mean(&[]).unwrap_err().to_string(), "no numbers, no mean");
    /// ```
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into().into())
    }
}

impl Error {
    /// The error that this was made from, if it is an `E`.
    ///
    /// ```
    /// use wasmp_guest::{Error, SharedError};
    ///
    /// let error = Error::from(SharedError::Interrupted);
    /// assert_eq!(error.downcast_ref(), Some(&SharedError::Interrupted));
    /// ```
    #[must_use]
    pub fn downcast_ref<E: error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl<E: error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

/// What it was made from; its [`source`](error::Error::source) is what caused it.
impl Deref for Error {
    type Target = dyn error::Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Display for Error {
    /// The error; with `{:#}` also what caused it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source().filter(|_| f.alternate());
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// For `main`, whose error is printed with `Debug`: the error and what caused it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

/// What was asked for exists inside a wasmp worker only, and this is an ordinary program.
///
/// ```
/// assert_eq!(wasmp_guest::worker_slot().unwrap_err(), wasmp_guest::Unsupported);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not in a wasmp worker")
    }
}

impl error::Error for Unsupported {}
