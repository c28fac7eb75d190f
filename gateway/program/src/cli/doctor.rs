//! `mesh-gateway adapters` and `doctor`: what this machine's radios are and what they are worth.
//!
//! Owns the verdict and the advice. The trials are `ble-bearer`'s.

use std::time::Duration;

use anyhow::{Context, anyhow};
use ble_bearer::WallClock;
use ble_bearer::hci::{self, Examination, HciOptions, Port};
use gateway::radio;
use gateway::settings::{Adapter, Overrides, Settings};
use serde_json::{Value, json};

use super::args::{AdaptersArgs, DoctorArgs};
use super::fault::usage;
use super::output::{Output, pairs, table};

/// Commands that take longer than this leave hardly time to send. A guess.
const SLOW: Duration = Duration::from_millis(20);
/// An adapter that hears less than this share of what it heard, while it sends, is deaf then. A guess: it sends 7 % of the time.
const DEAF: f64 = 0.5;
/// Too few adverts a second to judge by. A guess.
const QUIET: f64 = 3.0;
/// Frames that may be lost on the way between two adapters in one room, in percent. A guess.
const LOSS: f64 = 10.0;

#[cfg(feature = "sim")]
const NO_ADAPTER: &str = "this machine has no Bluetooth adapter (nothing in /sys/class/bluetooth); plug one in, or use --adapter sim";
#[cfg(not(feature = "sim"))]
const NO_ADAPTER: &str =
    "this machine has no Bluetooth adapter (nothing in /sys/class/bluetooth); plug one in";

pub(super) async fn adapters(_: AdaptersArgs, out: Output) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for name in hci::adapters() {
        let port: Port = name.parse().map_err(|error| anyhow!("{error}"))?;
        found.push((name, ask(&port).await));
    }
    let object = json!({
        "adapters": found.iter().map(|(name, about)| match about {
            Ok(about) => described(name, about),
            Err(error) => json!({ "adapter": name, "free": false, "why": error.to_string() }),
        }).collect::<Vec<Value>>(),
    });
    out.result(&object, || {
        if found.is_empty() {
            return NO_ADAPTER.into();
        }
        let rows = found.iter().map(|(name, about)| match about {
            Ok(about) => [name.clone(), about.version(), about.address(), way(about)],
            Err(error) => [name.clone(), "-".into(), "-".into(), error.to_string()],
        });
        table(["ADAPTER", "VERSION", "ADDRESS", "WHAT IT CAN DO"], &rows.collect::<Vec<_>>())
    })
}

/// What an adapter says of itself.
async fn ask(port: &Port) -> anyhow::Result<hci::Adapter> {
    // An address of any kind will do: nothing is sent.
    Ok(hci::introduce(port, HciOptions::new(1)).await?)
}

fn way(adapter: &hci::Adapter) -> String {
    match (adapter.extended, &adapter.broken_claim) {
        (true, _) => format!("extended advertising, {} sets, {} bytes", adapter.sets, adapter.max_data),
        (false, None) => "legacy advertising".into(),
        (false, Some(why)) => format!("legacy advertising; it claims more, but {why}"),
    }
}

fn described(name: &str, adapter: &hci::Adapter) -> Value {
    json!({
        "adapter": name,
        "free": true,
        "version": adapter.version(),
        "hci_version": adapter.hci_version,
        "manufacturer": adapter.manufacturer,
        "address": adapter.address(),
        "le_features": format!("{:016x}", adapter.le_features),
        "extended": adapter.extended,
        "sets": adapter.sets,
        "max_data": adapter.max_data,
        "broken_claim": adapter.broken_claim,
    })
}

