//! `#[managed]`: the exports of a type whose objects live in managers, and its proxy.

use proc_macro2::{Group, Ident, Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Attribute, GenericArgument, ImplItem, ImplItemFn, Item, ItemImpl, Path, PathArguments, Type, TypePath, Visibility,
};

use crate::{
    descriptor::{self, type_text},
    expand::{argument_names, at, crate_name, encode, outcome, with_arguments},
    options::{Options, check_name},
    signature::{Kind, Signature},
};

/// The method that makes an object.
const CONSTRUCTOR: &str = "new";

/// Expands `#[managed]`. The `impl` itself is always part of the output, as it is written.
pub(crate) fn managed(options: TokenStream, item: &TokenStream) -> TokenStream {
    match expand(options, item) {
        Ok(generated) => quote! {
            #[allow(unreachable_pub, reason = "what is public is what a manager calls, whoever else can")]
            #item
            #generated
        },
        Err(error) => {
            let error = error.to_compile_error();
            quote! { #item #error }
        }
    }
}

fn expand(options: TokenStream, item: &TokenStream) -> syn::Result<TokenStream> {
    let visibility: Visibility = syn::parse2(options).map_err(|error| {
        let what = "expected nothing, or who may use the proxy: `pub`, `pub(crate)`";
        syn::Error::new(error.span(), what)
    })?;
    let block = match syn::parse2(item.clone())? {
        Item::Impl(block) if block.trait_.is_none() => block,
        other => {
            return Err(syn::Error::new_spanned(
                other,
                "#[managed] goes on the `impl` of a type",
            ));
        }
    };
    let owner = owner(&block)?;
    let methods = exposed(&block, &owner)?;
    let object = with_object(&block, &owner, &methods)?;
    let proxy = proxy(&visibility, &block, &owner, &methods)?;
    Ok(quote! { #object #proxy })
}

/// The name of the type.
fn owner(block: &ItemImpl) -> syn::Result<Ident> {
    if !block.generics.params.is_empty() {
        let why = "a managed type cannot be generic: a manager makes it by its name";
        return Err(syn::Error::new_spanned(&block.generics.params, why));
    }
    let name = match &*block.self_ty {
        Type::Path(TypePath { qself: None, path }) => path.get_ident(),
        _ => None,
    };
    match name {
        Some(name) if check_name(&name.to_string()).is_ok() => Ok(name.clone()),
        _ => Err(syn::Error::new_spanned(
            &block.self_ty,
            "a managed type has a name, an ASCII identifier, by which a manager makes it",
        )),
    }
}

/// A function that a manager calls.
struct Method<'b> {
    function: &'b ImplItemFn,
    /// Without `Self`, which means something else in a proxy.
    signature: syn::Signature,
}

impl Method<'_> {
    fn is_constructor(&self) -> bool {
        self.signature.ident == CONSTRUCTOR
    }

    fn conditions(&self) -> impl Iterator<Item = &Attribute> {
        attributes(&self.function.attrs, "cfg")
    }
}

fn attributes<'a>(attributes: &'a [Attribute], name: &'a str) -> impl Iterator<Item = &'a Attribute> {
    attributes
        .iter()
        .filter(move |attribute| attribute.path().is_ident(name))
}

/// What is exposed: the constructor, and every public method. Other functions are the type's own business.
fn exposed<'b>(block: &'b ItemImpl, owner: &Ident) -> syn::Result<Vec<Method<'b>>> {
    let mut methods = Vec::new();
    for item in &block.items {
        let ImplItem::Fn(function) = item else { continue };
        let signature = &function.sig;
        let is_method = signature.receiver().is_some() || signature.ident == CONSTRUCTOR;
        if is_method && matches!(function.vis, Visibility::Public(_)) {
            let tokens = name_self(signature.to_token_stream(), owner);
            methods.push(Method {
                function,
                signature: syn::parse2(tokens)?,
            });
        }
    }
    match methods.iter().find(|method| method.is_constructor()) {
        Some(constructor) => match constructor.signature.receiver() {
            None => Ok(methods),
            Some(receiver) => Err(syn::Error::new_spanned(
                receiver,
                "`new` makes the object, and has none yet",
            )),
        },
        None => Err(syn::Error::new_spanned(
            &block.self_ty,
            "a manager makes objects by a constructor `pub fn new`, and there is none",
        )),
    }
}

