//! Certificates for TLS, made for one test.

use std::fmt;

use rcgen::{Certificate, CertificateParams, KeyPair};

/// A certificate and its key.
pub struct Certified {
    certificate: Certificate,
    key: KeyPair,
}

impl fmt::Debug for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certified").field(self.certificate.params()).finish()
    }
}

impl Certified {
    /// One that nobody else vouches for, for these names and addresses.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        Self::with(names, |_| {})
    }

    /// The same, with something else changed.
    ///
    /// # Panics
    ///
    /// None can be made with that.
    #[must_use]
    pub fn with(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(names, change).self_signed(&key).expect("a certificate");
        Self { certificate, key }
    }

    /// One that this one vouches for.
    ///
    /// # Panics
    ///
    /// None can be made with that.
    #[must_use]
    pub fn vouches_for(&self, names: &[&str]) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(names, |_| {}).signed_by(&key, &self.certificate, &self.key);
        Self {
            certificate: certificate.expect("a certificate"),
            key,
        }
    }

    /// The certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its private key, as PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

fn params(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    change(&mut params);
    params
}
