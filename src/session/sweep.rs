//! Sweeps: one activation after the other is patched from one run into another, many runs at a time.

use std::rc::Rc;

use crate::config::Config;
use crate::device::{Cancel, Device, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Blend, GatherDot, Matmul, Rows, pad4};
use crate::lens::{Decoder, Norm};
use crate::model::{Edits, Model, Pass, Scratch};

use super::capture::Captures;
use super::{Lensed, Session, in_use};

/// Rows that are computed at a time, or those of one run: all heads of a block of GPT-2 124M for a sentence.
const MAX_ROWS: usize = 192;

/// Which activations are patched, one in each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// What each block reads, at each position.
    Stream,
    /// What attention adds, at each position.
    AttnOut,
    /// What the MLP adds, at each position.
    MlpOut,
    /// What each head adds, at all positions.
    Heads,
}

impl Swept {
    /// Every one.
    pub const ALL: [Swept; 4] = [Swept::Stream, Swept::AttnOut, Swept::MlpOut, Swept::Heads];

    /// The name in options.
    pub fn name(self) -> &'static str {
        match self {
            Swept::Stream => "stream",
            Swept::AttnOut => "attn_out",
            Swept::MlpOut => "mlp_out",
            Swept::Heads => "heads",
        }
    }
}

/// What to patch, from where, and what is looked at.
pub struct SweepRequest {
    /// The run that behaves as wanted.
    pub clean: Rc<Lensed>,
    /// The run that does not.
    pub corrupt: Rc<Lensed>,
    /// What is patched.
    pub what: Swept,
    /// Whether activations of the clean run are put into the corrupt one, or the other way round.
    pub denoises: bool,
    /// The token whose logit counts.
    pub plus: u32,
    /// The token whose logit is subtracted.
    pub minus: u32,
    /// Where the two logits are; at the last position if there is none.
    pub position: Option<usize>,
}

/// The normalised logit differences of a sweep.
pub struct Sweep {
    /// (m − m_corrupt) / (m_clean − m_corrupt). Shapes: \[rows, columns\].
    pub values: Vec<f32>,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Positions, or heads.
    pub columns: usize,
    /// The logit difference of the clean run.
    pub clean: f32,
    /// That of the corrupt run.
    pub corrupt: f32,
}

/// The stream behind a half, where it is not kept, and the same with another contribution.
type Patched = (Option<Rc<Tensor>>, Rc<Tensor>);

/// Where a run leaves the other one: the stream before a block, or between its halves.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Join {
    block: usize,
    at_mid: bool,
}

