//! Compiled code as a sealed memfd.
//!
//! Workers map it and run it, so it must never change again: once sealed, neither this process nor whoever else holds
//! the descriptor can write it, and no file on disk stands behind it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Weak};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;

const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// Compiled code that any process can map and none can change.
#[derive(Clone, Debug)]
pub(crate) struct Artifact {
    file: Arc<File>,
    len: u64,
}

/// An artifact that lives as long as somebody uses it.
#[derive(Debug)]
pub(crate) struct WeakArtifact {
    file: Weak<File>,
    len: u64,
}

impl Artifact {
    /// Seals compiled code that is in memory.
    pub(crate) fn from_bytes(code: &[u8]) -> io::Result<Self> {
        let mut file = create()?;
        file.write_all(code)?;
        Self::from_memfd(file.into())
    }

    /// Seals a memfd that holds compiled code. Fails if somebody still has it mapped for writing.
    pub(crate) fn from_memfd(fd: OwnedFd) -> io::Result<Self> {
        match fcntl_add_seals(&fd, SEALS) {
            Ok(()) => {}
            // Sealed before: then it depends on how.
            Err(Errno::PERM) if fcntl_get_seals(&fd)?.contains(SEALS) => {}
            Err(error) => return Err(error.into()),
        }
        let file = File::from(fd);
        let len = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            len,
        })
    }

    /// The descriptor, to map or to hand on.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Bytes of code.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Feeds the code to `sink`, piece by piece.
    pub(crate) fn read(&self, mut sink: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        let mut at = 0;
        while at < self.len {
            match self.file.read_at(&mut buffer, at)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    sink(&buffer[..n])?;
                    at += n as u64;
                }
            }
        }
        Ok(())
    }

    /// A reference that does not keep the code in memory.
    pub(crate) fn downgrade(&self) -> WeakArtifact {
        WeakArtifact {
            file: Arc::downgrade(&self.file),
            len: self.len,
        }
    }
}

impl WeakArtifact {
    /// The artifact, if it is still there.
    pub(crate) fn upgrade(&self) -> Option<Artifact> {
        Some(Artifact {
            file: self.file.upgrade()?,
            len: self.len,
        })
    }
}

/// An empty memfd for compiled code, which can be sealed later.
pub(crate) fn create() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Since Linux 6.3 a memfd should say whether it may be executed as a program. This one may not: it is only
    // mapped. Older kernels do not know the flag.
    let fd = match memfd_create(c"wasmp-module", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(c"wasmp-module", flags),
        result => result,
    }?;
    Ok(fd.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(artifact: &Artifact) -> Vec<u8> {
        let mut bytes = Vec::new();
        artifact.read(|piece| bytes.write_all(piece)).unwrap();
        bytes
    }

    #[test]
    fn nobody_can_change_it() {
        let artifact = Artifact::from_bytes(b"code").unwrap();
        let mut file = File::from(artifact.fd().try_clone_to_owned().unwrap());
        assert!(file.write_all(b"evil").is_err());
        assert!(file.set_len(0).is_err());
        assert!(file.set_len(100).is_err());
        assert!(fcntl_add_seals(&file, SealFlags::FUTURE_WRITE).is_err());
        assert_eq!(contents(&artifact), b"code");
        assert_eq!(artifact.len(), 4);
    }

    #[test]
    fn a_sealed_memfd_is_taken_as_it_is_and_another_file_is_refused() {
        let artifact = Artifact::from_bytes(b"code").unwrap();
        let again = Artifact::from_memfd(artifact.fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(contents(&again), b"code");
        let (reader, _writer) = io::pipe().unwrap();
        assert!(Artifact::from_memfd(reader.into()).is_err());
    }

    #[test]
    fn larger_than_one_piece() {
        let code: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        assert_eq!(contents(&Artifact::from_bytes(&code).unwrap()), code);
    }

    #[test]
    fn an_engine_maps_it() {
        use crate::engine::{EngineOptions, EngineRole, compile, config};
        let options = EngineOptions::default();
        let code = compile(&wat::parse_str("(module (func (export \"f\")))").unwrap(), &options).unwrap();
        let artifact = Artifact::from_bytes(&code).unwrap();
        let engine = wasmtime::Engine::new(&config(&options, EngineRole::Run)).unwrap();
        let file = File::from(artifact.fd().try_clone_to_owned().unwrap());
        // SAFETY: the code comes from the compiler, and the memfd is sealed.
        let module = unsafe { wasmtime::Module::deserialize_open_file(&engine, file) }.unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        instance
            .get_typed_func::<(), ()>(&mut store, "f")
            .unwrap()
            .call(&mut store, ())
            .unwrap();
    }
}
