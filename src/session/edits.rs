//! Edits of a run as a caller asks for them: parsed and checked against the model, with what other readings give for them.

use std::rc::Rc;

use crate::config::Config;
use crate::device::{Cancel, Device, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Blend, Matmul, Rows, pad4};
use crate::model::{Change, Edits, Half, Linear, Model, Site, Tap, Values, What};

use super::capture::{Captured, Captures};
use super::description::Entries;
use super::surgery::{Surgery, edit_wpe};
use super::{Lensed, Loaded};

/// One edit of a run.
#[derive(Clone)]
pub enum Edit {
    /// What stands at a place becomes what stood somewhere in another reading, or in an earlier one of the same text.
    Patch {
        /// Where.
        place: Place,
        /// From where.
        from: Source,
    },
    /// What half of a block, or a head, adds is removed, or becomes its mean over a reading.
    Ablate {
        /// Where.
        place: Place,
        /// Of which the mean is taken; none for zero.
        mean: Option<Rc<Lensed>>,
    },
    /// A vector is added.
    Steer {
        /// Where.
        place: Place,
        /// Shapes: \[C\].
        vector: Vec<f32>,
        /// Its factor.
        scale: f32,
    },
    /// The weights are changed for this run.
    Weights {
        /// `h.i.ln_1`, `h.i.ln_2`, `ln_f`, `embed`, `unembed` or `wpe`.
        of: String,
        /// One channel; none for all of `wpe`.
        channel: Option<usize>,
        /// What is done to them.
        how: How,
    },
}

/// What an edit does to weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How {
    /// They are multiplied.
    Scale(f32),
    /// Neighbouring positions are averaged with the weights of a Gaussian. Units: positions.
    Smooth(f32),
}

/// Where activations are edited.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The name of a tap or a contribution.
    pub at: String,
    /// One head of a contribution of attention.
    pub head: Option<usize>,
    /// Positions; all if there are none.
    pub positions: Option<Vec<usize>>,
}

/// From where a patch comes.
#[derive(Clone)]
pub struct Source {
    /// The other reading.
    pub reading: Rc<Lensed>,
    /// Where in it; the same place if there is none.
    pub at: Option<String>,
    /// At which positions; the same ones if there are none.
    pub positions: Option<Vec<usize>>,
}

/// Edits that are ready for a run.
#[derive(Default)]
pub(super) struct Resolved {
    pub(super) edits: Edits,
    /// Each as JSON.
    pub(super) described: Vec<String>,
    /// For each, the first block and the first position that it changes.
    pub(super) reach: Vec<(usize, usize)>,
}

impl Resolved {
    /// Whether rows are decoded as under those of `other`.
    pub(super) fn has_decoder_of(&self, other: &Resolved) -> bool {
        let changes = [self, other].map(|resolved| resolved.edits.weights.change_decoder());
        changes == [false, false] || self.described == other.described
    }

    /// The first block and the first position at which a run with these edits differs from one with those of `other`.
    pub(super) fn differs_from(&self, other: &Resolved) -> (usize, usize) {
        let pairs = self.described.iter().zip(&other.described);
        let same = pairs.take_while(|(a, b)| a == b).count();
        let rest = self.reach.iter().skip(same).chain(other.reach.iter().skip(same));
        rest.fold((usize::MAX, usize::MAX), |(block, position), &(i, p)| {
            (block.min(i), position.min(p))
        })
    }
}

/// Most bytes of the edits of a reading as JSON: each has those of the readings that it patches from.
const MAX_DESCRIPTION: usize = 1 << 20;

pub(super) fn bad(name: &str, expected: impl Into<String>, got: impl ToString) -> Error {
    Error::option(format!("edits.{name}"), expected, got)
}

