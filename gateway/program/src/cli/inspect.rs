//! `mesh-gateway status`, `health`, `peers`, `routes`, `agents`: what a running gateway says of itself, and what can be changed of it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use mesh_agent::Handle;
use mesh_agent::api::{
    AgentEntry, Airtime, Figures, LinkState, Peer, PeerDeliveries, PeerLink, Route, RouteOrigin, Status,
};

use super::args::{
    AgentsArgs, AgentsCommand, GatewayArgs, PeersArgs, PeersCommand, RoutesArgs, RoutesCommand,
};
use super::connect::{Gateway, leave};
use super::fault::{Code, Failure};
use super::output::{Output, pairs, table, tame, tame_lines, without_ref};

/// A session to ask in.
async fn connect(args: GatewayArgs, out: Output) -> anyhow::Result<Handle> {
    let client = Gateway::new(args, out)?.connect(None).await?;
    Ok(client.handle().clone())
}

pub(super) async fn status(args: GatewayArgs, out: Output) -> anyhow::Result<()> {
    const ATTEMPT: &str = "asking for the status";
    let handle = connect(args, out).await.context(ATTEMPT)?;
    let status = handle.status().await.context(ATTEMPT)?;
    leave(&handle).await;
    out.result(&without_ref(&status)?, || tame_lines(&show_status(&status)))?;
    if !status.health.problems.is_empty() {
        let text = format!("the gateway is not well: {}", status.health.problems.join("; "));
        return Err(Failure(Code::Unwell, text).into());
    }
    Ok(())
}

pub(super) async fn health(args: GatewayArgs, out: Output) -> anyhow::Result<()> {
    const ATTEMPT: &str = "asking for the health";
    let handle = connect(args, out).await.context(ATTEMPT)?;
    let health = handle.health().await.context(ATTEMPT)?;
    leave(&handle).await;
    let heading = ["NODE", "ENDED", "WELL", "AVERAGE", "P50", "P99", "HEARD", "IN", "OUT", "HOPS", "HEALTHY"];
    out.result(&without_ref(&health)?, || {
        let mut rows = vec![figures_row("(all)".to_owned(), &health.overall, None)];
        rows.extend(
            health.peers.iter().map(|peer| figures_row(peer.node.to_string(), &peer.figures, Some(peer))),
        );
        let counts = |counts: &BTreeMap<String, u64>| {
            let counts: Vec<_> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
            if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
        };
        let Airtime { frames_sent, sent_us } = health.airtime;
        let totals = pairs(&[
            ("outcomes", counts(&health.by_outcome)),
            ("types", counts(&health.by_type)),
            ("priorities", counts(&health.by_priority)),
            ("air", format!("{frames_sent} frames sent, {} of the air", seconds(sent_us / 1_000))),
        ]);
        format!("{}\n\n{totals}", table(heading, &rows))
    })
}

pub(super) async fn peers(args: PeersArgs, out: Output) -> anyhow::Result<()> {
    match args.command {
        Some(PeersCommand::Add { name, address, fingerprint, gateway_fingerprint, place }) => {
            let gateway = GatewayArgs { place, fingerprint: gateway_fingerprint };
            const ATTEMPT: &str = "adding a gateway";
            let handle = connect(gateway, out).await.context(ATTEMPT)?;
            handle.add_link(name, address, fingerprint).await.context(ATTEMPT)?;
            leave(&handle).await;
            return done(
                out,
                format!(
                    "{name} is called from now on and after every restart; `mesh-gateway peers` shows whether it answers"
                ),
            );
        }
        Some(PeersCommand::Remove { name, gateway }) => {
            const ATTEMPT: &str = "removing a gateway";
            let handle = connect(gateway, out).await.context(ATTEMPT)?;
            handle.remove_link(name).await.context(ATTEMPT)?;
            leave(&handle).await;
            return done(out, format!("{name} is not connected any more"));
        }
        None => {}
    }
    const ATTEMPT: &str = "asking for the peers";
    let handle = connect(args.gateway, out).await.context(ATTEMPT)?;
    let peers = handle.peers().await.context(ATTEMPT)?;
    leave(&handle).await;
    let heading = ["NODE", "RSSI", "HEARD", "IN", "OUT", "HOPS"];
    out.result(&without_ref(&peers)?, || {
        let near = table(heading, &peers.peers.iter().map(peer_row).collect::<Vec<_>>());
        let own = peers.fingerprint.as_ref().map(|own| format!("\n\ncertificate of this gateway: {own}"));
        let near = near + &own.unwrap_or_default();
        if peers.links.is_empty() {
            return near;
        }
        let heading = ["GATEWAY", "ADDRESS", "STATE", "FOR", "HEARD", "NODE", "WHY", "CERTIFICATE"];
        let links = table(heading, &peers.links.iter().map(link_row).collect::<Vec<_>>());
        format!("{near}\n\n{links}")
    })
}

