//! What a client waits for: who wants which event, and what is asked again after a reconnect.
//!
//! A plain table behind a lock; it does no IO and wakes nobody but those whose event has come. What has come for the
//! application itself is [`Mail`]'s.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mesh_protocol::MessageType;
use tokio::sync::oneshot;

use super::mail::Mail;
use crate::ClientError;
use crate::api::{
    Accepted, Ask, Destination, Event, Message, MessageRef, Name, Receipt, ReceiptRequest, Request,
    SendRequest, Subscribe, Subscribed, Welcome,
};
use crate::error::lost;

/// Messages that an agent which stays may have sent ahead of their *accepted*: as many as the gateway knows again by
/// their keys (`docs/agents.md`, "Sending again").
pub(crate) const UNACCEPTED: usize = 1_024;
/// Bytes of their bodies. A guess: what a gateway takes in a second.
pub(crate) const UNACCEPTED_BYTES: usize = 8 * 1024 * 1024;
/// Questions to the gateway that may wait for an answer. A guess: far more than anyone has.
pub(crate) const ASKED: usize = 1_024;

/// Whoever waits for a `T`. Dropped when the connection is lost for good.
pub(crate) type Waiter<T> = oneshot::Sender<Result<T, ClientError>>;
/// The other end.
pub(crate) type Awaited<T> = oneshot::Receiver<Result<T, ClientError>>;

/// What became of a query.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Its answer.
    Response(Box<Message>),
    /// It will get none.
    Undelivered(Receipt),
}

/// Who waits for what of a message.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    pub(crate) accepted: Option<Waiter<Accepted>>,
    pub(crate) receipt: Option<Waiter<Receipt>>,
    pub(crate) answer: Option<Waiter<Answer>>,
}

/// A message that has no receipt yet.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) to: Destination,
    pub(super) receipt_request: ReceiptRequest,
    pub(super) durable: bool,
    pub(super) waiters: Waiters,
    /// Once it is accepted.
    pub(super) id: Option<MessageRef>,
    /// How to send it again, until it is accepted.
    pub(super) resend: Option<Box<Resend>>,
}

#[derive(Debug)]
pub(super) struct Resend {
    pub(super) request: Request,
    /// When it is worth nothing any more.
    pub(super) until: Option<Duration>,
    /// Whether a session has had it.
    pub(super) sent: bool,
}

/// A question to the gateway itself.
#[derive(Debug)]
pub(super) struct Asked<T> {
    pub(super) waiter: Waiter<T>,
    pub(super) request: Request,
}

/// Everything that is waited for.
#[derive(Debug)]
pub(crate) struct ClientState {
    /// Whether another session follows one that ends: what was asked is then kept until it is answered.
    pub(super) stays: bool,
    pub(super) last_reference: u64,
    pub(super) sends: BTreeMap<u64, Sending>,
    pub(super) unaccepted: usize,
    pub(super) unaccepted_bytes: usize,
    /// Questions by their names: whom each went to, and who waits.
    pub(super) queries: BTreeMap<MessageRef, (Destination, Waiter<Answer>)>,
    pub(super) asks: BTreeMap<u64, Asked<Event>>,
    pub(super) groups: VecDeque<Asked<Subscribed>>,
    /// What the agent has subscribed to: a gateway forgets it with the session, and the next one asks for it again.
    pub(super) subscriptions: BTreeMap<Name, Option<Vec<MessageType>>>,
    pub(crate) mail: Mail,
    /// The ping behind all that was sent again: its answer means that everything before it was answered.
    pub(super) barrier: Option<u64>,
    /// Whether there is room again where there was none.
    pub(super) freed: bool,
    /// Why the session has ended, in the gateway's words.
    pub(super) ended: Option<ClientError>,
    /// Why there will never be another one.
    pub(super) closed: Option<ClientError>,
}

impl ClientState {
    /// Requests have numbers from `first` on.
    pub(crate) fn new(welcome: &Welcome, first: u64, stays: bool) -> Self {
        Self {
            stays,
            last_reference: first,
            sends: BTreeMap::new(),
            unaccepted: 0,
            unaccepted_bytes: 0,
            queries: BTreeMap::new(),
            asks: BTreeMap::new(),
            groups: VecDeque::new(),
            subscriptions: BTreeMap::new(),
            mail: Mail::new(welcome),
            barrier: None,
            freed: false,
            ended: None,
            closed: None,
        }
    }

