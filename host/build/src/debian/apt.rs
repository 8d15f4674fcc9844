//! Which packages make up the compiler, and their download.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Progress;
use crate::process::{self, StepError};

/// Reading the package lists takes no network.
const LOOKUP: Duration = Duration::from_secs(60);
/// A bound for what hangs in spite of [`PATIENCE`]; the lists have a few tens of megabytes.
const UPDATE: Duration = Duration::from_secs(180);
/// The packages have 140 MB.
const DOWNLOAD: Duration = Duration::from_secs(900);

/// apt would otherwise wait two minutes for each server that does not answer. The sandbox user could not write to a
/// folder of ours, which apt survives, but warns about.
const PATIENCE: [&str; 8] = [
    "-o",
    "Acquire::http::Timeout=20",
    "-o",
    "Acquire::https::Timeout=20",
    "-o",
    "Acquire::Retries=1",
    "-o",
    "APT::Sandbox::User=root",
];

/// The packages of one toolchain, each with the version that apt would install today.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packages(Vec<Package>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    /// In bytes, to download.
    size: u64,
    depends: Vec<String>,
}

impl Packages {
    /// The version of the compiler.
    pub(crate) fn version(&self) -> &str {
        &self.0[0].version
    }

    /// Looks the packages up. `show` answers for one package; the names that carry a version number are found by
    /// following the dependencies from those that do not.
    fn select(show: impl Fn(&str) -> Result<Package, StepError>) -> Result<Self, StepError> {
        let dependency = |of: &Package, prefix: &str| {
            let name = of.depends.iter().find(|name| name.starts_with(prefix));
            show(name.ok_or_else(|| StepError::Unavailable(format!("{} does not depend on {prefix}*", of.name)))?)
        };
        let compiler = show("rustc-web")?;
        let host_std = show("libstd-rust-web-dev")?;
        let driver = dependency(&host_std, "libstd-rust-web-")?;
        let llvm = dependency(&driver, "libllvm")?;
        let linker = show(&llvm.name.replace("libllvm", "lld-"))?;
        let std_source = show("rust-web-src")?;
        let libc = show("wasi-libc")?;
        for part in [&host_std, &driver, &std_source] {
            if part.version != compiler.version {
                return Err(StepError::Unavailable(format!(
                    "rustc-web {} and {} {} do not go together; `apt-get update` may help",
                    compiler.version, part.name, part.version
                )));
            }
        }
        Ok(Self(vec![compiler, host_std, driver, llvm, linker, std_source, libc]))
    }

    fn megabytes(&self) -> u64 {
        self.0.iter().map(|package| package.size).sum::<u64>() / 1_000_000
    }
}

impl fmt::Display for Packages {
    /// One `name=version` a line, as `apt-get download` takes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|package| writeln!(f, "{}={}", package.name, package.version))
    }
}

/// Downloads the packages into `dir`. Package lists that are missing or too old are refreshed, if we may.
pub(crate) fn fetch(dir: &Path, progress: Progress<'_>) -> Result<Packages, StepError> {
    match download(dir, progress) {
        Err(error @ (StepError::Failed { .. } | StepError::Unavailable(_))) if is_root()? => {
            progress(&format!("{error}; trying again after `apt-get update`"));
            // A source of somebody else's that is broken fails the update, and yet Debian's lists may be fresh now.
            let updated = update();
            download(dir, progress).map_err(|error| updated.err().unwrap_or(error))
        }
        Err(StepError::Failed { command, output }) => Err(StepError::Failed {
            command,
            output: format!("{output}; if the package lists are missing or old, run `sudo apt-get update`"),
        }),
        done => done,
    }
}

fn download(dir: &Path, progress: Progress<'_>) -> Result<Packages, StepError> {
    let packages = Packages::select(show)?;
    progress(&format!(
        "downloading Debian's rustc {} (packages of {} MB, unpacked to the user's cache, once)",
        packages.version(),
        packages.megabytes()
    ));
    let pinned = packages.to_string();
    process::output(
        apt("apt-get")
            .args(PATIENCE)
            .arg("download")
            .args(pinned.lines())
            .current_dir(dir),
        DOWNLOAD,
    )?;
    Ok(packages)
}

