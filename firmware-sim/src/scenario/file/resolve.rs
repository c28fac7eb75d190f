//! From the tables of a file to a scenario.
//!
//! Owns defaults, names, and the rules that span several values. Ranges of single values are checked as they are read.

use std::collections::BTreeMap;

use mesh_protocol::Duration;
use toml::Spanned;

use super::tables::{
    DelayTable, FaultTable, FileTable, LayoutTable, LinksTable, NodeTable, PlaceTable, RadioTable, RuleTable,
    SigTable, StacksTable, TrafficTable, WlanTable,
};
use super::values::{NodeRef, Time, WhoRef, written};
use crate::scenario::{
    Fault, FaultKind, GivenLink, Layout, LinkRule, MESSAGES_MAX, NODES_MAX, NodeOptions, Pattern, Place,
    Radio, Scenario, SigOptions, Stacks, Traffic, Verdict, Who, Wlan, defaults,
};

/// The longest name of a node or a scenario, in characters. A guess: it has to fit a column of a report.
const NAME_MAX: usize = 32;
/// Words for several nodes, which therefore no node may bear.
const WORDS: [&str; 3] = ["any", "everyone", "gateways"];
/// Names listed in an error at most.
const NAMES_LISTED: usize = 12;

/// What is wrong, and where: an offset into the text.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) what: String,
}

fn wrong<T>(at: usize, what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at, what: what.into() })
}

/// The scenario of a file; `stem` is its name where the file says none.
pub(super) fn scenario(file: FileTable, stem: &str) -> Result<Scenario, Wrong> {
    let name = match file.name {
        Some(name) if !is_title(name.get_ref()) => {
            return wrong(
                name.span().start,
                format!("this is no `name`; write 1 to {NAME_MAX} characters on one line"),
            );
        }
        Some(name) => name.into_inner(),
        None if is_title(stem) => stem.to_owned(),
        None => "scenario".to_owned(),
    };
    let layout = layout(file.layout)?;
    let (nodes, names) = nodes(file.nodes.unwrap_or_default(), &layout)?;
    let mut scenario = Scenario {
        name,
        description: file.description.unwrap_or_default(),
        settle: file.settle.map_or(defaults::SETTLE, time),
        offered: file.offered.map_or(defaults::OFFERED, time),
        drain: file.drain.map_or(defaults::DRAIN, time),
        layout,
        nodes,
        links: links(file.links, &names)?,
        radio: radio(file.radio.unwrap_or_default())?,
        wlan: file.wlan.map(wlan),
        stacks: stacks(file.stacks.unwrap_or_default()),
        traffic: Vec::new(),
        faults: Vec::new(),
    };
    let mut asked = 0_u64;
    for table in file.traffic {
        let at = table.span().start;
        let traffic = traffic(table, &names, scenario.offered)?;
        if !scenario.has_pairs(&traffic) {
            return wrong(at, "nobody sends this to anybody but itself; name a receiver besides the sender");
        }
        asked = asked.saturating_add(scenario.asked(&traffic));
        if asked > MESSAGES_MAX {
            return wrong(
                at,
                format!(
                    "with this traffic, the scenario asks for {asked} messages, and {MESSAGES_MAX} are the most; ask \
                     for fewer, or for a shorter time"
                ),
            );
        }
        scenario.traffic.push(traffic);
    }
    let end = scenario.offered + scenario.drain;
    for table in file.faults.unwrap_or_default() {
        scenario.faults.push(fault(table, &names, end)?);
    }
    // Stable: of several at one moment, the first in the file comes first.
    scenario.faults.sort_by_key(|fault| fault.at);
    Ok(scenario)
}

fn time<const MIN: u64, const MAX: u64>(time: Time<MIN, MAX>) -> Duration {
    time.0
}

fn is_title(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.chars().count()) && !name.contains(char::is_control)
}

