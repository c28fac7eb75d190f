//! `mesh-gateway why`, `ping`, `trace`: what became of a message, and how a node is reached.

use std::time::Duration;

use anyhow::Context;
use mesh_agent::Handle;
use mesh_agent::api::{NodePong, Step, StepKind, Timeline, Trace, TraceHop};
use mesh_protocol::Address;
use serde_json::json;
use tokio::time::sleep;

use super::args::{PingArgs, TraceArgs, WhyArgs};
use super::connect::{Gateway, leave};
use super::fault::{Code, Failure};
use super::output::{Output, table, tame, without_ref};
use super::{receipt, values};

/// The pause between two pings.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn why(args: WhyArgs, out: Output) -> anyhow::Result<()> {
    let attempt = || format!("asking what became of {}", args.id);
    let client =
        Gateway::new(args.gateway, out).with_context(attempt)?.connect(None).await.with_context(attempt)?;
    let timeline = client.handle().why(args.id).await.with_context(attempt)?;
    leave(client.handle()).await;
    out.result(&without_ref(&timeline)?, || show_timeline(&timeline))
}

pub(super) async fn ping(args: PingArgs, out: Output) -> anyhow::Result<()> {
    let attempt = || format!("asking {}", tame(&args.node));
    let client =
        Gateway::new(args.gateway, out).with_context(attempt)?.connect(None).await.with_context(attempt)?;
    let node = find(client.handle(), &args.node).await.with_context(attempt)?;
    let mut answers = Vec::new();
    for n in 0..args.count {
        if n > 0 {
            sleep(PAUSE).await;
        }
        let pong = client.handle().ping_node(node, millis(args.timeout)).await.with_context(attempt)?;
        if !out.json {
            crate::stdout::line(&show_pong(&pong, args.timeout))?;
        }
        answers.extend(pong.round_trip_us.map(|us| (us, pong.hops)));
    }
    leave(client.handle()).await;
    let times: Vec<u64> = answers.iter().map(|(us, _)| *us).collect();
    let hops = answers.last().and_then(|(_, hops)| *hops);
    let result = json!({
        "node": node.to_string(), "asked": args.count, "answered": times.len(), "round_trip_us": times, "hops": hops,
    });
    out.result(&result, || show_times(args.count, &times))?;
    if times.is_empty() {
        let text = format!("no answer from {node}; see `mesh-gateway trace {node}` for how far it goes");
        return Err(Failure(Code::NoAnswer, text).into());
    }
    Ok(())
}

pub(super) async fn trace(args: TraceArgs, out: Output) -> anyhow::Result<()> {
    let attempt = || format!("tracing the way to {}", tame(&args.node));
    let client =
        Gateway::new(args.gateway, out).with_context(attempt)?.connect(None).await.with_context(attempt)?;
    let node = find(client.handle(), &args.node).await.with_context(attempt)?;
    let trace = client.handle().trace_node(node, millis(args.timeout)).await.with_context(attempt)?;
    leave(client.handle()).await;
    out.result(&without_ref(&trace)?, || show_trace(&trace))?;
    if !trace.reached {
        let text = format!(
            "no answer from {node}; ask again, or see `mesh-gateway routes` and `mesh-gateway peers`"
        );
        return Err(Failure(Code::NoAnswer, text).into());
    }
    Ok(())
}

