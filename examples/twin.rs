//! Runs the whole model and the lens on the CPU with the twins of the kernels. The page is compared with the result on
//! a model too large for a golden file.
//!
//! `cargo run --example twin -- FOLDER f16|f32 ID,ID,…` prints, as JSON, every statistic at every (tap, position).
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

use std::error::Error;
use std::path::Path;

use loupe::checkpoint::Element;
use loupe::config::{Activation, Config};
use loupe::lens::Moments;
use loupe::reading::Statistic;
use loupe::reference::{Columns, Sums, Weight, attention, embed, layer_norm, matmul, rank};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, json};

type Outcome<V> = Result<V, Box<dyn Error>>;

struct Twin {
    config: Config,
    file: Vec<u8>,
    halve: bool,
}

fn narrow(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|v| v as f32).collect()
}

impl Twin {
    fn open(folder: &Path, halve: bool) -> Outcome<Twin> {
        let config = Config::parse(&std::fs::read_to_string(folder.join("config.json"))?)?;
        let file = std::fs::read(folder.join("model.safetensors"))?;
        Ok(Twin { config, file, halve })
    }

    /// The numbers of a tensor; those of matrices are rounded as they are stored.
    fn tensor(&self, name: &str) -> Outcome<Vec<f32>> {
        let file = SafeTensors::deserialize(&self.file)?;
        let tensor = file.tensor(name)?;
        let element = match tensor.dtype() {
            Dtype::F32 => Element::F32,
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::Bf16,
            other => return Err(format!("{name} is {other:?}").into()),
        };
        let mut values = Vec::new();
        element.decode(tensor.data(), &mut values);
        if self.halve && tensor.shape().len() == 2 && name != "wpe.weight" {
            values.iter_mut().for_each(|v| *v = half::f16::from_f32(*v).to_f32());
        }
        Ok(values)
    }

    fn norm(&self, name: &str, x: &[f32]) -> Outcome<Vec<f32>> {
        let gain = self.tensor(&format!("{name}.weight"))?;
        let bias = self.tensor(&format!("{name}.bias"))?;
        let Config { n_embd, layer_norm_epsilon, .. } = self.config;
        Ok(narrow(layer_norm(x, n_embd, Some((&gain, &bias)), Some(layer_norm_epsilon))))
    }

    fn linear(
        &self,
        name: &str,
        x: &[f32],
        n_in: usize,
        activation: Option<Activation>,
        onto: Option<&[f32]>,
    ) -> Outcome<Vec<f32>> {
        let weight = self.tensor(&format!("{name}.weight"))?;
        let bias = self.tensor(&format!("{name}.bias"))?;
        Ok(narrow(matmul(x, &weight, n_in, Some(&bias), activation, onto)))
    }

    /// The residual stream at every tap. Shapes: N × \[T, C\].
    fn taps(&self, ids: &[u32], wte: &[f32]) -> Outcome<Vec<Vec<f32>>> {
        let Config { n_embd: c, n_head, n_inner, n_layer, .. } = self.config;
        let mut x = narrow(embed(ids, wte, &self.tensor("wpe.weight")?, 1.0, c, 0));
        let mut taps = vec![x.clone()];
        for i in 0..n_layer {
            let qkv = self.linear(
                &format!("h.{i}.attn.c_attn"),
                &self.norm(&format!("h.{i}.ln_1"), &x)?,
                c,
                None,
                None,
            )?;
            let part = |p: usize| {
                qkv.chunks(3 * c).flat_map(|row| row[p * c..][..c].to_vec()).collect::<Vec<f32>>()
            };
            let mixed = narrow(attention(
                &part(0),
                &part(1),
                &part(2),
                0,
                n_head,
                self.config.attention_scale(i),
                None,
                c,
            ));
            let mid = self.linear(&format!("h.{i}.attn.c_proj"), &mixed, c, None, Some(&x))?;
            let hidden = self.linear(
                &format!("h.{i}.mlp.c_fc"),
                &self.norm(&format!("h.{i}.ln_2"), &mid)?,
                c,
                Some(self.config.activation),
                None,
            )?;
            x = self.linear(&format!("h.{i}.mlp.c_proj"), &hidden, n_inner, None, Some(&mid))?;
            taps.push(x.clone());
        }
        Ok(taps)
    }

