//! What happens in a scenario: the traffic and the faults of a file.
//!
//! Owns the rules of their times and kinds. How many messages are too many is decided where all traffic is known.

use mesh_protocol::Duration;
use toml::Spanned;

use super::names::Names;
use super::tables::{DelayTable, FaultTable, RuleTable, TrafficTable};
use super::values::{time, written};
use super::wrong::{Wrong, one_of, wrong};
use crate::scenario::{FaultKind, Pattern, RuleAction, ScheduledFault, Traffic, Who, defaults};

pub(super) fn traffic(
    table: Spanned<TrafficTable>,
    names: &Names,
    offered: Duration,
) -> Result<Traffic, Wrong> {
    let at = table.span().start;
    let table = table.into_inner();
    let (from, to) = (names.who(&table.from)?, names.who(&table.to)?);
    let start_at = table.start.as_ref().map_or(at, |time| time.span().start);
    let start = table.start.map_or(Duration::ZERO, |span| span.into_inner().0);
    if start >= offered {
        let [start, offered] = [start, offered].map(|time| written(time.as_micros()));
        return wrong(
            start_at,
            format!(
                "`start` ({start}) is not before `offered` ends ({offered}); start earlier or offer longer"
            ),
        );
    }
    let stop_at = table.stop.as_ref().map_or(at, |time| time.span().start);
    let stop = table.stop.map(|span| span.into_inner().0);
    if stop.is_some_and(|stop| stop <= start) {
        return wrong(stop_at, "`stop` is not after `start`; stop later or start earlier");
    }
    let pattern = one_of(
        at,
        "this traffic",
        [
            (
                "ping",
                table.ping.map(|ping| {
                    if to == Who::Everyone {
                        return wrong(
                            table.to.span().start,
                            "a ping to everyone has no one answer; name a receiver, or write `to = \"any\"`",
                        );
                    }
                    Ok(Pattern::Ping { count: ping.count.0, pause: ping.pause.map_or(Duration::ZERO, time) })
                }),
            ),
            (
                "periodic",
                table.periodic.map(|periodic| {
                    let jitter = periodic.jitter.map_or(Duration::ZERO, time);
                    Ok(Pattern::Periodic { every: periodic.every.0, jitter })
                }),
            ),
            ("poisson", table.poisson.map(|poisson| Ok(Pattern::Poisson { rate: poisson.rate.0 }))),
            (
                "burst",
                table.burst.map(|burst| Ok(Pattern::Burst { size: burst.size.0, every: burst.every.0 })),
            ),
            ("bulk", table.bulk.map(|bulk| Ok(Pattern::Bulk { count: bulk.count.0 }))),
        ],
    )?;
    Ok(Traffic {
        from,
        to,
        kind: table.kind.unwrap_or(defaults::KIND),
        priority: table.priority.unwrap_or(defaults::PRIORITY),
        bytes: table.bytes.map_or(defaults::BYTES, |bytes| bytes.0),
        deadline: table.deadline.map_or(defaults::DEADLINE, time),
        start,
        stop,
        pattern,
    })
}

pub(super) fn fault(
    table: Spanned<FaultTable>,
    names: &Names,
    end: Duration,
) -> Result<ScheduledFault, Wrong> {
    let at = table.span().start;
    let table = table.into_inner();
    let (when_at, when) = (table.at.span().start, table.at.get_ref().0);
    if when >= end {
        let [when, end] = [when, end].map(|time| written(time.as_micros()));
        return wrong(
            when_at,
            format!(
                "at {when}, the run is over: `offered` and `drain` are {end} together; write an earlier `at`"
            ),
        );
    }
    Ok(ScheduledFault { at: when, what: fault_kind(at, table, names)? })
}

fn fault_kind(at: usize, table: FaultTable, names: &Names) -> Result<FaultKind, Wrong> {
    let plain = |table: Option<RuleTable>, action| table.map(|table| rule(&table, action, names));
    one_of(
        at,
        "this fault",
        [
            (
                "crash",
                table.crash.map(|crash| {
                    Ok(FaultKind::Crash {
                        node: names.node(&crash.node)?,
                        down: crash.down.0,
                        flash: crash.flash.unwrap_or(defaults::FLASH),
                    })
                }),
            ),
            (
                "partition",
                table.partition.map(|partition| {
                    Ok(FaultKind::Partition {
                        nodes: names.nodes(&partition.nodes)?,
                        lasts: partition.lasts.0,
                    })
                }),
            ),
            ("drop", plain(table.drop, RuleAction::Drop)),
            (
                "delay",
                table.delay.map(|DelayTable { by, share, from, to, lasts }| {
                    rule(&RuleTable { share, from, to, lasts }, RuleAction::Delay(by.0), names)
                }),
            ),
            ("duplicate", plain(table.duplicate, RuleAction::Duplicate)),
            ("corrupt", plain(table.corrupt, RuleAction::Corrupt)),
            (
                "clock_jump",
                table
                    .clock_jump
                    .map(|jump| Ok(FaultKind::ClockJump { node: names.node(&jump.node)?, by: jump.by.0 })),
            ),
            (
                "forge",
                table.forge.map(|forge| {
                    let near = names.node(&forge.near)?;
                    Ok(FaultKind::Forge { near, rate: forge.rate.0, lasts: forge.lasts.0 })
                }),
            ),
            (
                "replay",
                table.replay.map(|replay| {
                    Ok(FaultKind::Replay {
                        near: names.node(&replay.near)?,
                        after: replay.after.0,
                        rate: replay.rate.0,
                        lasts: replay.lasts.0,
                    })
                }),
            ),
            (
                "member",
                table.member.map(|member| {
                    let near = names.node(&member.near)?;
                    Ok(FaultKind::Member { near, rate: member.rate.0, lasts: member.lasts.0 })
                }),
            ),
        ],
    )
}

fn rule(table: &RuleTable, action: RuleAction, names: &Names) -> Result<FaultKind, Wrong> {
    Ok(FaultKind::Rule {
        action,
        share: table.share.map_or(1.0, |share| share.0),
        from: names.maybe(table.from.as_ref())?,
        to: names.maybe(table.to.as_ref())?,
        lasts: table.lasts.0,
    })
}
