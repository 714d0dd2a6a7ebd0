//! Tensors as they come in ─▶ decoded, brought into storage precision, packed on the device, kept.

use std::collections::{HashMap, HashSet};

use crate::checkpoint::{Element, Event, Header, TensorInfo};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::kernels::{Packer, Precision, encode, pad4};

use super::copy::Copy;
use super::families;
use super::plan::{Part, Sink};

/// The parts still to come, and the tensor that is coming in.
pub(super) struct Filling {
    config: Config,
    precision: Precision,
    parts: HashMap<String, Part>,
    /// Names (without prefix) that some file has announced.
    announced: HashSet<String>,
    complete: HashSet<String>,
    pub(super) extra: Vec<String>,
    /// Index in the current file's header, and the tensor being filled.
    current: Option<(usize, Current)>,
    /// Name of the tensor that is coming in; empty between files.
    pub(super) label: String,
    /// Where they are kept too.
    pub(super) copy: Copy,
}

struct Current {
    name: String,
    element: Element,
    /// Bytes of a number that was cut by the end of a piece.
    cut: Vec<u8>,
    /// Numbers of a row that is not complete.
    values: Vec<f32>,
    /// A row as it is stored.
    stored: Vec<u8>,
    stored_in: Precision,
    row_length: usize,
    n_rows: u64,
    row: u64,
    packers: Vec<Packer>,
}

impl Filling {
    pub(super) fn new(
        config: Config,
        precision: Precision,
        parts: HashMap<String, Part>,
    ) -> Filling {
        Filling {
            config,
            precision,
            parts,
            announced: HashSet::new(),
            complete: HashSet::new(),
            extra: Vec::new(),
            current: None,
            label: String::new(),
            copy: Copy::default(),
        }
    }

    /// More parts, before the header that announces them is taken.
    pub(super) fn want(&mut self, parts: HashMap<String, Part>) {
        self.parts.extend(parts);
    }

    /// What a copy will hold: every part in the type it is stored in.
    pub(super) fn stored_tensors(&self) -> impl Iterator<Item = (&str, Element, &[u64])> {
        self.parts.iter().map(|(name, part)| {
            (name.as_str(), element(part.stored_in(self.precision)), &part.shape[..])
        })
    }

    /// The first tensor, by name, that has not come.
    pub(super) fn missing(&self) -> Option<&String> {
        self.parts.keys().filter(|name| !self.complete.contains(*name)).min()
    }

    /// Forgets the file that is coming in.
    pub(super) fn end_file(&mut self) {
        self.current = None;
        self.label.clear();
    }

    /// Forgets everything that has come.
    pub(super) fn start_over(&mut self) {
        self.end_file();
        self.announced.clear();
        self.complete.clear();
        self.extra.clear();
    }

    /// What came so far was kept from an earlier load: its names may be announced again.
    pub(super) fn go_on(&mut self) {
        self.end_file();
        self.announced.clear();
        self.extra.clear();
    }

    /// Checks a header, before any data.
    ///
    /// Errors: `bad-header`, `bad-shape`, `bad-dtype`.
    pub(super) fn announce(&mut self, header: &Header) -> Result<()> {
        header.tensors.iter().try_for_each(|tensor| self.announce_one(tensor))
    }

