//! The tables of a scenario file: which keys there are, of which type and in which range.
//!
//! Owns the shape, for reading and for writing alike. What it means, and the rules between tables, are `resolve`'s
//! business. Where one of several kinds is meant, each has a key of its own and exactly one of them may be there.

use std::collections::BTreeMap;
use std::fmt;

use mesh_protocol::{MessageType, Priority};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;

use super::values::{DAY, MS, NodeRef, Real, S, Time, WhoRef, Whole};
use crate::scenario::{ControllerModel, Flash, LongPhy, MESSAGES_MAX, NODES_MAX};

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
/// TTL of the mesh: four bits, `docs/protocol.md`.
pub(super) type MeshTtl = Whole<1, { mesh_protocol::frame::TTL_MAX as i64 }>;
/// TTL of the others: Mesh Protocol, "TTL", has 7 bits.
pub(super) type Ttl = Whole<1, 127>;
/// Copies of a PDU: Mesh Protocol, "Network Transmit Count", has 3 bits, for one to eight.
pub(super) type Copies = Whole<1, 8>;
/// Between copies: Mesh Protocol, "Network Transmit Interval Steps", has 5 bits, for 10 to 320 ms.
pub(super) type CopyInterval = Time<{ 10 * MS }, { 320 * MS }>;
/// Core Specification, HCI, "LE Set Scan Parameters": 2.5 ms to 10.24 s.
pub(super) type Scan = Time<2_500, { 10_240 * MS }>;

/// For each destination the next hop. TOML's keys are text, so a node's number as a key is text too.
pub(super) type Routes = BTreeMap<Spanned<String>, Spanned<NodeRef>>;

/// Tables of these names and keys. Each is read from a table alone: what serde derives would take a list too, by the order
/// of its keys.
macro_rules! tables {
    ($($(#[$attribute:meta])* $name:ident { $($key:ident: $type:ty,)* })*) => {$(
        $(#[$attribute])*
        #[derive(Debug, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, remote = "Self")]
        pub(super) struct $name { $(pub(super) $key: $type,)* }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct OnlyTable;

                impl<'de> Visitor<'de> for OnlyTable {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a table of keys")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$name, A::Error> {
                        // The derived one: a function of the type's own goes before that of a trait.
                        $name::deserialize(MapAccessDeserializer::new(map))
                    }
                }

                deserializer.deserialize_map(OnlyTable)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, serializer)
            }
        }
    )*};
}

