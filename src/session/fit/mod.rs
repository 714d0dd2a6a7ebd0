//! Fits a map for each row in closed form: ridge regression of the normalised final stream, or of the input's embedding, on
//! the row, from texts.
//!
//! The sums of products are computed on the device, a few hundred tokens at a time, and added up in f64; the equations are
//! solved in f64 on the CPU. A few rows at a time, so that memory does not grow with the depth of the model.

mod judge;
mod refine;
mod ridge;
mod sums;

use std::ops::Range;
use std::rc::Rc;

use serde_json::Map as Object;

use crate::atlas::CallQueue;
use crate::device::{Cancel, Device, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Embed, Rows, pad4};
use crate::lens::{Decoder, Map, Maps, Norm};
use crate::model::{Model, Stream};

use super::lens::{Card, HeldOut, OpenLens};
use super::{Loaded, Session};
use refine::Refinement;
use ridge::Equations;

/// What the rows are to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The final stream, normalised without gain: a lens.
    Final,
    /// The embedding of the token at the position: a probe.
    Input,
}

impl Target {
    /// The name in options.
    pub fn name(self) -> &'static str {
        match self {
            Target::Final => "final",
            Target::Input => "input",
        }
    }

    /// The target of that name.
    ///
    /// Errors: `bad-option`.
    pub fn from_name(name: &str) -> Result<Target> {
        match name {
            "final" => Ok(Target::Final),
            "input" => Ok(Target::Input),
            other => Err(Error::option("target", "\"final\" or \"input\"", format!("\"{other}\""))),
        }
    }
}

/// What to fit.
#[derive(Debug, Clone)]
pub struct FitRequest {
    /// The texts. Position 0 of each is left out: its activations are far larger than all others.
    pub texts: Vec<Vec<u32>>,
    /// What the rows are to predict.
    pub target: Target,
    /// Ridges, relative to the mean variance of a row's channels; of several, the best on held-out tokens is taken for each
    /// row.
    pub ridges: Vec<f64>,
    /// The share of the tokens, at the end, on which the fit is judged.
    pub held_out: f64,
    /// Passes over the texts that refine the maps of a lens by the KL divergence itself; 0 for none.
    pub refine: usize,
}

/// Sums of products that are on the device at a time. Units: bytes.
const GROUP_BYTES: usize = 48 << 20;
/// Most ridges.
const MAX_RIDGES: usize = 8;
/// Largest memory that the refinement of one row takes on the CPU. Units: bytes.
const MAX_SEARCH_BYTES: usize = 512 << 20;
/// Most passes of a refinement.
const MAX_PASSES: usize = 200;

/// A text, or a part of one that fits the model.
struct Window<'a> {
    ids: &'a [u32],
    /// Positions that are fitted on: 1 to this.
    n_train: usize,
}

impl Window<'_> {
    /// Positions that are held out.
    fn held_out(&self) -> Range<usize> {
        1 + self.n_train..self.ids.len()
    }
}

/// A map that was fitted: the weight, by row of inputs, and the bias.
type Fitted = (Vec<f32>, Vec<f32>);

/// The map that is taken for a row.
struct Best {
    ridge: f64,
    /// How good it is on what is held out, if anything is.
    held_out: Option<HeldOut>,
    map: Fitted,
}

/// A fit under way.
struct Fit<'a> {
    session: &'a Session,
    loaded: &'a Loaded,
    model: &'a Model,
    request: &'a FitRequest,
    windows: Vec<Window<'a>>,
    cancel: &'a Cancel,
    /// Rows of ones and of zeros. Shapes: \[n_ctx, 4\], \[n_ctx, C4\].
    ones: Tensor,
    zeros: Tensor,
    c: usize,
    n_train: usize,
}

