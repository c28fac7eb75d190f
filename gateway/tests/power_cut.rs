//! Power cuts: a gateway is killed at any moment, and nothing it accepted is lost or delivered twice.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use ble_bearer::{Bearer, Trace, Traced};
use common::{agent, cable, cable_with_a_plug, gateway, name, plan};
use gateway::engine::{self, Membership};
use gateway::store::Store;
use gateway::{Gateway, Plan};
use mesh_agent::Incoming;
use mesh_agent::api::{Body, Destination, Outcome, ReceiptRequest, SendRequest};
use mesh_protocol::continuation::{self, is_continuation};
use mesh_protocol::{Address, EpochKeys, Keyring, LinkId, MessageType, NetKey, frame};

#[tokio::test]
async fn seqs_go_on_behind_the_last_reserved_one_after_a_cut() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let frames: Arc<Mutex<BTreeMap<u32, Vec<u8>>>> = Arc::default();
    let keys = Keyring::new(EpochKeys::derive(&NetKey::new([7; 16]), 1));
    let mut last = None;
    for run in 0..6 {
        let (end_a, end_b) = cable();
        let (seen, keys) = (Arc::clone(&frames), keys.clone());
        let observer = move |trace: Trace<'_>| {
            if let Trace::Sent { frame, .. } = trace {
                let mut bytes = frame.to_vec();
                let (src, seq) = if is_continuation(&bytes) {
                    let verified = continuation::decode(&mut bytes, &keys).unwrap();
                    (verified.frame().src, verified.frame().seq)
                } else {
                    let verified = frame::decode(&mut bytes, &keys).unwrap();
                    (verified.frame().src, verified.frame().seq)
                };
                if src == Address::new(1) {
                    // A repeat is the same bytes; anything else under the same SEQ would betray the key.
                    let known = seen.lock().unwrap().insert(seq, frame.to_vec());
                    assert!(known.is_none_or(|known| known == frame), "SEQ {seq} was used twice");
                }
            }
        };
        let membership = Membership::new([7; 16], 1, run == 0);
        let a =
            Gateway::start(plan(1, Traced::new(end_a, observer), dirs[0].path(), membership)).await.unwrap();
        let b = gateway(2, end_b, dirs[1].path()).await;
        let alice = agent(&a, "alice").await;
        let mut bob = agent(&b, "bob").await;
        let request =
            SendRequest::new(Destination::agent(name("bob")), MessageType::Task, Body::text("over again"));
        let pending = alice.handle().send(request).await.unwrap();
        assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some("over again"));
        assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
        // Every other run ends in order.
        let in_order = run % 2 == 1;
        if in_order {
            a.stop().await.unwrap();
        } else {
            a.cut().await;
        }
        b.cut().await;
        let seqs = frames.lock().unwrap();
        if let Some((last, in_order)) = last {
            let first = *seqs.range(last + 1..).next().expect("this run has sent").0;
            assert_eq!(
                first == last + 1,
                in_order,
                "after a stop in order no number is skipped: {first} after {last}"
            );
        }
        last = seqs.keys().last().map(|last| (*last, in_order));
    }
}

/// Marks of sources once reached the disk every minute, and messages repeated in order pushed each other out of the memory of
/// what was delivered: all of 600 came again.
#[tokio::test]
async fn what_an_outsider_recorded_is_not_delivered_again_after_a_cut() {
    const MESSAGES: usize = 600;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b) = cable();
    let frames: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let recorded = Arc::clone(&frames);
    let observer = move |trace: Trace<'_>| {
        if let Trace::Sent { frame, .. } = trace {
            recorded.lock().unwrap().push(frame.to_vec());
        }
    };
    let membership = || Membership::new([7; 16], 1, true);
    let end_a = Traced::new(end_a, observer);
    let a = Gateway::start(plan(1, end_a, dirs[0].path(), membership())).await.unwrap();
    let b = gateway(2, end_b, dirs[1].path()).await;
    let (sensor, _inbox) = agent(&a, "sensor").await.split();
    let mut bob = agent(&b, "bob").await;
    let bob_of =
        |text: String| SendRequest::new(Destination::agent(name("bob")), MessageType::Task, Body::text(text));
    let mut in_flight = Vec::new();
    for n in 0..MESSAGES {
        in_flight.push(sensor.send(bob_of(format!("{n}"))).await.unwrap());
        if in_flight.len() == 8 || n + 1 == MESSAGES {
            for pending in in_flight.drain(..) {
                assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
            }
        }
    }
    let mut came = BTreeSet::new();
    while came.len() < MESSAGES {
        came.insert(bob.inbox().next_message().await.unwrap().id);
    }
    // What is asked behind an ack is answered behind it.
    bob.handle().status().await.unwrap();
    a.cut().await;
    b.cut().await;

    let (mut outsider, end_b) = cable();
    let b = gateway(2, end_b, dirs[1].path()).await;
    let mut bob = agent(&b, "bob").await;
    let frames = std::mem::take(&mut *frames.lock().unwrap());
    assert!(frames.len() >= MESSAGES);
    for frame in &frames {
        outsider.try_send(LinkId(0), frame).unwrap();
    }
    let status = loop {
        let status = bob.handle().status().await.unwrap();
        if status.radio.frames_received >= frames.len() as u64 {
            break status;
        }
        tokio::task::yield_now().await;
    };
    for taken in ["messages_received", "messages_repeated", "messages_forgotten"] {
        assert_eq!(status.counters.get(taken), None, "its marks alone keep them all out");
    }
    let carol = agent(&b, "carol").await;
    carol.handle().send(bob_of("the end".into())).await.unwrap();
    loop {
        let message = bob.inbox().next_message().await.unwrap();
        if message.body.as_text() == Some("the end") {
            break;
        }
        assert!(came.contains(&message.id), "{} was never sent", message.id);
    }
    b.stop().await.unwrap();
}

