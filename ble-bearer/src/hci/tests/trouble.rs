//! What goes wrong between a host and its controller, and what is done about it.

use mesh_protocol::{Duration, Rng};

use super::script::{Rig, Trouble};
use crate::hci::host::recovery::SILENCE;
use crate::{AdapterState, BearerEvent};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn up(rig: &Rig) -> bool {
    let links = rig.reported.iter().rev();
    let mut links =
        links.filter(|(_, event)| !matches!(event, BearerEvent::Frame { .. } | BearerEvent::Ready { .. }));
    matches!(links.next(), Some((_, BearerEvent::LinkUp { .. })))
}

/// A rig whose link is up and whose story so far is forgotten.
fn running(extended: bool) -> Rig {
    let mut rig = Rig::new(extended);
    rig.run(ms(100));
    assert!(up(&rig));
    rig.reported.clear();
    rig.script.commands.clear();
    rig
}

#[test]
fn a_refused_command_restarts_advertising_and_the_link_stays_up() {
    let mut rig = running(false);
    rig.script.trouble = Trouble::RefuseOnly(0x200a, 0x0c);
    assert!(rig.send(&[1]));
    rig.run(ms(2));
    rig.script.trouble = Trouble::None;
    rig.run(ms(100));
    assert!(rig.reported.is_empty(), "{:?}", rig.reported);
    let health = rig.health();
    assert_eq!(health.repairs, [1, 0, 0, 0]);
    assert_eq!((health.taken, health.sent, health.lost), (1, 0, 1));
    let said = "LE Set Advertising Enable was refused: command disallowed (0x0c): restarting advertising";
    assert_eq!(health.trouble.as_deref(), Some(said));
    assert!(rig.send(&[2]));
    rig.run(ms(100));
    assert_eq!(rig.health().sent, 1);
}

#[test]
fn trouble_that_comes_back_is_mended_deeper_each_time() {
    let mut rig = running(false);
    rig.script.trouble = Trouble::RefuseOnly(0x200a, 0x0c);
    for repairs in [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]] {
        assert!(rig.send(&[1]));
        rig.run(ms(100));
        assert_eq!(rig.health().repairs, repairs);
    }
    assert_eq!(rig.reopened, 1);
    let downs = rig.reported.iter().filter(|(_, event)| matches!(event, BearerEvent::LinkDown { .. }));
    assert_eq!(downs.count(), 2, "from a reset on, the link is down meanwhile");
    rig.script.trouble = Trouble::None;
    rig.run(ms(100));
    assert!(up(&rig));
}

#[test]
fn a_controller_that_does_not_answer_is_reset_and_then_opened_again() {
    for extended in [false, true] {
        let mut rig = running(extended);
        assert!(rig.send(&[1]));
        rig.script.trouble = Trouble::Mute;
        rig.run(ms(100));
        let _ = rig.host.send(&[2]);
        rig.run(ms(5_000));
        let BearerEvent::LinkDown { why, .. } = &rig.reported[0].1 else { panic!("{:?}", rig.reported) };
        assert!(why.contains("was not answered within 2 s: resetting the controller"), "{why}");
        assert_eq!(rig.health().state, AdapterState::Repairing);
        assert!(rig.reopened >= 1);
        assert!(rig.host.send(&[3]).is_err());
        rig.script.trouble = Trouble::None;
        rig.run(ms(3_000));
        assert!(up(&rig) && rig.health().state == AdapterState::Up);
        assert!(rig.send(&[4]));
        rig.run(ms(100));
        assert!(rig.script.aired.last().unwrap().1.ends_with(&[4]));
    }
}

#[test]
fn sending_that_has_died_while_commands_work_is_noticed_and_said() {
    let mut rig = running(true);
    rig.script.trouble = Trouble::NeverEnds;
    for frame in 0..12 {
        let _ = rig.send(&[frame]);
        rig.run(ms(200));
    }
    let health = rig.health();
    assert!(health.repairs[0] >= 1, "{health:?}");
    assert!(health.trouble.unwrap().starts_with("the controller does not send what it was given"));
    rig.script.trouble = Trouble::None;
    rig.run(ms(3_000));
    let before = rig.health().sent;
    assert!(rig.send(&[99]));
    rig.run(ms(100));
    assert_eq!(rig.health().sent, before + 1);
}

#[test]
fn a_hardware_error_resets_the_controller() {
    let mut rig = running(false);
    rig.host.handle_packet(rig.now, &[0x04, 0x10, 1, 0x42]);
    rig.run(ms(100));
    let [(_, BearerEvent::LinkDown { why, .. }), (_, BearerEvent::LinkUp { .. })] = &rig.reported[..] else {
        panic!("{:?}", rig.reported)
    };
    assert_eq!(why, "the controller reported hardware error 0x42: resetting the controller");
}

#[test]
fn a_controller_that_takes_no_commands_is_reset() {
    let mut rig = running(false);
    rig.script.trouble = Trouble::NoCredit;
    assert!(rig.send(&[1]));
    rig.run(ms(2_100));
    rig.script.trouble = Trouble::None;
    rig.run(ms(3_000));
    assert!(rig.health().repairs[2] >= 1 && up(&rig));
}

