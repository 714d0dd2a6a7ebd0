//! Tensors in the order received ─▶ decoded, converted to storage precision, packed on the device, kept.

use std::collections::{HashMap, HashSet};

use crate::checkpoint::{Element, Event, Header, Store, TensorInfo, Writer};
use crate::config::Config;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::{Packer, Precision, encode, pad4};

use super::copy::CopyWriter;
use super::families;
use super::plan::{Expected, Sink};

/// The tensors that a model expects, and the one that is being received.
pub(super) struct Filling {
    config: Config,
    precision: Precision,
    expected: HashMap<String, Expected>,
    /// Names (without prefix) in the headers so far.
    announced: HashSet<String>,
    complete: HashSet<String>,
    pub(super) extra: Vec<String>,
    /// Index in the current file's header, and the tensor being filled.
    current: Option<(usize, Current)>,
    /// Name of the tensor that is being received; empty between files.
    pub(super) label: String,
    /// The copy that is kept of them.
    pub(super) copy: CopyWriter,
    /// Where a new copy is to be kept, until the tensors that it will hold are known.
    store: Option<Box<dyn Store>>,
}

struct Current {
    name: String,
    element: Element,
    /// Bytes of a number that the end of a piece cut.
    cut: Vec<u8>,
    /// Numbers of a row that is not complete.
    values: Vec<f32>,
    /// A row in storage precision.
    stored: Vec<u8>,
    stored_in: Precision,
    row_length: usize,
    n_rows: u64,
    row: usize,
    packers: Vec<Packer>,
}

impl Filling {
    /// Nothing is expected until [`Filling::expect`].
    pub(super) fn new(config: Config, precision: Precision) -> Filling {
        Filling {
            config,
            precision,
            expected: HashMap::new(),
            announced: HashSet::new(),
            complete: HashSet::new(),
            extra: Vec::new(),
            current: None,
            label: String::new(),
            copy: CopyWriter::default(),
            store: None,
        }
    }

    /// Adds expected tensors; call it before the header that announces them is taken.
    pub(super) fn expect(&mut self, expected: HashMap<String, Expected>) {
        self.expected.extend(expected);
    }

    /// What a copy will hold: every expected tensor in its storage type.
    pub(super) fn stored_tensors(&self) -> impl Iterator<Item = (&str, Element, &[u64])> {
        self.expected.iter().map(|(name, expected)| {
            let element = element(expected.stored_in(self.precision));
            (name.as_str(), element, &expected.shape[..])
        })
    }

    /// Keeps a new copy in `store`.
    pub(super) fn keep_in(&mut self, store: Box<dyn Store>, n_files: usize) {
        self.store = Some(store);
        self.start_copy(n_files);
    }

    /// Starts the copy, once the tensors that it will hold are known.
    pub(super) fn start_copy(&mut self, n_files: usize) {
        if self.expected.is_empty() {
            return;
        }
        if let Some(mut store) = self.store.take() {
            let started =
                store.truncate(0).and_then(|()| Writer::new(store, self.stored_tensors(), n_files));
            match started {
                Ok(writer) => self.copy.start(writer),
                Err(error) => self.copy.fail(error),
            }
        }
    }

    /// The first expected tensor, by name, that has not been received.
    pub(super) fn missing(&self) -> Option<&String> {
        self.expected.keys().filter(|name| !self.complete.contains(*name)).min()
    }

    /// The first expected tensor, by name, that has not been received and that no header announced.
    pub(super) fn unannounced(&self) -> Option<&String> {
        let is_known =
            |name: &String| self.complete.contains(name) || self.announced.contains(name);
        self.expected.keys().filter(|name| !is_known(name)).min()
    }

    /// Ends the current file.
    pub(super) fn end_file(&mut self) {
        self.current = None;
        self.label.clear();
    }

    /// Discards everything received so far.
    pub(super) fn start_over(&mut self) {
        self.end_file();
        self.announced.clear();
        self.complete.clear();
        self.extra.clear();
    }

    /// Keeps the tensors restored from a copy, and lets the headers of the resumed sources name them again.
    pub(super) fn resume(&mut self) {
        self.end_file();
        self.announced.clear();
        self.extra.clear();
    }

    /// Whether the model needs the tensor that a file calls `name`.
    pub(super) fn needs(&self, name: &str) -> bool {
        self.expected.contains_key(short_name(name))
    }

    /// Checks a header, before any data.
    ///
    /// Errors: `bad-header`, `bad-shape`, `bad-dtype`.
    pub(super) fn announce(&mut self, header: &Header) -> Result<()> {
        header.tensors.iter().try_for_each(|tensor| self.announce_one(tensor))
    }

    fn announce_one(&mut self, tensor: &TensorInfo) -> Result<()> {
        let name = short_name(&tensor.name);
        let Some(expected) = self.expected.get(name) else {
            if !families::is_ignored(&self.config, name) {
                self.extra.push(tensor.name.clone());
            }
            return Ok(());
        };
        if !self.announced.insert(name.into()) {
            return Err(Error::BadHeader(format!("tensor {name} is in two files")));
        }
        if tensor.shape != expected.shape {
            return Err(Error::BadShape {
                name: tensor.name.clone(),
                expected: expected.shape.clone(),
                got: tensor.shape.clone(),
            });
        }
        tensor.element.clone().map(|_| ()).map_err(|found| Error::BadDtype {
            name: tensor.name.clone(),
            reason: format!("element type: expected F32, F16 or BF16, got {found}"),
        })
    }

