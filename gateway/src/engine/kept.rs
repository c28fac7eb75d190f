//! Messages of other gateways that are kept here: which, and how many of whom.
//!
//! Owns the bounds. Full: one more is refused, and its gateway goes on by itself.

use std::collections::BTreeMap;

use mesh_agent::api::Name;
use mesh_protocol::{Address, MessageId, MessageRef, Priority};

use crate::share::for_priority;

/// Messages and bytes of all, of one gateway, and of one agent there. Guesses: little beside what this gateway's own agents may have waiting.
const MESSAGES: usize = 1_024;
const BYTES: usize = 1 << 20;
const MESSAGES_OF_NODE: usize = 256;
const BYTES_OF_NODE: usize = 256 << 10;
const MESSAGES_OF_AGENT: usize = 64;
const BYTES_OF_AGENT: usize = 64 << 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    messages: usize,
    bytes: usize,
}

impl Usage {
    const fn has_room(self, len: usize, messages: usize, bytes: usize) -> bool {
        self.messages < messages && self.bytes + len <= bytes
    }

    const fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len;
    }

    /// Whether none is left.
    const fn remove(&mut self, len: usize) -> bool {
        self.messages -= 1;
        self.bytes -= len;
        self.messages == 0
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Under which number of this gateway's each is on its way, and whether it is on the disk.
    ids: BTreeMap<MessageRef, (MessageId, bool)>,
    all: Usage,
    of_node: BTreeMap<Address, Usage>,
    of_agent: BTreeMap<(Address, Name), Usage>,
}

impl Kept {
    /// Whether a message is kept here, and whether it is on the disk.
    pub(super) fn find(&self, of: MessageRef) -> Option<(MessageId, bool)> {
        self.ids.get(&of).copied()
    }

    /// Whether there is room for one more message of `len` bytes of this agent. The last sixteenth of all is for CRITICAL ones.
    pub(super) fn has_room(&self, node: Address, from: Name, len: usize, priority: Priority) -> bool {
        let of_node = self.of_node.get(&node).copied().unwrap_or_default();
        let of_agent = self.of_agent.get(&(node, from)).copied().unwrap_or_default();
        self.all.has_room(len, for_priority(MESSAGES, priority), for_priority(BYTES, priority))
            && of_node.has_room(len, MESSAGES_OF_NODE, BYTES_OF_NODE)
            && of_agent.has_room(len, MESSAGES_OF_AGENT, BYTES_OF_AGENT)
    }

    /// A message is kept under this number.
    pub(super) fn insert(&mut self, of: MessageRef, id: MessageId, from: Name, len: usize, synced: bool) {
        self.ids.insert(of, (id, synced));
        self.all.add(len);
        self.of_node.entry(of.node).or_default().add(len);
        self.of_agent.entry((of.node, from)).or_default().add(len);
    }

    /// It is on the disk now.
    pub(super) fn synced(&mut self, of: MessageRef) {
        if let Some((_, synced)) = self.ids.get_mut(&of) {
            *synced = true;
        }
    }

    /// It is kept no more.
    pub(super) fn remove(&mut self, of: MessageRef, from: Name, len: usize) {
        if self.ids.remove(&of).is_none() {
            return;
        }
        self.all.remove(len);
        if self.of_node.get_mut(&of.node).is_some_and(|usage| usage.remove(len)) {
            self.of_node.remove(&of.node);
        }
        if self.of_agent.get_mut(&(of.node, from)).is_some_and(|usage| usage.remove(len)) {
            self.of_agent.remove(&(of.node, from));
        }
    }

    /// A gateway is to hear what became of a message of its. Until it has, that takes the place of one: who never answers has no more kept.
    pub(super) fn owe(&mut self, node: Address) {
        self.all.add(0);
        self.of_node.entry(node).or_default().add(0);
    }

    /// It has heard it, or its time is over.
    pub(super) fn told(&mut self, node: Address) {
        if let Some(usage) = self.of_node.get_mut(&node) {
            self.all.remove(0);
            if usage.remove(0) {
                self.of_node.remove(&node);
            }
        }
    }

    /// How many are kept.
    pub(super) fn messages(&self) -> usize {
        self.ids.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(node: u16, id: u32) -> MessageRef {
        MessageRef { node: Address::new(node), id: MessageId(id) }
    }

    fn name(n: usize) -> Name {
        Name::new(&format!("agent-{n}")).unwrap()
    }

    #[test]
    fn one_agent_one_gateway_and_all_have_their_bounds_and_what_goes_makes_room() {
        let mut kept = Kept::default();
        let has_room = |kept: &Kept, node, agent, len| {
            kept.has_room(Address::new(node), name(agent), len, Priority::High)
        };
        assert!(has_room(&kept, 1, 0, BYTES_OF_AGENT) && !has_room(&kept, 1, 0, BYTES_OF_AGENT + 1));
        let mut id = 0;
        let mut insert = |kept: &mut Kept, node, agent| {
            id += 1;
            kept.insert(of(node, id), MessageId(id), name(agent), 8, false);
        };
        for agent in 0..4 {
            for _ in 0..MESSAGES_OF_AGENT {
                assert!(has_room(&kept, 1, agent, 8));
                insert(&mut kept, 1, agent);
            }
            assert!(!has_room(&kept, 1, agent, 8), "of one agent");
        }
        assert!(!has_room(&kept, 1, 9, 8), "of one gateway");
        let mut node = 2;
        while kept.messages() < for_priority(MESSAGES, Priority::High) {
            assert!(has_room(&kept, node, 0, 8));
            insert(&mut kept, node, 0);
            node += u16::from(kept.messages() % MESSAGES_OF_AGENT == 0);
        }
        assert!(!has_room(&kept, 99, 0, 8), "of all");
        assert!(kept.has_room(Address::new(99), name(0), 8, Priority::Critical));
        kept.remove(of(1, 1), name(0), 8);
        kept.remove(of(1, 1), name(0), 8);
        assert!(has_room(&kept, 99, 0, 8) && has_room(&kept, 1, 0, 8));
        for id in 2..=id {
            let (node, agent) = if id <= 256 { (1, (id - 1) / 64) } else { (2 + (id - 257) / 64, 0) };
            kept.remove(of(node as u16, id), name(agent as usize), 8);
        }
        assert_eq!((kept.messages(), kept.of_node.len(), kept.of_agent.len()), (0, 0, 0));
    }

    #[test]
    fn who_does_not_take_what_became_of_its_messages_has_no_more_of_them_kept() {
        let mut kept = Kept::default();
        let node = Address::new(1);
        for _ in 0..MESSAGES_OF_NODE {
            assert!(kept.has_room(node, name(0), 8, Priority::High));
            kept.owe(node);
        }
        assert!(!kept.has_room(node, name(0), 8, Priority::High));
        kept.told(node);
        assert!(kept.has_room(node, name(0), 8, Priority::High));
        for _ in 0..MESSAGES_OF_NODE {
            kept.told(node);
        }
        assert_eq!((kept.all, kept.of_node.len(), kept.messages()), (Usage::default(), 0, 0));
    }

    #[test]
    fn it_is_found_under_its_own_name_and_only_once_it_is_there() {
        let mut kept = Kept::default();
        assert_eq!(kept.find(of(1, 5)), None);
        kept.insert(of(1, 5), MessageId(70), name(0), 3, false);
        assert_eq!(kept.find(of(1, 5)), Some((MessageId(70), false)));
        kept.synced(of(1, 5));
        assert_eq!((kept.find(of(1, 5)), kept.find(of(2, 5))), (Some((MessageId(70), true)), None));
    }
}
