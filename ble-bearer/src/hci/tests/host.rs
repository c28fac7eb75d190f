//! What goes over HCI when nothing is wrong.

use mesh_protocol::{Duration, LEGACY_FRAME, LinkInfo, MAX_FRAME, Reach};

use super::script::{Rig, Trouble};
use crate::hci::HciOptions;
use crate::hci::options::{ADV_DELAY, ADV_INTERVAL};
use crate::{AdapterState, BearerEvent, Full, RADIO_LINK};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn info(rig: &Rig) -> LinkInfo {
    match rig.reported.last() {
        Some((_, BearerEvent::LinkUp { info, .. })) => *info,
        other => panic!("not up: {other:?}"),
    }
}

#[test]
fn a_legacy_controller_is_set_up_in_this_order_and_its_link_is_honest() {
    let mut rig = Rig::new(false);
    rig.run(ms(100));
    let commands = [0x0c03, 0x1001, 0x1009, 0x2003, 0x0c01, 0x2001, 0x2005, 0x2006, 0x200b, 0x200c];
    assert_eq!(rig.script.commands, commands);
    assert!(rig.script.scanning);
    let info = info(&rig);
    assert_eq!((info.mtu, info.reach, info.lossy), (LEGACY_FRAME, Reach::Everyone, true));
    // One interval, the longest delay, and three commands of 0.5 ms and half as much again.
    assert_eq!(info.min_gap, ADV_INTERVAL + ADV_DELAY + Duration::from_micros(2_250));
    assert_eq!(rig.health().state, AdapterState::Up);
    assert_eq!(rig.health().what, "Bluetooth 5.0, address 01:02:03:04:05:06, legacy advertising");
}

#[test]
fn a_legacy_controller_holds_each_frame_for_its_time_and_then_takes_the_next() {
    let mut rig = Rig::new(false);
    rig.run(ms(100));
    assert!(rig.send(&[1; LEGACY_FRAME]));
    assert!(rig.send(&[2; 3]));
    assert_eq!(rig.host.send(&[3]), Err(Full), "one is held and one waits");
    rig.run(ms(500));
    let aired = &rig.script.aired;
    assert_eq!(aired.len(), 2);
    assert_eq!(aired[0].1, [&[30, 0xff, 0xff, 0xff][..], &[1; LEGACY_FRAME]].concat());
    assert_eq!(aired[1].1, [6, 0xff, 0xff, 0xff, 2, 2, 2]);
    for aired in aired {
        let held = aired.2.unwrap().since(aired.0);
        assert!(held >= ADV_INTERVAL + ADV_DELAY, "{held:?}");
    }
    assert!(aired[1].0 >= aired[0].2.unwrap());
    let health = rig.health();
    assert_eq!((health.taken, health.sent, health.lost), (2, 2, 0));
}

#[test]
fn a_legacy_controller_wants_the_next_frame_as_soon_as_one_is_over_and_not_while_another_waits() {
    let mut rig = Rig::new(false);
    rig.run(ms(100));
    let ready = |rig: &Rig| {
        let said = rig.reported.iter().filter(|(_, event)| matches!(event, BearerEvent::Ready { .. }));
        said.map(|(at, _)| *at).collect::<Vec<_>>()
    };
    let (begin, min_gap) = (rig.now, info(&rig).min_gap);
    assert!(rig.send(&[1; 4]));
    rig.run(ms(500));
    let [at] = ready(&rig)[..] else { panic!("{:?}", rig.reported) };
    assert!(at.since(begin) >= ADV_INTERVAL + ADV_DELAY && at <= rig.script.aired[0].2.unwrap());
    assert!(at.since(begin) < min_gap, "or it would be of no use");
    rig.reported.clear();
    assert!(rig.send(&[2; 4]) && rig.send(&[3; 4]));
    rig.run(ms(500));
    assert_eq!((ready(&rig).len(), rig.script.aired.len()), (1, 3), "once, as the last of them was over");
}

#[test]
fn an_extended_controller_sends_from_its_sets_side_by_side_and_confirms() {
    let mut rig = Rig::new(true);
    rig.run(ms(100));
    let commands = [
        0x0c03, 0x1001, 0x1009, 0x2003, 0x0c01, 0x203b, 0x203a, 0x2001, 0x2005, 0x203d, 0x2036, 0x2035,
        0x2036, 0x2035, 0x2041, 0x2042,
    ];
    assert_eq!(rig.script.commands, commands);
    let info = info(&rig);
    assert_eq!(info.mtu, LEGACY_FRAME, "what it sends is heard by legacy controllers");
    assert!(info.min_gap < ADV_INTERVAL);
    for frame in 0..3 {
        assert!(rig.send(&[frame; 4]));
    }
    rig.run(ms(500));
    let aired = &rig.script.aired;
    assert_eq!(aired.len(), 3);
    assert!(aired[1].0 < aired[0].2.unwrap(), "the second set did not wait for the first");
    assert!(aired[2].0 >= aired[0].2.unwrap(), "the third frame waited for a set");
    let health = rig.health();
    assert_eq!((health.taken, health.sent, health.lost), (3, 3, 0));
}

#[test]
fn long_frames_go_out_only_where_they_are_wanted() {
    let mut rig = Rig::new(true);
    rig.run(ms(100));
    assert_eq!(rig.host.send(&[0; LEGACY_FRAME + 1]), Err(Full));
    let mut rig = Rig::with(true, HciOptions { long_frames: true, ..HciOptions::new(7) });
    rig.run(ms(100));
    assert_eq!(info(&rig).mtu, MAX_FRAME);
    assert!(rig.send(&[9; MAX_FRAME]));
    rig.run(ms(100));
    assert_eq!(rig.script.aired[0].1[4..], [9; MAX_FRAME]);
    // A legacy controller has none, whatever is wanted.
    let mut rig = Rig::with(false, HciOptions { long_frames: true, ..HciOptions::new(7) });
    rig.run(ms(100));
    assert_eq!(info(&rig).mtu, LEGACY_FRAME);
}

#[test]
fn what_is_heard_is_told_and_other_companies_are_not() {
    for extended in [false, true] {
        let mut rig = Rig::new(extended);
        rig.run(ms(100));
        rig.reported.clear();
        rig.script.hear(rig.now, b"frame");
        rig.run(ms(1));
        let [(_, BearerEvent::Frame { link, bytes, .. })] = &rig.reported[..] else {
            panic!("{:?}", rig.reported)
        };
        assert_eq!((*link, &bytes[..]), (RADIO_LINK, &b"frame"[..]));
        let mut rig = Rig::with(extended, HciOptions { company: 0x1234, ..HciOptions::new(7) });
        rig.run(ms(100));
        rig.reported.clear();
        rig.script.hear(rig.now, b"frame");
        rig.run(ms(1));
        assert!(rig.reported.is_empty());
    }
}

#[test]
fn a_claim_of_extended_advertising_that_breaks_is_not_believed_again() {
    let mut rig = Rig::new(true);
    rig.script.trouble = Trouble::RefuseOnly(0x2041, 0x01);
    rig.run(ms(200));
    assert_eq!(info(&rig).mtu, LEGACY_FRAME);
    assert_eq!(rig.script.commands.iter().filter(|opcode| **opcode == 0x0c03).count(), 2, "reset in between");
    let trouble = rig.health().trouble.unwrap();
    assert_eq!(
        trouble,
        "LE Set Extended Scan Parameters was refused: unknown command: using legacy advertising"
    );
    assert!(rig.send(&[1]));
    rig.run(ms(100));
    assert_eq!(rig.script.aired.len(), 1);
}
