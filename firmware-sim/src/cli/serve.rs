//! `mesh-sim serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use firmware_sim::scenario::Scenario;
use firmware_sim::serve::{News, Options, Server};
use firmware_sim::virtual_controller::ControllerKind;
use serde_json::{Value, json};

use super::run::read;
use super::{CommandFailure, ExitOutcome, print};

#[derive(Args)]
#[command(after_help = "Examples:\n  mesh-sim serve scenarios/office.toml\n  \
                  mesh-sim serve scenarios/office.toml --hci 127.0.0.1:6500 --controller bt5-dongle --seed 3\n  \
                  mesh-sim serve scenarios/bulk.toml --hci 127.0.0.1:0 --speed 10 --json\n\nA host speaks H4 over TCP, one connection for \
                  each controller. The server runs until it is interrupted.\n\nExit codes: 1 it could not start, or it failed; 2 wrong usage.")]
pub(super) struct ServeArgs {
    /// A scenario file; hosts take the places of its gateways
    scenario: PathBuf,
    /// Address that hosts connect to; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6500")]
    hci: SocketAddr,
    /// Seed of everything random on the air, and of the network's key
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kind of controller: pi4 (5.0, legacy advertising only) or bt5-dongle (5.1, extended too)
    #[arg(long, default_value = "pi4", value_parser = kind)]
    controller: ControllerKind,
    /// Simulated seconds for each second
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

fn kind(text: &str) -> Result<ControllerKind, String> {
    let found = ControllerKind::ALL.into_iter().find(|kind| kind.name() == text);
    found.ok_or_else(|| format!("{text:?} is no controller: pi4 or bt5-dongle"))
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.001..=1e6).contains(&speed) => Ok(speed),
        _ => Err("a number from 0.001 to 1000000".into()),
    }
}

pub(super) fn run(args: &ServeArgs) -> ExitOutcome {
    let (scenario, _) = read(Some(&args.scenario))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandFailure::failed(format!("starting: {error}")))?;
    runtime.block_on(serve(args, &scenario))
}

async fn serve(args: &ServeArgs, scenario: &Scenario) -> ExitOutcome {
    let options =
        Options { listen: args.hci, seed: args.seed, controller: args.controller, speed: args.speed };
    let mut server =
        Server::bind(scenario, options).await.map_err(|error| CommandFailure::failed(error.to_string()))?;
    let hello = if args.json { hello_json(&server, args, scenario) } else { hello(&server, args, scenario) };
    print(&hello)?;
    while let Some(news) = server.next_news().await {
        print(&if args.json { news_json(&server, news) } else { in_words(&server, news) })?;
    }
    Err(CommandFailure::failed(
        "serving: the simulated air has stopped: a device panicked, which is a bug; please report what it said above",
    ))
}

/// The network's key, as settings and Wireshark take it.
fn key(server: &Server) -> String {
    server.network().key().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hello(server: &Server, args: &ServeArgs, scenario: &Scenario) -> String {
    let mut text = format!(
        "{}: {} controllers ({}) at {} over H4, {} other devices; key {}, epoch {}\n",
        scenario.name,
        server.places().len(),
        args.controller.name(),
        server.local_addr(),
        scenario.node_count() as usize - server.places().len(),
        key(server),
        server.network().epoch(),
    );
    for place in server.places() {
        let name = place.name.as_deref().unwrap_or("-");
        text += &format!("  node {} ({name}): mesh address {}\n", place.node, address(place.address));
    }
    if server.left_out() > 0 {
        text += &format!(
            "left out: {} messages and loops that gateways send or receive, or that many send\n",
            server.left_out()
        );
    }
    if !scenario.faults.is_empty() {
        text += &format!("left out: {} faults\n", scenario.faults.len());
    }
    text
}

fn hello_json(server: &Server, args: &ServeArgs, scenario: &Scenario) -> String {
    let places = server
        .places()
        .iter()
        .map(|place| json!({ "node": place.node, "name": place.name, "address": address(place.address) }));
    line(&json!({
        "ev": "serving",
        "scenario": scenario.name,
        "hci": server.local_addr().to_string(),
        "controller": args.controller.name(),
        "places": places.collect::<Vec<_>>(),
        "key": key(server),
        "epoch": server.network().epoch(),
        "left_out": { "traffic": server.left_out(), "faults": scenario.faults.len() },
    }))
}

fn in_words(server: &Server, news: News) -> String {
    match news {
        News::Came { node, peer } => format!("{peer} has the controller of node {node}\n"),
        News::Full { peer } => format!("{peer} was turned away: every controller has a host\n"),
        News::NotTaken => "a connection could not be taken; are there too many open files?\n".to_owned(),
        News::Gone { node, garbage } => {
            let why = if garbage { "sent something that is no packet" } else { "has gone" };
            let counted = counted(server, node);
            format!("the host of node {node} {why}; that controller since the start: {counted}\n")
        }
    }
}

fn news_json(server: &Server, news: News) -> String {
    line(&match news {
        News::Came { node, peer } => json!({ "ev": "came", "node": node, "peer": peer.to_string() }),
        News::Full { peer } => json!({ "ev": "turned-away", "peer": peer.to_string() }),
        News::NotTaken => json!({ "ev": "not-taken" }),
        News::Gone { node, garbage } => {
            json!({ "ev": "gone", "node": node, "garbage": garbage, "counters": counted(server, node) })
        }
    })
}

/// What the controller of a node has done.
fn counted(server: &Server, node: u32) -> Value {
    let counters = server.counters();
    let mut places = server.places().iter().zip(counters.places);
    places.find(|(place, _)| place.node == node).map_or(Value::Null, |(_, counted)| {
        json!({
            "adverts": counted.adverts,
            "commands": counted.controller.commands,
            "refused": counted.controller.refused,
            "reports": counted.controller.reports,
            "frames": counted.controller.frames,
            "duplicates": counted.controller.duplicates,
            "lost": counted.controller.lost,
        })
    })
}

fn address(address: mesh_protocol::Address) -> String {
    format!("{:#06x}", address.bits())
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}
