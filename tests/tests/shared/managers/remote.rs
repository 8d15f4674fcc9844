//! Managers on the other side of a socket, where that makes a difference.

use std::thread;

use wasmp::{Address, Dict, List, Manager, ManagerError};
use wasmp_tests::{eventually, isolated};

use super::{GONE, PATIENCE, anywhere, hosts_and_guests_use, process_of};
use crate::common::{asleep, call, pool, start};

#[test]
fn a_manager_is_reached_from_elsewhere_by_hosts_and_guests() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let socket = Address::Unix(folder.path().join("socket"));
        for address in [anywhere(), socket] {
            let server = manager.listen(&address, b"key").unwrap();
            let there = Manager::connect(server.address(), b"key").unwrap();
            hosts_and_guests_use(&manager, &there);
        }
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    });
}

#[test]
fn rm_02_a_manager_listens_again_at_the_same_address_at_once() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let address = server.address().clone();
        let client = Manager::connect(&address, b"key").unwrap();
        assert!(manager.listen(&address, b"key").is_err(), "li_01: it is taken");
        drop(server);
        let server = manager.listen(&address, b"key").unwrap();
        assert_eq!(server.address(), &address);
        assert_eq!(client.named_dict::<u8, u8>("a").unwrap().len().unwrap(), 0);
    });
}

#[test]
fn au_01_au_02_who_has_another_key_or_finds_nobody_is_told_so() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let address = server.address().clone();
        assert_eq!(
            Manager::connect(&address, b"other").unwrap_err(),
            ManagerError::Authentication
        );
        drop(server);
        let nobody = Manager::connect(&address, b"key").unwrap_err();
        assert!(
            matches!(&nobody, ManagerError::Start(why) if why.contains("refused")),
            "{nobody}"
        );
    });
}

#[test]
fn who_vanishes_is_gone_for_clients_elsewhere_too() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let dict: Dict<String, i64> = there.named_dict("d").unwrap();
        let waiter = thread::spawn({
            let dict = dict.clone();
            move || dict.wait_for_change("never", None)
        });
        let pool = pool(1);
        assert_eq!(call::<Option<i64>>(&pool, "dict_get", (&dict, "never")), None);
        let waiting = start::<(bool, Option<i64>)>(&pool, "dict_wait", (&dict, "never", None::<i64>, None::<u64>));
        asleep(&pool);
        process_of(&manager).kill();
        assert_eq!(waiter.join().unwrap(), Err(ManagerError::Gone));
        let failed = waiting.get_timeout(PATIENCE).unwrap_err().to_string();
        assert!(failed.contains(GONE), "{failed}");
        assert_eq!(dict.get("a"), Err(ManagerError::Gone));
    });
}

#[test]
fn what_a_client_elsewhere_has_made_alone_goes_with_it() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let list: List<i64> = there.list([1, 2]).unwrap();
        assert_eq!(manager.usage().unwrap().objects, 1);
        drop((list, there));
        eventually("the manager has noticed", || {
            (manager.usage().unwrap().objects == 0).then_some(())
        });
    });
}

#[test]
fn handles_do_not_travel_to_a_manager_elsewhere() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let dict: Dict<String, wasmp::Lock> = there.dict([]).unwrap();
        let refused = dict.set("lock", &wasmp::Lock::new().unwrap()).unwrap_err();
        assert!(matches!(&refused, ManagerError::Encode(_)), "{refused}");
        assert_eq!(dict.len().unwrap(), 0);
    });
}

#[test]
fn a_client_that_sends_garbage_harms_only_itself() {
    use std::io::{Read as _, Write as _};

    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let dict: Dict<String, i64> = there.named_dict("d").unwrap();
        let Address::Tcp(address) = server.address() else {
            panic!("it is TCP")
        };
        for garbage in [
            &b"GET / HTTP/1.1\r\n\r\n                    "[..],
            &[0xff; 4096],
            b"wasmp manager 1\n",
            b"",
        ] {
            let mut stranger = std::net::TcpStream::connect(address).unwrap();
            // It may have been shown the door by now.
            let _ = stranger.write_all(garbage);
            let _ = stranger.shutdown(std::net::Shutdown::Write);
            let mut said = Vec::new();
            // It is greeted, and no more. What it has not read may end the connection the hard way.
            let _ = stranger.read_to_end(&mut said);
            assert!(said.len() <= 48, "{said:?}");
            dict.add("a", 1).unwrap();
        }
        // More of them than may stand at the door, who say nothing: others come in when they have gone.
        let silent: Vec<_> = (0..40)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        dict.add("a", 1).unwrap();
        drop(silent);
        eventually("the door is free", || Manager::connect(server.address(), b"key").ok());
        assert_eq!(dict.get("a").unwrap(), Some(5));
    });
}
