//! What goes wrong in a run, and what must hold all the same.
//!
//! Owns nothing itself. Who stands where an attacker may stand is in `occupant`, where attackers do in `placement`, two watchers of one world
//! in `both`; rules for receptions are in `rules`, attackers in `attacker` and `forgery`, moments in `schedule`, what must hold in `invariants`.
//!
//! To apply a scenario's faults to a run: add the nodes as [`Occupant::Node`], then the stations that [`attackers`] gives, next to
//! the nodes they name; let [`Rules`] say what becomes of receptions; and call [`Schedule::apply`] whenever
//! [`Schedule::next`] says so.

mod attacker;
mod both;
mod forgery;
mod invariants;
mod occupant;
mod placement;
mod rules;
mod schedule;

pub use crate::stack::Faulty;
pub use attacker::{Attacker, attackers};
pub use both::Both;
pub use invariants::{ALLOWANCES, Allowance, Counts, Invariants, Violation};
pub use occupant::{Occupant, Watched};
pub use placement::{attackers_near, links_of_attackers};
pub use rules::Rules;
pub use schedule::Schedule;