pub(super) async fn routes(args: RoutesArgs, out: Output) -> anyhow::Result<()> {
    match args.command {
        Some(RoutesCommand::Add { destination, via, cost, gateway }) => {
            const ATTEMPT: &str = "adding a route";
            let handle = connect(gateway, out).await.context(ATTEMPT)?;
            handle.add_route(destination, via, cost).await.context(ATTEMPT)?;
            leave(&handle).await;
            return done(out, format!("to {destination} by way of {via} from now on"));
        }
        Some(RoutesCommand::Remove { destination, gateway }) => {
            const ATTEMPT: &str = "removing a route";
            let handle = connect(gateway, out).await.context(ATTEMPT)?;
            handle.remove_route(destination).await.context(ATTEMPT)?;
            leave(&handle).await;
            return done(out, format!("to {destination} by any way from now on"));
        }
        None => {}
    }
    const ATTEMPT: &str = "asking for the routes";
    let handle = connect(args.gateway, out).await.context(ATTEMPT)?;
    let routes = handle.routes().await.context(ATTEMPT)?;
    leave(&handle).await;
    let heading = ["TO", "NEXT HOP", "SECOND", "COST", "MADE BY", "ROUND TRIP", "AGE"];
    out.result(&without_ref(&routes)?, || {
        table(heading, &routes.routes.iter().map(route_row).collect::<Vec<_>>())
    })
}

pub(super) async fn agents(args: AgentsArgs, out: Output) -> anyhow::Result<()> {
    if let Some(AgentsCommand::Forget { name, gateway }) = args.command {
        const ATTEMPT: &str = "forgetting an agent";
        let handle = connect(gateway, out).await.context(ATTEMPT)?;
        handle.forget_agent(name).await.context(ATTEMPT)?;
        leave(&handle).await;
        return done(out, format!("{name} is forgotten, with what waited for it"));
    }
    const ATTEMPT: &str = "asking for the agents";
    let handle = connect(args.gateway, out).await.context(ATTEMPT)?;
    let agents = handle.agents().await.context(ATTEMPT)?;
    leave(&handle).await;
    let heading = ["AGENT", "NODE", "WHERE", "CONNECTED", "HEARD"];
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

/// Something was changed.
fn done(out: Output, text: String) -> anyhow::Result<()> {
    out.result(&serde_json::json!({ "done": true }), || text)
}

fn figures_row(node: String, figures: &Figures, peer: Option<&PeerDeliveries>) -> [String; 11] {
    let percent = |share: Option<f32>| or_dash(share.map(|share| format!("{:.0} %", share * 100.0)));
    let ms = |ms: Option<f32>| or_dash(ms.map(|ms| format!("{ms:.0} ms")));
    [
        node,
        figures.settled.to_string(),
        percent(figures.success_rate),
        ms(figures.average_latency_ms),
        ms(figures.p50_latency_ms),
        ms(figures.p99_latency_ms),
        or_dash(peer.and_then(|peer| peer.last_heard_ms).map(ago)),
        percent(peer.and_then(|peer| peer.delivery_in)),
        percent(peer.and_then(|peer| peer.delivery_out)),
        or_dash(peer.and_then(|peer| peer.hops)),
        or_dash(peer.map(|peer| if peer.healthy { "yes" } else { "no" })),
    ]
}

fn link_row(link: &PeerLink) -> [String; 8] {
    [
        link.name.to_string(),
        tame(&link.address),
        match link.state {
            LinkState::Connecting => "connecting",
            LinkState::Up => "up",
            LinkState::Away => "away",
        }
        .to_owned(),
        seconds(link.since_ms),
        or_dash(link.last_heard_ms.map(ago)),
        or_dash(link.node),
        or_dash(link.why.as_deref().map(tame)),
        or_dash(link.fingerprint.clone()),
    ]
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

fn route_row(route: &Route) -> [String; 7] {
    let learned = route.origin == RouteOrigin::Learned && route.next_hop.is_some();
    let next = route.next_hop.map_or_else(|| "(flooded)".to_owned(), |node| node.to_string());

    [
        route.destination.to_string(),
        if route.broken { format!("{next} (failed)") } else { next },
        or_dash(route.second_hop),
        // Transmissions, where the mesh has measured them.
        if learned { format!("{:.1}", route.cost as f32 / 8.0) } else { route.cost.to_string() },
        match route.origin {
            RouteOrigin::Operator => "operator",
            RouteOrigin::Learned => "learned",
        }
        .to_owned(),
        or_dash(route.round_trip_ms.map(|ms| format!("{ms} ms"))),
        ago(route.age_ms),
    ]
}

fn agent_row(agent: &AgentEntry) -> [String; 5] {
    [
        agent.name.to_string(),
        agent.node.to_string(),
        if agent.local { "here" } else { "elsewhere" }.to_owned(),
        or_dash(agent.connected.map(|connected| if connected { "yes" } else { "no" })),
        or_dash(agent.last_heard_ms.map(ago)),
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
