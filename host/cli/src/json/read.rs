//! JSON text → CBOR values, in one pass.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ciborium::Value;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::BYTES_KEY;

/// The key under which serde_json, built with `arbitrary_precision`, hands on the digits of a number that is not a
/// 64-bit integer. The tests below fail should it ever change.
const NUMBER_KEY: &str = "$serde_json::private::Number";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads one JSON value; white space may surround it, nothing else may.
pub(crate) fn parse(text: &str) -> Result<Value, Malformed> {
    serde_json::from_str::<Parsed>(text)
        .map(|parsed| parsed.0)
        .map_err(|error| Malformed::new(&error))
}

/// Why a text is not a value that a task can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    message: String,
    line: usize,
    column: usize,
    is_json: bool,
}

impl Malformed {
    fn new(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        // serde_json appends the position to its message; here it has a sentence of its own.
        let message = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(message, _)| message)
            .to_owned();
        let is_json = error.classify() == Category::Data || message == "recursion limit exceeded";
        Self {
            message,
            line: error.line(),
            column: error.column(),
            is_json,
        }
    }

    /// Whether the text is JSON, though of a kind that is refused.
    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            message,
            line,
            column,
            is_json,
        } = self;
        if !is_json {
            f.write_str("not JSON: ")?;
        }
        match line {
            0 => f.write_str(message),
            // A record is nearly always one line, whose number the caller knows better.
            1 => write!(f, "{message} at column {column}"),
            _ => write!(f, "{message} at column {column} of its line {line}"),
        }
    }
}

impl std::error::Error for Malformed {}

struct Parsed(Value);

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Self)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Parsed(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Text(key) => entries.push((Value::Text(key), map.next_value::<Parsed>()?.0)),
                Key::Number => return number(&map.next_value::<String>()?).map_err(de::Error::custom),
                Key::Bytes => {
                    let text = map.next_value::<Base64>()?;
                    return match (entries.is_empty(), map.next_key::<Key>()?) {
                        (true, None) => Ok(Value::Bytes(text.0)),
                        _ => Err(de::Error::custom(
                            "the key `$bytes` is reserved for byte strings and stands alone in its object",
                        )),
                    };
                }
            }
        }
        Ok(Value::Map(entries))
    }
}

/// The key of an object's member, and what it says about the object.
enum Key {
    Text(String),
    Number,
    Bytes,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    NUMBER_KEY => Key::Number,
                    BYTES_KEY => Key::Bytes,
                    _ => Key::Text(key.to_owned()),
                })
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The value of `$bytes`.
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64Visitor;

        impl Visitor<'_> for Base64Visitor {
            type Value = Base64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 in a string as the value of `$bytes`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64, E> {
                BASE64
                    .decode(text)
                    .map(Base64)
                    .map_err(|error| E::custom(format_args!("bad base64 in `$bytes`: {error}")))
            }
        }

        deserializer.deserialize_str(Base64Visitor)
    }
}

/// A number from its digits, exactly, or why not.
fn number(digits: &str) -> Result<Value, String> {
    if digits.contains(['.', 'e', 'E']) {
        return match digits.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Value::Float(float)),
            _ => Err(format!("{} is beyond the range of a 64-bit float", shortened(digits))),
        };
    }
    digits
        .parse::<i128>()
        .map(Value::from)
        .or_else(|_| digits.parse::<u128>().map(Value::from))
        .map_err(|_| format!("{} is beyond the range of 128-bit integers", shortened(digits)))
}

