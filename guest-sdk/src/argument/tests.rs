//! Messages that fit, that do not, and that are no messages.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::*;

fn encode(arguments: impl Serialize) -> Vec<u8> {
    let mut message = Vec::new();
    ciborium::into_writer(&arguments, &mut message).unwrap();
    message
}

/// Decodes the only argument as a `T`, in the way the macro does it.
macro_rules! decode {
    ($ty:ty, $message:expr) => {
        Arguments::parse(&$message, &[("x", stringify!($ty))], &mut Vec::new())
            .and_then(|mut arguments| Argument::<$ty>::decode(&mut arguments))
            .map_err(|failure| {
                assert_eq!(failure.kind, wasmp_abi::FAIL_ARGUMENTS);
                failure.message
            })
    };
}

#[test]
fn integers_fit_or_are_refused() {
    for n in [0, 1, 23, 24, 255, 256, 65_535, 65_536, 1 << 32, i64::MAX] {
        assert_eq!(decode!(i64, encode((n,))), Ok(n));
        assert_eq!(decode!(i64, encode((-n,))), Ok(-n));
        assert_eq!(decode!(u64, encode((n,))), Ok(n as u64));
    }
    assert_eq!(decode!(i64, encode((i64::MIN,))), Ok(i64::MIN));
    assert_eq!(decode!(u64, encode((u64::MAX,))), Ok(u64::MAX));
    assert_eq!(decode!(i128, encode((i128::MIN,))), Ok(i128::MIN));
    assert_eq!(
        decode!(u8, encode((256,))).unwrap_err(),
        "argument 1 (x: u8): expected u8, got integer 256"
    );
    assert_eq!(
        decode!(u64, encode((-1,))).unwrap_err(),
        "argument 1 (x: u64): expected u64, got integer -1"
    );
    assert_eq!(
        decode!(i64, encode((2.0,))).unwrap_err(),
        "argument 1 (x: i64): expected i64, got float 2.0"
    );
}

#[test]
fn floats_take_whole_numbers_at_every_depth() {
    #[derive(Deserialize)]
    struct Point {
        at: (f64, f32),
        more: HashMap<String, Option<f64>>,
    }

    assert_eq!(decode!(f64, encode((2.5,))), Ok(2.5));
    assert_eq!(decode!(f64, encode((-2,))), Ok(-2.0));
    assert_eq!(decode!(f32, encode((3,))), Ok(3.0));
    assert!(decode!(f64, encode((f64::NAN,))).unwrap().is_nan());
    assert_eq!(decode!(Vec<f64>, encode(((1, 2.5, -3),))), Ok(vec![1.0, 2.5, -3.0]));

    #[derive(Serialize)]
    struct Whole {
        at: (i64, u8),
        more: HashMap<&'static str, Option<i64>>,
    }
    let whole = Whole {
        at: (-1, 2),
        more: HashMap::from([("a", Some(3)), ("b", None)]),
    };
    let point = decode!(Point, encode((whole,))).unwrap();
    assert_eq!(point.at, (-1.0, 2.0));
    assert_eq!((point.more["a"], point.more["b"]), (Some(3.0), None));

    assert_eq!(
        decode!(Vec<f64>, encode((("one",),))).unwrap_err(),
        "argument 1 (x: Vec<f64>): invalid type: string \"one\", expected f64"
    );
}

#[test]
fn text_and_bytes_borrow_from_the_message() {
    let message = [0x82, 0x62, b'h', b'i', 0x43, 1, 2, 3];
    let mut scratch = Vec::new();
    let mut arguments = Arguments::parse(&message, &[("a", "&str"), ("b", "&[u8]")], &mut scratch).unwrap();
    let text = Argument::<&str>::decode(&mut arguments).unwrap();
    let bytes = Argument::<&[u8]>::decode(&mut arguments).unwrap();
    assert_eq!((text, bytes), ("hi", &[1, 2, 3][..]));
    assert_eq!(text.as_ptr(), &raw const message[2]);
    assert_eq!(bytes.as_ptr(), &raw const message[5]);
}

