//! Which functions can be tasks, or methods that a manager calls, and the errors for those which cannot.

use quote::ToTokens;
use syn::{FnArg, Pat, PatIdent, ReturnType, Type, TypeReference, ext::IdentExt, visit::Visit};

use crate::options::{Options, check_name};

/// What a function is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    /// A method or the constructor of a managed type.
    Method,
}

impl Kind {
    /// One of them.
    fn one(self) -> &'static str {
        match self {
            Self::Task => "a task",
            Self::Method => "a managed method",
        }
    }

    fn attribute(self) -> &'static str {
        match self {
            Self::Task => "#[task]",
            Self::Method => "#[managed]",
        }
    }
}

/// What the expansion needs to know about a function that the host can call.
pub(crate) struct Signature<'f> {
    /// The name the host calls it by.
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter<'f>>,
    /// `None`: the function returns `()`.
    pub(crate) result: Option<&'f Type>,
}

/// One parameter: always a plain name and a type.
pub(crate) struct Parameter<'f> {
    pub(crate) ident: &'f syn::Ident,
    pub(crate) name: String,
    pub(crate) ty: &'f Type,
}

impl<'f> Signature<'f> {
    /// Looks a function over and reports everything that is wrong with it at once, each problem where it stands.
    pub(crate) fn of(signature: &'f syn::Signature, kind: Kind, options: &Options) -> syn::Result<Self> {
        let mut problems = Problems { kind, error: None };
        problems.look_at_qualifiers(signature);
        let parameters = signature
            .inputs
            .iter()
            .filter_map(|input| problems.parameter(input))
            .collect();
        let result = match &signature.output {
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
                let name = signature.ident.unraw().to_string();
                if check_name(&name).is_err() {
                    let advice = match kind {
                        Kind::Task => "a task's name is an ASCII identifier: give it one with #[task(name = \"…\")]",
                        Kind::Method => "the name of a managed method is an ASCII identifier",
                    };
                    problems.add(&signature.ident, advice);
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

struct Problems {
    kind: Kind,
    error: Option<syn::Error>,
}

impl Problems {
    fn add(&mut self, place: impl ToTokens, message: &str) {
        let problem = syn::Error::new_spanned(place, message);
        match &mut self.error {
            Some(problems) => problems.combine(problem),
            none => *none = Some(problem),
        }
    }

    fn into_result(self) -> syn::Result<()> {
        self.error.map_or(Ok(()), Err)
    }

    fn look_at_qualifiers(&mut self, signature: &syn::Signature) {
        let one = self.kind.one();
        if let (Some(token), Kind::Task) = (&signature.constness, self.kind) {
            self.add(token, "a task cannot be a const fn");
        }
        if let Some(token) = &signature.asyncness {
            let why = match self.kind {
                Kind::Task => "a worker runs one item at a time",
                Kind::Method => "a manager serves one request at a time",
            };
            self.add(token, &format!("{one} cannot be async: {why}"));
        }
        if let Some(token) = &signature.unsafety {
            self.add(
                token,
                &format!("{one} cannot be unsafe: the host has no way to uphold its conditions"),
            );
        }
        if let Some(abi) = &signature.abi {
            let attribute = self.kind.attribute();
            self.add(
                abi,
                &format!("{one} is an ordinary Rust function: {attribute} makes the export"),
            );
        }
        if !signature.generics.params.is_empty() {
            self.add(
                &signature.generics.params,
                &format!("{one} cannot be generic: the host calls one function by its name"),
            );
        }
        if let Some(variadic) = &signature.variadic {
            self.add(variadic, &format!("{one} has a fixed number of parameters"));
        }
    }

    fn parameter<'f>(&mut self, input: &'f FnArg) -> Option<Parameter<'f>> {
        let input = match input {
            FnArg::Typed(input) => input,
            FnArg::Receiver(receiver) => {
                self.receiver(receiver);
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
                ident,
                name: ident.unraw().to_string(),
                ty: &input.ty,
            }),
            pattern => {
                let one = self.kind.one();
                self.add(
                    pattern,
                    &format!("{one}'s parameter is a plain name: take the pattern apart inside the function"),
                );
                None
            }
        }
    }

    fn receiver(&mut self, receiver: &syn::Receiver) {
        match self.kind {
            Kind::Task => self.add(receiver, "a task is a free function, not a method"),
            Kind::Method if receiver.reference.is_none() || receiver.colon_token.is_some() => self.add(
                receiver,
                "a managed method takes `&self` or `&mut self`: the object stays in the manager",
            ),
            Kind::Method => {}
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
        let one = self.problems.kind.one();
        self.problems.add(
            reference,
            &format!(
                "{one}'s parameters are owned, or `&str` or `&[u8]`, which borrow from the message: take an owned type"
            ),
        );
    }

    fn visit_lifetime(&mut self, lifetime: &'ast syn::Lifetime) {
        let one = self.problems.kind.one();
        self.problems.add(
            lifetime,
            &format!("{one}'s parameters cannot have lifetimes: take an owned type"),
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
        let one = self.problems.kind.one();
        self.problems.add(
            ty,
            &format!("{one}'s {} has a type with a name, not `impl Trait`", self.place),
        );
    }
}
