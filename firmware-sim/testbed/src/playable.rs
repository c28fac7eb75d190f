//! Which scenarios can be played with real gateways.
//!
//! Owns the names of their gateways, and the words for what a real gateway cannot be told to do: it is said before anything is
//! played, and nothing is passed over in silence.

use firmware_sim::scenario::{FaultKind, Flash, Scenario};
use mesh_agent::api::Name;

/// Gateways that one world may have: each is a whole engine with a store. A guess.
pub(super) const GATEWAYS_MAX: usize = 100;

/// What of a scenario cannot be played with real gateways.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplayable {
    /// There are only devices.
    #[error(
        "playing {0}: no node of it is a gateway; give one `gateway = true`, or play it with `mesh-sim run`"
    )]
    NoGateway(String),
    /// There are too many.
    #[error(
        "playing the scenario: it has {0} gateways, and {GATEWAYS_MAX} is the most; make devices of some, or play it with `mesh-sim run`"
    )]
    TooMany(usize),
    /// A gateway's agent bears its name, and names of agents have fewer letters.
    #[error(
        "playing gateway {node}: {name:?} can be no agent's name; call it something of at most 32 ASCII letters, digits, `-`, `_` and `.`"
    )]
    Name {
        /// The node's number.
        node: u32,
        /// Its name.
        name: String,
    },
    /// Two gateways would have agents of one name.
    #[error(
        "playing the scenario: the agents of two gateways would be called {0:?}, as a node without a name is called by its number; rename the other one"
    )]
    NameTwice(String),
    /// A gateway's clock is the simulation's.
    #[error(
        "playing gateway {0}: its clock cannot drift; leave its `drift_ppm` out, or play the scenario with `mesh-sim run`"
    )]
    Drift(String),
    /// A gateway relays, always.
    #[error(
        "playing gateway {0}: a gateway always relays; leave its `relay` out, or play the scenario with `mesh-sim run`"
    )]
    NoRelay(String),
    /// A gateway has its routes from its operator.
    #[error(
        "playing gateway {0}: it cannot be given routes; leave its `routes` out, or play the scenario with `mesh-sim run`"
    )]
    Routes(String),
    /// A gateway's clock is the simulation's.
    #[error(
        "playing a `clock_jump` of gateway {0}: its clock cannot jump; let a device's do so, or play the scenario with `mesh-sim run`"
    )]
    ClockJump(String),
    /// A real disk has what was synced, and of the rest what chance leaves.
    #[error(
        "playing a `crash` of gateway {0}: what its disk loses cannot be chosen, as it keeps what was synced; leave `flash` out, or play the scenario with `mesh-sim run`"
    )]
    Flash(String),
}