    /// Checks the header of a kept copy: its element types must be those that would be kept now.
    ///
    /// Errors: `bad-dtype`.
    pub(super) fn check_kept(&self, header: &Header) -> Result<()> {
        let same = |tensor: &TensorInfo| {
            let expected = self.expected.get(&tensor.name);
            let stored = expected.map(|e| element(e.stored_in(self.precision)));
            stored.is_none_or(|stored| tensor.element == Ok(stored))
        };
        match header.tensors.iter().find(|tensor| !same(tensor)) {
            None => Ok(()),
            Some(tensor) => Err(Error::BadDtype {
                name: tensor.name.clone(),
                reason: "the copy was kept in another precision".into(),
            }),
        }
    }

    /// Takes an event of the reader; true if it completes a tensor that the model needs.
    ///
    /// Errors: those of [`Filling::announce`], `bad-dtype`, `corrupt`.
    pub(super) fn take(&mut self, device: &Device, event: &Event<'_>) -> Result<bool> {
        let (index, tensor, bytes) = match *event {
            Event::Header(header) => return self.announce(header).map(|()| false),
            Event::Data { index, tensor, bytes } => (index, tensor, bytes),
        };
        if self.current.as_ref().is_none_or(|(i, _)| *i != index) {
            self.label.clone_from(&tensor.name);
            self.current = self.start(tensor)?.map(|c| (index, c));
        }
        let Some((_, current)) = &mut self.current else { return Ok(false) };
        let Some(expected) = self.expected.get(&current.name) else { return Ok(false) };
        let is_complete = current.fill(device, expected, &mut self.copy, bytes)?;
        if is_complete {
            self.complete.insert(current.name.clone());
        }
        Ok(is_complete)
    }

    /// Prepares to receive `tensor`; `None` if the model does not need it.
    ///
    /// Errors: `bad-header` for a tensor that was received before.
    fn start(&mut self, tensor: &TensorInfo) -> Result<Option<Current>> {
        match self.complete.contains(short_name(&tensor.name)) {
            true => Err(Error::BadHeader(format!("tensor {} is there twice", tensor.name))),
            false => Ok(self.prepare(tensor)),
        }
    }

    fn prepare(&mut self, tensor: &TensorInfo) -> Option<Current> {
        let name = short_name(&tensor.name);
        let expected = self.expected.get(name)?;
        let row_length = usize::try_from(*expected.shape.last()?).ok()?;
        let n_rows = expected.shape.iter().rev().skip(1).product();
        let packers = match &expected.sink {
            Sink::Inputs(_) => vec![Packer::new()],
            Sink::Outputs(shards) => shards.iter().map(|_| Packer::new()).collect(),
            Sink::Linear(matrix, part) => vec![Packer::of_part(matrix, *part)],
            Sink::Vectors { .. } | Sink::Table(_) | Sink::ShardBiases(_) => Vec::new(),
        };
        let stored_in = expected.stored_in(self.precision);
        self.copy.begin(name, element(stored_in), &expected.shape);
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
            packers,
        })
    }
}

impl Current {
    /// Takes the next bytes; true once the tensor is complete.
    fn fill(
        &mut self,
        device: &Device,
        expected: &Expected,
        copy: &mut CopyWriter,
        mut bytes: &[u8],
    ) -> Result<bool> {
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
        // Row by row, so that the decoded numbers never take more memory than a few rows.
        while bytes.len() >= size {
            let want = (self.row_length - self.values.len()) * size;
            let n = want.min(bytes.len() / size * size);
            self.element.decode(&bytes[..n], &mut self.values);
            bytes = &bytes[n..];
            self.emit_full_row(device, expected, copy)?;
        }
        self.emit_full_row(device, expected, copy)?;
        self.cut.extend_from_slice(bytes);
        Ok(self.row as u64 == self.n_rows)
    }

    fn emit_full_row(
        &mut self,
        device: &Device,
        expected: &Expected,
        copy: &mut CopyWriter,
    ) -> Result<()> {
        if self.values.len() < self.row_length {
            return Ok(());
        }
        self.stored.clear();
        encode(&self.name, self.stored_in, &self.values, &mut self.stored)?;
        self.values.clear();
        copy.write(&self.stored);
        self.emit(device, expected);
        self.row += 1;
        Ok(())
    }

    /// Writes the stored row to the device.
    fn emit(&mut self, device: &Device, expected: &Expected) {
        let (row, stored) = (self.row, &self.stored[..]);
        match &expected.sink {
            Sink::Vectors { to, first, n, padded_bytes } => {
                for (place, piece) in (*first..).zip(stored.chunks(stored.len() / n)) {
                    device.write(to, place as u64 * padded_bytes, piece);
                }
            }
            Sink::Table(tensor) => {
                device.write(tensor, (row * pad4(self.row_length) * 4) as u64, stored);
            }
            Sink::Inputs(matrix) | Sink::Linear(matrix, _) => {
                self.packers[0].row(device, matrix, stored);
            }
            Sink::ShardBiases(shards) => {
                for shard in shards.iter() {
                    let (first, n) = (4 * shard.first_id, 4 * shard.matrix.n_out);
                    if let Some(bias) = &shard.bias {
                        device.write(bias, 0, &stored[first..first + n]);
                    }
                }
            }
            Sink::Outputs(shards) => {
                let i = shards.partition_point(|s| s.first_id <= row) - 1;
                self.packers[i].row(device, &shards[i].matrix, stored);
            }
        }
    }
}

/// The element type of a precision in a kept copy.
fn element(precision: Precision) -> Element {
    match precision {
        Precision::F16 => Element::F16,
        Precision::F32 => Element::F32,
    }
}

/// A tensor's name without the prefix of the model class, which only some files have.
pub(super) fn short_name(name: &str) -> &str {
    name.strip_prefix("transformer.").unwrap_or(name)
}
