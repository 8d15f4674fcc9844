//! Two programs share a manager: the first holds it, and this one, run as often as you like, counts its runs there.
//!
//! ```sh
//! wasmp manager --listen 127.0.0.1:5000 --authkey-file KEY
//! cargo run -p remote_manager -- 127.0.0.1:5000 KEY Ada
//! ```

#![allow(clippy::print_stdout, reason = "the counts are this program's output")]

use std::env;
use std::error::Error;

use wasmp::{Address, Manager};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, key_file, name] = &arguments[..] else {
        return Err("usage: remote_manager ADDRESS KEY-FILE NAME".into());
    };
    let address: Address = address.parse()?;
    let key = std::fs::read(key_file)?;
    let manager = Manager::connect(&address, key.trim_ascii_end())?;

    // Whoever comes first makes it; under its name all others find the same one.
    let visits = manager.named_counter::<String>("visits")?;
    visits.add(name, 1)?;
    for (name, times) in visits.most_common(10)? {
        println!("{times:3} {name}");
    }
    Ok(())
}