pub(super) async fn doctor(args: DoctorArgs, out: Output) -> anyhow::Result<()> {
    let port = port(&args.adapter)?;
    let peer = args.peer.as_ref().map(self::port).transpose()?;
    // Nothing but the defaults: an adapter is judged, not a network.
    let data_dir = Some(std::env::temp_dir());
    let settings = Settings::resolve(None, Overrides { data_dir, ..Overrides::default() })?;
    let options = radio::options(&settings.radio)?;
    out.note(format_args!("examining {port}; this takes about ten seconds"));
    let seen = hci::examine(&port, options).await.with_context(|| format!("examining {port}"))?;
    let loss = match &peer {
        Some(peer) => Some(both_ways(&port, peer, options, args.frames).await?),
        None => None,
    };
    let advice = advice(&seen, loss, args.frames);
    let usable = advice.iter().all(|(grave, _)| !grave);
    let verdict = match (usable, advice.is_empty()) {
        (true, true) => "good",
        (true, false) => "usable",
        (false, _) => "not usable",
    };
    let advice: Vec<String> = advice.into_iter().map(|(_, advice)| advice).collect();
    let object = report(&args, &seen, loss, verdict, &advice);
    out.result(&object, || show(&args, &seen, loss, verdict, &advice))?;
    anyhow::ensure!(usable, "{} cannot be used for a mesh; the report says why", args.adapter);
    Ok(())
}

fn port(adapter: &Adapter) -> anyhow::Result<Port> {
    match adapter {
        Adapter::Hci(port) => Ok(port.clone()),
        Adapter::None => Err(usage("examining none: there is no adapter to look into; name one").into()),
        Adapter::Sim => Err(usage("examining sim: the simulated air is always well; name a real adapter").into()),
        #[cfg(feature = "bluez")]
        Adapter::Bluez(name) => Err(usage(format!(
            "examining bluez:{name}: while bluetoothd has it, it cannot be looked into; free it with `sudo systemctl disable --now bluetooth` \
             and name it {name}"
        ))
        .into()),
    }
}

/// Frames heard, there and back.
async fn both_ways(a: &Port, b: &Port, options: HciOptions, frames: u16) -> anyhow::Result<(u16, u16)> {
    let clock = WallClock::start();
    let other = HciOptions { address: !options.address, ..options };
    let mut first = hci::HciBearer::open(a.clone(), options, clock).await?;
    let mut second = hci::HciBearer::open(b.clone(), other, clock).await?;
    let failed = |why: String| anyhow!("sending from one adapter to the other: {why}");
    let there = hci::loss(&mut first, &mut second, frames).await.map_err(failed)?;
    drop((first, second));
    let mut first = hci::HciBearer::open(a.clone(), options, clock).await?;
    let mut second = hci::HciBearer::open(b.clone(), other, clock).await?;
    let back = hci::loss(&mut second, &mut first, frames).await.map_err(failed)?;
    Ok((there, back))
}

/// What is to be done, and whether the adapter is of no use before that.
fn advice(seen: &Examination, loss: Option<(u16, u16)>, frames: u16) -> Vec<(bool, String)> {
    let mut advice = Vec::new();
    if let Some(claim) = &seen.adapter.broken_claim {
        advice.push((
            false,
            format!(
                "it claims extended advertising and does not have it ({claim}): set radio.extended = false"
            ),
        ));
    }
    if let Some((given, confirmed)) = seen.confirmed
        && confirmed < given
    {
        let what = format!(
            "of {given} frames given to an advertising set it confirmed {confirmed} while it scanned all the time"
        );
        advice.push((
            false,
            format!("{what}: set radio.scan_duty = 90, or radio.extended = false if that does not help"),
        ));
    }
    if seen.latency.0 > SLOW {
        let median = seen.latency.0.as_secs_f64() * 1e3;
        advice.push((
            false,
            format!("a command takes {median:.1} ms: it will send few frames; look for a faster line to it"),
        ));
    }
    let (alone, sending) = seen.heard;
    if alone >= QUIET && sending < alone * DEAF {
        advice.push((false, format!("it hears {alone:.1} adverts a second alone and {sending:.1} while it sends: it is deaf meanwhile")));
    }
    if let Some((there, back)) = loss {
        for (way, heard) in [("from it to its peer", there), ("from its peer to it", back)] {
            let lost = 100.0 - f64::from(heard) * 100.0 / f64::from(frames);
            if heard == 0 {
                advice.push((
                    true,
                    format!(
                        "no frame arrives {way}: is the peer in range? If so, one of the two does not work"
                    ),
                ));
            } else if lost > LOSS {
                advice.push((
                    false,
                    format!(
                        "{lost:.1} % of the frames {way} are lost: move them, or try radio.scan_duty = 90"
                    ),
                ));
            }
        }
    }
    advice
}

