//! One reading: checks, tensors, reuse of a reading still kept, blocks of positions, the stream kept for the next one.

use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::Config;
use crate::device::{Backend, Cancel, Recorder};
use crate::error::{Error, Result};
use crate::lens::{
    self, Block, BorrowedHalf, Decoder, Depth, Extension, Helpers, Kept, Lens, Norm, Options, Row,
    Workspace,
};
use crate::model::{Model, Pass, Scratch, Stream, complete, forward};
use crate::reading::{Reading, Statistic};

use super::edits::{self, Edit, Resolved};
use super::{Loaded, Session, Vocabulary};

/// The newest readings that are still there, among which is looked for what a run shares.
const RECENT: usize = 8;
/// Largest stream that is kept for the next reading. Units: bytes.
const KEPT_BYTES: u64 = 512 << 20;
/// Least and most keys and values that a reading keeps on a GPU, between them an eighth of the weights in f16. Those of longer
/// texts follow from the taps. Units: bytes.
const CACHE_BYTES: [u64; 2] = [64 << 20, 192 << 20];

/// Of the next reading.
static NEXT_KEY: AtomicU32 = AtomicU32::new(1);

/// A reading with the residual stream that it was made from. It does not keep the model on the device.
pub struct Lensed {
    /// Tells it from every other one.
    pub key: u32,
    /// The statistics.
    pub reading: Reading,
    /// The tokens of the model.
    pub vocabulary: Rc<Vocabulary>,
    pub(super) loaded: Weak<Loaded>,
    pub(super) stream: Stream,
    pub(super) rows: Vec<Row>,
    /// What the borrowed halves made of the rows.
    pub(super) extension: Option<Extension>,
    pub(super) options: Options,
    pub(super) ids: Vec<u32>,
    pub(super) resolved: Resolved,
    /// Whether no other reading starts from it.
    is_aside: bool,
}

impl Lensed {
    /// The edits of the run, each as JSON.
    pub fn edits(&self) -> &[String] {
        &self.resolved.described
    }

    /// The decoder that it was read with.
    ///
    /// Errors: `missing-tensor` of a partial model.
    pub(super) fn decoder<'a>(&self, model: &'a Model) -> Result<Decoder<'a>> {
        Decoder::edited(model, self.options.norm, &self.resolved.edits.weights)
    }

    /// What is kept of it, under the decoder that it was read with.
    pub(super) fn kept<'a>(&'a self, decoder: &'a Decoder<'a>) -> Kept<'a> {
        let ends = self.extension.as_ref().map_or(&[][..], Extension::ends);
        let lens = self.options.lens.as_deref();
        Kept { decoder, stream: &self.stream, rows: &self.rows, ends, lens }
    }

    /// Every position that both readings have, as pairs.
    pub fn shared_positions(&self, other: &Lensed) -> Vec<(usize, usize)> {
        (0..self.ids.len().min(other.ids.len())).map(|i| (i, i)).collect()
    }
}

/// While it is there, readings are made aside.
pub struct Aside<'a>(&'a Session);

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.0.is_aside.set(false);
    }
}

/// Called with each block of positions whose columns are filled in, and the reading so far.
type OnBlock<'a> = dyn FnMut(usize, usize, &Reading) -> Result<()> + 'a;

/// The tensors of one reading.
pub(super) struct Tensors {
    pub(super) stream: Stream,
    pub(super) rows: Vec<Row>,
    pub(super) scratch: Scratch,
    pub(super) workspace: Workspace,
    extension: Option<Extension>,
    /// Positions that the forward pass computes at once.
    n_forward: usize,
}

/// How many positions are reused from a reading that is kept.
#[derive(Default)]
struct Reused {
    /// Positions that are copied, even if only those of some blocks can stay.
    copied: usize,
    /// Positions that the forward pass need not compute.
    computed: usize,
    /// Positions whose columns are copied.
    read: usize,
    /// The first block that is computed anew at the other positions.
    first_block: usize,
}

