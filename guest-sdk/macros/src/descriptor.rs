//! What `wasmp inspect` shows of a task or a method, as the CBOR map that stands in the module's custom section.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

use crate::signature::Signature;

/// The descriptor of one task, or of one method of the type `of`, whose result may make an object of a type; its layout is
/// written down in `wasmp-abi`.
pub(crate) fn encode(
    signature: &Signature<'_>,
    of: Option<&str>,
    makes: Option<&str>,
    export: &str,
    krate: &str,
    attributes: &[Attribute],
) -> Vec<u8> {
    let mut cbor = Cbor::default();
    let more = [("type", of), ("makes", makes)];
    let more = more.into_iter().filter_map(|(key, value)| Some((key, value?)));
    cbor.map(6 + more.clone().count());
    for (key, value) in more {
        cbor.text(key);
        cbor.text(value);
    }
    cbor.text("name");
    cbor.text(&signature.name);
    cbor.text("export");
    cbor.text(export);
    cbor.text("crate");
    cbor.text(krate);
    cbor.text("doc");
    cbor.text(&doc_comment(attributes));
    cbor.text("params");
    cbor.array(signature.parameters.len());
    for parameter in &signature.parameters {
        cbor.array(2);
        cbor.text(&parameter.name);
        cbor.text(&type_text(parameter.ty));
    }
    cbor.text("returns");
    cbor.text(&signature.result.map_or("()".to_owned(), type_text));
    cbor.0
}

/// The three kinds of CBOR items that a descriptor is made of (RFC 8949, section 3).
#[derive(Default)]
struct Cbor(Vec<u8>);

impl Cbor {
    fn text(&mut self, text: &str) {
        self.head(3, text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn array(&mut self, items: usize) {
        self.head(4, items);
    }

    fn map(&mut self, entries: usize) {
        self.head(5, entries);
    }

    /// A major type and its length, in the shortest form.
    fn head(&mut self, major: u8, length: usize) {
        let major = major << 5;
        match length {
            0..24 => self.0.push(major | length as u8),
            24..0x100 => self.0.extend_from_slice(&[major | 24, length as u8]),
            0x100..0x1_0000 => {
                self.0.push(major | 25);
                self.0.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                self.0.push(major | 26);
                self.0.extend_from_slice(&(length as u32).to_be_bytes());
            }
        }
    }
}

/// The text of a doc comment, without the space that follows `///`.
fn doc_comment(attributes: &[Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"))
        .filter_map(|attribute| {
            let Meta::NameValue(doc) = &attribute.meta else {
                return None;
            };
            let Expr::Lit(ExprLit {
                lit: Lit::Str(line), ..
            }) = &doc.value
            else {
                return None;
            };
            let line = line.value();
            Some(line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
        });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// A type as it is usually written, `HashMap<String, Vec<u8>>`: a token stream's own text has spaces everywhere.
pub(crate) fn type_text(ty: &syn::Type) -> String {
    let mut text = String::new();
    write_tokens(ty.to_token_stream(), &mut text);
    text
}

fn write_tokens(tokens: TokenStream, text: &mut String) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write_tokens(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                sign @ (',' | ';') => {
                    text.push(sign);
                    if tokens.peek().is_some() {
                        text.push(' ');
                    }
                }
                sign @ ('+' | '=') => {
                    text.push(' ');
                    text.push(sign);
                    text.push(' ');
                }
                '-' if punct.spacing() == Spacing::Joint => {
                    text.push_str(" -> ");
                    tokens.next();
                }
                sign => text.push(sign),
            },
            word => {
                text.push_str(&word.to_string());
                if matches!(tokens.peek(), Some(TokenTree::Ident(_) | TokenTree::Literal(_))) {
                    text.push(' ');
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_as_they_are_written() {
        for written in [
            "i64",
            "&str",
            "&[u8]",
            "&'static str",
            "Vec<u8>",
            "Result<HashMap<String, Vec<u8>>, std::io::Error>",
            "(i64, Option<f64>)",
            "[u32; 4]",
            "Box<dyn Fn(i64) -> i64 + Send>",
            "()",
        ] {
            let ty: syn::Type = syn::parse_str(written).unwrap();
            assert_eq!(type_text(&ty), written);
        }
    }

    #[test]
    fn doc_comments_lose_their_margin_only() {
        let function: syn::ItemFn = syn::parse_str("/// One.\n///\n///   - two\nfn f() {}").unwrap();
        assert_eq!(doc_comment(&function.attrs), "One.\n\n  - two");
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        for (length, head) in [
            (0, &[0x60][..]),
            (23, &[0x77]),
            (24, &[0x78, 24]),
            (255, &[0x78, 255]),
            (256, &[0x79, 1, 0]),
            (65_535, &[0x79, 255, 255]),
            (65_536, &[0x7a, 0, 1, 0, 0]),
        ] {
            let mut cbor = Cbor::default();
            cbor.head(3, length);
            assert_eq!(cbor.0, head, "{length}");
        }
    }
}
