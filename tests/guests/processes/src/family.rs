//! Parents, children, grandchildren.

use wasmp_guest::{
    Event, Pool, Process, ProcessError, Queue, Result, StartMethod, current_process, get_all_start_methods,
    get_context, get_start_method, parent_process, set_start_method, task,
};

use super::{LONG, nothing, sleeper};

pub(super) fn run(scenario: &str) -> Result<bool> {
    match scenario {
        "p_04_daemon" => daemon(),
        "p_05_parent" => parent(),
        "children_are_waited_for" => waited_for(),
        "daemons_are_terminated" => terminated(),
        "orphans" => orphans(),
        "names" => names(),
        "many_ask" => many_ask(),
        "pw_06_pools_and_processes" => pools(),
        "pw_07_no_end_of_processes" => endless(),
        "pool_is_typed" => typed(),
        "x_04_pools" => pool_methods(),
        "x_04_start_methods" => start_methods(),
        _ => return Ok(false),
    }?;
    Ok(true)
}

/// Says whether it is a daemon, and whether its child is.
#[task]
fn report_daemon(queue: Queue<(bool, bool)>) -> Result<()> {
    let child = Process::new(nothing).start()?;
    child.join()?;
    queue.put((current_process()?.daemon(), child.daemon()))?;
    Ok(())
}

fn daemon() -> Result<()> {
    let queue = Queue::<(bool, bool)>::new(0)?;
    for (given, is) in [(None, false), (Some(true), true), (Some(false), false)] {
        let process = Process::new(report_daemon).args((&queue,));
        let process = match given {
            None => process,
            Some(daemon) => process.daemon(daemon),
        }
        .start()?;
        assert_eq!(process.daemon(), is);
        assert_eq!(queue.get()?, (is, is), "the child takes after it");
        process.join()?;
    }
    Ok(())
}

/// Watches its parent come to its end.
#[task]
fn watch_parent(go: Event, queue: Queue<String>) -> Result<()> {
    let parent = parent_process()?.expect("it was started by somebody");
    queue.put(format!("{} {}", parent.name(), parent.is_alive()?))?;
    go.set()?;
    assert!(parent.join_timeout(LONG)?);
    queue.put(format!("alive: {}", parent.is_alive()?))?;
    Ok(())
}

/// Starts [`watch_parent`], and is killed.
#[task]
fn die_watched(queue: Queue<String>) -> Result<()> {
    let go = Event::new()?;
    Process::new(watch_parent).args((&go, &queue)).start()?;
    go.wait()?;
    queue.put("dying".to_owned())?;
    Event::new()?.wait()?;
    Ok(())
}

fn parent() -> Result<()> {
    let queue = Queue::<String>::new(0)?;
    let process = Process::new(die_watched).args((&queue,)).name("Parent").start()?;
    assert_eq!((queue.get()?, queue.get()?), ("Parent true".into(), "dying".into()));
    process.kill();
    assert_eq!(queue.get()?, "alive: false");
    Ok(())
}

/// Waits, and says so.
#[task]
fn say_later(text: &str, go: Event) -> Result<()> {
    go.wait()?;
    println!("{text}");
    Ok(())
}

/// Starts somebody and does not wait.
#[task]
fn leave_behind(go: Event) -> Result<()> {
    Process::new(say_later).args(("said by a grandchild", &go)).start()?;
    println!("a child is at its end");
    Ok(())
}

fn waited_for() -> Result<()> {
    let go = Event::new()?;
    let process = Process::new(leave_behind).args((&go,)).start()?;
    assert!(
        !process.join_timeout(std::time::Duration::from_millis(50))?,
        "it waits for its child"
    );
    Process::new(say_later).args(("said by a child", &go)).start()?;
    go.set()?;
    println!("the program is at its end");
    Ok(())
}

fn terminated() -> Result<()> {
    let begun = Event::new()?;
    Process::new(sleeper).args((&begun,)).daemon(true).start()?;
    begun.wait()?;
    Ok(())
}

/// Starts one that goes on and one that ends with it, says which, and waits to be killed.
#[task]
fn two_kinds(pids: Queue<u32>, done: Queue<String>) -> Result<()> {
    let begun = Event::new()?;
    let go = Event::new()?;
    let stays = Process::new(finish_alone).args((&begun, &go, &done)).start()?;
    let goes = Process::new(sleeper).args((&begun,)).daemon(true).start()?;
    begun.wait()?;
    go.set()?;
    pids.put(stays.pid())?;
    pids.put(goes.pid())?;
    Event::new()?.wait()?;
    Ok(())
}

