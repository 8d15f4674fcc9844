//! From what a task returns to the bytes of its result.
//!
//! A task may return a plain value or a `Result`, and either may be made of bytes: what it is shows in its type alone,
//! not in its spelling (`io::Result`, `anyhow::Result`, aliases). Rust has no specialisation, but the compiler prefers a
//! type's own methods to those of a trait, so where the type is known (in the code that the macro makes) a method call
//! picks the special case when there is one and the general one when not.

use std::{convert::Infallible, fmt::Display};

use serde::Serialize;

use crate::{cbor, failure::Failure};

/// What a task has returned.
#[derive(Debug)]
pub struct Returned<T>(pub T);

impl<T, E> Returned<Result<T, E>> {
    /// A `Result` is the outcome already. There is no condition on `E` here: one without `Display` must be an error of
    /// compilation, not a reason to take the `Result` for a plain value.
    pub fn outcome(self) -> Result<T, E> {
        self.0
    }
}

/// The general case of [`Returned`].
pub trait ReturnedPlainly {
    /// What was returned.
    type Value;

    /// A plain value is a success.
    fn outcome(self) -> Result<Self::Value, Infallible>;
}

impl<T> ReturnedPlainly for Returned<T> {
    type Value = T;

    fn outcome(self) -> Result<T, Infallible> {
        Ok(self.0)
    }
}

/// A value that is to be encoded.
#[derive(Debug)]
pub struct Value<'v, T: ?Sized>(pub &'v T);

impl Value<'_, Vec<u8>> {
    /// Bytes are one byte string, not an array of numbers.
    pub fn encode(self, output: &mut Vec<u8>) -> Result<(), Failure> {
        cbor::encode_bytes(self.0, output).map_err(unencodable)
    }
}

impl Value<'_, &[u8]> {
    /// As for `Vec<u8>`.
    pub fn encode(self, output: &mut Vec<u8>) -> Result<(), Failure> {
        cbor::encode_bytes(self.0, output).map_err(unencodable)
    }
}

/// The general case of [`Value`].
pub trait EncodeWithSerde<T: ?Sized> {
    /// Appends the value's CBOR to `output`.
    fn encode(self, output: &mut Vec<u8>) -> Result<(), Failure>
    where
        T: Serialize;
}

impl<T: ?Sized> EncodeWithSerde<T> for Value<'_, T> {
    fn encode(self, output: &mut Vec<u8>) -> Result<(), Failure>
    where
        T: Serialize,
    {
        cbor::encode(self.0, output).map_err(unencodable)
    }
}

fn unencodable(problem: impl Display) -> Failure {
    Failure::new(
        wasmp_abi::FAIL_RESULT,
        format_args!("the result cannot be encoded: {problem}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{DisplayFailure as _, ErrorFailure as _, Reason};

    /// What the macro writes, for a value.
    macro_rules! commit {
        ($returned:expr) => {{
            let mut output = Vec::new();
            match Returned($returned).outcome() {
                Ok(value) => Value(&value).encode(&mut output),
                Err(error) => Err(Reason(&error).failure()),
            }
            .map(|()| output)
        }};
    }

    #[test]
    fn plain_values_and_results_are_told_apart_by_type() {
        type Alias<T> = std::io::Result<T>;

        assert_eq!(commit!(7_i64).unwrap(), [7]);
        assert_eq!(commit!(()).unwrap(), [0xf6]);
        assert_eq!(commit!(Ok::<_, String>(7_i64)).unwrap(), [7]);
        assert_eq!(commit!(Alias::Ok(7_i64)).unwrap(), [7]);
        assert_eq!(commit!(Some(7_i64)).unwrap(), [7]);

        let failure = commit!(Err::<i64, _>("no luck")).unwrap_err();
        assert_eq!(
            failure,
            Failure {
                kind: wasmp_abi::FAIL_ERROR,
                message: "no luck".into()
            }
        );
    }

    #[test]
    fn bytes_become_byte_strings() {
        let bytes = [0x43, 1, 2, 3];
        assert_eq!(commit!(vec![1_u8, 2, 3]).unwrap(), bytes);
        assert_eq!(commit!(&[1_u8, 2, 3][..]).unwrap(), bytes);
        assert_eq!(commit!(Ok::<_, String>(vec![1_u8, 2, 3])).unwrap(), bytes);
        assert_eq!(commit!(vec![1_u16, 2, 3]).unwrap(), [0x83, 1, 2, 3]);
    }

    #[test]
    fn what_serde_cannot_carry_fails_as_a_result() {
        struct Stubborn;
        impl Serialize for Stubborn {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("I will not"))
            }
        }

        let failure = commit!(Stubborn).unwrap_err();
        assert_eq!(failure.kind, wasmp_abi::FAIL_RESULT);
        assert_eq!(failure.message, "the result cannot be encoded: I will not");
    }
}
