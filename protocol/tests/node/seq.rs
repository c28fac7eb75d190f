//! SEQ: reserved before it is used, never used twice, never wrapped.

use std::collections::{BTreeMap, BTreeSet};

use mesh_protocol::frame::{Frame, Kind, SEQ_MAX};
use mesh_protocol::{
    Address, Config, Discard, EpochKeys, Keyring, Mic, Priority, Rng, Segment, SendError, SendOutcome,
    SmallNode,
};

use crate::net::{App, EPOCH, Log, Net, address, config, ms, open, seal, seal_under, secret, secs, text};

#[test]
fn nothing_is_sent_before_the_reservation_is_synced() {
    let mut net = Net::<SmallNode>::full(2);
    net.stations[0].app.syncs = false;
    let id = net.send(0, address(1), Priority::Critical, secs(20), b"hi").unwrap();
    net.run(secs(10));
    assert_eq!(net.sent_by(0), []);
    let asked: Vec<Log> = net.stations[0].app.log.iter().map(|(_, what)| what.clone()).collect();
    assert_eq!(asked, [Log::Reserve(64)], "asked once, and for little");

    net.stations[0].app.syncs = true;
    net.stations[0].node.seq_reserved(64);
    net.drive(0);
    assert_eq!(net.sent_by(0)[0].seq, 0, "at once");
    net.run_until(secs(1), |net| net.outcome(0, id).is_some());
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Delivered);
}

#[test]
fn the_next_block_is_asked_for_when_half_of_the_last_is_used() {
    let mut net = Net::<SmallNode>::with(2, |config| config.seq_block = 64);
    net.join(0, 1);
    net.send(0, address(1), Priority::High, secs(60), &text(600)).unwrap();
    net.run(secs(10));
    let asked: Vec<u32> = net.stations[0]
        .app
        .log
        .iter()
        .filter_map(|(_, what)| match what {
            Log::Reserve(up_to) => Some(*up_to),
            _ => None,
        })
        .collect();
    let used = net.stations[0].node.next_seq();
    assert!(asked.len() >= 2 && used > 64, "{asked:?}, {used} used");
    assert!(asked.iter().enumerate().all(|(n, up_to)| *up_to == 64 * (n as u32 + 1)));
    assert!(*asked.last().unwrap() >= used && *asked.last().unwrap() - used <= 64);
}

#[test]
fn no_seq_is_used_twice_over_power_cuts_at_any_moment() {
    for seed in 1..=5 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut net = Net::<SmallNode>::with(2, |config| config.seq_block = 16);
        net.join(0, 1);
        for boot in 0..25 {
            let bytes = text(100);
            let _ = net.send(0, address(1), Priority::High, secs(60), &bytes);
            net.run(ms(rng.below(700)));
            // Only what was synced survives.
            let reserved = net.stations[0].app.reserved;
            net.switch_off(0);
            net.run(ms(50));
            let again = Config { seq_start: reserved, seq_block: 16, seed: seed * 100 + boot, ..config(1) };
            let mut app = App::fresh();
            app.reserved = reserved;
            net.switch_on(0, again, app);
        }
        let mut frames = BTreeMap::<u32, &[u8]>::new();
        for on_air in net.air.iter().filter(|frame| frame.from == 0) {
            let frame = open(&on_air.bytes);
            if frame.src == 1 {
                let first = frames.entry(frame.seq).or_insert(&on_air.bytes);
                assert_eq!(*first, on_air.bytes, "SEQ {}", frame.seq);
            }
        }
        assert!(frames.len() > 50, "{} SEQs used", frames.len());
        // And after all of it, the other node still takes its messages.
        let last = net.send(0, address(1), Priority::High, secs(60), b"after").unwrap();
        net.run_until(secs(60), |net| net.outcome(0, last).is_some());
        assert_eq!(net.outcome(0, last).unwrap().1, SendOutcome::Delivered);
    }
}