/// The node of this address, or that an agent of this name is on.
async fn find(handle: &Handle, node: &str) -> anyhow::Result<Address> {
    if let Ok(address) = values::address(node) {
        return Ok(address);
    }
    let agents = handle.agents().await?.agents;
    match agents.iter().find(|agent| agent.name.as_str() == node) {
        Some(agent) => Ok(agent.node),
        None => {
            let text = format!(
                "no agent {} is known here; write an address, as in 0x0003, or see `mesh-gateway agents`",
                tame(node)
            );
            Err(Failure(Code::Failed, text).into())
        }
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn show_timeline(timeline: &Timeline) -> String {
    let began = timeline.steps.first().map_or(0, |step| step.at_us);
    let after = |us: u64| format!("{:.3} s", us.saturating_sub(began) as f64 / 1e6);
    let rows: Vec<[String; 2]> = timeline
        .steps
        .iter()
        .map(|step| {
            let several = step.until_us.map(|until| format!(", {} times until {}", step.count, after(until)));
            let why = step.why.as_ref().map(|why| format!(": {}", tame(why)));
            let what =
                format!("{}{}{}", describe(step), several.unwrap_or_default(), why.unwrap_or_default());
            [format!("{:>9}", after(step.at_us)), what]
        })
        .collect();
    let steps = table(["    AFTER", "WHAT"], &rows);
    match timeline.left_out {
        0 => format!("{}\n{steps}", timeline.id),
        left_out => format!("{}\n{steps}\n{left_out} steps are left out in the middle", timeline.id),
    }
}

fn describe(step: &Step) -> String {
    let node = step.node.map_or_else(|| "all".to_owned(), |node| node.to_string());
    match step.what {
        StepKind::Accepted => "accepted".to_owned(),
        StepKind::Recovered => "goes on after a restart of the gateway".to_owned(),
        StepKind::Stored => "may leave: it is on the disk, if it has to be".to_owned(),
        StepKind::Naming => "the mesh is asked where its receiver is".to_owned(),
        StepKind::Queued => format!("waits for its turn to {node}"),
        StepKind::Started => format!("begins its way to {node}"),
        StepKind::Flooded => "flooded".to_owned(),
        StepKind::Sent => format!("sent to {node}"),
        StepKind::FloodedAgain => "no answer: flooded again".to_owned(),
        StepKind::SentAgain => format!("no answer: sent again to {node}"),
        StepKind::Repeated => format!("repeated to {node}, which was not heard to pass it on"),
        StepKind::Custody => format!("{node} has taken custody"),
        StepKind::SecondHop => format!("sent to {node} instead, the second next hop"),
        StepKind::Repair => "no next hop takes it: looking for a route".to_owned(),
        StepKind::Undelivered => format!("{node} gave a frame up"),
        StepKind::SetAside => "set aside: its receiver is silent, and others wait".to_owned(),
        StepKind::Kept => format!("its receiver is away: {node} keeps it"),
        StepKind::SaidInFull => format!("{node} does not know its names: sent again with them"),
        StepKind::Moved => format!("its agent is not at {node} any more: the mesh is asked again"),
        StepKind::Ended => format!("ended: {}", step.outcome.map_or("unknown", receipt::word)),
    }
}

fn show_pong(pong: &NodePong, timeout: Duration) -> String {
    let NodePong { node, round_trip_us, hops, .. } = *pong;
    let over = match hops {
        None => String::new(),
        Some(1) => " over 1 hop".to_owned(),
        Some(hops) => format!(" over {hops} hops"),
    };
    match round_trip_us {
        Some(us) => format!("{node} answered after {}{over}", ms(us)),
        None => format!("{node} did not answer within {timeout:?}"),
    }
}

fn show_times(asked: u32, times: &[u64]) -> String {
    let answered = times.len() as u64;
    let [Some(least), Some(most)] = [times.iter().min(), times.iter().max()] else {
        return format!("{asked} asked, none answered");
    };
    let mean = times.iter().sum::<u64>() / answered;
    format!(
        "{asked} asked, {answered} answered: {} at least, {} on average, {} at most",
        ms(*least),
        ms(mean),
        ms(*most)
    )
}

fn ms(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1e3)
}

fn show_trace(trace: &Trace) -> String {
    let mut rows = Vec::new();
    for (at, hop) in trace.hops.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| trace.hops[at].hop);
        // Answers are lost, and flooding names nobody.
        rows.extend((before.map_or(hop.hop, |before| before + 1)..hop.hop).map(unknown_hop));
        rows.push(hop_row(hop, trace.node));
    }
    table(["HOP", "NODE", "NEXT HOP", "LINK", "AFTER", "KEEPS"], &rows)
}

