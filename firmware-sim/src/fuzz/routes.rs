//! Routes of a case, as an operator might give them: right ones, old ones, mistakes and malice.
//!
//! Owns their draws, which take nothing from those of the rest: without routes, a seed's case is what it would be.

use std::collections::{BTreeSet, VecDeque};

use mesh_protocol::Rng;

use crate::scenario::{Scenario, Who};

/// Paths that are drawn in one case at the most. A guess: several at one node, and others with none.
const WAYS: u64 = 12;

/// Gives some of the nodes routes, in about half of all cases; `neighbours` of each are those in range.
pub(super) fn add(case: &mut Scenario, seed: u64, neighbours: &[Vec<u32>]) {
    let mut rng = Rng::stream(seed, "fuzz routes");
    if rng.chance(500_000) {
        return;
    }
    let count = neighbours.len() as u64;
    // Where messages go, in both directions: answers have routes too.
    let spoken_of: BTreeSet<u32> = case
        .traffic
        .iter()
        .flat_map(|traffic| [&traffic.from, &traffic.to])
        .filter_map(|who| if let Who::Node(node) = who { Some(*node) } else { None })
        .collect();
    let spoken_of: Vec<u32> = spoken_of.into_iter().collect();
    let one_of = |nodes: &[u32], rng: &mut Rng| nodes.get(rng.below(nodes.len() as u64) as usize).copied();
    for _ in 0..1 + rng.below(WAYS) {
        let any = rng.below(count) as u32;
        let node = one_of(&spoken_of, &mut rng).unwrap_or(any);
        let to = if rng.chance(850_000) { one_of(&spoken_of, &mut rng).unwrap_or(any) } else { any };
        let beside = one_of(&neighbours[node as usize], &mut rng).unwrap_or(any);
        match rng.below(8) {
            // The whole path, hop by hop.
            0..=3 => {
                for (at, next) in path(neighbours, node, to) {
                    set(case, at, to, next);
                }
            }
            // Of the right path only the first hop.
            4 => {
                if let Some((at, next)) = path(neighbours, node, to).first() {
                    set(case, *at, to, *next);
                }
            }
            // Anywhere.
            5 => set(case, node, to, beside),
            // Round and round.
            6 => {
                set(case, node, to, beside);
                set(case, beside, to, node);
            }
            // To someone who may never be heard there.
            _ => set(case, node, to, any),
        }
    }
}

fn set(case: &mut Scenario, at: u32, to: u32, next: u32) {
    if at == to || at == next {
        return;
    }
    let node = case.nodes.entry(at).or_default();
    if node.routes.len() < node.routes_max() || node.routes.contains_key(&to) {
        node.routes.insert(to, next);
    }
}

/// A shortest path: each node on it, and the one behind that.
fn path(neighbours: &[Vec<u32>], from: u32, to: u32) -> Vec<(u32, u32)> {
    // From its end, so that each node met knows where it goes on.
    let mut next = vec![None; neighbours.len()];
    let mut queue = VecDeque::from([to]);
    while let Some(at) = queue.pop_front() {
        for &before in &neighbours[at as usize] {
            if before != to && next[before as usize].is_none() {
                next[before as usize] = Some(at);
                queue.push_back(before);
            }
        }
    }
    let follow = |at: &u32| next[*at as usize];
    std::iter::successors(Some(from), follow).filter_map(|at| Some((at, follow(&at)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::case;
    use super::*;

    #[test]
    fn a_way_is_a_shortest_one_from_end_to_end() {
        // 0 - 1 - 2 - 3, and 0 - 4 - 3.
        let neighbours = [vec![1, 4], vec![0, 2], vec![1, 3], vec![2, 4], vec![0, 3]];
        assert_eq!(path(&neighbours, 0, 3), [(0, 4), (4, 3)]);
        assert_eq!(path(&neighbours, 2, 3), [(2, 3)]);
        assert_eq!(path(&neighbours, 3, 3), []);
    }

    #[test]
    fn every_other_case_has_routes_of_every_kind_and_they_fit() {
        let (mut with, mut straight, mut loops, mut most) = (0, 0, 0, 0);
        for seed in 0..400 {
            let case = case(seed);
            let routes =
                || case.nodes.iter().flat_map(|(at, node)| node.routes.iter().map(move |route| (*at, route)));
            with += u32::from(routes().next().is_some());
            for (at, (to, next)) in routes() {
                assert!(
                    at != *to && at != *next && [to, next].iter().all(|node| **node < case.node_count()),
                    "seed {seed}"
                );
                straight += u32::from(to == next);
                let back = case.nodes.get(next).and_then(|node| node.routes.get(to));
                loops += u32::from(back == Some(&at));
            }
            for node in case.nodes.values() {
                assert!(node.routes.len() <= node.routes_max(), "seed {seed}");
                most = most.max(node.routes.len());
            }
        }
        assert!((150..250).contains(&with), "{with}");
        assert!(straight > 100 && loops > 50 && most > 3, "{straight} {loops} {most}");
    }
}
