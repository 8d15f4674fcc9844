//! Many at a time.

use wasmp_guest::{Event, Lock, Process, Result, task};

use super::{nothing, sleeper};

pub(super) fn run(scenario: &str, rest: &[String]) -> Result<bool> {
    let count = rest.first().map_or(Ok(100), |count| count.parse())?;
    match scenario {
        "p_18_many" => many(count),
        "printed_in_turns" => printed_in_turns(),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn many(count: usize) -> Result<()> {
    let short: Vec<Process> = (0..count)
        .map(|_| Process::new(nothing).start())
        .collect::<Result<_, _>>()?;
    for process in &short {
        process.join()?;
        assert_eq!(process.exitcode(), Some(0));
    }
    let begun = Event::new()?;
    let sleepers: Vec<Process> = (0..count)
        .map(|_| Process::new(sleeper).args((&begun,)).daemon(true).start())
        .collect::<Result<_, _>>()?;
    for process in &sleepers {
        process.terminate();
    }
    for process in &sleepers {
        process.join()?;
        assert_eq!(process.exitcode(), Some(-15));
    }
    Ok(())
}

/// Prints blocks of three lines, each while nobody else may.
#[task]
fn print_blocks(who: usize, lock: Lock) -> Result<()> {
    for block in 0..200 {
        let _guard = lock.lock()?;
        for line in ["begins", "goes on", "ends"] {
            println!("{who} {block} {line}");
        }
    }
    Ok(())
}

fn printed_in_turns() -> Result<()> {
    let lock = Lock::new()?;
    let printers: Vec<Process> = (0..5)
        .map(|who| Process::new(print_blocks).args((who, &lock)).start())
        .collect::<Result<_, _>>()?;
    for printer in printers {
        printer.join()?;
    }
    Ok(())
}
