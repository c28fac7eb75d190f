//! The nodes of a file by number and by name, and the words that mean several.
//!
//! Owns which names there may be, and the error for one that is unknown.

use std::collections::BTreeMap;

use toml::Spanned;

use super::layout::place;
use super::tables::{NodeTable, Routes};
use super::values::{NodeRef, WhoRef};
use super::wrong::{Wrong, wrong};
use crate::scenario::{Layout, NodeOptions, Who};

/// The longest name of a node or a scenario, in characters. A guess: it has to fit a column of a report.
pub(super) const NAME_MAX: usize = 32;
/// Words for several nodes, which therefore no node may bear.
const WORDS: [&str; 3] = ["any", "everyone", "gateways"];
/// Names listed in an error at most.
const NAMES_LISTED: usize = 12;

pub(super) fn is_title(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.chars().count()) && !name.contains(char::is_control)
}

/// Whether a node may be called so: no number, and nothing that would have to be quoted anywhere.
fn is_node_name(name: &str) -> bool {
    is_title(name)
        && name.starts_with(char::is_alphabetic)
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// The nodes by number and by name, to find those that the rest of the file speaks of.
pub(super) struct Names {
    count: u32,
    numbers: BTreeMap<String, u32>,
    gateways: Vec<u32>,
}

/// The nodes of a file that differ from the rest, and the names they bear.
pub(super) fn nodes(
    tables: Vec<NodeTable>,
    layout: &Layout,
) -> Result<(BTreeMap<u32, NodeOptions>, Names), Wrong> {
    let mut names = Names { count: layout.nodes(), numbers: BTreeMap::new(), gateways: Vec::new() };
    let (mut nodes, mut routes) = (BTreeMap::new(), Vec::new());
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
            drops: table.drops.unwrap_or_default(),
            place: table.place.as_ref().map(|table| place(table, |floor| layout.ground(floor))),
            drift_ppm: table.drift_ppm.map_or(0.0, |ppm| ppm.0),
            tx_dbm: table.tx_dbm.map(|dbm| dbm.0),
            extended: table.extended,
            phy: table.phy,
            controller: table.controller,
            routes: BTreeMap::new(),
        };
        routes.extend(table.routes.map(|table| (at, number, table)));
        if node.gateway {
            names.gateways.push(number);
        }
        if nodes.insert(number, node).is_some() {
            return wrong(at, format!("node {number} is described twice; put both into one"));
        }
    }
    names.gateways.sort_unstable();
    // They may name nodes that are described further down.
    for (at, number, table) in routes {
        if let Some(node) = nodes.get_mut(&number) {
            node.routes = names.routes(at, number, &table, node.routes_max())?;
        }
    }
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

    pub(super) fn node(&self, node: &Spanned<NodeRef>) -> Result<u32, Wrong> {
        self.find(node.span().start, node.get_ref())
    }

    pub(super) fn nodes(&self, nodes: &[Spanned<NodeRef>]) -> Result<Vec<u32>, Wrong> {
        nodes.iter().map(|node| self.node(node)).collect()
    }

    pub(super) fn maybe(&self, node: Option<&Spanned<NodeRef>>) -> Result<Option<u32>, Wrong> {
        node.map(|node| self.node(node)).transpose()
    }

    /// The routes of node `own`, described `at` this place, of which it has room for `most`.
    fn routes(&self, at: usize, own: u32, table: &Routes, most: usize) -> Result<BTreeMap<u32, u32>, Wrong> {
        let count = table.len();
        if count > most {
            return wrong(
                at,
                format!(
                    "node {own} has {count} `routes`, and {most} is the most it has room for; leave some out"
                ),
            );
        }
        let mut routes = BTreeMap::new();
        for (key, next) in table {
            let at = key.span().start;
            let key = key.get_ref();
            // No name begins with a digit.
            let to = key.parse().map_or_else(|_| NodeRef::Name(key.clone()), NodeRef::Number);
            let (to, next_hop) = (self.find(at, &to)?, self.node(next)?);
            if to == own {
                return wrong(at, format!("node {own} needs no route to itself; name another node"));
            }
            if next_hop == own {
                let what = "is no next hop of its own; name a neighbour, or the destination if it is one";
                return wrong(next.span().start, format!("node {own} {what}"));
            }
            if routes.insert(to, next_hop).is_some() {
                return wrong(at, format!("there are two routes to node {to}; keep one of them"));
            }
        }
        Ok(routes)
    }

    pub(super) fn who(&self, who: &Spanned<WhoRef>) -> Result<Who, Wrong> {
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