/// The same with the name of the type in place of `Self`.
fn name_self(tokens: TokenStream, owner: &Ident) -> TokenStream {
    let replace = |token| match token {
        TokenTree::Ident(ident) if ident == "Self" => TokenTree::Ident(Ident::new(&owner.to_string(), ident.span())),
        TokenTree::Group(group) => {
            let mut named = Group::new(group.delimiter(), name_self(group.stream(), owner));
            named.set_span(group.span());
            TokenTree::Group(named)
        }
        other => other,
    };
    tokens.into_iter().map(replace).collect()
}

/// The signatures of all methods, or everything that is wrong with any of them.
fn signatures<'m>(methods: &'m [Method<'_>]) -> syn::Result<Vec<(&'m Method<'m>, Signature<'m>)>> {
    let (mut good, mut wrong) = (Vec::new(), None::<syn::Error>);
    for method in methods {
        match (
            Signature::of(&method.signature, Kind::Method, &Options::default()),
            &mut wrong,
        ) {
            (Ok(signature), _) => good.push((method, signature)),
            (Err(error), Some(wrong)) => wrong.combine(error),
            (Err(error), none) => *none = Some(error),
        }
    }
    wrong.map_or(Ok(good), Err)
}

/// The place where an instance has its object, and what is exported to make and to use it.
fn with_object(block: &ItemImpl, owner: &Ident, methods: &[Method<'_>]) -> syn::Result<TokenStream> {
    let exports = signatures(methods)?
        .into_iter()
        .map(|(method, signature)| export(owner, method, &signature));
    let conditions = attributes(&block.attrs, "cfg");
    Ok(quote! {
        #(#conditions)*
        #[allow(unsafe_code, reason = "exports need it")]
        const _: () = {
            ::std::thread_local! {
                static OBJECT: ::core::cell::RefCell<::core::option::Option<#owner>> =
                    const { ::core::cell::RefCell::new(::core::option::Option::None) };
            }
            #(#exports)*
        };
    })
}

/// The export and the descriptor of one method. As for a task, all but their linking is there on every target.
fn export(owner: &Ident, method: &Method<'_>, signature: &Signature<'_>) -> TokenStream {
    let krate = crate_name();
    let export = format!("wasmp_type_{krate}__{owner}__{}", signature.name);
    let attributes = &method.function.attrs;
    let makes = made(signature).and_then(|made| made.segments.last().map(|last| last.ident.to_string()));
    let descriptor = descriptor::encode(
        signature,
        Some(&owner.to_string()),
        makes.as_deref(),
        &export,
        &krate,
        attributes,
    );
    let descriptor_len = descriptor.len();
    let descriptor = Literal::byte_string(&descriptor);
    let conditions = method.conditions();
    let parameters = signature.parameters.iter().map(|parameter| {
        let (name, ty) = (&parameter.name, type_text(parameter.ty));
        quote! { (#name, #ty) }
    });
    let body = if method.is_constructor() {
        make(owner, signature)
    } else {
        call(owner, method, signature)
    };
    quote! {
        #(#conditions)*
        const _: () = {
            #[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a wasm module exports it"))]
            #[cfg_attr(target_family = "wasm", unsafe(export_name = #export))]
            extern "C" fn export() {
                ::wasmp_guest::__private::serve(&[#(#parameters),*], #body);
            }

            #[cfg(target_family = "wasm")]
            #[used]
            #[unsafe(link_section = "wasmp.types")]
            static DESCRIPTOR: [u8; #descriptor_len] = *#descriptor;
        };
    }
}

/// What runs to make the object.
fn make(owner: &Ident, signature: &Signature<'_>) -> TokenStream {
    let names = argument_names(signature);
    let span = signature.result.map_or_else(Span::mixed_site, at);
    let made = quote_spanned! { span=>
        match ::wasmp_guest::__private::Returned(<#owner>::new(#(#names),*)).outcome() {
            ::core::result::Result::Ok(object) => {
                let object: #owner = object;
                OBJECT.set(::core::option::Option::Some(object));
                ::wasmp_guest::__private::Value(&()).encode(output)
            }
            ::core::result::Result::Err(error) => {
                ::core::result::Result::Err(::wasmp_guest::__private::Reason(&error).failure())
            }
        }
    };
    with_arguments(signature, &made)
}

/// What runs for each call of a method.
fn call(owner: &Ident, method: &Method<'_>, signature: &Signature<'_>) -> TokenStream {
    let ident = &method.signature.ident;
    let names = argument_names(signature);
    let value = signature
        .result
        .map_or_else(|| quote! { () }, |ty| value_of(ty).to_token_stream());
    let called = quote_spanned! { Span::mixed_site()=> <#owner>::#ident(object #(, #names)*) };
    let result = match made(signature) {
        Some(_) => quote_spanned! { Span::mixed_site()=> ::wasmp_guest::__private::return_new(value, output) },
        None => encode(signature),
    };
    let outcome = outcome(signature, &called, &value, &result);
    let called = quote_spanned! { Span::mixed_site()=>
        OBJECT.with_borrow_mut(|object| {
            let object = object.as_mut().ok_or_else(::wasmp_guest::__private::no_object)?;
            #outcome
        })
    };
    with_arguments(signature, &called)
}

/// The type that stands for objects in a manager.
fn proxy(visibility: &Visibility, block: &ItemImpl, owner: &Ident, methods: &[Method<'_>]) -> syn::Result<TokenStream> {
    let name = format_ident!("{owner}Proxy");
    let conditions: Vec<_> = attributes(&block.attrs, "cfg").collect();
    let methods = signatures(methods)?
        .into_iter()
        .map(|(method, signature)| match method.is_constructor() {
            true => constructors(owner, method, &signature),
            false => forward(method, &signature),
        });
    let doc = format!(
        "An object of the type `{owner}` that lives in a manager. It travels, and is the same object everywhere."
    );
    Ok(quote! {
        #(#conditions)*
        #[doc = #doc]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #[allow(dead_code, reason = "it need not be used")]
        #visibility struct #name(::wasmp_guest::Object);

        #(#conditions)*
        #[automatically_derived]
        #[allow(
            dead_code,
            private_interfaces,
            clippy::needless_pass_by_value,
            clippy::too_many_arguments,
            reason = "the type has it so"
        )]
        impl #name {
            #(#methods)*
        }

        #(#conditions)*
        #[automatically_derived]
        impl ::wasmp_guest::__private::serde::Serialize for #name {
            fn serialize<S: ::wasmp_guest::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                ::wasmp_guest::__private::serde::Serialize::serialize(&self.0, serializer)
            }
        }

        #(#conditions)*
        #[automatically_derived]
        impl<'de> ::wasmp_guest::__private::serde::Deserialize<'de> for #name {
            fn deserialize<D: ::wasmp_guest::__private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                ::wasmp_guest::__private::serde::Deserialize::deserialize(deserializer).map(Self)
            }
        }

        #(#conditions)*
        #[automatically_derived]
        impl ::core::convert::From<#name> for ::wasmp_guest::Object {
            fn from(proxy: #name) -> Self {
                proxy.0
            }
        }

        #(#conditions)*
        #[automatically_derived]
        impl ::core::convert::From<::wasmp_guest::Object> for #name {
            fn from(object: ::wasmp_guest::Object) -> Self {
                Self(object)
            }
        }
    })
}

