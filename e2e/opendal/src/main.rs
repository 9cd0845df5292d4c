//! `opendal-client save KEY FILE` and `opendal-client read KEY FILE`: one entry of an Actions cache by way of OpenDAL. The service
//! comes from the variables that GitHub's runner sets.

use std::{env, fs, ops::Range};

use opendal::{Operator, Result, services::Ghac};

/// Small, so that a file of a test has many.
const CHUNK: usize = 1 << 20;

/// How many chunks are under way at a time.
const CONCURRENT: usize = 4;

/// What is read beside the whole.
const PART: Range<u64> = 1000..5_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [command, key, file] = arguments.as_slice() else {
        panic!("usage: opendal-client save|read KEY FILE");
    };
    opendal::install_default();
    let cache = Operator::new(Ghac::default())?;
    match command.as_str() {
        "save" => {
            let content = fs::read(file).expect("the file can be read");
            let writer = cache.writer_with(key).chunk(CHUNK);
            let mut writer = writer.concurrent(CONCURRENT).await?;
            writer.write(content).await?;
            writer.close().await?;
        }
        "read" => {
            let whole = cache.read(key).await?.to_vec();
            let reader = cache.reader_with(key).chunk(CHUNK);
            let reader = reader.concurrent(CONCURRENT).await?;
            let part = reader.read(PART).await?.to_vec();
            let wanted = usize::try_from(PART.start).unwrap()..usize::try_from(PART.end).unwrap();
            assert!(part == whole[wanted], "the part has other bytes");
            fs::write(file, whole).expect("the file can be written");
        }
        _ => panic!("{command}: save or read"),
    }
    Ok(())
}
