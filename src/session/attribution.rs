//! Attribution: what each component of a run adds to the logit difference of two tokens at a cell.

use crate::device::Cancel;
use crate::error::{Error, Result};
use crate::kernels::{Blend, Matmul, Rows, Shard, pad4};
use crate::lens::{Line, Norm, RowSource};
use crate::model::{Edits, Half, Model, Pass, Scratch, Tap};
use crate::{atlas, kernels};

use super::{Lensed, Loaded, Session, in_use};

/// What each component adds at a cell.
pub struct Attribution {
    /// By name, in the order of the pass. Units: logits.
    pub components: Vec<(String, f32)>,
    /// Their sum.
    pub sum: f32,
    /// logit(a) − logit(b) of that cell, or logit(a) minus the mean over the vocabulary.
    pub shown: f32,
}

/// A direction whose product with a component is what that adds.
struct Direction {
    /// Shapes: \[C\].
    u: Vec<f64>,
    /// What gain, bias and the biases of the logits add by themselves.
    constants: Vec<(String, f64)>,
    /// Of the cell: the logit difference by its own row.
    own: f64,
}

/// Where the vectors of a component stand among those that are read back.
enum Source {
    /// A vector.
    One(usize),
    /// The second minus the first.
    Step(usize, usize),
}

impl Session {
    /// What embeddings, heads, MLPs, biases and edits add to the logit of the first token minus that of the second, or
    /// minus the mean over the vocabulary, at a cell, by the cell's own mean and variance. Hold the guard of
    /// [`Session::lock`].
    ///
    /// Errors: `bad-option`, `bad-token`, `not-found`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
    /// Source: TransformerLens, `stack_head_results` and `logit_attrs`, with another normalisation.
    pub async fn attribute(
        &self,
        lensed: &Lensed,
        tap: usize,
        position: usize,
        tokens: &[u32],
        cancel: &Cancel,
    ) -> Result<Attribution> {
        self.device.check()?;
        let loaded = in_use(&lensed.loaded)?;
        let (block, half) = lensed.place(tap, position)?;
        let model = &loaded.model;
        let config = &model.config;
        let (width, n_head) = (config.n_embd, config.n_head);
        let n_halves = half.map_or(0, |half| 2 * block + if half == Half::Attn { 1 } else { 2 });

        let edits = &lensed.resolved.edits;
        let plain = edits.of_weights();
        let row_bytes = 4 * pad4(width) as u64;
        let n_changes = edits.len();
        let most = 3 + n_changes + n_halves.div_ceil(2) * (n_head + 4) + n_changes;
        let device = &self.device;
        let allocate = || {
            let tensor = |rows: usize| device.tensor("components", rows as u64 * row_bytes);
            let scratch = Scratch::new(device, config, 1);
            Ok((tensor(most), tensor(n_head), tensor(1), tensor(1), tensor(1), scratch))
        };
        let made = device.allocate("this attribution", allocate).await?;
        let (out, heads, input, mid, post, scratch) = made;
        let mut rec = device.record("this attribution", cancel);
        let at = (model, &scratch, position);
        let rows = |tensor| Rows::new(tensor, 0, width);
        let mut n_out = 0;
        let mut sources: Vec<(String, Source)> = Vec::new();

        // The embeddings; then what each edit there changes.
        let wpe = edits.weights.wpe.as_ref().map_or_else(|| model.wpe(), Ok)?;
        rec.copy(wpe, position as u64 * row_bytes, &out, 0, row_bytes);
        one_position(at, &plain).embed_into(&mut rec, &lensed.stream, rows(&input))?;
        rec.copy(&input, 0, &out, row_bytes, row_bytes);
        sources.push(("wte".into(), Source::Step(0, 1)));
        sources.push(("wpe".into(), Source::One(0)));
        n_out += 2;
        for k in edits.at(Tap::Input, None, position) {
            one_position(at, &edits.first(k + 1)).embed_into(
                &mut rec,
                &lensed.stream,
                rows(&input),
            )?;
            rec.copy(&input, 0, &out, n_out as u64 * row_bytes, row_bytes);
            sources.push((edits.name(k), Source::Step(n_out - 1, n_out)));
            n_out += 1;
        }

        let whole = model.whole()?;
        for n in 0..n_halves {
            let (i, half) = (n / 2, if n % 2 == 0 { Half::Attn } else { Half::Mlp });
            let block = &whole.blocks[i];
            let x = one_position(at, &plain).positions_of(lensed.stream.resid_pre(i));
            let (keys, values) = (&lensed.stream.keys[i], &lensed.stream.values[i]);
            let y = if half == Half::Attn { &mid } else { &post };
            let run = |rec: &mut _, edits: &Edits| match half {
                Half::Attn => {
                    one_position(at, edits).attn(rec, (i, block), x, keys, values, rows(&mid))
                }
                Half::Mlp => one_position(at, edits).mlp(rec, (i, block), rows(&mid), rows(&post)),
            };
            run(&mut rec, &plain)?;
            let out_row = Rows::new(&out, n_out, width);
            match half {
                Half::Attn => {
                    for head in 0..n_head {
                        let dim = config.head_dim();
                        let op = Blend {
                            x: rows(&scratch.mixed),
                            is_one: false,
                            scale: 1.0,
                            adds: false,
                            channels: head * dim..(head + 1) * dim,
                            n_rows: 1,
                            y: Rows::new(&heads, head, width),
                        };
                        model.kernels.blend(&mut rec, &op)?;
                        sources.push((format!("h.{i}.attn.{head}"), Source::One(n_out + head)));
                    }
                    let op = Matmul::new(rows(&heads), &block.attn_out.weight, n_head, out_row);
                    model.kernels.matmul(&mut rec, &op)?;
                    n_out += n_head;
                    if let Some(bias) = &block.attn_out.bias {
                        rec.copy(bias, 0, &out, n_out as u64 * row_bytes, row_bytes);
                        sources.push((format!("h.{i}.attn.bias"), Source::One(n_out)));
                        n_out += 1;
                    }
                }
                Half::Mlp => {
                    let hidden = Rows::new(&scratch.hidden, 0, config.n_inner);
                    one_position(at, &plain).linear(&mut rec, hidden, &block.mlp_out, out_row)?;
                    sources.push((format!("h.{i}.mlp"), Source::One(n_out)));
                    n_out += 1;
                }
            }
            let changes = edits.at(Tap::After(i, half), Some((i, half)), position);
            if !changes.is_empty() {
                rec.copy(y, 0, &out, n_out as u64 * row_bytes, row_bytes);
                n_out += 1;
            }
            for k in changes {
                run(&mut rec, &edits.first(k + 1))?;
                rec.copy(y, 0, &out, n_out as u64 * row_bytes, row_bytes);
                sources.push((edits.name(k), Source::Step(n_out - 1, n_out)));
                n_out += 1;
            }
            rec.yield_now().await?;
        }
        let read = rec.read(&[(&out, n_out as u64 * row_bytes)]).await?;
        let vectors: Vec<&[f32]> =
            read.first().map_or(&[][..], Vec::as_slice).chunks_exact(pad4(width)).collect();

        let direction = self.direction(&loaded, lensed, tap, position, tokens, cancel).await?;
        let dot = |i: usize| -> f64 {
            let vector = vectors.get(i).copied().unwrap_or_default();
            vector.iter().zip(&direction.u).map(|(&v, u)| f64::from(v) * u).sum()
        };
        let mut components: Vec<(String, f64)> = Vec::new();
        for (name, source) in sources {
            let value = match source {
                Source::One(i) => dot(i),
                Source::Step(before, after) => dot(after) - dot(before),
            };
            // An edit may be done in two steps.
            match components.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += value,
                None => components.push((name, value)),
            }
        }
        components.extend(direction.constants);
        let sum = components.iter().map(|(_, value)| value).sum::<f64>();
        let shown = match *tokens {
            [a, b] => {
                let line = Line::Position(position);
                let tracks = self.trace(lensed, &[a, b], line, cancel).await?;
                let logit = |i: usize| tracks.get(i).and_then(|t| t.logit.get(tap).copied());
                f64::from(logit(0).unwrap_or(f32::NAN)) - f64::from(logit(1).unwrap_or(f32::NAN))
            }
            _ => direction.own,
        };
        let components = components.into_iter().map(|(name, value)| (name, single(value)));
        Ok(Attribution { components: components.collect(), sum: single(sum), shown: single(shown) })
    }

    /// What a component is multiplied with at a cell.
    async fn direction(
        &self,
        loaded: &Loaded,
        lensed: &Lensed,
        tap: usize,
        position: usize,
        tokens: &[u32],
        cancel: &Cancel,
    ) -> Result<Direction> {
        let (device, model) = (&self.device, &loaded.model);
        let width = model.config.n_embd;
        let decoder = lensed.decoder(model)?;
        let row_bytes = 4 * pad4(width) as u64;
        let RowSource::Tap(at) = lensed.rows[tap].source else { return Err(not_a_tap()) };
        let own = position as u64 * row_bytes..(position as u64 + 1) * row_bytes;
        let mut ranges = vec![(&lensed.stream.taps[at], own)];
        if let Some((gain, bias)) = decoder.affine() {
            ranges.extend([(gain, 0..row_bytes), (bias, 0..row_bytes)]);
        }
        let mut read = device.read_ranges::<f32>(&ranges).await?.into_iter();
        let mut next =
            || read.next().map(|row| row.into_iter().take(width).map(f64::from).collect());
        let x: Vec<f64> = next().unwrap_or_default();
        let gain: Option<Vec<f64>> = next();
        let bias: Option<Vec<f64>> = next();

        let [(a, bias_a), (b, bias_b)] = self.tokens(loaded, tokens, cancel).await?;
        let mut u: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let by_norm = bias.map(|bias| bias.iter().zip(&u).map(|(bias, u)| bias * u).sum::<f64>());
        for (channel, factor) in decoder.factors() {
            u[*channel] *= f64::from(*factor);
        }
        if let Some(gain) = &gain {
            u.iter_mut().zip(gain).for_each(|(u, gain)| *u *= gain);
        }
        if lensed.options.norm != Norm::None {
            let n = width as f64;
            let mean = x.iter().sum::<f64>() / n;
            let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            let sigma = (variance + f64::from(model.config.layer_norm_epsilon)).sqrt();
            let mean = u.iter().sum::<f64>() / n;
            u.iter_mut().for_each(|u| *u = (*u - mean) / sigma);
        }
        let mut constants = Vec::new();
        if let (Norm::Affine, Some(value)) = (lensed.options.norm, by_norm) {
            constants.push(("ln_f.bias".into(), value));
        }
        if model.unembed()?.iter().any(|shard| shard.bias.is_some()) {
            constants.push(("unembed.bias".into(), bias_a - bias_b));
        }
        let own = x.iter().zip(&u).map(|(x, u)| x * u).sum::<f64>()
            + constants.iter().map(|(_, value)| value).sum::<f64>();
        Ok(Direction { u, constants, own })
    }

    /// The rows of the unembedding of two tokens, or of one and their mean, with the biases of their logits.
    async fn tokens(
        &self,
        loaded: &Loaded,
        tokens: &[u32],
        cancel: &Cancel,
    ) -> Result<[(Vec<f64>, f64); 2]> {
        let expected = "one token, or two";
        if !(1..=2).contains(&tokens.len()) {
            return Err(Error::option("tokens", expected, format!("{} tokens", tokens.len())));
        }
        for &id in tokens {
            loaded.vocabulary.check(id)?;
        }
        let (model, device) = (&loaded.model, &self.device);
        let (shards, width) = (model.unembed()?, model.config.n_embd);
        let mut found = Vec::new();
        for &id in tokens {
            let row = atlas::row_of(device, shards, id).await?;
            let bias = match kernels::shard_of(shards, id) {
                Some((Shard { bias: Some(bias), .. }, at)) => {
                    let at = 4 * at as u64;
                    let read = device.read_ranges::<f32>(&[(bias, at..at + 4)]).await?;
                    read.first().and_then(|v| v.first().copied()).unwrap_or_default()
                }
                _ => 0.0,
            };
            found.push((row.into_iter().map(f64::from).collect(), f64::from(bias)));
        }
        if let [one] = &found[..] {
            let mean = self.mean_token(loaded, shards, width, cancel).await?;
            return Ok([one.clone(), mean]);
        }
        let two = <[(Vec<f64>, f64); 2]>::try_from(found);
        two.map_err(|_| Error::option("tokens", expected, "none"))
    }

    /// The mean of all rows of the unembedding, and of the biases of the logits; computed once for a model.
    async fn mean_token(
        &self,
        loaded: &Loaded,
        shards: &[Shard],
        width: usize,
        cancel: &Cancel,
    ) -> Result<(Vec<f64>, f64)> {
        if let Some(known) = loaded.mean_token.get() {
            return Ok(known.clone());
        }
        let v = loaded.model.config.vocab_size as f64;
        let mut sums = vec![0.0; width];
        let of = atlas::Atlas {
            device: &self.device,
            model: &loaded.model,
            cancel,
            on_progress: &|_| (),
            queue: &(),
            memo: &loaded.memo,
        };
        let add = |_, row: &[f32]| {
            sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
        };
        atlas::rows(&of, shards, add).await?;
        let mut bias = 0.0;
        for shard in shards {
            let Some(tensor) = &shard.bias else { continue };
            let read = self.device.read(&[(tensor, 4 * shard.matrix.n_out as u64)]).await?;
            bias += read.iter().flatten().map(|&v| f64::from(v)).sum::<f64>();
        }
        sums.iter_mut().for_each(|sum| *sum /= v);
        Ok(loaded.mean_token.get_or_init(|| (sums, bias / v)).clone())
    }

    /// The weights with which a head attends to each position up to one, and, for a cell and tokens, what it adds from
    /// each of them.
    ///
    /// Errors: those of [`Session::attribute`].
    pub async fn attention(
        &self,
        lensed: &Lensed,
        [block, head]: [usize; 2],
        position: usize,
        cell: Option<(usize, &[u32])>,
        cancel: &Cancel,
    ) -> Result<Vec<f32>> {
        self.device.check()?;
        let loaded = in_use(&lensed.loaded)?;
        let model = &loaded.model;
        let config = &model.config;
        for (name, got, n) in [("block", block, config.n_layer), ("head", head, config.n_head)] {
            if got >= n {
                return Err(Error::option(name, format!("0 to {}", n - 1), got));
            }
        }
        lensed.check_position(position)?;
        if let Some((tap, _)) = cell {
            let (last, half) = lensed.place(tap, position)?;
            if half.is_none() || last < block {
                let expected = format!("a row behind block {block}'s attention");
                return Err(Error::option("tap", expected, tap));
            }
        }
        let (width, dim) = (config.n_embd, config.head_dim());
        let row_bytes = 4 * pad4(width) as u64;
        let n_keys = position + 1;
        let device = &self.device;
        let weights = &model.whole()?.blocks[block];
        let stream = &lensed.stream;
        let allocate = || {
            let tensor = |rows: usize| device.tensor("attention", rows as u64 * row_bytes);
            Ok((tensor(1), tensor(n_keys), tensor(n_keys), Scratch::new(device, config, 1)))
        };
        let made = device.allocate("this attribution", allocate).await?;
        let (mid, masked, out, scratch) = made;
        let mut rec = device.record("this attribution", cancel);
        let plain = lensed.resolved.edits.of_weights();
        let pass = one_position((model, &scratch, position), &plain);
        let x = pass.positions_of(stream.resid_pre(block));
        let (keys, values) = (&stream.keys[block], &stream.values[block]);
        pass.attn(&mut rec, (block, weights), x, keys, values, Rows::new(&mid, 0, width))?;
        // What the head makes of each position's values.
        let op = Blend {
            x: Rows::new(values, 0, width),
            is_one: false,
            scale: 1.0,
            adds: false,
            channels: head * dim..(head + 1) * dim,
            n_rows: n_keys,
            y: Rows::new(&masked, 0, width),
        };
        model.kernels.blend(&mut rec, &op)?;
        let op = Matmul::new(
            Rows::new(&masked, 0, width),
            &weights.attn_out.weight,
            n_keys,
            Rows::new(&out, 0, width),
        );
        model.kernels.matmul(&mut rec, &op)?;
        let all = n_keys as u64 * row_bytes;
        let read = rec.read(&[(&scratch.q, row_bytes), (keys, all), (&out, all)]).await?;
        let [q, keys, out] = &read[..] else { return Ok(Vec::new()) };
        let part = head * dim..(head + 1) * dim;
        let of_head = |row: &[f32]| row.get(part.clone()).unwrap_or_default().to_vec();
        let q = of_head(q);
        let first = n_keys.saturating_sub(weights.window.unwrap_or(n_keys));
        let scores: Vec<f64> = keys
            .chunks_exact(pad4(width))
            .enumerate()
            .map(|(s, key)| {
                let dot: f64 =
                    of_head(key).iter().zip(&q).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                if s < first { f64::NEG_INFINITY } else { dot * f64::from(weights.attn_scale) }
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let mass: f64 = shares.iter().sum();
        let Some((tap, tokens)) = cell else {
            return Ok(shares.iter().map(|share| single(share / mass)).collect());
        };
        let direction = self.direction(&loaded, lensed, tap, position, tokens, cancel).await?;
        let from = |(share, vector): (&f64, &[f32])| {
            let dot: f64 = vector.iter().zip(&direction.u).map(|(&v, u)| f64::from(v) * u).sum();
            single(share / mass * dot)
        };
        Ok(shares.iter().zip(out.chunks_exact(pad4(width))).map(from).collect())
    }
}

/// A pass over one position of a text.
fn one_position<'a>(
    (model, scratch, position): (&'a Model, &'a Scratch, usize),
    edits: &'a Edits,
) -> Pass<'a> {
    Pass { model, scratch, edits, start: position, n: 1, n_runs: 1 }
}

