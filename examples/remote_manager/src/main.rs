//! Programs share a queue that none of them holds: `wasmp manager` does.
//!
//! ```sh
//! wasmp manager --listen 127.0.0.1:5000 --authkey-file KEY
//! cargo run -p remote_manager -- 127.0.0.1:5000 KEY get
//! cargo run -p remote_manager -- 127.0.0.1:5000 KEY put hello
//! ```
//!
//! Python's documentation does it with `BaseManager.register('get_queue')`:
//!
//! ```python
//! m = QueueManager(address=('foo.bar.org', 50000), authkey=b'abracadabra')
//! m.connect()
//! queue = m.get_queue()
//! queue.put('hello')
//! ```

#![allow(clippy::print_stdout, reason = "what comes is this program's output")]

use std::env;
use std::error::Error;

use wasmp::{Address, Manager};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, key_file, command @ ..] = &arguments[..] else {
        return Err("usage: remote_manager ADDRESS KEY-FILE get | put WORD…".into());
    };
    let address: Address = address.parse()?;
    let key = std::fs::read(key_file)?;
    let manager = Manager::connect(&address, key.trim_ascii_end())?;

    // Whoever comes first makes it; under its name all others find the same one.
    let queue = manager.named_queue::<String>("words", 0)?;
    match command {
        [get] if get == "get" => println!("{}", queue.get()?),
        [put, words @ ..] if put == "put" => words.iter().try_for_each(|word| queue.put(word))?,
        _ => return Err("it is get, or put and words".into()),
    }
    Ok(())
}
