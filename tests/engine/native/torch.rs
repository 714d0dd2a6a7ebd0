//! Tests the files of PyTorch: what torch.save wrote (tests/golden/torch_files.py) has the bits of the safetensors file
//! beside it, and what a hostile file asks for is refused by name.

use std::collections::BTreeMap;

use loupe::checkpoint::{Directory, DirectoryReader, Event, Reader};
use loupe::error::{Error, Result};
use proptest::prelude::*;

macro_rules! saved {
    ($name:literal) => {
        include_bytes!(concat!("../../golden/torch/", $name))
    };
}

const CTRL: &[u8] = include_bytes!("../../golden/ctrl/model.safetensors");
const UNTIED: &[u8] = include_bytes!("../../golden/untied/model.safetensors");
const NEO: &[u8] = include_bytes!("../../golden/neo/model.safetensors");
const BARE: &[u8] = include_bytes!("../../golden/bare/model.safetensors");

/// Shape, element type and bytes of every tensor.
type Tensors = BTreeMap<String, (Vec<u64>, String, Vec<u8>)>;

/// The directory of a zip file, read as the page reads it.
fn directory_of(file: &[u8]) -> Result<Directory> {
    let mut reader = DirectoryReader::new(file.len() as u64);
    loop {
        let (from, n) = reader.wants();
        let rest = &file[from as usize..];
        if let Some(directory) = reader.take(rest[..rest.len().min(n as usize)].to_vec())? {
            return Ok(directory);
        }
    }
}

/// Reads a file in pieces of these lengths.
fn read_as(file: &[u8], directory: Option<Directory>, cuts: &[usize]) -> Result<Tensors> {
    let mut reader = Reader::new(None);
    if let Some(directory) = directory {
        reader.set_directory(directory)?;
    }
    let mut tensors = Tensors::new();
    let (mut rest, mut cuts) = (file, cuts.iter().cycle());
    while !rest.is_empty() {
        let (mut piece, after) =
            rest.split_at((*cuts.next().expect("a length")).clamp(1, rest.len()));
        rest = after;
        while let Some(event) = reader.next(&mut piece)? {
            match event {
                Event::Header(header) => {
                    for tensor in &header.tensors {
                        let element =
                            tensor.element.clone().map_or_else(|e| e, |e| e.name().into());
                        let empty = (tensor.shape.clone(), element, Vec::new());
                        assert_eq!(tensors.insert(tensor.name.clone(), empty), None);
                    }
                }
                Event::Data { tensor, bytes, .. } => {
                    let (.., data) = tensors.get_mut(&tensor.name).expect("it was announced");
                    data.extend_from_slice(bytes);
                }
            }
        }
    }
    reader.finish()?;
    Ok(tensors)
}

fn read(file: &[u8]) -> Result<Tensors> {
    read_as(file, None, &[1 << 20])
}

fn floats(tensors: Tensors) -> Tensors {
    tensors.into_iter().filter(|(_, (_, element, _))| element.contains('F')).collect()
}

fn read_fine(file: &[u8]) -> Tensors {
    read(file).expect("a valid file")
}

#[test]
fn both_formats_have_the_bits_of_the_safetensors_file() {
    // Transposed matrices, and a head that is the embedding.
    let mut ctrl = read_fine(CTRL);
    let wte = ctrl["transformer.w.weight"].clone();
    ctrl.insert("lm_head.weight".into(), wte);
    assert_eq!(read_fine(saved!("ctrl.bin")), ctrl, "the old format");
    assert_eq!(read_fine(saved!("ctrl_zip.bin")), ctrl, "the zip format");

    // Every vector is a part of one storage; bfloat16.
    assert_eq!(read_fine(saved!("untied.bin")), read_fine(UNTIED));
    assert_eq!(read_fine(saved!("untied_old.bin")), read_fine(UNTIED));

    // Half precision beside a mask of bytes; a dictionary inside another one.
    let mut half = read_fine(saved!("bare_half.bin"));
    let (shape, element, mask) = half.remove("h.0.attn.bias").expect("the mask");
    assert_eq!((shape, element.as_str(), mask), (vec![1, 1, 4, 4], "U8", vec![1; 16]));
    assert_eq!(half, read_fine(BARE));
    assert_eq!(read_fine(saved!("bare_nested.bin")), read_fine(BARE));
}

