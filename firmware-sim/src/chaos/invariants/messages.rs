//! Messages: what was sent, what arrived, and what was reported to senders.
//!
//! Owns the account of every message. Frames are `frames`' business.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mesh_protocol::{Address, Delivery, Duration, Instant, MessageId, Part, Priority, SendOutcome, Verdict};

use super::findings::Fault;

/// The bytes of a message are kept for so long after its end: a frame that is held back comes much earlier. A guess.
const BYTES_KEPT: Duration = Duration::from_secs(300);
/// A message may be given up with so many times as much time left as the longest took: a half more than it took in vain, and a half of that for
/// what goes before it, rounded up.
const GIVEN_UP_BELOW: u64 = 3;
/// `REMEMBERED_FOR` in `docs/protocol.md`, less what a clock may gain or lose.
const WINDOW: Duration = Duration::from_millis(19_300);

/// What a node sent before a restart may be under way for so long: `GIVE_UP_AFTER` in `docs/protocol.md`, and what faults hold
/// it back besides.
const OLD_LIFE: Duration = Duration::from_millis(15_000);

/// Which message: its source and its number.
pub(super) type Name = (Address, MessageId);

/// A message that a node took from its device.
#[derive(Clone, Debug)]
pub(super) struct Post {
    bytes: Vec<u8>,
    to: Address,
    priority: Priority,
    /// By its sender's clock.
    deadline: Instant,
    /// When it was taken last.
    at: Instant,
    /// How often it was taken: again after each restart, where flash keeps it.
    times: u32,
    pub(super) outcome: Option<(Instant, SendOutcome)>,
    /// Its device lost power, and with it the message.
    pub(super) lost: bool,
    delivered: BTreeSet<Address>,
    rejected: bool,
}

/// A block that a node showed to its application.
#[derive(Clone, Copy, Debug)]
struct Shown {
    at: Instant,
    name: Name,
}

/// What a node holds.
#[derive(Debug, Default)]
struct Holder {
    open: BTreeSet<MessageId>,
    shown: VecDeque<Shown>,
    taken: BTreeSet<Name>,
    booted: Option<Instant>,
    /// The longest that a message of its took to its end.
    longest: Duration,
}

/// All messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    posts: BTreeMap<Name, Post>,
    ended: VecDeque<(Instant, Name)>,
    holders: BTreeMap<Address, Holder>,
    pub(super) accepted: u64,
    pub(super) delivered: u64,
    pub(super) completed: u64,
    pub(super) lost: u64,
}

/// What of a message a node shows to its application.
pub(super) struct Showing<'a> {
    pub(super) name: Name,
    pub(super) destination: Address,
    pub(super) priority: Priority,
    pub(super) part: Option<Part>,
    pub(super) bytes: &'a [u8],
}

impl Messages {
    pub(super) fn accepted(
        &mut self,
        now: Instant,
        source: Address,
        delivery: &Delivery,
        bytes: &[u8],
        durable: bool,
    ) -> Result<(), Fault> {
        self.accepted += 1;
        let Delivery { id, destination: to, priority, deadline } = *delivery;
        let name = (source, id);
        let new = self.holders.entry(source).or_default().open.insert(id);
        // A message may come late, by a frame that was held back: until then its bytes are needed to compare.
        while self.ended.front().is_some_and(|(at, _)| now.since(*at) > BYTES_KEPT)
            && let Some((_, old)) = self.ended.pop_front()
        {
            if let Some(post) = self.posts.get_mut(&old).filter(|post| post.outcome.is_some()) {
                post.bytes = Vec::new();
            }
        }
        match self.posts.get_mut(&name) {
            Some(post) if durable && new && post.bytes == bytes && post.to == to => {
                post.times += 1;
                (post.deadline, post.at) = (deadline, now);
                (post.outcome, post.lost) = (None, false);
            }
            Some(_) => return Err(("numbers", format!("it gave the number {id} to two messages"))),
            None => {
                let post = Post {
                    bytes: bytes.to_vec(),
                    to,
                    priority,
                    deadline,
                    at: now,
                    times: 1,
                    outcome: None,
                    lost: false,
                    delivered: BTreeSet::new(),
                    rejected: false,
                };
                self.posts.insert(name, post);
            }
        }
        Ok(())
    }

