//! What the model says of each token alone, at the position where it stands: the guess without any context.

use std::pin::Pin;

use crate::device::Cancel;
use crate::error::{Error, Result};
use crate::lens::{BLOCK, Depth, Kept, Pairs, RowSource, compare};
use crate::model::{Edits, Model, Pass, Scratch, Stream, forward};

use super::{Lensed, Session, in_use};

/// How far the rows are from the guess without context, tap-major. Shapes: \[N·T\]. Units: nats.
pub struct Alone {
    /// KL(alone ‖ row).
    pub kl: Vec<f32>,
    /// KL(row ‖ alone).
    pub kl_reverse: Vec<f32>,
    /// The token that the guess has on top, by position. Shapes: \[T\].
    pub top: Vec<u32>,
}

impl Session {
    /// The stream of a text, from the first block on and without edits; or of each token `alone`, with these edits of weights.
    ///
    /// Errors: `missing-tensor`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
    pub(super) fn stream_of<'a>(
        &'a self,
        model: &'a Model,
        ids: &'a [u32],
        alone: Option<&'a Edits>,
        cancel: &'a Cancel,
    ) -> Pin<Box<dyn Future<Output = Result<Stream>> + 'a>> {
        // Compiled once, not for each call.
        Box::pin(self.compute_stream(model, ids, alone, cancel))
    }

    async fn compute_stream(
        &self,
        model: &Model,
        ids: &[u32],
        alone: Option<&Edits>,
        cancel: &Cancel,
    ) -> Result<Stream> {
        let config = &model.config;
        let at_once = model.kernels.forms().n_forward().unwrap_or(BLOCK).min(ids.len());
        let allocate = || {
            // Nothing starts from it, so keys and values are those of one block at a time.
            let stream = Stream::new(&self.device, config, ids, false, 0);
            Ok((stream, Scratch::new(&self.device, config, at_once)))
        };
        let mut made = self.device.allocate("this text", allocate).await;
        if matches!(made, Err(Error::OutOfMemory(_))) && self.last.take().is_some() {
            made = self.device.allocate("this text", allocate).await;
        }
        let (mut stream, scratch) = made?;
        let (none, is_alone) = (Edits::default(), alone.is_some());
        let edits = alone.unwrap_or(&none);
        let mut rec = self.device.record("this text", cancel);
        let (scratch, n) = (&scratch, ids.len());
        let pass = Pass { model, scratch, edits, start: 0, n, n_runs: 1, is_alone };
        forward(&mut rec, &pass, &stream, 0).await?;
        rec.finish().await?;
        stream.finish();
        Ok(stream)
    }

    /// Compares every row of a reading with what the model says of the token alone. Of `control`, if it is given, each
    /// position has that token's guess instead: what the distance is worth shows against another token's. Hold the guard
    /// of [`Session::lock`].
    ///
    /// Errors: `bad-option` for a reading with a borrowed decoder or of contributions, `bad-token`, `not-found`,
    /// `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
    pub async fn alone(
        &self,
        lensed: &Lensed,
        control: Option<&[u32]>,
        cancel: &Cancel,
    ) -> Result<Alone> {
        self.device.check()?;
        let loaded = in_use(&lensed.loaded)?;
        let decoder = lensed.decoder(&loaded.model)?;
        if lensed.extension.is_some() {
            let expected = "none with the reference alone";
            return Err(Error::option("decoder", expected, "borrowed halves of blocks"));
        }
        if lensed.options.depth == Depth::Contributions {
            let expected = "none with the reference alone";
            return Err(Error::option("contributions", expected, "contributions"));
        }
        let ids = control.unwrap_or(&lensed.ids);
        if ids.len() != lensed.ids.len() {
            let expected = format!("{} tokens", lensed.ids.len());
            return Err(Error::option("control", expected, ids.len()));
        }
        ids.iter().try_for_each(|&id| loaded.vocabulary.check(id))?;
        let edits = lensed.resolved.edits.of_weights();
        let stream = self.stream_of(&loaded.model, ids, Some(&edits), cancel).await?;
        let (n_rows, t) = (lensed.rows.len(), ids.len());
        // The final row of the guess beside every row of the reading.
        let mut rows = lensed.rows.clone();
        for row in &mut rows {
            row.source = RowSource::Tap(stream.taps.len() - 1);
        }
        let guess = Kept { decoder: &decoder, stream: &stream, rows: &rows, ends: &[], lens: None };
        let pairs = Pairs { columns: (0..t).map(|i| (i, i)).collect(), targets: Vec::new() };
        super::check_results(n_rows, t, 5)?;
        let found = compare(&self.device, [guess, lensed.kept(&decoder)], &pairs, cancel).await?;
        let [mut top, _] = found.top;
        top.truncate(t);
        Ok(Alone { kl: found.kl, kl_reverse: found.kl_reverse, top })
    }
}
