//! The atlas as JavaScript sees it.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use async_lock::MutexGuard;
use js_sys::{Array, Float32Array, Function, Promise, Uint32Array};
use wasm_bindgen::prelude::*;

use crate::atlas::{self, By, Neighbours, Others, Row, ZeroLayerOptions};
use crate::error::{Error, Result};
use crate::gpu::Cancel;
use crate::lens::Norm;
use crate::session::{Loaded, Session};

use super::convert::{self, object, set};
use super::{Failure, cancel_by, promise};

/// What the weights of one model say by themselves.
#[wasm_bindgen(skip_typescript)]
pub struct Atlas {
    pub(super) session: Rc<Session>,
    pub(super) loaded: Rc<Loaded>,
}

/// How a call is watched and stopped.
struct Watch {
    cancel: Cancel,
    on_progress: Option<Function>,
}

/// The options that every call takes, besides its own.
const WATCH: [&str; 2] = ["signal", "onProgress"];

impl Watch {
    /// Errors: `bad-option`.
    fn parse(get: &impl Fn(&str) -> JsValue) -> Result<Watch> {
        Ok(Watch {
            cancel: cancel_by(convert::signal(&get("signal"))?),
            on_progress: convert::function("onProgress", &get("onProgress"))?,
        })
    }

    fn report(&self, done: f64) {
        if let Some(callback) = &self.on_progress {
            let event = object();
            set(&event, "done", done);
            // A page's own trouble with drawing a bar must not break the work.
            let _ = callback.call1(&JsValue::UNDEFINED, &event);
        }
    }
}

/// Options with these names, and those of the watch.
///
/// Errors: `bad-option`.
fn options<'a>(
    value: &'a JsValue,
    own: &[&str],
) -> Result<(impl Fn(&str) -> JsValue + use<'a>, Watch)> {
    let get = convert::options(value, &[own, &WATCH].concat())?;
    let watch = Watch::parse(&get)?;
    Ok((get, watch))
}

/// What waits for a turn while a call of the atlas works: readings, and other calls.
struct Turn<'a> {
    session: &'a Session,
    guard: Cell<Option<MutexGuard<'a, ()>>>,
}

impl Others for Turn<'_> {
    fn go_first(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {
            self.guard.take();
            // Time for whoever is next to notice, and for a cancel to come in. A loss is asked
            // for after this, and what others were refused is theirs to hear.
            let _ = self.session.gpu().idle().await;
            self.guard.set(Some(self.session.turn().await));
        })
    }
}

