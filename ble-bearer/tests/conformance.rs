//! The simulated adapter does what every bearer must.

use std::convert::Infallible;

use ble_bearer::conformance::{Arm, CheckOutcome, Pair, run_all};
use ble_bearer::sim::{Pacer, Position, SimBearer, SimClock, Topology, World};
use ble_bearer::{Bearer, BearerError, BearerEvent, Full, Traced};
use mesh_protocol::LinkId;
use tokio::task::JoinHandle;

/// Two seats in one room; each check gets a new world.
struct SimArm {
    seed: u64,
    loss_ppm: u32,
    pacer: Option<JoinHandle<()>>,
}

impl SimArm {
    fn new(seed: u64, loss_ppm: u32) -> Self {
        println!("seed {seed}, loss {loss_ppm} ppm");
        Self { seed, loss_ppm, pacer: None }
    }
}

impl Arm for SimArm {
    type Bearer = SimBearer;
    type Clock = SimClock;

    async fn pair(&mut self) -> Result<Pair<SimBearer, SimClock>, String> {
        if let Some(pacer) = self.pacer.take() {
            pacer.abort();
        }
        self.seed += 1;
        let room = Topology::Radius { metres: 10.0, loss_ppm: self.loss_ppm };
        let mut world = World::<Infallible>::new(self.seed, room);
        let (_, a, clock) = world.seat(Position::new(0.0, 0.0));
        let (_, b, _) = world.seat(Position::new(3.0, 4.0));
        let pacer = Pacer::new(world, None);
        self.pacer = Some(tokio::spawn(async move { pacer.run().await }));
        Ok(Pair { a, b, clock })
    }
}

#[tokio::test]
async fn simulated_adapter_passes_every_check() {
    let report = run_all(&mut SimArm::new(1, 0)).await;
    println!("{report}");
    assert!(report.all_passed(), "{report}");
    assert_eq!(report.checks.len(), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_passes_them_on_many_threads_and_with_some_loss() {
    let report = run_all(&mut SimArm::new(2, 50_000)).await;
    assert!(report.all_passed(), "{report}");
}

/// A bearer that corrupts what it sends: the suite must notice.
struct Corrupting(SimBearer);

impl Bearer for Corrupting {
    async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
        self.0.next_event().await
    }

    fn try_send(&mut self, link: LinkId, frame: &[u8]) -> Result<(), Full> {
        let mut frame = frame.to_vec();
        if let Some(last) = frame.last_mut() {
            *last ^= 1;
        }
        self.0.try_send(link, &frame)
    }
}

struct CorruptingArm(SimArm);

impl Arm for CorruptingArm {
    type Bearer = Corrupting;
    type Clock = SimClock;

    async fn pair(&mut self) -> Result<Pair<Corrupting, SimClock>, String> {
        let Pair { a, b, clock } = self.0.pair().await?;
        Ok(Pair { a: Corrupting(a), b: Corrupting(b), clock })
    }
}

#[tokio::test]
async fn a_bearer_that_corrupts_frames_fails_the_suite() {
    let report = run_all(&mut CorruptingArm(SimArm::new(3, 0))).await;
    assert!(report.any_failed());
    let delivery = &report.checks[1];
    assert_eq!(delivery.0, "frame_arrives_byte_for_byte_and_not_at_its_sender");
    assert!(matches!(&delivery.1, CheckOutcome::Failed(why) if why.starts_with("sent")), "{report}");
}

struct NoArm;

impl Arm for NoArm {
    type Bearer = Traced<SimBearer, fn(ble_bearer::Trace<'_>)>;
    type Clock = SimClock;

    async fn pair(&mut self) -> Result<Pair<Self::Bearer, SimClock>, String> {
        Err("no controller".into())
    }
}

#[tokio::test]
async fn without_a_pair_every_check_is_skipped_and_none_passes() {
    let report = run_all(&mut NoArm).await;
    assert!(!report.all_passed() && !report.any_failed());
    assert!(report.to_string().starts_with("skipped  link_up_comes_first_and_is_honest: no controller"));
}
