//! The advertisement that bluetoothd shows for us: an object on the bus whose data are the frame.
//!
//! Owns the object and the calls that put it on and off the air. How long a frame stays is the worker's business.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dbus::arg::{PropMap, RefArg, Variant};
use dbus::channel::{MatchingReceiver, Sender, Token};
use dbus::message::{MatchRule, SignalArgs};
use dbus::nonblock::stdintf::org_freedesktop_dbus::PropertiesPropertiesChanged;
use dbus::nonblock::{Proxy, SyncConnection};
use dbus::{Error, Path};
use dbus_crossroads::Crossroads;

use super::bus::{BLUEZ, CALL_WITHIN};
use crate::FrameBytes;

/// Where the object stands on our own connection; no other program sees the name.
const OBJECT: &str = "/mesh_gateway/advert";
const ADVERTISEMENT: &str = "org.bluez.LEAdvertisement1";
/// Who registers advertisements, an interface of the adapter.
pub(super) const MANAGER: &str = "org.bluez.LEAdvertisingManager1";

/// What bluetoothd may read of the object at any time.
#[derive(Clone)]
struct Shown {
    company: u16,
    frame: Arc<Mutex<FrameBytes>>,
    /// Whether bluetoothd holds the object, as far as we know.
    registered: Arc<AtomicBool>,
}

impl Shown {
    fn data(&self) -> HashMap<u16, Variant<Vec<u8>>> {
        let frame = self.frame.lock().unwrap_or_else(PoisonError::into_inner);
        // bluetoothd refuses data of no length.
        let data = (!frame.is_empty()).then(|| (self.company, Variant(frame.to_vec())));
        data.into_iter().collect()
    }
}

/// One advertisement, on the air or not.
pub(super) struct Advertisement {
    connection: Arc<SyncConnection>,
    adapter: Path<'static>,
    shown: Shown,
    serving: Token,
}

impl Advertisement {
    /// Puts the object on the connection; nothing is on the air yet.
    pub(super) fn new(connection: Arc<SyncConnection>, adapter: Path<'static>, company: u16) -> Self {
        let shown = Shown { company, frame: Arc::default(), registered: Arc::default() };
        let mut crossroads = Crossroads::new();
        let token = crossroads.register(ADVERTISEMENT, |object| {
            // Nobody is meant to connect. But an advert that cannot be connected to leaves from a random address, and
            // many controllers refuse a new one during a scan; then nothing can be sent. This kind leaves from the
            // adapter's own address. Neither kind has flags: all 31 bytes are the frame's.
            object.property("Type").get(|_, _: &mut Shown| Ok("peripheral".to_owned()));
            object.property("ManufacturerData").get(|_, shown: &mut Shown| Ok(shown.data()));
            object.method("Release", (), (), |_, shown: &mut Shown, (): ()| {
                shown.registered.store(false, Ordering::Relaxed);
                Ok(())
            });
        });
        crossroads.insert(OBJECT, &[token], shown.clone());
        let serve = move |message, connection: &SyncConnection| {
            // A call that cannot be answered is bluetoothd's loss: it gives up the registration, and we hear of it.
            let _ = crossroads.handle_message(message, connection);
            true
        };
        let serving = connection.start_receive(MatchRule::new_method_call(), Box::new(serve));
        Self { connection, adapter, shown, serving }
    }

    /// Whether bluetoothd shows it, with a frame or without.
    pub(super) fn is_registered(&self) -> bool {
        self.shown.registered.load(Ordering::Relaxed)
    }

    /// Puts a frame on the air in place of the one before, or with an empty one an advert without data. Comes back when bluetoothd
    /// has taken notice.
    pub(super) async fn show(&mut self, frame: &FrameBytes) -> Result<(), Error> {
        self.shown.frame.lock().unwrap_or_else(PoisonError::into_inner).clone_from(frame);
        if !self.is_registered() {
            let nothing = PropMap::new();
            let () =
                self.adapter().method_call(MANAGER, "RegisterAdvertisement", (object(), nothing)).await?;
            self.shown.registered.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let data: Variant<Box<dyn RefArg>> = Variant(Box::new(self.shown.data()));
        let changed = PropertiesPropertiesChanged {
            interface_name: ADVERTISEMENT.to_owned(),
            changed_properties: PropMap::from([("ManufacturerData".to_owned(), data)]),
            invalidated_properties: Vec::new(),
        };
        let sent = self.connection.send(changed.to_emit_message(&object()));
        sent.map_err(|()| Error::new_failed("the bus took no message"))?;
        // A signal has no answer. But messages of one sender stay in order: who answers this has had the signal.
        self.adapter().method_call("org.freedesktop.DBus.Peer", "Ping", ()).await
    }

    /// Takes it off the air.
    pub(super) async fn hide(&mut self) -> Result<(), Error> {
        if !self.shown.registered.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        self.adapter().method_call(MANAGER, "UnregisterAdvertisement", (object(),)).await
    }

    fn adapter(&self) -> Proxy<'_, &SyncConnection> {
        Proxy::new(BLUEZ, &self.adapter, CALL_WITHIN, &*self.connection)
    }
}

impl Drop for Advertisement {
    fn drop(&mut self) {
        self.connection.stop_receive(self.serving);
    }
}

fn object() -> Path<'static> {
    Path::from(OBJECT)
}
