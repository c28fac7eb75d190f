//! What a crowd of connections, silent or very slow, costs an agent that works beside it.
//!
//! Owns the turns and the table. Two gateways run, one with a crowd and one without; the same pair of agents, with a token,
//! takes turns on both, so that what else the machine does falls on both alike. What is compared are therefore the ratios. Run
//! it with `cargo bench -p mesh-gateway --bench crowd`.

mod people;
#[path = "../program/mod.rs"]
mod program;

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mesh_agent::api::{Body, Destination, Hello, Name, Outcome, SendRequest, Token};
use mesh_agent::{Client, Endpoint, Handle, MessageType};
use people::{Crowd, Kind};
use program::{Gateway, Idle, mib};

/// The connections wanted.
const CROWD: usize = 10_000;
/// Files that this process and the gateway have open beside them. A guess, on the safe side.
const BESIDES: usize = 200;
/// How often each gateway has its turn; before the first of them, one warms up.
const ROUNDS: usize = 10;
/// Messages in a turn, one after the other, of either promise.
const MESSAGES: [(bool, usize); 2] = [(false, 5_000), (true, 300)];
/// How long the crowd speaks before the first turn beside it: twice as long as the gateway waits for a hello, so that what
/// becomes of connections without a hello has come.
const BEFORE: Duration = Duration::from_secs(20);
const TOKEN: &str = "a-token-for-this-benchmark";

/// A sender and a receiver on one gateway.
struct Pair {
    sender: Handle,
    receiving: tokio::task::JoinHandle<()>,
}

impl Pair {
    async fn attach(gateway: &Gateway) -> Self {
        let agent = async |text| {
            let endpoint = Endpoint::Tcp(gateway.address.clone());
            Client::connect(&endpoint, hello(text)).await.expect("a welcome").split()
        };
        let (sender, _inbox) = agent("sender").await;
        let (_handle, mut inbox) = agent("receiver").await;
        let receiving = tokio::spawn(async move { while inbox.next_message().await.is_ok() {} });
        Self { sender, receiving }
    }

    /// Sends one message after the other; how long each took until its receipt, in microseconds.
    async fn turn(&self, durable: bool, messages: usize, times: &mut Vec<f64>) {
        let body = Body::data(vec![7; 32]);
        for _ in 0..messages {
            let to = Destination::agent(Name::new("receiver").expect("a name"));
            let send =
                SendRequest { durable, ..SendRequest::new(to, MessageType::Notification, body.clone()) };
            let begin = Instant::now();
            let pending = self.sender.send(send).await.expect("the gateway is there");
            let receipt = pending.receipt().await.expect("the gateway is there");
            assert_eq!(receipt.outcome, Outcome::Delivered);
            times.push(begin.elapsed().as_secs_f64() * 1e6);
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

fn hello(text: &str) -> Hello {
    Hello { token: Some(Token::new(TOKEN)), ..Hello::new(Name::new(text).expect("a name")) }
}

fn main() {
    let size = CROWD.min(open_files().saturating_sub(BESIDES));
    if size < CROWD {
        println!("only {size} of {CROWD} connections: this system lets a process have no more files open");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for kind in [Kind::Agents, Kind::Strangers] {
        runtime.block_on(async { tokio::spawn(beside(kind, size)).await.expect("every turn ends") });
    }
}

async fn beside(kind: Kind, size: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on the disk");
    let (alone, crowded) = (start(&dir.path().join("alone")), start(&dir.path().join("crowded")));
    let (quiet, busy) = (Pair::attach(&alone).await, Pair::attach(&crowded).await);
    let mut idle = Idle::attach(&crowded.address, hello("idle"));
    let before = crowded.settled(&mut idle);
    let crowd = Crowd::gather(&crowded.address, kind, &Token::new(TOKEN), size);
    crowd.go_on();
    tokio::time::sleep(BEFORE).await;
    let (held, _) = crowd.count();
    let full = crowded.memory("VmRSS");

    println!(
        "\n{size} {kind:?}, half of them silent, half with a byte every 5 s; {held} held by the gateway"
    );
    println!(
        "{:<10}{:>11}{:>11}{:>8}{:>11}{:>11}{:>8}",
        "receipt", "p50 us", "beside", "ratio", "p99 us", "beside", "ratio"
    );
    let mut rows = Vec::new();
    for (durable, messages) in MESSAGES {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            crowd.rest();
            quiet.turn(durable, messages, &mut without).await;
            crowd.go_on();
            busy.turn(durable, messages, &mut with).await;
            if round == 0 {
                without.clear();
                with.clear();
            }
        }
        let [p50, p99] = [0.5, 0.99].map(|part| [quantile(&mut without, part), quantile(&mut with, part)]);
        let name = if durable { "synced" } else { "not synced" };
        println!(
            "{name:<10}{:>11.0}{:>11.0}{:>8.2}{:>11.0}{:>11.0}{:>8.2}",
            p50[0],
            p50[1],
            p50[1] / p50[0],
            p99[0],
            p99[1],
            p99[1] / p99[0]
        );
        rows.push(
            serde_json::json!({ "durable": durable, "p50_us": p50, "p99_us": p99, "messages": with.len() }),
        );
    }
    let (still, returns) = crowd.count();
    let after = crowded.memory("VmRSS");
    let peak = crowded.memory("VmHWM");
    drop(crowd);
    let left = crowded.settled(&mut idle);
    let [before, full, after, peak, left] = [before, full, after, peak, left].map(Option::unwrap_or_default);
    println!(
        "gateway: {:.1} MiB before, {:.1} MiB with the crowd, {:.1} MiB at the end of the turns, {:.1} MiB at most, {:.1} MiB when it \
         had gone; {still} held at the end, {returns} came again",
        mib(before),
        mib(full),
        mib(after),
        mib(peak),
        mib(left)
    );
    println!(
        "{}",
        serde_json::json!({
            "crowd": size, "kind": format!("{kind:?}"), "held": held, "held_at_end": still, "returns": returns, "rows": rows,
            "rss": { "before": before, "with": full, "end": after, "peak": peak, "gone": left },
        })
    );
}

/// A gateway that takes the crowd, and asks for a token.
fn start(dir: &Path) -> Gateway {
    std::fs::create_dir(dir).expect("a folder on the disk");
    let (token, config) = (dir.join("token"), dir.join("settings.toml"));
    std::fs::write(&token, TOKEN).expect("a file");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("a file of ours");
    let room = CROWD + BESIDES;
    std::fs::write(&config, format!("[agents]\nmax_agents = {room}\nmax_connections = {room}\n"))
        .expect("a file");
    let more = ["--config".as_ref(), config.as_os_str(), "--access-token-file".as_ref(), token.as_os_str()];
    Gateway::start(&dir.join("data"), &more as &[&OsStr])
}

fn quantile(times: &mut [f64], part: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * part).round() as usize]
}

/// How many files this process, and the gateways it starts, may have open, after asking for as many as it may ask for.
fn open_files() -> usize {
    let limits = || {
        let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap_or(usize::MAX));
        Some((numbers.next()?, numbers.next()?))
    };
    // Elsewhere than on Linux: what is usual there.
    let Some((_, most)) = limits() else { return 256 };
    // Where the tool is missing, the limit stays as it is.
    let me = std::process::id().to_string();
    let _ = Command::new("prlimit").args(["--pid", &me, &format!("--nofile={most}:{most}")]).status();
    limits().map_or(256, |(now, _)| now)
}
