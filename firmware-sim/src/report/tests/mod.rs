//! A small campaign whose figures were worked out by hand, large ones made of dice, and ones that someone else wrote.

mod made;
mod page;
mod summary;
mod svg;
mod synthetic;

/// Ours and both baselines.
const ALL: &[&str] = &["mesh", "sig", "flood"];
