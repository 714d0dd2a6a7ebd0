//! Attribution: what each component of a run adds to the logit difference of two tokens at a cell.

use loupe_numbers as numbers;

use crate::device::Cancel;
use crate::error::{Error, Result};
use crate::kernels::{Blend, Matmul, Rows, Shard, pad4};
use crate::lens::{Decoder, Line, Norm, RowSource, descending};
use crate::model::{Edits, Half, Tap};
use crate::reading::NotFinite;
use crate::{atlas, kernels};

use super::capture::Again;
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

/// How a vector of the stream becomes logits at a cell: by the cell's own mean and variance, and linearly once they are
/// known.
struct Readout {
    /// The cell's own stream. Shapes: \[C\].
    x: Vec<f64>,
    /// Factors of the channels. Shapes: \[C\].
    gain: Vec<f64>,
    /// Shapes: \[C\].
    bias: Option<Vec<f64>>,
    /// The cell's deviation; none where nothing is normalised.
    sigma: Option<f64>,
}

impl Readout {
    /// What a token's row is in the stream: its product with a vector is what that adds to the token's logit.
    fn in_stream(&self, row: &[f64]) -> Vec<f64> {
        self.normalised(row.iter().zip(&self.gain).map(|(v, gain)| v * gain).collect())
    }

    /// What a vector of the stream is where it is multiplied with tokens' rows.
    fn decoded(&self, vector: &[f64]) -> Vec<f64> {
        let vector = self.normalised(vector.to_vec());
        vector.iter().zip(&self.gain).map(|(v, gain)| v * gain).collect()
    }

    fn normalised(&self, mut vector: Vec<f64>) -> Vec<f64> {
        if let Some(sigma) = self.sigma {
            let mean = vector.iter().sum::<f64>() / vector.len() as f64;
            vector.iter_mut().for_each(|v| *v = (*v - mean) / sigma);
        }
        vector
    }
}

/// A component of a run by itself.
pub struct Promoted {
    /// The tokens whose logits it raises most, and by how much more than the mean over the vocabulary.
    pub promoted: Vec<(u32, f32)>,
    /// Those that it lowers most.
    pub suppressed: Vec<(u32, f32)>,
}

