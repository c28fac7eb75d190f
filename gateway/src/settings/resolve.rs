//! From what was typed to what holds: precedence, ranges, and what follows from what.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use mesh_agent::Endpoint;
use mesh_agent::api::Name;

use super::file::{FileSettings, RawAgents, RawPeer, Source, Value};
use super::listen::listen_address;
use super::{
    Adapter, AgentSettings, DEFAULT_COMPANY_ID, GatewaySettings, ISLANDS, LogFormat, LogLevel, MeshSettings,
    Origin, Overrides, Problem, RadioSettings, Settings, SettingsError, SimSettings,
};
use crate::access;
use crate::datadir;
use crate::network;
use crate::peering::{CONNECTIONS, Fingerprint, PeerConfig};

/// The longest path of a Unix socket in bytes (Linux, unix(7): 108 with the final NUL).
const UNIX_SOCKET_MAX: usize = 107;
/// The port on which agents find a gateway.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7700);

/// What file and overrides come to, with the defaults in the place of what is wrong, and what that is.
pub(super) fn resolve(
    file: FileSettings,
    over: Overrides,
) -> Result<(Settings, Vec<Problem>), SettingsError> {
    let FileSettings { source, raw, problems } = file;
    let mut pick = Pick { source, problems };
    let p = &mut pick;

    let data_dir = match p.path(over.data_dir.clone(), raw.gateway.data_dir) {
        Some((path, _)) => path,
        None => datadir::default_path()?,
    };
    let gateway = GatewaySettings {
        name: p.name(over.name.clone(), raw.gateway.name),
        log: p.word("gateway.log", over.log, raw.gateway.log, LogFormat::Text),
        log_level: p.word("gateway.log_level", over.log_level, raw.gateway.log_level, LogLevel::Info),
        data_dir,
    };
    let agents = agents(p, &over, raw.agents, &gateway.data_dir);
    let radio = RadioSettings {
        adapter: p.word("radio.adapter", over.adapter, raw.radio.adapter, Adapter::Sim),
        company_id: p.number(
            "radio.company_id",
            over.company_id,
            raw.radio.company_id,
            0..=u16::MAX,
            DEFAULT_COMPANY_ID,
        ),
        extended: p.choose(over.extended, raw.radio.extended).is_none_or(|(extended, _)| extended),
        long_frames: p.choose(over.long_frames, raw.radio.long_frames).is_some_and(|(long, _)| long),
        scan_duty: p.number("radio.scan_duty", over.scan_duty, raw.radio.scan_duty, 10..=100, 100),
    };
    let sim = SimSettings {
        nodes: p.number("sim.nodes", over.sim_nodes, raw.sim.nodes, 1..=1000, 50),
        seed: p.number("sim.seed", over.sim_seed, raw.sim.seed, 0..=i64::MAX.unsigned_abs(), 1),
        speed: p.decimal("sim.speed", over.sim_speed, raw.sim.speed, 0.01..=1000.0, 1.0),
        loss_percent: p.decimal(
            "sim.loss_percent",
            over.sim_loss_percent,
            raw.sim.loss_percent,
            0.0..=100.0,
            10.0,
        ),
        island: p.number("sim.island", over.sim_island, raw.sim.island, 1..=ISLANDS, 1),
        key_file: p.path(over.sim_key_file, raw.sim.key_file).map(|(path, _)| path),
    };
    let deadline = raw.mesh.default_deadline_s;
    let mesh = MeshSettings {
        ttl: p.number("mesh.ttl", over.ttl, raw.mesh.ttl, 1..=15, 10),
        default_deadline: Duration::from_secs(
            p.number("mesh.default_deadline_s", over.default_deadline_s, deadline, 1..=86_400, 60).into(),
        ),
    };

    let peers = p.peers(raw.peer);

    let mut problems = pick.problems;
    problems.sort_by_key(|problem| match problem.origin {
        Origin::File { line, .. } => line,
        Origin::Override | Origin::Default => usize::MAX,
    });
    Ok((Settings { gateway, agents, radio, sim, mesh, peers }, problems))
}

