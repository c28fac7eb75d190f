//! TLS as gateways speak it: version 1.3, with a certificate that each makes itself and is known by.
//!
//! Owns the handshake of an agent, and that nothing is said to a gateway that is not the one that is wanted. What it is known by is a
//! [`Fingerprint`]; authorities and names of hosts say nothing here.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, version};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Absence, ClientError, Endpoint, Fingerprint, KnownGateways};

/// What agents speak over TLS.
pub const ALPN: &[u8] = b"mesh-agent/1";
/// The name in every certificate; nobody looks at it.
const NAME: &str = "mesh-gateway";

/// The time as far as TLS has to know it: a machine without a clock may believe that it is 1969, for which the library's own has a panic.
/// Nothing here goes by it: certificates have no end, and no session is resumed.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyTime;

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

/// Takes any certificate of a gateway, as long as its holder signs the handshake with it. Who that is is found out behind the handshake.
#[derive(Clone, Debug)]
pub struct AnyCertificate(Arc<CryptoProvider>);

impl AnyCertificate {
    /// One that checks signatures by this provider.
    #[must_use]
    pub const fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }

    /// Whether the holder of a certificate signed a handshake of TLS 1.3.
    ///
    /// # Errors
    /// It did not.
    pub fn signed(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    /// The signatures that are known.
    #[must_use]
    pub fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }

    /// Only TLS 1.3 is configured; if the older one were spoken all the same, that is no valid signature.
    ///
    /// # Errors
    /// Always.
    pub fn too_old() -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken here".into()))
    }
}

impl ServerCertVerifier for AnyCertificate {
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
        Self::too_old()
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

/// The one configuration of all agents of this process.
fn config() -> Result<Arc<ClientConfig>, Error> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyCertificate::new(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(AnyTime))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

/// Does the handshake over a connection to `address`, and looks whether it leads to the gateway that is wanted: the one with that
/// fingerprint, else the one that was there first.
pub(crate) async fn connect(
    stream: TcpStream,
    address: &str,
    pin: Option<Fingerprint>,
) -> Result<TlsStream<TcpStream>, ClientError> {
    let endpoint = Endpoint::Tls { address: address.to_owned(), pin };
    let absent = |cause, why: String| ClientError::NoGateway { endpoint: endpoint.clone(), cause, why };
    let no_tls = |why: &dyn std::fmt::Display| absent(Absence::NoTls, why.to_string());
    let name = ServerName::try_from(NAME).map_err(|why| no_tls(&why))?;
    let connector = TlsConnector::from(config().map_err(|why| no_tls(&why))?);
    let stream = connector.connect(name, stream).await.map_err(|why| match why.kind() {
        // What came is not TLS, or not such as a gateway's.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => no_tls(&why),
        _ => absent(Absence::from(&why), why.to_string()),
    })?;
    let connection = stream.get_ref().1;
    let certificate = connection.peer_certificates().and_then(|shown| shown.first());
    let shown = Fingerprint::of(certificate.ok_or_else(|| no_tls(&"it shows no certificate"))?);
    if connection.alpn_protocol() != Some(ALPN) {
        return Err(no_tls(&"it does not say that it speaks with agents"));
    }
    let (wanted, kept) = match pin {
        Some(pin) => (pin, None),
        None => {
            let known = KnownGateways::of_this_user()?;
            (known.meet(address, shown)?, Some(known.path().to_owned()))
        }
    };
    if wanted == shown {
        return Ok(stream);
    }
    Err(ClientError::WrongGateway { address: address.to_owned(), wanted, shown, kept })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_is_no_reason_to_panic() {
        let second = std::time::Duration::from_secs(1);
        assert_eq!(AnyTime::of(SystemTime::UNIX_EPOCH - second).as_secs(), 0);
        assert_eq!(AnyTime::of(SystemTime::UNIX_EPOCH + second).as_secs(), 1);
        assert!(AnyTime.current_time().is_some());
    }
}
