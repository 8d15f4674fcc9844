//! Types of a module's own that managers hold.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use wasmp::{
    Address, AsyncResult, Context, Dict, ErrorKind, Isolation, List, Manager, ManagerBuilder, ManagerError, Module,
    ModuleSource, Object, Pool, Queue, Stream,
};
use wasmp_tests::{Process, eventually, isolated, objects};

use crate::common::{asleep, builder, call, error, failure, kill, pool, start};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Of a manager with the types of `guests/objects`, to be set up.
fn with_types() -> ManagerBuilder<'static> {
    Manager::builder().module(objects())
}

fn manager() -> Manager {
    with_types().start().expect("a manager")
}

fn account(manager: &Manager) -> Object {
    manager.create("Account", ("Ada", 100)).expect("an account")
}

fn trouble(manager: &Manager) -> Object {
    manager.create("Trouble", ("",)).expect("trouble")
}

/// A context, and what is printed there. No call may print much.
fn printing() -> (Context, Receiver<(Stream, String)>) {
    let (sender, printed) = channel();
    let context = Pool::builder(objects())
        .max_output(1000)
        .on_output(move |output| {
            let line = String::from_utf8_lossy(output.line).into_owned();
            // A test that has heard enough drops its end.
            let _ = sender.send((output.stream, line));
        })
        .context()
        .expect("a context");
    (context, printed)
}

/// How a call has failed.
#[track_caller]
fn failed(result: Result<(), ManagerError>) -> wasmp::CallError {
    match result {
        Err(ManagerError::Call(error)) => *error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn mm_01_exposed_methods_are_called_and_no_others() {
    isolated(|| {
        let manager = manager();
        let account = account(&manager);
        assert_eq!(account.call::<_, u64>("deposit", (11,)), Ok(111));
        assert_eq!(account.call::<_, String>("owner", ()), Ok("Ada".into()));
        let exposed = [
            "book",
            "deposit",
            "owner",
            "replace_book",
            "signature",
            "slowly",
            "split",
            "withdraw",
        ];
        // Methods that are not public, functions that are none, other exports, and names that make no sense.
        for name in [
            "note",
            "empty",
            "most",
            "new",
            "wasmp_task_objects__lock_new",
            "memory",
            "",
            "\0",
        ] {
            let refused = account.call::<_, ()>(name, ()).unwrap_err();
            let exposed = exposed.map(String::from).into();
            assert_eq!(
                refused,
                ManagerError::NoSuchMethod {
                    name: name.into(),
                    exposed
                }
            );
        }
        let refused = manager.create("Accounts", ()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "no type `Accounts`: the manager's module has Account, Trouble"
        );
        assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(111));
        // One without a module has none.
        let none = Manager::new().unwrap().create("Account", ("Ada", 1)).unwrap_err();
        assert!(
            matches!(&none, ManagerError::NoSuchType { known, .. } if known.is_empty()),
            "{none}"
        );
    });
}

#[test]
fn mm_01_an_error_is_the_callers_and_the_object_is_as_before() {
    isolated(|| {
        let manager = manager();
        let account = account(&manager);
        let overdrawn = failed(account.call("withdraw", (1000,)));
        assert_eq!(
            (overdrawn.kind, overdrawn.message.as_str()),
            (ErrorKind::Error, "there is not so much")
        );
        assert_eq!(overdrawn.causes, ["some cents are missing"]);
        let misfit = failed(account.call("withdraw", ("a text",)));
        assert_eq!(misfit.kind, ErrorKind::Arguments);
        assert_eq!(
            misfit.message,
            "argument 1 (cents: u64): expected u64, got text \"a text\""
        );
        assert_eq!(failed(account.call("withdraw", (1, 2))).kind, ErrorKind::Arguments);
        assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(100));
        assert!(matches!(
            account.call::<_, u64>("owner", ()),
            Err(ManagerError::Decode(_))
        ));
        let refused = manager.create("Account", ("Eve", 1_000_001)).map(drop);
        assert_eq!(failed(refused).message, "1000001 are too many");
        let trouble = trouble(&manager);
        let unserializable = failed(trouble.call("unserializable", ()));
        assert_eq!(unserializable.kind, ErrorKind::Result);
        assert_eq!(trouble.call::<_, usize>("fine", ()), Ok(0));
        drop(trouble);
        assert_eq!(manager.usage().unwrap().objects, 1, "what was not made is not there");
    });
}

