//! The atlas as JavaScript sees it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Weak;

use js_sys::{Array, Float32Array, Function, Promise, Uint32Array};
use wasm_bindgen::prelude::*;

use crate::atlas::{
    self, Boxed, By, CallQueue, ComponentsOptions, Neighbours, TokenRow, ZeroLayerOptions,
};
use crate::device::Cancel;
use crate::error::{Error, Result};
use crate::lens::Norm;
use crate::session::{Guard, Loaded, Session, in_use};

use super::options::{self, cancel_by, index, index_or, optional_index};
use super::results::{object, set};
use super::{Failure, promise};

/// The atlas of one model, which it does not keep on the device.
#[wasm_bindgen(skip_typescript)]
pub struct Atlas {
    pub(super) session: Weak<Session>,
    pub(super) loaded: Weak<Loaded>,
}

/// Iterations of a factorisation, unless a call says how many.
const ITERATIONS: usize = 100;

/// How the caller follows and stops a call.
pub(super) struct Watch {
    pub(super) cancel: Cancel,
    on_progress: Option<Function>,
}

/// The options that every call takes, besides its own.
const WATCH: [&str; 2] = ["signal", "onProgress"];

impl Watch {
    /// Errors: `bad-option`.
    fn parse(get: &impl Fn(&str) -> JsValue) -> Result<Watch> {
        Ok(Watch {
            cancel: cancel_by(options::signal(&get("signal"))?),
            on_progress: options::function("onProgress", &get("onProgress"))?,
        })
    }

    pub(super) fn report(&self, done: f64) {
        if let Some(callback) = &self.on_progress {
            let event = object();
            set(&event, "done", done);
            // An error in the caller's progress bar must not end the work.
            let _ = callback.call1(&JsValue::UNDEFINED, &event);
        }
    }
}

/// Options with these names, and those of the watch.
///
/// Errors: `bad-option`.
pub(super) fn watched<'a>(
    value: &'a JsValue,
    own: &[&str],
) -> Result<(impl Fn(&str) -> JsValue + use<'a>, Watch)> {
    let get = options::options(value, &[own, &WATCH].concat())?;
    let watch = Watch::parse(&get)?;
    Ok((get, watch))
}

/// The queue of a call that holds the device.
pub(super) struct Held<'a> {
    pub(super) session: &'a Session,
    pub(super) guard: Cell<Option<Guard>>,
}

impl CallQueue for Held<'_> {
    fn pause<'a>(&'a self, until: Boxed<'a>) -> Boxed<'a> {
        Box::pin(async {
            self.guard.take();
            until.await;
            self.guard.set(Some(self.session.lock().await));
        })
    }
}

/// What a call does with the atlas of its model.
type Work = Box<dyn for<'a> FnOnce(&'a atlas::Atlas<'a>) -> Answer<'a>>;
type Answer<'a> = Pin<Box<dyn Future<Output = Result<JsValue>> + 'a>>;

impl Atlas {
    /// Runs `work` once earlier calls are over.
    fn run(
        &self,
        watch: Result<Watch>,
        work: impl AsyncFnOnce(&atlas::Atlas<'_>) -> Result<JsValue> + 'static,
    ) -> Promise {
        // Boxed, so that what is around it is compiled once.
        self.run_boxed(watch, Box::new(|atlas| Box::pin(work(atlas))))
    }

    fn run_boxed(&self, watch: Result<Watch>, work: Work) -> Promise {
        let session = in_use(&self.session).map(|session| (session.lock(), session));
        let loaded = in_use(&self.loaded);
        promise(async move {
            let ((lock, session), loaded, watch) = (session?, loaded?, watch?);
            let guard = Cell::new(Some(lock.await));
            watch.cancel.check()?;
            session.device().check()?;
            let report = |done| watch.report(done);
            let atlas = atlas::Atlas {
                device: session.device(),
                model: &loaded.model,
                cancel: &watch.cancel,
                on_progress: &report,
                queue: &Held { session: &session, guard },
                memo: &loaded.memo,
            };
            work(&atlas).await.map_err(Failure::from)
        })
    }
}

#[wasm_bindgen]
impl Atlas {
    /// Mean and standard deviation of every channel.
    #[wasm_bindgen(skip_typescript)]
    pub fn channels(&self, how: JsValue) -> Promise {
        self.run(watched(&how, &[]).map(|o| o.1), async |atlas| {
            let found = atlas::channels(atlas).await?;
            let out = object();
            set(&out, "wte_mean", floats(&found.wte_mean));
            set(&out, "wte_std", floats(&found.wte_std));
            set(&out, "wpe_mean", floats(&found.wpe_mean));
            set(&out, "wpe_std", floats(&found.wpe_std));
            Ok(out.into())
        })
    }

