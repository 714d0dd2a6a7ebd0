//! How good a fit is on the positions that are held out.

use std::ops::Range;

use crate::error::Result;
use crate::kernels::pad4;
use crate::lens::{Decoder, Kept, Maps, Norm, Pairs, Row, RowSource, compare};
use crate::model::Stream;

use super::{Between, Fit, Target, Window, name_of};
use crate::session::lens::HeldOut;

impl Fit<'_> {
    /// How good the maps are on the positions that are held out, by row.
    pub(super) async fn judge(
        &self,
        taps: &[usize],
        maps: &Maps,
        between: &Between<'_>,
    ) -> Result<Vec<HeldOut>> {
        let row = |&tap: &usize| Row { name: name_of(tap), source: RowSource::Tap(tap) };
        let rows: Vec<Row> = taps.iter().map(row).collect();
        let mut totals = vec![[0.0; 2]; taps.len()];
        let mut n = 0;
        let mut target = Spread::default();
        for window in self.windows.iter().filter(|window| !window.held_out().is_empty()) {
            let stream = self.session.stream_of(self.model, window.ids, None, self.cancel).await?;
            n += window.held_out().len();
            match self.request.target {
                Target::Final => {
                    self.divergences(window, &stream, &rows, maps, &mut totals).await?
                }
                Target::Input => {
                    let of = (&stream, &rows[..]);
                    self.reconstructions(window, of, maps, &mut totals, &mut target).await?;
                }
            }
            between.run_queued(self).await?;
        }
        let judged = |[a, b]: [f64; 2]| match self.request.target {
            Target::Final => HeldOut::Final { kl: a / n as f64, agreement: b / n as f64 },
            Target::Input => {
                HeldOut::Input { r2: 1.0 - a / target.about_mean(), recovered: b / n as f64 }
            }
        };
        Ok(totals.into_iter().map(judged).collect())
    }

    /// Adds KL(final ‖ row) and whether both have the same top-1.
    async fn divergences(
        &self,
        window: &Window<'_>,
        stream: &Stream,
        rows: &[Row],
        maps: &Maps,
        totals: &mut [[f64; 2]],
    ) -> Result<()> {
        let decoder = Decoder::new(self.model, Norm::Affine)?;
        let last = RowSource::Tap(stream.taps.len() - 1);
        let finals: Vec<Row> = rows.iter().map(|row| Row { source: last, ..row.clone() }).collect();
        let kept = |rows, lens| Kept { decoder: &decoder, stream, rows, ends: &[], lens };
        let columns = window.held_out().map(|i| (i, i)).collect();
        let pairs = Pairs { columns, targets: Vec::new() };
        let both = [kept(&finals[..], None), kept(rows, Some(maps))];
        let found = compare(self.device(), both, &pairs, self.cancel).await?;
        let n = window.held_out().len();
        let cells = found.kl.iter().zip(found.top[0].iter().zip(&found.top[1]));
        for (cell, (&kl, (a, b))) in cells.enumerate() {
            let total = &mut totals[cell / n];
            total[0] += f64::from(kl);
            total[1] += f64::from(u8::from(a == b));
        }
        Ok(())
    }

    /// Adds the squared error of the reconstruction, and whether its nearest embedding is that of the token.
    async fn reconstructions(
        &self,
        window: &Window<'_>,
        (stream, rows): (&Stream, &[Row]),
        maps: &Maps,
        totals: &mut [[f64; 2]],
        target: &mut Spread,
    ) -> Result<()> {
        let y = self.target(window.ids, stream).await?;
        let bytes = |t: usize| (4 * t * pad4(self.c)) as u64;
        let t = window.ids.len();
        let mut rec = self.device().record("this fit", self.cancel);
        let read = rec.read(&[(&y, bytes(t))]).await?;
        let y = read.into_iter().next().unwrap_or_default();
        let held = window.held_out();
        target.add(&y, held.clone(), self.c);
        for (row, total) in rows.iter().zip(totals) {
            let of = (stream, row);
            let found = self.session.reconstruct(self.loaded, of, maps, window.ids, self.cancel);
            let Some(found) = found.await? else { continue };
            let c4 = pad4(self.c);
            for at in held.clone() {
                let pair = found.rows[at * c4..].iter().zip(&y[at * c4..]).take(self.c);
                total[0] += pair.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
                total[1] += f64::from(u8::from(found.ids[at] == window.ids[at]));
            }
        }
        Ok(())
    }
}

/// Sums of what is to be predicted on the positions that are held out.
#[derive(Default)]
struct Spread {
    n: usize,
    squares: f64,
    sum: Vec<f64>,
}

impl Spread {
    fn add(&mut self, y: &[f32], positions: Range<usize>, c: usize) {
        self.sum.resize(c, 0.0);
        for row in y.chunks(pad4(c)).skip(positions.start).take(positions.len()) {
            self.n += 1;
            for (sum, &v) in self.sum.iter_mut().zip(row) {
                *sum += f64::from(v);
                self.squares += f64::from(v).powi(2);
            }
        }
    }

    /// Σ ‖y − ȳ‖².
    fn about_mean(&self) -> f64 {
        let of_mean: f64 = self.sum.iter().map(|sum| sum * sum).sum();
        self.squares - of_mean / (self.n as f64).max(1.0)
    }
}
