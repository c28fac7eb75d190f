//! Two gateways on two adapters live through a day: everything is said, one of them is killed, and the radio goes away.
//!
//! Drives the real program from outside, over TCP, and says line by line what happened. The exit code is the verdict.
//!
//! ```sh
//! tools/vm/run.sh --add target/debug/mesh-gateway --add target/debug/two-gateways -- two-gateways --away 'killall btvirt' --back 'btvirt -L -l2 &'
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use hw_tests::process::{Gateway, PATIENCE};
use mesh_agent::api::{Body, Destination, Hello, Name, Outcome, SendRequest, Status};
use mesh_agent::{Client, Endpoint, Handle, Pending};
use mesh_protocol::{MessageType, Priority};
use tokio::process::Command;
use tokio::time::timeout;

/// Messages said while a gateway or a radio is away.
const MEANWHILE: usize = 10;

/// Two gateways on two adapters live through a day.
#[derive(Parser)]
struct Args {
    /// The first gateway's adapter
    #[arg(long, default_value = "hci0")]
    a: String,
    /// The second gateway's adapter
    #[arg(long, default_value = "hci1")]
    b: String,
    /// The program
    #[arg(long, default_value = "mesh-gateway")]
    program: PathBuf,
    /// Bytes of the long message
    #[arg(long, default_value_t = 16_384)]
    long: usize,
    /// A shell command that takes the adapters away
    #[arg(long, requires = "back")]
    away: Option<String>,
    /// A shell command that gives them back
    #[arg(long)]
    back: Option<String>,
}

async fn shell(command: &str) -> anyhow::Result<()> {
    let ended = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).status().await?;
    ensure!(ended.success(), "`{command}` ended with {ended}");
    Ok(())
}

