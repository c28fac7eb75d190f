//! A session with a gateway.
//!
//! Owns the agent's end of it: it says hello, keeps track of what is in flight, returns credits and acknowledges
//! what has been handled. It does not connect again by itself: a lost connection is an error on everything that waits,
//! and what to do about it is the caller's to decide.

mod endpoint;
mod inbox;
mod link;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mesh_protocol::{Address, MessageType};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

pub use endpoint::{Endpoint, EndpointError};
pub use inbox::{Inbox, Incoming};

use crate::Time;
use crate::api::codec::{Codec, DecodeError};
use crate::api::{
    Accepted, Agents, Ask, Deliveries, ErrorCode, ErrorEvent, Event, Hello, LinkAdd, LinkRemove, MAX_BODY,
    Message, MessageRef, Name, Peers, Receipt, Request, RouteAdd, RouteRemove, Routes, SendRequest, Status,
    Subscribe, Unsubscribe, Welcome,
};
use link::{Link, Owner};
use state::Answer;

/// Why something could not be done with the gateway.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("no gateway answers at {endpoint} ({why}): start one with `mesh-gateway --adapter sim`")]
    NoGateway {
        /// Where it was looked for.
        endpoint: Endpoint,
        /// What the system says.
        why: String,
    },
    /// The gateway would not. Its words say what to do.
    #[error("the gateway refused ({}): {}", .0.code, .0.message)]
    Refused(ErrorEvent),
    /// The connection ended. What was in flight may or may not have arrived; connect again to learn more.
    #[error("the connection to the gateway ended ({0}): connect again to go on")]
    Lost(String),
    /// A query was not delivered, so that no answer can be expected.
    #[error(
        "the query {} got no answer: {:?}{}; see `mesh-gateway agents` for who is there",
        .0.id, .0.outcome, .0.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
    )]
    Undelivered(Receipt),
    /// What came is not the agents' protocol.
    #[error("cannot understand what answers there: {0}; is it a gateway, and of the same version?")]
    Protocol(#[from] DecodeError),
}

/// A session with a gateway.
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
        Ok(Self::new(Link::connect(endpoint, hello, codec).await?))
    }

    /// The same over a stream that leads to a gateway already, in a time of its own instead of the wall's ([`crate::Wall`]).
    ///
    /// # Errors
    /// If the stream ends, or the gateway does not take the agent.
    pub async fn over<S, T>(stream: S, hello: Hello, codec: Codec, time: T) -> Result<Self, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
        T: Time,
    {
        Ok(Self::new(Link::connect_over(stream, hello, codec, time).await?))
    }

    fn new((link, welcome): (Arc<Link>, Welcome)) -> Self {
        let owner = Arc::new(Owner(link));
        Self { welcome, handle: Handle { owner: Arc::clone(&owner) }, inbox: Inbox::new(owner) }
    }

    /// What the gateway said when it took the agent.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// To ask with.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where messages come from.
    pub fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// The two ends apart. The session ends when the inbox and every handle are dropped.
    #[must_use]
    pub fn split(self) -> (Handle, Inbox) {
        (self.handle, self.inbox)
    }
}

/// To ask the gateway with. A clone asks in the same session.
#[derive(Clone, Debug)]
pub struct Handle {
    owner: Arc<Owner>,
}

impl Handle {
    /// Hands a message to the gateway; waits only while too much is on its way to it. The request's `reference` is set
    /// here. The returned [`Pending`] may be dropped by those who do not care.
    ///
    /// # Errors
    /// If the body is too long or the connection is lost. What the gateway thinks of it, the [`Pending`] tells.
    pub async fn send(&self, send: SendRequest) -> Result<Pending, ClientError> {
        let (accepted, on_accepted) = oneshot::channel();
        let (receipt, on_receipt) = oneshot::channel();
        self.start(send, Some(accepted), Some(receipt), None).await?;
        let accepted = Awaited::Coming(on_accepted);
        Ok(Pending { owner: Arc::clone(&self.owner), accepted, receipt: on_receipt })
    }

