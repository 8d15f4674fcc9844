//! Managers, and what they hold. Ids such as `mc_05` name a behaviour of CPython's own tests.
//!
//! Where a test is one of [`both`], it is done with a manager of this host and with one that is reached by a socket. Some of
//! CPython's behaviours are not there to be tested:
//!
//! * MC-03, MC-07: nothing is iterated in the manager. `items` and their like are copies, of one moment, and nothing that
//!   happens later changes them. `+` of MC-01 is for them, too.
//! * MC-10, in part: no attribute of a namespace is hidden. All are the namespace's.
//! * MM-01, I-01: a manager runs no code of anybody's. MM-03: none is there that has not been started.
//! * I-02 is tested with pools (`library`), PK-02 with pipes (`connections`), AU-03 below the sockets (in the library itself).
//! * LI-04: there are no abstract sockets: anybody could take their names. LI-08: an [`Address`] that is none is no value.

mod deaths;
mod listeners;
mod objects;
mod pools;
mod remote;
mod snapshots;
mod tls;
mod together;

use std::time::Duration;

use wasmp::{Address, Dict, Manager};
use wasmp_tests::Process;

use crate::common::{pool, start};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

const GONE: &str = "the manager has ended, and what it managed is gone";

fn nothing() -> Vec<String> {
    Vec::new()
}

/// The process of a manager.
fn process_of(manager: &Manager) -> Process {
    let process = manager.process().expect("it was started here");
    Process::open(process.pid()).expect("it runs")
}

/// An address on the loopback where a port is free.
fn anywhere() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

/// Has a test done with a manager of this host, and with one that is reached by a socket.
fn both(test: impl Fn(&Manager)) {
    let manager = Manager::new().unwrap();
    test(&manager);
    let server = manager.listen(&anywhere(), b"key").unwrap();
    test(&Manager::connect(server.address(), b"key").unwrap());
}

/// A manager is used by hosts and by guests, through itself and through another way to it.
fn hosts_and_guests_use(manager: &Manager, there: &Manager) {
    let here: Dict<String, i64> = manager.named_dict("shared").unwrap();
    let dict: Dict<String, i64> = there.named_dict("shared").unwrap();
    dict.set("a", &1).unwrap();
    assert_eq!(here.remove("a").unwrap(), Some(1));
    let pool = pool(2);
    let adding = [(); 2].map(|()| start::<()>(&pool, "dict_add", (&dict, "sum", 100)));
    for _ in 0..100 {
        here.add("sum", 1).unwrap();
    }
    for adding in adding {
        adding.get_timeout(PATIENCE).unwrap();
    }
    assert_eq!(here.remove("sum").unwrap(), Some(300));
    let large = serde_bytes::ByteBuf::from(vec![7; 20 << 20]);
    let bytes: Dict<u8, serde_bytes::ByteBuf> = there.dict([]).unwrap();
    bytes.set(&0, &large).unwrap();
    assert_eq!(bytes.get(&0).unwrap(), Some(large));
}
