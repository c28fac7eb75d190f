//! A bearer over bluetoothd while bluetoothd or the adapter goes away and comes back; the exit code is the verdict.
//!
//! ```sh
//! tools/vm/run.sh --arm dbus --add target/debug/reconnect -- reconnect \
//!     --stop 'killall bluetoothd' --start '(bluetoothd -n -E >/dev/null 2>&1 &)'
//! ```

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ble_bearer::bluez::{BluezBearer, BluezOptions};
use ble_bearer::{Bearer, BearerEvent, RADIO_LINK};
use clap::Parser;

/// How long a link may take to go down, and to come up again: the pauses between attempts double up to 15 s.
const WITHIN: Duration = Duration::from_secs(60);
/// How often the frame is sent until it must have been heard.
const TRIES: usize = 20;

/// Takes something away from two bearers and gives it back: their links must go down and up, and then carry a frame.
#[derive(Parser)]
struct Args {
    /// The command that takes it away.
    #[arg(long)]
    stop: String,
    /// The command that gives it back.
    #[arg(long)]
    start: String,
    /// The adapter that sends afterwards.
    #[arg(long, default_value = "hci0")]
    from: String,
    /// The adapter that receives afterwards.
    #[arg(long, default_value = "hci1")]
    to: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Args { stop, start, from, to } = Args::parse();
    let mut sender = BluezBearer::open(&from, BluezOptions::default()).await?;
    let mut receiver = BluezBearer::open(&to, BluezOptions::default()).await?;
    for (name, bearer) in [(&from, &mut sender), (&to, &mut receiver)] {
        ensure!(
            matches!(bearer.next_event().await?, BearerEvent::LinkUp { .. }),
            "{name} was not up at first"
        );
    }
    run(&stop)?;
    for (name, bearer) in [(&from, &mut sender), (&to, &mut receiver)] {
        match next(bearer).await? {
            BearerEvent::LinkDown { why, .. } => println!("{name} went down: {why}"),
            other => bail!("{name} said {other:?} instead of going down"),
        }
    }
    ensure!(sender.try_send(RADIO_LINK, b"x").is_err(), "{from} took a frame while it was down");
    let error =
        BluezBearer::open(&from, BluezOptions::default()).await.err().context("opened what is not there")?;
    println!("another bearer is refused: {error}");
    run(&start)?;
    for (name, bearer) in [(&from, &mut sender), (&to, &mut receiver)] {
        match next(bearer).await? {
            BearerEvent::LinkUp { .. } => println!("{name} came up again"),
            other => bail!("{name} said {other:?} instead of coming up again"),
        }
    }
    for _ in 0..TRIES {
        // Refused only while one is being sent.
        let _ = sender.try_send(RADIO_LINK, b"here again");
        let heard = tokio::time::timeout(Duration::from_secs(1), receiver.next_event()).await;
        if let Ok(event) = heard {
            match event? {
                BearerEvent::Frame { bytes, .. } if *bytes == *b"here again" => return Ok(()),
                other => bail!("{to} said {other:?} instead of hearing the frame"),
            }
        }
    }
    bail!("{to} heard nothing in {TRIES} tries")
}

async fn next(bearer: &mut BluezBearer) -> Result<BearerEvent> {
    let event = tokio::time::timeout(WITHIN, bearer.next_event()).await;
    Ok(event.with_context(|| format!("nothing happened within {WITHIN:?}"))??)
}

fn run(command: &str) -> Result<()> {
    let status =
        Command::new("sh").arg("-c").arg(command).status().with_context(|| format!("running {command}"))?;
    ensure!(status.success(), "running {command}: {status}");
    Ok(())
}
