//! Frames on the air: who sealed each, under which number, and who may relay it how often.
//!
//! Owns the memory of genuine frames, which is what makes a frame genuine here: not that it verifies, but that its owner
//! was seen to send it. So a node that wrongly takes a forged frame is found out: the checker does not share its code.

use std::collections::BTreeMap;

use mesh_protocol::continuation::is_continuation;
use mesh_protocol::{Address, Instant, Keyring, MessageId, Priority};

use super::allowed::{Forged, Forgery};
use super::findings::Fault;
use super::frame_hash::{HOP, continued, continued_hop, next_bytes, plain, routed};
use super::relays::{ENTRUSTED_MAX, FOLLOWED_FOR, OWN_COPIES_MAX, Relay};
use super::sealed::{Heads, Key, ROUND, Sealed, open};

/// Frames remembered of each source, the oldest give way: more than a replay window and than any queue holds, many times
/// over. A guess.
const REMEMBERED: usize = 4_096;

#[derive(Debug, Default)]
struct Source {
    frames: BTreeMap<(u32, u32), Sealed>,
    highest: Option<(u32, u32)>,
    /// The highest that has been forgotten.
    forgotten: Option<(u32, u32)>,
    /// Up to here, passages are forgotten.
    followed: (u32, u32),
}

/// A frame as a node heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provenance {
    /// Its owner sent it, and it has this TTL and this next hop now.
    Genuine(Key, u8, Option<Address>),
    /// Nobody did.
    Strange,
    /// A member sent it in the name of another node.
    Forged(Key, Priority),
    /// It is too long ago to tell.
    Forgotten,
}

/// A frame that a node handed to its radio.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    pub(super) key: Key,
    pub(super) priority: Priority,
    /// The whole message in it, if it is a new one.
    pub(super) single: Option<MessageId>,
    /// A member sent it in the name of another node.
    pub(super) forged: bool,
}

/// All genuine frames.
#[derive(Debug)]
pub(super) struct Frames {
    keys: Keyring,
    sources: BTreeMap<Address, Source>,
    by_hash: BTreeMap<u64, Key>,
    heads: Heads,
    /// What members sent in the names of others, by its hash.
    forged: BTreeMap<u64, (Key, Priority)>,
    /// When a node last told a source that it gave up a frame: a later one takes the place of one that waits, and the source sends all
    /// again that it has not heard of.
    undelivered: BTreeMap<(u32, Address), Instant>,
    unsettled: BTreeMap<u32, Instant>,
    /// What a node was entrusted with and nobody heard of again.
    silent: Option<String>,
    pub(super) sealed: u64,
    pub(super) repeats: u64,
    pub(super) relays: u64,
    /// Of these, the ones that this node alone was asked for.
    pub(super) entrusted: u64,
    /// Frames that a node took to hand on, when it was checked that it did.
    pub(super) custody: u64,
}

impl Frames {
    pub(super) const fn new(keys: Keyring) -> Self {
        Self {
            keys,
            sources: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            heads: Heads::new(),
            forged: BTreeMap::new(),
            undelivered: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            silent: None,
            sealed: 0,
            repeats: 0,
            relays: 0,
            entrusted: 0,
            custody: 0,
        }
    }

    fn get(&mut self, key: Key) -> Option<&mut Sealed> {
        self.sources.get_mut(&key.src)?.frames.get_mut(&(key.epoch, key.seq))
    }

    pub(super) fn sealed(&self, key: Key) -> Option<&Sealed> {
        self.sources.get(&key.src)?.frames.get(&(key.epoch, key.seq))
    }

    /// What `frame` is.
    pub(super) fn look_up(&mut self, frame: &[u8]) -> Provenance {
        if is_continuation(frame)
            && let Some(key) = self.by_hash.get(&continued(frame)).copied()
            && let Some(sealed) = self.get(key)
        {
            return Provenance::Genuine(key, ROUND - (continued_hop(frame) ^ sealed.hop), None);
        }
        // Both with and without NEXT: a relay may have taken it out, and its owner may have sent it without.
        for (hash, names_next) in [(plain(frame), false), (routed(frame), true)] {
            if let Some(key) = self.by_hash.get(&hash).copied()
                && let Some(sealed) = self.get(key)
            {
                let next = sealed.routed.filter(|_| names_next).map(|(_, next, masked)| {
                    // The mask is the same for all copies.
                    Address::new(next.bits() ^ masked ^ next_bytes(frame))
                });
                return Provenance::Genuine(key, ((frame[HOP] ^ sealed.hop) >> 4) ^ sealed.ttl0, next);
            }
        }
        if let Some((key, priority)) = self.forged.get(&plain(frame)) {
            return Provenance::Forged(*key, *priority);
        }
        // Only where something was forgotten is it worth to look inside.
        let forgotten = self.sources.values().any(|source| source.forgotten.is_some())
            && open(&self.keys, &self.heads, frame).is_some_and(|(key, ..)| {
                let source = self.sources.get(&key.src);
                source.and_then(|source| source.forgotten).is_some_and(|last| (key.epoch, key.seq) <= last)
            });
        if forgotten { Provenance::Forgotten } else { Provenance::Strange }
    }