#[test]
fn a_proxy_has_the_methods_of_its_type() {
    isolated(|| {
        let manager = manager();
        let wrong: Vec<String> = call(&pool(1), "account_methods", (&manager,));
        assert_eq!(wrong, Vec::<String>::new());
    });
}

#[test]
fn workers_and_host_use_one_object_and_each_call_is_one_step() {
    isolated(|| {
        let manager = manager();
        let pool = pool(4);
        let account: Object = call(&pool, "account_new", (&manager, "Ada", 0));
        let workers = [(); 4].map(|()| start::<()>(&pool, "account_fill", (&account, 250)));
        for _ in 0..250 {
            account.call::<_, u64>("deposit", (1,)).unwrap();
        }
        for worker in workers {
            worker.get_timeout(PATIENCE).unwrap();
        }
        assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(1250));
    });
}

#[test]
fn a_task_makes_a_manager_for_the_types_of_its_module() {
    isolated(|| {
        let pool = pool(2);
        let (manager, account): (Manager, Object) = call(&pool, "account_of_own", ());
        assert_eq!(account.call::<_, u64>("deposit", (1,)), Ok(6));
        call::<()>(&pool, "account_fill", (&account, 10));
        assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(16));
        assert_eq!(manager.usage().unwrap().objects, 1);
    });
}

#[test]
fn a_manager_of_a_context_has_its_module() {
    isolated(|| {
        let context = Pool::builder(objects()).context().unwrap();
        let manager = context.manager().start().unwrap();
        assert_eq!(account(&manager).call::<_, u64>("deposit", (1,)), Ok(101));
    });
}

#[test]
fn g_23_an_object_in_a_dict_or_a_list_is_that_object() {
    isolated(|| {
        let manager = manager();
        let account = account(&manager);
        let accounts: Dict<String, Object> = manager.dict([("a".into(), account.clone())]).unwrap();
        let list: List<Object> = manager.list([account.clone()]).unwrap();
        let pool = pool(1);
        let there: Option<u64> = call(&pool, "account_nested", (&accounts, "a", 1));
        assert_eq!(there, Some(101));
        assert_eq!(list.get(0).unwrap().call::<_, u64>("deposit", (1,)), Ok(102));
        assert_eq!(account.call::<_, u64>("deposit", (1,)), Ok(103));
    });
}

#[test]
fn an_object_of_a_name_is_made_once() {
    isolated(|| {
        let manager = manager();
        let one = manager.named_object("cash", "Account", ("Ada", 1)).unwrap();
        let pool = pool(1);
        let other: Object = call(&pool, "account_named", (&manager, "cash"));
        assert_eq!(other.call::<_, u64>("deposit", (1,)), Ok(2));
        assert_eq!(one.call::<_, String>("owner", ()), Ok("Ada".into()));
        drop((one, other));
        let again = manager.named_object("cash", "Account", ("Eve", 7)).unwrap();
        assert_eq!(again.call::<_, u64>("deposit", (0,)), Ok(2));
        let others = [
            manager.named_object("cash", "Trouble", ("",)).map(drop),
            manager.named_dict::<String, u8>("cash").map(drop),
        ];
        assert_eq!(others, [const { Err(ManagerError::WrongType) }; 2]);
        manager.named_dict::<String, u8>("dict").unwrap();
        let other = manager.named_object("dict", "Account", ("Ada", 1)).map(drop);
        assert_eq!(other, Err(ManagerError::WrongType));
        // One that cannot be made does not take the name.
        failed(manager.named_object("new", "Account", ("Eve", 1_000_001)).map(drop));
        manager.named_object("new", "Account", ("Eve", 1)).unwrap();
    });
}

