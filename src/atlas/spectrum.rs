//! The singular value decomposition of `wte`, uncentred, by way of its Gram matrix.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;
use web_time::{Duration, Instant};

use crate::config::single;
use crate::device::Tensor;
use crate::error::{Error, Result};
use crate::kernels::{Gram, Shard, pad4};

use super::{Atlas, Eigen, check_memory, table};

/// Tokens that are summed on the device before f64 takes over.
const TOKENS: usize = 4096;
/// Largest number of token projections in one answer: 64 MiB of them.
pub(super) const MAX_PROJECTIONS: usize = 16 << 20;
/// The share of the work that is done after the Gram matrix and after the eigenproblem, approximately.
const GRAM_SHARE: f64 = 0.4;
const EIGEN_SHARE: f64 = 0.8;
/// Time after which the sweeps let queued calls run.
const SWEEPS: Duration = Duration::from_millis(40);

/// The eigenproblem of a model, which is solved only once.
#[derive(Default)]
pub struct Memo {
    state: RefCell<State>,
    /// Share of the work that the call that solves it has done.
    progress: Cell<f64>,
    /// Other calls that wait for the next change.
    waiting: RefCell<Vec<oneshot::Sender<()>>>,
}

#[derive(Default)]
enum State {
    #[default]
    Open,
    /// A call is solving it.
    Busy,
    Done(Rc<Solved>),
}

impl Memo {
    fn change(&self, state: State, progress: f64) {
        self.state.replace(state);
        self.advance(progress);
    }

    fn advance(&self, progress: f64) {
        self.progress.set(progress);
        for waiting in self.waiting.take() {
            // A call that has given up is gone.
            let _ = waiting.send(());
        }
    }

    /// Resolves at the next change.
    fn changed(&self) -> impl Future<Output = ()> + use<> {
        let (sender, changed) = oneshot::channel();
        self.waiting.borrow_mut().push(sender);
        async {
            let _ = changed.await;
        }
    }
}

/// Opens the problem again if the call that solves it fails.
struct Attempt<'a>(&'a Memo);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if matches!(*self.0.state.borrow(), State::Done(_)) {
            return;
        }
        self.0.change(State::Open, 0.0);
    }
}

/// Every singular value and direction.
struct Solved {
    /// Largest first. Shapes: \[C\].
    singular_values: Vec<f32>,
    /// Unit vectors in that order. Shapes: \[C, C\].
    directions: Vec<f64>,
}

/// Singular values and the first directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    /// All of them, largest first. Shapes: \[C\].
    pub singular_values: Vec<f32>,
    /// Unit vectors over the channels; the mean of the tokens' projections is not negative.
    /// Shapes: \[n, C\].
    pub directions: Vec<f32>,
    /// wte · directionᵀ. Shapes: \[n, V\].
    pub tokens: Vec<f32>,
    /// Cosine of each direction with the mean embedding. Shapes: \[n\].
    pub cosine_with_mean: Vec<f32>,
}

/// The spectrum with its first `n` directions.
///
/// It can be stopped between the sweeps of the eigenproblem, but not while nalgebra brings the matrix to
/// tridiagonal form, which takes time in proportion to C³: under 2 s for 768 channels in a browser.
///
/// Errors: `missing-tensor`, `unsupported-model` for embeddings too large to multiply, `bad-option`
/// for n of 0, of more than the channels, or of more projections than fit the memory, `aborted`,
/// `device-lost`, `gpu-refused`, `out-of-memory`.
pub async fn spectrum(atlas: &Atlas<'_>, n: usize) -> Result<Spectrum> {
    let config = &atlas.model.config;
    let (c, v) = (config.n_embd, config.vocab_size);
    let most = c.min((MAX_PROJECTIONS / v.max(1)).max(1));
    if !(1..=most).contains(&n) {
        return Err(Error::option("n", format!("1 to {most} directions"), n));
    }
    check_memory("a direction over the vocabulary", v as u64, 4)?;
    let solved = solved(atlas).await?;
    let singular_values = solved.singular_values.clone();
    let mut directions: Vec<Vec<f64>> =
        solved.directions.chunks(c).take(n).map(<[f64]>::to_vec).collect();

    let mut tokens = vec![0f32; n * v];
    let mut sum = vec![0f64; c];
    let second = Atlas {
        on_progress: &|done| (atlas.on_progress)(EIGEN_SHARE + (1.0 - EIGEN_SHARE) * done),
        ..*atlas
    };
    table::rows(&second, atlas.model.wte()?, |id, row| {
        sum.iter_mut().zip(row).for_each(|(s, &x)| *s += f64::from(x));
        for (k, direction) in directions.iter().enumerate() {
            tokens[k * v + id] = single(loupe_numbers::dot(row, direction));
        }
    })
    .await?;
    let length = sum.iter().map(|s| s * s).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let mut cosine_with_mean = Vec::with_capacity(n);
    for (k, direction) in directions.iter_mut().enumerate() {
        let mut along: f64 = direction.iter().zip(&sum).map(|(d, s)| d * s).sum();
        if along < 0.0 {
            along = -along;
            direction.iter_mut().for_each(|d| *d = -*d);
            tokens[k * v..][..v].iter_mut().for_each(|t| *t = -*t);
        }
        cosine_with_mean.push(single(along / length));
    }
    let directions = directions.concat().into_iter().map(single).collect();
    Ok(Spectrum { singular_values, directions, tokens, cosine_with_mean })
}