/// A reading that is kept, and what of it this run shares.
struct Known {
    lensed: Rc<Lensed>,
    /// Positions up to which all is the same.
    same: usize,
    /// Tokens that are the same.
    n: usize,
    /// The first block that may differ at the positions behind them.
    first_block: usize,
    /// Whether its columns were read by the same decoder.
    has_same_decoder: bool,
}

impl Session {
    /// Reads token ids through the lens, block of positions by block.
    ///
    /// `on_block(start, end, reading)` is called for each block once its columns are filled in. What the
    /// text shares with one still kept at its start is copied, with the same bits: the residual stream
    /// always, the columns if the options are the same.
    ///
    /// Errors: `not-found`, `missing-tensor` of a partial model, `empty`, `too-long`, `bad-token`,
    /// `bad-option`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
    pub async fn read(
        &self,
        ids: &[u32],
        options: &Options,
        cancel: &Cancel,
        on_block: impl FnMut(usize, usize, &Reading) -> Result<()>,
    ) -> Result<Rc<Lensed>> {
        self.read_edited(ids, options, &[], cancel, on_block).await
    }

    /// The same of a run that is edited: computed anew is only what the edits change, from the reading kept that differs
    /// least.
    ///
    /// Errors: those of [`Session::read`], `bad-option` for edits of what does not exist, and `not-found` for readings of
    /// a model that has been replaced.
    pub async fn read_edited(
        &self,
        ids: &[u32],
        options: &Options,
        edits: &[Edit],
        cancel: &Cancel,
        mut on_block: impl FnMut(usize, usize, &Reading) -> Result<()>,
    ) -> Result<Rc<Lensed>> {
        self.read_blocks(ids, options, edits, cancel, &mut on_block).await
    }

    /// The same, compiled once for all callbacks.
    async fn read_blocks(
        &self,
        ids: &[u32],
        options: &Options,
        edits: &[Edit],
        cancel: &Cancel,
        on_block: &mut OnBlock<'_>,
    ) -> Result<Rc<Lensed>> {
        cancel.check()?;
        self.device.check()?;
        let loaded = self.loaded()?;
        loaded.model.whole()?;
        check_ids(&loaded, ids)?;
        options.check(&loaded.model.config)?;
        let halves = lens::borrowed(&options.decoder, &loaded.model.config)?;
        let resolve = || edits::resolve(&self.device, &loaded, ids.len(), edits, cancel);
        let mut resolved = resolve().await;
        if matches!(resolved, Err(Error::OutOfMemory(_))) && self.last.take().is_some() {
            resolved = resolve().await;
        }
        let resolved = resolved?;
        let edits = &resolved.edits;
        if edits.act_in(&halves) {
            let expected = "places that the option decoder does not borrow";
            return Err(Error::option("edits", expected, format!("decoder {:?}", options.decoder)));
        }
        let decoder = Decoder::edited(&loaded.model, options.norm, &edits.weights)?;

        let tensors = self.tensors(&decoder, ids, options, &halves).await?;
        let Tensors { stream, rows, scratch, workspace, extension, n_forward } = tensors;
        let mut reading = empty_reading(&loaded, ids, options, &rows, &halves)?;
        let mut rec = self.device.record("this reading", cancel);
        // Kept until what is copied from it has been submitted.
        let known = self.closest(&loaded, ids, &resolved, options, stream.has_halves);
        let known = known.as_ref();
        let mut done = reuse(known, &mut rec, &stream, options, extension.as_ref(), &mut reading);
        if done.read > 0 {
            on_block(0, done.read, &reading)?;
        }

        // Helpers have the model's own decoder.
        let is_stream = options.lens.as_ref().is_none_or(|lens| lens.gives_stream());
        let helpers = match edits.weights.change_decoder() || !is_stream {
            true => Helpers::default(),
            false => self.helpers.borrow().clone(),
        };
        let of_weights = edits.of_weights();
        let lens = Lens {
            decoder: &decoder,
            stream: &stream,
            rows: &rows,
            extension: extension.as_ref(),
            scratch: &scratch,
            workspace: &workspace,
            options,
            ids,
            helpers: &helpers,
            edits: &of_weights,
        };
        let (model, scratch) = (&loaded.model, &scratch);
        let pass = |start, n| Pass { model, scratch, edits, start, n, n_runs: 1, is_alone: false };
        complete(&mut rec, &pass(0, done.copied), &stream).await?;
        let overlaps = loaded.model.kernels.forms().n_forward().is_some();
        let mut before = None;
        while done.read < ids.len() {
            let end = (done.read + workspace.n_positions).min(ids.len());
            while done.computed < end {
                let start = done.computed;
                let most = if stream.keeps_cache() { n_forward } else { ids.len() };
                done.computed = (start + most).min(ids.len());
                let pass = pass(start, done.computed - start);
                forward(&mut rec, &pass, &stream, done.first_block).await?;
            }
            let block = lens.begin_block(&mut rec, done.read).await?;
            done.read = end;
            // A GPU computes the next block while the one before is read back; where a block takes long, it is shown first.
            let ready = if overlaps { before.replace(block) } else { Some(block) };
            if let Some(block) = ready {
                finish(block, &loaded.model, &mut reading, cancel, on_block).await?;
            }
        }
        if let Some(block) = before {
            finish(block, &loaded.model, &mut reading, cancel, on_block).await?;
        }

        let (options, ids) = (options.clone(), ids.to_vec());
        let vocabulary = loaded.vocabulary.clone();
        let loaded = Rc::downgrade(&loaded);
        Ok(self.keep_last(Lensed {
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            reading,
            vocabulary,
            loaded,
            stream,
            rows,
            extension,
            options,
            ids,
            resolved,
            is_aside: self.is_aside.get(),
        }))
    }

