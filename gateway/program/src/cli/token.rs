//! `mesh-gateway token`: who may come in over TCP, and what each may do.
//!
//! Owns how tokens are shown. The file they stand in is [`gateway::access`]'s; a token itself is seen here once, on its way to
//! standard output.

use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use gateway::access::{self, Grant, NamePattern, Quota};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::args::{TokenAddArgs, TokenArgs, TokenCommand};
use super::daemon::data_dir_or_default;
use super::fault::{Code, Failure, usage};
use super::output::{Output, table};
use super::secret::SecretSink;

pub(super) fn run(args: TokenArgs, out: Output) -> anyhow::Result<()> {
    match args.command {
        TokenCommand::Add(args) => add(args, out),
        TokenCommand::List { data_dir } => {
            let tokens = access::read_dir(&data_dir_or_default(data_dir.as_deref())?)?.unwrap_or_default();
            let object = json!({ "tokens": tokens.iter().map(limits).collect::<Vec<_>>() });
            out.result(&object, || show(&tokens))
        }
        TokenCommand::Remove { name, purge, data_dir } => {
            let left = access::remove(&data_dir_or_default(data_dir.as_deref())?, &name, purge)?;
            out.result(&json!({ "name": name, "removed": true, "purged": purge, "left": left }), || {
                let sent = if purge { ", and sends nothing more of what came with it" } else { "" };
                format!(
                    "{name} is no longer let in; a running gateway ends its sessions within a second{sent}"
                )
            })?;
            if left == 0 {
                out.note("that was the last one: nobody is let in over TCP until there is another; delete tokens.toml to ask for none");
            }
            Ok(())
        }
    }
}

fn add(args: TokenAddArgs, out: Output) -> anyhow::Result<()> {
    if args.no_broadcast && args.to.iter().any(access::DestinationPattern::is_for_many) {
        return Err(usage(
            "adding an access token: --no-broadcast forbids what --to allows; leave one of the two out",
        )
        .into());
    }
    let data_dir = data_dir_or_default(args.data_dir.as_deref())?;
    if !data_dir.is_dir() {
        let why = format!(
            "adding an access token: there is no data directory {}; correct --data-dir, or make one with `mesh-gateway init`",
            data_dir.display()
        );
        return Err(Failure(Code::DataDir, why).into());
    }
    let first = access::read_dir(&data_dir)?.is_none_or(|tokens| tokens.is_empty());
    let mut sink = SecretSink::open(args.out.as_deref(), "the access token", out)?;
    let grant = |sha256| Grant {
        expires: args.expires,
        names: args.names,
        to: args.to,
        max_priority: args.max_priority,
        rate: args.rate,
        max_body: args.max_body,
        max_sessions: args.max_sessions,
        max_agents: args.max_agents,
        max_groups: args.max_groups,
        max_messages: args.max_messages,
        max_bytes: args.max_bytes,
        max_deadline_s: args.max_deadline.map(whole_seconds),
        broadcast: !args.no_broadcast,
        operator: args.operator,
        ..Grant::new(args.name, sha256)
    };
    let (secret, grant) = access::add(&data_dir, |sha256| {
        let grant = grant(sha256);
        // Whoever may not do everything may not be anybody either, and read what is sent to others.
        match grant.names.is_empty() && !grant.operator && grant.quota().is_some() {
            true => Grant { names: vec![NamePattern::exactly(&grant.name)], ..grant },
            false => grant,
        }
    })?;
    // As long as it gets, so that no copy of the token is left behind.
    let about = limits(&grant).to_string();
    let mut text = Zeroizing::new(String::with_capacity(secret.as_str().len() + about.len() + 16));
    if out.json {
        // The token needs no escaping: letters, digits and a few signs.
        let fields = about.strip_prefix('{').unwrap_or(&about);
        ["{\"token\":\"", secret.as_str(), "\",", fields].iter().for_each(|part| text.push_str(part));
    } else {
        text.push_str(secret.as_str());
    }
    text.push('\n');
    sink.put(text.as_bytes()).map_err(|error| {
        // Not the success that a closed pipe is elsewhere: nobody can show this token.
        let name = grant.name;
        anyhow!("adding an access token: nobody took it ({error}); remove it with `mesh-gateway token remove {name}` and add it again")
    })?;
    out.note(format_args!(
        "{} is the token {}; it is not shown again. Give it as `token` in the hello, or in a file (chmod 600) to --token-file",
        sink.about(),
        grant.name
    ));
    if first {
        out.note(format_args!(
            "it is the first one: from now on every program over TCP needs a token, those of this machine too; the Unix socket \
             needs none. To go back, `mesh-gateway token remove {}` and delete {}",
            grant.name,
            data_dir.join(access::TOKENS_FILE).display()
        ));
    }
    Ok(())
}

