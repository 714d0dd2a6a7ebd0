//! Writes models of GPT-2's shapes and tensor names, masks included, with seeded random numbers.
//!
//! The published files are too large to commit and not ours. These have the same sizes and order of tensors, and
//! the same bytes on every machine.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::run::Outcome;

/// Name, blocks, heads, width.
const SHAPES: [(&str, u64, u64, u64); 4] = [
    ("gpt2", 12, 12, 768),
    ("gpt2-medium", 24, 16, 1024),
    ("gpt2-large", 36, 20, 1280),
    ("gpt2-xl", 48, 25, 1600),
];
const N_CTX: u64 = 1024;
const VOCAB_SIZE: u64 = 50_257;
const END_OF_TEXT: &str = "<|endoftext|>";

/// The values of a tensor.
#[derive(Clone, Copy)]
enum Fill {
    /// Close to normal, with a mean and a standard deviation.
    Normal(f64, f64),
    /// One on and below the diagonal, zero above it.
    CausalMask,
}

struct Tensor {
    name: String,
    shape: Vec<u64>,
    fill: Fill,
}

impl Tensor {
    fn values(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// The names that `synth` knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|shape| shape.0)
}

/// Writes config.json, tokenizer.json and model.safetensors into the folder `out`.
pub fn synth(name: &str, out: &Path) -> Outcome {
    let known = SHAPES.iter().find(|shape| shape.0 == name);
    let &(_, n_layer, n_head, n_embd) = known.ok_or_else(|| format!("there is no shape {name}"))?;
    let failed = |e: std::io::Error| format!("{}: {e}", out.display());
    fs::create_dir_all(out).map_err(failed)?;
    fs::write(out.join("config.json"), config(n_layer, n_head, n_embd)).map_err(failed)?;
    fs::write(out.join("tokenizer.json"), tokenizer()).map_err(failed)?;
    let tensors = tensors(n_layer, n_embd);
    let file = File::create(out.join("model.safetensors")).map_err(failed)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    write_weights(&mut file, &tensors).and_then(|()| file.flush()).map_err(failed)?;
    println!("{name}: {} tensors in {}", tensors.len(), out.display());
    Ok(())
}

fn config(n_layer: u64, n_head: u64, n_embd: u64) -> String {
    format!(
        "{{\n  \"model_type\": \"gpt2\",\n  \"activation_function\": \"gelu_new\",\n  \
         \"layer_norm_epsilon\": 1e-05,\n  \"n_ctx\": {N_CTX},\n  \"n_embd\": {n_embd},\n  \
         \"n_head\": {n_head},\n  \"n_layer\": {n_layer},\n  \"n_positions\": {N_CTX},\n  \
         \"vocab_size\": {VOCAB_SIZE}\n}}\n"
    )
}

/// Every tensor of such a model, sorted by name as in the published files.
fn tensors(n_layer: u64, c: u64) -> Vec<Tensor> {
    const SMALL: Fill = Fill::Normal(0.0, 0.02);
    const GAIN: Fill = Fill::Normal(1.0, 0.1);
    // The projections back into the stream are smaller, as GPT-2's are at the start of its training.
    let narrow = Fill::Normal(0.0, 0.02 / (2.0 * n_layer as f64).sqrt());
    let mut all = Vec::new();
    let mut add = |name: String, shape: &[u64], fill: Fill| {
        all.push(Tensor { name, shape: shape.into(), fill });
    };
    for i in 0..n_layer {
        add(format!("h.{i}.attn.bias"), &[1, 1, N_CTX, N_CTX], Fill::CausalMask);
        for (part, n_in, n_out, fill) in [
            ("attn.c_attn", c, 3 * c, SMALL),
            ("attn.c_proj", c, c, narrow),
            ("mlp.c_fc", c, 4 * c, SMALL),
            ("mlp.c_proj", 4 * c, c, narrow),
        ] {
            add(format!("h.{i}.{part}.weight"), &[n_in, n_out], fill);
            add(format!("h.{i}.{part}.bias"), &[n_out], SMALL);
        }
        for norm in ["ln_1", "ln_2"] {
            add(format!("h.{i}.{norm}.weight"), &[c], GAIN);
            add(format!("h.{i}.{norm}.bias"), &[c], SMALL);
        }
    }
    add("ln_f.weight".into(), &[c], GAIN);
    add("ln_f.bias".into(), &[c], SMALL);
    add("wpe.weight".into(), &[N_CTX, c], Fill::Normal(0.0, 0.01));
    add("wte.weight".into(), &[VOCAB_SIZE, c], SMALL);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn write_weights(out: &mut impl Write, tensors: &[Tensor]) -> std::io::Result<()> {
    let mut header = String::from("{\"__metadata__\":{\"format\":\"pt\"}");
    let mut at = 0;
    for tensor in tensors {
        let end = at + 4 * tensor.values();
        let (name, shape) = (&tensor.name, &tensor.shape);
        let entry = format!(
            ",\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{at},{end}]}}"
        );
        header.push_str(&entry);
        at = end;
    }
    header.push('}');
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    tensors.iter().try_for_each(|tensor| write_values(out, tensor))
}

fn write_values(out: &mut impl Write, tensor: &Tensor) -> std::io::Result<()> {
    match tensor.fill {
        Fill::CausalMask => {
            for row in 0..N_CTX {
                for column in 0..N_CTX {
                    out.write_all(&f32::from(u8::from(column <= row)).to_le_bytes())?;
                }
            }
        }
        Fill::Normal(mean, deviation) => {
            let mut noise = Noise::new(&tensor.name);
            for _ in 0..tensor.values() {
                let value = (mean + deviation * noise.normal()) as f32;
                out.write_all(&value.to_le_bytes())?;
            }
        }
    }
    Ok(())
}

/// A random sequence that depends on a name only.
struct Noise(u64);

impl Noise {
    /// Seeded by the name's FNV-1a hash.
    fn new(name: &str) -> Noise {
        let hash = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        Noise(name.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    /// Marsaglia's xorshift64*.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Close to normal, mean 0 and deviation 1: four uniform 16-bit numbers, summed.
    fn normal(&mut self) -> f64 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
        (sum as f64 / 65535.0 - 2.0) * 3f64.sqrt()
    }
}

/// A byte-level tokenizer of GPT-2's size without a merge: a text is its bytes, other ids have a name only.
fn tokenizer() -> String {
    let mut vocab = String::new();
    for id in 0..VOCAB_SIZE {
        let entry = match u8::try_from(id) {
            Ok(byte) => stand_in(byte).to_string(),
            Err(_) if id + 1 == VOCAB_SIZE => END_OF_TEXT.into(),
            Err(_) => format!("token{id}"),
        };
        let escaped = entry.replace('\\', "\\\\").replace('"', "\\\"");
        let comma = if id == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(vocab, "{comma}\"{escaped}\":{id}");
    }
    let byte_level = "\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true";
    let last = VOCAB_SIZE - 1;
    format!(
        "{{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[{{\"id\":{last},\
         \"content\":\"{END_OF_TEXT}\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\
         \"normalized\":false,\"special\":true}}],\"normalizer\":null,\"pre_tokenizer\":{{{byte_level}}},\
         \"post_processor\":null,\"decoder\":{{{byte_level}}},\"model\":{{\"type\":\"BPE\",\"dropout\":null,\
         \"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\
         \"fuse_unk\":false,\"byte_fallback\":false,\"vocab\":{{{vocab}}},\"merges\":[]}}}}\n"
    )
}

/// The character that stands for a byte in GPT-2's vocabulary: itself if it is printable, else one from U+0100 on.
fn stand_in(byte: u8) -> char {
    let itself = |b: u8| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if itself(byte) {
        return byte.into();
    }
    let nth = (0..byte).filter(|&b| !itself(b)).count() as u32;
    char::from_u32(0x100 + nth).unwrap_or('?')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes on the hub: 548,105,171 bytes of gpt2 are 124,439,808 parameters, 12 masks and a header.
    #[test]
    fn the_shapes_are_gpt2s() {
        let parameters = |name: &str| {
            let &(_, n_layer, _, c) = SHAPES.iter().find(|s| s.0 == name).expect("a shape");
            let all = tensors(n_layer, c);
            let is_mask = |t: &&Tensor| matches!(t.fill, Fill::CausalMask);
            assert_eq!(all.iter().filter(is_mask).count() as u64, n_layer);
            all.iter().filter(|t| !is_mask(t)).map(Tensor::values).sum::<u64>()
        };
        assert_eq!(parameters("gpt2"), 124_439_808);
        assert_eq!(parameters("gpt2-medium"), 354_823_168);
        assert_eq!(parameters("gpt2-large"), 774_030_080);
        assert_eq!(parameters("gpt2-xl"), 1_557_611_200);
    }

    #[test]
    fn the_numbers_are_close_to_normal_and_always_the_same() {
        let mut noise = Noise::new("wte.weight");
        let values: Vec<f64> = (0..100_000).map(|_| noise.normal()).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|v| v * v).sum::<f64>() / 1e5 - mean * mean;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert_eq!(Noise::new("wte.weight").normal(), values[0]);
        assert_ne!(Noise::new("wpe.weight").normal(), values[0]);
    }
}
