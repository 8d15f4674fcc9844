//! A type of one's own that is a process, as a subclass of `Process` is in Python: `wasmp run examples/process_type`.

#![allow(clippy::print_stdout, reason = "the greetings are this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use wasmp_guest::{Connection, Process, RecvError, Result, current_process, main, pipe, task};

/// A process that greets whoever is named to it.
struct Greeter {
    process: Process,
    names: Connection,
}

impl Greeter {
    /// Starts one that says it in this way.
    fn start(greeting: &str) -> Result<Self> {
        let (names, greetings) = pipe()?;
        let process = Process::new(run_greeter)
            .args((greeting, &greetings))
            .name("Greeter")
            .start()?;
        Ok(Self { process, names })
    }

    fn ask(&self, name: &str) -> Result<String> {
        self.names.send(name)?;
        Ok(self.names.recv()?)
    }

    /// Says that nothing more will come, and waits for the end; says how that was.
    fn stop(self) -> Result<Option<i32>> {
        self.names.close();
        self.process.join()?;
        Ok(self.process.exitcode())
    }
}

/// What the process runs, Python's `run` method.
#[task]
fn run_greeter(greeting: String, greetings: Connection) -> Result<()> {
    let me = current_process()?;
    let mut count = 0;
    loop {
        let name: String = match greetings.recv() {
            Ok(name) => name,
            Err(RecvError::EndOfFile) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        count += 1;
        greetings.send(&format!("{greeting}, {name}! ({} no. {count})", me.name()))?;
    }
}

#[main]
fn main() -> Result<()> {
    let greeter = Greeter::start("Good morning")?;
    println!("{}", greeter.ask("Earth")?);
    println!("{}", greeter.ask("Moon")?);
    println!("ended with {:?}", greeter.stop()?);
    Ok(())
}
