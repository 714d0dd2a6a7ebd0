//! Checkpoint bytes ─▶ weights on the device, with no tensor ever whole in memory.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::checkpoint::{Element, Event, Reader, TensorInfo};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::kernels::{Kernels, Matrix, Packer, Precision, check_finite, pad4};

use super::plan::{Part, Plan, Sink, check_sizes};
use super::{Model, Weights, families};

/// Bytes after which the device is given time to take the writes in. Units: bytes.
const SETTLE_BYTES: u64 = 32 << 20;

/// How far a load has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes received over all files. Units: bytes.
    pub received: u64,
    /// Length of the current file, once its header is known. Units: bytes.
    pub file_bytes: Option<u64>,
    /// The tensor that is coming in; empty between files.
    pub tensor: String,
}

/// Takes the bytes of one or more safetensors files, in pieces of any size.
pub struct Loader {
    config: Config,
    kernels: Rc<Kernels>,
    weights: Weights,
    weight_bytes: u64,
    precision: Precision,
    reader: Reader,
    filling: Filling,
    received: u64,
    settled: u64,
}

/// The parts still to come, and the tensor that is coming in.
struct Filling {
    config: Config,
    parts: HashMap<String, Part>,
    /// Names (without prefix) that some file has announced.
    announced: HashSet<String>,
    complete: HashSet<String>,
    extra: Vec<String>,
    /// Index in the current file's header, and the tensor being filled.
    current: Option<(usize, Current)>,
    label: String,
}

struct Current {
    name: String,
    element: Element,
    /// Bytes of a number that was cut by the end of a piece.
    cut: Vec<u8>,
    /// Numbers of a row that is not complete.
    values: Vec<f32>,
    row_length: usize,
    n_rows: u64,
    row: u64,
    packers: Vec<Packer>,
}

impl Loader {
    /// Allocates the weights; `kernels` are those of the same precision.
    ///
    /// Errors: `unsupported-model` for one with a tensor too large for a binding,
    /// `out-of-memory` (everything taken is given back), `device-lost`.
    pub async fn new(
        gpu: &Gpu,
        kernels: Rc<Kernels>,
        config: Config,
        precision: Precision,
        shard_bytes: usize,
    ) -> Result<Loader> {
        gpu.check()?;
        check_sizes(gpu, &config, precision)?;
        let allocate = || {
            let mut plan = Plan::new(gpu, precision, shard_bytes);
            let weights = families::weights(&mut plan, &config);
            Ok((weights, plan.bytes(), plan.parts))
        };
        let (weights, weight_bytes, parts) = gpu.allocate("the model's weights", allocate).await?;
        let filling = Filling {
            config: config.clone(),
            parts,
            announced: HashSet::new(),
            complete: HashSet::new(),
            extra: Vec::new(),
            current: None,
            label: String::new(),
        };
        let reader = Reader::new();
        Ok(Loader {
            config,
            kernels,
            weights,
            weight_bytes,
            precision,
            reader,
            filling,
            received: 0,
            settled: 0,
        })
    }

    /// Takes the next piece of the current file; waits now and then for the device to keep up.
    ///
    /// Errors: `bad-header`, `bad-shape`, `bad-dtype`, `corrupt`, `device-lost`.
    pub async fn push(&mut self, gpu: &Gpu, bytes: &[u8]) -> Result<()> {
        self.received += bytes.len() as u64;
        let filling = &mut self.filling;
        self.reader.push(bytes, |event| filling.take(gpu, event))?;
        if self.received - self.settled >= SETTLE_BYTES {
            self.settled = self.received;
            gpu.settle().await?;
        }
        Ok(())
    }

    /// Ends the current file; another may follow.
    ///
    /// Errors: `truncated`.
    pub fn end_file(&mut self) -> Result<()> {
        self.filling.current = None;
        self.filling.label.clear();
        std::mem::take(&mut self.reader).finish()
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        Progress {
            received: self.received,
            file_bytes: self.reader.file_bytes(),
            tensor: self.filling.label.clone(),
        }
    }

    /// The model, if every tensor it needs has come.
    ///
    /// Errors: `missing-tensor`, `device-lost`.
    pub async fn finish(self, gpu: &Gpu) -> Result<Model> {
        let filling = self.filling;
        let missing = filling.parts.keys().filter(|name| !filling.complete.contains(*name));
        if let Some(name) = missing.min() {
            return Err(Error::MissingTensor(name.clone()));
        }
        gpu.settle().await?;
        Ok(Model {
            config: self.config,
            kernels: self.kernels,
            weights: self.weights,
            weight_bytes: self.weight_bytes,
            precision: self.precision,
            extra_tensors: filling.extra,
        })
    }
}

