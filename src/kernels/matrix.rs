//! A weight matrix on the device, and the packing that brings it there row by row.

use half::f16;

use crate::error::{Error, Result};
use crate::gpu::{Gpu, Tensor};

use super::pad4;

/// How 2-D weights are stored on the GPU; arithmetic is f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Two halves in a u32.
    F16,
    /// Single precision.
    F32,
}

impl Precision {
    /// Its name in options and results.
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

/// Which way round the file has a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A file row is an input: \[K, N\], GPT-2's `Conv1D`.
    Inputs,
    /// A file row is an output: \[N, K\], `Linear` and embeddings. Four rows are interleaved.
    Outputs,
}

/// W of y = x W. Shapes: \[K4, N4\], four neighbouring columns of one row k at group
/// `column / 4 * stride_out + k * stride_in`; see shaders/matmul.wgsl.
pub struct Matrix {
    /// The groups.
    pub tensor: Tensor,
    /// K: inputs.
    pub n_in: usize,
    /// N: outputs.
    pub n_out: usize,
    /// Storage of the groups.
    pub precision: Precision,
    order: Order,
}

impl Matrix {
    /// A zero matrix for a file that stores \[K, N\].
    pub fn inputs(
        gpu: &Gpu,
        name: &str,
        n_in: usize,
        n_out: usize,
        precision: Precision,
    ) -> Matrix {
        Matrix::new(gpu, name, n_in, n_out, precision, Order::Inputs)
    }

    /// A zero matrix for a file that stores \[N, K\].
    pub fn outputs(
        gpu: &Gpu,
        name: &str,
        n_in: usize,
        n_out: usize,
        precision: Precision,
    ) -> Matrix {
        Matrix::new(gpu, name, n_in, n_out, precision, Order::Outputs)
    }

    fn new(
        gpu: &Gpu,
        name: &str,
        n_in: usize,
        n_out: usize,
        precision: Precision,
        order: Order,
    ) -> Matrix {
        let values = pad4(n_in) as u64 * pad4(n_out) as u64;
        let tensor = gpu.tensor(name, values * precision.bytes() as u64);
        Matrix { tensor, n_in, n_out, precision, order }
    }

    /// Groups from one input to the next.
    pub fn stride_in(&self) -> u32 {
        match self.order {
            Order::Inputs => pad4(self.n_out) as u32 / 4,
            Order::Outputs => 1,
        }
    }

    /// Groups from four outputs to the next four.
    pub fn stride_out(&self) -> u32 {
        match self.order {
            Order::Inputs => 1,
            Order::Outputs => pad4(self.n_in) as u32,
        }
    }
}

/// Whole rows of `wte`: one matrix with as many outputs as it has tokens.
pub struct Shard {
    /// The rows as output columns.
    pub matrix: Matrix,
    /// Token id of its first row.
    pub first_id: usize,
    /// Where its logits start in a row of all shards' logits; a multiple of four.
    pub first_column: usize,
}

/// Packs file rows into a [`Matrix`] and writes them in large pieces.
pub struct Packer {
    /// Rows that still miss neighbours to interleave with (order `Outputs`).
    waiting: Vec<f32>,
    staged: Vec<u8>,
    /// Byte of the matrix where `staged` belongs.
    at: u64,
    rows: usize,
}

/// Bytes gathered before a write.
const STAGE: usize = 1 << 20;

impl Packer {
    /// A packer at the first row.
    pub fn new() -> Packer {
        Packer { waiting: Vec::new(), staged: Vec::new(), at: 0, rows: 0 }
    }

    /// Takes the next file row (N values for order `Inputs`, K for `Outputs`).
    ///
    /// Errors: `bad-dtype` for a value beyond f16's range, `corrupt` for one that is no number;
    /// both name the tensor.
    pub fn row(&mut self, gpu: &Gpu, name: &str, matrix: &Matrix, row: &[f32]) -> Result<()> {
        self.rows += 1;
        match matrix.order {
            Order::Inputs => {
                for group in row.chunks(4) {
                    self.stage(matrix.precision, name, std::array::from_fn(|i| at(group, i)))?;
                }
            }
            Order::Outputs => {
                self.waiting.extend_from_slice(row);
                if self.waiting.len() == 4 * row.len() || self.is_last(matrix) {
                    self.interleave(name, matrix, row.len())?;
                }
            }
        }
        if self.staged.len() >= STAGE || self.is_last(matrix) {
            gpu.write(&matrix.tensor, self.at, &self.staged);
            self.at += self.staged.len() as u64;
            self.staged.clear();
        }
        Ok(())
    }

    fn is_last(&self, matrix: &Matrix) -> bool {
        self.rows == if matrix.order == Order::Inputs { matrix.n_in } else { matrix.n_out }
    }

    fn interleave(&mut self, name: &str, matrix: &Matrix, n_in: usize) -> Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        for k in 0..pad4(n_in) {
            let value = |i: usize| if k < n_in { at(&rows, i * n_in + k) } else { 0.0 };
            self.stage(matrix.precision, name, std::array::from_fn(value))?;
        }
        Ok(())
    }

    fn stage(&mut self, precision: Precision, name: &str, group: [f32; 4]) -> Result<()> {
        for value in group {
            check_finite(name, value)?;
            match precision {
                Precision::F32 => self.staged.extend_from_slice(&value.to_le_bytes()),
                Precision::F16 => {
                    let half = f16::from_f32(value);
                    if half.is_infinite() {
                        return Err(Error::BadDtype {
                            name: name.into(),
                            reason: format!(
                                "{value} does not fit f16 (largest 65504); load with precision \"f32\""
                            ),
                        });
                    }
                    self.staged.extend_from_slice(&half.to_le_bytes());
                }
            }
        }
        Ok(())
    }
}

impl Default for Packer {
    fn default() -> Packer {
        Packer::new()
    }
}

/// Errors: `corrupt` for an infinite value or one that is no number.
pub fn check_finite(name: &str, value: f32) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    Err(Error::Corrupt(format!("tensor {name} holds {value}")))
}

fn at(values: &[f32], i: usize) -> f32 {
    values.get(i).copied().unwrap_or(0.0)
}
