//! The file of grants.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::{DirGrant, Grants, NamedObject};
use crate::error::closest;
use crate::units;

/// Longest file: no hand writes a longer one.
const MAX_FILE: u64 = 1 << 20;

/// What makes an object of a text of its kind.
type ReadObject = fn(&str) -> Result<NamedObject, String>;

/// Why a file is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// From 1, if it is about one.
    pub(crate) line: Option<usize>,
    pub(crate) why: String,
}

/// What stands in a file. Values are looked at afterwards, so that each mistake has its line and its advice.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    dir: Vec<Spanned<String>>,
    env: BTreeMap<String, String>,
    args: Vec<String>,
    stdin: Option<bool>,
    deterministic: Option<bool>,
    queue: Vec<Spanned<String>>,
    lock: Vec<Spanned<String>>,
    event: Vec<Spanned<String>>,
    semaphore: Vec<Spanned<String>>,
    shared_memory: Vec<Spanned<String>>,
    sandbox: Option<Spanned<String>>,
    timeout: Option<Spanned<Value>>,
    soft_timeout: Option<Spanned<Value>>,
    compile_timeout: Option<Spanned<Value>>,
    max_memory: Option<Spanned<Value>>,
    max_total_memory: Option<Spanned<Value>>,
    max_message: Option<Spanned<Value>>,
    max_output: Option<Spanned<Value>>,
    output_rate: Option<Spanned<Value>>,
    compile_memory: Option<Spanned<Value>>,
    fuel: Option<Spanned<Value>>,
    max_processes: Option<Spanned<Value>>,
}

pub(super) fn load(path: &Path) -> Result<Grants, Refused> {
    let whole = |why: String| Refused { line: None, why };
    let unreadable = |error: std::io::Error| whole(format!("it cannot be read: {error}"));
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(whole("it is longer than 1 MiB, which no file of grants is".into()));
    }
    let there = |dir: &DirGrant| dir.open().map(drop).map_err(|error| error.to_string());
    parse(&text, path.parent().unwrap_or(Path::new("")), there)
}

/// Reads the text of a file that lies in the folder `base`. `check` says why a directory cannot be granted.
pub(crate) fn parse(
    text: &str,
    base: &Path,
    check: impl Fn(&DirGrant) -> Result<(), String>,
) -> Result<Grants, Refused> {
    let written: Written = toml::from_str(text).map_err(|error| Refused {
        line: error.span().map(|span| line(text, &span)),
        why: advice(error.message()),
    })?;
    let read = Reader { text };
    let mut grants = Grants {
        args: written.args,
        stdin: written.stdin.unwrap_or(true),
        deterministic: written.deterministic.unwrap_or_default(),
        ..Grants::default()
    };
    for (name, value) in written.env {
        grants.add_env(name, value);
    }
    for dir in &written.dir {
        grants.add_dir(read.text(dir, |text| {
            let dir = DirGrant::from_str(text)?.relative_to(base);
            check(&dir).map(|()| dir)
        })?);
    }
    let kinds: [(_, ReadObject); 5] = [
        (&written.queue, NamedObject::queue),
        (&written.lock, NamedObject::lock),
        (&written.event, NamedObject::event),
        (&written.semaphore, NamedObject::semaphore),
        (&written.shared_memory, NamedObject::shared_memory),
    ];
    for (texts, kind) in kinds {
        for text in texts {
            let object = read.text(text, kind)?;
            if grants.objects.iter().any(|other| other.name == object.name) {
                return Err(read.refuse(text, format!("there are two objects called `{}`", object.name)));
            }
            grants.objects.push(object);
        }
    }
    if let Some(level) = &written.sandbox {
        grants.sandbox = read.text(level, str::parse)?;
    }
    let limits = &mut grants.limits;
    limits.timeout = read.duration(written.timeout.as_ref())?;
    limits.soft_timeout = read.duration(written.soft_timeout.as_ref())?;
    limits.fuel = read.count(written.fuel.as_ref())?;
    limits.max_total_memory = read.size(written.max_total_memory.as_ref())?;
    limits.max_output = read.size(written.max_output.as_ref())?;
    limits.output_rate = read.size(written.output_rate.as_ref())?;
    set(
        &mut limits.compile_timeout,
        read.duration(written.compile_timeout.as_ref())?,
    );
    set(&mut limits.compile_memory, read.size(written.compile_memory.as_ref())?);
    set(&mut limits.max_memory, read.size(written.max_memory.as_ref())?);
    set(&mut limits.max_message, read.size(written.max_message.as_ref())?);
    let processes = read.count(written.max_processes.as_ref())?;
    set(
        &mut limits.max_processes,
        processes.map(|number| usize::try_from(number).unwrap_or(usize::MAX)),
    );
    Ok(grants)
}

fn set<T>(default: &mut T, written: Option<T>) {
    if let Some(written) = written {
        *default = written;
    }
}

/// Reads values of a text, and says where in it those are that make no sense.
struct Reader<'t> {
    text: &'t str,
}

impl Reader<'_> {
    fn refuse<T>(&self, value: &Spanned<T>, why: String) -> Refused {
        Refused {
            line: Some(line(self.text, &value.span())),
            why,
        }
    }

    fn text<T>(&self, text: &Spanned<String>, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Refused> {
        read(text.get_ref()).map_err(|why| self.refuse(text, why))
    }

    fn duration(&self, value: Option<&Spanned<Value>>) -> Result<Option<std::time::Duration>, Refused> {
        self.value(value, |value| units::duration(&typed(value)))
    }

    fn size(&self, value: Option<&Spanned<Value>>) -> Result<Option<u64>, Refused> {
        self.value(value, |value| units::size(&typed(value)))
    }

    fn count(&self, value: Option<&Spanned<Value>>) -> Result<Option<u64>, Refused> {
        self.value(value, |value| match value {
            Value::Integer(number) => u64::try_from(*number).map_err(|_| "it cannot be less than 0".to_owned()),
            _ => Err("it is a number, without quotes".to_owned()),
        })
    }

    fn value<T>(
        &self,
        value: Option<&Spanned<Value>>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Option<T>, Refused> {
        value
            .map(|value| read(value.get_ref()).map_err(|why| self.refuse(value, why)))
            .transpose()
    }
}

/// What it would be on a command line.
fn typed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        // No unit is called so, and what there is instead is what the reader says then.
        _ => String::new(),
    }
}

fn line(text: &str, span: &Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
}

/// What serde says, in the words of this file.
fn advice(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message.trim_end().to_owned();
    };
    let names: Vec<String> = rest.split('`').step_by(2).map(str::to_owned).collect();
    let (name, settings) = names.split_first().map_or(("", &[][..]), |(name, rest)| (name, rest));
    match closest(name, settings) {
        Some(near) => format!("there is no setting `{name}`; did you mean `{near}`?"),
        None => format!(
            "there is no setting `{name}`; there are {}",
            settings.join(", ").trim_end_matches(", ")
        ),
    }
}
