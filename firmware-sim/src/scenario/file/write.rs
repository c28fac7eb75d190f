//! From a scenario to the tables of a file.
//!
//! Owns writing: every value is written down, so that a scenario found today means the same when a default has
//! changed. Only what is not there has no key.

use mesh_protocol::Duration;
use toml::Spanned;

use super::tables::{
    BulkTable, BurstTable, ClockJumpTable, CrashTable, DelayTable, DiscTable, FaultTable, FileTable,
    GridTable, IntruderTable, LayoutTable, LinkTable, LinksTable, NodeTable, OfficeTable, PartitionTable,
    PeriodicTable, PingTable, PlaceTable, PoissonTable, PropagationTable, RadioTable, RadiusTable,
    ReplayTable, Routes, RowTable, RuleTable, SigTable, StacksTable, TrafficTable, WlanTable,
};
use super::values::{NodeRef, Real, Time, WhoRef, Whole};
use crate::scenario::{
    FaultKind, Layout, LinkRule, Pattern, Place, RadioSettings, RuleAction, Scenario, ScheduledFault,
    SigOptions, Stacks, Traffic, Who,
};

/// The file of a scenario.
pub(super) fn file(scenario: &Scenario) -> FileTable {
    FileTable {
        name: Some(spanned(scenario.name.clone())),
        description: Some(scenario.description.clone()),
        settle: Some(Time(scenario.settle)),
        offered: Some(Time(scenario.offered)),
        drain: Some(Time(scenario.drain)),
        layout: spanned(layout(&scenario.layout)),
        nodes: Some(nodes(scenario)),
        links: Some(spanned(links(scenario))),
        radio: Some(radio(&scenario.radio)),
        wlan: scenario.wlan.as_ref().map(|wlan| WlanTable {
            duty: Real(wlan.duty),
            burst: Some(Time(wlan.burst)),
            dbm: Some(Real(wlan.dbm)),
        }),
        stacks: Some(stacks(&scenario.stacks)),
        traffic: scenario.traffic.iter().map(|traffic| spanned(traffic_table(scenario, traffic))).collect(),
        faults: Some(scenario.faults.iter().map(|fault| spanned(fault_table(scenario, fault))).collect()),
    }
}

/// What is written has no place yet.
fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn layout(layout: &Layout) -> LayoutTable {
    let mut table = LayoutTable::default();
    match layout {
        Layout::Line { nodes, spacing } => {
            table.line = Some(RowTable { nodes: Whole(*nodes), spacing: Real(*spacing) });
        }
        Layout::Diagonal { nodes, spacing } => {
            table.diagonal = Some(RowTable { nodes: Whole(*nodes), spacing: Real(*spacing) });
        }
        Layout::Grid { columns, rows, spacing, scatter } => {
            table.grid = Some(spanned(GridTable {
                columns: Whole(*columns),
                rows: Whole(*rows),
                spacing: Real(*spacing),
                scatter: Some(Real(*scatter)),
            }));
        }
        Layout::Disc { nodes, radius, apart } => {
            table.disc =
                Some(DiscTable { nodes: Whole(*nodes), radius: Real(*radius), apart: Some(Real(*apart)) });
        }
        Layout::Office { nodes, floors, width, depth, height } => {
            table.office = Some(OfficeTable {
                nodes: Whole(*nodes),
                floors: Whole(*floors),
                width: Real(*width),
                depth: Real(*depth),
                height: Some(Real(*height)),
            });
        }
        Layout::Given(places) => table.given = Some(spanned(places.iter().map(place).collect())),
    }
    table
}

fn place(place: &Place) -> PlaceTable {
    PlaceTable { x: Real(place.x), y: Real(place.y), z: Some(Real(place.z)), floor: Some(Whole(place.floor)) }
}

