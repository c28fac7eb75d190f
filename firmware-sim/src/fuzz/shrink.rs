//! Makes a case that fails smaller while it still fails.
//!
//! Owns the order in which things are left out. It looks for a case that is small enough to read, not for the smallest one.

use super::FuzzFailure;
use super::case::{Mode, is_connected};
use super::play::play;
use crate::scenario::{FaultKind, Layout, LinkRule, NodeOptions, Scenario, Who};

/// Leaves out faults, messages, nodes and routes while the same rule is broken, in at most `tries` runs.
#[must_use]
pub fn shrink(failure: &FuzzFailure, tries: u32) -> FuzzFailure {
    let mut best = failure.clone();
    let mut left = tries;
    let mut attempt = |best: &mut FuzzFailure, case: Scenario| {
        // In a network that falls apart messages need not arrive: it would fail for a reason of its own.
        if left == 0 || (Mode::of(&case) == Mode::Liveness && !is_connected(&case)) {
            return false;
        }
        left -= 1;
        match play(&case, best.seed) {
            // Another rule is another failure.
            Err(smaller) if smaller.violation.rule == best.violation.rule => {
                *best = *smaller;
                true
            }
            _ => false,
        }
    };
    // Until a round changes nothing: with a fault gone, a node that was needed for it may go too.
    loop {
        let before = size(&best.case);
        leave_out(
            &mut best,
            &mut attempt,
            |case| case.faults.len(),
            |case, from, to| drop(case.faults.drain(from..to)),
        );
        leave_out(
            &mut best,
            &mut attempt,
            |case| case.traffic.len(),
            |case, from, to| drop(case.traffic.drain(from..to)),
        );
        leave_out(&mut best, &mut attempt, nodes, |case, from, to| {
            (from..to).rev().for_each(|node| remove_node(case, node as u32));
        });
        leave_out(&mut best, &mut attempt, routes, remove_routes);
        let mut called = best.case.clone();
        called.name = called.name.trim_end_matches("-groups").to_owned();
        if called != best.case {
            attempt(&mut best, called);
        }
        // Special nodes all at once: most failures need none of their options.
        let mut plain = best.case.clone();
        plain.nodes.clear();
        if plain != best.case {
            attempt(&mut best, plain);
        }
        if size(&best.case) == before {
            return best;
        }
    }
}

fn size(case: &Scenario) -> [usize; 6] {
    [case.faults.len(), case.traffic.len(), nodes(case), case.nodes.len(), routes(case), case.name.len()]
}

fn routes(case: &Scenario) -> usize {
    case.nodes.values().map(|node| node.routes.len()).sum()
}

/// Takes routes out, counted over all nodes.
fn remove_routes(case: &mut Scenario, from: usize, to: usize) {
    let mut at = 0..;
    for node in case.nodes.values_mut() {
        node.routes.retain(|_, _| at.next().is_none_or(|at| !(from..to).contains(&at)));
    }
    case.nodes.retain(|_, node| *node != NodeOptions::default());
}

fn nodes(case: &Scenario) -> usize {
    match &case.layout {
        Layout::Given(places) => places.len(),
        _ => 0,
    }
}

/// Leaves out runs of things: half of them, then a quarter, down to one by one. The last ones first, so that those still to be tried
/// keep their indices.
fn leave_out(
    best: &mut FuzzFailure,
    attempt: &mut impl FnMut(&mut FuzzFailure, Scenario) -> bool,
    count: impl Fn(&Scenario) -> usize,
    remove: impl Fn(&mut Scenario, usize, usize),
) {
    let mut chunk = count(&best.case).div_ceil(2);
    while chunk > 0 {
        let mut end = count(&best.case);
        while end > 0 {
            let from = end.saturating_sub(chunk);
            let mut case = best.case.clone();
            remove(&mut case, from, end);
            // Whether it worked or not, go on below.
            attempt(best, case);
            end = from.min(count(&best.case));
        }
        chunk /= 2;
    }
}

