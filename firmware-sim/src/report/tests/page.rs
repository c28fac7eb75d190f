//! The page as a whole: complete, closed, harmless, small, and the same every time.

use super::ALL;
use super::made::{arrived, campaign, nodes, sent};
use super::synthetic::{self, Plan};
use crate::report::{html, table};
use crate::results::{Campaign, LinkResult, MessageResult, RunResult, TimelineStep};

/// Reads a page as a browser would and says what is wrong with it: every tag one that this program writes, every one
/// closed in order, every attribute quoted.
fn well_formed(page: &str) {
    const KNOWN: &[&str] = &[
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "section",
        "div",
        "p",
        "h1",
        "h2",
        "h3",
        "span",
        "b",
        "i",
        "small",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "details",
        "summary",
        "pre",
        "figure",
        "figcaption",
        "svg",
        "g",
        "line",
        "text",
        "rect",
        "circle",
        "path",
        "script",
    ];
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").expect("a page says what it is");
    let mut open: Vec<&str> = Vec::new();
    while let Some(start) = rest.find('<') {
        let tag = &rest[start + 1..];
        let end = tag.find('>').expect("a tag ends");
        let (tag, after) = (&tag[..end], &tag[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in order, before {:.80}", rest);
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        assert!(KNOWN.contains(&name), "<{tag}> is not a tag of this page");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        let bare: String = tag.split('"').step_by(2).collect();
        assert!(!bare.contains("on") || !bare.contains("on="), "<{tag}> has a handler");
        if name == "style" || name == "script" {
            let close = format!("</{name}>");
            rest = &rest[rest.find(&close).expect("style and script are closed") + close.len()..];
        } else if name != "meta" && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0], "everything is closed");
}

#[test]
fn the_page_has_every_section_and_needs_nothing_else() {
    let page = html(&campaign());
    well_formed(&page);
    for head in [
        "Refused, lost and doubtful",
        "Summary",
        "Delivery against offered load",
        "Latency",
        "By hops",
        "By priority",
        "Airtime by cause",
        "Map",
        "One message, step by step",
        "Where this comes from",
    ] {
        assert!(page.contains(&format!(">{head}</h")), "{head}");
    }
    for outside in ["http:", "https:", "//cdn", " src=", " href=", "@import", "url(", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn bad_news_stand_first_and_in_numbers() {
    let page = html(&campaign());
    let alert = page.find("class=\"alert\"").expect("there is bad news");
    let summary = page.find("<h2>Summary").expect("there is a summary");
    assert!(alert < summary);
    for news in [
        "<b>1 refused</b> of 7 offered (busy 1)",
        "<b>2 lost</b> of 6 sent",
        "<b>1</b> to everyone reached only some",
        "<b>1 reported as delivered</b> that reached nobody",
        "not run with seed 2: its figures are of other runs",
    ] {
        assert!(page[alert..summary].contains(news), "{news}");
    }
    let good = RunResult {
        stack: "mesh".to_owned(),
        nodes: nodes(&[1, 1]),
        messages: vec![arrived(sent("LOW", 1, 1, 0), 1_000, 1)],
        ..RunResult::default()
    };
    let page = html(&Campaign { runs: vec![good], ..Campaign::default() });
    assert!(!page.contains("class=\"alert\""));
    assert!(page.contains("Every message that was offered was taken"));
}

#[test]
fn a_link_is_drawn_once_and_one_to_nowhere_is_not() {
    let page = html(&campaign());
    // 0-1 both ways, 0.8 on average; 1-2 one way, 0.2; the one to node 9 has no end.
    assert!(page.contains("2 links drawn"));
    assert_eq!(page.matches("class=\"link k8\" d=\"M").count(), 1);
    assert_eq!(page.matches("class=\"link k2\" d=\"M").count(), 1);
    assert_eq!(page.matches("class=\"link k10\" d=\"M").count(), 0);
    assert!(page.contains("1 of 1 messages to it were lost"), "the tip of node 3 in our first run");
}

#[test]
fn the_same_campaign_gives_the_same_bytes() {
    for seed in 0..3 {
        let plan = Plan { stacks: ALL, seeds: 2, nodes: 30, floors: 2, messages: 200 };
        let campaign = synthetic::campaign(seed, plan);
        let page = html(&campaign);
        well_formed(&page);
        assert_eq!(page, html(&campaign.clone()), "seed {seed}");
        assert_eq!(table(&campaign), table(&campaign.clone()), "seed {seed}");
        // Ours against the others in each plot: two maps and two timelines of each, one for each seed and floor.
        assert_eq!(page.matches("<figcaption>").count(), 2 * 2 * 3 + 2 * 3, "seed {seed}");
    }
}

#[test]
fn a_thousand_nodes_stay_below_two_megabytes() {
    let seed = 11;
    let plan = Plan { stacks: ALL, seeds: 3, nodes: 1_000, floors: 3, messages: 2_000 };
    let mut campaign = synthetic::campaign(seed, plan);
    for run in &mut campaign.runs {
        // Every node named, and every step of a flood in the timeline.
        for (n, node) in run.nodes.iter_mut().enumerate() {
            node.name = format!("light number {n} on the floor");
        }
        run.timeline = (0..5_000)
            .map(|n| TimelineStep {
                at_us: n,
                node: (n % 1_000) as u32,
                what: if n % 2 == 0 { "heard" } else { "sent" }.to_owned(),
                detail: "from a neighbour nearby".to_owned(),
            })
            .collect();
    }
    let page = html(&campaign);
    well_formed(&page);
    assert!(page.len() < 2_000_000, "seed {seed}: {} bytes", page.len());
    assert!(page.contains("2 more seeds are not drawn, to keep this page small"), "seed {seed}");
    assert!(page.contains(", the strongest"), "seed {seed}: links are missing, and it says so");
    assert!(page.contains("970 more nodes took part and have no lane"), "seed {seed}");
    let links: usize = page
        .split("<path class=\"link k")
        .skip(1)
        .map(|path| path[..path.find("/>").expect("a path ends")].matches('M').count())
        .sum();
    assert!((9_000..=12_000).contains(&links), "seed {seed}: {links} links");
}

#[test]
fn texts_of_a_campaign_stay_texts() {
    const EVIL: &str =
        "</title></script><script>alert(1)</script><img src=x onerror='a'>\"&\u{1b}[31m\u{202e}";
    let evil = || EVIL.to_owned();
    let step = |what: &str| TimelineStep { what: what.to_owned(), detail: evil(), ..TimelineStep::default() };
    let mut campaign = Campaign { scenario: evil(), description: evil(), source: evil(), ..campaign() };
    for run in &mut campaign.runs {
        run.stack += EVIL;
        run.trace = evil();
        for node in &mut run.nodes {
            node.name = evil();
        }
        for message in &mut run.messages {
            (message.priority, message.kind) = (evil(), evil());
            message.refused = message.refused.as_ref().map(|_| evil());
            message.outcome = message.outcome.as_ref().map(|_| evil());
        }
        for map in [&mut run.airtime_us, &mut run.air, &mut run.counters] {
            map.insert(evil(), 5);
        }
        run.timeline = vec![step("posted"), step(EVIL)];
    }
    let page = html(&campaign);
    well_formed(&page);
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("<title>&lt;/title").count(), 1, "the page's own title");
    assert!(!page.contains("<img") && !page.contains("alert(1)</script>"));
    assert!(page.contains("&lt;img src=x onerror=&#39;a&#39;&gt;&quot;&amp;"), "it is there, to be read");
    assert!(!page.contains(['\u{1b}', '\u{202e}']));
    let text = table(&campaign);
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\r', '\t']), "{text:?}");
    assert!(text.contains("refused: </title></script>"));
}

#[test]
fn numbers_without_sense_do_no_harm() {
    let message = MessageResult {
        sent_us: Some(u64::MAX),
        delivered_us: Some(0),
        answered_us: Some(1),
        reached: u32::MAX,
        bytes: u32::MAX,
        duplicates: u32::MAX,
        from: u32::MAX,
        hops: Some(255),
        ..sent("", u32::MAX, 0, 0)
    };
    let slow = MessageResult { delivered_us: Some(u64::MAX), reached: 1, ..sent("LOW", 0, 0, 0) };
    let link =
        |from, to, delivery| LinkResult { from, to, rssi: f64::NAN, heard: u64::MAX, delivery, etx: None };
    let mut strange = nodes(&[u64::MAX, u64::MAX, 0]);
    strange[0].x = f64::NAN;
    strange[1].y = f64::INFINITY;
    strange[2].airtime = f64::NAN;
    let run = RunResult {
        stack: "mesh".to_owned(),
        simulated_ms: u64::MAX,
        nodes: strange,
        links: vec![link(0, 1, f64::NAN), link(1, 1, 1.0), link(0, 2, 7.0), link(u32::MAX, 0, 1.0)],
        messages: vec![message, slow],
        airtime_us: [("data".to_owned(), u64::MAX), ("ack".to_owned(), u64::MAX)].into(),
        timeline: vec![TimelineStep { at_us: u64::MAX, node: u32::MAX, ..TimelineStep::default() }],
        ..RunResult::default()
    };
    let campaign = Campaign { runs: vec![run.clone(), run], ..Campaign::default() };
    let page = html(&campaign);
    well_formed(&page);
    assert!(!page.contains("NaN") && !page.contains("\"inf") && !page.contains(">inf"));
    assert!(table(&campaign).contains("mesh"));
}

#[test]
fn what_is_empty_is_called_so() {
    let page = html(&Campaign::default());
    well_formed(&page);
    assert!(page.contains("<h2>No runs</h2>"));
    assert_eq!(table(&Campaign::default()), "no name\nno runs\n");
    let run = RunResult { stack: "mesh".to_owned(), ..RunResult::default() };
    let page = html(&Campaign { runs: vec![run], ..Campaign::default() });
    well_formed(&page);
    assert!(page.contains("no message was offered") && page.contains("Nothing was on the air"));
}

#[test]
fn more_stacks_than_colours_are_counted_and_not_drawn() {
    let run = |n: u32| RunResult { stack: format!("stack{n}"), ..RunResult::default() };
    let page = html(&Campaign { runs: (0..7).map(run).collect(), ..Campaign::default() });
    well_formed(&page);
    assert!(page.contains("2 more stacks are not shown."));
    assert!(page.contains("stack4") && !page.contains("stack5"));
}
