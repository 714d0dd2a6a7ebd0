//! The rows of an embedding, streamed back from the device.

use crate::error::Result;
use crate::gpu::Tensor;
use crate::kernels::pad4;

use super::Atlas;

/// Most bytes read back at once.
const PIECE: usize = 4 << 20;

/// Hands every row of `wte` to `visit`, in order. Shapes: a row \[C\].
///
/// Errors: `aborted`, `device-lost`, `out-of-memory`.
pub(super) async fn rows(atlas: &Atlas<'_>, mut visit: impl FnMut(usize, &[f32])) -> Result<()> {
    let config = &atlas.model.config;
    for shard in atlas.model.weights.wte.iter() {
        let matrix = &shard.matrix;
        let four = matrix.four_rows_bytes();
        let fours = pad4(matrix.n_out) / 4;
        let step = (PIECE / four).max(1);
        for first in (0..fours).step_by(step) {
            let end = (first + step).min(fours);
            let range = (first * four) as u64..(end * four) as u64;
            let packed = atlas.gpu.read_ranges::<u8>(&[(&matrix.tensor, range)]).await?;
            let known = matrix.n_out - 4 * first;
            let unpacked = matrix.unpack(&packed[0]);
            for (i, row) in unpacked.chunks(matrix.n_in).take(known).enumerate() {
                visit(shard.first_id + 4 * first + i, row);
            }
            let done = shard.first_id + 4 * end;
            atlas.advance(done as f64 / config.vocab_size as f64)?;
        }
    }
    Ok(())
}

/// One row of `wte`. Shapes: \[C\].
///
/// Errors: `device-lost`, `out-of-memory`.
pub(super) async fn row(atlas: &Atlas<'_>, id: usize) -> Result<Vec<f32>> {
    for shard in atlas.model.weights.wte.iter() {
        let matrix = &shard.matrix;
        let Some(at) = id.checked_sub(shard.first_id).filter(|&at| at < matrix.n_out) else {
            continue;
        };
        let four = matrix.four_rows_bytes() as u64;
        let first = (at / 4) as u64 * four;
        let packed = atlas.gpu.read_ranges::<u8>(&[(&matrix.tensor, first..first + four)]).await?;
        let rows = matrix.unpack(&packed[0]);
        return Ok(rows[at % 4 * matrix.n_in..][..matrix.n_in].to_vec());
    }
    Ok(Vec::new())
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
    let padded = atlas.gpu.read(&[(tensor, bytes)]).await?;
    Ok(padded[0].chunks(pad4(width)).flat_map(|row| row[..width].to_vec()).collect())
}