/// Takes a node out; those behind it move up. Never one of the last two.
fn remove_node(case: &mut Scenario, node: u32) {
    let Layout::Given(places) = &mut case.layout else { return };
    if places.len() <= 2 || node as usize >= places.len() {
        return;
    }
    places.remove(node as usize);
    let moved = |other: u32| (other != node).then(|| other - u32::from(other > node));
    let options = std::mem::take(&mut case.nodes);
    for (n, mut options) in options {
        let Some(n) = moved(n) else { continue };
        let given = std::mem::take(&mut options.routes);
        options.routes =
            given.into_iter().filter_map(|(to, next)| Some((moved(to)?, moved(next)?))).collect();
        case.nodes.insert(n, options);
    }
    if let LinkRule::Given(links) = &mut case.links {
        links.retain_mut(|link| match (moved(link.a), moved(link.b)) {
            (Some(a), Some(b)) => {
                (link.a, link.b) = (a, b);
                true
            }
            _ => false,
        });
    }
    let keep = |who: &mut Who| match who {
        Who::Node(n) => moved(*n).map(|to| *n = to).is_some(),
        _ => true,
    };
    case.traffic.retain_mut(|traffic| keep(&mut traffic.from) && keep(&mut traffic.to));
    let shift = |n: &mut u32| moved(*n).map(|to| *n = to).is_some();
    case.faults.retain_mut(|fault| match &mut fault.what {
        FaultKind::Crash { node: n, .. }
        | FaultKind::ClockJump { node: n, .. }
        | FaultKind::Forge { near: n, .. }
        | FaultKind::Replay { near: n, .. }
        | FaultKind::Member { near: n, .. } => shift(n),
        FaultKind::Partition { nodes, .. } => {
            nodes.retain_mut(shift);
            !nodes.is_empty()
        }
        FaultKind::Rule { from, to, .. } => {
            let ends = [from, to];
            ends.into_iter().all(|end| end.as_mut().is_none_or(shift))
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::case;
    use super::*;

    #[test]
    fn routes_are_taken_out_by_their_place_among_all() {
        let mut case = Scenario::new("x", Layout::Line { nodes: 5, spacing: 1.0 });
        let given = |routes: &[(u32, u32)]| NodeOptions {
            routes: routes.iter().copied().collect(),
            ..NodeOptions::default()
        };
        case.nodes.insert(0, given(&[(1, 1), (2, 1)]));
        case.nodes.insert(3, given(&[(4, 4)]));
        case.nodes.insert(4, given(&[(0, 3), (1, 3)]));
        assert_eq!(routes(&case), 5);
        remove_routes(&mut case, 1, 4);
        assert_eq!(case.nodes, [(0, given(&[(1, 1)])), (4, given(&[(1, 3)]))].into());
    }

    #[test]
    fn a_node_that_is_taken_out_is_named_nowhere_any_more() {
        for seed in 0..200 {
            let mut case = case(seed);
            while nodes(&case) > 2 {
                let count = nodes(&case);
                remove_node(&mut case, (seed % count as u64) as u32);
                assert_eq!(nodes(&case), count - 1);
                let fits = |n: &u32| (*n as usize) < count - 1;
                assert!(case.nodes.keys().all(fits), "seed {seed}");
                let given = case.nodes.values().flat_map(|node| &node.routes);
                assert!(given.flat_map(|(to, next)| [to, next]).all(fits), "seed {seed}");
                for traffic in &case.traffic {
                    assert!([&traffic.from, &traffic.to].iter().all(|who| match who {
                        Who::Node(n) => fits(n),
                        _ => true,
                    }));
                    assert_ne!(traffic.from, traffic.to, "seed {seed}");
                }
                for fault in &case.faults {
                    assert!(match &fault.what {
                        FaultKind::Partition { nodes, .. } => nodes.iter().all(fits),
                        FaultKind::Rule { from, to, .. } =>
                            [from, to].iter().all(|end| end.as_ref().is_none_or(fits)),
                        FaultKind::Crash { node: n, .. }
                        | FaultKind::ClockJump { node: n, .. }
                        | FaultKind::Forge { near: n, .. }
                        | FaultKind::Replay { near: n, .. }
                        | FaultKind::Member { near: n, .. } => fits(n),
                    });
                }
                if let LinkRule::Given(links) = &case.links {
                    assert!(links.iter().all(|link| fits(&link.a) && fits(&link.b)));
                }
            }
        }
    }
}
