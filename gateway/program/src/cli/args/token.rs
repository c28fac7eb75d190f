//! `mesh-gateway token`, as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use gateway::access::{DestinationPattern, Expiry, NamePattern, Rate};
use mesh_agent::api::{MAX_BODY, Name};
use mesh_protocol::Priority;

use crate::cli::values;

/// Let agents in, each with what it may do; a running gateway notices within a second
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway token add sensor --as 'sensor-*' --to bob --max-priority MEDIUM --rate 5/s --out token",
    "mesh-gateway token list",
    "mesh-gateway token remove sensor",
])]
pub(in crate::cli) struct TokenArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenCommand {
    Add(TokenAddArgs),
    /// List the tokens and what each allows
    #[command(after_help = examples!["mesh-gateway token list", "mesh-gateway token list --json"])]
    List {
        /// Where the tokens are kept [default: see the settings file]
        #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Take a token back; sessions that came with it end
    #[command(after_help = examples!["mesh-gateway token remove sensor", "mesh-gateway token remove sensor --purge"])]
    Remove {
        /// The token's name
        name: Name,
        /// Also do not send what came with it and still waits for the air; its senders are told. What is in inboxes stays
        #[arg(long)]
        purge: bool,
        /// Where the tokens are kept [default: see the settings file]
        #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

/// Draw a token and print it, once: only its SHA-256 is kept
///
/// From the first token on, agents over TCP must show one, those of this machine too; over the Unix socket none is needed. One without
/// limits allows all that agents do, and nothing of an operator (--operator). With any limit it is also limited in how much of the
/// gateway its holders may take: see the --max-… below. An operator's is so only where one of these is given.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway token add phone --out token                        everything an agent can do",
    "mesh-gateway token add guest --expires 30d --out token          the same, for a month",
    "mesh-gateway token add sensor --as 'sensor-*' --to bob --rate 5/s --out token",
    "mesh-gateway token add panel --to 'group:*' --to alarm@0x0003 --max-priority HIGH --max-body 200 --out token",
])]
pub(in crate::cli) struct TokenAddArgs {
    /// What to call the token, in lists, errors and the audit log
    pub(in crate::cli) name: Name,
    /// From when on it is not let in any more, by the clock of the gateway's machine: a number and m, h or d from now, a date (its first
    /// second, UTC) or a moment, as in 30d, 2027-01-31 or 2027-01-31T12:00:00Z [default: never]
    #[arg(long, value_name = "WHEN", value_parser = values::expiry)]
    pub(in crate::cli) expires: Option<Expiry>,
    /// What its holder's agents may be called: NAME or BEGINNING*; may be repeated [default: the token's own name if anything else is limited and it is no --operator, otherwise anything]
    #[arg(long = "as", value_name = "NAME")]
    pub(in crate::cli) names: Vec<NamePattern>,
    /// Where its holder may send: bob, bob@0x0003, sensor-*, node:0x0003, node:*, group:kitchen, group:*, everyone or *; may be repeated [default: *]
    #[arg(long, value_name = "DEST")]
    pub(in crate::cli) to: Vec<DestinationPattern>,
    /// The most urgent priority allowed: CRITICAL, HIGH, MEDIUM or LOW [default: CRITICAL]
    #[arg(long, value_name = "P", value_parser = values::priority)]
    pub(in crate::cli) max_priority: Option<Priority>,
    /// Messages in a second, minute or hour, over all sessions with this token: 5/s, 30/m, 100/h. Pings and traces of nodes count as
    /// messages; of other questions there are as many, and at least 600/m [default: any number]
    #[arg(long, value_name = "N/s")]
    pub(in crate::cli) rate: Option<Rate>,
    /// The longest body, in bytes [default: the protocol's, 65536]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=MAX_BODY as i64))]
    pub(in crate::cli) max_body: Option<u32>,
    /// Allow nothing to everyone and to groups
    #[arg(long)]
    pub(in crate::cli) no_broadcast: bool,
    /// Sessions at the same time [default of a token with limits: one for each agent, and 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_sessions: Option<u32>,
    /// Agents that the gateway knows [default of a token with limits: one for each --as, 64 where one ends with *]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_agents: Option<u32>,
    /// Groups of all its agents together; 0 allows none [default of a token with limits: 16]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) max_groups: Option<u32>,
    /// Messages that wait, on their way or in inboxes here [default of a token with limits: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_messages: Option<u32>,
    /// Bytes of these messages [default of a token with limits: 4194304]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_bytes: Option<u32>,
    /// The longest deadline: a number and ms, s, m or h, at most 24h; parts of a second count as one [default of a token with limits: 1h]
    #[arg(long, value_name = "TIME", value_parser = values::deadline)]
    pub(in crate::cli) max_deadline: Option<Duration>,
    /// Also allow changing connections with other gateways and routes, and forgetting agents
    #[arg(long)]
    pub(in crate::cli) operator: bool,
    /// Write the token to this new file, readable by this user alone, and not to standard output
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Where the tokens are kept [default: see the settings file]
    #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
    pub(in crate::cli) data_dir: Option<PathBuf>,
}