/// Rows of a run where it joins: those of the other run, and one that is patched.
struct Start<'a> {
    base: (&'a Tensor, usize),
    patched: Option<(&'a Tensor, usize)>,
}

impl Session {
    /// Patches one activation after the other. Hold the guard of [`Session::lock`].
    ///
    /// Errors: `bad-option`, `bad-token`, `not-found`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
    /// Source: TransformerLens, `patching.get_act_patch_*`; Zhang and Nanda 2023 for the metric.
    pub async fn sweep(
        &self,
        request: &SweepRequest,
        cancel: &Cancel,
        on_progress: impl FnMut(f64),
    ) -> Result<Sweep> {
        self.device.check()?;
        let SweepRequest { clean, corrupt, what, denoises, .. } = request;
        let loaded = self.loaded()?;
        let model = &loaded.model;
        for (name, reading) in [("clean", clean), ("corrupt", corrupt)] {
            if !Rc::ptr_eq(&in_use(&reading.loaded)?, &loaded) {
                let expected = "a reading of the model in use";
                return Err(Error::option(name, expected, "one of another model"));
            }
            if !reading.edits().is_empty() {
                return Err(Error::option(name, "a reading without edits", "an edited one"));
            }
        }
        let t = clean.ids.len();
        if corrupt.ids.len() != t {
            let expected = format!("a reading of {t} tokens, like clean");
            return Err(Error::option("corrupt", expected, corrupt.ids.len()));
        }
        let position = request.position.unwrap_or(t - 1);
        if position >= t {
            return Err(Error::option("metric.position", format!("0 to {}", t - 1), position));
        }
        for id in [request.plus, request.minus] {
            loaded.vocabulary.check(id)?;
        }
        let (target, donor) = if *denoises { (corrupt, clean) } else { (clean, corrupt) };
        let (n_layer, n_head) = (model.config.n_layer, model.config.n_head);
        let (rows, columns) = match what {
            Swept::Heads => (n_layer, n_head),
            _ => (n_layer, t),
        };
        let decoder = Decoder::new(model, Norm::Affine)?;
        let captures = Captures::new(model, self.device.record("this sweep", cancel));
        // Runs that join a column at a time, or a row of heads.
        let n_runs = if *what == Swept::Heads { n_head } else { n_layer };
        let n_batches = if *what == Swept::Heads { n_layer } else { position + 1 };
        let allocate = || {
            let targets = self.device.upload("tokens", &[request.plus, request.minus]);
            let n_logits = 2 + n_batches * n_runs;
            let logits = self.device.tensor("logits", 8 * n_logits as u64);
            let n_rows = MAX_ROWS.max(position + 1);
            let tensors = Tensors::new(&self.device, &model.config, n_rows, n_runs, position);
            Ok((targets, logits, tensors))
        };
        let (targets, logits, tensors) = self.device.allocate("this sweep", allocate).await?;
        let mut runner = Runner {
            model,
            decoder: &decoder,
            target,
            donor,
            captures,
            tensors,
            position,
            on_progress,
            n_batches,
            targets,
            logits,
            n_scored: 0,
        };
        let [clean, corrupt] = runner.own(clean, corrupt).await?;
        let whole = clean - corrupt;
        if whole == 0.0 || !whole.is_finite() {
            let expected = "tokens in whose logits the two readings differ";
            return Err(Error::option("metric", expected, whole));
        }
        match what {
            Swept::Heads => runner.heads().await?,
            _ => runner.positions(*what).await?,
        }
        let Runner { mut captures, logits, n_scored, .. } = runner;
        let read = captures.rec.read(&[(&logits, 8 * n_scored as u64)]).await?;
        let pairs = read.first().map_or(&[][..], Vec::as_slice).chunks_exact(2);
        let metrics: Vec<f32> = pairs.map(|pair| pair[0] - pair[1]).collect();
        // What lies behind the metric changes nothing.
        let unchanged = if *denoises { 0.0 } else { 1.0 };
        let mut values = vec![unchanged; rows * columns];
        for (i, m) in metrics.iter().skip(2).enumerate() {
            let (batch, run) = (i / n_runs, i % n_runs);
            let at = match what {
                Swept::Heads => batch * columns + run,
                _ => run * columns + batch,
            };
            if let Some(value) = values.get_mut(at) {
                *value = (m - corrupt) / whole;
            }
        }
        let name = |i: usize| match what {
            Swept::Stream if i == 0 => "input".into(),
            Swept::Stream => format!("h.{}", i - 1),
            Swept::MlpOut => format!("h.{i}.mlp_out"),
            Swept::AttnOut | Swept::Heads => format!("h.{i}.attn_out"),
        };
        let rows = (0..rows).map(name).collect();
        Ok(Sweep { values, rows, columns, clean, corrupt })
    }
}

/// The tensors that all batches of runs use, one after the other.
struct Tensors {
    stream: Tensor,
    mid: Tensor,
    keys: Tensor,
    values: Tensor,
    /// The last row of each run, and the same normalised.
    ends: [Tensor; 2],
    /// Their logits of the two tokens. Shapes: \[runs, 2\].
    logits: Tensor,
    scratch: Scratch,
}

impl Tensors {
    /// For `n_rows` rows of at most `n_runs` runs, behind `n_before` positions.
    fn new(
        device: &Device,
        config: &Config,
        n_rows: usize,
        n_runs: usize,
        n_before: usize,
    ) -> Tensors {
        let rows = |n: usize| device.tensor("a sweep", (4 * n * pad4(config.n_embd)) as u64);
        Tensors {
            stream: rows(n_rows),
            mid: rows(n_rows),
            keys: rows(n_before + n_rows),
            values: rows(n_before + n_rows),
            ends: [rows(n_runs), rows(n_runs)],
            logits: device.tensor("logits", 8 * n_runs as u64),
            scratch: Scratch::new(device, config, n_rows),
        }
    }
}

/// Runs the patched runs of a sweep.
struct Runner<'a, P> {
    model: &'a Model,
    decoder: &'a Decoder<'a>,
    /// Into which run is patched.
    target: &'a Lensed,
    /// From which one.
    donor: &'a Lensed,
    captures: Captures<'a>,
    tensors: Tensors,
    /// Of the metric.
    position: usize,
    on_progress: P,
    n_batches: usize,
    /// The two tokens.
    targets: Tensor,
    /// Their logits, run by run, after those of the two readings. Shapes: \[2 + runs, 2\].
    logits: Tensor,
    n_scored: usize,
}

