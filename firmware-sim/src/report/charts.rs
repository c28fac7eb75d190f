//! The plots over categories and over time, and the stacked bars.
//!
//! Owns how they look. Which values they show, and by which categories, is for `series`.

use std::fmt::Write as _;

use super::series::{Arrivals, Table};
use super::summary::{FEW, StackSummary};
use super::svg::{Anchor, Scale, Shape, Svg, num};
use super::words::{count, figure, percent, shorten};

/// Width of every plot, in the units of its drawing: those of the page at its widest.
pub(super) const WIDTH: f64 = 1134.0;
/// Left of a plot: the axis, its numbers and its name.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 14.0;
/// Height of the area that values are drawn in.
const AREA: f64 = 260.0;
/// From one row of numbers below a plot to the next.
const ROW: f64 = 18.0;
/// The colours that the style sheet has for causes; the last is for all others.
pub(super) const CAUSES: usize = 8;

/// One value of a plot, or a range with one end marked and the other one dashed off.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spot {
    /// The marked value.
    pub(super) value: f64,
    /// Where the range ends.
    pub(super) until: Option<f64>,
    /// Of how many samples; few are drawn hollow.
    pub(super) samples: u64,
    /// The text shown when it is pointed at.
    pub(super) tip: String,
}

/// What a plot over categories has beside its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    /// What it shows.
    pub(super) label: &'a str,
    /// Name and unit of what is measured.
    pub(super) y: &'a str,
    /// Name and unit of the categories.
    pub(super) x: &'a str,
    /// The numbers in the rows below.
    pub(super) rows: &'a str,
}

/// A plot over categories. Shares go from 0 to 1 on a linear axis and are joined; all else is milliseconds on a
/// logarithmic one. Below, the number of samples of each stack.
pub(super) fn categories(
    words: Words<'_>,
    stacks: &[String],
    spots: &Table<Option<Spot>>,
    shares: bool,
) -> String {
    let rows = stacks.len() as f64;
    let bottom = TOP + AREA;
    let height = bottom + 46.0 + rows * ROW;
    let mut svg = Svg::new(WIDTH, height, words.label);
    let all = || spots.cells.iter().flatten().flatten();
    let y = if shares {
        Scale::exactly(1.0, bottom, TOP)
    } else {
        let low = all().map(|spot| spot.value).fold(f64::INFINITY, f64::min);
        let high = all().map(|spot| spot.until.unwrap_or(spot.value)).fold(0.0, f64::max);
        Scale::log(if low.is_finite() { low } else { 1.0 }, high, bottom, TOP)
    };
    // Names of the rows below need more room than the axis.
    let left = LEFT + 60.0;
    y_axis(&mut svg, left, &y, words.y, if shares { hundredths } else { tick });
    let slot = (WIDTH - left - RIGHT) / spots.categories.len().max(1) as f64;
    // Points that a line joins stand nearly above each other, so that lines can be compared.
    let apart = (slot / (rows + 1.0)).min(if shares { 7.0 } else { 26.0 });
    let place = |category: usize, stack: usize| {
        left + slot * (category as f64 + 0.5) + apart * (stack as f64 - (rows - 1.0) / 2.0)
    };
    let most = (slot / 7.0).max(3.0) as usize;
    for (n, category) in spots.categories.iter().enumerate() {
        let x = left + slot * (n as f64 + 0.5);
        if n > 0 {
            svg.line("split", (left + slot * n as f64, TOP), (left + slot * n as f64, bottom));
        }
        svg.text("tick", (x, bottom + 18.0), Anchor::Middle, &shorten(category, most));
    }
    svg.text("axis", (WIDTH - RIGHT, bottom + 36.0), Anchor::End, words.x);
    svg.text("axis", (8.0, bottom + 36.0), Anchor::Start, words.rows);
    for (stack, (name, cells)) in stacks.iter().zip(&spots.cells).enumerate() {
        svg.group(&format!("s{}", stack.min(4)));
        if shares {
            let mut d = String::new();
            for (n, spot) in cells.iter().enumerate() {
                if let Some(spot) = spot {
                    let (x, y) = (num(place(n, stack)), num(y.at(spot.value)));
                    let _ = write!(d, "{}{x} {y}", if d.is_empty() { 'M' } else { 'L' });
                }
            }
            svg.path("curve", &d, "");
        }
        let row = bottom + 36.0 + ROW * (stack as f64 + 1.0) + 4.0;
        svg.mark(Shape::of(stack), "full", (14.0, row - 4.0), 4.0, "");
        svg.text("tick", (26.0, row), Anchor::Start, &shorten(name, 16));
        for (n, spot) in cells.iter().enumerate() {
            let x = place(n, stack);
            let middle = left + slot * (n as f64 + 0.5);
            let samples = spot.as_ref().map_or(0, |spot| spot.samples);
            let class = if samples == 0 {
                "few"
            } else if samples < FEW as u64 {
                "tick few"
            } else {
                "tick"
            };
            svg.text(class, (middle, row), Anchor::Middle, &count(samples));
            let Some(spot) = spot else { continue };
            let at = y.at(spot.value);
            if let Some(until) = spot.until {
                let end = y.at(until);
                svg.line("range", (x, at), (x, end));
                svg.line("cap", (x - 6.0, end), (x + 6.0, end));
            }
            let class = if samples < FEW as u64 { "hollow" } else { "full" };
            svg.mark(Shape::of(stack), class, (x, at), 5.0, &spot.tip);
        }
        svg.end();
    }
    svg.finish()
}

