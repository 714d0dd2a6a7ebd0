//! Edits as JSON: what a caller is told of a run, and what tells one run from another.

use std::fmt::Write;

use super::Lensed;
use super::edits::Place;

/// The entries of a JSON object, of which names and numbers need no escape.
pub(super) struct Entries(String);

impl Entries {
    pub(super) fn new() -> Entries {
        Entries("{".into())
    }

    pub(super) fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        // Writing to a string does not fail.
        let _ = write!(self.0, "{comma}\"{name}\":{value}");
    }

    pub(super) fn list(&mut self, name: &str, values: &[impl std::fmt::Debug]) {
        self.add(name, format!("{values:?}").replace(' ', ""));
    }

    pub(super) fn end(self) -> String {
        self.0 + "}"
    }

    /// What a reading was made of.
    pub(super) fn of_reading(reading: &Lensed) -> Entries {
        let mut out = Entries::new();
        out.list("ids", &reading.ids);
        if !reading.resolved.described.is_empty() {
            out.add("edits", format!("[{}]", reading.resolved.described.join(",")));
        }
        out
    }

    pub(super) fn of_place(place: &Place) -> Entries {
        let mut out = Entries::new();
        out.add("at", format!("\"{}\"", place.at));
        if let Some(head) = place.head {
            out.add("head", head);
        }
        if let Some(positions) = &place.positions {
            out.list("positions", positions);
        }
        out
    }
}
