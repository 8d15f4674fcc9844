//! What starts, ends: pools, their processes, and their hosts, in every order.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use wasmp::{DirGrant, Error, Pool};
use wasmp_tests::{FDS_OF_A_SPARE, Process, descendants, eventually, isolated, own_fds, tasks};

use crate::common::{Gate, builder, close, kill_the_begun, listen, one, pool, replace_by_spare, worker, workers};

/// Much longer than anything takes that happens at once, much shorter than forever.
const A_MOMENT: Duration = Duration::from_secs(2);

/// Another program that uses the library.
pub(crate) fn host(how: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    command
        .arg(tasks())
        .arg(how)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// A host whose two workers are busy, and all processes that it has started.
fn busy_host() -> (Child, Vec<Process>) {
    let mut host = host("busy").spawn().unwrap();
    let said = BufReader::new(host.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pids: Vec<u32> = said
        .take_while(|line| line != "ready")
        .map(|pid| pid.parse().unwrap())
        .collect();
    let processes = eventually("all of its processes go by their names", || {
        let processes: Vec<Process> = pids.iter().map(|pid| Process::open(*pid).unwrap()).collect();
        let mut names: Vec<&str> = processes.iter().map(Process::name).collect();
        names.sort_unstable();
        // It may be there already.
        names.retain(|name| *name != "wasmp-spare");
        (names == ["wasmp-keeper", "wasmp-worker", "wasmp-worker", "wasmp-zygote"]).then_some(processes)
    });
    (host, processes)
}

/// All of these come to their end, and at once.
#[track_caller]
pub(crate) fn assert_all_end(processes: &[Process]) {
    for process in processes {
        assert!(process.ends_within(A_MOMENT), "{} goes on", process.name());
    }
}

#[test]
fn no_process_outlives_a_host_that_is_killed() {
    isolated(|| {
        let (mut host, processes) = busy_host();
        host.kill().unwrap();
        host.wait().unwrap();
        assert_all_end(&processes);
    });
}

#[test]
fn no_worker_outlives_a_host_that_is_killed_after_its_zygote() {
    isolated(|| {
        let (mut host, processes) = busy_host();
        processes
            .iter()
            .find(|process| process.name() == "wasmp-zygote")
            .unwrap()
            .kill();
        host.kill().unwrap();
        host.wait().unwrap();
        assert_all_end(&processes);
    });
}

#[test]
fn no_worker_outlives_a_host_that_is_killed_while_its_keeper_is_stopped() {
    isolated(|| {
        let (mut host, processes) = busy_host();
        let (keepers, others): (Vec<_>, Vec<_>) = processes.into_iter().partition(|it| it.name() == "wasmp-keeper");
        assert!(keepers[0].signal(Signal::STOP));
        host.kill().unwrap();
        host.wait().unwrap();
        assert_all_end(&others);
        assert!(keepers[0].signal(Signal::CONT));
        assert_all_end(&keepers);
    });
}

#[test]
fn no_process_outlives_a_host_that_returns_with_busy_workers() {
    isolated(|| {
        let (mut host, processes) = busy_host();
        drop(host.stdin.take());
        assert!(host.wait().unwrap().success());
        assert_all_end(&processes);
    });
}

#[test]
fn pw_04_a_pool_that_is_left_at_exit_neither_hangs_nor_complains() {
    isolated(|| {
        let output = host("leave").stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "49\n");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    });
}

#[test]
fn pw_05_a_pool_that_cannot_be_made_leaves_nothing() {
    isolated(|| {
        for _ in 0..3 {
            let refused = builder(2).dir(DirGrant::read_only("/no/such/folder", "/data")).build();
            assert!(matches!(refused, Err(Error::Grant { .. })));
        }
        assert!(descendants(std::process::id(), "wasmp-worker").is_empty());
        assert_eq!(pool(1).apply::<_, i64>("square", (3,)).unwrap(), 9);
    });
}

#[test]
fn pw_05_a_pool_whose_last_workers_cannot_be_started_ends_the_first() {
    isolated(|| {
        // What stays for all pools, so that the limit is reached by workers alone.
        close(&pool(1));
        let limit = Some(own_fds().len() as u64 + 60);
        let limit = Rlimit {
            current: limit,
            maximum: limit,
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let pool = builder(200).on_output(|_| ()).build().unwrap();
        // Nothing gets done, which would give the missing ones another chance.
        let error = pool.starmap::<_, ()>("sleep", [(600_000,); 200]).unwrap_err();
        assert!(
            matches!(&error, Error::Broken(why) if why.contains("a worker cannot be started")),
            "{error:?}"
        );
        pool.join().unwrap();
        assert!(descendants(std::process::id(), "wasmp-worker").is_empty());
    });
}

#[test]
fn pl_25_a_pool_that_is_dropped_ends_its_busy_workers() {
    isolated(|| {
        let (builder, lines) = listen(builder(2));
        let pool = builder.build().unwrap();
        let _running = [(); 2].map(|()| pool.apply_async::<_, ()>("spin", ()).unwrap());
        lines.wait_for_begun();
        lines.wait_for_begun();
        let workers = workers(&pool);
        drop(pool);
        assert_all_end(&workers);
    });
}

#[test]
fn pools_come_and_go_without_a_trace() {
    isolated(|| {
        let one_life = |end: fn(&Pool)| {
            let pool = builder(2).on_output(|_| ()).build().unwrap();
            assert_eq!(pool.map::<_, i64>("square", 0..100).unwrap().len(), 100);
            let _pending = pool.apply_async::<_, ()>("sleep", (1,)).unwrap();
            end(&pool);
        };
        // The first starts what stays for the next: keeper, zygote, supervisor.
        one_life(close);
        let settled = || {
            let gone = descendants(std::process::id(), "wasmp-worker").is_empty();
            let mut fds = own_fds();
            fds.sort_unstable();
            gone.then_some(fds)
        };
        let before = eventually("the workers of the first pool are gone", settled);
        for _ in 0..5 {
            one_life(close);
            one_life(|pool| {
                pool.terminate();
                pool.join().unwrap();
            });
            one_life(|_| ());
        }
        eventually("no descriptor is left", || {
            (settled()?.len() <= before.len() + FDS_OF_A_SPARE).then_some(())
        });
        // Pools of one kind share it.
        one("wasmp-zygote");
    });
}

#[test]
fn replacements_leave_no_descriptors() {
    isolated(|| {
        let pool = pool(2);
        workers(&pool);
        let most = own_fds().len() + FDS_OF_A_SPARE;
        for _ in 0..20 {
            for worker in workers(&pool) {
                worker.kill();
            }
            // A pool whose workers die and never do anything gives up.
            assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        }
        workers(&pool);
        eventually("what belonged to the dead is closed", || {
            (own_fds().len() <= most).then_some(())
        });
    });
}

#[test]
fn killing_the_zygote_disturbs_no_running_task() {
    isolated(|| {
        let (builder, lines) = listen(builder(2));
        let (builder, gate) = Gate::before(builder);
        let pool = builder.build().unwrap();
        let running = pool.apply_async::<_, i64>("wait_for", ("/gate/open", 7)).unwrap();
        let slot = lines.wait_for_begun();
        let before: Vec<u32> = workers(&pool).iter().map(Process::pid).collect();
        one("wasmp-zygote").kill();
        // The other worker goes on working, too.
        assert_eq!(pool.map::<_, i64>("square", 0..100).unwrap().len(), 100);
        assert!(!running.ready());
        gate.open();
        assert_eq!(running.get().unwrap(), 7);
        assert_eq!(
            workers(&pool).iter().map(Process::pid).collect::<Vec<_>>(),
            before,
            "nobody was replaced"
        );
        // And there is a zygote again when one is needed.
        workers(&pool)[slot as usize - 1].kill();
        assert_eq!(pool.map::<_, i64>("square", 0..100).unwrap().len(), 100);
        assert!(workers(&pool).iter().any(|worker| !before.contains(&worker.pid())));
        one("wasmp-zygote");
    });
}

#[test]
fn a_worker_that_stands_by_is_the_next() {
    isolated(|| {
        let pool = pool(1);
        for _ in 0..3 {
            replace_by_spare(&pool);
            assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        }
    });
}

#[test]
fn a_worker_that_stands_by_and_is_killed_is_not_missed() {
    isolated(|| {
        let pool = pool(1);
        let (worker, spare) = (worker(&pool), one("wasmp-spare"));
        spare.kill();
        worker.kill();
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        // And there is another.
        one("wasmp-spare");
    });
}

#[test]
fn a_worker_that_stands_by_ends_with_its_zygote() {
    isolated(|| {
        let pool = pool(1);
        // Which may have been the one that stood by.
        worker(&pool);
        let spare = one("wasmp-spare");
        one("wasmp-zygote").kill();
        assert!(spare.ends_within(A_MOMENT));
    });
}

#[test]
fn a_worker_that_outlived_its_zygote_still_dies_with_a_cause() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        let result = pool.apply_async::<_, ()>("spin", ()).unwrap();
        let slot = lines.wait_for_begun();
        assert_eq!(slot, 1);
        let worker = worker(&pool);
        one("wasmp-zygote").kill();
        worker.kill();
        let error = crate::common::task_error(result.get());
        // Its status came by way of the keeper.
        assert_eq!((error.signal, error.pid), (Some(9), worker.pid()));
    });
}

