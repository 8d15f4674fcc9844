//! Control sockets: whole messages with file descriptors beside them, between two processes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Most bytes in a message.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Most descriptors beside a message.
pub(crate) const MAX_FDS: usize = 16;

const CONTROL_SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// One end of a control socket (`SOCK_SEQPACKET`: message boundaries are kept, and a peer that is gone is noticed).
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

impl Channel {
    /// Two connected ends, both closed on exec.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Sends one message, of at least one byte; waits while the peer has too many unread. Fails with
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) if the peer is gone.
    pub(crate) fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(bytes, fds, SendFlags::empty())
    }

    /// [`send`](Self::send), but fails with [`WouldBlock`](io::ErrorKind::WouldBlock) where that waits.
    pub(crate) fn try_send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(bytes, fds, SendFlags::DONTWAIT)
    }

    /// Waits for the next message, and returns its length in `buffer` and the descriptors, closed on exec, that came
    /// with it; `None` once the peer is gone and everything it sent has been received.
    ///
    /// A message that does not fit into `buffer`, or whose descriptors this process has no room for, is lost and an
    /// error.
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
        self.recv_with(buffer, RecvFlags::empty())
    }

    /// Waits until there is something to receive. False: not within that time.
    pub(crate) fn wait(&self, patience: Duration) -> io::Result<bool> {
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut fds, Some(&patience)))? > 0)
    }

    /// [`recv`](Self::recv), but fails with [`WouldBlock`](io::ErrorKind::WouldBlock) where that waits.
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
        self.recv_with(buffer, RecvFlags::DONTWAIT)
    }

    fn send_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
        // An empty message could not be told from the end.
        if bytes.is_empty() || bytes.len() > MAX_BYTES || fds.len() > MAX_FDS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "control message of an impossible size",
            ));
        }
        let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(fds));
            debug_assert!(fits, "the space is made for this many");
        }
        let message = [IoSlice::new(bytes)];
        // The kernel takes a message of this type whole or not at all.
        retry_on_intr(|| sendmsg(&self.0, &message, &mut control, flags | SendFlags::NOSIGNAL))?;
        Ok(())
    }

    fn recv_with(&self, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
        let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut message = [IoSliceMut::new(buffer)];
            match recvmsg(&self.0, &mut message, &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
                // Said once by a peer that ended with messages from here unread; what it sent itself comes after.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                received => break received?,
            }
        };
        let fds: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) || fds.len() > MAX_FDS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "control message that does not fit",
            ));
        }
        Ok((received.bytes > 0).then_some((received.bytes, fds)))
    }
}

impl From<OwnedFd> for Channel {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, IoSlice, Write};
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

    use rustix::io::{FdFlags, fcntl_getfd};
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::{Channel, MAX_BYTES, MAX_FDS};
    use crate::lockdown::tests::forked::{End, fork};

    fn open_files(count: usize) -> Vec<OwnedFd> {
        (0..count)
            .map(|_| File::open("/dev/null").expect("it exists").into())
            .collect()
    }

    fn borrow(files: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
        files.iter().map(AsFd::as_fd).collect()
    }

    #[test]
    fn messages_keep_their_bounds_and_their_descriptors() {
        let (here, there) = Channel::pair().expect("a pair");
        let mut buffer = vec![0; MAX_BYTES];
        let largest = vec![7; MAX_BYTES];
        let files = open_files(MAX_FDS);
        here.send(b"one", &[]).expect("room");
        here.send(&largest, &borrow(&files)).expect("room");

        let (len, fds) = there.recv(&mut buffer).expect("received").expect("a peer");
        assert_eq!((&buffer[..len], fds.len()), (&b"one"[..], 0));
        let (len, fds) = there.recv(&mut buffer).expect("received").expect("a peer");
        assert!(buffer[..len] == largest);
        assert_eq!(fds.len(), MAX_FDS);
        assert!(fds.iter().all(|fd| fcntl_getfd(fd) == Ok(FdFlags::CLOEXEC)));
        assert!(
            fds.iter()
                .all(|fd| files.iter().all(|file| file.as_raw_fd() != fd.as_raw_fd())),
            "they are new"
        );
    }

    #[test]
    fn impossible_messages_are_not_sent() {
        let (here, _there) = Channel::pair().expect("a pair");
        let files = open_files(MAX_FDS + 1);
        let attempts = [
            here.send(b"", &[]),
            here.send(&vec![0; MAX_BYTES + 1], &[]),
            here.send(b"x", &borrow(&files)),
        ];
        for attempt in attempts {
            assert_eq!(attempt.expect_err("refused").kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_the_next_message_arrives() {
        let (here, there) = Channel::pair().expect("a pair");
        here.send(b"too long", &[]).expect("room");
        let files = open_files(MAX_FDS + 20);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 20))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = borrow(&files);
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        sendmsg(&here, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).expect("room");
        here.send(b"fits", &[]).expect("room");

        let mut buffer = [0; 4];
        assert_eq!(
            there.recv(&mut buffer).expect_err("truncated").kind(),
            ErrorKind::InvalidData
        );
        assert_eq!(
            there.recv(&mut buffer).expect_err("too many").kind(),
            ErrorKind::InvalidData
        );
        assert_eq!(there.recv(&mut buffer).expect("received").map(|(len, _)| len), Some(4));
    }

    #[test]
    fn a_descriptor_without_room_is_an_error() {
        let ended = fork(|report| {
            let (here, there) = Channel::pair().expect("a pair");
            here.send(b"x", &[report.as_fd()]).expect("room");
            let none = Rlimit {
                current: Some(0),
                maximum: Some(0),
            };
            setrlimit(Resource::Nofile, none).expect("lower");
            let error = there.recv(&mut [0; 1]).expect_err("no number is left for it");
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            report.say("done");
        })
        .wait();
        assert_eq!((ended.how, ended.report.as_str()), (End::Exited(0), "done"));
    }

    #[test]
    fn the_end_comes_after_the_last_message() {
        let (here, there) = Channel::pair().expect("a pair");
        there.send(b"never read", &[]).expect("room");
        here.send(b"last", &[]).expect("room");
        drop(here);
        let mut buffer = [0; 16];
        assert_eq!(there.recv(&mut buffer).expect("received").map(|(len, _)| len), Some(4));
        assert!(there.recv(&mut buffer).expect("the end").is_none());
        assert!(there.try_recv(&mut buffer).expect("still the end").is_none());
        assert_eq!(
            there.send(b"late", &[]).expect_err("nobody there").kind(),
            ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn the_nonblocking_calls_do_not_wait() {
        let (here, there) = Channel::pair().expect("a pair");
        assert_eq!(
            there.try_recv(&mut [0; 16]).expect_err("empty").kind(),
            ErrorKind::WouldBlock
        );
        let message = vec![0; MAX_BYTES];
        let full = (0..1_000)
            .find_map(|_| here.try_send(&message, &[]).err())
            .expect("it fills up");
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        assert!(there.try_recv(&mut vec![0; MAX_BYTES]).expect("received").is_some());
    }

    #[test]
    fn received_descriptors_are_the_ones_that_were_sent() {
        let (here, there) = Channel::pair().expect("a pair");
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        here.send(b"x", &[writer.as_fd()]).expect("room");
        drop(writer);
        let (_, mut fds) = there.recv(&mut [0; 1]).expect("received").expect("a peer");
        File::from(fds.pop().expect("one descriptor"))
            .write_all(b"through")
            .expect("writable");
        assert_eq!(std::io::read_to_string(&mut reader).expect("readable"), "through");
    }
}
