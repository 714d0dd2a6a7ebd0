//! The sums of products that a regression needs: on the device for a few hundred positions, in f64 over all texts.

use nalgebra::{DMatrix, DVector};

use crate::device::{Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{Cross, Rows, pad4};

use super::{Between, Fit};

/// Positions that are summed on the device before f64 takes over.
const TOKENS: usize = 512;
/// Positions in one sum of f32.
const RUN: usize = 64;

/// Sums of one row on the device, since the last time that they were read back.
struct OnDevice {
    /// Subtracted from each position, near the mean. Shapes: \[C4\].
    shift: Tensor,
    /// Shapes: \[C4, C4\].
    xx: Tensor,
    /// Shapes: \[C4, C4\].
    xy: Tensor,
    /// Shapes: \[4, C4\].
    x: Tensor,
}

/// The same in f64, over all texts.
pub(super) struct Sums {
    pub(super) shift: Vec<f64>,
    pub(super) xx: DMatrix<f64>,
    pub(super) xy: DMatrix<f64>,
    pub(super) x: DVector<f64>,
}

impl Fit<'_> {
    /// The mean of rows 1 to `n` of tensors, by which they are shifted. Shapes: \[C4\] each.
    async fn means(&self, tensors: &[&Tensor], n: usize) -> Result<Vec<Vec<f32>>> {
        let (device, kernels) = (self.device(), &self.model.kernels);
        let bytes = 16 * pad4(self.c) as u64;
        let make = || Ok(tensors.iter().map(|_| device.tensor("sums", bytes)).collect::<Vec<_>>());
        let sums = device.allocate("this fit", make).await?;
        let mut rec = device.record("this fit", self.cancel);
        for (tensor, y) in tensors.iter().zip(&sums) {
            let op = Cross {
                a: Rows::new(&self.ones, 0, 4),
                p: &self.zeros,
                b: self.rows(tensor, 1),
                q: &self.zeros,
                n_rows: n,
                adds: false,
                y,
            };
            kernels.cross(&mut rec, &op)?;
        }
        let ranges: Vec<_> = sums.iter().map(|sums| (sums, bytes / 4)).collect();
        let read = rec.read(&ranges).await?;
        Ok(read.into_iter().map(|sum| sum.iter().map(|v| v / n as f32).collect()).collect())
    }

    /// The sums over all texts: those of the rows, and the shift and the sum of what they are to predict.
    pub(super) async fn sums(
        &self,
        taps: &[usize],
        between: &Between<'_>,
    ) -> Result<(Vec<Sums>, (Vec<f64>, DVector<f64>))> {
        let (c, c4, device) = (self.c, pad4(self.c), self.device());
        let mut on_device: Vec<OnDevice> = Vec::new();
        let mut of_target: Option<(Tensor, Tensor)> = None;
        let mut sums: Vec<Sums> = Vec::new();
        let mut target = (Vec::new(), DVector::zeros(c));
        let mut n_summed = 0;
        let used: Vec<_> = self.windows.iter().filter(|window| window.n_train > 0).collect();
        for (place, window) in used.iter().enumerate() {
            let stream = self.session.stream_of(self.model, window.ids, None, self.cancel).await?;
            let y = self.target(window.ids, &stream).await?;
            if on_device.is_empty() {
                let mut tensors: Vec<&Tensor> = taps.iter().map(|&tap| &stream.taps[tap]).collect();
                tensors.push(&y);
                let mut means = self.means(&tensors, window.n_train).await?;
                let of_y = means.pop().unwrap_or_default();
                let wide = |mean: &[f32]| mean.iter().take(c).map(|&v| f64::from(v)).collect();
                target.0 = wide(&of_y);
                let allocate = || {
                    let tensor = |rows: usize| device.tensor("sums", (4 * rows * c4) as u64);
                    let one = |mean: &Vec<f32>| OnDevice {
                        shift: device.upload("shift", mean),
                        xx: tensor(c4),
                        xy: tensor(c4),
                        x: tensor(4),
                    };
                    let rows = means.iter().map(one).collect::<Vec<_>>();
                    Ok((rows, (device.upload("shift", &of_y), tensor(4))))
                };
                let (rows, of_y) = device.allocate("this fit", allocate).await?;
                (on_device, of_target) = (rows, Some(of_y));
                let empty = |mean: &Vec<f32>| Sums {
                    shift: wide(mean),
                    xx: DMatrix::zeros(c, c),
                    xy: DMatrix::zeros(c, c),
                    x: DVector::zeros(c),
                };
                sums = means.iter().map(empty).collect();
            }
            let Some((y_shift, y_sum)) = &of_target else { continue };
            let mut rec = device.record("this fit", self.cancel);
            for first in (1..=window.n_train).step_by(RUN) {
                let n_rows = RUN.min(1 + window.n_train - first);
                let adds = n_summed > 0;
                let ones = Rows::new(&self.ones, 0, 4);
                let y_rows = self.rows(&y, first);
                for (&tap, of) in taps.iter().zip(&on_device) {
                    let x = self.rows(&stream.taps[tap], first);
                    let cross = |a, p, b, q, y| Cross { a, p, b, q, n_rows, adds, y };
                    for op in [
                        cross(x, &of.shift, x, &of.shift, &of.xx),
                        cross(x, &of.shift, y_rows, y_shift, &of.xy),
                        cross(ones, &self.zeros, x, &of.shift, &of.x),
                    ] {
                        self.model.kernels.cross(&mut rec, &op)?;
                    }
                }
                let (p, q) = (&self.zeros, y_shift);
                let op = Cross { a: ones, p, b: y_rows, q, n_rows, adds, y: y_sum };
                self.model.kernels.cross(&mut rec, &op)?;
                rec.yield_now().await?;
                n_summed += n_rows;
                let is_last = place + 1 == used.len() && first + n_rows > window.n_train;
                if n_summed >= TOKENS || is_last {
                    rec = self.drain(rec, &on_device, y_sum, &mut sums, &mut target.1).await?;
                    n_summed = 0;
                }
            }
            rec.finish().await?;
            between.next(self, 0.5 * (place + 1) as f64 / used.len() as f64).await?;
        }
        Ok((sums, target))
    }

    /// Adds what is summed on the device to the sums in f64.
    async fn drain<'r>(
        &'r self,
        mut rec: Recorder<'r>,
        on_device: &[OnDevice],
        y_sum: &Tensor,
        sums: &mut [Sums],
        target: &mut DVector<f64>,
    ) -> Result<Recorder<'r>> {
        let (c, c4) = (self.c, pad4(self.c));
        let add = |to: &mut DMatrix<f64>, read: &[f32]| {
            for (i, row) in read.chunks(c4).take(c).enumerate() {
                row.iter().take(c).enumerate().for_each(|(j, &v)| to[(i, j)] += f64::from(v));
            }
        };
        let add_row = |to: &mut DVector<f64>, read: &[f32]| {
            to.iter_mut().zip(read).for_each(|(to, &v)| *to += f64::from(v));
        };
        let (matrix, row) = ((4 * c4 * c4) as u64, 4 * c4 as u64);
        for (of, sums) in on_device.iter().zip(sums) {
            let read = rec.read(&[(&of.xx, matrix), (&of.xy, matrix), (&of.x, row)]).await?;
            if let [xx, xy, x] = &read[..] {
                add(&mut sums.xx, xx);
                add(&mut sums.xy, xy);
                add_row(&mut sums.x, x);
            }
        }
        let read = rec.read(&[(y_sum, row)]).await?;
        read.iter().for_each(|read| add_row(target, read));
        Ok(rec)
    }
}
