//! Refines the maps of a lens by the KL divergence itself: KL(final ‖ row) is convex in a map behind which nothing is
//! normalised.
//!
//! Conjugate gradients, preconditioned by the covariance of the row on one side and that of the unembedding, weighted by how
//! often each token comes, on the other. A pass over the texts evaluates the map that each row is to try next; the map that is
//! best on what is held out is kept.

use nalgebra::{Cholesky, DMatrix, Dyn};

use crate::atlas::{self, Atlas, CallQueue};
use crate::config::single;
use crate::device::Tensor;
use crate::error::{Error, Result};
use crate::kernels::{Cross, Rows, pad4};
use crate::lens::{Decoder, Kept, Maps, Row, RowSource, Slopes};

use super::ridge::Equations;
use super::{Best, Between, Fit, Fitted, name_of};
use crate::session::attribution::dot;

/// The first step along a direction, in units of the preconditioned gradient, and by how much it changes from pass to pass at
/// most.
const STEP: f64 = 0.2;
const CHANGE: f64 = 4.0;
/// Added to the covariance of the unembedding, relative to its mean variance.
const DAMPING: f64 = 0.1;

/// y = (x − mean) W + constant: W, with the constant as the last row; or a derivative by them. Shapes: \[C + 1, C\].
type Point = Vec<f64>;

/// a + scale · b.
fn sum(a: &[f64], scale: f64, b: &[f64]) -> Point {
    a.iter().zip(b).map(|(a, b)| a + scale * b).collect()
}

/// A point that was evaluated.
struct Known {
    kl: f64,
    gradient: Point,
    /// The gradient behind the preconditioner.
    conditioned: Point,
}

/// A search along directions.
struct Search {
    at: Point,
    /// None before the first pass.
    known: Option<Known>,
    direction: Point,
    step: f64,
}

impl Search {
    fn new(at: Point) -> Search {
        Search { direction: vec![0.0; at.len()], at, known: None, step: STEP }
    }

    /// The point that is to be evaluated next.
    fn trial(&self) -> Point {
        sum(&self.at, self.step, &self.direction)
    }

    /// Takes what was found at the trial, and says whether the search moved there.
    fn take(&mut self, kl: f64, gradient: Point, condition: &dyn Fn(&[f64]) -> Point) -> bool {
        let at = self.trial();
        let Some(Known { kl: before, gradient: old, conditioned }) = &self.known else {
            let next = condition(&gradient);
            self.direction = next.iter().map(|v| -v).collect();
            self.known = Some(Known { kl, gradient, conditioned: next });
            return false;
        };
        let [slope, here] = [old, &gradient].map(|gradient| dot(gradient, &self.direction));
        // NaN did not help.
        let has_moved = kl < *before;
        // Where the line through both slopes is 0; without an answer, as far as may be.
        let best = if here > slope { self.step * slope / (slope - here) } else { f64::INFINITY };
        let most = if has_moved { self.step * CHANGE } else { self.step / 2.0 };
        self.step = best.max(self.step / CHANGE).min(most);
        if !has_moved {
            return false;
        }
        let next = condition(&gradient);
        // Polak and Ribière's share of the last direction, from 0 on.
        let change = dot(&gradient, &next) - dot(&gradient, conditioned);
        let mut share = (change / dot(old, conditioned)).max(0.0);
        if share * dot(&gradient, &self.direction) >= dot(&gradient, &next) {
            share = 0.0;
        }
        self.at = at;
        let down = next.iter().zip(&self.direction);
        self.direction = down.map(|(down, last)| share * last - down).collect();
        self.known = Some(Known { kl, gradient, conditioned: next });
        true
    }
}

/// What a pass sums of a row on the device: the derivative by W and by the constant, before the gain.
struct Sums {
    /// Shapes: \[C4, C4\].
    weight: Tensor,
    /// Shapes: \[4, C4\].
    constant: Tensor,
    /// The mean of the row. Shapes: \[C4\].
    mean: Tensor,
}

/// What the refinements of all rows have in common.
pub(super) struct Refinement<'a> {
    decoder: &'a Decoder<'a>,
    slopes: Slopes<'a>,
    /// The gain behind the norm. Shapes: \[C\].
    gain: Vec<f64>,
    /// The covariance of the unembedding's rows.
    unembedding: Cholesky<f64, Dyn>,
}

