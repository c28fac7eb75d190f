//! Every arm of the conformance suite runs, or says why it does not; a skipped arm is never counted as passed.

use ble_bearer::WallClock;
use ble_bearer::conformance::{Arm, Outcome, Pair, run_all};
use ble_bearer::sim::SimBearer;

/// An arm that this build cannot run, and why.
struct Absent(&'static str);

impl Arm for Absent {
    type Bearer = SimBearer;
    type Clock = WallClock;

    async fn pair(&mut self) -> Result<Pair<SimBearer, WallClock>, String> {
        Err(self.0.to_owned())
    }
}

async fn is_skipped(arm: &str, why: &'static str) {
    let report = run_all(&mut Absent(why)).await;
    println!("{arm}: skipped: {why}");
    assert!(!report.checks.is_empty() && !report.all_passed(), "{arm}: {report}");
    for (check, outcome) in &report.checks {
        assert_eq!(*outcome, Outcome::Skipped(why.to_owned()), "{arm}: {check}");
    }
}

#[tokio::test]
async fn arms_that_this_build_or_machine_has_no_controller_for_are_skipped_with_the_reason() {
    let no_hci = "this build has no bearer over HCI yet";
    is_skipped("virtual controllers", no_hci).await;
    is_skipped("RootCanal over TCP", no_hci).await;
    is_skipped("virtual machine, user channel", no_hci).await;
    is_skipped("virtual machine, D-Bus", "it needs a machine with controllers: ./ci.sh vm").await;
}

#[tokio::test]
async fn the_physical_arm_is_skipped_unless_an_adapter_is_named() {
    if let Ok(adapter) = std::env::var("MESH_HW_ADAPTER") {
        panic!("MESH_HW_ADAPTER names {adapter:?}, but this build has no bearer for an adapter: unset it");
    }
    is_skipped("physical adapter", "MESH_HW_ADAPTER names no adapter").await;
}
