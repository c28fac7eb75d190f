//! Messages of other gateways: kept here on their request, brought to their receivers when those can be reached, and settled.
//!
//! Owns what is promised: *kept* only behind the sync, and the receiver's verdict for as long as anybody waits for it. A message that is
//! asked to be kept twice is kept once; one that comes again after it was settled is brought again, and its receiver knows it.

use mesh_agent::api::{Body, Destination, MAX_DEADLINE_MS, Name, Outcome, ReceiptRequest, StepKind};
use mesh_protocol::{
    Address, Duration, Envelope, MessageId, MessageRef, MessageType, Priority, Reason, Received, SendOutcome,
    Verdict,
};

use super::accepted::Accepted;
use super::carriage::Carriage;
use super::encoding::encode;
use super::journal::After;
use super::state::EngineState;
use crate::store::Op;

/// What became of a message is told for so long at least: its deadline may be near, and its gateway out of reach for a moment.
const TOLD_FOR: Duration = Duration::from_secs(60);

impl EngineState {
    /// A gateway asks for a message of its own to be kept.
    pub(super) fn keep(
        &mut self,
        received: &Received<'_>,
        to: Address,
        seconds: u32,
        envelope: &Envelope<'_>,
    ) -> Result<Option<Verdict>, Reason> {
        let &Received { source, id, priority, .. } = received;
        let of = MessageRef { node: source, id };
        match self.kept.find(of) {
            Some((_, true)) => return Ok(Some(Verdict::Delivered)),
            // Said behind the sync of the first.
            Some((_, false)) => return Ok(None),
            None => {}
        }
        let from = Name::new(envelope.from).map_err(|_| Reason::Malformed)?;
        let to_agent = match envelope.to {
            "" => Destination::Node(to),
            name => Destination::agent_on(Name::new(name).map_err(|_| Reason::Malformed)?, to),
        };
        if to == self.config.address || to == source {
            return Err(Reason::Malformed);
        }
        if self.journal.failure().is_some() {
            return Err(Reason::Storage);
        }
        let len = envelope.body.len();
        if !self.kept.has_room(source, from, len, priority) || !self.outgoing.usage().has_room(len, priority)
        {
            self.counts.count("messages_not_kept");
            return Err(Reason::InboxFull);
        }
        let own = self.numbers.take_id(true, &mut self.journal).map_err(|_| Reason::InboxFull)?;
        let deadline_ms = seconds.saturating_mul(1_000).min(MAX_DEADLINE_MS);
        let accepted = Accepted {
            from,
            reference: None,
            to: to_agent,
            kind: envelope.kind,
            priority,
            deadline_ms,
            durable: true,
            reply_to: envelope.reply_to.map(|of| mesh_agent::api::MessageRef { node: of.node, id: of.id }),
            receipt: ReceiptRequest::Delivered,
            body: Body::from_parts(envelope.body.to_vec().into(), envelope.text),
            token: None,
            carriage: Some(Carriage::OnBehalf { of, processed: envelope.processed }),
        };
        self.put_out(own, accepted, Duration::from_millis(deadline_ms.into()));
        self.kept.insert(of, own, from, len, false);
        self.counts.count("messages_kept");
        self.journal.after(After::Kept { of, id: own, priority });
        Ok(None)
    }

    /// Puts a message that no agent here has sent into the outbox, and onto the disk.
    pub(super) fn put_out(&mut self, id: MessageId, accepted: Accepted, within: Duration) {
        self.journal.stage(Op::PutOutbox { id, record: encode(&accepted) });
        self.outgoing.insert(id, accepted, None, self.now + within, true);
        self.timelines.begin(self.now, id, StepKind::Accepted);
    }

    /// A message of another gateway is on the disk: that one hears so, and its way begins.
    pub(super) fn is_kept(&mut self, of: MessageRef, id: MessageId, priority: Priority) {
        self.kept.synced(of);
        self.commands.report(of.node, of.id, priority, Verdict::Delivered);
        self.timelines.add(self.now, id, StepKind::Stored, None);
        self.launch(id);
    }

    /// The store does not write: it is not kept after all.
    pub(super) fn take_back_kept(&mut self, of: MessageRef, id: MessageId, priority: Priority) {
        if let Some(accepted) = self.outgoing.remove(id) {
            self.kept.remove(of, accepted.from, accepted.body.len());
            self.journal.stage(Op::DeleteOutbox { id });
        }
        self.timelines.forget(id);
        self.commands.report(of.node, of.id, priority, Verdict::Rejected(Reason::Storage));
    }

    /// What no agent here has sent has come to its end: it goes from the disk, and who has sent it hears what its receiver said.
    pub(super) fn carried(&mut self, id: MessageId, outcome: SendOutcome, hops: Option<u8>) {
        let within = self.outgoing.left(id, self.now).unwrap_or(Duration::ZERO).max(TOLD_FOR);
        let Some(accepted) = self.outgoing.remove(id) else { return };
        self.journal.stage(Op::DeleteOutbox { id });
        let (verdict, end) = match outcome {
            SendOutcome::Delivered | SendOutcome::Processed => (Some(Verdict::Delivered), Outcome::Delivered),
            SendOutcome::Rejected(reason) => (Some(Verdict::Rejected(reason)), Outcome::Rejected),
            SendOutcome::Sent | SendOutcome::Unknown | SendOutcome::Expired => (None, Outcome::Unknown),
        };
        self.timelines.end(self.now, id, end, None, None);
        self.commands.refill();
        let Some(Carriage::OnBehalf { of, .. }) = accepted.carriage else {
            if let Destination::Node(node) = accepted.to {
                self.kept.told(node);
            }
            return;
        };
        self.kept.remove(of, accepted.from, accepted.body.len());
        // Without a verdict its time is over, for its sender as well.
        let Some(verdict) = verdict else { return self.counts.count("messages_kept_in_vain") };
        self.counts.count("messages_brought");
        let carriage = Carriage::settled(of.id, hops.unwrap_or(0), verdict);
        self.tell_settled(of.node, carriage, accepted.priority, within);
    }

    /// Tells a gateway what became of its message, behind what is staged.
    pub(super) fn tell_settled(
        &mut self,
        to: Address,
        carriage: Carriage,
        priority: Priority,
        within: Duration,
    ) {
        let Ok(id) = self.numbers.take_id(true, &mut self.journal) else {
            // Who asked for it to be kept asks again.
            return self.counts.count("settlements_unsaid");
        };
        let accepted = Accepted {
            from: self.config.agent_name(),
            reference: None,
            to: Destination::Node(to),
            kind: MessageType::Notification,
            priority,
            deadline_ms: u32::try_from(within.as_millis()).unwrap_or(u32::MAX),
            durable: true,
            reply_to: None,
            receipt: ReceiptRequest::Delivered,
            body: Body::data(Vec::new()),
            token: None,
            carriage: Some(carriage),
        };
        self.put_out(id, accepted, within);
        self.kept.owe(to);
        self.journal.after(After::Launch(id));
    }
}
