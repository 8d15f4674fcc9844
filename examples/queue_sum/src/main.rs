//! A process sums the numbers of a queue until it is told to stop: `wasmp run examples/queue_sum`.

#![allow(clippy::print_stdout, reason = "the sum is this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use serde::{Deserialize, Serialize};
use wasmp_guest::{Process, Queue, Result, main, task};

/// What goes through the queue. In Python it would be numbers, and at last the text `"stop"`.
#[derive(Serialize, Deserialize)]
enum Message {
    Number(i64),
    Stop,
}

/// Adds up numbers until `Stop`.
#[task]
fn sum(messages: Queue<Message>, result: Queue<i64>) -> Result<()> {
    let mut sum = 0;
    while let Message::Number(number) = messages.get()? {
        sum += number;
    }
    result.put(sum)?;
    Ok(())
}

#[main]
fn main() -> Result<()> {
    let (messages, result) = (Queue::new(0)?, Queue::new(0)?);
    let process = Process::new(sum).args((&messages, &result)).start()?;
    messages.put_many((1..=100).map(Message::Number))?;
    messages.put(Message::Stop)?;
    println!("the sum is {}", result.get()?);
    process.join()?;
    Ok(())
}
