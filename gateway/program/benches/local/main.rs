//! How fast one gateway takes messages from one agent to another, beside a bare echo over the same kind of connection.
//!
//! Owns the rounds, the table and the JSON line. Everything runs in one process on one tokio runtime, sends messages of
//! the same size with the same number in flight, and takes turns, so that what else the machine does falls on all alike.
//! What is compared are therefore the ratios. Run it with `cargo bench -p mesh-gateway --bench local`.

mod agents;
mod echo;
mod frames;

use std::time::Duration;

use agents::{Clients, Durability, Pair};
use echo::{Echo, Writes};

#[path = "../../../tests/common/mod.rs"]
mod common;

/// Messages on their way at a time.
const IN_FLIGHT: usize = 256;
/// Bytes in the body of a message.
const BODY: usize = 32;
/// How often every contestant has its turn.
const ROUNDS: usize = 20;
/// How long a turn is counted.
const TURN: Duration = Duration::from_millis(250);

/// What a turn gave.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    messages: u64,
    per_second: f64,
    /// Microseconds of processor time that both ends took together, for each message.
    cpu: f64,
    /// Bytes that the process wrote to the disk, for each message.
    disk: f64,
    /// Bytes that the store wrote to its file, for each message.
    stored: f64,
    /// Messages in each of the store's commits.
    grouped: f64,
}

fn main() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    // Cargo adds `--bench`; anything else names those who are to run.
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    // A task like all others: the thread that blocks is none of the runtime's, and waking it costs more.
    let results = runtime.block_on(async { tokio::spawn(run(only)).await.expect("every turn ends") });
    print(&results, threads);
}

/// Who takes turns; the echoes first.
const CONTESTANTS: [&str; 10] = [
    "echo, a write each",
    "echo, bytes as they come",
    "echo, writes batched",
    "gateway, not durable",
    "gateway, synced",
    "client library, not durable",
    "client library, synced",
    "staying agent, not durable",
    "staying agent, synced",
    "gateway, synced, one by one",
];

/// Lets the contestants whose names contain `only` take turns.
async fn run(only: String) -> Vec<(&'static str, Vec<Turn>)> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on the disk");
    let (end, _nobody) = common::cable();
    let gateway = common::gateway(1, end, dir.path()).await;
    let address = gateway.tcp_address().expect("a TCP door");
    let mut each = Echo::start(Writes::Each).await;
    let mut copied = Echo::start(Writes::Copied).await;
    let mut batched = Echo::start(Writes::Batched).await;
    let mut pair = Pair::attach(address).await;
    let mut clients = Clients::attach(&gateway).await;
    let mut staying = Clients::stay(&gateway).await;
    let mut results: Vec<_> = CONTESTANTS.map(|name| (name, Vec::new())).into();
    results.retain(|(name, _)| name.contains(&only));
    // The first round warms up and is not counted.
    for round in 0..=ROUNDS {
        for (name, turns) in &mut results {
            let before = cpu_time();
            let mut turn = match *name {
                "echo, a write each" => each.turn(TURN, IN_FLIGHT).await,
                "echo, bytes as they come" => copied.turn(TURN, IN_FLIGHT).await,
                "echo, writes batched" => batched.turn(TURN, IN_FLIGHT).await,
                "gateway, not durable" => pair.turn(TURN, IN_FLIGHT, Durability::Off).await,
                "gateway, synced" => pair.turn(TURN, IN_FLIGHT, Durability::Synced).await,
                "client library, not durable" => clients.turn(TURN, IN_FLIGHT, Durability::Off).await,
                "client library, synced" => clients.turn(TURN, IN_FLIGHT, Durability::Synced).await,
                "staying agent, not durable" => staying.turn(TURN, IN_FLIGHT, Durability::Off).await,
                "staying agent, synced" => staying.turn(TURN, IN_FLIGHT, Durability::Synced).await,
                _ => pair.turn(TURN, 1, Durability::Synced).await,
            };
            turn.cpu = cpu_time().saturating_sub(before) as f64 / 1e3 / turn.messages.max(1) as f64;
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    drop((pair, clients, staying));
    gateway.stop().await.expect("a gateway that stops in order");
    results
}

fn median(turns: &[Turn], of: impl Fn(&Turn) -> f64) -> f64 {
    let mut values: Vec<f64> = turns.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds of processor time that this process has had; 0 where the system does not say.
fn cpu_time() -> u64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };
    let time = |thread: std::fs::DirEntry| {
        let schedstat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.flatten().filter_map(time).sum()
}

/// The median of the ratios within each round, which see the same machine. Not a number without that other one.
fn ratio(turns: &[Turn], results: &[(&str, Vec<Turn>)], other: &str) -> f64 {
    let Some((_, other)) = results.iter().find(|(name, _)| *name == other) else {
        return f64::NAN;
    };
    let ratios: Vec<Turn> = turns
        .iter()
        .zip(other)
        .map(|(a, b)| Turn { per_second: a.per_second / b.per_second, ..*a })
        .collect();
    median(&ratios, |turn| turn.per_second)
}

fn print(results: &[(&'static str, Vec<Turn>)], threads: usize) {
    let size = frames::sent(BODY).len();
    println!(
        "{IN_FLIGHT} in flight, {BODY}-byte bodies in frames of {size} bytes, {threads} threads, {ROUNDS} rounds"
    );
    println!(
        "{:<28}{:>11}{:>8}{:>8}{:>8}{:>8}{:>9}{:>9}{:>9}{:>10}",
        "median",
        "messages/s",
        "/ each",
        "/ bytes",
        "/ batch",
        "/ raw",
        "CPU us",
        "disk B",
        "store B",
        "per sync"
    );
    let mut rows = Vec::new();
    for (name, turns) in results {
        let per_second = median(turns, |turn| turn.per_second);
        let [each, copied, batched] =
            [CONTESTANTS[0], CONTESTANTS[1], CONTESTANTS[2]].map(|echo| ratio(turns, results, echo));
        // The codec alone over the same kind of socket, with the same promise.
        let promise = name.rsplit_once(", ").map_or("", |(_, promise)| promise);
        let raw = ratio(turns, results, &format!("gateway, {promise}"));
        let cpu = median(turns, |turn| turn.cpu);
        let [disk, stored, grouped] =
            [|turn: &Turn| turn.disk, |turn: &Turn| turn.stored, |turn: &Turn| turn.grouped]
                .map(|of| median(turns, of));
        println!(
            "{name:<28}{per_second:>11.0}{each:>8.2}{copied:>8.2}{batched:>8.3}{raw:>8.2}{cpu:>9.2}{disk:>9.1}{stored:>9.1}{grouped:>10.0}"
        );
        rows.push(serde_json::json!({
            "name": name,
            "messages_per_s": per_second.round(),
            "of_echo_each": each,
            "of_echo_bytes": copied,
            "of_echo_batched": batched,
            "of_raw_codec": raw,
            "cpu_us_per_message": cpu,
            "disk_bytes_per_message": disk,
            "store_bytes_per_message": stored,
            "messages_per_sync": grouped,
            "rounds": turns.iter().map(|turn| turn.per_second.round()).collect::<Vec<_>>(),
        }));
    }
    println!(
        "{}",
        serde_json::json!({ "in_flight": IN_FLIGHT, "body": BODY, "frame": size, "threads": threads, "rows": rows })
    );
}
