//! The singular value decomposition of `wte`, uncentred, by way of its Gram matrix.

use std::cell::RefCell;
use std::rc::Rc;

use web_time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::kernels::{Gram, pad4};

use super::{Atlas, Eigen, table};

/// Tokens that are summed on the device before f64 takes over.
const TOKENS: usize = 4096;
/// How much of the work is done after the Gram matrix and after the eigenproblem, by rule of thumb.
const GRAM_SHARE: f64 = 0.4;
const EIGEN_SHARE: f64 = 0.8;
/// Time after which the sweeps let others have their turn.
const SWEEPS: Duration = Duration::from_millis(40);

/// The eigenproblem of a model, which is solved only once.
#[derive(Default)]
pub struct Memo(RefCell<State>);

#[derive(Default)]
enum State {
    #[default]
    Open,
    /// Somebody is at it.
    Busy,
    Done(Rc<Solved>),
}

/// Opens the problem again if whoever was at it gave up.
struct Attempt<'a>(&'a Memo);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut state = self.0.0.borrow_mut();
        if matches!(*state, State::Busy) {
            *state = State::Open;
        }
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
/// Between the sweeps of the eigenproblem it can be stopped, not while nalgebra brings the matrix to
/// three diagonals, which takes the cube of the channels: under 2 s for 768 of them in a browser.
///
/// Errors: `missing-tensor`, `unsupported-model` for embeddings too large to multiply, `bad-option`
/// for n of 0 or more than the channels, `aborted`, `device-lost`, `out-of-memory`.
pub async fn spectrum(atlas: &Atlas<'_>, n: usize) -> Result<Spectrum> {
    let config = &atlas.model.config;
    let (c, v) = (config.n_embd, config.vocab_size);
    if !(1..=c).contains(&n) {
        return Err(Error::BadOption(format!("a spectrum of {n} directions, expected 1 to {c}")));
    }
    let solved = solved(atlas).await?;
    let singular_values = solved.singular_values.clone();
    let mut directions: Vec<Vec<f64>> =
        solved.directions.chunks(c).take(n).map(<[f64]>::to_vec).collect();

    let dot =
        |row: &[f32], d: &[f64]| row.iter().zip(d).map(|(&x, y)| f64::from(x) * y).sum::<f64>();
    let mut tokens = vec![0f32; n * v];
    let mut sum = vec![0f64; c];
    let second = Atlas {
        on_progress: &|done| (atlas.on_progress)(EIGEN_SHARE + (1.0 - EIGEN_SHARE) * done),
        ..*atlas
    };
    table::rows(&second, atlas.model.wte()?, |id, row| {
        sum.iter_mut().zip(row).for_each(|(s, &x)| *s += f64::from(x));
        for (k, direction) in directions.iter().enumerate() {
            tokens[k * v + id] = dot(row, direction) as f32;
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
        cosine_with_mean.push((along / length) as f32);
    }
    let directions = directions.concat().into_iter().map(|d| d as f32).collect();
    Ok(Spectrum { singular_values, directions, tokens, cosine_with_mean })
}

/// The solved eigenproblem, from an earlier call or one that is at it now, if there is one.
async fn solved(atlas: &Atlas<'_>) -> Result<Rc<Solved>> {
    loop {
        match &*atlas.memo.0.borrow() {
            State::Open => break,
            State::Busy => {}
            State::Done(solved) => return Ok(solved.clone()),
        }
        atlas.rest(0.0).await?;
    }
    atlas.memo.0.replace(State::Busy);
    let _attempt = Attempt(atlas.memo);
    let gram = gram(atlas).await?;
    let mut eigen = Eigen::new(&gram, atlas.model.config.n_embd);
    drop(gram);
    while !eigen.is_done() {
        let start = Instant::now();
        while !eigen.is_done() && start.elapsed() < SWEEPS {
            eigen.sweep();
        }
        atlas.rest(GRAM_SHARE + (EIGEN_SHARE - GRAM_SHARE) * eigen.done()).await?;
    }
    let (values, directions) = eigen.finish();
    let singular_values = values.iter().map(|v| v.max(0.0).sqrt() as f32).collect();
    let solved = Rc::new(Solved { singular_values, directions });
    atlas.memo.0.replace(State::Done(solved.clone()));
    Ok(solved)
}

/// wteᵀ·wte over the channels, summed on the device some thousand tokens at a time. Shapes: \[C, C\].
async fn gram(atlas: &Atlas<'_>) -> Result<Vec<f64>> {
    let (gpu, model) = (atlas.gpu, atlas.model);
    let (c, padded) = (model.config.n_embd, pad4(model.config.n_embd));
    gpu.check_binding("the Gram matrix", 4 * (padded as u64).pow(2))?;
    let mut out = vec![0f64; c * c];
    let most = model.wte()?.iter().map(|s| pad4(s.matrix.n_out)).max().unwrap_or(0);
    let allocate = || {
        Ok((
            gpu.upload("counts", &vec![1f32; most]),
            gpu.tensor("gram", (4 * padded * padded) as u64),
        ))
    };
    let (counts, part) = gpu.allocate("the Gram matrix", allocate).await?;
    for shard in model.weights.wte.iter() {
        let n_groups = pad4(shard.matrix.n_out) / 4;
        for first in (0..n_groups).step_by(TOKENS / 4) {
            let groups = first..(first + TOKENS / 4).min(n_groups);
            let done = shard.first_id + 4 * groups.end;
            let mut rec = gpu.record(atlas.cancel);
            let op = Gram { weight: &shard.matrix, counts: &counts, groups, y: &part };
            model.kernels.gram(&mut rec, &op)?;
            rec.submit()?;
            let sums = table::plain(atlas, &part, c, c).await?;
            out.iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(sum));
            atlas
                .rest(GRAM_SHARE * (done as f64 / model.config.vocab_size as f64).min(1.0))
                .await?;
        }
    }
    if out.iter().all(|sum| sum.is_finite()) {
        return Ok(out);
    }
    let beyond = "products of its embeddings are beyond single precision";
    Err(Error::UnsupportedModel(beyond.into()))
}
