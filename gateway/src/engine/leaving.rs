//! Messages of the outbox that are left alone while their receivers are away, and those that other gateways keep meanwhile.
//!
//! Owns for how long: which of them, is decided in `handover` and `keeping`.

use mesh_protocol::{Address, Duration, Instant, MessageId};

use super::carriage::{Carriage, Handover};
use super::outbound::Phase;
use super::outgoing::Outgoing;

/// How long a message that is kept here is left alone for its receiver's silence, the first time; twice as long each time, up to the longest.
/// Whoever is heard gets it at once. Guesses: a try is a few frames, and a receiver may be back without being heard here.
const PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Whoever is heard and did not answer the last times gets it so much later for each of them. A guess.
const HEARD_IN_VAIN: Duration = Duration::from_secs(5);
/// Who keeps a message is asked again when half of its time is over, and not sooner than this: its disk may be lost, or what it said.
const ASKED_AGAIN: Duration = Duration::from_secs(60);
/// When the receiver is heard here, who keeps its message has so long to bring it.
const KEEPERS_TURN: Duration = Duration::from_secs(60);

impl Outgoing {
    /// Whether another gateway may be asked to keep it.
    pub(super) fn may_be_kept(&self, id: MessageId, now: Instant) -> bool {
        self.messages.get(&id).is_some_and(|outbound| outbound.may_be_kept(now))
    }

    /// Whether it says what became of a message that was kept here.
    pub(super) fn is_settlement(&self, id: MessageId) -> bool {
        self.get(id).is_some_and(|accepted| matches!(accepted.carriage, Some(Carriage::Settled { .. })))
    }

    /// Who is to keep a message, or keeps it.
    pub(super) fn handover(&self, id: MessageId) -> Option<Handover> {
        self.messages.get(&id)?.handover()
    }

    /// It goes to another gateway, which is to keep it, or no longer, and straight to its receiver; and behind others, as that was silent.
    pub(super) fn hand_over(&mut self, id: MessageId, handover: Option<Handover>) {
        let Some(outbound) = self.messages.get(&id) else { return };
        let Some(receiver) = handover.or(outbound.handover()).map(|handover| handover.receiver) else {
            return;
        };
        self.pause(id);
        if let Some(outbound) = self.messages.get_mut(&id) {
            outbound.accepted.carriage = handover.map(Carriage::KeptBy);
            outbound.sent_before = true;
            outbound.deferred = handover.is_none();
            self.queue(id, handover.map_or(receiver, |handover| handover.keeper));
        }
    }

    /// Its receiver was silent, or who is to keep it has it: it is left alone, for a while or until the receiver is heard.
    pub(super) fn rest(&mut self, now: Instant, id: MessageId) {
        self.pause(id);
        let Some(outbound) = self.messages.get_mut(&id) else { return };
        let (destination, receiver, pause) = match (outbound.handover(), outbound.phase) {
            (Some(Handover { keeper, receiver }), _) => {
                let half = Duration::from_micros(outbound.deadline.since(now).as_micros() / 2);
                (keeper, receiver, half.max(ASKED_AGAIN))
            }
            (None, Phase::InFlight(to) | Phase::Queued(to) | Phase::Resting(to)) => {
                let pause = PAUSE.times(1 << outbound.rests.min(5)).min(LONGEST_PAUSE);
                outbound.rests = outbound.rests.saturating_add(1);
                (to, to, pause)
            }
            (None, Phase::Storing | Phase::Naming(_)) => return,
        };
        outbound.sent_before = true;
        outbound.phase = Phase::Resting(destination);
        self.resting.rest(now, id, receiver, now + pause);
    }

    /// A node was heard then: what rests for it goes on.
    pub(super) fn heard(&mut self, node: Address, at: Instant) {
        let messages = &self.messages;
        self.resting.heard(node, at, |id| match messages.get(&id) {
            Some(outbound) if outbound.handover().is_some() => KEEPERS_TURN,
            // Who is heard and does not answer may not hear.
            Some(outbound) => HEARD_IN_VAIN.times(outbound.rests.saturating_sub(1).into()).min(LONGEST_PAUSE),
            None => Duration::ZERO,
        });
    }

    /// How long a message still has.
    pub(super) fn left(&self, id: MessageId, now: Instant) -> Option<Duration> {
        self.messages.get(&id).map(|outbound| outbound.deadline.since(now))
    }

    /// One that was left alone long enough, and whether its node was heard: it waits for room again.
    pub(super) fn wake(&mut self, now: Instant) -> Option<(MessageId, bool)> {
        let (id, heard) = self.resting.pop_due(now)?;
        if let Some(Phase::Resting(destination)) = self.messages.get(&id).map(|outbound| outbound.phase) {
            self.queue(id, destination);
        }
        Some((id, heard))
    }
}
