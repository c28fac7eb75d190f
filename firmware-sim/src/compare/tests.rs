use super::*;

fn spread(values: &[Option<f64>]) -> Spread {
    Spread::of(values.to_vec(), true)
}

fn compared(value: f64, more_is_better: bool) -> Comparison {
    let stacks = BTreeMap::from([("mesh".to_owned(), Spread::of(vec![Some(value)], more_is_better))]);
    let compared = Compared {
        row: "row".into(),
        what: String::new(),
        case: "case".into(),
        figure: String::new(),
        unit: "ms".into(),
        more_is_better,
        wanted: String::new(),
        met: None,
        stacks,
    };
    Comparison { seeds: vec![1], figures: vec![compared] }
}

#[test]
fn a_seed_without_a_value_counts_as_the_worst() {
    let found = spread(&[Some(3.0), None, Some(1.0)]);
    assert_eq!((found.median, found.low, found.high), (Some(1.0), Some(1.0), Some(3.0)));
    let less = Spread::of(vec![Some(3.0), None, Some(1.0)], false);
    assert_eq!(less.median, Some(3.0));
    assert_eq!(spread(&[None, None, Some(1.0)]).median, None);
    assert_eq!(spread(&[Some(1.0), Some(2.0)]).median, Some(1.5));
}

#[test]
fn only_what_is_worse_by_more_than_a_fifth_has_fallen() {
    for (then, now, more, fell) in [
        (10.0, 8.1, true, false),
        (10.0, 7.9, true, true),
        (10.0, 50.0, true, false),
        (10.0, 11.9, false, false),
        (10.0, 12.1, false, true),
        (10.0, 1.0, false, false),
        (0.0, 1.0, false, true),
    ] {
        let fallen = compared(now, more).fallen(&compared(then, more));
        assert_eq!(!fallen.is_empty(), fell, "{then}, then {now}");
    }
}

#[test]
fn what_a_recorded_seed_was_as_bad_as_has_not_fallen() {
    let mut then = compared(10.0, false);
    then.figures[0].stacks.insert("mesh".into(), Spread::of(vec![Some(9.0), Some(10.0), Some(20.0)], false));
    assert_eq!(compared(19.0, false).fallen(&then), []);
    assert_eq!(compared(21.0, false).fallen(&then).len(), 1);
}

/// A chain of two, both without loss: what can be worked out by hand, and the same figures on any number of threads.
#[test]
fn a_row_is_played_by_every_stack_with_the_same_seeds() {
    let text = r#"
        name = "pair"
        what = "one frame to a neighbour"
        scenario = "chain"
        set.offered = "5s"
        set.settle = "2s"
        set.traffic = [{ from = 0, to = 1, bytes = 8, periodic = { every = "1s" } }]
        [[cases]]
        name = "alone"
        quick = true
        figures = [
            { measure = "share", at_least = 100 },
            { what = "against flooding", measure = "airtime", of = "flood" },
            { what = "against idle", measure = "mean", over = "idle", at_most = 1.0 },
        ]
        [[cases]]
        name = "idle"
    "#;
    let row: Row = toml::from_str(text).unwrap();
    let selection = Selection { seeds: vec![1, 2], ..Selection::default() };
    let one = compare(std::slice::from_ref(&row), &selection, 1, |_| ()).unwrap();
    assert_eq!(one, compare(std::slice::from_ref(&row), &selection, 4, |_| ()).unwrap());
    assert_eq!(one.figures.len(), 3);
    let ours = |n: usize| one.figures[n].ours().unwrap().clone();
    assert_eq!(ours(0).values, [Some(100.0), Some(100.0)]);
    assert_eq!(one.figures[0].met, Some(true));
    assert_eq!(one.figures[1].stacks["flood"].values, [Some(1.0), Some(1.0)]);
    assert_eq!(ours(2).values, [Some(1.0), Some(1.0)], "the same scenario");
    // Ours alone plays the other stacks where it is divided by theirs.
    let quick = compare(&[row], &Selection { quick: true, ours: true, ..selection }, 2, |_| ()).unwrap();
    let stacks: Vec<&String> = quick.figures[0].stacks.keys().collect();
    assert_eq!(stacks, ["flood", "mesh"]);
    assert_eq!(quick.figures[0].ours(), one.figures[0].ours());
}
