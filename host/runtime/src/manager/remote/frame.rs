//! Messages on a stream: each with its length in front, which is limited.

use std::io::{self, Read, Write};

use wasmp_manager::protocol::MAX_MESSAGE;

/// So much memory is taken before so much has come.
const PIECE: usize = 64 << 10;

/// Reads a message. False: the stream ends, in front of one.
///
/// # Errors
///
/// The stream ends within a message, or one is longer than it may be; none of it is kept then.
pub(super) fn read(stream: &mut impl Read, message: &mut Vec<u8>) -> io::Result<bool> {
    message.clear();
    let mut length = [0; size_of::<u32>()];
    // The end may come before the first byte, and nowhere else.
    let begun = loop {
        match stream.read(&mut length[..1]) {
            Ok(count) => break count > 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    if !begun {
        return Ok(false);
    }
    stream.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(too_long());
    }
    while message.len() < length {
        let have = message.len();
        message.resize(length.min(have + PIECE.max(have)), 0);
        stream.read_exact(&mut message[have..])?;
    }
    Ok(true)
}

/// Writes a message, in one piece.
///
/// # Errors
///
/// Those of the stream; the message is longer than it may be, and none of it is written.
pub(super) fn write(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len())
        .ok()
        .filter(|length| *length as usize <= MAX_MESSAGE);
    let length = length.ok_or_else(too_long)?;
    let mut frame = Vec::with_capacity(size_of::<u32>() + message.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(message);
    stream.write_all(&frame)
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message that is too long")
}