/// Who waited for the ack was once in memory only: a sender whose gateway restarted after *delivered* never heard of it.
#[tokio::test]
async fn processed_is_told_though_the_senders_gateway_lost_its_power_meanwhile() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b, plug) = cable_with_a_plug();
    let here = gateway(1, end_a, dirs[0].path()).await;
    let away = gateway(2, end_b, dirs[1].path()).await;
    let mut bob = agent(&here, "bob").await;
    bob.inbox().set_auto_ack(false);
    let alice = agent(&away, "alice").await;
    let to_bob = SendRequest::new(Destination::agent(name("bob")), MessageType::Task, Body::text("do it"));
    for processed in [ReceiptRequest::Processed, ReceiptRequest::Delivered] {
        alice.handle().send(SendRequest { receipt: processed, ..to_bob.clone() }).await.unwrap();
    }
    let mut last = None;
    for _ in 0..2 {
        last = last.max(bob.inbox().next_message().await.unwrap().cursor);
    }
    while alice.handle().status().await.unwrap().counters.get("messages_delivered") != Some(&2) {
        tokio::task::yield_now().await;
    }
    // What is asked is answered behind what the disk still had to do.
    alice.handle().status().await.unwrap();
    away.cut().await;

    let away = gateway(2, plug.again(), dirs[1].path()).await;
    let mut alice = agent(&away, "alice").await;
    (1..=last.unwrap()).for_each(|cursor| bob.handle().ack(cursor).unwrap());
    loop {
        match alice.inbox().next().await.unwrap() {
            Incoming::Receipt(receipt) if receipt.outcome == Outcome::Processed => break,
            Incoming::Receipt(receipt) => assert_eq!(receipt.outcome, Outcome::Delivered),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(alice.handle().status().await.unwrap().outbox, 0);
}

#[tokio::test]
async fn a_key_without_a_record_of_its_seqs_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let (end, _other) = cable();
    let started = Gateway::start(plan(1, end, dir.path(), Membership::new([7; 16], 1, false))).await;
    assert!(started.unwrap_err().to_string().contains("does not say which sequence numbers were used"));
}

#[tokio::test]
async fn a_store_of_another_address_or_key_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |address: u16, key: u8| {
        let (end, _other) = cable();
        Gateway::start(plan(address, end, dir.path(), Membership::new([key; 16], 1, false))).await
    };
    let (end, _other) = cable();
    gateway(2, end, dir.path()).await.stop().await.unwrap();
    // One bit of the address in network.toml.
    let error = start(3, 7).await.unwrap_err().to_string();
    assert!(error.contains("belongs to the address 0x0002 and network.toml says 0x0003"), "{error}");
    let error = start(2, 6).await.unwrap_err().to_string();
    assert!(error.contains("belongs to another key or epoch"), "{error}");
    start(2, 7).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn an_address_on_a_new_disk_does_not_number_its_messages_as_on_the_old_one() {
    let mut ids = Vec::new();
    for seed in 1..=4 {
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let membership = Membership::new([7; 16], 1, false);
        // As `init --invite` leaves it.
        let (store, _) = Store::open(dir.path()).unwrap();
        store.submit(vec![engine::fresh_seq(membership.fingerprint, Address::new(1))]);
        store.close().unwrap();
        let (end, _other) = cable();
        let plan = Plan { seed, ..plan(1, end, dir.path(), membership) };
        let gateway = Gateway::start(plan).await.unwrap();
        let alice = agent(&gateway, "alice").await;
        let _bob = agent(&gateway, "bob").await;
        let request = SendRequest::new(Destination::agent(name("bob")), MessageType::Task, Body::text("hi"));
        ids.push(alice.handle().send(request).await.unwrap().accepted().await.unwrap().id.id.0);
        gateway.stop().await.unwrap();
    }
    // A receiver remembers 2,048 of them, and eight bytes fit one frame with a number below 2^21.
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[1] - pair[0] > 2_048) && ids[3] < 1 << 21, "{ids:?}");
}
