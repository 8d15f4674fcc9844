//! The custom sections in which an SDK describes its tasks, and the methods of its types.
//!
//! Each is a sequence of CBOR maps, because the linker joins those of several crates end to end. It comes with
//! the module and may hold anything, so every count in it has a limit.

use ciborium::de::{Error as CborError, from_reader_with_recursion_limit};
use serde::Deserialize;

/// Most bytes of descriptors, of all sections of one name together.
pub(crate) const MAX_SECTION: usize = 16 << 20;
/// Most tasks of one module, and most methods of its types.
pub(crate) const MAX_TASKS: usize = 10_000;
/// A descriptor is a map of texts and of pairs of texts.
const MAX_DEPTH: usize = 8;

/// What one descriptor says. Keys that are not known belong to newer SDKs and are skipped.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Descriptor {
    pub(crate) name: String,
    /// The type whose method it is.
    #[serde(rename = "type", default)]
    pub(crate) of: String,
    pub(crate) export: String,
    #[serde(rename = "crate", default)]
    pub(crate) krate: String,
    #[serde(default)]
    pub(crate) doc: String,
    #[serde(default)]
    pub(crate) params: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) returns: Option<String>,
    /// The type of which its result makes an object.
    #[serde(default)]
    pub(crate) makes: Option<String>,
}

/// The descriptors in a section.
pub(crate) fn parse(mut section: &[u8]) -> Result<Vec<Descriptor>, String> {
    let mut tasks = Vec::new();
    let length = section.len();
    while !section.is_empty() {
        if tasks.len() == MAX_TASKS {
            return Err(format!("it has more than {MAX_TASKS} tasks"));
        }
        let at = length - section.len();
        let task: Descriptor = from_reader_with_recursion_limit(&mut section, MAX_DEPTH).map_err(|error| {
            let why = match error {
                CborError::Io(_) => "it ends in the middle of one".to_owned(),
                CborError::Syntax(_) => "it is not CBOR".to_owned(),
                CborError::Semantic(_, why) => why,
                CborError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
            };
            format!("entry {} at byte {at}: {why}", tasks.len() + 1)
        })?;
        if task.name.is_empty() {
            return Err(format!("entry {} at byte {at}: a task without a name", tasks.len() + 1));
        }
        tasks.push(task);
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ciborium::{Value, cbor};
    use proptest::prelude::*;

    fn encode(values: &[Value]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in values {
            ciborium::into_writer(value, &mut bytes).unwrap();
        }
        bytes
    }

    fn task(name: &str) -> Value {
        cbor!({
            "name" => name, "export" => format!("wasmp_task_demo__{name}"), "crate" => "demo", "doc" => "Says so.",
            "params" => [["x", "i64"]], "returns" => "i64",
        })
        .unwrap()
    }

    #[test]
    fn sections_of_several_crates_are_one_sequence() {
        let tasks = parse(&encode(&[task("one"), task("two")])).unwrap();
        assert_eq!(tasks.len(), 2);
        assert_eq!(tasks[1].name, "two");
        assert_eq!(tasks[1].params, [("x".to_owned(), "i64".to_owned())]);
        assert_eq!(tasks[1].krate, "demo");
    }

    #[test]
    fn only_name_and_export_are_needed_and_unknown_keys_are_skipped() {
        let bytes = encode(&[cbor!({ "name" => "f", "export" => "e", "colour" => [1, { "deep" => null }] }).unwrap()]);
        let tasks = parse(&bytes).unwrap();
        assert_eq!(
            (tasks[0].doc.as_str(), tasks[0].params.len(), &tasks[0].returns),
            ("", 0, &None)
        );
    }

    #[test]
    fn damage_is_described() {
        let bytes = encode(&[task("one"), task("two")]);
        let error = parse(&bytes[..bytes.len() - 1]).unwrap_err();
        assert!(error.starts_with("entry 2 at byte "), "{error}");
        assert!(error.ends_with("it ends in the middle of one"), "{error}");
        assert!(parse(&[0xff]).is_err());
        assert!(parse(&encode(&[cbor!({ "name" => "", "export" => "e" }).unwrap()])).is_err());
        // A text that claims to have more bytes than there are.
        assert!(parse(&[0xa1, 0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
        // Nested arrays without end.
        assert!(parse(&[0x81; 100_000]).is_err());
    }

    #[test]
    fn the_number_of_tasks_is_limited() {
        let one = encode(&[cbor!({ "name" => "f", "export" => "e" }).unwrap()]);
        assert!(parse(&one.repeat(MAX_TASKS)).is_ok());
        assert!(parse(&one.repeat(MAX_TASKS + 1)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_change_is_read_or_refused(at in 0usize..200, byte: u8) {
            let mut bytes = encode(&[task("one"), task("two")]);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = parse(&bytes);
        }
    }
}
