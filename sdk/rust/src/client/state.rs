//! What a client waits for: who wants which event, what is unread, what may be acknowledged.
//!
//! A plain table behind a lock; it does no IO and wakes nobody but those whose event has come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::sync::oneshot;

use super::{ClientError, Incoming};
use crate::api::{
    Accepted, Ack, Credit, ErrorEvent, Event, Message, MessageRef, Outcome, Receipt, ReceiptWish, Subscribed,
};

/// How many handled events are acknowledged together while more are waiting. A guess.
const ACK_EVERY: u32 = 32;

/// Someone who waits for a `T`, or for the gateway's refusal. Dropped when the connection is lost.
pub(super) type Waiter<T> = oneshot::Sender<Result<T, ErrorEvent>>;
/// The other end.
pub(super) type Awaited<T> = oneshot::Receiver<Result<T, ErrorEvent>>;

/// What became of a query.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its answer.
    Response(Box<Message>),
    /// It will get none.
    Undelivered(Receipt),
}

/// A message on its way, and who wants to know.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) wish: ReceiptWish,
    pub(super) accepted: Option<Waiter<Accepted>>,
    pub(super) receipt: Option<Waiter<Receipt>>,
    pub(super) answer: Option<Waiter<Answer>>,
}

/// Everything that is waited for.
#[derive(Debug)]
pub(super) struct State {
    next_reference: u64,
    sends: BTreeMap<u64, Sending>,
    queries: BTreeMap<MessageRef, Waiter<Answer>>,
    asks: BTreeMap<u64, Waiter<Event>>,
    groups: VecDeque<Waiter<Subscribed>>,
    /// What the application has not yet taken.
    unread: VecDeque<Incoming>,
    /// Cursors given to the application and not yet handled by it.
    open: BTreeSet<u64>,
    /// The highest cursor seen.
    highest: u64,
    acknowledged: u64,
    handled_since_ack: u32,
    /// The credits of the session, and how many of them can be given back.
    credits: u32,
    spent: u32,
    /// Why the session is over, when it is.
    closed: Option<ClientError>,
}

impl State {
    /// Receipts of an earlier session come with that session's numbers: `first` is the time in microseconds, which
    /// keeps them apart.
    pub(super) fn new(resumed_from: u64, credits: u32, first: u64) -> Self {
        Self {
            next_reference: first,
            sends: BTreeMap::new(),
            queries: BTreeMap::new(),
            asks: BTreeMap::new(),
            groups: VecDeque::new(),
            unread: VecDeque::new(),
            open: BTreeSet::new(),
            highest: resumed_from,
            acknowledged: resumed_from,
            handled_since_ack: 0,
            credits,
            spent: 0,
            closed: None,
        }
    }

    fn number(&mut self) -> u64 {
        self.next_reference += 1;
        self.next_reference
    }

    fn check(&self) -> Result<(), ClientError> {
        self.closed.clone().map_or(Ok(()), Err)
    }

    pub(super) fn closed(&self) -> Option<&ClientError> {
        self.closed.as_ref()
    }

    pub(super) fn expect_receipt(&mut self, sending: Sending) -> Result<u64, ClientError> {
        self.check()?;
        let reference = self.number();
        self.sends.insert(reference, sending);
        Ok(reference)
    }

    pub(super) fn expect_answer(&mut self) -> Result<(u64, Awaited<Event>), ClientError> {
        self.check()?;
        let (waiter, awaited) = oneshot::channel();
        let reference = self.number();
        self.asks.insert(reference, waiter);
        Ok((reference, awaited))
    }

    pub(super) fn expect_groups(&mut self) -> Result<Awaited<Subscribed>, ClientError> {
        self.check()?;
        let (waiter, awaited) = oneshot::channel();
        self.groups.push_back(waiter);
        Ok(awaited)
    }

    pub(super) fn forget_query(&mut self, id: MessageRef) {
        self.queries.remove(&id);
    }

    /// Ends everything that waits. The first reason stays.
    pub(super) fn close(&mut self, why: ClientError) {
        self.closed.get_or_insert(why);
        self.sends.clear();
        self.queries.clear();
        self.asks.clear();
        self.groups.clear();
    }

    /// Takes an event to whoever waits for it. True if there is something new to read.
    pub(super) fn dispatch(&mut self, event: Event) -> bool {
        match event {
            Event::Accepted(accepted) => self.accepted(accepted),
            Event::Receipt(receipt) => return self.receipt(receipt),
            Event::Message(message) => return self.message(message),
            Event::Error(error) => return self.error(error),
            Event::Subscribed(subscribed) => {
                if let Some(waiter) = self.groups.pop_front() {
                    // Who has stopped waiting does not want to know; so with every waiter below.
                    let _ = waiter.send(Ok(subscribed));
                }
            }
            Event::Goodbye(goodbye) => self.close(ClientError::Lost(goodbye.why)),
            answer @ (Event::Status(_)
            | Event::Peers(_)
            | Event::Routes(_)
            | Event::Agents(_)
            | Event::Health(_)
            | Event::Done(_)
            | Event::Pong(_)) => {
                if let Some(waiter) = answer.reference().and_then(|reference| self.asks.remove(&reference)) {
                    let _ = waiter.send(Ok(answer));
                }
            }
            // There is one welcome, and connecting has taken it.
            Event::Welcome(_) => {}
        }
        false
    }

