//! The error type of the crate: a stable code, what was expected, what was found, and what a person can do.

/// Why a call failed. Script branches on [`Error::code`]; people read the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The browser has no WebGPU.
    #[error(
        "WebGPU is not available here ({0}). Use a current Chrome, Edge, Safari or Firefox, over https or on localhost."
    )]
    NoWebGpu(String),
    /// WebGPU exists, but no adapter offers the default limits.
    #[error(
        "No usable GPU adapter: {0}. Check that hardware acceleration is on and the graphics driver is current."
    )]
    NoAdapter(String),
    /// The device was lost; nothing on it can be used any more.
    #[error("The GPU device is lost: {0}. Open a new Loupe and load the model again.")]
    DeviceLost(String),
    /// The device or its driver refused a shader or a command; other calls still work.
    #[error(
        "The GPU device refused the work: {0}. Update the browser or the graphics driver, or try another device."
    )]
    GpuRefused(String),
    /// The device has too little memory, or the results of a reading would exceed their limit.
    #[error("Not enough memory for {0}. Close other tabs, use a smaller model or a shorter text.")]
    OutOfMemory(String),
    /// `config.json` is not JSON, or a value in it is missing or impossible.
    #[error("config.json: {name}: expected {expected}, got {got}.")]
    BadConfig {
        /// Path of the value in the file.
        name: String,
        /// What it has to be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A file that is no lens, or one that Loupe does not read.
    #[error("This lens cannot be used: {0}.")]
    Lens(String),
    /// A model, or an option of one, that Loupe does not read.
    #[error("This model is not supported: {0}.")]
    UnsupportedModel(String),
    /// The file is neither a safetensors file nor one of PyTorch, or it contradicts itself.
    #[error("Not a valid file of weights: {0}.")]
    BadHeader(String),
    /// The model needs a tensor that the files do not have.
    #[error(
        "The files lack the tensor {0}. Check that every shard is there and that config.json belongs to the model."
    )]
    MissingTensor(String),
    /// The files are shorter than the parameters that the config asks for.
    #[error(
        "The files are too short for this model: expected {parameters} parameters, got at most {most}. Check that every shard is there and that config.json belongs to the model."
    )]
    TooShort {
        /// Parameters of the model.
        parameters: u64,
        /// Parameters that files of this length can hold.
        most: u64,
    },
    /// The loaded model is partial, and the call needs a tensor that it does not have.
    #[error("This call needs {0}, which the loaded partial model does not have.")]
    Absent(String),
    /// A tensor has another shape than the config, or a kernel, asks for.
    #[error("Tensor {name}: expected shape {expected:?}, got {got:?}.")]
    BadShape {
        /// Name of the tensor in the file, or of a kernel's operand.
        name: String,
        /// The shape it has to have.
        expected: Vec<u64>,
        /// The shape it has.
        got: Vec<u64>,
    },
    /// The element type of a tensor is not F32, F16 or BF16, or a value does not fit the storage type.
    #[error("Tensor {name}: {reason}.")]
    BadDtype {
        /// Name of the tensor in the file.
        name: String,
        /// What is wrong and what can be done.
        reason: String,
    },
    /// The file ended too early.
    #[error(
        "The file ends too early: expected {expected} bytes, got {received}. Download it again."
    )]
    Truncated {
        /// Bytes received.
        received: u64,
        /// Bytes that the header promises, or that the header itself needs.
        expected: u64,
    },
    /// The file ended too early; how long it has to be is not known.
    #[error("The file ends too early: it lacks {0}. Download it again.")]
    NoEnd(&'static str),
    /// A tokenizer file cannot be used.
    #[error("{file}: {name}: expected {expected}, got {got}.")]
    BadTokenizer {
        /// Name of the file.
        file: &'static str,
        /// Path of the value in the file.
        name: String,
        /// What it has to be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A text was given, but the model was loaded without a tokenizer.
    #[error("This model was loaded without a tokenizer. Pass token ids instead of a text.")]
    NoTokenizer,
    /// There is nothing to read.
    #[error("There is nothing to read: the text has no tokens.")]
    Empty,
    /// The text is not valid Unicode.
    #[error(
        "The text holds a lone surrogate (half of an emoji, for example), which has no UTF-8 form."
    )]
    BadText,
    /// The text has more tokens than the model has positions.
    #[error(
        "The text is too long: expected at most {n_ctx} tokens, got {n_tokens}. Keep the first or the last {n_ctx}."
    )]
    TooLong {
        /// Tokens of the text.
        n_tokens: usize,
        /// Positions of the model.
        n_ctx: usize,
    },
    /// A token id outside the vocabulary.
    #[error("Token id: expected 0 to {}, got {id}.", vocab_size.saturating_sub(1))]
    BadToken {
        /// The given id.
        id: u64,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// An option that does not exist, or a value that an option does not take.
    #[error("{name}: expected {expected}, got {got}.")]
    BadOption {
        /// Name of the option.
        name: String,
        /// What it has to be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A download failed.
    #[error("The download failed: {0}.")]
    Network(String),
    /// Something that does not exist, or no longer: no model is loaded, the model was replaced, an object was freed.
    #[error("Not found: {0}.")]
    NotFound(String),
    /// The bytes are not those that were announced, or hold numbers that no model can have.
    #[error("The file is damaged: {0}.")]
    Corrupt(String),
    /// The caller cancelled.
    #[error("Cancelled.")]
    Aborted,
}

/// The result of every fallible function of the crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A `bad-option`: the option `name` has to be `expected` and is `got`.
    pub fn option(
        name: impl Into<String>,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Error {
        Error::BadOption { name: name.into(), expected: expected.into(), got: got.to_string() }
    }

    /// A `bad-config`: the value `name` of `config.json` has to be `expected` and is `got`.
    pub fn config(
        name: impl Into<String>,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Error {
        Error::BadConfig { name: name.into(), expected: expected.into(), got: got.to_string() }
    }

    /// The stable code that script branches on.
    ///
    /// There is no `busy`: calls are queued. `crashed` is the code that the JavaScript module gives to
    /// calls of an engine that trapped.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoWebGpu(_) => "no-webgpu",
            Error::NoAdapter(_) => "no-adapter",
            Error::DeviceLost(_) => "device-lost",
            Error::GpuRefused(_) => "gpu-refused",
            Error::OutOfMemory(_) => "out-of-memory",
            Error::BadConfig { .. } => "bad-config",
            Error::UnsupportedModel(_) | Error::Lens(_) => "unsupported-model",
            Error::BadHeader(_) => "bad-header",
            Error::MissingTensor(_) | Error::TooShort { .. } | Error::Absent(_) => "missing-tensor",
            Error::BadShape { .. } => "bad-shape",
            Error::BadDtype { .. } => "bad-dtype",
            Error::Truncated { .. } | Error::NoEnd(_) => "truncated",
            Error::BadTokenizer { .. } => "bad-tokenizer",
            Error::NoTokenizer => "no-tokenizer",
            Error::Empty => "empty",
            Error::BadText => "bad-text",
            Error::TooLong { .. } => "too-long",
            Error::BadToken { .. } => "bad-token",
            Error::BadOption { .. } => "bad-option",
            Error::Network(_) => "network",
            Error::NotFound(_) => "not-found",
            Error::Corrupt(_) => "corrupt",
            Error::Aborted => "aborted",
        }
    }
}
