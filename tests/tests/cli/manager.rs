//! `wasmp manager`: what it prints, who reaches it, and how it ends.

use wasmp::{Address, Dict, Manager, ManagerError, TlsClient, TlsError};
use wasmp_tests::{Certified, objects, tasks};

use crate::run::wasmp;
use crate::scene::Folder;

#[test]
fn it_says_where_it_listens_and_serves_whoever_has_the_key() {
    let folder = Folder::new().with("key", "a secret\n");
    let command = format!(
        "manager --authkey-file {}/key --max-bytes 100K",
        folder.path().display()
    );
    let running = wasmp(&command).start();
    let address: Address = running.stdout.next().parse().expect("an address");
    let refused = Manager::connect(&address, b"a secret\n").unwrap_err();
    assert_eq!(refused, ManagerError::Authentication);
    let one = Manager::connect(&address, b"a secret").expect("it is there");
    let other = Manager::connect(&address, b"a secret").expect("it is there");
    let dict: Dict<String, i64> = one.named_dict("d").expect("a dictionary");
    dict.set("a", &1).expect("there is room");
    let same: Dict<String, i64> = other.named_dict("d").expect("the same");
    assert_eq!(same.get("a"), Ok(Some(1)));
    assert_eq!(one.usage().expect("it says").max_bytes, 100 << 10);
    other.shutdown().expect("it ends");
    running.end().ends(0, "", "");
    assert_eq!(dict.get("a"), Err(ManagerError::Gone));
}

#[test]
fn ctrl_c_ends_it_and_takes_its_socket_away() {
    let folder = Folder::new().with("key", "key");
    let path = folder.path().display();
    let running = wasmp(&format!(
        "manager --authkey-file {path}/key --listen unix:{path}/socket"
    ))
    .start();
    assert_eq!(running.stdout.next(), format!("unix:{path}/socket"));
    let address: Address = running_address(&folder);
    let manager = Manager::connect(&address, b"key").expect("it is there");
    let list = manager.named_list::<i64>("l").expect("a list");
    running.interrupt();
    running.end().ends(130, "", "");
    assert_eq!(list.push(&1), Err(ManagerError::Gone));
    assert_eq!(folder.files(), ["key"]);
}

fn running_address(folder: &Folder) -> Address {
    Address::Unix(folder.path().join("socket"))
}

#[test]
fn a_key_that_is_none_and_an_address_that_is_none_are_refused() {
    let folder = Folder::new().with("empty", "\n");
    let path = folder.path().display();
    let outcome = wasmp(&format!("manager --authkey-file {path}/empty")).run();
    assert_eq!(outcome.code(), 2);
    outcome.says(&["it is empty, and anybody can guess that"]);
    let outcome = wasmp(&format!("manager --authkey-file {path}/none")).run();
    assert_eq!(outcome.code(), 2);
    let outcome = wasmp("manager --authkey-file key --listen 5000").run();
    assert_eq!(outcome.code(), 2);
    outcome.says(&["is neither HOST:PORT nor unix:PATH"]);
}

#[test]
fn it_holds_the_types_of_a_module_until_a_method_takes_too_long() {
    let folder = Folder::new().with("key", "key");
    let command = format!(
        "manager --authkey-file {}/key --call-timeout 500ms --module",
        folder.path().display()
    );
    let running = wasmp(&command).arg(objects()).start();
    let address: Address = running.stdout.next().parse().expect("an address");
    let manager = Manager::connect(&address, b"key").expect("it is there");
    let account = manager.create("Account", ("Ada", 1)).expect("an account");
    assert_eq!(account.call::<_, u64>("deposit", (1,)), Ok(2));
    let trouble = manager.create("Trouble", ("",)).expect("trouble");
    assert_eq!(trouble.call::<_, ()>("forever", ()), Err(ManagerError::Gone));
    let outcome = running.end();
    assert_eq!(outcome.code(), 1);
    outcome.says(&["a method ran longer than it may (--call-timeout), and was killed with the manager"]);
}

