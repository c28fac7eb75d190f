//! Relays: what a node heard of a frame, and what it may send of it after that.
//!
//! Owns these rules. Which frame it is, and that its owner sent it, is `frames`' business.

use mesh_protocol::{Address, Duration};

use super::findings::Fault;

/// HOP of continuation frames, counted down, goes on with this behind 1.
const ROUND: u8 = 4;

/// What each node did with a frame is remembered for so long: five times what a queue may hold it
/// (`WAIT_MAX` in `docs/protocol.md`). A guess.
pub(super) const FOLLOWED_FOR: Duration = Duration::from_secs(10);
/// `RELAYS_MAX` in `docs/protocol.md`.
const RELAYS_MAX: u8 = 2;
/// The most that `own_copies` in `docs/protocol.md` comes to.
pub(super) const OWN_COPIES_MAX: u8 = 3;
/// The most that a node sends a frame which one neighbour is to take: two next hops, each asked `TRIES_MAX` times, and a flood.
pub(super) const ENTRUSTED_MAX: u8 = 2 * 12 + OWN_COPIES_MAX;

/// What one node did with one frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passage {
    /// In which of its lives.
    boot: u32,
    /// The highest TTL it heard it with, of copies that it may relay.
    heard: u8,
    /// Whether one of these named it as the next hop.
    asked: bool,
    /// As often as a relay of it may go out.
    copies: u8,
    /// How often it went out with each TTL.
    sent: [u8; 16],
    /// Whether it took the frame, when it was asked to, and may pass it on.
    entrusted: bool,
    /// Whether it sent it to all.
    flooded: bool,
    /// The node's own address, and whom it asked last to pass it on.
    asked_by: Option<(Address, Address)>,
    /// The TTL with which it was handed back to the node, lower than any that went out there: ways lead in a circle.
    came_round: Option<u8>,
    /// Whether it is a continuation frame: its HOP, counted down, stands for TTL.
    continued: bool,
}

/// A node sends on what another one sealed.
pub(super) struct Relay<'a> {
    /// Which frame, as it is called in findings.
    pub(super) name: &'a str,
    /// Who relays it.
    pub(super) by: Address,
    /// Who sealed it.
    pub(super) src: Address,
    pub(super) ttl: u8,
    pub(super) next: Option<Address>,
}

impl Passage {
    /// Whether it is of this life: what was heard in an earlier one, RAM has forgotten.
    pub(super) const fn is_of(&self, boot: u32) -> bool {
        self.boot == boot
    }

    /// The node heard it with this TTL, as the one that is asked to relay it or as one of many; a relay would go out so often.
    pub(super) fn heard(&mut self, boot: u32, ttl: u8, asked: bool, copies: u8) {
        if !self.is_of(boot) {
            *self = Self { boot, ..Self::default() };
        }
        if asked && !self.continued && ttl < self.highest_sent() {
            self.came_round = Some(ttl);
        }
        self.heard = self.heard.max(ttl);
        self.asked |= asked;
        // Whoever is asked keeps it until it is taken.
        self.copies = self.copies.max(if asked { ENTRUSTED_MAX } else { copies });
    }

    /// The node heard a continuation frame and took it. It passes it on once, with one HOP more.
    pub(super) fn heard_continued(&mut self, boot: u32, ttl: u8, takes: bool) {
        self.heard(boot, 0, true, 0);
        (self.heard, self.continued) = (ttl, true);
        self.entrusted |= takes;
    }

    /// The TTL with which the next hop passes on what this node sent with `sent`: HOP begins anew.
    const fn behind(sent: u8) -> u8 {
        if sent > 1 { sent - 1 } else { ROUND }
    }

    /// The node has taken the frame that it heard.
    pub(super) const fn take(&mut self, takes: bool) {
        self.entrusted |= takes && self.asked && self.heard >= 2;
    }

    /// The highest TTL that it went out with.
    /// Whether the node sent it with this TTL.
    pub(super) fn has_sent(&self, ttl: u8) -> bool {
        self.sent[usize::from(ttl & 15)] > 0
    }

    fn highest_sent(&self) -> u8 {
        (0..16).rev().find(|ttl| self.sent[usize::from(*ttl)] > 0).unwrap_or(0)
    }

    /// Whether the node took the frame to hand it on.
    pub(super) const fn is_entrusted(&self) -> bool {
        self.entrusted
    }

    /// Whether the other one handed it back to this node.
    pub(super) fn has_back_from(&self, other: &Self) -> bool {
        self.came_round.is_some_and(|ttl| other.has_sent(ttl))
    }

    /// Whether the other one handed it back to this node, and the air lost that: then each takes what the other says to the hop before it
    /// for its own answer, as hop acks do not say whose they are.
    pub(super) fn has_missed(&self, other: &Self) -> bool {
        let (Some((by, _)), Some((_, next))) = (self.asked_by, other.asked_by) else { return false };
        by == next && self.came_round.is_none() && self.highest_sent() > other.highest_sent()
    }

    /// Whether the node has done what it can for a frame that it was entrusted with, or was excused: `others` are what the rest did with it.
    pub(super) fn is_handed_on<'a>(&self, mut others: impl Iterator<Item = &'a Self>) -> bool {
        let sent = self.highest_sent();
        let further = |other: &Self| {
            if self.continued {
                let passed = other.sent[usize::from(Self::behind(sent))] > 0;
                return passed || (other.asked && other.heard == sent);
            }
            let passed = (1..sent).any(|ttl| other.sent[usize::from(ttl)] > 0);
            passed || (other.asked && other.heard <= sent)
        };
        !self.entrusted || self.flooded || (sent > 0 && others.any(further))
    }

    /// The node relays it. Whether it alone had been asked to.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn relayed(&mut self, relay: &Relay<'_>) -> Result<bool, Fault> {
        let &Relay { name, by, src, ttl, next } = relay;
        if let Some(next) = next.filter(|next| !self.asked || [by, src].contains(next)) {
            return Err(("next", format!("it relayed {name} by {next}, asked to: {}", self.asked)));
        }
        if self.continued && ttl != Self::behind(self.heard) || !self.continued && ttl >= self.heard {
            return Err(("ttl", format!("it relayed {name} with TTL {ttl}, heard with {}", self.heard)));
        }
        // It sends a frame again as it was before, or with more hops left. With fewer than ever, the frame has come back to it.
        let before = self.highest_sent();
        if ttl < before && self.sent[usize::from(ttl & 15)] == 0
            || self.continued && before > 0 && ttl != before
        {
            return Err(("loop", format!("it relayed {name} with TTL {before}, and now with {ttl}")));
        }
        self.flooded |= next.is_none() && !self.continued;
        self.asked_by = next.map(|next| (by, next)).or(self.asked_by);
        let same = &mut self.sent[usize::from(ttl & 15)];
        *same += 1;
        let (same, all) = (*same, self.sent.iter().sum::<u8>());
        // A second relay has a higher TTL than the first; either may gain some while it waits.
        if same > self.copies || all > self.copies * RELAYS_MAX {
            let copies = self.copies;
            let text = format!(
                "it sent {name} on {all} times, {same} of them with TTL {ttl}; two relays are {copies} each"
            );
            return Err(("relays", text));
        }
        Ok(self.asked)
    }
}
