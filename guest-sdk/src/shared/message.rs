//! Messages of queues and connections: values to CBOR and back, in buffers that are kept.

use std::{any::Any, cell::Cell, mem, thread::LocalKey};

use serde::{Serialize, de::DeserializeOwned};
use wasmp_abi::Status;

use crate::{cbor, host::objects::Got};

thread_local! {
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// Where ciborium puts pieces of text while it decodes.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer above this size, a mebibyte and what is around it, is given back after the message that needed it.
const KEEP: usize = 2 << 20;

/// Lends a buffer. Should serde come back here from within, it gets a fresh one.
fn lend<R>(buffer: &'static LocalKey<Cell<Vec<u8>>>, borrow: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut bytes = buffer.take();
    let result = borrow(&mut bytes);
    if bytes.capacity() <= KEEP {
        buffer.set(bytes);
    }
    result
}

/// Lets `write` encode something, and hands it to `send`. An error is that of `write`; then nothing was sent.
pub(crate) fn encode<R>(
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
    send: impl FnOnce(&[u8]) -> R,
) -> Result<R, String> {
    lend(&OUTGOING, |bytes| {
        bytes.clear();
        write(bytes)?;
        Ok(send(bytes))
    })
}

/// Lets `receive` fill a buffer, and `read` decode what is in it, with room for what it needs meanwhile. The outer
/// error is that of `receive`.
pub(crate) fn decode<G, T>(
    receive: impl FnOnce(&mut Vec<u8>) -> Result<G, Status>,
    read: impl FnOnce(G, &[u8], &mut Vec<u8>) -> Result<T, String>,
) -> Result<Result<T, String>, Status> {
    lend(&INCOMING, |bytes| {
        let got = receive(bytes)?;
        Ok(lend(&SCRATCH, |scratch| read(got, bytes, scratch)))
    })
}

/// The bytes of a message, as they are. A message that fills the buffer takes it along, instead of being copied, and
/// leaves one in which the next message of that size has room.
pub(crate) fn bytes(receive: impl FnOnce(&mut Vec<u8>) -> Result<(), Status>) -> Result<Vec<u8>, Status> {
    lend(&INCOMING, |bytes| {
        receive(bytes)?;
        if bytes.len() < bytes.capacity() / 2 {
            return Ok(bytes.clone());
        }
        let next = Vec::with_capacity(bytes.capacity());
        Ok(mem::replace(bytes, next))
    })
}

/// Appends a value's CBOR. A `Vec<u8>` is a byte string, as it is where tasks take and return it.
pub(crate) fn append<T: Serialize + 'static>(value: &T, output: &mut Vec<u8>) -> Result<(), String> {
    match (value as &dyn Any).downcast_ref::<Vec<u8>>() {
        Some(bytes) => cbor::encode_bytes(bytes, output),
        None => cbor::encode(value, output),
    }
}

/// Appends values as frames.
pub(crate) fn append_frames<T: Serialize + 'static>(values: &[T], output: &mut Vec<u8>) -> Result<(), String> {
    for value in values {
        let head = output.len();
        output.extend([0; HEAD]);
        append(value, output)?;
        let length = u32::try_from(output.len() - head - HEAD).map_err(|_| "it is too long")?;
        output[head..][..HEAD].copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// The length in front of each frame.
const HEAD: usize = size_of::<u32>();

/// How many bytes the first so many frames have.
pub(crate) fn length_of_frames(bytes: &[u8], count: usize) -> usize {
    frames(bytes).take(count).map(|message| HEAD + message.len()).sum()
}

/// The messages of frames, up to one that is cut off.
fn frames(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk()?;
        let (message, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = tail;
        Some(message)
    })
}

/// Decodes the values that [`append_frames`] has encoded, or the only one that had no room for a frame.
pub(crate) fn take_frames<T: DeserializeOwned + 'static>(
    got: Got,
    bytes: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<Vec<T>, String> {
    match got {
        Got::Message => take(bytes, scratch).map(|value| vec![value]),
        Got::Frames => frames(bytes).map(|message| take(message, scratch)).collect(),
    }
}

/// Decodes the value that [`append`] has encoded.
pub(crate) fn take<T: DeserializeOwned + 'static>(mut message: &[u8], scratch: &mut Vec<u8>) -> Result<T, String> {
    shortcut(message).map_or_else(|| cbor::decode(&mut message, scratch), Ok)
}