    /// Asks another agent and waits for its answer. The request is sent as a QUERY; a deadline in it bounds the wait.
    ///
    /// # Errors
    /// If the gateway refuses it, if it is not delivered, or if the connection is lost.
    pub async fn query(&self, mut send: SendRequest) -> Result<Message, ClientError> {
        send.kind = MessageType::Query;
        let (accepted, on_accepted) = oneshot::channel();
        let (answer, on_answer) = oneshot::channel();
        self.start(send, Some(accepted), None, Some(answer)).await?;
        let link = &self.owner.0;
        let id = link.wait(on_accepted).await?.id;
        let _forget = Forget { link, id };
        match link.wait(on_answer).await? {
            Answer::Response(message) => Ok(*message),
            Answer::Undelivered(receipt) => Err(ClientError::Undelivered(receipt)),
        }
    }

    async fn start(
        &self,
        mut send: SendRequest,
        accepted: Option<state::Waiter<Accepted>>,
        receipt: Option<state::Waiter<Receipt>>,
        answer: Option<state::Waiter<Answer>>,
    ) -> Result<(), ClientError> {
        let length = send.body.len();
        if length > MAX_BODY {
            let message =
                format!("cannot send a body of {length} bytes: {MAX_BODY} is the most; send it in parts");
            return Err(ClientError::Refused(ErrorEvent::about(None, ErrorCode::TooLarge, message)));
        }
        let link = &self.owner.0;
        link.room().await?;
        let sending = state::Sending { wish: send.receipt, accepted, receipt, answer };
        send.reference = Some(link.state().expect_receipt(sending)?);
        link.enqueue(&Request::Send(send))
    }

    /// Says that the message of this cursor has been handled; for those who turned [`Inbox::set_auto_ack`] off. In any
    /// order: the gateway is told when nothing before it is open.
    ///
    /// # Errors
    /// If the connection is lost.
    pub fn ack(&self, cursor: u64) -> Result<(), ClientError> {
        let ack = self.owner.0.state().handled(cursor);
        ack.map_or(Ok(()), |ack| self.owner.0.enqueue(&Request::Ack(ack)))
    }

    /// Also receives what is sent to these groups, of these types or of all. Returns all groups the agent now hears.
    ///
    /// # Errors
    /// If the gateway refuses or the connection is lost.
    pub async fn subscribe(
        &self,
        groups: Vec<Name>,
        types: Option<Vec<MessageType>>,
    ) -> Result<Vec<Name>, ClientError> {
        self.groups(Request::Subscribe(Subscribe { groups, types })).await
    }

    /// No longer receives what is sent to these groups. Returns the groups the agent still hears.
    ///
    /// # Errors
    /// If the gateway refuses or the connection is lost.
    pub async fn unsubscribe(&self, groups: Vec<Name>) -> Result<Vec<Name>, ClientError> {
        self.groups(Request::Unsubscribe(Unsubscribe { groups })).await
    }

    async fn groups(&self, request: Request) -> Result<Vec<Name>, ClientError> {
        let link = &self.owner.0;
        link.room().await?;
        let subscribed = {
            // Answers have no number and come in order, so the two must be queued together.
            let mut state = link.state();
            let subscribed = state.expect_groups()?;
            link.enqueue(&request)?;
            subscribed
        };
        Ok(link.wait(subscribed).await?.groups)
    }

    /// How the gateway is.
    ///
    /// # Errors
    /// If the gateway refuses or the connection is lost.
    pub async fn status(&self) -> Result<Status, ClientError> {
        match self.ask(Request::Status).await? {
            Event::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// Which nodes are near.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn peers(&self) -> Result<Peers, ClientError> {
        match self.ask(Request::Peers).await? {
            Event::Peers(peers) => Ok(peers),
            other => Err(unexpected(&other)),
        }
    }

    /// How far nodes are reached.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn routes(&self) -> Result<Routes, ClientError> {
        match self.ask(Request::Routes).await? {
            Event::Routes(routes) => Ok(routes),
            other => Err(unexpected(&other)),
        }
    }

