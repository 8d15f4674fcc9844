//! Without the feature `tls`: nobody is asked for it.

use std::time::Instant;

use super::address::Address;
use super::auth::Refused;
use super::stream::Stream;

#[derive(Clone, Debug)]
pub(crate) enum TlsServer {}

#[derive(Clone, Debug)]
pub(crate) enum TlsClient {}

impl TlsServer {
    pub(super) fn secure(&self, _: Stream, _: Instant) -> Result<Stream, Refused> {
        match *self {}
    }
}

impl TlsClient {
    pub(super) fn secure(&self, _: &Address, _: Stream, _: Instant) -> Result<Stream, Refused> {
        match *self {}
    }
}