/// The section `[agents]`.
fn agents(p: &mut Pick, over: &Overrides, raw: RawAgents, data_dir: &Path) -> AgentSettings {
    let access_token_file =
        p.path(over.access_token_file.clone(), raw.access_token_file).map(|(path, _)| path);
    // What cannot be read is for the start to complain about.
    let has_tokens =
        || access::read_dir(data_dir).map_or(true, |tokens| tokens.is_some_and(|tokens| !tokens.is_empty()));
    let has_token = access_token_file.is_some() || has_tokens();
    AgentSettings {
        listen: p.listen(over.listen, raw.listen, has_token),
        unix_socket: p.unix_socket(over.unix_socket.clone(), raw.unix_socket, data_dir),
        access_token_file,
        audit: p.choose(over.audit, raw.audit).is_some_and(|(audit, _)| audit),
        max_agents: p.number("agents.max_agents", over.max_agents, raw.max_agents, 1..=100_000, 1000),
        max_connections: p.number(
            "agents.max_connections",
            over.max_connections,
            raw.max_connections,
            1..=100_000,
            4096,
        ),
        max_credits: p.number("agents.max_credits", over.max_credits, raw.max_credits, 1..=65_535, 4096),
        inbox_messages: p.number(
            "agents.inbox_messages",
            over.inbox_messages,
            raw.inbox_messages,
            1..=1_000_000,
            10_000,
        ),
        inbox_bytes: p.number(
            "agents.inbox_bytes",
            over.inbox_bytes,
            raw.inbox_bytes,
            128 << 10..=1 << 30,
            16 << 20,
        ),
        inbox_total_bytes: p.number(
            "agents.inbox_total_bytes",
            over.inbox_total_bytes,
            raw.inbox_total_bytes,
            1 << 20..=1 << 34,
            128 << 20,
        ),
    }
}

/// Picks what counts for each key and collects what is wrong; a wrong value is replaced by the default so that the rest
/// can be checked as well.
struct Pick {
    source: Source,
    problems: Vec<Problem>,
}

impl Pick {
    fn problem(&mut self, origin: Origin, what: String) {
        self.problems.push(Problem { origin, what });
    }

    /// The override, else the file's value; `None` for neither.
    fn choose<T>(&self, over: Option<T>, raw: Value<T>) -> Option<(T, Origin)> {
        let typed = |raw: toml::Spanned<T>| {
            let origin = self.source.at(raw.span().start);
            (raw.into_inner(), origin)
        };
        over.map(|value| (value, Origin::Override)).or_else(|| raw.map(typed))
    }

    /// A path, from the file's folder if the file names it; an empty one is none.
    fn path(&self, over: Option<PathBuf>, raw: Value<String>) -> Option<(PathBuf, Origin)> {
        let from_file = |raw: toml::Spanned<String>| {
            let path =
                if raw.get_ref().is_empty() { PathBuf::new() } else { self.source.path(raw.get_ref()) };
            toml::Spanned::new(raw.span(), path)
        };
        self.choose(over, raw.map(from_file)).filter(|(path, _)| !path.as_os_str().is_empty())
    }

    fn name(&mut self, over: Option<String>, raw: Value<String>) -> Option<String> {
        let (name, origin) = self.choose(over, raw).filter(|(name, _)| !name.is_empty())?;
        if network::check_name(&name).is_err() {
            let most = network::MAX_NAME;
            self.problem(
                origin,
                format!("gateway.name = {name:?}: use 1 to {most} letters, digits, `.`, `_` or `-`, and not `everyone`"),
            );
        }
        Some(name)
    }

    fn word<T>(&mut self, key: &str, over: Option<T>, raw: Value<String>, default: T) -> T
    where
        T: FromStr<Err: Display>,
    {
        if let Some(value) = over {
            return value;
        }
        let Some((text, origin)) = self.choose(None, raw) else {
            return default;
        };
        text.parse().unwrap_or_else(|error| {
            self.problem(origin, format!("{key}: {error}"));
            default
        })
    }

    fn number<T>(
        &mut self,
        key: &str,
        over: Option<T>,
        raw: Value<i64>,
        range: RangeInclusive<T>,
        default: T,
    ) -> T
    where
        T: TryFrom<i64> + Copy + PartialOrd + Display,
    {
        let (shown, value, origin) = match (over, self.choose(None, raw)) {
            (Some(value), _) => (value.to_string(), Some(value), Origin::Override),
            (None, Some((value, origin))) => (value.to_string(), T::try_from(value).ok(), origin),
            (None, None) => return default,
        };
        value.filter(|value| range.contains(value)).unwrap_or_else(|| {
            self.problem(origin, format!("{key} = {shown}: use {} to {}", range.start(), range.end()));
            default
        })
    }

