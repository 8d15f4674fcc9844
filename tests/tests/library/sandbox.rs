//! The two walls around a task, seen from outside: in `/proc`, and by what a guest gets when it asks for more.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use wasmp::{DirGrant, Error, ErrorKind, Platform, Pool, Sandbox};
use wasmp_tests::{Process, descendants, eventually, isolated};

use crate::common::{builder, pool, replace_by_spare, task_error, worker, workers};

#[test]
fn a_worker_has_one_thread_no_privileges_and_a_system_call_filter() {
    isolated(|| {
        let pool = pool(1);
        for stood_by in [false, true] {
            if stood_by {
                replace_by_spare(&pool);
            }
            // After the first result a worker has certainly locked itself down.
            let _: Vec<i64> = pool.map("square", 0..100).unwrap();
            let worker = worker(&pool);
            let expected = [
                ("Threads", "1"),
                ("NoNewPrivs", "1"),
                ("Seccomp", "2"),
                ("SigBlk", "0000000000000000"),
            ];
            for (field, value) in expected {
                assert_eq!(worker.status(field), value, "{field}");
            }
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(worker.status(set), "0000000000000000", "{set}");
            }
        }
    });
}

#[test]
fn keeper_zygote_and_workers_go_by_their_names_and_have_one_thread() {
    isolated(|| {
        let pool = pool(2);
        workers(&pool);
        let all = [
            ("wasmp-keeper", 1),
            ("wasmp-zygote", 1),
            ("wasmp-spare", 1),
            ("wasmp-worker", 2),
        ];
        for (name, count) in all {
            let found = eventually(name, || {
                let found = descendants(std::process::id(), name);
                (found.len() == count).then_some(found)
            });
            assert!(found.iter().all(|process| process.status("Threads") == "1"), "{name}");
        }
    });
}

#[test]
fn a_worker_has_no_descriptors_but_its_own() {
    isolated(|| {
        // Something of the host's that must not leak.
        let _secret = tempfile::tempfile().unwrap();
        let pool = pool(1);
        for stood_by in [false, true] {
            if stood_by {
                replace_by_spare(&pool);
            }
            assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
            assert_only_its_own_descriptors(&worker(&pool));
        }
    });
}

fn assert_only_its_own_descriptors(worker: &Process) {
    let Ok(listing) = fs::read_dir(format!("/proc/{}/fd", worker.pid())) else {
        // Only root may look: to everybody else, this user included, the worker is closed.
        assert!(!rustix::process::geteuid().is_root());
        return;
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for fd in listing {
        let target = fs::read_link(fd.unwrap().path()).unwrap().display().to_string();
        let kind = target.split(['[', ' ']).next().unwrap_or_default();
        *counts.entry(kind.to_owned()).or_default() += 1;
    }
    // Standard streams to nowhere, doorbell, lifeline, control socket, and the file that memories are mapped from.
    let image = counts.remove("/memfd:wasmp-module").unwrap_or_default();
    let expected = [("/dev/null", 3), ("anon_inode:", 1), ("pipe:", 1), ("socket:", 1)];
    assert_eq!(counts, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
    assert!(image <= 2, "{image} files of the module");
}

#[test]
fn no_memory_of_a_worker_is_writable_and_executable() {
    isolated(|| {
        let pool = pool(1);
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        let Ok(maps) = fs::read_to_string(format!("/proc/{}/maps", worker(&pool).pid())) else {
            assert!(!rustix::process::geteuid().is_root());
            return;
        };
        assert!(maps.lines().count() > 10);
        for map in maps.lines() {
            let permissions = map.split(' ').nth(1).unwrap();
            assert!(!(permissions.contains('w') && permissions.contains('x')), "{map}");
        }
    });
}

type Surroundings = (Vec<String>, Vec<(String, String)>, String);

#[test]
fn a_guest_sees_nothing_that_it_was_not_given() {
    isolated(|| {
        let pool = pool(1);
        let surroundings: Surroundings = pool.apply("surroundings", ()).unwrap();
        assert_eq!(surroundings, Surroundings::default());
        for path in [
            "/etc/passwd",
            "/",
            ".",
            "../../etc/passwd",
            "/proc/self/status",
            "/dev/null",
        ] {
            let error = task_error(pool.apply::<_, String>("read_file", (path,)));
            assert_eq!(error.kind, ErrorKind::Error, "{path}");
        }
    });
}

#[test]
fn a_guest_sees_the_arguments_and_the_environment_it_was_given() {
    isolated(|| {
        let pool = builder(1)
            .args(["tasks", "--fast"])
            .env("LEVEL", "9")
            .env("EMPTY", "")
            .build()
            .unwrap();
        let (args, env, _): Surroundings = pool.apply("surroundings", ()).unwrap();
        assert_eq!(args, ["tasks", "--fast"]);
        assert_eq!(
            env,
            [("LEVEL", "9"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    });
}

#[test]
fn a_granted_directory_is_readable_and_nothing_beside_it() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        let granted = folder.path().join("granted");
        fs::create_dir(&granted).unwrap();
        fs::write(granted.join("note"), "inside").unwrap();
        fs::write(folder.path().join("secret"), "outside").unwrap();
        symlink("../secret", granted.join("escape")).unwrap();
        symlink("/etc/passwd", granted.join("absolute")).unwrap();
        symlink("note", granted.join("alias")).unwrap();
        let pool = builder(1).dir(DirGrant::read_only(&granted, "/data")).build().unwrap();
        let read = |path: &str| pool.apply::<_, String>("read_file", (path,));
        assert_eq!(read("/data/note").unwrap(), "inside");
        assert_eq!(read("/data/alias").unwrap(), "inside");
        for path in ["/data/../secret", "/data/escape", "/data/absolute", "/secret", "secret"] {
            assert_eq!(task_error(read(path)).kind, ErrorKind::Error, "{path}");
        }
        let write = pool.apply::<_, ()>("write_file", ("/data/note", "changed"));
        assert_eq!(task_error(write).kind, ErrorKind::Error);
        let create = pool.apply::<_, ()>("write_file", ("/data/new", "new"));
        assert_eq!(task_error(create).kind, ErrorKind::Error);
        assert_eq!(fs::read_to_string(granted.join("note")).unwrap(), "inside");
        assert!(!granted.join("new").exists());
    });
}

#[test]
fn a_directory_granted_for_writing_can_be_changed() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("note"), "old").unwrap();
        let pool = builder(1)
            .dir(DirGrant::read_write(folder.path(), "/data"))
            .build()
            .unwrap();
        for (path, text) in [("/data/note", "changed"), ("/data/new", "new")] {
            pool.apply::<_, ()>("write_file", (path, text)).unwrap();
            assert_eq!(pool.apply::<_, String>("read_file", (path,)).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(folder.path().join("new")).unwrap(), "new");
        let outside = pool.apply::<_, ()>("write_file", ("/data/../escaped", "x"));
        assert_eq!(task_error(outside).kind, ErrorKind::Error);
    });
}

