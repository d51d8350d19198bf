//! The items of `/json`, written anew for each request, and compressed if the client asks.

use std::cell::RefCell;
use std::path::Path;
use std::{fs, io};

use flate2::{Compress, Compression, FlushCompress, Status};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

/// The items, as the data set has them.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Dataset {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    id: i64,
    name: String,
    category: String,
    price: i64,
    quantity: i64,
    active: bool,
    tags: Vec<String>,
    rating: Rating,
}

#[derive(Deserialize, Serialize)]
struct Rating {
    score: i64,
    count: i64,
}

/// An item with its total.
struct Priced<'a>(&'a Item, i64);

impl Serialize for Priced<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Priced(item, factor) = *self;
        let mut out = serializer.serialize_struct("Item", 9)?;
        out.serialize_field("id", &item.id)?;
        out.serialize_field("name", &item.name)?;
        out.serialize_field("category", &item.category)?;
        out.serialize_field("price", &item.price)?;
        out.serialize_field("quantity", &item.quantity)?;
        out.serialize_field("active", &item.active)?;
        out.serialize_field("tags", &item.tags)?;
        out.serialize_field("rating", &item.rating)?;
        out.serialize_field("total", &item.price.wrapping_mul(item.quantity).wrapping_mul(factor))?;
        out.end()
    }
}

struct Priceds<'a>(&'a [Item], i64);

impl Serialize for Priceds<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|item| Priced(item, self.1)))
    }
}

#[derive(Serialize)]
struct Reply<'a> {
    items: Priceds<'a>,
    count: usize,
}

impl Dataset {
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let text =
            fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }

    /// Appends the first `count` items, with their totals multiplied by `factor`.
    pub(crate) fn write(&self, count: usize, factor: i64, out: &mut Vec<u8>) -> io::Result<()> {
        let items = self.items.get(..count).unwrap_or(&self.items);
        let reply = Reply {
            items: Priceds(items, factor),
            count: items.len(),
        };
        Ok(serde_json::to_writer(out, &reply)?)
    }
}

thread_local! {
    /// A compressor takes 250 KB: one for each thread.
    static GZIP: RefCell<Compress> = RefCell::new(Compress::new_gzip(Compression::fast(), 15));
}

/// `data` in gzip (RFC 1952).
pub(crate) fn gzip(data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    // What cannot be compressed grows by a little for each block, beside head and tail.
    out.reserve(data.len() + data.len() / 1000 + 100);
    GZIP.with_borrow_mut(|engine| {
        engine.reset();
        match engine.compress_vec(data, out, FlushCompress::Finish)? {
            Status::StreamEnd => Ok(()),
            _ => Err(io::ErrorKind::OutOfMemory.into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn compressed_text_is_the_text() {
        for length in [0, 1, 100, 100_000] {
            let text: Vec<u8> = (0..length).map(|at: usize| (at * at % 251) as u8).collect();
            for _ in 0..2 {
                let mut packed = Vec::new();
                gzip(&text, &mut packed).unwrap();
                let mut back = Vec::new();
                flate2::read::GzDecoder::new(&packed[..])
                    .read_to_end(&mut back)
                    .unwrap();
                assert_eq!(back, text);
            }
        }
    }

    #[test]
    fn totals() {
        let item = r#"{"id":1,"name":"a","category":"b","price":3,"quantity":5,"active":true,"tags":["c"],"rating":{"score":1,"count":2}}"#;
        let data: Dataset = serde_json::from_str(&format!("[{item},{item}]")).unwrap();
        let mut out = Vec::new();
        data.write(1, 7, &mut out).unwrap();
        let expected = format!(
            r#"{{"items":[{},"total":105}}],"count":1}}"#,
            item.strip_suffix('}').unwrap()
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut all = Vec::new();
        data.write(usize::MAX, 1, &mut all).unwrap();
        assert!(all.ends_with(br#""count":2}"#));
    }
}
