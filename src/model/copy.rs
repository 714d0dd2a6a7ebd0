//! The copy of a model that is kept while it loads, as long as its store accepts writes.

use crate::checkpoint::{Element, Kept, Position, SourceId, StoreError, Writer};

/// Empty at first; then a writer; then empty again with an error, if the store fails.
#[derive(Default)]
pub(super) struct CopyWriter {
    writer: Option<Writer>,
    error: Option<StoreError>,
}

impl CopyWriter {
    /// Writes to `writer` from now on.
    pub(super) fn start(&mut self, writer: Writer) {
        self.writer = Some(writer);
    }

    /// Stops writing because of `error`.
    pub(super) fn fail(&mut self, error: StoreError) {
        self.writer = None;
        self.error = Some(error);
    }

    /// Why the model is not kept, if it was to be.
    pub(super) fn error(&self) -> Option<&StoreError> {
        self.error.as_ref()
    }

    pub(super) fn source(&mut self, id: SourceId) {
        if let Some(writer) = &mut self.writer {
            writer.source(id);
        }
    }

    pub(super) fn begin(&mut self, name: &str, element: Element, shape: &[u64]) {
        if let Some(writer) = &mut self.writer {
            writer.begin(name, element, shape);
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.with(|writer| writer.write(bytes));
    }

    pub(super) fn end(&mut self, position: Position) {
        self.with(|writer| writer.end(position));
    }

    pub(super) fn save(&mut self) {
        self.with(Writer::save);
    }

    pub(super) fn discard(&mut self) {
        self.with(Writer::discard);
        self.writer = None;
    }

    pub(super) fn finish(&mut self) -> Option<Kept> {
        self.with(Writer::finish)
    }

    /// Bytes read back at `at`; none at the end, or if the store fails.
    pub(super) fn read(&mut self, at: u64, into: &mut [u8]) -> usize {
        self.with(|writer| writer.read(at, into)).unwrap_or(0)
    }

    fn with<V>(&mut self, call: impl FnOnce(&mut Writer) -> Result<V, StoreError>) -> Option<V> {
        let writer = self.writer.as_mut()?;
        match call(writer) {
            Ok(value) => Some(value),
            Err(error) => {
                // What was written could never be finished; if this fails too, nothing more can be done.
                let _ = writer.discard();
                self.fail(error);
                None
            }
        }
    }
}
