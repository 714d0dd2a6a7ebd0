//! A basis other than singular vectors: directions that the tokens only add, by semi-nonnegative factorisation of `wte`.

use std::ops::Range;

use nalgebra::{Cholesky, DMatrix};

use crate::config::single;
use crate::device::{Recorder, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Cross, Embed, Matmul, Matrix, Order, Precision, Rows, SemiNmf, pad4};
use crate::lens::descending;

use super::spectrum::MAX_PROJECTIONS;
use super::{Atlas, table};

/// Tokens that are on the device as plain rows at a time.
const TOKENS: usize = 1024;
/// Most iterations.
const MAX_ITERATIONS: usize = 1000;
/// What every loading starts with, and what the nearest start has more.
const START: f32 = 0.2;
/// Added to the diagonal of GᵀG, relative to its mean, so that a component without tokens leaves the equations solvable.
const RIDGE: f64 = 1e-9;

/// How to factorise.
#[derive(Debug, Clone, Copy)]
pub struct ComponentsOptions {
    /// Number of components.
    pub n: usize,
    /// Steps.
    pub iterations: usize,
}

/// wte ≈ tokensᵀ · directions, with tokens ≥ 0; the component with the largest sum of squares first.
#[derive(Debug, Clone, PartialEq)]
pub struct Components {
    /// Unit vectors over the channels. Shapes: \[n, C\].
    pub directions: Vec<f32>,
    /// What each token has of each. Shapes: \[n, V\].
    pub tokens: Vec<f32>,
    /// After each iteration, the share of the sum of squares of wte that is explained. Shapes: \[iterations\].
    pub explained: Vec<f32>,
}

/// Factorises the embedding, uncentred, from a start that depends on nothing but its shape: each of `n` tokens, spread evenly
/// over the vocabulary, is a component of the tokens that are nearest to it. Other starts can end elsewhere.
///
/// Errors: `missing-tensor`, `unsupported-model`, `bad-option` for n of 0, of more than the channels, or of more loadings than
/// fit the memory, and for no iterations or more than 1,000; `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
/// Source: Ding, Li and Jordan 2010, *Convex and semi-nonnegative matrix factorizations*.
pub async fn components(
    atlas: &Atlas<'_>,
    &ComponentsOptions { n, iterations }: &ComponentsOptions,
) -> Result<Components> {
    let config = &atlas.model.config;
    let (c, v) = (config.n_embd, config.vocab_size);
    let most = c.min(v).min((MAX_PROJECTIONS / pad4(v)).max(1));
    if !(1..=most).contains(&n) {
        return Err(Error::option("n", format!("1 to {most} components"), n));
    }
    if !(1..=MAX_ITERATIONS).contains(&iterations) {
        return Err(Error::option("iterations", format!("1 to {MAX_ITERATIONS}"), iterations));
    }
    // The start, the iterations and the end, approximately.
    let done = |iteration: usize| (2 + iteration) as f64 / (3 + iterations) as f64;
    let mut squares = 0.0;
    let first = Atlas { on_progress: &|share| (atlas.on_progress)(share * done(0)), ..*atlas };
    table::rows(&first, atlas.model.wte()?, |_, row| {
        squares += row.iter().map(|&e| f64::from(e).powi(2)).sum::<f64>();
    })
    .await?;

    let factors = Factors::new(atlas, n).await?;
    factors.start().await?;
    let mut explained = Vec::with_capacity(iterations);
    let (mut f, _) = factors.solve(factors.sums(false).await?)?;
    for iteration in 0..iterations {
        factors.set(&f);
        let solved = factors.solve(factors.sums(true).await?)?;
        f = solved.0;
        explained.push(single(solved.1 / squares.max(f64::MIN_POSITIVE)));
        atlas.yield_now(done(iteration + 1)).await?;
    }
    let found = factors.sorted(&f, explained).await?;
    atlas.advance(1.0)?;
    Ok(found)
}

/// F · Fᵀ.
fn products(f: &DMatrix<f64>) -> DMatrix<f64> {
    DMatrix::from_fn(f.nrows(), f.nrows(), |i, j| f.row(i).dot(&f.row(j)))
}

/// GᵀG and GᵀE over all tokens. Shapes: \[n, n\], \[n, C\].
struct Sums {
    gg: DMatrix<f64>,
    ge: DMatrix<f64>,
}

/// The factorisation under way, on the device: E ≈ G · F.
struct Factors<'a> {
    atlas: &'a Atlas<'a>,
    c: usize,
    v: usize,
    n: usize,
    /// Token ids, [`TOKENS`] at a time.
    ids: Vec<Tensor>,
    /// Shapes: \[[`TOKENS`], C4\].
    zeros: Tensor,
    /// E of some tokens. Shapes: \[[`TOKENS`], C4\].
    e: Tensor,
    /// E · Fᵀ of the same ones. Shapes: \[[`TOKENS`], N4\].
    p: Tensor,
    /// G · N⁺ and G · N⁻ of the same ones. Shapes: \[[`TOKENS`], 2·N4\].
    products: Tensor,
    /// Shapes: \[V, N4\].
    g: Tensor,
    /// Fᵀ. Shapes: \[C, n\].
    f: Matrix,
    /// N⁺ and N⁻ side by side. Shapes: \[n, 2·n\].
    signed: Matrix,
    /// Shapes: \[N4, N4\].
    gg: Tensor,
    /// Shapes: \[N4, C4\].
    ge: Tensor,
}

