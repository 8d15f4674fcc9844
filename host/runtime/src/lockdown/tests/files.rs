//! Directory grants.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use libc::c_long;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, linkat, mkdirat, openat, openat2, readlinkat, renameat, statat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;
use tempfile::TempDir;

use super::forked::{End, fork};
use super::{Dir, Role, lock_down_as};
use crate::lockdown::{landlock, privileges};

/// A folder with a granted and a forbidden part.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let root = TempDir::new().expect("a writable temporary folder");
        let path = root.path();
        fs::create_dir_all(path.join("granted/inner")).expect("fresh");
        fs::create_dir(path.join("forbidden")).expect("fresh");
        fs::write(path.join("granted/file"), "granted").expect("fresh");
        fs::write(path.join("forbidden/file"), "forbidden").expect("fresh");
        symlink("../forbidden/file", path.join("granted/link")).expect("fresh");
        Self(root)
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    /// The grant as a host makes it.
    fn grant(&self) -> OwnedFd {
        open(CWD, self.path("granted"), OFlags::PATH | OFlags::DIRECTORY).expect("it exists")
    }
}

/// Runs `body` in a worker granted `tree`, with the directory as the worker opens it.
fn granted(tree: &Tree, writable: bool, body: impl FnOnce(BorrowedFd<'_>)) {
    let grant = tree.grant();
    let ended = fork(|report| {
        lock_down_as(
            Role::Worker,
            &[report.as_fd()],
            &[Dir {
                fd: grant.as_fd(),
                writable,
            }],
        );
        let by_number = format!("/proc/self/fd/{}", grant.as_raw_fd());
        let dir = open(CWD, &by_number, OFlags::RDONLY | OFlags::DIRECTORY).expect("the grant can be opened");
        body(dir.as_fd());
        report.say("done");
    })
    .wait();
    assert_eq!((ended.how, ended.report.as_str()), (End::Exited(0), "done"));
}

fn open(dir: impl AsFd, path: impl AsRef<Path>, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(dir, path.as_ref(), flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
}

fn denied<T>(result: rustix::io::Result<T>) -> bool {
    result.is_err_and(|errno| errno == Errno::ACCESS)
}

/// What lies outside stays outside, whichever way is tried.
fn cannot_escape(dir: BorrowedFd<'_>, tree: &Tree) {
    let forbidden = tree.path("forbidden/file");
    for path in [
        Path::new("../forbidden/file"),
        Path::new("link"),
        Path::new(".."),
        Path::new("/etc/passwd"),
        &forbidden,
    ] {
        assert!(denied(open(dir, path, OFlags::RDONLY)), "{path:?}");
    }
    assert!(denied(open(dir, "../new", OFlags::WRONLY | OFlags::CREATE)));
    for path in ["/proc/self/mem", "/proc/self/maps", "/proc/self/environ"] {
        assert!(denied(open(dir, path, OFlags::RDONLY)), "{path}");
    }
    // Denied without a look at the resolution flags; openat2 is how WASI opens files.
    let beneath = openat2(
        dir,
        "../forbidden/file",
        OFlags::RDONLY,
        Mode::empty(),
        ResolveFlags::BENEATH,
    );
    assert_eq!(beneath.map(drop), Err(Errno::XDEV));
    let anywhere = openat2(
        dir,
        "../forbidden/file",
        OFlags::RDONLY,
        Mode::empty(),
        ResolveFlags::empty(),
    );
    assert!(denied(anywhere));
}

#[test]
fn a_read_only_directory_can_be_read_and_nothing_else() {
    let tree = Tree::new();
    granted(&tree, false, |dir| {
        let mut text = String::new();
        let file = openat2(dir, "file", OFlags::RDONLY, Mode::empty(), ResolveFlags::BENEATH).expect("readable");
        File::from(file).read_to_string(&mut text).expect("readable");
        assert_eq!(text, "granted");
        let names: Vec<_> = rustix::fs::Dir::read_from(dir)
            .expect("listable")
            .map(|entry| entry.expect("an entry"))
            .collect();
        assert_eq!(names.len(), 5, "with . and ..");
        assert_eq!(statat(dir, "file", AtFlags::empty()).expect("visible").st_size, 7);
        assert_eq!(statat(dir, "none", AtFlags::empty()).map(drop), Err(Errno::NOENT));

        assert!(denied(open(dir, "file", OFlags::WRONLY)));
        assert!(denied(open(dir, "file", OFlags::RDONLY | OFlags::TRUNC)));
        assert!(denied(open(dir, "new", OFlags::WRONLY | OFlags::CREATE)));
        for change in changes(dir) {
            assert_eq!(change, Err(Errno::ROFS));
        }
        cannot_escape(dir, &tree);
    });
    assert_eq!(
        fs::read_to_string(tree.path("granted/file")).expect("untouched"),
        "granted"
    );
}

/// What becomes of every way to change what is in a directory, but for writing its files.
fn changes(dir: BorrowedFd<'_>) -> [rustix::io::Result<()>; 6] {
    [
        mkdirat(dir, "new", Mode::RWXU),
        unlinkat(dir, "file", AtFlags::empty()),
        unlinkat(dir, "inner", AtFlags::REMOVEDIR),
        renameat(dir, "file", dir, "new"),
        symlinkat("file", dir, "new"),
        linkat(dir, "file", dir, "new", AtFlags::empty()),
    ]
}

/// Each wall must stand alone: this is the one without seccomp.
#[test]
fn landlock_alone_keeps_a_read_only_directory_as_it_is() {
    let tree = Tree::new();
    let grant = tree.grant();
    let ended = fork(|report| {
        privileges::renounce().expect("privileges");
        let dir = Dir {
            fd: grant.as_fd(),
            writable: false,
        };
        let status = landlock::restrict(&[dir]).expect("Landlock");
        if status.ruleset == ::landlock::RulesetStatus::NotEnforced {
            return report.say("unsupported");
        }
        assert!(changes(grant.as_fd()).into_iter().all(denied));
        assert!(denied(open(&grant, "file", OFlags::WRONLY)));
        open(&grant, "file", OFlags::RDONLY).expect("readable");
        report.say("denied");
    })
    .wait();
    assert_eq!(ended.how, End::Exited(0), "{}", ended.report);
    assert!(
        ["denied", "unsupported"].contains(&ended.report.as_str()),
        "{}",
        ended.report
    );
}

#[test]
fn a_writable_directory_can_be_changed_and_nothing_else() {
    let tree = Tree::new();
    granted(&tree, true, |dir| {
        let new = open(dir, "new", OFlags::RDWR | OFlags::CREATE | OFlags::EXCL).expect("creatable");
        let mut file = File::from(new);
        file.write_all(b"some text").expect("writable");
        file.set_len(4).expect("truncatable");
        file.seek(SeekFrom::Start(0)).expect("seekable");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "some");
        file.sync_all().expect("syncable");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("datable");
        file.try_clone().expect("a second handle");

        mkdirat(dir, "inner/deep", Mode::RWXU).expect("creatable");
        renameat(dir, "new", dir, "inner/deep/moved").expect("movable");
        linkat(dir, "inner/deep/moved", dir, "linked", AtFlags::empty()).expect("linkable");
        unlinkat(dir, "inner/deep/moved", AtFlags::empty()).expect("removable");
        unlinkat(dir, "inner/deep", AtFlags::REMOVEDIR).expect("removable");
        symlinkat("file", dir, "pointer").expect("creatable");
        assert_eq!(
            readlinkat(dir, "pointer", Vec::new()).expect("readable").as_c_str(),
            c"file"
        );

        cannot_escape(dir, &tree);
        let forbidden = tree.path("forbidden");
        // Landlock names the reason only where the mover could have had the right.
        let moved_out = renameat(dir, "file", CWD, forbidden.join("moved"));
        assert!(matches!(moved_out, Err(Errno::ACCESS | Errno::XDEV)), "{moved_out:?}");
        let moved_in = renameat(CWD, forbidden.join("file"), dir, "moved");
        assert!(matches!(moved_in, Err(Errno::ACCESS | Errno::XDEV)), "{moved_in:?}");
    });
    assert_eq!(fs::read_to_string(tree.path("granted/linked")).expect("there"), "some");
    assert_eq!(
        fs::read_to_string(tree.path("forbidden/file")).expect("untouched"),
        "forbidden"
    );
}

#[test]
fn a_grant_brings_files_but_no_processes_or_signals() {
    let tree = Tree::new();
    let dir = tree.grant();
    let fifo = c"fifo".as_ptr() as c_long;
    let attempts = [
        ("F_SETOWN", libc::SYS_fcntl, [libc::F_SETOWN.into(), 1]),
        ("F_SETLEASE", libc::SYS_fcntl, [libc::F_SETLEASE.into(), 0]),
        ("F_ADD_SEALS", libc::SYS_fcntl, [libc::F_ADD_SEALS.into(), 0]),
        ("mknodat", libc::SYS_mknodat, [fifo, libc::S_IFIFO.into()]),
        ("fchmod", libc::SYS_fchmod, [0o777, 0]),
        ("execveat", libc::SYS_execveat, [0, 0]),
    ];
    for (name, number, [second, third]) in attempts {
        let ended = fork(|report| {
            lock_down_as(
                Role::Worker,
                &[report.as_fd()],
                &[Dir {
                    fd: dir.as_fd(),
                    writable: true,
                }],
            );
            // SAFETY: numbers, null pointers and a static string, in a child.
            unsafe { libc::syscall(number, dir.as_raw_fd(), second, third, 0, 0) };
        })
        .wait();
        assert_eq!(ended.how, End::Killed(libc::SIGSYS), "{name}");
    }
}
