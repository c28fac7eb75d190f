use mesh_protocol::{Duration, MessageType, Priority};

use super::*;
use crate::stack::ReportedOutcome;
use crate::stack::bus::{Bus, Node, Port, counter};

impl Node for Sig {
    fn receive(&mut self, now: Instant, pdu: &[u8], rssi: i8) -> bool {
        self.receive(now, pdu, rssi)
    }

    fn run(&mut self, now: Instant, radio: &mut Port<'_>) -> Option<Instant> {
        self.run(now, radio)
    }

    fn sent(&mut self, now: Instant, set: usize) {
        self.sent(now, set);
    }
}

/// As the main open implementation has it; `docs/simulator.md`, "Stacks to measure against".
fn options() -> SigOptions {
    let interval = Duration::from_millis(20);
    SigOptions {
        ttl: 7,
        transmit: 3,
        transmit_interval: interval,
        retransmit: 3,
        retransmit_interval: interval,
        relay_sets: 0,
        host_delay: Duration::ZERO,
    }
}

fn line(nodes: u32, options: &SigOptions, loss: u32, seed: u64) -> Bus<Sig> {
    let nodes = (0..nodes).map(|number| Sig::new(options.clone(), true, number, seed)).collect();
    Bus::line(nodes, loss, seed)
}

fn order(to: Target, bytes: usize, echo: bool) -> Order {
    let body = (0..bytes).map(|at| (at % 251) as u8).collect();
    let within = Duration::from_secs(10);
    Order { to, kind: MessageType::Task, priority: Priority::Medium, body, within, echo }
}

fn post(bus: &mut Bus<Sig>, node: usize, order: &Order) -> Result<u32, Refused> {
    let id = bus.nodes[node].post(bus.now, order);
    bus.run(node);
    id
}

fn secs(secs: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(secs)
}

