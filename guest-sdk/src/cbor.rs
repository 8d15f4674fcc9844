//! What arguments, results and messages have in common: CBOR through serde, and the shortcuts for what most of them
//! are.

use ciborium_ll::{Decoder, Encoder, Header};
use serde::{Serialize, de::DeserializeOwned};

use crate::widening::Widening;

/// Room for ciborium to put text while it decodes; it refuses longer names of fields and the like. Its own default.
const SCRATCH: usize = 4096;

/// Appends the value's CBOR, or says why there is none.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, output: &mut Vec<u8>) -> Result<(), String> {
    use ciborium::ser::Error;

    ciborium::into_writer(value, output).map_err(|error| match error {
        Error::Io(error) => error.to_string(),
        Error::Value(problem) => problem,
    })
}

/// Appends a byte string.
pub(crate) fn encode_bytes(bytes: &[u8], output: &mut Vec<u8>) -> Result<(), String> {
    output.reserve(bytes.len() + 9);
    Encoder::from(&mut *output)
        .push(Header::Bytes(Some(bytes.len())))
        .map_err(|error| error.to_string())?;
    output.extend_from_slice(bytes);
    Ok(())
}

/// Takes the next item off `rest`, or says what is wrong with it.
pub(crate) fn decode<T: DeserializeOwned>(rest: &mut &[u8], scratch: &mut Vec<u8>) -> Result<T, String> {
    use ciborium::de::Error;

    scratch.resize(SCRATCH, 0);
    ciborium::de::from_reader_with_buffer(rest, scratch)
        .map(|Widening(value)| value)
        .map_err(|error| match error {
            Error::Semantic(_, problem) => problem,
            Error::RecursionLimitExceeded => "nested too deeply".to_owned(),
            Error::Io(_) | Error::Syntax(_) => "malformed CBOR".to_owned(),
        })
}

/// Takes an integer in range off `rest`.
#[inline]
pub(crate) fn integer<N: TryFrom<u64> + TryFrom<i64>>(rest: &mut &[u8]) -> Option<N> {
    match head(rest)? {
        Header::Positive(n) => n.try_into().ok(),
        // CBOR has -1 - n.
        Header::Negative(n) => i64::try_from(n).ok().and_then(|n| (!n).try_into().ok()),
        _ => None,
    }
}

/// Takes a text off `rest`.
#[inline]
pub(crate) fn text<'m>(rest: &mut &'m [u8]) -> Option<&'m str> {
    match head(rest)? {
        Header::Text(Some(length)) => str::from_utf8(rest.split_off(..length)?).ok(),
        _ => None,
    }
}

/// Takes a byte string off `rest`.
#[inline]
pub(crate) fn bytes<'m>(rest: &mut &'m [u8]) -> Option<&'m [u8]> {
    match head(rest)? {
        Header::Bytes(Some(length)) => rest.split_off(..length),
        _ => None,
    }
}

/// The head of the next item. A tag says what an item means to those who know the tag; here it is passed over.
#[inline]
pub(crate) fn head(rest: &mut &[u8]) -> Option<Header> {
    if let Some((header, tail)) = plain_head(rest) {
        *rest = tail;
        return Some(header);
    }
    let mut decoder = Decoder::from(rest);
    loop {
        match decoder.pull() {
            Ok(Header::Tag(_)) => {}
            other => return other.ok(),
        }
    }
}

/// The heads that nearly every item has, an integer's or that of something with a length, in a third of the time that
/// ciborium's reader takes.
#[inline]
fn plain_head(item: &[u8]) -> Option<(Header, &[u8])> {
    let (&first, rest) = item.split_first()?;
    let (number, rest) = match first & 0x1f {
        small @ 0..24 => (u64::from(small), rest),
        24 => rest
            .split_first_chunk()
            .map(|(n, rest)| (u8::from_be_bytes(*n).into(), rest))?,
        25 => rest
            .split_first_chunk()
            .map(|(n, rest)| (u16::from_be_bytes(*n).into(), rest))?,
        26 => rest
            .split_first_chunk()
            .map(|(n, rest)| (u32::from_be_bytes(*n).into(), rest))?,
        27 => rest
            .split_first_chunk()
            .map(|(n, rest)| (u64::from_be_bytes(*n), rest))?,
        _ => return None,
    };
    let length = usize::try_from(number);
    let header = match first >> 5 {
        0 => Header::Positive(number),
        1 => Header::Negative(number),
        2 => Header::Bytes(Some(length.ok()?)),
        3 => Header::Text(Some(length.ok()?)),
        4 => Header::Array(Some(length.ok()?)),
        _ => return None,
    };
    Some((header, rest))
}