fn nodes(scenario: &Scenario) -> Vec<NodeTable> {
    let table = |(number, node): (&u32, &crate::scenario::NodeOptions)| NodeTable {
        number: spanned((*number).into()),
        name: node.name.clone().map(spanned),
        gateway: Some(node.gateway),
        relay: node.relay,
        drops: Some(node.drops),
        drift_ppm: Some(Real(node.drift_ppm)),
        tx_dbm: node.tx_dbm.map(Real),
        extended: node.extended,
        phy: node.phy,
        controller: node.controller,
        place: node.place.as_ref().map(place),
        routes: (!node.routes.is_empty()).then(|| routes(scenario, node)),
    };
    scenario.nodes.iter().map(table).collect()
}

fn routes(scenario: &Scenario, of: &crate::scenario::NodeOptions) -> Routes {
    let key = |number| match node(scenario, number).into_inner() {
        NodeRef::Number(number) => number.to_string(),
        NodeRef::Name(name) => name,
    };
    of.routes.iter().map(|(to, next)| (spanned(key(*to)), node(scenario, *next))).collect()
}

/// By name, where it has one.
fn node(scenario: &Scenario, number: u32) -> Spanned<NodeRef> {
    let name = scenario.nodes.get(&number).and_then(|node| node.name.clone());
    spanned(name.map_or(NodeRef::Number(number.into()), NodeRef::Name))
}

fn who(scenario: &Scenario, who: &Who) -> Spanned<WhoRef> {
    let word = |word: &str| WhoRef::One(NodeRef::Name(word.to_owned()));
    spanned(match who {
        Who::Node(number) => WhoRef::One(node(scenario, *number).into_inner()),
        Who::Nodes(numbers) => {
            WhoRef::Several(numbers.iter().map(|number| node(scenario, *number)).collect())
        }
        Who::Any => word("any"),
        Who::Everyone => word("everyone"),
    })
}

fn links(scenario: &Scenario) -> LinksTable {
    let mut table = LinksTable::default();
    match &scenario.links {
        LinkRule::Radius { reach, attenuation, beyond, loss } => {
            table.radius = Some(RadiusTable {
                reach: Real(*reach),
                attenuation: Real(*attenuation),
                beyond: Real(*beyond),
                loss: Some(Real(*loss)),
            });
        }
        LinkRule::Propagation { exponent, floor_loss, shadowing, fading, loss } => {
            table.propagation = Some(PropagationTable {
                exponent: Some(Real(*exponent)),
                floor_loss: Some(Real(*floor_loss)),
                shadowing: Some(Real(*shadowing)),
                fading: Some(Real(*fading)),
                loss: Some(Real(*loss)),
            });
        }
        LinkRule::Given(links) => {
            let link = |link: &crate::scenario::GivenLink| LinkTable {
                a: node(scenario, link.a),
                b: node(scenario, link.b),
                attenuation: Real(link.attenuation),
                loss: Some(Real(link.loss)),
            };
            table.given = Some(links.iter().map(|given| spanned(link(given))).collect());
        }
    }
    table
}

fn radio(radio: &RadioSettings) -> RadioTable {
    RadioTable {
        extended: Some(radio.extended),
        phy: Some(radio.phy),
        controller: Some(radio.controller),
        tx_dbm: Some(Real(radio.tx_dbm)),
        sensitivity_dbm: Some(Real(radio.sensitivity_dbm)),
        capture_db: Some(Real(radio.capture_db)),
        scan_interval: Some(Time(radio.scan_interval)),
        scan_window: Some(spanned(Time(radio.scan_window))),
    }
}

fn stacks(stacks: &Stacks) -> StacksTable {
    let SigOptions {
        ttl,
        transmit,
        transmit_interval,
        retransmit,
        retransmit_interval,
        relay_sets,
        host_delay,
    } = stacks.sig;
    StacksTable {
        mesh_ttl: Some(Whole(stacks.mesh_ttl.into())),
        flood_ttl: Some(Whole(stacks.flood_ttl.into())),
        sig: Some(SigTable {
            ttl: Some(Whole(ttl.into())),
            transmit: Some(Whole(transmit.into())),
            transmit_interval: Some(Time(transmit_interval)),
            retransmit: Some(Whole(retransmit.into())),
            retransmit_interval: Some(Time(retransmit_interval)),
            relay_sets: Some(Whole(relay_sets.into())),
            host_delay: Some(Time(host_delay)),
        }),
    }
}

