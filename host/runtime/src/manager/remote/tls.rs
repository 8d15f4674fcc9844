//! TLS 1.3, beneath the proof of the key: what is said is secret, nobody on the way can change it, and the dialler knows
//! whom it has dialled.
//!
//! The server of the dialler's choice is known by its certificate, the clients by their key alone. Nothing of a session is
//! kept for another one.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, InconsistentKeys, RootCertStore, ServerConfig,
    ServerConnection,
};
use wasmp_manager::TlsError;

use super::address::{Address, Socket};
use super::auth::Refused;
use super::stream::{Binding, Stream};

#[cfg(test)]
mod tests;

/// Who listens by TLS, for [`Manager::listen_tls`](crate::Manager::listen_tls) and
/// [`Listener::bind_tls`](crate::Listener::bind_tls): its certificate, and the key that goes with it.
///
/// A certificate that nobody but its own key has signed does, if those who connect [trust](TlsClient) it; it must not be that of
/// an authority, as `openssl req -x509` makes them if it is not told otherwise:
///
/// ```text
/// openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=wasmp \
///     -addext subjectAltName=DNS:host.example -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem
/// ```
///
/// ```no_run
/// use wasmp::{Manager, TlsServer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsServer::from_pem(&std::fs::read("cert.pem")?, &std::fs::read("key.pem")?)?;
/// let manager = Manager::new()?;
/// let server = manager.listen_tls(&"0.0.0.0:5000".parse()?, b"a secret", &tls)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsServer(Arc<ServerConfig>);

impl fmt::Debug for TlsServer {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}

/// Who is trusted to be the server, for [`Manager::connect_tls`](crate::Manager::connect_tls) and
/// [`Connection::connect_tls`](crate::Connection::connect_tls).
///
/// ```no_run
/// use wasmp::{Manager, TlsClient};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsClient::from_pem(&std::fs::read("cert.pem")?)?;
/// let manager = Manager::connect_tls(&"host.example:5000".parse()?, b"a secret", &tls)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    /// `None`: the host of the address.
    name: Option<ServerName<'static>>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl TlsServer {
    /// With this certificate, those that vouch for it after it, and its private key, all of them PEM. The key is PKCS #8,
    /// PKCS #1 or SEC 1.
    ///
    /// # Errors
    ///
    /// [`TlsError::Certificate`] or [`TlsError::Key`] says what is wrong with which of them.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Key(unread(&error, "private key")))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| failure(&error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InvalidCertificate(why) => TlsError::Certificate(why.to_string()),
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    TlsError::Key("it belongs to another certificate".into())
                }
                error => TlsError::Key(error.to_string()),
            })?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    /// Gets to know who has come.
    pub(super) fn secure(&self, stream: Stream, deadline: Instant) -> Result<Stream, Refused> {
        let session = ServerConnection::new(Arc::clone(&self.0)).map_err(|error| failure(&error))?;
        shake_hands(session.into(), stream, deadline)
    }
}

impl TlsClient {
    /// With these certificates, PEM: one of them has to be the server's own, or that of an authority that vouches for it. Those
    /// that the system trusts are not among them.
    ///
    /// # Errors
    ///
    /// [`TlsError::Certificate`] says what is wrong with one.
    pub fn from_pem(trusted: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(trusted)? {
            roots
                .add(certificate)
                .map_err(|error| TlsError::Certificate(error.to_string()))?;
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| failure(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            name: None,
        })
    }

    /// The name, or the IP address, that the server's certificate has to have. Default: the host of the address that is
    /// dialled. A Unix socket has none: there it has to be said.
    ///
    /// # Errors
    ///
    /// [`TlsError::ServerName`]: it is none.
    pub fn server_name(self, name: &str) -> Result<Self, TlsError> {
        let name = Some(server_name(name)?);
        Ok(Self { name, ..self })
    }

