//! Pipes: one way, and both ways: `wasmp run examples/pipes`.

#![allow(clippy::print_stdout, reason = "what comes through is this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use wasmp_guest::{Connection, Process, RecvError, Result, main, pipe, pipe_one_way, task};

/// Sends some words. When it ends, so does its end of the pipe.
#[task]
fn speak(sender: Connection) -> Result<()> {
    for word in ["hello", "from", "afar"] {
        sender.send(word)?;
    }
    Ok(())
}

/// Answers numbers with their squares, until nobody asks any more.
#[task]
fn answer(questions: Connection) -> Result<()> {
    loop {
        match questions.recv::<i64>() {
            Ok(number) => questions.send(&(number * number))?,
            Err(RecvError::EndOfFile) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[main]
fn main() -> Result<()> {
    let (receiver, sender) = pipe_one_way()?;
    let speaker = Process::new(speak).args((&sender,)).start()?;
    // While anybody has the sender, more may come. Now only the speaker has.
    sender.close();
    loop {
        match receiver.recv::<String>() {
            Ok(word) => println!("heard {word:?}"),
            Err(RecvError::EndOfFile) => break,
            Err(error) => return Err(error.into()),
        }
    }
    println!("the end of the words");
    speaker.join()?;

    let (here, there) = pipe()?;
    let answerer = Process::new(answer).args((&there,)).start()?;
    for number in [3, 12] {
        here.send(&number)?;
        println!("{number} squared is {}", here.recv::<i64>()?);
    }
    // That is what tells the other one to end.
    here.close();
    answerer.join()?;
    println!("the answerer ended with {:?}", answerer.exitcode());
    Ok(())
}
