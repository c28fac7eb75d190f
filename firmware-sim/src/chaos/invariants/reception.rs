//! What a node made of a frame that it heard, against what that frame is known to be.
//!
//! Owns the rules `unverified`, `refused` and `replay`. What the frame is, `frames` knows; what the node has taken before, `windows`.

use mesh_protocol::{Discard, Instant};

use super::allowed::{MEMBER_MAY_SEND_AS_ANYONE, MEMBER_MAY_SPEND_SEQ};
use super::findings::Fault;
use super::frames::Provenance;
use super::sealed::Key;
use super::state::{Invariants, NodeHistory};
use super::windows::{Known, Windows};
use crate::NodeSnapshot;

impl Invariants {
    #[expect(clippy::too_many_arguments, reason = "one reception, from both sides")]
    pub(super) fn heard(
        &mut self,
        now: Instant,
        node: u32,
        snapshot: &NodeSnapshot,
        heard: Provenance,
        result: Result<(), Discard>,
        unchanged: bool,
        history: &mut NodeHistory,
    ) -> Result<(), Fault> {
        // Only these may meet a frame that nobody sent: behind the MIC a node knows that a member sealed it.
        let before_mic = matches!(
            result,
            Err(Discard::TooShort
                | Discard::TooLong
                | Discard::Version
                | Discard::UnknownKey
                | Discard::Reserved
                | Discard::Mic)
        );
        let (key, ttl, next) = match heard {
            Provenance::Forgotten => return Ok(()),
            Provenance::Strange => {
                self.counts.strange += 1;
                // A refused frame that left something behind would let anybody fill tables or move timers.
                let fine = before_mic && unchanged;
                let text = || {
                    format!(
                        "a frame that nobody sent came to {result:?}, and changed something: {}",
                        !unchanged
                    )
                };
                return if fine { Ok(()) } else { Err(("unverified", text())) };
            }
            Provenance::Forged(key, _) => {
                // Its own address makes a node wary, which is a change.
                if result.is_err() && (unchanged || key.src == snapshot.address) {
                    let before = before_mic
                        || matches!(result, Err(Discard::WeakMic | Discard::Address | Discard::Ttl));
                    if before || key.src == snapshot.address {
                        return Ok(());
                    }
                }
                if !self.allowed.excuses(&MEMBER_MAY_SEND_AS_ANYONE, "unverified") {
                    return Err(("unverified", format!("what was forged of {} came to {result:?}", key.src)));
                }
                return self.windowed(key, result, &mut history.windows);
            }
            Provenance::Genuine(key, ttl, next) => (key, ttl, next),
        };
        // TTL is under the mask but not under the MIC, so that anybody may change it. A node sees that it stands above TTL0.
        let ttl0 = self.frames.sealed(key).map_or(0, |sealed| sealed.ttl0);
        let name = |key: Key| format!("SEQ {} of {}", key.seq, key.src);
        if ttl > ttl0 {
            let fine = result == Err(Discard::Ttl) && unchanged;
            let text = || format!("{} with TTL {ttl} of {ttl0} came to {result:?}", name(key));
            return if fine { Ok(()) } else { Err(("unverified", text())) };
        }
        // What its owner sealed, and nobody has touched, verifies everywhere: else nodes disagree about bytes.
        if before_mic || matches!(result, Err(Discard::Ttl)) {
            return Err(("refused", format!("{} came to {result:?}", name(key))));
        }
        // Its own frames come back from every relay: none may pass for another's, or count as a new one.
        if key.src == snapshot.address || matches!(result, Err(Discard::WeakMic | Discard::Address)) {
            // But that its next hop has passed it on is news.
            let passed_on = result == Err(Discard::Own) && ttl < ttl0;
            let fine = result.is_err() && (unchanged || passed_on);
            return if fine {
                Ok(())
            } else {
                Err(("replay", format!("{}, its own, came to {result:?}", name(key))))
            };
        }
        // With a full queue it takes nothing to hand on: that stays with the hop before, which asks again.
        let (waiting, room) = snapshot.queue;
        let takes = snapshot.relays && waiting + 1 < room;
        if self.frames.sealed(key).is_some_and(|sealed| sealed.continued) {
            // Who was not told by a head segment what it is, or not asked by the node that sent it, leaves it alone.
            if matches!(result, Err(Discard::NoContext | Discard::NotNextHop)) {
                return Ok(());
            }
            if result.is_ok() {
                let takes =
                    takes && self.frames.sealed(key).is_some_and(|sealed| sealed.dst != snapshot.address);
                self.frames.heard_continued(now, (node, history.boot), key, ttl, takes);
            }
        } else if next.is_none_or(|next| next == snapshot.address) {
            // A copy that names another node is not to be relayed here, though it is taken like any other.
            let copies = relay_copies(snapshot.alive);
            self.frames.heard(now, (node, history.boot), key, ttl, next.is_some(), copies);
        }
        // Where it was for, it is known from now on, and the hop before is told, whatever is made of it.
        if !matches!(result, Err(Discard::Replay | Discard::SeqJump | Discard::ReplayTableFull)) {
            self.frames.arrived(snapshot.address, key);
        }
        if result.is_ok() {
            self.frames.took((node, history.boot), key, takes);
        }
        self.windowed(key, result, &mut history.windows)?;
        // And against the window as it would be without forgeries: what that one takes and the node does not, a member has shut out.
        self.shut_out(key, result, &mut history.honest)
    }

