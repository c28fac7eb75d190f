//! What goes wrong in a run, and what must hold all the same.
//!
//! Owns the words that faults and stations share: who can lose its power, who stands where an attacker may stand, and two
//! watchers of one world. Rules for receptions are in `rules`, attackers in `attacker`, moments in `schedule`, what must
//! hold in `invariants`.
//!
//! To apply a scenario's faults to a run: add the nodes as [`Occupant::Node`], then the stations that [`attackers`] gives, next to
//! the nodes they name; let [`Rules`] say what becomes of receptions; and call [`Schedule::apply`] whenever
//! [`Schedule::next`] says so.

mod attacker;
mod invariants;
mod rules;
mod schedule;

use ble_bearer::sim::{Link, Observer, Radio, Reception, ReceptionVerdict, Station, StationId};
use mesh_protocol::{Duration, Instant};

use crate::Device;
use crate::scenario::{FaultKind, Flash, ScheduledFault};
use crate::stack::{Arrival, Completion, Order, Refused, StackNode};

pub use attacker::{Attacker, attackers};
pub use invariants::{ALLOWANCES, Allowance, Counts, Invariants, Violation};
pub use rules::Rules;
pub use schedule::Schedule;

pub use crate::stack::Faulty;

impl Faulty for Device {
    fn cut(&mut self, _now: Instant, flash: Flash) {
        Self::cut(self, flash);
    }

    fn restart(&mut self, now: Instant) {
        Self::restart(self, now);
    }

    fn jump(&mut self, now: Instant, by: Duration) {
        Self::jump(self, now, by);
    }
}

/// A station that may have a device in it to be checked on.
pub trait Watched {
    /// The device.
    fn device(&mut self) -> Option<&mut Device>;
}

impl Watched for Device {
    fn device(&mut self) -> Option<&mut Device> {
        Some(self)
    }
}

/// What stands at a place: a node, or someone who means harm.
#[derive(Debug)]
pub enum Occupant<S> {
    /// A node of the network.
    Node(S),
    /// None of it.
    Attacker(Box<Attacker>),
}

impl<S> Occupant<S> {
    /// The node, if it is one.
    pub fn node(&self) -> Option<&S> {
        match self {
            Self::Node(node) => Some(node),
            Self::Attacker(_) => None,
        }
    }

    /// The node, if it is one.
    pub fn node_mut(&mut self) -> Option<&mut S> {
        match self {
            Self::Node(node) => Some(node),
            Self::Attacker(_) => None,
        }
    }
}

impl<S: From<Device>> From<Device> for Occupant<S> {
    fn from(device: Device) -> Self {
        Self::Node(device.into())
    }
}

impl<S: Station> Station for Occupant<S> {
    fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8) -> bool {
        match self {
            Self::Node(node) => node.receive(now, frame, rssi),
            Self::Attacker(attacker) => attacker.receive(now, frame, rssi),
        }
    }

    fn sent(&mut self, now: Instant, set: usize) {
        if let Self::Node(node) = self {
            node.sent(now, set);
        }
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        match self {
            Self::Node(node) => node.run(now, radio),
            Self::Attacker(attacker) => attacker.run(now, radio),
        }
    }
}

/// An attacker takes no messages and has none.
impl<S: StackNode> StackNode for Occupant<S> {
    fn post(&mut self, now: Instant, order: &Order) -> Result<u32, Refused> {
        self.node_mut().map_or(Err(Refused::Down), |node| node.post(now, order))
    }

    fn arrivals(&mut self) -> Vec<Arrival> {
        self.node_mut().map(StackNode::arrivals).unwrap_or_default()
    }

    fn completions(&mut self) -> Vec<Completion> {
        self.node_mut().map(StackNode::completions).unwrap_or_default()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.node().map(StackNode::counters).unwrap_or_default()
    }
}

impl<S: Faulty> Faulty for Occupant<S> {
    fn cut(&mut self, now: Instant, flash: Flash) {
        if let Self::Node(node) = self {
            node.cut(now, flash);
        }
    }

    fn restart(&mut self, now: Instant) {
        if let Self::Node(node) = self {
            node.restart(now);
        }
    }

    fn jump(&mut self, now: Instant, by: Duration) {
        if let Self::Node(node) = self {
            node.jump(now, by);
        }
    }
}

impl<S: Watched> Watched for Occupant<S> {
    fn device(&mut self) -> Option<&mut Device> {
        self.node_mut().and_then(Watched::device)
    }
}

/// Two watchers of one world. The first decides what becomes of a reception, unless it lets it pass.
#[derive(Clone, Debug, Default)]
pub struct Both<A, B>(
    /// The first.
    pub A,
    /// The second.
    pub B,
);

impl<S, A: Observer<S>, B: Observer<S>> Observer<S> for Both<A, B> {
    fn verdict(&mut self, now: Instant, reception: &Reception<'_>) -> ReceptionVerdict {
        match self.0.verdict(now, reception) {
            ReceptionVerdict::Pass => self.1.verdict(now, reception),
            other => other,
        }
    }

    fn transmitted(&mut self, now: Instant, from: StationId, frame: &[u8]) {
        self.0.transmitted(now, from, frame);
        self.1.transmitted(now, from, frame);
    }

    fn received(&mut self, now: Instant, reception: &Reception<'_>) {
        self.0.received(now, reception);
        self.1.received(now, reception);
    }

    fn ran(&mut self, now: Instant, id: StationId, station: &mut S) {
        self.0.ran(now, id, station);
        self.1.ran(now, id, station);
    }
}

/// Where attackers of `faults` stand: as which node each, in order of the faults. The first has the number behind the
/// last node's.
pub fn attackers_near(faults: &[ScheduledFault]) -> impl Iterator<Item = u32> + '_ {
    faults.iter().filter_map(|fault| match fault.what {
        FaultKind::Forge { near, .. } | FaultKind::Replay { near, .. } | FaultKind::Member { near, .. } => {
            Some(near)
        }
        _ => None,
    })
}

/// Where links are given one by one: those of the attackers, who hear and are heard as the nodes they stand by are, and by
/// these besides.
#[must_use]
pub fn links_of_attackers(links: &[Link], nodes: u32, faults: &[ScheduledFault]) -> Vec<Link> {
    let mut added = Vec::new();
    for (number, near) in (nodes..).zip(attackers_near(faults)) {
        added.extend(Link::both(number, near, 0));
        let own = StationId(number);
        for link in links {
            if link.from.0 == near {
                added.push(Link { from: own, ..*link });
            }
            if link.to.0 == near {
                added.push(Link { to: own, ..*link });
            }
        }
    }
    added
}
