//! Shares few files out to many partitions: Parquet by row groups, lines by bytes. How depends on the files and the settings
//! alone, not on the machine.

use updraft_dataflow::Error;

use super::find::{Found, required};
use super::open::{Share, Unit};
use super::plan::Plan;
use crate::compression::Compression;

/// How much of a file's beginning is looked at, in bytes: its header must be there.
const HEAD: usize = 64 << 10;

/// The files, or where they are few, the parts of them.
pub(super) fn units(plan: &Plan) -> Result<Vec<Unit>, Error> {
    let files = required(&plan.settings)?;
    let few = files.len() < plan.settings.partitions;
    let mut units = Vec::new();
    for file in files {
        let shares = if few { shares(plan, &file)? } else { vec![Share::All] };
        let size = file.size / shares.len().max(1) as u64;
        units.extend(shares.into_iter().map(|share| Unit { file: file.clone(), share, size }));
    }
    Ok(units)
}

fn shares(plan: &Plan, file: &Found) -> Result<Vec<Share>, Error> {
    let settings = &plan.settings;
    if settings.format.is_block() {
        let groups = settings.format.groups(&file.whole()?)?;
        return Ok(by_groups(groups, settings.partitions));
    }
    let parts = settings.split.map_or(1, |split| file.size.div_ceil(split)).min(settings.partitions as u64);
    if parts < 2 || !settings.format.is_of_lines() || settings.compression_of(&file.path) != Compression::Plain {
        return Ok(vec![Share::All]);
    }
    by_bytes(file, parts)
}

fn by_groups(groups: usize, most: usize) -> Vec<Share> {
    let shares = groups.min(most);
    if shares < 2 {
        return vec![Share::All];
    }
    (0..shares).map(|share| Share::Groups((groups * share / shares..groups * (share + 1) / shares).collect())).collect()
}

/// Where a file is compressed under another name, or its first line is endless, it stays whole.
fn by_bytes(file: &Found, parts: u64) -> Result<Vec<Share>, Error> {
    let head = head(file)?;
    if head.is_empty() || Compression::of_magic(&head) != Compression::Plain {
        return Ok(vec![Share::All]);
    }
    let cut = |part: u64| (u128::from(file.size) * u128::from(part) / u128::from(parts)) as u64;
    Ok((0..parts).map(|part| Share::Lines(cut(part)..cut(part + 1))).collect())
}

/// The first lines of a file. To be called where one may wait.
pub(super) fn head(file: &Found) -> Result<Vec<u8>, Error> {
    let mut head = file.head(HEAD)?;
    head.truncate(memchr::memrchr(b'\n', &head).map_or(0, |end| end + 1));
    Ok(head)
}
