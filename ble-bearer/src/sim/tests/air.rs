//! The air on its own, with schedules made by hand.

use mesh_protocol::LEGACY_FRAME;

use super::*;
use crate::FrameBytes;

/// Air with `count` stations in one room.
fn air(seed: u64, count: usize, loss_ppm: u32) -> Air {
    println!("seed {seed}");
    let mut air = Air::new(seed, room(loss_ppm));
    for _ in 0..count {
        air.add(Position::default());
    }
    air
}

fn frame(len: usize) -> FrameBytes {
    FrameBytes::from_slice(&vec![7; len]).unwrap()
}

/// Lets everything on the air come to its end; who heard whom, and when the PDU ended.
fn settle(air: &mut Air) -> Vec<(u32, u32, Instant)> {
    let mut all = Vec::new();
    while let Some(at) = air.poll_timeout() {
        assert!(air.poll_delivery(at, |heard| all.push((heard.from.0, heard.to.0, heard.end))));
    }
    all
}

/// The first time at which `station` changes from channel 37 to 38.
fn end_of_37(air: &Air, station: u32) -> Instant {
    let on = |micros| air.scanned_channel(StationId(station), us(micros)).unwrap();
    let mut at = (1..=9_000).map(|ms| ms * 1_000).find(|&at| on(at - 1_000) == 37 && on(at) == 38).unwrap();
    while on(at - 1) == 38 {
        at -= 1;
    }
    us(at)
}

#[test]
fn airtimes_are_the_specifications() {
    // 31 bytes of AdvData: 376 µs, and three of them with two gaps of 150 µs.
    assert_eq!(pdu_airtime(LEGACY_FRAME).as_micros(), 376);
    assert_eq!(event_airtime(LEGACY_FRAME).as_micros(), 3 * 376 + 2 * 150);
    assert_eq!(pdu_airtime(0).as_micros(), 160);
}

#[test]
fn each_receiver_hears_the_pdu_of_the_channel_it_scans_once() {
    let mut air = air(1, 20, 0);
    let start = us(500_000);
    let channels: Vec<u64> =
        (1..20).map(|id| u64::from(air.scanned_channel(StationId(id), start).unwrap()) - 37).collect();
    assert!((0..3).all(|channel| channels.contains(&channel)), "{channels:?}");
    air.transmit(start, StationId(0), &frame(LEGACY_FRAME));
    let mut heard = settle(&mut air);
    heard.sort_by_key(|(_, to, _)| *to);
    let expected = (1..20).zip(channels).map(|(to, channel)| {
        let end = start + Duration::from_micros(376 + channel * (376 + 150));
        (0, to, end)
    });
    assert_eq!(heard, expected.collect::<Vec<_>>());
    let counters = AirCounters { events: 1, heard: 19, ..AirCounters::default() };
    assert_eq!(air.counters(), counters);
}

#[test]
fn a_pdu_cut_by_the_end_of_a_scan_window_is_lost() {
    let mut air = air(2, 2, 0);
    let change = end_of_37(&air, 1);
    // Ends exactly with the window: heard. A microsecond later: cut on 37, and heard on 38.
    air.transmit(change - Duration::from_micros(376), StationId(0), &frame(LEGACY_FRAME));
    let heard = settle(&mut air);
    assert_eq!(heard[0], (0, 1, change));
    assert_eq!(air.counters().boundary, 0);

    let mut air = Air::new(2, room(0));
    air.add(Position::default());
    air.add(Position::default());
    air.transmit(change - Duration::from_micros(375), StationId(0), &frame(LEGACY_FRAME));
    let heard = settle(&mut air);
    assert_eq!(heard, [(0, 1, change + Duration::from_micros(1 + 150 + 376))]);
    assert_eq!((air.counters().boundary, air.counters().heard), (1, 1));
}

#[test]
fn one_who_sends_or_turns_round_hears_nothing() {
    // Station 1 sends an event of 1,428 µs at 0. Station 0 follows with one that is over before, during, after.
    let own_end = event_airtime(LEGACY_FRAME).as_micros();
    let missed_from_0 = |start: u64| {
        let mut air = air(3, 3, 0);
        // A second before the end of its window, 1 scans channel 37.
        let base = end_of_37(&air, 1) - ms(1_000);
        air.transmit(base, StationId(1), &frame(LEGACY_FRAME));
        air.transmit(base + Duration::from_micros(start), StationId(0), &frame(LEGACY_FRAME));
        settle(&mut air);
        air.counters().half_duplex
    };
    // 1 hears again 300 µs after its own event, not a microsecond sooner.
    assert_eq!(missed_from_0(own_end + 299), 1);
    assert_eq!(missed_from_0(own_end + 300), 0);

    // And it stops hearing 300 µs before its own event.
    let missed_before = |gap: u64| {
        let mut air = air(3, 2, 0);
        let base = end_of_37(&air, 1) - ms(1_000);
        air.transmit(base, StationId(0), &frame(LEGACY_FRAME));
        air.transmit(base + Duration::from_micros(376 + gap), StationId(1), &frame(LEGACY_FRAME));
        settle(&mut air);
        air.counters().half_duplex
    };
    // Both events overlap, so 0 may miss a PDU of 1 as well, in both runs alike: what 1 misses makes the difference.
    assert_eq!(missed_before(299), missed_before(300) + 1);
}

#[test]
fn overlapping_pdus_destroy_each_other_where_both_are_in_range() {
    // 0 and 2 hear 1 and are heard by it, but do not hear each other: hidden stations. 3 hears only 2.
    let links = [Link::both(0, 1, 0), Link::both(1, 2, 0), Link::both(2, 3, 0)].concat();
    let run = |gap: u64| {
        let mut air = Air::new(4, Topology::Given(links.clone()));
        for _ in 0..4 {
            air.add(Position::default());
        }
        let base = us(100_000);
        air.transmit(base, StationId(0), &frame(LEGACY_FRAME));
        air.transmit(base + Duration::from_micros(gap), StationId(2), &frame(LEGACY_FRAME));
        let heard: Vec<_> = settle(&mut air).into_iter().map(|(from, to, _)| (from, to)).collect();
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
        settle(&mut air);
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
    air.set_powered(StationId(1), false);
    air.transmit(us(0), StationId(0), &frame(1));
    assert_eq!(settle(&mut air), []);
    air.set_powered(StationId(1), true);
    air.transmit(us(10_000), StationId(0), &frame(1));
    assert_eq!(settle(&mut air).len(), 1);
    assert_eq!(air.counters(), AirCounters { events: 2, heard: 1, ..AirCounters::default() });
}

#[test]
fn collisions_follow_the_arithmetic_of_many_advertisers() {
    // V6 of the radio model: N advertisers with a mean period T, P(heard) = exp(−2(N−1)·376 µs / T).
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
    let mut air = Air::new(7, Topology::Given(links));
    for _ in 0..=count {
        air.add(Position::default());
    }
    for (at, id) in starts {
        while air.poll_timeout().is_some_and(|due| due <= us(at)) {
            air.poll_delivery(us(at), |_| {});
        }
        air.transmit(us(at), StationId(id), &frame(LEGACY_FRAME));
    }
    settle(&mut air);
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
            air.poll_delivery(us(number * 500), |_| {});
        }
    }
    let (flights, remembered) = air.footprint();
    assert!(flights <= 8, "{flights}");
    assert!(remembered <= 3 * 24, "{remembered}");
}
