//! A scenario: who stands where, who hears whom, who says what when, and what goes wrong.
//!
//! Owns its meaning as plain data, in SI units but for times, which are [`Duration`]s. How it is written down is
//! `file`'s business, where its nodes stand `place`'s, which messages it comes to `plan`'s, how it is played the run's.

mod defaults;
mod file;
mod place;
mod plan;

use std::collections::BTreeMap;

use mesh_protocol::{Duration, MessageType, Priority};
use serde::{Deserialize, Serialize};

pub use file::ScenarioError;
pub use plan::{ClosedLoop, Planned};

/// The most nodes a scenario may have: four times the largest that comes with the project. A guess.
pub const NODES_MAX: u32 = 4_000;
/// The most messages a scenario may ask for, all traffic together. A guess: far more than a mesh can carry in the
/// longest run, and few enough to plan in memory.
pub const MESSAGES_MAX: u64 = 1_000_000;

/// A scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// A word for it.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Before the first message: the mesh finds itself.
    pub settle: Duration,
    /// How long traffic is offered.
    pub offered: Duration,
    /// How long, at most, the run goes on afterwards, until every message is settled.
    pub drain: Duration,
    /// Where nodes stand.
    pub layout: Layout,
    /// Nodes that differ from the rest, by number.
    pub nodes: BTreeMap<u32, NodeOptions>,
    /// Who hears whom.
    pub links: LinkRule,
    /// Every node's radio.
    pub radio: Radio,
    /// Interference from a wireless LAN, if there is one.
    pub wlan: Option<Wlan>,
    /// Settings of the stacks.
    pub stacks: Stacks,
    /// Who says what, in order.
    pub traffic: Vec<Traffic>,
    /// What goes wrong, in order of time.
    pub faults: Vec<Fault>,
}

impl Scenario {
    /// A scenario with such a layout, without traffic, and otherwise with what a file that says nothing means.
    #[must_use]
    pub fn new(name: &str, layout: Layout) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            settle: defaults::SETTLE,
            offered: defaults::OFFERED,
            drain: defaults::DRAIN,
            layout,
            nodes: BTreeMap::new(),
            links: defaults::LINKS,
            radio: defaults::RADIO,
            wlan: None,
            stacks: defaults::STACKS,
            traffic: Vec::new(),
            faults: Vec::new(),
        }
    }
}

/// Where nodes stand. Metres.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// In a row.
    Line {
        /// How many.
        nodes: u32,
        /// From one to the next.
        spacing: f64,
    },
    /// Point `i` at (i, i) times a spacing: the reference chains of the radio model.
    Diagonal {
        /// How many.
        nodes: u32,
        /// From one to the next, along each axis.
        spacing: f64,
    },
    /// In rows and columns.
    Grid {
        /// How many along x.
        columns: u32,
        /// How many along y.
        rows: u32,
        /// From one to the next.
        spacing: f64,
        /// Each stands off its place by up to this much along each axis.
        scatter: f64,
    },
    /// Anywhere on a disc, equally likely.
    Disc {
        /// How many.
        nodes: u32,
        /// Its radius.
        radius: f64,
        /// No two are nearer to each other than this, where that is possible.
        apart: f64,
    },
    /// Floors above each other, each a scattered grid.
    Office {
        /// How many, on all floors together.
        nodes: u32,
        /// How many floors.
        floors: u32,
        /// Length of a floor.
        width: f64,
        /// Its other side.
        depth: f64,
        /// From floor to floor.
        height: f64,
    },
    /// Where they are said to.
    Given(Vec<Place>),
}

/// A place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    /// Metres to the right.
    pub x: f64,
    /// Metres up on the map.
    pub y: f64,
    /// Metres above the ground.
    pub z: f64,
    /// The floor, from 0.
    pub floor: u32,
}

