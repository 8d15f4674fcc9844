//! Processes that the host starts.

use std::io::empty;
use std::time::Duration;

use wasmp::{Context, DirGrant, Error, Event, Pool, Process, Queue, StartMethod, pipe, try_wait, wait};
use wasmp_tests::{descendants, eventually, isolated, own_fds, processes, tasks};

use crate::{context, ended};

/// What `introduce` says: its arguments; name, id, daemon; its parent.
type Introduction = ((i64, String, Vec<i64>), (String, u32, bool), Option<(String, u32)>);

#[test]
fn p_07_arguments_and_name_arrive_and_the_exit_code_comes_back() {
    isolated(|| {
        let (context, _) = context("");
        let queue = Queue::<Introduction>::new(0).unwrap();
        let process = context
            .process("introduce")
            .args((7, "seven", [1, 2], &queue))
            .name("First")
            .daemon(true)
            .start()
            .unwrap();
        let (arguments, me, parent) = queue.get().unwrap();
        assert_eq!(arguments, (7, "seven".to_owned(), vec![1, 2]));
        assert_eq!(me, ("First".to_owned(), process.pid(), true));
        assert_eq!(parent, Some(("MainProcess".to_owned(), std::process::id())));
        assert_eq!((ended(&process), process.is_alive()), (0, false));
        process.join();
        let named = |bytes: usize| context.process("nothing").name("x".repeat(bytes)).start();
        assert!(matches!(named(256), Err(Error::Invalid(why)) if why.contains("at most 255 bytes")));
        assert_eq!(named(255).unwrap().name().len(), 255);
        let other = context.process("nothing").start().unwrap();
        assert_eq!((other.name(), other.daemon(), ended(&other)), ("Process-3", false, 0));
    });
}

#[test]
fn p_01_a_process_knows_its_own_id() {
    isolated(|| {
        let (context, printed) = context("kill_main");
        let main = context.main(empty()).unwrap();
        printed.next();
        let running = wasmp_tests::Process::open(main.pid()).expect("it runs");
        assert_eq!((running.name(), main.name()), ("wasmp-worker", "MainProcess"));
        assert!(main.is_alive() && !main.daemon() && main.exitcode().is_none());
        main.kill();
    });
}

#[test]
fn p_03_arguments_are_a_tuple_or_a_list() {
    isolated(|| {
        let (context, printed) = context("");
        let ways = [
            context.process("end").args(("return",)),
            context.process("end").args(["return"]),
            context.process("end").args(vec!["return".to_owned()]),
        ];
        for way in ways {
            assert_eq!(ended(&way.start().unwrap()), 0);
            assert_eq!(printed.next(), "out of return");
        }
    });
}

#[test]
fn p_04_children_take_after_daemons() {
    isolated(|| {
        let (context, _) = context("");
        let reports = Queue::<(bool, bool)>::new(0).unwrap();
        for method in StartMethod::ALL {
            for daemon in [None, Some(true), Some(false)] {
                let process = context.process("report_daemon").args((&reports,)).start_method(method);
                let process = match daemon {
                    None => process,
                    Some(daemon) => process.daemon(daemon),
                };
                let process = process.start().unwrap();
                let is = daemon.unwrap_or(false);
                assert_eq!((process.daemon(), reports.get().unwrap()), (is, (is, is)), "{method:?}");
                assert_eq!(ended(&process), 0);
            }
        }
    });
}

#[test]
fn p_05_the_parent_is_this_process() {
    isolated(|| {
        let (context, _) = context("");
        let queue = Queue::<Introduction>::new(0).unwrap();
        for method in StartMethod::ALL {
            let process = context
                .process("introduce")
                .args((7, "", [1], &queue))
                .start_method(method);
            assert_eq!(ended(&process.start().unwrap()), 0);
            let (_, _, parent) = queue.get().unwrap();
            assert_eq!(parent, Some(("MainProcess".to_owned(), std::process::id())));
        }
    });
}

#[test]
fn p_08_the_one_thread_of_a_process_is_its_own() {
    isolated(|| {
        let (context, _) = context("");
        for method in StartMethod::ALL {
            let begun = Event::new().unwrap();
            let process = context.process("sleeper").args((&begun,)).start_method(method);
            let process = process.start().unwrap();
            begun.wait().unwrap();
            let threads = std::fs::read_dir(format!("/proc/{}/task", process.pid())).expect("its threads");
            let threads: Vec<String> = threads
                .map(|thread| thread.unwrap().file_name().into_string().unwrap())
                .collect();
            assert_eq!(threads, [process.pid().to_string()]);
            process.kill();
        }
    });
}

