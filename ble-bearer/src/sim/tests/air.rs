//! The air on its own, with schedules made by hand.

use mesh_protocol::LEGACY_FRAME;

use super::*;
use crate::FrameBytes;

/// Air with `count` stations in one room.
fn air(seed: u64, count: usize, loss_ppm: u32) -> Air {
    println!("seed {seed}");
    stations(Air::new(seed, room(loss_ppm), AirSettings::default()), count)
}

/// Air with `count` stations added that stand in one place.
fn stations(mut air: Air, count: usize) -> Air {
    for _ in 0..count {
        air.add(Position::default(), RadioSpec::default());
    }
    air
}

/// Lets what is due before `to` happen.
fn pass(air: &mut Air, to: Instant) {
    while let Some(due) = air.poll_timeout().filter(|due| *due < to) {
        let _ = air.poll_delivery(due);
    }
}

/// How long the PDUs and the event of a full legacy frame are.
const EVENT: Shape = Shape::Legacy(LEGACY_ADV_DATA);

fn frame(len: usize) -> FrameBytes {
    FrameBytes::from_slice(&vec![7; len]).unwrap()
}

/// Lets everything on the air come to its end; who heard whom, and when the PDU ended.
fn drain(air: &mut Air) -> Vec<(u32, u32, Instant)> {
    let mut all = Vec::new();
    while let Some(at) = air.poll_timeout() {
        if let Some(Delivery { end, from, hearers, .. }) = air.poll_delivery(at) {
            all.extend(hearers.iter().map(|hearer| (from.0, hearer.station.0, end)));
        }
    }
    all
}

/// The first time at which `station` leaves channel 37.
fn end_of_37(air: &Air, station: u32) -> Instant {
    let on = |micros| air.scanned_channel(StationId(station), us(micros)) == Some(37);
    let mut at = (1..=9_100).map(|ms| ms * 1_000).find(|&at| on(at - 1_000) && !on(at)).unwrap();
    while !on(at - 1) {
        at -= 1;
    }
    us(at)
}

#[test]
fn each_receiver_hears_the_pdu_of_the_channel_it_scans_once() {
    let mut air = air(1, 20, 0);
    let start = us(500_000);
    let channels: Vec<u64> =
        (1..20).map(|id| u64::from(air.scanned_channel(StationId(id), start).unwrap()) - 37).collect();
    assert!((0..3).all(|channel| channels.contains(&channel)), "{channels:?}");
    air.transmit(start, StationId(0), &frame(LEGACY_FRAME));
    let mut heard = drain(&mut air);
    heard.sort_by_key(|(_, to, _)| *to);
    let expected = (1..20).zip(channels).map(|(to, channel)| {
        let end = start + Duration::from_micros(376 + channel * (376 + 150));
        (0, to, end)
    });
    assert_eq!(heard, expected.collect::<Vec<_>>());
    let counters = AirCounters { events: 1, airtime_us: 3 * 376, heard: 19, ..AirCounters::default() };
    assert_eq!(air.counters(), counters);
}

#[test]
fn a_pdu_cut_by_the_end_of_a_scan_window_is_lost() {
    let mut air = air(2, 2, 0);
    let change = end_of_37(&air, 1);
    // Ends exactly with the window: heard. A microsecond later: cut on 37, and heard on 38.
    air.transmit(change - Duration::from_micros(376), StationId(0), &frame(LEGACY_FRAME));
    let heard = drain(&mut air);
    assert_eq!(heard[0], (0, 1, change));
    assert_eq!(air.counters().boundary, 0);

    let mut air = self::air(2, 2, 0);
    air.transmit(change - Duration::from_micros(375), StationId(0), &frame(LEGACY_FRAME));
    let heard = drain(&mut air);
    assert_eq!(heard, [(0, 1, change + Duration::from_micros(1 + 150 + 376))]);
    assert_eq!((air.counters().boundary, air.counters().heard), (1, 1));
}

