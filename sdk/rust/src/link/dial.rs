//! How a session begins: a stream to the gateway, and the hello.
//!
//! Owns nothing once the session has begun.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroize;

use crate::api::codec::{Bounds, Codec, Decoder, encode};
use crate::api::{Event, Hello, Request, Welcome};
use crate::error::lost;
use crate::{Absence, ClientError, Endpoint, TcpError, connect_tcp};

/// How much is read at a time, in bytes. A guess, as in the gateway.
const READ: usize = 32 * 1024;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How to open a stream to a gateway, once for each session.
pub(crate) struct Dial(Box<dyn Fn() -> Later<Result<Stream, ClientError>> + Send + Sync>);

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

impl Dial {
    pub(crate) fn new<F, S>(dial: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<S, ClientError>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        Self(Box::new(move || {
            let stream = dial();
            Box::pin(async move { Ok(Stream::of(stream.await?)) })
        }))
    }

    pub(crate) fn endpoint(endpoint: Endpoint) -> Self {
        Self(Box::new(move || {
            let endpoint = endpoint.clone();
            Box::pin(async move { Stream::connect(&endpoint).await })
        }))
    }

    pub(crate) async fn stream(&self) -> Result<Stream, ClientError> {
        (self.0)().await
    }
}

/// Both directions of a connection.
pub(crate) struct Stream {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Stream {
    /// The stream that leads to a gateway already.
    pub(crate) fn of<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader: Box::new(reader), writer: Box::new(writer) }
    }

    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, ClientError> {
        match endpoint {
            Endpoint::Tcp(address) => {
                let (reader, writer) = Self::tcp(endpoint, address).await?.into_split();
                Ok(Self { reader: Box::new(reader), writer: Box::new(writer) })
            }
            #[cfg(feature = "tls")]
            Endpoint::Tls { address, pin } => {
                let stream = Self::tcp(endpoint, address).await?;
                Ok(Self::of(crate::tls::connect(stream, address, *pin).await?))
            }
            #[cfg(not(feature = "tls"))]
            Endpoint::Tls { .. } => Err(ClientError::WithoutTls(endpoint.clone())),
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|why| broken(endpoint, &why))?;
                let (reader, writer) = stream.into_split();
                Ok(Self { reader: Box::new(reader), writer: Box::new(writer) })
            }
        }
    }

    async fn tcp(endpoint: &Endpoint, address: &str) -> Result<TcpStream, ClientError> {
        let stream = connect_tcp(address).await.map_err(|why| match &why {
            TcpError::Lookup(_) => absent(endpoint, Absence::UnknownHost, &why),
            TcpError::Connect(error) => absent(endpoint, Absence::from(error), &why),
        })?;
        stream.set_nodelay(true).map_err(|why| broken(endpoint, &why))?;
        Ok(stream)
    }

    /// Says hello and waits for the welcome.
    pub(crate) async fn greet(mut self, hello: Hello, codec: Codec) -> Result<Session, ClientError> {
        let mut bytes = Vec::new();
        encode(&Request::Hello(hello), codec, &mut bytes).map_err(lost)?;
        self.writer.write_all(&bytes).await.map_err(lost)?;
        // The token was in it.
        bytes.zeroize();
        let mut decoder = Decoder::with_codec(Bounds::EVENT, codec);
        let welcome = loop {
            match decoder.decode()? {
                Some(Event::Welcome(welcome)) => break welcome,
                Some(Event::Error(error)) => return Err(ClientError::Refused(error)),
                Some(Event::Goodbye(goodbye)) => return Err(ClientError::Lost(goodbye.why)),
                Some(_) => {}
                None => fill(&mut self.reader, &mut decoder).await?,
            }
        };
        let Self { reader, writer } = self;
        Ok(Session { reader, writer, decoder, welcome })
    }
}

fn absent(endpoint: &Endpoint, cause: Absence, why: &dyn fmt::Display) -> ClientError {
    ClientError::NoGateway { endpoint: endpoint.clone(), cause, why: why.to_string() }
}

fn broken(endpoint: &Endpoint, why: &io::Error) -> ClientError {
    absent(endpoint, Absence::from(why), why)
}

/// A session that the gateway has said welcome to.
pub(crate) struct Session {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) decoder: Decoder,
    pub(crate) welcome: Welcome,
}

/// Reads once.
pub(crate) async fn fill<R: AsyncRead + Unpin>(
    reader: &mut R,
    decoder: &mut Decoder,
) -> Result<(), ClientError> {
    let space = decoder.space();
    space.reserve(READ);
    match reader.read_buf(&mut space.limit(READ)).await {
        Ok(0) => Err(lost("the gateway closed it")),
        Ok(_) => Ok(()),
        Err(why) => Err(lost(why)),
    }
}
