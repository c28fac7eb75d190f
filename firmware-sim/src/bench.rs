//! How fast the simulation is.
//!
//! Owns the measurements: worlds of flooding nodes against simulated time and against a bare binary heap in the same run, and what a
//! recording costs. Only here and in the command line is the clock on the wall looked at.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ble_bearer::sim::{AirSettings, Observer, Position, StationId, Topology, World};
use mesh_protocol::{Duration, Instant, MessageType, Priority, Rng};
use serde::Serialize;

use crate::Trace;
use crate::stack::flood::Flood;
use crate::stack::{Order, Target};

/// Rounds of each measurement; the median counts. A guess.
const ROUNDS: usize = 5;
/// How many hear a node of a measured world, about.
const DEGREE: f64 = 30.0;
/// Entries in the heap that receptions are compared with: what a world of a thousand nodes holds. A guess.
const HEAP: usize = 1_000;

/// A world measured.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    /// Nodes.
    pub nodes: u32,
    /// How many hear one, on average.
    pub degree: f64,
    /// Simulated seconds in a second.
    pub times_real: f64,
    /// What is wanted of that.
    pub wanted: f64,
    /// Receptions decided in a second: PDUs in range on the channel that a receiver scans.
    pub receptions_per_s: f64,
    /// That rate, as a share of the rate of a bare heap's push and pop.
    pub of_heap: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// Push and pop of a bare binary heap, in a second.
    pub heap_per_s: f64,
    /// Worlds.
    pub worlds: Vec<Speed>,
    /// Time of a run with a trace, as a multiple of one without.
    pub recording: f64,
}

/// Measures on this thread, calling `done` after each of [`STEPS`] steps.
pub fn run(done: impl Fn()) -> Bench {
    // One after the other in each round, so that whatever else the machine does hits all of them.
    let (mut heap, mut thousand, mut hundred, mut recording) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        heap.push(heap_rate());
        thousand.push(flood(1_000, 30, ()));
        hundred.push(flood(100, 300, ()));
        let (with, without) = (flood(100, 300, Trace::default()), flood(100, 300, ()));
        recording.push(without.times_real / with.times_real);
        done();
    }
    let heap_per_s = median(heap);
    let worlds = [(thousand, 100.0), (hundred, 1_000.0)].map(|(rounds, wanted)| {
        let times_real = median(rounds.iter().map(|round| round.times_real).collect());
        let receptions_per_s = median(rounds.iter().map(|round| round.receptions_per_s).collect());
        let Flooded { nodes, degree, .. } = rounds[0];
        Speed { nodes, degree, times_real, wanted, receptions_per_s, of_heap: receptions_per_s / heap_per_s }
    });
    Bench { heap_per_s, worlds: worlds.into(), recording: median(recording) }
}

/// Steps of [`run`].
pub const STEPS: usize = ROUNDS;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One round of a world.
struct Flooded {
    nodes: u32,
    degree: f64,
    times_real: f64,
    receptions_per_s: f64,
}

/// Plays `nodes` nodes that all relay one flood a second in three copies, for so many simulated seconds.
fn flood<O: Observer<Flood>>(nodes: u32, seconds: u64, observer: O) -> Flooded {
    let reach = 20.0;
    // Nodes within reach of one, on a square without its edges: pi r² n / side² = degree.
    let side = (f64::from(nodes) * std::f64::consts::PI / DEGREE).sqrt() * reach;
    let topology = Topology::Radius { metres: reach, loss_ppm: 0 };
    let mut world = World::with_observer(1, topology, AirSettings::default(), observer);
    let mut rng = Rng::stream(1, "bench");
    let mut place = || rng.below(1_000_000) as f64 / 1e6 * side;
    for number in 0..nodes {
        let spec = ble_bearer::sim::RadioSpec { reports_sent: true, ..Default::default() };
        world.add_with(Position::new(place(), place()), spec, Flood::new(127, 27, true, number, 1));
    }
    let heard_by = |world: &World<Flood, O>, id| world.air().listeners(StationId(id)).count();
    let links: usize = (0..nodes).map(|id| heard_by(&world, id)).sum();
    let order = Order {
        to: Target::Everyone,
        kind: MessageType::Notification,
        priority: Priority::Medium,
        body: vec![1; 8],
        within: Duration::from_secs(10),
        echo: false,
    };
    world.advance(Instant::ZERO);
    let start = busy();
    for second in 0..seconds {
        world.poke(StationId(0), |node, now, _| node.post(now, &order));
        world.advance(Instant::ZERO + Duration::from_secs(second + 1));
    }
    let took = busy() - start;
    let counters = world.counters();
    let receptions = counters.heard + counters.collision + counters.half_duplex + counters.boundary;
    Flooded {
        nodes,
        degree: links as f64 / f64::from(nodes),
        times_real: seconds as f64 / took,
        receptions_per_s: receptions as f64 / took,
    }
}

/// How often a second a bare heap of this many entries pushes and pops one.
fn heap_rate() -> f64 {
    let mut rng = Rng::new(1);
    let mut heap: BinaryHeap<Reverse<(u64, u64)>> =
        (0..HEAP as u64).map(|n| Reverse((rng.below(1_000_000), n))).collect();
    let turns = 1_000_000;
    let start = busy();
    for turn in 0..turns {
        if let Some(Reverse((at, _))) = heap.pop() {
            heap.push(Reverse((at + rng.below(1_000_000), turn)));
        }
    }
    let took = busy() - start;
    std::hint::black_box(&heap);
    turns as f64 / took
}

/// Seconds that this thread has run on a core, where the system counts them; else elapsed ones.
#[expect(clippy::disallowed_methods, reason = "speed is measured on the wall")]
fn busy() -> f64 {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = counted.as_deref().and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    match nanos {
        Some(nanos) if nanos > 0 => nanos as f64 / 1e9,
        _ => {
            static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
            START.get_or_init(std::time::Instant::now).elapsed().as_secs_f64()
        }
    }
}

/// The measurements as a table.
#[must_use]
pub fn table(bench: &Bench) -> String {
    let mut text = format!(
        "one core, processor time, median of {ROUNDS} rounds\na bare heap of {HEAP} entries: {:.1} million pushes and pops a second\n\n\
         {:>6} {:>7} {:>14} {:>10} {:>22} {:>14} {:>8}\n",
        bench.heap_per_s / 1e6,
        "nodes",
        "degree",
        "x real time",
        "wanted",
        "receptions, million/s",
        "of the heap's",
        "wanted"
    );
    for world in &bench.worlds {
        let Speed { nodes, degree, times_real, wanted, receptions_per_s, of_heap } = world;
        text += &format!(
            "{nodes:>6} {degree:>7.1} {times_real:>14.0} {:>10} {:>22.1} {of_heap:>14.2} {:>8}\n",
            format!(">= {wanted}"),
            receptions_per_s / 1e6,
            ">= 0.25"
        );
    }
    text + &format!("\na recording costs {:.2} times the run without (wanted: <= 1.3)\n", bench.recording)
}
