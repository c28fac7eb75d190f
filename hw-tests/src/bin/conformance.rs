//! Puts bearers over two adapters through the conformance suite; the exit code is the verdict.
//!
//! ```sh
//! tools/vm/run.sh --arm dbus --add target/debug/conformance -- conformance --arm dbus
//! ```

use std::process::ExitCode;
use std::time::Duration;

use ble_bearer::WallClock;
use ble_bearer::bluez::{BluezBearer, BluezOptions};
use ble_bearer::conformance::{Arm, Pair, run_all};
use ble_bearer::hci::HciOptions;
use clap::{Parser, ValueEnum};
use hw_tests::HciArm;

/// How long after a pair was dropped the next one is made. Advert and scan of the first are ended in the background, and
/// a frame of it must not be heard by the second. A guess: some calls over the bus.
const APART: Duration = Duration::from_millis(1_000);

/// Puts bearers over two adapters through the conformance suite.
#[derive(Parser)]
struct Args {
    /// Over what.
    #[arg(long)]
    arm: Over,
    /// The adapter that mostly sends.
    #[arg(long, default_value = "hci0")]
    a: String,
    /// The adapter that mostly receives.
    #[arg(long, default_value = "hci1")]
    b: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Over {
    /// bluetoothd, on the system bus
    Dbus,
    /// HCI, to the two adapters named
    Hci,
}

/// Two adapters of one bluetoothd.
struct Dbus {
    a: String,
    b: String,
}

impl Arm for Dbus {
    type Bearer = BluezBearer;
    type Clock = WallClock;

    async fn pair(&mut self) -> Result<Pair<BluezBearer, WallClock>, String> {
        tokio::time::sleep(APART).await;
        let open = async |adapter: &str| {
            BluezBearer::open(adapter, BluezOptions::default()).await.map_err(|error| error.to_string())
        };
        Ok(Pair { a: open(&self.a).await?, b: open(&self.b).await?, clock: WallClock::start() })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Args { arm, a, b } = Args::parse();
    let report = match arm {
        Over::Dbus => run_all(&mut Dbus { a, b }).await,
        Over::Hci => match (a.parse(), b.parse()) {
            (Ok(a), Ok(b)) => run_all(&mut HciArm::new([a, b], HciOptions::new(1))).await,
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("conformance: {error}");
                return ExitCode::from(2);
            }
        },
    };
    print!("{report}");
    if report.all_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
