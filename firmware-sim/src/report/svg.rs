//! Drawing: elements of an SVG, axes and their ticks.
//!
//! Owns the spelling of shapes. It knows neither results nor plots. Classes and paths come from this program; every text
//! is escaped here.

use std::fmt::Write as _;

use super::words::escape;

/// A point: to the right, down.
pub(super) type Point = (f64, f64);

/// Which point of a text its position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// What marks a point. Each stack has its own, so that a plot can be read without colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
}

impl Shape {
    /// The shape of the stack with this place in the summary.
    pub(super) fn of(place: usize) -> Self {
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond, Self::Cross][place.min(4)]
    }
}

/// A drawing that is not finished.
#[derive(Debug)]
pub(super) struct Svg {
    body: String,
}

/// A number with one decimal at most: finer than a pixel of any screen.
pub(super) fn num(value: f64) -> String {
    let value = if value.is_finite() { value } else { 0.0 };
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

impl Svg {
    /// An empty drawing; `label` describes it for screen readers.
    pub(super) fn new(width: f64, height: f64, label: &str) -> Self {
        let (width, height, label) = (num(width), num(height), escape(label));
        Self {
            body: format!(
                "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
                 aria-label=\"{label}\">"
            ),
        }
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): Point, (x2, y2): Point) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(num);
        let _ =
            write!(self.body, "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>");
    }

    pub(super) fn text(&mut self, class: &str, (x, y): Point, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let [x, y] = [x, y].map(num);
        let text = escape(text);
        let _ = write!(
            self.body,
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    /// A text that runs upwards, its middle at the point.
    pub(super) fn upright(&mut self, class: &str, (x, y): Point, text: &str) {
        let [x, y] = [x, y].map(num);
        let text = escape(text);
        let _ = write!(
            self.body,
            "<text class=\"{class}\" transform=\"translate({x} {y}) rotate(-90)\" text-anchor=\"middle\">{text}</text>"
        );
    }

    pub(super) fn rect(&mut self, class: &str, (x, y): Point, (width, height): Point, tip: &str) {
        let [x, y, width, height] = [x, y, width.max(0.0), height.max(0.0)].map(num);
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\""
        );
        self.close("rect", tip);
    }

    pub(super) fn circle(&mut self, class: &str, (x, y): Point, radius: f64, tip: &str) {
        let [x, y, radius] = [x, y, radius].map(num);
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let _ = write!(self.body, "<circle{class} cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"");
        self.close("circle", tip);
    }

    pub(super) fn path(&mut self, class: &str, d: &str, tip: &str) {
        let _ = write!(self.body, "<path class=\"{class}\" d=\"{d}\"");
        self.close("path", tip);
    }

    /// A mark of about the same area for every shape.
    pub(super) fn mark(&mut self, shape: Shape, class: &str, (x, y): Point, r: f64, tip: &str) {
        let polygon = |points: &[Point]| {
            let mut d = String::new();
            for (n, (dx, dy)) in points.iter().enumerate() {
                let _ =
                    write!(d, "{}{} {}", if n == 0 { 'M' } else { 'L' }, num(x + dx * r), num(y + dy * r));
            }
            d + "Z"
        };
        let d = match shape {
            Shape::Circle => return self.circle(class, (x, y), r, tip),
            Shape::Square => polygon(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            Shape::Triangle => polygon(&[(0.0, -1.2), (1.15, 0.85), (-1.15, 0.85)]),
            Shape::Diamond => polygon(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
            Shape::Cross => polygon(&[
                (-1.1, -0.6),
                (-0.6, -1.1),
                (0.0, -0.5),
                (0.6, -1.1),
                (1.1, -0.6),
                (0.5, 0.0),
                (1.1, 0.6),
                (0.6, 1.1),
                (0.0, 0.5),
                (-0.6, 1.1),
                (-1.1, 0.6),
                (-0.5, 0.0),
            ]),
        };
        self.path(class, &d, tip);
    }

    /// Opens a group: everything until [`Svg::end`] takes its class.
    pub(super) fn group(&mut self, class: &str) {
        let _ = write!(self.body, "<g class=\"{class}\">");
    }

    pub(super) fn end(&mut self) {
        self.body.push_str("</g>");
    }

    pub(super) fn finish(mut self) -> String {
        self.body.push_str("</svg>\n");
        self.body
    }

    fn close(&mut self, element: &str, tip: &str) {
        if tip.is_empty() {
            self.body.push_str("/>");
        } else {
            let _ = write!(self.body, "><title>{}</title></{element}>", escape(tip));
        }
    }
}

/// From values to places on an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    log: bool,
}

impl Scale {
    /// From 0 to the next round number above `high`.
    pub(super) fn linear(high: f64, start: f64, end: f64) -> Self {
        let high = if high.is_finite() && high > 0.0 { high } else { 1.0 };
        let step = step(high);
        Self { low: 0.0, high: (high / step).ceil() * step, start, end, log: false }
    }

    /// From 0 to exactly `high`.
    pub(super) fn exactly(high: f64, start: f64, end: f64) -> Self {
        Self { low: 0.0, high, start, end, log: false }
    }

    /// Logarithmic, so that `low` and `high` are inside, between round numbers.
    pub(super) fn log(low: f64, high: f64, start: f64, end: f64) -> Self {
        // Below, nothing on the air is distinguishable: a microsecond of a scale in milliseconds.
        const LEAST: f64 = 1e-3;
        let low = round_below(low.max(LEAST));
        // A little over the largest number, or a value that is round itself would lie on the edge.
        let above = round_below(high.max(LEAST) * 1.001);
        Self { low, high: next_round(above).max(next_round(low)), start, end, log: true }
    }

    /// Where a value lies; those beyond the axis lie at its end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.start + (self.end - self.start) * share
    }

    /// Round values along the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if !self.log {
            let step = step(self.high);
            return (0..=20)
                .map(|n| f64::from(n) * step)
                .take_while(|v| *v <= self.high * 1.000_001)
                .collect();
        }
        let mut all = vec![self.low];
        while let Some(last) = all.last().copied().filter(|last| *last < self.high * 0.999) {
            all.push(next_round(last));
        }
        // Over a wide range, powers of ten alone.
        if all.len() > 12 {
            all.retain(|value| {
                let power = value.log10();
                (power - power.round()).abs() < 1e-6
            });
        }
        all
    }
}

/// A distance of ticks: 1, 2 or 5 times a power of ten, four to ten of them up to `high`.
fn step(high: f64) -> f64 {
    let power = 10_f64.powf((high / 4.0).log10().floor());
    let times = high / 4.0 / power;
    power
        * if times < 2.0 {
            1.0
        } else if times < 5.0 {
            2.0
        } else {
            5.0
        }
}

/// The largest of 1, 2 and 5 times a power of ten that is not above `value`.
pub(super) fn round_below(value: f64) -> f64 {
    let power = 10_f64.powf((value.log10() + 1e-9).floor());
    let times = value / power * (1.0 + 1e-9);
    power
        * if times >= 5.0 {
            5.0
        } else if times >= 2.0 {
            2.0
        } else {
            1.0
        }
}

/// The one of these behind `value`.
fn next_round(value: f64) -> f64 {
    let power = 10_f64.powf((value.log10() + 1e-9).floor());
    let times = value / power;
    power
        * if times < 1.5 {
            2.0
        } else if times < 3.5 {
            5.0
        } else {
            10.0
        }
}
