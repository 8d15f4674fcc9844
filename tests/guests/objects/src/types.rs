//! Types that managers hold: one that behaves, and one that does all that it should not.

use std::{
    fmt,
    hint::black_box,
    io::Read,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use wasmp_guest::{
    Dict, Error, Lock, Manager, ManagerError, New, Object, Pool, Process, Queue, Result, at_exit, current_process,
    managed, task, worker_slot,
};

/// An entry in the books.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    what: String,
    cents: i64,
}

#[derive(Debug)]
pub(crate) struct Overdrawn;

impl fmt::Display for Overdrawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is not so much")
    }
}

impl std::error::Error for Overdrawn {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&Missing)
    }
}

#[derive(Debug)]
struct Missing;

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("some cents are missing")
    }
}

impl std::error::Error for Missing {}

pub(crate) struct Account {
    owner: String,
    cents: u64,
    book: Vec<Entry>,
}

#[managed(pub(crate))]
impl Account {
    /// The most that there can be.
    pub const MOST: u64 = 1_000_000;

    pub fn new(owner: &str, cents: u64) -> Result<Self, String> {
        if cents > Self::most() {
            return Err(format!("{cents} are too many"));
        }
        Ok(Self {
            owner: owner.to_owned(),
            cents,
            book: Vec::new(),
        })
    }

    /// Puts money in.
    pub fn deposit(&mut self, cents: u64) -> u64 {
        self.note("deposit", cents.cast_signed());
        self.cents += cents;
        self.cents
    }

    /// Takes money out.
    pub fn withdraw(&mut self, cents: u64) -> Result<u64, Overdrawn> {
        self.cents = self.cents.checked_sub(cents).ok_or(Overdrawn)?;
        self.note("withdraw", -cents.cast_signed());
        Ok(self.cents)
    }

    pub fn owner(&self) -> &str {
        &self.owner
    }

    pub fn book(&self) -> &[Entry] {
        &self.book
    }

    pub fn replace_book(&mut self, book: Vec<Entry>) {
        self.book = book;
    }

    pub fn signature(&self, key: &[u8], mut rest: Vec<u8>) -> Vec<u8> {
        rest.extend(key);
        rest
    }

    /// Says so, and takes its time.
    #[allow(clippy::print_stdout, reason = "it is to be seen where that goes")]
    pub fn slowly(&mut self, milliseconds: u64) {
        println!("{} takes some time", self.owner);
        thread::sleep(Duration::from_millis(milliseconds));
        self.cents += 1;
    }

    /// Moves money into an account of somebody else.
    pub fn split(&mut self, owner: &str, cents: u64) -> Result<New<Self>, Overdrawn> {
        self.withdraw(cents)?;
        Ok(AccountProxy::new_here(owner, cents))
    }

    /// Not a method.
    pub fn most() -> u64 {
        Self::MOST
    }

    pub(crate) fn empty(&mut self) {
        self.cents = 0;
    }

    fn note(&mut self, what: &str, cents: i64) {
        self.book.push(Entry {
            what: what.to_owned(),
            cents,
        });
    }
}

/// Whatever a type can do wrong.
struct Trouble {
    hoard: Vec<Vec<u8>>,
}

#[managed]
impl Trouble {
    pub fn new(how: &str) -> Self {
        match how {
            "panic" => panic!("not made"),
            "loop" => forever(),
            _ => Self { hoard: Vec::new() },
        }
    }

    pub fn fine(&self) -> usize {
        self.hoard.len()
    }

    pub fn panic(&self) {
        panic!("told to panic");
    }

    pub fn trap(&self) -> i32 {
        black_box(1) / black_box(self.hoard.len() as i32)
    }

    #[cfg(target_family = "wasm")]
    pub fn unreachable(&self) {
        core::arch::wasm32::unreachable();
    }

    pub fn exit(&self, code: i32) {
        std::process::exit(code);
    }

    pub fn overflow(&self, depth: u64) -> u64 {
        if depth == 0 {
            return 0;
        }
        black_box(self.overflow(black_box(depth - 1))) + 1
    }

    /// Keeps so many bytes.
    pub fn keep(&mut self, bytes: usize) -> usize {
        self.hoard.push(vec![1; bytes]);
        self.hoard.len()
    }

    pub fn keep_all(&mut self) {
        loop {
            self.keep(1 << 20);
        }
    }

    pub fn huge(&self, bytes: usize) -> Vec<u8> {
        vec![7; bytes]
    }

    pub fn forever(&self) {
        forever()
    }

    pub fn sleep(&self, milliseconds: u64) {
        thread::sleep(Duration::from_millis(milliseconds));
    }

    /// An object of another type.
    pub fn account(&self, cents: u64) -> New<Account> {
        AccountProxy::new_here("Eve", cents)
    }

    /// One that its constructor makes or does not.
    pub fn another(&mut self, how: &str) -> New<Self> {
        self.hoard.push(Vec::new());
        TroubleProxy::new_here(how)
    }

    pub fn given(&self, queue: Queue<i64>) -> Result<()> {
        Ok(queue.put(1)?)
    }

    pub fn unserializable(&self) -> Stubborn {
        Stubborn
    }

    /// What it can reach that it should not: one word for each.
    pub fn reach(&self) -> Vec<String> {
        let mut input = String::new();
        let reached = [
            ("a lock", Lock::new().is_ok()),
            ("a lock by its name", Lock::named("lock").is_ok()),
            ("a queue", Queue::<i64>::new(0).is_ok()),
            ("a manager", Manager::new().is_ok()),
            ("a pool", Pool::new(1).is_ok()),
            ("a process", Process::new("managed_new").start().is_ok()),
            ("its process", current_process().is_ok()),
            ("another slot", worker_slot() != Ok(1)),
            ("input", std::io::stdin().read_to_string(&mut input).unwrap_or(0) > 0),
            ("files", std::fs::read_dir("/").is_ok()),
            ("variables", std::env::vars().next().is_some()),
        ];
        at_exit(0, || ());
        let words = reached.into_iter().filter(|(_, reached)| *reached);
        words.map(|(what, _)| what.to_owned()).collect()
    }
}

