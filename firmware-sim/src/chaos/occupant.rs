//! Who stands in a field where something goes wrong: nodes, and those who mean harm.
//!
//! Owns what befalls each of the two: power and clocks are a node's, and only a node has messages, or a device that can be checked on.

use ble_bearer::sim::{Radio, Station};
use mesh_protocol::{Duration, Instant};

use super::attacker::Attacker;
use crate::Device;
use crate::scenario::Flash;
use crate::stack::{Arrival, Completion, Faulty, Order, Refused, StackNode};

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
