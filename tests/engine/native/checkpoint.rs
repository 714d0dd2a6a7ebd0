//! Tests the streaming reader: every split of the bytes gives the same tensors, and hostile files give clear errors.

use loupe::checkpoint::{Digest, Element, Event, Reader, TensorInfo};
use loupe::error::Error;
use proptest::prelude::*;

/// A file with the given header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(data);
    out
}

const GOOD: &str = r#"{"__metadata__":{"format":"pt"},
    "b":{"dtype":"F16","shape":[3],"data_offsets":[8,14]},
    "empty":{"dtype":"F32","shape":[0,4],"data_offsets":[14,14]},
    "mask":{"dtype":"U8","shape":[5],"data_offsets":[14,19]},
    "a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;

/// Computed with Python's hashlib.
const DIGEST_OF_GOOD: &str = "a408918a541ef4711711f7f12ff54d8297eea4769ebbde06d3c285d7d694716c";

fn good() -> Vec<u8> {
    file(GOOD, &(0..19u8).collect::<Vec<_>>())
}

/// The tensors that the header lists, and the bytes of each.
type Contents = (Vec<TensorInfo>, Vec<(String, Vec<u8>)>);

/// Reads a file in pieces and verifies it against `sha256`, if that is given.
fn read_as(bytes: &[u8], cuts: &[usize], sha256: Option<&str>) -> Result<Contents, Error> {
    let mut reader = Reader::new(sha256);
    let (mut header, mut data) = (Vec::new(), Vec::<(String, Vec<u8>)>::new());
    let mut at = 0;
    let mut cuts = cuts.iter().cycle();
    while at < bytes.len() {
        let n = (*cuts.next().expect("a length")).clamp(1, bytes.len() - at);
        let mut piece = &bytes[at..at + n];
        while let Some(event) = reader.next(&mut piece)? {
            match event {
                Event::Header(h) => header = h.tensors.clone(),
                Event::Data { tensor, bytes, .. } => match data.last_mut() {
                    Some((name, all)) if *name == tensor.name => all.extend_from_slice(bytes),
                    _ => data.push((tensor.name.clone(), bytes.to_vec())),
                },
            }
        }
        at += n;
        assert_eq!(reader.offset(), at as u64);
    }
    reader.finish()?;
    Ok((header, data))
}

fn read(bytes: &[u8], cuts: &[usize]) -> Result<Contents, Error> {
    read_as(bytes, cuts, None)
}

fn code(bytes: &[u8]) -> &'static str {
    read(bytes, &[1000]).map_or_else(|e| e.code(), |_| "fine")
}

#[test]
fn tensors_come_in_the_order_of_the_data() {
    let (header, data) = read(&good(), &[1 << 20]).expect("a valid file");
    let names: Vec<&str> = header.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "empty", "mask"]);
    assert_eq!(header[0].element, Ok(Element::F32));
    assert_eq!(header[1].element, Ok(Element::F16));
    assert_eq!(header[3].element, Err("U8".to_string()));
    let expected = [("a", 0..8u8), ("b", 8..14), ("mask", 14..19)];
    let expected: Vec<_> = expected.map(|(n, r)| (n.to_string(), r.collect::<Vec<u8>>())).into();
    assert_eq!(data, expected);
}

proptest! {
    #[test]
    fn every_split_gives_the_same_tensors(cuts in prop::collection::vec(1usize..200, 1..20)) {
        prop_assert_eq!(read(&good(), &cuts).ok(), read(&good(), &[1]).ok());
        prop_assert!(read(&good(), &cuts).is_ok());
    }

    /// Random bytes never cause a panic and are never accepted as a whole file.
    #[test]
    fn noise_is_rejected(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        // Noise may begin like a pickle, of which an operation is not known then.
        let codes = ["bad-header", "truncated", "unsupported-model"];
        prop_assert!(codes.contains(&code(&bytes)));
    }

    /// A valid file with one changed byte in its header is read or rejected, without a panic.
    #[test]
    fn a_changed_header_never_panics(at in 0usize..GOOD.len() + 8, byte in any::<u8>()) {
        let mut bytes = good();
        bytes[at] = byte;
        let _ = code(&bytes);
    }
}

#[test]
fn a_truncated_file_reports_how_much_was_received() {
    let whole = good();
    for n in 0..whole.len() {
        let error = read(&whole[..n], &[7]).err();
        let Some(Error::Truncated { received, expected }) = error else { panic!("{n}: {error:?}") };
        assert_eq!(received, n as u64);
        assert!(expected > received);
    }
}

