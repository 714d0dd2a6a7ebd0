//! Lenses other than the logit lens: an affine map for each row of the stream, before the norm.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::Config;
use crate::device::{Recorder, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Matmul, Matrix, Rows};
use crate::model::Model;

/// Of the next lens.
/// Readings have other keys, so that one is not taken for a lens.
static NEXT_KEY: AtomicU32 = AtomicU32::new(1 << 31);

/// The map of one row: y = x W + b.
pub struct Map {
    /// Name of the row.
    pub tap: String,
    /// W. Shapes: \[C, C\].
    pub weight: Matrix,
    /// b. Shapes: \[C4\].
    pub bias: Option<Tensor>,
    /// Whether y is a stream, which ln_f normalises; else it is a prediction of the normalised stream.
    pub gives_stream: bool,
}

impl Map {
    /// What the map makes of `n` rows, in the first rows of `to`. Shapes: x \[n, C4\] → \[n, C4\].
    ///
    /// Errors: `bad-shape`.
    pub fn apply<'t>(
        &self,
        rec: &mut Recorder<'_>,
        model: &Model,
        x: Rows<'_>,
        n: usize,
        to: &'t Tensor,
    ) -> Result<Rows<'t>> {
        let y = Rows::new(to, 0, model.config.n_embd);
        let op = Matmul { bias: self.bias.as_ref(), ..Matmul::new(x, &self.weight, n, y) };
        model.kernels.matmul(rec, &op)?;
        Ok(y)
    }
}

/// The maps of a lens. A row without one is read by the logit lens.
pub struct Maps {
    key: u32,
    n_embd: usize,
    /// Number of blocks, where the file says it.
    n_layer: Option<usize>,
    maps: Vec<Map>,
}

impl Maps {
    /// A lens of the maps of a model of width `n_embd`.
    pub fn new(n_embd: usize, n_layer: Option<usize>, maps: Vec<Map>) -> Maps {
        Maps { key: NEXT_KEY.fetch_add(1, Ordering::Relaxed), n_embd, n_layer, maps }
    }

    /// Tells it from every other lens.
    pub fn key(&self) -> u32 {
        self.key
    }

    /// The map of a row.
    pub fn map(&self, tap: &str) -> Option<&Map> {
        self.maps.iter().find(|map| map.tap == tap)
    }

    /// The maps, to make another lens of.
    pub fn into_maps(self) -> Vec<Map> {
        self.maps
    }

    /// All maps, by depth.
    pub fn maps(&self) -> &[Map] {
        &self.maps
    }

    /// L, where the file says it.
    pub fn n_layer(&self) -> Option<usize> {
        self.n_layer
    }

    /// C.
    pub fn n_embd(&self) -> usize {
        self.n_embd
    }

    /// Whether ln_f normalises behind every map.
    pub fn gives_stream(&self) -> bool {
        self.maps.iter().all(|map| map.gives_stream)
    }

    /// Whether the lens belongs to a model of this config.
    ///
    /// Errors: `bad-option`.
    pub fn check(&self, config: &Config) -> Result<()> {
        check(self.n_embd, self.n_layer, self.maps.iter().map(|map| map.tap.as_str()), config)
    }
}

/// Whether maps of these rows belong to a model of this config.
///
/// Errors: `bad-option`.
pub(super) fn check<'a>(
    n_embd: usize,
    n_layer: Option<usize>,
    taps: impl Iterator<Item = &'a str>,
    config: &Config,
) -> Result<()> {
    let wrong = |what: &str, expected: usize, got: usize| {
        let expected = format!("a lens of this model, with {what} {expected}");
        Err(Error::option("lens", expected, format!("one with {what} {got}")))
    };
    if n_embd != config.n_embd {
        return wrong("d_model", config.n_embd, n_embd);
    }
    if let Some(n_layer) = n_layer.filter(|&n| n != config.n_layer) {
        return wrong("num_hidden_layers", config.n_layer, n_layer);
    }
    for tap in taps {
        let block = tap.strip_prefix("h.").and_then(|rest| rest.parse::<usize>().ok());
        if tap != "input" && block.is_none_or(|block| block >= config.n_layer) {
            let expected = format!("maps of input and h.0 to h.{}", config.n_layer - 1);
            return Err(Error::option("lens", expected, format!("one of {tap}")));
        }
    }
    Ok(())
}

impl PartialEq for Maps {
    fn eq(&self, other: &Maps) -> bool {
        self.key == other.key
    }
}

impl fmt::Debug for Maps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lens {} of {} maps", self.key, self.maps.len())
    }
}