/// Whether a node may be called so: no number, and nothing that would have to be quoted anywhere.
fn is_node_name(name: &str) -> bool {
    is_title(name)
        && name.starts_with(char::is_alphabetic)
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// The one kind that is there.
fn one_of<T, const N: usize>(
    at: usize,
    of: &str,
    kinds: [(&str, Option<Result<T, Wrong>>); N],
) -> Result<T, Wrong> {
    let names = kinds.each_ref().map(|(name, _)| format!("`{name}`")).join(", ");
    let mut found = kinds.into_iter().filter_map(|(name, kind)| Some((name, kind?)));
    match (found.next(), found.next()) {
        (Some((_, kind)), None) => kind,
        (None, _) => wrong(at, format!("{of} says nothing of its kind; add one of {names}")),
        (Some((first, _)), Some((second, _))) => {
            wrong(at, format!("{of} has both `{first}` and `{second}`; keep one of them"))
        }
    }
}

fn layout(table: Spanned<LayoutTable>) -> Result<Layout, Wrong> {
    let at = table.span().start;
    let table = table.into_inner();
    let layout = one_of(
        at,
        "the layout",
        [
            ("line", table.line.map(|row| Ok(Layout::Line { nodes: row.nodes.0, spacing: row.spacing.0 }))),
            (
                "diagonal",
                table.diagonal.map(|row| Ok(Layout::Diagonal { nodes: row.nodes.0, spacing: row.spacing.0 })),
            ),
            (
                "grid",
                table.grid.map(|grid| {
                    let at = grid.span().start;
                    let grid = grid.into_inner();
                    let nodes = u64::from(grid.columns.0) * u64::from(grid.rows.0);
                    if nodes > NODES_MAX.into() {
                        return wrong(
                            at,
                            format!("a grid of {nodes} nodes is too large; write at most {NODES_MAX}"),
                        );
                    }
                    Ok(Layout::Grid {
                        columns: grid.columns.0,
                        rows: grid.rows.0,
                        spacing: grid.spacing.0,
                        scatter: grid.scatter.map_or(0.0, |metres| metres.0),
                    })
                }),
            ),
            (
                "disc",
                table.disc.map(|disc| {
                    Ok(Layout::Disc {
                        nodes: disc.nodes.0,
                        radius: disc.radius.0,
                        apart: disc.apart.map_or(0.0, |metres| metres.0),
                    })
                }),
            ),
            (
                "office",
                table.office.map(|office| {
                    Ok(Layout::Office {
                        nodes: office.nodes.0,
                        floors: office.floors.0,
                        width: office.width.0,
                        depth: office.depth.0,
                        height: office.height.map_or(defaults::FLOOR_HEIGHT, |metres| metres.0),
                    })
                }),
            ),
            (
                "given",
                table.given.map(|places| {
                    let at = places.span().start;
                    let places = places.into_inner();
                    if !(1..=NODES_MAX as usize).contains(&places.len()) {
                        let count = places.len();
                        return wrong(at, format!("{count} places are given; give 1 to {NODES_MAX}"));
                    }
                    Ok(Layout::Given(places.iter().map(|table| place(table, |_| 0.0)).collect()))
                }),
            ),
        ],
    )?;
    Ok(layout)
}

fn place(table: &PlaceTable, ground: impl Fn(u32) -> f64) -> Place {
    let floor = table.floor.map_or(0, |floor| floor.0);
    Place { x: table.x.0, y: table.y.0, z: table.z.map_or_else(|| ground(floor), |z| z.0), floor }
}

/// The nodes by number and by name, to find those that the rest of the file speaks of.
struct Names {
    count: u32,
    numbers: BTreeMap<String, u32>,
    gateways: Vec<u32>,
}

fn nodes(tables: Vec<NodeTable>, layout: &Layout) -> Result<(BTreeMap<u32, NodeOptions>, Names), Wrong> {
    let mut names = Names { count: layout.nodes(), numbers: BTreeMap::new(), gateways: Vec::new() };
    let mut nodes = BTreeMap::new();
    for table in tables {
        let at = table.number.span().start;
        let number = names.numbered(at, table.number.into_inner())?;
        if let Some(name) = &table.name {
            let (at, name) = (name.span().start, name.get_ref());
            if !is_node_name(name) {
                return wrong(
                    at,
                    format!(
                        "{name:?} is no name for a node; begin with a letter and write at most {NAME_MAX} letters, \
                         digits, `-`, `_` and `.`"
                    ),
                );
            }
            if WORDS.contains(&name.as_str()) {
                return wrong(at, format!("`{name}` is a word for several nodes; name this one otherwise"));
            }
            if let Some(other) = names.numbers.insert(name.clone(), number) {
                return wrong(at, format!("node {other} is named `{name}` already; name this one otherwise"));
            }
        }
        let node = NodeOptions {
            name: table.name.map(Spanned::into_inner),
            gateway: table.gateway.unwrap_or_default(),
            relay: table.relay,
            place: table.place.as_ref().map(|table| place(table, |floor| layout.ground(floor))),
            drift_ppm: table.drift_ppm.map_or(0.0, |ppm| ppm.0),
            tx_dbm: table.tx_dbm.map(|dbm| dbm.0),
        };
        if node.gateway {
            names.gateways.push(number);
        }
        if nodes.insert(number, node).is_some() {
            return wrong(at, format!("node {number} is described twice; put both into one"));
        }
    }
    names.gateways.sort_unstable();
    Ok((nodes, names))
}

impl Names {
    fn numbered(&self, at: usize, number: i64) -> Result<u32, Wrong> {
        match u32::try_from(number) {
            Ok(number) if number < self.count => Ok(number),
            _ => wrong(at, format!("there is no node {number}; the layout has 0 to {}", self.count - 1)),
        }
    }

    fn find(&self, at: usize, node: &NodeRef) -> Result<u32, Wrong> {
        let name = match node {
            NodeRef::Number(number) => return self.numbered(at, *number),
            NodeRef::Name(name) => name,
        };
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let mut known: Vec<_> =
            self.numbers.keys().take(NAMES_LISTED).map(|name| format!("`{name}`")).collect();
        if known.is_empty() {
            known.push("none".to_owned());
        } else if self.numbers.len() > known.len() {
            known.push("...".to_owned());
        }
        wrong(
            at,
            format!(
                "no node is named {name:?}; named in `nodes`: {}; or give a number, 0 to {}",
                known.join(", "),
                self.count - 1
            ),
        )
    }

    fn node(&self, node: &Spanned<NodeRef>) -> Result<u32, Wrong> {
        self.find(node.span().start, node.get_ref())
    }

    fn nodes(&self, nodes: &[Spanned<NodeRef>]) -> Result<Vec<u32>, Wrong> {
        nodes.iter().map(|node| self.node(node)).collect()
    }

    fn maybe(&self, node: Option<&Spanned<NodeRef>>) -> Result<Option<u32>, Wrong> {
        node.map(|node| self.node(node)).transpose()
    }

    fn who(&self, who: &Spanned<WhoRef>) -> Result<Who, Wrong> {
        let at = who.span().start;
        Ok(match who.get_ref() {
            WhoRef::One(NodeRef::Name(word)) if word == "any" => Who::Any,
            WhoRef::One(NodeRef::Name(word)) if word == "everyone" => Who::Everyone,
            WhoRef::One(NodeRef::Name(word)) if word == "gateways" => {
                if self.gateways.is_empty() {
                    return wrong(at, "no node is a gateway; say `gateway = true` of some in `nodes`");
                }
                Who::Nodes(self.gateways.clone())
            }
            WhoRef::One(node) => Who::Node(self.find(at, node)?),
            WhoRef::Several(nodes) if nodes.is_empty() => {
                return wrong(at, "the list is empty; name at least one node");
            }
            WhoRef::Several(nodes) => Who::Nodes(self.nodes(nodes)?),
        })
    }
}

fn links(table: Option<Spanned<LinksTable>>, names: &Names) -> Result<LinkRule, Wrong> {
    let Some(table) = table else { return Ok(defaults::LINKS) };
    let at = table.span().start;
    let table = table.into_inner();
    let radius = table.radius.map(|radius| {
        Ok(LinkRule::Radius {
            reach: radius.reach.0,
            attenuation: radius.attenuation.0,
            beyond: radius.beyond.0,
            loss: radius.loss.map_or(0.0, |share| share.0),
        })
    });
    let propagation = table.propagation.map(|propagation| {
        Ok(LinkRule::Propagation {
            exponent: propagation.exponent.map_or(defaults::EXPONENT, |n| n.0),
            floor_loss: propagation.floor_loss.map_or(defaults::FLOOR_LOSS, |db| db.0),
            shadowing: propagation.shadowing.map_or(defaults::SHADOWING, |db| db.0),
            fading: propagation.fading.map_or(defaults::FADING, |db| db.0),
            loss: propagation.loss.map_or(0.0, |share| share.0),
        })
    });
    let given = table.given.map(|links| {
        let mut seen = BTreeMap::new();
        let mut given = Vec::new();
        for link in links {
            let at = link.span().start;
            let link = link.into_inner();
            let (a, b) = (names.node(&link.a)?, names.node(&link.b)?);
            if a == b {
                return wrong(at, format!("node {a} hears itself without a link; link it to another"));
            }
            if seen.insert((a.min(b), a.max(b)), ()).is_some() {
                return wrong(
                    at,
                    format!("nodes {a} and {b} are linked twice; a link goes both ways, keep one"),
                );
            }
            let loss = link.loss.map_or(0.0, |share| share.0);
            given.push(GivenLink { a, b, attenuation: link.attenuation.0, loss });
        }
        Ok(LinkRule::Given(given))
    });
    one_of(at, "`links`", [("radius", radius), ("propagation", propagation), ("given", given)])
}

fn radio(table: RadioTable) -> Result<Radio, Wrong> {
    let fallback = defaults::RADIO;
    let interval_at = table.scan_interval.as_ref().map(|time| time.span().start);
    let scan_interval = table.scan_interval.map_or(fallback.scan_interval, |span| span.into_inner().0);
    let window_at = table.scan_window.as_ref().map(|time| time.span().start);
    // Who asks for a longer interval only, asks for pauses.
    let scan_window = table.scan_window.map_or(fallback.scan_window, |span| span.into_inner().0);
    if scan_window > scan_interval {
        let [window, interval] = [scan_window, scan_interval].map(|time| written(time.as_micros()));
        return wrong(
            window_at.or(interval_at).unwrap_or_default(),
            format!(
                "`scan_window` ({window}) is longer than `scan_interval` ({interval}); write a shorter window or a \
                 longer interval"
            ),
        );
    }
    Ok(Radio {
        extended: table.extended.unwrap_or(fallback.extended),
        tx_dbm: table.tx_dbm.map_or(fallback.tx_dbm, |dbm| dbm.0),
        sensitivity_dbm: table.sensitivity_dbm.map_or(fallback.sensitivity_dbm, |dbm| dbm.0),
        capture_db: table.capture_db.map_or(fallback.capture_db, |db| db.0),
        scan_interval,
        scan_window,
    })
}

fn wlan(table: WlanTable) -> Wlan {
    Wlan {
        duty: table.duty.0,
        burst: table.burst.map_or(defaults::WLAN_BURST, time),
        dbm: table.dbm.map_or(defaults::WLAN_DBM, |dbm| dbm.0),
    }
}

fn stacks(table: StacksTable) -> Stacks {
    let fallback = defaults::STACKS;
    Stacks {
        mesh_ttl: table.mesh_ttl.map_or(fallback.mesh_ttl, |ttl| small(ttl.0)),
        sig: sig(table.sig.unwrap_or_default()),
        flood_ttl: table.flood_ttl.map_or(fallback.flood_ttl, |ttl| small(ttl.0)),
    }
}

fn sig(table: SigTable) -> SigOptions {
    let fallback = defaults::SIG;
    SigOptions {
        ttl: table.ttl.map_or(fallback.ttl, |ttl| small(ttl.0)),
        transmit: table.transmit.map_or(fallback.transmit, |copies| small(copies.0)),
        transmit_interval: table.transmit_interval.map_or(fallback.transmit_interval, time),
        retransmit: table.retransmit.map_or(fallback.retransmit, |copies| small(copies.0)),
        retransmit_interval: table.retransmit_interval.map_or(fallback.retransmit_interval, time),
        relay_sets: table.relay_sets.map_or(fallback.relay_sets, |sets| small(sets.0)),
        host_delay: table.host_delay.map_or(fallback.host_delay, time),
    }
}

/// A number whose range the tables keep below 256.
fn small(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn traffic(table: Spanned<TrafficTable>, names: &Names, offered: Duration) -> Result<Traffic, Wrong> {
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

fn fault(table: Spanned<FaultTable>, names: &Names, end: Duration) -> Result<Fault, Wrong> {
    let at = table.span().start;
    let table = table.into_inner();
    let (when_at, when) = (table.at.span().start, table.at.into_inner().0);
    if when >= end {
        let [when, end] = [when, end].map(|time| written(time.as_micros()));
        return wrong(
            when_at,
            format!(
                "at {when}, the run is over: `offered` and `drain` are {end} together; write an earlier `at`"
            ),
        );
    }
    let plain = |table: Option<RuleTable>, verdict| table.map(|table| rule(&table, verdict, names));
    let what = one_of(
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
            ("drop", plain(table.drop, Verdict::Drop)),
            (
                "delay",
                table.delay.map(|DelayTable { by, share, from, to, lasts }| {
                    rule(&RuleTable { share, from, to, lasts }, Verdict::Delay(by.0), names)
                }),
            ),
            ("duplicate", plain(table.duplicate, Verdict::Duplicate)),
            ("corrupt", plain(table.corrupt, Verdict::Corrupt)),
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
    )?;
    Ok(Fault { at: when, what })
}

fn rule(table: &RuleTable, verdict: Verdict, names: &Names) -> Result<FaultKind, Wrong> {
    Ok(FaultKind::Rule {
        verdict,
        share: table.share.map_or(1.0, |share| share.0),
        from: names.maybe(table.from.as_ref())?,
        to: names.maybe(table.to.as_ref())?,
        lasts: table.lasts.0,
    })
}
