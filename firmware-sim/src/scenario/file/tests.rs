//! Reading and writing scenarios: what a file means, what is said of one that means nothing, and writing it.

use mesh_protocol::{Duration, MessageType, Priority, Rng};

use super::super::{
    ControllerModel, FaultKind, Flash, GivenLink, Layout, LinkRule, LongPhy, MESSAGES_MAX, NODES_MAX,
    NodeOptions, Pattern, Place, RadioSettings, RuleAction, Scenario, ScheduledFault, SigOptions, Stacks,
    Traffic, Who, Wlan,
};
use super::*;

/// The least that is a scenario.
const LEAST: &str = "layout.line = { nodes = 4, spacing = 5 }\ntraffic = []\n";

fn parse(text: &str) -> Scenario {
    Scenario::parse("office.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What is wrong with a text, without the words that stand before every error.
fn wrong(text: &str) -> (usize, String) {
    match Scenario::parse("office.toml", text) {
        Ok(scenario) => panic!("taken: {scenario:?}\n{text}"),
        Err(ScenarioError::Invalid { file, line, what }) => {
            assert_eq!(file, "office.toml");
            (line, what)
        }
        Err(error) => panic!("{error}"),
    }
}

/// A line of four with three named nodes, and `rest`, which begins in line 7.
fn wrong_rest(rest: &str) -> (usize, String) {
    wrong(&format!(
        "layout.line = {{ nodes = 4, spacing = 5 }}\nnodes = [\n{{ number = 0, name = \"west\" }},\n{{ number = 1, \
         name = \"east\" }},\n{{ number = 2, name = \"gate\", gateway = true }},\n]\n{rest}"
    ))
}

#[test]
fn what_a_file_does_not_say_is_as_documented() {
    let scenario = parse(LEAST);
    let expected = Scenario {
        name: "office".to_owned(),
        description: String::new(),
        settle: Duration::from_secs(10),
        offered: Duration::from_secs(60),
        drain: Duration::from_secs(60),
        layout: Layout::Line { nodes: 4, spacing: 5.0 },
        nodes: std::collections::BTreeMap::new(),
        links: LinkRule::Propagation {
            exponent: 2.8,
            floor_loss: 15.0,
            shadowing: 4.0,
            fading: 0.0,
            loss: 0.0,
        },
        radio: RadioSettings {
            extended: false,
            phy: LongPhy::OneM,
            controller: ControllerModel::Firmware,
            tx_dbm: 0.0,
            sensitivity_dbm: -96.0,
            capture_db: 10.0,
            scan_interval: Duration::from_millis(30),
            scan_window: Duration::from_millis(30),
        },
        wlan: None,
        stacks: Stacks {
            mesh_ttl: 12,
            sig: SigOptions {
                ttl: 7,
                transmit: 3,
                transmit_interval: Duration::from_millis(20),
                retransmit: 3,
                retransmit_interval: Duration::from_millis(20),
                relay_sets: 2,
                host_delay: Duration::ZERO,
            },
            flood_ttl: 7,
        },
        traffic: Vec::new(),
        faults: Vec::new(),
    };
    assert_eq!(scenario, expected);
}

#[test]
fn nodes_are_meant_by_number_by_name_and_by_a_word() {
    let scenario = parse(
        r#"
        layout.office = { nodes = 10, floors = 2, width = 20, depth = 10, height = 3 }
        [[nodes]]
        number = 7
        name = "north"
        gateway = true
        place = { x = 1, y = 2, floor = 1 }
        [[nodes]]
        number = 3
        gateway = true
        [[traffic]]
        from = "north"
        to = "gateways"
        periodic.every = "2s"
        [[traffic]]
        from = ["north", 1]
        to = "everyone"
        kind = "TASK"
        priority = "CRITICAL"
        bytes = 0
        poisson.rate = 1
        [[traffic]]
        from = "any"
        to = 3
        ping.count = 2
        "#,
    );
    let ends: Vec<_> =
        scenario.traffic.iter().map(|traffic| (traffic.from.clone(), traffic.to.clone())).collect();
    assert_eq!(
        ends,
        [
            (Who::Node(7), Who::Nodes(vec![3, 7])),
            (Who::Nodes(vec![7, 1]), Who::Everyone),
            (Who::Any, Who::Node(3)),
        ]
    );
    assert_eq!(scenario.node_named("north"), Some(7));
    assert_eq!(scenario.node_named("south"), None);
    assert_eq!(scenario.places(1)[7], Place { x: 1.0, y: 2.0, z: 3.0, floor: 1 }, "on the floor it says");
    let first = &scenario.traffic[0];
    assert_eq!((first.kind, first.priority), (MessageType::Notification, Priority::Medium));
    assert_eq!((first.bytes, first.deadline), (24, Duration::from_secs(30)));
}

#[test]
fn a_scan_window_is_as_long_as_its_interval_unless_it_says_otherwise() {
    let radio = parse(&format!("{LEAST}[radio]\nscan_interval = \"10ms\"\n")).radio;
    assert_eq!([radio.scan_interval, radio.scan_window], [Duration::from_millis(10); 2]);
}

#[test]
fn faults_come_in_order_of_time_and_rules_by_their_own_names() {
    let scenario = parse(&format!(
        "{LEAST}\n[[faults]]\nat = \"20s\"\ndelay = {{ by = \"1s\", share = 0.5, from = 2, lasts = \"5s\" }}\n\
         [[faults]]\nat = \"1s\"\ncrash = {{ node = 1, down = \"3s\", flash = \"torn\" }}\n\
         [[faults]]\nat = \"20s\"\ndrop = {{ to = 1, lasts = \"5s\" }}\n"
    ));
    let lasts = Duration::from_secs(5);
    let rule = |action, share, from, to| FaultKind::Rule { action, share, from, to, lasts };
    let crash = FaultKind::Crash { node: 1, down: Duration::from_secs(3), flash: Flash::Torn };
    assert_eq!(
        scenario.faults,
        [
            ScheduledFault { at: Duration::from_secs(1), what: crash },
            ScheduledFault {
                at: Duration::from_secs(20),
                what: rule(RuleAction::Delay(Duration::from_secs(1)), 0.5, Some(2), None)
            },
            ScheduledFault { at: Duration::from_secs(20), what: rule(RuleAction::Drop, 1.0, None, Some(1)) },
        ]
    );
}

#[test]
fn an_error_is_one_line_that_begins_with_the_place_and_ends_with_what_to_do() {
    let text = "layout.line = { nodes = 4, spacing = 5 }\n\n[radio]\nsensitivty = -90\n";
    let error = Scenario::parse("scenarios/office.toml", text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "scenarios/office.toml:4: reading the scenario: `radio`: unknown key `sensitivty`; known here: `extended`, `phy`, `controller`, \
         `tx_dbm`, `sensitivity_dbm`, `capture_db`, `scan_interval`, `scan_window`"
    );
    let error = Scenario::read(Path::new("no-such-folder/office.toml")).unwrap_err().to_string();
    assert!(error.starts_with("reading the scenario no-such-folder/office.toml: "), "{error}");
    assert!(error.ends_with("; check the path and who may read it"), "{error}");
}

#[test]
fn the_shape_of_a_file_is_checked_to_the_line() {
    for (text, line, what) in [
        ("", 1, "the key `layout` is missing; add it"),
        ("layout.line = { nodes = 4, spacing = 5 }\n", 1, "the key `traffic` is missing; add it"),
        ("\n\nlayout = [\n", 3, "this is not TOML: unclosed array, expected `]`; correct it"),
        (
            "name = \"a\"\nname = \"b\"\n",
            2,
            "this is not TOML: the key `name` is there already; keep one, and mind that what stands below a `[table]` \
             belongs to it",
        ),
        (
            "[layout.line]\nnodes = 3\nspacing = 1\ntraffic = []\n",
            4,
            "`layout.line`: unknown key `traffic`; known here: `nodes`, `spacing`; move it to before the first `[table]`, \
             where it belongs to the whole scenario",
        ),
        ("layout = 3\n", 1, "`layout`: integer `3` does not fit; write a table of keys"),
        ("\n[layout.line]\nspacing = 3\n", 2, "`layout.line`: the key `nodes` is missing; add it"),
        (
            "traffic = []\n[layout.gird]\nrows = 3\n",
            2,
            "unknown key `gird`; known here: `line`, `diagonal`, `grid`, `disc`, `office`, `given`",
        ),
        (
            "traffic = []\n[layout]\n",
            2,
            "`layout`: the layout says nothing of its kind; add one of `line`, `diagonal`, `grid`, `disc`, `office`, \
             `given`",
        ),
        (
            "traffic = []\n[layout]\nline = { nodes = 1, spacing = 1 }\ndiagonal = { nodes = 1, spacing = 1 }\n",
            2,
            "`layout`: the layout has both `line` and `diagonal`; keep one of them",
        ),
    ] {
        assert_eq!(wrong(text), (line, what.to_owned()), "{text}");
    }
}

#[test]
fn values_are_checked_to_the_line() {
    for (rest, line, what) in [
        (
            "offered = 5\ntraffic = []\n",
            7,
            "`offered`: integer `5` does not fit; write a time with its unit, such as \"150ms\", \"2s\" or \"1m30s\"",
        ),
        (
            "offered = \"5\"\ntraffic = []\n",
            7,
            "`offered`: \"5\" is no time; write numbers and units from h, m, s, ms, us in this order, such as \
             \"150ms\", \"2s\" or \"1m30s\"",
        ),
        (
            "offered = \"25h\"\ntraffic = []\n",
            7,
            "`offered`: \"25h\" is out of range; write a time from \"1ms\" to \"24h\"",
        ),
        (
            "traffic = []\n[wlan]\nduty = 20\n",
            9,
            "`wlan.duty`: 20 is out of range; write a number from 0 to 1",
        ),
        (
            "traffic = []\n[wlan]\nduty = nan\n",
            9,
            "`wlan.duty`: NaN is out of range; write a number from 0 to 1",
        ),
        (
            "traffic = []\n[stacks]\nmesh_ttl = 16\n",
            9,
            "`stacks.mesh_ttl`: 16 is out of range; write a whole number from 1 to 15",
        ),
        (
            "traffic = []\n[stacks.sig]\ntransmit = 2.5\n",
            9,
            "`stacks.sig.transmit`: floating point `2.5` does not fit; write a whole number from 1 to 8",
        ),
        (
            "traffic = []\n[radio]\n\nscan_window = \"40ms\"\n",
            10,
            "`radio.scan_window`: `scan_window` (40ms) is longer than `scan_interval` (30ms); write a shorter window \
             or a longer interval",
        ),
        (
            "[[traffic]]\nfrom = 0\nto = 1\npriority = \"URGENT\"\nbulk.count = 1\n",
            10,
            "`traffic.priority`: unknown word `URGENT`; write one of `CRITICAL`, `HIGH`, `MEDIUM`, `LOW`",
        ),
        (
            "[[traffic]]\nfrom = 0\nto = 1\nbulk = 3\n",
            10,
            "`traffic.bulk`: integer `3` does not fit; write a table of keys",
        ),
        (
            "[[traffic]]\nfrom = 0\nto = 1\nbulk = [3]\n",
            10,
            "`traffic.bulk`: a list does not fit; write a table of keys",
        ),
        ("traffic = []\n[[radio]]\ntx_dbm = 4\n", 8, "`radio`: a list does not fit; write a table of keys"),
        ("[traffic]\nfrom = 0\n", 7, "`traffic`: a table does not fit; write a list"),
        (
            "[[traffic]]\nfrom = 0\nto = true\nbulk.count = 1\n",
            9,
            "`traffic.to`: boolean `true` does not fit; write a node's number or name, a list of these, \"any\", \
             \"everyone\" or \"gateways\"",
        ),
    ] {
        assert_eq!(wrong_rest(rest), (line, what.to_owned()), "{rest}");
    }
}

#[test]
fn nodes_that_are_not_there_are_named_with_those_that_are() {
    let no_such =
        "no node is named \"wets\"; named in `nodes`: `east`, `gate`, `west`; or give a number, 0 to 3";
    for (rest, line, what) in [
        ("[[traffic]]\nfrom = \"wets\"\nto = 1\nbulk.count = 1\n", 8, format!("`traffic.from`: {no_such}")),
        (
            "[[traffic]]\nfrom = [\n\"west\",\n\"wets\" ]\nto = 1\nbulk.count = 1\n",
            10,
            format!("`traffic.from`: {no_such}"),
        ),
        (
            "[[traffic]]\nfrom = 0\nto = 4\nbulk.count = 1\n",
            9,
            "`traffic.to`: there is no node 4; the layout has 0 to 3".to_owned(),
        ),
        (
            "[[traffic]]\nfrom = 0\nto = -1\nbulk.count = 1\n",
            9,
            "`traffic.to`: there is no node -1; the layout has 0 to 3".to_owned(),
        ),
        (
            "traffic = []\n[[faults]]\nat = \"1s\"\npartition = { nodes = [\"wets\"], lasts = \"1s\" }\n",
            10,
            format!("`faults.partition.nodes`: {no_such}"),
        ),
        (
            "traffic = []\n[[links.given]]\na = 0\nb = \"wets\"\nattenuation = 50\n",
            10,
            format!("`links.given.b`: {no_such}"),
        ),
    ] {
        assert_eq!(wrong_rest(rest), (line, what), "{rest}");
    }
    let text = "layout.line = { nodes = 2, spacing = 1 }\n[[traffic]]\nfrom = 0\nto = \"gateways\"\nbulk.count = 1\n";
    let what = "`traffic.to`: no node is a gateway; say `gateway = true` of some in `nodes`";
    assert_eq!(wrong(text), (4, what.to_owned()));
}

#[test]
fn routes_are_from_a_node_to_a_node_by_a_node() {
    let scenario = parse(
        "layout.line = { nodes = 200, spacing = 1 }\ntraffic = []\nnodes = [\n\
         { number = 0, routes = { roof = \"shed\", 3 = \"shed\", \"4\" = 4 } },\n\
         { number = 1, name = \"shed\" },\n{ number = 2, name = \"roof\" },\n]\n",
    );
    assert_eq!(scenario.nodes[&0].routes.iter().collect::<Vec<_>>(), [(&2, &1), (&3, &1), (&4, &4)]);
    assert!(scenario.nodes[&1].routes.is_empty());

    let many = |gateway: bool, count: u32| {
        let routes: String = (1..=count).map(|to| format!("{to} = 1, ")).collect();
        format!(
            "layout.line = {{ nodes = 200, spacing = 1 }}\ntraffic = []\nnodes = [\n\
             {{ number = 0, gateway = {gateway}, routes = {{ {} }} }}]\n",
            routes.trim_end_matches(", ")
        )
    };
    for (gateway, most) in [(false, 24), (true, 128)] {
        assert_eq!(parse(&many(gateway, most)).nodes[&0].routes.len(), most as usize);
        let what = format!(
            "`nodes.number`: node 0 has {} `routes`, and {most} is the most it has room for; leave some out",
            most + 1
        );
        assert_eq!(wrong(&many(gateway, most + 1)), (4, what));
    }
}

#[test]
fn routes_are_checked_to_the_line() {
    let no_such = "no node is named \"wets\"; named in `nodes`: `east`, `west`; or give a number, 0 to 3";
    for (route, what) in [
        ("wets = 1", format!("`nodes.routes`: {no_such}")),
        ("0 = \"wets\"", format!("`nodes.routes.0`: {no_such}")),
        ("4 = 1", "`nodes.routes`: there is no node 4; the layout has 0 to 3".to_owned()),
        ("-1 = 1", "`nodes.routes`: there is no node -1; the layout has 0 to 3".to_owned()),
        ("any = 1", format!("`nodes.routes`: {}", no_such.replace("wets", "any"))),
        ("3 = 1", "`nodes.routes`: node 3 needs no route to itself; name another node".to_owned()),
        (
            "west = 3",
            "`nodes.routes.west`: node 3 is no next hop of its own; name a neighbour, or the destination if it is one"
                .to_owned(),
        ),
        (
            "0 = 1, west = 2",
            "`nodes.routes`: there are two routes to node 0; keep one of them".to_owned(),
        ),
        (
            "0 = true",
            "`nodes.routes.0`: boolean `true` does not fit; write a node's number or its name in quotes".to_owned(),
        ),
    ] {
        let text = format!(
            "layout.line = {{ nodes = 4, spacing = 5 }}\ntraffic = []\nnodes = [\n{{ number = 0, name = \"west\" }},\n\
             {{ number = 1, name = \"east\" }},\n{{ number = 3, routes = {{ {route} }} }},\n]\n"
        );
        assert_eq!(wrong(&text), (6, what), "{route}");
    }
    let list = wrong(&format!("{LEAST}nodes = [ {{ number = 0, routes = [1] }} ]\n"));
    assert_eq!(list, (3, "`nodes.routes`: a list does not fit; write a table".to_owned()));
}

#[test]
fn names_of_nodes_are_checked() {
    for (node, what) in [
        ("number = 4", "`nodes.number`: there is no node 4; the layout has 0 to 3"),
        ("number = 1", "`nodes.number`: node 1 is described twice; put both into one"),
        ("number = 0, name = \"a\"", "`nodes.name`: node 1 is named `a` already; name this one otherwise"),
        (
            "number = 0, name = \"everyone\"",
            "`nodes.name`: `everyone` is a word for several nodes; name this one otherwise",
        ),
        (
            "number = 0, name = \"7\"",
            "`nodes.name`: \"7\" is no name for a node; begin with a letter and write at most 32 letters, digits, `-`, \
             `_` and `.`",
        ),
    ] {
        let text = format!(
            "layout.line = {{ nodes = 4, spacing = 5 }}\ntraffic = []\nnodes = [ {{ number = 1, name = \"a\" }},\n{{ \
             {node} }} ]\n"
        );
        assert_eq!(wrong(&text), (4, what.to_owned()), "{node}");
    }
}

#[test]
fn what_no_value_tells_alone_is_checked() {
    for (rest, line, what) in [
        (
            "[[traffic]]\nfrom = 0\nto = 0\nbulk.count = 1\n",
            7,
            "`traffic`: nobody sends this to anybody but itself; name a receiver besides the sender",
        ),
        (
            "[[traffic]]\nfrom = 0\nto = []\nbulk.count = 1\n",
            9,
            "`traffic.to`: the list is empty; name at least one node",
        ),
        (
            "[[traffic]]\nfrom = 0\nto = \"everyone\"\nping.count = 1\n",
            9,
            "`traffic.to`: a ping to everyone has no one answer; name a receiver, or write `to = \"any\"`",
        ),
        (
            "[[traffic]]\nfrom = 0\nto = 1\n",
            7,
            "`traffic`: this traffic says nothing of its kind; add one of `ping`, `periodic`, `poisson`, `burst`, `bulk`",
        ),
        (
            "[[traffic]]\nfrom = 0\nto = 1\nstart = \"1m\"\nbulk.count = 1\n",
            10,
            "`traffic.start`: `start` (1m) is not before `offered` ends (1m); start earlier or offer longer",
        ),
        (
            "[[traffic]]\nfrom = 0\nto = 1\nstart = \"9s\"\nstop = \"9s\"\nbulk.count = 1\n",
            11,
            "`traffic.stop`: `stop` is not after `start`; stop later or start earlier",
        ),
        (
            "traffic = []\n[[faults]]\nat = \"2m\"\ncrash = { node = 0, down = \"1s\" }\n",
            9,
            "`faults.at`: at 2m, the run is over: `offered` and `drain` are 2m together; write an earlier `at`",
        ),
        (
            "traffic = []\n[[links.given]]\na = 0\nb = \"west\"\nattenuation = 50\n",
            8,
            "`links.given`: node 0 hears itself without a link; link it to another",
        ),
        (
            "traffic = []\n[links]\ngiven = [ { a = 0, b = 1, attenuation = 50 },\n{ a = 1, b = 0, attenuation = 50 } ]\n",
            10,
            "`links.given`: nodes 1 and 0 are linked twice; a link goes both ways, keep one",
        ),
    ] {
        assert_eq!(wrong_rest(rest), (line, what.to_owned()), "{rest}");
    }
    let grid = "traffic = []\n[layout.grid]\ncolumns = 100\nrows = 41\nspacing = 1\n";
    let what = format!("`layout.grid`: a grid of 4100 nodes is too large; write at most {NODES_MAX}");
    assert_eq!(wrong(grid), (2, what));
}

#[test]
fn a_scenario_may_ask_for_a_million_messages_and_no_more() {
    // 60 s offered: a thousand a second for each sender of two, and bulk for the rest.
    let text = |rest: u64| {
        format!(
            "layout.line = {{ nodes = 2, spacing = 1 }}\n[[traffic]]\nfrom = \"everyone\"\nto = \"any\"\n\
             periodic.every = \"1ms\"\n[[traffic]]\nfrom = 0\nto = 1\nbulk.count = {rest}\n"
        )
    };
    let rest = MESSAGES_MAX - 2 * 60_000;
    assert_eq!(parse(&text(rest)).traffic.len(), 2);
    assert_eq!(
        wrong(&text(rest + 1)),
        (
            6,
            "`traffic`: with this traffic, the scenario asks for 1000001 messages, and 1000000 are the most; ask for \
             fewer, or for a shorter time"
                .to_owned()
        )
    );
}

#[test]
fn a_scenario_without_a_name_is_named_after_its_file() {
    let named = |file: &str, text: &str| Scenario::parse(file, text).unwrap().name;
    assert_eq!(named("scenarios/field.toml", LEAST), "field");
    assert_eq!(named("", LEAST), "scenario");
    assert_eq!(named("field.toml", &format!("name = \"My field\"\n{LEAST}")), "My field");
    let what = "`name`: this is no `name`; write 1 to 32 characters on one line";
    assert_eq!(wrong(&format!("name = \"\"\n{LEAST}")), (1, what.to_owned()));
}

// ---- there and back ----

/// Random scenarios, all that a file can say.
struct Dice(Rng);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0.below(bound.into()) as u32
    }

    /// A number from `low` to `high`: an end, a whole one, or any.
    fn real(&mut self, low: f64, high: f64) -> f64 {
        let any = low + (high - low) * (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        match self.below(4) {
            0 => low,
            1 => high,
            2 => any.round(),
            _ => any,
        }
    }

    fn time(&mut self, low: u64, high: u64) -> Duration {
        // Of any size, so that all units come.
        let most = (high - low) >> self.below(40);
        Duration::from_micros(low + self.0.below(most + 1))
    }

    fn maybe<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| some(self))
    }

    fn place(&mut self) -> Place {
        Place {
            x: self.real(-1e5, 1e5),
            y: self.real(-1e5, 1e5),
            z: self.real(-9.0, 99.0),
            floor: self.below(100),
        }
    }

    fn layout(&mut self) -> Layout {
        let (nodes, spacing) = (2 + self.below(40), self.real(0.0, 1e5));
        match self.below(6) {
            0 => Layout::Line { nodes, spacing },
            1 => Layout::Diagonal { nodes, spacing },
            2 => Layout::Grid {
                columns: nodes,
                rows: 1 + self.below(9),
                spacing,
                scatter: self.real(0.0, 9.0),
            },
            3 => Layout::Disc { nodes, radius: spacing, apart: self.real(0.0, 9.0) },
            4 => Layout::Office {
                nodes,
                floors: 1 + self.below(100),
                width: spacing,
                depth: self.real(0.0, 100.0),
                height: self.real(0.0, 5.0),
            },
            _ => Layout::Given((0..nodes).map(|_| self.place()).collect()),
        }
    }

    fn links(&mut self, count: u32) -> LinkRule {
        let loss = self.real(0.0, 1.0);
        match self.below(3) {
            0 => LinkRule::Radius {
                reach: self.real(0.0, 1e5),
                attenuation: self.real(0.0, 300.0),
                beyond: self.real(0.0, 300.0),
                loss,
            },
            1 => LinkRule::Propagation {
                exponent: self.real(1.0, 6.0),
                floor_loss: self.real(0.0, 100.0),
                shadowing: self.real(0.0, 100.0),
                fading: self.real(0.0, 100.0),
                loss,
            },
            _ => {
                let given = (1..count).map(|b| GivenLink {
                    a: self.below(b),
                    b,
                    attenuation: self.real(0.0, 300.0),
                    loss: self.real(0.0, 1.0),
                });
                LinkRule::Given(given.collect())
            }
        }
    }

    fn who(&mut self, count: u32) -> Who {
        match self.below(4) {
            0 => Who::Node(self.below(count)),
            1 => Who::Nodes((0..=self.below(5)).map(|_| self.below(count)).collect()),
            2 => Who::Any,
            _ => Who::Everyone,
        }
    }

    fn traffic(&mut self, scenario: &Scenario) -> Traffic {
        let count = scenario.node_count();
        let offered = scenario.offered.as_micros();
        let start = self.time(0, offered - 1);
        let pattern = match self.below(5) {
            0 => Pattern::Ping { count: 1 + self.below(1_000), pause: self.time(0, values::DAY) },
            1 => Pattern::Periodic {
                every: self.time(offered / 100 + values::MS, values::DAY),
                jitter: self.time(0, values::DAY),
            },
            2 => Pattern::Poisson { rate: self.real(0.0, 1.0) },
            3 => Pattern::Burst {
                size: 1 + self.below(10),
                every: self.time(offered / 100 + values::MS, values::DAY),
            },
            _ => Pattern::Bulk { count: 1 + self.below(1_000) },
        };
        Traffic {
            from: self.who(count),
            to: self.who(count),
            kind: MessageType::ALL[self.below(5) as usize],
            priority: Priority::ALL[self.below(4) as usize],
            bytes: self.below(65_537),
            deadline: self.time(values::MS, values::DAY),
            start,
            stop: self.maybe(|dice| start + dice.time(1, values::DAY / 2)),
            pattern,
        }
    }

    fn fault(&mut self, scenario: &Scenario) -> ScheduledFault {
        let count = scenario.node_count();
        let end = (scenario.offered + scenario.drain).as_micros().min(values::DAY + 1);
        let (lasts, rate) = (self.time(0, values::DAY), self.real(0.0, 1_000.0));
        let what = match self.below(7) {
            0 => FaultKind::Crash {
                node: self.below(count),
                down: lasts,
                flash: [Flash::Kept, Flash::Lost, Flash::Torn][self.below(3) as usize],
            },
            1 => {
                FaultKind::Partition { nodes: (0..self.below(5)).map(|_| self.below(count)).collect(), lasts }
            }
            2 => FaultKind::Rule {
                action: match self.below(4) {
                    0 => RuleAction::Drop,
                    1 => RuleAction::Delay(self.time(0, values::DAY)),
                    2 => RuleAction::Duplicate,
                    _ => RuleAction::Corrupt,
                },
                share: self.real(0.0, 1.0),
                from: self.maybe(|dice| dice.below(count)),
                to: self.maybe(|dice| dice.below(count)),
                lasts,
            },
            3 => FaultKind::ClockJump { node: self.below(count), by: lasts },
            4 => FaultKind::Forge { near: self.below(count), rate, lasts },
            5 => FaultKind::Replay { near: self.below(count), after: self.time(0, values::DAY), rate, lasts },
            _ => FaultKind::Member { near: self.below(count), rate, lasts },
        };
        ScheduledFault { at: self.time(0, end - 1), what }
    }

    fn scenario(&mut self) -> Scenario {
        let layout = self.layout();
        let count = layout.nodes();
        let interval = self.time(2_500, 10_240_000);
        let mut scenario = Scenario {
            name: format!("no. {} \"'\\ \u{e9}", self.below(1_000)),
            description: ["", "one line", "two\nlines, \"\"\"quoted\"\"\" \\ and a tab\t"]
                [self.below(3) as usize]
                .to_owned(),
            settle: self.time(0, values::DAY),
            offered: self.time(values::MS, 100_000_000),
            drain: self.time(0, values::DAY),
            layout,
            nodes: std::collections::BTreeMap::new(),
            links: self.links(count),
            radio: RadioSettings {
                extended: self.below(2) == 0,
                phy: [LongPhy::OneM, LongPhy::TwoM, LongPhy::Coded][self.below(3) as usize],
                controller: [ControllerModel::Firmware, ControllerModel::Bt5Dongle][self.below(2) as usize],
                tx_dbm: self.real(-150.0, 50.0),
                sensitivity_dbm: self.real(-150.0, 50.0),
                capture_db: self.real(0.0, 100.0),
                scan_interval: interval,
                scan_window: self.time(2_500, interval.as_micros()),
            },
            wlan: self.maybe(|dice| Wlan {
                duty: dice.real(0.0, 1.0),
                burst: dice.time(1, 10_000_000),
                dbm: dice.real(-150.0, 50.0),
            }),
            stacks: Stacks {
                mesh_ttl: 1 + self.below(15) as u8,
                sig: SigOptions {
                    ttl: 1 + self.below(127) as u8,
                    transmit: 1 + self.below(8) as u8,
                    transmit_interval: self.time(10_000, 320_000),
                    retransmit: 1 + self.below(8) as u8,
                    retransmit_interval: self.time(10_000, 320_000),
                    relay_sets: self.below(17) as u8,
                    host_delay: self.time(0, 1_000_000),
                },
                flood_ttl: 1 + self.below(127) as u8,
            },
            traffic: Vec::new(),
            faults: Vec::new(),
        };
        for _ in 0..self.below(6) {
            let number = self.below(count);
            let node = NodeOptions {
                name: self.maybe(|_| format!("n{number}-\u{fc}.x")),
                gateway: self.below(2) == 0,
                relay: self.maybe(|dice| dice.below(2) == 0),
                drops: self.below(2) == 0,
                place: self.maybe(Self::place),
                drift_ppm: self.real(-1_000.0, 1_000.0),
                tx_dbm: self.maybe(|dice| dice.real(-150.0, 50.0)),
                extended: self.maybe(|dice| dice.below(2) == 0),
                phy: self.maybe(|_| LongPhy::TwoM),
                controller: self.maybe(|_| ControllerModel::Bt5Dongle),
                routes: (0..self.below(4))
                    .map(|_| (self.below(count), self.below(count)))
                    .filter(|(to, next)| *to != number && *next != number)
                    .collect(),
            };
            scenario.nodes.insert(number, node);
        }
        for _ in 0..self.below(5) {
            let traffic = self.traffic(&scenario);
            let ping = matches!(traffic.pattern, Pattern::Ping { .. });
            if scenario.has_pairs(&traffic) && !(ping && traffic.to == Who::Everyone) {
                scenario.traffic.push(traffic);
            }
        }
        for _ in 0..self.below(6) {
            let fault = self.fault(&scenario);
            scenario.faults.push(fault);
        }
        scenario.faults.sort_by_key(|fault| fault.at);
        scenario
    }
}