fn forever() -> ! {
    let start = Instant::now();
    loop {
        black_box(start);
    }
}

/// What cannot be a result.
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("I will not"))
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("nor this"))
    }
}

#[task]
fn account_new(manager: Manager, owner: &str, cents: u64) -> Result<AccountProxy> {
    Ok(AccountProxy::new(&manager, owner, cents)?)
}

#[task]
fn account_named(manager: Manager, name: &str) -> Result<AccountProxy> {
    Ok(AccountProxy::named(&manager, name, "somebody", 0)?)
}

/// Puts in one, so many times.
#[task]
fn account_fill(account: AccountProxy, times: u64) -> Result<()> {
    for _ in 0..times {
        account.deposit(1)?;
    }
    Ok(())
}

#[task]
fn account_slowly(account: AccountProxy, milliseconds: u64) -> Result<()> {
    Ok(account.slowly(milliseconds)?)
}

/// Everything that a proxy can do, as one word for each thing that was not as expected.
#[task]
fn account_methods(manager: Manager) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, holds: bool| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let account = AccountProxy::new(&manager, "Ada", 100)?;
    check("deposit", account.deposit(11)? == 111);
    check("withdraw", account.withdraw(1)? == 110);
    check("a text that is lent", account.owner()? == "Ada");
    let book = account.book()?;
    check("a list that is lent", book.len() == 2 && book[1].cents == -1);
    account.replace_book(book[..1].to_vec())?;
    check("a list as an argument", account.book()? == book[..1]);
    check(
        "bytes",
        account.signature(b"key", vec![1, 2])? == [1, 2, b'k', b'e', b'y'],
    );
    match account.withdraw(1000) {
        Err(ManagerError::Call(error)) => {
            check("an error", error.message == "there is not so much");
            check("its cause", error.causes == ["some cents are missing"]);
        }
        _ => check("no error", false),
    }
    check("the same after an error", account.withdraw(0)? == 110);
    let again = Object::from(account.clone());
    check("by name", again.call::<_, u64>("deposit", (1,))? == 111);
    check("by its proxy", AccountProxy::from(again.clone()).deposit(1)? == 112);
    check(
        "not exposed",
        matches!(again.call::<_, ()>("empty", ()), Err(ManagerError::NoSuchMethod { .. })),
    );
    check(
        "refused",
        AccountProxy::new(&manager, "Eve", Account::most() + 1)
            .unwrap_err()
            .to_string()
            == "1000001 are too many",
    );
    // As proxies of proxies: one in a dictionary is that one.
    let accounts = manager.dict([("ada".to_owned(), account.clone())])?;
    check(
        "in a dictionary",
        accounts.get("ada")?.map(|there| there.deposit(8)).transpose()? == Some(120),
    );
    check("the same one", account.withdraw(20)? == 100);
    let split = account.split("Eve", 30)?;
    check("split", split.owner()? == "Eve" && split.deposit(1)? == 31);
    check("what it was split from", account.withdraw(0)? == 70);
    check(
        "an error instead of an object",
        account.split("Eve", 1000).map(drop).unwrap_err().to_string() == "there is not so much: some cents are missing",
    );
    check("given back", account.deposit(30)? == 100);
    // The type is still one of this program's own.
    let mut here = Account::new("me", 1).map_err(Error::new)?;
    here.empty();
    check("here", here.deposit(2) == 2);
    Ok(wrong)
}

/// Splits an account, and keeps what comes of it until it is killed.
#[task]
fn account_split_and_wait(account: AccountProxy, split: Lock) -> Result<()> {
    let _split = account.split("Eve", 1)?;
    let _held = split.lock()?;
    thread::sleep(Duration::from_secs(100));
    Ok(())
}

/// Puts money into an account of a dictionary.
#[task]
fn account_nested(accounts: Dict<String, AccountProxy>, key: String, cents: u64) -> Result<Option<u64>> {
    Ok(accounts.get(&key)?.map(|account| account.deposit(cents)).transpose()?)
}

/// Makes a manager here, and an object in it.
#[task]
fn account_of_own() -> Result<(Manager, AccountProxy)> {
    let manager = Manager::new()?;
    let account = AccountProxy::new(&manager, "own", 5)?;
    Ok((manager, account))
}

/// Makes a manager here in which calls may take so long, and says how one that takes longer ends, and one that does not.
#[task]
fn trouble_in_time(limit: u64, milliseconds: u64) -> Result<(String, u64)> {
    let manager = Manager::builder().call_timeout(Duration::from_millis(limit)).start()?;
    let account = AccountProxy::new(&manager, "own", 5)?;
    account.slowly(milliseconds)?;
    let cents = account.deposit(0)?;
    let gone = TroubleProxy::new(&manager, "")?.forever();
    Ok((gone.map_or_else(|error| error.to_string(), |_| String::new()), cents))
}

/// How a call goes wrong that is the guest's own.
#[task]
fn trouble(manager: Manager, method: &str) -> Result<(String, String)> {
    let trouble = TroubleProxy::new(&manager, "")?;
    let first = match method {
        "panic" => trouble.panic(),
        _ => trouble.exit(3),
    };
    let words = |result: Result<_, ManagerError>| result.map_or_else(|error| error.to_string(), |_| String::new());
    Ok((words(first), words(trouble.fine().map(drop))))
}
