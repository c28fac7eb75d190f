//! Our stack beside the others: rows of scenarios that every stack plays with the same seeds, and what is wanted of ours.
//!
//! Owns which runs a comparison needs and what their figures come to. The rows are data, in `scenarios/compare`; figures of a
//! run are `measure`'s, the table is `table`'s.

mod measure;
mod rows;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::measure::Measure;
use self::measure::View;
pub use self::rows::{Case, Figure, Row, RowError, rows};
pub use self::table::{fallen_table, table};
use crate::parallel;
use crate::play::{StackKind, play};
use crate::scenario::Scenario;

/// How many seeds are played by the quick form.
pub const QUICK_SEEDS: u64 = 3;
/// How much worse than recorded a figure may be: a fifth.
const FALL: f64 = 0.2;

/// A comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The seeds; rows that take long were played with the first few.
    pub seeds: Vec<u64>,
    /// Every figure, in the order of the rows.
    pub figures: Vec<Compared>,
}

/// One figure of every stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The row.
    pub row: String,
    /// What the row is about.
    pub what: String,
    /// The case.
    pub case: String,
    /// The figure, where the case has several.
    pub figure: String,
    /// Its unit.
    pub unit: String,
    /// Whether more of it is better.
    pub more_is_better: bool,
    /// What is wanted, in words; empty: it is only shown.
    pub wanted: String,
    /// Whether our median is what is wanted; `None`: it is only shown.
    pub met: Option<bool>,
    /// By stack.
    pub stacks: BTreeMap<String, Spread>,
}

/// A figure over the seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// One for each seed; `None`: nothing arrived that it could be computed from.
    pub values: Vec<Option<f64>>,
    /// The middle one, seeds without a value being the worst; of an even number the mean of the two.
    pub median: Option<f64>,
    /// The lowest of those there are.
    pub low: Option<f64>,
    /// The highest of those there are.
    pub high: Option<f64>,
}

/// What to play.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The seeds.
    pub seeds: Vec<u64>,
    /// All of them also for rows that take long.
    pub all_seeds: bool,
    /// Only rows of these names; all if there is none.
    pub rows: Vec<String>,
    /// Only short and steady cases.
    pub quick: bool,
    /// Only ours, and the other stacks where ours is divided by theirs.
    pub ours: bool,
}

/// A figure that is worse than recorded by more than a fifth.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallen {
    /// Row, case and figure.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The median that was recorded.
    pub recorded: Option<f64>,
    /// The median now.
    pub now: Option<f64>,
}

/// One scenario, one stack, one seed.
struct Job<'a> {
    case: usize,
    scenario: &'a Scenario,
    stack: StackKind,
    seed: u64,
    /// What is to be computed from the run.
    figures: Vec<&'a Figure>,
}

/// A case that is played, with its row.
struct Played<'a> {
    row: &'a Row,
    case: &'a Case,
    scenario: Scenario,
    stacks: Vec<StackKind>,
    seeds: Vec<u64>,
    /// Figures of other cases that are divided by what comes of this one.
    divides: Vec<&'a Figure>,
}

/// Plays what is selected on so many threads, calling `done` with the number of runs and of those that are over. The same figures on every
/// machine and any number of threads.
///
/// # Errors
/// [`RowError`], where the rows are not in order.
pub fn compare(
    rows: &[Row],
    selection: &Selection,
    threads: usize,
    done: impl Fn(usize) + Sync,
) -> Result<Comparison, RowError> {
    let played = played(rows, selection)?;
    let mut jobs: Vec<Job<'_>> = (0..).zip(&played).flat_map(|(case, played)| played.jobs(case)).collect();
    // The longest first, so that no thread is left alone with one at the end.
    jobs.sort_by_key(|job| std::cmp::Reverse(weight(job.scenario)));
    let total = jobs.len();
    let results = parallel::map(&jobs, threads, |job| {
        let values = job.values();
        done(total);
        values
    });
    let mut values: BTreeMap<Key, Option<f64>> = BTreeMap::new();
    for (job, found) in jobs.iter().zip(results) {
        for (figure, value) in job.figures.iter().zip(found) {
            values.insert((job.case, std::ptr::from_ref(*figure).addr(), job.stack, job.seed), value);
        }
    }
    let figures = (0..).zip(&played).flat_map(|(at, one)| {
        one.case.figures.iter().map(move |figure| (at, one, figure)).collect::<Vec<_>>()
    });
    let figures = figures.map(|(at, one, figure)| one.compared(at, figure, &played, &values)).collect();
    Ok(Comparison { seeds: selection.seeds.clone(), figures })
}