#[test]
fn one_who_sends_or_turns_round_hears_nothing() {
    // 1 hears 0, and 0 does not hear 1, so that only 1 can miss something. A second before the end of its window 1 scans
    // channel 37, and both send.
    let one_way = vec![Link { from: StationId(0), to: StationId(1), loss_ppm: 0, rssi: -60 }];
    let missed = |start_of_0: u64, start_of_1: u64| {
        let mut air = stations(Air::new(3, Topology::Given(one_way.clone()), AirSettings::default()), 2);
        let base = end_of_37(&air, 1) - ms(1_000);
        let mut starts = [(start_of_0, 0), (start_of_1, 1)];
        starts.sort_unstable();
        for (start, station) in starts {
            let at = base + Duration::from_micros(start);
            pass(&mut air, at);
            air.transmit(at, StationId(station), &frame(LEGACY_FRAME));
        }
        drain(&mut air);
        (air.counters().heard, air.counters().half_duplex)
    };
    // It hears again 300 µs after its own event of 1,428 µs, not a microsecond sooner.
    let own = EVENT.airtime().as_micros();
    assert_eq!(own, 1_428);
    assert_eq!(missed(own + 299, 0), (0, 1));
    assert_eq!(missed(own + 300, 0), (1, 0));
    // And it stops hearing 300 µs before its own event.
    assert_eq!(missed(0, 376 + 299), (0, 1));
    assert_eq!(missed(0, 376 + 300), (1, 0));
}

#[test]
fn overlapping_pdus_destroy_each_other_where_both_are_in_range() {
    // 0 and 2 hear 1 and are heard by it, but do not hear each other: hidden stations. 3 hears only 2.
    let links = [Link::both(0, 1, 0), Link::both(1, 2, 0), Link::both(2, 3, 0)].concat();
    let run = |gap: u64| {
        let mut air = stations(Air::new(4, Topology::Given(links.clone()), AirSettings::default()), 4);
        let base = us(100_000);
        air.transmit(base, StationId(0), &frame(LEGACY_FRAME));
        pass(&mut air, base + Duration::from_micros(gap));
        air.transmit(base + Duration::from_micros(gap), StationId(2), &frame(LEGACY_FRAME));
        let heard: Vec<_> = drain(&mut air).into_iter().map(|(from, to, _)| (from, to)).collect();
        (heard, air.counters().collision)
    };
    let (heard, collisions) = run(375);
    assert_eq!((heard, collisions), (vec![(2, 3)], 2), "both are lost at 1, and 3 is spared");
    let (mut heard, collisions) = run(376);
    heard.sort_unstable();
    assert_eq!((heard, collisions), (vec![(0, 1), (2, 1), (2, 3)], 0), "back to back is no overlap");
}

#[test]
fn link_loss_is_drawn_once_an_event_and_comes_near_its_rate() {
    let mut air = air(5, 11, 100_000);
    let events = 2_000;
    for number in 0..events {
        air.transmit(us(10_000 * number), StationId(0), &frame(LEGACY_FRAME));
        drain(&mut air);
    }
    let counters = air.counters();
    assert_eq!(counters.events, events);
    assert_eq!((counters.collision, counters.half_duplex), (0, 0));
    let draws = counters.heard + counters.link_loss;
    let ppm = counters.link_loss * 1_000_000 / draws;
    // 20,000 draws: a standard deviation is 2,100 ppm.
    assert!((90_000..110_000).contains(&ppm), "{ppm}");
}

#[test]
fn one_without_power_hears_nothing_and_loses_nothing() {
    let mut air = air(6, 2, 0);
    let pdu = RadioSpec::default().shape(1).primary().as_micros();
    air.set_powered(us(0), StationId(1), false);
    air.transmit(us(0), StationId(0), &frame(1));
    assert_eq!(drain(&mut air), []);
    air.set_powered(us(5_000), StationId(1), true);
    air.transmit(us(10_000), StationId(0), &frame(1));
    assert_eq!(drain(&mut air).len(), 1);
    assert_eq!(
        air.counters(),
        AirCounters { events: 2, airtime_us: 6 * pdu, heard: 1, ..AirCounters::default() }
    );
}

/// Two stations 1 and 2 that 0 hears, so strong; the start of the second event after the first, in microseconds: whom 0 heard.
fn duel(strengths: [i8; 2], gap: u64) -> Vec<u32> {
    let link = |from, rssi| Link { from: StationId(from), to: StationId(0), loss_ppm: 0, rssi };
    let links = vec![link(1, strengths[0]), link(2, strengths[1])];
    let mut air = stations(Air::new(9, Topology::Given(links), AirSettings::default()), 3);
    let base = end_of_37(&air, 0) - ms(1_000);
    air.transmit(base, StationId(1), &frame(LEGACY_FRAME));
    pass(&mut air, base + Duration::from_micros(gap));
    air.transmit(base + Duration::from_micros(gap), StationId(2), &frame(LEGACY_FRAME));
    drain(&mut air).into_iter().map(|(from, ..)| from).collect()
}

