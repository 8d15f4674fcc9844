//! What cargo knows of the guest crate before anything is compiled: which module it will make.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use crate::cargo;
use crate::error::BuildError;

/// The guest's package, as `cargo metadata` describes it.
#[derive(Debug)]
pub(crate) struct Package {
    /// The folder of its `Cargo.toml`, absolute.
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    /// Cargo's identifier, by which its build reports name the package.
    pub(crate) id: String,
    /// The target directory that cargo would use, shared with the whole workspace.
    pub(crate) target_dir: PathBuf,
    default_run: Option<String>,
    targets: Vec<Target>,
}

/// The cargo target whose output is the guest's module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) kind: ProductKind,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProductKind {
    Program,
    Cdylib,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ProductKind::Program => "program",
            ProductKind::Cdylib => "cdylib",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// The part of `cargo metadata --format-version 1` that is looked at.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<PackageEntry>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct PackageEntry {
    name: String,
    id: String,
    manifest_path: PathBuf,
    default_run: Option<String>,
    targets: Vec<Target>,
}

/// A target of a package; cargo's build reports use the same form.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    name: String,
    kind: Vec<String>,
    crate_types: Vec<String>,
}

impl Target {
    /// What module this target is, if it is one: examples, tests and build scripts are not.
    pub(crate) fn product(&self) -> Option<Product> {
        let is = |what: &str, list: &[String]| list.iter().any(|item| item == what);
        let kind = if is("bin", &self.kind) {
            ProductKind::Program
        } else if is("cdylib", &self.kind) && is("cdylib", &self.crate_types) {
            ProductKind::Cdylib
        } else {
            return None;
        };
        Some(Product {
            kind,
            name: self.name.clone(),
        })
    }
}

impl Package {
    /// Asks cargo about the crate in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self, BuildError> {
        let no_manifest = || BuildError::NoManifest { dir: dir.to_owned() };
        let absolute = dir.canonicalize().map_err(|_| no_manifest())?;
        let manifest = absolute.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(no_manifest());
        }
        let mut command = cargo::command(&absolute);
        command
            .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
            .arg(&manifest);
        if let Some(target_dir) = std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            // Relative to where the caller stands, not to the guest's folder, in which this cargo runs.
            let target_dir = std::path::absolute(target_dir).map_err(BuildError::Io)?;
            command.env("CARGO_TARGET_DIR", target_dir);
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|source| cargo::not_started(&command, source))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            return Err(BuildError::Manifest {
                dir: dir.to_owned(),
                message,
            });
        }
        let metadata = serde_json::from_slice(&output.stdout).map_err(|error| BuildError::Manifest {
            dir: dir.to_owned(),
            message: error.to_string(),
        })?;
        Self::select(metadata, &absolute)
    }

    /// Finds the package that lives in `dir` among the members of its workspace.
    fn select(metadata: Metadata, dir: &Path) -> Result<Self, BuildError> {
        let dirs: Vec<PathBuf> = metadata.packages.iter().map(PackageEntry::dir).collect();
        let here = dirs.iter().position(|package_dir| {
            package_dir == dir || package_dir.canonicalize().is_ok_and(|canonical| canonical == dir)
        });
        let Some(entry) = here.and_then(|index| metadata.packages.into_iter().nth(index)) else {
            return Err(BuildError::Workspace {
                dir: dir.to_owned(),
                members: dirs,
            });
        };
        Ok(Self {
            dir: dir.to_owned(),
            name: entry.name,
            id: entry.id,
            target_dir: metadata.target_directory,
            default_run: entry.default_run,
            targets: entry.targets,
        })
    }

    /// Which module the crate is about: its only one, or the program it names in `default-run`, or the only one that
    /// carries the package's name.
    pub(crate) fn product(&self) -> Result<Product, BuildError> {
        let mut products: Vec<Product> = self.targets.iter().filter_map(Target::product).collect();
        let candidates = products.iter().map(Product::to_string).collect();
        if products.len() > 1 {
            let default = self.default_run.as_deref();
            products.retain(|product| match default {
                Some(default) => product.kind == ProductKind::Program && product.name == default,
                // Cargo calls the library of `my-crate` by the name `my_crate`.
                None => product.name.replace('-', "_") == self.name.replace('-', "_"),
            });
            if products.len() != 1 {
                return Err(BuildError::Ambiguous {
                    package: self.name.clone(),
                    products: candidates,
                });
            }
        }
        products.pop().ok_or_else(|| BuildError::NothingToBuild {
            package: self.name.clone(),
        })
    }
}