/// How one node differs from the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeOptions {
    /// A name for traffic, faults and reports to use.
    pub name: Option<String>,
    /// Whether it has the tables of a gateway.
    pub gateway: bool,
    /// Whether it relays; nodes do unless told otherwise.
    pub relay: Option<bool>,
    /// Its place, instead of the layout's.
    pub place: Option<Place>,
    /// How much its clock runs fast, in parts per million; negative is slow.
    pub drift_ppm: f64,
    /// Its transmit power in dBm, instead of the radio's.
    pub tx_dbm: Option<f64>,
    /// The next hop to each of these nodes, as an operator gives it; only our own stack knows routes.
    pub routes: BTreeMap<u32, u32>,
}

impl NodeOptions {
    /// How many routes it has room for: those of `SmallNode` and `GatewayNode`.
    #[must_use]
    pub const fn routes_max(&self) -> usize {
        if self.gateway { 128 } else { 24 }
    }
}

/// Who hears whom.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkRule {
    /// Whoever is within reach, the farther the weaker; nobody else.
    Radius {
        /// The reach in metres.
        reach: f64,
        /// Attenuation at that distance in dB; less in proportion to the distance.
        attenuation: f64,
        /// Attenuation of all others in dB: whether that is silence depends on the sensitivity.
        beyond: f64,
        /// Share of the advertising events that every link loses besides, 0 to 1.
        loss: f64,
    },
    /// ITU-R P.1238: 20 log10(MHz) + 10 n log10(metres) - 28 dB.
    Propagation {
        /// The exponent n: 2 in an open room, 1.8 in a corridor, 2.8 in a home.
        exponent: f64,
        /// dB for each floor between two nodes.
        floor_loss: f64,
        /// Standard deviation of a link's shadowing in dB, the same both ways.
        shadowing: f64,
        /// Standard deviation of each advert's fading in dB.
        fading: f64,
        /// Share of the advertising events that every link loses besides, 0 to 1.
        loss: f64,
    },
    /// These, and no others.
    Given(Vec<GivenLink>),
}

/// One link, both ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GivenLink {
    /// One end.
    pub a: u32,
    /// The other end.
    pub b: u32,
    /// Attenuation in dB.
    pub attenuation: f64,
    /// Share of the advertising events lost, 0 to 1.
    pub loss: f64,
}

/// A radio and its controller.
#[derive(Clone, Debug, PartialEq)]
pub struct Radio {
    /// Extended advertising, with frames up to 245 bytes; else legacy, up to 27.
    pub extended: bool,
    /// Transmit power in dBm.
    pub tx_dbm: f64,
    /// The weakest signal that is received, in dBm.
    pub sensitivity_dbm: f64,
    /// A signal is received while it is so much stronger than all others together, in dB.
    pub capture_db: f64,
    /// From the start of one scan window to the next.
    pub scan_interval: Duration,
    /// How long each scan window is; at most the interval.
    pub scan_window: Duration,
}

/// Interference of a wireless LAN on the advertising channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Wlan {
    /// Share of the time that it sends, 0 to 1.
    pub duty: f64,
    /// How long it sends at a time.
    pub burst: Duration,
    /// How strong it is at every receiver, in dBm.
    pub dbm: f64,
}

/// Settings of the stacks.
#[derive(Clone, Debug, PartialEq)]
pub struct Stacks {
    /// TTL of our messages.
    pub mesh_ttl: u8,
    /// The SIG baseline.
    pub sig: SigOptions,
    /// TTL of the plain flood.
    pub flood_ttl: u8,
}

/// The SIG baseline's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct SigOptions {
    /// TTL of messages and acks.
    pub ttl: u8,
    /// Copies of an originated network PDU.
    pub transmit: u8,
    /// From one of these copies to the next.
    pub transmit_interval: Duration,
    /// Copies of a relayed network PDU.
    pub retransmit: u8,
    /// From one of these copies to the next.
    pub retransmit_interval: Duration,
    /// Advertising sets for relaying beside the node's own; 0 relays through the own one.
    pub relay_sets: u8,
    /// From the reception of a PDU to the host's next command. A stack's own delay, beside the controller's.
    pub host_delay: Duration,
}

