//! Agents that stay, on gateways that lose their power and over connections that break, again and again: everything is said
//! once, and everyone is told what became of it.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use mesh_agent::api::{Outcome, SendRequest};
use mesh_agent::{Agent, Handle, Inbox, MessageType};
use mesh_protocol::{Duration, Rng};
use mesh_testbed::{Site, Testbed};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::JoinSet;

/// Long enough for any message to get through between two cuts.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(3_000);
const TASKS: usize = 150;
const QUERIES: usize = 30;

/// A connection that breaks after so many bytes from the gateway: amid an event, behind an *accepted*, anywhere.
struct Frayed {
    stream: DuplexStream,
    left: usize,
}

impl AsyncRead for Frayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = vec![0; self.left.min(buf.remaining())];
        if bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut part = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut part);
        self.left -= part.filled().len();
        buf.put_slice(part.filled());
        read
    }
}

impl AsyncWrite for Frayed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn stay(testbed: &Testbed, gateway: usize, name: &str, seed: u64) -> (Handle, Inbox) {
    let ground = testbed.clone();
    let dice = Mutex::new(Rng::stream(seed, name));
    let dial = move || {
        // Enough for a welcome and an event or two, so that it does end.
        let left = 200 + dice.lock().unwrap().below(3_000) as usize;
        std::future::ready(ground.stream(gateway).map(|stream| Frayed { stream, left }))
    };
    let agent = Agent::builder(name.parse().unwrap()).dial(dial).connect_in(testbed.clock()).await;
    agent.unwrap().split()
}

fn text(kind: MessageType, text: String) -> SendRequest {
    SendRequest::new("bob".parse().unwrap(), kind, text).with_durable(true).within(DEADLINE)
}

/// Cuts one gateway's power after the other, at times that the seed decides.
async fn cuts(testbed: Testbed, seed: u64) {
    let mut rng = Rng::new(seed);
    for _ in 0..8 {
        testbed.pause(Duration::from_millis(rng.below(3_000))).await;
        let gateway = rng.below(2) as usize;
        testbed.cut(gateway).await.unwrap();
        testbed.pause(Duration::from_millis(rng.below(4_000))).await;
        testbed.restart(gateway).unwrap();
    }
}

#[test]
fn nothing_is_lost_or_doubled_by_agents_whose_gateways_lose_their_power() {
    for seed in 0..4 {
        let site = Site { seed, relays: 2, gateways: 2, ..Site::default() };
        let ran = site.run(async move |testbed| {
            let (alice, _replies) = stay(&testbed, 0, "alice", seed).await;
            let (bob, mut heard) = stay(&testbed, 1, "bob", seed).await;
            let slow = testbed.clone();
            let answering = tokio::spawn(async move {
                let mut times = BTreeMap::<String, u32>::new();
                while times.len() < TASKS + QUERIES {
                    let message = heard.next_message().await.unwrap();
                    let said = message.body.as_text().unwrap().to_owned();
                    // What is in hand when the connection breaks comes again.
                    slow.pause(Duration::from_millis(250)).await;
                    if message.kind == MessageType::Query {
                        let answer = SendRequest::answer(&message, format!("answer to {said}"));
                        bob.send(answer.with_durable(true).within(DEADLINE)).await.unwrap();
                    }
                    *times.entry(said).or_default() += 1;
                }
                // One more question and its answer, with nothing in between: what came twice would be there by then.
                let last = heard.next_message().await.unwrap();
                let answer = SendRequest::answer(&last, "bye").with_durable(true).within(DEADLINE);
                bob.send(answer).await.unwrap().receipt().await.unwrap();
                (times, last.body)
            });
            let cutting = tokio::spawn(cuts(testbed.clone(), seed));
            let mut asked = JoinSet::new();
            let mut sent = Vec::new();
            for n in 0..TASKS {
                // In no step with the cuts, but all the time.
                testbed.pause(Duration::from_millis(150)).await;
                sent.push(alice.send(text(MessageType::Task, format!("task {n}"))).await.unwrap());
                if n % (TASKS / QUERIES) == 0 {
                    let alice = alice.clone();
                    asked.spawn(async move {
                        let said = format!("query {n}");
                        let answer = alice.query(text(MessageType::Query, said.clone())).await.unwrap();
                        assert_eq!(answer.body.as_text().unwrap(), format!("answer to {said}"));
                    });
                }
            }
            cutting.await.unwrap();
            for pending in sent {
                assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
            }
            asked.join_all().await;
            let bye = alice.query(text(MessageType::Query, "bye?".into())).await.unwrap();
            assert_eq!(bye.body.as_text(), Some("bye"));
            let (times, last) = answering.await.unwrap();
            assert_eq!(last.as_text(), Some("bye?"), "seed {seed}: something came twice");
            assert!(times.values().all(|times| *times == 1), "seed {seed}: {times:?}");
        });
        ran.unwrap();
    }
}
