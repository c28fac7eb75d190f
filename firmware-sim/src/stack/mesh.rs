//! Our own stack, as a scenario sees it: a [`Device`] whose messages are orders and arrivals.
//!
//! Owns the translation of node numbers and bodies into addresses and envelopes, and back. Node `n` has the address `n + 1`.

use ble_bearer::sim::{HostModel, Radio, RadioSpec, Station};
use mesh_protocol::{
    Address, BODY_MAX, Control, Duration, Envelope, EpochKeys, Instant, Keyring, LinkInfo, LongFrames,
    MAX_FRAME, NetKey, SendOutcome, continuation, frame,
};

use super::{
    Arrival, Completion, Faulty, Order, Refused, ReportedOutcome, Stack, StackNode, Target, node_seeds,
    relays, usual_radio,
};
use crate::device::{PostError, posting};
use crate::scenario::{ControllerModel, Flash, RadioSettings, Scenario, Stacks};
use crate::virtual_controller::ControllerKind;
use crate::world::Network;
use crate::{Device, Options};

/// One node of our own stack.
#[derive(Debug)]
pub struct Mesh {
    device: Device,
    /// How many of the device's deliveries and outcomes have been passed on.
    passed_on: (usize, usize),
}

impl Mesh {
    /// The node with this number, at most 32,766, in a network.
    #[must_use]
    pub fn new(number: u32, options: Options, seed: u64, network: &Network) -> Self {
        let key = NetKey::new(network.key());
        let device = Device::with(Instant::ZERO, address(number), &key, network.epoch(), seed, options);
        device.into()
    }

    /// Forgets arrivals and completions that have been passed on, so that a node that runs without end keeps none of them.
    pub(crate) fn forget_reported(&mut self) {
        self.device.forget_reported();
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

/// What a scenario says of a node, as a device takes it.
pub(crate) fn options(scenario: &Scenario, number: u32) -> Options {
    let node = scenario.nodes.get(&number).cloned().unwrap_or_default();
    Options {
        ttl: scenario.stacks.mesh_ttl,
        relay: relays(scenario, number),
        drops: node.drops,
        gateway: node.gateway,
        // As the real ones: what a gateway has accepted survives a power cut.
        durable: node.gateway,
        // From float to integer, Rust cuts what is too large or no number.
        drift_ppb: (node.drift_ppm * 1_000.0).round() as i64,
        parts_to_many: scenario.nodes.values().filter(|node| node.gateway).count()
            == scenario.node_count() as usize,
        link: link_info(scenario, number),
        routes: node.routes.iter().map(|(to, next)| (address(*to), address(*next))).collect(),
        ..Options::default()
    }
}

/// What the link of a node can do, with its radio and those of the others.
fn link_info(scenario: &Scenario, number: u32) -> LinkInfo {
    let info = Mesh::radio(&scenario.radio_of(number), &scenario.stacks).link_info();
    let long_frames = if scenario.is_of_one_radio() { LongFrames::Everyone } else { LongFrames::Named };
    LinkInfo { long_frames, ..info }
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
    const NAME: &'static str = "mesh";
    const TITLE: &'static str = "mesh (ours)";
    // Manufacturer data of the company for tests.
    const AD_TYPE: &'static [u8] = &[0xff, 0xff, 0xff];
    const NEEDS_SENT: bool = false;
    const REPORTS_LOSSES: bool = true;

    fn reports(_bytes: u32, _to_one: bool) -> bool {
        true
    }

    fn radio(radio: &RadioSettings, settings: &Stacks) -> RadioSpec {
        let (host, sets) = match radio.controller {
            ControllerModel::Firmware => (HostModel::Firmware, Self::sets(settings)),
            ControllerModel::Pi4 => (HostModel::HciLegacy, 1),
            ControllerModel::Bt5Dongle => (HostModel::HciSets, ControllerKind::Bt5Dongle.sets()),
        };
        RadioSpec { host, sets, ..usual_radio::<Self>(radio, settings) }
    }

    fn cause(keys: &FrameKeys, sender: u32, frame: &[u8]) -> &'static str {
        keys.cause(sender, frame)
    }

    fn route(keys: &FrameKeys, frame: &[u8]) -> Option<(u32, u32)> {
        keys.route(frame)
    }

    fn origin(keys: &FrameKeys, frame: &[u8]) -> Option<(u32, u32)> {
        keys.origin(frame)
    }

    fn nodes(scenario: &Scenario, seed: u64) -> impl Fn(u32) -> Self {
        let network = Network::random(seed);
        let seeds = node_seeds(seed);
        move |number| Self::new(number, options(scenario, number), seeds(number), &network)
    }
}

impl StackNode for Mesh {
    fn post(&mut self, now: Instant, order: &Order) -> Result<u32, Refused> {
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
        match self.device.post(now, posting(to, order.priority, order.within, &envelope)) {
            Ok(id) => Ok(id.0),
            Err(PostError::Full) => Err(Refused::Busy),
            Err(PostError::TooLong) => Err(Refused::TooLong),
        }
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

    fn completions(&mut self) -> Vec<Completion> {
        let outcomes = self.device.outcomes();
        let new = outcomes.get(self.passed_on.1..).unwrap_or_default();
        self.passed_on.1 = outcomes.len();
        let reported = |outcome: &SendOutcome| match outcome {
            SendOutcome::Delivered | SendOutcome::Processed => ReportedOutcome::Delivered,
            SendOutcome::Sent => ReportedOutcome::Sent,
            SendOutcome::Expired => ReportedOutcome::Expired,
            SendOutcome::Rejected(_) => ReportedOutcome::Rejected,
            _ => ReportedOutcome::Unknown,
        };
        new.iter()
            .map(|(at, id, outcome)| Completion { at: *at, id: id.0, outcome: reported(outcome) })
            .collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.device.stats().discards().map(|(why, count)| (why.name(), count)).collect()
    }
}

/// The network's keys, to open frames of ours with.
#[derive(Debug)]
pub struct FrameKeys(Keyring);

impl FrameKeys {
    /// Those of a network.
    pub(crate) fn new(network: &Network) -> Self {
        Self(Keyring::new(EpochKeys::derive(&NetKey::new(network.key()), network.epoch())))
    }