    /// A reading that somebody still keeps.
    pub fn reading(&self, key: u32) -> Option<Rc<Lensed>> {
        let readings = self.readings.borrow();
        readings.iter().filter_map(Weak::upgrade).find(|lensed| lensed.key == key)
    }

    /// A reading that is made before the answer is dropped is not the one from which the next one starts.
    pub fn aside(&self) -> Aside<'_> {
        self.is_aside.set(true);
        Aside(self)
    }

    /// The tensors of a reading. If memory is short, the stream of the last reading is released.
    pub(super) async fn tensors(
        &self,
        decoder: &Decoder<'_>,
        ids: &[u32],
        options: &Options,
        halves: &[BorrowedHalf],
    ) -> Result<Tensors> {
        let (device, model) = (&self.device, decoder.model());
        let allocate = || {
            let (config, has_halves) = (&model.config, options.depth != Depth::Blocks);
            let stream = Stream::new(device, config, ids, has_halves, self.cache_limit(config));
            let rows = lens::rows(&model.config, &stream, options.depth, halves);
            let most = lens::block_positions(decoder, rows.len());
            // Blocks of the same length, so that the last one is not short.
            let block = ids.len().div_ceil(ids.len().div_ceil(most));
            let n_forward = model.kernels.forms().n_forward().unwrap_or(lens::BLOCK).min(ids.len());
            let extension = (!halves.is_empty()).then(|| {
                Extension::new(device, model, halves.to_vec(), rows.len(), ids.len(), block)
            });
            let scratch = Scratch::new(device, &model.config, block.max(n_forward));
            let workspace = Workspace::new(device, decoder, options, rows.len(), block);
            Ok(Tensors { stream, rows, scratch, workspace, extension, n_forward })
        };
        let made = device.allocate("this text", allocate).await;
        if matches!(made, Err(Error::OutOfMemory(_))) && self.last.take().is_some() {
            return device.allocate("this text", allocate).await;
        }
        made
    }

    /// Of the readings that are kept, the one of which most can be copied.
    fn closest(
        &self,
        loaded: &Rc<Loaded>,
        ids: &[u32],
        resolved: &Resolved,
        options: &Options,
        has_halves: bool,
    ) -> Option<Known> {
        let n_layer = loaded.model.config.n_layer;
        let known = |lensed: Rc<Lensed>| {
            let is_same = std::ptr::eq(lensed.loaded.as_ptr(), Rc::as_ptr(loaded));
            let has_taps = lensed.stream.has_halves == has_halves;
            let is_same = is_same && !lensed.is_aside;
            let n = lensed.ids.iter().zip(ids).take_while(|(a, b)| a == b).count();
            let (block, position) = resolved.differs_from(&lensed.resolved);
            // Another text differs from its first block on.
            let is_whole = n == ids.len();
            let first_block = if is_whole { block.min(n_layer) } else { 0 };
            let same = n.min(position);
            let has_same_decoder = resolved.has_decoder_of(&lensed.resolved);
            (is_same && has_taps && (same > 0 || first_block > 0)).then_some(Known {
                lensed,
                same,
                n,
                first_block,
                has_same_decoder,
            })
        };
        let readings = self.readings.borrow();
        let newest = readings.iter().rev().filter_map(Weak::upgrade).take(RECENT);
        // Blocks and positions that are copied; of equal ones one whose columns can be copied too, then the newest.
        let copied =
            |known: &Known| known.same * n_layer + (ids.len() - known.same) * known.first_block;
        let has_columns = |known: &Known| {
            let extension = known.lensed.extension.as_ref();
            known.lensed.options == *options && extension.is_none_or(Extension::has_cache)
        };
        let newest: Vec<_> = newest.filter_map(known).collect();
        newest.into_iter().rev().max_by_key(|known| (copied(known), has_columns(known)))
    }

    /// Largest keys and values that a reading keeps. A CPU, whose first columns are to be shown before the whole text has
    /// passed all blocks, keeps all. Units: bytes.
    fn cache_limit(&self, config: &Config) -> u64 {
        let [least, most] = CACHE_BYTES;
        let suits = match self.device.backend() {
            Backend::Cpu => u64::MAX,
            Backend::WebGpu => (config.parameters() / 4).clamp(least, most),
        };
        self.cache_limit.get().unwrap_or(suits)
    }

    /// Lets the readings from now on keep keys and values of at most so many bytes; `None` for what suits the model.
    pub fn limit_cache(&self, bytes: Option<u64>) {
        self.cache_limit.set(bytes);
    }

    /// Keeps a reading for the next one, if it is not too large; else releases its keys and values.
    fn keep_last(&self, mut lensed: Lensed) -> Rc<Lensed> {
        lensed.stream.finish();
        let stream_bytes = lensed.stream.bytes() + lensed.resolved.edits.bytes();
        let mut extension_bytes = 0;
        if let Some(extension) = &mut lensed.extension {
            extension.finish();
            // Without its keys and values the borrowed halves are run from the start.
            if stream_bytes + extension.bytes() > KEPT_BYTES {
                extension.drop_cache();
            }
            extension_bytes = extension.bytes();
        }
        let is_kept = stream_bytes + extension_bytes <= KEPT_BYTES;
        if !is_kept {
            lensed.stream.drop_cache();
        }
        let lensed = Rc::new(lensed);
        let mut readings = self.readings.borrow_mut();
        readings.retain(|lensed| lensed.strong_count() > 0);
        readings.push(Rc::downgrade(&lensed));
        // The borrowed halves of one that was made aside, or of the one before, are not needed any more.
        let replaced = match self.is_aside.get() {
            true => Some(lensed.clone()),
            false => self.last.replace(is_kept.then(|| lensed.clone())),
        };
        if let Some(extension) = replaced.as_ref().and_then(|lensed| lensed.extension.as_ref()) {
            extension.drop_cache();
        }
        lensed
    }
}

