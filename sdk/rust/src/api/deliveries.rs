//! How well messages get through: the answer to `health`.
//!
//! Owns the fields and their written forms. Every figure is of messages that ended and of hellos that were heard; what was not measured
//! is absent.

use std::collections::BTreeMap;

use mesh_protocol::Address;
use serde::{Deserialize, Serialize};

use super::destination::address_text;
use super::two_forms;

/// How well messages get through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Deliveries {
    /// The number the question had.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// The success rate from which a node counts as healthy.
    pub threshold: f32,
    /// To all nodes together.
    pub overall: Figures,
    /// To each node that a message went to or that is near, by address.
    pub peers: Vec<PeerDeliveries>,
    /// Messages that ended since the start, by type.
    pub by_type: BTreeMap<String, u64>,
    /// Messages that ended since the start, by priority.
    pub by_priority: BTreeMap<String, u64>,
    /// Messages that ended since the start, by what became of them.
    pub by_outcome: BTreeMap<String, u64>,
    /// What the air was used for.
    pub airtime: Airtime,
}
two_forms!(Deliveries { reference, threshold, overall, peers, by_type, by_priority, by_outcome, airtime });

/// What became of messages, lately: of the last [`Figures::WINDOW`] that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Figures {
    /// How many ended.
    pub settled: u64,
    /// The share of them that was delivered, or put on the air for many, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<f32>,
    /// From acceptance to *delivered*, the mean in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_latency_ms: Option<f32>,
    /// The same, of which half the messages stay below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_latency_ms: Option<f32>,
    /// The same, of which 99 of 100 stay below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_latency_ms: Option<f32>,
}
two_forms!(Figures { settled, success_rate, average_latency_ms, p50_latency_ms, p99_latency_ms });

impl Figures {
    /// Messages that the figures of one node, or of all together, are made of. A guess: enough for a 99th percentile, few enough to
    /// follow what changes.
    pub const WINDOW: usize = 256;
}

/// How well messages get through to one node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct PeerDeliveries {
    /// Its address.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub node: Address,
    /// What became of messages to it.
    #[serde(flatten)]
    pub figures: Figures,
    /// How long ago a frame of it was heard, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heard_ms: Option<u64>,
    /// The share of its hellos that arrive here, 0 to 1, if it is near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_in: Option<f32>,
    /// The share of our hellos that arrive there, 0 to 1, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_out: Option<f32>,
    /// How many hops away it is; 1 is a neighbour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<u8>,
    /// Whether its success rate reaches the threshold; without messages, whether it was heard lately.
    pub healthy: bool,
}
two_forms!(PeerDeliveries { node, figures, last_heard_ms, delivery_in, delivery_out, hops, healthy });

/// What the air was used for, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Airtime {
    /// Frames given to the radio.
    pub frames_sent: u64,
    /// What they take on the air, in microseconds, each on three advertising channels.
    pub sent_us: u64,
}
