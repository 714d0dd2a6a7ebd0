//! Shared by the benchmarks over a folder of `cargo xtask synth`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use loupe::error::Result;
use loupe::session::{Loading, Session};

/// Bytes read from the file at once, as in a download.
const PIECE: usize = 1 << 20;

/// Pushes the folder's file of weights into a load.
pub async fn fill(session: &Session, loading: &mut Loading, folder: &Path) -> Result<()> {
    let mut file = File::open(folder.join("model.safetensors")).expect("weights");
    let mut piece = vec![0; PIECE];
    loop {
        let n = file.read(&mut piece).expect("a readable file");
        if n == 0 {
            return loading.loader.end_file();
        }
        session.push(loading, &piece[..n]).await?;
    }
}
