//! What a host finds in a virtual controller: exact bytes in and out, on a simulated air, without IO.

use ble_bearer::sim::{
    AdvAddress, AdvPdu, Advert, LEGACY_ADV_DATA, Phy, Position, Radio, RadioSpec, Reception, Station,
    StationId, Topology, World,
};
use bt_hci::FromHciBytes;
use bt_hci::event::{Event, EventPacket};
use firmware_sim::scenario::{Layout, Scenario};
use firmware_sim::virtual_controller::{ControllerKind, Garbage, VirtualController};
use mesh_protocol::{Duration, Instant, Rng};

/// A station of these tests: a controller, or a device that sends one frame and keeps those it hears.
#[derive(Debug)]
enum Who {
    Controller(Box<VirtualController>),
    Device { sends: Option<Vec<u8>>, heard: Vec<Vec<u8>> },
}

impl Station for Who {
    fn receive(&mut self, _now: Instant, frame: &[u8], _rssi: i8) -> bool {
        if let Self::Device { heard, .. } = self {
            heard.push(frame.to_vec());
        }
        false
    }

    fn hear(&mut self, now: Instant, reception: &Reception<'_>) -> bool {
        match self {
            Self::Controller(controller) => controller.hear(now, reception),
            Self::Device { .. } => {
                reception.has_frame() && self.receive(now, reception.frame, reception.rssi)
            }
        }
    }

    fn sent(&mut self, now: Instant, set: usize) {
        if let Self::Controller(controller) = self {
            controller.sent(now, set);
        }
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        match self {
            Self::Controller(controller) => controller.run(now, radio),
            Self::Device { sends, .. } => {
                if let Some(frame) = sends.take() {
                    radio.send(&frame, 1).unwrap();
                }
                None
            }
        }
    }
}

/// Some stations in a room.
struct Room(World<Who>);

const A: StationId = StationId(0);
const B: StationId = StationId(1);
/// What the others hear of each other in the room, in dBm: nothing weakens what is sent there with 0 dBm.
const LOUD: Topology = Topology::Radius { metres: 10.0, loss_ppm: 0 };

impl Room {
    /// With so many controllers of a kind.
    fn new(kind: ControllerKind, controllers: u32, seed: u64) -> Self {
        let mut room = Self(World::new(seed, LOUD));
        let radio = Scenario::new("room", Layout::Line { nodes: 1, spacing: 1.0 }).radio;
        for number in 0..controllers {
            let controller = VirtualController::new(kind, StationId(number), 0, Rng::new(seed));
            room.0.add_with(
                Position::new(0.0, 0.0),
                kind.spec(&radio),
                Who::Controller(Box::new(controller)),
            );
        }
        room
    }

    fn device(&mut self, spec: RadioSpec, sends: Option<Vec<u8>>) -> StationId {
        self.0.add_with(Position::new(0.0, 0.0), spec, Who::Device { sends, heard: Vec::new() })
    }

    fn pass(&mut self, millis: u64) {
        let to = self.0.now() + Duration::from_millis(millis);
        assert!(self.0.advance(to));
    }

    fn packet(&mut self, at: StationId, packet: &[u8]) -> Result<(), Garbage> {
        let feed = |who: &mut Who, now: Instant, radio: &mut Radio<'_>| match who {
            Who::Controller(controller) => controller.packet(now, packet, radio),
            Who::Device { .. } => unreachable!("a device has no host"),
        };
        self.0.poke(at, feed).unwrap()
    }

    fn controller(&self, at: StationId) -> &VirtualController {
        match self.0.station(at) {
            Some(Who::Controller(controller)) => controller,
            other => panic!("{other:?}"),
        }
    }

    /// The events that wait at a controller; each is one that an independent host's library can read.
    fn events(&mut self, at: StationId) -> Vec<Vec<u8>> {
        let Some(Who::Controller(controller)) = self.0.station_mut(at) else { panic!() };
        let events: Vec<_> = std::iter::from_fn(|| controller.poll_event()).collect();
        for event in &events {
            assert_eq!(event[0], 4);
            let packet = EventPacket::from_hci_bytes_complete(&event[1..]).unwrap();
            Event::try_from(packet).unwrap_or_else(|error| panic!("{event:02x?}: {error:?}"));
        }
        events
    }

    /// Sends a command and returns what came at once: the answer, alone.
    fn ask(&mut self, at: StationId, opcode: u16, parameters: &[u8]) -> Vec<u8> {
        let [low, high] = opcode.to_le_bytes();
        let packet = [&[1, low, high, parameters.len() as u8], parameters].concat();
        self.packet(at, &packet).unwrap();
        let mut events = self.events(at);
        let answer = events.pop().unwrap();
        assert!(events.is_empty(), "before {answer:02x?}: {events:02x?}");
        answer
    }

    /// The status that a command is answered with.
    fn status(&mut self, at: StationId, opcode: u16, parameters: &[u8]) -> u8 {
        let answer = self.ask(at, opcode, parameters);
        let [low, high] = opcode.to_le_bytes();
        match answer[..] {
            [4, 0x0e, _, 1, l, h, status, ..] if (l, h) == (low, high) => status,
            [4, 0x0f, 4, status, 1, l, h] if (l, h) == (low, high) => status,
            _ => panic!("{opcode:04x}: {answer:02x?}"),
        }
    }

    /// A command that must be done.
    fn done(&mut self, at: StationId, opcode: u16, parameters: &[u8]) {
        let status = self.status(at, opcode, parameters);
        assert_eq!(status, 0, "{opcode:04x} {parameters:02x?}");
    }

    /// As hosts do: every event is wanted.
    fn unmask(&mut self, at: StationId) {
        self.done(at, 0x0c03, &[]);
        self.done(at, 0x0c01, &[0xff; 8]);
        self.done(at, 0x2001, &[0xff; 8]);
    }

    /// Scans without a break by legacy commands.
    fn listen(&mut self, at: StationId, filter: u8) {
        self.unmask(at);
        self.done(at, 0x200b, &[0, 0x10, 0, 0x10, 0, 0, 0]);
        self.done(at, 0x200c, &[1, filter]);
    }

    /// Scans without a break by extended commands.
    fn listen_extended(&mut self, at: StationId) {
        self.unmask(at);
        self.done(at, 0x2041, &[0, 0, 1, 0, 0xa0, 0, 0xa0, 0]);
        self.done(at, 0x2042, &[1, 0, 0, 0, 0, 0]);
    }

    fn heard(&self, device: StationId) -> &[Vec<u8>] {
        match self.0.station(device) {
            Some(Who::Device { heard, .. }) => heard,
            other => panic!("{other:?}"),
        }
    }
}