#[expect(clippy::cast_possible_truncation, reason = "results are stored in f32")]
fn single(value: f64) -> f32 {
    value as f32
}

fn not_a_tap() -> Error {
    Error::option("tap", "a row of the residual stream", "a contribution")
}

impl Lensed {
    fn check_position(&self, position: usize) -> Result<()> {
        let t = self.ids.len();
        if position >= t {
            return Err(Error::option("position", format!("0 to {}", t - 1), position));
        }
        match self.stream.has_cache() {
            true => Ok(()),
            false => Err(Error::OutOfMemory("the keys and values of a text that long".into())),
        }
    }

    /// The block and the half behind which a row stands; no half for `input`.
    ///
    /// Errors: `bad-option` for what has no such place.
    fn place(&self, tap: usize, position: usize) -> Result<(usize, Option<Half>)> {
        self.check_position(position)?;
        if !self.options.decoder.is_empty() {
            let expected = "a reading whose decoder borrows nothing";
            return Err(Error::option("decoder", expected, format!("{:?}", self.options.decoder)));
        }
        let rows = self.rows.len();
        let row = self.rows.get(tap);
        let row = row.ok_or_else(|| Error::option("tap", format!("0 to {}", rows - 1), tap))?;
        let RowSource::Tap(at) = row.source else { return Err(not_a_tap()) };
        Ok(match (at, self.stream.has_halves) {
            (0, _) => (0, None),
            (at, false) => (at - 1, Some(Half::Mlp)),
            (at, true) if at % 2 == 1 => (at / 2, Some(Half::Attn)),
            (at, true) => (at / 2 - 1, Some(Half::Mlp)),
        })
    }
}