#[test]
fn shards_of_both_formats_make_one_model() {
    let mut first = read_fine(saved!("neo-00001-of-00002.bin"));
    let second = read_fine(saved!("neo-00002-of-00002.bin"));
    let name = "transformer.h.0.attn.attention";
    let (shape, element, mask) = first.remove(&format!("{name}.bias")).expect("the mask");
    assert_eq!((shape, element.as_str()), (vec![1, 1, 70, 70], "BOOL"));
    let expected = (0..70 * 70).map(|i| u8::from(i % 70 <= i / 70));
    assert!(mask.into_iter().eq(expected), "the lower triangle");
    let (shape, _, value) = first.remove(&format!("{name}.masked_bias")).expect("a scalar");
    assert_eq!((shape, value), (vec![], (-1e9f32).to_le_bytes().to_vec()));
    let (shape, element, ids) = first.remove("transformer.position_ids").expect("ids");
    assert_eq!((shape, element.as_str(), ids.len()), (vec![1, 70], "I64", 560));
    first.extend(second);
    assert_eq!(first, read_fine(NEO));
}

#[test]
fn the_directory_is_read_first_where_that_is_possible() {
    for (name, file) in [("ctrl", &saved!("ctrl_zip.bin")[..]), ("half", saved!("bare_half.bin"))] {
        let directory = directory_of(file).expect("a directory");
        assert_eq!(read_as(file, Some(directory), &[997]).expect(name), read_fine(file), "{name}");
    }
    // With the pickle behind the data, only the directory says what the data is.
    let file = saved!("bare_pickle_last.bin");
    let directory = directory_of(file).expect("a directory");
    let got = floats(read_as(file, Some(directory), &[13]).expect("it is read by its directory"));
    assert_eq!(got, read_fine(BARE));
    let error = read(file).expect_err("a stream cannot wait for the pickle");
    assert_eq!(error.code(), "bad-header", "{error}");
    assert!(error.to_string().contains("data.pkl"), "{error}");
}

#[test]
fn what_is_not_wanted_is_passed_over() {
    for file in [&saved!("ctrl.bin")[..], saved!("ctrl_zip.bin")] {
        let mut reader = Reader::new(None);
        let mut rest = file;
        let mut got = Vec::new();
        while let Some(event) = reader.next(&mut rest).expect("a valid file") {
            match event {
                Event::Header(_) => {
                    reader.choose(&|name| name == "lm_head.weight").expect("a choice");
                }
                Event::Data { tensor, bytes, .. } => {
                    assert_eq!(tensor.name, "lm_head.weight");
                    got.extend_from_slice(bytes);
                }
            }
        }
        reader.finish().expect("all of it was read");
        assert_eq!(got, read_fine(CTRL)["transformer.w.weight"].2);
    }
}

proptest! {
    #[test]
    fn every_split_gives_the_same(cuts in prop::collection::vec(1usize..3000, 1..9)) {
        for file in [&saved!("ctrl.bin")[..], saved!("ctrl_zip.bin"), saved!("bare_nested.bin")] {
            prop_assert_eq!(read_as(file, None, &cuts).expect("a valid file"), read_fine(file));
        }
        let file = saved!("bare_pickle_last.bin");
        let directory = directory_of(file).expect("a directory");
        let got = floats(read_as(file, Some(directory), &cuts).expect("a valid file"));
        prop_assert_eq!(got, read_fine(BARE));
    }
}

