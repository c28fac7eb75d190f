//! Stories about the simulated air; what they share.

mod air;
mod seats;
mod world;

use mesh_protocol::{Duration, Instant};

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn us(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

/// Everyone hears everyone.
fn room(loss_ppm: u32) -> Topology {
    Topology::Radius { metres: 10.0, loss_ppm }
}
