//! Tests how much memory the reader of a file of PyTorch takes at its limits, and a corpus however long it is. Every
//! allocation of this process is counted, so all of it is one test.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

#[path = "support/counting.rs"]
mod counting;

use counting::peak_of;
use loupe::checkpoint::Reader;
use loupe::device::{Cancel, Device};
use loupe::lens::Options;
use loupe::session::{Corpus, CorpusOptions, LoadRequest, Session};
use pollster::block_on;

const MIB: usize = 1 << 20;
const TENSOR: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n(";
const HOOKS: &[u8] = b"\x89ccollections\nOrderedDict\n)RtR";

/// The start of the old format, then this pickle.
fn old(pickle: &[u8]) -> Vec<u8> {
    let start = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
    let order = b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.\x80\x02";
    [&start[..], order, pickle].concat()
}

/// A storage of `n` bytes.
fn storage(n: usize) -> Vec<u8> {
    let number = (n as u32).to_le_bytes();
    let text =
        b"(X\x07\x00\x00\x00storagectorch\nByteStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ";
    [&text[..], &number, b"NtQ"].concat()
}

/// A file of one tensor \[2, n / 2\] with these strides; then `n` bytes.
fn matrix(n: usize, strides: [usize; 2]) -> Vec<u8> {
    let number = |n: usize| [&b"J"[..], &(n as u32).to_le_bytes()].concat();
    let pair = |[a, b]: [usize; 2]| [number(a), number(b), vec![0x86]].concat();
    let view = [storage(n), number(0), pair([2, n / 2]), pair(strides), HOOKS.to_vec()].concat();
    let pickle = [&b"}X\x01\x00\x00\x00a"[..], TENSOR, &view, b"s."].concat();
    let keys = b"\x80\x02]X\x01\x00\x00\x000a.";
    [&old(&pickle)[..], keys, &(n as u64).to_le_bytes(), &vec![7; n]].concat()
}

/// Reads a file in pieces of 64 KiB, the first of which is shorter: the code of the error, if any.
fn read(file: &[u8]) -> Option<&'static str> {
    let mut reader = Reader::new(None);
    let (first, rest) = file.split_at(file.len().min(64_999));
    for mut piece in std::iter::once(first).chain(rest.chunks(64 << 10)) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Some(error.code()),
            }
        }
    }
    reader.finish().err().map(|error| error.code())
}

/// The memory that this takes besides the file itself.
fn peak(file: &[u8]) -> (usize, Option<&'static str>) {
    peak_of(|| read(file))
}

#[test]
fn memory_is_bounded() {
    a_corpus_takes_no_more_memory_the_longer_it_is();
    whatever_a_file_says();
}

/// Tokens of a document: some 12 kB of English.
const DOCUMENT: usize = 3000;

/// With LOUPE_CORPUS_MB the long corpus has that many megabytes of text, at four bytes a token.
fn a_corpus_takes_no_more_memory_the_longer_it_is() {
    let session = Session::new(Device::cpu(Box::new(|| Box::pin(std::future::ready(())))));
    let config = include_str!("golden/massive/config.json");
    let mut loading = block_on(session.load(&LoadRequest::new(config, None))).expect("a load");
    let weights = include_bytes!("golden/massive/model.safetensors");
    block_on(session.push(&mut loading, weights)).expect("a file");
    block_on(session.install(loading)).expect("a model");
    let (n_ctx, vocab_size) = (80, 101);
    let read = |n_documents: usize| {
        let classes = (0..vocab_size).map(|id| u8::from(id % 2 == 0)).collect();
        let how =
            CorpusOptions { window: n_ctx, stride: n_ctx, options: Options::default(), classes };
        let mut corpus = Corpus::new(how, n_ctx, vocab_size).expect("a corpus");
        for document in 0..n_documents {
            let token = |i: usize| ((document * 31 + i * i) % vocab_size) as u32;
            corpus.begin((0..DOCUMENT).map(token).collect());
            while block_on(session.read_window(&mut corpus, &[], &Cancel::default()))
                .expect("a window")
            {}
        }
        (corpus.n_windows() as usize, corpus.state().len())
    };
    let megabytes = std::env::var("LOUPE_CORPUS_MB").ok().and_then(|mb| mb.parse::<usize>().ok());
    let many = megabytes.map_or(8, |mb| mb * 1_000_000 / (4 * DOCUMENT));
    let windows = DOCUMENT.div_ceil(n_ctx);
    // The first one also fills what is kept for the next.
    let _ = read(1);
    let (few, (n_few, few_chars)) = peak_of(|| read(2));
    let (taken, (n_many, many_chars)) = peak_of(|| read(many));
    println!("{n_few} windows: {few} bytes, {n_many} windows: {taken} bytes");
    assert_eq!([n_few, n_many], [2 * windows, many * windows]);
    assert!(taken < few + few / 50, "{n_few} windows: {few} bytes, {n_many}: {taken} bytes");
    // The bits of the numbers: a few digits are more or less.
    assert!(many_chars < few_chars + few_chars / 4);
}

