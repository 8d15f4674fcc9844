//! CBOR → JSON text, in one pass, without a value in between.

use std::fmt;
use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde_json::ser::Formatter;

use super::BYTES_KEY;

/// A CBOR value as one line of JSON: what a task's result is read as.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Json(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Vec::new();
        Writer(&mut text).deserialize(deserializer)?;
        Ok(Self(text))
    }
}

/// Appends plain data as one line of JSON, with no control character in it that a terminal might obey.
pub(crate) fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, Visible))
}

/// A valid JSON text as one line that is safe to show: as it stands when it already is one.
pub(crate) fn single_line(text: &str) -> Vec<u8> {
    let text = text.trim();
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut line = Vec::with_capacity(text.len());
    match serde_json::from_str::<serde_json::Value>(text).and_then(|value| write(&mut line, &value)) {
        Ok(()) => line,
        Err(_) => string(text),
    }
}

/// A text as a string of JSON.
pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    write(&mut quoted, text).expect("a string into a Vec cannot fail");
    quoted
}

/// Compact JSON whose strings hold no control character: JSON itself demands it of those below U+0020 only.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        // DEL is the byte 7F, and all of U+0080 to U+009F begin with C2: most fragments have neither.
        if fragment.bytes().any(|byte| byte == 0x7f || byte == 0xc2) {
            while let Some(at) = rest.find(char::is_control) {
                let (before, from) = rest.split_at(at);
                let control = from.chars().next().unwrap_or_default();
                write!(out, "{before}\\u{:04x}", u32::from(control))?;
                rest = &from[control.len_utf8()..];
            }
        }
        out.write_all(rest.as_bytes())
    }
}

/// Appends the value it visits.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn display<E: de::Error>(self, value: impl fmt::Display) -> Result<(), E> {
        write!(self.0, "{value}").map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can carry")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.0.extend(b"null");
        Ok(())
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.display(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.display(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.display(value)
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<(), E> {
        self.display(value)
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<(), E> {
        self.display(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        let name = match value {
            _ if value.is_nan() => "\"NaN\"",
            f64::INFINITY => "\"Infinity\"",
            f64::NEG_INFINITY => "\"-Infinity\"",
            _ => return write(self.0, &value).map_err(E::custom),
        };
        self.display(name)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        write(self.0, text).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<(), E> {
        let encoded = BASE64.encode(bytes);
        write!(self.0, "{{\"{BYTES_KEY}\":\"{encoded}\"}}").map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        let empty = self.0.len();
        loop {
            let before = self.0.len();
            if before > empty {
                self.0.push(b',');
            }
            if seq.next_element_seed(Writer(self.0))?.is_none() {
                self.0.truncate(before);
                break;
            }
        }
        self.0.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.push(b'{');
        let empty = self.0.len();
        loop {
            let before = self.0.len();
            if before > empty {
                self.0.push(b',');
            }
            if map.next_key_seed(KeyWriter(self.0))?.is_none() {
                self.0.truncate(before);
                break;
            }
            self.0.push(b':');
            map.next_value_seed(Writer(self.0))?;
        }
        self.0.push(b'}');
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(de::Error::custom(
            "JSON has nothing for a tagged value, such as a handle or an integer beyond 128 bits",
        ))
    }
}

/// Appends a map's key, which must be text.
struct KeyWriter<'a>(&'a mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for KeyWriter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Not deserialize_str: the error shall name the key that is there, whatever it is.
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for KeyWriter<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string as the key, since JSON has no other keys")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<(), E> {
        if key == BYTES_KEY {
            return Err(E::custom(
                "a map has the key `$bytes`, which is reserved for byte strings",
            ));
        }
        write(self.0, key).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ciborium::Value;

    use super::*;

    fn cbor(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).expect("a Vec takes everything");
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<String, String> {
        ciborium::from_reader::<Json, _>(bytes)
            .map(|json| String::from_utf8(json.0).expect("JSON is text"))
            .map_err(|error| error.to_string())
    }

    fn json(value: &impl Serialize) -> String {
        decode(&cbor(value)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refusal(value: &impl Serialize) -> String {
        decode(&cbor(value)).expect_err("a refusal")
    }

    #[test]
    fn what_was_read_is_written_the_same() {
        for text in [
            "null",
            "true",
            "-7",
            "9007199254740993",
            "18446744073709551616",
            "340282366920938463463374607431768211455",
            "-170141183460469231731687303715884105728",
            "1.0",
            "0.1",
            "1e+300",
            "5e-324",
            r#""a é 🦀 \" \\ \n \u0007""#,
            r#"{"$bytes":"AQI="}"#,
            "[]",
            "{}",
            r#"[1,[2.5,{"z":[],"a":{"b":null}}],"x"]"#,
        ] {
            let value = crate::json::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(json(&value), text);
        }
    }

    #[test]
    fn floats_without_a_number_in_json_have_names() {
        assert_eq!(
            json(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
            r#"["NaN","Infinity","-Infinity"]"#
        );
    }

    #[test]
    fn undefined_is_null() {
        assert_eq!(decode(&[0xf7]).as_deref(), Ok("null"));
    }

    #[test]
    fn indefinite_lengths_are_read() {
        assert_eq!(
            decode(b"\x9f\x01\xbf\x61a\x02\xff\xff").as_deref(),
            Ok(r#"[1,{"a":2}]"#)
        );
        assert_eq!(
            decode(b"\x5f\x41\x01\x41\x02\xff").as_deref(),
            Ok(r#"{"$bytes":"AQI="}"#)
        );
    }

    #[test]
    fn no_control_character_gets_through() {
        let all: String = (0..0x100_u32).filter_map(char::from_u32).collect();
        let written = json(&all);
        assert!(!written.contains(char::is_control), "{written:?}");
        assert_eq!(serde_json::from_str::<String>(&written).ok(), Some(all));
    }

    #[test]
    fn keys_that_are_not_text_are_refused_by_name() {
        let refusal = refusal(&BTreeMap::from([(3, "x")]));
        assert!(
            refusal.contains("integer `3`, expected a string as the key"),
            "{refusal}"
        );
    }

    #[test]
    fn a_guest_map_cannot_pass_for_bytes() {
        assert!(refusal(&BTreeMap::from([("$bytes", "AQI=")])).contains("reserved"));
    }

    #[test]
    fn tags_are_refused() {
        let handle = Value::Tag(40_000, Box::new(Value::Bytes(vec![0; 16])));
        assert!(refusal(&vec![handle]).contains("a tagged value"));
        let beyond = Value::Tag(2, Box::new(Value::Bytes(vec![1; 17])));
        assert!(refusal(&beyond).contains("beyond 128 bits"));
    }

    #[test]
    fn hostile_nesting_is_an_error_and_no_overflow() {
        assert!(decode(&[0x81; 1_000_000]).is_err());
    }

    #[test]
    fn a_json_text_is_kept_as_written_unless_it_must_change() {
        let single_line = |text| String::from_utf8(single_line(text)).expect("JSON is text");
        assert_eq!(
            single_line(" {\"b\": 1e2, \"a\": 10000000000000000000000} "),
            "{\"b\": 1e2, \"a\": 10000000000000000000000}"
        );
        assert_eq!(
            single_line("{\"b\":\n\t12, \"a\": \"\u{9b}1m\u{7f}\"}"),
            "{\"b\":12,\"a\":\"\\u009b1m\\u007f\"}"
        );
        assert_eq!(single_line("no\u{7}json"), "\"no\\u0007json\"");
    }
}
