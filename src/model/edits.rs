//! Edits of a run, resolved: what is done at which place of the pass, on tensors of the device. The stored model stays as it
//! is.

use std::ops::Range;
use std::rc::Rc;

use crate::device::{Recorder, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Blend, Rows};

use super::{Block, Half, Model, NormWeights};

/// A place of the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tap {
    /// Before any block.
    Input,
    /// After that half of a block.
    After(usize, Half),
}

/// Where an edit acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// The residual stream, before anything later reads it.
    Tap(Tap),
    /// What half of a block adds to the stream, before it is added.
    Contribution(usize, Half),
    /// What one head adds, without the bias of the output.
    Head(usize, usize),
}

impl Site {
    /// The block that computes it; none for `input`.
    pub fn block(self) -> Option<usize> {
        match self {
            Site::Tap(Tap::Input) => None,
            Site::Tap(Tap::After(i, _)) | Site::Contribution(i, _) | Site::Head(i, _) => Some(i),
        }
    }

    /// The half of a block whose contribution it is, or is part of.
    fn contribution(self) -> Option<(usize, Half)> {
        match self {
            Site::Tap(_) => None,
            Site::Contribution(i, half) => Some((i, half)),
            Site::Head(i, _) => Some((i, Half::Attn)),
        }
    }
}

/// Rows on the device: one for each position, or the same one for all.
#[derive(Clone)]
pub struct Values {
    /// Shapes: \[rows, width4·4\].
    pub tensor: Rc<Tensor>,
    /// Channels.
    pub width: usize,
    /// Whether there is one row for all positions.
    pub is_one: bool,
}

/// What an edit does to its rows.
#[derive(Clone)]
pub enum What {
    /// What stood there elsewhere takes its place. Of a contribution: what the last matrix of that half multiplies, the
    /// outputs of the heads or the hidden layer; so an edit with what is there anyway keeps the bits.
    Inner(Values),
    /// A vector of the stream takes its place.
    Replace(Values),
    /// Nothing takes its place.
    Nothing,
    /// A vector of the stream is added, times a factor.
    Add(Values, f32),
}

/// An edit of activations.
#[derive(Clone)]
pub struct Change {
    /// Where.
    pub site: Site,
    /// Positions, each with its row of the values.
    pub at: Vec<(usize, usize)>,
    /// What is done.
    pub what: What,
    /// The index of the edit that it belongs to.
    pub edit: usize,
}

/// Weights that take the place of the model's, and factors that its matrices do not contain.
#[derive(Default)]
pub struct EditedWeights {
    /// ln_1 (`Half::Attn`) or ln_2 of a block.
    pub norms: Vec<((usize, Half), NormWeights)>,
    /// ln_f with gain and bias.
    pub ln_f: Option<NormWeights>,
    /// The same without the model's gain and bias: factors and zeros.
    pub plain: Option<NormWeights>,
    /// Factors on channels before the unembedding, where there is no norm.
    pub unembed: Vec<(usize, f32)>,
    /// Positions. Shapes: \[n_ctx, C4\].
    pub wpe: Option<Tensor>,
    /// Factors on the channels of the embedding. Shapes: \[C4\].
    pub embed: Option<Tensor>,
}

impl EditedWeights {
    /// Whether another decoder than the model's is in use.
    pub fn change_decoder(&self) -> bool {
        self.plain.is_some()
    }

    /// The norm before that half of a block.
    pub(super) fn norm<'a>(&'a self, i: usize, half: Half, block: &'a Block) -> &'a NormWeights {
        let edited = self.norms.iter().find(|(at, _)| *at == (i, half));
        match (edited, half) {
            (Some((_, norm)), _) => norm,
            (None, Half::Attn) => &block.ln_1,
            (None, Half::Mlp) => &block.ln_2,
        }
    }
}

/// All edits of a run, in order.
#[derive(Default)]
pub struct Edits {
    changes: Vec<Change>,
    /// Edits of weights.
    pub weights: Rc<EditedWeights>,
}

impl Edits {
    /// Only those of weights, for borrowed halves: what they read is no place of the run.
    pub fn of_weights(&self) -> Edits {
        Edits { changes: Vec::new(), weights: self.weights.clone() }
    }

