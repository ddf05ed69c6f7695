//! Strings and bytes in other forms: base 64, hexadecimal, character sets, and what a URL is made of.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryViewArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion_common::{Result, plan_err};
use datafusion_expr::ScalarUDF;

use super::scalar::Kind::{Bytes, Text};
use super::scalar::{Call, Gives, Scalar, Takes, scalar};

/// The functions on encodings.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let list: Vec<Scalar> = vec![
        scalar("to_base64", Takes::By(bytes_of_any), Gives::TEXT, to_base64),
        scalar("from_base64", Takes::all(&[Text]), Gives::TEXT, from_base64),
        scalar("unhex", Takes::all(&[Text]), Gives::BYTES, unhex),
        scalar("encode", Takes::all(&[Text, Text]), Gives::BYTES, encode),
        scalar("decode", Takes::all(&[Bytes, Text]), Gives::TEXT, decode),
        scalar("url_encode", Takes::all(&[Text]), Gives::TEXT, url_encode),
        scalar("url_decode", Takes::all(&[Text]), Gives::TEXT, url_decode),
        scalar("parse_url", Takes::Some(&[Text, Text, Text], 2), Gives::TEXT, parse_url),
    ];
    list.into_iter().map(Into::into).collect()
}

fn bytes_of_any(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [one] if one.is_string() || one.is_null() => Ok(vec![DataType::Utf8View]),
        [one] if one.is_binary() => Ok(vec![DataType::BinaryView]),
        _ => plan_err!("TO_BASE64 takes one string"),
    }
}

fn to_base64(call: &Call) -> Result<ArrayRef> {
    let bytes = cast(&call.whole(0)?, &DataType::BinaryView)?;
    let bytes = arrow::array::AsArray::as_binary_view(&bytes);
    call.each::<StringViewArray, _>(|row| bytes.is_valid(row).then(|| STANDARD.encode(bytes.value(row))))
}

fn from_base64(call: &Call) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.try_each::<StringViewArray, _>(|row| {
        let Some(text) = text.at(row) else { return Ok(None) };
        match STANDARD.decode(text.trim()) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) => Err(call.error(format!("'{text}' is not of base 64: {error}"))),
        }
    })
}

fn unhex(call: &Call) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.each::<BinaryViewArray, _>(|row| from_hex(text.at(row)?.as_bytes()))
}

/// Bytes of hexadecimal digits; the first one of an odd number gives a zero.
fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let (odd, pairs) = digits.split_at(digits.len() % 2);
    let odd = odd.iter().map(|first| digit(*first).map(|_| 0));
    let pairs = pairs.chunks(2).map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8));
    odd.chain(pairs).collect()
}

#[derive(Clone, Copy)]
enum Charset {
    Ascii,
    Latin1,
    Utf8,
    Utf16 { big: bool, mark: bool },
}

impl Charset {
    fn named(call: &Call, name: &str) -> Result<Self> {
        Ok(match name.to_uppercase().as_str() {
            "US-ASCII" | "ASCII" => Self::Ascii,
            "ISO-8859-1" | "LATIN1" => Self::Latin1,
            "UTF-8" | "UTF8" => Self::Utf8,
            "UTF-16BE" => Self::Utf16 { big: true, mark: false },
            "UTF-16LE" => Self::Utf16 { big: false, mark: false },
            "UTF-16" => Self::Utf16 { big: true, mark: true },
            _ => {
                let known = "US-ASCII, ISO-8859-1, UTF-8, UTF-16BE, UTF-16LE and UTF-16";
                return Err(call.error(format!("there is no character set '{name}': known are {known}")));
            }
        })
    }