impl<'a> Factors<'a> {
    async fn new(atlas: &'a Atlas<'a>, n: usize) -> Result<Factors<'a>> {
        let (device, config) = (atlas.device, &atlas.model.config);
        let (c, v) = (config.n_embd, config.vocab_size);
        let (c4, n4) = (pad4(c), pad4(n));
        device.check_binding("the components of all tokens", (4 * v * n4) as u64)?;
        let allocate = || {
            let floats = |name: &str, n: usize| device.tensor(name, 4 * n as u64);
            let all: Vec<u32> = (0..).take(v).collect();
            Ok(Factors {
                atlas,
                c,
                v,
                n,
                ids: all.chunks(TOKENS).map(|ids| device.upload("ids", ids)).collect(),
                zeros: floats("zeros", TOKENS * c4),
                e: floats("embeddings", TOKENS * c4),
                p: floats("products", TOKENS * n4),
                products: floats("products", TOKENS * 2 * n4),
                g: floats("components of tokens", v * n4),
                f: Matrix::inputs(device, "components", c, n, Precision::F32),
                signed: Matrix::new(device, "products", n, [n, 2], Precision::F32, Order::Inputs),
                gg: floats("sums", n4 * n4),
                ge: floats("sums", n4 * c4),
            })
        };
        device.allocate("the components", allocate).await
    }

    /// The tokens, as many at a time as are on the device.
    fn blocks(&self) -> impl Iterator<Item = (&Tensor, Range<usize>)> {
        self.ids.iter().enumerate().map(|(i, ids)| {
            let first = i * TOKENS;
            (ids, first..(first + TOKENS).min(self.v))
        })
    }

    /// The loadings of the start.
    async fn start(&self) -> Result<()> {
        let (atlas, n) = (self.atlas, self.n);
        let chosen: Vec<u32> =
            (0..n).filter_map(|i| u32::try_from((2 * i + 1) * self.v / (2 * n)).ok()).collect();
        let quiet = Atlas { on_progress: &|_| {}, ..*atlas };
        let rows = table::rows_of(&quiet, &chosen).await?;
        let rows: Vec<f64> = rows.into_iter().map(f64::from).collect();
        let f = DMatrix::from_row_slice(n, self.c, &rows);
        let halves: Vec<f64> = f.row_iter().map(|row| 0.5 * row.norm_squared()).collect();
        self.set(&f);
        for (ids, tokens) in self.blocks() {
            let mut rec = atlas.device.record("the components", atlas.cancel);
            self.project(&mut rec, ids, tokens.len())?;
            let bytes = 4 * tokens.len() * pad4(n);
            let read = rec.read(&[(&self.p, bytes as u64)]).await?;
            let mut loadings = Vec::with_capacity(bytes / 4);
            for products in read.iter().flat_map(|p| p.chunks(pad4(n))) {
                // The start with the least distance: ‖e − f‖² = ‖e‖² − 2 (e·f − ‖f‖² / 2).
                let near = |i: usize| f64::from(products[i]) - halves[i];
                let nearest = (0..n).rev().max_by(|&a, &b| near(a).total_cmp(&near(b)));
                loadings.extend((0..pad4(n)).map(|i| match i {
                    i if i >= n => 0.0,
                    i if Some(i) == nearest => 1.0 + START,
                    _ => START,
                }));
            }
            atlas.device.write(&self.g, (4 * tokens.start * pad4(n)) as u64, &loadings);
        }
        Ok(())
    }

    /// Writes F and what follows from it.
    fn set(&self, f: &DMatrix<f64>) {
        let (n, n4) = (self.n, pad4(self.n));
        let mut columns = vec![0f32; self.c * n4];
        for (c, row) in columns.chunks_mut(n4).enumerate() {
            row.iter_mut().zip(f.column(c).iter()).for_each(|(to, &v)| *to = single(v));
        }
        self.atlas.device.write(&self.f.tensor, 0, &columns);
        let products = products(f);
        let mut signed = vec![0f32; n * 2 * n4];
        for (i, row) in signed.chunks_mut(2 * n4).enumerate() {
            for j in 0..n {
                row[j] = single(products[(i, j)].max(0.0));
                row[n4 + j] = single((-products[(i, j)]).max(0.0));
            }
        }
        self.atlas.device.write(&self.signed.tensor, 0, &signed);
    }

    /// Records E and E · Fᵀ of `len` tokens.
    fn project(&self, rec: &mut Recorder<'_>, ids: &Tensor, len: usize) -> Result<()> {
        let model = self.atlas.model;
        let e = Rows::new(&self.e, 0, self.c);
        let embed = Embed {
            ids,
            wte: model.wte()?,
            wpe: &self.zeros,
            scale: 1.0,
            factors: None,
            first_position: 0,
            n_rows: len,
            y: e,
        };
        model.kernels.embed(rec, &embed)?;
        let p = Rows::new(&self.p, 0, self.n);
        model.kernels.matmul(rec, &Matmul::new(e, &self.f, len, p))
    }

    /// Sums over all tokens, after a step of G if it is `updated`.
    async fn sums(&self, updated: bool) -> Result<Sums> {
        let (atlas, kernels) = (self.atlas, &self.atlas.model.kernels);
        let (n, n4, c4) = (self.n, pad4(self.n), pad4(self.c));
        let mut rec = atlas.device.record("the components", atlas.cancel);
        for (ids, tokens) in self.blocks() {
            let n_rows = tokens.len();
            let g = Rows::new(&self.g, tokens.start, n);
            self.project(&mut rec, ids, n_rows)?;
            if updated {
                let y = Rows::new(&self.products, 0, 2 * n4);
                kernels.matmul(&mut rec, &Matmul::new(g, &self.signed, n_rows, y))?;
                let p = Rows::new(&self.p, 0, n);
                kernels.semi_nmf(&mut rec, &SemiNmf { p, products: &self.products, n_rows, g })?;
            }
            let adds = tokens.start > 0;
            let e = Rows::new(&self.e, 0, self.c);
            for (b, y) in [(g, &self.gg), (e, &self.ge)] {
                let (p, q) = (&self.zeros, &self.zeros);
                kernels.cross(&mut rec, &Cross { a: g, p, b, q, n_rows, adds, y })?;
            }
            rec.yield_now().await?;
        }
        let ranges = [(&self.gg, (4 * n4 * n4) as u64), (&self.ge, (4 * n4 * c4) as u64)];
        let read = rec.read(&ranges).await?;
        let wide = |of: usize, width: usize| {
            let at = |i: usize, j: usize| read.get(of)?.get(i * pad4(width) + j).copied();
            DMatrix::from_fn(n, width, |i, j| f64::from(at(i, j).unwrap_or_default()))
        };
        Ok(Sums { gg: wide(0, n), ge: wide(1, self.c) })
    }

    /// F of the least error for this G, and the sum of squares that both explain.
    ///
    /// Errors: `unsupported-model` for products beyond single precision.
    fn solve(&self, Sums { gg, ge }: Sums) -> Result<(DMatrix<f64>, f64)> {
        let n = self.n;
        let factor = |ridge: f64| {
            let mut regular = gg.clone();
            (0..n).for_each(|i| regular[(i, i)] += ridge * gg.trace() / n as f64);
            Cholesky::new(regular)
        };
        // Sums of f32 of loadings that are nearly alike may need more.
        let solved = factor(RIDGE).or_else(|| factor(1e3 * RIDGE)).map(|factor| factor.solve(&ge));
        let Some(f) = solved.filter(|f| f.iter().all(|v| v.is_finite())) else {
            let beyond = "products of its embeddings exceed single precision";
            return Err(Error::UnsupportedModel(beyond.into()));
        };
        // ‖E‖² − ‖E − GF‖².
        let explained = 2.0 * f.dot(&ge) - gg.dot(&products(&f));
        Ok((f, explained))
    }

    /// The components with unit directions, the one with the largest sum of squares first.
    async fn sorted(&self, f: &DMatrix<f64>, explained: Vec<f32>) -> Result<Components> {
        let (atlas, n, n4) = (self.atlas, self.n, pad4(self.n));
        let lengths: Vec<f64> = f.row_iter().map(|row| row.norm()).collect();
        let mut of_component = vec![0f32; n * self.v];
        let mut squares = vec![0f64; n];
        for (_, tokens) in self.blocks() {
            let range = (4 * tokens.start * n4) as u64..(4 * tokens.end * n4) as u64;
            let read = atlas.device.read_ranges::<f32>(&[(&self.g, range)]).await?;
            for (token, g) in tokens.zip(read.iter().flat_map(|g| g.chunks(n4))) {
                for i in 0..n {
                    let loading = f64::from(g[i]) * lengths[i];
                    squares[i] += loading * loading;
                    of_component[i * self.v + token] = single(loading);
                }
            }
        }
        let mut found = Components { directions: Vec::new(), tokens: Vec::new(), explained };
        for i in descending(&squares) {
            found.tokens.extend_from_slice(&of_component[i * self.v..][..self.v]);
            let length = lengths[i].max(f64::MIN_POSITIVE);
            found.directions.extend(f.row(i).iter().map(|v| single(v / length)));
        }
        Ok(found)
    }
}
