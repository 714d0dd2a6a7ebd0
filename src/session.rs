//! Open, load, read: owns the device, the loaded model and the order in which calls run.

use std::cell::RefCell;
use std::rc::Rc;

use async_lock::{Mutex, MutexGuard};

use crate::atlas::Memo;
use crate::config::{Config, Family};
use crate::error::{Error, Result};
use crate::gpu::{Cancel, Gpu, Tensor};
use crate::kernels::{Kernels, Precision};
use crate::lens::{self, Depth, Extension, Lens, Line, Norm, Options, Room, Row, Traced};
use crate::model::{DEFAULT_SHARD_BYTES, Keeping, Loader, Model, Needs, Scratch, Stream, forward};
use crate::reading::{Reading, Track};
use crate::tokenizer::{Token, Tokenizer};

/// A model with its tokenizer, if one was given.
pub struct Loaded {
    /// The model.
    pub model: Model,
    /// Text ⇄ ids.
    pub tokenizer: Option<Tokenizer>,
    /// What the atlas remembers of it.
    pub memo: Memo,
}

impl Loaded {
    /// What is known of a token.
    ///
    /// Errors: `bad-token`.
    pub fn token(&self, id: u32) -> Result<Token> {
        let vocab_size = self.model.config.vocab_size;
        if id as usize >= vocab_size {
            return Err(Error::BadToken { id: id.into(), vocab_size });
        }
        Ok(self.tokenizer.as_ref().map_or_else(|| Token::unnamed(id), |t| t.token(id)))
    }

    /// The ids of a text.
    ///
    /// Errors: `no-tokenizer`, `bad-tokenizer`.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.as_ref().ok_or(Error::NoTokenizer)?.encode(text)
    }

    /// Errors: `empty`, `too-long`, `bad-token`.
    fn check_ids(&self, ids: &[u32]) -> Result<()> {
        let Config { n_ctx, vocab_size, .. } = self.model.config;
        if ids.is_empty() {
            return Err(Error::Empty);
        }
        if ids.len() > n_ctx {
            return Err(Error::TooLong { n_tokens: ids.len(), n_ctx });
        }
        match ids.iter().find(|&&id| id as usize >= vocab_size) {
            Some(&id) => Err(Error::BadToken { id: id.into(), vocab_size }),
            None => Ok(()),
        }
    }
}

/// A tokenizer as its files have it.
#[derive(Clone, Copy)]
pub enum TokenizerText<'a> {
    /// `tokenizer.json`.
    Json(&'a str),
    /// `vocab.json` and `merges.txt`, which mean what the family makes of them.
    Merges {
        /// Text of `vocab.json`.
        vocab: &'a str,
        /// Text of `merges.txt`.
        merges: &'a str,
    },
}

impl TokenizerText<'_> {
    /// Without a family, the vocabulary tells: only one over bytes writes a space as U+0120.
    ///
    /// Errors: `bad-tokenizer`.
    fn parse(self, family: Option<Family>) -> Result<Tokenizer> {
        let (vocab, merges) = match self {
            TokenizerText::Json(text) => return Tokenizer::parse(text),
            TokenizerText::Merges { vocab, merges } => (vocab, merges),
        };
        let has_spaces = || vocab.contains('\u{120}') || vocab.contains("\\u0120");
        match family {
            Some(Family::Ctrl) => Tokenizer::of_words(vocab, merges),
            None if !has_spaces() => Tokenizer::of_words(vocab, merges),
            Some(Family::Gpt2 | Family::GptNeo) | None => Tokenizer::of_bytes(vocab, merges),
        }
    }
}

/// What to load, apart from the weights' bytes.
pub struct Recipe<'a> {
    /// Text of `config.json`; only a part of a model can do without.
    pub config: Option<&'a str>,
    /// The tokenizer's files.
    pub tokenizer: Option<TokenizerText<'a>>,
    /// Storage of the 2-D weights.
    pub precision: Precision,
    /// Largest shard of the embedding. Units: bytes.
    pub shard_bytes: usize,
    /// Whether the model in use is let go of if the device has no room for both.
    pub release: bool,
    /// Whether files with only some of the tensors will do: for the atlas, which shows what it can.
    pub partial: bool,
}

