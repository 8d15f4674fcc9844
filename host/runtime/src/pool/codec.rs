//! Arguments to blocks, and outcomes to errors, on the caller's thread.

use serde::Serialize;

use crate::cbor;
use crate::error::{Error, ErrorKind, Result, TaskError};
use crate::outcome::End;
use crate::shared::collect_references;
use crate::supervisor::feed::Refused;
use crate::supervisor::job::Block;

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed => Self::NotRunning,
            Refused::Encode(why) => Self::Encode(why),
            Refused::TooLarge => Self::Encode("they take more than 4 GiB".into()),
        }
    }
}

impl From<End> for Error {
    fn from(end: End) -> Self {
        match end {
            End::Cancelled | End::Terminated => Self::NotRunning,
            End::Refused(why) => Self::Invalid(why),
            End::Broken(why) => Self::Broken(why),
        }
    }
}

/// Head of a CBOR array of one element.
const ARRAY_OF_ONE: u8 = 0x81;

/// How an input becomes the arguments of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// It is the one argument.
    One,
    /// It is the sequence of all arguments.
    Star,
}

impl Spread {
    /// Writes the arguments that `input` stands for.
    pub(crate) fn write(self, input: &impl Serialize, bytes: &mut Vec<u8>) -> Result<(), Refused> {
        if self == Self::One {
            bytes.push(ARRAY_OF_ONE);
        }
        cbor::write(input, bytes).map_err(Refused::Encode)
    }
}

/// One item with these arguments.
pub(crate) fn single(args: &impl Serialize) -> Result<Block> {
    let mut block = Block::new(0);
    fill(&mut block, |block| block.push(|bytes| Spread::Star.write(args, bytes)))?;
    Ok(block)
}

/// Writes items into a block, which keeps alive what they refer to.
pub(crate) fn fill<R>(block: &mut Block, write: impl FnOnce(&mut Block) -> Result<R, Refused>) -> Result<R, Refused> {
    let (written, references) = collect_references(|| write(block))?;
    block.refer_to(references);
    Ok(written)
}

/// What becomes of an item whose pool ended first.
pub(crate) fn ended(task: &str, index: u64, end: &End) -> Error {
    match end {
        End::Cancelled | End::Terminated => {}
        End::Refused(why) => return Error::Invalid(why.clone()),
        End::Broken(why) => return Error::Broken(why.clone()),
    }
    TaskError::new(ErrorKind::Cancelled, end.words().into(), task, index).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::Decoder;
    use crate::shared::{Connection, Event, pipe_one_way};
    use crate::wire::ITEM_PREFIX;

    #[test]
    fn a_single_argument_is_wrapped_and_a_sequence_is_not() {
        let mut bytes = Vec::new();
        Spread::One.write(&7, &mut bytes).unwrap();
        assert_eq!(bytes, [0x81, 7]);
        bytes.clear();
        Spread::Star.write(&(7, true), &mut bytes).unwrap();
        assert_eq!(bytes, [0x82, 7, 0xf5]);
    }

    #[test]
    fn a_block_keeps_alive_what_its_items_refer_to() {
        let (receiver, sender) = pipe_one_way().unwrap();
        let event = Event::new().unwrap();
        let block = single(&(&event, &sender)).unwrap();
        drop((event, sender));
        assert!(!receiver.poll().unwrap(), "the sender is on its way");
        let arguments = &block.bytes()[ITEM_PREFIX..];
        let (event, sender): (Event, Connection) = Decoder::new().read(arguments).unwrap();
        drop((event, sender));
        assert!(receiver.poll().unwrap(), "the sender is gone");
        let arguments = arguments.to_vec();
        drop(block);
        assert!(Decoder::new().read::<(Event, Connection)>(&arguments).is_err());
    }

    #[test]
    fn what_cannot_be_serialized_is_the_callers_error() {
        struct Never;
        impl Serialize for Never {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("it is only a test"))
            }
        }
        assert!(matches!(single(&(Never,)), Err(Error::Encode(why)) if why.contains("only a test")));
    }
}
