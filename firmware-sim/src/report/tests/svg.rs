//! Axes, and how numbers are spelled.

use crate::report::svg::{Scale, num};
use crate::report::words::{count, escape, figure, percent, shorten, span};

#[test]
fn ticks_are_round_and_the_ends_lie_inside() {
    let x = Scale::linear(53.8, 0.0, 100.0);
    assert_eq!(x.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
    assert_eq!((x.at(0.0), x.at(30.0), x.at(60.0), x.at(99.0)), (0.0, 50.0, 100.0, 100.0));
    assert_eq!(Scale::exactly(1.0, 0.0, 1.0).ticks().len(), 6);
    for high in [0.0, -1.0, f64::NAN, 1e-9, 0.3, 1.0, 7.0, 999.0, 1e15] {
        let ticks = Scale::linear(high, 0.0, 1.0).ticks();
        assert!((4..=11).contains(&ticks.len()), "{high}: {ticks:?}");
        assert!(ticks.last() >= Some(&high) || high.is_nan(), "{high}: {ticks:?}");
    }
}

#[test]
fn a_logarithmic_axis_goes_from_round_to_round() {
    let y = Scale::log(13.0, 480.0, 300.0, 0.0);
    let near = |ticks: Vec<f64>, wanted: &[f64]| {
        assert_eq!(ticks.len(), wanted.len(), "{ticks:?}");
        assert!(ticks.iter().zip(wanted).all(|(a, b)| (a / b - 1.0).abs() < 1e-9), "{ticks:?}");
    };
    near(y.ticks(), &[10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
    assert_eq!((y.at(10.0).round(), y.at(500.0).round(), y.at(0.0).round()), (300.0, 0.0, 300.0));
    near(Scale::log(10.0, 10.0, 0.0, 1.0).ticks(), &[10.0, 20.0]);
    // Over many decades, only these.
    near(Scale::log(0.01, 9_999.0, 0.0, 1.0).ticks(), &[0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
}

#[test]
fn numbers_are_spelled_alike_everywhere() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(
        [0.0, 0.5, 9.994, 9.996, 99.94, 99.96, 1234.5].map(figure),
        ["0", "0.50", "9.99", "10.0", "99.9", "100", "1,235"]
    );
    assert_eq!(figure(f64::NAN), "–");
    assert_eq!([-0.04, 1.0, 2.34, f64::INFINITY].map(num), ["0", "1", "2.3", "0"]);
    assert_eq!(
        [0, 9_999, 60_000, 5_400_000, 36_000_000].map(span),
        ["0 s", "10.0 s", "60 s", "90.0 min", "10.0 h"]
    );
}

#[test]
fn only_all_of_it_is_a_hundred_percent() {
    assert_eq!([0.0, 0.0001, 0.943, 0.9999, 1.0].map(percent), ["0", "<0.1", "94.3", "99.9", "100"]);
}

#[test]
fn names_are_cut_between_characters_and_escaped() {
    assert_eq!(shorten("größer", 4), "grö…");
    assert_eq!(shorten("kurz", 4), "kurz");
    assert_eq!(escape("a<b>&'\"\u{0}\n"), "a&lt;b&gt;&amp;&#39;&quot;\u{fffd}\n");
}