    /// A traitor sends something: it counts as genuine if it verifies, whatever it says, but for the names of others.
    pub(super) fn betrayed(
        &mut self,
        now: Instant,
        station: u32,
        members: &[Address],
        frame: &[u8],
    ) -> Option<Forgery> {
        // What a member heard and sends again, word for word, is still its owner's.
        if self.look_up(frame) != Provenance::Strange {
            return None;
        }
        let (key, ttl, mut sealed) = open(&self.keys, &self.heads, frame)?;
        if !members.contains(&key.src) {
            self.forged.insert(sealed.hash, (key, sealed.priority));
            return Some(Forgery { src: key.src, what: sealed.content });
        }
        (sealed.origin, sealed.at) = (station, now);
        // TTL0 where it began is what its bytes are compared with.
        sealed.hop ^= if sealed.continued { ROUND - ttl } else { (ttl ^ sealed.ttl0) << 4 };
        self.remember(key, sealed);
        None
    }

    /// A node heard a genuine frame, as the one that is asked to relay it or as one of many, and a relay of it would go out so
    /// often. A copy that names another node is none of its business.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        (node, boot): (u32, u32),
        key: Key,
        ttl: u8,
        asked: bool,
        copies: u8,
    ) {
        let Some(sealed) = self.get(key) else { return };
        if now.since(sealed.at) <= FOLLOWED_FOR {
            sealed.passage_of(node, ttl).heard(boot, ttl, asked, copies);
        }
    }

    /// The same of a continuation frame that it took.
    pub(super) fn heard_continued(
        &mut self,
        now: Instant,
        (node, boot): (u32, u32),
        key: Key,
        ttl: u8,
        takes: bool,
    ) {
        let Some(sealed) = self.get(key) else { return };
        if now.since(sealed.at) <= FOLLOWED_FOR {
            sealed.passage_of(node, ttl).heard_continued(boot, ttl, takes);
        }
    }

    /// The node took the frame that it has just heard, and, if it `takes` any, to hand it on.
    pub(super) fn took(&mut self, (node, boot): (u32, u32), key: Key, takes: bool) {
        let Some(sealed) = self.get(key) else { return };
        if let Some(passage) = sealed.passages.get_mut(&node).filter(|passage| passage.is_of(boot)) {
            passage.take(takes);
        }
    }

    /// The node with this address has heard the frame.
    pub(super) fn arrived(&mut self, address: Address, key: Key) {
        if let Some(sealed) = self.get(key) {
            sealed.arrived |= sealed.dst == address;
        }
    }

    /// What a node had in RAM or was waiting for is not to be counted on: its power was cut, its clock jumped, or it cannot seal.
    pub(super) fn unsettled(&mut self, now: Instant, node: u32) {
        self.unsettled.insert(node, now);
    }

    fn known(&self, key: Key, new: bool) -> Option<Handed> {
        let sealed = self.sealed(key)?;
        let single = sealed.single.filter(|_| new);
        Some(Handed { key, priority: sealed.priority, single, forged: false })
    }

    /// A node hands a frame to its radio: which one that is.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(super) fn handed(
        &mut self,
        now: Instant,
        (node, boot): (u32, u32),
        address: Address,
        reserved: u32,
        frame: &[u8],
    ) -> Result<Option<Handed>, Fault> {
        match self.look_up(frame) {
            Provenance::Forgotten => Ok(None),
            Provenance::Forged(key, _) if key.src == address => {
                Err(("genuine", format!("it relayed SEQ {} in its own name, and never sealed that", key.seq)))
            }
            Provenance::Forged(key, priority) => {
                Ok(Some(Handed { key, priority, single: None, forged: true }))
            }
            Provenance::Genuine(key, ttl, next) if key.src == address => {
                self.repeats += 1;
                let sealed = self.get(key).ok_or_else(|| ("own_copies", String::new()))?;
                sealed.own_copies += 1;
                if sealed.named.last() != Some(&next) {
                    // Another neighbour in the place of one that does not take it, and all in the place of both.
                    let named = &sealed.named;
                    if named.contains(&next) || named.last() == Some(&None) || named.len() > 2 {
                        let text = format!("it sent its own SEQ {} by {named:?}, then by {next:?}", key.seq);
                        return Err(("next", text));
                    }
                    sealed.named.push(next);
                }
                let to_one = sealed.ttl0 == 1 && sealed.dst.is_node();
                let entrusted = sealed.routed.is_some() || to_one || sealed.continued;
                let most = if entrusted { ENTRUSTED_MAX } else { OWN_COPIES_MAX };
                if ttl != sealed.ttl0 {
                    return Err((
                        "ttl",
                        format!("it sent its own SEQ {} with TTL {ttl} of {}", key.seq, sealed.ttl0),
                    ));
                }
                if sealed.own_copies > most {
                    let copies = sealed.own_copies;
                    return Err(("own_copies", format!("it sent its own SEQ {} {copies} times", key.seq)));
                }
                Ok(self.known(key, false))
            }
            Provenance::Genuine(key, ttl, next) => {
                self.relays += 1;
                self.relayed(now, (node, boot), address, key, ttl, next)?;
                Ok(self.known(key, false))
            }
            Provenance::Strange => {
                // Nobody sent it before: so it is the node's own, or it relays what does not exist.
                let key = self.new_frame(now, node, address, reserved, frame)?;
                Ok(self.known(key, true))
            }
        }
    }

    fn new_frame(
        &mut self,
        now: Instant,
        node: u32,
        address: Address,
        reserved: u32,
        frame: &[u8],
    ) -> Result<Key, Fault> {
        let Some((key, ttl, mut sealed)) = open(&self.keys, &self.heads, frame) else {
            return Err(("genuine", "it sent a frame that does not verify".into()));
        };
        let seq = key.seq;
        if key.src != address {
            return Err(("genuine", format!("it relayed SEQ {seq} of {}, who never sent that", key.src)));
        }
        let highest = self.sources.entry(address).or_default().highest;
        if let Some(highest) = highest.filter(|highest| (key.epoch, seq) <= *highest) {
            return Err(("nonce", format!("it sealed a new frame under SEQ {seq} after SEQ {}", highest.1)));
        }
        if seq >= reserved {
            return Err((
                "reservation",
                format!("it used SEQ {seq}, and flash has only those below {reserved}"),
            ));
        }
        if ttl != sealed.ttl0 {
            return Err(("ttl", format!("it sealed SEQ {seq} with TTL {ttl} and TTL0 {}", sealed.ttl0)));
        }
        if sealed.routed.is_some_and(|(_, next, _)| next == address) {
            return Err(("next", format!("it sealed SEQ {seq} for itself to relay")));
        }
        self.sealed += 1;
        (sealed.origin, sealed.at) = (node, now);
        if let Forged::Undelivered(origin) = sealed.content {
            self.undelivered.insert((node, origin), now);
        }
        self.remember(key, sealed);
        self.silent.take().map_or(Ok(key), |what| Err(("custody", what)))
    }

    fn remember(&mut self, key: Key, sealed: Sealed) {
        let (now, hash) = (sealed.at, sealed.hash);
        if let Some(transfer) = sealed.head {
            self.heads.insert((key.src, transfer), (sealed.dst, sealed.priority));
        }
        self.by_hash.extend(sealed.routed.map(|(hash, ..)| (hash, key)));
        let source = self.sources.entry(key.src).or_default();
        let name = (key.epoch, key.seq);
        source.highest = source.highest.max(Some(name));
        source.frames.insert(name, sealed);
        // In order of SEQ and so of time: what lies behind `followed` has been emptied already.
        for (name, old) in source.frames.range_mut(source.followed..) {
            if now.since(old.at) <= FOLLOWED_FOR {
                break;
            }
            let passages = std::mem::take(&mut old.passages);
            if old.is_message_to_one() && !old.arrived {
                let after = |at: Option<&Instant>| at.is_some_and(|at| *at >= old.at);
                // Whoever lost its power may be the one that it was handed to, and what that one had heard is forgotten here too.
                let unsettled = self.unsettled.values().any(|at| after(Some(at)));
                let excused = |node: &u32| unsettled || after(self.undelivered.get(&(*node, key.src)));
                self.custody += passages.values().filter(|passage| passage.is_entrusted()).count() as u64;
                self.silent =
                    self.silent.take().or_else(|| old.unheard_of(name, key.src, &passages, excused));
            }
            source.followed = *name;
        }
        if source.frames.len() > REMEMBERED
            && let Some((name, old)) = source.frames.pop_first()
        {
            source.forgotten = source.forgotten.max(Some(name));
            self.by_hash.remove(&old.hash);
            old.routed.map(|(hash, ..)| self.by_hash.remove(&hash));
        }
        self.by_hash.insert(hash, key);
    }

    fn relayed(
        &mut self,
        now: Instant,
        (node, boot): (u32, u32),
        address: Address,
        key: Key,
        ttl: u8,
        next: Option<Address>,
    ) -> Result<(), Fault> {
        let Some(sealed) = self.get(key) else { return Ok(()) };
        let name = &format!("SEQ {} of {}", key.seq, key.src);
        if (ttl >= sealed.ttl0 || ttl == 0) && !sealed.continued {
            return Err(("ttl", format!("it relayed {name} with TTL {ttl} of {}", sealed.ttl0)));
        }
        if sealed.dst == address {
            return Err(("relays", format!("it relayed {name}, which was for itself alone")));
        }
        // What it heard of so old a frame is forgotten here, not there.
        if now.since(sealed.at) > FOLLOWED_FOR {
            return Ok(());
        }
        let Some(passage) = sealed.passages.get_mut(&node).filter(|passage| passage.is_of(boot)) else {
            let what = "without having heard it, or only what another node was asked to relay";
            return Err(("relays", format!("it relayed {name} {what}")));
        };
        let entrusted = passage.relayed(&Relay { name, by: address, src: key.src, ttl, next })?;
        self.entrusted += u64::from(entrusted);
        Ok(())
    }
}