impl PackageEntry {
    fn dir(&self) -> PathBuf {
        self.manifest_path.parent().unwrap_or(Path::new("")).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(default_run: Option<&str>, targets: &[(&str, &str)]) -> Package {
        let target = |&(kind, name): &(&str, &str)| Target {
            name: name.into(),
            kind: vec![kind.into()],
            crate_types: vec![kind.into()],
        };
        Package {
            dir: "/guest".into(),
            name: "my-crate".into(),
            id: "path+file:///guest#my-crate@0.1.0".into(),
            target_dir: "/guest/target".into(),
            default_run: default_run.map(Into::into),
            targets: targets.iter().map(target).collect(),
        }
    }

    fn product(default_run: Option<&str>, targets: &[(&str, &str)]) -> String {
        match package(default_run, targets).product() {
            Ok(product) => product.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_only_module_is_the_product() {
        assert_eq!(product(None, &[("bin", "other")]), "program other");
        assert_eq!(product(None, &[("cdylib", "my_crate")]), "cdylib my_crate");
        assert_eq!(
            product(None, &[("lib", "my_crate"), ("bin", "run"), ("test", "t")]),
            "program run"
        );
    }

    #[test]
    fn among_several_the_crates_own() {
        assert_eq!(product(None, &[("bin", "a"), ("bin", "my-crate")]), "program my-crate");
        assert_eq!(
            product(None, &[("bin", "a"), ("cdylib", "my_crate")]),
            "cdylib my_crate"
        );
        assert_eq!(product(Some("b"), &[("bin", "my-crate"), ("bin", "b")]), "program b");
    }

    #[test]
    fn no_guessing() {
        let ambiguous = product(None, &[("bin", "my-crate"), ("cdylib", "my_crate")]);
        assert!(ambiguous.starts_with("my-crate makes several modules (program my-crate, cdylib my_crate)"));
        assert!(product(None, &[("bin", "a"), ("bin", "b")]).contains("default-run"));
        assert!(product(None, &[("lib", "my_crate"), ("example", "e")]).contains("cdylib"));
    }

    fn metadata() -> Metadata {
        serde_json::from_str(
            r#"{"packages": [
                {"name": "a", "id": "id-a", "manifest_path": "/ws/a/Cargo.toml", "default_run": null, "targets": []},
                {"name": "b", "id": "id-b", "manifest_path": "/ws/b/Cargo.toml", "default_run": "main", "targets": [
                    {"name": "main", "kind": ["bin"], "crate_types": ["bin"], "edition": "2024"}]}
            ], "target_directory": "/ws/target", "version": 1}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_member_is_found_in_its_workspace() {
        let package = Package::select(metadata(), Path::new("/ws/b")).unwrap();
        assert_eq!((package.name.as_str(), package.id.as_str()), ("b", "id-b"));
        assert_eq!(package.target_dir, Path::new("/ws/target"));
        assert_eq!(package.product().unwrap().to_string(), "program main");
    }

    #[test]
    fn the_root_of_a_workspace_is_no_guest() {
        let error = Package::select(metadata(), Path::new("/ws")).unwrap_err();
        assert!(error.to_string().ends_with("\n  /ws/a\n  /ws/b"));
    }

    #[test]
    fn a_folder_without_a_manifest() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Package::read(dir.path()), Err(BuildError::NoManifest { .. })));
        assert!(matches!(
            Package::read(&dir.path().join("none")),
            Err(BuildError::NoManifest { .. })
        ));
    }
}