#[test]
fn a_later_reader_continues_at_the_end_of_any_storage() {
    for file in [&saved!("ctrl.bin")[..], saved!("ctrl_zip.bin"), saved!("untied.bin")] {
        let whole = read_fine(file);
        let (mut offsets, mut reader, mut rest) = (Vec::new(), Reader::new(None), file);
        while reader.next(&mut rest).expect("a valid file").is_some() {
            if reader.is_between() {
                offsets.push(reader.offset());
            }
        }
        assert!(offsets.len() > 2, "{offsets:?}");
        let mut seen = Vec::new();
        for offset in offsets {
            let mut reader = Reader::new(None);
            reader.next(&mut &file[..]).expect("a header");
            reader.seek(offset, None).expect("a storage ends there");
            let mut rest = &file[offset as usize..];
            let mut later = BTreeMap::<String, Vec<u8>>::new();
            while let Some(event) = reader.next(&mut rest).expect("the rest") {
                if let Event::Data { tensor, bytes, .. } = event {
                    later.entry(tensor.name.clone()).or_default().extend_from_slice(bytes);
                }
            }
            reader.finish().expect("complete");
            assert!(later.iter().all(|(name, bytes)| whole[name].2 == *bytes), "from {offset}");
            seen.push(later.len());
        }
        // Behind the header all tensors are left, behind each storage fewer, and none at the end.
        assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
        assert_eq!((seen.first(), seen.last()), (Some(&whole.len()), Some(&0)), "{seen:?}");
        let mut reader = Reader::new(None);
        reader.next(&mut &file[..]).expect("a header");
        let mut wrong = |offset: usize| match reader.seek(offset as u64, None) {
            Ok(()) => reader.next(&mut &file[offset..]).map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(wrong(file.len() / 2 + 1).is_err(), "no storage ends there");
    }
}

/// The message of the error that reading a file ends with, and its code.
fn refusal(file: &[u8]) -> (&'static str, String) {
    let error = match read(file) {
        Ok(_) => panic!("the file is accepted"),
        Err(error) => error,
    };
    (error.code(), error.to_string())
}

#[test]
fn a_pickle_that_asks_for_more_than_tensors_is_refused_by_name() {
    for (file, found) in [
        (&saved!("hostile_system.bin")[..], "posix.system"),
        (saved!("hostile_system_old.bin"), "posix.system"),
        (saved!("hostile_numpy.bin"), "numpy"),
        (saved!("hostile_module.bin"), "torch.nn.modules.linear.Linear"),
    ] {
        let (code, message) = refusal(file);
        assert_eq!(code, "unsupported-model", "{message}");
        assert!(message.contains(found) && message.contains("runs nothing"), "{message}");
        if let Ok(directory) = directory_of(file) {
            let error =
                Reader::new(None).set_directory(directory).expect_err("the same by the directory");
            assert_eq!(error.to_string(), message);
        }
    }
}

/// The start of the old format: magic number, version, byte order; then this pickle.
fn old(pickle: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
    file.extend_from_slice(b"\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.");
    file.extend_from_slice(b"\x80\x02");
    file.extend_from_slice(pickle);
    file
}

#[test]
fn pickles_that_would_exhaust_memory_or_the_stack_are_refused() {
    // Lists inside lists; marks; a list that is doubled again and again; one that contains itself.
    let nested = [b"]".repeat(1 << 20), b"a".repeat((1 << 20) - 1), b".".to_vec()].concat();
    let doubled = [&b"]q\x00"[..], &b"(h\x00h\x00e".repeat(100_000), b"."].concat();
    for (pickle, words) in [
        (nested, "more values than any model needs"),
        (b"(".repeat(3 << 20), "more values than any model needs"),
        (b"}".repeat(3 << 20), "more values than any model needs"),
        ([&b"K\x01"[..], &b"r\x00\x00\x00\x00h\x00".repeat(1 << 18)].concat(), "more values"),
        (doubled, "found none"),
        (b"]q\x00h\x00a.".to_vec(), "found none"),
        (b"X\xff\xff\xff\xff".to_vec(), "a text that is too long"),
        ([&b"c"[..], &b"a".repeat(300)].concat(), "a name that is too long"),
        (b"\x8a\xff".iter().copied().chain([0; 300]).collect(), "operation 0x00"),
        (b"a.".to_vec(), "more values than there are"),
        (b"(ta.".to_vec(), "more values than there are"),
        (b"K\x01K\x02.".to_vec(), "more than one value"),
        (b"h\x07.".to_vec(), "before it is made"),
        (b"K\x01K\x02s.".to_vec(), "more values than there are"),
        (b"K\x01K\x02a.".to_vec(), "not a list"),
        (b"K\x01K\x02R.".to_vec(), "not a function"),
        (b"K\x01Q.".to_vec(), "not a storage"),
        (b"K\x01}b.".to_vec(), "not a dictionary"),
        (b"(imodule\nname\n.".to_vec(), "INST"),
        (b"\x95\x00".to_vec(), "FRAME"),
        (b"\x8c\x02os\x8c\x06system\x93.".to_vec(), "STACK_GLOBAL"),
        (b"ctorch\nFloatStorage\n)R.".to_vec(), "a call"),
        (b"cos\nsystem\n.".to_vec(), "os.system"),
        (b"c__builtin__\neval\n.".to_vec(), "__builtin__.eval"),
        (b"K\x01.".to_vec(), "found none"),
        (b"]K\x01r\xff\xff\xff\x7f.".to_vec(), "more values"),
        (b"]K\x01r\x02\x00\x00\x00.".to_vec(), "out of order"),
    ] {
        let file = old(&pickle);
        // The last pickle names no storages.
        let file = [&file[..], b"\x80\x02]."].concat();
        let (code, message) = refusal(&file);
        assert!(["bad-header", "unsupported-model"].contains(&code), "{code}: {message}");
        assert!(message.contains(words), "{words}: {message}");
    }
}

/// A pickle of one tensor `a`, of which every number is written as given.
fn tensor(kind: &str, n: i32, offset: i32, shape: [i32; 2], strides: [i32; 2]) -> Vec<u8> {
    let number = |n: i32| [&b"J"[..], &n.to_le_bytes()].concat();
    let mut out = b"}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    out.extend_from_slice(b"(X\x07\x00\x00\x00storage");
    out.extend_from_slice(format!("ctorch\n{kind}\n").as_bytes());
    out.extend_from_slice(b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu");
    out.extend(number(n));
    out.extend_from_slice(b"NtQ");
    out.extend(number(offset));
    for [first, second] in [shape, strides] {
        out.extend([number(first), number(second), vec![0x86]].concat());
    }
    out.extend_from_slice(b"\x89ccollections\nOrderedDict\n)RtRs.");
    out
}

fn stream_of(pickle: &[u8], count: u64, bytes: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..bytes).map(|i| i as u8).collect();
    let keys = b"\x80\x02]X\x01\x00\x00\x000a.";
    [&old(pickle)[..], keys, &count.to_le_bytes(), &data].concat()
}

/// The list of storages: a long text that is named again and again.
#[test]
fn a_list_of_storages_cannot_exhaust_memory() {
    let long = [&b"X\x00\x00\x01\x00"[..], &b"a".repeat(1 << 16)].concat();
    let keys = [&b"\x80\x02]"[..], &long, b"q\x00a", &b"h\x00a".repeat(100_000), b"."].concat();
    let good = tensor("FloatStorage", 6, 0, [2, 3], [3, 1]);
    let (code, message) = refusal(&[old(&good), keys].concat());
    assert_eq!(code, "bad-header", "{message}");
    assert!(message.contains("its list of storages"), "{message}");
    // A storage with such a name is none.
    let mut pickle = b"}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    pickle.extend_from_slice(b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n");
    pickle.extend_from_slice(&[&long[..], b"X\x03\x00\x00\x00cpuK\x06tQ"].concat());
    assert_eq!(refusal(&old(&pickle)).0, "unsupported-model");
}

/// Python 2 numbers what it remembers from 1 on, and writes dictionaries as lists of pairs.
#[test]
fn a_pickle_of_python_2_is_read() {
    let good = tensor("FloatStorage", 6, 0, [2, 3], [3, 1]);
    let inner = good.strip_prefix(b"}X\x01\x00\x00\x00a").expect("the key");
    let inner = inner.strip_suffix(b"s.").expect("the end");
    let pickle =
        [&b"ccollections\nOrderedDict\nq\x01]q\x02]q\x03(U\x01a"[..], inner, b"ea\x85Rq\x04."];
    assert_eq!(read_fine(&stream_of(&pickle.concat(), 6, 24)), read_fine(&stream_of(&good, 6, 24)));
    // Before version 0.4 tensors had no hooks.
    let early = String::from_utf8_lossy(&good).into_owned();
    assert!(early.contains("_rebuild_tensor_v2\n"));
    let at = good.windows(3).position(|w| w == b"_v2").expect("the version");
    let hooks = b"\x89ccollections\nOrderedDict\n)RtRs.";
    let body = good.strip_suffix(hooks).expect("the hooks");
    let early = [&body[..at], &body[at + 3..], b"tRs."].concat();
    assert_eq!(read_fine(&stream_of(&early, 6, 24)), read_fine(&stream_of(&good, 6, 24)));
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let good = tensor("FloatStorage", 6, 0, [2, 3], [3, 1]);
    let read = read_fine(&stream_of(&good, 6, 24));
    assert_eq!(read["a"], (vec![2, 3], "F32".into(), (0..24).collect()));
    // Transposed, and a part that begins in the middle.
    let turned = read_fine(&stream_of(&tensor("ByteStorage", 6, 0, [3, 2], [1, 3]), 6, 6));
    assert_eq!(turned["a"].2, [0, 3, 1, 4, 2, 5]);
    let part = read_fine(&stream_of(&tensor("ByteStorage", 6, 2, [1, 3], [9, 1]), 6, 6));
    assert_eq!(part["a"].2, [2, 3, 4]);

    for (file, code, words) in [
        (stream_of(&good, 7, 28), "bad-header", "expected 6 elements, got 7"),
        (stream_of(&good, 6, 23), "truncated", "ends too early"),
        (stream_of(&good, 6, 25), "bad-header", "follow after the last storage"),
        (stream_of(&good, u64::MAX, 24), "bad-header", "expected 6 elements"),
        (stream_of(&tensor("FloatStorage", 6, 1, [2, 3], [3, 1]), 6, 24), "bad-header", "larger"),
        (stream_of(&tensor("FloatStorage", 6, 0, [2, 3], [4, 1]), 6, 24), "bad-header", "larger"),
        (
            stream_of(&tensor("FloatStorage", 6, 0, [9, 9], [0, 0]), 6, 24),
            "unsupported-model",
            "repeats",
        ),
        (
            stream_of(&tensor("ComplexFloatStorage", 6, 0, [2, 3], [3, 1]), 6, 48),
            "unsupported-model",
            "torch.ComplexFloatStorage",
        ),
        (
            stream_of(&tensor("storage.UntypedStorage", 6, 0, [2, 3], [3, 1]), 6, 24),
            "unsupported-model",
            "UntypedStorage",
        ),
    ] {
        let (got, message) = refusal(&file);
        assert_eq!(got, code, "{message}");
        assert!(message.contains(words), "{message}");
    }
    let swapped = stream_of(&good, 6, 24);
    let at = swapped.windows(14).position(|w| w == b"little_endian\x88").expect("the flag");
    let mut swapped = swapped;
    swapped[at + 13] = 0x89;
    assert_eq!(refusal(&swapped).0, "unsupported-model");
}

/// What is in order streams through, whatever its size; what is not is held in memory, up to a limit.
#[test]
fn a_storage_that_would_have_to_be_held_in_memory_is_limited() {
    let size = 48 << 20;
    for (n, strides, is_read) in [
        (size, [2, 1], true),
        (size, [1, size / 2], true),
        (size + 2, [2, 1], true),
        (size + 2, [1, size / 2 + 1], false),
    ] {
        let shape = [n / 2, 2];
        let mut reader = Reader::new(None);
        let start = stream_of(&tensor("ByteStorage", n, 0, shape, strides), n as u64, 0);
        let mut rest = &start[..];
        let result = (|| {
            let mut received = 0;
            while reader.next(&mut rest)?.is_some() {}
            for piece in vec![7u8; n as usize].chunks(1 << 20) {
                let mut rest = piece;
                while let Some(event) = reader.next(&mut rest)? {
                    if let Event::Data { bytes, .. } = event {
                        received += bytes.len();
                    }
                }
            }
            Ok::<_, Error>(received)
        })();
        match result {
            Ok(received) => assert!(is_read && received == n as usize, "{received} of {n}"),
            Err(error) => {
                assert_eq!(error.code(), "unsupported-model");
                assert!(!is_read && error.to_string().contains(".contiguous()"), "{error}");
            }
        }
    }
}

#[test]
fn a_zip_file_that_is_cut_or_compressed_is_refused() {
    let whole = saved!("bare_half.bin");
    let directory = whole.windows(4).position(|w| w == b"PK\x01\x02").expect("a directory");
    for cut in [1, 3, 4, 29, 200, 1000, directory - 1, directory] {
        let (code, message) = refusal(&whole[..cut]);
        assert_eq!(code, "truncated", "after {cut} bytes: {message}");
        let error = directory_of(&whole[..cut]).expect_err("no directory");
        assert!(["truncated", "bad-header"].contains(&error.code()), "after {cut} bytes: {error}");
    }
    for cut in directory..whole.len() {
        let error = directory_of(&whole[..cut]).expect_err("a directory that is cut");
        assert_eq!(error.code(), "truncated", "after {cut} bytes: {error}");
    }
    let deflated = saved!("bare_deflated.bin");
    for error in [directory_of(deflated).map(|_| ()), read(deflated).map(|_| ())] {
        let error = error.expect_err("a compressed file");
        assert_eq!(error.code(), "unsupported-model", "{error}");
        assert!(error.to_string().contains("compressed (method 8)"), "{error}");
    }
    // The length of a storage in its own header.
    let mut wrong = saved!("bare_pickle_last.bin").to_vec();
    let name = wrong.windows(6).position(|w| w == b"data/0").expect("the first storage");
    let header = wrong[..name].windows(4).rposition(|w| w == b"PK\x03\x04").expect("its header");
    let listed = directory_of(&wrong).expect("a directory");
    wrong[header + 18] ^= 1;
    wrong[header + 22] ^= 1;
    let error = read_as(&wrong, Some(listed), &[1 << 20]).expect_err("two lengths");
    assert_eq!(error.code(), "bad-header", "{error}");
    assert_eq!(read(b"PK\x03\x04").expect_err("no header").code(), "truncated");
    // A second pickle.
    let (_, rest) = whole.split_at(directory);
    let first = &whole[..whole
        .windows(4)
        .skip(4)
        .position(|w| w == b"PK\x03\x04")
        .expect("the second entry")
        + 4];
    let twice = [first, &whole[..directory], rest].concat();
    let (code, message) = refusal(&twice);
    assert_eq!((code, message.contains("two data.pkl")), ("bad-header", true), "{message}");
}

/// Behind 4 GiB, the sizes after every entry have 64 bits.
#[test]
fn sizes_of_64_bits_after_an_entry_without_a_length_are_read() {
    let whole = saved!("bare_half.bin");
    let name = whole.windows(8).position(|w| w == b"/version").expect("the entry");
    let at = name + whole[name..].windows(4).position(|w| w == b"PK\x07\x08").expect("its sizes");
    let sizes = [2u64.to_le_bytes(), 2u64.to_le_bytes()].concat();
    assert_eq!(whole[at + 8..at + 16], [2, 0, 0, 0, 2, 0, 0, 0]);
    let wide = [&whole[..at + 8], &sizes, &whole[at + 16..]].concat();
    assert_eq!(read_fine(&wide), read_fine(whole));
}

#[test]
fn a_file_that_is_neither_is_told_from_one_by_its_first_bytes() {
    // The lengths of these headers begin with "PK", and with the bytes of a pickle's protocol.
    let json = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    for start in [*b"PK", [0x80, 2], [0x80, 3], [0x80, 4], [0x80, 5]] {
        let header = format!("{json:width$}", width = usize::from(u16::from_le_bytes(start)));
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[7]].concat();
        assert!(file.starts_with(&start));
        assert_eq!(read_fine(&file)["a"].2, [7], "a header of {} bytes", header.len());
    }
    let error: Error = read(b"\x80\x03}q\x00.").expect_err("some pickle");
    assert_eq!(error.code(), "bad-header");
    assert!(error.to_string().contains("torch.save did not write"), "{error}");
}
