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

use checkpoint::{Directory, DirectoryReader};
use error::Result;
use libfuzzer_sys::fuzz_target;
use support::read_in_all_ways;

/// Largest memory per byte received: an operation of one byte makes a value, in a list that doubles as it grows.
const PER_BYTE: usize = 400;

/// Magic number, version and byte order of the old format.
const OLD: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";

fn directory_of(file: &[u8]) -> Result<Directory> {
    let mut reader = DirectoryReader::new(file.len() as u64);
    loop {
        let (from, n) = reader.wants();
        let rest = file.get(from as usize..).unwrap_or_default();
        if let Some(directory) = reader.take(rest[..rest.len().min(n as usize)].to_vec())? {
            return Ok(directory);
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

/// A zip file of these entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let header = entry(name, content);
        // The same fields, with the sizes 2 bytes further on, and the offset behind more of them.
        directory.extend_from_slice(b"PK\x01\x02\0\0");
        directory.extend_from_slice(&header[4..30]);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&(out.len() as u32).to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&header);
    }
    let start = out.len() as u32;
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&[entries.len() as u8, 0, entries.len() as u8, 0]);
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
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
            zip(&[("a/data.pkl", pickle), ("a/data/0", rest)])
        }
    };
    let alone = read_in_all_ways(&file, None, input, PER_BYTE);
    if !Directory::is_zip(&file) {
        return;
    }
    if let Ok(directory) = directory_of(&file) {
        let indexed = read_in_all_ways(&file, Some(&directory), input, PER_BYTE);
        if alone.error.is_none() && indexed.error.is_none() {
            assert_eq!(indexed, alone, "the directory changes nothing that is read without it");
        }
    }
});