impl<'a> Recipe<'a> {
    /// A recipe with f16 storage and shards that fit WebGPU's default limits.
    pub fn new(config: &'a str, tokenizer: Option<&'a str>) -> Recipe<'a> {
        Recipe {
            config: Some(config),
            tokenizer: tokenizer.map(TokenizerText::Json),
            precision: Precision::F16,
            shard_bytes: DEFAULT_SHARD_BYTES,
            release: false,
            partial: false,
        }
    }
}

/// A load under way.
pub struct Loading {
    /// Takes the bytes.
    pub loader: Loader,
    tokenizer: Option<Tokenizer>,
}

/// A reading together with the residual stream it came from, so that any token can be traced.
pub struct Lensed {
    /// The statistics.
    pub reading: Reading,
    loaded: Rc<Loaded>,
    stream: Stream,
    rows: Vec<Row>,
    /// What came out of the parts that the decoder borrowed, by row.
    ends: Vec<Tensor>,
    options: Options,
    ids: Vec<u32>,
}

impl Lensed {
    /// What is known of a token.
    ///
    /// Errors: `bad-token`.
    pub fn token(&self, id: u32) -> Result<Token> {
        self.loaded.token(id)
    }
}

/// Largest stream that is kept for the next reading to start from. Units: bytes.
const KEPT_BYTES: u64 = 256 << 20;

/// One device, at most one model, one reading at a time.
pub struct Session {
    gpu: Gpu,
    loaded: RefCell<Option<Rc<Loaded>>>,
    kernels: RefCell<Vec<(Precision, Rc<Kernels>)>>,
    /// The last reading: a text that begins like it is computed from the first difference on.
    last: RefCell<Option<Rc<Lensed>>>,
    turn: Mutex<()>,
    load_turn: Mutex<()>,
}

impl Session {
    /// Opens the device.
    ///
    /// Errors: `no-webgpu`, `no-adapter`.
    pub async fn open() -> Result<Session> {
        let gpu = Gpu::open().await?;
        Ok(Session {
            gpu,
            loaded: RefCell::default(),
            kernels: RefCell::default(),
            last: RefCell::default(),
            turn: Mutex::new(()),
            load_turn: Mutex::new(()),
        })
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Waits until every earlier call that needs the device is over. Hold the guard while working.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Waits until every earlier load is over. Readings go on beside a load: only its first and
    /// its last step wait for a [`Session::turn`] of their own.
    pub async fn load_turn(&self) -> MutexGuard<'_, ()> {
        self.load_turn.lock().await
    }

    /// The model in use.
    ///
    /// Errors: `not-found` before the first load.
    pub fn loaded(&self) -> Result<Rc<Loaded>> {
        self.loaded
            .borrow()
            .clone()
            .ok_or_else(|| Error::NotFound("no model is loaded yet; call load() first".into()))
    }

    /// Starts a load: push the bytes into `loading.loader`, then [`Session::install`] it.
    /// The model in use stays until then, unless the recipe lets go of it for lack of room.
    ///
    /// Errors: `bad-config`, `unsupported-model`, `bad-tokenizer`, `out-of-memory`, `device-lost`.
    pub async fn load(&self, recipe: &Recipe<'_>) -> Result<Loading> {
        let _turn = self.turn().await;
        let config = match recipe.config {
            None if recipe.partial => None,
            text => Some(Config::parse(text.unwrap_or_default())?),
        };
        let family = config.as_ref().map(|config| config.family);
        let tokenizer = recipe.tokenizer.map(|text| text.parse(family)).transpose()?;
        let precision = recipe.precision;
        let kernels = self.kernels(precision).await?;
        let start = async || {
            let (kernels, shard_bytes) = (kernels.clone(), recipe.shard_bytes);
            match config.clone() {
                Some(config) if !recipe.partial => {
                    Loader::new(&self.gpu, kernels, config, precision, shard_bytes).await
                }
                config => Ok(Loader::partial(kernels, config, precision, shard_bytes)),
            }
        };
        let mut loader = start().await;
        if matches!(loader, Err(Error::OutOfMemory(_))) && self.make_room(recipe.release) {
            self.gpu.settle().await?;
            loader = start().await;
        }
        Ok(Loading { loader: loader?, tokenizer })
    }

