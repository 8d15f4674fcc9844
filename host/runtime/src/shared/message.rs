//! Messages of queues and connections: values to CBOR and back, in buffers that are kept.

use std::any::Any;
use std::cell::Cell;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteBuf, Bytes};
use wasmp_ipc::Message;

use super::handle::{Handle, References, collect_references};
use crate::cbor::{self, Decoder};

thread_local! {
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static DECODER: Cell<Option<Decoder>> = const { Cell::new(None) };
}

/// A buffer above this size is given back after the message that needed it.
const KEEP: usize = 1 << 20;

/// What messages are: values, and bytes as they are. The receiver knows which.
pub(super) const KIND: u8 = 0;

/// A message that was not sent yet.
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    references: References,
}

impl Outgoing {
    /// The value as a message, or why it cannot be one.
    pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, String> {
        let mut bytes = OUTGOING.take();
        bytes.clear();
        let ((), references) = collect_references(|| cbor::write(value, &mut bytes))?;
        Ok(Self { bytes, references })
    }

    /// [`encode`](Self::encode) for a value of its own type, where a `Vec<u8>` is a byte string, as it is for guests.
    pub(super) fn encode_owned<T: Serialize + 'static>(value: &T) -> Result<Self, String> {
        match (value as &dyn Any).downcast_ref::<Vec<u8>>() {
            Some(bytes) => Self::encode(Bytes::new(bytes)),
            None => Self::encode(value),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Before it goes into an object, which keeps alive what the message refers to.
    pub(super) fn prepare(&self, target: &Handle) {
        self.references.keep_in(target.entry());
    }

    /// It did not go.
    pub(super) fn retract(mut self) {
        std::mem::take(&mut self.references).retract();
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.bytes.capacity() <= KEEP {
            OUTGOING.set(std::mem::take(&mut self.bytes));
        }
    }
}

/// A message that was received.
pub(super) struct Incoming(Vec<u8>);

impl Incoming {
    /// A copy of it.
    pub(super) fn copy(message: &Message<'_>) -> Self {
        let mut bytes = INCOMING.take();
        bytes.resize(message.len(), 0);
        message.read(0, &mut bytes);
        Self(bytes)
    }

    /// The value, or why it is none.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, String> {
        with_decoder(|decoder| decoder.read(&self.0))
    }

    /// [`decode`](Self::decode) for what [`encode_owned`](Outgoing::encode_owned) has encoded.
    pub(super) fn decode_owned<T: DeserializeOwned + 'static>(&self) -> Result<T, String> {
        let mut value = None::<T>;
        if let Some(bytes) = (&mut value as &mut dyn Any).downcast_mut::<Option<Vec<u8>>>() {
            *bytes = Some(self.decode::<ByteBuf>()?.into_vec());
        }
        value.map_or_else(|| self.decode(), Ok)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.0.capacity() <= KEEP {
            INCOMING.set(std::mem::take(&mut self.0));
        }
    }
}

/// Should a value's own code come back here, it gets a fresh one.
fn with_decoder<R>(decode: impl FnOnce(&mut Decoder) -> R) -> R {
    let mut decoder = DECODER.take().unwrap_or_else(Decoder::new);
    let decoded = decode(&mut decoder);
    DECODER.set(Some(decoder));
    decoded
}
