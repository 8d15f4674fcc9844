//! The Landlock domain: no files but those beneath granted directories, no TCP, no signals or abstract sockets to the
//! outside.

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};

use super::Dir;

/// Newest interface whose rights were looked at one by one. The crate leaves out what the running kernel does not know,
/// down to no restriction at all.
const ABI: ABI = ABI::V9;

/// Restricts the calling process to `dirs`. Needs `no_new_privs`.
pub(super) fn restrict(dirs: &[Dir<'_>]) -> Result<RestrictionStatus, RulesetError> {
    let rules = dirs.iter().map(|dir| {
        let access = if dir.writable { reading() | writing() } else { reading() };
        Ok::<_, RulesetError>(PathBeneath::new(dir.fd, access))
    });
    Ruleset::default()
        .handle_access(AccessFs::from_all(ABI))?
        .handle_access(AccessNet::from_all(ABI))?
        .scope(Scope::from_all(ABI))?
        .create()?
        .add_rules(rules)?
        .restrict_self()
}

fn reading() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{ReadFile | ReadDir})
}

/// What WASI can ask for. Not: executing, device nodes, sockets, named pipes, ioctls on devices.
fn writing() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{
        WriteFile | Truncate | MakeReg | MakeDir | MakeSym | RemoveFile | RemoveDir | Refer
    })
}