/// Errors: `empty`, `too-long`, `bad-token`.
pub(super) fn check_ids(loaded: &Loaded, ids: &[u32]) -> Result<()> {
    let n_ctx = loaded.model.config.n_ctx;
    if ids.is_empty() {
        return Err(Error::Empty);
    }
    if ids.len() > n_ctx {
        return Err(Error::TooLong { n_tokens: ids.len(), n_ctx });
    }
    ids.iter().try_for_each(|&id| loaded.vocabulary.check(id))
}

/// Largest size of the numbers of a reading, in the memory of the CPU. Units: bytes.
const MAX_RESULTS: u64 = 512 << 20;

/// Numbers of one cell of a reading.
fn numbers(options: &Options) -> usize {
    Statistic::ALL.len() + 2 * options.top_k + 3 * options.track.len()
}

/// Errors: `out-of-memory` for more numbers than fit [`MAX_RESULTS`].
pub(super) fn check_results(n_rows: usize, n_columns: usize, numbers: usize) -> Result<()> {
    let sizes = [n_rows, n_columns, numbers, 4].map(|n| n as u64);
    let bytes = sizes.into_iter().fold(1, u64::saturating_mul);
    match bytes <= MAX_RESULTS {
        true => Ok(()),
        false => Err(Error::OutOfMemory(format!(
            "the results: {n_columns} columns × {n_rows} rows × {numbers} numbers"
        ))),
    }
}