#[test]
fn owned_bytes_come_as_a_byte_string_or_as_numbers() {
    assert_eq!(decode!(Vec<u8>, [0x81, 0x43, 1, 2, 3]), Ok(vec![1, 2, 3]));
    assert_eq!(decode!(Vec<u8>, [0x81, 0x83, 1, 2, 3]), Ok(vec![1, 2, 3]));
    // In pieces.
    assert_eq!(
        decode!(Vec<u8>, [0x81, 0x5f, 0x41, 1, 0x42, 2, 3, 0xff]),
        Ok(vec![1, 2, 3])
    );
    assert_eq!(
        decode!(&[u8], [0x81, 0x83, 1, 2, 3]).unwrap_err(),
        "argument 1 (x: &[u8]): expected &[u8], got an array of 3"
    );
}

#[test]
fn tags_are_passed_over() {
    assert_eq!(decode!(i64, [0x81, 0xd8, 37, 7]), Ok(7));
    assert_eq!(decode!(Vec<u8>, [0x81, 0xd6, 0x41, 7]), Ok(vec![7]));
}

#[test]
fn the_number_of_arguments_is_checked() {
    const TWO: Parameters = &[("a", "i64"), ("b", "&str")];
    let parse = |message: &[u8], parameters| {
        Arguments::parse(message, parameters, &mut Vec::new())
            .map(|_| ())
            .map_err(|f| f.message)
    };

    assert_eq!(parse(&encode(()), &[]), Ok(()));
    assert_eq!(parse(&[0x80], &[]), Ok(()));
    assert_eq!(parse(&encode((1, "x")), TWO), Ok(()));
    assert_eq!(
        parse(&encode((1, 2, 3)), TWO).unwrap_err(),
        "expected 2 arguments (a: i64, b: &str), got 3"
    );
    assert_eq!(
        parse(&encode(()), &TWO[..1]).unwrap_err(),
        "expected 1 argument (a: i64), got 0"
    );
    assert_eq!(parse(&encode((1,)), &[]).unwrap_err(), "expected no arguments, got 1");
    assert_eq!(
        parse(&encode("x"), TWO).unwrap_err(),
        "arguments come as an array, got text \"x\""
    );
}

#[test]
fn misfits_show_the_value() {
    for (message, shown) in [
        (encode(("abc",)), "text \"abc\""),
        (encode(("\u{1b}[31m",)), "text \"\\u{1b}[31m\""),
        (
            encode(("ab".repeat(30),)),
            "text \"abababababababababababababababababababab\"…",
        ),
        (encode((true,)), "bool true"),
        (encode((None::<i64>,)), "null"),
        (encode((HashMap::from([(1, 2)]),)), "a map"),
        (vec![0x81, 0x42, 0, 0], "a byte string of 2 bytes"),
        (
            vec![0x81, 0x3b, 255, 255, 255, 255, 255, 255, 255, 255],
            "integer -18446744073709551616",
        ),
    ] {
        assert_eq!(
            decode!(i64, message).unwrap_err(),
            format!("argument 1 (x: i64): expected i64, got {shown}")
        );
    }
}

#[test]
fn malformed_messages_are_refused_not_followed() {
    for message in [
        &[][..],
        &[0x81],
        &[0x81, 0x18],
        &[0x81, 0x1b, 0, 0],
        &[0x81, 0x1c],
        &[0x81, 0x62, b'h'],
        &[0x81, 0x62, 0xff, 0xff],
        &[0x81, 0x7b, 255, 255, 255, 255, 255, 255, 255, 255],
        &[0x81, 0x9b, 255, 255, 255, 255, 255, 255, 255, 255],
        &[0x81, 0xff],
        &[0x9f, 0xff],
    ] {
        assert!(decode!(i64, message).is_err(), "{message:x?}");
        assert!(decode!(&str, message).is_err(), "{message:x?}");
        assert!(decode!(String, message).is_err(), "{message:x?}");
        assert!(decode!(Vec<u8>, message).is_err(), "{message:x?}");
        assert!(decode!(Vec<String>, message).is_err(), "{message:x?}");
    }
    let deep = [vec![0x81; 100_000], vec![0]].concat();
    assert_eq!(
        decode!(Tree, deep).unwrap_err(),
        "argument 1 (x: Tree): nested too deeply"
    );
}

#[derive(Debug, PartialEq, Deserialize)]
struct Tree(Vec<Tree>);
