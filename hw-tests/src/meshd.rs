//! BlueZ's own mesh daemon, as something to measure against: a node of it on a bus of its own, and an application on that node.
//!
//! Owns what it takes to have one: a bus, the daemon, and the objects that it wants of an application. Messages go under device keys,
//! which needs no further set-up between two nodes.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use dbus::arg::{PropMap, Variant};
use dbus::channel::{Channel, MatchingReceiver};
use dbus::message::MatchRule;
use dbus::nonblock::{Proxy, SyncConnection};
use dbus_crossroads::{Crossroads, IfaceBuilder};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const MESHD: &str = "org.bluez.mesh";
const ROOT: &str = "/org/bluez/mesh";
/// The object whose business it is to list the others; it does not list itself.
const TREE: &str = "/";
const APP: &str = "/app";
const ELEMENT: &str = "/app/element";
/// The only network key there is.
const NET_INDEX: u16 = 0;
/// What a call may take, in an emulated machine.
const CALL_WITHIN: Duration = Duration::from_secs(30);
/// A vendor's opcode of three bytes: what a message begins with. The company is the one for tests.
const OPCODE: [u8; 3] = [0xC1, 0xFF, 0xFF];

/// The daemon, its bus, and the application's end of it.
pub struct Meshd {
    connection: Arc<SyncConnection>,
    node: dbus::Path<'static>,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
    _processes: [Child; 2],
}

/// A node that can be sent to.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its unicast address.
    pub address: u16,
    /// Its device key.
    pub device_key: [u8; 16],
}

/// For each element its models and what each was told: nothing here.
type Configuration = Vec<(u8, Vec<(u16, PropMap)>)>;

struct App {
    token: mpsc::UnboundedSender<Result<u64, String>>,
    heard: mpsc::UnboundedSender<Vec<u8>>,
}

impl Meshd {
    /// Starts a bus and a daemon that keep their files in `folder`, with an adapter for the daemon alone, and makes the daemon the node
    /// `me` of the network of `net_key`. `program` is the daemon's, with what goes before its own arguments.
    ///
    /// # Errors
    /// Where it got no further.
    pub async fn start(
        program: &[String],
        adapter: &str,
        folder: &Path,
        net_key: [u8; 16],
        me: Member,
        others: &[Member],
    ) -> Result<Self> {
        let [program, before @ ..] = program else { bail!("starting bluetooth-meshd: no program is named") };
        let storage = folder.join("meshd");
        std::fs::create_dir_all(&storage).with_context(|| format!("making {}", storage.display()))?;
        let address = format!("unix:path={}", folder.join("bus").display());
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--config-file=/usr/share/dbus-1/system.conf", "--nofork", "--nopidfile"])
            .arg(format!("--address={address}"));
        let bus = spawn(bus)?;
        let channel = within("the bus", || async { open(&address).ok() }).await?;
        let (resource, connection) = dbus_tokio::connection::from_channel::<SyncConnection>(channel)?;
        tokio::spawn(resource);
        let mut daemon = Command::new(program);
        daemon
            .args(before)
            .arg(format!("--io=generic:{adapter}"))
            .args(["--nodetach", "--storage"])
            .arg(&storage)
            .env("DBUS_SYSTEM_BUS_ADDRESS", &address);
        let daemon = spawn(daemon)?;

        let (token, mut tokens) = mpsc::unbounded_channel();
        let (heard_by_app, heard) = mpsc::unbounded_channel();
        serve(&connection, App { token, heard: heard_by_app });
        let root = Proxy::new(MESHD, ROOT, CALL_WITHIN, &*connection);
        // The interface is there once the daemon has a controller.
        within("bluetooth-meshd with a controller", || async {
            let asked: Result<(String,), _> =
                root.method_call("org.freedesktop.DBus.Introspectable", "Introspect", ()).await;
            asked.ok().filter(|(xml,)| xml.contains("org.bluez.mesh.Network1"))
        })
        .await?;
        // The daemon looks at the version, 4, and the variant.
        let mut uuid = me.device_key;
        (uuid[6], uuid[8]) = (0x40, 0x80);
        let import = (
            dbus::Path::from(TREE),
            uuid.to_vec(),
            me.device_key.to_vec(),
            net_key.to_vec(),
            NET_INDEX,
            PropMap::new(),
            0_u32,
            me.address,
        );
        let () = root
            .method_call("org.bluez.mesh.Network1", "Import", import)
            .await
            .map_err(|error| anyhow!("importing the node: {error}"))?;
        let token = timeout(CALL_WITHIN, tokens.recv()).await.context("importing the node: no answer")?;
        let token = token.context("importing the node: the bus is gone")?.map_err(anyhow::Error::msg)?;
        let (node, _): (dbus::Path<'static>, Configuration) = root
            .method_call("org.bluez.mesh.Network1", "Attach", (dbus::Path::from(TREE), token))
            .await
            .map_err(|error| anyhow!("attaching to the node: {error}"))?;
        let management = Proxy::new(MESHD, &node, CALL_WITHIN, &*connection);
        for other in others {
            let () = management
                .method_call(
                    "org.bluez.mesh.Management1",
                    "ImportRemoteNode",
                    (other.address, 1_u8, other.device_key.to_vec()),
                )
                .await
                .map_err(|error| anyhow!("telling it of {:#06x}: {error}", other.address))?;
        }
        Ok(Self { connection, node, heard, _processes: [bus, daemon] })
    }

    /// Sends bytes to another node; comes back when the daemon has taken them.
    ///
    /// # Errors
    /// What the daemon says against it.
    pub async fn send(&self, to: u16, bytes: &[u8]) -> Result<()> {
        self.sending(to, bytes).await
    }

    /// The same, for somebody else to wait for.
    pub fn sending(&self, to: u16, bytes: &[u8]) -> impl Future<Output = Result<()>> + Send + 'static {
        let data: Vec<u8> = OPCODE.iter().chain(bytes).copied().collect();
        let message = (dbus::Path::from(ELEMENT), to, true, NET_INDEX, PropMap::new(), data);
        let node = Proxy::new(MESHD, self.node.clone(), CALL_WITHIN, Arc::clone(&self.connection));
        let call = node.method_call("org.bluez.mesh.Node1", "DevKeySend", message);
        async move { call.await.map_err(|error| anyhow!("sending: {error}")) }
    }

