//! The rows of a reading by depth: their places in the residual stream and their names.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::{Half, Stream};

/// Which rows a reading has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// `input`, then the output of every block.
    #[default]
    Blocks,
    /// The stream between the halves of every block as well: `h.i.attn`.
    Halves,
    /// What each half adds to the stream: `h.i.attn_out`, `h.i.mlp_out`; then the last block's output.
    Contributions,
}

/// What a row is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowSource {
    /// A tap of the stream.
    Tap(usize),
    /// The second tap minus the first.
    Step(usize, usize),
}

/// One row of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it is computed from.
    pub source: RowSource,
}

/// A half of some block that belongs to the decoder.
pub type BorrowedHalf = (usize, Half);

/// The halves that these names of blocks and halves stand for, in the model's order.
///
/// Errors: `bad-option` for a name that does not exist, or that is out of order.
pub fn borrowed(names: &[String], config: &Config) -> Result<Vec<BorrowedHalf>> {
    let mut halves: Vec<BorrowedHalf> = Vec::new();
    for name in names {
        let unknown = || {
            let last = config.n_layer - 1;
            let expected = format!("names h.0 to h.{last}, with or without .attn or .mlp");
            Error::option("decoder", expected, format!("\"{name}\""))
        };
        let rest = name.strip_prefix("h.").ok_or_else(unknown)?;
        let (block, named) = match rest.split_once('.') {
            None => (rest, [Some(Half::Attn), Some(Half::Mlp)]),
            Some((block, "attn")) => (block, [Some(Half::Attn), None]),
            Some((block, "mlp")) => (block, [Some(Half::Mlp), None]),
            Some(_) => return Err(unknown()),
        };
        let is_plain = block == "0" || !block.starts_with(['0', '+']);
        let block = block.parse::<usize>().ok().filter(|&i| is_plain && i < config.n_layer);
        let block = block.ok_or_else(unknown)?;
        for half in named.into_iter().flatten() {
            if halves.last().is_some_and(|&last| last >= (block, half)) {
                let expected = "each name once, in the model's order";
                return Err(Error::option("decoder", expected, format!("{names:?}")));
            }
            halves.push((block, half));
        }
    }
    Ok(halves)
}

/// The rows of a reading; halves that belong to the decoder are left out.
pub fn rows(config: &Config, stream: &Stream, depth: Depth, decoder: &[BorrowedHalf]) -> Vec<Row> {
    let mut rows = vec![Row { name: "input".into(), source: RowSource::Tap(0) }];
    let mut before = 0;
    for i in 0..config.n_layer {
        let taken = |half| decoder.contains(&(i, half));
        for half in [Half::Attn, Half::Mlp] {
            let Some(tap) = stream.tap(i, half) else { continue };
            let name = match (depth, half) {
                (Depth::Contributions, Half::Attn) => format!("h.{i}.attn_out"),
                (Depth::Contributions, Half::Mlp) => format!("h.{i}.mlp_out"),
                (_, Half::Attn) => format!("h.{i}.attn"),
                (_, Half::Mlp) => format!("h.{i}"),
            };
            let source = match depth {
                Depth::Contributions => RowSource::Step(before, tap),
                Depth::Blocks | Depth::Halves => RowSource::Tap(tap),
            };
            before = tap;
            // A tap behind a borrowed half already contains it.
            let contains = taken(Half::Attn) || half == Half::Mlp && taken(Half::Mlp);
            if !contains {
                rows.push(Row { name, source });
            }
        }
    }
    if depth == Depth::Contributions {
        let name = format!("h.{}", config.n_layer - 1);
        rows.push(Row { name, source: RowSource::Tap(before) });
    }
    rows
}

/// Whether the decoder is exactly what the model does after the last row.
pub fn completes(config: &Config, rows: &[Row], decoder: &[BorrowedHalf]) -> bool {
    let all = (0..config.n_layer).flat_map(|i| [(i, Half::Attn), (i, Half::Mlp)]);
    let done = match rows.last().map(|row| row.name.as_str()) {
        None | Some("input") => 0,
        Some(name) => {
            let rest = name.trim_start_matches("h.");
            match rest.strip_suffix(".attn") {
                Some(block) => block.parse::<usize>().map_or(0, |i| 2 * i + 1),
                None => rest.parse::<usize>().map_or(0, |i| 2 * i + 2),
            }
        }
    };
    all.skip(done).eq(decoder.iter().copied())
}