#[test]
fn inconsistent_headers_are_rejected() {
    let tensor = |dtype: &str, shape: &str, start: u64, end: u64| {
        file(
            &format!(
                r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}}}"#
            ),
            &[0; 64],
        )
    };
    assert_eq!(code(&tensor("F32", "[16]", 0, 64)), "fine");
    assert_eq!(code(&tensor("F32", "[15]", 0, 64)), "bad-header", "size and shape differ");
    assert_eq!(code(&tensor("F32", "[16]", 64, 0)), "bad-header", "end before start");
    assert_eq!(code(&tensor("F32", "[14]", 8, 64)), "bad-header", "a gap at the start");
    assert_eq!(code(&tensor("F32", "[15]", 0, 60)), "bad-header", "bytes after the last tensor");
    assert_eq!(code(&tensor("F32", "[17]", 0, 68)), "truncated", "more than the file has");
    // A model may not need the tensor, so its type is an error only if the model does.
    assert_eq!(code(&tensor("Q7", "[16]", 0, 64)), "fine", "an unknown type");
    assert_eq!(code(&tensor("F32", "[-1]", 0, 64)), "bad-header", "a negative size");
    let huge = "[4294967296,4294967296,4294967296]";
    assert_eq!(code(&tensor("F32", huge, 0, 64)), "bad-header", "a shape that overflows");
    let vast = 2_305_843_009_213_693_951u64;
    assert_eq!(code(&tensor("U8", &format!("[{vast}]"), 0, vast)), "bad-header", "2^61 bytes");
    assert_eq!(code(&tensor("F32", "[1,1,1,1,1,1,1,1,16]", 0, 64)), "bad-header", "rank 9");
    let twice = r#"{"x":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"x":{"dtype":"U8","shape":[8],"data_offsets":[8,16]}}"#;
    assert_eq!(code(&file(twice, &[0; 16])), "bad-header", "a duplicate name");
    let overlap = r#"{"x":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"y":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}}"#;
    assert_eq!(code(&file(overlap, &[0; 12])), "bad-header", "overlapping data");
}

#[test]
fn other_file_formats_are_rejected() {
    assert_eq!(code(b"<!DOCTYPE html><html><body>Not found</body></html>"), "bad-header");
    assert_eq!(code(&file("[1,2]", &[])), "bad-header");
    assert_eq!(code(&file("{\"x\":", &[])), "bad-header");
    assert_eq!(code(&u64::MAX.to_le_bytes()), "bad-header", "an absurd header length is an error");
    assert_eq!(code(b""), "truncated");
}

#[test]
fn a_file_is_verified_against_its_digest() {
    let digest = DIGEST_OF_GOOD;
    let code = |bytes: &[u8], sha256: &str| {
        read_as(bytes, &[7], Some(sha256)).map_or_else(|e| e.code(), |_| "fine")
    };
    assert_eq!(code(&good(), digest), "fine");
    assert_eq!(code(&good(), &digest.to_uppercase()), "fine");
    let newline = 8 + GOOD.find('\n').expect("a newline in the header");
    for (at, byte) in [(newline, b'\t'), (good().len() - 1, 0)] {
        let mut damaged = good();
        damaged[at] = byte;
        assert_eq!(code(&damaged, digest), "corrupt", "byte {at}");
    }
}

#[test]
fn a_digest_can_be_resumed() {
    let mut digest = Digest::default();
    digest.update(b"The quick brown fox ");
    let mut later = Digest::resume(&digest.state()).expect("a state");
    later.update(b"jumps over the lazy dog");
    // A well-known test vector.
    let expected = "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592";
    assert_eq!(later.hex(), expected);
    let state = digest.state();
    for bad in ["", "zz", &state[2..], &state[1..], &format!("{state}00")] {
        assert!(Digest::resume(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_file_resumes_at_the_start_of_a_tensor() {
    let bytes = good();
    let head = 8 + GOOD.len();
    let from = |offset: usize| {
        let mut reader = Reader::new(Some(DIGEST_OF_GOOD));
        let mut piece = &bytes[..head];
        assert!(matches!(reader.next(&mut piece), Ok(Some(Event::Header(_)))));
        let mut digest = Digest::default();
        digest.update(&bytes[..offset]);
        reader.seek(offset as u64, Some(digest))?;
        let (mut piece, mut names) = (&bytes[offset..], Vec::new());
        while let Some(event) = reader.next(&mut piece)? {
            let Event::Data { tensor, .. } = event else { panic!("a second header") };
            names.push(tensor.name.clone());
        }
        reader.finish()?;
        Ok::<_, Error>(names)
    };
    assert_eq!(from(head).ok(), Some(vec!["a".into(), "b".into(), "mask".into()]));
    assert_eq!(from(head + 8).ok(), Some(vec!["b".into(), "mask".into()]));
    assert_eq!(from(head + 19).ok(), Some(vec![]), "the end of the data");
    for wrong in [head + 1, head + 15] {
        assert_eq!(from(wrong).map_err(|e| e.code()), Err("corrupt"), "{wrong}");
    }
}

#[test]
fn numbers_are_decoded() {
    let mut out = Vec::new();
    Element::F32.decode(&1.5f32.to_le_bytes(), &mut out);
    Element::F16.decode(&[0x00, 0x3e, 0x01, 0x00], &mut out);
    Element::Bf16.decode(&[0xc0, 0x3f], &mut out);
    assert_eq!(out, [1.5, 1.5, 2f32.powi(-24), 1.5]);
}