pub(super) fn empty_reading(
    loaded: &Loaded,
    ids: &[u32],
    options: &Options,
    rows: &[Row],
    halves: &[BorrowedHalf],
) -> Result<Reading> {
    let config: &Config = &loaded.model.config;
    let tokens = ids.iter().map(|&id| loaded.vocabulary.token(id)).collect::<Result<_>>()?;
    let names = rows.iter().map(|row| row.name.clone()).collect();
    let is_mapped =
        |row: &Row| options.lens.as_ref().is_some_and(|lens| lens.map(&row.name).is_some());
    let is_model = options.norm == Norm::Affine
        && lens::completes(config, rows, halves)
        && !rows.last().is_some_and(is_mapped);
    check_results(rows.len(), ids.len(), numbers(options))?;
    Ok(Reading::empty(tokens, names, options.top_k, &options.track, is_model))
}

/// Waits for a block, fills its columns and passes it on.
async fn finish(
    block: Block<'_>,
    model: &Model,
    reading: &mut Reading,
    cancel: &Cancel,
    on_block: &mut OnBlock<'_>,
) -> Result<()> {
    let positions = block.positions();
    block.finish(model, reading).await?;
    cancel.check()?;
    on_block(positions.start, positions.end, reading)
}

/// Copies what a run shares with a known one: the stream, and the columns if they would be the same.
fn reuse(
    known: Option<&Known>,
    rec: &mut Recorder<'_>,
    stream: &Stream,
    options: &Options,
    extension: Option<&Extension>,
    reading: &mut Reading,
) -> Reused {
    let Some(&Known { ref lensed, same, n, first_block, has_same_decoder }) = known else {
        return Reused::default();
    };
    // From its first block on, the rest is computed anew.
    let copied = if first_block > 0 { n } else { same };
    stream.copy_prefix(rec, &lensed.stream, copied);
    let computed = Reused { copied, computed: same, read: 0, first_block };
    if lensed.options != *options || !has_same_decoder || same == 0 {
        return computed;
    }
    if let Some(extension) = extension {
        let earlier = lensed.extension.as_ref().filter(|_| same == n);
        let is_there = |earlier| extension.copy_prefix(rec, earlier, n, stream.n_tokens);
        if !earlier.is_some_and(is_there) {
            return computed;
        }
    }
    // The last shared position may have another true next token now.
    let read = if same < n { same } else { n - 1 };
    reading.copy_prefix(&lensed.reading, read);
    Reused { read, ..computed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_reading_are_bounded() {
        let options = Options { top_k: 20, track: vec![0; 64], ..Options::default() };
        let numbers = numbers(&options);
        // GPT-2 XL with half-blocks and everything that one can ask for.
        assert_eq!(check_results(97, 1024, numbers), Ok(()));
        // The largest numbers of blocks and positions that a config may have.
        let result = check_results(2049, 65_536, numbers);
        assert_eq!(result.map_err(|e| e.code()), Err("out-of-memory"));
        let result = check_results(usize::MAX, usize::MAX, numbers);
        assert_eq!(result.map_err(|e| e.code()), Err("out-of-memory"));
    }
}