#[test]
fn silence_restarts_scanning_less_and_less_often_and_says_nothing_to_anyone() {
    let mut rig = running(false);
    rig.run(SILENCE.times(8));
    assert!(rig.reported.is_empty());
    // After one, two and four more times as long.
    assert_eq!(rig.health().repairs, [0, 3, 0, 0]);
    assert!(rig.script.scanning);
    rig.script.hear(rig.now, b"x");
    rig.run(SILENCE);
    rig.run(SILENCE);
    assert_eq!(rig.health().repairs[1], 4, "once something was heard, silence counts from there");
}

#[test]
fn whoever_sees_that_nothing_arrives_can_have_it_mended() {
    let mut rig = running(false);
    let levels = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 2]];
    for (before, repairs) in levels.into_iter().enumerate() {
        rig.host.suspect(rig.now, "three neighbours are heard, and none of them hears us", before as u32);
        rig.run(ms(10));
        assert_eq!(rig.health().repairs, repairs);
        assert!(rig.health().trouble.unwrap().starts_with("three neighbours are heard"));
        // Longer than any relapse, and not so long that silence counts.
        for _ in 0..2 {
            rig.run(ms(40_000));
            rig.script.hear(rig.now, b"x");
        }
        rig.run(ms(10));
    }
    assert!(up(&rig));
}

/// Random trouble, of every kind, one after the other; then none, and everything works again.
#[test]
fn a_thousand_rounds_of_random_trouble_end_well_and_are_reported() {
    for seed in 0..1_000 {
        let mut rng = Rng::new(seed);
        let extended = rng.below(2) == 0;
        let mut rig = Rig::new(extended);
        rig.run(ms(rng.below(20)));
        for _ in 0..1 + rng.below(6) {
            rig.script.trouble = match rng.below(8) {
                0 => Trouble::Mute,
                1 => Trouble::Refuse([0x0c, 0x01, 0x12, 0x1f][rng.below(4) as usize]),
                2 => Trouble::RefuseOnly(0x2000 + rng.below(0x43) as u16, 0x0c),
                3 => Trouble::NeverEnds,
                4 => Trouble::NoCredit,
                5 => Trouble::Garbage(rng.next_u64()),
                _ => Trouble::None,
            };
            rig.opens = rng.below(4) > 0;
            for _ in 0..rng.below(30) {
                let _ = rig.host.send(&[rng.below(256) as u8; 9]);
                match rng.below(8) {
                    0 => rig.host.handle_packet(rig.now, &[0x04, 0x10, 1, 0]),
                    1 => {
                        let noise: Vec<u8> = (0..rng.below(40)).map(|_| rng.below(256) as u8).collect();
                        rig.host.handle_packet(rig.now, &noise);
                    }
                    2 => rig.script.hear(rig.now, &[rng.below(256) as u8; 5]),
                    3 if rng.below(6) == 0 => {
                        rig.host.closed("unplugged");
                        rig.host.opened(rig.now);
                    }
                    4 => {
                        let opcode = rng.below(0x2050) as u16;
                        rig.script.complete(rig.now, opcode, &[rng.below(256) as u8]);
                    }
                    _ => {}
                }
                rig.run(ms(rng.below(400)));
            }
        }
        let repaired: u64 = rig.health().repairs.iter().sum();
        rig.script.trouble = Trouble::None;
        rig.opens = true;
        if rig.health().state == AdapterState::Away {
            rig.host.opened(rig.now);
        }
        rig.run(ms(10_000));
        // The story as it was reported: every repair that took the link away said so, and said when it was back.
        assert!(up(&rig), "seed {seed}: {:?} {:?}", rig.health(), rig.reported.last());
        let mut is_up = false;
        for (_, event) in &rig.reported {
            match event {
                BearerEvent::LinkUp { .. } => is_up = true,
                BearerEvent::LinkDown { why, .. } => {
                    assert!(is_up && !why.is_empty(), "seed {seed}");
                    is_up = false;
                }
                BearerEvent::Ready { .. } => assert!(is_up, "seed {seed}: ready without a link"),
                BearerEvent::Frame { .. } => assert!(is_up, "seed {seed}: a frame without a link"),
            }
        }
        assert!(repaired == 0 || rig.health().trouble.is_some(), "seed {seed}");
        // And it works: a frame goes out whole, another comes in whole, and the books are right.
        let last = *b"the last frame";
        assert!(rig.send(&last), "seed {seed}");
        rig.script.hear(rig.now, b"the last heard");
        rig.run(ms(1_000));
        assert!(rig.script.aired.last().unwrap().1.ends_with(&last), "seed {seed}");
        let heard = |event: &BearerEvent| matches!(event, BearerEvent::Frame { bytes, .. } if *bytes == *b"the last heard");
        assert!(rig.reported.iter().any(|(_, event)| heard(event)), "seed {seed}");
        let health = rig.health();
        assert_eq!(health.taken, health.sent + health.lost, "seed {seed}: {health:?}");
    }
}