    /// What the character set lacks becomes a question mark, as in Java.
    fn encode(self, text: &str) -> Vec<u8> {
        let below = |end: u32| text.chars().map(move |c| if (c as u32) < end { c as u8 } else { b'?' });
        match self {
            Self::Ascii => below(0x80).collect(),
            Self::Latin1 => below(0x100).collect(),
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Utf16 { big, mark } => {
                let units = mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
                units.flat_map(|unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
            }
        }
    }

    fn decode(self, bytes: &[u8]) -> String {
        match self {
            Self::Ascii => {
                bytes.iter().map(|&b| if b < 0x80 { char::from(b) } else { char::REPLACEMENT_CHARACTER }).collect()
            }
            Self::Latin1 => bytes.iter().copied().map(char::from).collect(),
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Utf16 { big, mark } => {
                let (big, bytes) = match bytes {
                    [0xFF, 0xFE, rest @ ..] if mark => (false, rest),
                    [0xFE, 0xFF, rest @ ..] if mark => (true, rest),
                    _ => (big, bytes),
                };
                let pairs = bytes.chunks(2).map(|pair| [pair[0], pair.get(1).copied().unwrap_or(0)]);
                let units = pairs.map(|pair| if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) });
                String::from_utf16_lossy(&units.collect::<Vec<_>>())
            }
        }
    }
}

fn encode(call: &Call) -> Result<ArrayRef> {
    let (text, name) = (call.text(0)?, call.text(1)?);
    call.try_each::<BinaryViewArray, _>(|row| {
        let (Some(text), Some(name)) = (text.at(row), name.at(row)) else { return Ok(None) };
        Ok(Some(Charset::named(call, name)?.encode(text)))
    })
}

fn decode(call: &Call) -> Result<ArrayRef> {
    let (bytes, name) = (call.bytes(0)?, call.text(1)?);
    call.try_each::<StringViewArray, _>(|row| {
        let (Some(bytes), Some(name)) = (bytes.at(row), name.at(row)) else { return Ok(None) };
        Ok(Some(Charset::named(call, name)?.decode(bytes)))
    })
}

fn url_encode(call: &Call) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.each::<StringViewArray, _>(|row| Some(form_encoded(text.at(row)?)))
}

fn form_encoded(text: &str) -> String {
    let each = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => Cow::Owned(char::from(byte).to_string()),
        b' ' => Cow::Borrowed("+"),
        _ => Cow::Owned(format!("%{byte:02X}")),
    });
    each.collect()
}

fn url_decode(call: &Call) -> Result<ArrayRef> {
    let text = call.text(0)?;
    call.each::<StringViewArray, _>(|row| form_decoded(text.at(row)?))
}

/// None where an escape is broken.
fn form_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                bytes.extend(from_hex(tail.get(..2)?)?);
                rest = &tail[2..];
            }
            _ => bytes.push(byte),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse_url(call: &Call) -> Result<ArrayRef> {
    let (url, part, key) = (call.text(0)?, call.text(1)?, call.text_or(2, "")?);
    let keyed = call.len() == 3;
    call.each::<StringViewArray, _>(|row| {
        let (url, part, key) = (Url::parse(url.at(row)?)?, part.at(row)?, key.at(row)?);
        if keyed {
            return (part == "QUERY").then(|| url.value(key))?;
        }
        url.part(part)
    })
}

/// The parts of a URL, as Java's `java.net.URL` names them.
struct Url<'a> {
    protocol: &'a str,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (protocol, rest) = text.trim().split_once("://")?;
        let proper = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if protocol.is_empty() || !protocol.chars().all(proper) {
            return None;
        }
        let (rest, fragment) = split_off(rest, '#');
        let (rest, query) = split_off(rest, '?');
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Some(Self { protocol, authority, path, query, fragment })
    }

    fn part(&self, name: &str) -> Option<String> {
        let text = match name {
            "PROTOCOL" => self.protocol,
            "AUTHORITY" => self.authority,
            "PATH" => self.path,
            "QUERY" => self.query?,
            "REF" => self.fragment?,
            "USERINFO" => self.authority.rsplit_once('@')?.0,
            "HOST" => self.host(),
            "FILE" => return Some(self.query.map_or(self.path.to_owned(), |query| format!("{}?{query}", self.path))),
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn host(&self) -> &'a str {
        let host = self.authority.rsplit_once('@').map_or(self.authority, |(_, host)| host);
        let end = host.rfind(']').map_or(0, |bracket| bracket + 1);
        host[end..].find(':').map_or(host, |port| &host[..end + port])
    }

    fn value(&self, key: &str) -> Option<String> {
        let pairs = self.query?.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
    }
}

fn split_off(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(head, tail)| (head, Some(tail)))
}
