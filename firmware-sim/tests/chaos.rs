//! Power cuts, clocks and attackers, one at a time: what each does to devices, and what it does not.

use ble_bearer::sim::{AirSettings, Link, Position, StationId, Topology, World};
use firmware_sim::chaos::{Both, Invariants, Occupant, Rules, Schedule, attackers, links_of_attackers};
use firmware_sim::scenario::{FaultKind, Flash, RuleAction, ScheduledFault};
use firmware_sim::{Device, Options, Posting};
use mesh_protocol::{
    Address, Discard, Duration, Envelope, Instant, MessageId, MessageType, NetKey, Priority, SEQ_FIRST_BLOCK,
    SendOutcome,
};

const KEY: [u8; 16] = [3; 16];
const EPOCH: u32 = 1;

type Field = World<Occupant<Device>, Both<Rules, Invariants>>;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn fault(millis: u64, what: FaultKind) -> ScheduledFault {
    ScheduledFault { at: Duration::from_millis(millis), what }
}

/// Three devices in a row and the faults they have.
struct Row {
    world: Field,
    schedule: Schedule,
}

impl Row {
    fn new(options: &Options, faults: &[ScheduledFault]) -> Self {
        let key = NetKey::new(KEY);
        let mut links: Vec<Link> = [(0, 1), (1, 2)].iter().flat_map(|(a, b)| Link::both(*a, *b, 0)).collect();
        links.extend(links_of_attackers(&links, 3, faults));
        let attackers = attackers(faults, 3, Instant::ZERO, &key, EPOCH, 1);
        let members = attackers.iter().filter_map(|(_, attacker)| attacker.member()).collect();
        let watchers =
            Both(Rules::new(faults, 3, Instant::ZERO, 1), Invariants::new(&key, EPOCH, 3, members));
        let mut world = Field::with_observer(1, Topology::Given(links), AirSettings::default(), watchers);
        for n in 0..3 {
            let (address, options) = (Address::new(1 + n), options.clone());
            let mut device = Device::with(Instant::ZERO, address, &key, EPOCH, u64::from(n), options);
            device.watch();
            world.add(Position::default(), Occupant::Node(device));
        }
        for (_, attacker) in attackers {
            world.add(Position::default(), Occupant::Attacker(Box::new(attacker)));
        }
        Self { world, schedule: Schedule::new(faults, Instant::ZERO) }
    }

    /// Goes on until then; nothing may have broken.
    fn until(&mut self, millis: u64) {
        while let Some(next) = self.schedule.next().filter(|next| *next <= at(millis)) {
            self.world.advance(next);
            self.schedule.apply(&mut self.world);
        }
        self.world.advance(at(millis));
        assert_eq!(self.world.observer().1.violation(), None);
    }

    fn device(&self, n: u32) -> &Device {
        self.world.station(StationId(n)).and_then(Occupant::node).unwrap()
    }

    fn post(&mut self, from: u32, to: u16, body: &[u8], within: Duration) -> MessageId {
        let envelope = Envelope {
            kind: MessageType::Notification,
            from: "",
            to: "",
            processed: false,
            reply_to: None,
            text: false,
            body,
        };
        let mut bytes = vec![0; body.len() + 100];
        let len = envelope.write(&mut bytes).unwrap();
        bytes.truncate(len);
        let posting = Posting { to: Address::new(to), priority: Priority::High, within, envelope: bytes };
        let posted = self
            .world
            .poke(StationId(from), |place, now, _| place.node_mut().map(|it| it.post(now, posting)));
        posted.flatten().unwrap().unwrap()
    }

    fn outcomes(&self, n: u32) -> Vec<SendOutcome> {
        self.device(n).outcomes().iter().map(|(_, _, outcome)| *outcome).collect()
    }
}

/// Flash that is slow enough to be met by a cut.
fn slow() -> Options {
    Options { seq_block: 8, flash_write: Duration::from_millis(400), ..Options::default() }
}

