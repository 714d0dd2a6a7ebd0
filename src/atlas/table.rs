//! Weights, streamed back from the device: the rows of an embedding, and any matrix.

use loupe_numbers as numbers;

use crate::device::{Device, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Matrix, Order, Shard, pad4, shard_of};

use super::Atlas;

/// Bytes that are read back at once.
const PIECE: usize = 4 << 20;

/// Weights that are stored together.
pub enum Piece<'a> {
    /// All weights of an input: its outputs, part by part. Shapes: \[P, N4\].
    Input(usize, &'a [f32]),
    /// All weights of an output of a part. Shapes: \[K\].
    Output(usize, usize, &'a [f32]),
}

/// Calls `visit` with all weights of a matrix; `start` and `share` are where of the whole work this stands.
///
/// Errors: `aborted`, `device-lost`, `out-of-memory`.
pub async fn pieces(
    atlas: &Atlas<'_>,
    matrix: &Matrix,
    [start, share]: [f64; 2],
    mut visit: impl FnMut(Piece<'_>),
) -> Result<()> {
    let (row_bytes, n_rows) = matrix.stored_rows();
    let step = (PIECE / row_bytes).max(1);
    for first in (0..n_rows).step_by(step) {
        let end = (first + step).min(n_rows);
        let range = (first * row_bytes) as u64..(end * row_bytes) as u64;
        let packed = atlas.device.read_ranges::<u8>(&[(&matrix.tensor, range)]).await?;
        let unpacked = matrix.unpack(&packed[0]);
        match matrix.order() {
            Order::Inputs => {
                for (i, row) in unpacked.chunks(matrix.n_parts * 4 * matrix.part4()).enumerate() {
                    if first + i < matrix.n_in {
                        visit(Piece::Input(first + i, row));
                    }
                }
            }
            Order::Outputs => {
                for (i, row) in unpacked.chunks(matrix.n_in).enumerate() {
                    let (part, column) = (
                        (first + i / 4) / matrix.part4(),
                        (first + i / 4) % matrix.part4() * 4 + i % 4,
                    );
                    if column < matrix.n_out {
                        visit(Piece::Output(part, column, row));
                    }
                }
            }
        }
        atlas.device.hand_back().await;
        atlas.advance(start + share * end as f64 / n_rows as f64)?;
    }
    Ok(())
}

/// Calls `visit` with every row of an embedding, in order. Shapes: a row \[C\].
///
/// Errors: `aborted`, `device-lost`, `out-of-memory`.
pub async fn rows(
    atlas: &Atlas<'_>,
    shards: &[Shard],
    mut visit: impl FnMut(usize, &[f32]),
) -> Result<()> {
    let whole = atlas.model.config.vocab_size as f64;
    for shard in shards {
        let place = [shard.first_id as f64 / whole, shard.matrix.n_out as f64 / whole];
        let visit = |piece: Piece<'_>| {
            if let Piece::Output(_, column, row) = piece {
                visit(shard.first_id + column, row);
            }
        };
        pieces(atlas, &shard.matrix, place, visit).await?;
    }
    Ok(())
}

/// W · u: what each input of a matrix of one part adds along a direction of its outputs. Shapes: \[n_in\].
///
/// Errors: `aborted`, `device-lost`, `out-of-memory`.
pub async fn along(atlas: &Atlas<'_>, matrix: &Matrix, u: &[f64]) -> Result<Vec<f64>> {
    let mut found = vec![0.0; matrix.n_in];
    let add = |piece: Piece<'_>| match piece {
        Piece::Input(k, row) => {
            if let Some(sum) = found.get_mut(k) {
                *sum = numbers::dot(row, u);
            }
        }
        Piece::Output(_, column, row) => {
            let factor = u.get(column).copied().unwrap_or_default();
            found.iter_mut().zip(row).for_each(|(sum, &w)| *sum += factor * f64::from(w));
        }
    };
    pieces(atlas, matrix, [0.0, 0.0], add).await?;
    Ok(found)
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
