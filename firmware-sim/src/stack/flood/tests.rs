use mesh_protocol::{MessageType, Priority};

use super::assembly::ASSEMBLIES;
use super::*;
use crate::stack::bus::{Bus, Node, Port, counter};

impl Node for Flood {
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

/// A legacy advert carries so much.
const LEGACY: usize = 27;

fn line(nodes: u32, ttl: u8, loss: u32, seed: u64) -> Bus<Flood> {
    let nodes = (0..nodes).map(|number| Flood::new(ttl, LEGACY, true, number, seed)).collect();
    Bus::line(nodes, loss, seed)
}

fn order(to: Target, bytes: usize, echo: bool) -> Order {
    let body = (0..bytes).map(|at| (at % 251) as u8).collect();
    let within = Duration::from_secs(10);
    Order { to, kind: MessageType::Task, priority: Priority::Medium, body, within, echo }
}

fn post(bus: &mut Bus<Flood>, node: usize, order: &Order) -> Result<u32, Refused> {
    let id = bus.nodes[node].post(bus.now, order);
    bus.run(node);
    id
}

fn secs(secs: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(secs)
}

fn count(flood: &Flood, name: &str) -> u64 {
    counter(&flood.counters(), name)
}

/// A frame of node 9, as heard from a neighbour.
fn heard(seq: u32, ttl: u8, to: u16, part: u8, last: u8, bytes: &[u8]) -> Vec<u8> {
    let to = to.to_le_bytes();
    [&[ttl, 9, 0], &seq.to_le_bytes()[..], &to, &[part, last], bytes].concat()
}

/// One part of 16 bytes.
fn whole(seq: u32, ttl: u8, to: u16) -> Vec<u8> {
    heard(seq, ttl, to, 0, 0, &Opcode::Plain.payload(&[5; 15]))
}

/// A set that keeps what it is given until told that it went out.
#[derive(Default)]
struct Recorder(Vec<Vec<u8>>);

impl Sets for Recorder {
    fn advertise(&mut self, set: usize, pdu: &[u8], _: u8, _: Duration) -> Result<(), ble_bearer::Full> {
        assert_eq!(set, 0);
        self.0.push(pdu.to_vec());
        Ok(())
    }
}

#[test]
fn a_message_goes_as_many_hops_as_its_ttl_and_each_node_relays_it_once() {
    let mut bus = line(6, 4, 0, 1);
    let wanted = order(Target::Everyone, 15, false);
    let id = post(&mut bus, 0, &wanted).expect("room");
    bus.play(secs(5));
    for number in 1..6_u8 {
        let arrivals = bus.nodes[usize::from(number)].arrivals();
        let seen: Vec<_> = arrivals.iter().map(|arrival| (arrival.from, arrival.id, arrival.hops)).collect();
        assert_eq!(seen, if number <= 4 { vec![(0, id, number)] } else { vec![] }, "node {number}");
        assert!(arrivals.iter().all(|arrival| arrival.body == wanted.body));
    }
    let adverts: Vec<_> = bus
        .log
        .iter()
        .map(|advert| (advert.node, advert.copies, advert.pdu.len(), cause(&advert.pdu, advert.node as u32)))
        .collect();
    assert_eq!(adverts, [(0, 3, 27, "data"), (1, 3, 27, "relay"), (2, 3, 27, "relay"), (3, 3, 27, "relay")]);
    assert_eq!(bus.nodes[0].completions(), []);
}

#[test]
fn nobody_relays_what_is_for_itself_nor_without_being_a_relay() {
    let mut bus = line(4, 7, 0, 1);
    bus.nodes[2] = Flood::new(7, LEGACY, false, 2, 1);
    post(&mut bus, 0, &order(Target::Node(1), 5, false)).expect("room");
    bus.play(secs(1));
    assert_eq!((bus.log.len(), bus.nodes[1].arrivals().len()), (1, 1));
    post(&mut bus, 0, &order(Target::Node(3), 5, false)).expect("room");
    bus.play(secs(2));
    assert_eq!((bus.log.len(), bus.nodes[3].arrivals().len()), (3, 0));
}

#[test]
fn a_long_body_goes_in_parts_and_arrives_whole() {
    let mut bus = line(4, 7, 0, 1);
    let wanted = order(Target::Node(3), 100, false);
    let id = post(&mut bus, 0, &wanted).expect("room");
    bus.play(secs(5));
    let arrivals = bus.nodes[3].arrivals();
    assert_eq!(arrivals.len(), 1);
    assert_eq!((arrivals[0].id, arrivals[0].hops, &arrivals[0].body), (id, 3, &wanted.body));
    let lens: Vec<_> = bus.adverts(0).iter().map(|advert| advert.pdu.len()).collect();
    assert_eq!(lens, [27, 27, 27, 27, 27, 27, 11 + 101 - 6 * 16]);
    assert_eq!(bus.nodes[0].seq, id + 7, "a number for each part");
}

#[test]
fn parts_may_come_in_any_order_and_the_longest_message_has_256() {
    let mut from = Flood::new(7, LEGACY, true, 9, 1);
    // So close to the end that its numbers begin again.
    from.seq = u32::MAX - 100;
    assert_eq!(from.post(secs(0), &order(Target::Node(1), 4_096, false)), Err(Refused::TooLong));
    let wanted = order(Target::Node(1), 4_095, false);
    let id = from.post(secs(0), &wanted).expect("room");
    let mut frames: Vec<_> = std::iter::from_fn(|| from.next_frame()).collect();
    assert_eq!((frames.len(), id), (256, u32::MAX - 100));
    frames.reverse();

    let mut to = Flood::new(7, LEGACY, true, 1, 1);
    for (at, frame) in frames.iter().enumerate() {
        assert!(to.arrivals().is_empty());
        // It is for nobody else; whoever watches the node fetches it once it has run, so that the last part asks for that.
        assert_eq!(to.receive(secs(0), frame, -60), at == 255, "part {at}");
    }
    let arrivals = to.arrivals();
    assert_eq!(arrivals.len(), 1);
    assert_eq!((arrivals[0].id, &arrivals[0].body), (id, &wanted.body));
    assert_eq!(to.assemblies.len(), 0);
}

#[test]
fn a_lost_part_is_never_made_good_and_its_message_makes_room_in_the_end() {
    let mut to = Flood::new(7, LEGACY, true, 1, 1);
    let mut first_part = |message: u32| to.receive(secs(0), &heard(100 * message, 1, 1, 0, 1, &[1; 16]), -60);
    for message in 0..16 {
        first_part(message);
    }
    first_part(16);
    assert_eq!(count(&to, "reassembly_given_up"), 1);
    to.receive(secs(0), &heard(101, 1, 1, 1, 1, b"!"), -60);
    to.receive(secs(0), &heard(1, 1, 1, 1, 1, b"!"), -60);
    let arrived: Vec<_> = to.arrivals().iter().map(|arrival| (arrival.id, arrival.body.len())).collect();
    assert_eq!(arrived, [(100, 16)], "the oldest one had to go");
}

#[test]
fn a_duplicate_changes_nothing_but_its_counter() {
    let mut flood = Flood::new(7, LEGACY, true, 1, 1);
    let frames = [whole(1, 7, EVERYONE), heard(2, 7, 1, 0, 3, &[1; 16]), whole(6, 7, 5)];
    for frame in &frames {
        flood.receive(secs(0), frame, -60);
    }
    let mut before = flood.clone();
    for frame in frames.iter().cycle().take(300) {
        // Copies that took other ways have other TTLs.
        let mut frame = frame.clone();
        frame[0] = 3;
        assert!(!flood.receive(secs(1), &frame, -60));
    }
    assert_eq!(count(&flood, "duplicates"), 300);
    before.duplicates = 300;
    assert_eq!(format!("{flood:?}"), format!("{before:?}"));
}

#[test]
fn what_the_cache_has_forgotten_is_relayed_again() {
    let mut flood = Flood::new(7, LEGACY, true, 1, 1);
    assert!(flood.receive(secs(0), &whole(0, 7, 5), -60));
    let later = (1..).find(|&seq| {
        flood.relays.clear();
        flood.receive(secs(0), &whole(seq, 7, 5), -60);
        let mut probe = flood.clone();
        probe.receive(secs(0), &whole(0, 7, 5), -60)
    });
    let later = later.expect("it is bounded");
    assert!((64..=1_024).contains(&later), "forgotten after {later} frames");
}

#[test]
fn the_33rd_frame_to_relay_is_dropped_and_counted() {
    let mut flood = Flood::new(7, LEGACY, true, 1, 1);
    for seq in 0..40 {
        assert_eq!(flood.receive(secs(0), &whole(seq, 7, 5), -60), seq < 32);
    }
    assert_eq!((count(&flood, "relayed"), count(&flood, "relay_full")), (32, 8));
    let mut set = Recorder::default();
    for _ in 0..40 {
        flood.run(secs(0), &mut set);
        flood.sent(secs(0), 0);
    }
    let seqs: Vec<_> = set.0.iter().map(|frame| (frame[0], frame[3])).collect();
    assert_eq!(seqs, (0..32).map(|seq| (6, seq)).collect::<Vec<_>>(), "first in, first out, a hop less");
}

#[test]
fn own_frames_and_others_go_in_turn() {
    let mut flood = Flood::new(7, LEGACY, true, 1, 1);
    flood.post(secs(0), &order(Target::Node(5), 60, false)).expect("room");
    for seq in 0..3 {
        flood.receive(secs(0), &whole(seq, 7, 5), -60);
    }
    let mut set = Recorder::default();
    for _ in 0..10 {
        flood.run(secs(0), &mut set);
        flood.sent(secs(0), 0);
    }
    let sources: Vec<_> = set.0.iter().map(|frame| frame[1]).collect();
    assert_eq!(sources, [1, 9, 1, 9, 1, 9, 1]);
}

#[test]
fn an_answer_finds_its_request_though_another_one_was_lost() {
    for bytes in [0, 4, 100] {
        let mut bus = line(3, 7, 0, 1);
        bus.filter(|_, _, _| false);
        post(&mut bus, 0, &order(Target::Node(2), 3, true)).expect("room");
        bus.play(secs(1));
        bus.filter(|_, _, _| true);
        let id = post(&mut bus, 0, &order(Target::Node(2), bytes, true)).expect("room");
        bus.play(secs(5));
        let answered = bus.nodes[0].arrivals();
        assert_eq!(answered.len(), 1, "{bytes} bytes");
        assert_eq!((answered[0].answers, answered[0].body.len(), answered[0].hops), (Some(id), bytes, 2));
    }
}

#[test]
fn what_cannot_go_is_refused() {
    let mut flood = Flood::new(7, LEGACY, true, 1, 1);
    assert_eq!(flood.post(secs(0), &order(Target::Node(0xffff), 1, false)), Err(Refused::Down));
    for _ in 0..32 {
        flood.post(secs(0), &order(Target::Node(2), 1, false)).expect("room");
    }
    assert_eq!(flood.post(secs(0), &order(Target::Node(2), 1, false)), Err(Refused::Busy));
    flood.run(secs(0), &mut Recorder::default());
    assert!(flood.post(secs(0), &order(Target::Node(2), 1, false)).is_ok());

    flood.power_cut();
    let id = flood.post(secs(0), &order(Target::Node(2), 1, false)).expect("forgotten");
    let first = Flood::new(7, LEGACY, true, 1, 1).seq;
    assert_eq!(id, first + 33, "numbers go on");
}

#[test]
fn no_bytes_at_all_make_a_node_panic() {
    let seed = 7;
    let mut rng = Rng::new(seed);
    let mut flood = Flood::new(7, LEGACY, true, 1, seed);
    let mut set = Recorder::default();
    for _ in 0..40_000 {
        let mut bytes: Vec<_> = (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect();
        if bytes.len() > HEADER && rng.chance(500_000) {
            bytes[2] = 0;
            bytes[7..9].copy_from_slice(&[1, 0]);
            bytes[10] %= 4;
            bytes[9] %= 4;
            bytes.resize(LEGACY, 1);
        }
        if flood.receive(secs(0), &bytes, -60) {
            flood.run(secs(0), &mut set);
            flood.sent(secs(0), 0);
        }
    }
    assert!(count(&flood, "malformed") > 1_000, "seed {seed}");
    assert!(count(&flood, "reassembly_given_up") > 1_000, "seed {seed}");
    assert_eq!(flood.assemblies.len(), ASSEMBLIES, "seed {seed}");
}

#[test]
fn a_set_that_takes_nothing_loses_frames_and_hangs_nobody() {
    let mut bus = line(2, 7, 0, 1);
    bus.refusing = true;
    post(&mut bus, 0, &order(Target::Node(1), 100, false)).expect("room");
    bus.play(secs(1));
    assert_eq!((count(&bus.nodes[0], "radio_full"), bus.nodes[1].arrivals().len()), (7, 0));
}

#[test]
fn one_seed_one_log() {
    let play = |seed| {
        let mut bus = line(4, 7, 200_000, seed);
        for bytes in [5, 200, 40] {
            post(&mut bus, 0, &order(Target::Node(3), bytes, true)).expect("room");
            post(&mut bus, 2, &order(Target::Everyone, bytes, false)).expect("room");
        }
        bus.play(secs(60));
        bus.log
    };
    assert_eq!(play(3), play(3));
    assert_ne!(play(3), play(4));
}
