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
use mesh_agent::Client;
use mesh_agent::api::{Body, Destination, Name, Outcome, SendRequest};
use mesh_protocol::MessageType;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};

/// What has not come by then is lost: longer than either way retries by itself.
const LOST_AFTER: Duration = Duration::from_secs(15);
/// How long a controller may take to be free again. Seen to take below one second.
const RELEASED: Duration = Duration::from_secs(3);

/// Before a gateway has counted five hellos of another it says everything three times. In operation that is past.
const ACQUAINTED: Duration = Duration::from_secs(15);

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

/// A way for numbered bytes from one program to another, that says when the other one has them.
trait Way {
    async fn send(&mut self, number: u32, bytes: Vec<u8>) -> Result<()>;
    /// What happens next. Cancel safe.
    async fn next(&mut self) -> Result<News>;
    /// Frames that both ends have put on the air so far, where they say.
    async fn frames(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// What became of the message of this number.
enum News {
    Arrived(u32),
    /// The sender knows it.
    Confirmed(u32),
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(u32::MAX, |number| u32::from_be_bytes(*number))
}

const A: Member = Member { address: 1, device_key: [0xA1; 16] };
const B: Member = Member { address: 2, device_key: [0xB2; 16] };

/// A message goes in one frame without an acknowledgement, or in acknowledged segments of which the sending application hears nothing.
/// So the receiving one answers, as applications of such a mesh do that want to know.
struct ByMeshd {
    from: Meshd,
    to: Meshd,
}

impl Way for ByMeshd {
    async fn send(&mut self, _: u32, bytes: Vec<u8>) -> Result<()> {
        self.from.send(B.address, &bytes).await
    }

    async fn next(&mut self) -> Result<News> {
        tokio::select! {
            arrived = self.to.heard() => {
                let number = number(&arrived?);
                // Answered by a task, as what waits here may be dropped.
                let answer = self.to.sending(A.address, &number.to_be_bytes());
                tokio::spawn(answer);
                Ok(News::Arrived(number))
            }
            answer = self.from.heard() => Ok(News::Confirmed(number(&answer?))),
        }
    }
}

/// A message is on the disk of the one gateway, then of the other, and its receipt says so.
struct ByGateways {
    alice: Client,
    bob: Client,
    receipts: (mpsc::UnboundedSender<u32>, mpsc::UnboundedReceiver<u32>),
    _gateways: [Gateway; 2],
}

impl Way for ByGateways {
    async fn send(&mut self, number: u32, bytes: Vec<u8>) -> Result<()> {
        let to = Destination::agent(Name::new("bob")?);
        let request = SendRequest::new(to, MessageType::Notification, Body::data(bytes));
        let pending = self.alice.handle().send(request).await?;
        let confirmed = self.receipts.0.clone();
        tokio::spawn(async move {
            if pending.receipt().await.is_ok_and(|receipt| receipt.outcome == Outcome::Delivered) {
                let _ = confirmed.send(number);
            }
        });
        Ok(())
    }

    async fn next(&mut self) -> Result<News> {
        tokio::select! {
            message = self.bob.inbox().next_message() => Ok(News::Arrived(number(message?.body.bytes()))),
            Some(number) = self.receipts.1.recv() => Ok(News::Confirmed(number)),
        }
    }

    async fn frames(&mut self) -> Result<Option<u64>> {
        let (a, b) = (self.alice.handle().status().await?, self.bob.handle().status().await?);
        Ok(Some(a.radio.frames_sent + b.radio.frames_sent))
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
    sleep(ACQUAINTED).await;
    Ok(ByGateways { alice, bob, receipts: mpsc::unbounded_channel(), _gateways: gateways })
}

/// Keeps `window` messages of `len` bytes on the way, and says what came of `count` of them.
async fn measure(name: &str, way: &mut impl Way, count: u32, window: usize, len: usize) -> Result<()> {
    let message = |number: u32| {
        let mut bytes = vec![0; len];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    // One to warm up: names are found, caches filled.
    way.send(u32::MAX, message(u32::MAX)).await?;
    let warm = timeout(LOST_AFTER, async {
        while !matches!(way.next().await?, News::Confirmed(u32::MAX)) {}
        anyhow::Ok(())
    });
    warm.await.context("nothing arrives at all")??;

    let frames = way.frames().await?;
    let since = Instant::now();
    let (mut next, mut last) = (0, since);
    let mut under_way = BTreeMap::new();
    let (mut arrived, mut confirmed) = (Vec::new(), Vec::new());
    while next < count || !under_way.is_empty() {
        if next < count && under_way.len() < window {
            under_way.insert(next, (Instant::now(), false));
            way.send(next, message(next)).await?;
            next += 1;
            continue;
        }
        let Some((&oldest, (at, _))) = under_way.first_key_value() else { continue };
        let lost_at = *at + LOST_AFTER;
        tokio::select! {
            news = way.next() => match news? {
                News::Arrived(number) => if let Some((at, known)) = under_way.get_mut(&number)
                    && !std::mem::replace(known, true)
                {
                    arrived.push(at.elapsed());
                },
                News::Confirmed(number) => if let Some((at, _)) = under_way.remove(&number) {
                    confirmed.push(at.elapsed());
                    last = Instant::now();
                },
            },
            () = sleep_until(lost_at.into()) => { under_way.remove(&oldest); }
        }
    }
    let at = |latencies: &mut Vec<Duration>, percent: usize| {
        latencies.sort_unstable();
        let at = latencies.get(latencies.len() * percent / 100);
        at.map_or("-".to_owned(), |latency| format!("{:.0}", latency.as_secs_f64() * 1e3))
    };
    let frames = way.frames().await?.zip(frames).map(|(after, before)| f64::from((after - before) as u32));
    let each = frames.map_or("-".to_owned(), |frames| format!("{:.1}", frames / f64::from(count)));
    println!(
        "| {name} | {len} | {window} | {:.1} | {} | {} of {count} | {each} | {} | {} | {} | {} |",
        // Waiting for what is lost at the end is not held against the rate.
        confirmed.len() as f64 / last.duration_since(since).as_secs_f64(),
        arrived.len(),
        confirmed.len(),
        at(&mut arrived, 50),
        at(&mut arrived, 99),
        at(&mut confirmed, 50),
        at(&mut confirmed, 99),
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
    println!(
        "| by | bytes | on the way | confirmed/s | arrived | confirmed | frames each | to arriving, p50 ms | p99 | to confirmation, p50 ms | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut by_meshd = meshd(&args.meshd, &folder).await?;
    all("bluetooth-meshd", &mut by_meshd, args.messages).await?;
    drop(by_meshd);
    sleep(RELEASED).await;
    let mut by_gateways = gateways(&args.program, &folder.join("gateways")).await?;
    all("mesh-gateway", &mut by_gateways, args.messages).await
}