impl Session {
    /// Fits a map for every row but the last, or for every row if the input is to be reconstructed. `queue` lets other calls
    /// run between texts; a model that is replaced meanwhile ends the fit.
    ///
    /// Errors: `bad-option`, `bad-token`, `missing-tensor`, `unsupported-model`, `not-found`, `out-of-memory`, `aborted`,
    /// `gpu-refused`, `device-lost`.
    /// Source: Belrose et al. 2023 for the lens; Yom Din et al. 2023 for the closed form.
    pub async fn fit(
        &self,
        request: &FitRequest,
        queue: &dyn CallQueue,
        cancel: &Cancel,
        on_progress: &dyn Fn(f64),
    ) -> Result<OpenLens> {
        self.device.check()?;
        let loaded = self.loaded()?;
        let model = &loaded.model;
        let config = &model.config;
        model.whole()?;
        for ids in &request.texts {
            ids.iter().try_for_each(|&id| loaded.vocabulary.check(id))?;
        }
        let is_ridge = |ridge: &f64| ridge.is_finite() && *ridge > 0.0;
        if !(1..=MAX_RIDGES).contains(&request.ridges.len()) || !request.ridges.iter().all(is_ridge)
        {
            let expected = format!("1 to {MAX_RIDGES} numbers above 0");
            return Err(Error::option("ridge", expected, format!("{:?}", request.ridges)));
        }
        if !(0.0..1.0).contains(&request.held_out) {
            let expected = "a share from 0 to below 1";
            return Err(Error::option("held_out", expected, request.held_out));
        }
        let most = if request.target == Target::Final { MAX_PASSES } else { 0 };
        if request.refine > most {
            let expected = format!("0 to {MAX_PASSES} passes for a lens, 0 for a probe");
            return Err(Error::option("refine", expected, request.refine));
        }
        let (windows, n_train, n_held) = windows(request, config.n_ctx)?;
        let (c, device) = (config.n_embd, &self.device);
        let longest = windows.iter().map(|window| window.ids.len()).max().unwrap_or(1);
        let allocate = || {
            let ones = device.upload("ones", &vec![1.0f32; 4 * longest]);
            Ok((ones, device.tensor("zeros", (4 * longest * pad4(c)) as u64)))
        };
        let (ones, zeros) = device.allocate("this fit", allocate).await?;
        let fit = Fit {
            session: self,
            loaded: &loaded,
            model,
            request,
            windows,
            cancel,
            ones,
            zeros,
            c,
            n_train,
        };

        let n_taps = match request.target {
            Target::Final => config.n_layer,
            Target::Input => config.n_layer + 1,
        };
        let taps: Vec<usize> = (0..n_taps).collect();
        // A search needs some eight times as much as the sums.
        let each = if request.refine > 0 { 64 } else { 8 } * pad4(c) * pad4(c);
        if request.refine > 0 && each > MAX_SEARCH_BYTES {
            let expected =
                format!("0 for a model of {c} channels: more would take too much memory");
            return Err(Error::option("refine", expected, request.refine));
        }
        let group = (GROUP_BYTES / each).clamp(1, 16);
        let decoder = Decoder::new(model, Norm::Affine)?;
        let refinement = match request.refine {
            0 => None,
            _ => Some(fit.refinement(&decoder, queue).await?),
        };
        let mut maps = Vec::new();
        let (mut ridge, mut held_out) = (Object::new(), Object::new());
        for taps in taps.chunks(group) {
            let share = |done: f64| {
                let before = taps.first().copied().unwrap_or_default();
                on_progress((before as f64 + done * taps.len() as f64) / n_taps as f64);
            };
            let between = Between { queue, loaded: &loaded, share: &share, band: [0.0, 1.0] };
            let mut fresh = Vec::new();
            for (&tap, best) in
                taps.iter().zip(fit.group(taps, &refinement, n_held > 0, &between).await?)
            {
                let name = name_of(tap);
                ridge.insert(name.clone(), best.ridge.into());
                if let Some(judged) = best.held_out {
                    held_out.insert(name, judged.value());
                }
                fresh.push(best.map);
            }
            maps.extend(fit.maps(taps, fresh).await?.into_maps());
        }
        let names = maps.iter().map(|map: &Map| map.tap.clone()).collect();
        let maps = Maps::new(c, Some(config.n_layer), maps);
        let card = Card {
            kind: "fitted".into(),
            target: Some(request.target.name().into()),
            normalised: true,
            n_embd: c,
            n_layer: Some(config.n_layer),
            taps: names,
            n_tokens: Some(n_train as u64),
            n_held_out: Some(n_held as u64),
            refined: request.refine,
            ridge,
            held_out,
            ..Card::default()
        };
        Ok(OpenLens { maps: Rc::new(maps), card })
    }
}

