//! `mesh-gateway init` and `invite`: a network in the data directory, and others into it.
//!
//! Owns the order of steps, so that what a power cut or an error leaves behind can be tried again. Keys are
//! [`gateway::network`]'s and are seen here only inside an invitation on its way to standard output.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context, anyhow};
use gateway::datadir::{self, DataDir};
use gateway::engine;
use gateway::network::{FIRST_EPOCH, Invitation, NETWORK_FILE, NetKey, Network, NetworkError};
use gateway::settings::{self, DEFAULT_COMPANY_ID, FileSettings, Overrides, SETTINGS_FILE, Settings};
use gateway::store::Store;
use serde_json::json;
use zeroize::Zeroizing;

use super::args::{InitArgs, InviteArgs};
use super::daemon::data_dir_or_default;
use super::output::Output;
use super::secret::SecretSink;

const THEN: &str = "Start the gateway with `mesh-gateway --adapter hci0` (`mesh-gateway adapters` lists what this machine has)";

pub(super) fn init(args: InitArgs, out: Output) -> anyhow::Result<()> {
    let data_dir = data_dir_or_default(args.data_dir.as_deref())?;
    let invitation = args.invite.as_deref().map(read_invitation).transpose()?;
    let network = match (&invitation, &args.net_key_file, args.address) {
        (Some(invitation), ..) => Network::invited(invitation),
        (None, Some(file), Some(address)) => {
            let key = NetKey::read(file)?;
            Network::entered(&args.network, &args.name, address, args.epoch.unwrap_or(FIRST_EPOCH), key)?
        }
        _ => Network::new(&args.network, &args.name)?,
    };
    let dir = DataDir::open(&data_dir)?;
    let network_file = data_dir.join(NETWORK_FILE);
    if network_file.symlink_metadata().is_ok() {
        return Err(NetworkError::Exists { path: network_file }.into());
    }
    // The network's own file last: while it is not there, all of this can be done again.
    let (store, _) = Store::open(dir.path())?;
    start_record(store, &network)?;

    let company_id = invitation.as_ref().map_or(DEFAULT_COMPANY_ID, |invitation| invitation.company_id);
    let settings_file = data_dir.join(SETTINGS_FILE);
    if settings_file.symlink_metadata().is_ok() {
        out.note(format_args!(
            "kept the settings file {}; check that radio.company_id is 0x{company_id:04X} there, as in the network",
            settings_file.display()
        ));
    } else {
        datadir::atomic_write(&settings_file, settings::template(company_id).as_bytes(), 0o600)
            .with_context(|| format!("writing the settings file {}", settings_file.display()))?;
    }

    network.found(&data_dir)?;

    let about = json!({
        "network": network.name,
        "name": network.node,
        "address": network.address.to_string(),
        "epoch": network.epoch,
        "owner": network.is_owner(),
        "data_dir": data_dir.display().to_string(),
        "settings": settings_file.display().to_string(),
    });
    out.result(&about, || {
        let Network { name, node, address, .. } = &network;
        format!("{node} is in the network {name} at {address}; its key is in {}", network_file.display())
    })?;
    out.note(if invitation.is_some() {
        format!("the invitation is used up: delete it. {THEN}")
    } else {
        format!(
            "change {} if need be, invite others with `mesh-gateway invite NAME`. {THEN}",
            settings_file.display()
        )
    });
    Ok(())
}

/// Brings to the disk that no sequence number of the new key has been used.
fn start_record(store: Store, network: &Network) -> anyhow::Result<()> {
    let fingerprint = engine::fingerprint(network.key.as_bytes(), network.epoch);
    store.submit(vec![engine::fresh_seq(fingerprint, network.address)]);
    Ok(store.close()?)
}

fn read_invitation(file: &Path) -> anyhow::Result<Invitation> {
    if file == Path::new("-") {
        return Ok(Invitation::read(io::stdin().lock())?);
    }
    if Invitation::looks_like(file.as_os_str().as_encoded_bytes()) {
        // Not repeated here: it is the network's key.
        return Err(anyhow!(
            "reading the invitation: that is the invitation itself, which now stands in the history of the shell; pipe it \
             to `mesh-gateway init --invite -`, or name a file that holds it"
        ));
    }
    let opened = File::open(file);
    let opened = opened.map_err(|why| {
        anyhow!("reading the invitation {}: {why}; name its file, or - for standard input", file.display())
    })?;
    let exposed = datadir::open_to_others(&opened).context("reading the invitation")?;
    if exposed {
        return Err(anyhow!(
            "reading the invitation {0}: others than its owner may read it, and it holds the network's key; run `chmod 600 {0}`",
            file.display()
        ));
    }
    Ok(Invitation::read(opened)?)
}

pub(super) fn invite(args: &InviteArgs, out: Output) -> anyhow::Result<()> {
    let data_dir = data_dir_or_default(args.data_dir.as_deref())?;
    let company_id = company_id(&data_dir)?;
    let mut sink = SecretSink::open(args.out.as_deref(), "the invitation", out)?;
    let invitation = Network::invite(&data_dir, &args.name, company_id)?;
    let line = invitation.to_line()?;
    // As long as it gets, so that no copy of the key is left behind.
    let mut text = Zeroizing::new(String::with_capacity(line.len() + 128));
    if out.json {
        // Names and the line need no escaping: letters, digits and a few signs.
        let parts = [
            "{\"name\":\"",
            &args.name,
            "\",\"address\":\"",
            &invitation.address.to_string(),
            "\",\"invitation\":\"",
            &line,
            "\"}\n",
        ];
        parts.iter().for_each(|part| text.push_str(part));
    } else {
        text.push_str(&line);
        text.push('\n');
    }
    sink.put(text.as_bytes()).map_err(|error| {
        let lost = format!("{} has {} now, but nobody took the invitation", args.name, invitation.address);
        // Not the success that a closed pipe is elsewhere: the address is spent.
        anyhow!("inviting: {lost}; invite it again under another name ({error})")
    })?;
    out.note(format_args!(
        "{} brings {} in at {}, once; it holds the network's key. Give it to `mesh-gateway init --invite -` there \
         over a safe way, and keep no copy",
        sink.about(),
        args.name,
        invitation.address
    ));
    Ok(())
}

/// The company identifier that this gateway's adverts carry.
fn company_id(data_dir: &Path) -> anyhow::Result<u16> {
    let file = data_dir.join(SETTINGS_FILE);
    let file = file.symlink_metadata().is_ok().then_some(file);
    let file = file.as_deref().map(FileSettings::read).transpose()?;
    let over = Overrides { data_dir: Some(data_dir.to_owned()), ..Overrides::default() };
    Ok(Settings::resolve(file, over)?.radio.company_id)
}