    /// Changes of activations.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether no activation is changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Only the first `n` changes.
    pub fn first(&self, n: usize) -> Edits {
        let changes = self.changes.iter().take(n).cloned().collect();
        Edits { changes, weights: self.weights.clone() }
    }

    /// The changes at a tap or of a half's contribution that reach a position, in order.
    pub fn at(&self, tap: Tap, half: Option<(usize, Half)>, position: usize) -> Vec<usize> {
        let is_there = |change: &Change| {
            let is_at = match change.site {
                Site::Tap(at) => at == tap,
                site => site.contribution() == half,
            };
            is_at && change.at.iter().any(|&(p, _)| p == position)
        };
        let changes = self.changes.iter().enumerate();
        changes.filter(|(_, change)| is_there(change)).map(|(k, _)| k).collect()
    }

    /// The name of a change as a component: that of its edit.
    pub fn name(&self, k: usize) -> String {
        format!("edit.{}", self.changes.get(k).map_or(0, |change| change.edit))
    }

    /// Whether one acts in one of these halves of blocks.
    pub fn act_in(&self, halves: &[(usize, Half)]) -> bool {
        let is_in = |site: Site| match site {
            Site::Tap(Tap::Input) => false,
            Site::Tap(Tap::After(i, half)) => halves.contains(&(i, half)),
            _ => site.contribution().is_some_and(|half| halves.contains(&half)),
        };
        self.changes.iter().any(|change| is_in(change.site))
    }

    /// Whether a contribution of attention is replaced as a whole by what has no heads.
    pub fn have_no_heads(&self, i: usize) -> bool {
        self.changes.iter().any(|change| {
            change.site == Site::Contribution(i, Half::Attn)
                && matches!(change.what, What::Replace(_) | What::Nothing)
                && !change.at.is_empty()
        })
    }

    /// Size of what they hold. Units: bytes.
    pub fn bytes(&self) -> u64 {
        let of_change = |change: &Change| match &change.what {
            What::Inner(values) | What::Replace(values) | What::Add(values, _) => {
                values.tensor.bytes()
            }
            What::Nothing => 0,
        };
        let weights = [&self.weights.wpe, &self.weights.embed].into_iter().flatten();
        self.changes.iter().map(of_change).chain(weights.map(Tensor::bytes)).sum()
    }

    /// Adds an edit. What takes the place of something supersedes the earlier edits there.
    ///
    /// Errors: `bad-option` for a head of a contribution that is replaced as a whole.
    pub fn push(&mut self, change: Change) -> Result<()> {
        let supersedes = !matches!(change.what, What::Add(..));
        let is_at = |p: usize| change.at.iter().any(|&(q, _)| q == p);
        for earlier in self.changes.iter_mut().filter(|_| supersedes) {
            let is_whole = match change.site {
                Site::Contribution(i, half) => earlier.site.contribution() == Some((i, half)),
                site => earlier.site == site,
            };
            if is_whole {
                earlier.at.retain(|&(p, _)| !is_at(p));
            }
        }
        if let (Site::Head(i, head), What::Inner(_)) = (change.site, &change.what) {
            let replaced = self.changes.iter().any(|earlier| {
                earlier.site == Site::Contribution(i, Half::Attn)
                    && matches!(earlier.what, What::Replace(_) | What::Nothing)
                    && earlier.at.iter().any(|&(p, _)| is_at(p))
            });
            if replaced {
                let expected = format!("no earlier edit that replaces all of h.{i}.attn_out there");
                return Err(Error::option("edits.head", expected, head));
            }
        }
        self.changes.push(change);
        Ok(())
    }

    /// Whether an edit of a contribution acts on the sum, so that what its last matrix multiplies does not tell it.
    pub fn act_on_sum(&self, i: usize, half: Half) -> bool {
        let is_there = |change: &&Change| change.site.contribution() == Some((i, half));
        let mut changes = self.changes.iter().filter(is_there);
        changes.any(|change| !matches!(change.what, What::Inner(_)) && !change.at.is_empty())
    }

