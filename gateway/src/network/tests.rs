use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

fn invited(data_dir: &Path, name: &str) -> Invitation {
    Network::invite(data_dir, name, 0xFFFF).unwrap()
}

fn create(data_dir: &Path, name: &str, node: &str) -> Result<Network, NetworkError> {
    let network = Network::new(name, node)?;
    network.found(data_dir).map(|()| network)
}

fn join(data_dir: &Path, invitation: &Invitation) -> Result<(), NetworkError> {
    Network::invited(invitation).found(data_dir)
}

#[test]
fn an_owner_invites_and_the_invited_gateway_knows_the_same_network() {
    let (owner_dir, guest_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let owner = create(owner_dir.path(), "valley", "base").unwrap();
    assert_eq!((owner.address, owner.epoch, owner.is_owner()), (OWNER_ADDRESS, 1, true));
    let mode = fs::metadata(owner_dir.path().join(NETWORK_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let line = Network::invite(owner_dir.path(), "hut-2", 0x0059).unwrap().to_line().unwrap();
    let invitation = Invitation::read(format!("\n{}\n", *line).as_bytes()).unwrap();
    assert_eq!(invitation.company_id, 0x0059);
    join(guest_dir.path(), &invitation).unwrap();

    let guest = Network::load(guest_dir.path()).unwrap();
    assert_eq!(guest.key.as_bytes(), owner.key.as_bytes());
    assert_eq!((guest.name.as_str(), guest.node.as_str()), ("valley", "hut-2"));
    assert_eq!((guest.address, guest.epoch, guest.is_owner()), (Address::new(2), 1, false));
    assert_eq!(guest.leases().count(), 0);
    let error = Network::invite(guest_dir.path(), "hut-3", 0xFFFF).unwrap_err();
    assert!(matches!(error, NetworkError::NotOwner { .. }), "{error}");

    let owner = Network::load(owner_dir.path()).unwrap();
    let leases: Vec<_> = owner.leases().collect();
    assert_eq!(leases, [("base", Address::new(1)), ("hut-2", Address::new(2))]);
}

#[test]
fn a_network_is_never_made_over_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let first = create(dir.path(), "valley", "base").unwrap();
    let invitation = invited(dir.path(), "hut");
    let again = create(dir.path(), "other", "base").unwrap_err();
    let joined = join(dir.path(), &invitation).unwrap_err();
    assert!(matches!(again, NetworkError::Exists { .. }), "{again}");
    assert!(matches!(joined, NetworkError::Exists { .. }), "{joined}");
    assert_eq!(Network::load(dir.path()).unwrap().key.as_bytes(), first.key.as_bytes());
}

#[test]
fn without_a_network_the_errors_say_what_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nowhere");
    for error in [Network::load(&missing).unwrap_err(), Network::invite(&missing, "hut", 0).unwrap_err()] {
        assert!(matches!(error, NetworkError::Missing { .. }), "{error}");
        assert!(error.to_string().contains("mesh-gateway init"), "{error}");
    }
    assert!(!missing.exists());
}

#[test]
fn a_name_invited_twice_is_told_its_address_and_no_address_is_spent() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), "valley", "base").unwrap();
    invited(dir.path(), "hut");
    for (name, holder) in [("hut", Address::new(2)), ("base", OWNER_ADDRESS)] {
        let error = Network::invite(dir.path(), name, 0).unwrap_err();
        assert!(matches!(&error, NetworkError::Leased { address, .. } if *address == holder), "{error}");
        assert!(error.to_string().contains(&holder.to_string()), "{error}");
    }
    assert_eq!(invited(dir.path(), "hut-2").address, Address::new(3));
}

#[test]
fn names_are_checked_at_both_ends() {
    for good in ["a", "Hut_2.west-b", &"x".repeat(MAX_NAME)] {
        check_name(good).unwrap();
    }
    for bad in ["", "a b", "hütte", "a\"b", "a\n", &"x".repeat(MAX_NAME + 1)] {
        assert!(matches!(check_name(bad), Err(NetworkError::BadName)), "{bad:?}");
    }
    assert!(matches!(Network::new("val ley", "base"), Err(NetworkError::BadName)));
    assert!(matches!(Network::new("valley", ""), Err(NetworkError::BadName)));
    let mut invitation = sample();
    invitation.name = "a b".to_owned();
    assert!(matches!(invitation.to_line(), Err(InvitationError::Fields)));
}

#[test]
fn the_last_address_is_leased_and_then_no_more() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), "valley", "base").unwrap();
    let path = dir.path().join(NETWORK_FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("next = 2", "next = 32767")).unwrap();
    assert_eq!(invited(dir.path(), "last").address, Address::LAST_NODE);
    let error = Network::invite(dir.path(), "one-more", 0).unwrap_err();
    assert!(matches!(error, NetworkError::Exhausted { .. }), "{error}");
    assert_eq!(Network::load(dir.path()).unwrap().leases().count(), 2);
}

