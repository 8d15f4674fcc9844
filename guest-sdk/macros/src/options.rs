//! What stands in the parentheses of `#[task(…)]`.

use proc_macro2::TokenStream;
use syn::{LitStr, parse::Parser};

/// The options of a task.
#[derive(Default)]
pub(crate) struct Options {
    /// The name the host calls the task by, when it is not the function's.
    pub(crate) name: Option<LitStr>,
}

impl Options {
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let mut options = Self::default();
        let parser = syn::meta::parser(|meta| {
            if !meta.path.is_ident("name") {
                return Err(meta.error("unknown option, expected `name = \"…\"`"));
            }
            if options.name.is_some() {
                return Err(meta.error("`name` is given twice"));
            }
            let name: LitStr = meta.value()?.parse()?;
            check_name(&name.value()).map_err(|problem| syn::Error::new(name.span(), problem))?;
            options.name = Some(name);
            Ok(())
        });
        parser.parse2(tokens)?;
        Ok(options)
    }
}

/// A name becomes part of an export's name, which every language must be able to spell.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on_well = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if starts_well && goes_on_well {
        Ok(())
    } else {
        Err("a task's name is an ASCII identifier: letters, digits and `_`, not starting with a digit")
    }
}
