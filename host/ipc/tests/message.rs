//! What a message is while it is taken out. Apart from the tests that fork: a process forked while a thread panics may find
//! the locks of that taken.

use std::sync::Arc;
use std::thread;

use wasmp_ipc::{Limit, Mapping, Party, Queue, QueueOptions};

#[test]
fn reading_behind_the_end_of_a_message_panics_and_the_message_stays() {
    let mapping = Arc::new(Mapping::create("test", Queue::bytes(4096)).unwrap().1);
    let queue = Queue::create(&mapping, QueueOptions::default()).unwrap();
    for payload in [&b"12345678"[..], b"next"] {
        queue.put(&Party::host(), 0, &[payload], Limit::Poll).unwrap();
    }
    for (at, length) in [(0, 9), (8, 1), (9, 0), (usize::MAX, 1), (1, 100)] {
        let read = || {
            queue.get(&Party::host(), Limit::Poll, |message| {
                message.read(at, &mut vec![0; length]);
            })
        };
        let result = thread::scope(|scope| scope.spawn(read).join());
        assert!(result.is_err(), "{length} bytes from {at}");
    }
    let first = queue.get(&Party::host(), Limit::Poll, |message| message.to_vec());
    assert_eq!(first.as_deref(), Ok(&b"12345678"[..]));
}
