//! Activations of readings that are not kept: one block is run again.

use std::cell::RefCell;
use std::rc::Rc;

use crate::device::{Device, Recorder, Tensor};
use crate::error::Result;
use crate::kernels::pad4;
use crate::model::{Edits, Model, Pass, Scratch};

use super::Lensed;

/// Positions that are captured at a time.
const BLOCK: usize = 64;

/// Activations of one block of a reading. Shapes: \[T, C4\], \[T, n_inner4\], \[T, C4\].
pub(super) struct Captured {
    /// What the output matrix of attention multiplies.
    pub(super) heads: Rc<Tensor>,
    /// The hidden layer.
    pub(super) hidden: Rc<Tensor>,
    /// The stream between the halves.
    pub(super) mid: Rc<Tensor>,
}

/// Activations that have been captured, and the tensors of the commands that do so.
pub(super) struct Captures<'a> {
    model: &'a Model,
    /// The commands; nothing is there before they are done.
    pub(super) rec: Recorder<'a>,
    /// By the key of the reading and the block.
    captured: Vec<(u32, usize, Rc<Captured>)>,
    /// What recorded commands use; it lives until they are done.
    held: RefCell<Vec<Rc<Tensor>>>,
    scratch: Option<Rc<Scratch>>,
}

impl<'a> Captures<'a> {
    pub(super) fn new(model: &'a Model, rec: Recorder<'a>) -> Captures<'a> {
        let (captured, held, scratch) = Default::default();
        Captures { model, rec, captured, held, scratch }
    }

    /// Releases what is captured. The commands must be done.
    pub(super) fn clear(&mut self) {
        self.captured.clear();
        self.held.borrow_mut().clear();
    }

    /// Runs one block of a reading again and keeps its activations.
    pub(super) fn of(&mut self, reading: &Lensed, i: usize) -> Result<Rc<Captured>> {
        let mut known = self.captured.iter();
        if let Some((.., captured)) = known.find(|(key, at, _)| (*key, *at) == (reading.key, i)) {
            return Ok(captured.clone());
        }
        let (model, t) = (self.model, reading.ids.len());
        let config = &model.config;
        let [heads, mid, post, keys, values] = [(); 5].map(|()| self.tensor(t, config.n_embd));
        let hidden = self.tensor(t, config.n_inner);
        let scratch = match &self.scratch {
            Some(scratch) => scratch.clone(),
            None => {
                let n_rows = BLOCK.min(config.n_ctx);
                Rc::new(Scratch::new(self.rec.device(), config, n_rows))
            }
        };
        self.scratch = Some(scratch.clone());
        let block = &model.whole()?.blocks[i];
        for start in (0..t).step_by(BLOCK) {
            let n = BLOCK.min(t - start);
            let pass = Pass {
                model,
                scratch: &scratch,
                edits: &reading.resolved.edits,
                start,
                n,
                n_runs: 1,
                is_alone: false,
            };
            let [x, mid, post] =
                [reading.stream.resid_pre(i), &mid, &post].map(|tensor| pass.positions_of(tensor));
            let rec = &mut self.rec;
            pass.attn(rec, (i, block), x, &keys, &values, mid)?;
            keep(rec, scratch.mixed(), &heads, start, n, config.n_embd);
            pass.mlp(rec, (i, block), mid, post)?;
            keep(rec, scratch.hidden(), &hidden, start, n, config.n_inner);
        }
        let captured = Rc::new(Captured { heads, hidden, mid });
        self.captured.push((reading.key, i, captured.clone()));
        Ok(captured)
    }

    /// A tensor that lives until the commands are done.
    pub(super) fn tensor(&self, rows: usize, width: usize) -> Rc<Tensor> {
        let tensor = self.rec.device().tensor("activations", (4 * rows * pad4(width)) as u64);
        let tensor = Rc::new(tensor);
        self.held.borrow_mut().push(tensor.clone());
        tensor
    }
}

/// What one position of a reading is run again with.
pub(super) struct Again<'a> {
    model: &'a Model,
    lensed: &'a Lensed,
    position: usize,
    pub(super) scratch: Scratch,
    /// Keys and values of one block, of a reading that does not keep them. Shapes: \[position + 1, C4\] each.
    spare: Option<[Tensor; 2]>,
}

impl<'a> Again<'a> {
    pub(super) fn new(
        device: &Device,
        model: &'a Model,
        lensed: &'a Lensed,
        position: usize,
    ) -> Again<'a> {
        let (config, n) = (&model.config, position + 1);
        let is_kept = lensed.stream.n_cached() >= n;
        let bytes = (4 * n * pad4(config.n_embd)) as u64;
        let spare = || ["keys", "values"].map(|label| device.tensor(label, bytes));
        let scratch = Scratch::new(device, config, if is_kept { 1 } else { n.min(BLOCK) });
        Again { model, lensed, position, scratch, spare: (!is_kept).then(spare) }
    }

    /// A pass over the position.
    pub(super) fn pass<'p>(&'p self, edits: &'p Edits) -> Pass<'p> {
        let Again { model, ref scratch, position: start, .. } = *self;
        Pass { model, scratch, edits, start, n: 1, n_runs: 1, is_alone: false }
    }

    /// The keys and values of block `i` up to the position, those of the reading or computed again.
    pub(super) fn cache(&self, rec: &mut Recorder<'_>, i: usize) -> Result<[&Tensor; 2]> {
        let stream = &self.lensed.stream;
        let Some([keys, values]) = &self.spare else { return Ok(stream.cache(i)) };
        let all = Pass { start: 0, n: self.position, ..self.pass(&self.lensed.resolved.edits) };
        let block = &self.model.whole()?.blocks[i];
        all.recall(rec, (i, block), stream, [keys, values])?;
        Ok([keys, values])
    }
}

/// Keeps rows of a scratch tensor.
fn keep(rec: &mut Recorder<'_>, from: &Tensor, to: &Tensor, start: usize, n: usize, width: usize) {
    let row_bytes = 4 * pad4(width) as u64;
    rec.copy(from, 0, to, start as u64 * row_bytes, n as u64 * row_bytes);
}