    /// Gets to know who was dialled.
    pub(super) fn secure(&self, address: &Address, stream: Stream, deadline: Instant) -> Result<Stream, Refused> {
        let name = match (&self.name, address.host()) {
            (Some(name), _) => name.clone(),
            (None, Some(host)) => server_name(host)?,
            (None, None) => {
                let none = "the path of a socket names no host, so it has to be said which name is expected";
                return Err(TlsError::ServerName(none.into()).into());
            }
        };
        let session = ClientConnection::new(Arc::clone(&self.config), name).map_err(|error| failure(&error))?;
        shake_hands(session.into(), stream, deadline)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.and_then(|all| {
        if all.is_empty() {
            Err(pem::Error::NoItemsFound)
        } else {
            Ok(all)
        }
    });
    certificates.map_err(|error| TlsError::Certificate(unread(&error, "certificate")))
}

/// Why there is no such thing in a PEM file.
fn unread(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("there is no {what} in it, as PEM"),
        error => error.to_string(),
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| TlsError::ServerName(format!("`{name}` is neither the name of a host nor an IP address")))
}

/// By what name both sides ask their session for what only they know: RFC 9266.
const BINDING: &[u8] = b"EXPORTER-Channel-Binding";

fn shake_hands(mut session: Connection, mut stream: Stream, deadline: Instant) -> Result<Stream, Refused> {
    // It may come back before it is done.
    while session.is_handshaking() {
        let mut timely = stream.until(deadline);
        if let Err(error) = session.complete_io(&mut timely) {
            // The other side is told why, if that can be.
            while session.wants_write() && session.write_tls(&mut timely).is_ok() {}
            return Err(match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(inner) => Refused::Tls(failure(inner)),
                None => Refused::Io(error),
            });
        }
    }
    let binding = session
        .export_keying_material(Binding::default(), BINDING, None)
        .map_err(|error| failure(&error))?;
    let Stream { socket, .. } = stream;
    let session = Arc::new(Mutex::new(session));
    Ok(Stream {
        binding: Some(binding),
        incoming: Box::new(Reader {
            socket: BufReader::new(socket.clone()),
            session: Arc::clone(&session),
        }),
        outgoing: Box::new(Writer {
            socket: socket.clone(),
            session,
            sealed: Vec::new(),
        }),
        socket,
    })
}

/// What an error means for those who connect or listen.
fn failure(error: &rustls::Error) -> TlsError {
    use rustls::Error as E;

    match error {
        E::InvalidMessage(_) | E::PeerIncompatible(_) => TlsError::NotSpoken,
        E::AlertReceived(_) => TlsError::Refused(error.to_string()),
        E::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsError::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsError::NotYetValid,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsError::Untrusted,
            CertificateError::NotValidForNameContext { expected, presented } => TlsError::WrongName {
                expected: expected.to_str().into_owned(),
                certified: presented.clone(),
            },
            _ => TlsError::Failed(error.to_string()),
        },
        error => TlsError::Failed(error.to_string()),
    }
}

/// A session has one state for both directions. It is locked to seal and to open, never while the socket is waited for.
///
/// Of what it has to say by itself, nothing is answered before the next thing that is said, and nothing has to be: so
/// only the [`Writer`] writes.
type Session = Arc<Mutex<Connection>>;

fn lock(session: &Session) -> MutexGuard<'_, Connection> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    socket: BufReader<Socket>,
    session: Session,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match lock(&self.session).reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
        let mut sealed = self.socket.fill_buf()?;
        let mut session = lock(&self.session);
        let taken = session.read_tls(&mut sealed)?;
        session
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        drop(session);
        self.socket.consume(taken);
        // Whoever has little time looks at the clock before each wait.
        Err(io::ErrorKind::Interrupted.into())
    }
}

struct Writer {
    socket: Socket,
    session: Session,
    sealed: Vec<u8>,
}

impl Writer {
    /// Has the session say something, as far as it takes it.
    fn seal<R>(&mut self, say: impl FnOnce(&mut Connection) -> io::Result<R>) -> io::Result<R> {
        self.sealed.clear();
        let mut session = lock(&self.session);
        let said = say(&mut session)?;
        while session.wants_write() {
            session.write_tls(&mut self.sealed)?;
        }
        Ok(said)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sealed = self.seal(|session| session.writer().write(bytes))?;
        self.socket.write_all(&self.sealed)?;
        Ok(sealed)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    /// Says that this was all, if there is room for that.
    fn drop(&mut self) {
        let end = |session: &mut Connection| {
            session.send_close_notify();
            Ok(())
        };
        if self.seal(end).is_ok() {
            self.socket.write_now(&self.sealed);
        }
    }
}