fn update() -> Result<(), StepError> {
    process::output(apt("apt-get").args(PATIENCE).arg("update"), UPDATE).map(drop)
}

fn show(name: &str) -> Result<Package, StepError> {
    let record = process::output(apt("apt-cache").args(["show", "--no-all-versions", name]), LOOKUP)?;
    parse(&record)
        .ok_or_else(|| StepError::Unavailable(format!("apt-cache says nothing sensible about the package {name}")))
}

/// An apt command that speaks English, since its words are shown among ours.
fn apt(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// Only root may refresh the package lists.
fn is_root() -> Result<bool, StepError> {
    let own = Path::new("/proc/self");
    Ok(fs::metadata(own).map_err(StepError::io("look at", own))?.uid() == 0)
}

/// Reads the first record that `apt-cache show` prints.
fn parse(records: &str) -> Option<Package> {
    let record = records.split("\n\n").next()?;
    let field = |name: &str| {
        record
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let depends = field("Depends")
        .unwrap_or_default()
        .split(',')
        .filter_map(|dependency| {
            // `name:arch (>= version) | alternative`: the first word, without an architecture.
            dependency.split_whitespace().next()?.split(':').next()
        });
    Some(Package {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        size: field("Size")?.parse().ok()?,
        depends: depends.map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, version: &str, depends: &str) -> String {
        format!("Package: {name}\nVersion: {version}\nDepends: {depends}\nSize: 20000000\nDescription: d\n more\n")
    }

    fn archive(name: &str) -> Result<Package, StepError> {
        let record = match name {
            "rustc-web" => record(
                name,
                "1.96.0-1",
                "libc6 (>= 2.34), libstd-rust-web-dev (= 1.96.0-1), gcc",
            ),
            "libstd-rust-web-dev" => record(name, "1.96.0-1", "libstd-rust-web-1.96 (= 1.96.0-1)"),
            "libstd-rust-web-1.96" => record(name, "1.96.0-1", "libc6, libllvm22, libstdc++6 (>= 11)"),
            "libllvm22" | "lld-22" => record(name, "1:22.1.8-1", "libc6"),
            "rust-web-src" => record(name, "1.96.0-1", ""),
            "wasi-libc" => record(name, "0.0~git20220510", ""),
            _ => return Err(StepError::Unavailable(format!("no {name}"))),
        };
        Ok(parse(&record).unwrap())
    }

    #[test]
    fn a_record_is_read() {
        let two = record("a", "1:2-3", "b:any (>= 1) | c, d") + "\n" + &record("a", "0", "");
        let package = parse(&two).unwrap();
        assert_eq!((package.version.as_str(), package.size), ("1:2-3", 20_000_000));
        assert_eq!(package.depends, ["b", "d"]);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn versions_are_looked_up() {
        let packages = Packages::select(archive).unwrap();
        assert_eq!(packages.version(), "1.96.0-1");
        assert_eq!(packages.megabytes(), 140);
        assert_eq!(
            packages.to_string(),
            "rustc-web=1.96.0-1\nlibstd-rust-web-dev=1.96.0-1\nlibstd-rust-web-1.96=1.96.0-1\n\
             libllvm22=1:22.1.8-1\nlld-22=1:22.1.8-1\nrust-web-src=1.96.0-1\nwasi-libc=0.0~git20220510\n"
        );
    }

    #[test]
    fn a_mixture_of_versions_is_refused() {
        let mixed = Packages::select(|name| {
            let mut package = archive(name)?;
            if name == "rust-web-src" {
                package.version = "1.85.0-1".to_owned();
            }
            Ok(package)
        });
        let error = mixed.unwrap_err().to_string();
        assert_eq!(
            error,
            "rustc-web 1.96.0-1 and rust-web-src 1.85.0-1 do not go together; `apt-get update` may help"
        );
    }
}
