//! `mesh-sim`: runs the mesh on the simulated air, without sockets and without a disk.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use firmware_sim::Run;

#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 all messages delivered, 1 some were not, 2 wrong usage."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends messages from one end of a field of relays to the other and prints what became of them
    #[command(
        after_help = "Examples:\n  mesh-sim run\n  mesh-sim run --nodes 100 --seed 7 --messages 500\n  mesh-sim run --json"
    )]
    Run {
        /// Relays between the two ends, 1 to 1000
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        nodes: u16,
        /// Where they stand, what gets lost, every jitter
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Simulated seconds in which the messages are sent
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Messages, priorities in turn
        #[arg(long, default_value_t = 100)]
        messages: u32,
        /// Bytes of each message's body, at most 400
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(0..=400))]
        body: u16,
        /// Bytes of one LOW message besides, sent first, at most 65536
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=65_536))]
        bulk: u32,
        /// Advertising events lost on each link, in percent
        #[arg(long, default_value_t = 10.0)]
        loss: f64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let Command::Run { nodes, seed, seconds, messages, body, bulk, loss, json } = Arguments::parse().command;
    if !(0.0..=100.0).contains(&loss) {
        eprintln!("mesh-sim: --loss {loss}: a share of the events in percent is between 0 and 100");
        return ExitCode::from(2);
    }
    let loss_ppm = (loss * 10_000.0) as u32;
    let report =
        Run { nodes, seed, seconds, messages, body: body.into(), bulk: bulk as usize, loss_ppm }.execute();
    if json {
        match serde_json::to_string(&report) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("mesh-sim: writing the report: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        println!("{} of {} messages delivered over {:.1} hops", report.delivered, report.sent, report.hops);
        for (priority, [p50, p99]) in &report.latency_ms {
            println!("  {priority:<9} p50 {p50:>7.1} ms   p99 {p99:>7.1} ms");
        }
        if let Some(seconds) = report.bulk_s {
            println!("  the large message took {seconds:.1} s");
        }
        println!("  {:.1} advertising events a message, all nodes together", report.frames_per_message);
        println!("  trace {}", report.trace);
    }
    if report.delivered == report.sent { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