/// Curves of how much had arrived after how long.
pub(super) fn curves(label: &str, x_name: &str, stacks: &[String], arrivals: &[Arrivals]) -> String {
    let bottom = TOP + AREA;
    let mut svg = Svg::new(WIDTH, bottom + 44.0, label);
    let times = || arrivals.iter().flat_map(|stack| &stack.curve).map(|(us, _)| *us as f64 / 1e3);
    let low = times().fold(f64::INFINITY, f64::min);
    let right = WIDTH - 70.0;
    let x = Scale::log(if low.is_finite() { low } else { 1.0 }, times().fold(0.0, f64::max), LEFT, right);
    let y = Scale::exactly(1.0, bottom, TOP);
    y_axis(&mut svg, LEFT, &y, "offered messages that arrived, %", hundredths);
    for value in x.ticks() {
        svg.line("grid", (x.at(value), TOP), (x.at(value), bottom));
        svg.text("tick", (x.at(value), bottom + 18.0), Anchor::Middle, &tick(value));
    }
    svg.text("axis", (right, bottom + 38.0), Anchor::End, x_name);
    let mut labels: Vec<(f64, usize, f64)> = Vec::new();
    for (n, (name, stack)) in stacks.iter().zip(arrivals).enumerate() {
        let mut d = String::new();
        let mut height = bottom;
        for (us, share) in &stack.curve {
            let at = x.at(*us as f64 / 1e3);
            if d.is_empty() {
                let _ = write!(d, "M{} {}", num(at), num(bottom));
            } else {
                let _ = write!(d, "H{}", num(at));
            }
            height = y.at(*share);
            let _ = write!(d, "V{}", num(height));
        }
        if d.is_empty() {
            continue;
        }
        // What has not arrived never does: the curve goes on level to the end.
        let _ = write!(d, "H{}", num(right));
        let share = stack.arrived as f64 / stack.offered.max(1) as f64;
        svg.group(&format!("s{}", n.min(4)));
        let (arrived, offered) = (count(stack.arrived), count(stack.offered));
        svg.path("curve", &d, &format!("{name}: {arrived} of {offered} offered messages arrived"));
        svg.mark(Shape::of(n), "full", (right, height), 4.0, "");
        svg.end();
        labels.push((height, n, share));
    }
    // Where curves end close to each other, their numbers move apart.
    labels.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut free = 0.0_f64;
    for (height, n, share) in labels {
        let at = height.max(free);
        free = at + 14.0;
        svg.group(&format!("s{}", n.min(4)));
        svg.text("own", (right + 10.0, at + 4.0), Anchor::Start, &format!("{} %", percent(share)));
        svg.end();
    }
    svg.finish()
}

