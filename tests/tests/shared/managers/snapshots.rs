//! What managers hold, in files.

use std::collections::BTreeMap;
use std::fs;

use wasmp::{Dict, Manager, ManagerError, SnapshotError};
use wasmp_tests::isolated;

use super::both;

#[test]
fn what_has_a_name_is_saved_and_loaded() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("snapshot");
        both(|manager| {
            let dict: Dict<String, i64> = manager.named_dict("d").unwrap();
            dict.replace_all([("b".into(), 2), ("a".into(), 1)]).unwrap();
            let list = manager.named_list::<String>("l").unwrap();
            list.replace_all(["x".into(), String::new()]).unwrap();
            manager.named_counter::<u8>("empty").unwrap();
            manager.named_value("v", 1).unwrap().set(&7).unwrap();
            manager.named_lock("lock").unwrap();
            let _nameless = manager.list([1]).unwrap();
            manager.save(&file).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

            let other = Manager::new().unwrap();
            let there: Dict<String, i64> = other.named_dict("d").unwrap();
            there.set("z", &26).unwrap();
            other.named_counter::<u8>("empty").unwrap().add(&1, 1).unwrap();
            other.named_list::<u8>("stays").unwrap().push(&1).unwrap();
            other.load(&file).unwrap();
            assert_eq!(there.keys().unwrap(), ["b", "a"]);
            assert_eq!(there.items::<BTreeMap<_, _>>().unwrap(), dict.items().unwrap());
            assert_eq!(other.named_list::<String>("l").unwrap().items(), list.items::<Vec<_>>());
            assert_eq!(other.named_counter::<u8>("empty").unwrap().len(), Ok(0));
            assert_eq!(other.named_value("v", 0).unwrap().get(), Ok(7));
            assert_eq!(other.named_list::<u8>("stays").unwrap().len(), Ok(1));
            // No lock came along.
            assert_eq!(other.named_event("lock").map(drop), Ok(()));
        });
    });
}

#[test]
fn large_ones_come_back_whole() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("snapshot");
        let manager = Manager::new().unwrap();
        let list = manager.named_list::<u32>("l").unwrap();
        for piece in 0..3 {
            list.extend(piece * 250_000..(piece + 1) * 250_000).unwrap();
        }
        manager.save(&file).unwrap();
        list.clear().unwrap();
        manager.load(&file).unwrap();
        assert!(list.items::<Vec<_>>().unwrap().into_iter().eq(0..750_000));
    });
}

#[test]
fn a_file_that_is_no_snapshot_changes_nothing() {
    isolated(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("snapshot");
        let manager = Manager::new().unwrap();
        let dict: Dict<String, i64> = manager.named_dict("d").unwrap();
        dict.set("a", &1).unwrap();
        manager.named_list::<u8>("l").unwrap().push(&1).unwrap();
        manager.save(&file).unwrap();
        let good = fs::read(&file).unwrap();
        dict.set("a", &2).unwrap();

        assert!(matches!(
            manager.load(folder.path().join("none")),
            Err(SnapshotError::File(_))
        ));
        fs::write(&file, b"something else").unwrap();
        assert!(matches!(manager.load(&file), Err(SnapshotError::NoSnapshot)));
        for length in 16..good.len() {
            fs::write(&file, &good[..length]).unwrap();
            assert!(
                matches!(manager.load(&file), Err(SnapshotError::Damaged)),
                "{length} bytes"
            );
        }
        fs::write(&file, [&good[..], b"x"].concat()).unwrap();
        assert!(matches!(manager.load(&file), Err(SnapshotError::Damaged)));
        assert_eq!(dict.get("a").unwrap(), Some(2));

        fs::write(&file, &good).unwrap();
        let other = Manager::new().unwrap();
        other.named_list::<u8>("d").unwrap();
        assert!(matches!(
            other.load(&file),
            Err(SnapshotError::Manager(ManagerError::WrongType))
        ));
        // Where it cannot be written, what was there stays.
        assert!(matches!(manager.save(folder.path()), Err(SnapshotError::File(_))));
        assert!(matches!(manager.save("/nowhere/at/all"), Err(SnapshotError::File(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    });
}