#[test]
fn the_stronger_one_is_captured_if_it_comes_first_or_the_receiver_has_not_locked_on() {
    assert_eq!(duel([-60, -70], 100), [1], "10 dB are enough");
    assert_eq!(duel([-60, -69], 100), [] as [u32; 0], "9 dB are not");
    assert_eq!(duel([-70, -60], 100), [] as [u32; 0], "locked on to the first, and the second destroys it");
    assert_eq!(duel([-97, -60], 100), [2], "nobody locks on to what is too weak to be noticed");
    assert_eq!(duel([-70, -60], 376), [1, 2], "one after the other");
}

#[test]
fn interference_adds_up_as_power() {
    // One rival 11 dB weaker is captured over; two of them are 8 dB weaker together.
    for (rivals, heard) in [(1, 1), (2, 0)] {
        let link = |from, rssi| Link { from: StationId(from), to: StationId(0), loss_ppm: 0, rssi };
        let mut links = vec![link(1, -60)];
        links.extend((0..rivals).map(|n| link(2 + n, -71)));
        let mut air = stations(Air::new(9, Topology::Given(links), AirSettings::default()), 4);
        let base = end_of_37(&air, 0) - ms(1_000);
        air.transmit(base, StationId(1), &frame(LEGACY_FRAME));
        for n in 0..rivals {
            air.transmit(base, StationId(2 + n), &frame(LEGACY_FRAME));
        }
        let from_1 = drain(&mut air).into_iter().filter(|(from, ..)| *from == 1).count();
        assert_eq!(from_1, heard, "{rivals} rivals");
    }
}

#[test]
fn an_extended_advert_is_heard_on_its_secondary_channel_by_those_who_can() {
    let mut air = stations(Air::new(10, room(0), AirSettings::default()), 1);
    let extended = RadioSpec { extended: Some(Phy::TwoM), ..RadioSpec::default() };
    let sender = air.add(Position::default(), extended.clone());
    let hearer = air.add(Position::default(), extended);
    let start = end_of_37(&air, 2) - ms(1_000);
    air.transmit(start, sender, &frame(241));
    let delivered = std::iter::from_fn(|| {
        air.poll_timeout().map(|at| {
            air.poll_delivery(at).map(|delivery| (delivery.channel, delivery.end, delivery.hearers.to_vec()))
        })
    });
    let delivered: Vec<_> = delivered.flatten().collect();
    let [(channel, end, hearers)] = &delivered[..] else { panic!("one frame: {delivered:?}") };
    assert!(*channel < 37);
    assert_eq!(end.since(start).as_micros(), 2_072, "245 bytes of AdvData on LE 2M");
    assert_eq!(
        hearers.iter().map(|hearer| hearer.station).collect::<Vec<_>>(),
        [hearer],
        "the legacy radio does not follow"
    );
    assert_eq!((air.counters().heard, air.counters().airtime_us), (1, 3 * 136 + 1_064));
    // What fits a legacy advert goes into one, so that everyone hears it.
    air.transmit(start + ms(10), sender, &frame(LEGACY_FRAME));
    assert_eq!(drain(&mut air).len(), 2);
}

#[test]
fn a_power_cut_breaks_off_what_is_being_sent_and_what_is_being_heard() {
    let cut = |station: u32, after: u64| {
        let mut air = air(11, 2, 0);
        let start = end_of_37(&air, 1) - ms(1_000);
        air.transmit(start, StationId(0), &frame(LEGACY_FRAME));
        let at = start + Duration::from_micros(after);
        pass(&mut air, at);
        air.set_powered(at, StationId(station), false);
        air.set_powered(at, StationId(station), true);
        drain(&mut air).len()
    };
    assert_eq!((cut(0, 375), cut(1, 375)), (0, 0), "in the middle of the PDU");
    assert_eq!(cut(0, 376), 1, "what has left has left");
}

#[test]
fn a_wireless_lan_disturbs_its_share() {
    let wlan = Wlan { duty_ppm: 300_000, burst: Duration::from_millis(2), dbm: -65.0 };
    let noisy = AirSettings { wlan: Some(wlan), ..AirSettings::default() };
    let links = Link::both(0, 1, 0).to_vec();
    let mut air = stations(Air::new(12, Topology::Given(links), noisy), 2);
    for number in 0..5_000 {
        air.transmit(us(10_137 * number), StationId(0), &frame(LEGACY_FRAME));
        drain(&mut air);
    }
    // Lost when one of the slots of 2 ms that it touches is busy: 0.3, and of the 18.8 % that touch two, 0.51.
    let counters = air.counters();
    let lost = counters.collision as f64 / (counters.heard + counters.collision) as f64;
    assert!((lost - (0.3 + 0.188 * 0.21)).abs() < 0.03, "{lost}");
}