/// The causes of airtime over all stacks, the well-known first, then those with the most: the ones with a colour of their own, then, if
/// there are more, the name for the rest.
pub(super) fn causes(stacks: &[StackSummary]) -> Vec<String> {
    let mut causes: Vec<(u64, &str)> = Vec::new();
    for (cause, us) in stacks.iter().flat_map(|stack| &stack.airtime_us) {
        match causes.iter_mut().find(|(_, known)| known == cause) {
            Some((sum, _)) => *sum = sum.saturating_add(*us),
            None => causes.push((*us, cause)),
        }
    }
    // The well-known ones first and always in this order, so that they have the same colour on every page.
    let known = |name: &str| {
        ["data", "relay", "ack", "receipt", "hello", "control"]
            .iter()
            .position(|known| *known == name)
            .unwrap_or(usize::MAX)
    };
    causes.sort_by(|a, b| known(a.1).cmp(&known(b.1)).then(b.0.cmp(&a.0)).then(a.1.cmp(b.1)));
    causes.retain(|(us, _)| *us > 0);
    let rest = causes.len() > CAUSES;
    let mut names: Vec<String> = causes
        .iter()
        .take(if rest { CAUSES - 1 } else { CAUSES })
        .map(|(_, name)| (*name).to_owned())
        .collect();
    if rest {
        names.push("all others".to_owned());
    }
    names
}

/// A stack's seconds on the air in a run on average, by the causes of [`causes`].
pub(super) fn seconds(stack: &StackSummary, causes: &[String]) -> Vec<f64> {
    let mut seconds = vec![0.0; causes.len()];
    for (cause, us) in &stack.airtime_us {
        let place = causes.iter().position(|known| known == cause).unwrap_or(causes.len().saturating_sub(1));
        if let Some(sum) = seconds.get_mut(place) {
            *sum += *us as f64 / 1e6 / stack.seeds.len().max(1) as f64;
        }
    }
    seconds
}

/// Stacked bars of airtime.
pub(super) fn bars(label: &str, names: &[String], stacks: &[StackSummary], causes: &[String]) -> String {
    const BAR: f64 = 30.0;
    const EACH: f64 = 46.0;
    let left = 150.0;
    let bottom = TOP + EACH * stacks.len() as f64;
    let mut svg = Svg::new(WIDTH, bottom + 44.0, label);
    let totals: Vec<f64> = stacks.iter().map(|stack| seconds(stack, causes).iter().sum()).collect();
    // Room for the total behind the longest bar.
    let x = Scale::linear(totals.iter().copied().fold(0.0, f64::max), left, WIDTH - 130.0);
    for value in x.ticks() {
        svg.line("grid", (x.at(value), TOP), (x.at(value), bottom));
        svg.text("tick", (x.at(value), bottom + 18.0), Anchor::Middle, &tick(value));
    }
    svg.text(
        "axis",
        (WIDTH - 130.0, bottom + 38.0),
        Anchor::End,
        "seconds on the air in a run, all nodes and channels",
    );
    for (n, ((stack, name), total)) in stacks.iter().zip(names).zip(&totals).enumerate() {
        let top = TOP + EACH * n as f64 + (EACH - BAR) / 2.0;
        svg.group(&format!("s{}", n.min(4)));
        svg.mark(Shape::of(n), "full", (14.0, top + BAR / 2.0), 4.5, "");
        svg.end();
        svg.text("name", (28.0, top + BAR / 2.0 + 4.0), Anchor::Start, &shorten(name, 16));
        let mut sum = 0.0;
        for (cause, value) in seconds(stack, causes).iter().enumerate() {
            let (from, to) = (x.at(sum), x.at(sum + value));
            sum += value;
            if *value > 0.0 {
                let share = percent(value / total);
                let tip = format!("{name}, {}: {} s, {share} %", causes[cause], figure(*value));
                svg.rect(&format!("c{cause}"), (from, top), (to - from, BAR), &tip);
            }
        }
        svg.text(
            "own",
            (x.at(sum) + 8.0, top + BAR / 2.0 + 4.0),
            Anchor::Start,
            &format!("{} s", figure(*total)),
        );
    }
    svg.line("base", (left, TOP), (left, bottom));
    svg.finish()
}

fn y_axis(svg: &mut Svg, left: f64, y: &Scale, name: &str, spell: fn(f64) -> String) {
    for value in y.ticks() {
        let at = y.at(value);
        svg.line("grid", (left, at), (WIDTH - RIGHT, at));
        svg.text("tick", (left - 8.0, at + 4.0), Anchor::End, &spell(value));
    }
    svg.upright("axis", (left - 52.0, TOP + AREA / 2.0), name);
}

/// A round number beside an axis.
pub(super) fn tick(value: f64) -> String {
    if value >= 1.0 && (value - value.round()).abs() < 1e-6 {
        return count(value.round() as u64);
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A round share in percent.
fn hundredths(share: f64) -> String {
    tick(share * 100.0)
}
