use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mesh_agent::api::{Ask, Body, RouteRemove};
use mesh_protocol::{Address, MessageType};

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn grant() -> Grant {
    Grant::new(name("sensor"), Digest::of("a token"))
}

fn send(to: &str) -> SendRequest {
    SendRequest::new(to.parse().unwrap(), MessageType::Task, Body::text("12345678"))
}

/// What it says against this.
fn against(grant: &Grant, send: SendRequest) -> String {
    let refusal = grant.allows(name("sensor"), &Request::Send(send)).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::Unauthorised);
    assert!(refusal.message.contains("the access token sensor"), "{refusal}");
    assert!(refusal.hint.is_some() && refusal.field.is_some(), "{refusal:?}");
    refusal.to_string()
}

fn allows(grant: &Grant, send: SendRequest) -> bool {
    grant.allows(name("sensor"), &Request::Send(send)).is_ok()
}

#[test]
fn a_grant_without_limits_allows_what_agents_do_and_nothing_of_an_operator() {
    let grant = grant();
    let mut urgent = send("everyone");
    urgent.priority = Priority::Critical;
    assert!(
        allows(&grant, urgent)
            && allows(&grant, send("group:kitchen"))
            && allows(&grant, send("node:0x0002"))
    );
    assert_eq!(grant.allows(name("sensor"), &Request::Status(Ask { reference: None })), Ok(()));
    assert_eq!(grant.allows_name(&name("anyone")), Ok(()));
    let operators = Request::RouteRemove(RouteRemove { reference: None, destination: Address::new(2) });
    let refusal = grant.allows(name("sensor"), &operators).unwrap_err();
    assert!(
        refusal.code == ErrorCode::Unauthorised && refusal.to_string().contains("--operator"),
        "{refusal}"
    );
    assert_eq!(Grant { operator: true, ..grant }.allows(name("sensor"), &operators), Ok(()));
}

#[test]
fn each_limit_is_kept_and_the_refusal_says_what_is_allowed() {
    let to = ["bob", "group:kit*"].map(|text| text.parse().unwrap()).to_vec();
    let limited = Grant { to, ..grant() };
    assert!(allows(&limited, send("bob")) && allows(&limited, send("group:kitchen")));
    for to in ["everyone", "node:0x0002", "alice", "group:hall"] {
        assert!(against(&limited, send(to)).contains("write to bob, group:kit*"));
    }

    let limited = Grant { max_priority: Some(Priority::Medium), ..grant() };
    for (priority, good) in Priority::ALL.into_iter().zip([false, false, true, true]) {
        assert_eq!(allows(&limited, SendRequest { priority, ..send("bob") }), good, "{priority}");
    }
    assert!(against(&limited, SendRequest { priority: Priority::High, ..send("bob") }).contains("MEDIUM"));

    let limited = Grant { max_body: Some(8), ..grant() };
    assert!(allows(&limited, send("bob")));
    let limited = Grant { max_body: Some(7), ..grant() };
    assert!(against(&limited, send("bob")).contains("bodies of 7 bytes and this one has 8"));

    let limited = Grant { broadcast: false, ..grant() };
    assert!(allows(&limited, send("bob")) && allows(&limited, send("node:0x0002")));
    for to in ["everyone", "group:kitchen"] {
        assert!(against(&limited, send(to)).contains("nothing to many"));
    }

    let limited = Grant { names: vec!["sensor-*".parse().unwrap()], ..grant() };
    assert_eq!(limited.allows_name(&name("sensor-1")), Ok(()));
    let why = limited.allows_name(&name("alice")).unwrap_err().to_string();
    assert!(why.contains("is for sensor-*"), "{why}");
}

