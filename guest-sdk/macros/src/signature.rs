//! Which functions can be tasks, and the errors for those which cannot.

use quote::ToTokens;
use syn::{FnArg, ItemFn, Pat, PatIdent, ReturnType, Type, TypeReference, ext::IdentExt, visit::Visit};

use crate::options::{Options, check_name};

/// What the expansion needs to know about a function that can be a task.
pub(crate) struct Signature<'f> {
    /// The name the host calls the task by.
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter<'f>>,
    /// `None`: the function returns `()`.
    pub(crate) result: Option<&'f Type>,
}

/// One parameter: always a plain name and a type.
pub(crate) struct Parameter<'f> {
    pub(crate) name: String,
    pub(crate) ty: &'f Type,
}

impl<'f> Signature<'f> {
    /// Looks a function over and reports everything that is wrong with it at once, each problem where it stands.
    pub(crate) fn of(function: &'f ItemFn, options: &Options) -> syn::Result<Self> {
        let mut problems = Problems::default();
        problems.look_at_qualifiers(function);
        let parameters = function
            .sig
            .inputs
            .iter()
            .filter_map(|input| problems.parameter(input))
            .collect();
        let result = match &function.sig.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => {
                NoImplTrait {
                    problems: &mut problems,
                    place: "result",
                }
                .visit_type(ty);
                Some(&**ty)
            }
        };
        let name = match &options.name {
            Some(name) => name.value(),
            None => {
                let name = function.sig.ident.unraw().to_string();
                if check_name(&name).is_err() {
                    problems.add(
                        &function.sig.ident,
                        "a task's name is an ASCII identifier: give it one with #[task(name = \"…\")]",
                    );
                }
                name
            }
        };
        problems.into_result().map(|()| Self {
            name,
            parameters,
            result,
        })
    }
}

#[derive(Default)]
struct Problems(Option<syn::Error>);

impl Problems {
    fn add(&mut self, place: impl ToTokens, message: &str) {
        let problem = syn::Error::new_spanned(place, message);
        match &mut self.0 {
            Some(problems) => problems.combine(problem),
            none => *none = Some(problem),
        }
    }

    fn into_result(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }

    fn look_at_qualifiers(&mut self, function: &ItemFn) {
        let signature = &function.sig;
        if let Some(token) = &signature.constness {
            self.add(token, "a task cannot be a const fn");
        }
        if let Some(token) = &signature.asyncness {
            self.add(token, "a task cannot be async: a worker runs one item at a time");
        }
        if let Some(token) = &signature.unsafety {
            self.add(
                token,
                "a task cannot be unsafe: the host has no way to uphold its conditions",
            );
        }
        if let Some(abi) = &signature.abi {
            self.add(abi, "a task is an ordinary Rust function: #[task] makes the export");
        }
        if !signature.generics.params.is_empty() {
            self.add(
                &signature.generics.params,
                "a task cannot be generic: the host calls one function by its name",
            );
        }
        if let Some(variadic) = &signature.variadic {
            self.add(variadic, "a task has a fixed number of parameters");
        }
    }

    fn parameter<'f>(&mut self, input: &'f FnArg) -> Option<Parameter<'f>> {
        let input = match input {
            FnArg::Typed(input) => input,
            FnArg::Receiver(receiver) => {
                self.add(receiver, "a task is a free function, not a method");
                return None;
            }
        };
        if !is_borrowed_message(&input.ty) {
            NoReferences { problems: self }.visit_type(&input.ty);
        }
        NoImplTrait {
            problems: self,
            place: "parameter",
        }
        .visit_type(&input.ty);
        match &*input.pat {
            Pat::Ident(PatIdent {
                by_ref: None,
                subpat: None,
                ident,
                ..
            }) => Some(Parameter {
                name: ident.unraw().to_string(),
                ty: &input.ty,
            }),
            pattern => {
                self.add(
                    pattern,
                    "a task's parameter is a plain name: take the pattern apart inside the function",
                );
                None
            }
        }
    }
}

/// Whether a type is one of the two references that can point into the message: `&str` and `&[u8]`.
fn is_borrowed_message(ty: &Type) -> bool {
    let Type::Reference(TypeReference {
        lifetime: None,
        mutability: None,
        elem,
        ..
    }) = ty
    else {
        return false;
    };
    match &**elem {
        Type::Path(path) => path.path.is_ident("str"),
        Type::Slice(slice) => matches!(&*slice.elem, Type::Path(path) if path.path.is_ident("u8")),
        _ => false,
    }
}

/// Reports references and lifetimes in the type of a parameter.
struct NoReferences<'p> {
    problems: &'p mut Problems,
}

impl<'ast> Visit<'ast> for NoReferences<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        self.problems.add(
            reference,
            "a task's parameters are owned, or `&str` or `&[u8]`, which borrow from the message: take an owned type",
        );
    }

    fn visit_lifetime(&mut self, lifetime: &'ast syn::Lifetime) {
        self.problems.add(
            lifetime,
            "a task's parameters cannot have lifetimes: take an owned type",
        );
    }

    // The lifetimes of a function pointer are its own.
    fn visit_type_bare_fn(&mut self, _: &'ast syn::TypeBareFn) {}
}

/// Reports `impl Trait`.
struct NoImplTrait<'p> {
    problems: &'p mut Problems,
    place: &'static str,
}

impl<'ast> Visit<'ast> for NoImplTrait<'_> {
    fn visit_type_impl_trait(&mut self, ty: &'ast syn::TypeImplTrait) {
        self.problems.add(
            ty,
            &format!("a task's {} has a type with a name, not `impl Trait`", self.place),
        );
    }
}
