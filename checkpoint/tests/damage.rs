//! What is stored, with bits flipped, cut off, or made up.

mod checks;

use checks::{log_entry, state_file};
use proptest::prelude::*;

/// An entry as it is written, but for its checksum.
const BODY: &str = r#"{"attempt":1,"checkpoint":{"job":"orders","epoch":41,"at":0,"parts":{}}}"#;

fn entry(body: &str) -> Vec<u8> {
    format!("updraft log 1 {:08x}\n{body}\n", crc32fast::hash(body.as_bytes())).into_bytes()
}

#[test]
fn entries_are_read_as_they_are_written() {
    let found = log_entry(&entry(BODY));
    assert_eq!(found.checkpoint.map(|(number, manifest)| (number, manifest.epoch)), Some((1, 41)));
    // One with a field of a later version is understood; one without what it needs is not.
    assert!(log_entry(&entry(&BODY.replace("\"at\"", "\"later\":[1],\"at\""))).checkpoint.is_some());
    let found = log_entry(&entry(&BODY.replace("\"epoch\":41,", "")));
    assert!(found.checkpoint.is_none() && found.damaged[0].to_string().contains("epoch"), "{:?}", found.damaged);
    let found = log_entry(b"updraft log 2 00000000\n{}\n");
    assert!(found.damaged[0].to_string().contains("does not begin with `updraft log 1 `"), "{:?}", found.damaged);
}

proptest! {
    #[test]
    fn damaged_entries_are_no_checkpoints(place in any::<prop::sample::Index>(), bit in 0..8u32, cut in any::<bool>()) {
        let mut text = entry(BODY);
        let at = place.index(text.len());
        if cut { text.truncate(at) } else { text[at] ^= 1 << bit }
        let found = log_entry(&text);
        prop_assert!(found.checkpoint.is_none() && found.damaged.len() == 1);
    }

    #[test]
    fn any_bytes_are_told_of(bytes in proptest::collection::vec(any::<u8>(), 0..200), begins in any::<bool>()) {
        state_file(&if begins { [&b"UPDRAFT\x01"[..], &bytes].concat() } else { bytes.clone() });
        log_entry(&bytes);
        log_entry(&entry(&String::from_utf8_lossy(&bytes)));
    }
}
