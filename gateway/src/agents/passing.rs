//! Names for sessions that gave none, and are forgotten with them.

use mesh_agent::api::Name;

/// How names begin that sessions are given which named none. Nobody else's do, on any gateway.
pub(super) const PASSING: &str = "anon-";

/// Whether a name was given to a session that named none.
pub fn is_passing(name: &Name) -> bool {
    name.as_str().starts_with(PASSING)
}

/// A name for a session that gave none. Drawn, so that late answers to a session of an earlier run of the gateway meet nobody.
pub(super) fn passing_name() -> Option<Name> {
    let mut tag = [0; 4];
    getrandom::fill(&mut tag).ok()?;
    Name::new(&format!("{PASSING}{:08x}", u32::from_be_bytes(tag))).ok()
}