    /// A node shows something to its application. `room` blocks at least are remembered there.
    pub(super) fn shown(
        &mut self,
        now: Instant,
        node: Address,
        room: usize,
        what: &Showing<'_>,
    ) -> Result<(), Fault> {
        let Showing { name, destination, priority, part, bytes } = *what;
        let text = |why: &str| format!("it has message {} of {}, {why}", name.1, name.0);
        let Some(post) = self.posts.get(&name) else {
            return Err(("sent", text("which was never sent")));
        };
        if destination != post.to || (destination.is_node() && destination != node) {
            return Err(("sent", text(&format!("for {destination} and not for {}", post.to))));
        }
        if priority != post.priority {
            return Err(("sent", text(&format!("as {priority} and not as {}", post.priority))));
        }
        let whole = part.is_none();
        let (total, offset) =
            part.map_or((bytes.len(), 0), |part| (part.total as usize, part.offset as usize));
        let kept = !post.bytes.is_empty();
        if kept && (total != post.bytes.len() || post.bytes.get(offset..offset + bytes.len()) != Some(bytes))
        {
            return Err(("sent", text("with other bytes than were sent")));
        }
        if post.outcome.is_some_and(|(_, outcome)| outcome == SendOutcome::Expired)
            && post.times == 1
            && whole
        {
            return Err(("expired", text("which its sender was told cannot arrive")));
        }
        // A source that goes on after a restart sends again what it had not heard of, as something new.
        let restarted = self.holders.get(&name.0).and_then(|holder| holder.booted);
        let holder = self.holders.entry(node).or_default();
        if whole {
            let recent = holder.shown.iter().rev().take(room.saturating_sub(1));
            // A node knows a repeat by its place in a list and by its age: whatever has left either may come again, and is then no fault.
            let again = recent
                .take_while(|shown| now.since(shown.at) < WINDOW)
                .filter(|shown| restarted.is_none_or(|at| shown.at > at + OLD_LIFE))
                .any(|shown| shown.name == name);
            if again {
                return Err(("duplicate", text("and had it a moment ago")));
            }
        }
        holder.shown.push_back(Shown { at: now, name });
        if holder.shown.len() > room {
            holder.shown.pop_front();
        }
        Ok(())
    }

    /// The same of something forged: it takes room like any other.
    pub(super) fn shown_forged(&mut self, now: Instant, node: Address, room: usize, name: Name) {
        let holder = self.holders.entry(node).or_default();
        holder.shown.push_back(Shown { at: now, name });
        if holder.shown.len() > room {
            holder.shown.pop_front();
        }
    }

    /// The application has it.
    pub(super) fn delivered(&mut self, node: Address, name: Name) -> Result<(), Fault> {
        self.delivered += 1;
        let post = self.posts.get_mut(&name);
        post.map(|post| post.delivered.insert(node));
        if self.holders.entry(node).or_default().taken.insert(name) {
            Ok(())
        } else {
            Err(("duplicate", format!("message {} of {} was delivered twice", name.1, name.0)))
        }
    }

    /// The application said something else of a message.
    pub(super) fn verdict(&mut self, node: Address, name: Name, verdict: Verdict) {
        if let (Verdict::Rejected(_), Some(post)) = (verdict, self.posts.get_mut(&name)) {
            post.rejected = true;
            // A receiver that is not there today may be tomorrow: the node asks again.
            let holder = self.holders.entry(node).or_default();
            holder.shown.retain(|shown| shown.name != name);
        }
    }

