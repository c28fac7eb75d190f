//! `mesh-gateway token`, as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mesh_agent::api::{MAX_BODY, Name};
use mesh_protocol::Priority;

use crate::access::{DestinationPattern, NamePattern, Rate};
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
    #[command(after_help = examples!["mesh-gateway token remove sensor"])]
    Remove {
        /// The token's name
        name: Name,
        /// Where the tokens are kept [default: see the settings file]
        #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

/// Draw a token and print it, once: only its SHA-256 is kept
///
/// From the first token on, agents over TCP must show one, those of this machine too; over the Unix socket none is needed. What is not limited is allowed, but for changing connections and routes
/// (--operator).
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway token add phone --out token                        everything an agent can do",
    "mesh-gateway token add sensor --as 'sensor-*' --to bob --rate 5/s --out token",
    "mesh-gateway token add panel --to 'group:*' --to alarm@0x0003 --max-priority HIGH --max-body 200 --out token",
])]
pub(in crate::cli) struct TokenAddArgs {
    /// What to call the token, in lists, errors and the audit log
    pub(in crate::cli) name: Name,
    /// What its holder's agents may be called: NAME or BEGINNING*; may be repeated [default: anything]
    #[arg(long = "as", value_name = "NAME")]
    pub(in crate::cli) names: Vec<NamePattern>,
    /// Where its holder may send: bob, bob@0x0003, sensor-*, node:0x0003, node:*, group:kitchen, group:*, everyone or *; may be repeated [default: *]
    #[arg(long, value_name = "DEST")]
    pub(in crate::cli) to: Vec<DestinationPattern>,
    /// The most urgent priority allowed: CRITICAL, HIGH, MEDIUM or LOW [default: CRITICAL]
    #[arg(long, value_name = "P", value_parser = values::priority)]
    pub(in crate::cli) max_priority: Option<Priority>,
    /// Messages in a second, minute or hour, over all sessions with this token: 5/s, 30/m, 100/h [default: any number]
    #[arg(long, value_name = "N/s")]
    pub(in crate::cli) rate: Option<Rate>,
    /// The longest body, in bytes [default: the protocol's, 65536]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=MAX_BODY as i64))]
    pub(in crate::cli) max_body: Option<u32>,
    /// Allow nothing to everyone and to groups
    #[arg(long)]
    pub(in crate::cli) no_broadcast: bool,
    /// Also allow changing connections with other gateways and routes
    #[arg(long)]
    pub(in crate::cli) operator: bool,
    /// Write the token to this new file, readable by this user alone, and not to standard output
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Where the tokens are kept [default: see the settings file]
    #[arg(long, env = "MESH_GATEWAY_DATA_DIR", value_name = "DIR")]
    pub(in crate::cli) data_dir: Option<PathBuf>,
}