fn traffic_table(scenario: &Scenario, traffic: &Traffic) -> TrafficTable {
    let mut table = TrafficTable {
        from: who(scenario, &traffic.from),
        to: who(scenario, &traffic.to),
        kind: Some(traffic.kind),
        priority: Some(traffic.priority),
        bytes: Some(Whole(traffic.bytes)),
        deadline: Some(Time(traffic.deadline)),
        start: Some(spanned(Time(traffic.start))),
        stop: traffic.stop.map(|stop| spanned(Time(stop))),
        ping: None,
        periodic: None,
        poisson: None,
        burst: None,
        bulk: None,
    };
    match traffic.pattern {
        Pattern::Ping { count, pause } => {
            table.ping = Some(PingTable { count: Whole(count), pause: Some(Time(pause)) });
        }
        Pattern::Periodic { every, jitter } => {
            table.periodic = Some(PeriodicTable { every: Time(every), jitter: Some(Time(jitter)) });
        }
        Pattern::Poisson { rate } => table.poisson = Some(PoissonTable { rate: Real(rate) }),
        Pattern::Burst { size, every } => {
            table.burst = Some(BurstTable { size: Whole(size), every: Time(every) });
        }
        Pattern::Bulk { count } => table.bulk = Some(BulkTable { count: Whole(count) }),
    }
    table
}

fn fault_table(scenario: &Scenario, fault: &ScheduledFault) -> FaultTable {
    let mut table = FaultTable {
        at: spanned(Time(fault.at)),
        crash: None,
        partition: None,
        drop: None,
        delay: None,
        duplicate: None,
        corrupt: None,
        clock_jump: None,
        forge: None,
        replay: None,
        member: None,
    };
    let intruder = |near: u32, rate: f64, lasts: Duration| {
        Some(IntruderTable { near: node(scenario, near), rate: Real(rate), lasts: Time(lasts) })
    };
    match &fault.what {
        FaultKind::Crash { node: crashed, down, flash } => {
            table.crash =
                Some(CrashTable { node: node(scenario, *crashed), down: Time(*down), flash: Some(*flash) });
        }
        FaultKind::Partition { nodes, lasts } => {
            let nodes = nodes.iter().map(|number| node(scenario, *number)).collect();
            table.partition = Some(PartitionTable { nodes, lasts: Time(*lasts) });
        }
        FaultKind::Rule { action, share, from, to, lasts } => {
            let [from, to] = [from, to].map(|number| number.map(|number| node(scenario, number)));
            let (share, lasts) = (Some(Real(*share)), Time(*lasts));
            let rule = match action {
                RuleAction::Delay(by) => {
                    table.delay = Some(DelayTable { by: Time(*by), share, from, to, lasts });
                    return table;
                }
                RuleAction::Drop => &mut table.drop,
                RuleAction::Duplicate => &mut table.duplicate,
                RuleAction::Corrupt => &mut table.corrupt,
            };
            *rule = Some(RuleTable { share, from, to, lasts });
        }
        FaultKind::ClockJump { node: jumping, by } => {
            table.clock_jump = Some(ClockJumpTable { node: node(scenario, *jumping), by: Time(*by) });
        }
        FaultKind::Forge { near, rate, lasts } => table.forge = intruder(*near, *rate, *lasts),
        FaultKind::Member { near, rate, lasts } => table.member = intruder(*near, *rate, *lasts),
        FaultKind::Replay { near, after, rate, lasts } => {
            table.replay = Some(ReplayTable {
                near: node(scenario, *near),
                after: Time(*after),
                rate: Real(*rate),
                lasts: Time(*lasts),
            });
        }
    }
    table
}