/// Non-connectable, every 20 ms, from the public address.
const EVERY_20_MS: [u8; 15] = [0x20, 0, 0x20, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0];

/// The parameters of Set Advertising Data.
fn legacy_data(data: &[u8]) -> Vec<u8> {
    let mut parameters = vec![0; 1 + LEGACY_ADV_DATA];
    parameters[0] = data.len() as u8;
    parameters[1..=data.len()].copy_from_slice(data);
    parameters
}

/// The parameters of Set Extended Advertising Parameters: such an advert every 20 ms from the public address.
fn extended_parameters(handle: u8, properties: u8) -> Vec<u8> {
    let mut parameters = vec![handle, properties, 0, 0x20, 0, 0, 0x20, 0, 0, 7, 0];
    parameters.extend([0; 7]);
    parameters.extend([0, 0x7f, 1, 0, 1, 5, 0]);
    parameters
}

/// All of a set's data at once.
fn extended_data(handle: u8, operation: u8, data: &[u8]) -> Vec<u8> {
    [&[handle, operation, 1, data.len() as u8], data].concat()
}

/// The report of a legacy advert by a legacy scanner, but for its last byte, the strength.
fn legacy_report(kind: u8, from: AdvAddress, data: &[u8]) -> Vec<u8> {
    let mut report = vec![4, 0x3e, 12 + data.len() as u8, 2, 1, kind, u8::from(from.random)];
    report.extend(from.bytes);
    report.push(data.len() as u8);
    report.extend(data);
    report
}

/// Reports without their strengths.
fn weightless(mut events: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    for event in &mut events {
        assert_eq!(event[..2], [4, 0x3e], "{event:02x?}");
        event.pop();
    }
    events
}

// ---- what it is ----

