//! Who is in range, and how well the two hear each other, as hellos tell it.

use mesh_protocol::{LEGACY_FRAME, Neighbour, SmallNode};

use crate::net::{Net, Reception, address, secs};

fn known(net: &Net, at: usize, of: usize) -> Option<Neighbour> {
    net.stations[at].node.neighbours().find(|neighbour| neighbour.address == address(of)).copied()
}

#[test]
fn two_that_hear_each_other_say_so() {
    let mut net = Net::<SmallNode>::full(2);
    net.run(secs(60));
    for (at, of) in [(0, 1), (1, 0)] {
        let known = known(&net, at, of).unwrap();
        assert_eq!((known.delivery_in, known.delivery_out), (Some(255), Some(255)));
        assert_eq!(known.rssi, Some(-60));
        assert!(net.now.since(known.last_heard) < secs(36));
    }
    assert!(net.air.iter().all(|frame| frame.bytes.len() <= LEGACY_FRAME));
}

#[test]
fn half_the_hellos_lost_one_way_show_on_both_sides() {
    let mut net = Net::<SmallNode>::full(2);
    let mut count = 0;
    net.rule(move |frame, _| {
        count += usize::from(frame.from == 1);
        match frame.from == 1 && count % 2 == 0 {
            true => Reception::Lose,
            false => Reception::Pass,
        }
    });
    net.run(secs(400));
    let [a, b] = [known(&net, 0, 1).unwrap(), known(&net, 1, 0).unwrap()];
    assert!((100..=155).contains(&a.delivery_in.unwrap()), "{a:?}");
    assert!(
        b.delivery_out.unwrap().abs_diff(a.delivery_in.unwrap()) <= 8 + 16,
        "as the other said, to a fifteenth"
    );
    assert_eq!((a.delivery_out, b.delivery_in), (Some(255), Some(255)));
}

#[test]
fn who_is_two_hops_away_is_no_neighbour_but_a_known_path() {
    let mut net = Net::<SmallNode>::line(3);
    let id = net.send(0, address(2), mesh_protocol::Priority::High, secs(5), b"hi").unwrap();
    net.run_until(secs(5), |net| net.outcome(0, id).is_some());
    net.run(secs(20));
    assert_eq!(known(&net, 0, 2), None);
    assert!(known(&net, 0, 1).is_some());
    let path = net.stations[0].node.paths().find(|path| path.destination == address(2)).unwrap();
    assert_eq!(path.hops, 2);
    assert!(path.round_trip.is_some(), "the receipt measured it");
}

#[test]
fn who_falls_silent_is_no_longer_there() {
    let mut net = Net::<SmallNode>::full(3);
    net.run(secs(15));
    assert_eq!(net.stations[0].node.neighbours_alive(net.now), 2);
    net.switch_off(2);
    net.run(secs(36));
    assert_eq!(net.stations[0].node.neighbours_alive(net.now), 1);
}
