//! The types of a module, as their descriptors tell.

use std::collections::HashMap;

use super::super::descriptors::Descriptor;
use super::super::error::ModuleError;
use super::super::info::{TaskInfo, TypeInfo};
use super::{Names, Parts, elide, info};

/// The types and their methods, by their names: in which order a linker puts their descriptors means nothing.
pub(super) fn types(module: &str, parts: &Parts, described: Vec<Descriptor>) -> Result<Vec<TypeInfo>, ModuleError> {
    let exports = parts.exports_by_name();
    let mut names = Names {
        module,
        crates: HashMap::new(),
    };
    let mut types: Vec<(String, Option<TaskInfo>, Vec<TaskInfo>)> = Vec::new();
    let mut places = HashMap::new();
    for method in described {
        let of = method.of.clone();
        if of.is_empty() {
            let name = elide(&method.name);
            return Err(wrong(module, format!("`{name}` is the method of no type")));
        }
        parts.procedure(module, &exports, &method)?;
        names.claim(&format!("{of}::{}", method.name), method.krate.clone())?;
        let place = *places.entry(of.clone()).or_insert_with(|| {
            types.push((of, None, Vec::new()));
            types.len() - 1
        });
        let (_, constructor, methods) = &mut types[place];
        match method.name.as_str() {
            wasmp_abi::CONSTRUCTOR => *constructor = Some(info(method)),
            _ => methods.push(info(method)),
        }
    }
    for (of, constructor, methods) in &types {
        for method in constructor.iter().chain(methods) {
            let made = method.makes.as_deref();
            if let Some(made) = made.filter(|made| method.name == wasmp_abi::CONSTRUCTOR || !places.contains_key(*made))
            {
                let (of, name, made) = (elide(of), elide(&method.name), elide(made));
                let why = format!("`{name}` of the type `{of}` is to make a `{made}`, which it cannot");
                return Err(wrong(module, why));
            }
        }
    }
    types.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    types
        .iter_mut()
        .for_each(|(_, _, methods)| methods.sort_by(|one, other| one.name.cmp(&other.name)));
    let complete = types.into_iter().map(|(name, constructor, methods)| match constructor {
        Some(constructor) => Ok(TypeInfo {
            name,
            constructor,
            methods,
        }),
        None => Err(wrong(
            module,
            format!("the type `{}` has no constructor `new`", elide(&name)),
        )),
    });
    complete.collect()
}

fn wrong(module: &str, why: String) -> ModuleError {
    ModuleError::Descriptor {
        module: module.to_owned(),
        why,
    }
}
