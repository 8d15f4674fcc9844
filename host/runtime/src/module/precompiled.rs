//! The file that `wasmp compile` writes: what is known about a module, and its compiled code.
//!
//! ```text
//! magic 8 · version u32 · metadata length u32 · code length u64 · module digest 32 · engine 32
//! · digest of all of the above and of what follows 32 · metadata (CBOR) · code
//! ```
//!
//! The digest finds accidents. It is no proof of origin: whoever loads such a file trusts whoever wrote it.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::artifact::Artifact;
use super::info::ModuleInfo;

/// How the file begins.
pub(crate) const MAGIC: &[u8; 8] = b"\0wasmp\r\n";
const VERSION: u32 = 1;
const FIELDS: usize = MAGIC.len() + 4 + 4 + 8 + 32 + 32;
const HEADER: usize = FIELDS + 32;
/// The metadata is nested a few levels deep.
const MAX_DEPTH: usize = 16;

/// What such a file holds.
pub(crate) struct Precompiled<'a> {
    pub(crate) info: ModuleInfo,
    /// The SHA-256 digest of the binary module.
    pub(crate) digest: [u8; 32],
    /// What compiled it.
    pub(crate) engine: [u8; 32],
    pub(crate) code: &'a [u8],
}

/// Why such a file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is damaged, in this way.
    Damaged(&'static str),
    /// Another version of wasmp made it.
    Version,
}

/// Writes the file.
pub(crate) fn write(
    info: &ModuleInfo,
    digest: &[u8; 32],
    engine: &[u8; 32],
    code: &Artifact,
    to: &mut dyn Write,
) -> io::Result<()> {
    let mut metadata = Vec::new();
    ciborium::into_writer(info, &mut metadata).map_err(io::Error::other)?;
    let metadata_len = u32::try_from(metadata.len()).map_err(io::Error::other)?;
    let mut header = [
        &MAGIC[..],
        &VERSION.to_le_bytes(),
        &metadata_len.to_le_bytes(),
        &code.len().to_le_bytes(),
    ]
    .concat();
    header.extend([*digest, *engine].concat());
    let mut digest = Sha256::new().chain_update(&header).chain_update(&metadata);
    code.read(|piece| {
        digest.update(piece);
        Ok(())
    })?;
    to.write_all(&header)?;
    to.write_all(&digest.finalize())?;
    to.write_all(&metadata)?;
    code.read(|piece| to.write_all(piece))
}

/// Reads the file.
pub(crate) fn parse(bytes: &[u8]) -> Result<Precompiled<'_>, Refused> {
    let cut_off = Refused::Damaged("it is cut off");
    let Some((header, body)) = bytes.split_at_checked(HEADER) else {
        return Err(cut_off);
    };
    let (fields, digest) = header.split_at(FIELDS);
    let mut fields_left = fields;
    let mut take = |n: usize| {
        let (field, rest) = fields_left.split_at(n);
        fields_left = rest;
        field
    };
    if take(MAGIC.len()) != MAGIC {
        return Err(Refused::Damaged("it begins otherwise"));
    }
    if number(take(4)) != u64::from(VERSION) {
        return Err(Refused::Version);
    }
    let (metadata_len, code_len) = (number(take(4)), number(take(8)));
    let (of_module, engine) = (array(take(32)), array(take(32)));
    match metadata_len.checked_add(code_len) {
        Some(len) if len == body.len() as u64 => {}
        Some(len) if len < body.len() as u64 => return Err(Refused::Damaged("something follows its end")),
        _ => return Err(cut_off),
    }
    if Sha256::new().chain_update(fields).chain_update(body).finalize()[..] != *digest {
        return Err(Refused::Damaged("its digest is wrong"));
    }
    let (metadata, code) = body.split_at(metadata_len as usize);
    let info = ciborium::de::from_reader_with_recursion_limit(metadata, MAX_DEPTH)
        .map_err(|_| Refused::Damaged("its description of the module cannot be read"))?;
    Ok(Precompiled {
        info,
        digest: of_module,
        engine,
        code,
    })
}

/// A little-endian number of at most 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The 32 bytes of a digest.
fn array(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::inspect::inspect;
    use proptest::prelude::*;

    fn file() -> Vec<u8> {
        let wasm = wat::parse_str("(module (memory 1) (func (export \"f\") (param i32)))").unwrap();
        let info = inspect("m", &wasm).unwrap();
        let mut file = Vec::new();
        let code = Artifact::from_bytes(b"machine code").unwrap();
        write(&info, &[1; 32], &[2; 32], &code, &mut file).unwrap();
        file
    }

    #[test]
    fn comes_back_as_it_was_written() {
        let file = file();
        let read = parse(&file).ok().unwrap();
        assert_eq!(read.code, b"machine code");
        assert_eq!((read.digest, read.engine), ([1; 32], [2; 32]));
        assert_eq!(read.info.tasks[0].name, "f");
    }

    #[test]
    fn every_change_and_every_length_is_noticed() {
        let file = file();
        for at in 0..file.len() {
            assert!(parse(&file[..at]).is_err());
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(parse(&changed).is_err());
        }
        let longer = [&file[..], b"x"].concat();
        assert_eq!(
            parse(&longer).err(),
            Some(Refused::Damaged("something follows its end"))
        );
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let mut file = file();
        file[8] = 2;
        assert_eq!(parse(&file).err(), Some(Refused::Version));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(parse(&[MAGIC, &bytes[..]].concat()).is_err());
        }
    }
}
