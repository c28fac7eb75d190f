//! Requests to a gateway.
//!
//! Owns what can be asked and what is checked before; the session under it is [`crate::link`]'s.

use std::sync::{Arc, MutexGuard};

use mesh_protocol::{Address, MessageType};
use tokio::sync::{oneshot, watch};

use crate::api::{
    AgentForget, Agents, AskNode, AskWhy, Deliveries, ErrorCode, ErrorEvent, Event, LinkAdd, LinkRemove,
    MAX_BODY, Message, MessageRef, Name, NodePong, Peers, Refusal, Request, RouteAdd, RouteRemove, Routes,
    SendRequest, Status, Subscribe, Timeline, Trace, Unsubscribe,
};
use crate::link::state::{Answer, Waiters};
use crate::link::{Link, Owner, Shared};
use crate::{ClientError, Connection, Pending};

/// Sends messages and requests to the gateway. Clones are the same agent. With an [`crate::Agent`], what is asked while the gateway
/// is away waits for it, and what has no answer yet is asked again.
///
/// ```no_run
/// # async fn example(handle: mesh_agent::Handle) -> Result<(), Box<dyn std::error::Error>> {
/// use mesh_agent::api::SendRequest;
/// use mesh_agent::MessageType;
///
/// let task = SendRequest::new("bob".parse()?, MessageType::Task, "water the roses");
/// let receipt = handle.send(task).await?.receipt().await?;
/// println!("{:?}", receipt.outcome);
///
/// for peer in handle.peers().await?.peers {
///     println!("{} was heard {} ms ago", peer.node, peer.last_heard_ms);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    owner: Arc<Owner>,
}

impl Handle {
    pub(crate) const fn new(owner: Arc<Owner>) -> Self {
        Self { owner }
    }

    /// Hands a message to the gateway; waits only while too much is in flight. The request's `reference` is set
    /// here. The returned [`Pending`] may be dropped by those who do not care.
    ///
    /// # Errors
    /// If the body is too long or the connection is lost. Whether the gateway accepts it, the [`Pending`] says.
    pub async fn send(&self, send: SendRequest) -> Result<Pending, ClientError> {
        let link = self.owner.link();
        let mut shared = room_for(link, &send).await?;
        let (accepted, on_accepted) = oneshot::channel();
        let (receipt, on_receipt) = oneshot::channel();
        let waiters = Waiters { accepted: Some(accepted), receipt: Some(receipt), answer: None };
        link.send(&mut shared, send, waiters)?;
        Ok(Pending::new(Arc::clone(&self.owner), on_accepted, on_receipt))
    }

    /// Asks another agent and waits for its answer. The request is sent as a QUERY; a deadline in it bounds the wait. One that
    /// is not durable, as [`SendRequest::new`] makes a QUERY, is not waited for any longer when the connection is lost after
    /// *accepted*: ask again, or make it [durable](SendRequest::with_durable).
    ///
    /// # Errors
    /// If the gateway refuses it, if it is not delivered, or if the connection is lost.
    pub async fn query(&self, mut send: SendRequest) -> Result<Message, ClientError> {
        send.kind = MessageType::Query;
        let link = self.owner.link();
        let (accepted, on_accepted) = oneshot::channel();
        let (answer, on_answer) = oneshot::channel();
        let waiters = Waiters { accepted: Some(accepted), receipt: None, answer: Some(answer) };
        {
            let mut shared = room_for(link, &send).await?;
            link.send(&mut shared, send, waiters)?;
        }
        let id = link.wait(on_accepted).await?.id;
        let _forget = Forget { link, id };
        match link.wait(on_answer).await? {
            Answer::Response(message) => Ok(*message),
            Answer::Undelivered(receipt) => Err(ClientError::Undelivered(receipt)),
        }
    }

    /// Says that the message of this cursor has been handled; for those who turned [`crate::Inbox::set_auto_ack`] off. In any
    /// order: the gateway gets the acknowledgement when nothing before it is open.
    ///
    /// # Errors
    /// If the connection is lost.
    pub fn ack(&self, cursor: u64) -> Result<(), ClientError> {
        self.owner.link().handled(cursor)
    }

    /// Also receives what is sent to these groups, of these types or of all. What is sent to the agent itself or to everyone
    /// comes whatever its type. Returns all groups the agent is subscribed to.
    ///
    /// # Errors
    /// If the gateway refuses or the connection is lost.
    pub async fn subscribe(
        &self,
        groups: Vec<Name>,
        types: Option<Vec<MessageType>>,
    ) -> Result<Vec<Name>, ClientError> {
        let request = |reference| Request::Subscribe(Subscribe { reference, groups, types });
        Ok(self.owner.link().groups(request).await?.groups)
    }

