//! Where nodes stand: the layout of a file, and single places.
//!
//! Owns the rules of layouts. Positions are drawn by `scenario::place`.

use toml::Spanned;

use super::tables::{GridTable, LayoutTable, PlaceTable};
use super::wrong::{Wrong, one_of, wrong};
use crate::scenario::{Layout, NODES_MAX, Place, defaults};

pub(super) fn layout(table: Spanned<LayoutTable>) -> Result<Layout, Wrong> {
    let at = table.span().start;
    let table = table.into_inner();
    one_of(
        at,
        "the layout",
        [
            ("line", table.line.map(|row| Ok(Layout::Line { nodes: row.nodes.0, spacing: row.spacing.0 }))),
            (
                "diagonal",
                table.diagonal.map(|row| Ok(Layout::Diagonal { nodes: row.nodes.0, spacing: row.spacing.0 })),
            ),
            ("grid", table.grid.map(grid)),
            (
                "disc",
                table.disc.map(|disc| {
                    Ok(Layout::Disc {
                        nodes: disc.nodes.0,
                        radius: disc.radius.0,
                        apart: disc.apart.map_or(0.0, |metres| metres.0),
                    })
                }),
            ),
            (
                "office",
                table.office.map(|office| {
                    Ok(Layout::Office {
                        nodes: office.nodes.0,
                        floors: office.floors.0,
                        width: office.width.0,
                        depth: office.depth.0,
                        height: office.height.map_or(defaults::FLOOR_HEIGHT, |metres| metres.0),
                    })
                }),
            ),
            (
                "given",
                table.given.map(|places| {
                    let at = places.span().start;
                    let places = places.into_inner();
                    if !(1..=NODES_MAX as usize).contains(&places.len()) {
                        let count = places.len();
                        return wrong(at, format!("{count} places are given; give 1 to {NODES_MAX}"));
                    }
                    Ok(Layout::Given(places.iter().map(|table| place(table, |_| 0.0)).collect()))
                }),
            ),
        ],
    )
}

fn grid(grid: Spanned<GridTable>) -> Result<Layout, Wrong> {
    let at = grid.span().start;
    let grid = grid.into_inner();
    let nodes = u64::from(grid.columns.0) * u64::from(grid.rows.0);
    if nodes > NODES_MAX.into() {
        return wrong(at, format!("a grid of {nodes} nodes is too large; write at most {NODES_MAX}"));
    }
    Ok(Layout::Grid {
        columns: grid.columns.0,
        rows: grid.rows.0,
        spacing: grid.spacing.0,
        scatter: grid.scatter.map_or(0.0, |metres| metres.0),
    })
}

pub(super) fn place(table: &PlaceTable, ground: impl Fn(u32) -> f64) -> Place {
    let floor = table.floor.map_or(0, |floor| floor.0);
    Place { x: table.x.0, y: table.y.0, z: table.z.map_or_else(|| ground(floor), |z| z.0), floor }
}
