//! A site itself; what gateways promise in it is held by `tests/workload.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ble_bearer::Clock;
use ble_bearer::sim::{StationId, Still};
use mesh_agent::api::codec::Codec;
use mesh_agent::api::{Accepted, Body, ErrorCode, Event, Hello, Name, Outcome, SendRequest};
use mesh_agent::{Client, ClientError, Incoming, Pending};
use mesh_protocol::{Duration, Instant, MessageType};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::task::JoinSet;

use super::testbed::lock;
use super::*;

fn hello(name: &str) -> Hello {
    Hello::new(Name::new(name).unwrap())
}

fn task(to: &str, text: &str) -> SendRequest {
    SendRequest::new(to.parse().unwrap(), MessageType::Task, Body::text(text))
}

fn small() -> Site {
    Site { relays: 2, gateways: 2, within: Duration::from_secs(60), ..Site::default() }
}

/// In which order many tasks get on, all at one moment, two agents on one gateway speaking and listening at once.
fn rush() -> (Vec<String>, Instant) {
    let ran = small().run(async |testbed| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for (codec, name, other) in [(Codec::Json, "alice", "bob"), (Codec::Postcard, "bob", "alice")] {
            let (handle, mut inbox) = testbed.connect(0, hello(name), codec).await.unwrap().split();
            let heard = Arc::clone(&log);
            tasks.spawn(async move {
                for _ in 0..60 {
                    let message = inbox.next_message().await.unwrap();
                    lock(&heard).push(format!("{name} heard {}", message.body.as_text().unwrap()));
                }
            });
            for n in 0..6 {
                let (handle, log) = (handle.clone(), Arc::clone(&log));
                tasks.spawn(async move {
                    for k in 0..10 {
                        // Out of step with the others: some speak while others listen.
                        for _ in 0..(3 * n + k) % 5 {
                            tokio::spawn(async {}).await.unwrap();
                        }
                        handle.ping().await.unwrap();
                        lock(&log).push(format!("{name} {n} pinged {k}"));
                        let durable = (n + k) % 2 == 0;
                        let request = SendRequest { durable, ..task(other, &format!("{n} {k}")) };
                        let receipt = handle.send(request).await.unwrap().receipt().await.unwrap();
                        lock(&log).push(format!("{name} {n} was told {:?}", receipt.outcome));
                    }
                });
            }
        }
        while let Some(joined) = tasks.join_next().await {
            joined.unwrap();
        }
        let log = std::mem::take(&mut *lock(&log));
        (log, testbed.now())
    });
    ran.unwrap().result
}

#[test]
fn what_happens_at_one_moment_happens_in_the_same_order_every_time() {
    let (first, at) = rush();
    assert_eq!((first.len(), at), (2 * 6 * 10 * 3, Instant::ZERO), "no work takes simulated time");
    for _ in 0..5 {
        assert_eq!(rush().0, first);
    }
}

#[test]
fn a_session_waits_in_simulated_time() {
    let ran = small().run(async |testbed| {
        let mut stream = {
            let mut gateways = lock(&testbed.shared.gateways);
            gateways[0].running.as_mut().unwrap().listener.connect()
        };
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        (said, testbed.now())
    });
    let (said, at) = ran.unwrap().result;
    let first: Event = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert!(matches!(&first, Event::Error(error) if error.message.contains("10 s")), "{first:?}");
    assert_eq!(at, Instant::ZERO + Duration::from_secs(10));
}

#[test]
fn a_script_that_can_never_end_is_told_so() {
    let endless = small().run(async |_| std::future::pending::<()>().await);
    assert!(matches!(endless, Err(TestbedError::Endless(60))), "{endless:?}");

    let stuck = small().run(async |testbed| {
        let _hold = testbed.clock().hold();
        testbed.pause(Duration::from_secs(1)).await;
    });
    assert!(matches!(stuck, Err(TestbedError::Stuck { at: 0, still: Still::Held })), "{stuck:?}");
}

