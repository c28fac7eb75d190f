//! `mesh-gateway config check` and `config show`.

use std::path::Path;

use gateway::settings::{self, Settings};
use serde_json::{Value, json};

use super::args::{ConfigCommand, DaemonArgs};
use super::daemon::{default_file, find_file, resolve};
use super::output::Output;

/// `gateway` holds what the environment says; flags of the gateway are refused in front of a command.
pub(super) fn run(command: ConfigCommand, gateway: DaemonArgs, out: Output) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check { file, data_dir } => {
            let data_dir = data_dir.or(gateway.data_dir);
            let file = match file.or(gateway.config) {
                Some(file) => file,
                None => default_file(data_dir.as_deref())?,
            };
            settings::check(&file, data_dir)?;
            out.result(&json!({ "file": file.display().to_string(), "ok": true }), || {
                format!("{}: good", file.display())
            })
        }
        ConfigCommand::Show(args) => {
            let settings = show(&resolve(find_file(&args)?, *args)?);
            let text = toml::to_string(&settings)?;
            out.result(&settings, || text.trim_end().to_owned())
        }
    }
}

/// The settings with the names and units that they have in the settings file.
fn show(settings: &Settings) -> Value {
    let path = |path: &Path| path.display().to_string();
    let Settings { gateway, agents, radio, sim, mesh, peers } = settings;
    json!({
        "gateway": {
            "name": gateway.name.as_deref().unwrap_or_default(),
            "data_dir": path(&gateway.data_dir),
            "log": gateway.log.word(),
            "log_level": gateway.log_level.word(),
        },
        "agents": {
            "listen": agents.listen.to_string(),
            "unix_socket": path(&agents.unix_socket),
            "access_token_file": agents.access_token_file.as_deref().map(path).unwrap_or_default(),
            "audit": agents.audit,
            "max_agents": agents.max_agents,
            "max_connections": agents.max_connections,
            "max_credits": agents.max_credits,
            "inbox_messages": agents.inbox_messages,
            "inbox_bytes": agents.inbox_bytes,
            "inbox_total_bytes": agents.inbox_total_bytes,
        },
        "radio": {
            "adapter": radio.adapter.to_string(),
            "company_id": radio.company_id,
            "extended": radio.extended,
            "long_frames": radio.long_frames,
            "scan_duty": radio.scan_duty,
        },
        "sim": {
            "nodes": sim.nodes,
            "seed": sim.seed,
            "speed": sim.speed,
            "loss_percent": sim.loss_percent,
            "island": sim.island,
            "key_file": sim.key_file.as_deref().map(path).unwrap_or_default(),
        },
        "mesh": { "ttl": mesh.ttl, "default_deadline_s": mesh.default_deadline.as_secs() },
        "peer": peers.iter().map(|peer| json!({
            "name": peer.name.as_str(),
            "address": peer.address,
            "fingerprint": peer.pin.map(|pin| pin.to_string()).unwrap_or_default(),
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway::peering::{Fingerprint, PeerConfig};
    use gateway::settings::{FileSettings, Overrides};

    #[test]
    fn what_is_shown_is_a_settings_file_with_the_same_meaning() {
        let over = Overrides { data_dir: Some("/data".into()), ttl: Some(3), ..Overrides::default() };
        let mut settings = Settings::resolve(None, over).unwrap();
        settings.peers.push(PeerConfig {
            name: "cellar".parse().unwrap(),
            address: "cellar.local:7700".into(),
            pin: Some(Fingerprint::of(b"its certificate")),
        });
        let text = toml::to_string(&show(&settings)).unwrap();
        let file = FileSettings::parse(Path::new("/etc/x.toml"), &text).unwrap();
        assert_eq!(Settings::resolve(Some(file), Overrides::default()).unwrap(), settings);
    }
}
