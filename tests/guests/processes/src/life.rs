//! A process from its start to its end.

use std::time::Duration;

use wasmp_guest::{
    Event, Process, Queue, Result, active_children, cpu_count, current_process, parent_process, pipe, try_wait, wait,
};

use super::{Introduction, LONG, introduce, nothing, sleeper, square_server};

pub(super) fn run(scenario: &str) -> Result<bool> {
    match scenario {
        "p_01_current" => current(),
        "p_03_arguments" => arguments(),
        "p_07_life" => life(),
        "p_13_cpu_count" => {
            assert!(cpu_count()? >= 1);
            Ok(())
        }
        "p_14_active_children" => children(),
        "p_16_sentinel" => sentinel(),
        "p_17_close" => close(),
        "p_27_own_type" => own_type(),
        "by_name" => by_name(),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn current() -> Result<()> {
    let me = current_process()?;
    assert_eq!((me.name(), me.daemon()), ("MainProcess", false));
    assert!(me.pid() > 1);
    assert!(parent_process()?.is_none());
    Ok(())
}

fn arguments() -> Result<()> {
    let queue = Queue::<Introduction>::new(0)?;
    let text = "grüße\0".repeat(100_000);
    let process = Process::new(introduce)
        .args((-7, &text, vec![1, 2, 3], &queue))
        .start()?;
    let (arguments, ..) = queue.get()?;
    assert_eq!(arguments, (-7, text, vec![1, 2, 3]));
    process.join()?;
    assert_eq!(process.exitcode(), Some(0));
    Ok(())
}

fn life() -> Result<()> {
    assert!(active_children().is_empty());
    let (begun, queue) = (Event::new()?, Queue::<Introduction>::new(0)?);
    let process = Process::new(introduce)
        .args((1, "one", vec![], &queue))
        .name("First")
        .daemon(true)
        .start()?;
    let (_, me, parent) = queue.get()?;
    assert_eq!(me, ("First".to_owned(), process.pid(), true));
    assert_eq!(parent, Some(("MainProcess".to_owned(), current_process()?.pid())));
    process.join()?;
    assert_eq!((process.is_alive(), process.exitcode()), (false, Some(0)));
    process.join()?;

    let sleeping = Process::new(sleeper).args((&begun,)).start()?;
    begun.wait()?;
    assert_eq!((sleeping.is_alive(), sleeping.exitcode()), (true, None));
    assert_eq!(sleeping.name(), "Process-2");
    assert!(!sleeping.join_timeout(Duration::from_millis(20))?);
    assert!(!sleeping.join_timeout(Duration::ZERO)?);
    assert_eq!(active_children().len(), 1);
    sleeping.terminate();
    assert!(sleeping.join_timeout(LONG)?);
    assert_eq!(sleeping.exitcode(), Some(-15));
    assert!(format!("{sleeping:?}").ends_with("stopped exitcode=-SIGTERM>"));
    assert!(active_children().is_empty());
    Ok(())
}

fn children() -> Result<()> {
    let begun = Event::new()?;
    let process = Process::new(sleeper).args((&begun,)).daemon(true).start()?;
    begun.wait()?;
    let pid = process.pid();
    // Also one that nobody holds.
    drop(process);
    let children = active_children();
    assert_eq!(children.iter().map(Process::pid).collect::<Vec<_>>(), [pid]);
    children[0].kill();
    children[0].join()?;
    assert!(active_children().is_empty());
    Ok(())
}

fn sentinel() -> Result<()> {
    let (begun, queue) = (Event::new()?, Queue::<i64>::new(0)?);
    let process = Process::new(sleeper).args((&begun,)).start()?;
    let sentinel = process.sentinel()?;
    begun.wait()?;
    assert!(try_wait(&[&sentinel, &queue])?.is_empty());
    process.kill();
    assert_eq!(wait(&[&queue, &sentinel])?, [1]);
    assert_eq!(process.exitcode(), Some(-9), "who sees the end knows how");
    assert_eq!(wait(&[&process.sentinel()?])?, [0], "also afterwards");
    Ok(())
}

fn close() -> Result<()> {
    let begun = Event::new()?;
    let process = Process::new(sleeper).args((&begun,)).start()?;
    assert_eq!(
        process.clone().close().unwrap_err().to_string(),
        "the process is still running: join it, or terminate it first"
    );
    process.kill();
    process.join()?;
    process.close()?;
    Ok(())
}

/// A type with its own run loop, as one writes a subclass of `Process` in Python.
struct Squarer {
    process: Process,
    questions: wasmp_guest::Connection,
}

impl Squarer {
    fn start() -> Result<Self> {
        let (questions, answers) = pipe()?;
        let process = Process::new(square_server).args((&answers,)).start()?;
        Ok(Self { process, questions })
    }

    fn square(&self, number: i64) -> Result<i64> {
        self.questions.send(&Some(number))?;
        Ok(self.questions.recv()?)
    }

    fn stop(self) -> Result<Option<i32>> {
        // To close this end would not do for a fork, which has it open, too.
        self.questions.send(&None::<i64>)?;
        self.process.join()?;
        Ok(self.process.exitcode())
    }
}

fn own_type() -> Result<()> {
    let squarer = Squarer::start()?;
    assert_eq!((squarer.square(7)?, squarer.square(-3)?), (49, 9));
    assert_eq!(squarer.stop()?, Some(0));
    Ok(())
}

fn by_name() -> Result<()> {
    let process = Process::new("nothing").name("By name").start()?;
    process.join()?;
    assert_eq!(process.exitcode(), Some(0));
    assert_eq!(
        Process::new("no_such_task").start().unwrap_err().to_string(),
        "there is no task `no_such_task` in this module"
    );
    let why = Process::new(|| ()).start().unwrap_err().to_string();
    assert!(
        why.contains("a closure cannot be a task: make it a function with #[task]"),
        "{why}"
    );
    let wrong = Process::new("introduce").args((1,)).start()?;
    wrong.join()?;
    assert_eq!(wrong.exitcode(), Some(1), "the task says what it wants");
    nothing();
    Ok(())
}
