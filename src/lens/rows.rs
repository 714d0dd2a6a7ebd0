//! The rows of a reading by depth: which places of the residual stream they are, and what they are called.

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
    /// What each half adds, by itself: `h.i.attn_out`, `h.i.mlp_out`; then the last block's output.
    Contributions,
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
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
    /// Where it comes from.
    pub from: From,
}

/// A half of some block that belongs to the decoder.
pub type Borrowed = (usize, Half);

/// The halves that these names of parts stand for, in the model's order.
///
/// Errors: `bad-option` for a name that does not exist, or that is out of order.
pub fn borrowed(names: &[String], config: &Config) -> Result<Vec<Borrowed>> {
    let mut halves: Vec<Borrowed> = Vec::new();
    for name in names {
        let unknown = || {
            let last = config.n_layer - 1;
            Error::BadOption(format!(
                "decoder names \"{name}\"; there are h.0 to h.{last}, and of each .attn and .mlp"
            ))
        };
        let rest = name.strip_prefix("h.").ok_or_else(unknown)?;
        let (block, part) = match rest.split_once('.') {
            None => (rest, [Some(Half::Attn), Some(Half::Mlp)]),
            Some((block, "attn")) => (block, [Some(Half::Attn), None]),
            Some((block, "mlp")) => (block, [Some(Half::Mlp), None]),
            Some(_) => return Err(unknown()),
        };
        let is_plain = block == "0" || !block.starts_with(['0', '+']);
        let block = block.parse::<usize>().ok().filter(|&i| is_plain && i < config.n_layer);
        let block = block.ok_or_else(unknown)?;
        for half in part.into_iter().flatten() {
            if halves.last().is_some_and(|&last| last >= (block, half)) {
                return Err(Error::BadOption(format!(
                    "decoder has \"{name}\" out of order; parts are named once, in the model's order"
                )));
            }
            halves.push((block, half));
        }
    }
    Ok(halves)
}

/// The rows of a reading; parts of the decoder are none.
pub fn rows(config: &Config, stream: &Stream, depth: Depth, decoder: &[Borrowed]) -> Vec<Row> {
    let mut rows = vec![Row { name: "input".into(), from: From::Tap(0) }];
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
            let from = match depth {
                Depth::Contributions => From::Step(before, tap),
                Depth::Blocks | Depth::Halves => From::Tap(tap),
            };
            before = tap;
            // A tap behind a borrowed part already has it.
            let has_part = taken(Half::Attn) || half == Half::Mlp && taken(Half::Mlp);
            if !has_part {
                rows.push(Row { name, from });
            }
        }
    }
    if depth == Depth::Contributions {
        let name = format!("h.{}", config.n_layer - 1);
        rows.push(Row { name, from: From::Tap(before) });
    }
    rows
}

/// Whether the decoder is just what the model does after the last row.
pub fn completes(config: &Config, rows: &[Row], decoder: &[Borrowed]) -> bool {
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
