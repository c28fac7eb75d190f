//! Our own stack, as a scenario sees it: a [`Device`] whose messages are orders and arrivals.
//!
//! Owns the translation of node numbers and bodies into addresses and envelopes, and back. Node `n` has the address `n + 1`.

use ble_bearer::sim::{Radio, Station};
use mesh_protocol::{Address, BODY_MAX, Duration, Envelope, Instant, NetKey, Outcome};

use super::{Arrival, Fate, Order, Refused, Settled, Stack, Target};
use crate::chaos::Faulty;
use crate::device::letter;
use crate::scenario::{Flash, NodeOptions};
use crate::{Device, Options};

/// The epoch of every simulated network.
const EPOCH: u32 = 1;

/// One node of our own stack.
#[derive(Debug)]
pub struct Mesh {
    device: Device,
    /// How many of the device's deliveries and outcomes have been passed on.
    passed_on: (usize, usize),
}

impl Mesh {
    /// The node with this number, at most 32,766, in the network with this key.
    #[must_use]
    pub fn new(number: u32, options: Options, seed: u64, key: &NetKey) -> Self {
        let device = Device::with(Instant::ZERO, address(number), key, EPOCH, seed, options);
        device.into()
    }

    /// Forgets what has been passed on of arrivals and ends, so that a node that runs without end keeps none of them.
    pub(crate) fn forget_told(&mut self) {
        self.device.forget_told();
        self.passed_on = (0, 0);
    }

    /// The device.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }
}

impl From<Device> for Mesh {
    /// A device that has taken and sent nothing yet.
    fn from(device: Device) -> Self {
        Self { device, passed_on: (0, 0) }
    }
}

/// The address of a node.
#[must_use]
pub fn address(number: u32) -> Address {
    Address::new(u16::try_from(number + 1).unwrap_or(u16::MAX))
}

/// The routes of a node, as a device takes them.
pub(crate) fn routes(node: &NodeOptions) -> Vec<(Address, Address)> {
    node.routes.iter().map(|(to, next)| (address(*to), address(*next))).collect()
}

/// The number of the node with this address.
#[must_use]
pub fn number(address: Address) -> u32 {
    u32::from(address.bits()).saturating_sub(1)
}

impl Station for Mesh {
    fn receive(&mut self, now: Instant, frame: &[u8], rssi: i8) -> bool {
        self.device.receive(now, frame, rssi)
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        self.device.run(now, radio)
    }
}

impl Faulty for Mesh {
    fn cut(&mut self, _now: Instant, flash: Flash) {
        self.device.cut(flash);
    }

    fn restart(&mut self, now: Instant) {
        self.device.restart(now);
    }

    fn jump(&mut self, now: Instant, by: Duration) {
        self.device.jump(now, by);
    }
}

impl Stack for Mesh {
    fn post(&mut self, _now: Instant, order: &Order) -> Result<u32, Refused> {
        if order.body.len() > BODY_MAX {
            return Err(Refused::TooLong);
        }
        let to = match order.to {
            Target::Node(number) => address(number),
            Target::Everyone => Address::EVERYONE,
        };
        let envelope = Envelope {
            kind: order.sent_as(),
            from: "",
            to: "",
            processed: false,
            reply_to: None,
            text: false,
            body: &order.body,
        };
        Ok(self.device.post(letter(to, order.priority, order.within, &envelope)).0)
    }

    fn arrivals(&mut self) -> Vec<Arrival> {
        let delivered = self.device.delivered();
        let new = delivered.get(self.passed_on.0..).unwrap_or_default();
        self.passed_on.0 = delivered.len();
        new.iter()
            .map(|message| Arrival {
                at: message.at,
                from: number(message.source),
                id: message.id.0,
                hops: message.hops,
                answers: message.reply_to.map(|answered| answered.id.0),
                body: message.body.clone(),
            })
            .collect()
    }

    fn settled(&mut self) -> Vec<Settled> {
        let outcomes = self.device.outcomes();
        let new = outcomes.get(self.passed_on.1..).unwrap_or_default();
        self.passed_on.1 = outcomes.len();
        let fate = |outcome: &Outcome| match outcome {
            Outcome::Delivered | Outcome::Processed => Fate::Delivered,
            Outcome::Sent => Fate::Sent,
            Outcome::Expired => Fate::Expired,
            Outcome::Rejected(_) => Fate::Rejected,
            _ => Fate::Unknown,
        };
        new.iter().map(|(at, id, outcome)| Settled { at: *at, id: id.0, fate: fate(outcome) }).collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.device.stats().discards().map(|(why, count)| (why.name(), count)).collect()
    }
}
