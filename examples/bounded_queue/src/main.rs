//! A queue with room for three: who puts waits for who gets: `wasmp run examples/bounded_queue`.

#![allow(clippy::print_stdout, reason = "who waits is this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use std::{thread::sleep, time::Duration};

use wasmp_guest::{GetError, Process, PutError, Queue, Result, main, task};

/// Puts numbers, and says when there is no room.
#[task]
fn produce(numbers: Queue<u32>, up_to: u32) -> Result<()> {
    for number in 1..=up_to {
        match numbers.try_put(number) {
            Err(PutError::Full(number)) => {
                println!("producer: no room for {number}, waiting");
                numbers.put(number)?;
            }
            other => other?,
        }
    }
    // Nothing more comes. What is there can still be gotten.
    numbers.shutdown()?;
    Ok(())
}

#[main]
fn main() -> Result<()> {
    let numbers = Queue::new(3)?;
    let producer = Process::new(produce).args((&numbers, 10)).start()?;
    let mut sum = 0;
    loop {
        match numbers.get() {
            Ok(number) => {
                sum += number;
                // Slower than the producer.
                sleep(Duration::from_millis(20));
            }
            Err(GetError::ShutDown) => break,
            Err(error) => return Err(error.into()),
        }
    }
    producer.join()?;
    println!("consumer: the sum is {sum}");
    Ok(())
}
