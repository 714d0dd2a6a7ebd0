//! Open, load, read: owns the device, the loaded model and the order in which calls run.

mod alone;
mod attribution;
mod capture;
mod check;
mod corpus;
mod description;
mod edits;
mod fit;
mod lens;
mod lock;
mod memory;
mod probe;
mod read;
mod surgery;
mod sweep;
mod tune;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};

use crate::atlas::Memo;
use crate::checkpoint::{PartialCopy, Position, Store};
use crate::config::Config;
use crate::device::{Cancel, Device, Verdict};
use crate::error::{Error, Result};
use crate::kernels::{Kernels, Precision, Shard};
use crate::lens::{Comparison, Folded, Helpers, Line, Pairs, SetScores, Share};
use crate::model::{
    CopyOutcome, DEFAULT_SHARD_BYTES, DecoderCopy, Loader, Model, Piece, Reclaim, Requirements,
    RestoreWatch,
};
use crate::reading::Track;
use crate::tokenizer::{Token, Tokenizer, TokenizerFiles};

use lock::FairLock;

pub use alone::Alone;
pub use attribution::{Attribution, Promoted};
pub use check::{Checked, TOLERANCE};
pub use corpus::{Corpus, CorpusOptions, CorpusRow, Mean};
pub use edits::{Edit, How, Place, Source};
pub use fit::{FitRequest, Target};
pub use lens::{Card, OpenLens};
pub use lock::Guard;
pub use memory::MemoryRequest;
pub use probe::Recovered;
pub use read::Lensed;
pub use sweep::{Sweep, SweepRequest, Swept};
pub use tune::Tuning;

use read::check_results;

/// The tokens of a model. Readings share it; it holds no memory of the device.
pub struct Vocabulary {
    tokenizer: Option<Tokenizer>,
    vocab_size: usize,
}

impl Vocabulary {
    /// The token of an id.
    ///
    /// Errors: `bad-token`.
    pub fn token(&self, id: u32) -> Result<Token> {
        self.check(id)?;
        Ok(self.tokenizer.as_ref().map_or_else(|| Token::unnamed(id), |t| t.token(id)))
    }

    /// The ids of a text.
    ///
    /// Errors: `no-tokenizer`, `bad-tokenizer`, `bad-token` for an added token that the model does not have.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let ids = self.tokenizer.as_ref().ok_or(Error::NoTokenizer)?.encode(text)?;
        // A partial model may not know the size of its vocabulary.
        if self.vocab_size > 0 {
            ids.iter().try_for_each(|&id| self.check(id))?;
        }
        Ok(ids)
    }

    /// Errors: `bad-token`.
    fn check(&self, id: u32) -> Result<()> {
        let vocab_size = self.vocab_size;
        match (id as usize) < vocab_size {
            true => Ok(()),
            false => Err(Error::BadToken { id: id.into(), vocab_size }),
        }
    }
}

/// A model with its tokens.
pub struct Loaded {
    /// The model.
    pub model: Model,
    /// Its tokens.
    pub vocabulary: Rc<Vocabulary>,
    /// The eigenproblem of its embedding, once solved.
    pub memo: Memo,
    /// The mean row of the unembedding and the mean bias of the logits, once computed.
    mean_token: OnceCell<(Vec<f64>, f64)>,
    /// The embedding with biases by which the largest logit is the nearest row, once computed.
    nearest: OnceCell<Vec<Shard>>,
}

/// What to load, apart from the bytes of the weights.
pub struct LoadRequest<'a> {
    /// Text of `config.json`; optional for a partial model.
    pub config: Option<&'a str>,
    /// The tokenizer's files.
    pub tokenizer: Option<TokenizerFiles<'a>>,
    /// Storage of the 2-D weights.
    pub precision: Precision,
    /// Largest shard of the embedding. Units: bytes.
    pub shard_bytes: usize,
    /// Whether the model in use is released if the device has too little memory for both.
    pub release: bool,
    /// Whether files with only some of the tensors are accepted, for the atlas.
    pub partial: bool,
    /// Number of files.
    pub n_files: usize,
    /// Length of all files together, if it is known. Units: bytes.
    pub total_bytes: Option<u64>,
}

