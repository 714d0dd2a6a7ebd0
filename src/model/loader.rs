//! Checkpoint bytes ─▶ weights on the device. No tensor is whole in memory, unless a file of PyTorch stores its
//! elements in another order, or several tensors share them.

use std::rc::Rc;

use crate::checkpoint::{
    Digest, Directory, Event, Header, Kept, PartialCopy, Position, Reader, SourceId, Store,
    StoreError, Writer,
};
use crate::config::Config;
use crate::device::{Cancel, Device, Verdict};
use crate::error::{Error, Result};
use crate::kernels::{Kernels, Precision};

use super::filling::Filling;
use super::partial::PartialPlan;
use super::plan::{Plan, check_sizes};
use super::{Model, Parameters, Weights, families};

/// Bytes after which the device is given time to process the writes. Units: bytes.
const SETTLE_BYTES: u64 = 32 << 20;
/// Bytes of a kept copy that are read at once.
const COPY_PIECE: usize = 1 << 20;

/// The progress of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes received of all files, including those of an earlier load. Units: bytes.
    pub received: u64,
    /// Length of the current file, once its header is known. Units: bytes.
    pub file_bytes: Option<u64>,
    /// The tensor that is being received; empty between files.
    pub tensor: String,
}

/// How the caller follows and stops the reading of a kept copy.
pub struct RestoreWatch<'a> {
    /// Whether to stop.
    pub cancel: &'a Cancel,
    /// Called with the progress.
    pub on_progress: &'a dyn Fn(Progress),
}

/// What became of the copy that was to be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyOutcome {
    /// The finished and verified file.
    pub kept: Option<Kept>,
    /// Why there is none, if there was to be one.
    pub error: Option<StoreError>,
}

/// A way to release device memory that a load needs.
pub trait Reclaim {
    /// Releases memory; returns whether there was any to release.
    fn reclaim(&self) -> impl Future<Output = Result<bool>>;
}

/// What a load fills.
enum Goal {
    /// Everything that a config asks for; allocated at the first header.
    Whole { config: Config, weights: Option<(Weights, u64)> },
    /// Whatever the files have of what the atlas can show.
    Partial(PartialPlan),
}

/// Takes the bytes of one or more files of weights, in pieces of any size.
pub struct Loader {
    goal: Goal,
    kernels: Rc<Kernels>,
    precision: Precision,
    shard_bytes: usize,
    /// Number of files, and the length of all of them if it is known.
    n_files: usize,
    total_bytes: Option<u64>,
    reader: Reader,
    filling: Filling,
    /// Index of the current file.
    file: usize,
    /// Bytes of the files before it.
    before: u64,
    /// The sources of the copy that was restored.
    restored: Vec<SourceId>,
    /// Bytes since the device was last given time.
    unsettled: u64,
    /// Its answers to the writes since then.
    verdicts: Vec<Verdict>,
}

impl Loader {
    /// A load of the tensors that `config` asks for; `kernels` are those of the same precision. The
    /// weights are allocated at the first header.
    ///
    /// Errors: `unsupported-model` for a tensor too large for a binding, `device-lost`.
    pub fn new(
        device: &Device,
        kernels: Rc<Kernels>,
        config: Config,
        precision: Precision,
        shard_bytes: usize,
    ) -> Result<Loader> {
        device.check()?;
        check_sizes(device, &config, precision)?;
        let filling = Filling::new(config.clone(), precision);
        let goal = Goal::Whole { config, weights: None };
        Ok(Loader::start(goal, kernels, precision, shard_bytes, filling))
    }

    /// A load of files with only some of the tensors, with or without a config.
    pub fn partial(
        kernels: Rc<Kernels>,
        config: Option<Config>,
        precision: Precision,
        shard_bytes: usize,
    ) -> Loader {
        let known = config.clone().unwrap_or_else(Config::unknown);
        let filling = Filling::new(known, precision);
        let goal = Goal::Partial(PartialPlan::new(config, precision, shard_bytes));
        Loader::start(goal, kernels, precision, shard_bytes, filling)
    }

    fn start(
        goal: Goal,
        kernels: Rc<Kernels>,
        precision: Precision,
        shard_bytes: usize,
        filling: Filling,
    ) -> Loader {
        Loader {
            goal,
            kernels,
            precision,
            shard_bytes,
            n_files: 1,
            total_bytes: None,
            reader: Reader::default(),
            filling,
            file: 0,
            before: 0,
            restored: Vec::new(),
            unsettled: 0,
            verdicts: Vec::new(),
        }
    }

