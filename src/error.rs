//! The one error type: what was expected, what came, and what the person can do.

/// Why a call failed. Script branches on [`Error::code`], people read the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The browser has no WebGPU at all.
    #[error(
        "WebGPU is not available here ({0}). Use a current Chrome, Edge, Safari or Firefox, over https or on localhost."
    )]
    NoWebGpu(String),
    /// WebGPU is there, but no adapter with the default limits.
    #[error(
        "No usable GPU adapter: {0}. Check that hardware acceleration is on and the graphics driver is current."
    )]
    NoAdapter(String),
    /// The device went away or refused work; nothing on it can be used any more.
    #[error("The GPU device is lost: {0}. Open a new loupe and load the model again.")]
    DeviceLost(String),
    /// The GPU has no room.
    #[error(
        "The GPU has no room for {0}. Close other tabs, take a smaller model, or a shorter text."
    )]
    OutOfMemory(String),
    /// `config.json` is not JSON or lacks something.
    #[error("config.json: {0}.")]
    BadConfig(String),
    /// A model that Loupe does not read (yet), or an option of one.
    #[error("This model is not supported: {0}.")]
    UnsupportedModel(String),
    /// The file is not a safetensors file, or its header lies.
    #[error("Not a valid safetensors file: {0}.")]
    BadHeader(String),
    /// The model needs a tensor that the files do not have.
    #[error(
        "The files lack the tensor {0}. Are all shards there, and is it the right config.json?"
    )]
    MissingTensor(String),
    /// What was loaded is only a part of a model, and this needs another part.
    #[error("This needs {0}, and what was loaded is a part of a model without it.")]
    Absent(String),
    /// A tensor's shape is not what the config says.
    #[error("Tensor {name}: the config asks for shape {expected:?}, the file has {found:?}.")]
    BadShape {
        /// Name of the tensor in the file.
        name: String,
        /// Shape that follows from the config.
        expected: Vec<u64>,
        /// Shape in the file's header.
        found: Vec<u64>,
    },
    /// A tensor's type is not F32, F16 or BF16, or a value does not fit the storage type.
    #[error("Tensor {name}: {reason}.")]
    BadDtype {
        /// Name of the tensor in the file.
        name: String,
        /// What is wrong and what can be done.
        reason: String,
    },
    /// The file ended too early.
    #[error("The file ends too early: {received} of {expected} bytes came. Download it again.")]
    Truncated {
        /// Bytes that came.
        received: u64,
        /// Bytes that the header promises (or that the header itself needs).
        expected: u64,
    },
    /// `tokenizer.json` cannot be read.
    #[error("tokenizer.json: {0}.")]
    BadTokenizer(String),
    /// A text came, but the model was loaded without a tokenizer.
    #[error("This model was loaded without a tokenizer: give token ids instead of a text.")]
    NoTokenizer,
    /// Nothing to read.
    #[error("There is nothing to read: the text has no tokens.")]
    Empty,
    /// The text is not valid Unicode.
    #[error(
        "The text holds half of a surrogate pair (an emoji cut in two?): there is no UTF-8 for it."
    )]
    BadText,
    /// More tokens than the model has positions.
    #[error(
        "The text has {n_tokens} tokens; this model reads at most {n_ctx}. Keep the first or the last {n_ctx}."
    )]
    TooLong {
        /// Tokens of the text.
        n_tokens: usize,
        /// Positions of the model.
        n_ctx: usize,
    },
    /// A token id outside the vocabulary.
    #[error("Token id {id} does not exist: the vocabulary has ids 0 to {}.", vocab_size.saturating_sub(1))]
    BadToken {
        /// The id that came.
        id: u64,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// An option that does not exist, or a value it does not take.
    #[error("Option {0}.")]
    BadOption(String),
    /// A download broke.
    #[error("The download failed: {0}.")]
    Network(String),
    /// A file or a name that is not there.
    #[error("Not found: {0}.")]
    NotFound(String),
    /// Numbers that no model can have.
    #[error("The file is damaged: {0}. Download it again.")]
    Corrupt(String),
    /// The caller cancelled.
    #[error("Cancelled.")]
    Aborted,
}

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The stable code that script branches on.
    ///
    /// There is no `busy`: calls wait their turn.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoWebGpu(_) => "no-webgpu",
            Error::NoAdapter(_) => "no-adapter",
            Error::DeviceLost(_) => "device-lost",
            Error::OutOfMemory(_) => "out-of-memory",
            Error::BadConfig(_) => "bad-config",
            Error::UnsupportedModel(_) => "unsupported-model",
            Error::BadHeader(_) => "bad-header",
            Error::MissingTensor(_) | Error::Absent(_) => "missing-tensor",
            Error::BadShape { .. } => "bad-shape",
            Error::BadDtype { .. } => "bad-dtype",
            Error::Truncated { .. } => "truncated",
            Error::BadTokenizer(_) => "bad-tokenizer",
            Error::NoTokenizer => "no-tokenizer",
            Error::Empty => "empty",
            Error::BadText => "bad-text",
            Error::TooLong { .. } => "too-long",
            Error::BadToken { .. } => "bad-token",
            Error::BadOption(_) => "bad-option",
            Error::Network(_) => "network",
            Error::NotFound(_) => "not-found",
            Error::Corrupt(_) => "corrupt",
            Error::Aborted => "aborted",
        }
    }
}