#[test]
fn at_the_end_of_the_epoch_the_node_says_so_and_refuses_to_send() {
    let mut net = Net::<SmallNode>::with(2, |config| {
        if config.address == address(0) {
            config.seq_start = SEQ_MAX - 30;
        }
    });
    net.join(0, 1);
    let id = net.send(0, address(1), Priority::High, secs(8), &text(600)).unwrap();
    net.run(secs(10));

    let log = net.log(0);
    assert_eq!(log[0], Log::EpochWanted, "three quarters are long used");
    assert_eq!(log.iter().filter(|what| **what == Log::EpochWanted).count(), 1);
    assert_eq!(net.outcome(0, id).unwrap().1, SendOutcome::Expired, "61 segments, 31 SEQs");
    let used: Vec<u32> = net.sent_by(0).iter().map(|frame| frame.seq).collect();
    assert_eq!(used.iter().max(), Some(&SEQ_MAX));
    assert!(used.iter().all(|seq| *seq >= SEQ_MAX - 30), "it did not wrap");
    assert_eq!(net.send(0, address(1), Priority::Critical, secs(8), b"hi"), Err(SendError::SeqExhausted));

    let before = net.air.iter().filter(|frame| frame.from == 0).count();
    net.run(secs(60));
    assert_eq!(net.air.iter().filter(|frame| frame.from == 0).count(), before, "not even a hello");
    // It still hears.
    net.send(1, address(0), Priority::High, secs(8), b"hello?").unwrap();
    net.run(secs(1));
    assert_eq!(net.received(0).len(), 1);
}

#[test]
fn an_own_frame_that_comes_back_is_no_conflict() {
    let mut net = Net::<SmallNode>::line(3);
    net.send(0, address(2), Priority::High, secs(5), &text(200)).unwrap();
    net.run(secs(5));
    let node = &net.stations[0].node;
    assert!(node.stats().discarded(Discard::Own) > 0, "the relay was heard");
    assert_eq!(node.conflict(net.now), None);
}

#[test]
fn a_frame_of_an_earlier_run_is_no_conflict_either() {
    let mut net = Net::<SmallNode>::with(1, |config| config.seq_start = 1024);
    let old = seal(&Frame {
        ttl: 3,
        ttl0: 7,
        seq: 1_000,
        src: address(0),
        dst: Address::EVERYONE,
        next: None,
        priority: Priority::Low,
        kind: Kind::Single,
        mic: Mic::Short,
        body: &[1, 0, b'x'],
    });
    assert_eq!(net.inject(0, &old), Err(Discard::Own));
    assert_eq!(net.stations[0].node.conflict(net.now), None);
}

#[test]
fn what_was_taken_before_a_restart_is_not_taken_after_it() {
    let mut net = Net::<SmallNode>::full(2);
    net.send(0, address(1), Priority::High, secs(5), b"hi").unwrap();
    net.run(secs(1));
    assert_eq!(net.received(1).len(), 1);
    let recorded: Vec<Vec<u8>> =
        net.air.iter().filter(|frame| frame.from == 0).map(|frame| frame.bytes.clone()).collect();
    let marks: Vec<_> = net.stations[1].node.replay_marks().collect();
    assert_eq!(marks.len(), 1);

    // With the marks, an outsider's replay finds nothing; without, it would.
    for (restored, expected) in [(true, 0), (false, 1)] {
        net.switch_off(1);
        net.switch_on(1, Config { seq_start: 1024, ..config(2) }, App::fresh());
        if restored {
            for mark in &marks {
                assert!(net.stations[1].node.restore_mark(*mark));
            }
        }
        for bytes in &recorded {
            let taken = net.inject(1, bytes);
            assert!(!restored || matches!(taken, Err(Discard::Replay | Discard::Duplicate)), "{taken:?}");
        }
        assert_eq!(net.received(1).len(), expected);
        assert_eq!(net.stations[1].node.stats().frames_verified, recorded.len() as u64);
    }
    // The true sender goes on.
    net.send(0, address(1), Priority::High, secs(5), b"new").unwrap();
    net.run(secs(1));
    assert_eq!(net.received(1).last().unwrap().2, b"new");
}

