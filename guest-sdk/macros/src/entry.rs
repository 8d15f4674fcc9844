//! Expands `#[main]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{ItemFn, spanned::Spanned};

/// The function, wrapped. With a mistake in it, it stays as it is, so that there is one error and not two.
pub(crate) fn main(options: &TokenStream, item: &TokenStream) -> TokenStream {
    match parse(options, item) {
        Ok(function) => wrap(&function),
        Err(error) => {
            let error = error.to_compile_error();
            quote! { #item #error }
        }
    }
}

fn parse(options: &TokenStream, item: &TokenStream) -> syn::Result<ItemFn> {
    if !options.is_empty() {
        return Err(syn::Error::new_spanned(options, "#[main] takes no options"));
    }
    let function: ItemFn =
        syn::parse2(item.clone()).map_err(|_| syn::Error::new_spanned(item, "#[main] goes on a function"))?;
    let signature = &function.sig;
    let refuse = |what: &dyn quote::ToTokens, why| Err(syn::Error::new_spanned(what, why));
    if signature.ident != "main" {
        return refuse(&signature.ident, "the function that #[main] goes on is called `main`");
    }
    if !signature.inputs.is_empty() {
        return refuse(
            &signature.inputs,
            "`main` takes no arguments: they are in `std::env::args`",
        );
    }
    if let Some(asyncness) = &signature.asyncness {
        return refuse(asyncness, "`main` cannot be `async`: there is no runtime in a guest");
    }
    if !signature.generics.params.is_empty() {
        return refuse(&signature.generics, "`main` cannot be generic");
    }
    Ok(function)
}

fn wrap(function: &ItemFn) -> TokenStream {
    let (attributes, visibility, ident) = (&function.attrs, &function.vis, &function.sig.ident);
    let (output, body) = (&function.sig.output, &function.block);
    let span = match output {
        syn::ReturnType::Default => Span::mixed_site(),
        syn::ReturnType::Type(_, ty) => Span::mixed_site().located_at(ty.span()),
    };
    let outcome = quote_spanned! { span=>
        ::wasmp_guest::__private::Returned(main()).outcome()
    };
    quote! {
        #(#attributes)*
        #visibility fn #ident() {
            fn main() #output #body
            #[allow(unused_imports, reason = "a `Result` needs no detour")]
            use ::wasmp_guest::__private::ReturnedPlainly as _;
            ::wasmp_guest::__private::run(|| #outcome);
        }
    }
}
