//! The demo: two gateways, joined only by the simulated air, and programs that talk through them.
//!
//! Owns the plan of the run and its verdict. Who says what is in `traffic`, the table in `report`.

mod report;
mod traffic;

use std::time::Duration as Wall;

use anyhow::Context;
use gateway::agents::{Limits, Listen, TokenCheck};
use gateway::engine::{EngineConfig, Membership};
use gateway::{Gateway, Plan};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mesh_protocol::{Duration, Rng};

use crate::simulated::{AIR_ENDED, Seat, SimulatedAir, Simulation};
pub use report::{DemoReport, DemoSummary};
use traffic::{Ends, Traffic};

/// What to demonstrate.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Relays between the gateways, 1 to 1,000.
    pub nodes: u16,
    /// One run for each of these.
    pub seeds: Vec<u64>,
    /// Simulated seconds in a second; `None` is as fast as it goes.
    pub speed: Option<f64>,
    /// Advertising events lost on each link, in percent.
    pub loss_percent: f64,
    /// Rounds of every type at every priority, both ways.
    pub messages: u32,
    /// Print one JSON object instead of the table.
    pub json: bool,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { nodes: 50, seeds: vec![1], speed: Some(10.0), loss_percent: 10.0, messages: 3, json: false }
    }
}

/// Runs the demo and says what happened, line by line; whether every accepted message was delivered exactly once or truthfully
/// reported.
///
/// # Errors
/// Whatever keeps a gateway from running, or a line from being said.
pub fn run(options: &DemoOptions, mut line: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<bool> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the demo")?;
    let mut reports = Vec::new();
    for &seed in &options.seeds {
        if !options.json {
            line(&format!(
                "Two gateways, {} relays between them, {} % of the advertising events lost on every link (seed {seed}).",
                options.nodes, options.loss_percent
            ))?;
        }
        let report = runtime.block_on(one(options, seed))?;
        if !options.json {
            line(report.to_string().trim_end())?;
        }
        reports.push(report);
    }
    // What is left of tasks only waits for time that goes on no more.
    runtime.shutdown_timeout(Wall::from_secs(1));
    let good = reports.iter().all(DemoReport::is_good);
    match <[DemoReport; 1]>::try_from(reports) {
        Ok([report]) if options.json => line(&serde_json::to_string(&report)?)?,
        Ok(_) => {}
        Err(reports) => {
            let summary = DemoSummary::of(reports);
            if options.json {
                line(&serde_json::to_string(&summary)?)?;
            } else {
                line(summary.to_string().trim_end())?;
            }
        }
    }
    Ok(good)
}

async fn one(options: &DemoOptions, seed: u64) -> anyhow::Result<DemoReport> {
    let folder = tempfile::tempdir().context("making a folder for the gateways' messages")?;
    let mut key = [0; 16];
    getrandom::fill(&mut key).context("making a key: the system gives no random numbers")?;
    let simulation = Simulation {
        nodes: options.nodes,
        seed,
        speed: options.speed,
        loss_percent: options.loss_percent,
        key,
        island: 1,
        run: 0,
    };
    let (air, seats) = SimulatedAir::start::<2>(&simulation);
    let mut gateways = Vec::new();
    let mut clocks = Vec::new();
    for (n, seat) in seats.into_iter().enumerate() {
        let dir = folder.path().join(n.to_string());
        std::fs::create_dir(&dir).context("making a folder for the gateways' messages")?;
        clocks.push(seat.clock.clone());
        gateways.push(gateway(&air, seat, n as u16, seed, &dir).await?);
    }
    let bar = progress(options);
    let ends = Ends::attach(&gateways, clocks).await?;
    let traffic = Traffic { nodes: options.nodes, rounds: options.messages, seed };
    let report = tokio::select! {
        report = traffic.run(&air, ends, &bar) => report?,
        () = air.ended() => anyhow::bail!(AIR_ENDED),
    };
    bar.finish_and_clear();
    for gateway in gateways {
        gateway.stop().await?;
    }
    Ok(report)
}

async fn gateway(
    air: &SimulatedAir,
    seat: Seat,
    n: u16,
    seed: u64,
    dir: &std::path::Path,
) -> anyhow::Result<Gateway> {
    let Seat { bearer, clock, .. } = seat;
    let plan = Plan {
        config: EngineConfig {
            name: ["west", "east"][usize::from(n % 2)].into(),
            address: air.network().gateway_address(n),
            adapter: "sim".into(),
            default_deadline: Duration::from_secs(60),
            max_agents: 100,
            max_credits: 1_024,
            inbox_messages: 10_000,
            inbox_bytes: 16 << 20,
            inbox_total_bytes: 128 << 20,
        },
        membership: Membership::new(air.network().key(), air.network().epoch(), true),
        ttl: 12,
        seed: Rng::stream(seed, "gateways").fork(n.into()).next_u64(),
        bearer,
        clock,
        data_dir: dir,
        listen: Listen {
            tcp: Some(([127, 0, 0, 1], 0).into()),
            unix: None,
            token: TokenCheck::open(),
            limits: Limits::default(),
        },
        peers: Vec::new(),
    };
    Ok(Gateway::start(plan).await?)
}

fn progress(options: &DemoOptions) -> ProgressBar {
    let target = if options.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} completed, {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), target).with_style(style)
}