#[test]
fn while_a_rotation_is_under_way_both_epochs_are_taken_and_no_source_goes_back() {
    let [old, new] = [EPOCH, EPOCH + 1].map(|epoch| EpochKeys::derive(&secret(), epoch));
    let mut net = Net::<SmallNode>::with(1, |config| {
        config.keys = Keyring::with_previous(new.clone(), old.clone());
    });
    let from = |src: u16, seq, keys: &EpochKeys| {
        let frame = Frame {
            ttl: 1,
            ttl0: 1,
            seq,
            src: Address::new(src),
            dst: address(0),
            next: None,
            priority: Priority::High,
            kind: Kind::Single,
            mic: Mic::Short,
            body: &[seq as u8 & 0x7f, 0, b'x'],
        };
        seal_under(&frame, keys)
    };
    assert_eq!(net.inject(0, &from(50, 900, &old)), Ok(()));
    assert_eq!(net.inject(0, &from(51, 3, &new)), Ok(()));
    assert_eq!(net.inject(0, &from(50, 0, &new)), Ok(()), "SEQ begins again with the epoch");
    assert_eq!(net.inject(0, &from(50, 901, &old)), Err(Discard::Replay), "the old epoch is over for it");
    assert_eq!(net.received(0).len(), 3);
    net.run(secs(1));
    let first = new.first_byte();
    assert!(
        !net.air.is_empty() && net.air.iter().all(|frame| frame.bytes[0] == first),
        "it sends under the new"
    );
}

/// The numbers of the transfers that a station has put on the air.
fn transfers(net: &Net<SmallNode>, at: usize) -> BTreeSet<u16> {
    // Continuation frames, which say nothing of their destination, are of transfers whose first segments say so.
    let segments = net.sent_by(at).into_iter().filter(|frame| frame.kind == Kind::Segment && frame.dst != 0);
    segments.map(|frame| Segment::parse(&frame.body).unwrap().transfer.bits()).collect()
}

/// Messages given up before they were on the air took numbers of transfers and no SEQs, and the next run began with a number that
/// its receiver had just answered.
#[test]
fn after_a_stop_in_order_no_number_of_a_transfer_comes_again() {
    let mut net = Net::<SmallNode>::full(2);
    net.run(secs(2));
    for n in 0..20 {
        let given_up = net.send(0, address(1), Priority::Low, secs(60), &text(100 + n)).unwrap();
        net.stations[0].node.cancel(mesh_protocol::MessageId(given_up));
    }
    let mut last = 0;
    for n in 0..4 {
        last = net.send(0, address(1), Priority::High, secs(60), &text(50 + n)).unwrap();
        net.run_until(secs(10), |net| net.outcome(0, last).is_some());
        assert_eq!(net.outcome(0, last).unwrap().1, SendOutcome::Delivered);
    }
    let (seq, ahead) = (net.stations[0].node.next_seq(), net.stations[0].node.transfers_ahead());
    let used = transfers(&net, 0);
    net.switch_off(0);
    net.switch_on(0, Config { seq_start: seq, seed: 77, ..config(1) }, App::fresh());
    net.stations[0].node.restore_transfers(ahead);
    for n in 0..24 {
        let id = last + 1 + n;
        let bytes = text(60 + n as usize);
        net.send_as(id, 0, address(1), Priority::High, secs(60), &bytes).unwrap();
        net.run_until(secs(10), |net| net.outcome(0, id).is_some());
        assert_eq!(net.received(1).last(), Some(&(1, id, bytes)));
    }
    let all = transfers(&net, 0);
    assert!(used.len() >= 4 && all.len() == used.len() + 24, "{used:?} before, then {all:?}");
}
