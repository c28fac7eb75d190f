//! Sending again under a key, across power cuts.

#[path = "../../../gateway/tests/common/mod.rs"]
mod common;

use common::keys::{KEYS, accepted, rest, task};
use common::name;
use mesh_agent::api::codec::Codec;
use mesh_agent::api::{Hello, SendRequest};
use mesh_agent::{Client, ClientError};
use mesh_protocol::Duration;
use mesh_testbed::{Site, Testbed};

fn small() -> Site {
    Site { relays: 2, gateways: 2, within: Duration::from_secs(60), ..Site::default() }
}

async fn alice(testbed: &Testbed) -> Client {
    testbed.connect(0, Hello::new(name("alice")), Codec::Postcard).await.unwrap()
}

#[test]
fn a_key_is_known_after_a_power_cut_if_and_only_if_its_message_was_accepted() {
    let ran = small().run(async |testbed| {
        let session = alice(&testbed).await;
        let kept = accepted(session.handle(), task("bob", 1)).await.id;
        let fleeting = SendRequest { durable: false, ..task("bob", 2) };
        let dead = accepted(session.handle(), fleeting.clone()).await;
        let again = accepted(session.handle(), fleeting).await;
        assert_eq!((again.id, again.durable), (dead.id, false));
        // Said, and power is gone before it is on the disk.
        let mut lost = session.handle().send(task("bob", 3)).await.unwrap();
        testbed.cut(0).await.unwrap();
        assert!(matches!(lost.accepted().await, Err(ClientError::Lost(_))));
        testbed.restart(0).unwrap();

        let session = alice(&testbed).await;
        assert_eq!(accepted(session.handle(), task("bob", 1)).await.id, kept);
        let second = accepted(session.handle(), task("bob", 2)).await;
        assert!(second.durable && second.id != dead.id, "it died with the power");
        let third = accepted(session.handle(), task("bob", 3)).await.id;

        let mut bob = testbed.connect(1, Hello::new(name("bob")), Codec::Json).await.unwrap();
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.push(bob.inbox().next_message().await.unwrap().id);
        }
        heard.sort();
        assert_eq!(heard, [kept, second.id, third]);
        testbed.pause(Duration::from_secs(30)).await;
        assert_eq!(rest(bob).await, []);
    });
    ran.unwrap();
}

#[test]
fn keys_that_were_overwritten_are_overwritten_after_a_restart_too() {
    let ran = small().run(async |testbed| {
        let session = alice(&testbed).await;
        let mut last = None;
        for key in 0..KEYS + 10 {
            last = Some(accepted(session.handle(), task("group:nobody", key)).await.id);
        }
        testbed.cut(0).await.unwrap();
        testbed.restart(0).unwrap();
        let session = alice(&testbed).await;
        for key in 10..KEYS + 10 {
            assert!(accepted(session.handle(), task("group:nobody", key)).await.id <= last.unwrap());
        }
        assert!(accepted(session.handle(), task("group:nobody", 9)).await.id > last.unwrap());
    });
    ran.unwrap();
}

#[test]
fn a_key_costs_no_further_sync() {
    let commits = [None, Some(1)].map(|first| {
        let ran = small().run(async move |testbed| {
            let session = alice(&testbed).await;
            for n in 0..50 {
                let key = first.map(|first| first + n);
                accepted(session.handle(), SendRequest { key, ..task("bob", n) }).await;
            }
        });
        ran.unwrap().commits
    });
    assert!(commits[0] >= 50 && commits[0] == commits[1], "{commits:?}");
}