impl Atlas {
    /// Runs `work` when its turn comes.
    fn run(
        &self,
        watch: Result<Watch>,
        work: impl AsyncFnOnce(&atlas::Atlas<'_>) -> Result<JsValue> + 'static,
    ) -> Promise {
        let (session, loaded) = (self.session.clone(), self.loaded.clone());
        promise(async move {
            let watch = watch?;
            let guard = Cell::new(Some(session.turn().await));
            watch.cancel.check()?;
            session.gpu().check()?;
            let report = |done| watch.report(done);
            let atlas = atlas::Atlas {
                gpu: session.gpu(),
                model: &loaded.model,
                cancel: &watch.cancel,
                on_progress: &report,
                others: &Turn { session: &session, guard },
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
        self.run(options(&how, &[]).map(|o| o.1), async |atlas| {
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
        self.run(options(&how, &[]).map(|o| o.1), async |atlas| {
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

    /// Length of every token's embedding.
    #[wasm_bindgen(skip_typescript)]
    pub fn norms(&self, how: JsValue) -> Promise {
        self.run(options(&how, &[]).map(|o| o.1), async |atlas| {
            Ok(floats(&atlas::norms(atlas).await?).into())
        })
    }

    /// One channel of every token's embedding.
    #[wasm_bindgen(skip_typescript)]
    pub fn channel(&self, channel: JsValue, how: JsValue) -> Promise {
        let parsed = options(&how, &[]).map(|o| o.1);
        let channel = convert::index("channel", &channel);
        self.run(parsed, async |atlas| Ok(floats(&atlas::channel(atlas, channel?).await?).into()))
    }

    /// The embeddings of some tokens.
    #[wasm_bindgen(skip_typescript)]
    pub fn rows(&self, ids: JsValue, how: JsValue) -> Promise {
        let ids = convert::ids("ids", &ids);
        self.run(options(&how, &[]).map(|o| o.1), async |atlas| {
            Ok(floats(&atlas::rows_of(atlas, &ids?).await?).into())
        })
    }

    /// The position embedding.
    #[wasm_bindgen(skip_typescript)]
    pub fn positions(&self, how: JsValue) -> Promise {
        self.run(options(&how, &[]).map(|o| o.1), async |atlas| {
            Ok(floats(&atlas::positions(atlas).await?).into())
        })
    }

    /// Singular values and the first directions.
    #[wasm_bindgen(skip_typescript)]
    pub fn spectrum(&self, n: JsValue, how: JsValue) -> Promise {
        let parsed = options(&how, &[]).map(|o| o.1);
        let n = convert::index("n", &n);
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

    /// How far a channel, the length, the first direction and the id agree.
    #[wasm_bindgen(skip_typescript)]
    pub fn correlations(&self, how: JsValue) -> Promise {
        let parsed = options(&how, &["channel", "counts"]).and_then(|(get, watch)| {
            let counts = get("counts");
            let counts = match convert::is_absent(&counts) {
                true => None,
                false => Some(convert::numbers("counts", &counts)?),
            };
            Ok(((convert::index("channel", &get("channel"))?, counts), watch))
        });
        let (wanted, watch) = apart(parsed);
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

    /// What each token is followed by without any block.
    #[wasm_bindgen(skip_typescript)]
    pub fn zero_layer(&self, how: JsValue) -> Promise {
        let parsed = options(&how, &["norm", "position", "step"]).and_then(|(get, watch)| {
            let options = ZeroLayerOptions {
                row: row(&get)?,
                step: convert::index_or("step", &get("step"), 1)?,
            };
            Ok((options, watch))
        });
        let (options, watch) = apart(parsed);
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
        let parsed = options(&how, &["k", "by"]).and_then(|(get, watch)| {
            let by = match convert::string("by", &get("by"))?.as_deref() {
                None | Some("cosine") => By::Cosine,
                Some("dot") => By::Dot,
                Some(other) => {
                    return Err(Error::BadOption(format!(
                        "by is \"{other}\", expected \"cosine\" or \"dot\""
                    )));
                }
            };
            Ok(((convert::id(id)?, convert::index_or("k", &get("k"), 20)?, by), watch))
        });
        let (wanted, watch) = apart(parsed);
        self.run(watch, async move |atlas| {
            let (id, k, by) = wanted?;
            Ok(near(&atlas::neighbours(atlas, id, k, by).await?))
        })
    }

    /// What one token is followed by without any block.
    #[wasm_bindgen(skip_typescript)]
    pub fn next_tokens(&self, id: f64, how: JsValue) -> Promise {
        let parsed = options(&how, &["k", "norm", "position"]).and_then(|(get, watch)| {
            Ok(((convert::id(id)?, convert::index_or("k", &get("k"), 20)?, row(&get)?), watch))
        });
        let (wanted, watch) = apart(parsed);
        self.run(watch, async move |atlas| {
            let (id, k, row) = wanted?;
            Ok(near(&atlas::next_tokens(atlas, id, k, row).await?))
        })
    }
}

/// What was asked for and how it is watched; if either is wrong, the watch says so first.
fn apart<V>(parsed: Result<(V, Watch)>) -> (Result<V>, Result<Watch>) {
    match parsed {
        Ok((wanted, watch)) => (Ok(wanted), Ok(watch)),
        Err(error) => (Err(error.clone()), Err(error)),
    }
}

/// How a token becomes a row of the zero-layer model.
///
/// Errors: `bad-option`.
fn row(get: &impl Fn(&str) -> JsValue) -> Result<Row> {
    let norm = convert::string("norm", &get("norm"))?;
    let position = get("position");
    Ok(Row {
        norm: norm.map_or(Ok(Norm::None), |name| Norm::from_name(&name))?,
        position: match convert::is_absent(&position) {
            true => None,
            false => Some(convert::index("position", &position)?),
        },
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
