//! A program whose first argument says which of its scenarios to run. Each checks by itself what happens: a check that fails
//! is a panic, and so the exit code 1. The tasks are what its processes do; the host starts them, too.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests look at what is printed")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

mod copies;
mod ends;
mod exits;
mod family;
mod life;
mod logs;
mod managed;
mod many;

use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

use wasmp_guest::{
    Connection, Event, Process, Queue, Result, StartMethod, current_process, main, parent_process, set_start_method,
    task,
};

/// Long enough for everything that happens at all.
pub(crate) const LONG: Duration = Duration::from_secs(60);

#[main]
fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(method) = arguments.first().and_then(|first| first.strip_prefix("--")) {
        set_start_method(StartMethod::from_name(method)?, false)?;
        arguments.remove(0);
    }
    let scenario = arguments.first().map_or("", String::as_str);
    let rest = arguments.get(1..).unwrap_or_default();
    if life::run(scenario)?
        || ends::run(scenario, rest)?
        || exits::run(scenario)?
        || family::run(scenario)?
        || many::run(scenario, rest)?
        || copies::run(scenario)?
        || managed::run(scenario)?
        || logs::run(scenario)?
    {
        println!("{scenario}: done");
        return Ok(());
    }
    Err(wasmp_guest::Error::new(format!("there is no scenario `{scenario}`")))
}

/// Does nothing.
#[task]
pub(crate) fn nothing() {}

/// Starts a process and waits for its end.
#[task]
fn start_one() -> Result<()> {
    Ok(Process::new(nothing).start()?.join()?)
}

/// Puts its arguments, and who it is, into a queue.
#[task]
pub(crate) fn introduce(number: i64, text: String, list: Vec<i64>, queue: Queue<Introduction>) -> Result<()> {
    let me = current_process()?;
    let parent = parent_process()?;
    queue.put((
        (number, text, list),
        (me.name().to_owned(), me.pid(), me.daemon()),
        parent.map(|parent| (parent.name().to_owned(), parent.pid())),
    ))?;
    Ok(())
}

/// Arguments; name, id and daemon; parent.
pub(crate) type Introduction = ((i64, String, Vec<i64>), (String, u32, bool), Option<(String, u32)>);

/// Says that it has begun, and then sleeps for longer than any test.
#[task]
pub(crate) fn sleeper(begun: Event) -> Result<()> {
    begun.set()?;
    sleep(Duration::from_secs(600));
    Ok(())
}

/// Says that it has begun, and then waits for what nobody sends.
#[task]
pub(crate) fn waiter(begun: Event, queue: Queue<i64>) -> Result<()> {
    begun.set()?;
    queue.get()?;
    Ok(())
}

/// Ends in this way.
#[task]
pub(crate) fn end(how: &str) -> Result<()> {
    println!("out of {how}");
    match how {
        "return" => Ok(()),
        "error" => Err(wasmp_guest::Error::new("told to fail")),
        "panic" => panic!("told to panic"),
        code => exit(code.parse()?),
    }
}

/// Answers each number with its square, until there are no more.
#[task]
pub(crate) fn square_server(connection: Connection) -> Result<()> {
    while let Ok(Some(number)) = connection.recv::<Option<i64>>() {
        connection.send(&(number * number))?;
    }
    Ok(())
}
