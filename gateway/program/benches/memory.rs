//! How much memory a gateway needs: idle, and for each agent that is attached and idle.
//!
//! Owns the figures, which are resident pages as Linux counts them; elsewhere it says so and ends. Run it with
//! `cargo bench -p mesh-gateway --bench memory`.

mod program;

use mesh_agent::api::{Hello, Name};
use program::{Gateway, Idle, mib};

/// Agents that attach; also the most that a gateway keeps by default.
const AGENTS: usize = 1_000;

fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on the disk");
    let gateway = Gateway::start(dir.path(), &[]);
    let attach = |n: usize| {
        Idle::attach(&gateway.address, Hello::new(Name::new(&format!("agent-{n}")).expect("a name")))
    };

    let Some(started) = gateway.memory("VmRSS") else {
        return println!("this system does not say how much memory a process has: nothing was measured");
    };
    let mut first = attach(0);
    let idle = gateway.settled(&mut first).expect("it was there before");
    let mut agents: Vec<Idle> = (1..AGENTS).map(attach).collect();
    let full = gateway.settled(&mut agents[0]).expect("it was there before");
    let each = full.saturating_sub(idle) as f64 / (AGENTS - 1) as f64;
    let peak = gateway.memory("VmHWM").unwrap_or_default();

    println!(
        "gateway with a simulated air of one node, as it says that it is ready: {:.1} MiB",
        mib(started)
    );
    println!("with one agent: {:.1} MiB", mib(idle));
    println!(
        "with {AGENTS} idle agents: {:.1} MiB, {:.2} KiB for each agent; at most {:.1} MiB",
        mib(full),
        each / 1_024.0,
        mib(peak)
    );
    println!(
        "{}",
        serde_json::json!({ "agents": AGENTS, "ready_rss": started, "idle_rss": idle, "full_rss": full, "peak_rss": peak, "per_agent": each.round() })
    );
}