/// What a token allows; what is not limited is left out.
fn limits(grant: &Grant) -> Value {
    let Grant { name, expires, names, to, max_priority, rate, max_body, broadcast, operator, .. } = grant;
    let mut object = json!({ "name": name, "broadcast": broadcast, "operator": operator });
    if let Some(expires) = expires {
        object["expires"] = json!(expires);
        object["expired"] = json!(expires.is_over(SystemTime::now()));
    }
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object[key] = value;
        }
    };
    put("as", (!names.is_empty()).then(|| json!(names)));
    put("to", (!to.is_empty()).then(|| json!(to)));
    put("max_priority", max_priority.map(|priority| json!(priority.name())));
    put("rate", rate.map(|rate| json!(rate)));
    put("max_body", max_body.map(|most| json!(most)));
    let quota = grant.quota();
    let mut put = |key: &str, of: fn(Quota) -> u32| put(key, quota.map(|quota| json!(of(quota))));
    put("max_sessions", |quota| quota.sessions);
    put("max_agents", |quota| quota.agents);
    put("max_groups", |quota| quota.groups);
    put("max_messages", |quota| quota.messages);
    put("max_bytes", |quota| quota.bytes);
    put("max_deadline_s", |quota| quota.deadline_s);
    object
}

fn show(tokens: &[Grant]) -> String {
    fn all<T: ToString>(several: &[T]) -> String {
        if several.is_empty() {
            return "*".to_owned();
        }
        several.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
    let or_any = |value: Option<String>| value.unwrap_or_else(|| "any".to_owned());
    let quota = |token: &Grant, of: fn(Quota) -> String| or_any(token.quota().map(of));
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let rows: Vec<_> = tokens
        .iter()
        .map(|token| {
            [
                token.name.to_string(),
                until(token),
                all(&token.names),
                token.max_priority.map_or("CRITICAL", |priority| priority.name()).to_owned(),
                or_any(token.rate.map(|rate| rate.to_string())),
                or_any(token.max_body.map(|most| most.to_string())),
                quota(token, |quota| quota.sessions.to_string()),
                quota(token, |quota| quota.agents.to_string()),
                quota(token, |quota| quota.groups.to_string()),
                quota(token, |quota| quota.messages.to_string()),
                quota(token, |quota| quota.bytes.to_string()),
                quota(token, |quota| format!("{}s", quota.deadline_s)),
                word(token.broadcast),
                word(token.operator),
                all(&token.to),
            ]
        })
        .collect();
    let heading = [
        "NAME",
        "UNTIL",
        "AS",
        "PRIORITY",
        "RATE",
        "BODY",
        "SESSIONS",
        "AGENTS",
        "GROUPS",
        "MESSAGES",
        "BYTES",
        "DEADLINE",
        "BROADCAST",
        "OPERATOR",
        "TO",
    ];
    table(heading, &rows)
}

/// How long a token is good.
fn until(token: &Grant) -> String {
    match token.expires {
        None => "ever".to_owned(),
        Some(expires) if expires.is_over(SystemTime::now()) => "expired".to_owned(),
        Some(expires) => expires.to_string(),
    }
}

/// A time as the file has it; parts of a second count as one.
fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
}