/// How the arguments of a call are written. They are the caller's own, as the method takes them.
fn written(signature: &Signature<'_>) -> TokenStream {
    let count = signature.parameters.len();
    let names = signature.parameters.iter().map(|parameter| parameter.ident);
    quote_spanned! { Span::mixed_site()=>
        |output| {
            #[allow(unused_imports, reason = "each is for some types only")]
            use ::wasmp_guest::__private::EncodeWithSerde as _;
            ::wasmp_guest::__private::begin_arguments(#count, output);
            #(::wasmp_guest::__private::Value(&#names).encode(output)?;)*
            ::core::result::Result::Ok(())
        }
    }
}

fn constructors(owner: &Ident, method: &Method<'_>, signature: &Signature<'_>) -> TokenStream {
    let (conditions, written, of) = (
        method.conditions().collect::<Vec<_>>(),
        written(signature),
        owner.to_string(),
    );
    let parameters: Vec<_> = parameters(signature).collect();
    let docs = attributes(&method.function.attrs, "doc");
    let making = format!("In a manager: makes an object there with `{of}::new`.");
    let finding =
        format!("The object of the type `{of}` that has this name in a manager, made as by `new` if there was none.");
    let returning = format!(
        "In a method of a type in a manager, which returns it: makes an object in the same manager with `{of}::new`."
    );
    quote_spanned! { Span::mixed_site()=>
        #(#conditions)*
        #(#docs)*
        #[doc = ""]
        #[doc = #making]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = ""]
        #[doc = "[`ManagerError`](wasmp_guest::ManagerError)."]
        pub fn new(
            manager: &::wasmp_guest::Manager
            #(, #parameters)*
        ) -> ::core::result::Result<Self, ::wasmp_guest::ManagerError> {
            ::wasmp_guest::__private::create(manager, #of, #written).map(Self)
        }

        #(#conditions)*
        #[doc = #finding]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = ""]
        #[doc = "[`ManagerError`](wasmp_guest::ManagerError)."]
        pub fn named(
            manager: &::wasmp_guest::Manager,
            name: &str
            #(, #parameters)*
        ) -> ::core::result::Result<Self, ::wasmp_guest::ManagerError> {
            ::wasmp_guest::__private::named(manager, name, #of, #written).map(Self)
        }

        #(#conditions)*
        #[doc = #returning]
        pub fn new_here(#(#parameters),*) -> ::wasmp_guest::New<#owner> {
            ::wasmp_guest::New::by(#written)
        }
    }
}

/// The type of which a method returns a new object: that of a `New` with one.
fn made<'s>(signature: &Signature<'s>) -> Option<&'s Path> {
    let Type::Path(TypePath { path, .. }) = value_of(signature.result?) else {
        return None;
    };
    let new = path.segments.last().filter(|last| last.ident == "New")?;
    let PathArguments::AngleBracketed(arguments) = &new.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(Type::Path(TypePath { qself: None, path })) => Some(path),
        _ => None,
    }
}

/// The proxy of a type, which is where that one is.
fn proxy_of(of: &Path) -> Path {
    let mut proxy = of.clone();
    if let Some(last) = proxy.segments.last_mut() {
        last.ident = format_ident!("{}Proxy", last.ident);
    }
    proxy
}

/// The method of the proxy that calls the one of the object.
fn forward(method: &Method<'_>, signature: &Signature<'_>) -> TokenStream {
    let (conditions, written) = (method.conditions(), written(signature));
    let docs = attributes(&method.function.attrs, "doc");
    let (ident, name) = (&method.signature.ident, &signature.name);
    let parameters = parameters(signature);
    let value = match made(signature) {
        Some(made) => proxy_of(made).to_token_stream(),
        None => signature.result.map_or_else(|| quote! { () }, |ty| owned(value_of(ty))),
    };
    quote_spanned! { Span::mixed_site()=>
        #(#conditions)*
        #(#docs)*
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = ""]
        #[doc = "[`ManagerError`](wasmp_guest::ManagerError)."]
        pub fn #ident(
            &self
            #(, #parameters)*
        ) -> ::core::result::Result<#value, ::wasmp_guest::ManagerError> {
            ::wasmp_guest::__private::call(&self.0, #name, #written)
        }
    }
}

