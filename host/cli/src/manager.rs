//! `wasmp manager`: dictionaries, queues, objects, pools and more for programs anywhere that have the key.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::{Arc, Mutex};

use wasmp::{Manager, TlsError, TlsServer};

use crate::args;
use crate::error::Error;
use crate::progress::Progress;
use crate::terminal::Messages;
use crate::{FAILED, INTERRUPTED, UNUSABLE, module, signals};

/// What kills a manager whose method takes too long.
const SIGALRM: i32 = 14;

pub(crate) fn run(args: &args::Manager) -> Result<ExitCode, Error> {
    let key = read_key(args)?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(read_tls(certificate, key)?),
        _ => None,
    };
    let mut manager = Manager::builder();
    if let Some(bytes) = args.max_bytes {
        manager = manager.max_bytes(bytes);
    }
    let messages = Messages::new(false, Progress::none());
    if let Some(path) = args.module.clone() {
        let typed = args::Module {
            path,
            allow_precompiled: args.allow_precompiled,
        };
        manager = manager.module(module::load(&typed, &messages)?);
    }
    if let Some(processes) = args.max_processes {
        manager = manager.max_processes(processes);
    }
    if let Some(timeout) = args.call_timeout {
        manager = manager.call_timeout(timeout);
    }
    let manager = manager.start()?;
    if let Some(file) = &args.load {
        manager
            .load(file)
            .map_err(|error| Error::snapshot("load", file, error))?;
    }
    let server = match &tls {
        Some(tls) => manager.listen_tls(&args.listen, &key, tls)?,
        None => manager.listen(&args.listen, &key)?,
    };
    let address = server.address().clone();
    let server = Arc::new(Mutex::new(Some(server)));
    let (listening, saved, save) = (Arc::clone(&server), manager.clone(), args.save.clone());
    signals::on_interrupt(move || {
        // What it holds goes with it; the path of a socket would stay.
        drop(listening.lock().map(|mut server| server.take()));
        if let Some(file) = save
            && let Err(error) = saved.save(&file)
        {
            let error = Error::snapshot("save", &file, error);
            Messages::new(false, Progress::none()).error(&error.to_string());
            process::exit(UNUSABLE.into())
        }
        process::exit(INTERRUPTED.into())
    })?;
    let told = writeln!(io::stdout(), "{address}");
    told.map_err(|error| Error::stream("write to", "standard output", error))?;
    if let Some(process) = manager.process() {
        process.join();
    }
    drop(server.lock().map(|mut server| server.take()));
    // It was shut down by a client, or has died.
    let code = manager.process().and_then(|process| process.exitcode());
    Ok(match code {
        Some(0) => ExitCode::SUCCESS,
        code => {
            if code == Some(-SIGALRM) {
                messages.error("a method ran longer than it may (--call-timeout), and was killed with the manager");
            }
            FAILED.into()
        }
    })
}

/// The key is the file, without the line end at its end.
fn read_key(args: &args::Manager) -> Result<Vec<u8>, Error> {
    let file = &args.authkey_file;
    let mut key = fs::read(file).map_err(|error| Error::file("read", file, error))?;
    if key.ends_with(b"\n") {
        key.pop();
    }
    if key.is_empty() {
        let empty = io::Error::other("it is empty, and anybody can guess that");
        return Err(Error::file("use as a key", file, empty));
    }
    Ok(key)
}

fn read_tls(certificate: &Path, key: &Path) -> Result<TlsServer, Error> {
    let read = |file: &Path| fs::read(file).map_err(|error| Error::file("read", file, error));
    TlsServer::from_pem(&read(certificate)?, &read(key)?).map_err(|error| {
        let file = match error {
            TlsError::Key(_) => key,
            _ => certificate,
        };
        Error::file("use", file, io::Error::other(error))
    })
}