    /// A genuine frame, against the window as it would be without what was forged.
    fn shut_out(&mut self, key: Key, result: Result<(), Discard>, honest: &mut Windows) -> Result<(), Fault> {
        match result {
            Err(Discard::Replay) if honest.lookup(key) == Known::New && !honest.is_jump(key) => {
                if self.allowed.excuses(&MEMBER_MAY_SPEND_SEQ, "refused") {
                    return Ok(());
                }
                Err((
                    "refused",
                    format!("SEQ {} of {} is no replay but for what was forged", key.seq, key.src),
                ))
            }
            // The window of the node says so, too, and that was just checked.
            Err(Discard::Replay | Discard::SeqJump | Discard::ReplayTableFull) => Ok(()),
            _ => {
                if honest.lookup(key) == Known::New {
                    honest.take(key);
                }
                Ok(())
            }
        }
    }

    /// A frame that verifies, of another node, against the window of its source.
    fn windowed(
        &mut self,
        key: Key,
        result: Result<(), Discard>,
        windows: &mut Windows,
    ) -> Result<(), Fault> {
        let name = |key: Key| format!("SEQ {} of {}", key.seq, key.src);
        let known = windows.lookup(key);
        match (result, known) {
            (Err(Discard::SeqJump), Known::New) if windows.is_jump(key) => {
                self.counts.shut_out += 1;
                Ok(())
            }
            // A copy of one that was not taken.
            (Err(Discard::Duplicate), Known::New) if windows.is_jump(key) => Ok(()),
            (Err(Discard::SeqJump), _) => Err(("refused", format!("{} is no jump", name(key)))),
            // Refusing too much is a fault as well: it would silence a source for as long as its window stands there.
            (Err(Discard::Replay), Known::New) => Err(("refused", format!("{} is no replay", name(key)))),
            (Err(Discard::Replay | Discard::ReplayTableFull), _) => {
                self.counts.shut_out += 1;
                Ok(())
            }
            (_, Known::New) => {
                self.counts.taken += 1;
                windows.take(key);
                Ok(())
            }
            // A copy, of no use but for its TTL.
            (Err(Discard::Duplicate), Known::Taken | Known::Kept) => {
                self.counts.known += 1;
                Ok(())
            }
            _ => Err(("replay", format!("{} came to {result:?}, and is {known:?}", name(key)))),
        }
    }
}

/// `relay_copies` in `docs/protocol.md`.
const fn relay_copies(alive: usize) -> u8 {
    match alive {
        0..=2 => 3,
        3..=5 => 2,
        _ => 1,
    }
}
