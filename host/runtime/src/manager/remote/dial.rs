//! A manager elsewhere, as this host reaches it: a connection of its own for each client.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wasmp_manager::ManagerError;

use super::address::Address;
use super::auth::{self, Greeting, Refused};
use super::relay::{self, relay};
use super::stream::Stream;
use super::tls::TlsClient;
use crate::shared::Connection;

/// How long it may take to get to know each other.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to there, once both sides know each other.
pub(super) fn dial(
    address: &Address,
    key: &[u8],
    tls: Option<&TlsClient>,
    greeting: &Greeting,
) -> Result<Stream, Refused> {
    let mut stream = Stream::from(address.dial(PATIENCE)?);
    let deadline = Instant::now() + PATIENCE;
    if let Some(tls) = tls {
        stream = tls.secure(address, stream, deadline)?;
    }
    let binding = stream.binding;
    auth::dialler(&mut stream.until(deadline), (key, binding), greeting)?;
    Ok(stream)
}

/// Where a manager is, and how it is spoken to.
#[derive(Clone)]
pub(crate) struct Remote(Arc<Way>);

struct Way {
    address: Address,
    key: Vec<u8>,
    tls: Option<TlsClient>,
}

impl std::fmt::Debug for Remote {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Remote").field(&self.0.address).finish()
    }
}

/// Sees whether there is a manager, and whether it has this key.
pub(crate) fn connect(address: &Address, key: &[u8], tls: Option<TlsClient>) -> Result<Remote, ManagerError> {
    let remote = Remote(Arc::new(Way {
        address: address.clone(),
        key: key.to_vec(),
        tls,
    }));
    remote.dial()?;
    Ok(remote)
}

impl Remote {
    fn dial(&self) -> Result<Stream, ManagerError> {
        let Way { address, key, tls } = &*self.0;
        dial(address, key, tls.as_ref(), auth::MANAGER).map_err(|refused| match refused {
            Refused::Key => ManagerError::Authentication,
            Refused::Stranger => {
                ManagerError::Start(format!("{address}: what answers there is no manager of this version"))
            }
            Refused::Tls(error) => ManagerError::Tls(error),
            Refused::Io(error) => ManagerError::Start(format!("{address}: {error}")),
        })
    }

    /// Passes on what comes through this end of a pipe, on threads of its own. Should the manager not be reached, the pipe
    /// ends.
    pub(crate) fn serve(&self, pipe: Connection) -> io::Result<()> {
        let remote = self.clone();
        let serve = move || {
            if let Ok(stream) = remote.dial() {
                // Whoever has the other end of the pipe learns that it has ended.
                let _ = relay(stream, &pipe, Some(relay::PATIENCE));
            }
        };
        thread::Builder::new()
            .name("wasmp-remote".into())
            .spawn(serve)
            .map(drop)
    }
}