impl Fit<'_> {
    /// Computed once for all rows.
    pub(super) async fn refinement<'d>(
        &self,
        decoder: &'d Decoder<'d>,
        queue: &dyn CallQueue,
    ) -> Result<Refinement<'d>> {
        let gain = self.gain(decoder).await?;
        let unembedding = self.of_unembedding(&gain, queue).await?;
        let slopes = Slopes::new(self.device(), decoder).await?;
        Ok(Refinement { decoder, slopes, gain, unembedding })
    }

    /// The maps of some rows, refined where that makes them better.
    pub(super) async fn refine(
        &self,
        with: &Refinement<'_>,
        taps: &[usize],
        rows: &[Equations],
        mut best: Vec<Best>,
        is_judged: bool,
        between: &Between<'_>,
    ) -> Result<Vec<Best>> {
        let c = self.c;
        let Refinement { decoder, slopes, gain, unembedding } = with;
        let sums = self.sums_of_passes(rows).await?;
        let mut searches: Vec<Search> =
            rows.iter().zip(&best).map(|(row, best)| Search::new(row.point(&best.map))).collect();
        let factors: Result<Vec<_>> =
            rows.iter().zip(&best).map(|(row, best)| row.factor(best.ridge)).collect();
        let factors = factors?;
        for pass in 0..=self.request.refine {
            let trials = rows.iter().zip(&searches).map(|(row, search)| row.map(&search.trial()));
            let trials: Vec<Fitted> = trials.collect();
            let maps = self.maps(taps, trials.clone()).await?;
            let width = 1.0 / (self.request.refine + 1) as f64;
            let here = between.part(pass as f64 * width, width);
            let found = self.pass(taps, &maps, (slopes, decoder), &sums, &here).await?;
            let mut moved = vec![false; taps.len()];
            for (i, (kl, mut gradient)) in found.into_iter().enumerate() {
                for row in gradient.chunks_mut(c) {
                    row.iter_mut().zip(gain).for_each(|(v, gain)| *v *= gain);
                }
                let condition = |gradient: &[f64]| {
                    let (weight, constant) = gradient.split_at(c * c);
                    let weight = factors[i].solve(&DMatrix::from_row_slice(c, c, weight));
                    // Transposed: a column is a row of the point.
                    let both = DMatrix::from_fn(c, c + 1, |j, i| match i {
                        i if i < c => weight[(i, j)],
                        _ => constant[j] / self.n_train as f64,
                    });
                    unembedding.solve(&both).as_slice().to_vec()
                };
                moved[i] = searches[i].take(kl, gradient, &condition);
                between.run_queued(self).await?;
            }
            if moved.contains(&true) {
                let judged = match is_judged {
                    true => self.judge(taps, &maps, between).await?.into_iter().map(Some).collect(),
                    false => vec![None; taps.len()],
                };
                for (i, (map, judged)) in trials.into_iter().zip(judged).enumerate() {
                    let loss = best[i].held_out.zip(judged).map(|(a, b)| (a.loss(), b.loss()));
                    // Without anything held out, the last one.
                    if moved[i] && loss.is_none_or(|(before, now)| now < before) {
                        best[i] = Best { held_out: judged, map, ..best[i] };
                    }
                }
            }
        }
        Ok(best)
    }

    /// The gain behind the norm. Shapes: \[C\].
    async fn gain(&self, decoder: &Decoder<'_>) -> Result<Vec<f64>> {
        let Some((gain, _)) = decoder.affine() else { return Ok(vec![1.0; self.c]) };
        let read = self.device().read(&[(gain, 4 * self.c as u64)]).await?;
        Ok(read.iter().flatten().map(|&v| f64::from(v)).collect())
    }

    /// The covariance of the rows of the unembedding behind the gain, each as often as its token comes in the texts, damped.
    async fn of_unembedding(
        &self,
        gain: &[f64],
        queue: &dyn CallQueue,
    ) -> Result<Cholesky<f64, Dyn>> {
        let (c, shards) = (self.c, self.model.unembed()?);
        let mut counts = vec![0f32; self.model.config.vocab_size];
        let trained =
            self.windows.iter().flat_map(|w| w.ids.get(1..=w.n_train).unwrap_or_default());
        for &id in trained {
            if let Some(count) = counts.get_mut(id as usize) {
                *count += 1.0;
            }
        }
        let atlas = self.session.atlas_of(self.loaded, self.cancel);
        let atlas = Atlas { queue, ..atlas };
        let gram = atlas::gram(&atlas, shards, &counts).await?;
        let mut mean = vec![0.0; c];
        atlas::rows(&atlas, shards, |id, row| {
            let count = counts.get(id).copied().map_or(0.0, f64::from);
            if count > 0.0 {
                mean.iter_mut().zip(row).for_each(|(m, &u)| *m += count * f64::from(u));
            }
        })
        .await?;
        let n: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        let mut covariance = DMatrix::from_fn(c, c, |i, j| {
            gain[i] * gain[j] * (gram[i * c + j] - mean[i] * mean[j] / n) / n
        });
        let damping = DAMPING * covariance.trace() / c as f64;
        (0..c).for_each(|i| covariance[(i, i)] += damping);
        Cholesky::new(covariance).ok_or_else(|| {
            let expected = "0 for texts of one token, or for an unembedding of one direction";
            Error::option("refine", expected, self.request.refine)
        })
    }

    async fn sums_of_passes(&self, rows: &[Equations]) -> Result<Vec<Sums>> {
        let (c4, device) = (pad4(self.c), self.device());
        let allocate = || {
            let tensor = |n: usize| device.tensor("sums", (4 * n * c4) as u64);
            let of_row = |row: &Equations| {
                let mut mean: Vec<f32> = row.mean.iter().map(|&v| single(v)).collect();
                mean.resize(c4, 0.0);
                Sums { weight: tensor(c4), constant: tensor(4), mean: device.upload("mean", &mean) }
            };
            Ok(rows.iter().map(of_row).collect())
        };
        device.allocate("this fit", allocate).await
    }

    /// KL(final ‖ row) of each row over what is fitted on, and its derivative by what each map gives, times the centred row.
    async fn pass(
        &self,
        taps: &[usize],
        maps: &Maps,
        (slopes, decoder): (&Slopes<'_>, &Decoder<'_>),
        sums: &[Sums],
        between: &Between<'_>,
    ) -> Result<Vec<(f64, Point)>> {
        let (c, c4) = (self.c, pad4(self.c));
        let row = |source: RowSource, tap: usize| Row { name: name_of(tap), source };
        let rows: Vec<Row> = taps.iter().map(|&tap| row(RowSource::Tap(tap), tap)).collect();
        let mut kl = vec![0.0; taps.len()];
        let mut is_first = true;
        let used: Vec<_> = self.windows.iter().filter(|window| window.n_train > 0).collect();
        for (place, window) in used.iter().enumerate() {
            let stream = self.session.stream_of(self.model, window.ids, None, self.cancel).await?;
            let last = RowSource::Tap(stream.taps.len() - 1);
            let finals: Vec<Row> = taps.iter().map(|&tap| row(last, tap)).collect();
            let kept = |rows, lens| Kept { decoder, stream: &stream, rows, ends: &[], lens };
            let both = [kept(&finals[..], None), kept(&rows[..], Some(maps))];
            for first in (1..=window.n_train).step_by(slopes.n()) {
                let n = slopes.n().min(1 + window.n_train - first);
                let mut rec = self.device().record("this fit", self.cancel);
                for (i, (&tap, sums)) in taps.iter().zip(sums).enumerate() {
                    let (here, slope) = slopes.of(&mut rec, both, i, first, n).await?;
                    kl[i] += here;
                    let x = self.rows(&stream.taps[tap], first);
                    let ones = Rows::new(&self.ones, 0, 4);
                    for (a, p, y) in
                        [(x, &sums.mean, &sums.weight), (ones, &self.zeros, &sums.constant)]
                    {
                        let (b, q, adds) = (slope, &self.zeros, !is_first);
                        let op = Cross { a, p, b, q, n_rows: n, adds, y };
                        self.model.kernels.cross(&mut rec, &op)?;
                    }
                }
                rec.finish().await?;
                is_first = false;
            }
            between.next(self, (place + 1) as f64 / used.len() as f64).await?;
        }
        let mut found = Vec::new();
        for (kl, sums) in kl.into_iter().zip(sums) {
            let ranges = [(&sums.weight, (4 * c * c4) as u64), (&sums.constant, 4 * c4 as u64)];
            let read = self.device().read(&ranges).await?;
            let rows = read.iter().flat_map(|rows| rows.chunks(c4));
            let values = rows.flat_map(|row| row.iter().take(c));
            found.push((kl, values.map(|&v| f64::from(v)).collect()));
        }
        Ok(found)
    }
}