#[test]
fn fading_loses_what_is_near_the_limit_and_spares_the_rest() {
    let heard = |metres: f64| {
        let rule = Topology::Propagation {
            exponent: 2.0,
            floor_loss: 0.0,
            shadowing: 0.0,
            fading: 4.0,
            loss_ppm: 0,
        };
        let mut air = Air::new(13, rule, AirSettings::default());
        air.add(Position::default(), RadioSpec::default());
        air.add(Position::new(metres, 0.0), RadioSpec::default());
        for number in 0..1_000 {
            air.transmit(us(10_000 * number), StationId(0), &frame(LEGACY_FRAME));
            drain(&mut air);
        }
        assert_eq!(air.counters().heard + air.counters().weak + air.counters().boundary, 1_000);
        air.counters().heard
    };
    // −96 dBm are reached at 650 m: half of it gets through there; at a hundred metres, 16 dB before, all of it.
    assert!((450..550).contains(&heard(650.0)), "{}", heard(650.0));
    assert!(heard(100.0) >= 990, "{}", heard(100.0));
}

#[test]
fn collisions_follow_the_arithmetic_of_many_advertisers() {
    // V6 of `docs/simulator.md`: N advertisers with a mean period T, P(heard) = exp(−2(N−1)·376 µs / T).
    let (count, period) = (50, 105_000);
    let mut rng = mesh_protocol::Rng::new(7);
    let mut starts: Vec<(u64, u32)> = (1..=count)
        .flat_map(|id| {
            let mut at = rng.below(period);
            let mut all = Vec::new();
            while at < 20_000_000 {
                all.push((at, id));
                at += period - 5_000 + rng.below(10_001);
            }
            all
        })
        .collect();
    starts.sort_unstable();
    // Advertisers are out of each other's range: only station 0 listens.
    let links = (1..=count).flat_map(|id| Link::both(0, id, 0)).collect();
    let deaf = AirSettings { capture_db: 300.0, ..AirSettings::default() };
    let mut air = stations(Air::new(7, Topology::Given(links), deaf), count as usize + 1);
    for (at, id) in starts {
        while air.poll_timeout().is_some_and(|due| due <= us(at)) {
            let _ = air.poll_delivery(us(at));
        }
        air.transmit(us(at), StationId(id), &frame(LEGACY_FRAME));
    }
    drain(&mut air);
    let counters = air.counters();
    let heard = counters.heard as f64 / (counters.heard + counters.collision) as f64;
    assert!((heard - 0.704).abs() < 0.02, "{heard}");
}

#[test]
fn memory_stays_bounded_however_long_the_air_is_used() {
    let mut air = air(8, 5, 0);
    for number in 0..20_000 {
        air.transmit(us(number * 500), StationId((number % 5) as u32), &frame(1));
        while air.poll_timeout().is_some_and(|due| due <= us(number * 500)) {
            let _ = air.poll_delivery(us(number * 500));
        }
    }
    let (flights, remembered) = air.footprint();
    assert!(flights <= 8, "{flights}");
    assert!(remembered <= 3 * 24, "{remembered}");
}

/// The event that comes next was once followed by those who had known of the broken one.
#[test]
fn nobody_follows_what_a_power_cut_broke_off() {
    let mut air = Air::new(10, room(0), AirSettings::default());
    let extended = RadioSpec { extended: Some(Phy::OneM), ..RadioSpec::default() };
    let sender = air.add(Position::default(), extended.clone());
    let scan = ScanPlan { interval: ms(20), window: ms(10) };
    let hearer = air.add(Position::default(), RadioSpec { scan, ..extended });
    let on = |micros| air.scanned_channel(hearer, us(micros));
    let window = (100_000..).find(|at| on(*at) == Some(37) && on(at - 1).is_none()).unwrap();
    let start = us(window + 100);
    air.transmit(start, sender, &frame(100));
    // The hearer has just received the first pointer.
    let cut = start + Duration::from_micros(136 + 301);
    pass(&mut air, cut);
    air.set_powered(cut, sender, false);
    air.set_powered(cut, sender, true);
    assert_eq!(drain(&mut air), []);
    // All of the next one falls into the hearer's pause.
    air.transmit(us(window + 12_000), sender, &frame(100));
    assert_eq!(drain(&mut air), []);
}