#[test]
fn zygote_and_workers_die_together_and_the_pool_goes_on() {
    isolated(|| {
        let pool = pool(2);
        for _ in 0..3 {
            workers(&pool);
            for name in ["wasmp-zygote", "wasmp-worker"] {
                for process in descendants(std::process::id(), name) {
                    process.signal(Signal::KILL);
                }
            }
            let results: Vec<i64> = pool.task("square").retries(2).map(0..100).unwrap();
            assert_eq!(results, (0..100).map(|x| x * x).collect::<Vec<i64>>());
        }
    });
}

#[test]
fn rt_02_killing_the_keeper_ends_the_pool_with_one_clear_error() {
    isolated(|| {
        let (builder, lines) = listen(builder(2));
        let pool = builder.build().unwrap();
        let running = pool.apply_async::<_, ()>("spin", ()).unwrap();
        let waiting: Vec<_> = (0..10)
            .map(|_| pool.apply_async::<_, ()>("spin", ()).unwrap())
            .collect();
        lines.wait_for_begun();
        let workers = workers(&pool);
        one("wasmp-keeper").kill();
        let is_clear = |error: Error| {
            let said = error.to_string();
            assert!(matches!(error, Error::Broken(_)), "{error:?}");
            assert!(said.contains("keeper") && said.contains("SIGKILL"), "{said}");
        };
        is_clear(running.get().unwrap_err());
        for waiting in waiting {
            is_clear(waiting.get().unwrap_err());
        }
        is_clear(pool.apply::<_, i64>("square", (3,)).unwrap_err());
        pool.join().unwrap();
        assert_all_end(&workers);
        // The next pool has a keeper of its own.
        assert_eq!(crate::common::pool(1).apply::<_, i64>("square", (3,)).unwrap(), 9);
    });
}

#[test]
fn a_closed_pool_waits_for_a_worker_that_has_to_be_replaced() {
    isolated(|| {
        let (builder, lines) = listen(builder(1).retries(1));
        let (builder, gate) = Gate::before(builder);
        let pool = builder.build().unwrap();
        let result = pool.apply_async::<_, i64>("wait_for", ("/gate/open", 7)).unwrap();
        let slot = lines.wait_for_begun();
        let victim = workers(&pool).remove(slot as usize - 1);
        pool.close();
        victim.kill();
        lines.wait_for_begun();
        gate.open();
        pool.join().unwrap();
        assert_eq!(result.get_timeout(Duration::ZERO).unwrap(), 7);
    });
}

#[test]
fn terminate_while_a_worker_is_being_replaced_leaves_nothing() {
    isolated(|| {
        for _ in 0..20 {
            let (builder, lines) = listen(builder(1));
            let pool = builder.build().unwrap();
            let result = pool.apply_async::<_, ()>("spin", ()).unwrap();
            kill_the_begun(&pool, &lines);
            pool.terminate();
            assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
            result.get().unwrap_err();
        }
    });
}
