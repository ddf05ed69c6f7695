//! Text in quotes, and bytes as text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Style, put};

/// `text` as a JSON string.
pub(super) fn quoted(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
        out.push_str(&rest[..at]);
        // What is escaped is a byte long.
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            other => put(out, format_args!("\\u{other:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// What `write` writes, as a JSON string.
pub(super) fn quoted_by(out: &mut String, write: impl FnOnce(&mut String)) {
    let mut text = String::new();
    write(&mut text);
    quoted(&text, out);
}

/// Bytes: `[1, -2]` as Java has them, `x'01fe'` in SQL, base 64 elsewhere.
pub(super) fn bytes(bytes: &[u8], style: Style, out: &mut String) {
    match style {
        Style::Java => {
            out.push('[');
            for (at, byte) in bytes.iter().enumerate() {
                put(out, format_args!("{}{}", if at > 0 { ", " } else { "" }, *byte as i8));
            }
            out.push(']');
        }
        Style::Sql => {
            out.push_str("x'");
            bytes.iter().for_each(|byte| put(out, format_args!("{byte:02x}")));
            out.push('\'');
        }
        Style::Csv => BASE64_STANDARD.encode_string(bytes, out),
        Style::Json => {
            out.push('"');
            BASE64_STANDARD.encode_string(bytes, out);
            out.push('"');
        }
    }
}
