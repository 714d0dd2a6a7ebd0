//! A file with only some of a model's tensors, for the atlas: planned as headers are received.

use crate::checkpoint::{Header, TensorInfo};
use crate::config::{Config, Family, MAX_DIM, MAX_LAYERS, MAX_VOCAB};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::{Precision, pad4};

use super::filling::{Filling, short_name};
use super::plan::Plan;
use super::weights::{PartialNorm, PartialWeights};

/// What a tensor is to the atlas.
enum Role {
    Wte,
    Wpe,
    Unembed,
    /// Its place in the pass is twice the block, plus one for ln_2, or [`LN_F`].
    Norm {
        place: usize,
        is_gain: bool,
    },
}

/// The place of the last LayerNorm.
const LN_F: usize = usize::MAX;

impl Role {
    /// By the names of every family.
    fn of(name: &str) -> Option<Role> {
        match name {
            "wte.weight" | "w.weight" => return Some(Role::Wte),
            "wpe.weight" => return Some(Role::Wpe),
            "lm_head.weight" => return Some(Role::Unembed),
            _ => {}
        }
        let (stem, kind) = name.rsplit_once('.')?;
        let is_gain = match kind {
            "weight" => true,
            "bias" => false,
            _ => return None,
        };
        if matches!(stem, "ln_f" | "layernorm") {
            return Some(Role::Norm { place: LN_F, is_gain });
        }
        let (digits, norm) = stem.strip_prefix("h.")?.split_once('.')?;
        let second = match norm {
            "ln_1" | "layernorm1" => 0,
            "ln_2" | "layernorm2" => 1,
            _ => return None,
        };
        let block: usize = digits.parse().ok()?;
        // Each block has one spelling.
        let is_plain = (block as u64) < MAX_LAYERS && block.to_string() == digits;
        is_plain.then_some(Role::Norm { place: 2 * block + second, is_gain })
    }
}

/// The tensors of some files, whose headers have been received.
pub(super) struct PartialPlan {
    config: Config,
    precision: Precision,
    shard_bytes: usize,
    weights: PartialWeights,
    /// In the order of their places in the pass.
    norms: Vec<(usize, PartialNorm)>,
    bytes: u64,
}

impl PartialPlan {
    pub(super) fn new(
        config: Option<Config>,
        precision: Precision,
        shard_bytes: usize,
    ) -> PartialPlan {
        let has_config = config.is_some();
        PartialPlan {
            config: config.unwrap_or_else(Config::unknown),
            precision,
            shard_bytes,
            weights: PartialWeights { has_config, ..PartialWeights::default() },
            norms: Vec::new(),
            bytes: 0,
        }
    }

    /// Allocates what the header of one file announces.
    ///
    /// Errors: `bad-header` where tensors contradict each other, `bad-shape` where they contradict the
    /// config, `unsupported-model` for a tensor too large for a binding, `out-of-memory`.
    pub(super) async fn allocate(
        &mut self,
        device: &Device,
        header: &Header,
        filling: &mut Filling,
    ) -> Result<()> {
        let is_wanted = |role: &Role| match role {
            Role::Unembed => self.weights.has_config && !self.config.tie_word_embeddings,
            Role::Wte | Role::Wpe | Role::Norm { .. } => true,
        };
        let tensors: Vec<(Role, &TensorInfo)> = header
            .tensors
            .iter()
            .filter_map(|tensor| Some((Role::of(short_name(&tensor.name))?, tensor)))
            .filter(|(role, _)| is_wanted(role))
            .collect();
        for (role, tensor) in &tensors {
            self.fit(device, role, tensor)?;
        }
        let mut names = header.tensors.iter().map(|tensor| short_name(&tensor.name));
        let bias = names.find(|&name| name == "lm_head.bias");
        let mut plan = Plan::new(device, self.precision, self.shard_bytes);
        for (role, tensor) in &tensors {
            self.place(&mut plan, role, short_name(&tensor.name), bias).await?;
        }
        self.bytes += plan.bytes();
        filling.expect(plan.expected);
        Ok(())
    }

