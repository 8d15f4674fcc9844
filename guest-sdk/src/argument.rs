//! From the bytes of a message to the arguments of a task.
//!
//! Numbers, text and bytes are decoded right here: it is faster than the way through serde, they can borrow from the
//! message, and a misfit can show the value. All other types go through serde and ciborium. Which way a parameter takes
//! is decided by its type at compile time, in the way that `outcome.rs` explains.

use std::marker::PhantomData;

use ciborium_ll::{Header, simple};
use serde::de::DeserializeOwned;

use crate::{cbor, failure::Failure};

/// The name and the type of each parameter, as they are written in the task.
pub(crate) type Parameters = &'static [(&'static str, &'static str)];

/// The arguments of one item, decoded one after the other.
#[derive(Debug)]
pub struct Arguments<'m> {
    /// The part of the message that is not decoded yet.
    rest: &'m [u8],
    parameters: Parameters,
    /// The parameter whose turn it is.
    index: usize,
    scratch: &'m mut Vec<u8>,
}

impl<'m> Arguments<'m> {
    /// Opens a message: a CBOR array with one item for each parameter, or null when there are none.
    pub(crate) fn parse(message: &'m [u8], parameters: Parameters, scratch: &'m mut Vec<u8>) -> Result<Self, Failure> {
        let mut rest = message;
        let given = match cbor::head(&mut rest) {
            Some(Header::Array(Some(given))) => given,
            Some(Header::Simple(simple::NULL)) => 0,
            _ => {
                return Err(failure(format!(
                    "arguments come as an array, got {}",
                    describe(message)
                )));
            }
        };
        if given != parameters.len() {
            return Err(wrong_number(parameters, given));
        }
        Ok(Self {
            rest,
            parameters,
            index: 0,
            scratch,
        })
    }