#[test]
fn two_pools_with_different_grants_do_not_share_them() {
    isolated(|| {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let pools: Vec<Pool> = folders
            .iter()
            .zip(["first", "second"])
            .map(|(folder, text)| {
                fs::write(folder.path().join("note"), text).unwrap();
                builder(1)
                    .dir(DirGrant::read_only(folder.path(), "/data"))
                    .build()
                    .unwrap()
            })
            .collect();
        for (pool, text) in pools.iter().zip(["first", "second"]) {
            assert_eq!(pool.apply::<_, String>("read_file", ("/data/note",)).unwrap(), text);
        }
        let bare = pool(1);
        assert_eq!(
            task_error(bare.apply::<_, String>("read_file", ("/data/note",))).kind,
            ErrorKind::Error
        );
    });
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for wrong in [missing, file] {
            let error = builder(1)
                .dir(DirGrant::read_only(&wrong, "/data"))
                .build()
                .unwrap_err();
            assert!(
                matches!(&error, Error::Grant { path, .. } if *path == wrong),
                "{error:?}"
            );
            assert!(error.to_string().contains(wrong.to_str().unwrap()), "{error}");
        }
    });
}

#[test]
fn a_strict_sandbox_is_whole_or_there_is_no_pool() {
    isolated(|| {
        let platform = Platform::probe();
        match builder(1).sandbox(Sandbox::Strict).build() {
            Ok(pool) => {
                assert!(platform.landlock.is_some() && platform.seccomp, "{platform:?}");
                assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
                assert_eq!(worker(&pool).status("Seccomp"), "2");
            }
            Err(error) => {
                assert!(matches!(&error, Error::Sandbox(_)), "{error:?}");
                assert!(platform.landlock.is_none() || !platform.seccomp, "{platform:?}");
            }
        }
        let inline = builder(1).sandbox(Sandbox::Strict).inline(true).build();
        assert!(matches!(inline, Err(Error::Invalid(_))), "threads have no wall");
    });
}

#[test]
fn without_a_sandbox_webassembly_alone_is_left() {
    isolated(|| {
        let pool = builder(1).sandbox(Sandbox::Off).build().unwrap();
        for stood_by in [false, true] {
            if stood_by {
                replace_by_spare(&pool);
            }
            assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
            let error = task_error(pool.apply::<_, String>("read_file", ("/etc/passwd",)));
            assert_eq!(error.kind, ErrorKind::Error);
            let worker = worker(&pool);
            assert_eq!(worker.status("Seccomp"), "0");
            assert_eq!(worker.status("NoNewPrivs"), "0");
            assert_only_its_own_descriptors(&worker);
        }
    });
}