    /// Gains and biases of every LayerNorm.
    #[wasm_bindgen(skip_typescript)]
    pub fn gains(&self, how: JsValue) -> Promise {
        self.run(watched(&how, &[]).map(|o| o.1), async |atlas| {
            let gains = atlas::gains(atlas).await?;
            let gain = |g: &atlas::Gains| {
                let out = object();
                set(&out, "name", g.name.as_str());
                set(&out, "weight", floats(&g.weight));
                set(&out, "bias", floats(&g.bias));
                out
            };
            Ok(gains.iter().map(gain).collect::<Array>().into())
        })
    }

    /// How strongly each part of a block reads and writes each channel.
    #[wasm_bindgen(skip_typescript)]
    pub fn circuits(&self, how: JsValue) -> Promise {
        self.run(watched(&how, &[]).map(|o| o.1), async |atlas| {
            let found = atlas::circuits(atlas).await?;
            let out = object();
            set(&out, "names", found.names.iter().map(JsValue::from).collect::<Array>());
            set(&out, "strengths", floats(&found.strengths));
            Ok(out.into())
        })
    }

    /// Norm of every token's embedding.
    #[wasm_bindgen(skip_typescript)]
    pub fn norms(&self, how: JsValue) -> Promise {
        self.run(watched(&how, &[]).map(|o| o.1), async |atlas| {
            Ok(floats(&atlas::norms(atlas).await?).into())
        })
    }

    /// One channel of every token's embedding.
    #[wasm_bindgen(skip_typescript)]
    pub fn channel(&self, channel: JsValue, how: JsValue) -> Promise {
        let parsed = watched(&how, &[]).map(|o| o.1);
        let channel = index("channel", &channel);
        self.run(parsed, async |atlas| Ok(floats(&atlas::channel(atlas, channel?).await?).into()))
    }

    /// The embeddings of some tokens.
    #[wasm_bindgen(skip_typescript)]
    pub fn rows(&self, ids: JsValue, how: JsValue) -> Promise {
        let ids = options::ids("ids", &ids);
        self.run(watched(&how, &[]).map(|o| o.1), async |atlas| {
            Ok(floats(&atlas::rows_of(atlas, &ids?).await?).into())
        })
    }

    /// The position embedding.
    #[wasm_bindgen(skip_typescript)]
    pub fn positions(&self, how: JsValue) -> Promise {
        self.run(watched(&how, &[]).map(|o| o.1), async |atlas| {
            Ok(floats(&atlas::positions(atlas).await?).into())
        })
    }

    /// Singular values and the first directions.
    #[wasm_bindgen(skip_typescript)]
    pub fn spectrum(&self, n: JsValue, how: JsValue) -> Promise {
        let parsed = watched(&how, &[]).map(|o| o.1);
        let n = index("n", &n);
        self.run(parsed, async |atlas| {
            let found = atlas::spectrum(atlas, n?).await?;
            let out = object();
            set(&out, "singular_values", floats(&found.singular_values));
            set(&out, "directions", floats(&found.directions));
            set(&out, "tokens", floats(&found.tokens));
            set(&out, "cosine_with_mean", floats(&found.cosine_with_mean));
            Ok(out.into())
        })
    }

    /// A factorisation of the embedding with loadings that are not negative.
    #[wasm_bindgen(skip_typescript)]
    pub fn components(&self, n: JsValue, how: JsValue) -> Promise {
        let parsed = watched(&how, &["iterations"]).and_then(|(get, watch)| {
            let iterations = index_or("iterations", &get("iterations"), ITERATIONS)?;
            Ok((ComponentsOptions { n: index("n", &n)?, iterations }, watch))
        });
        let (options, watch) = split(parsed);
        self.run(watch, async move |atlas| {
            let found = atlas::components(atlas, &options?).await?;
            let out = object();
            set(&out, "directions", floats(&found.directions));
            set(&out, "tokens", floats(&found.tokens));
            set(&out, "explained", floats(&found.explained));
            Ok(out.into())
        })
    }

