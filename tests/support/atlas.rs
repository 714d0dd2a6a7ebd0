//! A session with a model or a part of one, and how the atlas over it is watched.

use loupe::atlas::{Atlas, Others};
use loupe::gpu::Cancel;
use loupe::kernels::Precision;
use loupe::session::{Loaded, Recipe, Session};

pub async fn open(config: &str, weights: &[u8], precision: Precision) -> Session {
    let session = Session::open().await.expect("a WebGPU adapter");
    // Shards of some rows each, so that none of them is the whole.
    let recipe = Recipe { precision, shard_bytes: 1 << 20, ..Recipe::new(config, None) };
    load(session, &recipe, weights).await
}

/// Whatever a file has, without a config.
pub async fn open_part(weights: &[u8], precision: Precision) -> Session {
    let session = Session::open().await.expect("a WebGPU adapter");
    load(session, &part_recipe(precision), weights).await
}

pub fn part_recipe(precision: Precision) -> Recipe<'static> {
    let known = Recipe { precision, shard_bytes: 1 << 20, ..Recipe::new("", None) };
    Recipe { config: None, partial: true, ..known }
}

pub async fn load(session: Session, recipe: &Recipe<'_>, weights: &[u8]) -> Session {
    let mut loading = session.load(recipe).await.expect("a load");
    loading.loader.push(session.gpu(), weights).await.expect("a valid file");
    loading.loader.end_file().expect("a whole file");
    session.install(loading).await.expect("a whole model");
    session
}

/// How a call of the atlas is watched.
pub struct Watch<'a> {
    pub cancel: Cancel,
    pub on_progress: &'a dyn Fn(f64),
    pub others: &'a dyn Others,
}

pub fn quiet() -> Watch<'static> {
    Watch { cancel: Cancel::default(), on_progress: &|_| {}, others: &() }
}

impl Watch<'_> {
    pub fn over<'a>(&'a self, session: &'a Session, loaded: &'a Loaded) -> Atlas<'a> {
        Atlas {
            gpu: session.gpu(),
            model: &loaded.model,
            cancel: &self.cancel,
            on_progress: self.on_progress,
            others: self.others,
            memo: &loaded.memo,
        }
    }
}