/// The place of that name.
///
/// Errors: `bad-option`.
pub(super) fn site(option: &str, name: &str, head: Option<usize>, config: &Config) -> Result<Site> {
    let unknown = || {
        let last = config.n_layer - 1;
        let expected = format!(
            "\"input\", or h.0 to h.{last} with .attn, .attn_out, .mlp_out or nothing behind it"
        );
        bad(option, expected, format!("\"{name}\""))
    };
    let site = if name == "input" {
        Site::Tap(Tap::Input)
    } else {
        let rest = name.strip_prefix("h.").ok_or_else(unknown)?;
        let (block, part) = match rest.split_once('.') {
            Some((block, part)) => (block, Some(part)),
            None => (rest, None),
        };
        let is_plain = block == "0" || !block.starts_with(['0', '+']);
        let block = block.parse::<usize>().ok().filter(|&i| is_plain && i < config.n_layer);
        let i = block.ok_or_else(unknown)?;
        match part {
            None => Site::Tap(Tap::After(i, Half::Mlp)),
            Some("attn") => Site::Tap(Tap::After(i, Half::Attn)),
            Some("attn_out") => Site::Contribution(i, Half::Attn),
            Some("mlp_out") => Site::Contribution(i, Half::Mlp),
            _ => return Err(unknown()),
        }
    };
    match (site, head) {
        (_, None) => Ok(site),
        (Site::Contribution(i, Half::Attn), Some(head)) if head < config.n_head => {
            Ok(Site::Head(i, head))
        }
        (Site::Contribution(_, Half::Attn), Some(head)) => {
            Err(bad("head", format!("0 to {}", config.n_head - 1), head))
        }
        _ => Err(bad("head", "a contribution of attention (h.i.attn_out)", format!("\"{name}\""))),
    }
}

/// Positions in the order in which they were given, or all of them.
///
/// Errors: `bad-option`.
fn positions(name: &str, given: Option<&[usize]>, n_tokens: usize) -> Result<Vec<usize>> {
    let Some(given) = given else { return Ok((0..n_tokens).collect()) };
    if let Some(outside) = given.iter().find(|&&p| p >= n_tokens) {
        return Err(bad(name, format!("0 to {}", n_tokens - 1), outside));
    }
    let mut sorted = given.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if given.is_empty() || sorted.len() < given.len() && name == "positions" {
        let got = format!("{} positions, {} of them different", given.len(), sorted.len());
        let expected = match name {
            "positions" => "at least one position, and each once",
            _ => "at least one position",
        };
        return Err(bad(name, expected, got));
    }
    Ok(given.to_vec())
}

/// Resolves the edits of a text of `n_tokens` tokens.
///
/// Errors: `bad-option`, `not-found`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
pub(super) async fn resolve(
    device: &Device,
    loaded: &Rc<Loaded>,
    n_tokens: usize,
    edits: &[Edit],
    cancel: &Cancel,
) -> Result<Resolved> {
    if edits.is_empty() {
        return Ok(Resolved::default());
    }
    let model = &loaded.model;
    let captures = Captures::new(model, device.record("these edits", cancel));
    let mut resolver = Resolver { model, n_tokens, edit: 0, captures };
    let mut surgery = Surgery::default();
    let mut resolved = Resolved::default();
    for (k, edit) in edits.iter().enumerate() {
        resolver.edit = k;
        let resolve = || match edit {
            Edit::Weights { of, channel, how } => surgery.add(model, of, *channel, *how),
            Edit::Patch { place, from } => {
                check_reading(loaded, "from.reading", &from.reading)?;
                resolver.patch(&mut resolved.edits, place, from)
            }
            Edit::Ablate { place, mean } => {
                if let Some(mean) = mean {
                    check_reading(loaded, "to.mean", mean)?;
                }
                resolver.ablate(&mut resolved.edits, place, mean.as_ref())
            }
            Edit::Steer { place, vector, scale } => {
                resolver.steer(&mut resolved.edits, place, vector, *scale)
            }
        };
        let made = device.allocate("these edits", resolve).await;
        let (described, reach) = made.map_err(|error| numbered(error, k))?;
        resolved.described.push(described);
        resolved.reach.push(reach);
        let bytes = resolved.described.iter().map(String::len).sum::<usize>();
        if bytes > MAX_DESCRIPTION {
            let expected = format!("at most {MAX_DESCRIPTION} bytes as JSON, with their sources");
            return Err(Error::option("edits", expected, bytes));
        }
        resolver.captures.rec.yield_now().await?;
    }
    let weigh = || surgery.weights(&mut resolver.captures.rec, model);
    let mut weights = device.allocate("these edits", weigh).await?;
    resolver.captures.rec.finish().await?;
    if !surgery.wpe.is_empty() {
        let wpe = model.wpe()?;
        let width = pad4(model.config.n_embd);
        let read = device.read(&[(wpe, (4 * model.config.n_ctx * width) as u64)]).await?;
        let mut rows = read.into_iter().next().unwrap_or_default();
        for (channel, how) in surgery.wpe {
            edit_wpe(&mut rows, width, channel, how);
        }
        let allocate = || Ok(device.upload("edited weights", &rows));
        weights.wpe = Some(device.allocate("these edits", allocate).await?);
    }
    resolved.edits.weights = Rc::new(weights);
    Ok(resolved)
}

