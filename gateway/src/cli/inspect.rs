//! `mesh-gateway status`, `peers`, `routes`, `agents`: what a running gateway says of itself.

use std::time::Duration;

use anyhow::{Context, bail};
use mesh_agent::Handle;
use mesh_agent::api::{AgentEntry, Peer, Route, RouteOrigin, Status};

use super::args::GatewayArgs;
use super::connect::{Gateway, leave, passing_name};
use super::output::{Output, pairs, table, without_ref};

/// A session to ask in.
async fn connect(args: GatewayArgs) -> anyhow::Result<Handle> {
    let client = Gateway::new(args)?.connect(passing_name()?).await?;
    Ok(client.handle().clone())
}

pub(super) async fn status(args: GatewayArgs, out: Output) -> anyhow::Result<()> {
    const ATTEMPT: &str = "asking for the status";
    let handle = connect(args).await.context(ATTEMPT)?;
    let status = handle.status().await.context(ATTEMPT)?;
    leave(&handle).await;
    out.result(&without_ref(&status)?, || show_status(&status))?;
    if !status.health.problems.is_empty() {
        bail!("the gateway is not well: {}", status.health.problems.join("; "));
    }
    Ok(())
}

pub(super) async fn peers(args: GatewayArgs, out: Output) -> anyhow::Result<()> {
    const ATTEMPT: &str = "asking for the peers";
    let handle = connect(args).await.context(ATTEMPT)?;
    let peers = handle.peers().await.context(ATTEMPT)?;
    leave(&handle).await;
    let heading = ["NODE", "RSSI", "HEARD", "IN", "OUT", "HOPS"];
    out.result(&without_ref(&peers)?, || {
        table(heading, &peers.peers.iter().map(peer_row).collect::<Vec<_>>())
    })
}

pub(super) async fn routes(args: GatewayArgs, out: Output) -> anyhow::Result<()> {
    const ATTEMPT: &str = "asking for the routes";
    let handle = connect(args).await.context(ATTEMPT)?;
    let routes = handle.routes().await.context(ATTEMPT)?;
    leave(&handle).await;
    let heading = ["TO", "NEXT HOP", "COST", "MADE BY", "ROUND TRIP", "AGE"];
    out.result(&without_ref(&routes)?, || {
        table(heading, &routes.routes.iter().map(route_row).collect::<Vec<_>>())
    })
}

pub(super) async fn agents(args: GatewayArgs, out: Output) -> anyhow::Result<()> {
    const ATTEMPT: &str = "asking for the agents";
    let handle = connect(args).await.context(ATTEMPT)?;
    let agents = handle.agents().await.context(ATTEMPT)?;
    leave(&handle).await;
    let heading = ["AGENT", "NODE", "WHERE", "CONNECTED"];
    out.result(&without_ref(&agents)?, || {
        table(heading, &agents.agents.iter().map(agent_row).collect::<Vec<_>>())
    })
}

fn show_status(status: &Status) -> String {
    let health = match status.health.problems.as_slice() {
        [] => "ok".to_owned(),
        problems => problems.join("; "),
    };
    let agents = &status.agents;
    let radio = &status.radio;
    let mut text = pairs(&[
        ("health", health),
        ("gateway", format!("{} at {}, version {}", status.gateway, status.node, status.version)),
        ("adapter", status.adapter.clone()),
        ("up", seconds(status.uptime_ms)),
        ("key", format!("epoch {}, {:.1} % of its SEQs used", status.epoch, status.network.seq_used_percent)),
        (
            "agents",
            format!(
                "{} here, {} of them connected; {} elsewhere",
                agents.local, agents.connected, agents.remote
            ),
        ),
        ("messages", format!("{} on their way, {} events wait for agents", status.outbox, status.inbox)),
        (
            "radio",
            format!(
                "{}, {} frames sent, {} received, {} neighbours",
                radio.state, radio.frames_sent, radio.frames_received, radio.neighbours
            ),
        ),
        (
            "store",
            format!(
                "{}, {} commits, {} bytes written",
                if status.store.healthy { "well" } else { "failed" },
                status.store.commits,
                status.store.bytes
            ),
        ),
    ]);
    let counters: Vec<(&str, String)> =
        status.counters.iter().map(|(name, count)| (name.as_str(), count.to_string())).collect();
    if !counters.is_empty() {
        text.push_str("\n\n");
        text.push_str(&pairs(&counters));
    }
    text
}

fn peer_row(peer: &Peer) -> [String; 6] {
    let share = |share: Option<f32>| share.map(|share| format!("{:.0} %", share * 100.0));
    [
        peer.node.to_string(),
        or_dash(peer.rssi.map(|rssi| format!("{rssi} dBm"))),
        ago(peer.last_heard_ms),
        or_dash(share(peer.delivery_in)),
        or_dash(share(peer.delivery_out)),
        or_dash(peer.hops),
    ]
}

fn route_row(route: &Route) -> [String; 6] {
    [
        route.destination.to_string(),
        route.next_hop.map_or_else(|| "(flooded)".to_owned(), |node| node.to_string()),
        route.cost.to_string(),
        match route.origin {
            RouteOrigin::Operator => "operator",
            RouteOrigin::Learned => "learned",
        }
        .to_owned(),
        or_dash(route.round_trip_ms.map(|ms| format!("{ms} ms"))),
        ago(route.age_ms),
    ]
}

fn agent_row(agent: &AgentEntry) -> [String; 4] {
    [
        agent.name.to_string(),
        agent.node.to_string(),
        if agent.local { "here" } else { "elsewhere" }.to_owned(),
        if agent.connected { "yes" } else { "no" }.to_owned(),
    ]
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn ago(ms: u64) -> String {
    format!("{} ago", seconds(ms))
}

/// A time in seconds, to the tenth below a minute.
fn seconds(ms: u64) -> String {
    let time = Duration::from_millis(ms);
    if ms < 60_000 { format!("{:.1} s", time.as_secs_f64()) } else { format!("{} s", time.as_secs()) }
}
