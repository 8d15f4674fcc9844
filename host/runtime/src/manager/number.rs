//! Whole numbers in CBOR: all that a manager understands of values.

/// The whole number that this item is, if it is one of 64 bits with a sign.
pub(super) fn read(item: &[u8]) -> Option<i64> {
    let (&first, rest) = item.split_first()?;
    let (number, rest) = match first & 0x1f {
        small @ 0..24 => (u64::from(small), rest),
        24 => take::<1>(rest)?,
        25 => take::<2>(rest)?,
        26 => take::<4>(rest)?,
        27 => take::<8>(rest)?,
        _ => return None,
    };
    let number = i64::try_from(number).ok()?;
    match first >> 5 {
        0 if rest.is_empty() => Some(number),
        // -1 - n
        1 if rest.is_empty() => Some(!number),
        _ => None,
    }
}

fn take<const N: usize>(rest: &[u8]) -> Option<(u64, &[u8])> {
    let (bytes, rest) = rest.split_first_chunk::<N>()?;
    let number = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    Some((number, rest))
}

/// A whole number as an item: the shortest one, as serializers write it.
pub(super) fn write(number: i64) -> Vec<u8> {
    let (kind, number) = match u64::try_from(number) {
        Ok(number) => (0, number),
        Err(_) => (1 << 5, (!number).cast_unsigned()),
    };
    let bytes = number.to_be_bytes();
    let (code, len) = match number {
        0..24 => return vec![kind | bytes[7]],
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    let mut item = vec![kind | code];
    item.extend_from_slice(&bytes[8 - len..]);
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_by_ciborium_and_read_again() {
        let edges = [
            0,
            1,
            23,
            24,
            255,
            256,
            65_535,
            65_536,
            4_294_967_295,
            4_294_967_296,
            i64::MAX,
        ];
        for number in edges.into_iter().flat_map(|number| [number, -number, !number]) {
            let mut item = Vec::new();
            ciborium::into_writer(&number, &mut item).unwrap();
            assert_eq!(write(number), item, "{number}");
            assert_eq!(read(&item), Some(number));
        }
    }

    #[test]
    fn nothing_else_is_a_number() {
        let mut items: Vec<Vec<u8>> = vec![Vec::new(), vec![24], vec![0x1f], vec![1, 2]];
        for value in [
            ciborium::Value::from(1.5),
            "1".into(),
            u64::MAX.into(),
            ciborium::Value::Null,
        ] {
            let mut item = Vec::new();
            ciborium::into_writer(&value, &mut item).unwrap();
            items.push(item);
        }
        for item in items {
            assert_eq!(read(&item), None, "{item:x?}");
        }
    }
}