#[test]
fn whatever_a_method_does_wrong_spoils_its_object_and_nothing_else() {
    isolated(|| {
        let manager = with_types().max_bytes(64 << 20).start().unwrap();
        let good = account(&manager);
        let before = manager.usage().unwrap().bytes;
        let cases: [(&str, Option<i64>, ErrorKind, &str); 6] = [
            ("panic", None, ErrorKind::Panic, "told to panic ("),
            ("trap", None, ErrorKind::Panic, "attempt to divide by zero"),
            ("unreachable", None, ErrorKind::Trap, "unreachable"),
            ("exit", Some(3), ErrorKind::Exit, "the guest ended with exit code 3"),
            ("overflow", Some(100_000_000), ErrorKind::Trap, "call stack exhausted"),
            ("keep_all", None, ErrorKind::MemoryLimit, "needed "),
        ];
        for (method, argument, kind, words) in cases {
            let trouble = trouble(&manager);
            let result = match argument {
                Some(argument) => trouble.call(method, (argument,)),
                None => trouble.call(method, ()),
            };
            let error = failed(result);
            assert_eq!(error.kind, kind, "{method}: {error}");
            assert!(error.message.contains(words), "{method}: {error}");
            assert_eq!(error.exit_code, (method == "exit").then_some(3));
            if kind != ErrorKind::Exit {
                let backtrace = error.backtrace.unwrap_or_default();
                assert!(backtrace.contains(method), "{method}: {backtrace}");
            }
            for _ in 0..2 {
                match trouble.call::<_, usize>("fine", ()) {
                    Err(ManagerError::Spoiled(how)) => assert_eq!((how.kind, how.backtrace), (kind, None)),
                    other => panic!("{method}: {other:?}"),
                }
            }
            assert_eq!(good.call::<_, u64>("deposit", (1,)).map(drop), Ok(()), "{method}");
            drop(trouble);
        }
        let after = manager.usage().unwrap();
        assert_eq!(after.objects, 1);
        assert!(after.bytes <= before + (1 << 20), "{before}: {after:?}");
        let never = failed(manager.create("Trouble", ("panic",)).map(drop));
        assert_eq!(never.kind, ErrorKind::Panic);
        assert_eq!(manager.usage().unwrap().objects, 1);
        // A task is told the same.
        let (first, then): (String, String) = call(&pool(1), "trouble", (&manager, "panic"));
        assert!(first.starts_with("panic: told to panic ("), "{first}");
        assert!(
            then.starts_with("the object was spoiled by an earlier call: panic: told"),
            "{then}"
        );
    });
}

/// A call that takes longer than it may, while others use the manager, too.
fn overrun(call: impl FnOnce(&Object) -> Result<(), ManagerError>) {
    let manager = with_types().call_timeout(Duration::from_millis(300)).start().unwrap();
    let (account, trouble) = (account(&manager), trouble(&manager));
    let dict: Dict<String, i64> = manager.dict([]).unwrap();
    // One that takes shorter is not cut off, nor any that comes after the time of an earlier one.
    account.call::<_, ()>("slowly", (200,)).unwrap();
    account.call::<_, ()>("slowly", (200,)).unwrap();
    let pool = pool(1);
    assert_eq!(
        crate::common::call::<Option<i64>>(&pool, "dict_get", (&dict, "never")),
        None
    );
    let waiting = start::<(bool, Option<i64>)>(&pool, "dict_wait", (&dict, "never", None::<i64>, None::<u64>));
    asleep(&pool);
    assert_eq!(call(&trouble), Err(ManagerError::Gone));
    let error = waiting.get_timeout(PATIENCE).unwrap_err().to_string();
    assert!(error.contains("the manager has ended"), "{error}");
    assert_eq!(account.call::<_, u64>("deposit", (1,)), Err(ManagerError::Gone));
    let process = manager.process().unwrap();
    process.join();
    assert_eq!(process.exitcode(), Some(-14));
}

#[test]
fn a_method_that_never_returns_is_the_end_of_the_manager_for_everybody() {
    isolated(|| overrun(|trouble| trouble.call("forever", ())));
}

#[test]
fn a_method_that_sleeps_too_long_is_so_too() {
    isolated(|| overrun(|trouble| trouble.call("sleep", (100_000,))));
}

#[test]
fn a_constructor_that_never_ends_does_not_either() {
    isolated(|| {
        let manager = with_types().call_timeout(Duration::from_millis(100)).start().unwrap();
        assert_eq!(manager.create("Trouble", ("loop",)).map(drop), Err(ManagerError::Gone));
    });
}