    fn announce_one(&mut self, tensor: &TensorInfo) -> Result<()> {
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

    /// Checks the header of a kept beginning: its numbers must be those that would be kept now.
    ///
    /// Errors: `bad-dtype`.
    pub(super) fn check_kept(&self, header: &Header) -> Result<()> {
        let same = |tensor: &TensorInfo| {
            let part = self.parts.get(&tensor.name);
            let stored = part.map(|part| element(part.stored_in(self.precision)));
            stored.is_none_or(|stored| tensor.element == Ok(stored))
        };
        match header.tensors.iter().find(|tensor| !same(tensor)) {
            None => Ok(()),
            Some(tensor) => Err(Error::BadDtype {
                name: tensor.name.clone(),
                reason: "it was kept in another precision".into(),
            }),
        }
    }

    /// Takes what the reader hands over; true once a tensor is complete that the model needs.
    ///
    /// Errors: those of [`Filling::announce`], `bad-dtype`, `corrupt`.
    pub(super) fn take(&mut self, gpu: &Gpu, event: &Event<'_, '_>) -> Result<bool> {
        let (index, tensor, bytes) = match *event {
            Event::Header(header) => return self.announce(header).map(|()| false),
            Event::Data { index, tensor, bytes } => (index, tensor, bytes),
        };
        if self.current.as_ref().is_none_or(|(i, _)| *i != index) {
            self.label.clone_from(&tensor.name);
            self.current = self.start(tensor).map(|c| (index, c));
        }
        let Some((_, current)) = &mut self.current else { return Ok(false) };
        let Some(part) = self.parts.get(&current.name) else { return Ok(false) };
        let is_complete = current.fill(gpu, part, &mut self.copy, bytes)?;
        if is_complete {
            self.complete.insert(current.name.clone());
        }
        Ok(is_complete)
    }

    /// What the data of `tensor` fills, if anything.
    fn start(&mut self, tensor: &TensorInfo) -> Option<Current> {
        let name = short_name(&tensor.name);
        let part = self.parts.get(name)?;
        let row_length = part.shape.last().copied()? as usize;
        let n_rows = part.shape.iter().rev().skip(1).product();
        let n_packers = match &part.sink {
            Sink::Inputs(matrices) => matrices.len(),
            Sink::Outputs(shards) => shards.len(),
            Sink::Linear(_) => 1,
            Sink::Vectors(_) | Sink::Table(_) | Sink::ShardBiases(_) => 0,
        };
        let stored_in = part.stored_in(self.precision);
        self.copy.begin(name, element(stored_in), &part.shape);
        Some(Current {
            name: name.into(),
            element: tensor.element.clone().ok()?,
            cut: Vec::new(),
            values: Vec::new(),
            stored: Vec::new(),
            stored_in,
            row_length,
            n_rows,
            row: 0,
            packers: (0..n_packers).map(|_| Packer::new()).collect(),
        })
    }
}

impl Current {
    /// Takes the next bytes; true once the tensor is complete.
    fn fill(&mut self, gpu: &Gpu, part: &Part, copy: &mut Copy, mut bytes: &[u8]) -> Result<bool> {
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
            self.emit_full_row(gpu, part, copy)?;
        }
        self.emit_full_row(gpu, part, copy)?;
        self.cut.extend_from_slice(bytes);
        Ok(self.row == self.n_rows)
    }

    fn emit_full_row(&mut self, gpu: &Gpu, part: &Part, copy: &mut Copy) -> Result<()> {
        if self.values.len() < self.row_length {
            return Ok(());
        }
        self.stored.clear();
        encode(&self.name, self.stored_in, &self.values, &mut self.stored)?;
        self.values.clear();
        copy.write(&self.stored);
        self.emit(gpu, part);
        self.row += 1;
        Ok(())
    }

    /// Brings the stored row to where it belongs.
    fn emit(&mut self, gpu: &Gpu, part: &Part) {
        let (row, stored) = (self.row as usize, &self.stored[..]);
        match &part.sink {
            Sink::Vectors(tensors) => {
                let pieces = stored.chunks(stored.len() / tensors.len());
                tensors.iter().zip(pieces).for_each(|(t, piece)| gpu.write(t, 0, piece));
            }
            Sink::Table(tensor) => {
                gpu.write(tensor, (row * pad4(self.row_length) * 4) as u64, stored);
            }
            Sink::Inputs(matrices) => {
                let pieces = stored.chunks(stored.len() / matrices.len());
                for ((packer, matrix), piece) in self.packers.iter_mut().zip(matrices).zip(pieces) {
                    packer.row(gpu, matrix, piece);
                }
            }
            Sink::Linear(matrix) => self.packers[0].row(gpu, matrix, stored),
            Sink::ShardBiases(shards) => {
                for shard in shards.iter() {
                    let (first, n) = (4 * shard.first_id, 4 * shard.matrix.n_out);
                    if let Some(bias) = &shard.bias {
                        gpu.write(bias, 0, &stored[first..first + n]);
                    }
                }
            }
            Sink::Outputs(shards) => {
                let i = shards.partition_point(|s| s.first_id <= row) - 1;
                self.packers[i].row(gpu, &shards[i].matrix, stored);
            }
        }
    }
}

/// How the file that is kept writes numbers of that precision.
fn element(precision: Precision) -> Element {
    match precision {
        Precision::F16 => Element::F16,
        Precision::F32 => Element::F32,
    }
}

/// Hugging Face writes names with the prefix of the model class or without it.
pub(super) fn short_name(name: &str) -> &str {
    name.strip_prefix("transformer.").unwrap_or(name)
}