    /// No longer receives what is sent to these groups. Returns the groups the agent is still subscribed to.
    ///
    /// # Errors
    /// If the gateway refuses or the connection is lost.
    pub async fn unsubscribe(&self, groups: Vec<Name>) -> Result<Vec<Name>, ClientError> {
        let request = |reference| Request::Unsubscribe(Unsubscribe { reference, groups });
        Ok(self.owner.link().groups(request).await?.groups)
    }

    /// How the gateway is.
    ///
    /// # Errors
    /// If the gateway refuses or the connection is lost.
    pub async fn status(&self) -> Result<Status, ClientError> {
        match self.owner.link().ask(Request::Status).await? {
            Event::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// Which nodes are near.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn peers(&self) -> Result<Peers, ClientError> {
        match self.owner.link().ask(Request::Peers).await? {
            Event::Peers(peers) => Ok(peers),
            other => Err(unexpected(&other)),
        }
    }

    /// How far nodes are reached.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn routes(&self) -> Result<Routes, ClientError> {
        match self.owner.link().ask(Request::Routes).await? {
            Event::Routes(routes) => Ok(routes),
            other => Err(unexpected(&other)),
        }
    }

    /// Which agents are known.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn agents(&self) -> Result<Agents, ClientError> {
        match self.owner.link().ask(Request::Agents).await? {
            Event::Agents(agents) => Ok(agents),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until the gateway has seen everything asked before.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn ping(&self) -> Result<(), ClientError> {
        match self.owner.link().ask(Request::Ping).await? {
            Event::Pong(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// What became of a message of the gateway's, step by step.
    ///
    /// # Errors
    /// If the gateway does not know it any more, or as [`Self::status`].
    pub async fn why(&self, id: MessageRef) -> Result<Timeline, ClientError> {
        match self.owner.link().ask(|ask| Request::Why(AskWhy { reference: ask.reference, id })).await? {
            Event::Timeline(timeline) => Ok(timeline),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks a node whether it is there, once, and waits so long for its answer.
    ///
    /// # Errors
    /// If the gateway refuses, or as [`Self::status`]. That no answer came is no error.
    pub async fn ping_node(&self, node: Address, timeout_ms: u32) -> Result<NodePong, ClientError> {
        let ask = |reference| Request::PingNode(AskNode { reference, node, timeout_ms });
        match self.owner.link().ask(|own| ask(own.reference)).await? {
            Event::NodePong(pong) => Ok(pong),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks all nodes on the way to a node who they are, once, and waits so long for their answers.
    ///
    /// # Errors
    /// As [`Self::ping_node`].
    pub async fn trace_node(&self, node: Address, timeout_ms: u32) -> Result<Trace, ClientError> {
        let ask = |reference| Request::TraceNode(AskNode { reference, node, timeout_ms });
        match self.owner.link().ask(|own| ask(own.reference)).await? {
            Event::Trace(trace) => Ok(trace),
            other => Err(unexpected(&other)),
        }
    }

    /// How well messages get through.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn health(&self) -> Result<Deliveries, ClientError> {
        match self.owner.link().ask(Request::Health).await? {
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

    /// Adds an operator's route: the gateway sends to `destination` through its neighbour `next_hop`.
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

    /// Removes the operator's route to `destination`.
    ///
    /// # Errors
    /// If there is no such route, or as [`Self::status`].
    pub async fn remove_route(&self, destination: Address) -> Result<(), ClientError> {
        self.change(|reference| Request::RouteRemove(RouteRemove { reference, destination })).await
    }

    /// The gateway forgets the agent of this name, with its inbox. One that is connected is not forgotten, but for this one:
    /// that is forgotten when its session ends.
    ///
    /// # Errors
    /// If the gateway refuses, or as [`Self::status`].
    pub async fn forget_agent(&self, name: Name) -> Result<(), ClientError> {
        self.change(|reference| Request::AgentForget(AgentForget { reference, name })).await
    }

    async fn change(&self, request: impl FnOnce(Option<u64>) -> Request) -> Result<(), ClientError> {
        match self.owner.link().ask(|ask| request(ask.reference)).await? {
            Event::Done(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The state of the connection to the gateway, now and at every change.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.owner.link().connection()
    }

    /// Ends the session and waits until it has ended: what was asked before has then reached the gateway.
    pub async fn bye(&self) {
        self.owner.link().bye();
        self.owner.link().over().await;
    }
}

/// Waits until a message can be handed over, if it ever can.
async fn room_for<'a>(link: &'a Link, send: &SendRequest) -> Result<MutexGuard<'a, Shared>, ClientError> {
    let length = send.body.len();
    if length > MAX_BODY {
        let message = format!("cannot send a body of {length} bytes: {MAX_BODY} is the most");
        let refusal = Refusal::new(ErrorCode::TooLarge, message).hint("send it in parts");
        return Err(ClientError::Refused(ErrorEvent::about(None, refusal.field(send.body.field()))));
    }
    link.room().await
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
        self.link.lock().state.forget_query(self.id);
    }
}
