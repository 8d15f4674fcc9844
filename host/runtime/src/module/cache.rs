//! Compiled modules on disk, so that a second run does not compile.
//!
//! What is in here is run as machine code, so an entry counts only if nobody else can have written it: the directory
//! and the file belong to this user and to nobody else's pen, the file is no link, and what it holds has the digest it
//! says. An entry is copied into a memfd while it is checked, never mapped from the disk, so it cannot change
//! afterwards. Everything else is ignored and replaced; whatever fails, the module is compiled again.

use std::env;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, UTIME_NOW, UTIME_OMIT};
use rustix::fs::{Timespec, Timestamps, futimens, open, openat, renameat, statat, unlinkat};

use super::artifact::{self, Artifact};

/// Most bytes that all entries take together; the least recently used go first.
const MAX_SIZE: u64 = 1 << 30;
/// Half-written entries of processes that died are removed when they are older than this.
const STALE: Duration = Duration::from_secs(3600);

const MAGIC: &[u8; 8] = b"wasmp\0c2";
const SUFFIX: &str = ".code";
const TEMPORARY: &str = ".tmp-";

/// What compiled code is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The module's BLAKE3 hash.
    pub(crate) wasm: [u8; 32],
    /// The engine that compiled it.
    pub(crate) engine: [u8; 32],
}

impl Key {
    fn file_name(&self) -> String {
        let digest = blake3::hash([self.wasm, self.engine].as_flattened());
        format!("{digest}{SUFFIX}")
    }
}

/// The cache of this user.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: File,
    max_size: u64,
}

impl Cache {
    /// The directory where it is by default. `None` if the environment names none.
    pub(crate) fn default_path() -> Option<PathBuf> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(base.join("wasmp").join("modules"))
    }

    /// Opens the cache, makes the directory if need be. An error if somebody else could write there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::with_max_size(path, MAX_SIZE)
    }

    fn with_max_size(path: &Path, max_size: u64) -> io::Result<Self> {
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match open(path, directory, Mode::empty()) {
            Ok(dir) => dir,
            Err(rustix::io::Errno::NOENT) => {
                DirBuilder::new().recursive(true).mode(0o700).create(path)?;
                open(path, directory, Mode::empty())?
            }
            Err(error) => return Err(error.into()),
        };
        let dir = File::from(dir);
        only_ours(&dir)?;
        Ok(Self { dir, max_size })
    }

    /// The compiled code of a module, if it is here and sound.
    pub(crate) fn load(&self, key: &Key) -> io::Result<Artifact> {
        // NONBLOCK: a FIFO in this place must not hold us up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.dir, key.file_name(), flags, Mode::empty())?);
        only_ours(&file)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(damaged("not a file"));
        }
        let mut header = [0; Header::LEN];
        file.read_exact(&mut header)?;
        let header = Header::parse(&header, key)?;
        if metadata.len() != Header::LEN as u64 + header.len {
            return Err(damaged("another length"));
        }
        let mut code = artifact::create()?;
        if copy_and_digest(&mut file.take(header.len), &mut code)? != header.digest {
            return Err(damaged("another digest"));
        }
        // Entries are evicted by their last use.
        let now = |nsec| Timespec {
            tv_sec: 0,
            tv_nsec: nsec,
        };
        let times = Timestamps {
            last_access: now(UTIME_OMIT),
            last_modification: now(UTIME_NOW),
        };
        let _ = futimens(openat(&self.dir, key.file_name(), flags, Mode::empty())?, &times);
        Artifact::from_memfd(code.into())
    }

    /// Keeps the compiled code of a module, in place of what may be there.
    pub(crate) fn store(&self, key: &Key, code: &Artifact) -> io::Result<()> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let size = Header::LEN as u64 + code.len();
        if size > self.max_size {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.evict(self.max_size - size)?;
        let temporary = format!(
            "{TEMPORARY}{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        let written = self.write(&temporary, key, code).and_then(|()| {
            // A directory in the entry's place cannot be renamed over.
            renameat(&self.dir, &temporary, &self.dir, key.file_name())
                .or_else(|_| {
                    unlinkat(&self.dir, key.file_name(), AtFlags::REMOVEDIR)?;
                    renameat(&self.dir, &temporary, &self.dir, key.file_name())
                })
                .map_err(io::Error::from)
        });
        if written.is_err() {
            let _ = unlinkat(&self.dir, &temporary, AtFlags::empty());
        }
        written
    }

    fn write(&self, name: &str, key: &Key, code: &Artifact) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)?);
        let mut digest = blake3::Hasher::new();
        code.read(|piece| {
            digest.update(piece);
            Ok(())
        })?;
        file.write_all(
            &Header {
                len: code.len(),
                digest: digest.finalize().into(),
            }
            .bytes(key),
        )?;
        code.read(|piece| file.write_all(piece))
    }

    /// Removes what was not used for longest until the entries take at most `limit` bytes.
    fn evict(&self, limit: u64) -> io::Result<()> {
        let mut entries = Vec::new();
        let mut total = 0u64;
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let Ok(stat) = statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
            if name.starts_with(TEMPORARY) {
                if used.elapsed().is_ok_and(|age| age > STALE) {
                    let _ = unlinkat(&self.dir, name, AtFlags::empty());
                }
            } else if name.ends_with(SUFFIX) {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                total = total.saturating_add(size);
                entries.push((used, size, name.to_owned()));
            }
        }
        entries.sort();
        for (_, size, name) in entries {
            if total <= limit {
                break;
            }
            if unlinkat(&self.dir, &name, AtFlags::empty()).is_ok() {
                total -= size;
            }
        }
        Ok(())
    }
}

