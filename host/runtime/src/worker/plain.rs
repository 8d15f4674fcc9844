//! Tasks of modules that know nothing of wasmp: exported functions of numbers.

use ciborium::Value;
use wasmp_abi::ErrorKind;
use wasmtime::{FuncType, Val, ValType};

use crate::wire::Fault;

fn wrong(message: String) -> Fault {
    Fault::new(ErrorKind::Arguments, message)
}

/// The arguments in these bytes, as this function takes them.
pub(super) fn arguments(bytes: &[u8], ty: &FuncType) -> Result<Vec<Val>, Fault> {
    let given = match ciborium::from_reader(bytes) {
        Ok(Value::Array(given)) => given,
        Ok(Value::Null) => Vec::new(),
        Ok(_) => return Err(wrong("the arguments are not a sequence".into())),
        Err(error) => return Err(wrong(format!("the arguments cannot be read: {error}"))),
    };
    let expected = ty.params().len();
    if given.len() != expected {
        let types: Vec<String> = ty.params().map(|ty| ty.to_string()).collect();
        let expected = match expected {
            0 => "no arguments".to_owned(),
            1 => format!("1 argument ({})", types[0]),
            _ => format!("{expected} arguments ({})", types.join(", ")),
        };
        return Err(wrong(format!("expected {expected}, got {}", given.len())));
    }
    ty.params()
        .zip(&given)
        .enumerate()
        .map(|(at, (ty, value))| {
            number(value, &ty)
                .ok_or_else(|| wrong(format!("argument {}: expected {ty}, got {}", at + 1, describe(value))))
        })
        .collect()
}

/// A number of this type. Integers may be given signed or unsigned, as wasm has no opinion on that.
fn number(value: &Value, ty: &ValType) -> Option<Val> {
    let integer = || value.as_integer().map(i128::from);
    let float = || value.as_float().or_else(|| integer().map(|integer| integer as f64));
    match ty {
        ValType::I32 => {
            let integer = integer()?;
            let bits = i32::try_from(integer)
                .or_else(|_| u32::try_from(integer).map(u32::cast_signed))
                .ok()?;
            Some(Val::I32(bits))
        }
        ValType::I64 => {
            let integer = integer()?;
            let bits = i64::try_from(integer)
                .or_else(|_| u64::try_from(integer).map(u64::cast_signed))
                .ok()?;
            Some(Val::I64(bits))
        }
        ValType::F32 => Some(Val::F32((float()? as f32).to_bits())),
        ValType::F64 => Some(Val::F64(float()?.to_bits())),
        _ => None,
    }
}

/// The results as CBOR: nothing is null, one is itself, several are a sequence.
pub(super) fn results(values: &[Val]) -> Vec<u8> {
    let value = match values {
        [] => Value::Null,
        [value] => to_value(value),
        values => Value::Array(values.iter().map(to_value).collect()),
    };
    let mut bytes = Vec::new();
    ciborium::into_writer(&value, &mut bytes).expect("plain data into a Vec cannot fail");
    bytes
}

fn to_value(value: &Val) -> Value {
    match value {
        Val::I32(value) => Value::from(*value),
        Val::I64(value) => Value::from(*value),
        Val::F32(bits) => Value::from(f64::from(f32::from_bits(*bits))),
        Val::F64(bits) => Value::from(f64::from_bits(*bits)),
        _ => Value::Null,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Integer(integer) => format!("the number {}", i128::from(*integer)),
        Value::Float(float) => format!("the number {float}"),
        Value::Text(text) => format!("the text {text:?}"),
        Value::Bool(value) => value.to_string(),
        Value::Null => "nothing".into(),
        Value::Bytes(_) => "bytes".into(),
        Value::Array(_) => "a sequence".into(),
        Value::Map(_) => "a map".into(),
        _ => "something else".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::Engine;

    fn ty(params: &[ValType]) -> FuncType {
        FuncType::new(&Engine::default(), params.iter().cloned(), [])
    }

    fn cbor(value: &impl serde::Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn numbers_are_taken_signed_and_unsigned() {
        let ty = ty(&[ValType::I32, ValType::I64, ValType::F64]);
        let args = arguments(&cbor(&(u32::MAX, -1, 2)), &ty).unwrap();
        assert!(matches!(args[..], [Val::I32(-1), Val::I64(-1), Val::F64(bits)] if f64::from_bits(bits) == 2.0));
    }

    #[test]
    fn a_wrong_number_or_type_of_arguments_is_named() {
        let ty = ty(&[ValType::I32]);
        assert_eq!(
            arguments(&cbor(&(1, 2)), &ty).unwrap_err().message,
            "expected 1 argument (i32), got 2"
        );
        assert_eq!(
            arguments(&cbor(&("x",)), &ty).unwrap_err().message,
            "argument 1: expected i32, got the text \"x\""
        );
        assert_eq!(
            arguments(&cbor(&(1i64 << 40,)), &ty).unwrap_err().message,
            "argument 1: expected i32, got the number 1099511627776"
        );
    }
}
