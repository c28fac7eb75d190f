//! What a device is started with, each time: its address, its keys and how it differs from others.
//!
//! Owns the options and the making of nodes. With which SEQ, marks and routes one begins is the firmware's business
//! (`mesh_firmware::start`), what a restart leaves of the rest `device`'s and `flash`'s.

use std::ops::{Deref, DerefMut};

use mesh_firmware::start::{SEQ_BLOCK, Setup, TTL};
use mesh_protocol::{
    Address, AnyNode, Duration, EpochKeys, GatewayNode, Instant, LEGACY_FRAME, LinkInfo, LongFrameNode, Rng,
    SmallNode,
};

use super::flash::Flash;

/// How a device differs from the usual one.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Hops allowed to its messages, 1 to 15.
    pub ttl: u8,
    /// Whether it relays.
    pub relay: bool,
    /// Whether it takes what it is to pass on, and drops it.
    pub drops: bool,
    /// Whether it has the node of a gateway, and room for messages of any length; it counts their bytes and keeps none.
    pub gateway: bool,
    /// Names of its agents; it answers queries to them with the same body.
    pub names: Vec<String>,
    /// SEQs reserved at a time.
    pub seq_block: u32,
    /// How long a write to its flash takes.
    pub flash_write: Duration,
    /// Whether it keeps, as a gateway does, what it was given to send and what it has delivered. A delivery and its receipt come
    /// only behind the write; where it keeps no messages, behind that of the highest SEQ taken of the source.
    pub durable: bool,
    /// SEQs and message numbers below this were used in an earlier life, of which its flash knows no more than that.
    pub used: u32,
    /// What its clock gains, in parts in a billion; negative if it loses.
    pub drift_ppb: i64,
    /// Whether everyone that it may call to puts parts together; else it takes no message to many that comes in some.
    pub parts_to_many: bool,
    /// Groups that it is in from each start on.
    pub groups: Vec<Address>,
    /// What its radio can do.
    pub link: LinkInfo,
    /// To whom by which neighbour, as an operator says it: given to the node at each start. What it has no room for is left out.
    pub routes: Vec<(Address, Address)>,
}

impl Default for Options {
    /// A small node that relays, with flash that takes no time and keeps SEQs only: its own, and the highest taken of who sent it messages, and an exact clock.
    fn default() -> Self {
        Self {
            ttl: TTL,
            relay: true,
            drops: false,
            gateway: false,
            names: Vec::new(),
            seq_block: SEQ_BLOCK,
            flash_write: Duration::ZERO,
            durable: false,
            used: 0,
            drift_ppb: 0,
            parts_to_many: false,
            groups: Vec::new(),
            link: ble_bearer::sim::link_info(),
            routes: Vec::new(),
        }
    }
}

/// A node of any size.
#[derive(Debug)]
pub(super) enum Core {
    Small(Box<SmallNode>),
    LongFrame(Box<LongFrameNode>),
    Gateway(Box<GatewayNode>),
}

impl Core {
    /// A copy of a small node, to try something on. One of a gateway is too large for that.
    pub(super) fn small_copy(&self) -> Option<SmallNode> {
        match self {
            Self::Small(node) => Some((**node).clone()),
            Self::LongFrame(_) | Self::Gateway(_) => None,
        }
    }
}

impl Deref for Core {
    type Target = dyn AnyNode;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Small(node) => &**node,
            Self::LongFrame(node) => &**node,
            Self::Gateway(node) => &**node,
        }
    }
}

impl DerefMut for Core {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Small(node) => &mut **node,
            Self::LongFrame(node) => &mut **node,
            Self::Gateway(node) => &mut **node,
        }
    }
}

/// What a device is started with, each time.
#[derive(Debug)]
pub(super) struct Boot {
    pub(super) address: Address,
    pub(super) keys: EpochKeys,
    pub(super) seed: u64,
    /// How often it was started.
    pub(super) count: u64,
    pub(super) options: Options,
}

impl Boot {
    /// The node of the next start.
    pub(super) fn node(&self, now: Instant, flash: &Flash) -> Core {
        let Options { ttl, relay, seq_block, gateway, ref routes, .. } = self.options;
        let setup = Setup { address: self.address, keys: &self.keys, ttl, relay, seq_block, routes };
        // Another one for each start: a node that drew the same numbers again would meet the same neighbours at the same moments.
        let seed = if self.count == 0 { self.seed } else { Rng::new(self.seed).fork(self.count).next_u64() };
        let config = setup.config(flash.kept(), seed);
        let mut node = if gateway {
            Core::Gateway(Box::new(GatewayNode::new(now, config)))
        } else if self.options.link.mtu > LEGACY_FRAME {
            Core::LongFrame(Box::new(LongFrameNode::new(now, config)))
        } else {
            Core::Small(Box::new(SmallNode::new(now, config)))
        };
        setup.restore(now, &mut *node, flash.kept());
        for group in &self.options.groups {
            // A node has room for more than a case has.
            let _ = node.join_group(*group);
        }
        node
    }
}