#[test]
fn after_a_cut_in_a_write_seqs_go_on_where_flash_says_and_the_rest_is_as_if_never_asked_for() {
    // The first reservation is asked for at once and done after 0.4 s.
    for (cut, flash, first) in [
        (200, Flash::Lost, 0),
        (200, Flash::Torn, 0),
        (200, Flash::Kept, 8),
        (600, Flash::Lost, 8),
        (600, Flash::Torn, 8),
    ] {
        let crash = fault(cut, FaultKind::Crash { node: 0, down: secs(1), flash });
        let mut row = Row::new(&slow(), &[crash]);
        row.until(cut + 1_001);
        assert_eq!(row.device(0).reserved(), first, "cut at {cut} ms, {flash:?}");
        row.until(20_000);
        assert!(row.device(0).reserved() >= first + 8, "it has reserved again and says hello");
        assert!(row.device(0).stats().frames_sent > 3, "cut at {cut} ms, {flash:?}");
    }
}

#[test]
fn ram_is_gone_with_the_power_and_flash_is_not() {
    for durable in [false, true] {
        let options = Options { durable, ..slow() };
        let crash = fault(5_100, FaultKind::Crash { node: 0, down: secs(5), flash: Flash::Lost });
        // Nobody is there to receive before the sender loses its power.
        let away = fault(0, FaultKind::Partition { nodes: vec![2], lasts: secs(8) });
        let mut row = Row::new(&options, &[crash, away]);
        row.until(4_000);
        row.post(0, 3, b"kept or not", secs(60));
        row.until(5_099);
        assert_eq!(row.device(0).open_messages(), 1);
        row.until(5_100);
        assert!(!row.device(0).is_powered());
        row.until(30_000);
        let arrived = row.device(2).delivered().len();
        assert_eq!(arrived, usize::from(durable));
        assert_eq!(row.outcomes(0), if durable { vec![SendOutcome::Delivered] } else { vec![] });
    }
}

#[test]
fn a_durable_receiver_that_loses_its_power_before_the_receipt_delivers_once() {
    // The message comes at about 4.1 s; its write takes until about 4.5 s, or dies with the power at 4.3 s.
    for flash in [Flash::Kept, Flash::Lost, Flash::Torn] {
        let crash = fault(4_300, FaultKind::Crash { node: 2, down: secs(1), flash });
        let mut row = Row::new(&Options { durable: true, ..slow() }, &[crash]);
        row.until(3_500);
        row.post(0, 3, &[7; 40], secs(60));
        row.until(4_299);
        assert_eq!(row.device(2).delivered(), [], "not before the write");
        row.until(30_000);
        assert_eq!(row.device(2).delivered().len(), 1, "{flash:?}");
        assert_eq!(row.device(2).delivered()[0].body, [7; 40]);
        assert_eq!(row.outcomes(0), [SendOutcome::Delivered], "{flash:?}");
    }
}

#[test]
fn a_clock_that_jumps_past_a_deadline_ends_the_message_and_a_slow_clock_is_not_early() {
    let jump = fault(5_000, FaultKind::ClockJump { node: 0, by: secs(30) });
    let away = fault(0, FaultKind::Partition { nodes: vec![2], lasts: secs(60) });
    let mut row = Row::new(&Options::default(), &[jump, away]);
    row.until(4_000);
    row.post(0, 3, b"too late", secs(20));
    row.until(4_999);
    assert_eq!(row.outcomes(0), []);
    row.until(5_000);
    assert_eq!(row.outcomes(0), [SendOutcome::Unknown]);

    // Half a percent slow: 20 s of its own are 20.1 of the world.
    let away = fault(0, FaultKind::Partition { nodes: vec![2], lasts: secs(60) });
    let mut row = Row::new(&Options { drift_ppb: -5_000_000, ..Options::default() }, &[away]);
    row.until(4_000);
    row.post(0, 3, b"not yet", secs(20));
    row.until(24_100);
    assert_eq!(row.outcomes(0), []);
    row.until(24_101);
    assert_eq!(row.outcomes(0), [SendOutcome::Unknown]);
}

