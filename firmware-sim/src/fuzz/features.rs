//! What cases may have beside nodes, messages and faults: each can be left out, to see whether a failure needs it.
//!
//! Owns the list, and where a case says that it has groups, for which scenarios have no word.

use super::{radios, routes};
use crate::scenario::Scenario;

/// What the name of a case ends with whose calls to many are to groups.
const GROUPS: &str = "-groups";

/// What cases may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Routes of operators, right and wrong ones.
    pub routes: bool,
    /// Radios of both kinds, with long frames, and hosts that hold frames.
    pub radios: bool,
    /// Groups, instead of everyone.
    pub groups: bool,
}

impl Features {
    /// All of them.
    pub const ALL: Self = Self { routes: true, radios: true, groups: true };
    /// Their names.
    pub const NAMES: [&str; 3] = ["routes", "radios", "groups"];

    /// All but those with these names.
    ///
    /// # Errors
    /// A name that is none.
    pub fn without<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut features = Self::ALL;
        for name in names {
            match name {
                "routes" => features.routes = false,
                "radios" => features.radios = false,
                "groups" => features.groups = false,
                other => return Err(other),
            }
        }
        Ok(features)
    }

    /// The flag of `mesh-sim fuzz` that leaves out what these do; empty where that is nothing.
    #[must_use]
    pub fn flag(self) -> String {
        let has = [self.routes, self.radios, self.groups];
        let out: Vec<_> =
            Self::NAMES.into_iter().zip(has).filter(|(_, has)| !has).map(|(name, _)| name).collect();
        if out.is_empty() { String::new() } else { format!(" --without {}", out.join(",")) }
    }

    /// Adds them to a case; `neighbours` of each node are those in range.
    pub(super) fn add(self, case: &mut Scenario, seed: u64, neighbours: &[Vec<u32>]) {
        if self.routes {
            routes::add(case, seed, neighbours);
        }
        if self.radios {
            radios::add(case, seed);
        }
        if self.groups && seed.is_multiple_of(3) {
            case.name += GROUPS;
        }
    }
}

/// Whether a case has groups.
pub(super) fn has_groups(case: &Scenario) -> bool {
    case.name.ends_with(GROUPS)
}