async fn until(handle: &Handle, what: &str, is: impl Fn(&Status) -> bool) -> anyhow::Result<Status> {
    let waited = async {
        loop {
            let status = handle.status().await?;
            if is(&status) {
                return anyhow::Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, waited).await.with_context(|| format!("it never happened that {what}"))?
}

/// Everything that bob heard, and how often.
type HeardTexts = std::sync::Arc<std::sync::Mutex<BTreeMap<String, u32>>>;

/// Bob listens for ever, on whatever gateway is there.
async fn listen(endpoint: u16, heard: HeardTexts) -> anyhow::Result<()> {
    let endpoint: Endpoint = format!("127.0.0.1:{endpoint}").parse().map_err(anyhow::Error::msg)?;
    loop {
        if let Ok(mut client) = Client::connect(&endpoint, Hello::new(Name::new("bob")?)).await {
            while let Ok(message) = client.inbox().next_message().await {
                let text = message.body.as_text().unwrap_or("(bytes)").to_owned();
                *heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner).entry(text).or_default() +=
                    1;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn to_bob(kind: MessageType, priority: Priority, text: &str) -> anyhow::Result<SendRequest> {
    let mut request =
        SendRequest::new(Destination::agent(Name::new("bob")?), kind, Body::text(text)).with_durable(true);
    request.priority = priority;
    request.deadline_ms = Some(600_000);
    Ok(request)
}

/// The receipt must say that it arrived.
async fn arrives(pending: Pending) -> anyhow::Result<()> {
    let receipt = timeout(PATIENCE, pending.receipt()).await.context("no receipt came")??;
    match receipt.outcome {
        Outcome::Delivered | Outcome::Processed => Ok(()),
        other => bail!("{} was {other:?}: {:?}", receipt.id, receipt.why),
    }
}

#[expect(clippy::too_many_lines, reason = "one story, step by step")]
async fn day(args: Args) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("two-gateways-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut gateways = Gateway::pair(&args.program, [args.a, args.b], &folder).await?;
    let [a, b] = &mut gateways;
    a.start()?;
    b.start()?;
    let alice = a.agent("alice").await?;
    let bob = b.agent("bob-watch").await?;
    let started =
        until(alice.handle(), "the first radio was up", |status| status.radio.state == "up").await?;
    until(bob.handle(), "the second radio was up", |status| status.radio.state == "up").await?;
    println!("up: {} with {}", started.adapter, started.radio.about);
    let heard = HeardTexts::default();
    let listening = tokio::spawn(listen(b.port, heard.clone()));

    let since = Instant::now();
    let mut expected = Vec::new();
    for kind in MessageType::ALL {
        for priority in Priority::ALL {
            let text = format!("{kind:?} {priority:?}");
            arrives(alice.handle().send(to_bob(kind, priority, &text)?).await?)
                .await
                .context(text.clone())?;
            expected.push(text);
        }
    }
    println!(
        "said: {} messages, every type at every priority, in {:.1} s",
        expected.len(),
        since.elapsed().as_secs_f64()
    );

    let since = Instant::now();
    let long = "0123456789abcdef".repeat(args.long.div_ceil(16));
    arrives(alice.handle().send(to_bob(MessageType::ParameterUpdate, Priority::High, &long)?).await?).await?;
    println!("long: {} bytes in {:.1} s", long.len(), since.elapsed().as_secs_f64());
    expected.push(long);

    b.kill().await?;
    let mut pending = Vec::new();
    for n in 0..MEANWHILE {
        let text = format!("while b is dead {n}");
        pending.push(alice.handle().send(to_bob(MessageType::Task, Priority::High, &text)?).await?);
        expected.push(text);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    b.start()?;
    for pending in pending {
        arrives(pending).await.context("after b was killed")?;
    }
    println!("killed: {MEANWHILE} messages said while the second gateway was dead arrived after its restart");

    let mut pending = Vec::new();
    for n in 0..MEANWHILE {
        let text = format!("while a dies {n}");
        let mut sending = alice.handle().send(to_bob(MessageType::Task, Priority::Medium, &text)?).await?;
        ensure!(sending.accepted().await?.durable, "an accepted message is on the disk");
        pending.push(sending);
        expected.push(text);
    }
    a.kill().await?;
    drop(pending);
    a.start()?;
    let alice = a.agent("alice").await?;
    until(alice.handle(), "the first gateway had nothing left to send", |status| status.outbox == 0).await?;
    println!(
        "killed: {MEANWHILE} messages accepted by the first gateway before it was killed left it after its restart"
    );

    if let (Some(away), Some(back)) = (&args.away, &args.back) {
        shell(away).await?;
        let status =
            until(alice.handle(), "the radio was away", |status| status.radio.state == "away").await?;
        println!("away: {}", status.health.problems.join("; "));
        let mut pending = Vec::new();
        for n in 0..MEANWHILE {
            let text = format!("while the radio is away {n}");
            let mut sending = alice.handle().send(to_bob(MessageType::Task, Priority::High, &text)?).await?;
            ensure!(sending.accepted().await?.durable, "an accepted message is on the disk");
            pending.push(sending);
            expected.push(text);
        }
        shell(back).await?;
        for pending in pending {
            arrives(pending).await.context("after the radio was away")?;
        }
        let status = alice.handle().status().await?;
        println!(
            "back: radio {}, repaired {} times; {MEANWHILE} messages said meanwhile arrived",
            status.radio.state, status.radio.repairs
        );
    }

    // What comes twice would come now.
    let all = async {
        while expected.iter().any(|text| !lock(&heard).contains_key(text)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, all).await.context("bob did not hear everything")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    listening.abort();
    let heard = lock(&heard).clone();
    for text in &expected {
        let count = heard.get(text).copied().unwrap_or(0);
        ensure!(count == 1, "bob heard {count} times: {}", &text[..text.len().min(40)]);
    }
    ensure!(
        heard.len() == expected.len(),
        "bob heard {} messages, {} were said",
        heard.len(),
        expected.len()
    );
    for (name, gateway) in [("a", &*a), ("b", &*b)] {
        let status = gateway.agent("clerk").await?.handle().status().await?;
        let radio = status.radio;
        println!(
            "{name}: {} frames out, {} lost on the way out, {} heard, {} repairs",
            radio.confirmed, radio.lost, radio.frames_received, radio.repairs
        );
    }
    println!("verdict: {} messages, each heard once", expected.len());
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn lock(heard: &HeardTexts) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
    heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match day(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("two-gateways: {error:#}");
            ExitCode::FAILURE
        }
    }
}