    /// Sets the number of files (one by default) and their total length, if it is known. A header that
    /// announces more than twice as much is `truncated`. Units: bytes.
    pub fn expect_files(&mut self, n: usize, total_bytes: Option<u64>) {
        (self.n_files, self.total_bytes) = (n, total_bytes);
    }

    /// Keeps a copy in `store`, in the storage precision, while the files are received. If `copy` is given, which
    /// the store holds and which was made of the same files, its tensors are loaded from it. Returns the
    /// position at which the files continue.
    ///
    /// Errors: `aborted`, `device-lost`, `out-of-memory`, `gpu-refused`. A store that fails is not an
    /// error: see [`CopyOutcome`].
    pub async fn keep(
        &mut self,
        device: &Device,
        mut store: Box<dyn Store>,
        copy: Option<PartialCopy>,
        watch: &RestoreWatch<'_>,
        memory: &impl Reclaim,
    ) -> Result<Position> {
        if let Some(copy) = copy {
            match self.restore(device, &mut *store, &copy, watch, memory).await {
                Ok(digest) => {
                    let position = copy.position.clone();
                    self.before = position.before;
                    self.filling.resume();
                    self.restored.clone_from(&copy.sources);
                    self.filling.copy.start(Writer::resume(store, copy, digest));
                    return Ok(position);
                }
                // The copy is damaged or belongs to another model.
                Err(
                    Error::Corrupt(_)
                    | Error::BadHeader(_)
                    | Error::BadShape { .. }
                    | Error::BadDtype { .. }
                    | Error::TooShort { .. }
                    | Error::Truncated { .. },
                ) => self.filling.start_over(),
                // The copy stays as it is.
                Err(error) => return Err(error),
            }
        }
        self.filling.keep_in(store, self.n_files);
        Ok(Position::default())
    }

    /// Loads the tensors of a kept copy; returns the digest of their bytes.
    async fn restore(
        &mut self,
        device: &Device,
        store: &mut dyn Store,
        copy: &PartialCopy,
        watch: &RestoreWatch<'_>,
        memory: &impl Reclaim,
    ) -> Result<Digest> {
        let mut reader = Reader::default();
        let mut piece = vec![0; COPY_PIECE];
        let mut at = 0;
        while at < copy.bytes() {
            let rest = usize::try_from(copy.bytes() - at).unwrap_or(usize::MAX);
            let want = piece.len().min(rest);
            let Some(space) = piece.get_mut(..want) else { break };
            let n = store.read(at, space).unwrap_or(0);
            if n == 0 {
                break;
            }
            let mut bytes = piece.get(..n).unwrap_or_default();
            while let Some(event) = reader.next(&mut bytes)? {
                if let Event::Header(header) = &event {
                    let source_bytes = match &copy.sources[..] {
                        [source] if self.n_files == 1 => Some(source.bytes),
                        _ => None,
                    };
                    self.allocate(device, header, source_bytes, memory).await?;
                    self.filling.check_kept(header)?;
                }
                let (taken, verdict) = device.scoped(|| self.filling.take(device, &event));
                self.verdicts.push(verdict);
                taken?;
            }
            at += n as u64;
            let share = at as f64 / copy.bytes() as f64;
            let tensor = self.filling.label.clone();
            let received = scale(copy.received(), share);
            (watch.on_progress)(Progress { received, file_bytes: None, tensor });
            watch.cancel.check()?;
            self.settle(device, n).await?;
        }
        let digest = reader.data_digest().cloned();
        reader.finish()?;
        digest.ok_or_else(|| Error::Corrupt("its digest is missing".into()))
    }

    /// Starts a file; `sha256` is its expected digest, if that is known.
    pub fn begin_file(&mut self, index: usize, sha256: Option<&str>) {
        self.file = index;
        self.reader = Reader::new(sha256);
    }

    /// Before the first byte of the current file: uses the directory of a zip file; see [`Reader::set_directory`].
    ///
    /// Errors: `bad-header`, `unsupported-model`.
    pub fn set_directory(&mut self, directory: Directory) -> Result<()> {
        self.reader.set_directory(directory)
    }