#[test]
fn a_task_says_how_long_the_methods_in_its_manager_may_take() {
    isolated(|| {
        let pool = pool(1);
        let (gone, cents): (String, u64) = call(&pool, "trouble_in_time", (300, 100));
        assert!(gone.contains("the manager has ended"), "{gone}");
        assert_eq!(cents, 6);
        let ended = error(&pool, "trouble_in_time", (100, 100_000));
        assert!(ended.contains("the manager has ended"), "{ended}");
    });
}

#[test]
fn a_result_is_no_longer_than_a_message_may_be() {
    isolated(|| {
        let manager = manager();
        let trouble = trouble(&manager);
        let huge: Result<serde_bytes::ByteBuf, _> = trouble.call("huge", (70 << 20,));
        assert_eq!(huge, Err(ManagerError::TooLarge));
        let large: serde_bytes::ByteBuf = trouble.call("huge", (60 << 20,)).unwrap();
        assert_eq!(large.len(), 60 << 20);
        assert_eq!(trouble.call::<_, usize>("fine", ()), Ok(0));
    });
}

#[test]
fn objects_count_against_what_a_manager_may_hold() {
    isolated(|| {
        let manager = with_types().max_bytes(16 << 20).start().unwrap();
        let empty = manager.usage().unwrap().bytes;
        let mut accounts = Vec::new();
        let full = loop {
            match manager.create("Account", ("Ada", 1)) {
                Ok(account) => accounts.push(account),
                Err(error) => break error,
            }
        };
        assert_eq!(full, ManagerError::Full);
        assert!((5..=15).contains(&accounts.len()), "{}", accounts.len());
        let usage = manager.usage().unwrap();
        assert!(
            usage.bytes <= usage.max_bytes && usage.objects == accounts.len() as u64,
            "{usage:?}"
        );
        // All are as they were.
        for account in &accounts {
            assert_eq!(account.call::<_, u64>("deposit", (1,)), Ok(2));
        }
        drop(accounts);
        assert_eq!(manager.usage().unwrap().bytes, empty);
        // What a method keeps counts, too, also for others.
        let trouble = trouble(&manager);
        let before = manager.usage().unwrap().bytes;
        trouble.call::<_, usize>("keep", (10 << 20,)).unwrap();
        assert!(manager.usage().unwrap().bytes >= before + (10 << 20));
        let list: List<serde_bytes::ByteBuf> = manager.list([]).unwrap();
        assert_eq!(
            list.push(&serde_bytes::ByteBuf::from(vec![0; 8 << 20])),
            Err(ManagerError::Full)
        );
        let more = failed(trouble.call("keep", (10 << 20,)));
        assert_eq!(more.kind, ErrorKind::MemoryLimit);
        list.push(&serde_bytes::ByteBuf::from(vec![0; 8 << 20])).unwrap();
    });
}

