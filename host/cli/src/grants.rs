//! What a guest is given beyond its arguments, and what it may use up: as it is typed, and as it stands in a file.

use std::path::Path;
use std::str::FromStr;

use wasmp::{DirGrant, Grants};

use crate::args::{self, Limits, Objects};
use crate::error::{Error, reason};
use crate::terminal::Messages;

/// What was typed, and beside that what stands in the file that was named.
///
/// A file is used only when it is named. One beside the module may be the work of whoever made that: it is only mentioned.
pub(crate) fn resolve(
    typed: &args::Grants,
    limits: &Limits,
    objects: &Objects,
    module: &Path,
    messages: &Messages,
) -> Result<Grants, Error> {
    let mut granted = match &typed.file {
        Some(file) => Grants::load(file)?,
        None => {
            mention(module, messages);
            Grants::default()
        }
    };
    typed.dirs.iter().for_each(|dir| granted.add_dir(dir.clone()));
    for Variable { name, value } in &typed.variables {
        granted.add_env(name, value);
    }
    let Objects {
        queues,
        locks,
        events,
        semaphores,
        memories,
    } = objects;
    let mut made: Vec<_> = [queues, locks, events, semaphores, memories]
        .into_iter()
        .flatten()
        .collect();
    // Of two that were typed neither goes first: the library says so.
    let mine = |name: &str| made.iter().any(|object| object.name == name);
    granted.objects.retain(|object| !mine(&object.name));
    granted.objects.extend(made.drain(..).cloned());
    if let Some(level) = typed.sandbox {
        granted.sandbox = level.into();
    }
    granted.deterministic |= limits.deterministic;

    let most = &mut granted.limits;
    most.timeout = limits.timeout.or(most.timeout);
    most.soft_timeout = limits.soft_timeout.or(most.soft_timeout);
    most.fuel = typed.fuel.or(most.fuel);
    most.max_total_memory = typed.max_total_memory.or(most.max_total_memory);
    most.max_output = limits.max_output.or(most.max_output);
    most.output_rate = typed.output_rate.or(most.output_rate);
    most.max_memory = limits.max_memory.unwrap_or(most.max_memory);
    most.max_message = limits.max_message.unwrap_or(most.max_message);
    most.max_processes = limits.max_processes.unwrap_or(most.max_processes);
    most.compile_timeout = typed.compile_timeout.unwrap_or(most.compile_timeout);
    most.compile_memory = typed.compile_memory.unwrap_or(most.compile_memory);
    Ok(granted)
}

/// Says that there is a file of grants beside the module, which is not used.
fn mention(module: &Path, messages: &Messages) {
    let folder = match module.is_dir() {
        true => module,
        false => module.parent().unwrap_or(module),
    };
    let file = folder.join(Grants::FILE_NAME);
    if file.is_file() {
        let file = file.display();
        messages.note(&format!(
            "{file} is not used: look at what it grants, and say --grants {file}"
        ));
    }
}

/// The arguments of a program: those that were typed after its name, or else those of the file.
pub(crate) fn set_arguments(granted: &mut Grants, program: &str, typed: &[String]) {
    if granted.args.is_empty() || !typed.is_empty() {
        granted.args = std::iter::once(program.to_owned())
            .chain(typed.iter().cloned())
            .collect();
    }
}

/// Reads a directory grant; the directory must be there.
pub(crate) fn dir(text: &str) -> Result<DirGrant, String> {
    let grant = DirGrant::from_str(text)?;
    let host = grant.host();
    match std::fs::metadata(host) {
        Ok(found) if found.is_dir() => Ok(grant),
        Ok(_) => Err(format!("{} is not a directory", host.display())),
        Err(error) => Err(format!("cannot use {}: {}", host.display(), reason(&error))),
    }
}

/// An environment variable for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err(format!(
                "a variable is given as NAME=VALUE; guests inherit none, so write {text}=\"${text}\""
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_none_is_refused() {
        assert_eq!(
            dir("no/such/place"),
            Err("cannot use no/such/place: no such file or directory".into())
        );
        let file = std::env::current_exe()
            .expect("a test has a path")
            .display()
            .to_string();
        assert_eq!(dir(&file), Err(format!("{file} is not a directory")));
        assert!(dir("").is_err_and(|error| error.contains("HOST::GUEST")));
    }

    #[test]
    fn a_variable_has_a_name_and_any_value() {
        let variable = |name: &str, value: &str| {
            Ok(Variable {
                name: name.into(),
                value: value.into(),
            })
        };
        assert_eq!("A=1".parse(), variable("A", "1"));
        assert_eq!("A=b=c".parse(), variable("A", "b=c"));
        assert_eq!("A=".parse(), variable("A", ""));
        assert!(
            "A".parse::<Variable>()
                .is_err_and(|error| error.ends_with("write A=\"$A\""))
        );
        assert!("=x".parse::<Variable>().is_err());
    }
}
