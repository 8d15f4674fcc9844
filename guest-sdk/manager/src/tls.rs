//! What can go wrong between two programs that speak TLS, or of which one does.

use std::error::Error;
use std::fmt;

/// Why there is no TLS between a manager, or another program, and this one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsError {
    /// What is to be a certificate, or several, is none: why.
    Certificate(String),
    /// What is to be the private key is none, or is that of another certificate: why.
    Key(String),
    /// The name that the server is expected to have is none, or there is none: why.
    ServerName(String),
    /// The other side speaks TLS, and this one was not told to.
    Unexpected,
    /// The other side does not speak TLS 1.3.
    NotSpoken,
    /// The server's certificate is not one that is trusted, and none of those vouches for it.
    Untrusted,
    /// The server's certificate is not for the name that is expected.
    WrongName {
        /// The name that is expected.
        expected: String,
        /// What the certificate is for.
        certified: Vec<String>,
    },
    /// The server's certificate has been valid, and is no longer.
    Expired,
    /// The server's certificate will be valid, and is not yet.
    NotYetValid,
    /// The other side does not want to go on, be it that it does not trust this one: what it says.
    Refused(String),
    /// Anything else: what.
    Failed(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate(why) => return write!(f, "this is no certificate: {why}"),
            Self::Key(why) => return write!(f, "this is not the private key of the certificate: {why}"),
            Self::ServerName(why) => return write!(f, "this is no name of a server: {why}"),
            Self::Unexpected => "the other side speaks TLS, and this one does not",
            Self::NotSpoken => "the other side does not speak TLS 1.3",
            Self::Untrusted => {
                "the certificate of the server is none that is trusted, nor does one of those vouch for it"
            }
            Self::WrongName { expected, certified } => {
                let certified = match &certified[..] {
                    [] => "no name",
                    names => &names.join(", "),
                };
                return write!(
                    f,
                    "the certificate of the server is not for `{expected}`, but for {certified}"
                );
            }
            Self::Expired => "the certificate of the server is no longer valid",
            Self::NotYetValid => "the certificate of the server is not valid yet",
            Self::Refused(what) => return write!(f, "the other side does not want to speak TLS with this one: {what}"),
            Self::Failed(what) => return write!(f, "there is no TLS with the other side: {what}"),
        })
    }
}

impl Error for TlsError {}