#[test]
fn a_method_makes_an_object_whose_proxy_its_caller_gets() {
    isolated(|| {
        let elsewhere = manager();
        let server = elsewhere.listen(&"127.0.0.1:0".parse().unwrap(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        for manager in [manager(), there] {
            let account = account(&manager);
            let split: Object = account.call("split", ("Eve", 30)).unwrap();
            assert_eq!(split.call::<_, String>("owner", ()), Ok("Eve".into()));
            assert_eq!(split.call::<_, u64>("deposit", (1,)), Ok(31));
            assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(70));
            // What was made can make more, and goes as any other.
            let again: Object = split.call("split", ("Bob", 31)).unwrap();
            assert_eq!(manager.usage().unwrap().objects, 3);
            drop(split);
            assert_eq!(again.call::<_, u64>("deposit", (0,)), Ok(31));
            assert_eq!(manager.usage().unwrap().objects, 2);
            let accounts: Dict<String, Object> = manager.dict([("bob".into(), again)]).unwrap();
            let there: Option<u64> = call(&pool(1), "account_nested", (&accounts, "bob", 1));
            assert_eq!(there, Some(32));
            let overdrawn = failed(account.call("split", ("Eve", 1000)));
            assert_eq!(overdrawn.message, "there is not so much");
            // Of another type.
            let other: Object = trouble(&manager).call("account", (7,)).unwrap();
            assert_eq!(other.call::<_, u64>("deposit", (0,)), Ok(7));
            // Who does not take it for what it is has none.
            let odd: Result<u64, _> = account.call("split", ("Eve", 1));
            assert!(matches!(odd, Err(ManagerError::Decode(_))), "{odd:?}");
        }
    });
}

#[test]
fn an_object_that_a_method_cannot_make_is_an_error_for_the_caller() {
    isolated(|| {
        let manager = with_types().call_timeout(Duration::from_millis(500)).start().unwrap();
        let trouble = trouble(&manager);
        let refused = failed(trouble.call::<_, Object>("account", (1_000_001,)).map(drop));
        assert_eq!(
            (refused.kind, refused.message.as_str()),
            (ErrorKind::Error, "1000001 are too many")
        );
        let never = failed(trouble.call::<_, Object>("another", ("panic",)).map(drop));
        assert_eq!(never.kind, ErrorKind::Panic);
        assert_eq!(manager.usage().unwrap().objects, 1);
        // The method was called, and is fine.
        assert_eq!(trouble.call::<_, usize>("fine", ()), Ok(1));
        let endless = trouble.call::<_, Object>("another", ("loop",)).map(drop);
        assert_eq!(endless, Err(ManagerError::Gone));
    });
}

#[test]
fn what_methods_make_counts_and_each_is_called_once() {
    isolated(|| {
        let manager = with_types().max_bytes(16 << 20).start().unwrap();
        let account = account(&manager);
        let mut made = Vec::new();
        let full = loop {
            match account.call::<_, Object>("split", ("Eve", 1)) {
                Ok(split) => made.push(split),
                Err(error) => break error,
            }
        };
        assert_eq!(full, ManagerError::Full);
        assert!((4..=15).contains(&made.len()), "{}", made.len());
        // The last cent was taken, too.
        let left = 100 - made.len() as u64 - 1;
        assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(left));
        made.clear();
        assert_eq!(manager.usage().unwrap().objects, 1);
        assert!(account.call::<_, Object>("split", ("Eve", 1)).is_ok());
    });
}

#[test]
fn what_was_made_for_somebody_who_is_killed_goes_with_them() {
    isolated(|| {
        let manager = manager();
        let account = account(&manager);
        let pool = pool(1);
        let lock = wasmp::Lock::new().unwrap();
        let running = start::<()>(&pool, "account_split_and_wait", (&account, &lock));
        eventually("it has one", || lock.try_lock().unwrap().is_none().then_some(()));
        assert_eq!(manager.usage().unwrap().objects, 2);
        kill(pool.worker_pids()[0]);
        assert!(running.get_timeout(PATIENCE).is_err());
        eventually("it is gone", || (manager.usage().unwrap().objects == 1).then_some(()));
        assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(99));
    });
}

#[test]
fn the_code_of_a_type_reaches_nothing_but_its_object() {
    isolated(|| {
        let lock = wasmp::Lock::new().unwrap();
        let context = Pool::builder(objects()).share("lock", &lock).context().unwrap();
        for manager in [manager(), context.manager().start().unwrap()] {
            let trouble = trouble(&manager);
            assert_eq!(trouble.call::<_, Vec<String>>("reach", ()), Ok(Vec::new()));
            let queue = Queue::<i64>::new(0).unwrap();
            assert_eq!(failed(trouble.call("given", (&queue,))).kind, ErrorKind::Arguments);
            assert_eq!(trouble.call::<_, usize>("fine", ()), Ok(0));
        }
    });
}

#[test]
fn what_a_method_prints_goes_where_the_tasks_of_its_pool_print() {
    isolated(|| {
        let (context, printed) = printing();
        let manager = context.manager().start().unwrap();
        account(&manager).call::<_, ()>("slowly", (0,)).unwrap();
        let (stream, line) = printed.recv_timeout(PATIENCE).unwrap();
        assert_eq!((stream, line.trim_end()), (Stream::Stdout, "Ada takes some time"));
        let chatty = manager.create("Account", ("x".repeat(2000), 1)).unwrap();
        assert_eq!(failed(chatty.call("slowly", (0,))).kind, ErrorKind::OutputLimit);
    });
}