/// A number as an error message shows it: a million digits help nobody.
fn shortened(digits: &str) -> String {
    const SHOWN: usize = 50;
    match digits.get(..SHOWN) {
        Some(first) if digits.len() > SHOWN => format!("{first}… ({} digits)", digits.len()),
        _ => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refusal(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    /// The CBOR of an integer, in hexadecimal, by way of the same encoder as the pool's.
    fn encoded(text: &str) -> String {
        let mut bytes = Vec::new();
        ciborium::into_writer(&read(text), &mut bytes).expect("a Vec takes everything");
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn scalars_are_what_they_look_like() {
        assert_eq!(read("null"), Value::Null);
        assert_eq!(read(" true\n"), Value::Bool(true));
        assert_eq!(read("7"), Value::from(7));
        assert_eq!(read("-7"), Value::from(-7));
        assert_eq!(read("-0"), Value::from(0));
        assert_eq!(read(r#""a\u00e9\n""#), Value::Text("aé\n".into()));
    }

    #[test]
    fn a_point_or_an_exponent_makes_a_float() {
        assert_eq!(read("1.0"), Value::Float(1.0));
        assert_eq!(read("1e3"), Value::Float(1000.0));
        assert_eq!(read("-2.5E-1"), Value::Float(-0.25));
    }

    #[test]
    fn integers_are_exact_at_every_size() {
        assert_eq!(read("9007199254740993"), Value::from(9_007_199_254_740_993_i64));
        assert_eq!(encoded("18446744073709551615"), "1bffffffffffffffff");
        assert_eq!(encoded("-18446744073709551616"), "3bffffffffffffffff");
        assert_eq!(encoded("18446744073709551616"), "c249010000000000000000");
        assert_eq!(encoded("-18446744073709551617"), "c349010000000000000000");
        assert_eq!(
            encoded("340282366920938463463374607431768211455"),
            format!("c250{}", "ff".repeat(16))
        );
        assert_eq!(
            encoded("-170141183460469231731687303715884105728"),
            format!("c3507f{}", "ff".repeat(15))
        );
    }

    #[test]
    fn what_no_guest_number_holds_is_refused() {
        assert!(refusal("340282366920938463463374607431768211456").contains("beyond the range of 128-bit integers"));
        assert!(refusal("-170141183460469231731687303715884105729").contains("128-bit"));
        assert_eq!(
            refusal("1e999"),
            "1e+999 is beyond the range of a 64-bit float at column 5"
        );
        assert!(refusal(&"9".repeat(1000)).contains("… (1000 digits)"));
    }

    #[test]
    fn objects_keep_the_order_of_their_keys() {
        let Value::Map(entries) = read(r#"{"z":1,"a":[2,{}],"m":null}"#) else {
            panic!("not a map")
        };
        let keys: Vec<_> = entries
            .iter()
            .map(|(key, _)| key.as_text().unwrap_or_default())
            .collect();
        assert_eq!(keys, ["z", "a", "m"]);
        assert_eq!(entries[1].1, Value::Array(vec![Value::from(2), Value::Map(vec![])]));
    }

    #[test]
    fn an_object_with_only_bytes_is_a_byte_string() {
        assert_eq!(read(r#"{"$bytes":"AQI="}"#), Value::Bytes(vec![1, 2]));
        assert_eq!(read(r#"{"$bytes":"AQI"}"#), Value::Bytes(vec![1, 2]));
        assert_eq!(read(r#"[{"$bytes":""}]"#), Value::Array(vec![Value::Bytes(vec![])]));
    }

    #[test]
    fn bytes_beside_other_keys_or_not_base64_are_refused() {
        assert!(refusal(r#"{"$bytes":"","a":1}"#).contains("stands alone"));
        assert!(refusal(r#"{"a":1,"$bytes":""}"#).contains("stands alone"));
        assert!(refusal(r#"{"$bytes":"*"}"#).contains("bad base64"));
        assert!(refusal(r#"{"$bytes":5}"#).contains("expected base64 in a string"));
    }

    #[test]
    fn nan_is_not_json_and_its_name_is_text() {
        assert!(refusal("NaN").starts_with("not JSON"));
        assert_eq!(read(r#""NaN""#), Value::Text("NaN".into()));
    }

    #[test]
    fn an_error_says_where() {
        assert_eq!(refusal("[1, 2"), "not JSON: EOF while parsing a list at column 5");
        assert_eq!(
            refusal("[1,\n2 3]"),
            "not JSON: expected `,` or `]` at column 3 of its line 2"
        );
        assert_eq!(refusal("1 2"), "not JSON: trailing characters at column 3");
    }

    #[test]
    fn only_what_is_json_at_all_counts_as_json() {
        assert!(!parse("hello").expect_err("a word").is_json());
        assert!(!parse("").expect_err("nothing").is_json());
        assert!(parse("1e999").expect_err("too large").is_json());
        assert!(parse(&"[".repeat(200)).expect_err("too deep").is_json());
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        assert!(refusal(&"[".repeat(1_000_000)).contains("recursion limit"));
    }
}