    fn number(&mut self) -> u64 {
        self.last_reference += 1;
        self.last_reference
    }

    pub(crate) fn closed(&self) -> Option<&ClientError> {
        self.closed.as_ref()
    }

    /// Whether one more request may wait.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.asks.len() >= ASKED {
            // Who no longer waits does not want to know.
            self.asks.retain(|_, asked| !asked.waiter.is_closed());
        }
        self.unaccepted < UNACCEPTED
            && self.unaccepted_bytes < UNACCEPTED_BYTES
            && self.asks.len() < ASKED
            && self.groups.len() < ASKED
    }

    /// Whether there is room again; said once.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Why the gateway has ended the session, if it said so.
    pub(crate) fn take_ended(&mut self) -> Option<ClientError> {
        self.ended.take()
    }

    // ---- asking ----

    /// Keeps a message with those who wait for its outcome, and has it written.
    pub(crate) fn send(
        &mut self,
        mut send: SendRequest,
        waiters: Waiters,
        now: impl FnOnce() -> Duration,
        write: impl FnOnce(&Request) -> Result<bool, ClientError>,
    ) -> Result<(), ClientError> {
        let reference = self.number();
        send.reference = Some(reference);
        let (to, receipt_request, durable, len) = (send.to, send.receipt, send.durable, send.body.len());
        let deadline = send.deadline_ms;
        if self.stays {
            // Under a key the gateway knows it again, should its *accepted* be lost. A key of the application goes first.
            send.key.get_or_insert(reference);
        }
        let request = Request::Send(send);
        // Written before it is kept: what cannot be written leaves nothing behind.
        let sent = write(&request)?;
        let resend = self.stays.then(|| {
            let until = deadline.map(|ms| now() + Duration::from_millis(ms.into()));
            self.unaccepted += 1;
            self.unaccepted_bytes += len;
            Box::new(Resend { request, until, sent })
        });
        self.sends.insert(reference, Sending { to, receipt_request, durable, waiters, id: None, resend });
        Ok(())
    }

    /// Keeps a question with whoever waits for its answer, and has it written.
    pub(crate) fn ask(
        &mut self,
        question: impl FnOnce(Ask) -> Request,
        write: impl FnOnce(&Request) -> Result<bool, ClientError>,
    ) -> Result<Awaited<Event>, ClientError> {
        let reference = self.number();
        let request = question(Ask { reference: Some(reference) });
        write(&request)?;
        let (waiter, awaited) = oneshot::channel();
        self.asks.insert(reference, Asked { waiter, request });
        Ok(awaited)
    }

    /// A number for a ping that nobody waits for.
    pub(crate) fn ping(&mut self) -> Request {
        Request::Ping(Ask { reference: Some(self.number()) })
    }

    /// Keeps a change of groups with whoever waits for the result, and has it written. An older gateway's answers have
    /// no number; they come in order.
    pub(crate) fn groups(
        &mut self,
        request: impl FnOnce(Option<u64>) -> Request,
        write: impl FnOnce(&Request) -> Result<bool, ClientError>,
    ) -> Result<Awaited<Subscribed>, ClientError> {
        let request = request(Some(self.number()));
        write(&request)?;
        let (waiter, awaited) = oneshot::channel();
        self.groups.push_back(Asked { waiter, request });
        Ok(awaited)
    }

    pub(crate) fn forget_query(&mut self, id: MessageRef) {
        self.queries.remove(&id);
    }

    // ---- between sessions ----

    /// Ends everything that waits. The first reason stays.
    pub(crate) fn close(&mut self, why: ClientError) {
        self.closed.get_or_insert(why);
        self.sends.clear();
        (self.unaccepted, self.unaccepted_bytes) = (0, 0);
        self.queries.clear();
        self.asks.clear();
        self.groups.clear();
    }

    /// A session has ended and another one is to follow. What was accepted and is not durable gets no receipt in another
    /// session.
    pub(crate) fn suspend(&mut self, why: &ClientError) {
        (self.ended, self.barrier) = (None, None);
        self.give_up(why, |sending| sending.id.is_some() && !sending.durable);
    }

    /// Ends what was not accepted before its deadline: the error says whether a session has had it.
    pub(crate) fn overdue(&mut self, now: Duration) {
        for sent in [true, false] {
            self.give_up(&ClientError::Overdue { sent }, |sending| {
                let late =
                    |resend: &Resend| resend.sent == sent && resend.until.is_some_and(|until| until <= now);
                sending.resend.as_deref().is_some_and(late)
            });
        }
    }

    /// Ends what is meant, with this reason.
    fn give_up(&mut self, why: &ClientError, whom: impl Fn(&Sending) -> bool) {
        // Collected first: giving one up changes the table.
        let gone: Vec<u64> =
            self.sends.iter().filter(|(_, sending)| whom(sending)).map(|(reference, _)| *reference).collect();
        for reference in gone {
            let Some(Sending { mut waiters, id, resend, .. }) = self.sends.remove(&reference) else {
                continue;
            };
            self.forget_resend(resend);
            // The answer to what was accepted is waited for by its name.
            waiters.answer = waiters.answer.or_else(|| self.queries.remove(&id?).map(|(_, waiter)| waiter));
            waiters.refuse(why);
        }
    }

    /// A session has begun where another one ended: has everything written that waits for an answer.
    pub(crate) fn resume(
        &mut self,
        welcome: &Welcome,
        asked: u64,
        now: Duration,
        mut write: impl FnMut(&Request) -> Result<bool, ClientError>,
    ) -> Result<(), ClientError> {
        if !self.mail.resume(welcome, asked) {
            let why =
                lost("its gateway has forgotten what it had accepted; was its data directory replaced?");
            self.give_up(&why, |sending| sending.id.is_some());
        }
        self.overdue(now);
        // What it has subscribed to comes before what it was about to change. Nobody waits for that answer.
        let subscriptions = self
            .subscribe_requests()
            .into_iter()
            .map(|request| Asked { waiter: oneshot::channel().0, request });
        let groups: VecDeque<Asked<Subscribed>> =
            subscriptions.chain(std::mem::take(&mut self.groups)).collect();
        for asked in &groups {
            write(&asked.request)?;
        }
        self.groups = groups;
        for sending in self.sends.values_mut() {
            let Some(resend) = sending.resend.as_deref_mut() else { continue };
            if let (Request::Send(send), Some(until)) = (&mut resend.request, resend.until) {
                // What is left of it; it was more than nothing just now.
                let left = until.saturating_sub(now).as_millis().max(1);
                send.deadline_ms = Some(u32::try_from(left).unwrap_or(u32::MAX));
            }
            resend.sent = write(&resend.request)?;
        }
        for asked in self.asks.values() {
            write(&asked.request)?;
        }
        // No credit is given before this comes back: an answer could come before the number of its question is known.
        let barrier = self.number();
        self.barrier = Some(barrier);
        write(&Request::Ping(Ask { reference: Some(barrier) }))?;
        Ok(())
    }

    /// The requests that subscribe again to what the agent has subscribed to: one for each set of types.
    fn subscribe_requests(&self) -> Vec<Request> {
        let mut by_types: Vec<(&Option<Vec<MessageType>>, Vec<Name>)> = Vec::new();
        for (name, types) in &self.subscriptions {
            match by_types.iter_mut().find(|(known, _)| *known == types) {
                Some((_, groups)) => groups.push(*name),
                None => by_types.push((types, vec![*name])),
            }
        }
        let subscribe = |(types, groups): (&Option<Vec<MessageType>>, Vec<Name>)| {
            Request::Subscribe(Subscribe { reference: None, groups, types: types.clone() })
        };
        by_types.into_iter().map(subscribe).collect()
    }
}

impl Waiters {
    pub(super) fn refuse(self, why: &ClientError) {
        let Self { accepted, receipt, answer } = self;
        let _ = accepted.map(|waiter| waiter.send(Err(why.clone())));
        let _ = receipt.map(|waiter| waiter.send(Err(why.clone())));
        let _ = answer.map(|waiter| waiter.send(Err(why.clone())));
    }
}