    /// After the header of the current file: true if the file continues at `position` with
    /// bytes from there, false if nothing of it is needed any more.
    ///
    /// Errors: `corrupt` if the file is not the one that the copy was made of.
    pub fn resume_at(&mut self, position: &Position) -> Result<bool> {
        let id = self.reader.id();
        let same = |known: &SourceId| id.as_ref().is_some_and(|id| id.is_same(known));
        if !self.restored.get(self.file).is_none_or(same) {
            return Err(Error::Corrupt("the source is another file than before".into()));
        }
        self.reader.seek(position.offset, position.digest.clone())?;
        Ok(!self.reader.is_complete())
    }

    /// Removes bytes of the current file from `bytes` up to the end of its header; true once the header is complete.
    ///
    /// Errors: those of [`Loader::push`].
    pub async fn push_header(
        &mut self,
        device: &Device,
        bytes: &mut &[u8],
        memory: &impl Reclaim,
    ) -> Result<bool> {
        self.next(device, bytes, memory).await
    }

    /// Takes the next piece of the current file; waits from time to time for the device.
    ///
    /// Errors: `bad-header`, `bad-shape`, `bad-dtype`, `missing-tensor`, `truncated`, `corrupt`,
    /// `unsupported-model`, `out-of-memory`, `gpu-refused`, `device-lost`.
    pub async fn push(
        &mut self,
        device: &Device,
        mut bytes: &[u8],
        memory: &impl Reclaim,
    ) -> Result<()> {
        let n = bytes.len();
        while self.next(device, &mut bytes, memory).await? {}
        self.settle(device, n).await
    }

    /// Takes the next event of the current file; false once `bytes` are used up.
    async fn next(
        &mut self,
        device: &Device,
        bytes: &mut &[u8],
        memory: &impl Reclaim,
    ) -> Result<bool> {
        let mut reader = std::mem::take(&mut self.reader);
        let taken = self.take(device, &mut reader, bytes, memory).await;
        self.reader = reader;
        taken
    }

    async fn take(
        &mut self,
        device: &Device,
        reader: &mut Reader,
        bytes: &mut &[u8],
        memory: &impl Reclaim,
    ) -> Result<bool> {
        let Some(event) = reader.next(bytes)? else { return Ok(false) };
        if let Event::Header(header) = &event {
            let header = (*header).clone();
            let id = reader.id();
            check_length(reader.file_bytes(), self.total_bytes)?;
            let single = id.as_ref().filter(|_| self.n_files == 1).map(|id| id.bytes);
            self.allocate(device, &header, single, memory).await?;
            self.filling.announce(&header)?;
            if let Some(name) = self.filling.unannounced().filter(|_| self.n_files == 1) {
                return Err(Error::MissingTensor(name.clone()));
            }
            reader.choose(&|name| self.filling.needs(name))?;
            if let Some(id) = id {
                self.filling.copy.source(id);
            }
            return Ok(true);
        }
        let (is_complete, verdict) = device.scoped(|| self.filling.take(device, &event));
        self.verdicts.push(verdict);
        if is_complete? && reader.is_between() {
            self.filling.copy.end(Position {
                file: self.file,
                offset: reader.offset(),
                before: self.before,
                digest: reader.file_digest().cloned(),
            });
        }
        Ok(true)
    }

    /// Allocates what a header asks for: of a whole model everything at its first header, of a partial
    /// one the tensors of this file. `file_bytes` is the length of a single source.
    ///
    /// Errors: `missing-tensor` for more parameters than the sources can hold, `bad-header`, `bad-shape`,
    /// `unsupported-model`, `out-of-memory`, `gpu-refused`, `device-lost`.
    async fn allocate(
        &mut self,
        device: &Device,
        header: &Header,
        file_bytes: Option<u64>,
        memory: &impl Reclaim,
    ) -> Result<()> {
        match &mut self.goal {
            Goal::Whole { weights: Some(_), .. } => Ok(()),
            Goal::Whole { config, weights } => {
                check_parameters(config, file_bytes.or(self.total_bytes))?;
                let make = async |config: &Config| {
                    let mut plan = Plan::new(device, self.precision, self.shard_bytes);
                    let weights = families::weights(&mut plan, config).await?;
                    Ok::<_, Error>((weights, plan.bytes(), plan.expected))
                };
                let mut made = make(config).await;
                if matches!(made, Err(Error::OutOfMemory(_))) && memory.reclaim().await? {
                    made = make(config).await;
                }
                let (made, bytes, expected) = made?;
                *weights = Some((made, bytes));
                self.filling.expect(expected);
                self.filling.start_copy(self.n_files);
                Ok(())
            }
            Goal::Partial(partial) => partial.allocate(device, header, &mut self.filling).await,
        }
    }