fn millis(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn count(sig: &Sig, name: &str) -> u64 {
    counter(&sig.counters(), name)
}

/// A PDU of the node with this number to everyone, as heard from a neighbour.
fn heard(number: u32, seq: u32, ttl: u8) -> Pdu {
    let src = address(number).expect("a node");
    let bytes = pdu::seal_payload(src, ALL_NODES, seq, Opcode::Plain.payload(b"heard"));
    Pdu::seal(Header { ttl, seq, src, dst: ALL_NODES }, Lower::Access(&bytes))
}

#[test]
fn a_short_message_goes_as_many_hops_as_its_ttl_and_each_node_relays_it_once() {
    let mut bus = line(6, &SigOptions { ttl: 4, ..options() }, 0, 1);
    let wanted = order(Target::Everyone, 10, false);
    let id = post(&mut bus, 0, &wanted).expect("room");
    bus.play(secs(5));

    for number in 1..6_u8 {
        let arrivals = bus.nodes[usize::from(number)].arrivals();
        let hops: Vec<_> = arrivals.iter().map(|arrival| (arrival.from, arrival.id, arrival.hops)).collect();
        let expected = if number <= 4 { vec![(0, id, number)] } else { vec![] };
        assert_eq!(hops, expected, "node {number}");
        assert!(arrivals.iter().all(|arrival| arrival.body == wanted.body && arrival.answers.is_none()));
    }
    assert_eq!(bus.nodes[0].arrivals(), [], "its own message is none to itself");
    let adverts: Vec<_> = bus
        .log
        .iter()
        .map(|advert| (advert.node, advert.copies, advert.pdu.len(), cause(&advert.pdu, advert.node as u32)))
        .collect();
    assert_eq!(
        adverts,
        [(0, 3, 29, "data"), (1, 3, 29, "relay"), (2, 3, 29, "relay"), (3, 3, 29, "relay")],
        "node 4 hears the last hop"
    );
    assert_eq!(bus.nodes[0].completions(), [], "nobody acknowledges short messages");
    assert_eq!(count(&bus.nodes[1], "duplicates"), 2 + 3, "two copies more, and the next node's relaying");
}

#[test]
fn nobody_relays_what_is_for_itself_nor_without_being_a_relay() {
    let mut bus = line(4, &options(), 0, 1);
    bus.nodes[2] = Sig::new(options(), false, 2, 1);
    post(&mut bus, 0, &order(Target::Node(1), 5, false)).expect("room");
    bus.play(secs(1));
    assert_eq!((bus.log.len(), bus.nodes[1].arrivals().len()), (1, 1));

    post(&mut bus, 0, &order(Target::Node(3), 5, false)).expect("room");
    bus.play(secs(2));
    assert_eq!((bus.log.len(), bus.nodes[3].arrivals().len()), (3, 0), "node 2 keeps it to itself");
}

#[test]
fn the_longest_message_arrives_over_losses_and_its_sender_is_told() {
    let mut again = 0;
    for seed in 0..6 {
        let mut bus = line(3, &options(), 300_000, seed);
        let wanted = order(Target::Node(2), 379, false);
        let id = post(&mut bus, 0, &wanted).expect("room");
        bus.play(secs(60));

        let arrivals = bus.nodes[2].arrivals();
        assert_eq!(arrivals.len(), 1, "seed {seed}");
        assert_eq!((arrivals[0].from, arrivals[0].id, arrivals[0].hops), (0, id, 2), "seed {seed}");
        assert_eq!(arrivals[0].body, wanted.body, "seed {seed}");
        let completed = bus.nodes[0].completions();
        assert_eq!(completed.len(), 1, "seed {seed}");
        assert_eq!((completed[0].id, completed[0].outcome), (id, ReportedOutcome::Delivered), "seed {seed}");
        assert_eq!(count(&bus.nodes[0], "segments"), 32, "seed {seed}");
        assert!(
            bus.nodes[0].outgoing.len() == 0 && bus.nodes[2].incoming.next_due().is_none(),
            "seed {seed}"
        );
        again += count(&bus.nodes[0], "segments_again");
    }
    assert!(again > 0, "no seed lost a segment");
}

#[test]
fn without_acks_a_message_is_unknown_after_four_rounds_and_the_next_one_waits_for_that() {
    let mut bus = line(2, &options(), 0, 1);
    bus.filter(|_, _, pdu| !pdu::is_control(pdu));
    let id = post(&mut bus, 0, &order(Target::Node(1), 20, false)).expect("room");
    let next = post(&mut bus, 0, &order(Target::Node(1), 20, false)).expect("room");
    bus.play(secs(3));

    // Three segments a round: 21 bytes and the TransMIC.
    let adverts = bus.adverts(0);
    let first: Vec<_> = adverts.iter().take(8).map(|advert| advert.at).collect();
    let at = |round: u64, segment: u64| millis(round * (2 * 41 + 41 + 400) + segment * 41);
    assert_eq!(adverts[0].pdu.len(), 9 + 4 + 12 + 4);
    assert_eq!(adverts[2].pdu.len(), 9 + 4 + 1 + 4);
    let expected: Vec<_> = (0..8).map(|step| at(step / 3, step % 3)).collect();
    assert_eq!(first, expected, "400 ms after the last segment has gone");

    let completed = bus.nodes[0].completions();
    let unknown = Completion {
        at: adverts[11].ends() + Duration::from_millis(400),
        id,
        outcome: ReportedOutcome::Unknown,
    };
    assert_eq!(completed, [unknown]);
    assert_eq!(adverts[12].at, unknown.at, "the next one begins");
    let arrived: Vec<_> = bus.nodes[1].arrivals().iter().map(|arrival| arrival.id).collect();
    assert_eq!(arrived, [id, next], "each once, though the segments came four times");
    assert!(count(&bus.nodes[1], "acks") > 4, "whole, and again for what came again");
}

#[test]
fn one_message_at_a_time_for_each_destination_but_several_destinations() {
    let mut bus = line(3, &options(), 0, 1);
    bus.filter(|_, to, _| to != 0);
    for to in [1, 1, 2] {
        post(&mut bus, 0, &order(Target::Node(to), 20, false)).expect("room");
    }
    bus.play(millis(600));
    let to: Vec<_> = bus.adverts(0).iter().map(|advert| advert.pdu[8]).collect();
    assert_eq!(&to[..7], [2, 2, 2, 3, 3, 3, 2], "addresses: 3 goes in the pause of 2");
    assert_eq!(count(&bus.nodes[0], "segments"), 6, "the second one to node 1 waits");
}

#[test]
fn the_ack_timer_runs_from_the_first_segment_and_a_whole_message_is_acknowledged_at_once() {
    let mut bus = line(2, &options(), 0, 1);
    let mut segments = 0;
    bus.filter(move |from, _, _| {
        segments += usize::from(from == 0);
        // The three copies of the second segment are lost.
        from != 0 || !(4..=6).contains(&segments)
    });
    post(&mut bus, 0, &order(Target::Node(1), 20, false)).expect("room");
    bus.play(secs(5));

    let adverts = bus.adverts(1);
    let acks: Vec<_> = adverts.iter().map(|advert| (advert.at, advert.pdu.len())).collect();
    // The first one comes in the sender's pause, which ends with it: the missing segment follows at once.
    assert_eq!(acks, [(millis(1 + 150 + 50 * 7), 24), (millis(501 + 41), 24)], "the set holds one at a time");
    assert_eq!(bus.nodes[1].arrivals()[0].at, millis(501 + 1 + 1), "an event each way");
    assert_eq!(cause(&adverts[0].pdu, 1), "ack");
    let ack = pdu::open(&adverts[0].pdu).map(|(_, lower)| lower);
    let Some(Lower::Ack(Ack { block, .. })) = ack else { panic!("no ack: {ack:?}") };
    assert_eq!(block, 0b101);
    assert_eq!(bus.nodes[0].completions().len(), 1);
}

#[test]
fn an_ack_in_the_pause_begins_the_next_round_at_once_with_what_is_missing() {
    let mut sig = Sig::new(options(), true, 0, 1);
    let id = sig.post(secs(0), &order(Target::Node(1), 20, false)).expect("room");
    let mut sets = Recorder::default();
    for step in 0..3 {
        sig.run(millis(41 * step), &mut sets);
        sig.sent(millis(41 * (step + 1)), 0);
    }
    assert_eq!(sig.run(millis(123), &mut sets), Some(millis(523)), "the pause");

    let ack = |seq, block| {
        let header = Header { ttl: 7, seq, src: 2, dst: 1 };
        Pdu::seal(header, Lower::Ack(Ack { zero: pdu::zero(id), block }))
    };
    assert!(sig.receive(millis(200), ack(1, 0b101).bytes(), -60));
    assert_eq!(sig.run(millis(200), &mut sets), None, "until the set is free");
    assert_eq!(sets.0.len(), 4);
    let segment = pdu::open(&sets.0[3].1).map(|(_, lower)| lower);
    assert!(matches!(segment, Some(Lower::Segment(segment)) if segment.index == 1), "{segment:?}");

    assert!(sig.receive(millis(220), ack(2, 0b010).bytes(), -60));
    assert_eq!(sig.completions(), [Completion { at: millis(220), id, outcome: ReportedOutcome::Delivered }]);
    assert!(sig.receive(millis(230), ack(3, 0b111).bytes(), -60));
    assert_eq!(sig.completions(), [], "told once");
}

#[test]
fn a_long_message_to_everyone_goes_blindly_in_four_rounds() {
    let mut bus = line(3, &options(), 0, 1);
    let wanted = order(Target::Everyone, 30, false);
    let id = post(&mut bus, 0, &wanted).expect("room");
    bus.play(secs(10));
    for number in [1, 2] {
        let arrivals = bus.nodes[number].arrivals();
        assert_eq!(arrivals.len(), 1, "node {number}");
        assert_eq!((arrivals[0].id, &arrivals[0].body), (id, &wanted.body));
    }
    let causes: Vec<_> = bus.log.iter().map(|advert| cause(&advert.pdu, advert.node as u32)).collect();
    assert_eq!(causes.iter().filter(|cause| **cause == "data").count(), 4 * 3);
    assert!(!causes.contains(&"ack"));
    assert_eq!(bus.adverts(0)[3].at, millis(3 * 41 + 50));
    assert_eq!((bus.nodes[0].completions(), bus.nodes[0].outgoing.len()), (vec![], 0));
}

#[test]
fn what_has_left_the_cache_is_relayed_again_but_not_delivered_again() {
    let mut sig = Sig::new(options(), true, 0, 1);
    for seq in 1..=32 {
        assert!(sig.receive(secs(0), heard(9, seq, 2).bytes(), -60));
    }
    assert!(!sig.receive(secs(0), heard(9, 1, 2).bytes(), -60), "32 are remembered");
    sig.advertiser = Advertiser::new(0);
    assert!(sig.receive(secs(0), heard(9, 33, 2).bytes(), -60));
    assert!(!sig.receive(secs(0), heard(9, 2, 2).bytes(), -60), "only the oldest is out");
    assert!(sig.receive(secs(0), heard(9, 1, 2).bytes(), -60));
    assert_eq!((count(&sig, "relayed"), count(&sig, "replays"), sig.arrivals().len()), (34, 1, 33));
}

#[test]
fn a_long_message_takes_six_buffers_and_a_short_one_goes_right_behind_those() {
    let mut bus = line(2, &options(), 0, 1);
    post(&mut bus, 0, &order(Target::Node(1), 379, false)).expect("room");
    post(&mut bus, 0, &order(Target::Node(1), 1, false)).expect("room");
    bus.play(secs(5));
    let short = bus.adverts(0).iter().position(|advert| advert.pdu.len() == 9 + 1 + 2 + 4 + 4);
    assert_eq!(short, Some(6));
    let bytes: Vec<_> = bus.nodes[1].arrivals().iter().map(|arrival| arrival.body.len()).collect();
    assert_eq!(bytes, [1, 379]);
}

/// Sets that keep what they are given; each holds it until told.
#[derive(Default)]
struct Recorder(Vec<(usize, Vec<u8>)>);

impl Sets for Recorder {
    fn advertise(&mut self, set: usize, pdu: &[u8], _: u8, _: Duration) -> Result<(), ble_bearer::Full> {
        self.0.push((set, pdu.to_vec()));
        Ok(())
    }
}

#[test]
fn the_33rd_pdu_to_relay_is_dropped_and_counted() {
    let mut sig = Sig::new(options(), true, 0, 1);
    let mut sets = Recorder::default();
    for seq in 1..=40 {
        sig.receive(secs(0), heard(9, seq, 2).bytes(), -60);
        sig.run(secs(0), &mut sets);
    }
    assert_eq!((count(&sig, "relayed"), count(&sig, "relay_full"), sets.0.len()), (32, 8, 1));

    for _ in 0..32 {
        sig.sent(secs(1), 0);
        sig.run(secs(1), &mut sets);
    }
    let seqs: Vec<_> = sets.0.iter().map(|(_, pdu)| pdu[4]).collect();
    assert_eq!(seqs, (1..=32).collect::<Vec<_>>(), "first in, first out");
    assert_eq!(sig.arrivals().len(), 40, "what is not relayed is taken all the same");
}

#[test]
fn sets_for_relaying_leave_the_own_one_to_the_node() {
    let mut sig = Sig::new(SigOptions { relay_sets: 2, ..options() }, true, 0, 1);
    let mut sets = Recorder::default();
    for seq in 1..=3 {
        sig.receive(secs(0), heard(9, seq, 2).bytes(), -60);
    }
    sig.post(secs(0), &order(Target::Node(1), 1, false)).expect("room");
    sig.run(secs(0), &mut sets);
    let used: Vec<_> = sets.0.iter().map(|(set, pdu)| (*set, cause(pdu, 0))).collect();
    assert_eq!(used, [(0, "data"), (1, "relay"), (2, "relay")]);
    sig.sent(secs(0), 0);
    sig.run(secs(0), &mut sets);
    assert_eq!(sets.0.len(), 3, "the third waits for a set of its kind");
    sig.sent(secs(0), 2);
    sig.run(secs(0), &mut sets);
    assert_eq!(sets.0[3].0, 2);
}

#[test]
fn the_host_takes_its_time_before_it_relays_or_answers() {
    let delay = Duration::from_millis(7);
    let mut bus = line(3, &SigOptions { host_delay: delay, ..options() }, 0, 1);
    post(&mut bus, 0, &order(Target::Node(2), 4, true)).expect("room");
    bus.play(secs(2));
    let at: Vec<_> = bus.log.iter().map(|advert| (advert.node, advert.at)).collect();
    assert_eq!(at[..3], [(0, millis(0)), (1, millis(8)), (2, millis(16))]);
    assert_eq!(bus.nodes[0].arrivals().len(), 1, "the answer");
}

#[test]
fn an_answer_finds_its_request_though_another_one_was_lost() {
    for bytes in [0, 4, 100] {
        let mut bus = line(3, &options(), 0, 1);
        bus.filter(|_, _, _| false);
        post(&mut bus, 0, &order(Target::Node(2), 3, true)).expect("room");
        bus.play(secs(1));
        bus.filter(|_, _, _| true);
        let id = post(&mut bus, 0, &order(Target::Node(2), bytes, true)).expect("room");
        bus.play(secs(8));

        let asked = bus.nodes[2].arrivals();
        assert_eq!(
            asked.iter().map(|arrival| (arrival.id, arrival.answers)).collect::<Vec<_>>(),
            [(id, None)]
        );
        let answered = bus.nodes[0].arrivals();
        assert_eq!(answered.len(), 1, "{bytes} bytes");
        assert_eq!((answered[0].answers, answered[0].body.len(), answered[0].hops), (Some(id), bytes, 2));
        assert_eq!(bus.nodes[2].completions(), [], "the scenario has not posted the answer");
    }
}

#[test]
fn what_cannot_go_is_refused() {
    let mut sig = Sig::new(options(), true, 0, 1);
    let before = sig.seq;
    assert_eq!(sig.post(secs(0), &order(Target::Node(1), 380, false)), Err(Refused::TooLong));
    assert_eq!(sig.post(secs(0), &order(Target::Node(0x7fff), 1, false)), Err(Refused::Down));
    assert_eq!(sig.post(secs(0), &order(Target::Node(u32::MAX), 1, false)), Err(Refused::Down));
    for _ in 0..16 {
        sig.post(secs(0), &order(Target::Node(1), 379, false)).expect("room");
        sig.post(secs(0), &order(Target::Node(2), 10, true)).expect("room");
    }
    assert_eq!(sig.post(secs(0), &order(Target::Node(3), 1, false)), Err(Refused::Busy), "32 are under way");
    assert_eq!(sig.seq, before + 32, "what is refused takes no number");

    let mut sets = Recorder::default();
    sig.run(secs(0), &mut sets);
    sig.sent(secs(0), 0);
    assert!(sig.post(secs(0), &order(Target::Node(3), 1, false)).is_ok(), "one has gone");
    sig.run(secs(0), &mut sets);
    sig.sent(secs(0), 0);
    assert_eq!(sig.post(secs(0), &order(Target::Node(2), 1, true)), Err(Refused::Busy), "16 answers wait");
    assert!(sig.post(secs(20), &order(Target::Node(2), 1, true)).is_ok(), "nobody wants those any more");
}

#[test]
fn nine_messages_at_once_are_one_too_many_to_put_together() {
    let mut sig = Sig::new(options(), true, 0, 1);
    let mut first = |number: u32, seq: u32, at| {
        let segment = pdu::Segment { zero: pdu::zero(seq), index: 0, last: 1, bytes: &[1; 12] };
        let header = Header { ttl: 7, seq, src: address(number).expect("a node"), dst: 1 };
        sig.receive(at, Pdu::seal(header, Lower::Segment(segment)).bytes(), -60);
        (count(&sig, "reassembly_full"), count(&sig, "reassembly_given_up"), sig.incoming.next_due())
    };
    let ack = Some(millis(500));
    for number in 1..=8 {
        assert_eq!(first(number, 100, secs(0)), (0, 0, ack));
    }
    assert_eq!(first(9, 100, secs(0)), (1, 0, ack));
    assert_eq!(first(8, 200, secs(0)), (1, 1, ack), "a sender's next message is in place of its last");
    assert_eq!(first(8, 150, secs(0)), (1, 1, ack), "which is over");

    let mut sets = Recorder::default();
    assert_eq!(sig.run(millis(500), &mut sets), Some(secs(10)));
    assert_eq!((count(&sig, "acks"), count(&sig, "acks_dropped")), (6, 2), "six buffers for them");
    sig.run(secs(10), &mut sets);
    assert_eq!((count(&sig, "reassembly_given_up"), sig.incoming.next_due()), (9, None));
}

#[test]
fn after_a_power_cut_a_node_is_still_heard() {
    let mut bus = line(2, &options(), 0, 1);
    for _ in 0..3 {
        post(&mut bus, 0, &order(Target::Node(1), 1, false)).expect("room");
    }
    bus.play(secs(1));
    post(&mut bus, 0, &order(Target::Node(1), 100, false)).expect("room");
    bus.play(secs(5));
    bus.nodes[0].power_cut();
    let id = post(&mut bus, 0, &order(Target::Node(1), 1, false)).expect("room");
    bus.play(secs(6));
    let arrivals = bus.nodes[1].arrivals();
    assert_eq!((arrivals.len(), arrivals[4].id, id % SEQ_STEP), (5, id, 0));
}

#[test]
fn sets_that_take_nothing_end_no_message_early_and_hang_nobody() {
    let mut bus = line(2, &options(), 0, 1);
    bus.refusing = true;
    let id = post(&mut bus, 0, &order(Target::Node(1), 100, false)).expect("room");
    post(&mut bus, 0, &order(Target::Node(1), 1, false)).expect("room");
    bus.play(secs(10));
    assert_eq!(
        bus.nodes[0].completions(),
        [Completion { at: millis(1_600), id, outcome: ReportedOutcome::Unknown }]
    );
    assert_eq!(count(&bus.nodes[0], "radio_full"), 4 * 9 + 1);
}

#[test]
fn no_bytes_at_all_make_a_node_panic() {
    let seed = 7;
    let mut rng = Rng::new(seed);
    let mut sig = Sig::new(options(), true, 0, seed);
    let mut sets = Recorder::default();
    for step in 0..20_000 {
        let bytes: Vec<_> = (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect();
        sig.receive(millis(step), &bytes, -60);
        // Sound outside, anything inside.
        let len = rng.below(24) as usize;
        let inside: Vec<_> = (0..len).map(|_| rng.next_u64() as u8).collect();
        let header = Header {
            ttl: rng.below(128) as u8,
            seq: rng.below(1 << 24) as u32,
            src: 1 + rng.below(40) as u16,
            dst: [1, ALL_NODES, 7][rng.below(3) as usize],
        };
        let [index, last] = [0, 1].map(|_| rng.below(32) as u8);
        let zero = rng.below(1 << 13) as u16;
        let lower = match rng.below(3) {
            0 => Lower::Access(&inside),
            1 => Lower::Segment(pdu::Segment { zero, index, last, bytes: &inside }),
            _ => Lower::Ack(Ack { zero, block: rng.next_u64() as u32 }),
        };
        if sig.receive(millis(step), Pdu::seal(header, lower).bytes(), -60) {
            sig.run(millis(step), &mut sets);
            sig.sent(millis(step), 0);
        }
    }
    assert!(count(&sig, "malformed") >= 20_000, "seed {seed}");
    assert!(count(&sig, "relayed") > 1_000, "seed {seed}");
    assert_eq!(sig.arrivals(), [], "nothing inside was sound, seed {seed}");
}

#[test]
fn one_seed_one_log() {
    let play = |seed| {
        let mut bus = line(4, &SigOptions { relay_sets: 1, ..options() }, 200_000, seed);
        for bytes in [5, 200, 40] {
            let _ = post(&mut bus, 0, &order(Target::Node(3), bytes, true));
            let _ = post(&mut bus, 2, &order(Target::Everyone, bytes, false));
        }
        bus.play(secs(60));
        bus.log
    };
    assert_eq!(play(3), play(3));
    assert_ne!(play(3), play(4));
}