    /// Lets go of what is kept of the last text, and of the model if `release` says so; whether
    /// that was anything.
    fn make_room(&self, release: bool) -> bool {
        let kept_text = self.last.take().is_some();
        let model = release && self.loaded.take().is_some();
        kept_text || model
    }

    /// What a model of this config takes; with `trial`, whether the device has room for it and a
    /// reading beside what it holds now, found out by taking the room and giving it back.
    ///
    /// Errors: `bad-config`, `unsupported-model`, `device-lost`.
    pub async fn plan(&self, config: &str, precision: Precision, trial: bool) -> Result<Needs> {
        let config = Config::parse(config)?;
        let _turn = self.turn().await;
        let mut needs = Needs::of(&self.gpu, config, precision);
        if trial && needs.refusal.is_none() {
            needs.try_out(&self.gpu).await?;
        }
        Ok(needs)
    }

    /// The kernels of a precision, compiled at its first load.
    async fn kernels(&self, precision: Precision) -> Result<Rc<Kernels>> {
        let known = self.kernels.borrow().iter().find(|(p, _)| *p == precision).cloned();
        if let Some((_, kernels)) = known {
            return Ok(kernels);
        }
        let kernels = Rc::new(Kernels::new(&self.gpu, precision).await?);
        self.kernels.borrow_mut().push((precision, kernels.clone()));
        Ok(kernels)
    }

    /// Puts a completed load into use; tells what became of its copy.
    ///
    /// Errors: `missing-tensor`, `device-lost`.
    pub async fn install(&self, loading: Loading) -> Result<(Rc<Loaded>, Keeping)> {
        let (model, keeping) = loading.loader.finish(&self.gpu).await?;
        let _turn = self.turn().await;
        let loaded = Rc::new(Loaded { model, tokenizer: loading.tokenizer, memo: Memo::default() });
        self.loaded.replace(Some(loaded.clone()));
        self.last.take();
        Ok((loaded, keeping))
    }

