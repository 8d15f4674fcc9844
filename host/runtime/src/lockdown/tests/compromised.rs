//! Native code in a locked-down worker that goes for what it was given: the memory that it shares, the code that it maps,
//! the directories, and the other workers beside it.
//!
//! What it may not even ask the kernel for is in `walls.rs`. What it writes into the rings that its host reads is in
//! `tests/tests/library/forged.rs`.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, openat, utimensat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use tempfile::TempDir;
use wasmp_ipc::Mapping;

use super::forked::{End, Forked, fork};
use super::walls::abi;
use super::{Dir, Role, lock_down_as};
use crate::module::Artifact;

const EPERM: &str = "1";
const EACCES: &str = "13";
const EROFS: &str = "30";

/// How a worker ends that attempts something, and what it has said. `writable`: of the one directory it has, if any.
fn attempt(keep: BorrowedFd<'_>, dir: Option<(&Path, bool)>, body: impl FnOnce() -> String) -> (End, String) {
    let grant = dir.map(|(path, writable)| (open_dir(path), writable));
    let ended = fork(|report| {
        let dirs: Vec<Dir<'_>> = grant
            .iter()
            .map(|(fd, writable)| Dir {
                fd: fd.as_fd(),
                writable: *writable,
            })
            .collect();
        lock_down_as(Role::Worker, &[report.as_fd(), keep], &dirs);
        let said = body();
        report.say(&said);
    })
    .wait();
    (ended.how, ended.report)
}

fn open_dir(path: &Path) -> OwnedFd {
    openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .expect("it exists")
}

/// What has kept an attempt from success: the number of the error.
fn refused<T>(result: rustix::io::Result<T>) -> String {
    result.map_or_else(|errno| errno.raw_os_error().to_string(), |_| "succeeded".into())
}

/// A worker that has locked itself down and waits until it is dropped.
fn neighbour(gate: &mut std::io::PipeReader, secret: &[u8]) -> Forked {
    let mut neighbour = fork(|report| {
        let kept = secret.to_vec();
        lock_down_as(Role::Worker, &[report.as_fd(), gate.as_fd()], &[]);
        report.say("locked");
        let _ = gate.read(&mut [0]);
        report.say(&String::from_utf8_lossy(&kept));
    });
    assert_eq!(neighbour.first_report(), "locked");
    neighbour
}

#[test]
fn the_code_that_workers_share_stays_as_it_is() {
    let code = b"machine code of the module".repeat(1000);
    let artifact = Artifact::from_bytes(&code).expect("a sealed file");
    let folder = TempDir::new().expect("a writable temporary folder");
    let fd = artifact.fd();
    let map = |access| {
        // SAFETY: a new mapping where nothing was.
        let mapped = unsafe { rustix::mm::mmap(std::ptr::null_mut(), code.len(), access, MapFlags::SHARED, fd, 0) };
        refused(mapped)
    };

    let write = || refused(rustix::io::write(fd, b"mine"));
    // Where no file may be written, trying is fatal.
    assert_eq!(attempt(fd, None, write).0, End::Killed(libc::SIGXFSZ));
    let as_writer = |body: &dyn Fn() -> String| attempt(fd, Some((folder.path(), true)), body);
    let perm = |(how, said): (End, String)| {
        assert_eq!((how, said.as_str()), (End::Exited(0), EPERM));
    };
    perm(as_writer(&write));
    perm(as_writer(&|| map(ProtFlags::READ | ProtFlags::WRITE)));
    perm(as_writer(&|| refused(rustix::fs::ftruncate(fd, 0))));
    // A descriptor of its own can be opened once more, and for writing: that helps it as little.
    perm(as_writer(&|| {
        let again = openat(
            CWD,
            format!("/proc/self/fd/{}", fd.as_raw_fd()),
            OFlags::RDWR,
            Mode::empty(),
        );
        refused(again.and_then(|again| rustix::io::write(again, b"mine")))
    }));
    // Nor does a mapping that may be read become one that may be written.
    let (how, said) = attempt(fd, None, || {
        // SAFETY: as above, and a change of that mapping alone.
        let changed = unsafe {
            let (size, none) = (code.len(), std::ptr::null_mut());
            rustix::mm::mmap(none, size, ProtFlags::READ, MapFlags::SHARED, fd, 0)
                .and_then(|start| rustix::mm::mprotect(start, size, rustix::mm::MprotectFlags::WRITE))
        };
        refused(changed)
    });
    assert_eq!((how, said.as_str()), (End::Exited(0), EACCES));

    let mut found = Vec::new();
    artifact
        .read(|piece| {
            found.extend_from_slice(piece);
            Ok(())
        })
        .expect("readable");
    assert!(found == code);
}