    fn open<'b>(&self, bytes: &[u8], buffer: &'b mut [u8; MAX_FRAME]) -> Option<frame::Verified<'b>> {
        let buffer = buffer.get_mut(..bytes.len())?;
        buffer.copy_from_slice(bytes);
        frame::decode(buffer, &self.0).ok()
    }

    /// Which node sealed a frame of ours, and its SEQ.
    fn origin(&self, bytes: &[u8]) -> Option<(u32, u32)> {
        let mut buffer = [0; MAX_FRAME];
        let verified = self.open(bytes, &mut buffer)?;
        Some((number(verified.frame().src), verified.frame().seq))
    }

    /// Whose continuation frame this is.
    fn continued(&self, bytes: &[u8]) -> Option<Address> {
        let mut buffer = [0; MAX_FRAME];
        let buffer = buffer.get_mut(..bytes.len()).filter(|_| continuation::is_continuation(bytes))?;
        buffer.copy_from_slice(bytes);
        Some(continuation::decode(buffer, &self.0).ok()?.frame().src)
    }

    /// From which node to which node a frame of ours carries a part of a message.
    fn route(&self, bytes: &[u8]) -> Option<(u32, u32)> {
        let mut buffer = [0; MAX_FRAME];
        let verified = self.open(bytes, &mut buffer)?;
        let frame = verified.frame();
        (frame.kind != frame::Kind::Control && frame.dst.is_node())
            .then(|| (number(frame.src), number(frame.dst)))
    }

    /// What a frame of ours is for the node that sends it.
    fn cause(&self, sender: u32, bytes: &[u8]) -> &'static str {
        let mut buffer = [0; MAX_FRAME];
        if let Some(src) = self.continued(bytes) {
            return if number(src) == sender { "data" } else { "relay" };
        }
        let Some(verified) = self.open(bytes, &mut buffer) else { return "other" };
        let frame = verified.frame();
        if number(frame.src) != sender {
            return "relay";
        }
        match frame.kind {
            frame::Kind::Single | frame::Kind::Segment => "data",
            frame::Kind::Control => match Control::parse(frame.body) {
                Ok(Control::Hello { .. }) => "hello",
                Ok(Control::RouteRequest(_) | Control::RouteReply(_) | Control::RouteBroken { .. }) => {
                    "route"
                }
                Ok(Control::HopAck(_)) => "hop ack",
                Ok(Control::Ack(..)) => "ack",
                Ok(Control::Receipt { .. }) => "receipt",
                _ => "control",
            },
        }
    }
}