/// What a fit does between texts.
#[derive(Clone, Copy)]
struct Between<'a> {
    queue: &'a dyn CallQueue,
    loaded: &'a Rc<Loaded>,
    share: &'a dyn Fn(f64),
    /// Where this part of the work begins in the whole, and how much of it it is.
    band: [f64; 2],
}

impl<'a> Between<'a> {
    /// For a part of this part.
    fn part(&self, start: f64, width: f64) -> Between<'a> {
        let [from, all] = self.band;
        Between { band: [from + start * all, width * all], ..*self }
    }

    /// Reports progress and lets queued calls run.
    ///
    /// Errors: `aborted`, `not-found`, `device-lost`.
    async fn next(&self, fit: &Fit<'_>, done: f64) -> Result<()> {
        let [from, all] = self.band;
        (self.share)(from + all * done.min(1.0));
        self.run_queued(fit).await
    }

    /// Lets queued calls run.
    ///
    /// Errors: those of [`Between::next`].
    async fn run_queued(&self, fit: &Fit<'_>) -> Result<()> {
        let device = &fit.session.device;
        let idle = async {
            // A lost device is reported by the check below.
            let _ = device.idle().await;
        };
        self.queue.pause(Box::pin(idle)).await;
        device.check()?;
        fit.cancel.check()?;
        match fit.session.loaded() {
            Ok(now) if Rc::ptr_eq(&now, self.loaded) => Ok(()),
            _ => Err(Error::NotFound("the model was replaced while the lens was fitted".into())),
        }
    }
}

/// The name of a row of the stream by its place.
fn name_of(tap: usize) -> String {
    match tap.checked_sub(1) {
        None => "input".into(),
        Some(block) => format!("h.{block}"),
    }
}

/// The texts in parts that fit the model, and how many positions are fitted on and held out.
///
/// Errors: `bad-option`.
fn windows(request: &FitRequest, n_ctx: usize) -> Result<(Vec<Window<'_>>, usize, usize)> {
    let parts = || request.texts.iter().flat_map(|text| text.chunks(n_ctx));
    let parts: Vec<&[u32]> = parts().filter(|ids| ids.len() > 1).collect();
    let n: usize = parts.iter().map(|ids| ids.len() - 1).sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of n")]
    let n_held = (request.held_out * n as f64).round() as usize;
    let n_train = n - n_held.min(n);
    if n_train < 2 {
        let got = format!("{n} behind the first of each text, {n_held} of them held out");
        return Err(Error::option("texts", "at least two tokens to fit on", got));
    }
    let mut left = n_train;
    let window = |ids: &'_ [u32]| {
        let here = left.min(ids.len() - 1);
        left -= here;
        here
    };
    let trained: Vec<usize> = parts.iter().copied().map(window).collect();
    let windows = parts.into_iter().zip(trained);
    Ok((windows.map(|(ids, n_train)| Window { ids, n_train }).collect(), n_train, n_held))
}