/// The error of the edit of that index.
fn numbered(error: Error, k: usize) -> Error {
    match error {
        Error::BadOption { name, expected, got } => {
            let name = name.replacen("edits", &format!("edits[{k}]"), 1);
            Error::BadOption { name, expected, got }
        }
        other => other,
    }
}

/// Errors: `bad-option` for a reading of another model, `not-found` if that is no longer loaded.
fn check_reading(loaded: &Rc<Loaded>, name: &str, reading: &Lensed) -> Result<()> {
    match Rc::ptr_eq(&super::in_use(&reading.loaded)?, loaded) {
        true => Ok(()),
        false => Err(bad(name, "a reading of the model in use", "one of another model")),
    }
}

/// The first block and position that an edit at a place changes.
fn reach(site: Site, positions: &[usize]) -> (usize, usize) {
    (site.block().unwrap_or(0), positions.iter().copied().min().unwrap_or(0))
}

/// Finds the values of edits.
struct Resolver<'a> {
    model: &'a Model,
    n_tokens: usize,
    /// The index of the edit that is resolved.
    edit: usize,
    captures: Captures<'a>,
}

/// An edit as JSON, and what it reaches.
pub(super) type Added = (String, (usize, usize));

impl Resolver<'_> {
    fn patch(&mut self, edits: &mut Edits, place: &Place, from: &Source) -> Result<Added> {
        let edit = self.edit;
        let config = &self.model.config;
        let target = site("at", &place.at, place.head, config)?;
        let at = positions("positions", place.positions.as_deref(), self.n_tokens)?;
        let source_name = from.at.as_ref().unwrap_or(&place.at);
        let source = site("from.at", source_name, place.head, config)?;
        let given = from.positions.as_deref().unwrap_or(&at);
        let source_at = positions("from.positions", Some(given), from.reading.ids.len())?;
        if source_at.len() != at.len() {
            let expected = format!("{} positions", at.len());
            return Err(bad("from.positions", expected, source_at.len()));
        }
        let mut described = Entries::of_reading(&from.reading);
        if let Some(name) = &from.at {
            described.add("at", format!("\"{name}\""));
        }
        if let Some(positions) = &from.positions {
            described.list("positions", positions);
        }
        let mut description = Entries::of_place(place);
        description.add("from", described.end());

        let rows: Vec<(usize, usize)> = at.iter().copied().zip(0..).collect();
        match self.inner(target, source, &from.reading)? {
            Some(all) => {
                let values = self.gather(&all.tensor, all.width, &source_at);
                edits.push(Change { site: target, at: rows, what: What::Inner(values), edit })?;
            }
            None => {
                let values = match kept_tap(source, &from.reading) {
                    Some(tap) => self.gather(tap, config.n_embd, &source_at),
                    None => {
                        let all = self.vectors(source, &from.reading)?;
                        self.gather(&all.tensor, config.n_embd, &source_at)
                    }
                };
                self.replace(edits, target, rows, values)?;
            }
        }
        Ok((description.end(), reach(target, &at)))
    }

    fn ablate(
        &mut self,
        edits: &mut Edits,
        place: &Place,
        mean: Option<&Rc<Lensed>>,
    ) -> Result<Added> {
        let edit = self.edit;
        let target = site("at", &place.at, place.head, &self.model.config)?;
        if matches!(target, Site::Tap(_)) {
            let expected = "a contribution (h.i.attn_out or h.i.mlp_out)";
            return Err(bad("to", expected, format!("\"{}\"", place.at)));
        }
        let at = positions("positions", place.positions.as_deref(), self.n_tokens)?;
        let rows: Vec<(usize, usize)> = at.iter().map(|&p| (p, 0)).collect();
        let mut description = Entries::of_place(place);
        let Some(reading) = mean else {
            let what = match target {
                Site::Head(..) => What::Inner(self.zero()),
                _ => What::Nothing,
            };
            edits.push(Change { site: target, at: rows, what, edit })?;
            description.add("to", "\"zero\"");
            return Ok((description.end(), reach(target, &at)));
        };
        description.add("to", format!("{{\"mean\":{}}}", Entries::of_reading(reading).end()));
        match self.inner(target, target, reading)? {
            Some(all) => {
                let values = self.mean(&all, reading.ids.len())?;
                edits.push(Change { site: target, at: rows, what: What::Inner(values), edit })?;
            }
            None => {
                let all = self.vectors(target, reading)?;
                let values = self.mean(&all, reading.ids.len())?;
                self.replace(edits, target, rows, values)?;
            }
        }
        Ok((description.end(), reach(target, &at)))
    }

    fn steer(
        &mut self,
        edits: &mut Edits,
        place: &Place,
        vector: &[f32],
        scale: f32,
    ) -> Result<Added> {
        let edit = self.edit;
        let width = self.model.config.n_embd;
        let target = site("at", &place.at, place.head, &self.model.config)?;
        let at = positions("positions", place.positions.as_deref(), self.n_tokens)?;
        if vector.len() != width {
            return Err(bad("add", format!("{width} numbers"), vector.len()));
        }
        for (name, numbers) in [("add", vector), ("scale", &[scale])] {
            if let Some(number) = numbers.iter().find(|v| !v.is_finite()) {
                return Err(bad(name, "finite numbers", number));
            }
        }
        let rows = at.iter().map(|&p| (p, 0)).collect();
        let what = What::Add(self.one(vector), scale);
        edits.push(Change { site: target, at: rows, what, edit })?;
        let mut description = Entries::of_place(place);
        description.list("add", vector);
        description.add("scale", scale);
        Ok((description.end(), reach(target, &at)))
    }

    /// A vector of the stream takes the place of what is there.
    fn replace(
        &self,
        edits: &mut Edits,
        site: Site,
        at: Vec<(usize, usize)>,
        values: Values,
    ) -> Result<()> {
        let edit = self.edit;
        if !matches!(site, Site::Head(..)) {
            return edits.push(Change { site, at, what: What::Replace(values), edit });
        }
        // The head's own part is removed, and the vector is added.
        let what = What::Inner(self.zero());
        edits.push(Change { site, at: at.clone(), what, edit })?;
        edits.push(Change { site, at, what: What::Add(values, 1.0), edit })
    }

    /// What the last matrix of a half multiplies, if the contributions of source and target are made by the same one.
    fn inner(
        &mut self,
        target: Site,
        source: Site,
        reading: &Rc<Lensed>,
    ) -> Result<Option<Values>> {
        let (i, half) = match source {
            _ if source != target => return Ok(None),
            Site::Tap(_) => return Ok(None),
            Site::Contribution(i, half) => (i, half),
            Site::Head(i, _) => (i, Half::Attn),
        };
        let of_reading = &reading.resolved.edits;
        if matches!(source, Site::Head(..)) && of_reading.have_no_heads(i) {
            let expected = format!("a reading in which h.{i}.attn_out still has heads");
            return Err(bad("head", expected, "one in which all of it was replaced"));
        }
        if of_reading.act_on_sum(i, half) {
            return Ok(None);
        }
        let captured = self.captures.of(reading, i)?;
        Ok(Some(inner_of(&captured, half, &self.model.config)))
    }

    /// A place that the reading has not kept, as vectors of the stream at every position. Shapes: \[T, C4\].
    fn vectors(&mut self, source: Site, reading: &Rc<Lensed>) -> Result<Values> {
        let (model, width) = (self.model, self.model.config.n_embd);
        let captured = self.captures.of(reading, source.block().unwrap_or_default())?;
        let (i, half) = match source {
            Site::Tap(_) => {
                let tensor = captured.mid.clone();
                return Ok(Values { tensor, width, is_one: false });
            }
            Site::Contribution(i, half) => (i, half),
            Site::Head(i, _) => (i, Half::Attn),
        };
        let inner = inner_of(&captured, half, &model.config);
        let block = &model.whole()?.blocks[i];
        let t = reading.ids.len();
        let [out, zeros] = [(); 2].map(|()| self.captures.tensor(t, width));
        // One head among zeros.
        let masked;
        let rows = |tensor| Rows::new(tensor, 0, width);
        let mut x = Rows::new(&inner.tensor, 0, inner.width);
        let linear: &Linear = match half {
            Half::Attn => &block.attn_out,
            Half::Mlp => &block.mlp_out,
        };
        let mut bias = linear.bias.as_deref();
        let mut only = None;
        if let Site::Head(_, head) = source {
            let dim = model.config.head_dim();
            masked = self.captures.tensor(t, inner.width);
            let op = Blend {
                x,
                is_one: false,
                scale: 1.0,
                adds: false,
                channels: head * dim..(head + 1) * dim,
                n_rows: t,
                y: Rows::new(&masked, 0, inner.width),
            };
            model.kernels.blend(&mut self.captures.rec, &op)?;
            (x, bias, only) = (op.y, None, Some(source));
        }
        let op = Matmul { bias, ..Matmul::new(x, &linear.weight, t, rows(&out)) };
        model.kernels.matmul(&mut self.captures.rec, &op)?;
        let of = &reading.resolved.edits;
        of.edit_sum(
            &mut self.captures.rec,
            model,
            (i, half),
            only,
            [rows(&zeros), rows(&out)],
            0..t,
        )?;
        Ok(Values { tensor: out, width, is_one: false })
    }

    /// The rows of some positions.
    fn gather(&mut self, all: &Tensor, width: usize, at: &[usize]) -> Values {
        let row_bytes = 4 * pad4(width) as u64;
        let tensor = self.captures.tensor(at.len(), width);
        let mut row = 0;
        for run in at.chunk_by(|a, b| a + 1 == *b) {
            let (from, n) = (run[0] as u64 * row_bytes, run.len() as u64 * row_bytes);
            self.captures.rec.copy(all, from, &tensor, row * row_bytes, n);
            row += run.len() as u64;
        }
        Values { tensor, width, is_one: false }
    }

    /// The mean of `n` rows, which are added in pairs.
    #[expect(clippy::cast_precision_loss, reason = "a text has fewer tokens than f32 has integers")]
    fn mean(&mut self, all: &Values, n: usize) -> Result<Values> {
        let (width, row_bytes) = (all.width, 4 * pad4(all.width) as u64);
        let [sums, half, mean] = [n, n / 2 + 1, 1].map(|rows| self.captures.tensor(rows, width));
        self.captures.rec.copy(&all.tensor, 0, &sums, 0, n as u64 * row_bytes);
        let mut rest = n;
        let kernels = &self.model.kernels;
        let op = |x, y, n_rows, scale, adds| Blend {
            x: Rows::new(x, 0, width),
            is_one: false,
            scale,
            adds,
            channels: 0..width,
            n_rows,
            y: Rows::new(y, 0, width),
        };
        while rest > 1 {
            let n_rows = rest / 2;
            rest -= n_rows;
            self.captures.rec.copy(
                &sums,
                rest as u64 * row_bytes,
                &half,
                0,
                n_rows as u64 * row_bytes,
            );
            kernels.blend(&mut self.captures.rec, &op(&half, &sums, n_rows, 1.0, true))?;
        }
        kernels.blend(&mut self.captures.rec, &op(&sums, &mean, 1, 1.0 / n as f32, false))?;
        Ok(Values { tensor: mean, width, is_one: true })
    }

    fn one(&self, vector: &[f32]) -> Values {
        let mut padded = vector.to_vec();
        padded.resize(pad4(vector.len()), 0.0);
        let tensor = Rc::new(self.captures.rec.device().upload("an edit", &padded));
        Values { tensor, width: vector.len(), is_one: true }
    }

    fn zero(&self) -> Values {
        let width = self.model.config.n_embd;
        Values { tensor: self.captures.tensor(1, width), width, is_one: true }
    }
}

/// A tap that the reading keeps.
fn kept_tap(site: Site, reading: &Lensed) -> Option<&Tensor> {
    let stream = &reading.stream;
    match site {
        Site::Tap(Tap::Input) => Some(stream.input()),
        Site::Tap(Tap::After(i, Half::Attn)) => stream.resid_mid(i),
        Site::Tap(Tap::After(i, Half::Mlp)) => Some(stream.resid_post(i)),
        Site::Contribution(..) | Site::Head(..) => None,
    }
}

fn inner_of(captured: &Captured, half: Half, config: &Config) -> Values {
    let (tensor, width) = match half {
        Half::Attn => (&captured.heads, config.n_embd),
        Half::Mlp => (&captured.hidden, config.n_inner),
    };
    Values { tensor: tensor.clone(), width, is_one: false }
}
