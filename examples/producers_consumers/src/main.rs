//! Producers and consumers at a queue, each at its own pace: `wasmp run examples/producers_consumers`.

#![allow(clippy::print_stdout, reason = "who did what is this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use std::{
    hash::{BuildHasher, RandomState},
    thread::sleep,
    time::Duration,
};

use wasmp_guest::{GetError, Process, Queue, Result, main, task};

const PRODUCERS: u32 = 2;
const CONSUMERS: u32 = 3;
const ITEMS: u32 = 5;

/// Sleeps for less than this.
fn sleep_up_to(milliseconds: u64) {
    // The seed of a hash is as random as is needed here.
    let random = RandomState::new().hash_one(milliseconds);
    sleep(Duration::from_millis(random % milliseconds));
}

/// Makes some items.
#[task]
fn produce(producer: u32, items: Queue<Option<u32>>) -> Result<()> {
    for item in 0..ITEMS {
        sleep_up_to(40);
        items.put(Some(producer * 100 + item))?;
    }
    Ok(())
}

/// Takes items until `None` comes, and puts down how many there were.
#[task]
fn consume(consumer: u32, items: Queue<Option<u32>>, counts: Queue<u32>) -> Result<()> {
    let mut count = 0;
    loop {
        match items.get_timeout(Duration::from_millis(20)) {
            Ok(Some(item)) => {
                println!("consumer {consumer}: item {item}");
                count += 1;
                sleep_up_to(20);
            }
            // The end.
            Ok(None) => break,
            Err(GetError::Empty) => println!("consumer {consumer}: still waiting"),
            Err(error) => return Err(error.into()),
        }
    }
    counts.put(count)?;
    Ok(())
}

#[main]
fn main() -> Result<()> {
    let (items, counts) = (Queue::new(0)?, Queue::new(0)?);
    let mut producers = Vec::new();
    for producer in 1..=PRODUCERS {
        producers.push(Process::new(produce).args((producer, &items)).start()?);
    }
    for consumer in 1..=CONSUMERS {
        Process::new(consume).args((consumer, &items, &counts)).start()?;
    }
    for producer in producers {
        producer.join()?;
    }
    // One for each consumer, behind everything else.
    for _ in 0..CONSUMERS {
        items.put(None)?;
    }
    let mut total = 0;
    for _ in 0..CONSUMERS {
        total += counts.get()?;
    }
    println!("{total} of {} items consumed", PRODUCERS * ITEMS);
    Ok(())
}
