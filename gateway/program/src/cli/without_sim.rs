//! What is said where this program would need the simulator that it was built without.

use super::fault::{Failure, usage};

/// `mesh-gateway demo`.
pub(super) mod demo {
    use super::super::args::DemoArgs;
    use super::super::output::Output;

    pub(in crate::cli) fn run(_: DemoArgs, _: Output) -> anyhow::Result<()> {
        Err(super::no_simulator("running the demo").into())
    }
}

/// `mesh-gateway play`.
pub(super) mod play {
    use super::super::args::PlayArgs;
    use super::super::output::Output;

    pub(in crate::cli) fn run(_: &PlayArgs, _: Output) -> anyhow::Result<()> {
        Err(super::no_simulator("playing the scenario").into())
    }
}

/// Why `doing` is not possible here.
pub(super) fn no_simulator(doing: &str) -> Failure {
    usage(format!("{doing}: {}", crate::daemon::NO_SIMULATOR))
}
