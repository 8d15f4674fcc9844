//! Many at a time.

use wasmp_guest::{Event, Process, Result};

use super::{nothing, sleeper};

pub(super) fn run(scenario: &str, rest: &[String]) -> Result<bool> {
    let count = rest.first().map_or(Ok(100), |count| count.parse())?;
    match scenario {
        "p_18_many" => many(count),
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
