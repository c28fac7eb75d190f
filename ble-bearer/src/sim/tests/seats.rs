//! Asynchronous devices in step with the world.
#![expect(clippy::disallowed_methods, reason = "tasks wait for each other in tokio's time, which is paused")]

use std::convert::Infallible;
use std::time::Duration as WallSpan;

use mesh_protocol::LEGACY_FRAME;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::{Bearer, BearerError, BearerEvent, Clock, Full, RADIO_LINK};

/// Sends a numbered frame every 40 ms.
struct Beacon {
    next: Instant,
    number: u8,
}

impl Beacon {
    const PERIOD: Duration = ms(40);

    fn new() -> Self {
        Self { next: us(40_000), number: 0 }
    }
}

impl Station for Beacon {
    fn receive(&mut self, _now: Instant, _frame: &[u8], _rssi: i8) -> bool {
        false
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        while self.next <= now {
            radio.send(&[self.number; LEGACY_FRAME], 1).unwrap();
            self.number = self.number.wrapping_add(1);
            self.next += Self::PERIOD;
        }
        Some(self.next)
    }
}

fn drive<S: Station + Send + 'static>(pacer: &Pacer<S>) -> JoinHandle<()> {
    let pacer = pacer.clone();
    tokio::spawn(async move { pacer.run().await })
}