/// Some of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// This one.
    Node(u32),
    /// Any of these.
    Nodes(Vec<u32>),
    /// Any node, drawn anew for each message.
    Any,
    /// All of them. As a receiver: one message to everyone. As a sender: each of them sends a stream of its own.
    Everyone,
}

/// A stream of messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// Who sends.
    pub from: Who,
    /// Who receives, drawn anew for each message where it may be several; never the sender itself.
    pub to: Who,
    /// Of what type.
    pub kind: MessageType,
    /// How urgent.
    pub priority: Priority,
    /// Bytes of each body, 0 to 65,536.
    pub bytes: u32,
    /// When no longer wanted.
    pub deadline: Duration,
    /// After the settling, the first may be sent.
    pub start: Duration,
    /// After the settling, none is sent any more; `None`: as long as traffic is offered.
    pub stop: Option<Duration>,
    /// How they follow each other.
    pub pattern: Pattern,
}

/// How messages follow each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// One after the other: the next one a pause after the answer, or after the deadline without. The receiver answers
    /// each with a body of the same length.
    Ping {
        /// How many.
        count: u32,
        /// From an answer to the next one.
        pause: Duration,
    },
    /// Evenly. Where everyone sends, each begins at a moment of its own within the first `every`.
    Periodic {
        /// From one to the next.
        every: Duration,
        /// Each up to this much later.
        jitter: Duration,
    },
    /// At random, independent of each other.
    Poisson {
        /// How many a second on average.
        rate: f64,
    },
    /// Several at once, evenly. Where everyone sends, all do at once.
    Burst {
        /// How many at once.
        size: u32,
        /// From one burst to the next.
        every: Duration,
    },
    /// Each as soon as the one before is settled.
    Bulk {
        /// How many.
        count: u32,
    },
}

/// Something that goes wrong at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// When, after the settling.
    pub at: Duration,
    /// What.
    pub what: FaultKind,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// Power is cut: what is in RAM is gone, what is on its way out too.
    Crash {
        /// Which node.
        node: u32,
        /// Off for this long.
        down: Duration,
        /// What the last write to its flash came to.
        flash: Flash,
    },
    /// These nodes neither hear the others nor are heard by them.
    Partition {
        /// One side.
        nodes: Vec<u32>,
        /// For how long.
        lasts: Duration,
    },
    /// A rule for what is on its way to hosts.
    Rule {
        /// What happens.
        verdict: Verdict,
        /// To which share of it, 0 to 1.
        share: f64,
        /// Only from this node.
        from: Option<u32>,
        /// Only to this node.
        to: Option<u32>,
        /// For how long.
        lasts: Duration,
    },
    /// A node's clock runs ahead at once.
    ClockJump {
        /// Which node.
        node: u32,
        /// By how much.
        by: Duration,
    },
    /// Someone without keys sends frames that look like ours.
    Forge {
        /// Where it stands: as this node.
        near: u32,
        /// How many a second.
        rate: f64,
        /// For how long.
        lasts: Duration,
    },
    /// Someone without keys sends again what it heard.
    Replay {
        /// Where it stands: as this node.
        near: u32,
        /// So much later.
        after: Duration,
        /// How many a second at most.
        rate: f64,
        /// For how long.
        lasts: Duration,
    },
    /// Someone with the network's key sends well-sealed nonsense: random kinds, addresses and bodies from an address of
    /// its own.
    Member {
        /// Where it stands: as this node.
        near: u32,
        /// How many a second.
        rate: f64,
        /// For how long.
        lasts: Duration,
    },
}

/// What a power cut does to the write under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flash {
    /// Nothing: it was done.
    Kept,
    /// It never happened.
    Lost,
    /// Half of it happened, and a checksum tells.
    Torn,
}

/// What a rule does to a reception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not received.
    Drop,
    /// It comes later.
    Delay(Duration),
    /// It comes twice.
    Duplicate,
    /// One bit of it is wrong.
    Corrupt,
}
