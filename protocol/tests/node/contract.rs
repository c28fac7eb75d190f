//! The seven lines of the contract that stand in the crate's documentation.
//!
//! What holds at every step is asserted in `net` (a drain ends, what is due lies ahead, nothing is due before it);
//! bounds are in `bounds`, bytes from the air in `discards` and `hostile`. That handling a frame allocates nothing
//! needs no test: the crate is `no_std` and names no allocator, and `./ci.sh nostd` builds it where there is none.

use mesh_protocol::{
    Address, AnyNode, Config, Duration, GatewayNode, Instant, LinkId, LinkInfo, Priority, SendOutcome,
    SmallNode,
};

use crate::net::{INFO, Net, OnAir, T0, address, config, ms, secs, text};

/// A minute in the life of five nodes, with loss, every class, parts, many receivers and a power cut.
fn a_busy_minute<M: AnyNode + Clone>(seed: u64) -> Net<M> {
    let mut net = Net::<M>::with(5, |config| config.seed += seed * 1_000);
    for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 4), (1, 3)] {
        net.join(a, b);
    }
    net.lossy(10, seed);
    let minute = secs(60);
    net.send(0, address(4), Priority::Low, minute, &text(2_000)).unwrap();
    net.send(4, address(0), Priority::Medium, minute, &text(600)).unwrap();
    net.send(2, Address::EVERYONE, Priority::High, minute, &text(50)).unwrap();
    net.run(secs(2));
    net.send(0, address(3), Priority::Critical, secs(5), b"now").unwrap();
    net.send(1, address(30), Priority::Medium, secs(9), b"nobody").unwrap();
    net.run(secs(10));
    net.switch_off(3);
    net.run(secs(48));
    net
}

#[test]
fn contract_3_a_microsecond_before_its_time_nothing_is_due() {
    // The harness clones each node before each deadline and drives the copy early.
    for seed in 1..=4 {
        let net = a_busy_minute::<SmallNode>(seed);
        assert!(net.air.len() > 1_000, "seed {seed}");
    }
}

#[test]
fn contract_7_same_seed_same_bytes() {
    for seed in 1..=2 {
        let [one, other] = [(); 2].map(|()| a_busy_minute::<SmallNode>(seed));
        assert_eq!(one.air.len(), other.air.len(), "seed {seed}");
        assert!(one.air == other.air, "the same frames at the same times; seed {seed}");
        for at in 0..5 {
            assert_eq!(one.log(at), other.log(at), "seed {seed}");
        }
    }
    let at =
        |seed| a_busy_minute::<SmallNode>(seed).air.iter().map(|frame: &OnAir| frame.at).collect::<Vec<_>>();
    assert_ne!(at(1), at(2), "another seed, another air");
}

#[test]
fn a_large_node_behaves_as_a_small_one() {
    let [small, large] = [a_busy_minute::<SmallNode>(1).air, a_busy_minute::<GatewayNode>(1).air];
    // Up to the first moment at which the larger tables matter; that they do is what they are for.
    let same = small.iter().zip(&large).take_while(|(a, b)| a == b).count();
    assert!(same > 100, "the first {same} frames are the same");
}

#[test]
fn contract_2_a_drain_leaves_no_event_behind() {
    // A host that drains fully must find nothing more to hear. Reservations of 8 and of 1 SEQ show what is left.
    for block in [8, 1] {
        let mut net = Net::<SmallNode>::with(2, |config| config.seq_block = block);
        net.join(0, 1);
        net.send(0, address(1), Priority::High, secs(10), &text(100)).unwrap();
        for _ in 0..100 {
            net.run(ms(6));
            for station in &net.stations {
                let mut copy = station.node.clone();
                let left = copy.poll_event();
                assert!(left.is_none(), "block of {block}: {left:?} was left behind");
            }
        }
    }
}

#[test]
fn a_reservation_of_one_seq_is_slow_but_does_not_stall() {
    let mut net = Net::<SmallNode>::with(2, |config| config.seq_block = 1);
    net.join(0, 1);
    let id = net.send(0, address(1), Priority::High, secs(10), &text(100)).unwrap();
    net.run_until(secs(1), |net| net.outcome(0, id).is_some());
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
}

#[test]
fn frames_keep_the_gap_that_the_link_asks_for() {
    let net = a_busy_minute::<SmallNode>(7);
    for at in 0..5 {
        let times: Vec<Instant> =
            net.air.iter().filter(|frame| frame.from == at).map(|frame| frame.at).collect();
        assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= INFO.min_gap), "station {at}");
    }
}

