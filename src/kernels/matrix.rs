//! A weight matrix on the device, and the packing that brings it there row by row.

use std::rc::Rc;

use loupe_numbers as numbers;

use crate::device::{Device, Tensor};
use crate::error::{Error, Result};

use super::{dim, pad4};

/// How 2-D weights are stored on the GPU; arithmetic is f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Two halves in a u32.
    F16,
    /// Single precision.
    F32,
}

impl Precision {
    /// The name in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F16 => "f16",
            Precision::F32 => "f32",
        }
    }

    /// Bytes of one stored value.
    pub fn bytes(self) -> usize {
        match self {
            Precision::F16 => 2,
            Precision::F32 => 4,
        }
    }
}

/// Orientation of a matrix in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A file row is an input: \[K, N\], GPT-2's `Conv1D`.
    Inputs,
    /// A file row is an output: \[N, K\], `Linear` and embeddings. Four rows are interleaved.
    Outputs,
}

/// W of y = x W, or several of them side by side, of the same shape. Shapes: \[K4, P·N4\], four neighbouring columns of one
/// row k at group `column / 4 * stride_out + k * stride_in`; see shaders/shared/matmul.wgsl.
pub struct Matrix {
    /// The groups.
    pub tensor: Tensor,
    /// K: inputs.
    pub n_in: usize,
    /// N: outputs of each.
    pub n_out: usize,
    /// P: how many there are.
    pub n_parts: usize,
    /// Storage of the groups.
    pub precision: Precision,
    order: Order,
}

impl Matrix {
    /// A zero matrix of one part for a file that stores \[K, N\].
    pub fn inputs(
        device: &Device,
        name: &str,
        n_in: usize,
        n_out: usize,
        precision: Precision,
    ) -> Matrix {
        Matrix::new(device, name, n_in, [n_out, 1], precision, Order::Inputs)
    }

    /// A zero matrix of one part for a file that stores \[N, K\].
    pub fn outputs(
        device: &Device,
        name: &str,
        n_in: usize,
        n_out: usize,
        precision: Precision,
    ) -> Matrix {
        Matrix::new(device, name, n_in, [n_out, 1], precision, Order::Outputs)
    }

    /// Zero matrices of that many outputs and parts.
    pub fn new(
        device: &Device,
        name: &str,
        n_in: usize,
        [n_out, n_parts]: [usize; 2],
        precision: Precision,
        order: Order,
    ) -> Matrix {
        let values = pad4(n_in) as u64 * (n_parts * pad4(n_out)) as u64;
        let tensor = device.tensor(name, values * precision.bytes() as u64);
        Matrix { tensor, n_in, n_out, n_parts, precision, order }
    }

    /// Groups of four outputs in a part.
    pub fn part4(&self) -> usize {
        pad4(self.n_out) / 4
    }

    /// Groups from one input to the next.
    pub fn stride_in(&self) -> u32 {
        match self.order {
            Order::Inputs => dim(self.n_parts * self.part4()),
            Order::Outputs => 1,
        }
    }

    /// Groups from four outputs to the next four.
    pub fn stride_out(&self) -> u32 {
        match self.order {
            Order::Inputs => 1,
            Order::Outputs => dim(pad4(self.n_in)),
        }
    }
}

impl Matrix {
    /// Bytes of four file rows of order `Outputs`, which are stored together.
    pub fn four_rows_bytes(&self) -> usize {
        pad4(self.n_in) * 4 * self.precision.bytes()
    }

    /// Orientation in the file.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Bytes of what is stored together, and how often that is: an input of order `Inputs`, else four outputs.
    pub fn stored_rows(&self) -> (usize, usize) {
        match self.order {
            Order::Inputs => {
                (4 * self.n_parts * self.part4() * self.precision.bytes(), pad4(self.n_in))
            }
            Order::Outputs => (self.four_rows_bytes(), self.n_parts * self.part4()),
        }
    }

    /// The file rows that were packed: of order `Outputs`, groups of four rows. Shapes: whole fours → \[4·fours, K\]; of
    /// order `Inputs` \[rows, P·N4\].
    pub fn unpack(&self, packed: &[u8]) -> Vec<f32> {
        let mut rows = Vec::with_capacity(packed.len() / self.precision.bytes());
        if self.order == Order::Inputs {
            match self.precision {
                Precision::F16 => numbers::from_f16(packed, &mut rows),
                Precision::F32 => numbers::from_f32(packed, &mut rows),
            }
            return rows;
        }
        for four in packed.chunks_exact(self.four_rows_bytes()) {
            match self.precision {
                Precision::F16 => numbers::deinterleave_f16(four, self.n_in, &mut rows),
                Precision::F32 => numbers::deinterleave_f32(four, self.n_in, &mut rows),
            }
        }
        rows
    }
}

