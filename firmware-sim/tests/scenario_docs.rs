//! `docs/scenarios.md` is the format: its tables have the keys, ranges and defaults that the program has, and its example
//! is a scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use firmware_sim::scenario::{FaultKind, MESSAGES_MAX, NODES_MAX, Scenario};
use toml::{Table, Value};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios.md");
    fs::read_to_string(path).unwrap()
}

/// A row of a table of the page.
#[derive(Clone, Debug)]
struct Row {
    key: String,
    value: String,
    default: String,
}

/// The rows below each heading that names a table; the whole scenario has the empty name.
fn documented() -> BTreeMap<String, Vec<Row>> {
    let mut tables: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut table = None;
    for line in page().lines() {
        if line.starts_with('#') {
            let name = line.strip_prefix("### `").and_then(|rest| rest.strip_suffix('`'));
            table =
                if line == "## The whole scenario" { Some(String::new()) } else { name.map(str::to_owned) };
        } else if let (Some(table), Some(row)) = (&table, line.strip_prefix("| `")) {
            let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
            let [key, value, default, what] = cells[..] else { panic!("not four cells: {line}") };
            assert!(!what.is_empty(), "{line}");
            let key = key.trim_end_matches('`').to_owned();
            let row = Row { key, value: value.to_owned(), default: default.to_owned() };
            tables.entry(table.clone()).or_default().push(row);
        }
    }
    tables
}

/// A table of the program: the way to it, and at each step whether it is one of a list.
#[derive(Clone, Debug)]
struct Found {
    steps: Vec<(String, bool)>,
    keys: Vec<String>,
}

/// What is wrong with a file that has nothing but `content` in the table at the end of these steps.
fn wrong(steps: &[(String, bool)], content: &str) -> String {
    let mut text = content.to_owned();
    for (key, listed) in steps.iter().rev() {
        text = if *listed { format!("{key} = [{{ {text} }}]") } else { format!("{key} = {{ {text} }}") };
    }
    Scenario::parse("x.toml", &text).expect_err(&text).to_string()
}

/// The keys of the table there, if it is a table: what an error says of one that is not known.
fn keys(steps: &[(String, bool)]) -> Option<Vec<String>> {
    let error = wrong(steps, "no_such_key = 1");
    let (_, known) = error.split_once("unknown key `no_such_key`; known here: ")?;
    Some(known.split(", ").map(|key| key.trim_matches('`').to_owned()).collect())
}

/// Every table that the program knows, by its name.
fn known() -> BTreeMap<String, Found> {
    let mut tables = BTreeMap::new();
    let mut open = vec![Vec::new()];
    while let Some(steps) = open.pop() {
        let keys = keys(&steps).unwrap();
        for key in &keys {
            for listed in [false, true] {
                let mut deeper = steps.clone();
                deeper.push((key.clone(), listed));
                if self::keys(&deeper).is_some() {
                    open.push(deeper);
                }
            }
        }
        let name = steps.iter().map(|(key, _): &(String, bool)| key.as_str()).collect::<Vec<_>>().join(".");
        let twice = tables.insert(name.clone(), Found { steps, keys });
        assert!(twice.is_none(), "{name} is a table and a list");
    }
    tables
}

#[test]
fn the_page_has_every_table_and_every_key_and_no_others() {
    let (documented, known) = (documented(), known());
    assert_eq!(
        documented.keys().collect::<Vec<_>>(),
        known.keys().collect::<Vec<_>>(),
        "tables of the page, and of the program"
    );
    assert!(known.len() > 30, "{}", known.len());
    for (name, table) in known {
        let rows: BTreeSet<_> = documented[&name].iter().map(|row| row.key.clone()).collect();
        assert_eq!(
            rows,
            table.keys.iter().cloned().collect(),
            "keys of `{name}` on the page, and of the program"
        );
    }
}

#[test]
fn the_page_says_what_must_be_there() {
    let documented = documented();
    for (name, table) in known() {
        let missing = wrong(&table.steps, "");
        let missing =
            missing.split_once("the key `").and_then(|(_, rest)| Some(rest.split_once("` is missing")?.0));
        // Of an empty table, the first key in the program's order is missed; at the top that is of the file itself.
        let required: Vec<_> = documented[&name]
            .iter()
            .filter(|row| row.default == "required")
            .map(|row| row.key.as_str())
            .collect();
        let own: Vec<_> = missing.into_iter().filter(|key| table.keys.iter().any(|own| own == key)).collect();
        match required.first() {
            Some(first) => assert_eq!(own, [*first], "`{name}`"),
            None => assert!(own.iter().all(|key| ["layout", "traffic"].contains(key)), "`{name}`: {own:?}"),
        }
    }
}