    /// Its outcome was reported to the sender.
    pub(super) fn done(
        &mut self,
        now: Instant,
        clock: Instant,
        name: Name,
        outcome: SendOutcome,
    ) -> Result<(), Fault> {
        self.completed += 1;
        let (source, id) = name;
        if !self.holders.entry(source).or_default().open.remove(&id) {
            return Err(("accounted", format!("it was told of message {id}, which it did not hold")));
        }
        let Some(post) = self.posts.get_mut(&name) else { return Ok(()) };
        post.outcome = Some((now, outcome));
        let holder = self.holders.entry(source).or_default();
        let longest = holder.longest;
        holder.longest = now.since(post.at).max(longest);
        self.ended.push_back((now, name));
        let text = |why: &str| format!("it was told that message {id} was {why}");
        match outcome {
            SendOutcome::Delivered | SendOutcome::Processed if !post.delivered.contains(&post.to) => {
                Err(("receipt", text(&format!("delivered, and {} does not have it", post.to))))
            }
            SendOutcome::Rejected(_) if !post.rejected => {
                Err(("receipt", text(&format!("rejected, and {} did not do that", post.to))))
            }
            SendOutcome::Expired if !post.delivered.is_empty() && post.times == 1 => {
                Err(("expired", text("never wholly sent, and it has arrived")))
            }
            // Too little time is left, by what others took: it is given up before any of it is on the air.
            SendOutcome::Expired
                if post.to.is_node() && post.deadline.since(clock) < longest.times(GIVEN_UP_BELOW) =>
            {
                Ok(())
            }
            SendOutcome::Expired | SendOutcome::Unknown if clock < post.deadline => {
                Err(("expired", text("too old, and it was not")))
            }
            SendOutcome::Sent if !post.to.is_many() => {
                Err(("receipt", text("sent to many, and it was for one")))
            }
            _ => Ok(()),
        }
    }

    /// For whom a message is.
    pub(super) fn destination(&self, name: Name) -> Option<Address> {
        self.posts.get(&name).map(|post| post.to)
    }

    /// A node's power was cut.
    pub(super) fn cut(&mut self, node: Address, durable: bool) {
        let holder = self.holders.entry(node).or_default();
        for id in std::mem::take(&mut holder.open) {
            if let Some(post) = self.posts.get_mut(&(node, id)) {
                post.lost = true;
                self.lost += 1;
            }
        }
        if !durable {
            holder.taken.clear();
        }
        holder.shown.clear();
    }

    /// It has come back.
    pub(super) fn booted(&mut self, now: Instant, node: Address) {
        self.holders.entry(node).or_default().booted = Some(now);
    }

    /// The node's clock jumped ahead: what it remembers for a time may be out of it.
    pub(super) fn jumped(&mut self, node: Address) {
        // The list of what it finished goes by time: behind a jump all of it may be too old to be remembered.
        let holder = self.holders.entry(node).or_default();
        holder.shown.clear();
        // By its clock a message took as much longer as it jumped.
        holder.longest = Duration::from_secs(1 << 20);
    }

    /// A message that a node holds though its deadline, by its clock, is over.
    pub(super) fn overdue(&self, node: Address, clock: Instant) -> Option<MessageId> {
        let open = self.holders.get(&node).into_iter().flat_map(|holder| &holder.open);
        let late = |id: &&MessageId| self.posts.get(&(node, **id)).is_some_and(|post| post.deadline < clock);
        open.into_iter().find(late).copied()
    }

    /// How many messages a node must hold.
    pub(super) fn open(&self, node: Address) -> usize {
        self.holders.get(&node).map_or(0, |holder| holder.open.len())
    }

    /// Messages to one node that have not arrived, were not lost or rejected and did not get too old; and for whom they are.
    pub(super) fn missing(&self) -> impl Iterator<Item = (Name, Address)> {
        self.posts.iter().filter_map(|(name, post)| {
            let old = matches!(post.outcome, Some((_, SendOutcome::Expired | SendOutcome::Unknown)));
            let excused = old || post.lost || post.rejected || post.to.is_many();
            (!excused && !post.delivered.contains(&post.to)).then_some((*name, post.to))
        })
    }
}
