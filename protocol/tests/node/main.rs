//! The node's contract, line by line, on an air that this test owns.
//!
//! `net` is the air, the clock and the hosts; every other file tells one part of the story. Nothing sleeps, and
//! the clock moves only to what some node said is due, so a timer that is late or early fails a test.
#![cfg(feature = "node")]

mod bounds;
mod continued;
mod contract;
mod deadlines;
mod delivery;
mod direct;
mod discards;
mod flooding;
mod forged;
mod hostile;
mod learned_routes;
mod long_frames;
mod many;
mod neighbours;
mod net;
mod priorities;
mod probes;
mod progress;
mod routes;
mod seq;
mod wire;
