//! Answers about the gateway itself: status, peers, routes, agents.
//!
//! Owns nothing: it reads the node and the state and puts it into the agents' words. What is not well is `problems`'.

use std::collections::BTreeMap;

use mesh_agent::api::{
    AgentEntry, Agents, Deliveries, Health, Peer, PeerDeliveries, Peers, Route, RouteOrigin, Routes, Status,
    StatusAgents, StatusNetwork, StatusRadio, StatusStore,
};
use mesh_protocol::{Duration, GatewayNode, Instant, frame::SEQ_MAX};

use super::air::Air;
use super::air_watch::{AirWatch, THERE};
use super::state::EngineState;
use crate::agents::Counters;
use crate::peering::Peering;

/// The success rate from which a node counts as healthy.
const THRESHOLD: f32 = 0.8;

/// What answers are read from.
pub(super) struct Sources<'a> {
    pub(super) state: &'a EngineState,
    pub(super) node: &'a GatewayNode,
    pub(super) air: &'a Air,
    pub(super) watch: &'a AirWatch,
    pub(super) peering: &'a Peering,
    pub(super) transport_counters: &'a Counters,
    /// When the engine began.
    pub(super) started: Instant,
}

impl Sources<'_> {
    /// What the gateway says of itself.
    pub(super) fn status(
        &self,
        adapter: &ble_bearer::Health,
        problems: Vec<String>,
        reference: Option<u64>,
    ) -> Status {
        let store = self.state.journal.stats();
        // As `agents` lists them.
        let local = self.state.registry.lasting();
        let connected = local.clone().filter(|agent| agent.is_connected()).count() as u64;
        let seq_used_percent = self.node.next_seq() as f32 * 100.0 / (SEQ_MAX + 1) as f32;
        Status {
            reference,
            gateway: self.state.config.name.clone(),
            node: self.state.config.address,
            adapter: self.state.config.adapter.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self.node.epoch(),
            uptime_ms: self.state.now.since(self.started).as_millis(),
            network: StatusNetwork { seq_used_percent },
            agents: StatusAgents {
                connected,
                local: local.count() as u64,
                remote: self.state.directory.named().count() as u64,
            },
            outbox: self.state.outgoing.usage().messages() as u64,
            inbox: self.state.registry.all().map(|agent| agent.inbox().depth() as u64).sum(),
            radio: StatusRadio {
                frames_sent: self.air.frames_sent(),
                frames_received: self.air.frames_received(),
                neighbours: self.node.neighbours_alive(self.state.now) as u64,
                state: adapter.state.word().to_owned(),
                about: adapter.what.clone(),
                trouble: adapter.trouble.clone(),
                confirmed: adapter.sent,
                lost: adapter.lost,
                repairs: adapter.repairs.iter().sum(),
            },
            counters: self.counters(adapter),
            store: StatusStore {
                healthy: self.state.journal.failure().is_none(),
                commits: store.commits,
                bytes: store.bytes_written,
            },
            health: Health { problems },
        }
    }

    /// All counters of the gateway's parts, by name.
    fn counters(&self, adapter: &ble_bearer::Health) -> BTreeMap<String, u64> {
        let stats = self.node.stats();
        let mut counters: BTreeMap<String, u64> =
            self.state.counts.events().iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        counters.extend(
            stats
                .discards()
                .filter(|(_, count)| *count > 0)
                .map(|(why, count)| (format!("discard_{}", why.name()), count)),
        );
        counters.extend(
            [
                ("frames_verified", stats.frames_verified),
                ("frames_relayed", stats.frames_relayed),
                ("frames_repeated", stats.repeats_sent),
                ("retransmissions", stats.retransmissions),
                ("blocks_received", stats.blocks_received),
                ("silences", stats.silences),
                ("frames_paced", stats.frames_paced),
                ("frames_overrun", adapter.overrun),
                ("messages_kept_now", self.state.kept.messages() as u64),
            ]
            .map(|(name, count)| (name.to_owned(), count)),
        );
        counters.insert("audit_dropped".to_owned(), self.state.audit.dropped());
        counters.insert("log_dropped".to_owned(), crate::log::dropped());
        counters.extend(self.transport_counters.snapshot().map(|(name, count)| (name.to_owned(), count)));
        counters
    }

    pub(super) fn peers(&self, reference: Option<u64>) -> Peers {
        let share = |delivery: u8| f32::from(delivery) / 255.0;
        let mut peers: Vec<Peer> = self
            .node
            .neighbours()
            .map(|neighbour| Peer {
                node: neighbour.address,
                rssi: neighbour.rssi,
                last_heard_ms: self.state.now.since(neighbour.last_heard).as_millis(),
                delivery_in: neighbour.delivery_in.map(share),
                delivery_out: neighbour.delivery_out.map(share),
                // Whoever was near once and is silent may be anywhere.
                hops: (self.state.now.since(neighbour.last_heard) <= THERE).then_some(1),
            })
            .collect();
        peers.sort_by_key(|peer| peer.node);
        let fingerprint = self.peering.fingerprint().map(|own| own.to_string());
        Peers { reference, peers, links: self.peering.links(), fingerprint }
    }

    /// How well messages get through: to whom they went, and to whom they could go without a relay.
    pub(super) fn deliveries(&self, reference: Option<u64>) -> Deliveries {
        let share = |delivery: u8| f32::from(delivery) / 255.0;
        let mut figures = self.state.counts.nodes();
        for neighbour in self.node.neighbours() {
            figures.entry(neighbour.address).or_default();
        }
        let peers = figures.into_iter().map(|(address, figures)| {
            let near = self.node.neighbours().find(|neighbour| neighbour.address == address);
            let path = self.node.paths().find(|path| path.destination == address);
            let heard =
                near.map(|near| near.last_heard).into_iter().chain(path.map(|path| path.last_heard)).max();
            let silent = heard.map(|heard| self.state.now.since(heard));
            let there = silent.is_some_and(|silent| silent <= THERE);
            PeerDeliveries {
                node: address,
                figures,
                last_heard_ms: silent.map(Duration::as_millis),
                delivery_in: near.and_then(|near| near.delivery_in).map(share),
                delivery_out: near.and_then(|near| near.delivery_out).map(share),
                hops: match near {
                    Some(near) if self.state.now.since(near.last_heard) <= THERE => Some(1),
                    _ => path.map(|path| path.hops),
                },
                healthy: figures.success_rate.map_or(there, |rate| rate >= THRESHOLD),
            }
        });
        let counts = |counts: &BTreeMap<&'static str, u64>| {
            counts.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
        };
        Deliveries {
            reference,
            threshold: THRESHOLD,
            overall: self.state.counts.overall(),
            peers: peers.collect(),
            by_type: counts(self.state.counts.by_type()),
            by_priority: counts(self.state.counts.by_priority()),
            by_outcome: counts(self.state.counts.by_outcome()),
            airtime: self.air.airtime(),
        }
    }

    /// The routes to other nodes: those of the table, and for other nodes that are known the flood that reaches them.
    pub(super) fn routes(&self, reference: Option<u64>) -> Routes {
        let age = |since| self.state.now.since(since).as_millis();
        let path_to = |destination| self.node.paths().find(|path| path.destination == destination);
        let given = self.node.routes(self.state.now).map(|route| Route {
            destination: route.destination,
            next_hop: Some(route.next_hop),
            cost: route.cost.into(),
            origin: match route.origin {
                mesh_protocol::RouteOrigin::Operator => RouteOrigin::Operator,
                mesh_protocol::RouteOrigin::Learned => RouteOrigin::Learned,
            },
            round_trip_ms: path_to(route.destination)
                .and_then(|path| path.round_trip)
                .map(Duration::as_millis),
            age_ms: age(route.since),
            second_hop: route.second,
            broken: route.broken,
        });
        let flooded = self.node.paths().filter(|path| {
            self.node.routes(self.state.now).all(|route| route.destination != path.destination)
        });
        let flooded = flooded.map(|path| Route {
            destination: path.destination,
            next_hop: None,
            cost: u32::from(path.hops),
            origin: RouteOrigin::Learned,
            round_trip_ms: path.round_trip.map(Duration::as_millis),
            age_ms: age(path.last_heard),
            second_hop: None,
            broken: false,
        });
        let mut routes: Vec<Route> = given.chain(flooded).collect();
        routes.sort_by_key(|route| route.destination);
        Routes { reference, routes }
    }

    pub(super) fn agents(&self, reference: Option<u64>) -> Agents {
        let local = self.state.registry.lasting().map(|agent| AgentEntry {
            name: agent.name(),
            node: self.state.config.address,
            local: true,
            connected: Some(agent.is_connected()),
            last_heard_ms: None,
        });
        // A session that ends elsewhere is not announced: all that is known is when the agent was heard of.
        let remote = self.state.directory.named().map(|(name, node, heard)| AgentEntry {
            name,
            node,
            local: false,
            connected: None,
            last_heard_ms: Some(self.state.now.since(heard).as_millis()),
        });
        let mut agents: Vec<AgentEntry> = local.chain(remote).collect();
        agents.sort_by_key(|agent| (agent.name, agent.node));
        Agents { reference, agents }
    }
}