#[test]
fn a_gateway_without_power_is_not_there_until_it_is_restarted() {
    let ran = small().run(async |testbed| {
        assert!(matches!(testbed.restart(0), Err(TestbedError::On(0))));
        assert!(matches!(testbed.cut(2).await, Err(TestbedError::NoGateway(2))));
        let alice = testbed.connect(0, hello("alice"), Codec::Json).await.unwrap();
        let kept = alice.handle().send(task("bob", "kept")).await.unwrap().accepted().await.unwrap();
        // Said, and power is gone before it is on the disk.
        let mut lost = alice.handle().send(task("bob", "lost")).await.unwrap();
        testbed.cut(0).await.unwrap();
        assert!(matches!(lost.accepted().await, Err(ClientError::Lost(_))));
        let nobody = testbed.connect(0, hello("alice"), Codec::Json).await;
        assert!(matches!(nobody, Err(ClientError::Lost(_))));
        assert!(testbed.cut(0).await.is_ok(), "it stays without power");
        testbed.restart(0).unwrap();

        let mut bob = testbed.connect(1, hello("bob"), Codec::Postcard).await.unwrap();
        let message = bob.inbox().next_message().await.unwrap();
        assert_eq!((message.id, message.body.as_text()), (kept.id, Some("kept")));
        let alice = testbed.connect(0, hello("alice"), Codec::Json).await.unwrap();
        let next = alice.handle().send(task("bob", "next")).await.unwrap().receipt().await.unwrap();
        assert!(next.id.id > kept.id.id);
        assert_eq!(bob.inbox().next_message().await.unwrap().body.as_text(), Some("next"));

        testbed.stop(1).await.unwrap();
        assert!(matches!(bob.inbox().next().await, Err(ClientError::Refused(_) | ClientError::Lost(_))));
        testbed.restart(1).unwrap();
        assert!(testbed.connect(1, hello("bob"), Codec::Json).await.is_ok());
    });
    ran.unwrap();
}

#[test]
fn a_gateway_that_hears_nobody_any_more_is_not_well() {
    let site = Site { relays: 1, within: Duration::from_secs(300), ..small() };
    let ran = site.run(async |testbed| {
        // The relay, which stands behind the two gateways.
        testbed.with(|world| world.set_powered(StationId(2), false));
        let alice = testbed.connect(0, hello("alice"), Codec::Json).await.unwrap();
        let problems = async || alice.handle().status().await.unwrap().health.problems;
        let mut bob = testbed.connect(1, hello("bob"), Codec::Json).await.unwrap();
        alice.handle().send(task("bob", "there?")).await.unwrap();
        bob.inbox().next_message().await.unwrap();
        testbed.pause(Duration::from_secs(15)).await;
        assert_eq!(problems().await, [""; 0]);
        testbed.cut(1).await.unwrap();
        testbed.pause(Duration::from_secs(120)).await;
        let said = problems().await;
        assert!(said.len() == 1 && said[0].starts_with("the radio hears nobody, for "), "{said:?}");
        let peers = alice.handle().peers().await.unwrap().peers;
        assert_eq!((peers.len(), peers[0].hops), (1, None), "how far it is now is not known");
        testbed.restart(1).unwrap();
        testbed.pause(Duration::from_secs(15)).await;
        assert_eq!(problems().await, [""; 0]);
    });
    ran.unwrap();
}

#[test]
fn a_key_whose_message_the_disk_refused_is_not_known() {
    let ran = small().run(async |testbed| {
        let alice = testbed.connect(0, hello("alice"), Codec::Postcard).await.unwrap();
        let keyed = |key| SendRequest { key: Some(key), ..task("bob", "once") };
        let kept = alice.handle().send(keyed(1)).await.unwrap().accepted().await.unwrap();
        lock(&testbed.shared.gateways)[0].disk.fail_after(0);
        let pending = [
            alice.handle().send(keyed(2)).await.unwrap(),
            alice.handle().send(keyed(2)).await.unwrap(),
            alice.handle().send(keyed(1)).await.unwrap(),
        ];
        let [Err(ClientError::Refused(first)), Err(ClientError::Refused(again)), Ok(old)] =
            answers(pending).await
        else {
            panic!("the disk keeps nothing new, and has what it had")
        };
        assert_eq!((first.code, again.code, old.id), (ErrorCode::Storage, ErrorCode::Storage, kept.id));
        let [Err(ClientError::Refused(later)), Ok(old)] = answers([
            alice.handle().send(keyed(2)).await.unwrap(),
            alice.handle().send(keyed(1)).await.unwrap(),
        ])
        .await
        else {
            panic!("as before")
        };
        assert_eq!((later.code, old.id), (ErrorCode::Storage, kept.id));
        testbed.cut(0).await.unwrap();
    });
    ran.unwrap();
}

async fn answers<const N: usize>(pending: [Pending; N]) -> [Result<Accepted, ClientError>; N] {
    let mut all = Vec::new();
    for mut one in pending {
        all.push(one.accepted().await);
    }
    all.try_into().unwrap()
}

