//! Columns in the names of folders: `dt=2026-01-01/hour=3/`. Characters that are none of a name's are `%` and two digits.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::Field;
use updraft_dataflow::Error;

use crate::columns::cells::Cells;
use crate::columns::text::scalar;
use crate::columns::types::sql_name;

/// The value of `field` in the folders of `path`: an array of one.
pub(super) fn value(path: &Path, field: &Arc<Field>, default_name: &str) -> Result<ArrayRef, Error> {
    let name = field.name();
    let folders = path.parent().into_iter().flat_map(Path::components).rev();
    let found = folders.filter_map(|folder| {
        let (key, value) = folder.as_os_str().to_str()?.split_once('=')?;
        (unescape(key).as_deref() == Some(name.as_str())).then(|| value.to_owned())
    });
    let at = path.display();
    let Some(value) = found.into_iter().next() else {
        return Err(
            format!("{at}: no folder `{name}=…` is in the path, and the table is partitioned by `{name}`").into()
        );
    };
    let mut cells = Cells::new(field)?;
    let text = unescape(&value);
    let valid = match text.as_deref() {
        _ if value == default_name => cells.push_null(),
        Some(text) => cells.push(text),
        None => false,
    };
    if valid {
        return Ok(cells.finish());
    }
    Err(format!("{at}: the folder `{name}={value}` names no {}", sql_name(field.data_type())).into())
}

/// The columns that a folder names, and their values; `None` for NULL.
pub(super) fn columns(folder: &str, default_name: &str) -> Vec<(String, Option<String>)> {
    let parts = folder.split('/').filter_map(|part| part.split_once('='));
    let value = |value: &str| if value == default_name { None } else { unescape(value) };
    parts.filter_map(|(name, text)| Some((unescape(name)?, value(text)))).collect()
}

/// The folder of each row of `keys`.
pub(super) fn folders(keys: &RecordBatch, default_name: &str) -> Result<Vec<String>, Error> {
    let mut folders = vec![String::new(); keys.num_rows()];
    for (field, array) in keys.schema().fields().iter().zip(keys.columns()) {
        let write = scalar(array, false)?.write;
        let mut text = Vec::new();
        for (row, folder) in folders.iter_mut().enumerate() {
            text.clear();
            if array.is_valid(row) {
                write(row, &mut text);
            }
            if !folder.is_empty() {
                folder.push('/');
            }
            escape(field.name(), folder);
            folder.push('=');
            match text.is_empty() {
                true => folder.push_str(default_name),
                false => escape(&String::from_utf8_lossy(&text), folder),
            }
        }
    }
    Ok(folders)
}

fn escape(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^' | '\u{7F}' => {
                let _ = write!(out, "%{:02X}", char as u32);
            }
            _ if char < ' ' => {
                let _ = write!(out, "%{:02X}", char as u32);
            }
            // These would be other folders.
            '.' if text.bytes().all(|byte| byte == b'.') => out.push_str("%2E"),
            _ => out.push(char),
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let code = || {
            let digits = after.get(..2).filter(|_| *byte == b'%')?;
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let code = code();
        bytes.push(code.unwrap_or(*byte));
        rest = &after[if code.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_comes_back() {
        for text in ["plain", "a/b=c:d%20", "..", "ü\n\"", "100%", "%zz"] {
            let mut folder = String::new();
            escape(text, &mut folder);
            assert!(!folder.contains('/') && folder != "..", "{folder}");
            assert_eq!(unescape(&folder).as_deref(), Some(text));
        }
    }
}