impl<'a> LoadRequest<'a> {
    /// One file, stored in f16, with shards that fit WebGPU's default limits.
    pub fn new(config: &'a str, tokenizer: Option<&'a str>) -> LoadRequest<'a> {
        LoadRequest {
            config: Some(config),
            tokenizer: tokenizer.map(TokenizerFiles::Json),
            precision: Precision::F16,
            shard_bytes: DEFAULT_SHARD_BYTES,
            release: false,
            partial: false,
            n_files: 1,
            total_bytes: None,
        }
    }
}

impl LoadRequest<'_> {
    /// Parses config and tokenizer, which takes time and no device.
    ///
    /// Errors: `bad-config`, `unsupported-model`, `bad-tokenizer`.
    pub fn parse(&self) -> Result<ParsedRequest> {
        let LoadRequest { precision, shard_bytes, release, partial, n_files, total_bytes, .. } =
            *self;
        let config = match self.config {
            None if partial => None,
            text => Some(Config::parse(text.unwrap_or_default())?),
        };
        let family = config.as_ref().map(|config| config.family);
        let vocab_size = config.as_ref().map(|config| config.vocab_size);
        let parse = |files: TokenizerFiles<'_>| files.parse(family, vocab_size);
        let tokenizer = self.tokenizer.map(parse).transpose()?;
        Ok(ParsedRequest {
            config,
            tokenizer,
            precision,
            shard_bytes,
            release,
            partial,
            n_files,
            total_bytes,
        })
    }
}

/// A [`LoadRequest`] with config and tokenizer parsed.
pub struct ParsedRequest {
    config: Option<Config>,
    tokenizer: Option<Tokenizer>,
    precision: Precision,
    shard_bytes: usize,
    release: bool,
    partial: bool,
    n_files: usize,
    total_bytes: Option<u64>,
}

/// A load in progress.
pub struct Loading {
    /// Receives the bytes. Push them with [`Session::push`], which can release memory for the load.
    pub loader: Loader,
    tokenizer: Option<Tokenizer>,
    release: bool,
    cancel: Cancel,
    /// The kernels, while they are compiled and the model comes in.
    compiling: Option<Compiling>,
}

impl Loading {
    /// What also stops the choice of kernels, before the model is in use.
    pub fn stop_by(&mut self, cancel: &Cancel) {
        self.cancel = cancel.clone();
    }
}

/// Kernels on which the device has not answered.
struct Compiling {
    precision: Precision,
    kernels: Rc<Kernels>,
    verdict: Verdict,
}

/// One device, at most one model, one reading at a time.
pub struct Session {
    device: Device,
    loaded: RefCell<Option<Rc<Loaded>>>,
    kernels: RefCell<Vec<(Precision, Rc<Kernels>)>>,
    /// The last reading, which stays: a text that begins like it is computed from the first difference on.
    last: RefCell<Option<Rc<Lensed>>>,
    /// All readings that somebody may keep, in order.
    readings: RefCell<Vec<Weak<Lensed>>>,
    /// Lenses that somebody keeps.
    lenses: RefCell<Vec<Weak<OpenLens>>>,
    /// Other engines that have the decoder of the model in use.
    helpers: RefCell<Helpers>,
    /// A decoder that is being received.
    receiving: RefCell<Option<DecoderCopy>>,
    device_lock: FairLock,
    load_lock: FairLock,
    tuning: Cell<Tuning>,
    /// Whether the last reading stays the one from which the next one starts.
    is_aside: Cell<bool>,
    /// Set by [`Session::limit_cache`].
    cache_limit: Cell<Option<u64>>,
}

/// How often a load waits for calls that still hold the model that it released.
const RELEASES: usize = 16;

/// Releases memory for a load.
struct ForLoad<'a> {
    session: &'a Session,
    release: bool,
}

impl Reclaim for ForLoad<'_> {
    async fn reclaim(&self) -> Result<bool> {
        let guard = self.session.lock().await;
        let had_text = self.session.last.take().is_some();
        let taken = if self.release { self.session.loaded.take() } else { None };
        let model = taken.as_ref().map(Rc::downgrade).unwrap_or_default();
        let had_model = taken.is_some();
        drop((taken, guard));
        // A fit, or a question to the atlas, that waits for the lock ends once it sees that the model is gone.
        for _ in 0..RELEASES {
            if model.strong_count() == 0 {
                break;
            }
            drop(self.session.lock().await);
            self.session.device.idle().await?;
        }
        let _guard = self.session.lock().await;
        self.session.device.idle().await?;
        Ok(had_text || had_model)
    }
}