#[test]
fn a_host_that_asks_is_told_what_it_has() {
    let mut room = Room::new(ControllerKind::Pi4, 1, 1);
    assert_eq!(room.ask(A, 0x0c03, &[]), [4, 0x0e, 4, 1, 0x03, 0x0c, 0]);
    assert_eq!(room.ask(A, 0x1001, &[]), [4, 0x0e, 12, 1, 0x01, 0x10, 0, 9, 0, 0, 9, 0xff, 0xff, 0, 0]);
    assert_eq!(room.ask(A, 0x1003, &[]), [4, 0x0e, 12, 1, 0x03, 0x10, 0, 0, 0, 0, 0, 0x60, 0, 0, 0]);
    assert_eq!(room.ask(A, 0x1005, &[]), [4, 0x0e, 11, 1, 0x05, 0x10, 0, 251, 0, 0, 8, 0, 0, 0]);
    assert_eq!(room.ask(A, 0x1009, &[]), [4, 0x0e, 10, 1, 0x09, 0x10, 0, 0, 0, 0, 0x6d, 0x5a, 0x02]);
    assert_eq!(room.ask(A, 0x2002, &[]), [4, 0x0e, 7, 1, 0x02, 0x20, 0, 251, 0, 8]);
    assert_eq!(room.ask(A, 0x2003, &[]), [4, 0x0e, 12, 1, 0x03, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(room.ask(A, 0x201c, &[]), [4, 0x0e, 12, 1, 0x1c, 0x20, 0, 0x37, 0x77, 0, 0, 0, 0, 0, 0]);
    assert_eq!(room.ask(A, 0x200f, &[]), [4, 0x0e, 5, 1, 0x0f, 0x20, 0, 16]);
    assert_eq!(room.ask(A, 0x2007, &[]), [4, 0x0e, 5, 1, 0x07, 0x20, 0, 0]);
    assert_ne!(room.ask(A, 0x2018, &[]), room.ask(A, 0x2018, &[]), "two random numbers");

    let mut room = Room::new(ControllerKind::Bt5Dongle, 1, 1);
    assert_eq!(room.ask(A, 0x2003, &[]), [4, 0x0e, 12, 1, 0x03, 0x20, 0, 0, 0x11, 0, 0, 0, 0, 0, 0]);
    assert_eq!(room.ask(A, 0x203a, &[]), [4, 0x0e, 6, 1, 0x3a, 0x20, 0, 251, 0]);
    assert_eq!(room.ask(A, 0x203b, &[]), [4, 0x0e, 5, 1, 0x3b, 0x20, 0, 4]);
}

#[test]
fn the_commands_it_names_are_those_it_knows() {
    for (kind, extended) in [(ControllerKind::Pi4, false), (ControllerKind::Bt5Dongle, true)] {
        let mut room = Room::new(kind, 1, 1);
        let answer = room.ask(A, 0x1002, &[]);
        let (bits, _) = <&bt_hci::param::CmdMask>::from_hci_bytes(&answer[7..]).unwrap();
        let named = [
            (bits.set_event_mask(), 0x0c01),
            (bits.reset(), 0x0c03),
            (bits.set_event_mask_page_2(), 0x0c63),
            (bits.read_local_version_information(), 0x1001),
            (bits.read_local_supported_features(), 0x1003),
            (bits.read_buffer_size(), 0x1005),
            (bits.read_bd_addr(), 0x1009),
            (bits.le_read_buffer_size_v1(), 0x2002),
            (bits.le_rand(), 0x2018),
            (bits.le_read_supported_states(), 0x201c),
            (bits.le_clear_filter_accept_list(), 0x2010),
            (bits.le_set_adv_set_random_addr(), 0x2035),
            (bits.le_set_ext_adv_parameters_v1(), 0x2036),
            (bits.le_set_ext_adv_data(), 0x2037),
            (bits.le_set_ext_scan_response_data(), 0x2038),
            (bits.le_set_ext_adv_enable(), 0x2039),
            (bits.le_read_number_of_supported_adv_sets(), 0x203b),
            (bits.le_remove_adv_set(), 0x203c),
            (bits.le_clear_adv_sets(), 0x203d),
            (bits.le_set_ext_scan_parameters(), 0x2041),
            (bits.le_set_ext_scan_enable(), 0x2042),
            // Never there: connecting, periodic advertising, inquiry.
            (bits.le_set_ext_adv_parameters_v2(), 0x207f),
            (bits.read_local_name(), 0x0c14),
            (bits.write_le_host_support(), 0x0c6d),
        ];
        for (named, opcode) in named {
            let known = room.status(A, opcode, &[]) != 1;
            assert_eq!(named, known, "{kind:?} {opcode:04x}");
            let is_extended = (0x2035..=0x2042).contains(&opcode);
            assert!(!is_extended || known == extended, "{kind:?} {opcode:04x}");
        }
        let count: u32 = answer[7..].iter().map(|octet| octet.count_ones()).sum();
        assert_eq!(count, if extended { 37 } else { 26 }, "{kind:?}");
    }
}

#[test]
fn what_it_does_not_know_is_an_unknown_command() {
    let mut room = Room::new(ControllerKind::Pi4, 1, 1);
    // LE Create Connection, vendors', extended ones where there are none, and none at all.
    for opcode in [0x200d, 0xfc01, 0x2036, 0x2041, 0x0000] {
        let [low, high] = u16::to_le_bytes(opcode);
        assert_eq!(room.ask(A, opcode, &[]), [4, 0x0f, 4, 0x01, 1, low, high]);
    }
    assert_eq!(room.controller(A).counters().refused, 5);
    // Host Number Of Completed Packets is the one that is not answered, and data belongs to no connection.
    room.packet(A, &[1, 0x35, 0x0c, 5, 1, 0, 0, 1, 0]).unwrap();
    room.packet(A, &[2, 0, 0, 1, 0, 9]).unwrap();
    assert!(room.events(A).is_empty());
    assert_eq!(room.controller(A).counters().data, 1);
}

// ---- legacy ----

#[test]
fn an_advert_is_heard_by_another_host_byte_for_byte() {
    for kind in ControllerKind::ALL {
        let mut room = Room::new(kind, 2, 3);
        room.listen(B, 0);
        room.done(A, 0x2006, &EVERY_20_MS);
        let data: Vec<u8> = (100..131).collect();
        room.done(A, 0x2008, &legacy_data(&data));
        room.done(A, 0x200a, &[1]);
        room.pass(300);
        let from = room.controller(A).public_address();
        let events = weightless(room.events(B));
        assert!((8..=15).contains(&events.len()), "{}: 20 to 30 ms apart", events.len());
        assert!(events.iter().all(|event| *event == legacy_report(3, from, &data)), "{events:02x?}");
        room.done(A, 0x200a, &[0]);
        // What was on its way.
        room.pass(5);
        room.events(B);
        room.pass(300);
        assert!(room.events(B).is_empty(), "switched off");
    }
}

#[test]
fn every_kind_of_advert_is_told_from_the_others_and_so_are_addresses() {
    let mut room = Room::new(ControllerKind::Pi4, 2, 4);
    room.listen(B, 0);
    let random = AdvAddress { bytes: [1, 2, 3, 4, 5, 0xc6], random: true };
    for (kind, reported) in [(0, 0), (2, 2), (3, 3)] {
        room.done(A, 0x0c03, &[]);
        room.done(A, 0x2005, &random.bytes);
        let mut parameters = EVERY_20_MS;
        (parameters[4], parameters[5]) = (kind, 1);
        room.done(A, 0x2006, &parameters);
        room.done(A, 0x2008, &legacy_data(&[2, 1, 6]));
        room.done(A, 0x200a, &[1]);
        room.pass(100);
        room.done(A, 0x200a, &[0]);
        room.pass(5);
        let events = weightless(room.events(B));
        assert!(!events.is_empty());
        assert!(
            events.iter().all(|event| *event == legacy_report(reported, random, &[2, 1, 6])),
            "{events:02x?}"
        );
    }
}

#[test]
fn an_advert_disabled_before_its_first_event_is_never_on_the_air() {
    for seed in 0..20 {
        let mut room = Room::new(ControllerKind::Pi4, 2, seed);
        room.listen(B, 0);
        room.done(A, 0x2006, &EVERY_20_MS);
        for _ in 0..10 {
            room.done(A, 0x2008, &legacy_data(&[2, 1, 6]));
            room.done(A, 0x200a, &[1]);
            room.done(A, 0x200a, &[0]);
            room.pass(40);
        }
        assert!(room.events(B).is_empty(), "seed {seed}");
        assert_eq!(room.0.counters().events, 0, "seed {seed}");
        // The longest that the first event may take: command, delay and event.
        room.done(A, 0x200a, &[1]);
        room.pass(12);
        room.done(A, 0x200a, &[0]);
        room.pass(40);
        assert_eq!(room.events(B).len(), 1, "seed {seed}");
    }
}

#[test]
fn new_data_is_used_from_the_next_event_on() {
    let mut room = Room::new(ControllerKind::Pi4, 2, 5);
    room.listen(B, 0);
    room.done(A, 0x2006, &EVERY_20_MS);
    room.done(A, 0x2008, &legacy_data(&[2, 1, 6]));
    room.done(A, 0x200a, &[1]);
    room.pass(100);
    room.done(A, 0x2008, &legacy_data(&[2, 1, 7]));
    room.pass(5);
    room.events(B);
    room.pass(100);
    let from = room.controller(A).public_address();
    let events = weightless(room.events(B));
    assert!(events.len() >= 3, "it goes on");
    assert!(events.iter().all(|event| *event == legacy_report(3, from, &[2, 1, 7])));
}

#[test]
fn whoever_does_not_scan_or_wants_no_reports_hears_nothing() {
    let mut room = Room::new(ControllerKind::Pi4, 3, 6);
    let (off, masked) = (B, StationId(2));
    room.unmask(off);
    // Scans, but as after a reset no LE event is wanted.
    room.done(masked, 0x0c03, &[]);
    room.done(masked, 0x200c, &[1, 0]);
    room.done(A, 0x2006, &EVERY_20_MS);
    room.done(A, 0x200a, &[1]);
    room.pass(200);
    assert!(room.events(off).is_empty());
    assert!(room.events(masked).is_empty());
    assert!(room.0.counters().events > 5);
    room.done(masked, 0x200c, &[0, 0]);
    room.pass(2);
    let heard = room.0.counters().heard;
    assert!(heard > 0, "the one that scanned did hear");
    room.pass(200);
    assert_eq!(room.0.counters().heard, heard, "nobody scans any more");
}

#[test]
fn the_scan_window_of_the_host_decides_what_is_heard() {
    // Windows of 25 % and of all the time, over three seconds of adverts every 20 to 30 ms.
    let count = |window: u8| {
        let mut room = Room::new(ControllerKind::Pi4, 2, 7);
        room.unmask(B);
        room.done(B, 0x200b, &[0, 0xa0, 0, window, 0, 0, 0]);
        room.done(B, 0x200c, &[1, 0]);
        room.done(A, 0x2006, &EVERY_20_MS);
        room.done(A, 0x200a, &[1]);
        let mut reports = 0;
        for _ in 0..30 {
            room.pass(100);
            reports += room.events(B).len() as u64;
        }
        (reports, room.0.counters().events)
    };
    let ((quarter, _), (all, sent)) = (count(0x28), count(0xa0));
    assert!(all * 100 >= sent * 95, "{all} of {sent}");
    assert!((15..=35).contains(&(quarter * 100 / sent)), "{quarter} of {sent}");
}

#[test]
fn a_filter_for_duplicates_tells_of_each_advertiser_once() {
    let mut room = Room::new(ControllerKind::Pi4, 2, 8);
    room.listen(B, 1);
    room.done(A, 0x2006, &EVERY_20_MS);
    room.done(A, 0x200a, &[1]);
    room.pass(200);
    assert_eq!(room.events(B).len(), 1);
    assert!(room.controller(B).counters().duplicates > 3);
    // Switching it on again forgets.
    room.done(B, 0x200c, &[1, 1]);
    room.pass(100);
    assert_eq!(room.events(B).len(), 1);
}

#[test]
fn only_those_of_the_accept_list_are_told_of_where_the_host_wants_it() {
    let mut room = Room::new(ControllerKind::Pi4, 2, 9);
    room.unmask(B);
    room.done(B, 0x200b, &[0, 0x10, 0, 0x10, 0, 0, 1]);
    room.done(B, 0x200c, &[1, 0]);
    room.done(A, 0x2006, &EVERY_20_MS);
    room.done(A, 0x200a, &[1]);
    room.pass(100);
    assert!(room.events(B).is_empty());
    let from = room.controller(A).public_address();
    let listed = [&[0][..], &from.bytes].concat();
    assert_eq!(room.status(B, 0x2011, &listed), 0x0c, "in use");
    room.done(B, 0x200c, &[0, 0]);
    room.done(B, 0x2011, &listed);
    room.done(B, 0x200c, &[1, 0]);
    room.pass(100);
    assert!(!room.events(B).is_empty());
    room.done(B, 0x200c, &[0, 0]);
    for n in 0..15 {
        room.done(B, 0x2011, &[1, n, 0, 0, 0, 0, 0xc0]);
    }
    assert_eq!(room.status(B, 0x2011, &[1, 99, 0, 0, 0, 0, 0xc0]), 0x07, "sixteen, and no more");
    room.done(B, 0x2012, &listed);
    room.done(B, 0x2011, &[1, 99, 0, 0, 0, 0, 0xc0]);
    room.done(B, 0x2010, &[]);
}

#[test]
fn what_a_real_one_refuses_is_refused_and_changes_nothing() {
    let mut room = Room::new(ControllerKind::Pi4, 1, 10);
    let address = [1, 2, 3, 4, 5, 0xc6];
    // Out of range, or too few parameters.
    let mut parameters = EVERY_20_MS;
    parameters[0] = 0x1f;
    assert_eq!(room.status(A, 0x2006, &parameters), 0x12, "below 20 ms");
    parameters = EVERY_20_MS;
    parameters[0] = 0x21;
    assert_eq!(room.status(A, 0x2006, &parameters), 0x12, "min above max");
    for (at, value, status) in
        [(4, 5, 0x12), (4, 1, 0x11), (5, 2, 0x12), (13, 0, 0x12), (13, 3, 0x11), (14, 4, 0x12)]
    {
        parameters = EVERY_20_MS;
        parameters[at] = value;
        assert_eq!(room.status(A, 0x2006, &parameters), status, "byte {at} as {value}");
    }
    assert_eq!(room.status(A, 0x2006, &EVERY_20_MS[..14]), 0x12);
    let mut too_long = legacy_data(&[]);
    too_long[0] = 32;
    assert_eq!(room.status(A, 0x2008, &too_long), 0x12);
    assert_eq!(room.status(A, 0x200a, &[2]), 0x12);
    assert_eq!(room.status(A, 0x200b, &[0, 0x10, 0, 0x11, 0, 0, 0]), 0x12, "a window beyond its interval");
    assert_eq!(room.status(A, 0x200b, &[0, 3, 0, 3, 0, 0, 0]), 0x12, "below 2.5 ms");
    assert_eq!(room.status(A, 0x200c, &[1, 2]), 0x12);

    // A random address that was never set.
    parameters = EVERY_20_MS;
    parameters[5] = 1;
    room.done(A, 0x2006, &parameters);
    assert_eq!(room.status(A, 0x200a, &[1]), 0x12);
    room.done(A, 0x200b, &[0, 0x10, 0, 0x10, 0, 1, 0]);
    assert_eq!(room.status(A, 0x200c, &[1, 0]), 0x12);
    room.done(A, 0x2005, &address);

    // While it advertises, and while it scans.
    room.done(A, 0x200a, &[1]);
    assert_eq!(room.status(A, 0x2006, &EVERY_20_MS), 0x0c);
    assert_eq!(room.status(A, 0x2005, &address), 0x0c, "the address is in use");
    room.done(A, 0x200a, &[1]);
    room.done(A, 0x200a, &[0]);
    room.done(A, 0x200c, &[1, 0]);
    assert_eq!(room.status(A, 0x200b, &[0, 0x10, 0, 0x10, 0, 0, 0]), 0x0c);
    assert_eq!(room.status(A, 0x2005, &address), 0x0c, "the address is in use");
    room.done(A, 0x200c, &[0, 0]);
    room.done(A, 0x2005, &address);
    room.pass(100);
    assert_eq!(room.0.counters().events, 0);
}

// ---- extended ----

#[test]
fn a_set_with_a_number_of_events_ends_and_says_so() {
    for events in [1, 3] {
        let mut room = Room::new(ControllerKind::Bt5Dongle, 2, 11);
        room.listen_extended(B);
        room.unmask(A);
        let answer = room.ask(A, 0x2036, &extended_parameters(7, 0));
        assert_eq!(answer, [4, 0x0e, 5, 1, 0x36, 0x20, 0, 0], "at 0 dBm");
        let data: Vec<u8> = (0..100).collect();
        room.done(A, 0x2037, &extended_data(7, 3, &data));
        room.done(A, 0x2039, &[1, 1, 7, 0, 0, events]);
        room.pass(300);
        assert_eq!(room.events(A), [[4, 0x3e, 6, 0x12, 0x43, 7, 0xff, 0xff, events]]);
        let reports = room.events(B);
        assert_eq!(reports.len(), usize::from(events));
        let mut report = vec![4, 0x3e, 126, 0x0d, 1, 0, 0, 0, 0, 0, 0, 0x6d, 0x5a, 0x02, 1, 1, 5, 0x7f];
        report.push(reports[0][18]);
        report.extend([0; 9]);
        report.push(100);
        report.extend(&data);
        assert_eq!(reports[0], report);
        assert!((reports[0][18] as i8) < 0, "a strength");
        // It may be switched on again, and off when it is already.
        room.done(A, 0x2039, &[0, 1, 7, 0, 0, 0]);
        room.done(A, 0x2039, &[1, 1, 7, 0, 0, events]);
        room.pass(300);
        assert_eq!(room.events(A).len(), 1);
        assert_eq!(room.events(B).len(), usize::from(events));
    }
}

#[test]
fn a_set_with_a_duration_ends_and_says_how_often_it_was_sent() {
    let mut room = Room::new(ControllerKind::Bt5Dongle, 2, 12);
    room.listen_extended(B);
    room.unmask(A);
    room.done(A, 0x2036, &extended_parameters(0, 0x10));
    room.done(A, 0x2037, &extended_data(0, 3, &[2, 1, 6]));
    // 100 ms.
    room.done(A, 0x2039, &[1, 1, 0, 10, 0, 0]);
    room.pass(300);
    let reports = room.events(B);
    assert!((3..=5).contains(&reports.len()), "{}", reports.len());
    assert_eq!(room.events(A), [[4, 0x3e, 6, 0x12, 0x3c, 0, 0xff, 0xff, reports.len() as u8]]);
    // A legacy PDU has the bit that says so, and neither set nor second channel.
    assert_eq!(reports[0][5..7], [0x10, 0]);
    assert_eq!(reports[0][14..17], [1, 0, 0xff]);
}

#[test]
fn long_data_comes_in_parts_and_is_reported_in_parts() {
    let mut room = Room::new(ControllerKind::Bt5Dongle, 2, 13);
    room.listen_extended(B);
    room.unmask(A);
    room.done(A, 0x2036, &extended_parameters(0, 0));
    let data: Vec<u8> = (0..251).map(|n| n as u8).collect();
    room.done(A, 0x2037, &extended_data(0, 1, &data[..100]));
    assert_eq!(room.status(A, 0x2039, &[1, 1, 0, 0, 0, 0]), 0x0c, "there is more to come");
    room.done(A, 0x2037, &extended_data(0, 0, &data[100..200]));
    room.done(A, 0x2037, &extended_data(0, 2, &data[200..]));
    room.done(A, 0x2039, &[1, 1, 0, 0, 0, 1]);
    room.pass(100);
    let reports = room.events(B);
    assert_eq!(reports.len(), 2);
    assert_eq!(
        (&reports[0][5..7], &reports[1][5..7]),
        (&[0x20, 0][..], &[0, 0][..]),
        "more to come, and the rest"
    );
    let (first, second) = (&reports[0][29..], &reports[1][29..]);
    assert_eq!([first, second].concat(), data);
    assert_eq!(room.events(A).len(), 1, "it has ended");
    // One byte more than there is room for: nothing of it stays.
    room.done(A, 0x2037, &extended_data(0, 1, &data[..200]));
    assert_eq!(room.status(A, 0x2037, &extended_data(0, 2, &data[..52])), 0x07);
}

#[test]
fn sets_share_one_radio_and_are_told_apart() {
    let mut room = Room::new(ControllerKind::Bt5Dongle, 2, 14);
    room.listen_extended(B);
    for handle in 0..4 {
        room.done(A, 0x2036, &extended_parameters(handle, 0x10));
        room.done(A, 0x2037, &extended_data(handle, 3, &[2, 9, handle]));
    }
    assert_eq!(room.status(A, 0x2036, &extended_parameters(4, 0x10)), 0x07, "a fifth");
    room.done(A, 0x2039, &[1, 4, 0, 0, 0, 2, 1, 0, 0, 2, 2, 0, 0, 2, 3, 0, 0, 2]);
    room.pass(300);
    let mut last: Vec<u8> = room.events(B).iter().map(|event| event[event.len() - 1]).collect();
    last.sort_unstable();
    assert_eq!(last, [0, 0, 1, 1, 2, 2, 3, 3]);
    room.done(A, 0x203c, &[3]);
    room.done(A, 0x2036, &extended_parameters(4, 0x10));
    room.done(A, 0x203d, &[]);
    assert_eq!(room.status(A, 0x203c, &[4]), 0x42, "cleared");
}

#[test]
fn extended_commands_are_refused_as_real_ones_do() {
    let mut room = Room::new(ControllerKind::Bt5Dongle, 1, 15);
    assert_eq!(room.status(A, 0x2037, &extended_data(0, 3, &[1])), 0x42, "no such set");
    assert_eq!(room.status(A, 0x2039, &[1, 1, 0, 0, 0, 0]), 0x42);
    assert_eq!(room.status(A, 0x2035, &[0, 1, 2, 3, 4, 5, 0xc6]), 0x42);
    for (at, value, status) in [
        (0, 0xf0, 0x12),
        (1, 0x03, 0x12),
        (1, 0x04, 0x11),
        (1, 0x20, 0x11),
        (3, 0x1f, 0x12),
        (3, 0x21, 0x12),
        (9, 0, 0x12),
        (9, 1, 0x11),
        (20, 3, 0x11),
        (20, 2, 0x12),
        (22, 0, 0x12),
        (22, 3, 0x11),
        (23, 16, 0x12),
    ] {
        let mut parameters = extended_parameters(0, 0);
        parameters[at] = value;
        assert_eq!(room.status(A, 0x2036, &parameters), status, "byte {at} as {value:#x}");
    }
    let mut parameters = extended_parameters(0, 0x10);
    parameters[10] = 1;
    room.done(A, 0x2036, &parameters);
    assert_eq!(room.status(A, 0x2039, &[1, 1, 0, 0, 0, 0]), 0x12, "it has no random address yet");
    room.done(A, 0x2035, &[0, 1, 2, 3, 4, 5, 0xc6]);
    assert_eq!(room.status(A, 0x2037, &extended_data(0, 3, &[0; 32])), 0x12, "too long for a legacy PDU");
    assert_eq!(room.status(A, 0x2039, &[1, 0]), 0x12, "on, but which?");
    assert_eq!(room.status(A, 0x2039, &[1, 2, 0, 0, 0, 0, 0, 0, 0, 0]), 0x12, "one of them twice");
    assert_eq!(room.status(A, 0x2039, &[1, 2, 0, 0, 0, 0]), 0x12, "fewer than said");
    room.done(A, 0x2039, &[1, 1, 0, 0, 0, 0]);
    assert_eq!(room.status(A, 0x2036, &parameters), 0x0c, "on the air");
    assert_eq!(room.status(A, 0x203c, &[0]), 0x0c);
    assert_eq!(room.status(A, 0x203d, &[]), 0x0c);
    assert_eq!(room.status(A, 0x2037, &extended_data(0, 1, &[1])), 0x0c, "only whole data");
    room.done(A, 0x2037, &extended_data(0, 3, &[1]));
    room.done(A, 0x2005, &[9, 2, 3, 4, 5, 0xc6]);
    // Legacy ones from now on not at all, until a reset.
    for (opcode, parameters) in [(0x2006, &EVERY_20_MS[..]), (0x200a, &[1]), (0x200c, &[1, 0]), (0x2007, &[])]
    {
        assert_eq!(room.status(A, opcode, parameters), 0x0c, "{opcode:04x}");
    }
    room.done(A, 0x2039, &[0, 0]);
    room.done(A, 0x0c03, &[]);
    room.done(A, 0x200a, &[0]);
    assert_eq!(room.ask(A, 0x203b, &[]), [4, 0x0e, 5, 1, 0x3b, 0x20, 0x0c, 0], "and the other way round");
}

#[test]
fn a_scan_with_a_duration_ends_and_says_so() {
    let mut room = Room::new(ControllerKind::Bt5Dongle, 2, 16);
    room.unmask(B);
    room.done(B, 0x2042, &[1, 0, 10, 0, 0, 0]);
    assert_eq!(room.status(B, 0x2041, &[0, 0, 1, 0, 0xa0, 0, 0xa0, 0]), 0x0c);
    assert_eq!(room.status(B, 0x2005, &[1, 2, 3, 4, 5, 0xc6]), 0x0c, "the address is in use");
    room.pass(101);
    assert_eq!(room.events(B), [[4, 0x3e, 1, 0x11]]);
    room.done(A, 0x2036, &extended_parameters(0, 0x10));
    room.done(A, 0x2039, &[1, 1, 0, 0, 0, 3]);
    room.pass(200);
    assert!(room.events(B).is_empty());
    assert_eq!(room.status(B, 0x2041, &[0, 0, 4, 0, 0xa0, 0, 0xa0, 0]), 0x11, "LE Coded");
    assert_eq!(room.status(B, 0x2041, &[0, 0, 2, 0, 0xa0, 0, 0xa0, 0]), 0x12);
}

// ---- beside devices ----

#[test]
fn frames_of_devices_come_as_manufacturer_data_from_addresses_of_their_own() {
    for (kind, len) in [(ControllerKind::Pi4, 27), (ControllerKind::Bt5Dongle, 245)] {
        let mut room = Room::new(kind, 2, 17);
        if kind.is_extended() {
            room.listen_extended(B);
        } else {
            room.listen(B, 0);
        }
        let frame: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let extended = kind.is_extended().then_some(Phy::OneM);
        let device = room.device(RadioSpec { extended, ..RadioSpec::default() }, Some(frame.clone()));
        room.pass(50);
        let data = [&[frame.len() as u8 + 3, 0xff, 0xff, 0xff], &frame[..]].concat();
        let reports = room.events(B);
        let from = AdvAddress::of(device);
        if kind.is_extended() {
            assert_eq!([&reports[0][29..], &reports[1][29..]].concat(), data);
            assert_eq!(reports[0][7..14], [&[1], &from.bytes[..]].concat());
        } else {
            assert_eq!(weightless(reports), [legacy_report(3, from, &data)]);
        }
        assert_eq!(room.controller(B).counters().frames, 1);
    }
}

#[test]
fn a_host_s_frame_reaches_devices_and_a_foreign_advert_does_not() {
    let mut room = Room::new(ControllerKind::Pi4, 2, 18);
    room.listen(B, 0);
    let device = room.device(RadioSpec::default(), None);
    room.done(A, 0x2006, &EVERY_20_MS);
    // Another company's, a name, and nothing at all.
    for data in [&[5, 0xff, 0x4c, 0, 1, 2][..], &[3, 9, b'h', b'i'], &[]] {
        room.done(A, 0x2008, &legacy_data(data));
        room.done(A, 0x200a, &[1]);
        room.pass(100);
        room.done(A, 0x200a, &[0]);
        room.pass(5);
        let from = room.controller(A).public_address();
        let events = weightless(room.events(B));
        assert!(!events.is_empty());
        assert!(events.iter().all(|event| *event == legacy_report(3, from, data)), "whole: {events:02x?}");
        assert!(room.heard(device).is_empty(), "{data:02x?}");
    }
    assert_eq!(room.controller(B).counters().frames, 0);
    let frame: Vec<u8> = (1..=27).collect();
    room.done(A, 0x2008, &legacy_data(&[&[30, 0xff, 0xff, 0xff], &frame[..]].concat()));
    room.done(A, 0x200a, &[1]);
    room.pass(100);
    assert!(room.heard(device).len() >= 2);
    assert!(room.heard(device).iter().all(|heard| *heard == frame));
}

#[test]
fn an_advert_of_a_host_is_on_the_air_as_long_as_one_of_a_device() {
    let mut airtimes = Vec::new();
    for hosts in [true, false] {
        let mut room = Room::new(ControllerKind::Pi4, 1, 19);
        let frame: Vec<u8> = (1..=20).collect();
        if hosts {
            room.done(A, 0x2006, &EVERY_20_MS);
            room.done(A, 0x2008, &legacy_data(&[&[23, 0xff, 0xff, 0xff], &frame[..]].concat()));
            room.done(A, 0x200a, &[1]);
        } else {
            room.device(RadioSpec::default(), Some(frame));
        }
        room.pass(15);
        assert_eq!(room.0.counters().events, 1);
        airtimes.push(room.0.counters().airtime_us);
    }
    // Three PDUs with an address and 24 bytes.
    assert_eq!(airtimes, [3 * (80 + 8 * 30); 2]);
    let from = AdvAddress::of(A);
    let advert = Advert::new(from, AdvPdu::NonConnectable, &[0; 24]).unwrap();
    assert_eq!(advert.shape().busy().as_micros(), airtimes[0]);
}

// ---- hosts that do not do what they should ----

#[test]
fn what_a_host_does_not_read_is_lost_and_counted() {
    let mut room = Room::new(ControllerKind::Pi4, 2, 20);
    room.listen(B, 0);
    room.done(A, 0x2006, &EVERY_20_MS);
    room.done(A, 0x200a, &[1]);
    room.pass(5_000);
    let lost = room.controller(B).counters().lost;
    assert!(lost > 50, "{lost}");
    let events = room.events(B);
    assert_eq!(events.len(), 64);
    // Answers have room beside reports, but not without end either.
    room.pass(5_000);
    for _ in 0..1_000 {
        room.packet(B, &[1, 0x09, 0x10, 0]).unwrap();
    }
    let events = room.events(B);
    assert_eq!(events.len(), 128);
    assert!(events[64..].iter().all(|event| event[1] == 0x0e));
    room.pass(100);
    assert!(!room.events(B).is_empty(), "it goes on");
}

#[test]
fn garbage_is_a_hardware_error_and_the_end() {
    let mut room = Room::new(ControllerKind::Pi4, 1, 21);
    assert_eq!(room.packet(A, b"GET / HTTP/1.1\r\n"), Err(Garbage(b'G')));
    assert_eq!(room.events(A), [[4, 0x10, 1, 1]]);
    assert_eq!(room.packet(A, &[1, 0x03, 0x0c, 0]), Err(Garbage(1)), "nothing is taken any more");
    assert!(room.events(A).is_empty());
    assert_eq!(room.controller(A).counters().garbage, 1);
    let cycle = |who: &mut Who, _: Instant, radio: &mut Radio<'_>| match who {
        Who::Controller(controller) => controller.power_cycle(radio),
        Who::Device { .. } => {}
    };
    room.0.poke(A, cycle).unwrap();
    room.done(A, 0x0c03, &[]);
}

#[test]
fn a_power_cycle_takes_everything_off_the_air() {
    let mut room = Room::new(ControllerKind::Pi4, 2, 22);
    room.listen(B, 0);
    room.done(A, 0x2006, &EVERY_20_MS);
    room.done(A, 0x200a, &[1]);
    room.pass(100);
    for at in [A, B] {
        let cycle = |who: &mut Who, _: Instant, radio: &mut Radio<'_>| match who {
            Who::Controller(controller) => controller.power_cycle(radio),
            Who::Device { .. } => {}
        };
        room.0.poke(at, cycle).unwrap();
    }
    let events = room.0.counters().events;
    room.pass(500);
    assert_eq!(room.0.counters().events, events);
    assert!(room.events(B).is_empty());
}