#[test]
fn attackers_rules_and_a_traitor_do_not_keep_messages_from_arriving() {
    let lasts = secs(20);
    let faults = [
        fault(0, FaultKind::Forge { near: 1, rate: 10.0, lasts }),
        fault(0, FaultKind::Replay { near: 1, after: secs(2), rate: 10.0, lasts }),
        fault(0, FaultKind::Member { near: 1, rate: 2.0, lasts }),
        fault(0, FaultKind::Rule { action: RuleAction::Corrupt, share: 0.1, from: None, to: None, lasts }),
        fault(0, FaultKind::Rule { action: RuleAction::Duplicate, share: 0.3, from: None, to: None, lasts }),
    ];
    let mut row = Row::new(&Options::default(), &faults);
    row.until(4_000);
    for _ in 0..3 {
        row.post(0, 3, &[1; 60], secs(60));
    }
    row.until(40_000);
    assert_eq!(row.outcomes(0), [SendOutcome::Delivered; 3]);
    let counts = row.world.observer().1.counts();
    assert!(counts.strange > 100 && counts.shut_out + counts.known > 100, "{counts:?}");
}

/// Without its source's mark in flash the device once took what it had delivered for new.
#[test]
fn what_a_device_delivered_before_a_cut_is_not_delivered_again_to_who_repeats_the_frames() {
    // Slower than its source's first repeat, and that repeat is not shut out: `docs/protocol.md`, "Replay".
    for flash_write in [0, 150] {
        let options = Options { flash_write: Duration::from_millis(flash_write), ..Options::default() };
        let crash = fault(8_000, FaultKind::Crash { node: 2, down: secs(1), flash: Flash::Lost });
        let replay = FaultKind::Replay { near: 2, after: secs(12), rate: 50.0, lasts: secs(60) };
        let mut row = Row::new(&options, &[crash, fault(0, replay)]);
        row.until(4_000);
        row.post(0, 3, b"open the valve", secs(60));
        row.until(7_999);
        assert_eq!(row.outcomes(0), [SendOutcome::Delivered]);
        row.until(40_000);
        assert_eq!(row.device(2).delivered().len(), 1, "written in {flash_write} ms");
        assert!(
            row.device(2).stats().discarded(Discard::Replay)
                + row.device(2).stats().discarded(Discard::Duplicate)
                > 0
        );
        row.post(0, 3, b"close the valve", secs(60));
        row.until(60_000);
        assert_eq!(row.device(2).delivered().len(), 2, "the true sender goes on");
    }
}

#[test]
fn a_receipt_comes_behind_the_write_of_the_mark() {
    let options = Options { flash_write: Duration::from_millis(400), ..Options::default() };
    let mut row = Row::new(&options, &[]);
    row.until(4_000);
    row.post(0, 3, b"hi", secs(60));
    row.until(4_390);
    assert_eq!((row.device(2).delivered(), row.outcomes(0)), ([].as_slice(), vec![]));
    row.until(6_000);
    assert_eq!((row.device(2).delivered().len(), row.outcomes(0)), (1, vec![SendOutcome::Delivered]));
}

/// A solar node that boots every ten minutes once used up its address in a month.
#[test]
fn a_device_that_starts_often_uses_up_few_seqs() {
    let starts = 30;
    let crash = |n: u64| {
        fault(2_000 * n, FaultKind::Crash { node: 0, down: Duration::from_millis(200), flash: Flash::Lost })
    };
    let mut row = Row::new(&Options::default(), &(1..=starts).map(crash).collect::<Vec<_>>());
    row.until(2_000 * (starts + 1));
    let most = (starts as u32 + 1) * SEQ_FIRST_BLOCK;
    assert!(row.device(0).reserved() <= most, "{} of at most {most}", row.device(0).reserved());
    assert!(row.device(0).stats().frames_sent > 0);
}