impl Session {
    /// A session on a device, without a model.
    pub fn new(device: Device) -> Session {
        Session {
            device,
            loaded: RefCell::default(),
            kernels: RefCell::default(),
            last: RefCell::default(),
            readings: RefCell::default(),
            lenses: RefCell::default(),
            helpers: RefCell::default(),
            receiving: RefCell::default(),
            device_lock: FairLock::default(),
            load_lock: FairLock::default(),
            tuning: Cell::new(Tuning::Off),
            is_aside: Cell::new(false),
            cache_limit: Cell::new(None),
        }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Takes a place in the queue for the device now, and waits until every earlier call is over. Hold the
    /// guard while working.
    pub fn lock(&self) -> impl Future<Output = Guard> + use<> {
        self.device_lock.lock()
    }

    /// The same for loads. Readings run beside a load, which waits for the device's queue only where it
    /// releases memory or replaces the model in use.
    pub fn lock_loads(&self) -> impl Future<Output = Guard> + use<> {
        self.load_lock.lock()
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

    /// Parses the request and begins the load.
    ///
    /// Errors: those of [`LoadRequest::parse`] and [`Session::begin`].
    pub async fn load(&self, request: &LoadRequest<'_>) -> Result<Loading> {
        self.begin(request.parse()?).await
    }

    /// Begins a load. Push the bytes with [`Session::push`], then [`Session::install`] it. The model in use
    /// stays until then, unless the request releases it for lack of memory.
    ///
    /// Errors: `unsupported-model`, `gpu-refused`, `device-lost`.
    pub async fn begin(&self, request: ParsedRequest) -> Result<Loading> {
        let ParsedRequest { config, tokenizer, precision, shard_bytes, .. } = request;
        let (kernels, compiling) = self.begin_kernels(precision);
        let mut loader = match config {
            Some(config) if !request.partial => {
                Loader::new(&self.device, kernels, config, precision, shard_bytes)?
            }
            config => Loader::partial(kernels, config, precision, shard_bytes),
        };
        loader.expect_files(request.n_files, request.total_bytes);
        let (release, cancel) = (request.release, Cancel::default());
        Ok(Loading { loader, tokenizer, release, cancel, compiling })
    }

    /// Takes the next piece of the current file.
    ///
    /// Errors: those of [`Loader::push`], and `gpu-refused` for a kernel that the device refuses.
    pub async fn push(&self, loading: &mut Loading, bytes: &[u8]) -> Result<()> {
        self.take_kernels(loading)?;
        let memory = ForLoad { session: self, release: loading.release };
        loading.loader.push(&self.device, bytes, &memory).await
    }

    /// Removes bytes of the current file from `bytes` up to the end of its header; true once the header is complete.
    ///
    /// Errors: those of [`Loader::push`].
    pub async fn push_header(&self, loading: &mut Loading, bytes: &mut &[u8]) -> Result<bool> {
        let memory = ForLoad { session: self, release: loading.release };
        loading.loader.push_header(&self.device, bytes, &memory).await
    }

    /// Keeps a copy of the model in `store`; see [`Loader::keep`].
    ///
    /// Errors: those of [`Loader::keep`].
    pub async fn keep(
        &self,
        loading: &mut Loading,
        store: Box<dyn Store>,
        copy: Option<PartialCopy>,
        watch: &RestoreWatch<'_>,
    ) -> Result<Position> {
        let memory = ForLoad { session: self, release: loading.release };
        loading.loader.keep(&self.device, store, copy, watch, &memory).await
    }

    /// What a model of this config requires; with `trial`, whether the device has the memory for it and a
    /// reading beside what it holds now, by allocating and releasing it. Hold the guard of [`Session::lock`].
    ///
    /// Errors: `bad-config`, `unsupported-model`, `device-lost`.
    pub async fn plan(
        &self,
        config: &str,
        precision: Precision,
        trial: bool,
    ) -> Result<Requirements> {
        let config = Config::parse(config)?;
        let mut requirements = Requirements::of(&self.device, config, precision);
        if trial && requirements.problem.is_none() {
            requirements.try_allocate(&self.device).await?;
        }
        Ok(requirements)
    }

    /// The kernels of a precision, which are compiled once.
    async fn kernels(&self, precision: Precision) -> Result<Rc<Kernels>> {
        let known = self.kernels.borrow().iter().find(|(p, _)| *p == precision).cloned();
        if let Some((_, kernels)) = known {
            return Ok(kernels);
        }
        let kernels = Rc::new(Kernels::new(&self.device, precision).await?);
        self.kernels.borrow_mut().push((precision, kernels.clone()));
        Ok(kernels)
    }

    /// The same, which begin to be compiled if they are not there.
    fn begin_kernels(&self, precision: Precision) -> (Rc<Kernels>, Option<Compiling>) {
        let known = self.kernels.borrow().iter().find(|(p, _)| *p == precision).cloned();
        if let Some((_, kernels)) = known {
            return (kernels, None);
        }
        let (kernels, verdict) = Kernels::begin(&self.device, precision);
        let kernels = Rc::new(kernels);
        (kernels.clone(), Some(Compiling { precision, kernels, verdict }))
    }

    /// Keeps the kernels of a load, if the device has taken them by now.
    ///
    /// Errors: `gpu-refused`, `out-of-memory`.
    fn take_kernels(&self, loading: &mut Loading) -> Result<()> {
        let Some(compiling) = &mut loading.compiling else { return Ok(()) };
        let Some(answer) = compiling.verdict.answer(Kernels::WHAT) else { return Ok(()) };
        let (precision, kernels) = (compiling.precision, compiling.kernels.clone());
        loading.compiling = None;
        answer?;
        self.kernels.borrow_mut().push((precision, kernels));
        Ok(())
    }

    /// Puts a complete load into use, and returns what became of its copy.
    ///
    /// Errors: `missing-tensor`, `aborted`, `gpu-refused`, `device-lost`.
    pub async fn install(&self, loading: Loading) -> Result<(Rc<Loaded>, CopyOutcome)> {
        if let Some(Compiling { precision, kernels, verdict }) = loading.compiling {
            verdict.check(Kernels::WHAT).await?;
            self.kernels.borrow_mut().push((precision, kernels));
        }
        let (model, copy) = loading.loader.finish(&self.device).await?;
        let _guard = self.lock().await;
        self.tune(&model, &loading.cancel).await?;
        let (tokenizer, vocab_size) = (loading.tokenizer, model.config.vocab_size);
        let vocabulary = Rc::new(Vocabulary { tokenizer, vocab_size });
        let loaded = Rc::new(Loaded {
            model,
            vocabulary,
            memo: Memo::default(),
            mean_token: OnceCell::new(),
            nearest: OnceCell::new(),
        });
        self.put(loaded.clone());
        Ok((loaded, copy))
    }

    /// Puts a model into use; nothing of the one before stays.
    fn put(&self, loaded: Rc<Loaded>) {
        self.loaded.replace(Some(loaded));
        self.last.take();
        self.helpers.take();
    }

    /// Passes the decoder of the model in use on, piece by piece, for another engine. Hold the guard of
    /// [`Session::lock`].
    ///
    /// Errors: `not-found`, `missing-tensor`, and those of `send`.
    pub async fn send_decoder(&self, send: impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        self.loaded()?.model.send_decoder(&self.device, send).await
    }

    /// Begins to receive the decoder of another engine's model.
    ///
    /// Errors: `bad-header`, `out-of-memory`, `gpu-refused`.
    pub async fn receive_decoder(&self, header: &str) -> Result<()> {
        let kernels = self.kernels(DecoderCopy::precision(header)?).await?;
        self.receiving.replace(Some(DecoderCopy::new(&self.device, kernels, header).await?));
        Ok(())
    }

    /// Takes the next piece of it, and puts it into use once it is complete; true then.
    ///
    /// Errors: `not-found` before a header, `corrupt`.
    pub fn receive(&self, bytes: &[u8]) -> Result<bool> {
        let Some(mut copy) = self.receiving.take() else {
            return Err(Error::NotFound("no copy is being received".into()));
        };
        if !copy.push(&self.device, bytes)? {
            self.receiving.replace(Some(copy));
            return Ok(false);
        }
        let model = copy.into_model();
        let vocab_size = model.config.vocab_size;
        let vocabulary = Rc::new(Vocabulary { tokenizer: None, vocab_size });
        self.put(Rc::new(Loaded {
            model,
            vocabulary,
            memo: Memo::default(),
            mean_token: OnceCell::new(),
            nearest: OnceCell::new(),
        }));
        Ok(true)
    }

    /// Shares readings with other engines, which have the decoder of the model in use, until another model is.
    pub fn share(&self, helpers: Helpers) {
        self.helpers.replace(helpers);
    }

    /// Reads a share of another engine's reading.
    ///
    /// Errors: those of [`crate::lens::fold_share`], and `not-found`.
    pub async fn fold(&self, share: &Share, cancel: &Cancel) -> Result<Folded> {
        self.device.check()?;
        crate::lens::fold_share(&self.device, &self.loaded()?.model, share, cancel).await
    }

    /// Any tokens along a line of cells of an earlier reading, from its residual stream.
    ///
    /// Errors: `not-found` once its model has been replaced, `bad-option`, `bad-token`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
    pub async fn trace(
        &self,
        lensed: &Lensed,
        ids: &[u32],
        line: Line,
        cancel: &Cancel,
    ) -> Result<Vec<Track>> {
        self.device.check()?;
        let loaded = in_use(&lensed.loaded)?;
        let decoder = lensed.decoder(&loaded.model)?;
        crate::lens::trace(&self.device, &lensed.kept(&decoder), ids, line, cancel).await
    }

    /// The summed probability of sets of tokens at every cell of an earlier reading, and the rank of the best member, from
    /// its residual stream.
    ///
    /// Errors: those of [`Session::trace`].
    pub async fn sets(
        &self,
        lensed: &Lensed,
        sets: &[Vec<u32>],
        cancel: &Cancel,
        on_progress: impl Fn(f64),
    ) -> Result<Vec<SetScores>> {
        self.device.check()?;
        let loaded = in_use(&lensed.loaded)?;
        let decoder = lensed.decoder(&loaded.model)?;
        let from = lensed.kept(&decoder);
        let mut found =
            crate::lens::sum_sets(&self.device, &from, sets, cancel, on_progress).await?;
        let n_tokens = lensed.reading.n_tokens();
        for cell in &lensed.reading.not_finite {
            let at = cell.tap * n_tokens + cell.position;
            for scores in &mut found {
                let both = scores.prob.get_mut(at).zip(scores.rank.get_mut(at));
                if let Some((prob, rank)) = both {
                    (*prob, *rank) = (f32::NAN, 0.0);
                }
            }
        }
        Ok(found)
    }

    /// How the rows of two readings differ at pairs of positions, from their residual streams.
    ///
    /// Errors: `not-found` once their model has been replaced, `bad-option` for readings of another model, for
    /// readings with different rows, norms or decoders and for wrong positions or targets, `bad-token`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
    pub async fn compare(
        &self,
        a: &Lensed,
        b: &Lensed,
        pairs: &Pairs,
        cancel: &Cancel,
    ) -> Result<Comparison> {
        self.device.check()?;
        let loaded = self.loaded()?;
        for (name, reading) in [("a", a), ("b", b)] {
            if !Rc::ptr_eq(&in_use(&reading.loaded)?, &loaded) {
                let expected = "a reading of the model in use";
                return Err(Error::option(name, expected, "one of another model"));
            }
        }
        let are_same = [
            ("norm", a.options.norm == b.options.norm),
            ("decoder", a.options.decoder == b.options.decoder),
            ("rows", a.rows == b.rows),
        ];
        if let Some((what, _)) = are_same.into_iter().find(|(_, is_same)| !is_same) {
            let expected = format!("a reading with the {what} of a");
            return Err(Error::option("b", expected, "one with another"));
        }
        check_results(a.rows.len(), pairs.columns.len(), 3 + 6 * pairs.targets.len())?;
        let (of_a, of_b) = (a.decoder(&loaded.model)?, b.decoder(&loaded.model)?);
        crate::lens::compare(&self.device, [a.kept(&of_a), b.kept(&of_b)], pairs, cancel).await
    }
}

/// The model that something was made with, while it is in use.
///
/// Errors: `not-found`.
pub fn in_use<V>(model: &Weak<V>) -> Result<Rc<V>> {
    let gone = "the model that it was made with is no longer loaded";
    model.upgrade().ok_or_else(|| Error::NotFound(gone.into()))
}
