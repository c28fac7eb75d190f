//! What sending and hearing stand on: a connection to the bus, bluetoothd on it, and an adapter that is switched on.
//!
//! Owns the checks before an adapter is used, and notices when what they found is true no longer.

use std::sync::Arc;

use btleplug::platform::Manager;
use dbus::arg::{PropMap, RefArg};
use dbus::message::MatchRule;
use dbus::nonblock::stdintf::org_freedesktop_dbus::{
    ObjectManager, ObjectManagerInterfacesRemoved, PropertiesPropertiesChanged,
};
use dbus::nonblock::{MsgMatch, Proxy, SyncConnection};
use dbus::{Error, Path};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::OpenError;
use super::advertisement::{Advertisement, MANAGER};
use super::bus::{BLUEZ, CALL_WITHIN, reason};
use super::scan::Scan;

const ADAPTER: &str = "org.bluez.Adapter1";
const BUS: &str = "org.freedesktop.DBus";

/// An adapter in use.
pub(super) struct Session {
    /// Where frames go out.
    pub(super) advertisement: Advertisement,
    /// Where frames come in.
    pub(super) scan: Scan,
    /// Why it is over, once it is; the first reason is kept.
    pub(super) trouble: mpsc::Receiver<String>,
    connection: Arc<SyncConnection>,
    watches: Vec<MsgMatch>,
    io: JoinHandle<()>,
}

impl Session {
    /// Checks from the bus up to the adapter, watches all of them, and starts to listen.
    pub(super) async fn open(
        adapter: &str,
        company: u16,
        manager: &mut Option<Manager>,
    ) -> Result<Self, OpenError> {
        let (report, trouble) = mpsc::channel(1);
        // Connecting blocks, if only for a moment.
        let connected = tokio::task::spawn_blocking(dbus_tokio::connection::new_system_sync).await;
        let (resource, connection) = connected
            .map_err(|error| OpenError::NoBus(error.to_string()))?
            .map_err(|error| OpenError::NoBus(reason(&error)))?;
        let lost = report.clone();
        let io = tokio::spawn(async move {
            let error = resource.await;
            let _ = lost.try_send(format!("the system bus is gone ({error})"));
        });
        let opened = Self::on(adapter, company, manager, &connection, report).await;
        let (advertisement, scan, watches) = opened.inspect_err(|_| io.abort())?;
        Ok(Self { advertisement, scan, trouble, connection, watches, io })
    }

    async fn on(
        adapter: &str,
        company: u16,
        manager: &mut Option<Manager>,
        connection: &Arc<SyncConnection>,
        report: mpsc::Sender<String>,
    ) -> Result<(Advertisement, Scan, Vec<MsgMatch>), OpenError> {
        let refused = |what| {
            move |error: Error| OpenError::Refused { adapter: adapter.to_owned(), what, why: reason(&error) }
        };
        let bus = Proxy::new(BUS, "/", CALL_WITHIN, &**connection);
        let (running,): (bool,) = bus
            .method_call(BUS, "NameHasOwner", (BLUEZ,))
            .await
            .map_err(|error| OpenError::NoBus(reason(&error)))?;
        if !running {
            return Err(OpenError::NoDaemon);
        }
        let absent = |present| OpenError::NoAdapter { adapter: adapter.to_owned(), present };
        let path = Path::new(format!("/org/bluez/{adapter}")).map_err(|_| absent(Vec::new()));
        // Watched before it is looked at: nothing changes in between.
        let watches = match &path {
            Ok(path) => watch(connection, path, &report).await.map_err(refused("watching bluetoothd"))?,
            Err(_) => Vec::new(),
        };
        let objects = Proxy::new(BLUEZ, "/", CALL_WITHIN, &**connection)
            .get_managed_objects()
            .await
            .map_err(refused("asking bluetoothd for its adapters"))?;
        let mut present: Vec<_> = objects
            .iter()
            .filter(|(_, interfaces)| interfaces.contains_key(ADAPTER))
            .filter_map(|(path, _)| Some(path.rsplit_once('/')?.1.to_owned()))
            .collect();
        present.sort();
        let Some((path, interfaces)) = path.ok().and_then(|path| objects.get_key_value(&path)) else {
            return Err(absent(present));
        };
        let Some(properties) = interfaces.get(ADAPTER) else { return Err(absent(present)) };
        if powered(properties) != Some(true) {
            return Err(OpenError::Off(adapter.to_owned()));
        }
        if !interfaces.contains_key(MANAGER) {
            return Err(OpenError::NoAdvertising(adapter.to_owned()));
        }
        let scan = Scan::start(adapter, company, manager).await.map_err(|error| OpenError::Refused {
            adapter: adapter.to_owned(),
            what: "starting to scan",
            why: error.to_string(),
        })?;
        Ok((Advertisement::new(Arc::clone(connection), path.clone(), company), scan, watches))
    }

    /// Takes the advertisement off the air and ends the scan, as far as bluetoothd still listens.
    pub(super) async fn close(mut self) {
        let _ = self.advertisement.hide().await;
        self.scan.stop().await;
        for watch in self.watches {
            let _ = self.connection.remove_match(watch.token()).await;
        }
        self.io.abort();
    }
}

/// Reports when bluetoothd leaves the bus, the adapter goes away, or it is switched off.
async fn watch(
    connection: &Arc<SyncConnection>,
    adapter: &Path<'static>,
    report: &mpsc::Sender<String>,
) -> Result<Vec<MsgMatch>, Error> {
    // Only the first reason is kept; that the channel is full or closed says it is known already.
    let name = adapter.rsplit_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default();
    let mut watches = Vec::new();

    let report_left = report.clone();
    let left = connection.add_match(MatchRule::new_signal(BUS, "NameOwnerChanged")).await?;
    watches.push(left.cb(move |_, (whose, old, _): (String, String, String)| {
        if whose == BLUEZ && !old.is_empty() {
            let _ = report_left.try_send("bluetoothd has stopped".to_owned());
        }
        true
    }));

    let (report_removed, path, of) = (report.clone(), adapter.clone(), name.clone());
    let rule = MatchRule::new_signal("org.freedesktop.DBus.ObjectManager", "InterfacesRemoved");
    watches.push(connection.add_match(rule).await?.cb(move |_, gone: ObjectManagerInterfacesRemoved| {
        if gone.object == path {
            let _ = report_removed.try_send(format!("the adapter {of} was removed"));
        }
        true
    }));

    let (report_off, of) = (report.clone(), name);
    let rule = MatchRule::new_signal("org.freedesktop.DBus.Properties", "PropertiesChanged")
        .with_path(adapter.clone());
    watches.push(connection.add_match(rule).await?.cb(move |_, changed: PropertiesPropertiesChanged| {
        if changed.interface_name == ADAPTER && powered(&changed.changed_properties) == Some(false) {
            let _ = report_off.try_send(format!("the adapter {of} was switched off"));
        }
        true
    }));
    Ok(watches)
}

fn powered(properties: &PropMap) -> Option<bool> {
    properties.get("Powered")?.0.as_i64().map(|powered| powered != 0)
}
