//! The folder under the user's cache in which self-made toolchains are kept.
//!
//! A toolchain is made in a folder that [`UNFINISHED`] marks, by whoever holds the lock, and renamed when it is complete.
//! So a folder with a proper name is always whole, and what a killed run left behind is recognised by the next. The
//! children of a killed run may live on for a while and go on writing: each run has a folder of its own, which its
//! orphans cannot spoil for the others.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process;

use crate::Progress;
use crate::process::StepError;

/// What the name of a folder starts with while a toolchain is being made in it; the process number follows.
const UNFINISHED: &str = ".unfinished-";

const LOCK: &str = ".lock";

#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

/// The right to change the store, until it is dropped.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    store: &'a Store,
    _file: File,
}

impl Store {
    /// The user's store, by the XDG rules: a relative `XDG_CACHE_HOME` is to be ignored.
    pub(crate) fn of_user() -> Option<Self> {
        let cache = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        let cache = cache.or_else(|| {
            env::home_dir()
                .filter(|home| home.is_absolute())
                .map(|home| home.join(".cache"))
        })?;
        Some(Self::at(cache.join("wasmp/toolchains")))
    }

    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The names of the finished toolchains, the youngest last.
    pub(crate) fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                Some((
                    entry.metadata().ok()?.modified().ok()?,
                    entry.file_name().into_string().ok()?,
                ))
            })
            .filter(|(_, name)| !name.starts_with('.'))
            .collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Waits for the lock. It goes with the process that holds it, however that ends.
    pub(crate) fn lock(&self, progress: Progress<'_>) -> Result<Locked<'_>, StepError> {
        fs::create_dir_all(&self.root).map_err(StepError::io("create", &self.root))?;
        let path = self.root.join(LOCK);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(StepError::io("open", &path))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            progress("another run is making a toolchain; waiting for it");
        }
        file.lock().map_err(StepError::io("lock", &path))?;
        Ok(Locked {
            store: self,
            _file: file,
        })
    }
}

impl Locked<'_> {
    /// Has `make` fill a fresh folder, and gives it the name that `make` returns.
    pub(crate) fn install(&self, make: impl FnOnce(&Path) -> Result<String, StepError>) -> Result<String, StepError> {
        self.clear();
        let unfinished = self.store.root.join(format!("{UNFINISHED}{}", process::id()));
        fs::create_dir(&unfinished).map_err(StepError::io("create", &unfinished))?;
        let made = make(&unfinished).and_then(|name| {
            let path = self.store.path(&name);
            fs::rename(&unfinished, &path).map_err(StepError::io("rename the new toolchain to", &path))?;
            Ok(name)
        });
        if made.is_err() {
            self.clear();
        }
        made
    }

    /// Removes what broken runs have left. What orphans are still writing to may resist, until the next time.
    fn clear(&self) {
        for entry in fs::read_dir(&self.store.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("wasmp/toolchains"));
        (dir, store)
    }

    #[test]
    fn a_finished_toolchain_gets_its_name() {
        let (_dir, store) = store();
        assert!(store.names().is_empty());
        let locked = store.lock(&mut |_| ()).unwrap();
        let name = locked.install(|dir| {
            fs::write(dir.join("rustc"), "").unwrap();
            Ok("a-1".to_owned())
        });
        assert!(store.path(&name.unwrap()).join("rustc").is_file());
        assert_eq!(store.names(), ["a-1"]);
    }

    #[test]
    fn a_broken_run_leaves_nothing() {
        let (_dir, store) = store();
        let locked = store.lock(&mut |_| ()).unwrap();
        let failed = locked.install(|dir| {
            fs::write(dir.join("rustc"), "").unwrap();
            Err(StepError::Unavailable("no".to_owned()))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert!(store.names().is_empty());
        let left: Vec<_> = fs::read_dir(store.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [LOCK]);
    }

    #[test]
    fn what_a_killed_run_left_is_removed() {
        let (_dir, store) = store();
        let left = store.path(".unfinished-1");
        fs::create_dir_all(left.join("half")).unwrap();
        assert!(store.names().is_empty());
        let locked = store.lock(&mut |_| ()).unwrap();
        let name = locked.install(|_| Ok("a-1".to_owned()));
        assert_eq!(name.unwrap(), "a-1");
        assert!(!left.exists());
    }

    #[test]
    fn two_runs_at_once_take_turns() {
        let (_dir, store) = store();
        let (inside, waited) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut progress = |_: &str| {
                        waited.fetch_add(1, Ordering::SeqCst);
                    };
                    let _locked = store.lock(&mut progress).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    thread::sleep(Duration::from_millis(100));
                    inside.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(waited.into_inner() <= 1);
    }
}