    /// Compares a shape with the config, or completes the config from it where there is none.
    fn fit(&mut self, device: &Device, role: &Role, tensor: &TensorInfo) -> Result<()> {
        let (name, shape) = (&tensor.name, &tensor.shape[..]);
        let Config { n_embd, n_ctx, vocab_size, n_layer, .. } = self.config;
        // For each dimension: its size, or 0 if that is not known, and the largest accepted size.
        let width = (n_embd as u64, MAX_DIM);
        let expected = match role {
            Role::Norm { .. } => vec![width],
            Role::Wte | Role::Unembed => vec![(vocab_size as u64, MAX_VOCAB), width],
            Role::Wpe => vec![(n_ctx as u64, MAX_DIM), width],
        };
        let fits = |(&size, &(known, most)): (&u64, &(u64, u64))| {
            (1..=most).contains(&size) && (known == 0 || known == size)
        };
        if shape.len() != expected.len() || !shape.iter().zip(&expected).all(fits) {
            if self.weights.has_config {
                let expected = expected.into_iter().map(|(known, _)| known).collect();
                return Err(Error::BadShape { name: name.clone(), expected, got: shape.to_vec() });
            }
            return Err(Error::BadHeader(format!(
                "{name} has shape {shape:?}, which contradicts the tensors before it"
            )));
        }
        let size = |d: usize| shape.get(d).map_or(0, |&n| usize::try_from(n).unwrap_or(usize::MAX));
        let config = &mut self.config;
        match *role {
            Role::Wte | Role::Unembed => (config.vocab_size, config.n_embd) = (size(0), size(1)),
            Role::Wpe => (config.n_ctx, config.n_embd) = (size(0), size(1)),
            Role::Norm { place, .. } => {
                config.n_embd = size(0);
                if place != LN_F && place / 2 >= n_layer {
                    if self.weights.has_config {
                        let block = place / 2;
                        return Err(Error::BadHeader(format!(
                            "it has a block {block}, and the config has {n_layer} blocks"
                        )));
                    }
                    config.n_layer = place / 2 + 1;
                }
            }
        }
        let c = pad4(config.n_embd) as u64;
        device.check_binding("the Gram matrix", 4 * c * c)?;
        device.check_binding("the position embedding", 4 * config.n_ctx as u64 * c)
    }

    /// Errors: `bad-header` for a second tensor of one role, and those of [`Plan::step`].
    async fn place(
        &mut self,
        plan: &mut Plan<'_>,
        role: &Role,
        name: &str,
        bias: Option<&str>,
    ) -> Result<()> {
        let Config { n_embd, n_ctx, vocab_size, tie_word_embeddings: is_tied, .. } = self.config;
        let weights = &mut self.weights;
        let is_first = match *role {
            Role::Wte => {
                if name == "w.weight" && !weights.has_config {
                    (self.config.family, self.config.layer_norm_epsilon) = (Family::Ctrl, 1e-6);
                }
                let bias = bias.filter(|_| is_tied);
                let shards = plan.embedding(name, vocab_size, n_embd, bias).await?;
                weights.wte.replace(shards).is_none()
            }
            Role::Unembed => {
                let shards = plan.embedding(name, vocab_size, n_embd, bias).await?;
                weights.unembed.replace(shards).is_none()
            }
            Role::Wpe => {
                let table = plan.step(|plan| plan.table(name, n_ctx, n_embd)).await?;
                weights.wpe.replace(table).is_none()
            }
            Role::Norm { place, is_gain } => {
                let at = self.norms.partition_point(|(before, _)| *before < place);
                if self.norms.get(at).is_none_or(|(other, _)| *other != place) {
                    let name = match place {
                        LN_F => "ln_f".into(),
                        _ => format!("h.{}.ln_{}", place / 2, place % 2 + 1),
                    };
                    self.norms.insert(at, (place, PartialNorm { name, ..PartialNorm::default() }));
                }
                let (_, norm) = &mut self.norms[at];
                let vector = plan.step(|plan| plan.vector(name, n_embd)).await?;
                let slot = if is_gain { &mut norm.gain } else { &mut norm.bias };
                slot.replace(vector).is_none()
            }
        };
        match is_first {
            true => Ok(()),
            false => Err(Error::BadHeader(format!("{name} is there under another name as well"))),
        }
    }

    /// What has been received: the config as far as it is known, the weights and their size in bytes.
    ///
    /// Errors: `missing-tensor` if there is nothing that the atlas could show.
    pub(super) fn finish(self) -> Result<(Config, PartialWeights, u64)> {
        let mut weights = self.weights;
        weights.norms = self.norms.into_iter().map(|(_, norm)| norm).collect();
        if self.config.tie_word_embeddings {
            weights.unembed = weights.wte.clone();
        }
        if weights.wte.is_none() && weights.wpe.is_none() && weights.norms.is_empty() {
            let all = "wte.weight, wpe.weight and every LayerNorm";
            return Err(Error::MissingTensor(all.into()));
        }
        Ok((self.config, weights, self.bytes))
    }
}
