//! Values to CBOR and back.

use ciborium_io::Write;
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer, value};

/// A writer into a `Vec`, which cannot fail.
struct Sink<'a>(&'a mut Vec<u8>);

impl Write for Sink<'_> {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, data: &[u8]) -> Result<(), Self::Error> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Appends the value, or says why it cannot be serialized.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), String> {
    ciborium::into_writer(value, Sink(bytes)).map_err(|error| match error {
        ciborium::ser::Error::Value(why) => why,
    })
}

/// Reads values. Keeps the scratch space that the format needs, which is too large to be cleared for each.
pub(crate) struct Decoder {
    scratch: Box<[u8; 4096]>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            scratch: Box::new([0; 4096]),
        }
    }

    /// The value in these bytes, or what is wrong with them.
    pub(crate) fn read<R: DeserializeOwned>(&mut self, bytes: &[u8]) -> Result<R, String> {
        if let Some(value) = scalar(bytes) {
            return Ok(value);
        }
        ciborium::de::from_reader_with_buffer(bytes, &mut self.scratch[..]).map_err(|error| match error {
            ciborium::de::Error::Semantic(_, why) => why,
            ciborium::de::Error::Io(_) => "it ends too early".into(),
            ciborium::de::Error::Syntax(at) => format!("it is not CBOR (byte {at})"),
            ciborium::de::Error::RecursionLimitExceeded => "it is nested too deeply".into(),
        })
    }
}

/// The value, if it is one number or truth value and its type takes it as such: most are, and reading them with the whole
/// machinery takes four times as long. Whole numbers fit floats here.
#[inline]
fn scalar<R: DeserializeOwned>(bytes: &[u8]) -> Option<R> {
    fn take<R: DeserializeOwned>(value: impl for<'de> IntoDeserializer<'de, value::Error>) -> Option<R> {
        R::deserialize(value.into_deserializer()).ok()
    }
    let (head, rest) = bytes.split_first()?;
    if let (0xfb, Ok(bits)) = (head, rest.try_into()) {
        return take(f64::from_be_bytes(bits));
    }
    if let (0xf4 | 0xf5, []) = (head, rest) {
        return take(*head == 0xf5);
    }
    let number = match (head & 0x1f, rest) {
        (small @ 0..24, []) => u64::from(small),
        (24, [number]) => u64::from(*number),
        (25, rest) => u64::from(u16::from_be_bytes(rest.try_into().ok()?)),
        (26, rest) => u64::from(u32::from_be_bytes(rest.try_into().ok()?)),
        (27, rest) => u64::from_be_bytes(rest.try_into().ok()?),
        _ => return None,
    };
    match head >> 5 {
        0 => take(number),
        1 => take(-1 - i64::try_from(number).ok()?),
        _ => None,
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_reads_what_the_long_way_reads() {
        let numbers = [0, 23, 24, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, i64::MAX];
        for number in numbers.into_iter().flat_map(|number| [number, -number, -1 - number]) {
            let mut bytes = Vec::new();
            ciborium::into_writer(&number, &mut bytes).unwrap();
            assert_eq!(scalar::<i64>(&bytes), Some(number));
            assert_eq!(scalar::<u8>(&bytes), u8::try_from(number).ok());
            assert_eq!(scalar::<String>(&bytes), None);
            assert_eq!(Decoder::new().read::<Option<i64>>(&bytes).unwrap(), Some(number));
            bytes.push(0);
            assert_eq!(scalar::<i64>(&bytes), None);
        }
        assert_eq!(scalar::<bool>(&[0xf5]), Some(true));
        assert_eq!(scalar::<f64>(&[0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]), Some(1.5));
        assert_eq!(scalar::<f64>(&[7]), Some(7.0));
        assert_eq!(scalar::<i64>(&[]), None);
    }
}