    fn accepted(&mut self, accepted: Accepted) {
        let Some(sending) = accepted.reference.and_then(|reference| self.sends.get_mut(&reference)) else {
            return;
        };
        // Who has stopped waiting would never be removed: its answer is an ordinary message.
        if let Some(answer) = sending.answer.take().filter(|answer| !answer.is_closed()) {
            self.queries.insert(accepted.id, answer);
        }
        if let Some(waiter) = sending.accepted.take() {
            let _ = waiter.send(Ok(accepted));
        }
    }

    fn receipt(&mut self, receipt: Receipt) -> bool {
        let known = receipt.reference.filter(|reference| self.sends.contains_key(reference));
        let Some(reference) = known else {
            self.note(receipt.cursor, true);
            self.unread.push_back(Incoming::Receipt(receipt));
            return true;
        };
        self.note(receipt.cursor, false);
        let wish = self.sends[&reference].wish;
        if receipt.outcome == Outcome::Delivered && wish == ReceiptWish::Processed {
            return false;
        }
        let arrived = matches!(receipt.outcome, Outcome::Delivered | Outcome::Processed | Outcome::Sent);
        if !arrived && let Some(waiter) = self.queries.remove(&receipt.id) {
            let _ = waiter.send(Ok(Answer::Undelivered(receipt.clone())));
        }
        if let Some(waiter) = self.sends.remove(&reference).and_then(|sending| sending.receipt) {
            let _ = waiter.send(Ok(receipt));
        }
        false
    }

    fn message(&mut self, message: Message) -> bool {
        let cursor = message.cursor;
        let query = message.reply_to.and_then(|id| self.queries.remove(&id));
        // What the one who asked no longer takes is for the inbox. The copy shares the body.
        let claimed =
            query.is_some_and(|waiter| waiter.send(Ok(Answer::Response(Box::new(message.clone())))).is_ok());
        self.note(cursor, !claimed);
        if claimed {
            self.spent += 1;
        } else {
            self.unread.push_back(Incoming::Message(message));
        }
        !claimed
    }

    fn error(&mut self, error: ErrorEvent) -> bool {
        if error.fatal {
            self.close(ClientError::Refused(error));
            return true;
        }
        if let Some(sending) = error.reference.and_then(|reference| self.sends.remove(&reference)) {
            let Sending { accepted, receipt, answer, .. } = sending;
            let _ = accepted.map(|waiter| waiter.send(Err(error.clone())));
            let _ = receipt.map(|waiter| waiter.send(Err(error.clone())));
            let _ = answer.map(|waiter| waiter.send(Err(error)));
            return false;
        }
        if let Some(waiter) = error.reference.and_then(|reference| self.asks.remove(&reference)) {
            let _ = waiter.send(Err(error));
            return false;
        }
        self.unread.push_back(Incoming::Error(error));
        true
    }

    /// A cursor has come; `open` if the application has yet to handle it.
    fn note(&mut self, cursor: Option<u64>, open: bool) {
        let Some(cursor) = cursor else { return };
        self.highest = self.highest.max(cursor);
        if open {
            self.open.insert(cursor);
        } else {
            self.handled_since_ack += 1;
        }
    }

    /// The next thing to read.
    pub(super) fn take(&mut self) -> Option<Incoming> {
        let incoming = self.unread.pop_front();
        if matches!(incoming, Some(Incoming::Message(_))) {
            self.spent += 1;
        }
        incoming
    }

    /// The application has handled this cursor. The acknowledgement to send, if it is time for one.
    pub(super) fn handled(&mut self, cursor: u64) -> Option<Ack> {
        self.open.remove(&cursor);
        self.handled_since_ack += 1;
        if self.unread.is_empty() || self.handled_since_ack >= ACK_EVERY { self.ack() } else { None }
    }

    /// The acknowledgement of everything before the first cursor that is still open, if that is news.
    pub(super) fn ack(&mut self) -> Option<Ack> {
        let cursor = self.open.first().map_or(self.highest, |first| first.saturating_sub(1));
        if cursor <= self.acknowledged || self.handled_since_ack == 0 {
            return None;
        }
        self.acknowledged = cursor;
        self.handled_since_ack = 0;
        Some(Ack { cursor })
    }

    /// The credits to give back, if there are enough of them to be worth a request.
    pub(super) fn credit(&mut self) -> Option<Credit> {
        if self.spent == 0 || self.spent < self.credits / 2 {
            return None;
        }
        Some(Credit { n: std::mem::take(&mut self.spent) })
    }
}
