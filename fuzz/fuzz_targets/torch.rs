//! Sends hostile files of PyTorch through the checkpoint reader: it does not panic, its memory is bounded by the bytes
//! received, and every split of the bytes gives the same tensors or the same error, with the directory of a zip file too.
#![no_main]

#[allow(dead_code)] // the target uses only some of it
#[path = "../../src/checkpoint/mod.rs"]
mod checkpoint;
#[allow(dead_code)] // the target uses only some of it
#[path = "../../src/error.rs"]
mod error;
mod support;

use checkpoint::{Index, IndexReader};
use error::Result;
use libfuzzer_sys::fuzz_target;
use support::read_in_all_ways;

/// Largest memory per byte received: an operation of one byte makes a value, in a list that doubles as it grows.
const PER_BYTE: usize = 400;

/// Magic number, version and byte order of the old format.
const OLD: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";

fn index_of(file: &[u8]) -> Result<Index> {
    let mut reader = IndexReader::new(file.len() as u64);
    loop {
        let (from, n) = reader.wants();
        let rest = file.get(from as usize..).unwrap_or_default();
        if let Some(index) = reader.take(rest[..rest.len().min(n as usize)].to_vec())? {
            return Ok(index);
        }
    }
}

/// An entry of a zip file.
fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut out = b"PK\x03\x04".to_vec();
    out.extend_from_slice(&[0; 14]);
    for _ in 0..2 {
        out.extend_from_slice(&(content.len() as u32).to_le_bytes());
    }
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(content);
    out
}

fuzz_target!(|input: &[u8]| {
    let Some((&mode, body)) = input.split_first() else { return };
    // Most inputs get a correct beginning, so that pickles and what follows them are reached more often.
    let file = match mode & 3 {
        0 => body.to_vec(),
        1 | 2 => [OLD, body].concat(),
        _ => {
            let end = body.iter().position(|&byte| byte == b'.').map_or(body.len(), |i| i + 1);
            let (pickle, rest) = body.split_at(end);
            [entry("a/data.pkl", pickle), entry("a/data/0", rest), b"PK\x01\x02".to_vec()].concat()
        }
    };
    let alone = read_in_all_ways(&file, None, input, PER_BYTE);
    if !Index::exists_in(&file) {
        return;
    }
    if let Ok(index) = index_of(&file) {
        let indexed = read_in_all_ways(&file, Some(&index), input, PER_BYTE);
        if alone.error.is_none() && indexed.error.is_none() {
            assert_eq!(indexed, alone, "the directory changes nothing that is read without it");
        }
    }
});
