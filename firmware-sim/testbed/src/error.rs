//! Why simulated gateways did not run to the end of their script.

use ble_bearer::sim::Still;
use gateway::engine::EngineError;
use gateway::store::StoreError;

/// Why a script could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// No runtime.
    #[error("starting the simulation: {0}; close some programs and try again")]
    Runtime(#[from] std::io::Error),
    /// There is no such gateway.
    #[error("switching gateway {0}: there is no such gateway; count from 0")]
    NoGateway(usize),
    /// It has power already.
    #[error("switching gateway {0} on: it is on; cut its power first")]
    On(usize),
    /// Its store could not be opened again.
    #[error("starting gateway {0}: {1}")]
    Store(usize, StoreError),
    /// An engine could not start, or not end.
    #[error("running gateway {0}: {1}")]
    Engine(usize, EngineError),
    /// An engine ended by itself.
    #[error(
        "running gateway {0}: its engine ended though nobody told it to, which is a bug; please report it"
    )]
    Ended(usize),
    /// Everyone waits, and someone keeps time still.
    #[error(
        "running the simulated gateways: all tasks wait, and time stands still at {at} µs ({still:?}); let the script give its hold back \
         before it waits"
    )]
    Stuck {
        /// When, in microseconds.
        at: u64,
        /// Who.
        still: Still,
    },
    /// The script waits for something that does not come.
    #[error(
        "running the simulated gateways: the script had not ended after {0} simulated s; let it end sooner, or raise `within`"
    )]
    Endless(u64),
}