/// Waits for its parent to be gone, and says so.
#[task]
fn finish_alone(begun: Event, go: Event, done: Queue<String>) -> Result<()> {
    begun.set()?;
    go.wait()?;
    parent_process()?.expect("it has one").join()?;
    done.put("alone".to_owned())?;
    sleeper(begun)
}

fn orphans() -> Result<()> {
    let (pids, done) = (Queue::<u32>::new(0)?, Queue::<String>::new(0)?);
    let process = Process::new(two_kinds).args((&pids, &done)).start()?;
    println!("{} {}", pids.get()?, pids.get()?);
    process.kill();
    process.join()?;
    assert_eq!(done.get()?, "alone");
    Ok(())
}

/// Says what it is called, and has a child say so.
#[task]
fn say_name(depth: u32, names: Queue<String>) -> Result<()> {
    names.put(current_process()?.name().to_owned())?;
    if depth > 0 {
        Process::new(say_name).args((depth - 1, &names)).start()?.join()?;
    }
    Ok(())
}

fn names() -> Result<()> {
    let names = Queue::<String>::new(0)?;
    for _ in 0..2 {
        Process::new(say_name).args((2, &names)).start()?.join()?;
    }
    let mut said = Vec::new();
    for _ in 0..6 {
        said.push(names.get()?);
    }
    assert_eq!(
        said,
        [
            "Process-1",
            "Process-1:1",
            "Process-1:1:1",
            "Process-2",
            "Process-2:1",
            "Process-2:1:1"
        ]
    );
    Ok(())
}

/// A worker of a pool may start processes, and a process may have a pool.
#[task]
fn square_apart(number: i64) -> Result<i64> {
    let squares = Queue::<i64>::new(0)?;
    let process = Process::new(square_into).args((number, &squares)).start()?;
    let square = squares.get()?;
    process.join()?;
    Ok(square)
}

#[task]
fn square_into(number: i64, squares: Queue<i64>) -> Result<()> {
    squares.put(number * number)?;
    Ok(())
}

#[task]
fn square_in_pool(number: i64, squares: Queue<i64>) -> Result<()> {
    let square: i64 = Pool::new(1)?.apply(square_apart, (number,))?;
    squares.put(square)?;
    Ok(())
}

fn pools() -> Result<()> {
    // What is printed before is not printed once more by whoever is a copy of this.
    print!("pools, ");
    let pool = Pool::new(2)?;
    let squares: Vec<i64> = pool.map(square_apart, 0..20)?;
    assert_eq!(squares, (0..20).map(|x| x * x).collect::<Vec<i64>>());
    let results = Queue::<i64>::new(0)?;
    let process = Process::new(square_in_pool).args((12, &results)).start()?;
    assert_eq!(results.get()?, 144);
    process.join()?;
    assert_eq!(process.exitcode(), Some(0));
    Ok(())
}