impl<P: FnMut(f64)> Runner<'_, P> {
    /// The metric of both readings.
    async fn own(&mut self, clean: &Lensed, corrupt: &Lensed) -> Result<[f32; 2]> {
        let last = self.model.config.n_layer - 1;
        for reading in [clean, corrupt] {
            let tap = reading.stream.resid_post(last);
            let row_bytes = self.row_bytes();
            let from = self.position as u64 * row_bytes;
            self.captures.rec.copy(tap, from, &self.tensors.ends[0], 0, row_bytes);
            self.score(1)?;
        }
        let read = self.captures.rec.read(&[(&self.logits, 16)]).await?;
        match read.first().map(Vec::as_slice) {
            Some(&[a, b, c, d]) => Ok([a - b, c - d]),
            _ => Ok([f32::NAN; 2]),
        }
    }

    fn row_bytes(&self) -> u64 {
        4 * pad4(self.model.config.n_embd) as u64
    }

    /// The logits of the last rows of runs.
    fn score(&mut self, n_rows: usize) -> Result<()> {
        let Tensors { ends: [ends, normed], logits, .. } = &self.tensors;
        let rec = &mut self.captures.rec;
        let [x, normed] =
            [ends, normed].map(|tensor| Rows::new(tensor, 0, self.model.config.n_embd));
        self.decoder.normalise(rec, x, normed, n_rows)?;
        let op = GatherDot {
            x: normed,
            unembed: self.model.unembed()?,
            targets: &self.targets,
            n_targets: 2,
            period: 1,
            n_rows,
            y: logits,
        };
        self.model.kernels.gather_dot(rec, &op)?;
        rec.copy(logits, 0, &self.logits, 8 * self.n_scored as u64, 8 * n_rows as u64);
        self.n_scored += n_rows;
        Ok(())
    }

    /// One position after the other, all blocks at a time.
    async fn positions(&mut self, what: Swept) -> Result<()> {
        let n_layer = self.model.config.n_layer;
        let mut patched = Vec::new();
        for i in 0..n_layer {
            patched.push(self.patched(what, i).await?);
        }
        let join = |i: usize| match what {
            Swept::Stream => Join { block: i, at_mid: false },
            Swept::MlpOut => Join { block: i + 1, at_mid: false },
            Swept::AttnOut | Swept::Heads => Join { block: i, at_mid: true },
        };
        let (target, donor) = (self.target, self.donor);
        for position in 0..=self.position {
            let n_each = self.position + 1 - position;
            let at_once = (MAX_ROWS / n_each).max(1);
            for first in (0..n_layer).step_by(at_once) {
                let runs: Vec<(Join, Start<'_>)> = (first..n_layer.min(first + at_once))
                    .map(|i| {
                        let base = match (&patched[i], what) {
                            (_, Swept::Stream) => target.stream.resid_pre(i),
                            (Some((Some(mid), _)), _) => &**mid,
                            _ => target.stream.resid_post(i),
                        };
                        let new = match &patched[i] {
                            Some((_, new)) => &**new,
                            None => donor.stream.resid_pre(i),
                        };
                        let (base, patched) = ((base, position), Some((new, position)));
                        (join(i), Start { base, patched })
                    })
                    .collect();
                self.run(position, n_each, &runs).await?;
            }
            (self.on_progress)((position + 1) as f64 / self.n_batches as f64);
        }
        // The patched streams are released now.
        self.captures.rec.finish().await
    }

    /// The stream behind a half of the target's run with the contribution of the donor's, at every position, and, where it is
    /// not kept, what it is without; none for the stream itself. Shapes: \[T, C4\] each.
    async fn patched(&mut self, what: Swept, i: usize) -> Result<Option<Patched>> {
        if what == Swept::Stream {
            return Ok(None);
        }
        let (target, donor, model) = (self.target, self.donor, self.model);
        let (t, width) = (target.ids.len(), model.config.n_embd);
        let device = self.captures.rec.device();
        let captures = &mut self.captures;
        let record = || {
            let [of_target, of_donor] = [captures.of(target, i)?, captures.of(donor, i)?];
            let new = Rc::new(device.tensor("activations", (4 * t * pad4(width)) as u64));
            let (own, before, after) = match what {
                Swept::AttnOut => {
                    (target.stream.resid_pre(i), donor.stream.resid_pre(i), &*of_donor.mid)
                }
                _ => (&*of_target.mid, &*of_donor.mid, donor.stream.resid_post(i)),
            };
            let rec = &mut captures.rec;
            rec.copy(own, 0, &new, 0, own.bytes());
            for (x, scale) in [(after, 1.0), (before, -1.0)] {
                let op = Blend {
                    x: Rows::new(x, 0, width),
                    is_one: false,
                    scale,
                    adds: true,
                    channels: 0..width,
                    n_rows: t,
                    y: Rows::new(&new, 0, width),
                };
                model.kernels.blend(rec, &op)?;
            }
            Ok(((what == Swept::AttnOut).then(|| of_target.mid.clone()), new))
        };
        let made = device.allocate("this sweep", record).await?;
        self.captures.rec.finish().await?;
        self.captures.clear();
        Ok(Some(made))
    }

    /// One block after the other, its heads at all positions at a time.
    async fn heads(&mut self) -> Result<()> {
        let (model, n_each) = (self.model, self.position + 1);
        let config = &model.config;
        let at_once = (MAX_ROWS / n_each).max(1);
        for i in 0..config.n_layer {
            for first in (0..config.n_head).step_by(at_once) {
                let n_runs = at_once.min(config.n_head - first);
                let mid = self.with_heads(i, first, n_runs).await?;
                let runs: Vec<(Join, Start<'_>)> = (0..n_runs)
                    .map(|run| {
                        let start = Start { base: (&mid, run * n_each), patched: None };
                        (Join { block: i, at_mid: true }, start)
                    })
                    .collect();
                self.run(0, n_each, &runs).await?;
                // The rows above are released now.
                self.captures.rec.finish().await?;
            }
            self.captures.clear();
            (self.on_progress)((i + 1) as f64 / self.n_batches as f64);
        }
        Ok(())
    }

    /// The target's stream between the halves of a block, with one head of the donor's in each run.
    /// Shapes: \[runs · positions, C4\].
    async fn with_heads(&mut self, i: usize, first: usize, n_runs: usize) -> Result<Tensor> {
        let (model, n_each) = (self.model, self.position + 1);
        let (width, dim) = (model.config.n_embd, model.config.head_dim());
        let (target, donor) = (self.target, self.donor);
        let captures = &mut self.captures;
        let device = captures.rec.device();
        let bytes = (n_runs * n_each * 4 * pad4(width)) as u64;
        let block = &model.whole()?.blocks[i];
        let record = || {
            let [of_target, of_donor] = [captures.of(target, i)?, captures.of(donor, i)?];
            let [heads, mid, out] = [(); 3].map(|()| device.tensor("activations", bytes));
            let rec = &mut captures.rec;
            let run_bytes = bytes / n_runs as u64;
            for run in 0..n_runs {
                rec.copy(&of_target.mid, 0, &mid, run as u64 * run_bytes, run_bytes);
                let head = first + run;
                for (of, scale, adds) in [(&of_donor, 1.0, false), (&of_target, -1.0, true)] {
                    let op = Blend {
                        x: Rows::new(&of.heads, 0, width),
                        is_one: false,
                        scale,
                        adds,
                        channels: head * dim..(head + 1) * dim,
                        n_rows: n_each,
                        y: Rows::new(&heads, run * n_each, width),
                    };
                    model.kernels.blend(rec, &op)?;
                }
            }
            let rows = |tensor| Rows::new(tensor, 0, width);
            let weight = &block.attn_out.weight;
            let op = Matmul::new(rows(&heads), weight, n_runs * n_each, rows(&out));
            model.kernels.matmul(rec, &Matmul { residual: Some(rows(&mid)), ..op })?;
            Ok((out, heads, mid))
        };
        // All of them live until the commands are done.
        let (out, _heads, _mid) = device.allocate("this sweep", record).await?;
        captures.rec.finish().await?;
        Ok(out)
    }

    /// Runs from `position` to that of the metric, each of `n_each` rows, in the order in which they join; the logits of
    /// their last rows are added to the results.
    async fn run(
        &mut self,
        position: usize,
        n_each: usize,
        runs: &[(Join, Start<'_>)],
    ) -> Result<()> {
        let (model, target, row_bytes) = (self.model, self.target, self.row_bytes());
        let config = &model.config;
        let Tensors { stream, mid, keys, values, ends: [ends, _], scratch, .. } = &self.tensors;
        let edits = Edits::default();
        let rec = &mut self.captures.rec;
        let mut active = 0;
        for (i, block) in model.whole()?.blocks.iter().enumerate() {
            active += join(
                rec,
                runs,
                active,
                Join { block: i, at_mid: false },
                stream,
                n_each,
                row_bytes,
            );
            let pass = |n_runs: usize| Pass {
                model,
                scratch,
                edits: &edits,
                start: position,
                n: n_runs * n_each,
                n_runs,
                is_alone: false,
            };
            let rows = |tensor| Rows::new(tensor, 0, config.n_embd);
            if active > 0 {
                if target.stream.n_cached() < position {
                    let before = Pass { start: 0, n: position, ..pass(1) };
                    before.recall(rec, (i, block), &target.stream, [keys, values])?;
                } else if position > 0 {
                    for (from, to) in target.stream.cache(i).into_iter().zip([keys, values]) {
                        rec.copy(from, 0, to, 0, position as u64 * row_bytes);
                    }
                }
                pass(active).attn(rec, (i, block), rows(stream), keys, values, rows(mid))?;
            }
            active +=
                join(rec, runs, active, Join { block: i, at_mid: true }, mid, n_each, row_bytes);
            if active > 0 {
                pass(active).mlp(rec, (i, block), rows(mid), rows(stream))?;
                rec.yield_now().await?;
            }
        }
        let behind = Join { block: config.n_layer, at_mid: false };
        join(rec, runs, active, behind, stream, n_each, row_bytes);
        for run in 0..runs.len() {
            let last = ((run + 1) * n_each - 1) as u64 * row_bytes;
            rec.copy(stream, last, ends, run as u64 * row_bytes, row_bytes);
        }
        self.score(runs.len())
    }
}

/// Adds the rows of the runs that join there behind those of `active` others; returns how many do.
fn join(
    rec: &mut crate::device::Recorder<'_>,
    runs: &[(Join, Start<'_>)],
    active: usize,
    at: Join,
    to: &Tensor,
    n_each: usize,
    row_bytes: u64,
) -> usize {
    let joining = runs.iter().skip(active).take_while(|(join, _)| *join == at);
    let mut n = 0;
    for (_, start) in joining {
        let first = ((active + n) * n_each) as u64 * row_bytes;
        let (base, row) = start.base;
        rec.copy(base, row as u64 * row_bytes, to, first, n_each as u64 * row_bytes);
        if let Some((patched, row)) = start.patched {
            rec.copy(patched, row as u64 * row_bytes, to, first, row_bytes);
        }
        n += 1;
    }
    n
}
