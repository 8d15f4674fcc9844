//! Values to bytes and back, on the caller's thread.

use ciborium_io::Write;
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer, value};

use crate::error::{Error, ErrorKind, Result, TaskError};
use crate::supervisor::feed::Refused;
use crate::supervisor::job::{Block, End, Failure, Loss, What};
use crate::wire::Fault;

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
            End::Cancelled => Self::NotRunning,
            End::Broken(why) => Self::Broken(why),
        }
    }
}

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

fn write(value: &impl Serialize, bytes: &mut Vec<u8>) -> Result<(), Refused> {
    ciborium::into_writer(value, Sink(bytes)).map_err(|error| match error {
        ciborium::ser::Error::Value(why) => Refused::Encode(why),
    })
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
        write(input, bytes)
    }
}

/// One item with these arguments.
pub(crate) fn single(args: &impl Serialize) -> Result<Block> {
    let mut block = Block::new(0);
    block.push(|bytes| Spread::Star.write(args, bytes))?;
    Ok(block)
}

/// Reads results. Keeps the scratch space that the format needs, which is too large to be cleared for each.
pub(crate) struct Decoder {
    scratch: Box<[u8; 4096]>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            scratch: Box::new([0; 4096]),
        }
    }

    /// The value in these bytes.
    pub(crate) fn read<R: DeserializeOwned>(&mut self, bytes: &[u8]) -> Result<R> {
        if let Some(value) = scalar(bytes) {
            return Ok(value);
        }
        ciborium::de::from_reader_with_buffer(bytes, &mut self.scratch[..]).map_err(|error| {
            Error::Decode(match error {
                ciborium::de::Error::Semantic(_, why) => why,
                ciborium::de::Error::Io(_) => "it ends too early".into(),
                ciborium::de::Error::Syntax(at) => format!("it is not CBOR (byte {at})"),
                ciborium::de::Error::RecursionLimitExceeded => "it is nested too deeply".into(),
            })
        })
    }
}

/// The value, if it is one number or truth value and its type takes it as such: most results are, and reading them with
/// the whole machinery takes four times as long. Whole numbers fit floats here.
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

/// What became of item `index` of a call of `task`, in words.
pub(crate) fn task_error(task: &str, index: u64, failure: &Failure) -> TaskError {
    let Failure {
        what,
        worker,
        pid,
        attempt,
    } = failure;
    let mut error = TaskError {
        kind: ErrorKind::WorkerLost,
        message: String::new(),
        backtrace: None,
        task: task.to_owned(),
        index,
        worker: *worker,
        pid: *pid,
        attempt: *attempt,
        exit_code: None,
        signal: None,
    };
    match what {
        What::Reported(bytes) => {
            let fault = Fault::from_bytes(bytes);
            error.kind = fault.kind();
            error.message = fault.message;
            error.backtrace = fault.backtrace;
            error.exit_code = fault.exit_code;
        }
        What::Timeout(limit) => {
            error.kind = ErrorKind::Timeout;
            error.message = format!("ran longer than {limit:?} and was killed");
        }
        What::Lost(loss) => {
            let how = match loss {
                Loss::Signaled(signal) => {
                    error.signal = Some(*signal);
                    format!("was killed by signal {signal}{}", describe_signal(*signal))
                }
                Loss::Exited(code) => {
                    error.exit_code = Some(*code);
                    format!("ended with exit code {code}")
                }
                Loss::Violation(why) => format!("broke the protocol ({why}) and was killed"),
                Loss::Unknown => "died, nobody knows how".to_owned(),
            };
            error.message = format!("worker {worker} (pid {pid}) {how} while it ran this item");
        }
    }
    error
}

/// The signal's name, and what may lie behind it.
fn describe_signal(signal: i32) -> &'static str {
    match signal {
        libc::SIGKILL => " (SIGKILL: somebody killed it, or the system was out of memory)",
        libc::SIGTERM => " (SIGTERM)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGSYS => " (SIGSYS: a system call that the sandbox forbids)",
        libc::SIGXFSZ => " (SIGXFSZ: a file grew beyond its limit)",
        libc::SIGXCPU => " (SIGXCPU)",
        _ => "",
    }
}

/// What becomes of an item whose pool ended first.
pub(crate) fn ended(task: &str, index: u64, end: &End) -> Error {
    match end {
        End::Cancelled => Error::from(TaskError {
            kind: ErrorKind::Cancelled,
            message: "the pool was terminated before this item was done".into(),
            backtrace: None,
            task: task.to_owned(),
            index,
            worker: 0,
            pid: 0,
            attempt: 0,
            exit_code: None,
            signal: None,
        }),
        End::Broken(why) => Error::Broken(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_killed_worker_is_reported_with_its_signal() {
        let failure = Failure {
            what: What::Lost(Loss::Signaled(9)),
            worker: 2,
            pid: 123,
            attempt: 1,
        };
        let error = task_error("square", 4, &failure);
        assert_eq!(
            (error.kind, error.signal, error.index),
            (ErrorKind::WorkerLost, Some(9), 4)
        );
        assert!(
            error.message.contains("worker 2 (pid 123) was killed by signal 9"),
            "{}",
            error.message
        );
    }
}