    /// Decodes the next argument.
    fn next<T>(&mut self, decode: impl FnOnce(&mut &'m [u8], &mut Vec<u8>) -> Result<T, Misfit>) -> Result<T, Failure> {
        let start = self.rest;
        let value = decode(&mut self.rest, self.scratch).map_err(|misfit| self.wrong_type(start, misfit))?;
        self.index += 1;
        Ok(value)
    }

    #[cold]
    fn wrong_type(&self, start: &[u8], misfit: Misfit) -> Failure {
        let (name, ty) = self.parameters[self.index];
        let number = self.index + 1;
        let problem = match misfit {
            Misfit::Unexpected => format!("expected {ty}, got {}", describe(start)),
            Misfit::Because(problem) => problem,
        };
        failure(format!("argument {number} ({name}: {ty}): {problem}"))
    }
}

#[cold]
fn wrong_number(parameters: Parameters, given: usize) -> Failure {
    let expected = match parameters {
        [] => "no arguments".to_owned(),
        _ => {
            let list = parameters
                .iter()
                .map(|(name, ty)| format!("{name}: {ty}"))
                .collect::<Vec<_>>()
                .join(", ");
            let plural = if parameters.len() == 1 { "" } else { "s" };
            format!("{} argument{plural} ({list})", parameters.len())
        }
    };
    failure(format!("expected {expected}, got {given}"))
}

fn failure(message: String) -> Failure {
    Failure::new(wasmp_abi::FAIL_ARGUMENTS, message)
}

/// Why a value does not fit its parameter.
enum Misfit {
    /// It is of another type, or out of range.
    Unexpected,
    /// Serde's reason.
    Because(String),
}

/// How a parameter of type `T` is decoded.
#[derive(Debug)]
pub struct Argument<T>(PhantomData<T>);

macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl Argument<$ty> {
            /// An integer in range.
            #[inline]
            pub fn decode(arguments: &mut Arguments<'_>) -> Result<$ty, Failure> {
                arguments.next(|rest, _| cbor::integer(rest).ok_or(Misfit::Unexpected))
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

impl Argument<f64> {
    /// A float, or an integer: JSON writers print `2.0` as `2`.
    #[inline]
    pub fn decode(arguments: &mut Arguments<'_>) -> Result<f64, Failure> {
        arguments.next(|rest, _| match cbor::head(rest).ok_or(Misfit::Unexpected)? {
            Header::Float(x) => Ok(x),
            Header::Positive(n) => Ok(n as f64),
            Header::Negative(n) => Ok(-1.0 - n as f64),
            _ => Err(Misfit::Unexpected),
        })
    }
}

impl Argument<f32> {
    /// As for `f64`, rounded.
    #[inline]
    pub fn decode(arguments: &mut Arguments<'_>) -> Result<f32, Failure> {
        Argument::<f64>::decode(arguments).map(|x| x as f32)
    }
}

impl Argument<bool> {
    /// True or false.
    #[inline]
    pub fn decode(arguments: &mut Arguments<'_>) -> Result<bool, Failure> {
        arguments.next(|rest, _| match cbor::head(rest).ok_or(Misfit::Unexpected)? {
            Header::Simple(simple::TRUE) => Ok(true),
            Header::Simple(simple::FALSE) => Ok(false),
            _ => Err(Misfit::Unexpected),
        })
    }
}

impl<'m> Argument<&'m str> {
    /// A text, as it stands in the message.
    #[inline]
    pub fn decode(arguments: &mut Arguments<'m>) -> Result<&'m str, Failure> {
        arguments.next(|rest, _| cbor::text(rest).ok_or(Misfit::Unexpected))
    }
}

impl Argument<String> {
    /// A text.
    #[inline]
    pub fn decode(arguments: &mut Arguments<'_>) -> Result<String, Failure> {
        Argument::<&str>::decode(arguments).map(str::to_owned)
    }
}

impl<'m> Argument<&'m [u8]> {
    /// A byte string, as it stands in the message.
    #[inline]
    pub fn decode(arguments: &mut Arguments<'m>) -> Result<&'m [u8], Failure> {
        arguments.next(|rest, _| cbor::bytes(rest).ok_or(Misfit::Unexpected))
    }
}

impl Argument<Vec<u8>> {
    /// A byte string, or an array of numbers.
    pub fn decode(arguments: &mut Arguments<'_>) -> Result<Vec<u8>, Failure> {
        match cbor::head(&mut { arguments.rest }) {
            Some(Header::Bytes(Some(_))) => Argument::<&[u8]>::decode(arguments).map(<[u8]>::to_vec),
            _ => <Self as DecodeWithSerde<_>>::decode(arguments),
        }
    }
}

/// The general case of [`Argument`].
pub trait DecodeWithSerde<T> {
    /// Whatever serde makes of it.
    fn decode(arguments: &mut Arguments<'_>) -> Result<T, Failure>
    where
        T: DeserializeOwned;
}

impl<T> DecodeWithSerde<T> for Argument<T> {
    fn decode(arguments: &mut Arguments<'_>) -> Result<T, Failure>
    where
        T: DeserializeOwned,
    {
        arguments.next(|rest, scratch| cbor::decode(rest, scratch).map_err(Misfit::Because))
    }
}

/// A value in words, for an error message.
fn describe(mut item: &[u8]) -> String {
    const SHOWN: usize = 40;

    match cbor::head(&mut item) {
        Some(Header::Positive(n)) => format!("integer {n}"),
        Some(Header::Negative(n)) => format!("integer {}", -1 - i128::from(n)),
        Some(Header::Float(x)) => format!("float {x:?}"),
        Some(Header::Simple(simple::TRUE)) => "bool true".to_owned(),
        Some(Header::Simple(simple::FALSE)) => "bool false".to_owned(),
        Some(Header::Simple(simple::NULL)) => "null".to_owned(),
        Some(Header::Bytes(Some(length))) => format!("a byte string of {length} bytes"),
        Some(Header::Text(Some(length))) => match str::from_utf8(item.get(..length).unwrap_or_default()) {
            Ok(text) if text.chars().nth(SHOWN).is_none() => format!("text {text:?}"),
            Ok(text) => format!("text {:?}…", text.chars().take(SHOWN).collect::<String>()),
            Err(_) => "text that is not UTF-8".to_owned(),
        },
        Some(Header::Array(Some(items))) => format!("an array of {items}"),
        Some(Header::Map(_)) => "a map".to_owned(),
        _ => "malformed CBOR".to_owned(),
    }
}

#[cfg(test)]
mod tests;