impl Fit<'_> {
    fn rows<'t>(&self, tensor: &'t Tensor, first: usize) -> Rows<'t> {
        Rows::new(tensor, first, self.c)
    }

    fn device(&self) -> &Device {
        &self.session.device
    }

    /// What the rows of a text are to predict. Shapes: \[T, C4\].
    async fn target(&self, ids: &[u32], stream: &Stream) -> Result<Tensor> {
        let (device, model) = (self.device(), self.model);
        let make = || Ok(device.tensor("target", (4 * ids.len() * pad4(self.c)) as u64));
        let y = device.allocate("this fit", make).await?;
        let mut rec = device.record("this fit", self.cancel);
        match self.request.target {
            Target::Final => {
                let last = stream.resid_post(model.config.n_layer - 1);
                let decoder = Decoder::new(model, Norm::Plain)?;
                decoder.normalise(&mut rec, self.rows(last, 0), self.rows(&y, 0), ids.len())?;
            }
            Target::Input => {
                let op = Embed {
                    ids: &stream.ids,
                    wte: model.wte()?,
                    wpe: &self.zeros,
                    scale: 1.0,
                    factors: None,
                    first_position: 0,
                    n_rows: ids.len(),
                    y: self.rows(&y, 0),
                };
                model.kernels.embed(&mut rec, &op)?;
            }
        }
        rec.finish().await?;
        Ok(y)
    }

    /// Fits the maps of some rows.
    async fn group(
        &self,
        taps: &[usize],
        refinement: &Option<Refinement<'_>>,
        is_judged: bool,
        between: &Between<'_>,
    ) -> Result<Vec<Best>> {
        // A pass of the refinement takes about as long as the closed form.
        let (whole, n_passes) = (between, self.request.refine as f64);
        let closed = 1.0 / (1.0 + n_passes);
        let between = &whole.part(0.0, closed);
        let (sums, target) = self.sums(taps, between).await?;
        let mut rows = Vec::new();
        let mut candidates: Vec<Vec<Fitted>> = Vec::new();
        for (i, sums) in sums.into_iter().enumerate() {
            let mut equations = Equations::new(sums, &target, self.n_train as f64);
            let mut fitted = Vec::new();
            for &ridge in &self.request.ridges {
                fitted.push(equations.solve(ridge)?);
                self.device().hand_back().await;
                self.cancel.check()?;
            }
            candidates.push(fitted);
            if self.request.refine > 0 {
                equations.forget_target();
                rows.push(equations);
            }
            between.next(self, 0.5 + 0.25 * (i + 1) as f64 / taps.len() as f64).await?;
        }
        let best = self.choose(taps, candidates, is_judged, between).await?;
        let Some(with) = refinement else { return Ok(best) };
        self.refine(with, taps, &rows, best, is_judged, &whole.part(closed, 1.0 - closed)).await
    }

    /// For each row the map with the ridge that is best on what is held out; without that, with the first one.
    async fn choose(
        &self,
        taps: &[usize],
        candidates: Vec<Vec<Fitted>>,
        is_judged: bool,
        between: &Between<'_>,
    ) -> Result<Vec<Best>> {
        let ridges = &self.request.ridges;
        let mut judged: Vec<Vec<HeldOut>> = vec![Vec::new(); taps.len()];
        for ridge in (0..ridges.len()).filter(|_| is_judged) {
            let maps: Vec<Fitted> = candidates.iter().map(|all| all[ridge].clone()).collect();
            let maps = self.maps(taps, maps).await?;
            for (all, one) in judged.iter_mut().zip(self.judge(taps, &maps, between).await?) {
                all.push(one);
            }
            between.next(self, 0.75 + 0.25 * (ridge + 1) as f64 / ridges.len() as f64).await?;
        }
        let best = |(mut all, judged): (Vec<Fitted>, Vec<HeldOut>)| {
            let by_loss = |&a: &usize, &b: &usize| judged[a].loss().total_cmp(&judged[b].loss());
            let best = (0..judged.len()).min_by(by_loss).unwrap_or_default();
            let (ridge, held_out) = (ridges[best], judged.get(best).copied());
            Best { ridge, held_out, map: all.swap_remove(best) }
        };
        Ok(candidates.into_iter().zip(judged).map(best).collect())
    }

    /// Maps of some rows on the device.
    async fn maps(&self, taps: &[usize], maps: Vec<Fitted>) -> Result<Maps> {
        let named = |(&tap, (weight, bias)): (&usize, Fitted)| (name_of(tap), weight, bias);
        let maps = taps.iter().zip(maps).map(named).collect();
        Maps::fitted(self.device(), self.c, self.model.config.n_layer, false, maps).await
    }
}
