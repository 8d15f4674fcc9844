//! Why an item failed, on its way to the host.

use std::{
    error::Error,
    fmt::{self, Display},
    ops::Deref,
};

use wasmp_abi::{FAIL_CAUSE, FAIL_ERROR};

/// One of the `FAIL_…` kinds of the ABI and what to tell the user.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub(crate) kind: i32,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: i32, message: impl Display) -> Self {
        let mut failure = Self {
            kind,
            message: String::new(),
        };
        failure.say(message);
        failure
    }

    fn error(error: &(impl Error + ?Sized)) -> Self {
        let mut failure = Self::new(FAIL_ERROR, error);
        let mut cause = error.source();
        while let Some(error) = cause {
            failure.message.push(FAIL_CAUSE);
            failure.say(error);
            cause = error.source();
        }
        failure
    }

    /// Adds a message, in which nothing is taken for the beginning of another.
    fn say(&mut self, message: impl Display) {
        struct Plain<'a>(&'a mut String);
        impl fmt::Write for Plain<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.extend(text.chars().map(|c| {
                    if c == FAIL_CAUSE {
                        char::REPLACEMENT_CHARACTER
                    } else {
                        c
                    }
                }));
                Ok(())
            }
        }
        // A `Display` that fails has said what it could.
        let _ = fmt::Write::write_fmt(&mut Plain(&mut self.message), format_args!("{message}"));
    }
}

/// The error that a task has returned. What is known of it shows in its type alone, and the compiler picks the first of
/// three ways that fits, as `outcome` tells: what points to an error (`anyhow::Error`,
/// `Box<dyn Error + Send + Sync>`, [`wasmp_guest::Error`](crate::Error)), what is one, and what has words only.
#[derive(Debug)]
pub struct Reason<'e, E>(pub &'e E);

impl<E> Reason<'_, E>
where
    E: Deref<Target: Error>,
{
    /// The error and its causes.
    pub fn failure(self) -> Failure {
        Failure::error(&**self.0)
    }
}

/// An error that is one itself.
pub trait ErrorFailure {
    /// The error and its causes.
    fn failure(self) -> Failure;
}

impl<E: Error> ErrorFailure for Reason<'_, E> {
    fn failure(self) -> Failure {
        Failure::error(self.0)
    }
}

/// The general case.
pub trait DisplayFailure<E> {
    /// All that the error says: `{:#}` is what makes many types that are no [`Error`] tell more.
    fn failure(&self) -> Failure
    where
        E: Display;
}

impl<E> DisplayFailure<E> for Reason<'_, E> {
    fn failure(&self) -> Failure
    where
        E: Display,
    {
        Failure::new(FAIL_ERROR, format_args!("{:#}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    fn layers() -> Layer {
        let cause = Layer("no such file", None);
        Layer(
            "cannot read it",
            Some(Box::new(Layer("cannot open it", Some(Box::new(cause))))),
        )
    }

    const CHAIN: &str = "cannot read it\0cannot open it\0no such file";

    #[test]
    fn an_error_comes_with_its_causes_however_it_is_held() {
        assert_eq!(Reason(&layers()).failure().message, CHAIN);
        assert_eq!(Reason(&crate::Error::from(layers())).failure().message, CHAIN);
        assert_eq!(Reason(&Box::<dyn Error>::from(layers())).failure().message, CHAIN);
        assert_eq!(
            Reason(&Box::<dyn Error + Send + Sync>::from("boxed")).failure().message,
            "boxed"
        );
    }

    #[test]
    fn words_alone_are_enough() {
        let failure = Reason(&"no luck").failure();
        assert_eq!((failure.kind, failure.message.as_str()), (FAIL_ERROR, "no luck"));
        assert_eq!(Reason(&"no luck".to_owned()).failure().message, "no luck");
    }

    #[test]
    fn a_message_does_not_run_into_its_cause() {
        assert_eq!(Reason(&"no\0luck").failure().message, "no\u{fffd}luck");
    }
}
