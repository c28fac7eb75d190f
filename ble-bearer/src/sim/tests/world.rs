//! Worlds of simulated devices, driven step by step.

use std::hash::{DefaultHasher, Hash, Hasher};

use mesh_protocol::{LEGACY_FRAME, Rng};

use super::*;

/// Sends numbered frames at a period, relays nothing, remembers what it hears.
#[derive(Default)]
struct Beacon {
    period: Option<Duration>,
    next: Instant,
    sent: Vec<Instant>,
    refused: usize,
    heard: Vec<(Instant, Vec<u8>)>,
}

impl Beacon {
    fn every(period: Duration) -> Self {
        Self { period: Some(period), ..Self::default() }
    }
}

impl Station for Beacon {
    fn receive(&mut self, now: Instant, frame: &[u8], _rssi: i8) -> bool {
        self.heard.push((now, frame.to_vec()));
        true
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        let period = self.period?;
        while self.next <= now {
            match radio.send(&[self.sent.len() as u8; LEGACY_FRAME], 1) {
                Ok(()) => self.sent.push(now),
                Err(_) => self.refused += 1,
            }
            self.next += period;
        }
        Some(self.next)
    }
}

#[test]
fn a_lone_pair_delivers_everything_within_the_predicted_bounds() {
    for seed in 0..20 {
        println!("seed {seed}");
        let mut world = World::new(seed, room(0));
        let a = world.add(Position::new(0.0, 0.0), Beacon::every(ms(100)));
        let b = world.add(Position::new(10.0, 0.0), Beacon::default());
        assert!(world.advance(us(1_950_000)));
        assert_eq!(world.now(), us(1_950_000));
        let sent = &world.station(a).unwrap().sent;
        let heard = &world.station(b).unwrap().heard;
        assert_eq!(sent.len(), 20);
        // A channel change may cut one frame, or let one be heard twice.
        assert!((19..=21).contains(&heard.len()), "{}", heard.len());
        let (pdu, event) = (Phy::OneM.airtime(37), Shape::Legacy(LEGACY_ADV_DATA).airtime());
        for (at, frame) in heard {
            let took = at.since(sent[usize::from(frame[0])]);
            let fixed = COMMAND_LATENCY + REPORT_LATENCY;
            assert!(took >= fixed + pdu, "{took:?}");
            assert!(took <= fixed + ADV_DELAY + event, "{took:?}");
        }
        assert!(world.station(a).unwrap().heard.is_empty());
    }
}

/// Hashes everything that happens.
#[derive(Default)]
struct Trace(DefaultHasher, usize);

impl<S> Observer<S> for Trace {
    fn transmitted(&mut self, now: Instant, from: StationId, frame: &[u8]) {
        (1, now, from, frame).hash(&mut self.0);
        self.1 += 1;
    }

    fn received(&mut self, now: Instant, heard: &Reception<'_>) {
        (2, now, heard.to, heard.from, heard.channel, &heard.frame[..], heard.rssi).hash(&mut self.0);
        self.1 += 1;
    }
}

/// A crowd of beacons in a hall for three seconds; the trace's hash and the counters.
fn crowd(seed: u64) -> (u64, AirCounters) {
    let hall = Topology::Radius { metres: 12.0, loss_ppm: 100_000 };
    let mut world = World::with_observer(seed, hall, AirSettings::default(), Trace::default());
    let mut rng = Rng::new(99);
    for _ in 0..60 {
        let position = Position::new(rng.below(40) as f64, rng.below(40) as f64);
        world.add(position, Beacon::every(ms(20 + rng.below(60))));
    }
    assert!(world.advance(us(3_000_000)));
    assert!(world.observer().1 > 10_000, "{}", world.observer().1);
    (world.observer().0.finish(), world.counters())
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_seed_another_one() {
    let first = crowd(1);
    assert_eq!(first, crowd(1));
    assert_ne!(first.0, crowd(2).0);
    let counters = first.1;
    assert!(counters.heard > 0 && counters.collision > 0);
    assert!(counters.half_duplex > 0 && counters.link_loss > 0);
}

#[test]
fn advancing_in_small_steps_or_in_one_makes_no_difference() {
    let run = |step: u64| {
        let mut world = World::with_observer(5, room(200_000), AirSettings::default(), Trace::default());
        for _ in 0..5 {
            world.add(Position::default(), Beacon::every(ms(30)));
        }
        for turn in 1..=1_000_000 / step {
            assert!(world.advance(us(turn * step)));
        }
        (world.observer().0.finish(), world.counters())
    };
    assert_eq!(run(1_000_000), run(100));
}

#[test]
fn poll_timeout_is_exact() {
    let mut world = World::new(3, room(0));
    for _ in 0..4 {
        world.add(Position::default(), Beacon::every(ms(25)));
    }
    for _ in 0..5_000 {
        let next = world.poll_timeout().unwrap();
        assert_eq!(world.step_until(next - Duration::from_micros(1)), {
            if next == Instant::ZERO { Step::Done(next) } else { Step::Quiet(Some(next)) }
        });
        if next > Instant::ZERO {
            assert_eq!(world.step(), Step::Done(next));
        }
    }
}

#[test]
fn poking_a_device_makes_it_run_and_refreshes_its_deadline() {
    let mut world = World::new(4, room(0));
    let a = world.add(Position::default(), Beacon::default());
    let b = world.add(Position::default(), Beacon::default());
    assert!(world.advance(us(1_000)));
    assert_eq!(world.step(), Step::Quiet(None));
    let poked = world.poke(a, |beacon, now, radio| {
        beacon.period = Some(ms(50));
        beacon.next = now + ms(10);
        radio.send(b"poked", 1)
    });
    assert_eq!(poked, Some(Ok(())));
    assert!(world.poll_timeout().unwrap() <= us(11_000));
    assert!(world.advance(us(40_000)));
    let heard = &world.station(b).unwrap().heard;
    assert_eq!(heard[0].1, b"poked");
    assert_eq!(world.station(a).unwrap().sent, [us(11_000)]);
    assert_eq!(world.poke(StationId(9), |_, _, _| ()), None);
    world.station_mut(a).unwrap().refused = 1;
    assert_eq!((world.len(), world.is_empty()), (2, false));
}

/// Always wants to run again at once.
struct Stuck;

impl Station for Stuck {
    fn receive(&mut self, _now: Instant, _frame: &[u8], _rssi: i8) -> bool {
        true
    }

    fn run(&mut self, now: Instant, _radio: &mut Radio<'_>) -> Option<Instant> {
        Some(now)
    }
}

#[test]
#[should_panic(expected = "running station 0: it asked 1000 times in a row")]
fn a_device_that_never_lets_time_go_on_is_named() {
    let mut world = World::new(1, room(0));
    world.add(Position::default(), Stuck);
    world.advance(us(1));
}