/// Decodes what most messages are, in a fraction of the time that serde takes. What does not fit is for serde to
/// explain.
fn shortcut<T: 'static>(mut message: &[u8]) -> Option<T> {
    macro_rules! integers {
        ($slot:ident: $($ty:ty)*) => {$(
            if let Some(integer) = $slot.downcast_mut::<Option<$ty>>() {
                *integer = cbor::integer(&mut message);
            }
        )*};
    }

    let mut value = None::<T>;
    let slot: &mut dyn Any = &mut value;
    integers!(slot: i8 i16 i32 i64 isize u8 u16 u32 u64 usize);
    if let Some(text) = slot.downcast_mut::<Option<String>>() {
        *text = cbor::text(&mut message).map(str::to_owned);
    }
    if let Some(bytes) = slot.downcast_mut::<Option<Vec<u8>>>() {
        *bytes = cbor::bytes(&mut message).map(<[u8]>::to_vec);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Serialize + DeserializeOwned + 'static>(value: &T) -> T {
        let mut message = Vec::new();
        append(value, &mut message).unwrap();
        take(&message, &mut Vec::new()).unwrap()
    }

    #[test]
    fn values_come_as_they_went() {
        for number in [0, -1, 23, 24, 255, -256, 65_536, i64::MAX, i64::MIN] {
            assert_eq!(round_trip(&number), number);
            assert_eq!(round_trip(&Some(number)), Some(number));
        }
        assert_eq!(round_trip(&u64::MAX), u64::MAX);
        assert_eq!(round_trip(&String::from("ü")), "ü");
        assert_eq!(round_trip(&vec![0_u8, 255]), [0, 255]);
        assert_eq!(round_trip(&vec![vec![1_u8]]), [[1]]);
        assert_eq!(round_trip(&(1.5, ())), (1.5, ()));
    }

    #[test]
    fn bytes_are_a_byte_string_and_may_come_as_numbers() {
        let mut message = Vec::new();
        append(&vec![1_u8, 2], &mut message).unwrap();
        assert_eq!(message, [0x42, 1, 2]);
        assert_eq!(take(&[0x82, 1, 2], &mut Vec::new()), Ok(vec![1_u8, 2]));
        // A whole number is a float.
        assert_eq!(take(&[2], &mut Vec::new()), Ok(2.0));
    }

    #[test]
    fn what_does_not_fit_is_explained() {
        assert_eq!(
            take::<u8>(&[0x19, 1, 0], &mut Vec::new()),
            Err("invalid value: integer `256`, expected u8".into())
        );
        assert_eq!(
            take::<String>(&[1], &mut Vec::new()),
            Err("invalid type: integer `1`, expected string".into())
        );
        assert_eq!(take::<i64>(&[], &mut Vec::new()), Err("malformed CBOR".into()));
        assert_eq!(
            take::<Vec<u8>>(&[0x43, 1], &mut Vec::new()),
            Err("malformed CBOR".into())
        );
    }

    #[test]
    fn frames_are_taken_apart_as_they_were_put_together() {
        let values = ["one", "", "three"].map(String::from);
        let write = |output: &mut Vec<u8>| append_frames(&values, output);
        encode(write, |bytes| {
            let texts = frames(bytes).map(|message| take(message, &mut Vec::new()));
            assert_eq!(texts.collect::<Result<Vec<String>, _>>().unwrap(), values);
            assert_eq!(length_of_frames(bytes, 1), 4 + 4);
            assert_eq!(length_of_frames(bytes, 3), bytes.len());
            // Cut off.
            assert_eq!(frames(&bytes[..bytes.len() - 1]).count(), 2);
            assert_eq!(frames(&bytes[..6]).count(), 0);
        })
        .unwrap();
    }

    #[test]
    fn nothing_is_sent_when_something_cannot_be_encoded() {
        #[derive(Clone, Copy)]
        struct Stubborn(bool);
        impl Serialize for Stubborn {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if self.0 {
                    return Err(serde::ser::Error::custom("I will not"));
                }
                serializer.serialize_unit()
            }
        }

        let never = |_: &[u8]| -> () { panic!("sent") };
        let refused = Err("I will not".into());
        assert_eq!(encode(|output| append(&Stubborn(true), output), never), refused);
        let both = [Stubborn(false), Stubborn(true)];
        assert_eq!(encode(|output| append_frames(&both, output), never), refused);
        // The buffer is as good as new.
        assert_eq!(
            encode(|output| append(&Stubborn(false), output), <[u8]>::to_vec),
            Ok(vec![0xf6])
        );
    }

    #[test]
    fn a_message_that_fills_the_buffer_takes_it_along() {
        let receive = |length: usize| {
            bytes(|buffer| {
                buffer.clear();
                buffer.reserve(1000);
                buffer.resize(length, 7);
                Ok(())
            })
            .unwrap()
        };
        assert_eq!(receive(3).capacity(), 3);
        assert_eq!(receive(1000), [7; 1000]);
        assert_eq!(INCOMING.take().capacity(), 1000);
    }
}
