//! The tables of a scenario file: which keys there are, of which type and in which range.
//!
//! Owns the shape, for reading and for writing alike. What it means, and what no table can tell alone, is `resolve`'s
//! business. Where one of several kinds is meant, each has a key of its own and exactly one of them may be there.

use mesh_protocol::{MessageType, Priority};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::values::{DAY, MS, NodeRef, Real, S, Time, WhoRef, Whole};
use crate::scenario::{Flash, MESSAGES_MAX, NODES_MAX};

/// Any time.
pub(super) type Any = Time<0, DAY>;
/// A time that may not be zero.
pub(super) type Span = Time<MS, DAY>;
/// Metres between two things; the most is a guess.
pub(super) type Metres = Real<0, 100_000>;
/// A coordinate in metres; the most is a guess.
pub(super) type Coordinate = Real<-100_000, 100_000>;
/// A share of a whole.
pub(super) type Share = Real<0, 1>;
/// Attenuation in dB: at the most, nothing is heard whatever the radios. A guess.
pub(super) type Attenuation = Real<0, 300>;
/// dB of a loss or a deviation among others; the most is a guess.
pub(super) type Decibels = Real<0, 100>;
/// A power in dBm; wider than any radio.
pub(super) type Dbm = Real<-150, 50>;
/// Times a second: at the most, one in less than the shortest advertising event. A guess.
pub(super) type Rate = Real<0, 1_000>;
/// How many nodes.
pub(super) type Nodes = Whole<1, { NODES_MAX as i64 }>;
/// How many messages.
pub(super) type Messages = Whole<1, { MESSAGES_MAX as i64 }>;
/// TTL of the mesh: `mesh_protocol::frame::TTL_MAX` is the most.
pub(super) type MeshTtl = Whole<1, { mesh_protocol::frame::TTL_MAX as i64 }>;
/// TTL of the others: Mesh Protocol, "TTL", has 7 bits.
pub(super) type Ttl = Whole<1, 127>;
/// Copies of a PDU: Mesh Protocol, "Network Transmit Count", has 3 bits, for one to eight.
pub(super) type Copies = Whole<1, 8>;
/// Between copies: Mesh Protocol, "Network Transmit Interval Steps", has 5 bits, for 10 to 320 ms.
pub(super) type CopyInterval = Time<{ 10 * MS }, { 320 * MS }>;
/// Core Specification, HCI, "LE Set Extended Scan Parameters": from 2.5 ms; the most is that of most controllers.
pub(super) type Scan = Time<2_500, { 40_960 * MS }>;