/// Whole rows of `wte`: one matrix with as many outputs as it has tokens.
pub struct Shard {
    /// The rows as output columns.
    pub matrix: Rc<Matrix>,
    /// Token id of its first row.
    pub first_id: usize,
    /// Where its logits start in a row of all shards' logits; a multiple of four.
    pub first_column: usize,
    /// Added to the logits of its tokens. Shapes: \[rows4\].
    pub bias: Option<Tensor>,
}

/// The shard that has a token, and its row in it.
pub fn shard_of(shards: &[Shard], id: u32) -> Option<(&Shard, usize)> {
    let id = id as usize;
    let at = shards.partition_point(|shard| shard.first_id <= id).checked_sub(1)?;
    shards.get(at).map(|shard| (shard, id - shard.first_id))
}

/// Appends numbers to `out` in storage precision.
///
/// Errors: `corrupt` for a value that is not finite, `bad-dtype` for a value beyond f16's range; both
/// name the tensor.
pub fn encode(name: &str, precision: Precision, values: &[f32], out: &mut Vec<u8>) -> Result<()> {
    if let Some(value) = numbers::first_not_finite(values) {
        return Err(Error::Corrupt(format!("tensor {name} holds {value}")));
    }
    match precision {
        Precision::F32 => out.extend_from_slice(bytemuck::cast_slice(values)),
        Precision::F16 => numbers::to_f16(values, out).map_err(|value| Error::BadDtype {
            name: name.into(),
            reason: format!(
                "{value} does not fit f16 (largest 65504); load with precision \"f32\""
            ),
        })?,
    }
    Ok(())
}

/// Packs file rows, encoded, into a [`Matrix`] and writes them in large pieces.
#[derive(Default)]
pub struct Packer {
    /// Rows that wait for the others of their group of four (order `Outputs`).
    waiting: Vec<u8>,
    staged: Vec<u8>,
    /// Byte of the matrix at which `staged` belongs.
    at: u64,
    rows: usize,
}

/// Bytes gathered before a write.
const STAGE: usize = 1 << 20;

impl Packer {
    /// A packer at the first row.
    pub fn new() -> Packer {
        Packer::default()
    }

    /// A packer at the first row of a part of a matrix of order `Outputs`.
    pub fn of_part(matrix: &Matrix, part: usize) -> Packer {
        let group = 4 * matrix.precision.bytes() as u64;
        let at = (part * matrix.part4()) as u64 * u64::from(matrix.stride_out()) * group;
        Packer { at, ..Packer::default() }
    }

    /// Adds the next file row (P·N values for order `Inputs`, K for `Outputs`).
    pub fn row(&mut self, device: &Device, matrix: &Matrix, row: &[u8]) {
        self.rows += 1;
        let group = 4 * matrix.precision.bytes();
        match matrix.order {
            Order::Inputs => {
                for part in row.chunks(row.len() / matrix.n_parts) {
                    self.staged.extend_from_slice(part);
                    self.staged.resize(self.staged.len().next_multiple_of(group), 0);
                }
            }
            Order::Outputs => {
                self.waiting.extend_from_slice(row);
                if self.waiting.len() == 4 * row.len() || self.is_last(matrix) {
                    self.waiting.resize(4 * row.len(), 0);
                    match matrix.precision {
                        Precision::F16 => numbers::interleave_f16(&self.waiting, &mut self.staged),
                        Precision::F32 => numbers::interleave_f32(&self.waiting, &mut self.staged),
                    }
                    // Groups of the inputs that are padding.
                    self.staged
                        .resize(self.staged.len() + (pad4(matrix.n_in) - matrix.n_in) * group, 0);
                    self.waiting.clear();
                }
            }
        }
        if self.staged.len() >= STAGE || self.is_last(matrix) {
            device.write(&matrix.tensor, self.at, &self.staged);
            self.at += self.staged.len() as u64;
            self.staged.clear();
        }
    }

    fn is_last(&self, matrix: &Matrix) -> bool {
        self.rows == if matrix.order == Order::Inputs { matrix.n_in } else { matrix.n_out }
    }
}
