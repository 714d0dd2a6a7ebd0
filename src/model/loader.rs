//! Checkpoint bytes ─▶ weights on the device, with no tensor ever whole in memory.

use std::collections::HashMap;
use std::rc::Rc;

use crate::checkpoint::{
    Beginning, Digest, Event, Kept, Position, Reader, Store, StoreError, Writer,
};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gpu::{Cancel, Gpu};
use crate::kernels::{Kernels, Precision};

use super::filling::Filling;
use super::partial::{Found, Partial};
use super::plan::{Plan, check_sizes};
use super::{Model, Weights, families};

/// Bytes after which the device is given time to take the writes in. Units: bytes.
const SETTLE_BYTES: u64 = 32 << 20;
/// Bytes of a kept copy that are read at once.
const COPY_PIECE: usize = 1 << 20;

/// How far a load has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes received over all files, and those that an earlier load had received. Units: bytes.
    pub received: u64,
    /// Length of the current file, once its header is known. Units: bytes.
    pub file_bytes: Option<u64>,
    /// The tensor that is coming in; empty between files.
    pub tensor: String,
}

/// How what an earlier load left is taken up.
pub struct RestoreWatch<'a> {
    /// Whether the files can go on there.
    pub can_go_on: &'a dyn Fn(&Position) -> bool,
    /// Whether to stop.
    pub cancel: &'a Cancel,
    /// Told how far it has come.
    pub on_progress: &'a dyn Fn(Progress),
}

/// What became of the copy that was to be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keeping {
    /// The finished and verified file.
    pub kept: Option<Kept>,
    /// Why there is none, if there was to be one.
    pub refusal: Option<StoreError>,
}

/// What a load fills.
enum Goal {
    /// Everything that a config asks for.
    Whole { config: Config, weights: Weights, bytes: u64 },
    /// Whatever the files have of what the atlas can show.
    Part(Partial),
}

/// Takes the bytes of one or more safetensors files, in pieces of any size.
pub struct Loader {
    goal: Goal,
    kernels: Rc<Kernels>,
    precision: Precision,
    reader: Reader,
    filling: Filling,
    /// Index of the current file.
    file: usize,
    /// Bytes of the files before it.
    before: u64,
    /// Bytes since the device was last given time.
    unsettled: u64,
}

