//! Shared memory, and what it takes for two processes to rely on it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags};
use wasmp_ipc::{Consumer, Mapping, Producer, ring_bytes};

#[test]
fn nobody_can_resize_it_or_lift_the_seals() {
    let (fd, _mapping) = Mapping::create("test", 8192).unwrap();
    let file = File::from(fd);
    assert!(file.set_len(0).is_err());
    assert!(file.set_len(1 << 20).is_err());
    assert!(rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE).is_err());
}

#[test]
fn it_does_not_leak_into_programs_that_are_started() {
    let (fd, _mapping) = Mapping::create("test", 4096).unwrap();
    assert!(
        rustix::io::fcntl_getfd(fd)
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
}

#[test]
fn a_memfd_that_could_shrink_under_the_mapping_is_refused() {
    let fd = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&fd, 4096).unwrap();
    assert_eq!(
        Mapping::open(fd.as_fd(), 4096).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
}

#[test]
fn a_memfd_of_another_size_is_refused() {
    let (fd, _mapping) = Mapping::create("test", 8192).unwrap();
    for len in [4096, 8191, 8193, 16384] {
        assert_eq!(
            Mapping::open(fd.as_fd(), len).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
    }
    assert_eq!(Mapping::open(fd.as_fd(), 8192).unwrap().len(), 8192);
}

#[test]
fn a_file_that_cannot_be_sealed_is_refused() {
    let file = File::open("/proc/self/exe").unwrap();
    assert!(Mapping::open(file.as_fd(), 4096).is_err());
}

#[test]
fn a_ring_that_does_not_fit_is_refused() {
    let (_fd, mapping) = Mapping::create("test", 8192).unwrap();
    let mapping = Arc::new(mapping);
    let refused = [
        (0, 8192),                       // the header does not fit
        (8192 - ring_bytes(64) + 1, 64), // one byte too far, and misaligned
        (8192 - 256, 64),
        (usize::MAX - 127, 64),
        (64, 1024), // not on a line of its own
        (0, 1000),  // not a power of two
        (0, 0),
        (0, 32),
        (0, 1 << 32),
    ];
    for (offset, capacity) in refused {
        let producer = Producer::new(&mapping, offset, capacity).map(drop);
        assert_eq!(
            producer.unwrap_err().kind(),
            ErrorKind::InvalidInput,
            "{offset} {capacity}"
        );
        let consumer = Consumer::new(&mapping, offset, capacity).map(drop);
        assert_eq!(
            consumer.unwrap_err().kind(),
            ErrorKind::InvalidInput,
            "{offset} {capacity}"
        );
    }
    Producer::new(&mapping, ring_bytes(4096), 2048).unwrap();
}
