//! What a guest is given beyond its arguments, as it is typed: `--dir HOST[::GUEST][:rw]` and `--env K=V`.

use std::path::PathBuf;
use std::str::FromStr;

/// A directory of the host that the guest may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dir {
    pub(crate) host: PathBuf,
    /// Its name in the guest: as typed for the host, unless given.
    pub(crate) guest: String,
    pub(crate) writable: bool,
}

impl FromStr for Dir {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (paths, writable) = match text.strip_suffix(":rw") {
            // `.::rw` is a directory named `rw` in the guest, not a grant of `.:`.
            Some(paths) if !paths.ends_with(':') => (paths, true),
            _ => (text, false),
        };
        let (host, guest) = paths.split_once("::").unwrap_or((paths, paths));
        if host.is_empty() || guest.is_empty() {
            return Err("a directory is given as HOST, HOST::GUEST, HOST:rw or HOST::GUEST:rw".to_owned());
        }
        let host = PathBuf::from(host);
        match std::fs::metadata(&host) {
            Ok(found) if found.is_dir() => Ok(Self {
                host,
                guest: guest.to_owned(),
                writable,
            }),
            Ok(_) => Err(format!("{} is not a directory", host.display())),
            Err(error) => Err(format!(
                "cannot use {}: {}",
                host.display(),
                crate::error::reason(&error)
            )),
        }
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

    fn dir(text: &str) -> Result<(String, String, bool), String> {
        let Dir { host, guest, writable } = text.parse()?;
        Ok((host.display().to_string(), guest, writable))
    }

    #[test]
    fn a_directory_keeps_its_name_and_is_read_only_unless_told_otherwise() {
        let granted = |host: &str, guest: &str, writable| Ok((host.to_owned(), guest.to_owned(), writable));
        assert_eq!(dir("."), granted(".", ".", false));
        assert_eq!(dir(".:rw"), granted(".", ".", true));
        assert_eq!(dir("/tmp::/data"), granted("/tmp", "/data", false));
        assert_eq!(dir("/tmp::/data:rw"), granted("/tmp", "/data", true));
        assert_eq!(dir("/::rw"), granted("/", "rw", false));
    }

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
        assert!(dir("/tmp::").is_err_and(|error| error.contains("HOST::GUEST")));
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