#[test]
fn a_full_disk_gives_each_message_one_answer_and_the_gateway_mends_itself() {
    let ran = small().run(async |testbed| {
        let disk = lock(&testbed.shared.gateways)[0].disk.clone();
        let mut bob = testbed.connect(0, hello("bob"), Codec::Postcard).await.unwrap();
        let mut carol = testbed.connect(1, hello("carol"), Codec::Json).await.unwrap();
        let alice = testbed.connect(0, hello("alice"), Codec::Json).await.unwrap();
        for (to, agent) in [("bob", &mut bob), ("carol", &mut carol)] {
            let before = alice.handle().send(task(to, "before")).await.unwrap();
            assert_eq!(agent.inbox().next_message().await.unwrap().body.as_text(), Some("before"));
            assert_eq!(before.receipt().await.unwrap().outcome, Outcome::Delivered);
        }

        disk.fail_after(0);
        let mut stream = BufReader::new(testbed.stream(0).unwrap());
        let mut lines = vec![r#"{"op":"hello","name":"eve"}"#.to_owned()];
        for n in 1..=100 {
            let to = ["bob", "carol"][n % 2];
            lines.push(format!(
                r#"{{"op":"send","ref":{n},"to":"{to}","type":"TASK","key":{n},"text":"refused"}}"#
            ));
        }
        stream.write_all((lines.join("\n") + "\n").as_bytes()).await.unwrap();
        let mut said: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut until_pong = async |stream: &mut BufReader<_>, ping: u64| {
            let line = format!("{{\"op\":\"ping\",\"ref\":{ping}}}\n");
            AsyncWriteExt::write_all(stream, line.as_bytes()).await.unwrap();
            loop {
                let mut line = String::new();
                AsyncBufReadExt::read_line(stream, &mut line).await.unwrap();
                let event: serde_json::Value = serde_json::from_str(&line).unwrap();
                let word = event["ev"].as_str().unwrap().to_owned();
                match event["ref"].as_u64() {
                    Some(number) if number == ping => return,
                    Some(number) => {
                        let code = event["code"].as_str().unwrap_or_default();
                        said.entry(number).or_default().push(format!("{word} {code}"));
                    }
                    None => assert_eq!(word, "welcome", "{event}"),
                }
            }
        };
        until_pong(&mut stream, 1_000).await;
        let health = alice.handle().status().await.unwrap().health.problems;
        assert!(health.iter().any(|line| line.contains("tried again by itself")), "{health:?}");

        disk.recover();
        testbed.pause(Duration::from_secs(5)).await;
        let health = alice.handle().status().await.unwrap().health.problems;
        assert!(!health.iter().any(|line| line.contains("message store")), "{health:?}");
        for round in ["after", "after a cut"] {
            let alice = testbed.connect(0, hello("alice"), Codec::Json).await.unwrap();
            let mut bob = testbed.connect(0, hello("bob"), Codec::Json).await.unwrap();
            for (to, agent) in [("bob", &mut bob), ("carol", &mut carol)] {
                let sent = alice.handle().send(task(to, round)).await.unwrap();
                until(agent, round).await;
                assert_eq!(sent.receipt().await.unwrap().outcome, Outcome::Delivered);
            }
            if round == "after" {
                until_pong(&mut stream, 2_000).await;
                testbed.cut(0).await.unwrap();
                testbed.restart(0).unwrap();
            }
        }
        // The keys of what was refused are not known: sent again, it is new.
        let eve = testbed.connect(0, hello("eve"), Codec::Json).await.unwrap();
        let again = SendRequest { key: Some(100), ..task("bob", "again") };
        assert!(eve.handle().send(again).await.unwrap().accepted().await.is_ok());
        let mut bob = testbed.connect(0, hello("bob"), Codec::Json).await.unwrap();
        until(&mut bob, "again").await;

        assert_eq!(said.len(), 100);
        assert!(said.values().all(|answers| *answers == ["error storage"]), "{said:?}");
    });
    ran.unwrap();
}

/// Reads until this comes; nothing that was refused may come before.
async fn until(agent: &mut Client, text: &str) {
    loop {
        let message = agent.inbox().next_message().await.unwrap();
        match message.body.as_text().unwrap() {
            "refused" => panic!("{} was refused, and came", message.id),
            come if come == text => return,
            _ => {}
        }
    }
}

/// When a gateway's disk fails, what is on its way there, and how it comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    /// The write that fails is the one that delivers; the disk mends itself.
    UnderIt,
    /// That it fails is known before; the disk mends itself.
    Known,
    /// The power goes while it fails.
    Cut,
}

/// All that waits for an agent of the first gateway, in order; what it sends itself comes last.
async fn waiting_for(testbed: &Testbed, agent: &mut Client) -> Vec<String> {
    let name = agent.welcome().name;
    let eve = testbed.connect(0, hello("eve"), Codec::Json).await.unwrap();
    eve.handle().send(task(name.as_str(), "end")).await.unwrap().accepted().await.unwrap();
    let mut all = Vec::new();
    loop {
        match agent.inbox().next().await.unwrap() {
            Incoming::Message(message) => match message.body.as_text().unwrap() {
                "end" => return all,
                text => all.push(text.to_owned()),
            },
            Incoming::Receipt(receipt) => {
                all.push(format!("{} {:?}", receipt.reference.unwrap(), receipt.outcome));
            }
            Incoming::Error(error) => panic!("{error:?}"),
        }
    }
}

