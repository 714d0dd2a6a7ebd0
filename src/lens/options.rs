//! The options of a reading.

use std::rc::Rc;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::kernels::MAX_K;

use super::maps::Maps;
use super::rows::{Depth, borrowed};

/// Largest number of tokens that one reading or trace follows.
pub const MAX_TRACK: usize = 64;

/// The norm between a tap and the unembedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Norm {
    /// ln_f with gain and bias, by the row's own mean and variance.
    #[default]
    Affine,
    /// ln_f without gain and bias.
    Plain,
    /// No norm.
    None,
}

impl Norm {
    /// The name in options.
    pub fn name(self) -> &'static str {
        match self {
            Norm::Affine => "affine",
            Norm::Plain => "plain",
            Norm::None => "none",
        }
    }

    /// The norm of that name.
    ///
    /// Errors: `bad-option`.
    pub fn from_name(name: &str) -> Result<Norm> {
        match name {
            "affine" => Ok(Norm::Affine),
            "plain" => Ok(Norm::Plain),
            "none" => Ok(Norm::None),
            other => {
                let expected = "\"affine\", \"plain\" or \"none\"";
                Err(Error::option("norm", expected, format!("\"{other}\"")))
            }
        }
    }
}

/// How to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The norm of the decoder.
    pub norm: Norm,
    /// Which rows there are.
    pub depth: Depth,
    /// Names of the blocks, or halves of blocks, that belong to the decoder, in the model's order.
    pub decoder: Vec<String>,
    /// K: tokens listed per cell, 1 to 20 and at most V.
    pub top_k: usize,
    /// Tokens to follow at every cell.
    pub track: Vec<u32>,
    /// Maps of rows of the stream before the norm; `None` for the logit lens.
    pub lens: Option<Rc<Maps>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            norm: Norm::Affine,
            depth: Depth::Blocks,
            decoder: Vec::new(),
            top_k: 10,
            track: Vec::new(),
            lens: None,
        }
    }
}

impl Options {
    /// Errors: `bad-option`, `bad-token`.
    pub fn check(&self, config: &Config) -> Result<()> {
        let most = MAX_K.min(config.vocab_size);
        if !(1..=most).contains(&self.top_k) {
            return Err(Error::option("top_k", format!("1 to {most}"), self.top_k));
        }
        if self.depth == Depth::Contributions && !self.decoder.is_empty() {
            let expected = "[], because contributions are decoded by norm and unembedding only";
            return Err(Error::option("decoder", expected, format!("{:?}", self.decoder)));
        }
        borrowed(&self.decoder, config)?;
        if let Some(lens) = &self.lens {
            lens.check(config)?;
            if self.depth == Depth::Contributions || !self.decoder.is_empty() {
                let expected = "the logit lens with contributions or a decoder";
                return Err(Error::option("lens", expected, "another lens"));
            }
        }
        check_track("track", &self.track, config)
    }
}

/// Errors: `bad-option` for too many, `bad-token` for one that does not exist.
pub(super) fn check_track(name: &str, ids: &[u32], config: &Config) -> Result<()> {
    if ids.len() > MAX_TRACK {
        let got = format!("{} tokens", ids.len());
        return Err(Error::option(name, format!("at most {MAX_TRACK} tokens"), got));
    }
    match ids.iter().find(|&&id| id as usize >= config.vocab_size) {
        Some(&id) => Err(Error::BadToken { id: id.into(), vocab_size: config.vocab_size }),
        None => Ok(()),
    }
}