/// Weights on the device, still zero.
///
/// Errors: `unsupported-model` for one with a tensor too large for a binding, `out-of-memory`
/// (everything taken is given back), `device-lost`.
pub(super) async fn allocate(
    gpu: &Gpu,
    config: &Config,
    precision: Precision,
    shard_bytes: usize,
) -> Result<(Weights, u64, Filling)> {
    gpu.check()?;
    check_sizes(gpu, config, precision)?;
    let allocate = || {
        let mut plan = Plan::new(gpu, precision, shard_bytes);
        let weights = families::weights(&mut plan, config);
        let bytes = plan.bytes();
        Ok((weights, bytes, Filling::new(config.clone(), precision, plan.parts)))
    };
    gpu.allocate("the model's weights", allocate).await
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
        let (weights, bytes, filling) = allocate(gpu, &config, precision, shard_bytes).await?;
        let goal = Goal::Whole { config, weights, bytes };
        Ok(Loader::begin(goal, kernels, precision, filling))
    }

    /// For files with only some of the tensors, of which a config need not be known: room is taken
    /// as their headers come.
    pub fn partial(
        kernels: Rc<Kernels>,
        config: Option<Config>,
        precision: Precision,
        shard_bytes: usize,
    ) -> Loader {
        let known = config.clone().unwrap_or_else(Config::unknown);
        let filling = Filling::new(known, precision, HashMap::new());
        let goal = Goal::Part(Partial::new(config, precision, shard_bytes));
        Loader::begin(goal, kernels, precision, filling)
    }

    fn begin(goal: Goal, kernels: Rc<Kernels>, precision: Precision, filling: Filling) -> Loader {
        Loader {
            goal,
            kernels,
            precision,
            reader: Reader::default(),
            filling,
            file: 0,
            before: 0,
            unsettled: 0,
        }
    }

    /// Keeps a copy in `store`, in the storage precision, while the files come in. If the store
    /// holds the beginning of one in this precision, and the files can go on from there, its
    /// tensors are loaded from it. Returns where the files go on.
    ///
    /// Errors: `aborted`, `device-lost`. A store that refuses is no error: see [`Keeping`].
    pub async fn keep(
        &mut self,
        gpu: &Gpu,
        mut store: Box<dyn Store>,
        watch: &RestoreWatch<'_>,
    ) -> Result<Position> {
        let beginning = Beginning::find(&mut *store);
        if let Some(beginning) = beginning.filter(|b| (watch.can_go_on)(&b.position)) {
            match self.restore(gpu, &mut *store, &beginning, watch).await {
                Ok(digest) => {
                    let position = beginning.position.clone();
                    self.before = position.before;
                    self.filling.go_on();
                    self.filling.copy.by(Writer::go_on(store, beginning, digest));
                    return Ok(position);
                }
                // What is there stays there.
                Err(end @ (Error::DeviceLost(_) | Error::Aborted)) => return Err(end),
                // A beginning that is damaged, or another model's, is none.
                Err(_) => self.filling.start_over(),
            }
        }
        match store.truncate(0) {
            Ok(()) => {
                let writer = Writer::new(store, self.filling.stored_tensors())?;
                self.filling.copy.by(writer);
            }
            Err(refusal) => self.filling.copy.refuse(refusal),
        }
        Ok(Position::default())
    }

    /// Loads the tensors of a kept beginning; returns the digest of their bytes.
    async fn restore(
        &mut self,
        gpu: &Gpu,
        store: &mut dyn Store,
        beginning: &Beginning,
        watch: &RestoreWatch<'_>,
    ) -> Result<Digest> {
        let position = &beginning.position;
        let received = (position.before + position.offset) as f64;
        let mut reader = Reader::default();
        let mut piece = vec![0; COPY_PIECE];
        let mut at = 0;
        while at < beginning.bytes() {
            let want = (beginning.bytes() - at).min(COPY_PIECE as u64) as usize;
            let n = store.read(at, &mut piece[..want]).unwrap_or(0);
            if n == 0 {
                break;
            }
            let mut bytes = &piece[..n];
            while let Some(event) = reader.next(&mut bytes)? {
                if let Event::Header(header) = &event {
                    self.filling.check_kept(header)?;
                }
                self.filling.take(gpu, &event)?;
            }
            at += n as u64;
            let share = at as f64 / beginning.bytes() as f64;
            let tensor = self.filling.label.clone();
            let received = (received * share) as u64;
            (watch.on_progress)(Progress { received, file_bytes: None, tensor });
            watch.cancel.check()?;
            self.settle(gpu, n).await?;
        }
        let digest = reader.data_digest().cloned();
        reader.finish()?;
        digest.ok_or_else(|| Error::Corrupt("its digest is missing".into()))
    }

    /// Begins a file; `sha256` is its digest, if that is known.
    pub fn begin_file(&mut self, index: usize, sha256: Option<&str>) {
        self.file = index;
        self.reader = Reader::new(sha256);
    }

    /// After the header of the current file has come: true if the file is to be gone on with at
    /// `position` by bytes from there, false if nothing of it is wanted any more.
    ///
    /// Errors: `corrupt` if the file is not the one that was begun with.
    pub fn go_on_at(&mut self, position: &Position) -> Result<bool> {
        self.reader.seek(position.offset, position.digest.clone())?;
        Ok(Some(position.offset) != self.reader.file_bytes())
    }

    /// Takes bytes of the current file up to the end of its header; whether it has come to that.
    ///
    /// Errors: `bad-header`, `bad-shape`, `bad-dtype`.
    pub fn push_header(&mut self, gpu: &Gpu, bytes: &mut &[u8]) -> Result<bool> {
        let Some(event) = self.reader.next(bytes)? else { return Ok(false) };
        self.filling.take(gpu, &event).map(|_| true)
    }

    /// Takes the next piece of the current file; waits now and then for the device to keep up.
    ///
    /// Errors: `bad-header`, `bad-shape`, `bad-dtype`, `corrupt`, `device-lost`; of a part, also
    /// `unsupported-model`, `out-of-memory`.
    pub async fn push(&mut self, gpu: &Gpu, mut bytes: &[u8]) -> Result<()> {
        let n = bytes.len();
        while let Some(event) = self.reader.next(&mut bytes)? {
            if let (Event::Header(header), Goal::Part(partial)) = (&event, &mut self.goal) {
                partial.plan(gpu, header, &mut self.filling).await?;
            }
            if self.filling.take(gpu, &event)? {
                self.filling.copy.end(Position {
                    file: self.file,
                    offset: self.reader.offset(),
                    before: self.before,
                    digest: self.reader.file_digest().cloned(),
                });
            }
        }
        self.settle(gpu, n).await
    }

    async fn settle(&mut self, gpu: &Gpu, n: usize) -> Result<()> {
        self.unsettled += n as u64;
        if self.unsettled >= SETTLE_BYTES {
            self.unsettled = 0;
            gpu.settle().await?;
        }
        Ok(())
    }

    /// Ends the current file; another may follow.
    ///
    /// Errors: `truncated`, `corrupt`.
    pub fn end_file(&mut self) -> Result<()> {
        self.filling.end_file();
        self.before += self.reader.offset();
        std::mem::take(&mut self.reader).finish()
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        Progress {
            received: self.before + self.reader.offset(),
            file_bytes: self.reader.file_bytes(),
            tensor: self.filling.label.clone(),
        }
    }

    /// Makes what is kept so far a beginning that can be gone on from.
    pub fn save(&mut self) {
        self.filling.copy.save();
    }

    /// Keeps nothing of it: the files are at fault.
    pub fn discard(&mut self) {
        self.filling.copy.discard();
    }

    /// The model, if every tensor it needs has come, and what became of its copy: whole, and read
    /// back to the same digest.
    ///
    /// Errors: `missing-tensor`, `device-lost`.
    pub async fn finish(mut self, gpu: &Gpu) -> Result<(Model, Keeping)> {
        if let Some(name) = self.filling.missing() {
            let missing = Error::MissingTensor(name.clone());
            self.discard();
            return Err(missing);
        }
        gpu.settle().await?;
        let mut kept = self.filling.copy.finish();
        if kept.is_some() {
            match self.read_back(gpu).await {
                Ok(()) => {}
                Err(lost @ Error::DeviceLost(_)) => return Err(lost),
                Err(damage) => {
                    kept = None;
                    self.filling.copy.discard();
                    let message = damage.to_string();
                    self.filling.copy.refuse(StoreError { name: "DataError".into(), message });
                }
            }
        }
        let refusal = self.filling.copy.refusal().cloned();
        let (config, weights, weight_bytes, part) = match self.goal {
            Goal::Whole { config, weights, bytes } => (config, weights, bytes, None),
            Goal::Part(partial) => {
                let Found { config, weights, bytes, part } = partial.finish(gpu)?;
                (config, weights, bytes, Some(part))
            }
        };
        let model = Model {
            config,
            kernels: self.kernels,
            weights,
            part,
            weight_bytes,
            precision: self.precision,
            extra_tensors: self.filling.extra,
        };
        Ok((model, Keeping { kept, refusal }))
    }

    /// Reads the copy through the reader, which knows its digest from its header.
    async fn read_back(&mut self, gpu: &Gpu) -> Result<()> {
        let mut reader = Reader::default();
        let mut piece = vec![0; COPY_PIECE];
        let mut at = 0;
        loop {
            let n = self.filling.copy.read(at, &mut piece);
            if n == 0 {
                return reader.finish();
            }
            let mut bytes = &piece[..n];
            while reader.next(&mut bytes)?.is_some() {}
            at += n as u64;
            self.settle(gpu, n).await?;
        }
    }
}