/// What stands before the code in an entry.
struct Header {
    len: u64,
    digest: [u8; 32],
}

impl Header {
    const LEN: usize = MAGIC.len() + 32 + 32 + 8 + 32;

    fn bytes(&self, key: &Key) -> Vec<u8> {
        [
            &MAGIC[..],
            &key.wasm,
            &key.engine,
            &self.len.to_le_bytes(),
            &self.digest,
        ]
        .concat()
    }

    fn parse(bytes: &[u8; Self::LEN], key: &Key) -> io::Result<Self> {
        let [identity, rest] = split(bytes);
        if identity != [&MAGIC[..], &key.wasm, &key.engine].concat() {
            return Err(damaged("another module or engine"));
        }
        let (len, digest) = rest.split_first_chunk().ok_or_else(|| damaged("short"))?;
        let digest = digest.try_into().map_err(|_| damaged("short"))?;
        Ok(Self {
            len: u64::from_le_bytes(*len),
            digest,
        })
    }
}

fn split(bytes: &[u8; Header::LEN]) -> [&[u8]; 2] {
    let (identity, rest) = bytes.split_at(MAGIC.len() + 64);
    [identity, rest]
}

/// Refuses what somebody else owns or may write.
fn only_ours(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(damaged("it belongs to another user"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(damaged("others may write it"));
    }
    Ok(())
}

fn copy_and_digest(from: &mut impl Read, to: &mut impl Write) -> io::Result<[u8; 32]> {
    let mut digest = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(digest.finalize().into()),
            n => {
                digest.update(&buffer[..n]);
                to.write_all(&buffer[..n])?;
            }
        }
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const KEY: Key = Key {
        wasm: [1; 32],
        engine: [2; 32],
    };

    fn code(bytes: &[u8]) -> Artifact {
        Artifact::from_bytes(bytes).unwrap()
    }

    fn contents(artifact: &Artifact) -> Vec<u8> {
        let mut bytes = Vec::new();
        artifact.read(|piece| bytes.write_all(piece)).unwrap();
        bytes
    }

    /// A cache with one entry, and where that is.
    fn filled() -> (tempfile::TempDir, Cache, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("wasmp/modules");
        let cache = Cache::open(&path).unwrap();
        cache.store(&KEY, &code(b"machine code")).unwrap();
        let entry = path.join(KEY.file_name());
        (home, cache, entry)
    }

    /// The entry is not used, and can be replaced.
    fn assert_ignored_and_replaced(cache: &Cache, entry: &Path) {
        assert!(cache.load(&KEY).is_err());
        cache.store(&KEY, &code(b"again")).unwrap();
        assert_eq!(contents(&cache.load(&KEY).unwrap()), b"again");
        assert_eq!(
            fs::symlink_metadata(entry).unwrap().permissions().mode() & 0o7777,
            0o600
        );
    }

    #[test]
    fn what_is_stored_is_found_by_its_key_only() {
        let (_home, cache, entry) = filled();
        assert_eq!(contents(&cache.load(&KEY).unwrap()), b"machine code");
        assert!(cache.load(&Key { wasm: [3; 32], ..KEY }).is_err());
        assert!(cache.load(&Key { engine: [3; 32], ..KEY }).is_err());
        assert_eq!(fs::metadata(&entry).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(
            fs::metadata(entry.parent().unwrap()).unwrap().permissions().mode() & 0o7777,
            0o700
        );
        let names: Vec<_> = fs::read_dir(entry.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays behind");
    }

    #[test]
    fn every_single_changed_byte_is_noticed() {
        let (_home, cache, entry) = filled();
        let sound = fs::read(&entry).unwrap();
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            fs::write(&entry, &bytes).unwrap();
            assert!(cache.load(&KEY).is_err(), "byte {at}");
        }
        assert_ignored_and_replaced(&cache, &entry);
    }

    #[test]
    fn every_other_length_is_noticed() {
        let (_home, cache, entry) = filled();
        let sound = fs::read(&entry).unwrap();
        for len in 0..sound.len() {
            fs::write(&entry, &sound[..len]).unwrap();
            assert!(cache.load(&KEY).is_err(), "{len} bytes");
        }
        fs::write(&entry, [&sound[..], b"more"].concat()).unwrap();
        assert_ignored_and_replaced(&cache, &entry);
    }

    #[test]
    fn an_entry_that_others_may_write_is_not_used() {
        for mode in [0o620, 0o602, 0o666] {
            let (_home, cache, entry) = filled();
            fs::set_permissions(&entry, PermissionsExt::from_mode(mode)).unwrap();
            assert_ignored_and_replaced(&cache, &entry);
        }
    }

    #[test]
    fn an_entry_of_another_user_is_not_used() {
        if !rustix::process::geteuid().is_root() {
            return; // Only root can give a file away.
        }
        let (_home, cache, entry) = filled();
        std::os::unix::fs::chown(&entry, Some(12345), None).unwrap();
        assert_ignored_and_replaced(&cache, &entry);
    }

    #[test]
    fn links_directories_and_pipes_are_no_entries() {
        let (home, cache, entry) = filled();
        let elsewhere = home.path().join("elsewhere");
        fs::rename(&entry, &elsewhere).unwrap();
        symlink(&elsewhere, &entry).unwrap();
        assert_ignored_and_replaced(&cache, &entry);

        fs::remove_file(&entry).unwrap();
        fs::create_dir(&entry).unwrap();
        assert_ignored_and_replaced(&cache, &entry);

        fs::remove_file(&entry).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &entry,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_ignored_and_replaced(&cache, &entry);
    }

    #[test]
    fn a_directory_that_others_may_write_or_that_is_a_link_is_no_cache() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("modules");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(Cache::open(&path).is_err());
        fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        assert!(Cache::open(&path).is_ok());
        let link = home.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(Cache::open(&link).is_err());
        assert!(Cache::open(Path::new("/proc/wasmp/modules")).is_err());
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::with_max_size(&home.path().join("modules"), 3500).unwrap();
        let key = |n| Key { wasm: [n; 32], ..KEY };
        let age = |n: u8, seconds| {
            let file = File::open(home.path().join("modules").join(key(n).file_name())).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
                .unwrap();
        };
        for n in 1..=3 {
            cache.store(&key(n), &code(&[n; 1000])).unwrap();
            age(n, 1000 - u64::from(n));
        }
        cache.load(&key(1)).unwrap();
        cache.store(&key(4), &code(&[4; 1000])).unwrap();
        let kept: Vec<_> = (1..=4).filter(|n| cache.load(&key(*n)).is_ok()).collect();
        assert_eq!(kept, [1, 3, 4]);
        assert!(cache.store(&key(5), &code(&[5; 4000])).is_err());
    }

    #[test]
    fn half_written_entries_of_the_dead_are_removed() {
        let (_home, cache, entry) = filled();
        let dir = entry.parent().unwrap();
        for (name, hours) in [(".tmp-1-1", 2), (".tmp-1-2", 0)] {
            let file = File::create(dir.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(3600 * hours))
                .unwrap();
        }
        cache.store(&KEY, &code(b"x")).unwrap();
        assert!(!dir.join(".tmp-1-1").exists());
        assert!(dir.join(".tmp-1-2").exists());
    }
}
