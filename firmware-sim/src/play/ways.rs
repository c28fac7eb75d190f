//! The ways of frames: which node heard each first from whom, and when it sent it on.
//!
//! Owns the record. What a frame carries it does not ask: the frame that completes a message is the one after which its receiver's
//! application has it. A frame is known by who sealed it and under which number.

use std::collections::{BTreeMap, VecDeque};

use mesh_protocol::Instant;

use crate::results::WayStep;
use crate::stack::Arrival;

/// Frames that a node sent last: a reception reaches its host 1.5 ms late, when its sender may have begun another event. A guess.
const RECENT: usize = 8;
/// Longer ways go round: TTLs have four bits, or seven. A guess.
const STEPS: usize = 128;

/// Who sealed a frame, and under which number.
pub(super) type FrameId = (u32, u32);

/// What a node did with a frame.
#[derive(Clone, Copy, Debug, Default)]
struct Passage {
    /// From whom it heard it first, and when.
    heard: Option<(u32, u64)>,
    sent: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ways {
    frames: BTreeMap<FrameId, BTreeMap<u32, Passage>>,
    recent: BTreeMap<u32, VecDeque<(Vec<u8>, FrameId)>>,
    /// What each node heard last of each other one.
    last: BTreeMap<(u32, u32), FrameId>,
    /// By sender, number and receiver of a message.
    messages: BTreeMap<(u32, u32, u32), Vec<WayStep>>,
}

impl Ways {
    /// A node sends a frame, which is called so; `None`: it is none of the stack's.
    pub(super) fn sent(&mut self, now: Instant, node: u32, frame: &[u8], id: Option<FrameId>) {
        let Some(id) = id else { return };
        let passage = self.frames.entry(id).or_default().entry(node).or_default();
        passage.sent.get_or_insert(now.as_micros());
        let recent = self.recent.entry(node).or_default();
        recent.push_back((frame.to_vec(), id));
        if recent.len() > RECENT {
            recent.pop_front();
        }
    }

    /// A node hears a frame of another one; one that was changed on its way is not known any more.
    pub(super) fn heard(&mut self, now: Instant, from: u32, to: u32, frame: &[u8]) {
        let recent = self.recent.get(&from).into_iter().flatten();
        let Some(id) = recent.rev().find(|(bytes, _)| bytes == frame).map(|(_, id)| *id) else { return };
        let passage = self.frames.entry(id).or_default().entry(to).or_default();
        passage.heard.get_or_insert((from, now.as_micros()));
        self.last.insert((to, id.0), id);
    }

    /// A message has reached the application of a node, which has just run.
    pub(super) fn arrived(&mut self, at: u32, arrival: &Arrival) {
        if arrival.answers.is_some() {
            return;
        }
        let Some(id) = self.last.get(&(at, arrival.from)) else { return };
        let way = self.way(*id, at);
        self.messages.entry((arrival.from, arrival.id, at)).or_insert(way);
    }

    /// The way that a frame came to a node, its source first.
    fn way(&self, id: FrameId, to: u32) -> Vec<WayStep> {
        let mut steps = Vec::new();
        let Some(passages) = self.frames.get(&id) else { return steps };
        let mut node = Some(to);
        while let Some(at) = node.filter(|_| steps.len() < STEPS) {
            let passage = passages.get(&at).copied().unwrap_or_default();
            let own = at == id.0;
            let heard = passage.heard.filter(|_| !own);
            let sent_us = passage.sent.filter(|_| at != to);
            steps.push(WayStep { node: at, heard_us: heard.map(|(_, at)| at), sent_us });
            node = heard.map(|(from, _)| from);
        }
        steps.reverse();
        steps
    }

    /// The ways of messages: sender, number, receiver.
    pub(super) const fn messages(&self) -> &BTreeMap<(u32, u32, u32), Vec<WayStep>> {
        &self.messages
    }
}

/// How long each hop of a way took.
pub(super) fn hops(way: &[WayStep]) -> impl Iterator<Item = u64> + '_ {
    way.windows(2).filter_map(|pair| {
        let [here, next] = pair else { return None };
        Some(next.heard_us?.saturating_sub(here.heard_us.or(here.sent_us)?))
    })
}
