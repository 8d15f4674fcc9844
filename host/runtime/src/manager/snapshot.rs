//! What a manager holds, in a file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use wasmp_manager::{SnapshotError, load, save};

use super::client::Manager;

impl Manager {
    /// Writes what has a name in the manager into a file, which is replaced as a whole or not at all: dictionaries, lists, sets,
    /// counters, namespaces, values and arrays, each as it is at one moment. Locks, queues and the like are not kept, and a
    /// handle in a value means nothing later.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`], [`SnapshotError::Manager`]; [`ManagerError::TooLarge`](crate::ManagerError::TooLarge) if one of
    /// them takes more than 64 MiB.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SnapshotError> {
        let path = path.as_ref();
        let bytes = save(&self.line)?;
        replace(path, &bytes).map_err(SnapshotError::File)
    }

    /// Puts what [`save`](Self::save) has written in the place of what has the same names in this manager; what has others stays.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::File`], and [`SnapshotError::NoSnapshot`] and [`SnapshotError::Damaged`] for a file that is none: then
    /// nothing was changed. [`SnapshotError::Manager`] if there is no room, or something of another type has one of the names:
    /// then what came before that is there.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<(), SnapshotError> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(SnapshotError::File)?;
        load(&self.line, &bytes)
    }
}

/// Whoever reads the path meanwhile finds what was there, or all of this.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&unfinished, path));
    replaced.inspect_err(|_| drop(fs::remove_file(&unfinished)))
}
