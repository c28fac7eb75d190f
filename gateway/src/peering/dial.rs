//! Dialling the gateways that are wanted, and again when a connection has ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_agent::api::Name;
use mesh_agent::{Fingerprint, connect_tcp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::PeerConfig;
use super::handshake::{HandshakeError, Side};
use super::identity::Identity;
use super::manager::{STEP_WITHIN, Shared};
use super::table::Keeper;

/// From one attempt to the next, at first; doubles each time.
const AGAIN: Duration = Duration::from_millis(500);
/// See [`AGAIN`]. A guess: a gateway that is back is found within half a minute.
const AGAIN_MOST: Duration = Duration::from_secs(30);

impl Shared {
    /// Connects `name` and stays so, until it is not wanted any more. Dropped while connected, it would leave a link without an end.
    async fn keep(&self, name: Name, keeper: Keeper) {
        let mut again = AGAIN;
        loop {
            let begun = Instant::now();
            let why = match self.dial(name, keeper).await {
                Ok(why) | Err(why) => why,
            };
            let Some(print) = self.note(name, keeper, why) else { return };
            // Its own connection is as good as ours.
            if let Some(print) = print {
                let mut freed = std::pin::pin!(self.freed.notified());
                freed.as_mut().enable();
                while self.is_up(print) {
                    freed.as_mut().await;
                    freed.set(self.freed.notified());
                    freed.as_mut().enable();
                }
            }
            again = if begun.elapsed() > AGAIN_MOST { AGAIN } else { again };
            sleep(jittered(again)).await;
            again = (again * 2).min(AGAIN_MOST);
        }
    }

    /// Notes why a wanted gateway is not connected; the certificate it is known by, or `None` if it is not wanted any more.
    fn note(&self, name: Name, keeper: Keeper, why: String) -> Option<Option<Fingerprint>> {
        let mut table = self.table();
        let wanted = table.wanted.get_mut(&name).filter(|wanted| wanted.keeper == keeper)?;
        if wanted.why.as_ref() != Some(&why) {
            tracing::warn!(peer = %name, address = wanted.address, why, "a gateway is not connected; trying again");
        }
        if !wanted.tried {
            (wanted.tried, wanted.since) = (true, Instant::now());
        }
        wanted.why = Some(why);
        Some(wanted.pin)
    }

    /// One attempt, and if it succeeds all of the connection; why it ended or did not come about.
    async fn dial(&self, name: Name, keeper: Keeper) -> Result<String, String> {
        let (address, pin) = match self.table().wanted.get(&name) {
            Some(wanted) => (wanted.address.clone(), wanted.pin),
            None => return Err("it is not wanted any more".into()),
        };
        let late = |_| format!("{address} does not answer within {} s", STEP_WITHIN.as_secs());
        let stream = timeout(STEP_WITHIN, connect_tcp(&address)).await.map_err(late)?;
        let stream = stream.map_err(|error| format!("{address} cannot be reached: {error}"))?;
        let _ = stream.set_nodelay(true);
        let tls =
            TlsConnector::from(Arc::clone(&self.identity.client)).connect(Identity::server_name(), stream);
        let stream = timeout(STEP_WITHIN, tls).await.map_err(late)?;
        let stream = stream.map_err(|error| HandshakeError::Tls(error.to_string()).to_string())?;
        let (stream, remote) =
            self.meet(stream.into(), Side::Dialler).await.map_err(|error| error.to_string())?;
        if pin.is_some_and(|pin| pin != remote.fingerprint) {
            return Err(format!(
                "it shows another certificate than before ({}): if that is right, remove it and add it again",
                remote.fingerprint
            ));
        }
        if let Some(wanted) = self.table().wanted.get_mut(&name).filter(|wanted| wanted.keeper == keeper) {
            (wanted.node, wanted.pin) = (Some(remote.node), Some(remote.fingerprint));
        }
        let ended = self.hold(stream, remote, address, (self.me.0, Some(keeper))).await;
        if let Some(wanted) = self.table().wanted.get_mut(&name).filter(|wanted| wanted.keeper == keeper) {
            wanted.since = Instant::now();
        }
        ended
    }
}

/// Half to all of it, so that two gateways that lost each other do not dial in step.
fn jittered(span: Duration) -> Duration {
    let mut byte = [0; 1];
    // Without random numbers it is in step, which costs a little time.
    let _ = getrandom::fill(&mut byte);
    span.mul_f64(0.5 + f64::from(byte[0]) / 512.0)
}

/// Keeps the connections that are wanted, until nobody can want any more.
pub(super) async fn manage(shared: Arc<Shared>, mut wanted: watch::Receiver<Vec<PeerConfig>>) {
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<Name, tokio::task::AbortHandle> = BTreeMap::new();
    // Who is not connected any more for a bug, and is tried again, after a pause.
    let mut died: Option<Name> = None;
    loop {
        let wants = wanted.borrow_and_update().clone();
        let gone: Vec<Name> = running
            .keys()
            .filter(|name| !wants.iter().any(|want| shared.keeps(name, want)))
            .copied()
            .collect();
        for name in gone {
            let task = running.remove(&name);
            // A connection ends in order, with its link. What is not connected yet will not be.
            if !shared.let_go(name) {
                task.inspect(tokio::task::AbortHandle::abort);
            }
        }
        for PeerConfig { name, address, pin } in wants {
            if running.contains_key(&name) {
                continue;
            }
            let keeper = shared.wants(name, address, pin);
            let (shared, pause) =
                (Arc::clone(&shared), if died == Some(name) { AGAIN_MOST } else { Duration::ZERO });
            let keep = async move {
                sleep(pause).await;
                shared.keep(name, keeper).await;
            };
            running.insert(name, tasks.spawn(keep));
        }
        died = None;
        loop {
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Some(ended) = tasks.join_next_with_id() => {
                    let Err(bug) = ended.map_err(|error| (error.is_panic(), error.id())) else { continue };
                    let name = running.iter().find(|(_, task)| task.id() == bug.1).map(|(name, _)| *name);
                    if let (true, Some(name)) = (bug.0, name) {
                        tracing::error!(peer = %name, "what keeps a gateway connected stopped, which is a bug: it begins again");
                        running.remove(&name);
                        died = Some(name);
                        break;
                    }
                }
            }
        }
    }
}