#[test]
fn a_scenario_written_down_and_read_again_is_the_same() {
    for seed in 0..1_000 {
        let scenario = Dice(Rng::new(seed)).scenario();
        let text = scenario.to_toml();
        match Scenario::parse("again.toml", &text) {
            Ok(again) => assert_eq!(again, scenario, "seed {seed}\n{text}"),
            Err(error) => panic!("seed {seed}: {error}\n{text}"),
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_with_a_line_of_the_file_or_another_scenario() {
    let mut refused = 0;
    for seed in 0..1_000 {
        let mut dice = Dice(Rng::new(seed));
        let mut text = dice.scenario().to_toml().into_bytes();
        for _ in 0..=dice.below(3) {
            let at = dice.below(text.len() as u32) as usize;
            match dice.below(3) {
                0 => text[at] = b" \n\"'[]{}=.,-0123456789aeh"[dice.below(25) as usize],
                1 => drop(text.remove(at)),
                _ => text.truncate(at.max(1)),
            }
        }
        let text = String::from_utf8_lossy(&text);
        match Scenario::parse("damaged.toml", &text) {
            Err(ScenarioError::Invalid { line, .. }) => {
                refused += 1;
                assert!((1..=text.lines().count() + 1).contains(&line), "seed {seed}: line {line}\n{text}");
            }
            Err(error) => panic!("seed {seed}: {error}"),
            Ok(_) => {}
        }
    }
    assert!(refused > 500, "{refused} of 1000 refused: too little is damaged to say anything");
}
