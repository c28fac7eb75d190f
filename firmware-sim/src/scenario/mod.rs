//! A scenario: where nodes stand, who hears whom, which messages are sent when, and which faults happen.
//!
//! Owns its meaning as plain data, in SI units but for times, which are [`Duration`]s. How it is written down is
//! `file`'s business, where its nodes stand `place`'s, which messages it comes to `plan`'s, how it is played the run's.

mod defaults;
mod fault;
mod file;
mod place;
mod plan;
mod radio;
mod stacks;
mod traffic;

use std::collections::BTreeMap;

use mesh_protocol::Duration;

pub use fault::{FaultKind, Flash, RuleAction, ScheduledFault};
pub use file::ScenarioError;
pub use plan::{ClosedLoop, Planned};
pub use radio::{ControllerModel, GivenLink, LinkRule, LongPhy, RadioSettings, Wlan};
pub use stacks::{SigOptions, Stacks};
pub use traffic::{Pattern, Traffic, Who};

/// The most nodes a scenario may have: four times the largest that comes with the project. A guess.
pub const NODES_MAX: u32 = 4_000;
/// The most messages a scenario may ask for, all traffic together. A guess: far more than a mesh can carry in the
/// longest run, and few enough to plan in memory.
pub const MESSAGES_MAX: u64 = 1_000_000;

/// A scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name in reports.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Before the first message: nodes find their neighbours.
    pub settle: Duration,
    /// How long traffic is offered.
    pub offered: Duration,
    /// How long, at most, the run goes on afterwards, until every message is complete.
    pub drain: Duration,
    /// Where nodes stand.
    pub layout: Layout,
    /// Nodes that differ from the rest, by number.
    pub nodes: BTreeMap<u32, NodeOptions>,
    /// Who hears whom.
    pub links: LinkRule,
    /// Every node's radio.
    pub radio: RadioSettings,
    /// Interference from a wireless LAN, if there is one.
    pub wlan: Option<Wlan>,
    /// Settings of the stacks.
    pub stacks: Stacks,
    /// Which messages are sent, in order of the file.
    pub traffic: Vec<Traffic>,
    /// Its faults, in order of time.
    pub faults: Vec<ScheduledFault>,
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

    /// The radio of the node with this number: that of all, and what the node says otherwise.
    #[must_use]
    pub fn radio_of(&self, number: u32) -> RadioSettings {
        let mut radio = self.radio.clone();
        let Some(node) = self.nodes.get(&number) else { return radio };
        radio.tx_dbm = node.tx_dbm.unwrap_or(radio.tx_dbm);
        radio.phy = node.phy.unwrap_or(radio.phy);
        radio.controller = node.controller.unwrap_or(radio.controller);
        radio.extended = match node.extended {
            Some(extended) => extended,
            // It has no other advertising.
            None => radio.extended && radio.controller != ControllerModel::Pi4,
        };
        radio
    }

    /// Whether every node's radio takes long frames as every other one sends them.
    #[must_use]
    pub fn is_of_one_radio(&self) -> bool {
        let kind = |radio: &RadioSettings| (radio.extended, radio.phy);
        let usual = (self.nodes.len() < self.node_count() as usize).then(|| kind(&self.radio));
        let mut kinds = self.nodes.keys().map(|number| kind(&self.radio_of(*number))).chain(usual);
        let first = kinds.next();
        kinds.all(|other| Some(other) == first)
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
    /// Point `i` at (i, i) times a spacing: the chains of V1.
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
    /// At given positions.
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
    /// Whether it relays; nodes do by default.
    pub relay: Option<bool>,
    /// Whether it takes what it is to pass on, and drops it; only our own stack does.
    pub drops: bool,
    /// Its place, instead of the layout's.
    pub place: Option<Place>,
    /// How much its clock runs fast, in parts per million; negative is slow.
    pub drift_ppm: f64,
    /// Its transmit power in dBm, instead of the radio's.
    pub tx_dbm: Option<f64>,
    /// Whether it has extended advertising, instead of the radio's.
    pub extended: Option<bool>,
    /// How it sends long frames, instead of the radio's.
    pub phy: Option<LongPhy>,
    /// What drives its radio, instead of the radio's.
    pub controller: Option<ControllerModel>,
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