#[test]
fn each_link_has_its_own_pace_and_every_frame_goes_on_each() {
    let mut node = GatewayNode::new(T0, config(1));
    for (id, gap) in [(0, 12), (2, 50)] {
        let info = LinkInfo::advertising(INFO.mtu, ms(gap));
        assert!(node.handle_link_up(T0, LinkId(id), info));
    }
    let mut air = Air::default();
    let delivery = mesh_protocol::Delivery {
        id: mesh_protocol::MessageId(1),
        destination: address(1),
        priority: Priority::High,
        deadline: T0 + ms(400),
    };
    node.send(T0, delivery, 60, &text(60)).unwrap();
    let mut now = T0;
    while now <= T0 + ms(390) {
        air.now = now;
        now = node.drive(now, &mut air).unwrap();
    }
    for (link, gap) in [(LinkId(0), ms(12)), (LinkId(2), ms(50))] {
        let times: Vec<Instant> =
            air.sent.iter().filter(|(_, on, _)| *on == link).map(|(at, ..)| *at).collect();
        assert!(times.len() > 5);
        assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= gap), "{link:?}");
    }
    // Every own frame that the slow link had, the fast one had too.
    for (_, _, bytes) in air.sent.iter().filter(|(_, on, _)| *on == LinkId(2)) {
        assert!(air.sent.iter().any(|(_, on, same)| *on == LinkId(0) && same == bytes));
    }
}

/// A host that notes when what went where.
#[derive(Default)]
struct Air {
    now: Instant,
    sent: Vec<(Instant, LinkId, Vec<u8>)>,
}

impl mesh_protocol::Host for Air {
    fn transmit(&mut self, link: LinkId, frame: &[u8]) {
        self.sent.push((self.now, link, frame.to_vec()));
    }
    fn event(&mut self, event: mesh_protocol::Event<'_>) -> mesh_protocol::Answer {
        match event {
            mesh_protocol::Event::ReserveSeq { .. } => mesh_protocol::Answer::Reserved,
            _ => mesh_protocol::Answer::None,
        }
    }
    fn load(&mut self, _: mesh_protocol::MessageId, _: u32, _: &mut [u8]) -> bool {
        false
    }
}

#[test]
fn a_node_alone_says_hello_and_nothing_else() {
    let mut net = Net::<SmallNode>::new(1);
    net.run(Duration::from_secs(3_600));
    let sent = net.sent_by(0);
    assert!((105..=130).contains(&sent.len()), "{} hellos in an hour", sent.len());
    assert!(sent.iter().all(|frame| frame.dst == 0xffff && frame.ttl == 1 && frame.body[0] == 1));
    assert_eq!(net.log(0), []);
}

#[test]
fn the_address_and_the_epoch_are_those_of_the_configuration() {
    let node = SmallNode::new(T0, Config { ttl: 0, ..config(0x1234) });
    assert_eq!((node.address(), node.epoch()), (Address::new(0x1234), crate::net::EPOCH));
    assert_eq!((node.depth(), node.next_seq(), node.has_room()), ((0, 0), 0, true));
}

/// Polls as `drive` does, but not for ever: whether the node comes to rest at `now`.
fn comes_to_rest(node: &mut SmallNode, now: Instant) -> bool {
    let mut out = [0; mesh_protocol::MAX_FRAME];
    for _ in 0..1_000 {
        node.handle_timeout(now);
        match node.poll_event() {
            Some(mesh_protocol::Event::ReserveSeq { up_to }) => {
                node.seq_reserved(up_to);
                continue;
            }
            Some(_) => continue,
            None => {}
        }
        let sent = node.poll_transmit(now, &mut out).is_some();
        if !sent && node.poll_timeout().is_none_or(|due| due > now) {
            return true;
        }
    }
    false
}

#[test]
fn an_answer_for_nobody_does_not_keep_the_node_busy_for_ever() {
    // `encode` refuses DST 0, so such a frame can never leave.
    let name = mesh_protocol::NameHash::of("worker");
    let commands: [fn(&mut SmallNode, mesh_protocol::NameHash); 2] = [
        |node, name| node.announce(Address::NONE, name),
        |node, _| {
            let id = mesh_protocol::MessageId(1);
            node.report(Address::NONE, id, Priority::High, mesh_protocol::Verdict::Delivered);
        },
    ];
    for command in commands {
        let mut node = SmallNode::new(T0, config(1));
        assert!(node.handle_link_up(T0, LinkId(0), INFO));
        command(&mut node, name);
        assert!(comes_to_rest(&mut node, T0));
        assert_eq!(node.next_seq(), 0, "no SEQ was spent on it");
    }
}

#[test]
fn a_reservation_of_no_seqs_does_not_keep_the_node_busy_for_ever() {
    let mut node = SmallNode::new(T0, Config { seq_block: 0, ..config(1) });
    assert!(node.handle_link_up(T0, LinkId(0), INFO));
    assert!(comes_to_rest(&mut node, T0));
}