    fn read(&self, ids: &[u32]) -> Outcome<serde_json::Value> {
        let (c, t) = (self.config.n_embd, ids.len());
        let wte = self.tensor("wte.weight")?;
        let taps = self.taps(ids, &wte)?;
        let logits = |row: &[f32]| -> Vec<f32> {
            let dot = |w: &[f32]| {
                row.iter().zip(w).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
            };
            wte.chunks(c).map(|w| dot(w) as f32).collect()
        };
        let rows: Vec<Vec<f32>> =
            taps.iter().map(|x| self.norm("ln_f", x)).collect::<Outcome<_>>()?;
        let all_ids: Vec<u32> = (0..self.config.vocab_size as u32).collect();
        let mut stats = vec![vec![0.0; rows.len() * t]; Statistic::ALL.len()];
        let mut top = vec![0; rows.len() * t];
        for position in 0..t {
            let at = |tap: usize| logits(&rows[tap][position * c..][..c]);
            let references = [at(rows.len() - 1), at(0)];
            let [last, first] = &references;
            let sums = |logits: &[f32], weights| {
                let columns = Columns { ids: &all_ids, logits, references: [last, first] };
                Sums::of(columns, weights).moments()
            };
            let own: [Moments; 2] = [last, first].map(|logits| sums(logits, None));
            let weights = own.map(|m| Weight { m: m.m, s: m.s });
            for tap in 0..rows.len() {
                let logits = at(tap);
                let sums = sums(&logits, Some(weights));
                let target = |id: u32| {
                    let logit = logits[id as usize];
                    (logit, sums.logprob(logit.into()), rank(&logits, id, logit) as f64)
                };
                let (logit_final, logprob_final, rank_final) = target(own[0].best);
                let (_, logprob_input, rank_input) = target(ids[position]);
                let next = ids.get(position + 1).map(|&id| target(id));
                let cell = tap * t + position;
                top[cell] = sums.best;
                for (i, statistic) in Statistic::ALL.into_iter().enumerate() {
                    stats[i][cell] = match statistic {
                        Statistic::LogSumExp => sums.logsumexp(),
                        Statistic::Entropy => sums.entropy(),
                        Statistic::LogitFinal => logit_final.into(),
                        Statistic::ProbFinal => logprob_final.exp(),
                        Statistic::RankFinal => rank_final,
                        Statistic::LogprobInput => logprob_input,
                        Statistic::RankInput => rank_input,
                        Statistic::LogprobNext => next.map_or(f64::NAN, |n| n.1),
                        Statistic::RankNext => next.map_or(0.0, |n| n.2),
                        Statistic::KlFinal => sums.kl_from(0, &own[0]),
                        Statistic::KlFinalReverse => sums.kl_to(0, &own[0]),
                        Statistic::KlInput => sums.kl_from(1, &own[1]),
                        Statistic::KlInputReverse => sums.kl_to(1, &own[1]),
                    };
                }
            }
        }
        let named: Map<_, _> = Statistic::ALL
            .iter()
            .zip(stats)
            .map(|(s, v)| (s.name().to_string(), json!(v)))
            .collect();
        Ok(json!({ "n_tokens": t, "top_ids": top, "stats": named }))
    }
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, precision, ids] = &args[..] else {
        return Err("usage: twin FOLDER f16|f32 ID,ID,…".into());
    };
    let ids = ids.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let twin = Twin::open(Path::new(folder), precision == "f16")?;
    println!("{}", twin.read(&ids)?);
    Ok(())
}
