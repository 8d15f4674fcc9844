//! Everything a task may be, without a warning, in a crate that forbids what it can.

#![deny(warnings, unsafe_code, missing_docs)]

use std::{collections::HashMap, fmt, io};

use serde::{Deserialize, Serialize};
use wasmp_guest::{Condition, Connection, Lock, Manager, ManagerError, New, Queue, Value, managed, task};

type Outcome<T> = Result<T, Refusal>;

struct Refusal;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no")
    }
}

#[derive(Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[task]
fn nothing() {}

/// With a doc comment.
#[task]
fn numbers(a: i8, b: u64, c: f32, d: usize, e: u128) -> f64 {
    f64::from(a) + b as f64 + f64::from(c) + d as f64 + e as f64
}

#[task]
fn consumer(q: Queue<Option<i64>>, done: Lock) -> wasmp_guest::Result<i64> {
    let _guard = done.lock()?;
    Ok(q.get()?.unwrap_or(0))
}

#[task]
fn handles(objects: Vec<(Option<Connection>, Value<f64>)>, conditions: HashMap<String, Condition>) -> usize {
    objects.len() + conditions.len()
}

#[task]
fn borrowed(text: &str, bytes: &[u8], mut owned: Vec<u8>) -> Vec<u8> {
    owned.extend(text.as_bytes());
    owned.extend(bytes);
    owned
}

#[task]
fn gives_back(text: &str) -> &str {
    text.trim()
}

#[task(name = "other_name")]
fn types_of_its_own(point: Point, r#type: Option<Point>, more: HashMap<String, (i64, char)>) -> Vec<Point> {
    let _ = more;
    vec![point, r#type.unwrap_or(Point { x: 0.0, y: 0.0 })]
}

#[task]
fn alias(yes: bool) -> Outcome<()> {
    if yes { Ok(()) } else { Err(Refusal) }
}

#[task]
fn io_result(path: String) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

#[task]
fn boxed() -> Result<(), Box<dyn std::error::Error>> {
    Err("no".into())
}

#[task]
fn any_error(number: &str) -> wasmp_guest::Result<i64> {
    Ok(number.parse()?)
}

#[cfg(any())]
#[task]
fn not_there(_: Missing) {}

#[task]
#[cfg(any())]
fn not_there_either(x: Missing) {}

mod inner {
    #[wasmp_guest::task]
    pub(crate) fn path_to_the_macro(x: i64) -> i64 {
        x
    }
}

/// All that is public has a doc comment, and so has what is made of it.
#[derive(Debug)]
pub struct Shown;

#[managed(pub)]
impl Shown {
    /// Makes one.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// Shows it.
    pub fn show(&mut self, name: &str) -> String {
        format!("{name}: {self:?}")
    }
}

#[derive(Debug, Default)]
struct Account {
    cents: u64,
    r#type: String,
}

#[managed]
impl Account {
    const NONE: u64 = 0;

    pub const fn new(cents: u64, manager: String, name: Option<Point>) -> Self {
        let _ = name;
        Self { cents, r#type: manager }
    }

    pub fn r#type(&self) -> &str {
        &self.r#type
    }

    pub fn take(&mut self, r#in: u64, of: Vec<Self>) -> io::Result<Option<Self>> {
        self.cents += r#in + of.len() as u64;
        Ok(None)
    }

    pub fn bytes(&self, bytes: &[u8]) -> wasmp_guest::Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }

    pub fn another(&self) -> Result<New<Self>, Refusal> {
        Ok(AccountProxy::new_here(self.cents, String::new(), None))
    }

    pub fn shown(&self) -> wasmp_guest::New<self::Shown> {
        ShownProxy::new_here()
    }

    #[cfg(any())]
    pub fn not_there(&self, gone: Missing) {}

    pub fn from_nothing() -> Self {
        Self::new(Self::NONE, String::new(), None)
    }

    fn generic<T>(&self, _: T) {}
}

impl Serialize for Account {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.cents.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { cents: u64::deserialize(deserializer)?, ..Self::default() })
    }
}

#[task]
fn with_account(account: AccountProxy) -> Result<Option<Account>, ManagerError> {
    account.clone().r#type()?;
    account.take(1, vec![])
}

fn makes_one(manager: &Manager) -> Result<AccountProxy, ManagerError> {
    AccountProxy::new(manager, 1, String::new(), None)?;
    AccountProxy::named(manager, "name", 1, String::new(), None)
}

struct Private;

#[managed]
impl Private {
    pub fn new() -> Result<Self, Refusal> {
        Ok(Self)
    }

    pub fn point(&mut self, point: Point) -> Result<Point, Refusal> {
        Ok(point)
    }
}

fn main() {
    let _ = makes_one;
    Account::from_nothing().generic(1);
    assert_eq!(inner::path_to_the_macro(3), 3);
    assert_eq!(gives_back(" a "), "a");
}