#[test]
fn random_bytes_never_panic() {
    for seed in 0..300 {
        println!("seed {seed}");
        let kind = ControllerKind::ALL[seed as usize % 2];
        let mut room = Room::new(kind, 2, seed);
        let mut rng = Rng::new(seed);
        for at in [A, B] {
            room.unmask(at);
        }
        for _ in 0..400 {
            let at = StationId(rng.below(2) as u32);
            // Mostly commands that exist, with parameters of any length and mostly small numbers: those get further.
            let group = [0x0c00, 0x1000, 0x2000, 0x2000, 0x2000][rng.below(5) as usize];
            let opcode = (group + rng.below(0x48)) as u16;
            let len = [0, 1, 2, 6, 7, 8, 15, 25, 32][rng.below(9) as usize]
                + rng.below(2) as usize * rng.below(40) as usize;
            let mut packet = vec![1, opcode as u8, (opcode >> 8) as u8, len as u8];
            let small = rng.chance(700_000);
            packet.extend(
                (0..len).map(|_| if small { rng.below(4) as u8 * 0x10 / 3 } else { rng.next_u64() as u8 }),
            );
            if rng.chance(3_000) {
                packet[0] = rng.next_u64() as u8;
            }
            let _ = room.packet(at, &packet);
            if rng.chance(100_000) {
                room.pass(rng.below(50));
            }
            if rng.chance(50_000) {
                room.events(at);
            }
        }
        room.pass(1_000);
        for at in [A, B] {
            assert!(room.events(at).len() <= 128, "seed {seed}");
        }
    }
}
