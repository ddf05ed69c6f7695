//! Hashes of strings, in hexadecimal.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;
use sha2::digest::Digest;

use super::scalar::Kind::{Int, Text};
use super::scalar::{Call, Gives, Scalar, Takes, scalar};

/// The hash functions.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let list: Vec<Scalar> = vec![
        hash("md5", digest::<md5::Md5>),
        hash("sha1", digest::<sha1::Sha1>),
        hash("sha224", digest::<sha2::Sha224>),
        hash("sha256", digest::<sha2::Sha256>),
        hash("sha384", digest::<sha2::Sha384>),
        hash("sha512", digest::<sha2::Sha512>),
        scalar("sha2", Takes::all(&[Text, Int]), Gives::TEXT, sha2),
    ];
    list.into_iter().map(Into::into).collect()
}

fn hash(name: &'static str, of: fn(&str) -> String) -> Scalar {
    scalar(name, Takes::all(&[Text]), Gives::TEXT, move |call| {
        let text = call.text(0)?;
        call.each::<StringViewArray, _>(|row| text.at(row).map(of))
    })
}

fn digest<D: Digest>(text: &str) -> String {
    D::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha2(call: &Call) -> Result<ArrayRef> {
    let (text, bits) = (call.text(0)?, call.int(1)?);
    call.try_each::<StringViewArray, _>(|row| {
        let (Some(text), Some(bits)) = (text.at(row), bits.at(row)) else { return Ok(None) };
        Ok(Some(match bits {
            224 => digest::<sha2::Sha224>(text),
            256 => digest::<sha2::Sha256>(text),
            384 => digest::<sha2::Sha384>(text),
            512 => digest::<sha2::Sha512>(text),
            _ => return Err(call.error(format!("a hash has 224, 256, 384 or 512 bits, not {bits}"))),
        }))
    })
}