#[test]
fn sm_07_its_pools_run_the_tasks_of_its_module_for_programs_anywhere() {
    let folder = Folder::new().with("key", "key");
    let key = format!("manager --authkey-file {}/key", folder.path().display());
    let running = wasmp(&format!("{key} --max-processes 2 --module")).arg(tasks()).start();
    let address: Address = running.stdout.next().parse().expect("an address");
    let manager = Manager::connect(&address, b"key").expect("it is there");
    let pool = manager.named_pool("tasks", 2).expect("a pool");
    let squares: Vec<i64> = pool.map("square", 0..4).expect("they are squared");
    assert_eq!(squares, [0, 1, 4, 9]);
    assert_eq!(manager.pool(1).unwrap_err(), ManagerError::ProcessLimit);
    let other = Manager::connect(&address, b"key").expect("it is there");
    let same = other.named_pool("tasks", 2).expect("the same");
    same.close().expect("it is closed");
    pool.join().expect("it ends");
    manager.shutdown().expect("it ends");
    running.end().ends(0, "", "");

    // One that has no module has no tasks either.
    let running = wasmp(&key).start();
    let address: Address = running.stdout.next().parse().expect("an address");
    let manager = Manager::connect(&address, b"key").expect("it is there");
    assert_eq!(manager.pool(1).unwrap_err(), ManagerError::NoTasks);
    manager.shutdown().expect("it ends");
    running.end().ends(0, "", "");
}

#[test]
fn what_it_holds_is_saved_at_ctrl_c_and_loaded_at_the_next_start() {
    let folder = Folder::new().with("key", "key");
    let path = folder.path().display();
    let options = format!("--authkey-file {path}/key --save {path}/snapshot");
    for (runs, load) in [(1, String::new()), (2, format!("--load {path}/snapshot"))] {
        let running = wasmp(&format!("manager {options} {load}")).start();
        let address: Address = running.stdout.next().parse().expect("an address");
        let manager = Manager::connect(&address, b"key").expect("it is there");
        let visits = manager.named_counter::<String>("visits").expect("a counter");
        assert_eq!(visits.add("Ada", 1), Ok(runs));
        running.interrupt();
        running.end().ends(130, "", "");
        assert_eq!(folder.files(), ["key", "snapshot"]);
    }
}

#[test]
fn a_snapshot_that_is_none_and_a_place_where_none_can_be_are_told() {
    let folder = Folder::new().with("key", "key");
    let path = folder.path().display();
    let outcome = wasmp(&format!("manager --authkey-file {path}/key --load {path}/key")).run();
    assert_eq!(outcome.code(), 2);
    outcome.says(&[
        "cannot load",
        "it is no snapshot of a manager, or one of another version",
    ]);
    let running = wasmp(&format!(
        "manager --authkey-file {path}/key --save {path}/none/snapshot"
    ))
    .start();
    running.stdout.next();
    running.interrupt();
    let outcome = running.end();
    assert_eq!(outcome.code(), 2);
    outcome.says(&["cannot save", "no such file or directory"]);
}

#[test]
fn with_a_certificate_it_speaks_tls_and_nothing_else() {
    let certified = Certified::new(&["127.0.0.1"]);
    let folder = Folder::new()
        .with("key", "key")
        .with("cert.pem", certified.pem())
        .with("key.pem", certified.key_pem());
    let path = folder.path().display();
    let command = format!("manager --authkey-file {path}/key --tls-cert {path}/cert.pem --tls-key {path}/key.pem");
    let running = wasmp(&command).start();
    let address: Address = running.stdout.next().parse().expect("an address");
    let refused = Manager::connect(&address, b"key").unwrap_err();
    assert_eq!(refused, ManagerError::Tls(TlsError::Unexpected));
    let tls = TlsClient::from_pem(certified.pem().as_bytes()).expect("a certificate");
    let manager = Manager::connect_tls(&address, b"key", &tls).expect("it is there");
    let dict: Dict<String, i64> = manager.named_dict("d").expect("a dictionary");
    assert_eq!(dict.add("a", 1), Ok(1));
    manager.shutdown().expect("it ends");
    running.end().ends(0, "", "");
}

#[test]
fn a_certificate_that_is_none_and_the_key_of_another_are_told() {
    let (one, other) = (Certified::new(&["a.example"]), Certified::new(&["b.example"]));
    let folder = Folder::new()
        .with("key", "key")
        .with("cert.pem", one.pem())
        .with("key.pem", other.key_pem());
    let path = folder.path().display();
    for (certificate, key, says) in [
        ("cert.pem", "key.pem", ["key.pem", "it belongs to another certificate"]),
        ("key", "key.pem", ["/key: ", "there is no certificate in it, as PEM"]),
        ("cert.pem", "key", ["/key: ", "there is no private key in it, as PEM"]),
        ("none", "key.pem", ["none", "no such file or directory"]),
    ] {
        let files = format!("--tls-cert {path}/{certificate} --tls-key {path}/{key}");
        let outcome = wasmp(&format!("manager --authkey-file {path}/key {files}")).run();
        assert_eq!(outcome.code(), 2);
        outcome.says(&says);
    }
    let outcome = wasmp(&format!("manager --authkey-file {path}/key --tls-cert {path}/cert.pem")).run();
    assert_eq!(outcome.code(), 2);
    outcome.says(&["--tls-key"]);
}
