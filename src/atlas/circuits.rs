//! How strongly each part of a block reads and writes each channel of the residual stream, from the weights alone.

use crate::error::Result;
use crate::kernels::{Matrix, pad4};

use super::Atlas;
use super::table::{Piece, pieces};

/// For each block the rows q, k, v and o of every head, then `in` and `out` of the MLP.
pub struct Circuits {
    /// Of a block: `q.0`, …, `k.0`, …, `v.0`, …, `o.0`, …, `in`, `out`.
    pub names: Vec<String>,
    /// Shapes: \[L, 4·H + 2, C\].
    pub strengths: Vec<f32>,
}

/// Reading is |gain of the LayerNorm before| · ‖the channel's weights into the part‖, writing ‖the part's weights into the
/// channel‖.
///
/// Errors: `missing-tensor`, `aborted`, `device-lost`, `out-of-memory`.
/// Source: A. Scherlis, "An exploration of GPT-2’s embedding weights", which asks what reads and writes a channel.
pub async fn circuits(atlas: &Atlas<'_>) -> Result<Circuits> {
    let config = &atlas.model.config;
    let (n_head, dim, width) = (config.n_head, config.head_dim(), config.n_embd);
    let blocks = &atlas.model.whole()?.blocks;
    let of_heads = ["q", "k", "v", "o"];
    let heads = of_heads.iter().flat_map(|kind| (0..n_head).map(move |h| format!("{kind}.{h}")));
    let names: Vec<String> = heads.chain(["in".into(), "out".into()]).collect();
    let mut strengths = Vec::with_capacity(blocks.len() * names.len() * width);
    for (i, block) in blocks.iter().enumerate() {
        let quarter = |n: usize| [(4 * i + n) as f64, 1.0].map(|at| at / (4 * blocks.len()) as f64);
        let gains = [&block.ln_1, &block.ln_2].map(|norm| (&*norm.gain, 0..4 * pad4(width) as u64));
        let gains = atlas.device.read_ranges::<f32>(&gains).await?;
        let gain = |norm: usize| gains.get(norm).map_or(&[][..], Vec::as_slice);
        let qkv = read_by(atlas, &block.qkv.weight, dim, quarter(0)).await?;
        let out = written_by(atlas, &block.attn_out.weight, dim, quarter(1)).await?;
        let hidden = &block.mlp_in.weight;
        let into = read_by(atlas, hidden, hidden.n_out, quarter(2)).await?;
        let from = &block.mlp_out.weight;
        let from = written_by(atlas, from, from.n_in, quarter(3)).await?;
        let mut add = |squares: Vec<f64>, gain: Option<&[f32]>| {
            for row in squares.chunks(width) {
                let factor = |c: usize| gain.map_or(1.0, |gain| f64::from(gain[c].abs()));
                let strength = |(c, square): (usize, &f64)| single(square.sqrt() * factor(c));
                strengths.extend(row.iter().enumerate().map(strength));
            }
        };
        add(qkv, Some(gain(0)));
        add(out, None);
        add(into, Some(gain(1)));
        add(from, None);
    }
    Ok(Circuits { names, strengths })
}

/// Sums of squares by input, over groups of `size` outputs of every part. Shapes: \[P · N / size, K\].
async fn read_by(
    atlas: &Atlas<'_>,
    matrix: &Matrix,
    size: usize,
    place: [f64; 2],
) -> Result<Vec<f64>> {
    let (n_in, groups) = (matrix.n_in, matrix.n_out.div_ceil(size));
    let mut sums = vec![0.0; matrix.n_parts * groups * n_in];
    let add = |piece: Piece<'_>| match piece {
        Piece::Input(k, row) => {
            for (part, row) in row.chunks(4 * matrix.part4()).enumerate() {
                for (group, row) in row[..matrix.n_out].chunks(size).enumerate() {
                    sums[(part * groups + group) * n_in + k] = squares(row);
                }
            }
        }
        Piece::Output(part, column, row) => {
            let first = (part * groups + column / size) * n_in;
            add_squares(&mut sums[first..first + n_in], row);
        }
    };
    pieces(atlas, matrix, place, add).await?;
    Ok(sums)
}

/// Sums of squares by output, over groups of `size` inputs. Shapes: \[K / size, N\].
async fn written_by(
    atlas: &Atlas<'_>,
    matrix: &Matrix,
    size: usize,
    place: [f64; 2],
) -> Result<Vec<f64>> {
    let n_out = matrix.n_out;
    let mut sums = vec![0.0; matrix.n_in.div_ceil(size) * n_out];
    let add = |piece: Piece<'_>| match piece {
        Piece::Input(k, row) => {
            let first = k / size * n_out;
            add_squares(&mut sums[first..first + n_out], row);
        }
        Piece::Output(_, column, row) => {
            for (group, row) in row.chunks(size).enumerate() {
                sums[group * n_out + column] = squares(row);
            }
        }
    };
    pieces(atlas, matrix, place, add).await?;
    Ok(sums)
}

fn squares(row: &[f32]) -> f64 {
    row.iter().map(|&w| f64::from(w) * f64::from(w)).sum()
}

fn add_squares(sums: &mut [f64], row: &[f32]) {
    sums.iter_mut().zip(row).for_each(|(sum, &w)| *sum += f64::from(w) * f64::from(w));
}

#[expect(clippy::cast_possible_truncation, reason = "results are stored in f32")]
fn single(value: f64) -> f32 {
    value as f32
}