#[test]
fn interrupts_are_for_those_who_use_a_manager() {
    isolated(|| {
        let manager = manager();
        let trouble = trouble(&manager);
        let process = Process::open(manager.process().unwrap().pid()).unwrap();
        thread::scope(|scope| {
            let sleeping = scope.spawn(|| trouble.call::<_, ()>("sleep", (300,)));
            eventually("it sleeps", || process.status("State").starts_with('S').then_some(()));
            manager.process().unwrap().interrupt();
            assert_eq!(sleeping.join().unwrap(), Ok(()));
        });
        assert_eq!(trouble.call::<_, usize>("fine", ()), Ok(0));
    });
}

#[test]
fn a_call_is_done_though_its_caller_is_killed() {
    isolated(|| {
        let (context, printed) = printing();
        let manager = context.manager().start().unwrap();
        let account = account(&manager);
        let pool = pool(1);
        call::<()>(&pool, "account_fill", (&account, 1));
        let running = start::<()>(&pool, "account_slowly", (&account, 300));
        printed.recv_timeout(PATIENCE).expect("the call is served");
        kill(pool.worker_pids()[0]);
        assert!(running.get_timeout(PATIENCE).is_err());
        // It was put in once, and the other cent by the call that nobody waited for.
        assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(102));
    });
}

#[test]
fn managers_elsewhere_hold_types_for_hosts_and_guests() {
    isolated(|| {
        let manager = manager();
        let anywhere: Address = "127.0.0.1:0".parse().unwrap();
        let server = manager.listen(&anywhere, b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let account = there.named_object("cash", "Account", ("Ada", 100)).unwrap();
        let pool = pool(2);
        let wrong: Vec<String> = call(&pool, "account_methods", (&there,));
        assert_eq!(wrong, Vec::<String>::new());
        let workers: Vec<AsyncResult<()>> = (0..2).map(|_| start(&pool, "account_fill", (&account, 100))).collect();
        let here = manager.named_object("cash", "Account", ("Eve", 0)).unwrap();
        for _ in 0..100 {
            here.call::<_, u64>("deposit", (1,)).unwrap();
        }
        for worker in workers {
            worker.get_timeout(PATIENCE).unwrap();
        }
        assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(400));
        let trouble = there.create("Trouble", ("",)).unwrap();
        let error = failed(trouble.call("panic", ()));
        assert!(error.backtrace.is_some_and(|backtrace| backtrace.contains("panic")));
        assert!(matches!(
            trouble.call::<_, ()>("fine", ()),
            Err(ManagerError::Spoiled(_))
        ));
        let queue = Queue::<i64>::new(0).unwrap();
        let not_there = account.call::<_, ()>("deposit", (&queue,));
        assert!(matches!(not_there, Err(ManagerError::Encode(_))), "{not_there:?}");
    });
}

#[test]
fn guests_that_can_be_stopped_have_types_and_so_have_those_that_do_not_last_but_for_what_was_compiled_before() {
    isolated(|| {
        let pool = builder(1).soft_timeout(Duration::from_millis(500)).build().unwrap();
        let (_manager, account): (Manager, Object) = call(&pool, "account_of_own", ());
        // Longer than a task may take, which is no task.
        account.call::<_, ()>("slowly", (1000,)).unwrap();
        assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(6));

        let pool = builder(1).isolation(Isolation::Task).build().unwrap();
        let (_manager, account): (Manager, Object) = call(&pool, "account_of_own", ());
        assert_eq!(account.call::<_, u64>("deposit", (0,)), Ok(5));

        let compiled = tempfile::NamedTempFile::new().unwrap();
        let module = Module::load(objects()).unwrap();
        module.compile_to(&mut compiled.as_file()).unwrap();
        let compiled = ModuleSource::from(compiled.path()).allow_precompiled(true);
        let pool = Pool::builder(compiled).processes(1).isolation(Isolation::Task);
        let why = error(&pool.build().unwrap(), "account_of_own", ());
        assert!(why.contains("made afresh for each task"), "{why}");
    });
}

#[test]
fn a_handle_to_an_object_is_none_to_a_dictionary() {
    isolated(|| {
        let manager = manager();
        let account = account(&manager);
        let pool = pool(1);
        assert_eq!(
            error(&pool, "dict_get", (&account, "a")),
            "the managed object is of another type"
        );
        let dict: Dict<String, i64> = manager.dict([]).unwrap();
        assert_eq!(
            error(&pool, "account_fill", (&dict, 1)),
            "the managed object is of another type"
        );
        let lock = wasmp::Lock::new().unwrap();
        assert_eq!(failure(&pool, "account_fill", (&lock, 1)).kind, ErrorKind::Arguments);
    });
}