impl Filling {
    fn take(&mut self, gpu: &Gpu, event: Event<'_>) -> Result<()> {
        match event {
            Event::Header(tensors) => tensors.iter().try_for_each(|t| self.announce(t)),
            Event::Data { index, tensor, bytes } => {
                if self.current.as_ref().is_none_or(|(i, _)| *i != index) {
                    self.label.clone_from(&tensor.name);
                    self.current = self.start(tensor).map(|c| (index, c));
                }
                match &mut self.current {
                    Some((_, current)) => {
                        let Some(part) = self.parts.get(&current.name) else { return Ok(()) };
                        if current.fill(gpu, part, bytes)? {
                            self.complete.insert(current.name.clone());
                        }
                        Ok(())
                    }
                    None => Ok(()),
                }
            }
        }
    }

    /// Checks one line of a header, before any data.
    fn announce(&mut self, tensor: &TensorInfo) -> Result<()> {
        let name = short_name(&tensor.name);
        let Some(part) = self.parts.get(name) else {
            if !families::is_ignored(&self.config, name) {
                self.extra.push(tensor.name.clone());
            }
            return Ok(());
        };
        if !self.announced.insert(name.into()) {
            return Err(Error::BadHeader(format!("tensor {name} comes twice")));
        }
        if tensor.shape != part.shape {
            return Err(Error::BadShape {
                name: tensor.name.clone(),
                expected: part.shape.clone(),
                found: tensor.shape.clone(),
            });
        }
        tensor.element.clone().map(|_| ()).map_err(|found| Error::BadDtype {
            name: tensor.name.clone(),
            reason: format!("its type is {found}, Loupe reads F32, F16 and BF16"),
        })
    }

    /// What the data of `tensor` fills, if anything.
    fn start(&self, tensor: &TensorInfo) -> Option<Current> {
        let name = short_name(&tensor.name);
        let part = self.parts.get(name)?;
        let element = tensor.element.clone().ok()?;
        let row_length = part.shape.last().copied()? as usize;
        let n_rows = part.shape.iter().rev().skip(1).product();
        let n_packers = match &part.sink {
            Sink::Inputs(matrices) => matrices.len(),
            Sink::Outputs(shards) => shards.len(),
            Sink::Vectors(_) | Sink::Table(_) => 0,
        };
        Some(Current {
            name: name.into(),
            element,
            cut: Vec::new(),
            values: Vec::new(),
            row_length,
            n_rows,
            row: 0,
            packers: (0..n_packers).map(|_| Packer::new()).collect(),
        })
    }
}

impl Current {
    /// Takes the next bytes; true once the tensor is complete.
    fn fill(&mut self, gpu: &Gpu, part: &Part, mut bytes: &[u8]) -> Result<bool> {
        let size = self.element.size();
        if !self.cut.is_empty() {
            let n = (size - self.cut.len()).min(bytes.len());
            self.cut.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.cut.len() < size {
                return Ok(false);
            }
            self.element.decode(&std::mem::take(&mut self.cut), &mut self.values);
        }
        // Row by row, so that the decoded numbers never take more room than a few rows.
        while bytes.len() >= size {
            let want = (self.row_length - self.values.len()) * size;
            let n = want.min(bytes.len() / size * size);
            self.element.decode(&bytes[..n], &mut self.values);
            bytes = &bytes[n..];
            self.emit_full_row(gpu, part)?;
        }
        self.emit_full_row(gpu, part)?;
        self.cut.extend_from_slice(bytes);
        Ok(self.row == self.n_rows)
    }

    fn emit_full_row(&mut self, gpu: &Gpu, part: &Part) -> Result<()> {
        if self.values.len() < self.row_length {
            return Ok(());
        }
        let mut values = std::mem::take(&mut self.values);
        self.emit(gpu, part, &values)?;
        self.row += 1;
        values.clear();
        self.values = values;
        Ok(())
    }

    fn emit(&mut self, gpu: &Gpu, part: &Part, values: &[f32]) -> Result<()> {
        let row = self.row as usize;
        match &part.sink {
            Sink::Vectors(tensors) => {
                values.iter().try_for_each(|&v| check_finite(&self.name, v))?;
                let width = values.len() / tensors.len();
                for (tensor, piece) in tensors.iter().zip(values.chunks(width)) {
                    gpu.write(tensor, 0, piece);
                }
            }
            Sink::Table(tensor) => {
                values.iter().try_for_each(|&v| check_finite(&self.name, v))?;
                gpu.write(tensor, (row * pad4(values.len()) * 4) as u64, values);
            }
            Sink::Inputs(matrices) => {
                let width = values.len() / matrices.len();
                for (i, piece) in values.chunks(width).enumerate() {
                    let matrix: &Matrix = &matrices[i];
                    self.packers[i].row(gpu, &self.name, matrix, piece)?;
                }
            }
            Sink::Outputs(shards) => {
                let i = shards.partition_point(|s| s.first_id <= row) - 1;
                self.packers[i].row(gpu, &self.name, &shards[i].matrix, values)?;
            }
        }
        Ok(())
    }
}

/// Hugging Face writes names with the prefix of the model class or without it.
fn short_name(name: &str) -> &str {
    name.strip_prefix("transformer.").unwrap_or(name)
}
