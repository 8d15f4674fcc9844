//! Callbacks for the end of a process.

use std::process::exit;

use wasmp_guest::{Error, Event, Finalize, Pool, Process, Queue, Result, at_exit, current_process, task};

use super::sleeper;

pub(super) fn run(scenario: &str) -> Result<bool> {
    match scenario {
        "f_01_finalize" => finalize(),
        "x_05_exit_handlers" => exit_handlers(),
        "x_02_generations" => generations(),
        "x_05_main_exits" => main_exits(),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn put(said: &Queue<String>, words: String) {
    said.put(words).expect("the queue takes it");
}

/// Has this said at the exit.
fn say(priority: i32, words: &str, said: &Queue<String>) {
    let (words, said) = (words.to_owned(), said.clone());
    at_exit(priority, move || put(&said, words));
}

/// As CPython's `_test_finalize`, and with a daemon that ends in between.
#[task]
fn finalize_all(said: Queue<String>) -> Result<()> {
    let also = |words: &str| {
        let (words, said) = (words.to_owned(), said.clone());
        move || put(&said, words)
    };
    drop(Finalize::at_exit(0, also("a")));
    let b = Finalize::at_exit(0, also("b"));
    b.call();
    b.call();
    let begun = Event::new()?;
    let daemon = Process::new(sleeper).args((&begun,)).daemon(true).start()?;
    begun.wait()?;
    let (child, queue) = (daemon.clone(), said.clone());
    at_exit(-10, move || put(&queue, format!("e {}", child.is_alive())));
    let queue = said.clone();
    at_exit(-100, move || put(&queue, format!("last {:?}", daemon.exitcode())));
    for name in ["d01", "d02", "d03"] {
        say(0, name, &said);
    }
    say(1, "d10", &said);
    Ok(())
}

fn finalize() -> Result<()> {
    let said = Queue::<String>::new(0)?;
    let process = Process::new(finalize_all).args((&said,)).start()?;
    process.join()?;
    assert_eq!(process.exitcode(), Some(0));
    for words in ["a", "b", "d10", "d03", "d02", "d01", "e false", "last Some(-15)"] {
        assert_eq!(said.get()?, words);
    }
    assert!(said.is_empty()?);
    Ok(())
}

/// Ends in this way, with a callback.
#[task]
fn end_with_callback(how: &str, said: Queue<String>) -> Result<()> {
    say(0, &format!("{} {how}", current_process()?.name()), &said);
    match how {
        "return" => Ok(()),
        "error" => Err(Error::new("told to fail")),
        code => exit(code.parse()?),
    }
}

fn exit_handlers() -> Result<()> {
    let said = Queue::<String>::new(0)?;
    // A fork has it, too, and does not call it.
    say(0, "the program", &said);
    for (number, (how, code)) in [("return", 0), ("error", 1), ("0", 0), ("3", 3)]
        .into_iter()
        .enumerate()
    {
        let process = Process::new(end_with_callback).args((how, &said)).start()?;
        process.join()?;
        assert_eq!(process.exitcode(), Some(code), "{how}");
        assert_eq!(said.get()?, format!("Process-{} {how}", number + 1));
    }
    let pool = Pool::new(1)?;
    pool.apply::<_, _, (), _, _>(end_with_callback, ("return", &said))?;
    pool.close();
    pool.join()?;
    assert!(said.is_empty()?, "a worker of a pool has no end of its own");
    Ok(())
}

/// The program itself has callbacks, and says at its exit that it is there.
fn main_exits() -> Result<()> {
    at_exit(0, || println!("at the exit"));
    at_exit(1, || println!("first"));
    exit(3)
}

/// Has a callback, and a child that does the same.
#[task]
fn generation(left: u32, said: Queue<String>) -> Result<()> {
    say(0, &format!("{left} left"), &said);
    if left > 0 {
        let child = Process::new(generation).args((left - 1, &said)).start()?;
        child.join()?;
        assert_eq!(child.exitcode(), Some(0));
    }
    Ok(())
}

/// Nobody has the callbacks of its ancestors.
fn generations() -> Result<()> {
    let said = Queue::<String>::new(0)?;
    Process::new(generation).args((10, &said)).start()?.join()?;
    for left in 0..=10 {
        assert_eq!(said.get()?, format!("{left} left"));
    }
    assert!(said.is_empty()?);
    Ok(())
}