fn unknown_hop(hop: u8) -> [String; 6] {
    [hop.to_string(), "?".to_owned(), "?".to_owned(), "-".to_owned(), "-".to_owned(), "?".to_owned()]
}

fn hop_row(hop: &TraceHop, end: Address) -> [String; 6] {
    let next = match hop.next_hop {
        Some(next) => next.to_string(),
        None if hop.node == end => "-".to_owned(),
        None => "(flooded)".to_owned(),
    };
    let link = hop.link.map_or_else(|| "-".to_owned(), |link| format!("{:.0} %", link * 100.0));
    let keeps = if hop.keeps { "yes" } else { "-" };
    [hop.hop.to_string(), hop.node.to_string(), next, link, ms(hop.after_us), keeps.to_owned()]
}

#[cfg(test)]
mod tests {
    use mesh_agent::api::{MessageRef, Outcome};
    use mesh_protocol::MessageId;

    use super::*;

    fn step(at_us: u64, what: StepKind, node: Option<u16>) -> Step {
        let node = node.map(Address::new);
        Step { at_us, what, node, count: 1, until_us: None, outcome: None, why: None }
    }

    #[test]
    fn the_story_of_a_message_is_told_from_its_beginning_on() {
        let sent = Step { count: 4, until_us: Some(1_090_000), ..step(1_010_000, StepKind::Sent, Some(2)) };
        let gave_up =
            Step { why: Some("it\nwaited".into()), ..step(2_000_000, StepKind::Undelivered, Some(3)) };
        let end = Step { outcome: Some(Outcome::Unknown), ..step(6_000_000, StepKind::Ended, None) };
        let steps = vec![
            step(1_000_000, StepKind::Accepted, None),
            sent,
            step(1_050_000, StepKind::SecondHop, Some(4)),
            gave_up,
            end,
        ];
        let id = MessageRef { node: Address::new(1), id: MessageId(17) };
        let text = show_timeline(&Timeline { reference: None, id, steps, left_out: 2 });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "0x0001/17",
                "    AFTER  WHAT",
                "  0.000 s  accepted",
                "  0.010 s  sent to 0x0002, 4 times until 0.090 s",
                "  0.050 s  sent to 0x0004 instead, the second next hop",
                "  1.000 s  0x0003 gave a frame up: it\\nwaited",
                "  5.000 s  ended: unknown",
                "2 steps are left out in the middle",
            ]
        );
    }

    #[test]
    fn hops_of_a_trace_that_nobody_told_of_are_shown_as_unknown() {
        let hop = |hop, node, next: Option<u16>| TraceHop {
            hop,
            node: Address::new(node),
            next_hop: next.map(Address::new),
            link: next.map(|_| 0.9),
            after_us: 12_340,
            keeps: node == 2,
        };
        let hops = vec![hop(0, 1, Some(2)), hop(1, 2, None), hop(3, 6, None)];
        let text = show_trace(&Trace { reference: None, node: Address::new(6), reached: true, hops });
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "HOP NODE NEXT HOP LINK AFTER KEEPS",
                "0 0x0001 0x0002 90 % 12.3 ms -",
                "1 0x0002 (flooded) - 12.3 ms yes",
                "2 ? ? - - ?",
                "3 0x0006 - - 12.3 ms -",
            ]
        );
    }

    #[test]
    fn pings_are_summed_up() {
        assert_eq!(show_times(3, &[]), "3 asked, none answered");
        let some = show_times(3, &[10_000, 30_000]);
        assert_eq!(some, "3 asked, 2 answered: 10.0 ms at least, 20.0 ms on average, 30.0 ms at most");
    }
}
