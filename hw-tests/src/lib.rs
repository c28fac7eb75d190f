//! The bearer's conformance suite against controllers, real and virtual.
//!
//! Owns the arms that need hardware, a kernel or another program; each says why when it cannot run. The suite itself is
//! `ble_bearer::conformance`'s, and its simulated arm runs with that crate's own tests too. Its programs are meant to run
//! in the virtual machine of `tools/vm`, where there are two controllers; `./ci.sh vm` does that.
