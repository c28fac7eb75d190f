//! Messages between the same two controllers, by bluetooth-meshd and by two gateways, in one run.
//!
//! ```sh
//! tools/vm/beside-meshd.sh
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use hw_tests::meshd::{Member, Meshd};
use hw_tests::process::Gateway;
use mesh_gateway::api::{Body, Destination, Name, SendRequest};
use mesh_gateway::client::Client;
use mesh_protocol::MessageType;
use tokio::time::{sleep, sleep_until};

/// What has not come by then is lost: longer than either way retries by itself.
const LOST_AFTER: Duration = Duration::from_secs(15);
/// How long a controller may take to be free again. Seen to take below one second.
const RELEASED: Duration = Duration::from_secs(3);

/// Messages between the same two controllers, by bluetooth-meshd and by two gateways.
#[derive(Parser)]
struct Args {
    /// How many messages of each kind
    #[arg(long, default_value_t = 100)]
    messages: u32,
    /// The program
    #[arg(long, default_value = "mesh-gateway")]
    program: PathBuf,
    /// The mesh daemon, with what goes before its own arguments
    #[arg(long, num_args = 1.., allow_hyphen_values = true, default_value = "bluetooth-meshd")]
    meshd: Vec<String>,
}

/// A way for numbered bytes from one program to another.
trait Way {
    async fn send(&mut self, bytes: &[u8]) -> Result<()>;
    /// The bytes that arrived next. Cancel safe.
    async fn heard(&mut self) -> Result<Vec<u8>>;
}

const A: Member = Member { address: 1, device_key: [0xA1; 16] };
const B: Member = Member { address: 2, device_key: [0xB2; 16] };

struct ByMeshd {
    from: Meshd,
    to: Meshd,
}

impl Way for ByMeshd {
    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.from.send(B.address, bytes).await
    }

    async fn heard(&mut self) -> Result<Vec<u8>> {
        self.to.heard().await
    }
}

struct ByGateways {
    alice: Client,
    bob: Client,
    _gateways: [Gateway; 2],
}

impl Way for ByGateways {
    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let to = Destination::agent(Name::new("bob")?);
        let request = SendRequest::new(to, MessageType::Notification, Body::data(bytes.to_vec()));
        // Its receipt is nobody's: what counts here is what arrives.
        drop(self.alice.handle().send(request).await?);
        Ok(())
    }

    async fn heard(&mut self) -> Result<Vec<u8>> {
        Ok(self.bob.inbox().next_message().await?.body.bytes().to_vec())
    }
}

async fn meshd(program: &[String], folder: &Path) -> Result<ByMeshd> {
    let start = async |adapter: &str, me, other| {
        let home = folder.join(adapter);
        std::fs::create_dir_all(&home)?;
        let started = Meshd::start(program, adapter, &home, [0x4E; 16], me, &[other]).await;
        started.with_context(|| format!("bluetooth-meshd on {adapter}"))
    };
    let (to, from) = (start("hci0", B, A).await?, start("hci1", A, B).await?);
    Ok(ByMeshd { from, to })
}

async fn gateways(program: &Path, folder: &Path) -> Result<ByGateways> {
    std::fs::create_dir_all(folder)?;
    let mut gateways = Gateway::pair(program, ["hci1".into(), "hci0".into()], folder).await?;
    for gateway in &mut gateways {
        gateway.start()?;
    }
    let alice = gateways[0].agent("alice").await?;
    let bob = gateways[1].agent("bob").await?;
    Ok(ByGateways { alice, bob, _gateways: gateways })
}

/// Keeps `window` messages of `len` bytes on the way, and says what came of `count` of them.
async fn measure(name: &str, way: &mut impl Way, count: u32, window: usize, len: usize) -> Result<()> {
    // One to warm up: names are found, caches filled.
    let mut first = vec![0xFF; len];
    first[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    way.send(&first).await?;
    let warm = tokio::time::timeout(LOST_AFTER, async { while way.heard().await? != first {} anyhow::Ok(()) });
    warm.await.context("nothing arrives at all")??;

    let since = Instant::now();
    let (mut next, mut last) = (0, since);
    let mut under_way = BTreeMap::new();
    let mut latencies = Vec::new();
    let (mut lost, mut twice) = (0, 0);
    while next < count || !under_way.is_empty() {
        if next < count && under_way.len() < window {
            let mut bytes = vec![0; len];
            bytes[..4].copy_from_slice(&next.to_be_bytes());
            under_way.insert(next, Instant::now());
            next += 1;
            way.send(&bytes).await?;
            continue;
        }
        let oldest = under_way.first_key_value().map(|(number, at)| (*number, *at + LOST_AFTER));
        tokio::select! {
            bytes = way.heard() => {
                let bytes = bytes?;
                let number = bytes.first_chunk().map_or(u32::MAX, |number| u32::from_be_bytes(*number));
                match under_way.remove(&number) {
                    Some(at) => {
                        last = Instant::now();
                        latencies.push(at.elapsed().as_secs_f64() * 1e3);
                    }
                    None => twice += 1,
                }
            }
            () = async { match oldest {
                Some((_, at)) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            } } => {
                lost += 1;
                oldest.map(|(number, _)| under_way.remove(&number));
            }
        }
    }
    latencies.sort_by(f64::total_cmp);
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(f64::NAN);
    // Waiting for what is lost is not held against the rate.
    let took = last.duration_since(since).as_secs_f64();
    println!(
        "{name}, {len} bytes, {window} on the way: {:.1} messages/s, {} of {count} arrived, {lost} lost, {twice} too late or twice, \
         from sending to arriving p50 {:.0} ms, p99 {:.0} ms",
        latencies.len() as f64 / took,
        latencies.len(),
        at(50),
        at(99),
    );
    Ok(())
}

/// What both are asked: a message that fits one advert of either, and one that fits none; one at a time, and eight.
async fn all(name: &str, way: &mut impl Way, count: u32) -> Result<()> {
    for len in [8, 48] {
        for window in [1, 8] {
            measure(name, way, count, window, len).await.with_context(|| format!("{name}, {len} bytes"))?;
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = std::env::temp_dir().join(format!("beside-meshd-{}", std::process::id()));
    let mut by_meshd = meshd(&args.meshd, &folder).await?;
    all("bluetooth-meshd", &mut by_meshd, args.messages).await?;
    drop(by_meshd);
    sleep(RELEASED).await;
    let mut by_gateways = gateways(&args.program, &folder.join("gateways")).await?;
    all("mesh-gateway", &mut by_gateways, args.messages).await
}