/// The whole file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct FileTable {
    pub(super) name: Option<Spanned<String>>,
    pub(super) description: Option<String>,
    pub(super) settle: Option<Any>,
    pub(super) offered: Option<Span>,
    pub(super) drain: Option<Any>,
    pub(super) layout: Spanned<LayoutTable>,
    pub(super) nodes: Option<Vec<NodeTable>>,
    pub(super) links: Option<Spanned<LinksTable>>,
    pub(super) radio: Option<RadioTable>,
    pub(super) wlan: Option<WlanTable>,
    pub(super) stacks: Option<StacksTable>,
    pub(super) traffic: Vec<Spanned<TrafficTable>>,
    pub(super) faults: Option<Vec<Spanned<FaultTable>>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct LayoutTable {
    pub(super) line: Option<RowTable>,
    pub(super) diagonal: Option<RowTable>,
    pub(super) grid: Option<Spanned<GridTable>>,
    pub(super) disc: Option<DiscTable>,
    pub(super) office: Option<OfficeTable>,
    pub(super) given: Option<Spanned<Vec<PlaceTable>>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct RowTable {
    pub(super) nodes: Nodes,
    pub(super) spacing: Metres,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct GridTable {
    pub(super) columns: Nodes,
    pub(super) rows: Nodes,
    pub(super) spacing: Metres,
    pub(super) scatter: Option<Metres>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct DiscTable {
    pub(super) nodes: Nodes,
    pub(super) radius: Metres,
    pub(super) apart: Option<Metres>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct OfficeTable {
    pub(super) nodes: Nodes,
    pub(super) floors: Whole<1, 100>,
    pub(super) width: Metres,
    pub(super) depth: Metres,
    pub(super) height: Option<Metres>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct PlaceTable {
    pub(super) x: Coordinate,
    pub(super) y: Coordinate,
    pub(super) z: Option<Coordinate>,
    pub(super) floor: Option<Whole<0, 99>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct NodeTable {
    pub(super) number: Spanned<i64>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) gateway: Option<bool>,
    pub(super) relay: Option<bool>,
    pub(super) drift_ppm: Option<Real<-1_000, 1_000>>,
    pub(super) tx_dbm: Option<Dbm>,
    pub(super) place: Option<PlaceTable>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct LinksTable {
    pub(super) radius: Option<RadiusTable>,
    pub(super) propagation: Option<PropagationTable>,
    pub(super) given: Option<Vec<Spanned<LinkTable>>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct RadiusTable {
    pub(super) reach: Metres,
    pub(super) attenuation: Attenuation,
    pub(super) beyond: Attenuation,
    pub(super) loss: Option<Share>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct PropagationTable {
    pub(super) exponent: Option<Real<1, 6>>,
    pub(super) floor_loss: Option<Decibels>,
    pub(super) shadowing: Option<Decibels>,
    pub(super) fading: Option<Decibels>,
    pub(super) loss: Option<Share>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct LinkTable {
    pub(super) a: Spanned<NodeRef>,
    pub(super) b: Spanned<NodeRef>,
    pub(super) attenuation: Attenuation,
    pub(super) loss: Option<Share>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct RadioTable {
    pub(super) extended: Option<bool>,
    pub(super) tx_dbm: Option<Dbm>,
    pub(super) sensitivity_dbm: Option<Dbm>,
    pub(super) capture_db: Option<Decibels>,
    pub(super) scan_interval: Option<Scan>,
    pub(super) scan_window: Option<Spanned<Scan>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct WlanTable {
    pub(super) duty: Share,
    pub(super) burst: Option<Time<1, { 10 * S }>>,
    pub(super) dbm: Option<Dbm>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct StacksTable {
    pub(super) mesh_ttl: Option<MeshTtl>,
    pub(super) flood_ttl: Option<Ttl>,
    pub(super) sig: Option<SigTable>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct SigTable {
    pub(super) ttl: Option<Ttl>,
    pub(super) transmit: Option<Copies>,
    pub(super) transmit_interval: Option<CopyInterval>,
    pub(super) retransmit: Option<Copies>,
    pub(super) retransmit_interval: Option<CopyInterval>,
    pub(super) relay_sets: Option<Whole<0, 16>>,
    pub(super) host_delay: Option<Time<0, S>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct TrafficTable {
    pub(super) from: Spanned<WhoRef>,
    pub(super) to: Spanned<WhoRef>,
    pub(super) kind: Option<MessageType>,
    pub(super) priority: Option<Priority>,
    pub(super) bytes: Option<Whole<0, { mesh_protocol::BODY_MAX as i64 }>>,
    pub(super) deadline: Option<Span>,
    pub(super) start: Option<Spanned<Any>>,
    pub(super) stop: Option<Spanned<Any>>,
    pub(super) ping: Option<PingTable>,
    pub(super) periodic: Option<PeriodicTable>,
    pub(super) poisson: Option<PoissonTable>,
    pub(super) burst: Option<BurstTable>,
    pub(super) bulk: Option<BulkTable>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct PingTable {
    pub(super) count: Messages,
    pub(super) pause: Option<Any>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct PeriodicTable {
    pub(super) every: Span,
    pub(super) jitter: Option<Any>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct PoissonTable {
    pub(super) rate: Rate,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct BurstTable {
    pub(super) size: Messages,
    pub(super) every: Span,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct BulkTable {
    pub(super) count: Messages,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct FaultTable {
    pub(super) at: Spanned<Any>,
    pub(super) crash: Option<CrashTable>,
    pub(super) partition: Option<PartitionTable>,
    pub(super) drop: Option<RuleTable>,
    pub(super) delay: Option<DelayTable>,
    pub(super) duplicate: Option<RuleTable>,
    pub(super) corrupt: Option<RuleTable>,
    pub(super) clock_jump: Option<ClockJumpTable>,
    pub(super) forge: Option<IntruderTable>,
    pub(super) replay: Option<ReplayTable>,
    pub(super) member: Option<IntruderTable>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct CrashTable {
    pub(super) node: Spanned<NodeRef>,
    pub(super) down: Any,
    pub(super) flash: Option<Flash>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct PartitionTable {
    pub(super) nodes: Vec<Spanned<NodeRef>>,
    pub(super) lasts: Any,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct RuleTable {
    pub(super) share: Option<Share>,
    pub(super) from: Option<Spanned<NodeRef>>,
    pub(super) to: Option<Spanned<NodeRef>>,
    pub(super) lasts: Any,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct DelayTable {
    pub(super) by: Any,
    pub(super) share: Option<Share>,
    pub(super) from: Option<Spanned<NodeRef>>,
    pub(super) to: Option<Spanned<NodeRef>>,
    pub(super) lasts: Any,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct ClockJumpTable {
    pub(super) node: Spanned<NodeRef>,
    pub(super) by: Any,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct IntruderTable {
    pub(super) near: Spanned<NodeRef>,
    pub(super) rate: Rate,
    pub(super) lasts: Any,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table of keys")]
pub(super) struct ReplayTable {
    pub(super) near: Spanned<NodeRef>,
    pub(super) after: Any,
    pub(super) rate: Rate,
    pub(super) lasts: Any,
}
