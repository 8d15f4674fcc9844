//! Processes that share a dictionary and a list: `wasmp run examples/shared_dict`.

#![allow(clippy::print_stdout, reason = "what they share is this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use wasmp_guest::{Dict, List, Manager, Process, Result, main, task};

/// Notes the square of a number, and that it was here.
#[task]
fn note(number: i64, squares: Dict<i64, i64>, visits: Dict<String, i64>, order: List<i64>) -> Result<()> {
    squares.set(&number, &(number * number))?;
    // To read and to write would be two steps, with room for another process in between. This is one.
    visits.add("visits", 1)?;
    order.push(&number)?;
    Ok(())
}

#[main]
fn main() -> Result<()> {
    let manager = Manager::new()?;
    let squares = manager.dict([])?;
    let visits = manager.dict([("visits".to_owned(), 0)])?;
    let order = manager.list([])?;

    let mut processes = Vec::new();
    for number in 1..=5 {
        let process = Process::new(note).args((number, &squares, &visits, &order));
        processes.push(process.start()?);
    }
    for process in processes {
        process.join()?;
    }

    let mut items: Vec<(i64, i64)> = squares.items()?;
    items.sort_unstable();
    println!("squares: {items:?}");
    println!("visits: {}", visits.get("visits")?.unwrap_or(0));
    order.sort()?;
    println!("numbers: {:?}", order.items::<Vec<_>>()?);

    // A managed list in a managed dictionary is that list, not a copy of it.
    let lists = manager.dict([("all".to_owned(), order.clone())])?;
    if let Some(all) = lists.get("all")? {
        all.push(&6)?;
    }
    println!("one more: {:?}", order.items::<Vec<_>>()?);
    Ok(())
}
