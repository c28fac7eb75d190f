use ble_bearer::sim::*;
use mesh_protocol::{Duration, Instant, Rng};
struct F {
    cache: Vec<u32>,
    queue: std::collections::VecDeque<[u8; 27]>,
    next: Option<Instant>,
    every: Option<Duration>,
    n: u32,
    id: u32,
}
impl Station for F {
    fn receive(&mut self, _now: Instant, frame: &[u8], _rssi: i8) -> bool {
        let key = u32::from_le_bytes(frame[0..4].try_into().unwrap());
        let slot = (key.wrapping_mul(0x9e37_79b9) >> 24) as usize;
        if self.cache[slot] == key {
            return false;
        }
        self.cache[slot] = key;
        self.queue.push_back(frame.try_into().unwrap());
        true
    }
    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        if let Some(every) = self.every
            && self.next.is_none_or(|n| n <= now)
        {
            self.n += 1;
            let key = self.id << 16 | self.n;
            let mut f = [0; 27];
            f[..4].copy_from_slice(&key.to_le_bytes());
            let slot = (key.wrapping_mul(0x9e37_79b9) >> 24) as usize;
            self.cache[slot] = key;
            self.queue.push_back(f);
            self.next = Some(now + every);
        }
        while let Some(f) = self.queue.front() {
            if radio.send(f, 3).is_ok() {
                self.queue.pop_front();
            } else {
                break;
            }
        }
        self.next
    }
}
fn main() {
    let n: u32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let secs: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let side = (f64::from(n) / 30.0 * std::f64::consts::PI).sqrt() * 20.0;
    let mut w = World::new(1, Topology::Radius { metres: 20.0, loss_ppm: 0 });
    let mut rng = Rng::new(1);
    for id in 0..n {
        let p =
            Position::new(rng.below(1_000_000) as f64 / 1e6 * side, rng.below(1_000_000) as f64 / 1e6 * side);
        w.add(
            p,
            F {
                cache: vec![u32::MAX; 256],
                queue: Default::default(),
                next: None,
                every: (id == 0).then(|| Duration::from_secs(1)),
                n: 0,
                id,
            },
        );
    }
    let deg: usize = (0..n).map(|i| w.air().listeners(StationId(i)).count()).sum();
    let t = std::time::Instant::now();
    w.advance(Instant::from_micros(secs * 1_000_000));
    let el = t.elapsed().as_secs_f64();
    let c = w.counters();
    println!("degree {:.1} {c:?}", deg as f64 / f64::from(n));
    let pdus = c.heard + c.collision + c.half_duplex;
    println!(
        "{:.1}x real time; {:.0} ns per heard, {:.0} ns per reception judged",
        secs as f64 / el,
        el * 1e9 / c.heard as f64,
        el * 1e9 / pdus as f64
    );
}