#[test]
fn memory_that_it_shares_cannot_be_cut_off_under_its_host() {
    const LEN: usize = 1 << 16;
    let (memory, mapping) = Mapping::create("wasmp-object", LEN).expect("shared memory");
    let mapping = Arc::new(mapping);
    let folder = TempDir::new().expect("a writable temporary folder");
    let as_writer = |body: &dyn Fn() -> String| attempt(memory.as_fd(), Some((folder.path(), true)), body);
    for size in [0, 4096, 2 * LEN as u64] {
        let (how, said) = as_writer(&|| refused(rustix::fs::ftruncate(&memory, size)));
        assert_eq!((how, said.as_str()), (End::Exited(0), EPERM), "{size}");
    }
    let (how, _) = as_writer(&|| refused(rustix::fs::fcntl_add_seals(&memory, rustix::fs::SealFlags::WRITE)));
    assert_eq!(how, End::Killed(libc::SIGSYS), "the host could not write any more");
    let (how, said) = as_writer(&|| {
        let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        refused(rustix::fs::fallocate(&memory, hole, 0, LEN as u64))
    });
    assert_eq!(
        (how, said.as_str()),
        (End::Exited(0), "succeeded"),
        "it is as good as writing zeroes"
    );
    let mut bytes = vec![1; LEN];
    mapping.region(0, LEN).expect("all of it").read(0, &mut bytes);
    assert!(bytes.iter().all(|byte| *byte == 0), "and no SIGBUS");
}

#[test]
fn the_memory_of_others_is_out_of_reach_even_with_a_directory() {
    let folder = TempDir::new().expect("a writable temporary folder");
    let (mut gate, opener) = std::io::pipe().expect("a pipe");
    let neighbour = neighbour(&mut gate, b"its secret");
    let host = std::process::id().to_string();
    let others = [neighbour.pid.as_raw_pid().to_string(), host];
    for pid in &others {
        // Linux without Landlock leaves the files of a process to its user, but for those of workers.
        if abi() < 1 && *pid == others[1] {
            continue;
        }
        for file in [
            "mem",
            "maps",
            "environ",
            "stack",
            "auxv",
            "fd/0",
            "cwd/Cargo.toml",
            "root/etc/passwd",
        ] {
            let path = format!("/proc/{pid}/{file}");
            for (flags, writable) in [(OFlags::RDONLY, false), (OFlags::RDWR, true)] {
                let (how, said) = attempt(gate.as_fd(), Some((folder.path(), writable)), || {
                    refused(openat(CWD, &path, flags, Mode::empty()))
                });
                assert_eq!(how, End::Exited(0), "{path}");
                assert!([EACCES, EPERM].contains(&said.as_str()), "{path}: {said}");
            }
        }
    }
    drop(opener);
    let ended = neighbour.wait();
    assert_eq!((ended.how, ended.report.as_str()), (End::Exited(0), "its secret"));
}

#[test]
fn the_times_of_a_file_are_changed_where_it_may_be_written_only() {
    let folder = TempDir::new().expect("a writable temporary folder");
    let (granted, outside) = (folder.path().join("granted"), folder.path().join("outside"));
    fs::create_dir(&granted).expect("fresh");
    fs::write(granted.join("file"), "").expect("fresh");
    fs::write(&outside, "").expect("fresh");
    let day = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
    for path in [&outside, &granted.join("file")] {
        fs::File::open(path)
            .and_then(|file| file.set_modified(day(1)))
            .expect("its owner may");
    }
    let modified = |path: &Path| {
        fs::metadata(path)
            .and_then(|data| data.modified())
            .expect("it is there")
    };
    let (_, keep) = std::io::pipe().expect("a pipe");
    let now = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
        last_modification: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
    };

    for (writable, expected) in [(false, Errno::ROFS), (true, Errno::PERM)] {
        let said = |body: &dyn Fn() -> rustix::io::Result<()>| {
            let (how, said) = attempt(keep.as_fd(), Some((&granted, writable)), || refused(body()));
            assert_eq!(how, End::Exited(0));
            said
        };
        let expected = expected.raw_os_error().to_string();
        assert_eq!(said(&|| utimensat(CWD, &outside, &now, AtFlags::empty())), expected);
        let without_opening = || {
            let file = openat(CWD, &outside, OFlags::PATH, Mode::empty())?;
            utimensat(file, "", &now, AtFlags::EMPTY_PATH)
        };
        assert_eq!(said(&without_opening), expected);
        assert_eq!(modified(&outside), day(1));
        let inside = said(&|| {
            let file = openat(CWD, granted.join("file"), OFlags::RDONLY, Mode::empty())?;
            rustix::fs::futimens(file, &now)
        });
        assert_eq!(inside, if writable { "succeeded" } else { EROFS });
        assert_eq!(modified(&granted.join("file")) == day(1), !writable);
    }
}

/// Landlock says the same; this holds without it.
#[test]
fn directories_for_reading_bring_no_call_that_changes_files() {
    let folder = TempDir::new().expect("a writable temporary folder");
    let (_, keep) = std::io::pipe().expect("a pipe");
    let calls = [
        libc::SYS_fallocate,
        libc::SYS_ftruncate,
        libc::SYS_linkat,
        libc::SYS_mkdirat,
        libc::SYS_pwrite64,
        libc::SYS_pwritev,
        libc::SYS_renameat2,
        libc::SYS_symlinkat,
        libc::SYS_unlinkat,
        libc::SYS_utimensat,
        libc::SYS_writev,
    ];
    for call in calls {
        let (how, said) = attempt(keep.as_fd(), Some((folder.path(), false)), || {
            // SAFETY: numbers and null pointers.
            unsafe { libc::syscall(call, -1, 0, 0, 0, 0) };
            std::io::Error::last_os_error().raw_os_error().unwrap_or(0).to_string()
        });
        assert_eq!((how, said), (End::Exited(0), EROFS.into()), "call {call}");
    }
}