/// Gives every other task many turns.
async fn turns(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// A gateway's loop in small: on every wake it takes `slow` turns, answers each frame, and keeps a timer of 7 ms.
/// What happened, and when.
async fn engine(
    mut bearer: SimBearer,
    clock: SimClock,
    slow: usize,
    until: Instant,
) -> Vec<(Instant, String)> {
    let mut log = Vec::new();
    let mut deadline = clock.now() + ms(7);
    while clock.now() < until {
        let what = tokio::select! {
            event = bearer.next_event() => match event.unwrap() {
                BearerEvent::Frame { link, bytes, .. } => {
                    turns(slow).await;
                    format!("frame {} {:?}", bytes[0], bearer.try_send(link, b"answer"))
                }
                other => format!("{other:?}"),
            },
            () = clock.sleep_until(deadline) => {
                assert_eq!(clock.now(), deadline, "woken exactly then");
                deadline += ms(7);
                "timer".into()
            }
        };
        turns(slow).await;
        log.push((clock.now(), what));
    }
    log
}

/// Two engines, fast or slow, beside a beacon, for a second of simulated time.
async fn two_engines(slow: [usize; 2]) -> Vec<Vec<(Instant, String)>> {
    let mut world = World::new(11, room(50_000));
    let seats = [(); 2].map(|()| world.seat(Position::default()));
    world.add(Position::default(), Beacon::new());
    let pacer = Pacer::new(world, None);
    let running = drive(&pacer);
    let engines = seats
        .into_iter()
        .zip(slow)
        .map(|((_, bearer, clock), slow)| tokio::spawn(engine(bearer, clock, slow, us(1_000_000))));
    let mut logs = Vec::new();
    for engine in engines.collect::<Vec<_>>() {
        logs.push(engine.await.unwrap());
    }
    running.abort();
    logs
}

#[tokio::test]
async fn a_slow_engine_sees_the_same_times_as_a_fast_one() {
    let fast = two_engines([0, 0]).await;
    let frames = |log: &[(Instant, String)]| log.iter().filter(|(_, what)| what.contains("frame")).count();
    assert!(frames(&fast[0]) > 20 && frames(&fast[1]) > 20, "{fast:?}");
    assert_eq!(fast, two_engines([40, 0]).await);
    assert_eq!(fast, two_engines([3, 17]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn many_threads_see_the_same_times_too() {
    let first = two_engines([0, 0]).await;
    for slow in [[0, 0], [25, 0], [2, 60]] {
        assert_eq!(first, two_engines(slow).await);
    }
}

#[tokio::test]
async fn a_hold_stops_time_until_it_is_dropped() {
    let mut world = World::new(1, room(0));
    let (_, mut bearer, clock) = world.seat(Position::default());
    world.add(Position::default(), Beacon::new());
    let pacer = Pacer::new(world, None);
    let running = drive(&pacer);
    let listener = tokio::spawn(async move { while bearer.next_event().await.is_ok() {} });

    let (first, second) = (clock.sleep_holding(us(500_000)).await, clock.hold());
    let counters = pacer.with(|world| world.counters());
    for hold in [first, second] {
        turns(200).await;
        assert_eq!(clock.now(), us(500_000));
        assert_eq!(
            pacer.with(|world| (world.step(), world.counters())),
            (Step::Still(Still::Held), counters)
        );
        drop(hold);
    }
    drop(clock.sleep_holding(us(600_000)).await);
    assert!(pacer.with(|world| world.counters()).events > counters.events);
    // A wait whose time is past already ends at once; one that is dropped leaves no hold behind.
    drop(clock.sleep_holding(us(1)));
    drop(clock.sleep_holding(us(700_000)));
    drop(clock.sleep_holding(us(800_000)).await);
    assert!(clock.now() >= us(800_000));
    running.abort();
    listener.abort();
}

#[tokio::test]
async fn leaving_the_wait_for_a_command_stops_time_as_well() {
    let mut world = World::new(2, room(0));
    let (id, mut bearer, clock) = world.seat(Position::default());
    world.add(Position::default(), Beacon::new());
    let pacer = Pacer::new(world, None);
    let running = drive(&pacer);
    let (send, mut commands) = mpsc::channel(1);
    let looking = pacer.clone();
    let engine = tokio::spawn(async move {
        loop {
            tokio::select! {
                event = bearer.next_event() => drop(event.unwrap()),
                command = commands.recv() => {
                    let () = command.unwrap();
                    let before = looking.with(|world| (world.now(), world.counters()));
                    turns(200).await;
                    assert_eq!(looking.with(|world| world.step()), Step::Still(Still::Busy(id)));
                    assert_eq!(looking.with(|world| (world.now(), world.counters())), before);
                    return;
                }
            }
        }
    });
    drop(clock.sleep_holding(us(300_000)).await);
    send.send(()).await.unwrap();
    engine.await.unwrap();
    running.abort();
}

#[tokio::test]
async fn an_engine_that_only_sleeps_keeps_nobody_waiting() {
    let mut world = World::new(3, room(0));
    let (_, mut bearer, clock) = world.seat(Position::default());
    world.add(Position::default(), Beacon::new());
    let pacer = Pacer::new(world, None);
    let running = drive(&pacer);
    // Never listened, and asleep for a long time: the inbox is bounded, the oldest frames are in it.
    clock.sleep_until(us(60_000_000)).await;
    let other = clock.clone();
    let beside = tokio::spawn(async move { other.sleep_until(us(60_500_000)).await });
    clock.sleep_until(us(61_000_000)).await;
    beside.await.unwrap();
    assert!(matches!(bearer.next_event().await, Ok(BearerEvent::LinkUp { .. })));
    for _ in 0..63 {
        assert!(matches!(bearer.next_event().await, Ok(BearerEvent::Frame { .. })));
    }
    assert_eq!(clock.now(), us(61_000_000));
    assert!(matches!(bearer.next_event().await, Ok(BearerEvent::Frame { .. })));
    assert!(clock.now() > us(61_000_000), "this one had to be waited for");
    running.abort();
}

#[tokio::test]
async fn a_dropped_bearer_is_a_power_cut_and_a_new_one_brings_it_back() {
    let mut world = World::new(4, room(0));
    let (a, mut alice, _) = world.seat(Position::default());
    let (b, mut bob, clock) = world.seat(Position::default());
    let beacon = world.add(Position::default(), Beacon::new());
    let pacer = Pacer::new(world, None);
    let running = drive(&pacer);
    alice.next_event().await.unwrap();
    let BearerEvent::LinkUp { link, info } = bob.next_event().await.unwrap() else {
        panic!("the link comes first")
    };
    assert_eq!((link, info), (RADIO_LINK, link_info()));

    // What was handed over and not yet sent is lost with the power.
    alice.try_send(link, b"never sent").unwrap();
    drop(alice);
    let bob = tokio::spawn(async move {
        let mut heard = Vec::new();
        while clock.now() < us(1_000_000) {
            if let BearerEvent::Frame { bytes, .. } = bob.next_event().await.unwrap() {
                heard.push(bytes);
            }
        }
        (bob, heard)
    });
    let (mut bob, heard) = bob.await.unwrap();
    assert!(heard.len() > 20 && heard.iter().all(|frame| frame.len() == LEGACY_FRAME));

    assert!(pacer.with(|world| world.reseat(beacon)).is_none(), "not a seat");
    let (mut alice, _) = pacer.with(|world| world.reseat(a)).unwrap();
    assert!(matches!(alice.next_event().await, Ok(BearerEvent::LinkUp { .. })));
    alice.try_send(link, b"back").unwrap();
    let back = loop {
        let event = tokio::select! { event = bob.next_event() => event, event = alice.next_event() => event };
        if let BearerEvent::Frame { bytes, .. } = event.unwrap()
            && bytes == b"back"
        {
            break pacer.with(|world| world.now());
        }
    };
    assert!(back < us(1_100_000));

    // A bearer whose seat is given to another learns of it, and does no harm any more.
    let (replaced, _) = pacer.with(|world| world.reseat(b)).unwrap();
    assert!(matches!(bob.next_event().await, Err(BearerError::Gone(_))));
    assert_eq!(bob.try_send(link, b"x"), Err(Full));
    drop((bob, replaced, alice));
    running.abort();
}

#[tokio::test]
async fn a_frame_for_another_link_or_too_long_is_refused() {
    let mut world = World::<Infallible>::new(5, room(0));
    let (_, mut bearer, _) = world.seat(Position::default());
    assert_eq!(bearer.try_send(mesh_protocol::LinkId(1), b"x"), Err(Full));
    assert_eq!(bearer.try_send(RADIO_LINK, &[0; LEGACY_FRAME + 1]), Err(Full));
    assert_eq!(bearer.try_send(RADIO_LINK, &[0; LEGACY_FRAME]), Ok(()));
}

#[tokio::test]
async fn those_who_wait_learn_that_the_world_ended() {
    let mut world = World::<Infallible>::new(6, room(0));
    let (_, mut bearer, clock) = world.seat(Position::default());
    bearer.next_event().await.unwrap();
    let waiting = tokio::spawn(async move { bearer.next_event().await });
    turns(10).await;
    drop(world);
    assert!(matches!(waiting.await.unwrap(), Err(BearerError::Gone(_))));
    drop(clock.hold());
    assert_eq!(clock.now(), Instant::ZERO);
}

#[tokio::test]
async fn as_fast_as_it_goes_covers_minutes() {
    let mut world = World::new(7, room(0));
    let (_, mut bearer, clock) = world.seat(Position::default());
    for _ in 0..3 {
        world.add(Position::default(), Beacon::new());
    }
    let pacer = Pacer::new(world, None);
    let running = drive(&pacer);
    let mut heard = 0;
    while clock.now() < us(60_000_000) {
        heard += usize::from(matches!(bearer.next_event().await, Ok(BearerEvent::Frame { .. })));
    }
    assert!(heard > 2_000, "{heard}");
    running.abort();
}

/// The wall's clock is tokio's here, and stands still but for sleeps: so its readings are exact.
#[tokio::test(start_paused = true)]
async fn the_clock_follows_the_wall_times_the_speed() {
    let mut world = World::<Infallible>::new(8, room(0));
    let (_, mut bearer, clock) = world.seat(Position::default());
    let pacer = Pacer::new(world, Some(10.0));
    let running = drive(&pacer);
    let listener = tokio::spawn(async move { while bearer.next_event().await.is_ok() {} });
    turns(10).await;
    assert_eq!(clock.now(), Instant::ZERO);

    // Nothing happens, and yet time passes.
    tokio::time::sleep(WallSpan::from_millis(100)).await;
    assert_eq!(clock.now(), us(1_000_000));

    // Held, it does not, and what was missed is not made up.
    let hold = clock.hold();
    tokio::time::sleep(WallSpan::from_secs(5)).await;
    assert_eq!(clock.now(), us(1_000_000));
    drop(hold);
    turns(10).await;
    assert_eq!(clock.now(), us(1_000_000));
    tokio::time::sleep(WallSpan::from_millis(50)).await;
    assert_eq!(clock.now(), us(1_500_000));

    // A sleeper is woken on the wall when its time has come.
    let wall = tokio::time::Instant::now();
    drop(clock.sleep_holding(us(3_500_000)).await);
    assert_eq!(wall.elapsed(), WallSpan::from_millis(200));
    running.abort();
    listener.abort();
}

#[tokio::test(start_paused = true)]
async fn the_clock_never_passes_the_next_event_and_a_busy_engine_stops_it() {
    let mut world = World::new(9, room(0));
    let (_, mut bearer, clock) = world.seat(Position::default());
    world.add(Position::default(), Beacon::new());
    let pacer = Pacer::new(world, Some(1.0));
    let running = drive(&pacer);
    bearer.next_event().await.unwrap();
    let mut last = Instant::ZERO;
    for _ in 0..50 {
        let BearerEvent::Frame { .. } = bearer.next_event().await.unwrap() else { panic!("only frames now") };
        let heard = clock.now();
        assert!(heard > last);
        // The engine works for a long time on the wall: the world waits for it.
        tokio::time::sleep(WallSpan::from_secs(1)).await;
        assert_eq!(clock.now(), heard);
        assert!(pacer.with(|world| world.poll_timeout()).unwrap() >= heard);
        last = heard;
    }
    // 50 frames at 40 ms, and one more for each that a channel change cost.
    assert!(last < us(2_200_000), "{last:?}");
    running.abort();
}
