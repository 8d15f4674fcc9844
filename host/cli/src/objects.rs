//! Named objects that the tasks of a run share, as they are typed: `--lock NAME`, `--queue NAME[:MAXSIZE]`, ….

use std::str::FromStr;

use crate::units;

/// Longest name, in bytes.
const MAX_NAME: usize = 255;

/// A lock or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) String);

/// A queue, and how many messages it holds at most; 0: as many as there is memory for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) maxsize: u32,
}

/// A semaphore and its permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Semaphore {
    pub(crate) name: String,
    pub(crate) value: u32,
}

/// Shared memory of so many bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) name: String,
    pub(crate) size: u64,
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        name(text).map(Self)
    }
}

impl FromStr for Queue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, maxsize) = match text.rsplit_once(':') {
            None => (text, 0),
            Some((text, maxsize)) => (text, number(maxsize, "how many messages it holds at most")?),
        };
        let name = name(text)?;
        Ok(Self { name, maxsize })
    }
}

impl FromStr for Semaphore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, value) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("a semaphore is given as NAME:VALUE, such as {text}:4"))?;
        let value = number(value, "how many permits it has")?;
        let name = name(text)?;
        Ok(Self { name, value })
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, size) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("shared memory is given as NAME:SIZE, such as {text}:64M"))?;
        let size = units::size(size)?;
        let name = name(text)?;
        Ok(Self { name, size })
    }
}

fn name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("it needs a name".to_owned()),
        1..=MAX_NAME => Ok(text.to_owned()),
        _ => Err(format!("a name has at most {MAX_NAME} bytes")),
    }
}

fn number(text: &str, what: &str) -> Result<u32, String> {
    let number = text.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("`{text}` is not a number; after the colon stands {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_a_name_and_may_have_a_size() {
        let queue = |name: &str, maxsize| {
            Ok(Queue {
                name: name.into(),
                maxsize,
            })
        };
        assert_eq!("jobs".parse(), queue("jobs", 0));
        assert_eq!("jobs:3".parse(), queue("jobs", 3));
        assert_eq!("a:b:3".parse(), queue("a:b", 3));
        assert!(
            "jobs:x"
                .parse::<Queue>()
                .is_err_and(|error| error.contains("`x` is not a number"))
        );
        assert!("jobs:-1".parse::<Queue>().is_err());
        assert_eq!(":3".parse::<Queue>(), Err("it needs a name".into()));
    }

    #[test]
    fn what_has_a_size_must_have_one() {
        let semaphore = Semaphore {
            name: "s".into(),
            value: 4,
        };
        assert_eq!("s:4".parse(), Ok(semaphore));
        assert!(
            "s".parse::<Semaphore>()
                .is_err_and(|error| error.ends_with("such as s:4"))
        );
        let memory = Memory {
            name: "m".into(),
            size: 1 << 20,
        };
        assert_eq!("m:1M".parse(), Ok(memory));
        assert!(
            "m".parse::<Memory>()
                .is_err_and(|error| error.ends_with("such as m:64M"))
        );
        assert!("m:0".parse::<Memory>().is_err());
    }

    #[test]
    fn a_name_is_neither_empty_nor_endless() {
        assert!("".parse::<Name>().is_err());
        assert!("n".repeat(256).parse::<Name>().is_err());
        assert_eq!("n".parse(), Ok(Name("n".into())));
    }
}
