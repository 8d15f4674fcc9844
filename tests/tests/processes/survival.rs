//! What is left when somebody is killed: nothing, in the end.

use std::fs::{self, File};
use std::io::empty;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use wasmp::Event;
use wasmp_ipc::Mapping;
use wasmp_tests::{FDS_OF_A_SPARE, Process, descendants, eventually, isolated, own_fds};

use crate::{context, ended};

/// The processes that the numbers in this line name, as far as they run.
fn processes(line: &str) -> Vec<Option<Process>> {
    let pids = line.split(' ').map(|pid| pid.parse().expect("a process id"));
    pids.map(Process::open).collect()
}

#[test]
fn a_killed_program_leaves_no_process_behind() {
    isolated(|| {
        let (context, printed) = context("kill_main");
        let main = context.main(empty()).unwrap();
        let child = processes(&printed.next()).remove(0).expect("it runs");
        main.kill();
        assert_eq!(ended(&main), -9);
        assert!(
            !child.is_gone(),
            "it does not die with its parent, but with the program"
        );
        drop((context, main));
        child.wait_until_gone();
    });
}

#[test]
fn who_is_killed_takes_its_daemons_along_and_leaves_the_others_to_the_program() {
    isolated(|| {
        let (context, printed) = context("orphans");
        let main = context.main(empty()).unwrap();
        let mut both = processes(&printed.next());
        if let Some(goes) = both.remove(1) {
            goes.wait_until_gone();
        }
        let stays = both.remove(0).expect("it runs");
        assert_eq!(printed.next(), "orphans: done");
        assert_eq!(ended(&main), 0);
        assert!(!stays.is_gone());
        drop((context, main));
        stays.wait_until_gone();
    });
}

#[test]
fn p_24_processes_do_not_mind_that_their_zygote_is_killed() {
    isolated(|| {
        let (context, _) = context("");
        let begun = Event::new().unwrap();
        let before = context.process("sleeper").args((&begun,)).start().unwrap();
        begun.wait().unwrap();
        let zygotes = descendants(std::process::id(), "wasmp-zygote");
        zygotes.iter().for_each(Process::kill);
        assert!(!before.join_timeout(Duration::from_millis(20)));
        let after = context.process("nothing").start().unwrap();
        assert_eq!(ended(&after), 0);
        before.terminate();
        assert_eq!(ended(&before), -15);
    });
}

#[test]
fn a_process_that_is_killed_from_outside_is_seen_to_have_ended() {
    isolated(|| {
        let (context, _) = context("");
        let begun = Event::new().unwrap();
        let process = context.process("sleeper").args((&begun,)).start().unwrap();
        begun.wait().unwrap();
        Process::open(process.pid()).expect("it runs").kill();
        assert_eq!(ended(&process), -9);
    });
}

#[test]
fn a_copy_that_is_killed_while_it_is_made_is_not_waited_for() {
    isolated(|| {
        let (context, printed) = context("kill_copy");
        let main = context.main(empty()).unwrap();
        assert_eq!(printed.next(), "ready");
        let copy = eventually("the copy is being made", || {
            let workers = descendants(std::process::id(), "wasmp-worker");
            workers.into_iter().find(|worker| worker.pid() != main.pid())
        });
        copy.kill();
        assert_eq!(ended(&main), 0);
        assert_eq!(printed.next(), "kill_copy: done");
    });
}

#[test]
fn what_is_left_of_a_context_ends_with_its_last_handle() {
    isolated(|| {
        let (context, _) = context("");
        let begun = Event::new().unwrap();
        let process = context.process("sleeper").args((&begun,)).start().unwrap();
        begun.wait().unwrap();
        let running = Process::open(process.pid()).expect("it runs");
        drop(context);
        assert!(process.is_alive(), "somebody may still ask");
        drop(process);
        running.wait_until_gone();
    });
}

#[test]
fn x_01_a_process_has_no_descriptors_of_its_siblings() {
    isolated(|| {
        let (context, _) = context("");
        let count = |pid: u32| {
            fs::read_dir(format!("/proc/{pid}/fd"))
                .expect("its descriptors")
                .count()
        };
        let begun = Event::new().unwrap();
        let mut counts = Vec::new();
        let sleepers: Vec<_> = (0..20)
            .map(|_| {
                begun.clear();
                let process = context.process("sleeper").args((&begun,)).start().unwrap();
                begun.wait().unwrap();
                counts.push(count(process.pid()));
                process
            })
            .collect();
        assert!(counts.iter().all(|fds| *fds == counts[0]), "{counts:?}");
        context.kill();
        assert!(sleepers.iter().all(|process| ended(process) == -9));
    });
}

#[test]
fn p_17_processes_that_have_ended_leave_nothing_open() {
    isolated(|| {
        let (context, _) = context("");
        let run = || assert_eq!(ended(&context.process("nothing").start().unwrap()), 0);
        run();
        let most = own_fds().len() + FDS_OF_A_SPARE;
        for _ in 0..50 {
            run();
        }
        eventually("as many descriptors as before", || {
            (own_fds().len() <= most).then_some(())
        });
    });
}

/// A fork's copy of its parent, if it is being written at the moment, mapped as the parent has it.
fn hold_a_copy() -> Option<Mapping> {
    let fds = fs::read_dir("/proc/self/fd").expect("/proc/self/fd").flatten();
    let is_copy = |path: &PathBuf| fs::read_link(path).is_ok_and(|of| of.to_string_lossy().contains("wasmp-copy"));
    fds.map(|fd| fd.path()).filter(is_copy).find_map(|path| {
        let copy = File::options().read(true).write(true).open(path).ok()?;
        let len = usize::try_from(copy.metadata().ok()?.len()).ok()?;
        Mapping::of_host(copy.as_fd(), len).ok()
    })
}

#[test]
fn a_fork_has_all_of_its_parent_even_if_somebody_could_still_change_it() {
    isolated(|| {
        let (context, _) = context("");
        let done = Event::new().unwrap();
        let forks = context.process("fork_until").args((&done,)).start().unwrap();
        let held = loop {
            if let Some(held) = hold_a_copy() {
                break held;
            }
            assert!(forks.is_alive(), "{:?}", forks.exitcode());
        };
        done.set();
        assert_eq!(ended(&forks), 0);
        drop(held);
    });
}
