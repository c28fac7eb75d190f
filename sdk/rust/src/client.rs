//! One session with a gateway.
//!
//! It does not reconnect: a lost connection is an error for everything that waits, and what to do about it is
//! the caller's to decide. [`crate::Agent`] reconnects.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::api::codec::Codec;
use crate::api::{Hello, Welcome};
use crate::link::dial::{Session, Stream};
use crate::link::{Link, Owner};
use crate::{ClientError, Endpoint, Handle, Inbox, Time, Wall};

/// One session with a gateway. When the connection is lost, it is over, and everything that waits ends with
/// an error.
///
/// ```no_run
/// # async fn example() -> Result<(), mesh_agent::ClientError> {
/// use mesh_agent::{Client, Endpoint, api::Hello};
///
/// let client = Client::connect(&Endpoint::default(), Hello::unnamed()).await?;
/// println!("{:?}", client.handle().status().await?.health);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    welcome: Welcome,
    handle: Handle,
    inbox: Inbox,
}

impl Client {
    /// Connects, says hello in postcard and waits for the welcome.
    ///
    /// # Errors
    /// If nobody answers, or the gateway does not take the agent.
    pub async fn connect(endpoint: &Endpoint, hello: Hello) -> Result<Self, ClientError> {
        Self::connect_with(endpoint, hello, Codec::Postcard).await
    }

    /// The same in either codec.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_with(endpoint: &Endpoint, hello: Hello, codec: Codec) -> Result<Self, ClientError> {
        Self::begin(Stream::connect(endpoint).await?, hello, codec, Wall::default()).await
    }

    /// The same over a stream that leads to a gateway already, with a clock of its own instead of the wall's ([`Wall`]).
    ///
    /// # Errors
    /// If the stream ends, or the gateway does not take the agent.
    pub async fn over<S, T>(stream: S, hello: Hello, codec: Codec, time: T) -> Result<Self, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
        T: Time,
    {
        Self::begin(Stream::of(stream), hello, codec, time).await
    }

    async fn begin(stream: Stream, hello: Hello, codec: Codec, time: impl Time) -> Result<Self, ClientError> {
        let first = time.first_number();
        let session: Session = stream.greet(hello, codec).await?;
        let welcome = session.welcome.clone();
        Ok(Self::new(welcome, Link::start(session, codec, time, first, None)))
    }

    pub(crate) fn new(welcome: Welcome, owner: Arc<Owner>) -> Self {
        Self { welcome, handle: Handle::new(Arc::clone(&owner)), inbox: Inbox::new(owner) }
    }

    /// What the gateway said when it took the agent.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// What requests go through.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where messages come from.
    pub fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// Both parts by themselves. The session ends when the inbox and every handle are dropped.
    #[must_use]
    pub fn split(self) -> (Handle, Inbox) {
        (self.handle, self.inbox)
    }
}
