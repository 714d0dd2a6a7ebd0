//! Opens sessions with a whole or a partial model, and an atlas over them.

use loupe::atlas::{Atlas, CallQueue};
use loupe::device::Cancel;
use loupe::kernels::Precision;
use loupe::session::{LoadRequest, Loaded, Session};

pub async fn open(config: &str, weights: &[u8], precision: Precision) -> Session {
    let session = super::session().await;
    // Each shard has some of the rows, so that none of them is the whole embedding.
    let request = LoadRequest { precision, shard_bytes: 1 << 20, ..LoadRequest::new(config, None) };
    load(session, &request, weights).await
}

/// A session with the partial model that a file has, without a config.
pub async fn open_part(weights: &[u8], precision: Precision) -> Session {
    let session = super::session().await;
    load(session, &partial_request(precision), weights).await
}

pub fn partial_request(precision: Precision) -> LoadRequest<'static> {
    let known = LoadRequest { precision, shard_bytes: 1 << 20, ..LoadRequest::new("", None) };
    LoadRequest { config: None, partial: true, ..known }
}

pub async fn load(session: Session, request: &LoadRequest<'_>, weights: &[u8]) -> Session {
    let mut loading = session.load(request).await.expect("a load");
    session.push(&mut loading, weights).await.expect("a valid file");
    loading.loader.end_file().expect("a whole file");
    session.install(loading).await.expect("a whole model");
    session
}

/// The cancel, the progress callback and the queue of a call of the atlas.
pub struct Watch<'a> {
    pub cancel: Cancel,
    pub on_progress: &'a dyn Fn(f64),
    pub queue: &'a dyn CallQueue,
}

pub fn quiet() -> Watch<'static> {
    Watch { cancel: Cancel::default(), on_progress: &|_| {}, queue: &() }
}

impl Watch<'_> {
    pub fn over<'a>(&'a self, session: &'a Session, loaded: &'a Loaded) -> Atlas<'a> {
        Atlas {
            device: session.device(),
            model: &loaded.model,
            cancel: &self.cancel,
            on_progress: self.on_progress,
            queue: self.queue,
            memo: &loaded.memo,
        }
    }
}
