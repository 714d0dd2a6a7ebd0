//! The copy of a model that is kept while it loads, for as long as the store goes along.

use crate::checkpoint::{Element, Kept, Position, StoreError, Writer};

/// Nothing at first; then a writer; then nothing again and the reason, if the store refuses.
#[derive(Default)]
pub(super) struct Copy {
    writer: Option<Writer>,
    refusal: Option<StoreError>,
}

impl Copy {
    /// Keeps from now on what comes in.
    pub(super) fn by(&mut self, writer: Writer) {
        self.writer = Some(writer);
    }

    /// Keeps nothing any more.
    pub(super) fn refuse(&mut self, refusal: StoreError) {
        self.writer = None;
        self.refusal = Some(refusal);
    }

    /// Why it is not kept, if it was to be.
    pub(super) fn refusal(&self) -> Option<&StoreError> {
        self.refusal.as_ref()
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

    /// Bytes read back at `at`; none at the end, or if the store refuses.
    pub(super) fn read(&mut self, at: u64, into: &mut [u8]) -> usize {
        self.with(|writer| writer.read(at, into)).unwrap_or(0)
    }

    fn with<V>(&mut self, keep: impl FnOnce(&mut Writer) -> Result<V, StoreError>) -> Option<V> {
        let writer = self.writer.as_mut()?;
        match keep(writer) {
            Ok(value) => Some(value),
            Err(refusal) => {
                // What lies there could never be finished; if this fails too, no more can be done.
                let _ = writer.discard();
                self.refuse(refusal);
                None
            }
        }
    }
}
