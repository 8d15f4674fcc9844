//! Counts the words of files, each file in one of several processes, all in one counter:
//! `wasmp run --dir . examples/word_counter README.md LICENSE-MIT`.

#![allow(clippy::print_stdout, reason = "the counts are this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use std::{collections::BTreeMap, fs};

use wasmp_guest::{Counter, Manager, Pool, Result, Retry, main, task};

/// Counts the words of one file. Should the worker be killed, the pool has another count the file again; under the file's
/// name the counter takes the words only once.
#[task]
fn count(file: String, words: Counter<String>) -> Result<()> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    let text = fs::read_to_string(&file)?.to_lowercase();
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '\'';
    for word in text.split(|letter| !is_letter(letter)).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    words.update_once(&file, counts)?;
    Ok(())
}

#[main]
fn main() -> Result<()> {
    let words = Manager::new()?.counter::<String>([])?;
    let files: Vec<String> = std::env::args().skip(1).collect();
    let pool = Pool::new(4)?;
    let counted: Vec<()> = pool
        .task(count)
        .retry(Retry::times(3))
        .starmap(files.into_iter().map(|file| (file, &words)))?;
    println!("{} files, {} words", counted.len(), words.total()?);
    for (word, times) in words.most_common(10)? {
        println!("{times:6} {word}");
    }
    Ok(())
}
