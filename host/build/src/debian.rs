//! Situation 3: a compiler from Debian's packages, without installing any.

mod apt;
mod sysroot;

use std::env::consts::ARCH;
use std::fs;

use crate::process::StepError;
use crate::store::Store;
use crate::toolchain::{Active, Toolchain};
use crate::{Progress, TARGET};

/// To be raised with each change of how a toolchain is made, so that the older ones are left alone.
const RECIPE: u32 = 2;

/// What starts the compiler, in the folder of the toolchain.
const WRAPPER: &str = "rustc";

/// What the toolchain made of this version of `rustc-web` is called. The exact versions of all packages are in it.
fn name(version: &str) -> String {
    format!("debian-{version}-{ARCH}-r{RECIPE}")
}

/// The version of `rustc-web` in a toolchain's name, if it is one that [`make`] would make today.
fn version(name: &str) -> Option<&str> {
    name.strip_prefix("debian-")?
        .strip_suffix(&format!("-{ARCH}-r{RECIPE}"))
}

/// A toolchain that was made earlier. No package list is asked whether there is a newer one: that would make builds slow
/// and their results a matter of the day.
pub(crate) fn find(store: &Store) -> Option<Toolchain> {
    store.names().into_iter().rev().find_map(|name| {
        let version = version(&name)?;
        let dir = store.path(&name);
        let rustc = dir.join(WRAPPER).into_os_string();
        Toolchain::new(
            Some(rustc),
            &name,
            format!("Debian's rustc {version}"),
            &sysroot::target_lib(&dir),
        )
    })
}

/// Makes the toolchain, or waits for another run that is making it.
pub(crate) fn make(store: &Store, active: Option<&Active>, progress: Progress<'_>) -> Result<Toolchain, StepError> {
    let locked = store.lock(progress)?;
    if let Some(made) = find(store) {
        return Ok(made);
    }
    locked.install(|dir| {
        let packages_dir = dir.join("packages");
        fs::create_dir(&packages_dir).map_err(StepError::io("create", &packages_dir))?;
        let packages = apt::fetch(&packages_dir, progress)?;
        progress("unpacking the packages");
        sysroot::unpack(&packages_dir, dir)?;
        progress(&format!(
            "compiling the standard library for {TARGET} (a minute or two, once)"
        ));
        sysroot::complete(dir, active)?;
        let list = dir.join("packages.txt");
        fs::write(&list, packages.to_string()).map_err(StepError::io("write", &list))?;
        Ok(name(packages.version()))
    })?;
    find(store).ok_or_else(|| StepError::Unavailable("the toolchain vanished as soon as it was made".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_version_and_the_recipe() {
        let current = name("1.96.0+dfsg1-1~deb12u2");
        assert_eq!(version(&current), Some("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(version(&current.replace("-r2", "-r1")), None);
        assert_eq!(version("other"), None);
    }

    #[test]
    fn the_youngest_whole_toolchain_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().to_owned());
        assert!(find(&store).is_none());
        for version in ["1.96.0", "1.85.0"] {
            fs::create_dir(store.path(&name(version))).unwrap();
        }
        assert!(find(&store).is_none());
        let lib = sysroot::target_lib(&store.path(&name("1.96.0")));
        fs::create_dir_all(&lib).unwrap();
        fs::write(lib.join("libstd-0123456789abcdef.rlib"), "").unwrap();
        let found = find(&store).unwrap();
        assert_eq!(found.key, format!("{}-0123456789abcdef", name("1.96.0")));
        assert_eq!(found.description, "Debian's rustc 1.96.0");
        assert_eq!(found.rustc.unwrap(), store.path(&name("1.96.0")).join("rustc"));
    }

    #[test]
    #[ignore = "downloads 140 MB with apt and compiles the standard library"]
    fn a_toolchain_is_made_from_debians_packages() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("toolchains"));
        let made = make(&store, None, &mut |_| ()).unwrap();
        assert_eq!(find(&store).unwrap().key, made.key);
        assert!(store.path(&store.names()[0]).join("packages.txt").is_file());
    }
}