    /// Which agents are known.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn agents(&self) -> Result<Agents, ClientError> {
        match self.ask(Request::Agents).await? {
            Event::Agents(agents) => Ok(agents),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until the gateway has seen everything asked before.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn ping(&self) -> Result<(), ClientError> {
        match self.ask(Request::Ping).await? {
            Event::Pong(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// How well messages get through.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn health(&self) -> Result<Deliveries, ClientError> {
        match self.ask(Request::Health).await? {
            Event::Health(health) => Ok(*health),
            other => Err(unexpected(&other)),
        }
    }

    /// Connects the gateway with another one over IP, and keeps it so. `fingerprint`: the certificate it must show; `None`
    /// takes the first one it shows and keeps to it. It need not be up when this returns.
    ///
    /// # Errors
    /// If the gateway refuses, or as [`Self::status`].
    pub async fn add_link(
        &self,
        name: Name,
        address: String,
        fingerprint: Option<String>,
    ) -> Result<(), ClientError> {
        self.change(|reference| Request::LinkAdd(LinkAdd { reference, name, address, fingerprint })).await
    }

    /// No longer connects the gateway with another one.
    ///
    /// # Errors
    /// If there is no such connection, or as [`Self::status`].
    pub async fn remove_link(&self, name: Name) -> Result<(), ClientError> {
        self.change(|reference| Request::LinkRemove(LinkRemove { reference, name })).await
    }

    /// From now on the gateway sends to `destination` by way of its neighbour `next_hop`.
    ///
    /// # Errors
    /// If the gateway refuses, or as [`Self::status`].
    pub async fn add_route(
        &self,
        destination: Address,
        next_hop: Address,
        cost: u16,
    ) -> Result<(), ClientError> {
        self.change(|reference| Request::RouteAdd(RouteAdd { reference, destination, next_hop, cost })).await
    }

    /// No longer sends to `destination` by a way of an operator's.
    ///
    /// # Errors
    /// If there is no such route, or as [`Self::status`].
    pub async fn remove_route(&self, destination: Address) -> Result<(), ClientError> {
        self.change(|reference| Request::RouteRemove(RouteRemove { reference, destination })).await
    }

    async fn change(&self, request: impl FnOnce(Option<u64>) -> Request) -> Result<(), ClientError> {
        match self.ask(|ask| request(ask.reference)).await? {
            Event::Done(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&self, request: impl FnOnce(Ask) -> Request) -> Result<Event, ClientError> {
        let link = &self.owner.0;
        link.room().await?;
        let (reference, answer) = link.state().expect_answer()?;
        link.enqueue(&request(Ask { reference: Some(reference) }))?;
        link.wait(answer).await
    }

    /// Ends the session and waits until it has ended: what was asked before has then reached the gateway.
    pub async fn bye(&self) {
        self.owner.0.bye();
        self.owner.0.over().await;
    }
}

fn unexpected(event: &Event) -> ClientError {
    ClientError::Lost(format!("the answer has the number of another question: {event:?}"))
}

/// Forgets a query that nobody waits for any more: its answer is then an ordinary message.
struct Forget<'a> {
    link: &'a Link,
    id: MessageRef,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.state().forget_query(self.id);
    }
}

/// A message on its way. Dropping it forgets about the message, which goes on; while it is there, the session stays.
#[derive(Debug)]
pub struct Pending {
    owner: Arc<Owner>,
    accepted: Awaited,
    receipt: state::Awaited<Receipt>,
}

#[derive(Debug)]
enum Awaited {
    Coming(state::Awaited<Accepted>),
    Come(Result<Accepted, ClientError>),
}

impl Pending {
    /// Waits until the gateway has taken the message over. Asked again, it says the same.
    ///
    /// # Errors
    /// If the gateway refuses it, or the connection is lost.
    pub async fn accepted(&mut self) -> Result<Accepted, ClientError> {
        match &mut self.accepted {
            Awaited::Come(accepted) => accepted.clone(),
            Awaited::Coming(coming) => {
                let accepted = self.owner.0.wait(coming).await;
                self.accepted = Awaited::Come(accepted.clone());
                accepted
            }
        }
    }

    /// Waits until it is known what became of the message. Not delivered is a receipt too, not an error.
    ///
    /// # Errors
    /// If the gateway refuses the message, or the connection is lost.
    pub async fn receipt(self) -> Result<Receipt, ClientError> {
        self.owner.0.wait(self.receipt).await
    }
}
