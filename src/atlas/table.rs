//! The rows of an embedding, streamed back from the device.

use crate::device::{Device, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Matrix, Shard, pad4, shard_of};

use super::Atlas;

/// Bytes that are read back at once.
const PIECE: usize = 4 << 20;

/// Calls `visit` with every row of an embedding, in order. Shapes: a row \[C\].
///
/// Errors: `aborted`, `device-lost`, `out-of-memory`.
pub async fn rows(
    atlas: &Atlas<'_>,
    shards: &[Shard],
    mut visit: impl FnMut(usize, &[f32]),
) -> Result<()> {
    for shard in shards {
        let visit = |column: usize, row: &[f32]| visit(shard.first_id + column, row);
        columns_from(atlas, &shard.matrix, shard.first_id, visit).await?;
    }
    Ok(())
}

/// W · u: what each input of a matrix adds along a direction of its outputs. Shapes: \[n_in\].
///
/// Errors: `aborted`, `device-lost`, `out-of-memory`.
pub async fn along(atlas: &Atlas<'_>, matrix: &Matrix, u: &[f64]) -> Result<Vec<f64>> {
    let mut found = vec![0.0; matrix.n_in];
    let Some(row_bytes) = matrix.input_bytes() else {
        let add = |column: usize, weights: &[f32]| {
            let factor = u.get(column).copied().unwrap_or_default();
            found.iter_mut().zip(weights).for_each(|(sum, &w)| *sum += factor * f64::from(w));
        };
        columns_from(atlas, matrix, 0, add).await?;
        return Ok(found);
    };
    for found in found.chunks_mut((PIECE / row_bytes).max(1)).enumerate() {
        let (piece, sums) = found;
        let first = (piece * (PIECE / row_bytes).max(1) * row_bytes) as u64;
        let range = first..first + (sums.len() * row_bytes) as u64;
        let packed = atlas.device.read_ranges::<u8>(&[(&matrix.tensor, range)]).await?;
        for (sum, row) in sums.iter_mut().zip(packed[0].chunks_exact(row_bytes)) {
            let row = matrix.unpack_input(row);
            *sum = row.iter().zip(u).map(|(&w, u)| f64::from(w) * u).sum();
        }
        atlas.advance(0.0)?;
    }
    Ok(found)
}

/// `first_id` is what of the embedding came before, for the progress.
async fn columns_from(
    atlas: &Atlas<'_>,
    matrix: &Matrix,
    first_id: usize,
    mut visit: impl FnMut(usize, &[f32]),
) -> Result<()> {
    let four = matrix.four_rows_bytes();
    let fours = pad4(matrix.n_out) / 4;
    let step = (PIECE / four).max(1);
    for first in (0..fours).step_by(step) {
        let end = (first + step).min(fours);
        let range = (first * four) as u64..(end * four) as u64;
        let packed = atlas.device.read_ranges::<u8>(&[(&matrix.tensor, range)]).await?;
        let known = matrix.n_out - 4 * first;
        let unpacked = matrix.unpack(&packed[0]);
        for (i, row) in unpacked.chunks(matrix.n_in).take(known).enumerate() {
            visit(4 * first + i, row);
        }
        let done = first_id + 4 * end;
        atlas.advance(done as f64 / atlas.model.config.vocab_size as f64)?;
    }
    Ok(())
}

/// One row of an embedding. Shapes: \[C\].
///
/// Errors: `device-lost`, `out-of-memory`.
pub async fn row_of(device: &Device, shards: &[Shard], id: u32) -> Result<Vec<f32>> {
    let Some((shard, at)) = shard_of(shards, id) else { return Ok(Vec::new()) };
    let (matrix, four) = (&shard.matrix, shard.matrix.four_rows_bytes() as u64);
    let first = (at / 4) as u64 * four;
    let packed = device.read_ranges::<u8>(&[(&matrix.tensor, first..first + four)]).await?;
    let rows = packed.first().map(|packed| matrix.unpack(packed)).unwrap_or_default();
    Ok(rows.chunks(matrix.n_in).nth(at % 4).map(<[f32]>::to_vec).unwrap_or_default())
}

/// Some rows of `wte`, in the order asked for. Shapes: \[n, C\].
///
/// Errors: `missing-tensor`, `bad-token`, `aborted`, `device-lost`, `out-of-memory`.
pub(super) async fn rows_of(atlas: &Atlas<'_>, ids: &[u32]) -> Result<Vec<f32>> {
    let shards = atlas.model.wte()?;
    let vocab_size = atlas.model.config.vocab_size;
    if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
        return Err(Error::BadToken { id: id.into(), vocab_size });
    }
    let n_embd = atlas.model.config.n_embd;
    let mut out = Vec::with_capacity(ids.len() * n_embd);
    let four = shards.first().map_or(1, |shard| shard.matrix.four_rows_bytes());
    for piece in ids.chunks((PIECE / four).max(1)) {
        // Four rows are stored together, so four are read for each one.
        let places: Vec<_> = piece
            .iter()
            .map(|&id| {
                let id = id as usize;
                let shard = &shards[shards.partition_point(|s| s.first_id <= id) - 1];
                (&shard.matrix, id - shard.first_id)
            })
            .collect();
        let range = |at: usize| ((at / 4 * four) as u64)..((at / 4 + 1) * four) as u64;
        let ranges: Vec<_> = places.iter().map(|&(m, at)| (&m.tensor, range(at))).collect();
        let packed = atlas.device.read_ranges::<u8>(&ranges).await?;
        for (&(matrix, at), packed) in places.iter().zip(&packed) {
            out.extend_from_slice(&matrix.unpack(packed)[at % 4 * n_embd..][..n_embd]);
        }
        atlas.advance((out.len() / n_embd) as f64 / ids.len() as f64)?;
    }
    Ok(out)
}

/// The position embedding. Shapes: \[n_ctx, C\].
///
/// Errors: `missing-tensor`, `device-lost`, `out-of-memory`.
pub(super) async fn positions(atlas: &Atlas<'_>) -> Result<Vec<f32>> {
    let config = &atlas.model.config;
    plain(atlas, atlas.model.wpe()?, config.n_ctx, config.n_embd).await
}

/// The embedding of one position. Shapes: \[C\].
///
/// Errors: `missing-tensor`, `bad-option` for one that does not exist, `device-lost`,
/// `out-of-memory`.
pub(super) async fn position(atlas: &Atlas<'_>, at: usize) -> Result<Vec<f32>> {
    let (wpe, config) = (atlas.model.wpe()?, &atlas.model.config);
    if at >= config.n_ctx {
        let last = config.n_ctx - 1;
        return Err(Error::option("position", format!("0 to {last}, or null"), at));
    }
    let row_bytes = 4 * pad4(config.n_embd) as u64;
    let range = at as u64 * row_bytes..(at as u64 + 1) * row_bytes;
    let mut rows = atlas.device.read_ranges::<f32>(&[(wpe, range)]).await?;
    rows[0].truncate(config.n_embd);
    Ok(rows.remove(0))
}

/// A plain table of f32 rows, padded to four on the device. Shapes: \[rows, width\].
///
/// Errors: `device-lost`, `out-of-memory`.
pub(super) async fn plain(
    atlas: &Atlas<'_>,
    tensor: &Tensor,
    rows: usize,
    width: usize,
) -> Result<Vec<f32>> {
    let bytes = (4 * rows * pad4(width)) as u64;
    let padded = atlas.device.read(&[(tensor, bytes)]).await?;
    Ok(padded[0].chunks(pad4(width)).flat_map(|row| row[..width].to_vec()).collect())
}
