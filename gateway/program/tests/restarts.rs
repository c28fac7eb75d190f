//! A gateway that is killed again and again while agents that stay send through it: every message arrives once, and everyone is
//! told so.
//!
//! It prints what happened when, to be read with `--nocapture`; what it asserts are the sums.
#![cfg(feature = "sim")]

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mesh_agent::api::{Name, Outcome, SendRequest};
use mesh_agent::{Agent, Backoff, Endpoint, Handle, Inbox, MessageType, Pending};
use mesh_protocol::Rng;
use tokio::sync::watch;

const SENDERS: u64 = 3;
const MESSAGES: u64 = 2_000;
/// Messages of one sender without a receipt.
const IN_FLIGHT: usize = 32;
const KILLS: u64 = 20;
/// Longer than any test runs, so that none expires on a slow machine.
const DEADLINE: Duration = Duration::from_secs(3_000);

/// The gateway's program, killed without a last word when dropped.
struct Process(Child);

impl Process {
    fn start(dir: &Path) -> Self {
        Self(common::program(dir, "1").0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What has happened so far.
#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    accepted: AtomicU64,
    receipts: AtomicU64,
    /// How often each text arrived.
    arrived: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    fn arrived(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }

    fn print(&self, begin: Instant, what: &str) {
        let [sent, accepted, receipts] =
            [&self.sent, &self.accepted, &self.receipts].map(|count| count.load(Ordering::Relaxed));
        println!(
            "{:>7.3} s  {what:<10} sent {sent:>4}, accepted {accepted:>4}, receipts {receipts:>4}, arrived {:>4}",
            begin.elapsed().as_secs_f64(),
            self.arrived()
        );
    }
}

async fn stay(dir: &Path, text: &str) -> (Handle, Inbox) {
    // The socket's path is the same after a restart, which a free TCP port would not be.
    let endpoint = Endpoint::Unix(dir.join("agents.sock"));
    // Sessions that never last would make the usual pauses grow to seconds, with nothing under way when the next kill comes.
    let backoff = Backoff { first: Duration::from_millis(5), longest: Duration::from_millis(20) };
    let agent = Agent::builder(Name::new(text).unwrap()).endpoint(endpoint).backoff(backoff);
    agent.connect().await.unwrap().split()
}

fn to_bob(text: String) -> SendRequest {
    SendRequest::new("bob".parse().unwrap(), MessageType::Task, text).within(DEADLINE)
}

/// Sends all of one sender's messages, each under a key of its own.
async fn send(alice: Handle, number: u64, tally: Arc<Tally>) {
    let mut in_flight: VecDeque<Pending> = VecDeque::new();
    for n in 0..MESSAGES {
        let request = SendRequest { key: Some(n), ..to_bob(format!("{number}: message {n}")) };
        in_flight.push_back(alice.send(request).await.unwrap());
        tally.sent.fetch_add(1, Ordering::Relaxed);
        while in_flight.len() >= IN_FLIGHT || (n + 1 == MESSAGES && !in_flight.is_empty()) {
            let mut pending = in_flight.pop_front().unwrap();
            assert!(pending.accepted().await.unwrap().durable);
            tally.accepted.fetch_add(1, Ordering::Relaxed);
            assert_eq!(pending.receipt().await.unwrap().outcome, Outcome::Delivered);
            tally.receipts.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counts what arrives, until somebody says bye.
async fn receive(mut inbox: Inbox, tally: Arc<Tally>, news: watch::Sender<usize>) {
    loop {
        let text = inbox.next_message().await.unwrap().body.as_text().unwrap().to_owned();
        if text == "bye" {
            return;
        }
        *tally.arrived.lock().unwrap().entry(text).or_default() += 1;
        news.send_replace(tally.arrived());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_lose_and_double_nothing_while_their_gateway_is_killed_again_and_again() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed} (set SEED to repeat another)");
    let mut rng = Rng::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let (tally, begin) = (Arc::<Tally>::default(), Instant::now());
    let mut process = Process::start(dir);
    tally.print(begin, "ready");

    let (news, mut arrivals) = watch::channel(0);
    let (_bob, inbox) = stay(dir, "bob").await;
    let receiving = tokio::spawn(receive(inbox, Arc::clone(&tally), news));
    let mut sending = Vec::new();
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        let (alice, inbox) = stay(dir, &format!("alice-{number}")).await;
        sending.push(tokio::spawn(send(alice.clone(), number, Arc::clone(&tally))));
        senders.push((alice, inbox));
    }
    let all = SENDERS * MESSAGES;
    for _ in 0..KILLS {
        // A while after everyone is back, whatever the machine's speed, and before the end.
        let after = tally.arrived() as u64 + 1 + rng.below(all / (KILLS + 2));
        arrivals.wait_for(|arrived| *arrived as u64 >= after.min(all)).await.unwrap();
        drop(process);
        tally.print(begin, "kill -9");
        process = Process::start(dir);
        tally.print(begin, "ready");
    }
    for sending in sending {
        sending.await.unwrap();
    }
    tally.print(begin, "all sent");
    // What came twice would be there before this.
    senders[0].0.send(to_bob("bye".into())).await.unwrap().receipt().await.unwrap();
    receiving.await.unwrap();

    let arrived = tally.arrived.lock().unwrap();
    let once = arrived.values().filter(|times| **times == 1).count() as u64;
    let sums = [&tally.sent, &tally.accepted, &tally.receipts].map(|count| count.load(Ordering::Relaxed));
    let [sent, accepted, receipts] = sums;
    println!(
        "{KILLS} kills: sent {sent}, accepted {accepted}, receipts {receipts}, arrived {}, once {once}, more than once {}, lost {}",
        arrived.len(),
        arrived.len() as u64 - once,
        accepted.saturating_sub(arrived.len() as u64)
    );
    assert_eq!((sums, once, arrived.len() as u64), ([all; 3], all, all));
}