    async fn settle(&mut self, device: &Device, n: usize) -> Result<()> {
        self.unsettled += n as u64;
        if self.unsettled >= SETTLE_BYTES {
            self.finish_writes(device).await?;
        }
        Ok(())
    }

    /// Waits until the device has processed the writes, and fails if it refused one.
    async fn finish_writes(&mut self, device: &Device) -> Result<()> {
        self.unsettled = 0;
        device.idle().await?;
        for verdict in std::mem::take(&mut self.verdicts) {
            verdict.check("the model's weights").await?;
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

    /// The progress of the load.
    pub fn progress(&self) -> Progress {
        Progress {
            received: self.before + self.reader.offset(),
            file_bytes: self.reader.file_bytes(),
            tensor: self.filling.label.clone(),
        }
    }

    /// Updates the copy, so that a later load can resume it.
    pub fn save(&mut self) {
        self.filling.copy.save();
    }

    /// Discards the copy, because the files are at fault.
    pub fn discard(&mut self) {
        self.filling.copy.discard();
    }

    /// The model, if every tensor it needs was received, and what became of its copy, which is read back and
    /// verified.
    ///
    /// Errors: `missing-tensor`, `gpu-refused`, `device-lost`.
    pub async fn finish(mut self, device: &Device) -> Result<(Model, CopyOutcome)> {
        if let Some(name) = self.filling.missing() {
            let missing = Error::MissingTensor(name.clone());
            self.discard();
            return Err(missing);
        }
        self.finish_writes(device).await?;
        let mut kept = self.filling.copy.finish();
        if kept.is_some() {
            match self.read_back(device).await {
                Ok(()) => {}
                Err(lost @ Error::DeviceLost(_)) => return Err(lost),
                Err(damage) => {
                    kept = None;
                    self.filling.copy.discard();
                    let message = damage.to_string();
                    self.filling.copy.fail(StoreError { name: "DataError".into(), message });
                }
            }
        }
        let error = self.filling.copy.error().cloned();
        let (config, parameters, weight_bytes) = match self.goal {
            Goal::Whole { config, weights } => {
                let header = || Error::MissingTensor("any".into());
                let (weights, bytes) = weights.ok_or_else(header)?;
                (config, Parameters::Whole(weights), bytes)
            }
            Goal::Partial(partial) => {
                let (config, weights, bytes) = partial.finish()?;
                (config, Parameters::Partial(weights), bytes)
            }
        };
        let model = Model {
            config,
            kernels: self.kernels,
            parameters,
            weight_bytes,
            precision: self.precision,
            extra_tensors: self.filling.extra,
        };
        Ok((model, CopyOutcome { kept, error }))
    }

    /// Reads the copy through the reader, which verifies the digest in its header.
    async fn read_back(&mut self, device: &Device) -> Result<()> {
        let mut reader = Reader::default();
        let mut piece = vec![0; COPY_PIECE];
        let mut at = 0;
        loop {
            let n = self.filling.copy.read(at, &mut piece);
            if n == 0 {
                return reader.finish();
            }
            let mut bytes = piece.get(..n).unwrap_or_default();
            while reader.next(&mut bytes)?.is_some() {}
            at += n as u64;
            self.settle(device, n).await?;
        }
    }
}

/// Checks that files of `bytes` bytes can hold half of the parameters, which take two bytes or more each; where
/// less is missing, a later error names the first missing tensor.
///
/// Errors: `missing-tensor`.
fn check_parameters(config: &Config, bytes: Option<u64>) -> Result<()> {
    let (parameters, most) = (config.parameters(), bytes.map_or(u64::MAX, |bytes| bytes / 2));
    if parameters / 2 <= most { Ok(()) } else { Err(Error::TooShort { parameters, most }) }
}

/// Checks that a header does not announce far more data than all files have. Their length comes from the caller,
/// and may be that of compressed files: up to twice as much is accepted.
///
/// Errors: `truncated`.
fn check_length(expected: Option<u64>, total: Option<u64>) -> Result<()> {
    let (expected, received) = (expected.unwrap_or(0), total.unwrap_or(u64::MAX));
    if expected / 2 <= received { Ok(()) } else { Err(Error::Truncated { received, expected }) }
}

/// A share of some bytes, for progress.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1 of a u64")]
fn scale(bytes: u64, share: f64) -> u64 {
    (bytes as f64 * share) as u64
}