/// The solved eigenproblem, from an earlier call or from one that is solving it now, if there is one.
async fn solved(atlas: &Atlas<'_>) -> Result<Rc<Solved>> {
    let memo = atlas.memo;
    loop {
        match &*memo.state.borrow() {
            State::Open => break,
            State::Busy => {}
            State::Done(solved) => return Ok(solved.clone()),
        }
        atlas.queue.pause(Box::pin(memo.changed())).await;
        atlas.device.check()?;
        atlas.advance(memo.progress.get())?;
    }
    memo.change(State::Busy, 0.0);
    let _attempt = Attempt(memo);
    let report = |done| {
        memo.advance(done);
        (atlas.on_progress)(done);
    };
    let atlas = &Atlas { on_progress: &report, ..*atlas };
    let wte = atlas.model.wte()?;
    let gram = gram(atlas, wte, &vec![1.0; atlas.model.config.vocab_size]).await?;
    let mut eigen = Eigen::new(&gram, atlas.model.config.n_embd);
    drop(gram);
    while !eigen.is_done() {
        let start = Instant::now();
        while !eigen.is_done() && start.elapsed() < SWEEPS {
            eigen.sweep();
        }
        atlas.yield_now(GRAM_SHARE + (EIGEN_SHARE - GRAM_SHARE) * eigen.done()).await?;
    }
    let (values, directions) = eigen.finish();
    let singular_values = values.iter().map(|v| single(v.max(0.0).sqrt())).collect();
    let solved = Rc::new(Solved { singular_values, directions });
    memo.change(State::Done(solved.clone()), EIGEN_SHARE);
    Ok(solved)
}

/// Σ counts\[t\] · e\[t\]ᵀ·e\[t\] over the tokens of an embedding, summed on the device 4,096 tokens at a time.
/// Shapes: counts \[V\] → \[C, C\].
///
/// Errors: `unsupported-model`, `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
pub async fn gram(atlas: &Atlas<'_>, shards: &[Shard], counts: &[f32]) -> Result<Vec<f64>> {
    let (device, model) = (atlas.device, atlas.model);
    let (c, padded) = (model.config.n_embd, pad4(model.config.n_embd));
    device.check_binding("the Gram matrix", 4 * (padded as u64).pow(2))?;
    // The matrix, its copy inside nalgebra and the vectors.
    check_memory("the Gram matrix", (c as u64).pow(2), 3 * 8)?;
    let mut out = vec![0f64; c * c];
    let allocate = || {
        let of_shard = |shard: &Shard| {
            let ids = shard.first_id..shard.first_id + shard.matrix.n_out;
            let mut of = counts.get(ids).unwrap_or_default().to_vec();
            of.resize(pad4(shard.matrix.n_out), 0.0);
            device.upload("counts", &of)
        };
        let counts: Vec<Tensor> = shards.iter().map(of_shard).collect();
        Ok((counts, device.tensor("gram", (4 * padded * padded) as u64)))
    };
    let (counts, part) = device.allocate("the Gram matrix", allocate).await?;
    for (shard, counts) in shards.iter().zip(&counts) {
        let n_groups = pad4(shard.matrix.n_out) / 4;
        for first in (0..n_groups).step_by(TOKENS / 4) {
            let groups = first..(first + TOKENS / 4).min(n_groups);
            let done = shard.first_id + 4 * groups.end;
            let mut rec = device.record("the Gram matrix", atlas.cancel);
            let op = Gram { weight: &shard.matrix, counts, groups, y: &part };
            model.kernels.gram(&mut rec, &op)?;
            let bytes = 4 * (c * padded) as u64;
            let read = rec.read(&[(&part, bytes)]).await?;
            let sums = read.iter().flat_map(|rows| rows.chunks(padded)).flat_map(|row| &row[..c]);
            out.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum));
            let share = (done as f64 / model.config.vocab_size as f64).min(1.0);
            atlas.yield_now(GRAM_SHARE * share).await?;
        }
    }
    if out.iter().all(|sum| sum.is_finite()) {
        return Ok(out);
    }
    let beyond = "products of its embeddings exceed single precision";
    Err(Error::UnsupportedModel(beyond.into()))
}
