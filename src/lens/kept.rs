//! What a reading keeps on the device, so that later questions need no second pass.

use crate::device::{Recorder, Tensor};
use crate::error::Result;
use crate::kernels::Rows;
use crate::model::Stream;

use super::{Decoder, Row, row_of_stream};

/// The residual stream of a reading, with what is needed to decode it again.
#[derive(Clone, Copy)]
pub struct Kept<'a> {
    /// The decoder of the reading.
    pub decoder: &'a Decoder<'a>,
    /// The residual stream.
    pub stream: &'a Stream,
    /// The rows of the reading.
    pub rows: &'a [Row],
    /// Outputs of the borrowed halves, by row; empty if there are none.
    pub ends: &'a [Tensor],
}

impl Kept<'_> {
    /// Normalises `n` neighbouring positions of a row into `to`; `step` is scratch memory for a difference of two taps.
    pub(super) fn normalise(
        &self,
        rec: &mut Recorder<'_>,
        tap: usize,
        position: usize,
        n: usize,
        step: &Tensor,
        to: Rows<'_>,
    ) -> Result<()> {
        let Kept { decoder, stream, rows, ends } = *self;
        let model = decoder.model;
        let x = match ends.get(tap) {
            Some(end) => Rows::new(end, position, model.config.n_embd),
            None => row_of_stream(rec, model, stream, rows[tap].source, position, n, step)?,
        };
        decoder.normalise(rec, x, to, n)
    }
}
