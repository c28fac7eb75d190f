//! This gateway's certificate: what other gateways and careful agents know it by.
//!
//! Owns making it once, keeping it in the data directory, and the two TLS configurations. A certificate says nothing by itself: that its
//! holder is of the network is for `handshake`, that it is still the same one for `manager`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mesh_agent::Fingerprint;
use mesh_agent::tls::{self, AnyCertificate, AnyTime};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme, version,
};

use crate::datadir;

/// The file in the data directory: the key's length, the key, the certificate.
const IDENTITY_FILE: &str = "tls.identity";
/// What gateways speak over TLS.
pub(super) const ALPN_PEER: &[u8] = b"mesh-peer/2";
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
    /// Others may read the key, and so answer in this gateway's place.
    #[error(
        "reading the gateway's certificate: others than its owner may read or change {path}, and its key is in it; run `chmod 600 {path}`, \
         or remove it and tell others of the new fingerprint if somebody may have read it"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
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
        let read = || -> io::Result<(Vec<u8>, bool)> {
            let mut file = File::open(&path)?;
            let mut bytes = Vec::new();
            let exposed = datadir::open_to_others(&file)?;
            file.read_to_end(&mut bytes)?;
            Ok((bytes, exposed))
        };
        let bytes = match read() {
            Ok((_, true)) => return Err(IdentityError::Exposed { path }),
            Ok((bytes, false)) => bytes,
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
        let any = AnyCertificate::new(Arc::clone(&provider));
        let mut client = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(AnyTime))
            .with_protocol_versions(&[&version::TLS13])
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(any.clone()))
            .with_client_auth_cert(chain(), key())
            .ok()?;
        client.alpn_protocols = vec![ALPN_PEER.to_vec()];
        let mut server = ServerConfig::builder_with_details(provider, Arc::new(AnyTime))
            .with_protocol_versions(&[&version::TLS13])
            .ok()?
            .with_client_cert_verifier(Arc::new(Anyone(any)))
            .with_single_cert(chain(), key())
            .ok()?;
        // What agents may say they speak; saying nothing means the same.
        server.alpn_protocols = vec![ALPN_PEER.to_vec(), tls::ALPN.to_vec()];
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

/// Takes any certificate of a gateway that dials, as [`AnyCertificate`] does of one that is dialled.
#[derive(Debug)]
struct Anyone(AnyCertificate);

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
        AnyCertificate::too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
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
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        mode(0o644);
        assert!(matches!(Identity::open(folder.path()), Err(IdentityError::Exposed { .. })));
        mode(0o600);
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
    fn a_certificate_says_what_it_is_of() {
        let made = make().unwrap();
        let has = |text: &[u8]| made.windows(text.len()).any(|bytes| bytes == text);
        // UTF8String, 12 bytes: the subject's common name. As a DNS name it has another tag.
        assert!(has(b"\x0c\x0cmesh-gateway") && !has(b"rcgen"));
    }
}
