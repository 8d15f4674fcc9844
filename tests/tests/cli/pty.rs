//! A terminal: what a user would see, and the keys to press.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::Stdio;
use std::ptr;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::run::PATIENCE;

/// What Ctrl-C types.
const CTRL_C: &[u8] = b"\x03";

/// A terminal, 100 columns wide.
pub(crate) struct Terminal {
    user: File,
    line: OwnedFd,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let (mut user, mut line) = (-1, -1);
        let size = libc::winsize {
            ws_row: 24,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the two numbers and the size are valid places; neither a name nor settings are asked for.
        let made = unsafe {
            libc::openpty(
                &raw mut user,
                &raw mut line,
                ptr::null_mut(),
                ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(made, 0, "a terminal: {}", io::Error::last_os_error());
        for fd in [user, line] {
            // SAFETY: takes no pointer. A command must not hold its own terminal open.
            assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }, 0);
        }
        // SAFETY: both were opened just now, for nobody else.
        unsafe {
            Self {
                user: File::from_raw_fd(user),
                line: OwnedFd::from_raw_fd(line),
            }
        }
    }

    /// The end that commands have as standard streams.
    pub(crate) fn line(&self) -> Stdio {
        self.line.try_clone().expect("a descriptor").into()
    }

    /// In a command that is about to start: makes the terminal on its standard error the one that it is controlled from.
    pub(crate) fn take_control() -> io::Result<()> {
        // SAFETY: neither takes a pointer.
        match unsafe { libc::setsid() != -1 && libc::ioctl(libc::STDERR_FILENO, libc::TIOCSCTTY, 0) == 0 } {
            true => Ok(()),
            false => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn press_ctrl_c(&self) {
        (&self.user).write_all(CTRL_C).expect("a terminal takes keys");
    }

    /// What appears.
    pub(crate) fn screen(&self) -> Screen {
        Screen::new(self.user.try_clone().expect("a descriptor"))
    }

    /// Everything that appears until the command, which has been started, ends.
    pub(crate) fn everything(self) -> String {
        let screen = self.screen();
        // From here on, the command alone holds the other end.
        drop(self.line);
        let pieces: Vec<u8> = screen.pieces.into_iter().flatten().collect();
        String::from_utf8_lossy(&pieces).into_owned()
    }
}

/// What appears on a terminal. A bar has no line ends, so this is about words.
pub(crate) struct Screen {
    pieces: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Screen {
    fn new(mut user: File) -> Self {
        let (sender, pieces) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose other end is closed is an error, not an end.
            while let Ok(length @ 1..) = user.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            pieces,
            seen: Vec::new(),
        }
    }

    /// Whether these words have appeared by now, as far as anyone waited for.
    pub(crate) fn has_shown(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.seen).contains(words)
    }

    /// Waits until these words have appeared.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &str) {
        while !self.has_shown(words) {
            match self.pieces.recv_timeout(PATIENCE) {
                Ok(piece) => self.seen.extend(piece),
                Err(error) => panic!("{words:?} {error}: {}", String::from_utf8_lossy(&self.seen)),
            }
        }
    }
}
