//! Keeps workers alive until Ctrl-C: `wasmp run examples/process_manager`. With `--demo`, a worker crashes once, and the
//! end comes by itself.

#![allow(clippy::print_stdout, reason = "what happens is this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use std::time::Duration;

use wasmp_guest::{
    Connection, Event, Process, Result, SharedError, Waitable, current_process, main, task, wait_timeout,
};

const WORKERS: usize = 3;
const ROUND: Duration = Duration::from_millis(500);

/// Works until it is told to stop.
#[task]
fn work(stop: Event, crash: bool) -> Result<()> {
    if crash {
        std::process::exit(3);
    }
    println!("{}: at work", current_process()?.name());
    loop {
        // A worker that slept instead would be killed by Ctrl-C.
        match stop.wait_timeout(ROUND) {
            // Here would be the work of a round.
            Ok(false) => {}
            Ok(true) => return Ok(()),
            // Ctrl-C is for every process of a program, but when to stop is for the manager to say.
            Err(SharedError::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

struct Manager {
    stop: Event,
    workers: Vec<Process>,
}

impl Manager {
    fn start(crash: bool) -> Result<Self> {
        let stop = Event::new()?;
        let mut workers = Vec::new();
        for number in 1..=WORKERS {
            let crash = crash && number == 2;
            workers.push(Self::worker(&stop, number, crash)?);
        }
        Ok(Self { stop, workers })
    }

    fn worker(stop: &Event, number: usize, crash: bool) -> Result<Process> {
        let worker = Process::new(work)
            .args((stop, crash))
            .name(format!("Worker {number}"))
            .start()?;
        println!("{}: started", worker.name());
        Ok(worker)
    }

    /// Watches for so many rounds, or until Ctrl-C.
    fn watch(&mut self, rounds: usize) -> Result<()> {
        for _ in 0..rounds {
            let sentinels: Vec<Connection> = self.workers.iter().map(Process::sentinel).collect::<Result<_, _>>()?;
            let sentinels: Vec<&dyn Waitable> = sentinels.iter().map(|sentinel| sentinel as _).collect();
            match wait_timeout(&sentinels, ROUND) {
                Ok(ended) => ended.into_iter().try_for_each(|place| self.restart(place))?,
                Err(SharedError::Interrupted) => {
                    println!("interrupted");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn restart(&mut self, place: usize) -> Result<()> {
        let ended = &self.workers[place];
        println!("{}: ended with {:?}", ended.name(), ended.exitcode());
        self.workers[place] = Self::worker(&self.stop, place + 1, false)?;
        Ok(())
    }

    /// Asks all workers to stop, and makes those that do not.
    fn shut_down(self) -> Result<()> {
        self.stop.set()?;
        for worker in self.workers {
            if !worker.join_timeout(Duration::from_secs(5))? {
                worker.terminate();
                worker.join()?;
            }
            println!("{}: stopped with {:?}", worker.name(), worker.exitcode());
        }
        Ok(())
    }
}

#[main]
fn main() -> Result<()> {
    let demo = std::env::args().any(|argument| argument == "--demo");
    let mut manager = Manager::start(demo)?;
    manager.watch(if demo { 4 } else { usize::MAX })?;
    manager.shut_down()
}