#[test]
fn what_was_cut_off_neither_disturbs_nor_keeps_anyone_deaf() {
    // 1 is too weak at 0 to be heard, and strong enough to drown 2.
    let link = |from, rssi| Link { from: StationId(from), to: StationId(0), loss_ppm: 0, rssi };
    let links = vec![link(1, -97), link(2, -90)];
    let heard = |is_cut: bool| {
        let mut air = stations(Air::new(9, Topology::Given(links.clone()), AirSettings::default()), 3);
        let base = end_of_37(&air, 0) - ms(1_000);
        air.transmit(base, StationId(1), &frame(LEGACY_FRAME));
        pass(&mut air, base + Duration::from_micros(1));
        air.set_powered(base + Duration::from_micros(1), StationId(1), !is_cut);
        let next = base + Duration::from_micros(301);
        pass(&mut air, next);
        air.transmit(next, StationId(2), &frame(LEGACY_FRAME));
        drain(&mut air).len()
    };
    assert_eq!((heard(false), heard(true)), (0, 1));

    // A radio that is switched on again in what was an event of its own hears at once.
    let mut air = air(9, 2, 0);
    let base = end_of_37(&air, 1) - ms(1_000);
    air.transmit(base, StationId(1), &frame(LEGACY_FRAME));
    let cut = base + Duration::from_micros(100);
    pass(&mut air, cut);
    air.set_powered(cut, StationId(1), false);
    air.set_powered(cut, StationId(1), true);
    let next = base + Duration::from_micros(500);
    pass(&mut air, next);
    air.transmit(next, StationId(0), &frame(LEGACY_FRAME));
    assert_eq!(drain(&mut air).len(), 1);
}

#[test]
fn one_who_turns_to_sending_gives_up_what_it_was_with() {
    let mut air = Air::new(10, room(0), AirSettings::default());
    let extended = RadioSpec { extended: Some(Phy::CodedS8), ..RadioSpec::default() };
    let a = air.add(Position::default(), extended.clone());
    let b = air.add(Position::default(), extended);
    let c = air.add(Position::default(), RadioSpec::default());
    let start = end_of_37(&air, b.0) - ms(1_000);
    // An AUX_ADV_IND of 17 ms, in the middle of which b sends; 3 ms later it hears c.
    for (at, station, len) in [(0, a, 241), (2, b, 1), (6, c, 1)] {
        let at = start + ms(at);
        pass(&mut air, at);
        air.transmit(at, station, &frame(len));
    }
    let to_b: Vec<u32> =
        drain(&mut air).into_iter().filter(|(_, to, _)| *to == b.0).map(|(from, ..)| from).collect();
    assert_eq!(to_b, [c.0]);
}

#[test]
fn a_scanner_that_is_set_again_starts_on_37_and_loses_what_it_was_receiving() {
    let mut air = air(23, 2, 0);
    let plan = ScanPlan::continuous(Duration::from_millis(100));
    for offset in [0, 200, 1_000_000, 1_234_567] {
        air.set_scan(us(offset), StationId(1), Some(plan));
        assert_eq!(air.scanned_channel(StationId(1), us(offset)), Some(37), "{offset}");
        assert_eq!(air.scanned_channel(StationId(1), us(offset + 100_000)), Some(38), "{offset}");
    }
    let start = us(1_300_000);
    air.set_scan(start, StationId(1), Some(plan));
    air.transmit(start, StationId(0), &frame(LEGACY_FRAME));
    pass(&mut air, start + Duration::from_micros(100));
    air.set_scan(start + Duration::from_micros(100), StationId(1), None);
    assert_eq!(drain(&mut air), [], "in the middle of a PDU");
    assert_eq!(air.scanned_channel(StationId(1), us(9_000_000)), None);
    air.transmit(us(1_400_000), StationId(0), &frame(LEGACY_FRAME));
    assert_eq!(drain(&mut air), [], "not at all");
    air.set_scan(us(1_500_000), StationId(1), Some(plan));
    air.transmit(us(1_500_000), StationId(0), &frame(LEGACY_FRAME));
    assert_eq!(drain(&mut air).len(), 1, "and again");
    assert_eq!(air.counters().heard, 1);
}
