//! Reading and writing a guest's memory: every access is checked, a bad pointer traps.

use wasmtime::{Caller, Error, Extern, Memory, Result, Trap, bail};

use super::HasWasi;

/// What WASI functions return.
pub(super) mod errno {
    pub(crate) const SUCCESS: i32 = 0;
    pub(crate) const BADF: i32 = 8;
    pub(crate) const INVAL: i32 = 28;
    pub(crate) const NOMEM: i32 = 48;
}

/// The memory of the guest that is calling.
pub(super) fn memory<T: HasWasi>(caller: &mut Caller<'_, T>) -> Result<Memory> {
    if let Some(memory) = caller.data_mut().wasi().memory {
        return Ok(memory);
    }
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        bail!("the module calls WASI but exports no memory named `memory`");
    };
    caller.data_mut().wasi().memory = Some(memory);
    Ok(memory)
}

/// A guest's memory, and the data of its store.
pub(super) fn open<'a, T: HasWasi>(caller: &'a mut Caller<'_, T>) -> Result<(Guest<'a>, &'a mut T)> {
    let (bytes, data) = memory(caller)?.data_and_store_mut(caller);
    Ok((Guest(bytes), data))
}

/// A guest's memory.
pub(super) struct Guest<'a>(&'a mut [u8]);

impl Guest<'_> {
    pub(super) fn bytes(&self, at: u32, len: u32) -> Result<&[u8]> {
        let (at, len) = (at as usize, len as usize);
        self.0
            .get(at..)
            .and_then(|rest| rest.get(..len))
            .ok_or_else(out_of_bounds)
    }

    pub(super) fn bytes_mut(&mut self, at: u32, len: u32) -> Result<&mut [u8]> {
        let (at, len) = (at as usize, len as usize);
        self.0
            .get_mut(at..)
            .and_then(|rest| rest.get_mut(..len))
            .ok_or_else(out_of_bounds)
    }

    pub(super) fn read<const N: usize>(&self, at: u32) -> Result<[u8; N]> {
        let mut value = [0; N];
        value.copy_from_slice(self.bytes(at, N as u32)?);
        Ok(value)
    }

    pub(super) fn write(&mut self, at: u32, value: &[u8]) -> Result<()> {
        let len = u32::try_from(value.len()).map_err(|_| out_of_bounds())?;
        self.bytes_mut(at, len)?.copy_from_slice(value);
        Ok(())
    }

    pub(super) fn u32(&self, at: u32) -> Result<u32> {
        self.read(at).map(u32::from_le_bytes)
    }

    /// One of a list of buffers: where it is and how long.
    pub(super) fn buffer(&self, list: u32, index: u32) -> Result<(u32, u32)> {
        let at = element(list, index, 8)?;
        Ok((self.u32(at)?, self.u32(offset(at, 4)?)?))
    }
}

/// The address of a field.
pub(super) fn offset(at: u32, by: u32) -> Result<u32> {
    at.checked_add(by).ok_or_else(out_of_bounds)
}

/// The address of an element of a list.
pub(super) fn element(list: u32, index: u32, size: u32) -> Result<u32> {
    offset(list, index.checked_mul(size).ok_or_else(out_of_bounds)?)
}

fn out_of_bounds() -> Error {
    Trap::MemoryOutOfBounds.into()
}