/// Which case, figure, stack and seed.
type Key = (usize, usize, StackKind, u64);

/// Roughly how long a run takes.
fn weight(scenario: &Scenario) -> u64 {
    let span = scenario.settle + scenario.offered + scenario.drain;
    span.as_micros().saturating_mul(u64::from(scenario.node_count()).pow(2))
}

/// The cases that are selected, and those that their figures are divided by.
fn played<'a>(rows: &'a [Row], selection: &Selection) -> Result<Vec<Played<'a>>, RowError> {
    let mut all = Vec::new();
    for row in rows {
        if !selection.rows.is_empty() && !selection.rows.contains(&row.name) {
            continue;
        }
        let wanted: Vec<&Case> = row.cases.iter().filter(|case| case.quick || !selection.quick).collect();
        for case in &row.cases {
            let divides: Vec<&Figure> = wanted
                .iter()
                .flat_map(|case| &case.figures)
                .filter(|figure| figure.over.as_ref() == Some(&case.name))
                .collect();
            let own = wanted.iter().any(|wanted| std::ptr::eq(*wanted, case));
            if !own && divides.is_empty() {
                continue;
            }
            let mut stacks = row.stacks();
            if selection.ours {
                let divided =
                    |kind: &StackKind| case.figures.iter().any(|f| f.of.as_deref() == Some(kind.name()));
                stacks.retain(|kind| *kind == StackKind::ALL[0] || divided(kind));
            }
            let most = row.seeds.filter(|_| !selection.all_seeds).unwrap_or(usize::MAX);
            let seeds = selection.seeds.iter().copied().take(most).collect();
            let (_, scenario) = row.scenario(case)?;
            all.push(Played { row, case, scenario, stacks, seeds, divides });
        }
    }
    Ok(all)
}