    /// Correlations of a channel, the norm, the first direction and the id.
    #[wasm_bindgen(skip_typescript)]
    pub fn correlations(&self, how: JsValue) -> Promise {
        let parsed = watched(&how, &["channel", "counts"]).and_then(|(get, watch)| {
            let counts = options::optional_numbers("counts", &get("counts"))?;
            Ok(((index("channel", &get("channel"))?, counts), watch))
        });
        let (wanted, watch) = split(parsed);
        self.run(watch, async move |atlas| {
            let (channel, counts) = wanted?;
            let found = atlas::correlations(atlas, channel, counts.as_deref()).await?;
            let table =
                |values: &[f64]| values.iter().map(|&v| JsValue::from(v)).collect::<Array>();
            let names = found.names.iter().map(|n| JsValue::from(n.as_str()));
            let out = object();
            set(&out, "names", names.collect::<Array>());
            set(&out, "pearson", table(&found.pearson));
            set(&out, "spearman", table(&found.spearman));
            Ok(out.into())
        })
    }

    /// The arg-max after each token without any block.
    #[wasm_bindgen(skip_typescript)]
    pub fn zero_layer(&self, how: JsValue) -> Promise {
        let parsed = watched(&how, &["norm", "position", "step"]).and_then(|(get, watch)| {
            let options =
                ZeroLayerOptions { row: row(&get)?, step: index_or("step", &get("step"), 1)? };
            Ok((options, watch))
        });
        let (options, watch) = split(parsed);
        self.run(watch, async move |atlas| {
            let found = atlas::zero_layer(atlas, options?).await?;
            let out = object();
            set(&out, "argmax", Uint32Array::from(&found.argmax[..]));
            set(&out, "logit", floats(&found.logit));
            set(&out, "self_logit", floats(&found.self_logit));
            Ok(out.into())
        })
    }

    /// The tokens nearest to one.
    #[wasm_bindgen(skip_typescript)]
    pub fn neighbours(&self, id: f64, how: JsValue) -> Promise {
        let parsed = watched(&how, &["k", "by"]).and_then(|(get, watch)| {
            let by = match options::string("by", &get("by"))?.as_deref() {
                None | Some("cosine") => By::Cosine,
                Some("dot") => By::Dot,
                Some(other) => {
                    let got = format!("\"{other}\"");
                    return Err(Error::option("by", "\"cosine\" or \"dot\"", got));
                }
            };
            Ok(((options::id(id)?, index_or("k", &get("k"), 20)?, by), watch))
        });
        let (wanted, watch) = split(parsed);
        self.run(watch, async move |atlas| {
            let (id, k, by) = wanted?;
            Ok(near(&atlas::neighbours(atlas, id, k, by).await?))
        })
    }

    /// The largest logits after one token without any block.
    #[wasm_bindgen(skip_typescript)]
    pub fn next_tokens(&self, id: f64, how: JsValue) -> Promise {
        let parsed = watched(&how, &["k", "norm", "position"]).and_then(|(get, watch)| {
            Ok(((options::id(id)?, index_or("k", &get("k"), 20)?, row(&get)?), watch))
        });
        let (wanted, watch) = split(parsed);
        self.run(watch, async move |atlas| {
            let (id, k, row) = wanted?;
            Ok(near(&atlas::next_tokens(atlas, id, k, row).await?))
        })
    }
}

/// The two halves of parsed options, with the same error in both.
fn split<V>(parsed: Result<(V, Watch)>) -> (Result<V>, Result<Watch>) {
    match parsed {
        Ok((wanted, watch)) => (Ok(wanted), Ok(watch)),
        Err(error) => (Err(error.clone()), Err(error)),
    }
}

/// How the row of a token is made in the zero-layer model.
///
/// Errors: `bad-option`.
fn row(get: &impl Fn(&str) -> JsValue) -> Result<TokenRow> {
    let norm = options::string("norm", &get("norm"))?;
    Ok(TokenRow {
        norm: norm.map_or(Ok(Norm::None), |name| Norm::from_name(&name))?,
        position: optional_index("position", &get("position"))?,
    })
}

/// `{ ids, values }`.
fn near(found: &Neighbours) -> JsValue {
    let out = object();
    set(&out, "ids", Uint32Array::from(&found.ids[..]));
    set(&out, "values", floats(&found.values));
    out.into()
}

fn floats(values: &[f32]) -> Float32Array {
    Float32Array::from(values)
}