#[test]
fn p_19_nothing_is_kept_of_the_arguments_of_a_process_that_has_ended() {
    isolated(|| {
        let (context, _) = context("");
        let objects = || own_fds().iter().filter(|fd| fd.contains("wasmp-object")).count();
        assert_eq!(objects(), 0);
        for method in StartMethod::ALL {
            let queue = Queue::<Introduction>::new(0).unwrap();
            let process = context
                .process("introduce")
                .args((7, "", [1], &queue))
                .start_method(method);
            let process = process.start().unwrap();
            queue.get().unwrap();
            drop(queue);
            assert_eq!(ended(&process), 0);
            eventually("the queue is gone, though somebody may ask about the process", || {
                (objects() == 0).then_some(())
            });
            assert_eq!(process.exitcode(), Some(0));
        }
    });
}

#[test]
fn p_25_nobody_else_can_reach_what_starts_processes() {
    isolated(|| {
        let (context, _) = context("");
        let begun = Event::new().unwrap();
        let process = context.process("sleeper").args((&begun,)).start().unwrap();
        begun.wait().unwrap();
        let table = std::fs::read_to_string("/proc/net/unix").expect("the sockets of this system");
        let mut sockets = 0;
        for name in ["wasmp-keeper", "wasmp-zygote", "wasmp-spare", "wasmp-worker"] {
            for process in descendants(std::process::id(), name) {
                let Ok(fds) = std::fs::read_dir(format!("/proc/{}/fd", process.pid())) else {
                    continue;
                };
                for fd in fds {
                    let target = fd.and_then(|fd| std::fs::read_link(fd.path())).unwrap_or_default();
                    let target = target.to_string_lossy();
                    let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) else {
                        continue;
                    };
                    // Its flags say whether it listens; the number is the last unless it has a name.
                    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
                    let line = line
                        .into_iter()
                        .find(|line| line.get(6) == Some(&inode))
                        .expect("a Unix socket");
                    assert_eq!((line[3], line.len()), ("00000000", 7), "{name}: {line:?}");
                    sockets += 1;
                }
            }
        }
        assert!(sockets >= 3, "keeper, zygote and worker have one each");
        process.kill();
    });
}

/// A context that grants something, and bounds the memory.
fn rich_context(folder: &std::path::Path) -> Context {
    Pool::builder(processes())
        .env("COLOUR", "green")
        .max_memory(50 << 20)
        .dir(DirGrant::read_only(folder, "/granted"))
        .on_output(|_| ())
        .context()
        .expect("a context")
}

#[test]
fn x_03_and_x_06_settings_and_grants_are_inherited() {
    isolated(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("text"), "hello").expect("a file");
        let context = rich_context(folder.path());
        let answers = Queue::<String>::new(0).unwrap();
        for method in StartMethod::ALL {
            let process = context
                .process("say_surroundings")
                .args((true, &answers))
                .start_method(method);
            assert_eq!(ended(&process.start().unwrap()), 0);
            for _ in 0..3 {
                assert_eq!(answers.get().unwrap(), "green true hello", "{method:?}");
            }
        }
    });
}

#[test]
fn x_04_a_process_and_its_children_know_how_they_were_started() {
    isolated(|| {
        assert_eq!(StartMethod::ALL.map(StartMethod::name), ["forkserver", "spawn", "fork"]);
        assert_eq!(StartMethod::default(), StartMethod::ALL[0]);
        let (context, _) = context("");
        let methods = Queue::<String>::new(0).unwrap();
        for method in StartMethod::ALL {
            let process = context.process("say_method").args((1, &methods)).start_method(method);
            assert_eq!(ended(&process.start().unwrap()), 0);
            let said = [methods.get().unwrap(), methods.get().unwrap()];
            assert_eq!(said, [method.name(); 2]);
        }
    });
}

#[test]
fn p_12_a_process_is_terminated_or_killed() {
    isolated(|| {
        let (context, _) = context("");
        let ways = [(Process::terminate as fn(&Process), -15), (Process::kill, -9)];
        for (method, (end, code)) in StartMethod::ALL
            .into_iter()
            .flat_map(|method| ways.map(|way| (method, way)))
        {
            let begun = Event::new().unwrap();
            let process = context
                .process("sleeper")
                .args((&begun,))
                .start_method(method)
                .start()
                .unwrap();
            begun.wait().unwrap();
            assert!(process.is_alive());
            assert!(!process.join_timeout(Duration::from_millis(10)));
            end(&process);
            assert_eq!(ended(&process), code);
            assert!(format!("{process:?}").ends_with(&format!("stopped exitcode={code}>")));
        }
    });
}

#[test]
fn p_09_an_interrupt_ends_a_wait() {
    isolated(|| {
        let (context, _) = context("");
        let (begun, queue) = (Event::new().unwrap(), Queue::<i64>::new(0).unwrap());
        let process = context.process("waiter").args((&begun, &queue)).start().unwrap();
        begun.wait().unwrap();
        while !process.join_timeout(Duration::from_millis(10)) {
            process.interrupt();
        }
        assert_eq!(process.exitcode(), Some(1));
    });
}