    /// Reads token ids through the lens, block of positions by block.
    ///
    /// `on_block(start, end, reading)` gets each block as soon as its columns are filled in. What
    /// the text shares with the last one at its start is taken over, to the same bits: the
    /// residual stream always, the columns if the options are the same.
    ///
    /// Errors: `not-found`, `missing-tensor` of a part of a model, `empty`, `too-long`,
    /// `bad-token`, `bad-option`, `out-of-memory`, `aborted`, `device-lost`.
    pub async fn read(
        &self,
        ids: &[u32],
        options: &Options,
        cancel: &Cancel,
        mut on_block: impl FnMut(usize, usize, &Reading) -> Result<()>,
    ) -> Result<Rc<Lensed>> {
        cancel.check()?;
        self.gpu.check()?;
        let loaded = self.loaded()?;
        let model = loaded.model.whole()?;
        loaded.check_ids(ids)?;
        options.check(&model.config)?;
        let tokens = ids.iter().map(|&id| loaded.token(id)).collect::<Result<_>>()?;
        let decoder = lens::borrowed(&options.decoder, &model.config)?;
        let block = lens::block_positions(model).min(ids.len());
        let allocate = || {
            let (gpu, config) = (&self.gpu, &model.config);
            let stream = Stream::new(gpu, config, ids, options.depth != Depth::Blocks);
            let rows = lens::rows(config, &stream, options.depth, &decoder);
            let scratch = Scratch::new(gpu, config, block);
            let room = Room::new(gpu, model, options, rows.len(), block);
            let extension = (!decoder.is_empty())
                .then(|| Extension::new(gpu, model, decoder.clone(), rows.len(), ids.len(), block));
            Ok((stream, rows, scratch, room, extension))
        };
        let mut made = self.gpu.allocate("this text", allocate).await;
        if matches!(made, Err(Error::OutOfMemory(_))) && self.last.take().is_some() {
            // What was kept of the last text may have been what was missing.
            made = self.gpu.allocate("this text", allocate).await;
        }
        let (mut stream, rows, scratch, room, extension) = made?;
        let names = rows.iter().map(|row| row.name.clone()).collect();
        let is_model =
            options.norm == Norm::Affine && lens::completes(&model.config, &rows, &decoder);
        let mut reading = Reading::empty(tokens, names, options.top_k, &options.track, is_model);
        let mut rec = self.gpu.record(cancel);

        let mut computed = 0; // positions whose residual stream is there
        let mut read = 0; // positions whose columns are filled in
        if let Some((earlier, n)) = self.shared_prefix(&loaded, ids)
            && earlier.stream.has_halves == stream.has_halves
        {
            stream.copy_prefix(&mut rec, &earlier.stream, n);
            computed = n;
            // What the borrowed parts had seen is not kept, so their rows begin anew.
            if earlier.options == *options && extension.is_none() {
                // The last shared position may have another true next token now.
                read = n - 1;
                reading.copy_prefix(&earlier.reading, read);
            }
            if read > 0 {
                on_block(0, read, &reading)?;
            }
        }
        let lens = Lens {
            model,
            stream: &stream,
            rows: &rows,
            extension: extension.as_ref(),
            scratch: &scratch,
            room: &room,
            options,
            ids,
        };
        while read < ids.len() {
            let end = (read + block).min(ids.len());
            if computed < end {
                forward(&mut rec, model, &stream, &scratch, computed, end - computed).await?;
                computed = end;
            }
            lens.read_block(&mut rec, read, &mut reading).await?;
            cancel.check()?;
            on_block(read, end, &reading)?;
            read = end;
        }

        let ends = extension.map_or_else(Vec::new, Extension::into_ends);
        let kept_bytes = stream.bytes() + ends.iter().map(Tensor::bytes).sum::<u64>();
        let is_kept = kept_bytes <= KEPT_BYTES;
        if !is_kept {
            stream.drop_cache();
        }
        let (options, ids, loaded) = (options.clone(), ids.to_vec(), loaded.clone());
        let lensed = Rc::new(Lensed { reading, loaded, stream, rows, ends, options, ids });
        self.last.replace(is_kept.then(|| lensed.clone()));
        Ok(lensed)
    }

    /// The last reading, if this one begins like it, and how many positions they share.
    fn shared_prefix(&self, loaded: &Rc<Loaded>, ids: &[u32]) -> Option<(Rc<Lensed>, usize)> {
        let last = self.last.borrow().clone()?;
        let n = last.ids.iter().zip(ids).take_while(|(a, b)| a == b).count();
        (Rc::ptr_eq(&last.loaded, loaded) && n > 0).then_some((last, n))
    }

    /// Any tokens along a line of cells of an earlier reading, from its kept residual stream.
    ///
    /// Errors: `bad-option`, `bad-token`, `empty`, `out-of-memory`, `aborted`, `device-lost`.
    pub async fn trace(
        &self,
        lensed: &Lensed,
        ids: &[u32],
        line: Line,
        cancel: &Cancel,
    ) -> Result<Vec<Track>> {
        self.gpu.check()?;
        let Lensed { loaded, stream, rows, ends, options, .. } = lensed;
        let from = Traced { model: &loaded.model, stream, rows, ends, norm: options.norm };
        lens::trace(&self.gpu, &from, ids, line, cancel).await
    }
}