/// Starts one like itself, and waits for it.
#[task]
fn breed(limit: Queue<String>) -> Result<()> {
    match Process::new(breed).args((&limit,)).start() {
        Ok(process) => process.join()?,
        Err(ProcessError::Limit) => limit.put("limit".to_owned())?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn endless() -> Result<()> {
    let limit = Queue::<String>::new(0)?;
    Process::new(breed).args((&limit,)).start()?.join()?;
    assert_eq!(limit.get()?, "limit");
    // They have given back what they took.
    Process::new(nothing).start()?.join()?;
    Ok(())
}

#[task]
fn shout(text: &str) -> String {
    text.to_uppercase()
}

#[task]
fn join_words(left: String, right: &str, times: usize) -> String {
    format!("{left}{right}").repeat(times)
}

fn typed() -> Result<()> {
    let pool = Pool::new(2)?;
    assert_eq!(pool.map(shout, ["a", "b"])?, ["A", "B"]);
    assert_eq!(pool.map(shout, ["c".to_owned()])?, ["C"]);
    assert_eq!(pool.apply(join_words, ("a", "b".to_owned(), 2))?, "abab");
    assert_eq!(
        pool.starmap(join_words, [("a", "b", 1), ("c", "d", 2)])?,
        ["ab", "cdcd"]
    );
    let shouted: Vec<String> = pool.imap(shout, ["x", "y"])?.collect::<Result<_, _>>()?;
    assert_eq!(shouted, ["X", "Y"]);
    let why = pool.map(|x: i64| x, [1]).unwrap_err().to_string();
    assert!(
        why.contains("a closure cannot be a task: make it a function with #[task]"),
        "{why}"
    );
    Ok(())
}

/// Says how it was started, and passes a queue on to a child that says so, too.
#[task]
fn say_method(depth: u32, methods: Queue<String>) -> Result<()> {
    methods.put(get_start_method()?.name().to_owned())?;
    if depth > 0 {
        Process::new(say_method).args((depth - 1, &methods)).start()?.join()?;
    }
    Ok(())
}

fn start_methods() -> Result<()> {
    let names: Vec<&str> = get_all_start_methods().into_iter().map(StartMethod::name).collect();
    assert_eq!(names, ["forkserver", "spawn", "fork"]);
    let started_by = get_start_method()?;
    let methods = Queue::<String>::new(0)?;
    for method in get_all_start_methods() {
        let context = get_context(method);
        assert_eq!(context.start_method(), method);
        let process = context.process(say_method).args((1, &methods)).start()?;
        process.join()?;
        assert_eq!(process.exitcode(), Some(0));
        assert_eq!([methods.get()?, methods.get()?], [method.name(); 2]);
    }
    assert_eq!(get_start_method()?, started_by, "a context changes nothing");
    let other = if started_by == StartMethod::Spawn {
        StartMethod::Forkserver
    } else {
        StartMethod::Spawn
    };
    set_start_method(other, true)?;
    assert_eq!(get_start_method()?, other);
    assert_eq!(set_start_method(started_by, false), Err(ProcessError::MethodIsSet));
    Process::new(say_method).args((0, &methods)).start()?.join()?;
    assert_eq!(methods.get()?, other.name());
    let why = StartMethod::from_name("forkserve").unwrap_err().to_string();
    assert_eq!(why, "there is no start method `forkserve`");
    Ok(())
}

/// Says what it may use, and has a child and a worker of a pool say so.
#[task]
fn say_surroundings(nested: bool, answers: Queue<String>) -> Result<()> {
    let variable = std::env::var("COLOUR").unwrap_or_default();
    let too_much = Vec::<u8>::new().try_reserve_exact(100 << 20).is_err();
    let file = std::fs::read_to_string("/granted/text").unwrap_or_default();
    answers.put(format!("{variable} {too_much} {file}"))?;
    if nested {
        Process::new(say_surroundings).args((false, &answers)).start()?.join()?;
        Pool::new(1)?.apply::<_, _, (), _, _>(say_surroundings, (false, &answers))?;
    }
    Ok(())
}

/// How this worker was started.
#[task]
fn own_method() -> Result<String> {
    Ok(get_start_method()?.name().to_owned())
}

fn pool_methods() -> Result<()> {
    let own = Pool::new(1)?;
    let said: String = own.apply(own_method, ())?;
    assert_eq!(said, get_start_method()?.name(), "as processes");
    for method in get_all_start_methods() {
        for builder in [get_context(method).pool(), Pool::builder().start_method(method)] {
            let pool = builder.processes(2).max_tasks_per_child(1).build()?;
            for _ in 0..3 {
                let said: String = pool.apply(own_method, ())?;
                assert_eq!(said, method.name());
            }
            pool.close();
            pool.join()?;
        }
    }
    Ok(())
}

/// Asks about its parent, as often as it likes.
#[task]
fn ask_about_parent() -> Result<()> {
    let parent = parent_process()?.expect("it was started by somebody");
    for _ in 0..100 {
        assert!(parent.is_alive()?);
    }
    Ok(())
}

/// More children than the host has room for what each of them waits with, if it kept that.
fn many_ask() -> Result<()> {
    for _ in 0..200 {
        let child = Process::new(ask_about_parent).start()?;
        child.join()?;
        assert_eq!(child.exitcode(), Some(0));
        let sentinel = child.sentinel()?;
        assert!(sentinel.poll()?, "it has ended");
    }
    Ok(())
}