#[test]
fn p_16_the_sentinel_is_waited_for_together_with_others() {
    isolated(|| {
        let (context, _) = context("");
        let (begun, queue) = (Event::new().unwrap(), Queue::<i64>::new(0).unwrap());
        let process = context.process("sleeper").args((&begun,)).start().unwrap();
        let sentinel = process.sentinel().unwrap();
        begun.wait().unwrap();
        assert!(try_wait(&[&sentinel, &queue]).unwrap().is_empty());
        process.kill();
        assert_eq!(wait(&[&queue, &sentinel]).unwrap(), [1]);
        assert_eq!(process.exitcode(), Some(-9), "who sees the end knows how");
        assert_eq!(wait(&[&process.sentinel().unwrap()]).unwrap(), [0]);
    });
}

#[test]
fn p_27_a_process_answers_over_a_pipe_until_that_is_closed() {
    isolated(|| {
        let (context, _) = context("");
        let (questions, answers) = pipe().unwrap();
        let process = context.process("square_server").args((&answers,)).start().unwrap();
        drop(answers);
        for number in [7_i64, -3] {
            questions.send(&Some(number)).unwrap();
            assert_eq!(questions.recv::<i64>().unwrap(), number * number);
        }
        drop(questions);
        assert_eq!(ended(&process), 0);
    });
}

#[test]
fn what_cannot_be_started_is_an_error() {
    isolated(|| {
        let (context, _) = context("");
        match context.process("no_such_task").start() {
            Err(Error::NoSuchTask { name, .. }) => assert_eq!(name, "no_such_task"),
            other => panic!("{other:?}"),
        }
        let wrong = context.process("introduce").args((1,)).start().unwrap();
        assert_eq!(ended(&wrong), 1);
        let module = r#"(module (func (export "square") (param i64) (result i64)
            (i64.mul (local.get 0) (local.get 0))))"#;
        let plain = Pool::builder(module.as_bytes().to_vec()).context().unwrap();
        assert!(matches!(plain.main(empty()), Err(Error::Invalid(_))));
        let process = plain.process("square").args((7,)).start().unwrap();
        assert_eq!(ended(&process), 0);
    });
}

#[test]
fn a_spawned_process_shares_no_addresses_with_its_siblings_and_leaves_nothing() {
    isolated(|| {
        let (context, _) = context("");
        let begun = Event::new().unwrap();
        let executable = |process: &Process| {
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.pid())).expect("its memory");
            maps.lines()
                .next()
                .expect("something is mapped")
                .split('-')
                .next()
                .expect("an address")
                .to_owned()
        };
        let keepers = || descendants(std::process::id(), "wasmp-keeper").len();
        let start = |method| {
            begun.clear();
            let process = context
                .process("sleeper")
                .args((&begun,))
                .start_method(method)
                .start()
                .unwrap();
            begun.wait().unwrap();
            process
        };
        let forked = [start(StartMethod::Forkserver), start(StartMethod::Forkserver)];
        assert_eq!(executable(&forked[0]), executable(&forked[1]));
        let before = keepers();
        let spawned = [
            start(StartMethod::Spawn),
            start(StartMethod::Spawn),
            start(StartMethod::Spawn),
        ];
        let mut places: Vec<String> = spawned.iter().map(executable).collect();
        places.dedup();
        assert!(places.len() > 1, "{places:?}");
        assert_eq!(keepers(), before + 3);
        context.kill();
        assert!(spawned.iter().all(|process| ended(process) == -9));
        eventually("the keepers of spawned processes end with them", || {
            (keepers() == before).then_some(())
        });
    });
}

#[test]
fn p_18_many_processes_at_a_time() {
    isolated(|| {
        let (context, _) = context("");
        let short: Vec<Process> = (0..100).map(|_| context.process("nothing").start().unwrap()).collect();
        assert!(short.iter().all(|process| ended(process) == 0));
        let begun = Event::new().unwrap();
        let sleepers: Vec<Process> = (0..100)
            .map(|_| context.process("sleeper").args((&begun,)).start().unwrap())
            .collect();
        sleepers.iter().for_each(Process::terminate);
        assert!(sleepers.iter().all(|process| ended(process) == -15));
    });
}

#[test]
fn pw_06_a_process_has_queues_and_a_pool() {
    isolated(|| {
        let (context, _) = context("");
        let squares = Queue::<i64>::new(0).unwrap();
        let process = context.process("square_in_pool").args((12, &squares)).start().unwrap();
        assert_eq!(squares.get().unwrap(), 144);
        assert_eq!(ended(&process), 0);
    });
}

#[test]
fn a_context_and_a_pool_of_the_same_module_do_not_disturb_each_other() {
    isolated(|| {
        let pool = Pool::builder(tasks()).processes(1).build().unwrap();
        let context = Pool::builder(tasks()).context().unwrap();
        let process = context.process("square").args((3,)).start().unwrap();
        assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        assert_eq!(ended(&process), 0);
    });
}
