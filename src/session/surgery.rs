//! Edits of weights: factors on channels, and positions that are scaled or smoothed.

use std::rc::Rc;

use crate::config::Family;
use crate::device::{Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{Blend, Rows, pad4};
use crate::model::{EditedWeights, Half, Model, NormWeights, Site, Tap};

use super::description::Entries;
use super::edits::{Added, How, bad, site};

/// Edits of weights, summed up.
#[derive(Default)]
pub(super) struct Surgery {
    /// Factors by norm and channel.
    norms: Vec<((usize, Half), usize, f32)>,
    ln_f: Vec<(usize, f32)>,
    unembed: Vec<(usize, f32)>,
    embed: Vec<(usize, f32)>,
    /// In order: a channel, or all of them.
    pub(super) wpe: Vec<(Option<usize>, How)>,
}

impl Surgery {
    pub(super) fn add(
        &mut self,
        model: &Model,
        of: &str,
        channel: Option<usize>,
        how: How,
    ) -> Result<Added> {
        let config = &model.config;
        if let Some(channel) = channel.filter(|&channel| channel >= config.n_embd) {
            return Err(bad("channel", format!("0 to {}", config.n_embd - 1), channel));
        }
        match how {
            How::Scale(scale) if !scale.is_finite() => {
                return Err(bad("scale", "a finite number", scale));
            }
            How::Smooth(sigma) if !(sigma.is_finite() && sigma > 0.0) => {
                return Err(bad("smooth", "a positive number of positions", sigma));
            }
            _ => {}
        }
        let one = || channel.ok_or_else(|| bad("channel", "a channel", "none"));
        let scale = || match how {
            How::Scale(scale) => Ok(scale),
            How::Smooth(_) => Err(bad("smooth", "\"wpe\"", format!("\"{of}\""))),
        };
        let reach = match of {
            "embed" => {
                self.embed.push((one()?, scale()?));
                (0, 0)
            }
            "unembed" => {
                self.unembed.push((one()?, scale()?));
                (usize::MAX, usize::MAX)
            }
            "ln_f" => {
                self.ln_f.push((one()?, scale()?));
                (usize::MAX, usize::MAX)
            }
            "wpe" if config.family == Family::Ctrl => {
                let expected = "a model with position embeddings of its own";
                return Err(bad("weights", expected, "\"wpe\" of CTRL, which computes them"));
            }
            "wpe" => {
                self.wpe.push((channel, how));
                (0, 0)
            }
            name => {
                let unknown = || {
                    let last = config.n_layer - 1;
                    let expected = format!(
                        "h.0.ln_1 to h.{last}.ln_2, \"ln_f\", \"embed\", \"unembed\" or \"wpe\""
                    );
                    bad("weights", expected, format!("\"{name}\""))
                };
                let (before, norm) = name.rsplit_once('.').ok_or_else(unknown)?;
                let half = match norm {
                    "ln_1" => Half::Attn,
                    "ln_2" => Half::Mlp,
                    _ => return Err(unknown()),
                };
                let block = match site("weights", before, None, config) {
                    Ok(Site::Tap(Tap::After(i, Half::Mlp))) => i,
                    _ => return Err(unknown()),
                };
                self.norms.push(((block, half), one()?, scale()?));
                (block, 0)
            }
        };
        let mut description = Entries::new();
        description.add("weights", format!("\"{of}\""));
        if let Some(channel) = channel {
            description.add("channel", channel);
        }
        match how {
            How::Scale(scale) => description.add("scale", scale),
            How::Smooth(sigma) => description.add("smooth", sigma),
        }
        Ok((description.end(), reach))
    }

    /// The weights that take the place of the model's, but for `wpe`.
    pub(super) fn weights(&self, rec: &mut Recorder<'_>, model: &Model) -> Result<EditedWeights> {
        let mut out = EditedWeights::default();
        let width = pad4(model.config.n_embd);
        let whole = model.whole()?;
        for &(at, ..) in &self.norms {
            if out.norms.iter().any(|(known, _)| *known == at) {
                continue;
            }
            let block = &whole.blocks[at.0];
            let norm = if at.1 == Half::Attn { &block.ln_1 } else { &block.ln_2 };
            let of_this = self.norms.iter().filter(|(of, ..)| *of == at);
            let factors = factors(width, of_this.map(|&(_, channel, scale)| (channel, scale)));
            out.norms.push((at, scaled(rec, model, norm, &factors)?));
        }
        if !self.ln_f.is_empty() || !self.unembed.is_empty() {
            let factors = factors(width, self.ln_f.iter().chain(&self.unembed).copied());
            out.ln_f = Some(scaled(rec, model, &whole.ln_f, &factors)?);
            let bias = Rc::new(rec.device().tensor("edited weights", 4 * width as u64));
            let gain = Rc::new(rec.device().upload("edited weights", &factors));
            out.plain = Some(NormWeights { gain, bias });
            for &(channel, scale) in &self.unembed {
                match out.unembed.iter_mut().find(|(known, _)| *known == channel) {
                    Some((_, factor)) => *factor *= scale,
                    None => out.unembed.push((channel, scale)),
                }
            }
        }
        if !self.embed.is_empty() {
            let factors = factors(width, self.embed.iter().copied());
            out.embed = Some(rec.device().upload("edited weights", &factors));
        }
        Ok(out)
    }
}

/// The product of the factors on each channel.
fn factors(width: usize, of: impl Iterator<Item = (usize, f32)>) -> Vec<f32> {
    let mut factors = vec![1.0; width];
    for (channel, scale) in of {
        factors[channel] *= scale;
    }
    factors
}

/// Gain and bias times factors.
fn scaled(
    rec: &mut Recorder<'_>,
    model: &Model,
    norm: &NormWeights,
    factors: &[f32],
) -> Result<NormWeights> {
    let width = factors.len();
    let mut scale = |x: &Tensor| {
        let y = rec.device().tensor("edited weights", 4 * width as u64);
        rec.copy(x, 0, &y, 0, 4 * width as u64);
        for (channel, &scale) in factors.iter().enumerate().filter(|(_, factor)| **factor != 1.0) {
            let op = Blend {
                x: Rows::new(x, 0, width),
                is_one: true,
                scale,
                adds: false,
                channels: channel..channel + 1,
                n_rows: 1,
                y: Rows::new(&y, 0, width),
            };
            model.kernels.blend(rec, &op)?;
        }
        Ok(Rc::new(y))
    };
    Ok(NormWeights { gain: scale(&norm.gain)?, bias: scale(&norm.bias)? })
}

/// Edits position embeddings. Shapes: \[n_ctx, C4\].
#[expect(clippy::cast_possible_truncation, reason = "weights are stored in f32")]
pub(super) fn edit_wpe(rows: &mut [f32], width: usize, channel: Option<usize>, how: How) {
    let channels = channel.map_or(0..width, |channel| channel..channel + 1);
    let n = rows.len() / width;
    match how {
        How::Scale(scale) => {
            for row in rows.chunks_exact_mut(width) {
                row[channels.clone()].iter_mut().for_each(|v| *v *= scale);
            }
        }
        How::Smooth(sigma) => {
            let weight = |d: usize| (-0.5 * (d as f64 / f64::from(sigma)).powi(2)).exp();
            // Farther away a weight is 0 in f64.
            let weights: Vec<f64> = (0..n).map(weight).take_while(|&g| g > 0.0).collect();
            let before: Vec<f64> = rows.iter().map(|&v| v.into()).collect();
            for (p, row) in rows.chunks_exact_mut(width).enumerate() {
                let around = (p + 1).saturating_sub(weights.len())..n.min(p + weights.len());
                let mass: f64 = around.clone().map(|q| weights[p.abs_diff(q)]).sum();
                let mut sums = vec![0.0; channels.len()];
                for q in around {
                    let g = weights[p.abs_diff(q)];
                    let row = &before[q * width..][channels.clone()];
                    sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += g * v);
                }
                let new = sums.iter().map(|sum| (sum / mass) as f32);
                row[channels.clone()].iter_mut().zip(new).for_each(|(v, new)| *v = new);
            }
        }
    }
}
