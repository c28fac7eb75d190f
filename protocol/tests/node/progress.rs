//! The story of a message: what its sender's host is told of it before its outcome.

use mesh_protocol::{Priority, SendOutcome, SmallNode, Step};

use crate::net::{Net, Reception, address, secs};

/// What was told of a message, without what was told before.
fn story(net: &Net, at: usize, id: u32) -> Vec<Step> {
    net.stations[at].app.steps.iter().filter(|(of, _)| *of == id).map(|(_, step)| *step).collect()
}

#[test]
fn a_message_says_that_it_was_flooded_or_who_was_asked_to_pass_it_on() {
    let mut net = Net::<SmallNode>::line(3);
    let flooded = net.send(0, address(2), Priority::Critical, secs(5), b"hi").unwrap();
    net.run_until(secs(5), |net| net.outcome(0, flooded).is_some());
    assert_eq!(story(&net, 0, flooded)[0], Step::Flooded);

    let now = net.now;
    net.stations[0].node.set_route(now, address(2), address(1), 1).unwrap();
    let routed = net.send(0, address(2), Priority::Medium, secs(5), b"hi").unwrap();
    net.run_until(secs(5), |net| net.outcome(0, routed).is_some());
    assert_eq!(net.outcome(0, routed).unwrap().1, SendOutcome::Delivered);
    assert_eq!(story(&net, 0, routed)[0], Step::SentTo(address(1)));
}

#[test]
fn what_nobody_answers_is_told_each_time_it_goes_again() {
    let mut net = Net::<SmallNode>::line(2);
    net.rule(|_, _| Reception::Lose);
    let id = net.send(0, address(1), Priority::High, secs(4), b"hi").unwrap();
    net.run_until(secs(5), |net| net.outcome(0, id).is_some());
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Unknown);
    let story = story(&net, 0, id);
    assert_eq!(story[0], Step::Flooded);
    assert!(story.len() > 2 && story[1..].iter().all(|step| *step == Step::FloodedAgain), "{story:?}");
}