/// The gateways of a scenario that can be played: number and name of each, in order. Its agent bears the same name.
pub(super) fn gateways(scenario: &Scenario) -> Result<Vec<(u32, Name)>, Unplayable> {
    let mut gateways: Vec<(u32, Name)> = Vec::new();
    for (&node, options) in scenario.nodes.iter().filter(|(_, options)| options.gateway) {
        let name = options.name.clone().unwrap_or_else(|| format!("node-{node}"));
        let Ok(agent) = Name::new(&name) else { return Err(Unplayable::Name { node, name }) };
        if gateways.iter().any(|(_, other)| *other == agent) {
            return Err(Unplayable::NameTwice(name));
        }
        if options.drift_ppm != 0.0 {
            return Err(Unplayable::Drift(name));
        }
        if options.relay == Some(false) {
            return Err(Unplayable::NoRelay(name));
        }
        if !options.routes.is_empty() {
            return Err(Unplayable::Routes(name));
        }
        gateways.push((node, agent));
    }
    let named =
        |node: &u32| gateways.iter().find(|(gateway, _)| gateway == node).map(|(_, name)| name.to_string());
    for fault in &scenario.faults {
        match &fault.what {
            FaultKind::ClockJump { node, .. } => {
                if let Some(name) = named(node) {
                    return Err(Unplayable::ClockJump(name));
                }
            }
            FaultKind::Crash { node, flash: Flash::Lost | Flash::Torn, .. } => {
                if let Some(name) = named(node) {
                    return Err(Unplayable::Flash(name));
                }
            }
            // A crash that leaves the disk alone is a power cut. The others befall the air, which is the same for everyone.
            FaultKind::Crash { flash: Flash::Kept, .. }
            | FaultKind::Partition { .. }
            | FaultKind::Rule { .. }
            | FaultKind::Forge { .. }
            | FaultKind::Replay { .. }
            | FaultKind::Member { .. } => {}
        }
    }
    match gateways.len() {
        0 => Err(Unplayable::NoGateway(scenario.name.clone())),
        1..=GATEWAYS_MAX => Ok(gateways),
        many => Err(Unplayable::TooMany(many)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(nodes: &str, rest: &str) -> Result<Vec<(u32, Name)>, Unplayable> {
        let text =
            format!("nodes = [{nodes}]\nlayout.line = {{ nodes = 120, spacing = 5 }}\ntraffic = []\n{rest}");
        gateways(&Scenario::parse("x.toml", &text).unwrap_or_else(|error| panic!("{error}")))
    }

    #[test]
    fn what_a_real_gateway_cannot_do_is_named_and_nothing_else_is_refused() {
        let two = "{ number = 3, gateway = true }, { number = 5, name = \"desk\", gateway = true }";
        let fine = "faults = [{ at = \"1s\", crash = { node = 3, down = \"1s\" } }, \
                    { at = \"1s\", crash = { node = 4, down = \"1s\", flash = \"torn\" } }, \
                    { at = \"1s\", clock_jump = { node = 4, by = \"1s\" } }, \
                    { at = \"1s\", partition = { nodes = [3, 4], lasts = \"1s\" } }, \
                    { at = \"1s\", drop = { to = 3, lasts = \"1s\" } }, \
                    { at = \"1s\", forge = { near = 3, rate = 1, lasts = \"1s\" } }]";
        let names = check(&format!("{two}, {{ number = 4, routes = {{ 3 = 5 }} }}"), fine).unwrap();
        assert_eq!(
            names.iter().map(|(n, name)| (*n, name.as_str())).collect::<Vec<_>>(),
            [(3, "node-3"), (5, "desk")]
        );

        let desk = || "desk".to_owned();
        let one = |more: &str| format!("{{ number = 5, name = \"desk\", gateway = true{more} }}");
        let fault = |what: &str| format!("faults = [{{ at = \"1s\", {what} }}]");
        let cases = [
            (String::new(), String::new(), Unplayable::NoGateway("x".into())),
            (one(", drift_ppm = 3"), String::new(), Unplayable::Drift(desk())),
            (one(", relay = false"), String::new(), Unplayable::NoRelay(desk())),
            (one(", routes = { 3 = 4 }"), String::new(), Unplayable::Routes(desk())),
            (one(""), fault("clock_jump = { node = 5, by = \"1s\" }"), Unplayable::ClockJump(desk())),
            (
                one(""),
                fault("crash = { node = 5, down = \"1s\", flash = \"lost\" }"),
                Unplayable::Flash(desk()),
            ),
            (
                one(""),
                fault("crash = { node = 5, down = \"1s\", flash = \"torn\" }"),
                Unplayable::Flash(desk()),
            ),
            (
                one("").replace("desk", "küche"),
                String::new(),
                Unplayable::Name { node: 5, name: "küche".into() },
            ),
            (
                format!("{}, {{ number = 9, gateway = true }}", one("").replace("desk", "node-9")),
                String::new(),
                Unplayable::NameTwice("node-9".into()),
            ),
        ];
        for (nodes, rest, why) in cases {
            let text = why.to_string();
            assert!(
                text.starts_with("playing ") && text.contains("; "),
                "what was attempted, and what to do: {text}"
            );
            assert_eq!(check(&nodes, &rest), Err(why));
        }
        let all: Vec<String> = (0..101).map(|n| format!("{{ number = {n}, gateway = true }}")).collect();
        assert_eq!(check(&all[..100].join(", "), "").map(|all| all.len()), Ok(100));
        assert_eq!(check(&all.join(", "), ""), Err(Unplayable::TooMany(101)));
    }
}