/// A module with a type `T`, whose methods are these exports, written by hand.
fn by_hand(body: &str, methods: &[&str]) -> Vec<u8> {
    let text = |text: &str| [&[0x60 + text.len() as u8], text.as_bytes()].concat();
    let method = |name: &&str| {
        [
            vec![0xa3],
            text("type"),
            text("T"),
            text("name"),
            text(name),
            text("export"),
            text(name),
        ]
        .concat()
    };
    let section: String = methods
        .iter()
        .flat_map(method)
        .map(|byte| format!("\\{byte:02x}"))
        .collect();
    format!(
        r#"(module
            (import "wasmp_v1" "task_next" (func $next (param i32 i32) (result i64)))
            (import "wasmp_v1" "task_return" (func $return (param i32 i32)))
            (import "wasmp_v1" "task_fail" (func $fail (param i32 i32 i32)))
            (import "wasmp_v1" "object_close" (func $close (param i32)))
            (import "wasmp_v1" "lock_new" (func $lock (param i32) (result i32)))
            (import "wasmp_v1" "queue_length" (func $length (param i32) (result i64)))
            (memory (export "memory") 1) (data (i32.const 0) "\f6")
            (func $good (drop (call $next (i32.const 8) (i32.const 1000))) (call $return (i32.const 0) (i32.const 1)))
            (func (export "new") (call $good))
            (func (export "good") (call $good))
            {body}
            (@custom "wasmp.types" "{section}"))"#
    )
    .into_bytes()
}

#[test]
fn an_instance_that_breaks_the_rules_is_spoiled() {
    isolated(|| {
        let body = r#"
            (func (export "nothing"))
            (func (export "twice") (call $good) (call $good))
            (func (export "outside") (call $return (i32.const 65535) (i32.const 2)))
            (func (export "far") (drop (call $next (i32.const -1) (i32.const -1))))
            (func (export "odd") (call $fail (i32.const 99) (i32.const 0) (i32.const 1)))
            (func (export "late") (call $good) (unreachable))
            (func (export "refused") (call $close (i32.const 7))
                (if (i32.ne (call $lock (i32.const 0)) (i32.const -10)) (then (unreachable)))
                (if (i64.ne (call $length (i32.const 0)) (i64.const -10)) (then (unreachable)))
                (call $good))
            (func (export "garbage") (call $return (i32.const 100) (i32.const 3)))"#;
        let bad = ["nothing", "twice", "outside", "far", "odd", "late"];
        let methods = [&["new", "good", "refused", "garbage"][..], &bad].concat();
        let manager = Manager::builder().module(by_hand(body, &methods)).start().unwrap();
        for method in bad {
            let object = manager.create("T", ()).unwrap();
            assert_eq!(object.call::<_, ()>("good", ()), Ok(()));
            let error = failed(object.call(method, ()));
            assert!(
                matches!(error.kind, ErrorKind::Trap | ErrorKind::NoResult),
                "{method}: {error}"
            );
            assert!(
                matches!(object.call::<_, ()>("good", ()), Err(ManagerError::Spoiled(_))),
                "{method}"
            );
        }
        let object = manager.create("T", ()).unwrap();
        assert_eq!(object.call::<_, ()>("refused", ()), Ok(()));
        assert!(matches!(
            object.call::<_, String>("garbage", ()),
            Err(ManagerError::Decode(_))
        ));
        assert_eq!(object.call::<_, ()>("good", ()), Ok(()));
    });
}

#[test]
fn a_module_that_cannot_be_instantiated_makes_no_objects() {
    isolated(|| {
        let start = r#"(func $trap (unreachable)) (start $trap)"#;
        let manager = Manager::builder().module(by_hand(start, &["new"])).start().unwrap();
        let error = failed(manager.create("T", ()).map(drop));
        assert_eq!(error.kind, ErrorKind::Instantiate);
        let large = r#"(table 10000000 funcref)"#;
        let manager = Manager::builder().module(by_hand(large, &["new"])).max_bytes(32 << 20);
        assert_eq!(
            manager.start().unwrap().create("T", ()).map(drop),
            Err(ManagerError::Full)
        );
    });
}
