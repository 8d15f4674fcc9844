//! JSON ↔ CBOR: what a value at the command line is to a task, and a task's result at the command line.
//!
//! This is the one table; CONTRACT.md repeats it for users.
//!
//! | JSON | to the task (CBOR) | and back to JSON |
//! | --- | --- | --- |
//! | `null`, `true`, `false` | null, booleans | the same; CBOR's undefined is `null` |
//! | `7`, `-7`: no point, no exponent | integer; beyond 64 bits a bignum (tags 2, 3) | the same digits, however many |
//! | … outside −2¹²⁷ … 2¹²⁸−1 | refused: no guest type holds it | refused |
//! | `1.0`, `1e3`: a point or an exponent | float | shortest digits that read back the same, always with a point or an exponent |
//! | `1e999` | refused: no 64-bit float holds it | – |
//! | `"text"` | text | text; control characters as `\u….` escapes |
//! | `"NaN"`, `"Infinity"`, `"-Infinity"` | text, as any other string | what the floats NaN, ∞ and −∞ become |
//! | `{"$bytes": "AQI="}` | byte string | the same: base64, standard alphabet, padded (padding may be left out on input) |
//! | `[…]` | array | the same |
//! | `{…}` | map with text keys, in the order written | the same, in the guest's order |
//! | – | map with a key that is not text | refused |
//! | `$bytes` as a key beside others | refused: it is reserved for byte strings | refused |
//! | – | any other tag, such as the handle of a Queue or a Lock | refused |
//!
//! Nothing is rounded or dropped on the way: what the table cannot carry is an error of that item.
//! Values nest up to 127 deep.

mod read;
mod write;

pub(crate) use read::{Malformed, parse};
pub(crate) use write::{Json, single_line, string, write};

/// The only key of an object that stands for a byte string.
const BYTES_KEY: &str = "$bytes";
