//! The observer itself: what it has seen so far, and what it found.
//!
//! Owns the state that the checks share. They are in `events`, `reception` and `snapshots`.

use std::collections::BTreeMap;

use mesh_protocol::{Address, EpochKeys, Keyring, MessageId, NetKey};

use super::allowed::{Allowance, Allowed};
use super::findings::{Counts, Violation};
use super::frames::{Frames, Provenance};
use super::messages::Messages;
use super::order::Order;
use super::windows::Windows;

/// One node, as seen so far.
#[derive(Debug, Default)]
pub(super) struct NodeHistory {
    pub(super) boot: u32,
    pub(super) windows: Windows,
    /// The same without what was forged.
    pub(super) honest: Windows,
    pub(super) order: Order,
    pub(super) epoch: u32,
    pub(super) next_seq: u32,
    /// Below it lies all that it can have used: a node whose address is contested goes on further ahead only once that is reserved.
    pub(super) used_below: u32,
    pub(super) could_seal: bool,
    pub(super) paced: bool,
}

/// The observer. Devices have to be [watched](crate::Device::watch) before they are added.
#[derive(Debug)]
pub struct Invariants {
    pub(super) nodes: u32,
    pub(super) members: Vec<Address>,
    pub(super) frames: Frames,
    pub(super) messages: Messages,
    pub(super) allowed: Allowed,
    pub(super) history: BTreeMap<u32, NodeHistory>,
    groups: BTreeMap<Address, Vec<Address>>,
    /// What has just reached a host, which is about to run.
    pub(super) current: Option<(u32, Provenance)>,
    pub(super) first: Option<Violation>,
    pub(super) counts: Counts,
}

impl Invariants {
    /// For a network with this key, whose nodes are the stations below `nodes`. What is sent under the addresses of
    /// `members`, who are none of these, may make no sense.
    #[must_use]
    pub fn new(key: &NetKey, epoch: u32, nodes: u32, members: Vec<Address>) -> Self {
        Self {
            nodes,
            members,
            frames: Frames::new(Keyring::new(EpochKeys::derive(key, epoch))),
            messages: Messages::default(),
            allowed: Allowed::default(),
            history: BTreeMap::new(),
            groups: BTreeMap::new(),
            current: None,
            first: None,
            counts: Counts::default(),
        }
    }

    /// The groups that nodes are in.
    pub fn groups(&mut self, groups: impl IntoIterator<Item = (Address, Vec<Address>)>) {
        self.groups.extend(groups);
    }

    /// Whether a node is in a group.
    pub(super) fn is_in(&self, node: Address, group: Address) -> bool {
        self.groups.get(&node).is_some_and(|groups| groups.contains(&group))
    }

    /// The first thing that did not hold; afterwards nothing is looked at any more.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.first.as_ref()
    }

    /// How much was looked at.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (frames, messages) = (&self.frames, &self.messages);
        Counts {
            sealed: frames.sealed,
            relayed: frames.relays,
            entrusted: frames.entrusted,
            accepted: messages.accepted,
            delivered: messages.delivered,
            completed: messages.completed,
            lost: messages.lost,
            custody: frames.custody,
            forged: self.allowed.forged,
            ..self.counts
        }
    }

    /// How often each allowance excused each of its rules.
    #[must_use]
    pub const fn excused(&self) -> &BTreeMap<(&'static str, &'static str), u64> {
        &self.allowed.excused
    }

    /// From now on this allowance excuses nothing.
    pub const fn withhold(&mut self, allowance: &Allowance) {
        self.allowed.withheld = Some(allowance.name);
    }

    /// Messages to one node of ours that have not arrived there, but for those that were rejected, got too old or went with their
    /// device's power: source, number, and to whom.
    pub fn missing(&self) -> impl Iterator<Item = (Address, MessageId, Address)> + '_ {
        let known = self.messages.missing().filter(|(_, to)| !self.members.contains(to));
        known.map(|((source, id), to)| (source, id, to))
    }
}