#[test]
fn the_file_holds_what_tokens_allow_and_never_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert_eq!(read_dir(dir).unwrap(), None);
    let full = |sha256| Grant {
        names: vec!["sensor-*".parse().unwrap()],
        to: vec!["bob".parse().unwrap(), "group:*".parse().unwrap()],
        max_priority: Some(Priority::Medium),
        rate: Some("5/s".parse().unwrap()),
        max_body: Some(100),
        broadcast: false,
        operator: true,
        ..Grant::new(name("sensor"), sha256)
    };
    let (secret, written) = add(dir, full).unwrap();
    let (other, plain) = add(dir, |sha256| Grant::new(name("plain"), sha256)).unwrap();
    assert_ne!(secret.as_str(), other.as_str());
    assert_eq!(secret.as_str().len(), 36, "24 random bytes in base64, and mgt_");
    assert_eq!(written.sha256, Digest::of(secret.as_str()));
    assert_eq!(read_dir(dir).unwrap(), Some(vec![written, plain.clone()]));
    assert_eq!(format!("{secret:?}"), "Secret(..)");

    let path = dir.join(TOKENS_FILE);
    let text = fs::read_to_string(&path).unwrap();
    for secret in [secret, other] {
        assert!(!text.contains(secret.as_str()) && !text.contains(&secret.as_str()[4..]), "{text}");
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let again = add(dir, |sha256| Grant::new(name("plain"), sha256)).unwrap_err();
    assert!(matches!(again, AccessError::Exists(_)), "{again}");
    assert_eq!(remove(dir, &name("sensor"), false).unwrap(), 1);
    assert!(matches!(remove(dir, &name("sensor"), false), Err(AccessError::Unknown(_))));
    assert_eq!(read_dir(dir).unwrap(), Some(vec![plain]));
    assert_eq!(remove(dir, &name("plain"), false).unwrap(), 0);
    assert_eq!(read_dir(dir).unwrap(), Some(vec![]), "the file stays, and asks for a token that nobody has");
}

#[test]
fn the_file_has_a_bound_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let tokens: String = (0..1_000)
        .map(|n| {
            format!("[[token]]\nname = \"t{n}\"\nsha256 = \"{}\"\n", String::from(Digest::of(&n.to_string())))
        })
        .collect();
    let path = dir.join(TOKENS_FILE);
    fs::write(&path, format!("version = 1\n{tokens}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(read_dir(dir).unwrap().unwrap().len(), 1_000);
    let full = add(dir, |sha256| Grant::new(name("more"), sha256)).unwrap_err();
    assert!(matches!(full, AccessError::Full(_)) && full.to_string().contains("1000 tokens"), "{full}");
    remove(dir, &name("t7"), false).unwrap();
    let wide = |sha256| Grant { to: vec!["bob".parse().unwrap(); 65], ..Grant::new(name("more"), sha256) };
    assert!(matches!(add(dir, wide), Err(AccessError::Full(_))));
    add(dir, |sha256| Grant::new(name("more"), sha256)).unwrap();
}

#[test]
fn a_file_that_others_can_change_or_nobody_can_read_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(TOKENS_FILE);
    let said = |text: &str, mode| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read_file(Path::new(&path)).unwrap_err().to_string()
    };
    assert!(said("version = 1\n", 0o640).contains("chmod 600"));
    let sha = "00".repeat(32);
    for (text, what) in [
        ("version = 2\n".to_owned(), "the layout 2"),
        ("version = 1\n[[token]]\nname = \"a\"\nsha256 = \"00\"\n".to_owned(), "line 4: a SHA-256 has 64"),
        (
            format!("version = 1\n[[token]]\nname = \"a\"\nsha256 = \"{sha}\"\ncolour = 1\n"),
            "line 5: unknown field",
        ),
        (
            format!("version = 1\n[[token]]\nname = \"a\"\nsha256 = \"{sha}\"\nto = [\"a b\"]\n"),
            "no such destination",
        ),
        (
            format!("version = 1\n{0}{0}", format!("[[token]]\nname = \"a\"\nsha256 = \"{sha}\"\n")),
            "is in it twice",
        ),
    ] {
        let error = said(&text, 0o600);
        assert!(error.contains(what), "{what}: {error}");
    }
}
