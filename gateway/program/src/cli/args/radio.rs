//! The arguments of `adapters` and `doctor`.

use clap::Args;
use gateway::settings::Adapter;

use crate::cli::values;

/// List this machine's Bluetooth adapters and what they can do
///
/// Each that is free and may be opened is asked; of the others, it says who is in the way and what to do. Asking resets an
/// adapter, so it is never done to one that is in use.
#[derive(Args, Debug)]
#[command(after_help = examples!["mesh-gateway adapters", "mesh-gateway adapters --json | jq -r '.adapters[].adapter'"])]
pub(in crate::cli) struct AdaptersArgs {}

/// Find out what an adapter is worth
///
/// Tries what drivers and datasheets only claim: how long commands take, whether the address can be changed while scanning,
/// whether extended advertising works and is confirmed, whether it still hears while it sends, and, with a second adapter in
/// range, how many frames get through. Ends with a verdict and advice. Exit code 1 if the adapter cannot be used. No
/// gateway may be using it meanwhile.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway doctor --adapter hci0",
    "mesh-gateway doctor --adapter hci0 --peer hci1 --json",
    "mesh-gateway doctor --adapter tcp:127.0.0.1:6402",
])]
pub(in crate::cli) struct DoctorArgs {
    /// The adapter: hci0, tcp:HOST:PORT, serial:PATH or usb:VID:PID
    #[arg(long, value_name = "ADAPTER", value_parser = values::adapter)]
    pub(in crate::cli) adapter: Adapter,
    /// A second adapter that hears the first: frames are sent both ways
    #[arg(long, value_name = "ADAPTER", value_parser = values::adapter)]
    pub(in crate::cli) peer: Option<Adapter>,
    /// Frames sent each way with --peer, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(in crate::cli) frames: u16,
}
