//! What later positions read of earlier ones: late activations are replaced by the embedding of a token, usually the true
//! next one, in keys and values only.

use crate::device::{Cancel, Device};
use crate::error::{Error, Result};
use crate::kernels::{Rows, pad4};
use crate::lens::{BLOCK, Decoder, Norm, Ranked};
use crate::model::{Pass, Scratch};
use crate::{atlas, reading::NO_TOKEN};

use super::{Lensed, Session, in_use};

/// What is put into the memory.
pub struct MemoryRequest {
    /// The first block whose keys and values are made of it.
    pub first: usize,
    /// The share of the embedding; the rest stays what it was.
    pub alpha: f32,
    /// The token of each position but the last; the true next one, if there is none.
    pub tokens: Option<Vec<u32>>,
}

impl Session {
    /// The log-probabilities of the true next tokens when, from block `first` on, the keys and values of position i that
    /// later positions read are made of (1 − α) h + α (‖h‖ / ‖e‖) e: h is what the block reads there in this run, e the
    /// embedding of the token. A position's own key and value, its queries and the stream itself are not touched, so no
    /// position sees its own next token. Hold the guard of [`Session::lock`].
    ///
    /// Shapes: \[T − 1\]. Units: nats.
    /// Errors: `bad-option`, `bad-token`, `not-found`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
    pub async fn memory(
        &self,
        lensed: &Lensed,
        request: &MemoryRequest,
        cancel: &Cancel,
    ) -> Result<Vec<f32>> {
        self.device.check()?;
        let loaded = in_use(&lensed.loaded)?;
        let (device, model, ids) = (&self.device, &loaded.model, &lensed.ids);
        let (config, t) = (&model.config, ids.len());
        if t < 2 {
            return Err(Error::option("reading", "a text of two tokens or more", "one token"));
        }
        if !lensed.edits().is_empty() {
            return Err(Error::option("reading", "a reading without edits", "one with edits"));
        }
        if request.first >= config.n_layer {
            let expected = format!("0 to {}", config.n_layer - 1);
            return Err(Error::option("first", expected, request.first));
        }
        if !request.alpha.is_finite() {
            return Err(Error::option("alpha", "a finite number", request.alpha));
        }
        let next = ids.get(1..).unwrap_or_default();
        let tokens = request.tokens.as_deref().unwrap_or(next);
        if tokens.len() != t - 1 {
            let expected = format!("{} tokens, one for each position but the last", t - 1);
            return Err(Error::option("tokens", expected, tokens.len()));
        }
        for &id in tokens.iter().chain(next) {
            loaded.vocabulary.check(id)?;
        }
        let (width, padded) = (config.n_embd, pad4(config.n_embd));
        let row_bytes = 4 * padded as u64;
        let embeddings = atlas::rows_of(&self.atlas_of(&loaded, cancel), tokens).await?;
        let allocate = || {
            let tensor = |rows: usize| device.tensor("memory", rows as u64 * row_bytes);
            let [stream, mid, memory, keys, values] = [(); 5].map(|()| tensor(t));
            let scratch = Scratch::new(device, config, t.min(BLOCK));
            Ok((stream, mid, memory, [keys, values], scratch))
        };
        let made = device.allocate("this memory", allocate).await?;
        let (stream, mid, memory, [keys, values], scratch) = made;
        let edits = &lensed.resolved.edits;
        let pass = |start: usize, n: usize| Pass {
            model,
            scratch: &scratch,
            edits,
            start,
            n,
            n_runs: 1,
            is_alone: false,
        };
        let blocks = || (0..t).step_by(BLOCK).map(|start| pass(start, BLOCK.min(t - start)));
        let whole = model.whole()?;
        let mut rec = device.record("this memory", cancel);
        let all = t as u64 * row_bytes;
        rec.copy(lensed.stream.resid_pre(request.first), 0, &stream, 0, all);
        for (i, block) in whole.blocks.iter().enumerate().skip(request.first) {
            let read = rec.read(&[(&stream, all)]).await?;
            let mixed = mixed(
                read.first().map_or(&[][..], Vec::as_slice),
                &embeddings,
                width,
                request.alpha,
            );
            device.write(&memory, 0, &mixed);
            for pass in blocks() {
                pass.queries(&mut rec, (i, block), pass.positions_of(&memory), &keys, &values)?;
            }
            // From the last position on: each puts its own key and value where earlier ones do not look.
            for position in (0..t).rev() {
                let pass = pass(position, 1);
                let [x, y] = [&stream, &mid].map(|tensor| pass.positions_of(tensor));
                pass.attn(&mut rec, (i, block), x, &keys, &values, y)?;
                rec.yield_now().await?;
            }
            for pass in blocks() {
                let [x, y] = [&mid, &stream].map(|tensor| pass.positions_of(tensor));
                pass.mlp(&mut rec, (i, block), x, y)?;
                rec.yield_now().await?;
            }
        }
        rec.finish().await?;
        self.score(model, Rows::new(&stream, 0, width), next, cancel).await
    }

    /// The log-probability of one token in each row, under the model's own decoder.
    async fn score(
        &self,
        model: &crate::model::Model,
        rows: Rows<'_>,
        targets: &[u32],
        cancel: &Cancel,
    ) -> Result<Vec<f32>> {
        let device: &Device = &self.device;
        let decoder = Decoder::new(model, Norm::Affine)?;
        let allocate = || Ok(Ranked::new(device, &decoder, BLOCK.min(targets.len())));
        let ranked = device.allocate("this memory", allocate).await?;
        let mut found = Vec::new();
        for (block, targets) in targets.chunks(BLOCK).enumerate() {
            let rec = device.record("this memory", cancel);
            let x = Rows { first: rows.first + block * BLOCK, ..rows };
            found.extend(ranked.rank(rec, x, targets).await?.into_iter().map(|row| {
                if row.argmax == NO_TOKEN { f32::NAN } else { single(row.target_logprob) }
            }));
        }
        Ok(found)
    }
}

/// What stands in the memory: of each row but the last the embedding as long as the row, mixed with it. Shapes: rows
/// \[T, C4\], embeddings \[T − 1, C\].
fn mixed(rows: &[f32], embeddings: &[f32], width: usize, alpha: f32) -> Vec<f32> {
    let length = |row: &[f32]| row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    let alpha = f64::from(alpha);
    let mut out = rows.to_vec();
    let mixed = out.chunks_mut(pad4(width)).zip(embeddings.chunks(width));
    for (row, embedding) in mixed {
        let row = &mut row[..width];
        let (own, other) = (length(row), length(embedding));
        // A row of zeros has no direction.
        let factor = if other > 0.0 { own / other } else { 0.0 };
        for (h, &e) in row.iter_mut().zip(embedding) {
            *h = single((1.0 - alpha) * f64::from(*h) + alpha * factor * f64::from(e));
        }
    }
    out
}

#[expect(clippy::cast_possible_truncation, reason = "results are stored in f32")]
fn single(value: f64) -> f32 {
    value as f32
}