    fn decimal(
        &mut self,
        key: &str,
        over: Option<f64>,
        raw: Value<f64>,
        range: RangeInclusive<f64>,
        default: f64,
    ) -> f64 {
        let Some((value, origin)) = self.choose(over, raw) else {
            return default;
        };
        if range.contains(&value) {
            return value;
        }
        self.problem(origin, format!("{key} = {value}: use {} to {}", range.start(), range.end()));
        default
    }

    /// The gateways to be connected with; those that are wrong are left out and told.
    fn peers(&mut self, raw: Vec<RawPeer>) -> Vec<PeerConfig> {
        let mut peers: Vec<PeerConfig> = Vec::new();
        for RawPeer { name, address, fingerprint } in raw {
            let origin = |at: usize| self.source.at(at);
            let (named, placed) = (origin(name.span().start), origin(address.span().start));
            let fingerprint = fingerprint.map(|text| (origin(text.span().start), text.into_inner()));
            let (name, address) = (name.into_inner(), address.into_inner());
            let Ok(name) = Name::new(&name) else {
                let most = network::MAX_NAME;
                let what = format!(
                    "peer.name = {name:?}: use 1 to {most} letters, digits, `.`, `_` or `-`, and not `everyone`"
                );
                self.problem(named, what);
                continue;
            };
            if peers.iter().any(|peer| peer.name == name) {
                self.problem(named, format!("peer.name = \"{name}\": there is one of that name already"));
                continue;
            }
            if peers.len() == CONNECTIONS {
                self.problem(named, format!("peer: a gateway connects with {CONNECTIONS} others at most"));
                break;
            }
            if !matches!(address.parse(), Ok(Endpoint::Tcp(_))) {
                self.problem(
                    placed,
                    format!("peer.address = {address:?}: write HOST:PORT, as in 192.168.1.100:7700"),
                );
                continue;
            }
            let mut pin = None;
            if let Some((origin, text)) = fingerprint.filter(|(_, text)| !text.is_empty()) {
                pin = Fingerprint::parse(&text);
                if pin.is_none() {
                    let what = format!(
                        "peer.fingerprint = {text:?}: a SHA-256 has 64 hexadecimal digits; `mesh-gateway peers` there shows it"
                    );
                    self.problem(origin, what);
                }
            }
            peers.push(PeerConfig { name, address, pin });
        }
        peers
    }

    fn listen(&mut self, over: Option<SocketAddr>, raw: Value<String>, has_token: bool) -> SocketAddr {
        let (address, origin) = match (over, self.choose(None, raw)) {
            (Some(address), _) => (address, Origin::Override),
            (None, None) => return DEFAULT_LISTEN,
            (None, Some((text, origin))) => match listen_address(&text) {
                Ok(address) => (address, origin),
                Err(why) => {
                    let what = format!("agents.listen = {text:?}: {why}");
                    self.problem(origin, what);
                    return DEFAULT_LISTEN;
                }
            },
        };
        // An IPv4 address in IPv6 clothes is the IPv4 address.
        if !address.ip().to_canonical().is_loopback() && !has_token {
            let what = format!(
                "agents.listen = {address}: anyone who reaches this address could speak for every agent; listen on \
                 127.0.0.1 or [::1], make an access token with `mesh-gateway token add NAME`, or name one in \
                 agents.access_token_file (--access-token-file)"
            );
            self.problem(origin, what);
        }
        address
    }

    fn unix_socket(&mut self, over: Option<PathBuf>, raw: Value<String>, data_dir: &Path) -> PathBuf {
        let default = || (data_dir.join("agents.sock"), Origin::Default);
        let (path, origin) = self.path(over, raw).unwrap_or_else(default);
        let len = path.as_os_str().len();
        if len > UNIX_SOCKET_MAX {
            let what = format!(
                "agents.unix_socket = {}: it has {len} bytes and a Unix socket's path at most {UNIX_SOCKET_MAX}; \
                 name a shorter one",
                path.display(),
            );
            self.problem(origin, what);
        }
        path
    }
}
