//! How fast an adapter sends frames, by each way to it, and how many of them another adapter reports.
//!
//! ```sh
//! tools/vm/run.sh --arm user-channel --add target/debug/rate -- rate --frames 200 hci
//! tools/vm/run.sh --arm dbus --add target/debug/rate -- rate --gap 50 --frames 200 update
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ble_bearer::bluez::{BluezBearer, BluezOptions, Sending};
use ble_bearer::hci::{HciBearer, HciOptions, Port};
use ble_bearer::{Bearer, BearerEvent, RADIO_LINK, WallClock};
use clap::{Parser, ValueEnum};
use mesh_protocol::LEGACY_FRAME;

/// How long after the last frame was handed over the receiver still listens.
const TAIL: Duration = Duration::from_secs(2);

/// Measures frames a second from one adapter to another.
#[derive(Parser)]
struct Args {
    /// How frames are handed to bluetoothd.
    way: Way,
    /// Milliseconds between the starts of two frames.
    #[arg(long, default_value_t = 50)]
    gap: u64,
    /// How many frames.
    #[arg(long, default_value_t = 200)]
    frames: u32,
    /// The adapter that sends.
    #[arg(long, default_value = "hci0")]
    from: String,
    /// The adapter that receives.
    #[arg(long, default_value = "hci1")]
    to: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    /// one advertisement whose data change
    Update,
    /// an advertisement for each frame
    Anew,
    /// HCI, without bluetoothd
    Hci,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let sending = match args.way {
        Way::Update => Sending::Update,
        Way::Anew => Sending::Register,
        Way::Hci => {
            let clock = WallClock::start();
            let open = async |name: &str, address| {
                let port: Port = name.parse().with_context(|| format!("reading {name}"))?;
                anyhow::Ok(HciBearer::open(port, HciOptions::new(address), clock).await?)
            };
            return measure(&args, open(&args.from, 1).await?, open(&args.to, 2).await?).await;
        }
    };
    let gap = mesh_protocol::Duration::from_millis(args.gap);
    let options = BluezOptions { sending, gap, ..BluezOptions::default() };
    let sender = BluezBearer::open(&args.from, options).await?;
    let receiver = BluezBearer::open(&args.to, options).await?;
    measure(&args, sender, receiver).await
}

/// Sends as fast as frames are taken, and says what came of it.
async fn measure<B: Bearer>(args: &Args, mut sender: B, mut receiver: B) -> Result<()> {
    let Args { way, gap, frames, from, .. } = args;
    let frames = *frames;
    while !matches!(receiver.next_event().await?, BearerEvent::LinkUp { .. }) {}
    let measured = loop {
        if let BearerEvent::LinkUp { info, .. } = sender.next_event().await? {
            break info.min_gap.as_millis();
        }
    };

    let start = Instant::now();
    let (mut next, mut last) = (0, start);
    let mut sent = BTreeMap::new();
    let mut heard = BTreeMap::<u32, (Duration, u32)>::new();
    let mut retry = tokio::time::interval(Duration::from_millis(10));
    // As fast as they are taken.
    while next < frames || last.elapsed() < TAIL {
        tokio::select! {
            event = receiver.next_event() => if let BearerEvent::Frame { bytes, .. } = event? {
                let Some(number) = bytes.first_chunk().map(|number| u32::from_be_bytes(*number)) else { continue };
                let Some(at) = sent.get(&number) else { continue };
                heard.entry(number).or_insert((Instant::elapsed(at), 0)).1 += 1;
            },
            event = sender.next_event() => if let BearerEvent::LinkDown { why, .. } = event? {
                anyhow::bail!("the link of {from} went down after {next} frames: {why}");
            },
            _ = retry.tick() => if next < frames {
                let mut frame = [0x5a; LEGACY_FRAME];
                frame[..4].copy_from_slice(&next.to_be_bytes());
                if sender.try_send(RADIO_LINK, &frame).is_ok() {
                    last = Instant::now();
                    sent.insert(next, last);
                    next += 1;
                }
            },
        }
    }
    let mut latencies: Vec<_> = heard.values().map(|(latency, _)| latency.as_secs_f64() * 1e3).collect();
    latencies.sort_by(f64::total_cmp);
    let at = |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or(f64::NAN);
    println!(
        "{way:?}, gap {gap} ms asked, {measured} ms measured: {:.1} frames/s, {} of {frames} received ({} reports), from handing over to report p50 \
         {:.0} ms, p99 {:.0} ms",
        f64::from(frames) / last.duration_since(start).as_secs_f64(),
        heard.len(),
        heard.values().map(|(_, reports)| reports).sum::<u32>(),
        at(50),
        at(99),
    );
    Ok(())
}
