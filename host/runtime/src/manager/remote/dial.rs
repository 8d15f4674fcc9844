//! A manager elsewhere, as this host reaches it: a connection of its own for each client.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wasmp_manager::ManagerError;

use super::address::{Address, Socket};
use super::auth::{self, Refused};
use super::relay::{self, relay};
use crate::shared::Connection;

/// How long it may take to get to know each other.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Where a manager is, and the key for it.
#[derive(Clone)]
pub(crate) struct Remote(Arc<(Address, Vec<u8>)>);

impl std::fmt::Debug for Remote {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Remote").field(&self.0.0).finish()
    }
}

/// Sees whether there is a manager, and whether it has this key.
pub(crate) fn connect(address: Address, key: &[u8]) -> Result<Remote, ManagerError> {
    let remote = Remote(Arc::new((address, key.to_vec())));
    remote.dial()?;
    Ok(remote)
}

impl Remote {
    fn dial(&self) -> Result<Socket, ManagerError> {
        let (address, key) = &*self.0;
        let lost = |error: io::Error| ManagerError::Start(format!("{address}: {error}"));
        let mut socket = address.dial(PATIENCE).map_err(lost)?;
        auth::dialler(&mut socket.until(Instant::now() + PATIENCE), key, auth::MANAGER).map_err(
            |refused| match refused {
                Refused::Key => ManagerError::Authentication,
                Refused::Stranger => {
                    ManagerError::Start(format!("{address}: what answers there is no manager of this version"))
                }
                Refused::Io(error) => lost(error),
            },
        )?;
        Ok(socket)
    }

    /// Passes on what comes through this end of a pipe, on threads of its own. Should the manager not be reached, the pipe
    /// ends.
    pub(crate) fn serve(&self, pipe: Connection) -> io::Result<()> {
        let remote = self.clone();
        let serve = move || {
            if let Ok(socket) = remote.dial() {
                // Whoever has the other end of the pipe learns that it has ended.
                let _ = relay(socket, &pipe, Some(relay::PATIENCE));
            }
        };
        thread::Builder::new()
            .name("wasmp-remote".into())
            .spawn(serve)
            .map(drop)
    }
}