fn parameters<'s>(signature: &'s Signature<'_>) -> impl Iterator<Item = TokenStream> + 's {
    signature.parameters.iter().map(|parameter| {
        let (ident, ty) = (parameter.ident, parameter.ty);
        quote! { #ident: #ty }
    })
}

/// What a method returns if it does not fail: of a type whose name is `Result`, the first of what it is made of.
fn value_of(ty: &Type) -> &Type {
    let Type::Path(TypePath { path, .. }) = ty else {
        return ty;
    };
    let last = path.segments.last().filter(|last| last.ident == "Result");
    match last.map(|last| &last.arguments) {
        Some(PathArguments::AngleBracketed(arguments)) => match arguments.args.first() {
            Some(GenericArgument::Type(value)) => value,
            _ => ty,
        },
        _ => ty,
    }
}

/// What a caller has of what an object has lent.
fn owned(ty: &Type) -> TokenStream {
    let Type::Reference(reference) = ty else {
        return ty.to_token_stream();
    };
    match &*reference.elem {
        Type::Path(path) if path.path.is_ident("str") => quote! { ::std::string::String },
        Type::Slice(slice) => {
            let item = &slice.elem;
            quote! { ::std::vec::Vec<#item> }
        }
        other => other.to_token_stream(),
    }
}
