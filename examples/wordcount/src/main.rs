//! Counts words in many files at once: `wasmp map --dir . examples/wordcount count_words *.md`.

#![allow(clippy::print_stdout, reason = "the counts are this program's output")]

use wasmp_guest::{Result, task};

/// Counts the words in a text file, as `wc -w` does.
#[task]
fn count_words(path: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.split_whitespace().count() as u64)
}

/// Run natively: the same, one file after the other.
fn main() -> Result<()> {
    for path in std::env::args().skip(1) {
        println!("{} {path}", count_words(&path)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_stands_between_white_space() {
        let path = std::env::temp_dir().join(format!("wordcount-{}.txt", std::process::id()));
        for (text, words) in [("", 0), ("  one,\ttwo\n\nthree ", 3), ("grüße — an alle", 4)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(count_words(path.to_str().unwrap()).unwrap(), words, "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert!(count_words("/no/such/file").is_err());
    }
}
