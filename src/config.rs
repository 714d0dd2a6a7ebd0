//! `config.json` as Hugging Face writes it, checked: what a model is made of.

use serde::Deserialize;

use crate::error::{Error, Result};

/// The architecture a checkpoint follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// GPT-2 and its retrainings (DistilGPT2 and others with `model_type: "gpt2"`).
    Gpt2,
}

impl Family {
    /// The name in `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            Family::Gpt2 => "gpt2",
        }
    }
}

/// Sizes and switches of a model, in Hugging Face's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The architecture.
    pub family: Family,
    /// L: number of blocks.
    pub n_layer: usize,
    /// H: attention heads per block.
    pub n_head: usize,
    /// C: width of the residual stream.
    pub n_embd: usize,
    /// Width of the MLP, 4·C unless the config says otherwise.
    pub n_inner: usize,
    /// Positions the model knows.
    pub n_ctx: usize,
    /// V: tokens in the vocabulary.
    pub vocab_size: usize,
    /// ε of every LayerNorm.
    pub layer_norm_epsilon: f32,
    /// Whether q·k is divided by √D.
    pub scale_attn_weights: bool,
    /// Whether q·k of block i is divided by i + 1 as well.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Whether unembedding uses `wte` (true) or `lm_head.weight`.
    pub tie_word_embeddings: bool,
}

/// The file as it stands; everything optional, so that a message can name what is missing.
#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    n_layer: Option<u64>,
    n_head: Option<u64>,
    n_embd: Option<u64>,
    n_inner: Option<u64>,
    n_positions: Option<u64>,
    n_ctx: Option<u64>,
    max_position_embeddings: Option<u64>,
    vocab_size: Option<u64>,
    layer_norm_epsilon: Option<f64>,
    activation_function: Option<String>,
    scale_attn_weights: Option<bool>,
    scale_attn_by_inverse_layer_idx: Option<bool>,
    add_cross_attention: Option<bool>,
    tie_word_embeddings: Option<bool>,
}

/// Largest accepted size of any one dimension but the vocabulary: far above any model, far below overflow.
const MAX_DIM: u64 = 1 << 16;
/// Token ids travel as f32 through the lens kernels: exact up to 2²⁴.
const MAX_VOCAB: u64 = 1 << 24;

impl Config {
    /// Reads and checks the text of a `config.json`.
    ///
    /// Errors: `bad-config` (not JSON, a size missing, zero, or inconsistent),
    /// `unsupported-model` (another architecture, or a switch that Loupe does not honour).
    /// Source: `GPT2Config` of Hugging Face transformers, whose defaults apply where a switch is absent.
    pub fn parse(text: &str) -> Result<Config> {
        let raw: Raw = serde_json::from_str(text)
            .map_err(|e| Error::BadConfig(format!("not the JSON that is expected: {e}")))?;
        let family = match raw.model_type.as_deref() {
            Some("gpt2") => Family::Gpt2,
            Some(other) => {
                return Err(Error::UnsupportedModel(format!(
                    "model_type is \"{other}\", Loupe reads \"gpt2\""
                )));
            }
            None => return Err(Error::BadConfig("model_type is missing".into())),
        };
        let n_embd = size("n_embd", raw.n_embd, MAX_DIM)?;
        let n_head = size("n_head", raw.n_head, MAX_DIM)?;
        if n_embd % n_head != 0 {
            return Err(Error::BadConfig(format!(
                "n_embd ({n_embd}) is not a multiple of n_head ({n_head})"
            )));
        }
        let positions = raw.n_positions.or(raw.max_position_embeddings).or(raw.n_ctx);
        let n_inner = match raw.n_inner {
            Some(n) => size("n_inner", Some(n), 4 * MAX_DIM)?,
            None => 4 * n_embd,
        };
        let epsilon = raw.layer_norm_epsilon.unwrap_or(1e-5);
        if !(epsilon > 0.0 && epsilon < 1.0) {
            return Err(Error::BadConfig(format!(
                "layer_norm_epsilon is {epsilon}, expected a small positive number"
            )));
        }
        match raw.activation_function.as_deref().unwrap_or("gelu_new") {
            "gelu_new" | "gelu_pytorch_tanh" => {}
            other => {
                return Err(Error::UnsupportedModel(format!(
                    "activation_function is \"{other}\", Loupe has \"gelu_new\""
                )));
            }
        }
        if raw.add_cross_attention == Some(true) {
            return Err(Error::UnsupportedModel(
                "it has cross-attention (add_cross_attention)".into(),
            ));
        }
        Ok(Config {
            family,
            n_layer: size("n_layer", raw.n_layer, 1024)?,
            n_head,
            n_embd,
            n_inner,
            n_ctx: size("n_positions", positions, MAX_DIM)?,
            vocab_size: size("vocab_size", raw.vocab_size, MAX_VOCAB)?,
            layer_norm_epsilon: epsilon as f32,
            scale_attn_weights: raw.scale_attn_weights.unwrap_or(true),
            scale_attn_by_inverse_layer_idx: raw.scale_attn_by_inverse_layer_idx.unwrap_or(false),
            tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(true),
        })
    }

    /// D: width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// The factor on q·k in block `layer`.
    pub fn attention_scale(&self, layer: usize) -> f32 {
        let mut scale = 1.0;
        if self.scale_attn_weights {
            scale /= (self.head_dim() as f64).sqrt();
        }
        if self.scale_attn_by_inverse_layer_idx {
            scale /= (layer + 1) as f64;
        }
        scale as f32
    }

    /// Number of parameters the forward pass uses.
    pub fn parameters(&self) -> u64 {
        let (c, inner) = (self.n_embd as u64, self.n_inner as u64);
        let vectors = 4 * c + inner + c + 4 * c;
        self.matrix_values() + self.n_ctx as u64 * c + self.n_layer as u64 * vectors + 2 * c
    }

    /// Those of them that stand in matrices, which may be stored in f16.
    pub fn matrix_values(&self) -> u64 {
        let (c, inner) = (self.n_embd as u64, self.n_inner as u64);
        let embeddings = if self.tie_word_embeddings { 1 } else { 2 };
        let block = 4 * c * c + 2 * c * inner;
        embeddings * self.vocab_size as u64 * c + self.n_layer as u64 * block
    }
}

fn size(name: &str, value: Option<u64>, most: u64) -> Result<usize> {
    match value {
        Some(n) if (1..=most).contains(&n) => Ok(n as usize),
        Some(n) => Err(Error::BadConfig(format!("{name} is {n}, expected 1 to {most}"))),
        None => Err(Error::BadConfig(format!("{name} is missing"))),
    }
}