#[test]
fn threads_that_invite_at_once_get_different_addresses() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), "valley", "base").unwrap();
    let addresses: BTreeSet<_> = std::thread::scope(|scope| {
        let path = dir.path();
        let threads: Vec<_> =
            (0..8).map(|i| scope.spawn(move || invited(path, &format!("hut-{i}")).address)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(addresses, (2..=9).map(Address::new).collect());
}

/// Not a story of its own: the process that the next test starts several times.
#[test]
fn child_process_that_invites() {
    if let (Some(dir), Some(name)) =
        (std::env::var_os("TEST_INVITE_DIR"), std::env::var("TEST_INVITE_NAME").ok())
    {
        invited(Path::new(&dir), &name);
    }
}

#[test]
fn processes_that_invite_at_once_get_different_addresses() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), "valley", "base").unwrap();
    let children: Vec<_> = (0..4)
        .map(|i| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "network::tests::child_process_that_invites"])
                .env("TEST_INVITE_DIR", dir.path())
                .env("TEST_INVITE_NAME", format!("hut-{i}"))
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let network = Network::load(dir.path()).unwrap();
    let addresses: BTreeSet<_> = network.leases().map(|(_, address)| address).collect();
    assert_eq!(addresses, (1..=5).map(Address::new).collect());
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), "valley", "base").unwrap();
    let path = dir.path().join(NETWORK_FILE);
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Network::load(dir.path()).unwrap_err();
        assert!(matches!(error, NetworkError::Exposed { .. }), "{error}");
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
    }
}

#[test]
fn a_damaged_file_is_refused_and_its_text_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let key = create(dir.path(), "valley", "base").unwrap().key.to_hex();
    invited(dir.path(), "hut");
    let path = dir.path().join(NETWORK_FILE);
    let good = fs::read_to_string(&path).unwrap();
    let quoted = format!("\"{}\"", *key);
    for (from, to) in [
        (quoted.as_str(), key.as_str()), // no quotes: a TOML error right at the key
        (&quoted, &quoted[..20]),        // cut off
        (&quoted, "\"zz\""),             // not hex
        ("key =", "kee ="),              // unknown field
        ("version = 1", "version = 2"),  // from the future
        ("next = 3", "next = 2"),        // would lease 2 again
        ("\"hut\" = 2", "\"hut\" = 1"),  // one address, two holders
        ("\"base\" = 1", "\"elsewhere\" = 1"), // the owner itself is missing
        ("address = 1", "address = 32768"), // a group
        ("name = \"valley\"", "name = \"v y\""), // a name that no invitation could carry
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(&path, good.replace(from, to)).unwrap();
        let error = Network::load(dir.path()).unwrap_err();
        assert!(matches!(error, NetworkError::Damaged { .. }), "{from}: {error}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains(&key[..8]), "{from}");
        }
    }
    fs::write(&path, [0xff; 64]).unwrap();
    assert!(matches!(Network::load(dir.path()), Err(NetworkError::Damaged { .. })));
    fs::write(&path, good).unwrap();
    Network::load(dir.path()).unwrap();
}

fn sample() -> Invitation {
    Invitation {
        key: NetKey::new([0xa5; 16]),
        epoch: u32::MAX,
        address: Address::LAST_NODE,
        name: "n".repeat(MAX_NAME),
        network: "w".repeat(MAX_NAME),
        company_id: u16::MAX,
    }
}

#[test]
fn the_longest_invitation_survives_the_line() {
    let line = sample().to_line().unwrap();
    let back = Invitation::parse(&line).unwrap();
    assert_eq!(back.key.as_bytes(), &[0xa5; 16]);
    assert_eq!((back.epoch, back.address, back.company_id), (u32::MAX, Address::LAST_NODE, u16::MAX));
    assert_eq!((back.name, back.network), ("n".repeat(MAX_NAME), "w".repeat(MAX_NAME)));
}

/// The line is a format that other implementations read: it must not change under one version.
#[test]
fn the_line_is_the_documented_bytes() {
    let invitation = Invitation {
        key: NetKey::from_hex("000102030405060708090a0b0c0d0e0f").unwrap(),
        epoch: 1,
        address: Address::new(2),
        name: "hut".to_owned(),
        network: "valley".to_owned(),
        company_id: 0xFFFF,
    };
    assert_eq!(*invitation.to_line().unwrap(), "mesh1:AQABAgMEBQYHCAkKCwwNDg8BAgNodXQGdmFsbGV5__8DUkXglQ");
}

#[test]
fn a_cut_off_or_altered_line_is_refused_without_repeating_it() {
    let line = sample().to_line().unwrap();
    for end in 0..line.len() {
        let error = Invitation::parse(&line[..end]).unwrap_err();
        assert!(matches!(error, InvitationError::NotOne | InvitationError::Garbled), "{end}: {error}");
        assert!(!error.to_string().contains(&line[10..20]));
    }
    for at in 6..line.len() {
        let other = if line.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut altered = line.to_string();
        altered.replace_range(at..=at, other);
        assert!(matches!(Invitation::parse(&altered), Err(InvitationError::Garbled)), "{at}");
    }
    assert!(matches!(Invitation::parse("hello"), Err(InvitationError::NotOne)));
    assert!(matches!(
        Invitation::parse(&format!("mesh1:{}", "A".repeat(5000))),
        Err(InvitationError::Garbled)
    ));
    assert!(matches!(Invitation::read(&[0xff; 10][..]), Err(InvitationError::NotOne)));
}

#[test]
fn debug_texts_show_no_key() {
    let key = sample().key.to_hex();
    let text = format!("{:?}", sample());
    assert!(!text.contains("165") && !text.contains(&key[..4]), "{text}");
}
