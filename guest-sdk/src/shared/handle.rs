//! Handles, and how they travel.

use std::{fmt, sync::Arc};

use ciborium::tag::Required;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_bytes::ByteArray;
use wasmp_abi::{HANDLE_TAG, HOME_TOKEN, ObjectKind, Status, TOKEN_LEN};

use super::SharedError;
use crate::host::objects::Object;

pub(crate) const LOCK: u8 = ObjectKind::Lock as u8;
pub(crate) const RLOCK: u8 = ObjectKind::RLock as u8;
pub(crate) const SEMAPHORE: u8 = ObjectKind::Semaphore as u8;
pub(crate) const EVENT: u8 = ObjectKind::Event as u8;
pub(crate) const CONDITION: u8 = ObjectKind::Condition as u8;
pub(crate) const BARRIER: u8 = ObjectKind::Barrier as u8;
pub(crate) const QUEUE: u8 = ObjectKind::Queue as u8;
pub(crate) const CONNECTION: u8 = ObjectKind::Connection as u8;
pub(crate) const MEMORY: u8 = ObjectKind::Memory as u8;
pub(crate) const MANAGER: u8 = ObjectKind::Manager as u8;

/// A handle to an object of this kind, which all its clones share. In a message, it is the object's token.
#[derive(Clone)]
pub(crate) struct Handle<const KIND: u8>(Arc<Object>);

impl<const KIND: u8> Handle<KIND> {
    fn kind() -> ObjectKind {
        ObjectKind::from_code(KIND).expect("one of the constants above")
    }

    /// The object that an import has made.
    pub(crate) fn made(result: i32) -> Result<Self, SharedError> {
        Object::made(result).map_err(SharedError::new).map(Self::from)
    }

    /// The object of this name.
    pub(crate) fn find(name: &str) -> Result<Self, SharedError> {
        Object::find(Self::kind(), name)
            .map_err(SharedError::new)
            .map(Self::from)
    }

    /// The object that a message has brought.
    pub(crate) fn open(token: &Token) -> Result<Self, String> {
        let kind = Self::kind();
        if token.kind != kind {
            return Err(format!("expected {}, got {}", kind.name(), token.kind.name()));
        }
        Object::open(kind, &token.secret)
            .map(Self::from)
            .map_err(|status| match status {
                Status::NotFound => format!("the {} does not exist any more", kind.name()),
                Status::Broken => format!("the {} has ended", kind.name()),
                _ => SharedError::new(status).to_string(),
            })
    }

    /// The manager of whose pool this worker is. `None`: it is of none.
    pub(crate) fn home() -> Option<Self> {
        Object::open(Self::kind(), &HOME_TOKEN).ok().map(Self::from)
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.number()
    }

    pub(crate) fn token(&self) -> Result<Token, SharedError> {
        let secret = self.0.token().map_err(SharedError::new)?;
        Ok(Token {
            kind: Self::kind(),
            secret,
        })
    }
}

impl<const KIND: u8> From<Object> for Handle<KIND> {
    fn from(object: Object) -> Self {
        Self(Arc::new(object))
    }
}

impl<const KIND: u8> fmt::Debug for Handle<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Self::kind().name(), self.number())
    }
}

impl<const KIND: u8> Serialize for Handle<KIND> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.token().map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de, const KIND: u8> Deserialize<'de> for Handle<KIND> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::open(&Token::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// What stands for an object in a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: ObjectKind,
    secret: [u8; TOKEN_LEN],
}

/// A token in CBOR.
type Tagged = Required<(u8, ByteArray<TOKEN_LEN>), HANDLE_TAG>;

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Err(ser::Error::custom("a shared object travels in CBOR only"));
        }
        Required::<_, HANDLE_TAG>((self.kind as u8, ByteArray::new(self.secret))).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Err(de::Error::custom("a shared object travels in CBOR only"));
        }
        // Whatever else there is, what matters is that it is no handle.
        let Required((kind, secret)) = Tagged::deserialize(deserializer)
            .map_err(|_| de::Error::custom("expected the handle of a shared object"))?;
        let kind = ObjectKind::from_code(kind)
            .ok_or_else(|| de::Error::custom(format_args!("shared objects of kind {kind} are unknown")))?;
        Ok(Self {
            kind,
            secret: secret.into_array(),
        })
    }
}

/// Shows an object as what it is and what there is to know about it.
pub(crate) fn debug(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    state: Result<impl fmt::Display, SharedError>,
) -> fmt::Result {
    match state {
        Ok(state) => write!(f, "{name}({state})"),
        Err(error) => write!(f, "{name}({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;

    const TOKEN: Token = Token {
        kind: ObjectKind::Queue,
        secret: *b"0123456789abcdef",
    };

    fn encoded(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
        let mut bytes = Vec::new();
        cbor::encode(value, &mut bytes).unwrap();
        bytes
    }

    fn decoded<T: de::DeserializeOwned>(mut bytes: &[u8]) -> Result<T, String> {
        cbor::decode(&mut bytes, &mut Vec::new())
    }

    #[test]
    fn a_token_is_a_tagged_array_of_kind_and_bytes() {
        let bytes = encoded(&TOKEN);
        assert_eq!(bytes, *b"\xda\x77\x61\x73\x6d\x82\x07\x500123456789abcdef");
        assert_eq!(decoded(&bytes), Ok(TOKEN));
    }

    #[test]
    fn tokens_travel_at_every_depth() {
        let bytes = encoded(&[Some(vec![("x", TOKEN)])]);
        assert_eq!(
            decoded::<Vec<Option<Vec<(String, Token)>>>>(&bytes),
            Ok(vec![Some(vec![("x".into(), TOKEN)])])
        );
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        let no_handle = Err("expected the handle of a shared object".to_owned());
        for bytes in [
            encoded(&5),
            encoded("queue"),
            encoded(&(7, serde_bytes::Bytes::new(b"0123456789abcdef"))),
            b"\xd8\x25\x82\x07\x500123456789abcdef".to_vec(),
            b"\xda\x77\x61\x73\x6d\x82\x07\x4f0123456789abcde".to_vec(),
            b"\xda\x77\x61\x73\x6d\x82\x07".to_vec(),
        ] {
            assert_eq!(decoded::<Token>(&bytes), no_handle, "{bytes:x?}");
        }
        assert_eq!(
            decoded::<Token>(b"\xda\x77\x61\x73\x6d\x82\x18\x63\x500123456789abcdef"),
            Err("shared objects of kind 99 are unknown".into())
        );
    }

    #[test]
    fn a_handle_is_of_its_kind() {
        let refused = |bytes: &[u8]| decoded::<Handle<LOCK>>(bytes).unwrap_err();
        assert_eq!(refused(&encoded(&TOKEN)), "expected lock, got queue");
        let lock = Token {
            kind: ObjectKind::Lock,
            ..TOKEN
        };
        assert_eq!(refused(&encoded(&lock)), SharedError::Unsupported.to_string());
    }

    #[test]
    fn a_token_is_not_for_people() {
        struct Shown(Token);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.serialize(f)
            }
        }

        assert!(fmt::write(&mut String::new(), format_args!("{}", Shown(TOKEN))).is_err());
        let text = de::value::StrDeserializer::<de::value::Error>::new("0123456789abcdef");
        assert_eq!(
            Token::deserialize(text).unwrap_err().to_string(),
            "a shared object travels in CBOR only"
        );
    }
}
