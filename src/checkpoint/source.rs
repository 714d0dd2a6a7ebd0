//! What identifies a source file, so that a kept copy is resumed only from the files it was made of.

/// The identity of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceId {
    /// Length of the file; of a zip file without the headers of its entries. Units: bytes.
    pub bytes: u64,
    /// SHA-256 of what describes its tensors: length prefix and header, or pickles.
    pub header_sha256: String,
    /// SHA-256 of the whole file, where it is known.
    pub sha256: Option<String>,
}

impl SourceId {
    /// Whether the whole file's digest alone decides if this is the file with digest `sha256`;
    /// `None` where one of the two is unknown and the headers have to be compared.
    pub fn has_digest(&self, sha256: Option<&str>) -> Option<bool> {
        Some(self.sha256.as_deref()?.eq_ignore_ascii_case(sha256?))
    }

    /// Whether both are the same file, as far as that is known.
    pub fn is_same(&self, other: &SourceId) -> bool {
        let same_head = self.bytes == other.bytes && self.header_sha256 == other.header_sha256;
        same_head && self.has_digest(other.sha256.as_deref()).unwrap_or(true)
    }

    /// Its form in the metadata of a kept copy.
    pub(super) fn text(&self) -> String {
        let sha256 = self.sha256.as_deref().unwrap_or("-");
        format!("{}:{}:{sha256}", self.bytes, self.header_sha256)
    }

    pub(super) fn parse(text: &str) -> Option<SourceId> {
        let mut fields = text.split(':');
        let bytes = fields.next()?.parse().ok()?;
        let header_sha256 = fields.next().filter(|s| is_sha256(s))?.to_string();
        let sha256 = match fields.next()? {
            "-" => None,
            hex if is_sha256(hex) => Some(hex.to_string()),
            _ => return None,
        };
        fields.next().is_none().then_some(SourceId { bytes, header_sha256, sha256 })
    }
}

/// Whether a text is 64 hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}