tables! {
    /// The whole file.
    FileTable {
        name: Option<Spanned<String>>,
        description: Option<String>,
        settle: Option<Any>,
        offered: Option<Span>,
        drain: Option<Any>,
        layout: Spanned<LayoutTable>,
        nodes: Option<Vec<NodeTable>>,
        links: Option<Spanned<LinksTable>>,
        radio: Option<RadioTable>,
        wlan: Option<WlanTable>,
        stacks: Option<StacksTable>,
        traffic: Vec<Spanned<TrafficTable>>,
        faults: Option<Vec<Spanned<FaultTable>>>,
    }

    #[derive(Default)]
    LayoutTable {
        line: Option<RowTable>,
        diagonal: Option<RowTable>,
        grid: Option<Spanned<GridTable>>,
        disc: Option<DiscTable>,
        office: Option<OfficeTable>,
        given: Option<Spanned<Vec<PlaceTable>>>,
    }

    RowTable {
        nodes: Nodes,
        spacing: Metres,
    }

    GridTable {
        columns: Nodes,
        rows: Nodes,
        spacing: Metres,
        scatter: Option<Metres>,
    }

    DiscTable {
        nodes: Nodes,
        radius: Metres,
        apart: Option<Metres>,
    }

    OfficeTable {
        nodes: Nodes,
        floors: Whole<1, 100>,
        width: Metres,
        depth: Metres,
        height: Option<Metres>,
    }

    PlaceTable {
        x: Coordinate,
        y: Coordinate,
        z: Option<Coordinate>,
        floor: Option<Whole<0, 99>>,
    }

    NodeTable {
        number: Spanned<i64>,
        name: Option<Spanned<String>>,
        gateway: Option<bool>,
        relay: Option<bool>,
        drops: Option<bool>,
        drift_ppm: Option<Real<-1_000, 1_000>>,
        tx_dbm: Option<Dbm>,
        extended: Option<bool>,
        phy: Option<LongPhy>,
        controller: Option<ControllerModel>,
        place: Option<PlaceTable>,
        routes: Option<Routes>,
    }

    #[derive(Default)]
    LinksTable {
        radius: Option<RadiusTable>,
        propagation: Option<PropagationTable>,
        given: Option<Vec<Spanned<LinkTable>>>,
    }

    RadiusTable {
        reach: Metres,
        attenuation: Attenuation,
        beyond: Attenuation,
        loss: Option<Share>,
    }

    PropagationTable {
        exponent: Option<Real<1, 6>>,
        floor_loss: Option<Decibels>,
        shadowing: Option<Decibels>,
        fading: Option<Decibels>,
        loss: Option<Share>,
    }

    LinkTable {
        a: Spanned<NodeRef>,
        b: Spanned<NodeRef>,
        attenuation: Attenuation,
        loss: Option<Share>,
    }

    #[derive(Default)]
    RadioTable {
        extended: Option<bool>,
        phy: Option<LongPhy>,
        controller: Option<ControllerModel>,
        tx_dbm: Option<Dbm>,
        sensitivity_dbm: Option<Dbm>,
        capture_db: Option<Decibels>,
        scan_interval: Option<Scan>,
        scan_window: Option<Spanned<Scan>>,
    }

    WlanTable {
        duty: Share,
        burst: Option<Time<1, { 10 * S }>>,
        dbm: Option<Dbm>,
    }

    #[derive(Default)]
    StacksTable {
        mesh_ttl: Option<MeshTtl>,
        flood_ttl: Option<Ttl>,
        sig: Option<SigTable>,
    }

    #[derive(Default)]
    SigTable {
        ttl: Option<Ttl>,
        transmit: Option<Copies>,
        transmit_interval: Option<CopyInterval>,
        retransmit: Option<Copies>,
        retransmit_interval: Option<CopyInterval>,
        relay_sets: Option<Whole<0, 16>>,
        host_delay: Option<Time<0, S>>,
    }

    TrafficTable {
        from: Spanned<WhoRef>,
        to: Spanned<WhoRef>,
        kind: Option<MessageType>,
        priority: Option<Priority>,
        bytes: Option<Whole<0, { mesh_protocol::BODY_MAX as i64 }>>,
        deadline: Option<Span>,
        start: Option<Spanned<Any>>,
        stop: Option<Spanned<Any>>,
        ping: Option<PingTable>,
        periodic: Option<PeriodicTable>,
        poisson: Option<PoissonTable>,
        burst: Option<BurstTable>,
        bulk: Option<BulkTable>,
    }

    PingTable {
        count: Messages,
        pause: Option<Any>,
    }

    PeriodicTable {
        every: Span,
        jitter: Option<Any>,
    }

    PoissonTable {
        rate: Rate,
    }

    BurstTable {
        size: Messages,
        every: Span,
    }

    BulkTable {
        count: Messages,
    }

    FaultTable {
        at: Spanned<Any>,
        crash: Option<CrashTable>,
        partition: Option<PartitionTable>,
        drop: Option<RuleTable>,
        delay: Option<DelayTable>,
        duplicate: Option<RuleTable>,
        corrupt: Option<RuleTable>,
        clock_jump: Option<ClockJumpTable>,
        forge: Option<IntruderTable>,
        replay: Option<ReplayTable>,
        member: Option<IntruderTable>,
    }

    CrashTable {
        node: Spanned<NodeRef>,
        down: Any,
        flash: Option<Flash>,
    }

    PartitionTable {
        nodes: Vec<Spanned<NodeRef>>,
        lasts: Any,
    }

    RuleTable {
        share: Option<Share>,
        from: Option<Spanned<NodeRef>>,
        to: Option<Spanned<NodeRef>>,
        lasts: Any,
    }

    DelayTable {
        by: Any,
        share: Option<Share>,
        from: Option<Spanned<NodeRef>>,
        to: Option<Spanned<NodeRef>>,
        lasts: Any,
    }

    ClockJumpTable {
        node: Spanned<NodeRef>,
        by: Any,
    }

    IntruderTable {
        near: Spanned<NodeRef>,
        rate: Rate,
        lasts: Any,
    }

    ReplayTable {
        near: Spanned<NodeRef>,
        after: Any,
        rate: Rate,
        lasts: Any,
    }
}
