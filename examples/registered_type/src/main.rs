//! A type of one's own in a manager, shared by several processes: `wasmp run examples/registered_type`.

#![allow(
    clippy::print_stdout,
    reason = "what becomes of the accounts is this program's output"
)]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use wasmp_guest::{ErrorKind, Manager, ManagerError, New, Process, Result, main, managed, task};

/// A type as any other. What is public of it can be called through a manager, by its proxy.
struct Account {
    cents: u64,
}

#[managed]
impl Account {
    pub fn new(cents: u64) -> Self {
        Self { cents }
    }

    pub fn balance(&self) -> u64 {
        self.cents
    }

    pub fn deposit(&mut self, cents: u64) {
        self.cents += cents;
    }

    /// To look and to take is one step: nobody comes in between.
    pub fn withdraw(&mut self, cents: u64) -> Result<(), String> {
        if self.cents < cents {
            return Err(self.too_little(cents));
        }
        self.cents -= cents;
        Ok(())
    }

    /// Moves money into an account of its own, which the manager makes.
    pub fn split(&mut self, cents: u64) -> Result<New<Account>, String> {
        self.withdraw(cents)?;
        Ok(AccountProxy::new_here(cents))
    }

    /// Not public, and so nobody else's.
    fn too_little(&self, cents: u64) -> String {
        format!("{cents} cents are wanted, and {} are there", self.cents)
    }
}

/// Moves money from one account to the other, a little at a time, until there is too little.
#[task]
fn spend(purse: AccountProxy, till: AccountProxy) -> Result<()> {
    loop {
        match purse.withdraw(10) {
            Ok(()) => till.deposit(10)?,
            // What the method has returned.
            Err(ManagerError::Call(error)) if error.kind == ErrorKind::Error => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[main]
fn main() -> Result<()> {
    let manager = Manager::new()?;
    // The objects live in the manager; their proxies travel.
    let purse = AccountProxy::new(&manager, 4005)?;
    let till = AccountProxy::new(&manager, 0)?;

    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(Process::new(spend).args((&purse, &till)).start()?);
    }
    for process in processes {
        process.join()?;
    }

    let savings = till.split(1000)?;
    println!("saved: {}", savings.balance()?);
    println!("in the till: {}", till.balance()?);
    println!("in the purse: {}", purse.balance()?);
    if let Err(error) = purse.withdraw(10) {
        println!("refused: {error}");
    }
    Ok(())
}