fn whatever_a_file_says() {
    // Tensors in order stream through; what has to be put in order is held, and no more than that.
    let (taken, error) = peak(&matrix(48 * MIB, [24 * MIB, 1]));
    assert!(taken < MIB && error.is_none(), "in order: {taken} bytes, {error:?}");
    let (taken, error) = peak(&matrix(48 * MIB, [1, 2]));
    assert!((48 * MIB..50 * MIB).contains(&taken), "transposed: {taken} bytes");
    assert_eq!(error, None);

    // Pickles at the limits of length, values, tensors and dimensions.
    let ones = [&b"("[..], &b"K\x01".repeat(8), b"t"].concat();
    let tensor = [TENSOR, &storage(8), b"K\x00", &ones, &ones, HOOKS, b"q\x01"].concat();
    let named = |n: usize| {
        let name = |i: usize| format!("X\x04\0\0\0{i:04x}").into_bytes();
        let more = (1..n).flat_map(|i| [name(i), b"h\x01".to_vec()].concat());
        [b"}(".to_vec(), name(0), tensor.clone(), more.collect(), b"u.".to_vec()].concat()
    };
    let with_keys = |pickle: &[u8]| [pickle, b"\x80\x02]X\x01\x00\x00\x000a."].concat();
    assert_eq!(peak(&old(&with_keys(&named(16_384)))).1, Some("truncated"), "as many as fit");
    let put = |key: u32| [&b"r"[..], &key.to_le_bytes()].concat();
    for (name, pickle) in [
        ("lists", b"]".repeat(2 * MIB)),
        ("marks", b"(".repeat(2 * MIB)),
        ("texts", [&b"X\0\0\x01\0"[..], &b"a".repeat(1 << 16)].concat().repeat(31)),
        ("entries", [&b"K\x01q\x00}"[..], &b"h\x00h\x00s".repeat(400_000)].concat()),
        ("elements", [&b"K\x01q\x00]"[..], &b"(h\x00h\x00h\x00h\x00e".repeat(200_000)].concat()),
        ("dictionaries", {
            let pair = b"]q\x00(K\x01K\x01eK\x01\x86".to_vec();
            let list = [&b"]q\x01("[..], &b"h\x00".repeat(100_000), b"e\x85q\x02"].concat();
            let class = b"ccollections\nOrderedDict\nq\x03".to_vec();
            [pair, list, class, b"h\x03h\x02R".repeat(5000)].concat()
        }),
        ("remembered", [b"K\x01".to_vec(), (0..400_000).flat_map(put).collect()].concat()),
        ("tensors", with_keys(&named(16_384))),
        ("too many tensors", with_keys(&named(16_385))),
    ] {
        let (taken, error) = peak(&old(&pickle));
        assert!(taken < 40 * MIB, "{name}: {taken} bytes, {error:?}");
        assert!(error.is_some(), "{name}");
    }
}