    /// Edits what the last matrix of a half multiplies. Row 0 of `inner` is at position `start`.
    pub(super) fn edit_inner(
        &self,
        rec: &mut Recorder<'_>,
        model: &Model,
        (i, half): (usize, Half),
        inner: Rows<'_>,
        positions: Range<usize>,
    ) -> Result<()> {
        let dim = model.config.head_dim();
        for change in &self.changes {
            let (What::Inner(values), true) =
                (&change.what, change.site.contribution() == Some((i, half)))
            else {
                continue;
            };
            let channels = match change.site {
                Site::Head(_, head) => head * dim..(head + 1) * dim,
                _ => 0..values.width,
            };
            write(rec, model, values, (false, 1.0), channels, &change.at, inner, &positions)?;
        }
        Ok(())
    }

    /// Edits what a half adds, once it has been added: `y` are its rows with, and `x` without it. With `only`, just the
    /// edits of that site.
    pub(crate) fn edit_sum(
        &self,
        rec: &mut Recorder<'_>,
        model: &Model,
        (i, half): (usize, Half),
        only: Option<Site>,
        [x, y]: [Rows<'_>; 2],
        positions: Range<usize>,
    ) -> Result<()> {
        let is_there = |change: &&Change| {
            change.site.contribution() == Some((i, half))
                && only.is_none_or(|site| site == change.site)
        };
        for change in self.changes.iter().filter(is_there) {
            let (values, scale) = match &change.what {
                What::Inner(_) => continue,
                What::Nothing => (None, 1.0),
                What::Replace(values) => (Some(values), 1.0),
                What::Add(values, scale) => (Some(values), *scale),
            };
            if !matches!(change.what, What::Add(..)) {
                for Run { position, n, .. } in runs(&change.at, true, &positions) {
                    let row_bytes = 16 * y.width4 as u64;
                    let at = |rows: &Rows<'_>| {
                        (rows.first + position - positions.start) as u64 * row_bytes
                    };
                    rec.copy(x.tensor, at(&x), y.tensor, at(&y), n as u64 * row_bytes);
                }
            }
            if let Some(values) = values {
                let channels = 0..values.width;
                write(rec, model, values, (true, scale), channels, &change.at, y, &positions)?;
            }
        }
        Ok(())
    }

    /// Edits the stream at a tap. Row 0 of `y` is at the first position.
    pub(super) fn edit_tap(
        &self,
        rec: &mut Recorder<'_>,
        model: &Model,
        tap: Tap,
        y: Rows<'_>,
        positions: Range<usize>,
    ) -> Result<()> {
        for change in self.changes.iter().filter(|change| change.site == Site::Tap(tap)) {
            let (values, how) = match &change.what {
                What::Replace(values) | What::Inner(values) => (values, (false, 1.0)),
                What::Add(values, scale) => (values, (true, *scale)),
                What::Nothing => continue,
            };
            write(rec, model, values, how, 0..values.width, &change.at, y, &positions)?;
        }
        Ok(())
    }
}

/// Neighbouring positions whose values are neighbouring rows.
struct Run {
    position: usize,
    row: usize,
    n: usize,
}

/// The runs of some positions that lie within others.
fn runs(at: &[(usize, usize)], is_one: bool, within: &Range<usize>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &(position, row) in at.iter().filter(|(position, _)| within.contains(position)) {
        match runs.last_mut() {
            Some(run) if run.position + run.n == position && (is_one || run.row + run.n == row) => {
                run.n += 1;
            }
            _ => runs.push(Run { position, row, n: 1 }),
        }
    }
    runs
}

/// Writes values into some channels of the rows at these positions, or adds them. Row 0 of `y` is at the first of
/// `positions`.
#[expect(clippy::too_many_arguments, reason = "each belongs to one dispatch")]
fn write(
    rec: &mut Recorder<'_>,
    model: &Model,
    values: &Values,
    (adds, scale): (bool, f32),
    channels: Range<usize>,
    at: &[(usize, usize)],
    y: Rows<'_>,
    positions: &Range<usize>,
) -> Result<()> {
    if adds && scale == 0.0 {
        return Ok(());
    }
    for Run { position, row, n } in runs(at, values.is_one, positions) {
        let first_row = if values.is_one { 0 } else { row };
        let op = Blend {
            x: Rows::new(&values.tensor, first_row, values.width),
            is_one: values.is_one,
            scale,
            adds,
            channels: channels.clone(),
            n_rows: n,
            y: Rows { first: y.first + position - positions.start, ..y },
        };
        model.kernels.blend(rec, &op)?;
    }
    Ok(())
}
