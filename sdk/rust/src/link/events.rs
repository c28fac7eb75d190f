//! What the gateway says, taken to whoever waits for it.
//!
//! Owns which event answers what. Who waits is [`ClientState`]'s.

use super::state::{Answer, Asked, ClientState, Resend, Waiter};
use crate::api::{
    Accepted, Destination, ErrorEvent, Event, Message, MessageRef, Outcome, Receipt, ReceiptRequest, Request,
    Subscribe, Subscribed,
};
use crate::{ClientError, Incoming};

impl ClientState {
    /// Takes an event to whoever waits for it. True if there is something new to read.
    pub(crate) fn dispatch(&mut self, event: Event) -> bool {
        match event {
            Event::Accepted(accepted) => {
                if let Some(reference) = accepted.reference {
                    self.accepted(reference, accepted);
                }
            }
            Event::Receipt(receipt) => return self.receipt(receipt),
            Event::Message(message) => return self.message(message),
            Event::Error(error) => return self.error(error),
            Event::Subscribed(subscribed) => self.subscribed(subscribed),
            Event::Goodbye(goodbye) => drop(self.ended.get_or_insert(ClientError::Lost(goodbye.why))),
            answer @ (Event::Status(_)
            | Event::Peers(_)
            | Event::Routes(_)
            | Event::Agents(_)
            | Event::Health(_)
            | Event::Done(_)
            | Event::Timeline(_)
            | Event::NodePong(_)
            | Event::Trace(_)
            | Event::Pong(_)) => self.answer(answer),
            // There is one welcome, and connecting has taken it.
            Event::Welcome(_) => {}
        }
        false
    }

    fn answer(&mut self, answer: Event) {
        let Some(reference) = answer.reference() else { return };
        if self.barrier == Some(reference) {
            self.barrier = None;
            self.mail.release();
        }
        if let Some(asked) = self.asks.remove(&reference) {
            self.freed = true;
            // Who has stopped waiting does not want to know; so with every waiter.
            let _ = asked.waiter.send(Ok(answer));
        }
    }

    fn subscribed(&mut self, subscribed: Subscribed) {
        let Some(Asked { waiter, request }) = self.groups_asked(subscribed.reference) else { return };
        if self.stays {
            match request {
                Request::Subscribe(Subscribe { groups, types, .. }) => {
                    let taken = groups.into_iter().filter(|group| subscribed.groups.contains(group));
                    self.subscriptions.extend(taken.map(|group| (group, types.clone())));
                }
                _ => self.subscriptions.retain(|group, _| subscribed.groups.contains(group)),
            }
        }
        let _ = waiter.send(Ok(subscribed));
    }

    /// The question about groups that is answered now: the one of this number, or the first where the answer has none.
    fn groups_asked(&mut self, reference: Option<u64>) -> Option<Asked<Subscribed>> {
        let at = match reference {
            Some(_) => self.groups.iter().position(|asked| asked.request.reference() == reference)?,
            None => 0,
        };
        self.freed = true;
        self.groups.remove(at)
    }

    /// The message has been accepted or refused: it need not be sent again, and its room is free.
    pub(super) fn forget_resend(&mut self, resend: Option<Box<Resend>>) {
        if let Some(Request::Send(send)) = resend.map(|resend| resend.request) {
            self.unaccepted -= 1;
            self.unaccepted_bytes -= send.body.len();
            self.freed = true;
        }
    }

    /// A message is accepted: its *accepted* has come, or was lost and its receipt has come.
    fn accepted(&mut self, reference: u64, accepted: Accepted) {
        let Some(sending) = self.sends.get_mut(&reference).filter(|sending| sending.id.is_none()) else {
            return;
        };
        sending.id = Some(accepted.id);
        sending.durable = accepted.durable;
        let resend = sending.resend.take();
        let waiter = sending.waiters.accepted.take();
        // Who has stopped waiting would never be removed: its answer is an ordinary message.
        if let Some(answer) = sending.waiters.answer.take().filter(|answer| !answer.is_closed()) {
            self.queries.insert(accepted.id, (sending.to, answer));
        }
        self.forget_resend(resend);
        if let Some(waiter) = waiter {
            let _ = waiter.send(Ok(accepted));
        }
    }

    fn receipt(&mut self, receipt: Receipt) -> bool {
        if !self.mail.is_new(receipt.cursor) {
            return false;
        }
        // One of an earlier run of this agent, or one whose waiter was dropped with its session: it is for the application.
        let Some(reference) = receipt.reference.filter(|reference| self.sends.contains_key(reference)) else {
            self.mail.put(Incoming::Receipt(receipt));
            return true;
        };
        self.mail.passed(receipt.cursor);
        let &Receipt { id, at_us, .. } = &receipt;
        let durable = receipt.cursor.is_some();
        // The *accepted* may have been lost with an earlier session; the receipt says as much.
        self.accepted(reference, Accepted { reference: Some(reference), id, durable, at_us });
        let receipt_request = self.sends[&reference].receipt_request;
        // *Processed* follows, or the reason why it will not.
        if receipt.outcome == Outcome::Delivered && receipt_request == ReceiptRequest::Processed {
            return false;
        }
        let arrived = matches!(receipt.outcome, Outcome::Delivered | Outcome::Processed | Outcome::Sent);
        if !arrived && let Some((_, waiter)) = self.queries.remove(&receipt.id) {
            let _ = waiter.send(Ok(Answer::Undelivered(receipt.clone())));
        }
        if let Some(waiter) = self.sends.remove(&reference).and_then(|sending| sending.waiters.receipt) {
            let _ = waiter.send(Ok(receipt));
        }
        false
    }

    fn message(&mut self, message: Message) -> bool {
        if !self.mail.is_new(message.cursor) {
            // Shown before, in an earlier session; it costs a credit all the same.
            self.mail.spend();
            return false;
        }
        let cursor = message.cursor;
        let query = message.reply_to.and_then(|id| self.answered(id, &message.from));
        // What the one who asked no longer takes is for the inbox. The copy shares the body.
        let claimed =
            query.is_some_and(|waiter| waiter.send(Ok(Answer::Response(Box::new(message.clone())))).is_ok());
        if claimed {
            self.mail.passed(cursor);
            self.mail.spend();
        } else {
            self.mail.put(Incoming::Message(message));
        }
        !claimed
    }

    /// Who waits for this answer, if it comes from where the question went: anyone who may write to this agent can guess the
    /// question's number.
    fn answered(&mut self, question: MessageRef, from: &Destination) -> Option<Waiter<Answer>> {
        let asked = &self.queries.get(&question)?.0;
        if !asked.may_answer(from) {
            return None;
        }
        self.queries.remove(&question).map(|(_, waiter)| waiter)
    }

    fn error(&mut self, error: ErrorEvent) -> bool {
        if error.fatal {
            self.ended.get_or_insert(ClientError::Refused(error));
            return false;
        }
        if let Some(sending) = error.reference.and_then(|reference| self.sends.remove(&reference)) {
            self.forget_resend(sending.resend);
            sending.waiters.refuse(&ClientError::Refused(error));
            return false;
        }
        if let Some(asked) = error.reference.and_then(|reference| self.asks.remove(&reference)) {
            self.freed = true;
            let _ = asked.waiter.send(Err(ClientError::Refused(error)));
            return false;
        }
        if error.reference.is_some()
            && let Some(asked) = self.groups_asked(error.reference)
        {
            let _ = asked.waiter.send(Err(ClientError::Refused(error)));
            return false;
        }
        self.mail.put(Incoming::Error(error));
        true
    }
}
