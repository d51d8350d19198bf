//! Reads the vectors of `resp.tsv`.

const VECTORS: &str = include_str!("resp.tsv");

/// One line of the file, which is described at its head.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) outcome: &'static str,
}

/// All of them.
pub(crate) fn vectors() -> Vec<Vector> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let [name, kind, section, bytes, outcome] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("not five columns: {line}")
            };
            assert!(!section.is_empty());
            Vector {
                name,
                kind,
                bytes: unescape(bytes),
                outcome,
            }
        })
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            },
            other => other,
        });
    }
    bytes
}
