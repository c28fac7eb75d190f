//! What is not well with a gateway, in sentences for `status`.

use ble_bearer::AdapterState;
use mesh_agent::api::LinkState;
use mesh_protocol::frame::SEQ_MAX;

use super::air_watch::THERE;
use super::report::Sources;
use crate::store::NEW_ADDRESS;

/// A replay table fuller than this is reported: at 100 % new nodes are refused.
const REPLAY_WARN_PERCENT: usize = 80;

/// All of it, the store and the radio first.
pub(super) fn problems(sources: &Sources<'_>, adapter: &ble_bearer::Health) -> Vec<String> {
    let Sources { state, node, .. } = sources;
    let mut problems = Vec::new();
    problems.extend(of_the_store(sources));
    problems.extend(of_the_radio(sources, adapter));
    problems.extend(of_the_links(sources));
    // Only where nothing above explains it.
    if problems.is_empty() {
        problems.extend(of_silence(sources));
    }
    problems.extend(of_the_address(sources));
    let neighbours: Vec<_> = node.neighbours().copied().collect();
    problems.extend(sources.watch.problems(state.now, &neighbours));
    for (agent, other) in state.directory.namesakes(state.now) {
        problems.push(format!(
            "an agent {agent} is connected here, at {}, and at {other}; what is sent to {agent} goes to the one that its sender's gateway heard of last: rename one, or write {agent}@ADDRESS",
            state.config.address
        ));
    }
    let (known, most) = node.replay_use();
    if known * 100 >= most * REPLAY_WARN_PERCENT {
        problems
            .push(format!("{known} of at most {most} nodes are known; the ones beyond will not be heard"));
    }
    problems.extend(used_up("sequence", node.next_seq(), SEQ_MAX));
    problems.extend(used_up("message", state.numbers.next_id(), u32::MAX - 1));
    problems
}

fn of_the_store(sources: &Sources<'_>) -> Vec<String> {
    let journal = &sources.state.journal;
    let mut problems: Vec<String> = journal.failure().map(ToString::to_string).into_iter().collect();
    if journal.lost() > 0 {
        problems.push(format!(
            "the message store had lost its last {} writes when it was opened: messages accepted or delivered then may be missing, or \
             come again; check the disk, and put no old copies of the file back",
            journal.lost()
        ));
    }
    problems
}

fn of_the_radio(sources: &Sources<'_>, adapter: &ble_bearer::Health) -> Option<String> {
    if let Some(problem) = sources.air.problem() {
        return Some(problem.to_owned());
    }
    if adapter.state != AdapterState::Up {
        let why = adapter.trouble.as_deref().unwrap_or("it is being set up");
        return Some(format!("the radio is {}: {why}; messages are kept", adapter.state));
    }
    let silent = sources.watch.deaf(sources.state.now)?;
    Some(format!("the radio hears nobody, for {} s now; before it did", silent.as_millis() / 1_000))
}

fn of_the_links(sources: &Sources<'_>) -> Vec<String> {
    // One that came by itself and has gone is not in the list any more: it was not this gateway's to keep.
    let links = sources.peering.links();
    let away = links.iter().filter(|link| link.state == LinkState::Away);
    away.map(|link| {
        let why = link.why.as_deref().unwrap_or("it is not connected");
        format!("the gateway {} is away, for {} s now: {why}", link.name, link.since_ms / 1_000)
    })
    .collect()
}

fn of_silence(sources: &Sources<'_>) -> Option<String> {
    let last = sources.node.neighbours().max_by_key(|neighbour| neighbour.last_heard)?;
    let silent = sources.state.now.since(last.last_heard);
    (silent > THERE).then(|| {
        format!(
            "no neighbour is heard, for {} s now; the last was {}",
            silent.as_millis() / 1_000,
            last.address
        )
    })
}

fn of_the_address(sources: &Sources<'_>) -> Option<String> {
    let (now, address) = (sources.state.now, sources.state.config.address);
    let conflict = sources.node.conflict(now)?;
    let silence = match conflict.silent_until {
        Some(until) => format!("nothing is sent for another {} s", until.since(now).as_millis() / 1_000),
        None => "this one goes on".into(),
    };
    Some(format!(
        "another node sends under this gateway's address {address}, last {} s ago; {silence}: invite one of the two again under another \
         name; if there is no other, a member forges",
        now.since(conflict.heard).as_millis() / 1_000
    ))
}

/// How far the numbers of this address are used, if that is far. `last` is the last one there is.
fn used_up(which: &str, next: u32, last: u32) -> Option<String> {
    if next > last {
        Some(format!(
            "all {which} numbers of this address are used, 100 %: nothing more can be sent; {NEW_ADDRESS}"
        ))
    } else if next > last / 4 * 3 {
        let percent = u64::from(next) * 100 / u64::from(last);
        Some(format!(
            "{percent} % of this address's {which} numbers are used, over three quarters; at 100 % it can send nothing: {NEW_ADDRESS} before"
        ))
    } else {
        None
    }
}
