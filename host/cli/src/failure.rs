//! Why an item has no result, in the words of the contract.

use serde::Serialize;
use wasmp::ErrorKind;

use crate::input::{InputError, Place};

/// The kind of failure that happens before an item reaches the pool.
const INPUT: &str = "input";

/// A failed item: the `error` of its envelope.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// One of the library's kinds, or `input`.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// What caused it, then what caused that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backtrace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<i32>,
    /// How often it was tried; left out when it never ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<u64>,
}

impl Failure {
    fn new(kind: &'static str, message: String) -> Self {
        Self {
            kind,
            message,
            causes: Vec::new(),
            backtrace: None,
            exit_code: None,
            signal: None,
            attempts: None,
            line: None,
            record: None,
        }
    }

    /// The failure that an error of the library stands for, or else the error: one that is not about an item.
    pub(crate) fn from_library(error: wasmp::Error) -> Result<Self, wasmp::Error> {
        match error {
            wasmp::Error::Task(error) => {
                let causes = error.causes().map(|cause| cause.message.clone()).collect();
                let wasmp::TaskError {
                    kind,
                    message,
                    backtrace,
                    attempt,
                    worker,
                    exit_code,
                    signal,
                    ..
                } = *error;
                let attempts = (worker != 0).then_some(attempt);
                Ok(Self {
                    causes,
                    backtrace,
                    exit_code,
                    signal,
                    attempts,
                    ..Self::new(kind.name(), message)
                })
            }
            wasmp::Error::Encode(why) => Ok(Self::new(ErrorKind::Arguments.name(), why)),
            wasmp::Error::Decode(why) => Ok(Self::new(
                ErrorKind::Result.name(),
                format!("the result cannot be written as JSON: {why}"),
            )),
            other => Err(other),
        }
    }

    /// What went wrong and why, in one line.
    pub(crate) fn in_brief(&self) -> String {
        let mut text = format!("{}: {}", self.kind, self.message);
        for cause in &self.causes {
            text.push_str(": ");
            text.push_str(cause);
        }
        text
    }

    /// All there is to say, over several lines: for where there is only one failure.
    pub(crate) fn in_full(&self) -> String {
        let Self {
            kind,
            message,
            causes,
            backtrace,
            ..
        } = self;
        let mut text = format!("{kind}: {message}");
        for cause in causes {
            text.push_str("\n  caused by: ");
            text.push_str(cause);
        }
        if let Some(backtrace) = backtrace {
            text.push('\n');
            text.push_str(backtrace);
        }
        text
    }

    /// The same failure, which says where its input stands.
    pub(crate) fn at(self, place: Place) -> Self {
        match place {
            Place::Typed => self,
            Place::Line(number) => Self {
                line: Some(number),
                ..self
            },
            Place::Record(number) => Self {
                record: Some(number),
                ..self
            },
        }
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        let kind = match error {
            InputError::TooLong => ErrorKind::TooLarge.name(),
            InputError::Malformed(_) | InputError::NotUtf8 { .. } | InputError::NotSpreadable => INPUT,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let failure = Failure::from(InputError::NotSpreadable).at(Place::Line(7));
        let json = serde_json::to_value(&failure).expect("plain data");
        let keys: Vec<_> = json
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(keys, ["kind", "message", "line"]);
        assert_eq!(json["kind"], "input");
        assert_eq!(json["line"], 7);
    }

    #[test]
    fn a_result_that_is_not_json_is_the_items_failure() {
        let failure = Failure::from_library(wasmp::Error::Decode("a tag".into())).expect("about an item");
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            ("result", "the result cannot be written as JSON: a tag")
        );
    }

    #[test]
    fn an_error_of_the_pool_is_no_items_failure() {
        assert!(Failure::from_library(wasmp::Error::Broken("no".into())).is_err());
        assert!(Failure::from_library(wasmp::Error::NotRunning).is_err());
    }
}
