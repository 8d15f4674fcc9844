//! The code that is generated beside the function.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Item, ItemFn, spanned::Spanned};

use crate::{
    descriptor::{self, type_text},
    options::Options,
    signature::{Kind, Signature},
};

/// Expands `#[task]`. The function itself is always part of the output, untouched, so that a mistake in the attribute
/// does not drag errors behind it from everywhere the function is used.
pub(crate) fn task(options: TokenStream, item: &TokenStream) -> TokenStream {
    let generated = Options::parse(options).and_then(|options| {
        let function = match syn::parse2(item.clone())? {
            Item::Fn(function) => function,
            other => return Err(syn::Error::new_spanned(other, "#[task] goes on a function")),
        };
        let signature = Signature::of(&function.sig, Kind::Task, &options)?;
        Ok(beside(&function, &signature))
    });
    let generated = generated.unwrap_or_else(|error| error.to_compile_error());
    quote! { #item #generated }
}

/// The export and the descriptor. All but their linking is there on every target: a type that serde cannot carry is an
/// error of a native `cargo check` already, and the function counts as used.
fn beside(function: &ItemFn, signature: &Signature<'_>) -> TokenStream {
    let krate = crate_name();
    let export = format!("wasmp_task_{krate}__{}", signature.name);
    let descriptor = descriptor::encode(signature, None, None, &export, &krate, &function.attrs);
    let descriptor_len = descriptor.len();
    let descriptor = Literal::byte_string(&descriptor);

    let conditions = function
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    let parameters = signature.parameters.iter().map(|parameter| {
        let (name, ty) = (&parameter.name, type_text(parameter.ty));
        quote! { (#name, #ty) }
    });
    let body = body(function, signature);
    let (ident, name) = (&function.sig.ident, &signature.name);

    quote! {
        #(#conditions)*
        #[allow(unsafe_code, reason = "exports need it")]
        const _: () = {
            #[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a wasm module exports it"))]
            #[cfg_attr(target_family = "wasm", unsafe(export_name = #export))]
            extern "C" fn export() {
                ::wasmp_guest::__private::serve(&[#(#parameters),*], #body);
            }

            #[cfg(target_family = "wasm")]
            #[used]
            #[unsafe(link_section = "wasmp.tasks")]
            static DESCRIPTOR: [u8; #descriptor_len] = *#descriptor;

            #[cfg(target_family = "wasm")]
            #[used]
            #[unsafe(link_section = ".init_array")]
            static REGISTER: extern "C" fn() = {
                static NODE: ::wasmp_guest::__private::Node =
                    ::wasmp_guest::__private::Node::new(|| ::wasmp_guest::__private::id_of(&#ident), #name);
                extern "C" fn register() {
                    NODE.register();
                }
                register
            };
        };
    }
}

/// What runs for each item: decode the arguments, call the function, encode what it returns.
fn body(function: &ItemFn, signature: &Signature<'_>) -> TokenStream {
    let ident = &function.sig.ident;
    let names = argument_names(signature);
    let outcome = outcome(
        signature,
        &quote! { #ident(#(#names),*) },
        &quote! { _ },
        &encode(signature),
    );
    with_arguments(signature, &outcome)
}

/// The names under which the arguments of a call are known.
pub(crate) fn argument_names(signature: &Signature<'_>) -> Vec<Ident> {
    (0..signature.parameters.len())
        .map(|index| format_ident!("argument_{index}", span = Span::mixed_site()))
        .collect()
}

/// What serves one item: decodes its arguments, and goes on with `rest`. Each part carries the span of the type it is about,
/// so that "cannot be deserialized" points at the parameter.
pub(crate) fn with_arguments(signature: &Signature<'_>, rest: &TokenStream) -> TokenStream {
    let decode = signature
        .parameters
        .iter()
        .zip(argument_names(signature))
        .map(|(parameter, name)| {
            let ty = parameter.ty;
            quote_spanned! { at(ty)=>
                let #name = ::wasmp_guest::__private::Argument::<#ty>::decode(arguments)?;
            }
        });
    quote_spanned! { Span::mixed_site()=>
        |arguments, output| {
            #[allow(unused_imports, reason = "each is for some types only")]
            use ::wasmp_guest::__private::{
                DecodeWithSerde as _, DisplayFailure as _, EncodeWithSerde as _, ErrorFailure as _, ReturnedPlainly as _,
            };
            #(#decode)*
            #rest
        }
    }
}

/// How a value becomes the result.
pub(crate) fn encode(signature: &Signature<'_>) -> TokenStream {
    let span = signature.result.map_or_else(Span::mixed_site, at);
    quote_spanned! { span=> ::wasmp_guest::__private::Value(&value).encode(output) }
}

/// What becomes of what `call` returns: a value of this type, if it is no error, which `result` makes the result.
pub(crate) fn outcome(
    signature: &Signature<'_>,
    call: &TokenStream,
    value: &TokenStream,
    result: &TokenStream,
) -> TokenStream {
    let span = signature.result.map_or_else(Span::mixed_site, at);
    quote_spanned! { span=>
        match ::wasmp_guest::__private::Returned(#call).outcome() {
            ::core::result::Result::Ok(value) => {
                let value: #value = value;
                #result
            }
            ::core::result::Result::Err(error) => {
                ::core::result::Result::Err(::wasmp_guest::__private::Reason(&error).failure())
            }
        }
    }
}

/// The place of a type, with the hygiene of generated code.
pub(crate) fn at(ty: &syn::Type) -> Span {
    Span::mixed_site().located_at(ty.span())
}

/// The crate that is being compiled. Two crates may have tasks of the same name: their exports differ by this, and the
/// host can tell the user which crates they are.
pub(crate) fn crate_name() -> String {
    let name = std::env::var("CARGO_CRATE_NAME")
        .or_else(|_| std::env::var("CARGO_PKG_NAME"))
        .unwrap_or_default();
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}