#[test]
fn the_page_has_the_ranges() {
    let (documented, mut ranges) = (documented(), 0);
    for (name, table) in known() {
        for row in &documented[&name] {
            for far in ["1_000_000_000_000", "\"9999h\""] {
                let error = wrong(&table.steps, &format!("{} = {far}", row.key));
                let Some((_, range)) = error.split_once(" is out of range; write ") else { continue };
                let (kind, range) = range.split_once(" from ").unwrap();
                // On the page, times stand in code.
                let (word, range) = match kind {
                    "a time" => ("time, ", format!("`{}`", range.replace(" to ", "` to `"))),
                    "a whole number" => ("whole, ", range.to_owned()),
                    "a number" => ("number, ", range.to_owned()),
                    other => panic!("{other}"),
                };
                assert_eq!(row.value, format!("{word}{range}"), "`{name}`, `{}`", row.key);
                ranges += 1;
            }
        }
    }
    assert!(ranges > 70, "{ranges}");
    for (most, written) in [(u64::from(NODES_MAX), "4,000 nodes"), (MESSAGES_MAX, "1,000,000 messages")] {
        assert!(page().contains(written), "{most}: {written}");
        assert_eq!(written.split(' ').next().unwrap().replace(',', ""), most.to_string());
    }
}

/// Files that say as little as possible of each table, together of all.
const LEAST: [&str; 4] = [
    "layout.line = { nodes = 2, spacing = 1 }\ntraffic = []\n",
    "layout.grid = { columns = 2, rows = 1, spacing = 1 }\nlinks.radius = { reach = 1, attenuation = 1, beyond = 1 }\n\
     wlan.duty = 0\nnodes = [ { number = 0, place = { x = 0, y = 0 } } ]\n\
     traffic = [ { from = 0, to = 1, ping.count = 1 } ]\n\
     faults = [ { at = \"0s\", crash = { node = 0, down = \"0s\" } } ]\n",
    "layout.disc = { nodes = 2, radius = 1 }\nlinks.given = [ { a = 0, b = 1, attenuation = 1 } ]\n\
     traffic = [ { from = 0, to = 1, periodic.every = \"1s\" } ]\n\
     faults = [ { at = \"0s\", drop.lasts = \"0s\" }, { at = \"0s\", corrupt.lasts = \"0s\" }, \
     { at = \"0s\", duplicate.lasts = \"0s\" }, { at = \"0s\", delay = { by = \"0s\", lasts = \"0s\" } } ]\n",
    "layout.office = { nodes = 2, floors = 1, width = 1, depth = 1 }\ntraffic = []\n",
];

/// The value at the end of a way through tables and lists, of a list whichever has it.
fn value<'a>(table: &'a Table, way: &[&str]) -> Option<&'a Value> {
    let (first, rest) = way.split_first()?;
    let found = table.get(*first)?;
    match found {
        _ if rest.is_empty() => Some(found),
        Value::Table(table) => value(table, rest),
        Value::Array(list) => list.iter().find_map(|element| value(element.as_table()?, rest)),
        _ => None,
    }
}

#[test]
fn the_page_has_the_defaults() {
    let written: Vec<Table> = LEAST
        .iter()
        .chain(&["layout.given = [ { x = 0, y = 0 } ]\ntraffic = []\n"])
        .map(|text| {
            let scenario = Scenario::parse("x.toml", text).unwrap_or_else(|error| panic!("{error}"));
            scenario.to_toml().parse().unwrap()
        })
        .collect();
    let mut defaults = 0;
    for (name, rows) in documented() {
        for row in rows {
            // What is no code is explained in words.
            let Some(default) = row.default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
                continue;
            };
            let expected = format!("it = {default}").parse::<Table>().unwrap()["it"].clone();
            let way: Vec<&str> =
                name.split('.').filter(|step| !step.is_empty()).chain([row.key.as_str()]).collect();
            let found = written
                .iter()
                .find_map(|table| value(table, &way))
                .unwrap_or_else(|| panic!("no file here has `{name}`, `{}`", row.key));
            // 15 and 15.0 are one number.
            let number = |value: &Value| value.as_float().or(value.as_integer().map(|whole| whole as f64));
            match number(&expected) {
                Some(expected) => assert_eq!(number(found), Some(expected), "`{name}`, `{}`", row.key),
                None => assert_eq!(*found, expected, "`{name}`, `{}`", row.key),
            }
            defaults += 1;
        }
    }
    assert!(defaults > 45, "{defaults}");
}

#[test]
fn the_example_of_the_page_is_a_scenario() {
    let page = page();
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [example] = examples[..] else { panic!("{} examples", examples.len()) };
    let scenario = Scenario::parse("example.toml", example).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((scenario.name.as_str(), scenario.node_count()), ("example", 3));
    assert_eq!(scenario.node_named("door"), Some(1));
    // One every two seconds of thirty.
    assert_eq!(scenario.plan(1).len(), 15);
    assert_eq!(scenario.loops(1).iter().map(|one| one.clone().count()).collect::<Vec<_>>(), [10]);
    assert!(matches!(scenario.faults[0].what, FaultKind::Crash { node: 1, .. }));
}
