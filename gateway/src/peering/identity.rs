//! This gateway's certificate: what other gateways and careful agents know it by.
//!
//! Owns making it once, keeping it in the data directory, and the two TLS configurations. A certificate says nothing by itself: that its
//! holder is of the network is for `handshake`, that it is still the same one for `manager`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme, version,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::datadir;

/// The file in the data directory: the key's length, the key, the certificate.
const IDENTITY_FILE: &str = "tls.identity";
/// What gateways speak over TLS.
pub(super) const ALPN_PEER: &[u8] = b"mesh-peer/2";
/// What agents may say they speak; saying nothing means the same.
const ALPN_AGENT: &[u8] = b"mesh-agent/1";
/// The name in every certificate and every greeting; nobody looks at it.
const NAME: &str = "mesh-gateway";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("keeping the gateway's certificate in {path}: {source}; check that this user may write there")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "reading the gateway's certificate: {path} is damaged; restore it, or remove it and tell other gateways of the new \
         fingerprint"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It could not be made.
    #[error("making the gateway's certificate: {0}; try again later")]
    Make(String),
}

/// A certificate's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a certificate.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        (digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit)).then_some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A certificate and its key, ready for both ends of a connection.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// The identity in this data directory, made now if there is none.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open(data_dir: &Path) -> Result<Self, IdentityError> {
        let path = data_dir.join(IDENTITY_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let bytes = make()?;
                datadir::atomic_write(&path, &bytes, 0o600)
                    .map_err(|source| IdentityError::File { path: path.clone(), source })?;
                bytes
            }
            Err(source) => return Err(IdentityError::File { path, source }),
        };
        Self::from_bytes(&bytes).ok_or(IdentityError::Damaged { path })
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (len, rest) = bytes.split_first_chunk()?;
        let (key, certificate) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        let chain = || vec![CertificateDer::from(certificate.to_vec())];
        let key = || PrivatePkcs8KeyDer::from(key.to_vec()).into();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let anyone = Arc::new(Anyone(Arc::clone(&provider)));
        let mut client = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(AnyTime))
            .with_protocol_versions(&[&version::TLS13])
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&anyone) as _)
            .with_client_auth_cert(chain(), key())
            .ok()?;
        client.alpn_protocols = vec![ALPN_PEER.to_vec()];
        let mut server = ServerConfig::builder_with_details(provider, Arc::new(AnyTime))
            .with_protocol_versions(&[&version::TLS13])
            .ok()?
            .with_client_cert_verifier(anyone)
            .with_single_cert(chain(), key())
            .ok()?;
        server.alpn_protocols = vec![ALPN_PEER.to_vec(), ALPN_AGENT.to_vec()];
        Some(Self {
            client: Arc::new(client),
            server: Arc::new(server),
            fingerprint: Fingerprint::of(certificate),
        })
    }

    /// What others know it by.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn server_name() -> ServerName<'static> {
        ServerName::try_from(NAME).expect("letters and a dash are a name")
    }
}

fn make() -> Result<Vec<u8>, IdentityError> {
    let failed = |error: rcgen::Error| IdentityError::Make(error.to_string());
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let mut parameters = rcgen::CertificateParams::new([NAME.to_owned()]).map_err(failed)?;
    // Who looks at it with a tool is to see whose it is.
    parameters.distinguished_name.push(rcgen::DnType::CommonName, NAME);
    let certificate = parameters.self_signed(&key).map_err(failed)?;
    let key = key.serialize_der();
    let len = u16::try_from(key.len()).map_err(|_| IdentityError::Make("the key is too long".into()))?;
    Ok([&len.to_be_bytes(), key.as_slice(), certificate.der()].concat())
}

/// The time as far as TLS has to know it: a machine without a clock may believe that it is 1969, for which the library's own has a panic.
/// Nothing here goes by it: certificates have no end, and no session is resumed.
#[derive(Debug)]
struct AnyTime;

impl AnyTime {
    fn of(now: SystemTime) -> UnixTime {
        UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }
}

impl TimeProvider for AnyTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(Self::of(SystemTime::now()))
    }
}

/// Takes any certificate, as long as its holder signs the handshake with it. Who that is is found out behind the handshake.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl Anyone {
    fn signed(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Only TLS 1.3 is configured; if the older one were spoken all the same, that is no valid signature.
fn too_old() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("only TLS 1.3 is spoken here".into()))
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Agents have none.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_kept_with_nobody_else_to_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::open(folder.path()).unwrap().fingerprint();
        assert_eq!(Identity::open(folder.path()).unwrap().fingerprint(), first);
        let path = folder.path().join(IDENTITY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Fingerprint::parse(&first.to_string()), Some(first));
        for cut in [0, 1, 2, 40] {
            std::fs::write(&path, vec![0xFF; cut]).unwrap();
            assert!(
                matches!(Identity::open(folder.path()), Err(IdentityError::Damaged { .. })),
                "{cut} bytes"
            );
        }
    }

    #[test]
    fn a_clock_before_1970_is_no_reason_to_panic() {
        let second = std::time::Duration::from_secs(1);
        assert_eq!(AnyTime::of(SystemTime::UNIX_EPOCH - second).as_secs(), 0);
        assert_eq!(AnyTime::of(SystemTime::UNIX_EPOCH + second).as_secs(), 1);
        assert!(AnyTime.current_time().is_some());
    }

    #[test]
    fn a_certificate_says_what_it_is_of() {
        let made = make().unwrap();
        let has = |text: &[u8]| made.windows(text.len()).any(|bytes| bytes == text);
        // UTF8String, 12 bytes: the subject's common name. As a DNS name it has another tag.
        assert!(has(b"\x0c\x0cmesh-gateway") && !has(b"rcgen"));
    }

    #[test]
    fn a_fingerprint_is_64_digits_with_or_without_colons() {
        let digits = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(Fingerprint::parse(&digits), Fingerprint::parse(&colons));
        assert!(Fingerprint::parse(&digits).is_some());
        for wrong in ["", "ab", &digits[1..], &format!("{digits}ab"), &digits.replace("ab", "+b"), "ä"] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }
}
