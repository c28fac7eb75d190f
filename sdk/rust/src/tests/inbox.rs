//! The inbox of an agent that stays: nothing twice, nothing left out.

use super::script::{Gateway, Session, accepted, plain, receipt};
use crate::api::samples::send;
use crate::api::{Credit, Outcome, Request};
use crate::{Agent, ClientError, Inbox, Incoming};

async fn text(inbox: &mut Inbox) -> String {
    inbox.next_message().await.unwrap().body.as_text().unwrap().to_owned()
}

/// An agent that has read the first of three messages.
async fn reading() -> (Gateway, Session, Agent) {
    let (gateway, mut session, mut agent) = Gateway::welcomed().await;
    for n in 1..=3 {
        session.say(plain(n, &format!("message {n}"))).await;
    }
    assert_eq!(text(agent.inbox()).await, "message 1");
    (gateway, session, agent)
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_again_is_not_given_out_again() {
    let (mut gateway, session, agent) = reading().await;
    let (handle, mut inbox) = agent.split();
    drop(session);
    // None is handled, so the gateway shows them all again, and one more. The two that are unread have their credits still.
    let (mut session, hello) = gateway.welcome(0).await;
    assert_eq!(hello.resume, Some(0));
    session.barrier().await;
    assert_eq!(session.read().await, Request::Credit(Credit { n: 254 }));
    for n in 1..=4 {
        session.say(plain(n, &format!("message {n}"))).await;
    }
    for n in 2..=4 {
        assert_eq!(text(&mut inbox).await, format!("message {n}"));
    }
    assert_eq!(session.acked().await, 3, "one is in hand");

    // Handled while there is no session: the next hello says so.
    inbox.set_auto_ack(false);
    drop(session);
    let next = tokio::spawn(async move {
        let next = text(&mut inbox).await;
        (next, inbox)
    });
    let (mut session, hello) = gateway.welcome(4).await;
    assert_eq!(hello.resume, Some(4));
    session.barrier().await;
    session.say(plain(5, "message 5")).await;
    let (next, mut inbox) = next.await.unwrap();
    assert_eq!(next, "message 5");
    session.say(plain(6, "message 6")).await;
    session.say(plain(7, "message 7")).await;
    assert_eq!((text(&mut inbox).await, text(&mut inbox).await), ("message 6".into(), "message 7".into()));
    // Out of order: behind the one that is still open nothing is acknowledged, in no session.
    handle.ack(5).unwrap();
    handle.ack(7).unwrap();
    drop(session);
    let (mut session, hello) = gateway.welcome(5).await;
    assert_eq!(hello.resume, Some(5));
    session.barrier().await;
    session.say(plain(6, "message 6")).await;
    session.say(plain(7, "message 7")).await;
    session.say(plain(8, "message 8")).await;
    assert_eq!(text(&mut inbox).await, "message 8");
    handle.ack(6).unwrap();
    assert_eq!(session.acked().await, 7);
}

#[tokio::test(start_paused = true)]
async fn credits_are_neither_lost_nor_doubled_by_reconnects() {
    let (mut gateway, mut session, agent) = Gateway::welcomed().await;
    let (_handle, mut inbox) = agent.split();
    let mut handled = 0;
    for _ in 0..5 {
        // A hundred unread when the session ends without a word.
        for n in 1..=100 {
            session.say(plain(handled + n, "x")).await;
        }
        session.say(receipt(handled + 101, Some(1), 1, Outcome::Sent)).await;
        drop(session);
        // The receipt of the round before is still in hand.
        let before = handled.saturating_sub(1);
        let (mut again, hello) = gateway.welcome(before).await;
        assert_eq!((hello.resume, hello.credits), (Some(before), 0));
        again.barrier().await;
        let kept = Request::Credit(Credit { n: 156 });
        assert_eq!(again.read().await, kept, "what is unread has its place still");
        for _ in 0..100 {
            inbox.next_message().await.unwrap();
        }
        assert!(matches!(inbox.next().await, Ok(Incoming::Receipt(_))));
        // All is handled but the receipt, which is in hand.
        drop(again);
        handled += 100;
        let (again, hello) = gateway.welcome(handled).await;
        assert_eq!(hello.resume, Some(handled));
        session = again;
        session.barrier().await;
        assert_eq!(session.read().await, Request::Credit(Credit { n: 256 }));
        handled += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_has_forgotten_all_begins_anew() {
    let (mut gateway, mut session, mut agent) = reading().await;
    let mut lost = agent.handle().send(send("bob", "?")).await.unwrap();
    let sent = session.sent().await;
    session.say(accepted(sent.reference, 9)).await;
    lost.accepted().await.unwrap();
    assert_eq!(text(agent.inbox()).await, "message 2");
    assert_eq!(text(agent.inbox()).await, "message 3");
    drop(session);
    // Another data directory: its cursors begin at 1.
    let (mut session, hello) = gateway.welcome(0).await;
    assert_eq!(hello.resume, Some(2));
    let why = lost.receipt().await.unwrap_err();
    assert!(matches!(&why, ClientError::Lost(text) if text.contains("has forgotten")), "{why}");
    session.barrier().await;
    for n in 1..=4 {
        session.say(plain(n, &format!("new {n}"))).await;
    }
    // What was in hand had the cursor 3 in the life before, which says nothing in this one.
    for n in 1..=3 {
        assert_eq!(text(agent.inbox()).await, format!("new {n}"));
    }
    drop(session);
    let (_session, hello) = gateway.welcome(2).await;
    assert_eq!(hello.resume, Some(2), "the third is in hand");
}
