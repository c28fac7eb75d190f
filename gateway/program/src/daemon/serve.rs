//! What every gateway of the program has, whatever it sends with: who it is, where it listens, what is said when it is ready, and that
//! it ends in order.

use std::pin::pin;

use gateway::access::Audit;
use gateway::settings::Settings;
use gateway::{EngineConfig, Gateway, Limits, Listen, TokenCheck};
use mesh_protocol::{Address, Duration};

use crate::signals::{Asked, Signals};
use crate::stdout::line;

pub(super) fn engine_config(settings: &Settings, name: &str, address: Address) -> EngineConfig {
    EngineConfig {
        name: settings.gateway.name.clone().unwrap_or_else(|| name.to_owned()),
        address,
        adapter: settings.radio.adapter.to_string(),
        default_deadline: Duration::from_millis(settings.mesh.default_deadline.as_millis() as u64),
        max_agents: settings.agents.max_agents as usize,
        max_credits: settings.agents.max_credits,
        inbox_messages: settings.agents.inbox_messages as usize,
        inbox_bytes: usize::try_from(settings.agents.inbox_bytes).unwrap_or(usize::MAX),
        inbox_total_bytes: usize::try_from(settings.agents.inbox_total_bytes).unwrap_or(usize::MAX),
    }
}

pub(super) fn listen(settings: &Settings) -> anyhow::Result<Listen> {
    let token = match &settings.agents.access_token_file {
        Some(path) => TokenCheck::from_file(path)?,
        None => TokenCheck::open(),
    };
    let audit = if settings.agents.audit { Audit::open(&settings.gateway.data_dir)? } else { Audit::off() };
    let token = token.with_tokens_of(&settings.gateway.data_dir)?.with_audit(audit);
    let limits = Limits::of(settings.agents.max_connections as usize);
    Ok(Listen {
        tcp: Some(settings.agents.listen),
        unix: Some(settings.agents.unix_socket.clone()),
        token,
        limits,
    })
}

/// Says on standard output that the gateway is ready. Whoever started it may not want to read that: nobody waits until it is read, and
/// that it cannot be written is no reason to stop.
pub(super) fn announce(settings: &Settings, gateway: &Gateway, air: &str, json: bool) {
    let tcp = gateway.tcp_address().map(|address| address.to_string()).unwrap_or_default();
    let unix = settings.agents.unix_socket.display().to_string();
    let words = if json {
        serde_json::json!({ "ready": true, "tcp": tcp, "unix": unix, "air": air }).to_string()
    } else {
        let adapter = &settings.radio.adapter;
        format!("agents connect to {tcp} or unix:{unix}\nadapter {adapter}: {air}\nstop with Ctrl-C")
    };
    let said = std::thread::Builder::new().name("ready".into()).spawn(move || {
        if let Err(why) = line(&words) {
            tracing::info!("nobody reads that the gateway is ready: {why}");
        }
    });
    if let Err(why) = said {
        tracing::warn!(%why, "the gateway is ready, and cannot say so on standard output: the system gives no more threads");
    }
}

/// Serves until a signal, then ends in order.
pub(super) async fn serve(mut gateway: Gateway, mut signals: Signals) -> anyhow::Result<()> {
    let audit = gateway.audit().clone();
    {
        let mut ended = pin!(gateway.ended());
        loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop(signal) => {
                        tracing::info!("{signal}: stopping");
                        break;
                    }
                    Asked::Reopen => {
                        tracing::info!("SIGHUP: opening the logs again");
                        audit.reopen();
                    }
                },
                ended = &mut ended => return Err(ended.into()),
            }
        }
    }
    Ok(gateway.stop().await?)
}
