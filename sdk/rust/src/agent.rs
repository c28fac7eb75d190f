//! An agent that stays: sessions with its gateway, one after the other.
//!
//! Owns how one is set up. What is asked again after a reconnect is the link's, when it tries is
//! [`crate::link::reconnect`]'s.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::api::codec::Codec;
use crate::api::{Hello, Name, Token, Welcome};
use crate::link::Link;
use crate::link::dial::Dial;
use crate::link::reconnect::{Backoff, Reconnect};
use crate::{Client, ClientError, Endpoint, Handle, Inbox, Time, Wall};

/// How long nothing may come before an agent asks the gateway whether it is still there. A guess: a gateway that lost its
/// power says no goodbye, and a minute is soon enough to notice.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// An agent that stays connected. When the connection is lost it reconnects, after a pause that grows from one attempt to
/// the next, and goes on where it was:
///
/// - messages without *accepted* are sent again, under a key, so that none goes out twice;
/// - receipts and answers to queries reach whoever waits for them, from whichever session they come;
/// - the inbox goes on behind what was handled, and gives nothing out twice;
/// - groups are subscribed to again, and questions to the gateway asked again.
///
/// What it asks while the gateway is away waits: at most 1,024 messages or 8 MiB, beyond which [`Handle::send`] waits for
/// room. It gives up for good when another session takes the name, when the token is wrong, or when what answers is no
/// gateway: then everything that waits ends with that error.
///
/// If a gateway has lost its store as well, the outcome of messages is not known: whoever waits for it gets
/// [`ClientError::Lost`].
///
/// ```no_run
/// # async fn example() -> Result<(), mesh_agent::ClientError> {
/// let agent = mesh_agent::Agent::builder("pump".parse().expect("a name")).connect().await?;
/// println!("connected with {}", agent.welcome().gateway);
/// let (handle, mut inbox) = agent.split();
/// while let Ok(message) = inbox.next_message().await {
///     println!("{}: {:?}", message.from, message.body.as_text());
/// }
/// handle.bye().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Agent(Client);

impl Agent {
    /// Sets up an agent of this name.
    #[must_use]
    pub fn builder(name: Name) -> AgentBuilder {
        AgentBuilder {
            hello: Hello::new(name),
            dial: Dial::endpoint(Endpoint::default()),
            codec: Codec::Postcard,
            backoff: Backoff::default(),
            heartbeat: HEARTBEAT,
            patient: false,
        }
    }

    /// What the gateway said in the first session.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        self.0.welcome()
    }

    /// What requests go through.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.0.handle()
    }

    /// Where messages come from.
    pub fn inbox(&mut self) -> &mut Inbox {
        self.0.inbox()
    }

    /// Both parts by themselves. The agent leaves when the inbox and every handle are dropped.
    #[must_use]
    pub fn split(self) -> (Handle, Inbox) {
        self.0.split()
    }
}

/// Settings of an [`Agent`] before it connects.
///
/// ```no_run
/// # async fn example() -> Result<(), mesh_agent::ClientError> {
/// use std::time::Duration;
///
/// use mesh_agent::{Agent, Backoff, api::Token};
///
/// let agent = Agent::builder("pump".parse().expect("a name"))
///     .endpoint("192.0.2.7:7700".parse().expect("HOST:PORT"))
///     .token(Token::new("secret"))
///     .backoff(Backoff { longest: Duration::from_secs(2), ..Backoff::default() })
///     .patient(true) // waits for a gateway that is not up yet
///     .connect()
///     .await?;
/// # drop(agent);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AgentBuilder {
    hello: Hello,
    dial: Dial,
    codec: Codec,
    backoff: Backoff,
    heartbeat: Duration,
    patient: bool,
}

impl AgentBuilder {
    /// Where the gateway is; `127.0.0.1:7700` unless said.
    #[must_use]
    pub fn endpoint(self, endpoint: Endpoint) -> Self {
        Self { dial: Dial::endpoint(endpoint), ..self }
    }

    /// Opens the stream to the gateway by a function, once for each session: through a tunnel, or in a simulation. It should
    /// fail with [`ClientError::NoGateway`] or [`ClientError::Lost`] where another attempt may help.
    #[must_use]
    pub fn dial<F, S>(self, dial: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<S, ClientError>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        Self { dial: Dial::new(dial), ..self }
    }

    /// The access token, where the gateway asks for one.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.hello.token = Some(token);
        self
    }

    /// The last cursor that an earlier run has handled, for those who keep it themselves; otherwise the inbox goes on behind
    /// the last acknowledgement.
    #[must_use]
    pub fn resume(mut self, cursor: u64) -> Self {
        self.hello.resume = Some(cursor);
        self
    }

    /// How many messages may wait here to be read; 256 unless said. The gateway may allow fewer.
    #[must_use]
    pub fn credits(mut self, credits: u32) -> Self {
        self.hello.credits = credits;
        self
    }

    /// The codec; postcard unless said.
    #[must_use]
    pub fn codec(self, codec: Codec) -> Self {
        Self { codec, ..self }
    }

    /// The pauses between attempts to reconnect.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// How long nothing may come before the gateway is asked whether it is still there; 30 s unless said. After as long
    /// again without an answer the connection counts as lost.
    #[must_use]
    pub fn heartbeat(self, heartbeat: Duration) -> Self {
        Self { heartbeat, ..self }
    }

    /// Whether the first session is waited for as well, as at the start of a machine. Otherwise a gateway that is not there
    /// is an error: it is more likely a wrong address.
    #[must_use]
    pub fn patient(self, patient: bool) -> Self {
        Self { patient, ..self }
    }

    /// Connects, says hello and waits for the welcome.
    ///
    /// # Errors
    /// If the gateway does not take the agent; if nobody answers, unless it is to be [patient](Self::patient).
    pub async fn connect(self) -> Result<Agent, ClientError> {
        self.connect_in(Wall::default()).await
    }

    /// The same with a clock of its own instead of the wall's.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_in(self, time: impl Time) -> Result<Agent, ClientError> {
        let Self { hello, dial, codec, backoff, heartbeat, patient } = self;
        let first = time.first_number();
        let mut reconnect = Reconnect::new(dial, hello, codec, backoff, heartbeat, first);
        let session = match patient {
            true => reconnect.begin(&time).await?,
            false => reconnect.attempt(reconnect.hello(), &time).await?,
        };
        let welcome = session.welcome.clone();
        Ok(Agent(Client::new(welcome, Link::start(session, codec, time, first, Some(reconnect)))))
    }
}