/// Vectors of components by name. Shapes: \[C\] each.
type Components = Vec<(String, Vec<f64>)>;

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
        let loaded = in_use(&lensed.loaded)?;
        lensed.place(tap, position)?;
        let [(a, bias_a), (b, bias_b)] = self.tokens(&loaded, tokens, cancel).await?;
        let found = self.components(&loaded, lensed, tap, position, cancel).await?;
        let readout = self.readout(&loaded, lensed, tap, position).await?;
        let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let u = readout.in_stream(&difference);
        let mut components: Vec<(String, f64)> =
            found.into_iter().map(|(name, vector)| (name, dot(&vector, &u))).collect();
        let mut own = dot(&readout.x, &u);
        let mut add = |name: &str, value: f64| {
            own += value;
            components.push((name.into(), value));
        };
        if let (Norm::Affine, Some(bias)) = (lensed.options.norm, &readout.bias) {
            add("ln_f.bias", dot(bias, &difference));
        }
        if loaded.model.unembed()?.iter().any(|shard| shard.bias.is_some()) {
            add("unembed.bias", bias_a - bias_b);
        }
        let sum = components.iter().map(|(_, value)| value).sum::<f64>();
        let shown = match *tokens {
            [a, b] => {
                let line = Line::Position(position);
                let tracks = self.trace(lensed, &[a, b], line, cancel).await?;
                let logit = |i: usize| tracks.get(i).and_then(|t| t.logit.get(tap).copied());
                f64::from(logit(0).unwrap_or(f32::NAN)) - f64::from(logit(1).unwrap_or(f32::NAN))
            }
            _ => own,
        };
        let components = components.into_iter().map(|(name, value)| (name, single(value)));
        Ok(Attribution { components: components.collect(), sum: single(sum), shown: single(shown) })
    }

    /// The vectors that the stream at a cell is the sum of.
    async fn components(
        &self,
        loaded: &Loaded,
        lensed: &Lensed,
        tap: usize,
        position: usize,
        cancel: &Cancel,
    ) -> Result<Components> {
        self.device.check()?;
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
            let again = Again::new(device, model, lensed, position);
            Ok((tensor(most), tensor(n_head), tensor(1), tensor(1), tensor(1), again))
        };
        let made = device.allocate("this attribution", allocate).await?;
        let (out, heads, input, mid, post, again) = made;
        let mut rec = device.record("this attribution", cancel);
        let scratch = &again.scratch;
        let rows = |tensor| Rows::new(tensor, 0, width);
        let mut n_out = 0;
        let mut sources: Vec<(String, Source)> = Vec::new();

        // The embeddings; then what each edit there changes.
        let wpe = edits.weights.wpe.as_ref().map_or_else(|| model.wpe(), Ok)?;
        rec.copy(wpe, position as u64 * row_bytes, &out, 0, row_bytes);
        again.pass(&plain).embed_into(&mut rec, &lensed.stream, rows(&input))?;
        rec.copy(&input, 0, &out, row_bytes, row_bytes);
        sources.push(("wte".into(), Source::Step(0, 1)));
        sources.push(("wpe".into(), Source::One(0)));
        n_out += 2;
        for k in edits.at(Tap::Input, None, position) {
            again.pass(&edits.first(k + 1)).embed_into(&mut rec, &lensed.stream, rows(&input))?;
            rec.copy(&input, 0, &out, n_out as u64 * row_bytes, row_bytes);
            sources.push((edits.name(k), Source::Step(n_out - 1, n_out)));
            n_out += 1;
        }

        let whole = model.whole()?;
        for n in 0..n_halves {
            let (i, half) = (n / 2, if n % 2 == 0 { Half::Attn } else { Half::Mlp });
            let block = &whole.blocks[i];
            let x = again.pass(&plain).positions_of(lensed.stream.resid_pre(i));
            let cache = match half {
                Half::Attn => Some(again.cache(&mut rec, i)?),
                Half::Mlp => None,
            };
            let y = if half == Half::Attn { &mid } else { &post };
            let run = |rec: &mut _, edits: &Edits| match cache {
                Some([keys, values]) => {
                    again.pass(edits).attn(rec, (i, block), x, keys, values, rows(&mid))
                }
                None => again.pass(edits).mlp(rec, (i, block), rows(&mid), rows(&post)),
            };
            run(&mut rec, &plain)?;
            let out_row = Rows::new(&out, n_out, width);
            match half {
                Half::Attn => {
                    for head in 0..n_head {
                        let dim = config.head_dim();
                        let op = Blend {
                            x: rows(scratch.mixed()),
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
                    let hidden = Rows::new(scratch.hidden(), 0, config.n_inner);
                    again.pass(&plain).linear(&mut rec, hidden, &block.mlp_out, out_row)?;
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

        let vector = |i: usize| {
            let vector = vectors.get(i).copied().unwrap_or_default();
            vector.iter().take(width).map(|&v| f64::from(v)).collect::<Vec<f64>>()
        };
        let mut components = Components::new();
        for (name, source) in sources {
            let mut value = match source {
                Source::One(i) | Source::Step(_, i) => vector(i),
            };
            if let Source::Step(before, _) = source {
                value.iter_mut().zip(vector(before)).for_each(|(v, before)| *v -= before);
            }
            // An edit may be done in two steps.
            match components.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => sum.iter_mut().zip(value).for_each(|(sum, v)| *sum += v),
                None => components.push((name, value)),
            }
        }
        Ok(components)
    }

    /// How the decoder reads a cell.
    async fn readout(
        &self,
        loaded: &Loaded,
        lensed: &Lensed,
        tap: usize,
        position: usize,
    ) -> Result<Readout> {
        let model = &loaded.model;
        let width = model.config.n_embd;
        let decoder = lensed.decoder(model)?;
        let row_bytes = 4 * pad4(width) as u64;
        let Some(RowSource::Tap(at)) = lensed.rows.get(tap).map(|row| row.source) else {
            return Err(not_a_tap());
        };
        let own = position as u64 * row_bytes..(position as u64 + 1) * row_bytes;
        let mut ranges = vec![(&lensed.stream.taps[at], own)];
        if let Some((gain, bias)) = decoder.affine() {
            ranges.extend([(gain, 0..row_bytes), (bias, 0..row_bytes)]);
        }
        let mut read = self.device.read_ranges::<f32>(&ranges).await?.into_iter();
        let mut next =
            || read.next().map(|row| row.into_iter().take(width).map(f64::from).collect());
        let x: Vec<f64> = next().unwrap_or_default();
        let mut gain: Vec<f64> = next().unwrap_or_else(|| vec![1.0; width]);
        let bias: Option<Vec<f64>> = next();
        for (channel, factor) in decoder.factors() {
            gain[*channel] *= f64::from(*factor);
        }
        let sigma = (lensed.options.norm != Norm::None).then(|| {
            let n = width as f64;
            let mean = x.iter().sum::<f64>() / n;
            let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            (variance + f64::from(model.config.layer_norm_epsilon)).sqrt()
        });
        Ok(Readout { x, gain, bias, sigma })
    }

    /// The difference of two tokens in the stream at a cell.
    async fn direction(
        &self,
        loaded: &Loaded,
        lensed: &Lensed,
        (tap, tokens): (usize, &[u32]),
        position: usize,
        cancel: &Cancel,
    ) -> Result<Vec<f64>> {
        let readout = self.readout(loaded, lensed, tap, position).await?;
        let [(a, _), (b, _)] = self.tokens(loaded, tokens, cancel).await?;
        let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        Ok(readout.in_stream(&difference))
    }

    /// The direction of the stream that raises the logit of the first token over that of the second, or over the mean of
    /// the vocabulary: the difference of their rows times the gain of ln_f, centred, because ln_f takes no notice of the
    /// mean. Shapes: \[C\]. Hold the guard of [`Session::lock`].
    ///
    /// Errors: `bad-option`, `bad-token`, `not-found`, `missing-tensor`, `aborted`, `device-lost`.
    pub async fn token_direction(&self, tokens: &[u32], cancel: &Cancel) -> Result<Vec<f32>> {
        self.device.check()?;
        let loaded = self.loaded()?;
        loaded.model.whole()?;
        let width = loaded.model.config.n_embd;
        let [(a, _), (b, _)] = self.tokens(&loaded, tokens, cancel).await?;
        let decoder = Decoder::new(&loaded.model, Norm::Affine)?;
        let gain = match decoder.affine() {
            Some((gain, _)) => self.device.read(&[(gain, 4 * width as u64)]).await?,
            None => Vec::new(),
        };
        let gain = gain.first().map_or(&[][..], Vec::as_slice);
        let mut u: Vec<f64> =
            a.iter().zip(&b).zip(gain).map(|((a, b), &gain)| (a - b) * f64::from(gain)).collect();
        let mean = u.iter().sum::<f64>() / width as f64;
        u.iter_mut().for_each(|u| *u -= mean);
        Ok(u.into_iter().map(single).collect())
    }

    /// The residual stream at a cell, or in a whole row. Shapes: \[C\], or \[T, C\]. Hold the guard of [`Session::lock`].
    ///
    /// Errors: `bad-option`, `not-found`, `device-lost`.
    pub async fn stream(
        &self,
        lensed: &Lensed,
        tap: usize,
        position: Option<usize>,
    ) -> Result<Vec<f32>> {
        self.device.check()?;
        let loaded = in_use(&lensed.loaded)?;
        lensed.check_position(position.unwrap_or(0))?;
        let width = loaded.model.config.n_embd;
        let row_bytes = 4 * pad4(width) as u64;
        let positions = position.map_or(0..lensed.ids.len(), |position| position..position + 1);
        let range = positions.start as u64 * row_bytes..positions.end as u64 * row_bytes;
        let Some(RowSource::Tap(at)) = lensed.rows.get(tap).map(|row| row.source) else {
            return Err(not_a_tap());
        };
        let read = self.device.read_ranges::<f32>(&[(&lensed.stream.taps[at], range)]).await?;
        let rows = read.iter().flat_map(|rows| rows.chunks(pad4(width)));
        Ok(rows.flat_map(|row| row.iter().take(width).copied()).collect())
    }

    /// The tokens that a component of a cell raises and lowers most by itself, against the mean over the vocabulary, as
    /// its own mean and variance decode it. Hold the guard of [`Session::lock`].
    ///
    /// Errors: those of [`Session::attribute`]; `bad-option` for a component that is not there.
    pub async fn promoted(
        &self,
        lensed: &Lensed,
        (tap, component): (usize, &str),
        position: usize,
        k: usize,
        cancel: &Cancel,
    ) -> Result<Promoted> {
        if !(1..=MAX_PROMOTED).contains(&k) {
            return Err(Error::option("k", format!("1 to {MAX_PROMOTED}"), k));
        }
        let loaded = in_use(&lensed.loaded)?;
        let found = self.components(&loaded, lensed, tap, position, cancel).await?;
        let Some((_, vector)) = found.iter().find(|(name, _)| name == component) else {
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            let got = format!("\"{component}\"");
            return Err(Error::option("component", format!("one of {}", names.join(", ")), got));
        };
        let readout = self.readout(&loaded, lensed, tap, position).await?;
        let decoded = readout.decoded(vector);
        let mut values = vec![0.0; loaded.model.config.vocab_size];
        let visit = |id: usize, row: &[f32]| {
            if let Some(value) = values.get_mut(id) {
                *value = numbers::dot(row, &decoded);
            }
        };
        let shards = loaded.model.unembed()?;
        atlas::rows(&self.atlas_of(&loaded, cancel), shards, visit).await?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        // A tie goes to the lower id, on both sides.
        let strongest = |sign: f64| -> Vec<(u32, f32)> {
            let signed: Vec<f64> = values.iter().map(|value| sign * value).collect();
            let above_mean = |id: usize| single(values[id] - mean);
            let first = descending(&signed).into_iter().take(k);
            first.filter_map(|id| Some((u32::try_from(id).ok()?, above_mean(id)))).collect()
        };
        Ok(Promoted { promoted: strongest(1.0), suppressed: strongest(-1.0) })
    }

    /// What each hidden unit of a block's MLP adds to the logit difference at a cell; with the bias of the output they
    /// sum to the component of the MLP. Shapes: \[n_inner\]. Hold the guard of [`Session::lock`].
    ///
    /// Errors: those of [`Session::attribute`].
    pub async fn neurons(
        &self,
        lensed: &Lensed,
        block: usize,
        cell: (usize, &[u32]),
        position: usize,
        cancel: &Cancel,
    ) -> Result<Vec<f32>> {
        self.device.check()?;
        let loaded = in_use(&lensed.loaded)?;
        let model = &loaded.model;
        check_below("block", block, model.config.n_layer)?;
        let (last, half) = lensed.place(cell.0, position)?;
        if half.is_none() || last < block || (last == block && half == Some(Half::Attn)) {
            let expected = format!("a row behind block {block}'s MLP");
            return Err(Error::option("tap", expected, cell.0));
        }
        let direction = self.direction(&loaded, lensed, cell, position, cancel).await?;
        let (width, n_inner) = (model.config.n_embd, model.config.n_inner);
        let row_bytes = 4 * pad4(width) as u64;
        let device = &self.device;
        let allocate = || {
            let tensor = || device.tensor("neurons", row_bytes);
            Ok((tensor(), tensor(), Again::new(device, model, lensed, position)))
        };
        let (mid, post, again) = device.allocate("this attribution", allocate).await?;
        let weights = &model.whole()?.blocks[block];
        let mut rec = device.record("this attribution", cancel);
        // What is edited between the halves is what the MLP reads; what blends into its hidden layer is an edit of its own.
        let plain = lensed.resolved.edits.of_weights();
        let pass = again.pass(&plain);
        let x = pass.positions_of(lensed.stream.resid_pre(block));
        let [keys, values] = again.cache(&mut rec, block)?;
        let (mid, post) = (Rows::new(&mid, 0, width), Rows::new(&post, 0, width));
        let edited = again.pass(&lensed.resolved.edits);
        edited.attn(&mut rec, (block, weights), x, keys, values, mid)?;
        pass.mlp(&mut rec, (block, weights), mid, post)?;
        let read = rec.read(&[(again.scratch.hidden(), 4 * n_inner as u64)]).await?;
        let hidden = read.first().map_or(&[][..], Vec::as_slice);
        let out =
            atlas::along(&self.atlas_of(&loaded, cancel), &weights.mlp_out.weight, &direction)
                .await?;
        Ok(hidden.iter().zip(&out).map(|(&h, out)| single(f64::from(h) * out)).collect())
    }

    /// What reads weights back.
    pub(super) fn atlas_of<'a>(
        &'a self,
        loaded: &'a Loaded,
        cancel: &'a Cancel,
    ) -> atlas::Atlas<'a> {
        atlas::Atlas {
            device: &self.device,
            model: &loaded.model,
            cancel,
            on_progress: &|_| (),
            queue: &(),
            memo: &loaded.memo,
        }
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
        let add = |_, row: &[f32]| {
            sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
        };
        atlas::rows(&self.atlas_of(loaded, cancel), shards, add).await?;
        let mut bias = 0.0;
        for shard in shards {
            let Some(tensor) = &shard.bias else { continue };
            let read = self.device.read(&[(tensor, 4 * shard.matrix.n_out as u64)]).await?;
            bias += read.iter().flatten().map(|&v| f64::from(v)).sum::<f64>();
        }
        sums.iter_mut().for_each(|sum| *sum /= v);
        Ok(loaded.mean_token.get_or_init(|| (sums, bias / v)).clone())
    }

    /// The weights with which a head, or each head of a block, attends to each position up to one; for a cell and tokens,
    /// what it adds from each of them. Shapes: \[heads, position + 1\]. Hold the guard of [`Session::lock`].
    ///
    /// Errors: those of [`Session::attribute`].
    pub async fn attention(
        &self,
        lensed: &Lensed,
        (block, head): (usize, Option<usize>),
        position: usize,
        cell: Option<(usize, &[u32])>,
        cancel: &Cancel,
    ) -> Result<Vec<f32>> {
        self.device.check()?;
        let loaded = in_use(&lensed.loaded)?;
        let model = &loaded.model;
        let config = &model.config;
        check_below("block", block, config.n_layer)?;
        check_below("head", head.unwrap_or(0), config.n_head)?;
        lensed.check_position(position)?;
        let weights = &model.whole()?.blocks[block];
        let along = match cell {
            Some(cell) => {
                let (last, half) = lensed.place(cell.0, position)?;
                if half.is_none() || last < block {
                    let expected = format!("a row behind block {block}'s attention");
                    return Err(Error::option("tap", expected, cell.0));
                }
                let u = self.direction(&loaded, lensed, cell, position, cancel).await?;
                Some(
                    atlas::along(&self.atlas_of(&loaded, cancel), &weights.attn_out.weight, &u)
                        .await?,
                )
            }
            None => None,
        };
        let (width, dim) = (config.n_embd, config.head_dim());
        let row_bytes = 4 * pad4(width) as u64;
        let n_keys = position + 1;
        let device = &self.device;
        let stream = &lensed.stream;
        let allocate =
            || Ok((device.tensor("mid", row_bytes), Again::new(device, model, lensed, position)));
        let (mid, again) = device.allocate("this attribution", allocate).await?;
        let mut rec = device.record("this attribution", cancel);
        let plain = lensed.resolved.edits.of_weights();
        let pass = again.pass(&plain);
        let x = pass.positions_of(stream.resid_pre(block));
        let [keys, values] = again.cache(&mut rec, block)?;
        pass.attn(&mut rec, (block, weights), x, keys, values, Rows::new(&mid, 0, width))?;
        let all = n_keys as u64 * row_bytes;
        let mut ranges = vec![(again.scratch.q(), row_bytes), (keys, all)];
        if along.is_some() {
            ranges.push((values, all));
        }
        let read = rec.read(&ranges).await?;
        let [q, keys, values @ ..] = &read[..] else { return Ok(Vec::new()) };
        let values = values.first().map_or(&[][..], Vec::as_slice);
        let first = n_keys.saturating_sub(weights.window.unwrap_or(n_keys));
        let mut found = Vec::new();
        for head in head.map_or(0..config.n_head, |head| head..head + 1) {
            let part = head * dim..(head + 1) * dim;
            let of_head = |row: &[f32]| -> Vec<f64> {
                let part = row.get(part.clone()).unwrap_or_default();
                part.iter().map(|&v| f64::from(v)).collect()
            };
            let q = of_head(q);
            let score = |(s, key): (usize, &[f32])| match s < first {
                true => f64::NEG_INFINITY,
                false => dot(&of_head(key), &q) * f64::from(weights.attn_scale),
            };
            let scores: Vec<f64> = keys.chunks_exact(pad4(width)).enumerate().map(score).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let shares: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let mass: f64 = shares.iter().sum();
            let along = along.as_ref().and_then(|along| along.get(part.clone()));
            let mut values = values.chunks_exact(pad4(width));
            found.extend(shares.iter().map(|share| {
                let adds = |along| dot(&of_head(values.next().unwrap_or_default()), along);
                single(share / mass * along.map_or(1.0, adds))
            }));
        }
        Ok(found)
    }
}

/// Most tokens that [`Session::promoted`] lists on each side.
const MAX_PROMOTED: usize = 100;

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn check_below(name: &str, got: usize, n: usize) -> Result<()> {
    match got < n {
        true => Ok(()),
        false => Err(Error::option(name, format!("0 to {}", n - 1), got)),
    }
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
        match position < t {
            true => Ok(()),
            false => Err(Error::option("position", format!("0 to {}", t - 1), position)),
        }
    }

    /// The block and the half behind which a row stands; no half for `input`.
    ///
    /// Errors: `bad-option` for what has no such place.
    fn place(&self, tap: usize, position: usize) -> Result<(usize, Option<Half>)> {
        self.check_position(position)?;
        let is_finite = |cell: &NotFinite| (cell.tap, cell.position) != (tap, position);
        if !self.reading.not_finite.iter().all(is_finite) {
            return Err(Error::option("position", "a cell whose logits are finite", position));
        }
        if self.options.lens.is_some() {
            let expected = "a reading under the logit lens";
            return Err(Error::option("lens", expected, "another lens"));
        }
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
