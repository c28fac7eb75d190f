//! One run of simulated gateways, from the first moment of a world to the end of a script.

use std::future::Future;

use mesh_protocol::Instant;

use super::error::TestbedError;
use super::idle::Idle;
use super::testbed::Testbed;
use super::world::PreparedWorld;

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Ran<T> {
    /// What the script returned.
    pub result: T,
    /// Hash of every frame sent and heard, by whom and when.
    pub trace: String,
    /// Advertising events.
    pub transmitted: u64,
    /// Frames that reached a host.
    pub received: u64,
    /// Transactions of all disks, those of gateways whose power was cut among them.
    pub commits: u64,
    /// When the script ended.
    pub ended: Instant,
}

/// Runs a script in a new world and ends when it does, after all gateways with power have stopped in order.
pub(super) fn run<F, Fut>(world: PreparedWorld, script: F) -> Result<Ran<Fut::Output>, TestbedError>
where
    F: FnOnce(Testbed) -> Fut,
    Fut: Future<Output: Send> + Send + 'static,
{
    let idle = Idle::default();
    let parked = idle.clone();
    // Neither IO nor timers are enabled: what needs either has no place here.
    let runtime =
        tokio::runtime::Builder::new_current_thread().on_thread_park(move || parked.parked()).build()?;
    let testbed = Testbed::new(world)?;
    runtime.block_on(async {
        for n in 0..testbed.gateways() {
            testbed.start(n)?;
        }
        let script = tokio::spawn(script(testbed.clone()));
        let result = testbed.drive(&idle, script).await?;
        let ended = testbed.now();
        // The digest before the goodbyes: what agents do once the script has ended is nobody's interest.
        let (trace, transmitted, received) = testbed.with(|world| {
            let trace = world.observer().1.trace();
            (trace.digest(), trace.transmitted, trace.received)
        });
        let commits = testbed.end_all().await?;
        Ok(Ran { result, trace, transmitted, received, commits, ended })
    })
}
