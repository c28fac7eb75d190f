//! Two nodes that hear each other on the air and have a connection besides: what is for the one at its other end goes over that.

use mesh_protocol::{
    Address, Delivery, Duration, GatewayNode, LinkId, LinkInfo, MAX_FRAME, MessageId, Priority, SendOutcome,
};

use crate::net::{App, INFO, LINK, Log, T0, address, config, ms, open, secs, text};

const WIRE: LinkId = LinkId(1);
const WIRE_INFO: LinkInfo = LinkInfo::connection(MAX_FRAME, Duration::from_micros(200));
const STEP: Duration = Duration::from_micros(500);

struct Two {
    now: mesh_protocol::Instant,
    nodes: [Box<GatewayNode>; 2],
    apps: [App; 2],
    /// Whether the connection carries anything.
    wired: bool,
    /// Frames of messages and their answers: from which node, over which link.
    said: Vec<(usize, LinkId)>,
    next_id: u32,
}

impl Two {
    fn new() -> Self {
        let nodes = [1, 2].map(|at| Box::new(GatewayNode::new(T0, config(at))));
        let mut two = Self {
            now: T0,
            nodes,
            apps: [App::new(), App::new()],
            wired: true,
            said: Vec::new(),
            next_id: 0,
        };
        for node in &mut two.nodes {
            assert!(node.handle_link_up(T0, LINK, INFO) && node.handle_link_up(T0, WIRE, WIRE_INFO));
        }
        two
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now += STEP;
            for from in 0..2 {
                self.apps[from].now = self.now;
                let due = self.nodes[from].drive(self.now, &mut self.apps[from]);
                assert!(due.is_some_and(|due| due > self.now), "all that was due is done");
                for (link, mut bytes) in std::mem::take(&mut self.apps[from].on_air) {
                    if open(&bytes).dst != 0xffff {
                        self.said.push((from, link));
                    }
                    if link != WIRE || self.wired {
                        let _ = self.nodes[1 - from].handle_frame(self.now, link, &mut bytes, None);
                    }
                }
            }
        }
    }

    fn send(&mut self, priority: Priority) -> u32 {
        self.next_id += 1;
        let (id, deadline) = (MessageId(self.next_id), self.now + secs(30));
        let delivery = Delivery { id, destination: address(1), priority, deadline };
        self.nodes[0].send(self.now, delivery, 25, &text(25)).unwrap();
        self.next_id
    }

    fn outcome(&self, id: u32) -> Option<SendOutcome> {
        self.apps[0].log.iter().find_map(|(_, log)| match log {
            Log::Done { id: done, outcome, .. } if *done == id => Some(*outcome),
            _ => None,
        })
    }

    fn over(&self, link: LinkId) -> usize {
        self.said.iter().filter(|(_, over)| *over == link).count()
    }
}

#[test]
fn what_is_for_the_other_end_of_a_connection_is_not_said_on_the_air() {
    let mut two = Two::new();
    two.run(secs(2));
    for priority in [Priority::High, Priority::Medium, Priority::Low] {
        two.said.clear();
        let id = two.send(priority);
        two.run(ms(100));
        assert_eq!(two.outcome(id), Some(SendOutcome::Delivered), "{priority}");
        assert_eq!((two.over(LINK), two.over(WIRE)), (0, 2), "{priority}: one long frame and a receipt");
    }
    two.said.clear();
    two.send(Priority::Critical);
    two.run(ms(100));
    assert!(two.over(LINK) > 0 && two.over(WIRE) > 0, "the urgent take every link");
}

#[test]
fn a_connection_that_carries_nothing_costs_time_and_no_message() {
    let mut two = Two::new();
    two.run(secs(2));
    two.wired = false;
    let id = two.send(Priority::Medium);
    two.run(secs(3));
    assert_eq!(two.outcome(id), Some(SendOutcome::Delivered), "over the air");
    // And when it is known to be gone, the air is used from the beginning.
    for node in &mut two.nodes {
        node.handle_link_down(WIRE);
    }
    two.said.clear();
    let id = two.send(Priority::Medium);
    two.run(ms(300));
    assert_eq!(two.outcome(id), Some(SendOutcome::Delivered));
    assert_eq!(two.over(WIRE), 0);
}

#[test]
fn an_operators_route_goes_before_a_connection() {
    let mut two = Two::new();
    two.run(secs(2));
    two.nodes[0].set_route(two.now, address(1), Address::new(9), 1).unwrap();
    two.said.clear();
    two.send(Priority::Medium);
    two.run(ms(50));
    assert!(two.said.contains(&(0, LINK)) && two.said.contains(&(0, WIRE)), "{:?}", two.said);
}