/// Messages that were accepted before the disk failed, one for a name that comes to the gateway meanwhile and one whose receipt
/// comes meanwhile.
fn accepted_before(failure: Failure) {
    let ran = small().run(async move |testbed| {
        let disk = lock(&testbed.shared.gateways)[0].disk.clone();
        let mut carol = testbed.connect(1, hello("carol"), Codec::Json).await.unwrap();
        let mut alice = BufReader::new(testbed.stream(0).unwrap());
        let said = [
            r#"{"op":"hello","name":"alice"}"#,
            r#"{"op":"send","ref":1,"to":"zoe","type":"TASK","text":"to zoe"}"#,
            r#"{"op":"send","ref":2,"to":"carol","type":"TASK","text":"to carol"}"#,
        ];
        alice.write_all((said.join("\n") + "\n").as_bytes()).await.unwrap();
        let next = async |stream: &mut BufReader<DuplexStream>| -> serde_json::Value {
            let mut line = String::new();
            AsyncBufReadExt::read_line(stream, &mut line).await.unwrap();
            serde_json::from_str(&line).unwrap()
        };
        for expected in ["welcome", "accepted", "accepted"] {
            assert_eq!(next(&mut alice).await["ev"], expected);
        }

        disk.fail_after(0);
        if failure == Failure::Known {
            let bob = testbed.connect(0, hello("bob"), Codec::Json).await.unwrap();
            let refused = bob.handle().send(task("zoe", "refused")).await.unwrap().accepted().await;
            assert!(matches!(refused, Err(ClientError::Refused(error)) if error.code == ErrorCode::Storage));
        }
        let zoe = testbed.connect(0, hello("zoe"), Codec::Postcard).await.unwrap();
        testbed.pause(Duration::from_secs(5)).await;
        if failure != Failure::Cut {
            disk.recover();
            testbed.pause(Duration::from_secs(5)).await;
            alice.write_all(b"{\"op\":\"ping\",\"ref\":9}\n").await.unwrap();
            let mut shown = Vec::new();
            loop {
                let event = next(&mut alice).await;
                match event["ev"].as_str().unwrap() {
                    "pong" => break,
                    word => shown.push(format!("{word} {} {}", event["ref"], event["outcome"])),
                }
            }
            shown.sort();
            assert_eq!(shown, ["receipt 1 \"delivered\"", "receipt 2 \"delivered\""], "each once");
        }
        drop((alice, zoe));
        testbed.cut(0).await.unwrap();
        testbed.restart(0).unwrap();

        let mut zoe = testbed.connect(0, hello("zoe"), Codec::Json).await.unwrap();
        assert_eq!(waiting_for(&testbed, &mut zoe).await, ["to zoe"]);
        testbed.pause(Duration::from_secs(10)).await;
        assert_eq!(waiting_for(&testbed, &mut carol).await, ["to carol"]);
        let mut alice = testbed.connect(0, hello("alice"), Codec::Postcard).await.unwrap();
        let mut shown = waiting_for(&testbed, &mut alice).await;
        shown.sort();
        assert_eq!(shown, ["1 Delivered", "2 Delivered"], "{failure:?}");
    });
    ran.unwrap();
}

#[test]
fn what_was_accepted_is_not_lost_by_a_write_that_fails_under_it() {
    accepted_before(Failure::UnderIt);
}

#[test]
fn what_was_accepted_is_not_lost_while_the_disk_is_known_to_fail() {
    accepted_before(Failure::Known);
}

#[test]
fn what_was_accepted_is_not_lost_when_the_power_goes_while_the_disk_fails() {
    accepted_before(Failure::Cut);
}

#[test]
fn no_agent_is_forgotten_while_the_disk_fails() {
    let ran = small().run(async |testbed| {
        let disk = lock(&testbed.shared.gateways)[0].disk.clone();
        let alice = testbed.connect(0, hello("alice"), Codec::Json).await.unwrap();
        drop(testbed.connect(0, hello("bob"), Codec::Json).await.unwrap());
        disk.fail_after(0);
        let refused = alice.handle().send(task("bob", "refused")).await.unwrap().accepted().await;
        assert!(matches!(refused, Err(ClientError::Refused(error)) if error.code == ErrorCode::Storage));
        let bob = Name::new("bob").unwrap();
        let forgotten = alice.handle().forget_agent(bob).await;
        assert!(
            matches!(&forgotten, Err(ClientError::Refused(error)) if error.code == ErrorCode::Storage),
            "{forgotten:?}"
        );
        disk.recover();
        testbed.pause(Duration::from_secs(5)).await;
        alice.handle().forget_agent(bob).await.unwrap();
    });
    ran.unwrap();
}
