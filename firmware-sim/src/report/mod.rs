//! What a campaign found, for people: a table for the terminal and a page for the browser.
//!
//! Owns what is shown and how it is computed; [`summary()`] is the one source of both. Running scenarios, and reading and
//! writing results, is for others. Nothing here asks for a file, the network or the time: the same campaign gives the
//! same bytes.

mod charts;
mod map;
mod page;
mod plots;
mod series;
mod summary;
mod svg;
mod tables;
mod text;
mod timeline;
pub(crate) mod words;

#[cfg(test)]
mod tests;

pub use page::html;
pub use summary::{
    Arrived, CampaignFigures, FEW, Figures, Group, Hops, Quantiles, StackSummary, figures, summary,
};
pub use text::table;