    /// The next message that arrived. Cancel safe.
    ///
    /// # Errors
    /// When the bus is gone.
    pub async fn heard(&mut self) -> Result<Vec<u8>> {
        self.heard.recv().await.context("listening: the bus is gone")
    }
}

/// The objects of the application, as the daemon wants them.
fn serve(connection: &SyncConnection, app: App) {
    let mut crossroads = Crossroads::new();
    let manager = crossroads.object_manager::<()>();
    let application = crossroads.register("org.bluez.mesh.Application1", |object: &mut IfaceBuilder<App>| {
        for (property, value) in [("CompanyID", 0xFFFF_u16), ("ProductID", 1), ("VersionID", 1)] {
            object.property(property).get(move |_, _| Ok(value));
        }
        object.method("JoinComplete", ("token",), (), |_, app, (token,): (u64,)| {
            let _ = app.token.send(Ok(token));
            Ok(())
        });
        object.method("JoinFailed", ("reason",), (), |_, app, (reason,): (String,)| {
            let _ = app.token.send(Err(reason));
            Ok(())
        });
    });
    let heard = app.heard.clone();
    let element = crossroads.register(
        "org.bluez.mesh.Element1",
        |object: &mut IfaceBuilder<mpsc::UnboundedSender<Vec<u8>>>| {
            object.property("Index").get(|_, _| Ok(0_u8));
            object.property("Location").get(|_, _| Ok(0_u16));
            object.property("Models").get(|_, _| Ok(Vec::<(u16, PropMap)>::new()));
            let models = || vec![(0xFFFF_u16, 1_u16, PropMap::new())];
            object.property("VendorModels").get(move |_, _| Ok(models()));
            object.method(
                "DevKeyMessageReceived",
                ("source", "remote", "net_index", "data"),
                (),
                |_, heard, (_, _, _, data): (u16, bool, u16, Vec<u8>)| {
                    if let Some(bytes) = data.strip_prefix(&OPCODE) {
                        let _ = heard.send(bytes.to_vec());
                    }
                    Ok(())
                },
            );
            object.method(
                "MessageReceived",
                ("source", "key_index", "destination", "data"),
                (),
                |_, _, _: (u16, u16, Variant<u16>, Vec<u8>)| Ok(()),
            );
        },
    );
    crossroads.insert(TREE, &[manager], ());
    crossroads.insert(APP, &[application], app);
    crossroads.insert(ELEMENT, &[element], heard);
    connection.start_receive(
        MatchRule::new_method_call(),
        Box::new(move |message, connection: &SyncConnection| {
            // A call that cannot be answered is the daemon's loss, and shows as such.
            let _ = crossroads.handle_message(message, connection);
            true
        }),
    );
}

fn open(address: &str) -> Result<Channel, dbus::Error> {
    let mut channel = Channel::open_private(address)?;
    channel.register()?;
    Ok(channel)
}

fn spawn(mut command: Command) -> Result<Child> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().with_context(|| format!("starting {program}"))
}

async fn within<T, F: Future<Output = Option<T>>>(what: &str, attempt: impl Fn() -> F) -> Result<T> {
    let waiting = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(CALL_WITHIN, waiting).await.with_context(|| format!("waiting for {what}: nothing within 30 s"))
}
