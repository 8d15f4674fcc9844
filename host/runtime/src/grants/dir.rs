//! Directories of the host.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};

/// A directory of the host that guests may use, under a name of their own. Guests see nothing else of the file system.
///
/// On a command line and in a file it is a text: `HOST[::GUEST][:rw]`.
///
/// ```
/// use wasmp::DirGrant;
///
/// assert_eq!("data".parse(), Ok(DirGrant::read_only("data", "data")));
/// assert_eq!("/srv/x::/out:rw".parse(), Ok(DirGrant::read_write("/srv/x", "/out")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirGrant {
    host: PathBuf,
    guest: String,
    writable: bool,
}

impl DirGrant {
    /// Guests may read what is in `host`, which they see as `guest`.
    pub fn read_only(host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            guest: guest.into(),
            writable: false,
        }
    }

    /// Guests may read and change what is in `host`, which they see as `guest`.
    pub fn read_write(host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        Self {
            writable: true,
            ..Self::read_only(host, guest)
        }
    }

    /// The directory on the host.
    #[must_use]
    pub fn host(&self) -> &Path {
        &self.host
    }

    /// Its name in the guest.
    #[must_use]
    pub fn guest(&self) -> &str {
        &self.guest
    }

    /// Whether guests may change what is in it.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The same, where a relative path begins at `base`.
    pub(super) fn relative_to(self, base: &Path) -> Self {
        Self {
            host: base.join(self.host),
            ..self
        }
    }

    /// Opens the directory, so that the grant is for what is there now.
    pub(crate) fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.host, flags, Mode::empty()).map_err(|error| Error::Grant {
            path: self.host.clone(),
            source: error.into(),
        })
    }
}

impl FromStr for DirGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (paths, writable) = match text.strip_suffix(":rw") {
            // `.::rw` is a directory named `rw` in the guest, not a grant of `.:`.
            Some(paths) if !paths.ends_with(':') => (paths, true),
            _ => (text, false),
        };
        let (host, guest) = paths.split_once("::").unwrap_or((paths, paths));
        if host.is_empty() || guest.is_empty() {
            return Err("a directory is given as HOST, HOST::GUEST, HOST:rw or HOST::GUEST:rw".to_owned());
        }
        Ok(Self {
            writable,
            ..Self::read_only(host, guest)
        })
    }
}