fn report(
    args: &DoctorArgs,
    seen: &Examination,
    loss: Option<(u16, u16)>,
    verdict: &str,
    advice: &[String],
) -> Value {
    let ms = |span: Duration| (span.as_secs_f64() * 1e5).round() / 100.0;
    let mut about = described(&args.adapter.to_string(), &seen.adapter);
    if let Some(fields) = about.as_object_mut() {
        fields.insert(
            "command_ms".into(),
            json!({ "median": ms(seen.latency.0), "longest": ms(seen.latency.1) }),
        );
        fields.insert("address_changes_while_scanning".into(), seen.address_changes.into());
        let confirmed =
            seen.confirmed.map(|(given, confirmed)| json!({ "given": given, "confirmed": confirmed }));
        fields.insert("confirmed".into(), confirmed.into());
        fields.insert("heard_per_s".into(), json!({ "alone": seen.heard.0, "sending": seen.heard.1 }));
        let peer = loss.zip(args.peer.as_ref()).map(|((there, back), peer)| {
            json!({ "adapter": peer.to_string(), "frames": args.frames, "there": there, "back": back })
        });
        fields.insert("peer".into(), peer.into());
        fields.insert("verdict".into(), verdict.into());
        fields.insert("advice".into(), json!(advice));
    }
    about
}

fn show(
    args: &DoctorArgs,
    seen: &Examination,
    loss: Option<(u16, u16)>,
    verdict: &str,
    advice: &[String],
) -> String {
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    let mut lines = vec![
        ("adapter", args.adapter.to_string()),
        ("says", seen.adapter.to_string()),
        ("commands", format!("{:.2} ms, {:.2} ms at the longest", ms(seen.latency.0), ms(seen.latency.1))),
        (
            "address",
            if seen.address_changes {
                "another one is taken while it scans".into()
            } else {
                "another one is refused while it scans, as usual".into()
            },
        ),
    ];
    if let Some((given, confirmed)) = seen.confirmed {
        lines.push(("confirms", format!("{confirmed} of {given} frames of a set, scanning all the time")));
    }
    lines
        .push(("hears", format!("{:.1} adverts a second, {:.1} while it sends", seen.heard.0, seen.heard.1)));
    if let Some(((there, back), peer)) = loss.zip(args.peer.as_ref()) {
        let frames = args.frames;
        lines.push(("peer", format!("{there} of {frames} frames to {peer}, {back} of {frames} back")));
    }
    lines.push(("verdict", verdict.into()));
    lines.extend(advice.iter().map(|advice| ("advice", advice.clone())));
    pairs(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Examination {
        Examination {
            adapter: hci::Adapter::default(),
            latency: (Duration::from_micros(450), Duration::from_millis(2)),
            address_changes: false,
            confirmed: Some((10, 10)),
            heard: (20.0, 19.0),
        }
    }

    #[test]
    fn a_good_adapter_needs_no_advice() {
        assert!(advice(&seen(), Some((199, 200)), 200).is_empty());
        assert!(advice(&Examination { confirmed: None, heard: (0.0, 0.0), ..seen() }, None, 200).is_empty());
    }

    #[test]
    fn each_fault_has_its_advice_and_only_a_dead_way_is_grave() {
        let slow = Examination { latency: (Duration::from_millis(45), Duration::from_millis(50)), ..seen() };
        let deaf = Examination { heard: (20.0, 2.0), ..seen() };
        let unsure = Examination { confirmed: Some((10, 3)), ..seen() };
        for (seen, word) in [(slow, "45.0 ms"), (deaf, "deaf"), (unsure, "radio.scan_duty = 90")] {
            let advice = advice(&seen, None, 200);
            assert!(matches!(&advice[..], [(false, said)] if said.contains(word)), "{advice:?}");
        }
        let lost = advice(&seen(), Some((100, 0)), 200);
        assert!(
            matches!(&lost[..], [(false, some), (true, none)] if some.starts_with("50.0 %") && none.contains("no frame"))
        );
    }
}
