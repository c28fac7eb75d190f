//! From the tables of a file to a scenario.
//!
//! Owns defaults and the rules that span several values. Ranges of single values are checked as they are read, names are
//! `names`' business, traffic and faults `events`'.

use std::collections::BTreeSet;

use toml::Spanned;

use super::events::{fault, traffic};
use super::layout::layout;
use super::names::{NAME_MAX, Names, is_title, nodes};
use super::tables::{FileTable, LinksTable, RadioTable, SigTable, StacksTable, WlanTable};
use super::values::{time, written};
use super::wrong::{Wrong, one_of, wrong};
use crate::scenario::{
    ControllerModel, GivenLink, LinkRule, MESSAGES_MAX, RadioSettings, Scenario, SigOptions, Stacks, Wlan,
    defaults,
};

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
    for number in scenario.nodes.keys() {
        let radio = scenario.radio_of(*number);
        if radio.extended && radio.controller == ControllerModel::Pi4 {
            return wrong(
                0,
                format!(
                    "node {number} has the `controller` \"pi4\", which has no `extended` advertising; leave one of them out"
                ),
            );
        }
    }
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
        let mut seen = BTreeSet::new();
        let mut given = Vec::new();
        for link in links {
            let at = link.span().start;
            let link = link.into_inner();
            let (a, b) = (names.node(&link.a)?, names.node(&link.b)?);
            if a == b {
                return wrong(at, format!("node {a} hears itself without a link; link it to another"));
            }
            if !seen.insert((a.min(b), a.max(b))) {
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

fn radio(table: RadioTable) -> Result<RadioSettings, Wrong> {
    let fallback = defaults::RADIO;
    let extended = table.extended.unwrap_or(fallback.extended);
    let controller = table.controller.unwrap_or(fallback.controller);
    if extended && controller == ControllerModel::Pi4 {
        return wrong(
            0,
            "a `radio` whose `controller` is \"pi4\" has no `extended` advertising; leave one of them out",
        );
    }
    let scan_interval = table.scan_interval.map_or(fallback.scan_interval, time);
    let window_at = table.scan_window.as_ref().map_or(0, |time| time.span().start);
    let scan_window = table.scan_window.map_or(scan_interval, |span| span.into_inner().0);
    if scan_window > scan_interval {
        let [window, interval] = [scan_window, scan_interval].map(|time| written(time.as_micros()));
        return wrong(
            window_at,
            format!(
                "`scan_window` ({window}) is longer than `scan_interval` ({interval}); write a shorter window or a \
                 longer interval"
            ),
        );
    }
    Ok(RadioSettings {
        extended,
        phy: table.phy.unwrap_or(fallback.phy),
        controller,
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
