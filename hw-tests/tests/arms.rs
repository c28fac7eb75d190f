//! Every arm of the conformance suite runs, or says why it does not; a skipped arm is never counted as passed.

use ble_bearer::conformance::{Arm, CheckOutcome, run_all};
use ble_bearer::hci::{HciOptions, Port};
use hw_tests::{ControllerKind, HciArm, RootCanal, VirtualArm};

/// Seeds addresses; which ones is of no interest.
const ADDRESS: u64 = 0x5eed;

async fn passes<A: Arm>(name: &str, mut arm: A) {
    let report = run_all(&mut arm).await;
    println!("{name}\n{report}");
    assert!(report.all_passed(), "{name}\n{report}");
    assert_eq!(report.checks.len(), 9, "{name}");
}

/// An arm that cannot run here: every check counts as skipped, and says why.
async fn is_skipped<A: Arm>(name: &str, mut arm: A) {
    let report = run_all(&mut arm).await;
    println!("{name}\n{report}");
    assert!(!report.all_passed() && !report.any_failed(), "{name}\n{report}");
    assert!(report.checks.iter().all(|(_, outcome)| matches!(outcome, CheckOutcome::Skipped(_))));
}

/// An arm for want of one.
struct Absent(String);

impl Arm for Absent {
    type Bearer = ble_bearer::sim::SimBearer;
    type Clock = ble_bearer::sim::SimClock;

    async fn pair(&mut self) -> Result<ble_bearer::conformance::Pair<Self::Bearer, Self::Clock>, String> {
        Err(self.0.clone())
    }
}

#[tokio::test]
async fn virtual_controllers_as_on_a_raspberry_pi() {
    passes("virtual controllers, pi4", VirtualArm::new(ControllerKind::Pi4, HciOptions::new(ADDRESS), 1))
        .await;
}

#[tokio::test]
async fn virtual_controllers_as_in_a_dongle() {
    let dongle = ControllerKind::Bt5Dongle;
    passes("virtual controllers, bt5-dongle", VirtualArm::new(dongle, HciOptions::new(ADDRESS), 2)).await;
    let long = HciOptions { long_frames: true, ..HciOptions::new(ADDRESS) };
    passes("virtual controllers, bt5-dongle, long frames", VirtualArm::new(dongle, long, 3)).await;
}

#[tokio::test]
async fn rootcanal() {
    match RootCanal::start().await {
        Err(why) => is_skipped("RootCanal", Absent(why)).await,
        Ok(rootcanal) => {
            for extended in [true, false] {
                let options = HciOptions { extended, ..HciOptions::new(ADDRESS) };
                let way = if extended { "extended" } else { "legacy" };
                passes(
                    &format!("RootCanal, {way}"),
                    HciArm::new([rootcanal.port(), rootcanal.port()], options),
                )
                .await;
            }
        }
    }
}

#[tokio::test]
async fn physical_adapters() {
    let named = std::env::var("MESH_HW_ADAPTER");
    let Ok(named) = named else {
        let why = "MESH_HW_ADAPTER names no adapters: two that hear each other, hci0,hci1";
        return is_skipped("physical adapters", Absent(why.into())).await;
    };
    let ports: Result<Vec<Port>, _> = named.split(',').map(str::parse).collect();
    let ports: Result<[Port; 2], _> = ports.expect("MESH_HW_ADAPTER").try_into();
    let ports = ports.expect("MESH_HW_ADAPTER names two adapters that hear each other: hci0,hci1");
    passes("physical adapters", HciArm::new(ports, HciOptions::new(ADDRESS))).await;
}