impl<'a> Played<'a> {
    fn jobs(&'a self, case: usize) -> Vec<Job<'a>> {
        let figures: Vec<&Figure> = self.case.figures.iter().chain(self.divides.iter().copied()).collect();
        let job = |stack: StackKind, seed: u64| Job {
            case,
            scenario: &self.scenario,
            stack,
            seed,
            figures: figures.clone(),
        };
        self.stacks.iter().flat_map(|stack| self.seeds.iter().map(move |seed| job(*stack, *seed))).collect()
    }

    /// One of its figures, of every stack.
    fn compared(
        &self,
        at: usize,
        figure: &Figure,
        played: &[Played<'_>],
        values: &BTreeMap<Key, Option<f64>>,
    ) -> Compared {
        let more = figure.measure.more_is_better();
        let address = std::ptr::from_ref(figure).addr();
        let value = |case: usize, stack: StackKind, seed: u64| {
            values.get(&(case, address, stack, seed)).copied().flatten()
        };
        let over = figure.over.as_ref().and_then(|name| {
            played.iter().position(|other| other.row.name == self.row.name && other.case.name == *name)
        });
        let of = figure.of.as_deref().and_then(StackKind::named);
        let one = |stack: StackKind, seed: u64| {
            let mut found = value(at, stack, seed)?;
            if let Some(over) = over {
                found /= value(over, stack, seed)?;
            }
            if let Some(of) = of {
                found /= value(at, of, seed)?;
            }
            found.is_finite().then_some(found)
        };
        let spread = |stack: &StackKind| {
            let spread = Spread::of(self.seeds.iter().map(|seed| one(*stack, *seed)).collect(), more);
            (stack.name().to_owned(), spread)
        };
        let stacks: BTreeMap<String, Spread> = self.stacks.iter().map(spread).collect();
        let divided = over.is_some() || of.is_some();
        Compared {
            row: self.row.name.clone(),
            what: self.row.what.clone(),
            case: self.case.name.clone(),
            figure: figure.what.clone(),
            unit: if divided { "times" } else { figure.measure.unit() }.to_owned(),
            more_is_better: more,
            wanted: wanted(figure),
            met: met(figure, &stacks),
            stacks,
        }
    }
}

impl Job<'_> {
    fn values(&self) -> Vec<Option<f64>> {
        let run = play(self.scenario, self.stack, self.seed, false);
        let of = |figure: &&Figure| {
            let (traffic, within_s) = (&figure.traffic[..], figure.within);
            figure.measure.of(&View { run: &run, scenario: self.scenario, traffic, within_s })
        };
        self.figures.iter().map(of).collect()
    }
}

fn wanted(figure: &Figure) -> String {
    let bound = match (figure.at_least, figure.at_most) {
        (Some(least), _) => Some(format!("≥ {least}")),
        (_, Some(most)) => Some(format!("≤ {most}")),
        _ => None,
    };
    let best = figure.best.then(|| "the best".to_owned());
    bound.into_iter().chain(best).collect::<Vec<_>>().join(", ")
}

fn met(figure: &Figure, stacks: &BTreeMap<String, Spread>) -> Option<bool> {
    let bounded = figure.at_least.is_some() || figure.at_most.is_some();
    if !bounded && !figure.best {
        return None;
    }
    let ours = StackKind::ALL[0].name();
    let Some(median) = stacks.get(ours).and_then(|spread| spread.median) else { return Some(false) };
    let better = |other: f64| if figure.measure.more_is_better() { median >= other } else { median <= other };
    let bound = figure.at_least.into_iter().chain(figure.at_most).all(better);
    let mut others = stacks.iter().filter(|(name, _)| *name != ours).filter_map(|(_, spread)| spread.median);
    if figure.best && stacks.len() == 1 {
        // Nobody to be compared with was played.
        return (!bound).then_some(false);
    }
    Some(bound && (!figure.best || others.all(better)))
}

impl Spread {
    fn of(values: Vec<Option<f64>>, more_is_better: bool) -> Self {
        let worst = if more_is_better { f64::NEG_INFINITY } else { f64::INFINITY };
        let mut sorted: Vec<f64> = values.iter().map(|value| value.unwrap_or(worst)).collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => None,
            count if count % 2 == 1 => Some(sorted[middle]),
            _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        };
        let there = || values.iter().flatten().copied();
        Self {
            median: median.filter(|median| median.is_finite()),
            low: there().min_by(f64::total_cmp),
            high: there().max_by(f64::total_cmp),
            values,
        }
    }
}

impl Compared {
    /// Row, case and figure.
    #[must_use]
    pub fn name(&self) -> String {
        let parts = [&self.row, &self.case, &self.figure];
        parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }

    /// Our stack's.
    #[must_use]
    pub fn ours(&self) -> Option<&Spread> {
        self.stacks.get(StackKind::ALL[0].name())
    }
}

impl Comparison {
    /// Figures of our stack whose median is worse than the recorded one by more than a fifth, and than every seed recorded.
    #[must_use]
    pub fn fallen(&self, recorded: &Self) -> Vec<Fallen> {
        let mut fallen = Vec::new();
        for now in &self.figures {
            let Some(then) = recorded.figures.iter().find(|then| then.name() == now.name()) else { continue };
            let Some(spread) = then.ours() else { continue };
            let now_is = now.ours().and_then(|spread| spread.median);
            // A percentile of few messages moves more than that from seed to seed.
            let fell = match (spread.median, now_is) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(then), Some(is)) if now.more_is_better => {
                    is < then * (1.0 - FALL) && spread.low.is_none_or(|low| is < low)
                }
                (Some(then), Some(is)) => {
                    is > then * (1.0 + FALL) && spread.high.is_none_or(|high| is > high)
                }
            };
            let recorded = spread.median;
            if fell {
                fallen.push(Fallen { name: now.name(), unit: now.unit.clone(), recorded, now: now_is });
            }
        }
        fallen
    }
}

#[cfg(test)]
mod tests;
