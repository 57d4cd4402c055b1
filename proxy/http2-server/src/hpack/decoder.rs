//! Decoding of field blocks (RFC 7541 §3.2 and §6).

use super::{
    Error, Kind, huffman, is_value,
    table::{MAX_SIZE, STATIC, Table},
};

/// The longest prefix integer: seven octets of continuation say more than any length that is allowed.
const MAX_INTEGER: usize = 1 << 28;

/// A field that lies at the end of the sink's buffer, name before value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Where the name begins.
    pub(crate) at: usize,
    pub(crate) name_len: usize,
    pub(crate) kind: Kind,
    /// Whether the value has only octets that a value may have; of the name, `kind` tells.
    pub(crate) sound: bool,
}

/// Takes what is decoded.
pub(crate) trait Sink {
    /// Where fields are put. What lies there already is left alone.
    fn buffer(&mut self) -> &mut Vec<u8>;

    /// A field, the last in the buffer.
    fn field(&mut self, field: Field);

    /// The entry of the static table at this place from 0; it has not been put into the buffer.
    fn static_entry(&mut self, place: usize);
}

/// One direction's decoding state.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
}

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self { table: Table::new() }
    }

    pub(crate) fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Decodes a whole field block. After an error the state is of no use any more.
    pub(crate) fn decode(&mut self, block: &[u8], sink: &mut impl Sink) -> Result<(), Error> {
        let mut rest = block;
        let mut has_begun = false;
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                self.indexed(&mut rest, sink)?;
            } else if first & 0x40 != 0 {
                self.literal(&mut rest, 6, sink)?;
            } else if first & 0x20 == 0 {
                // Without indexing, or never indexed: the same to one who passes fields on as a whole.
                self.literal(&mut rest, 4, sink)?;
            } else {
                let size = integer(&mut rest, 5)?;
                if has_begun {
                    return Err(Error("table size update within a block"));
                }
                if size > MAX_SIZE {
                    return Err(Error("table size beyond the setting"));
                }
                self.table.resize(size);
                continue;
            }
            has_begun = true;
        }
        Ok(())
    }

    fn indexed(&self, rest: &mut &[u8], sink: &mut impl Sink) -> Result<(), Error> {
        let index = integer(rest, 7)?.checked_sub(1).ok_or(Error("index zero"))?;
        if index < STATIC.len() {
            sink.static_entry(index);
            return Ok(());
        }
        let entry =
            self.table.entry(index - STATIC.len()).ok_or(Error("index beyond the table"))?;
        let buffer = sink.buffer();
        let (at, name_len) = (buffer.len(), usize::from(entry.name_len));
        self.table.copy(entry, name_len + usize::from(entry.value_len), buffer);
        sink.field(Field { at, name_len, kind: entry.kind, sound: entry.sound });
        Ok(())
    }

    fn literal(
        &mut self,
        rest: &mut &[u8],
        prefix: u32,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        let index = integer(rest, prefix)?;
        let buffer = sink.buffer();
        let at = buffer.len();
        let kind = match index {
            0 => {
                string(rest, buffer)?;
                Kind::of(&buffer[at..])
            }
            _ => match STATIC.get(index - 1) {
                Some((name, _, kind)) => {
                    buffer.extend_from_slice(name.as_bytes());
                    *kind
                }
                None => {
                    let entry = self.table.entry(index - 1 - STATIC.len());
                    let entry = entry.ok_or(Error("index beyond the table"))?;
                    self.table.copy(entry, entry.name_len.into(), buffer);
                    entry.kind
                }
            },
        };
        let name_len = buffer.len() - at;
        string(rest, buffer)?;
        let sound = is_value(&buffer[at + name_len..]);
        if prefix == 6 {
            self.table.insert(&buffer[at..], name_len, kind, sound);
        }
        sink.field(Field { at, name_len, kind, sound });
        Ok(())
    }
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1).
fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, Error> {
    const CUT: Error = Error("integer cut short");
    let (first, mut after) = rest.split_first().ok_or(CUT)?;
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (octet, behind) = after.split_first().ok_or(CUT)?;
            after = behind;
            if shift > 21 {
                return Err(Error("integer too large"));
            }
            value += usize::from(octet & 0x7f) << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                break;
            }
        }
    }
    if value > MAX_INTEGER {
        return Err(Error("integer too large"));
    }
    *rest = after;
    Ok(value)
}

/// A string literal (RFC 7541 §5.2), appended.
fn string(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let is_huffman = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length).ok_or(Error("string cut short"))?;
    *rest = after;
    if is_huffman {
        huffman::decode(text, out)
    } else {
        out.extend_from_slice(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct List(Vec<u8>, Vec<(String, String)>);

    impl Sink for List {
        fn buffer(&mut self) -> &mut Vec<u8> {
            &mut self.0
        }

        fn field(&mut self, field: Field) {
            let (name, value) = self.0[field.at..].split_at(field.name_len);
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            self.1.push((text(name), text(value)));
        }

        fn static_entry(&mut self, place: usize) {
            self.1.push((STATIC[place].0.into(), STATIC[place].1.into()));
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn list(decoder: &mut Decoder, block: &[u8]) -> Result<String, Error> {
        let mut list = List::default();
        decoder.decode(block, &mut list)?;
        let lines = list.1.iter().map(|(name, value)| format!("{name}: {value}"));
        Ok(lines.collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn requests_of_appendix_c() {
        let first = ":method: GET; :scheme: http; :path: /; :authority: www.example.com";
        let blocks = [
            // C.3: without Huffman coding; C.4: with.
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ];
        for [one, two, three] in blocks {
            let mut decoder = Decoder::new();
            assert_eq!(list(&mut decoder, &hex(one)).unwrap(), first);
            let second = format!("{first}; cache-control: no-cache");
            assert_eq!(list(&mut decoder, &hex(two)).unwrap(), second);
            assert_eq!(
                list(&mut decoder, &hex(three)).unwrap(),
                ":method: GET; :scheme: https; :path: /index.html; :authority: www.example.com; \
                 custom-key: custom-value"
            );
        }
    }

    #[test]
    fn literals_that_are_not_kept() {
        let mut decoder = Decoder::new();
        let block =
            hex("040c 2f73 616d 706c 652f 7061 7468 1008 7061 7373 776f 7264 0673 6563 7265 74");
        assert_eq!(list(&mut decoder, &block).unwrap(), ":path: /sample/path; password: secret");
        assert!(list(&mut decoder, &hex("be")).is_err());
    }

    #[test]
    fn refused() {
        let rows = [
            ("80", "index zero"),
            ("be", "beyond an empty table"),
            ("ff", "integer cut short"),
            ("ff 80 80 80 80 80 01", "integer too large"),
            ("ff ff ff ff ff 7f", "integer too large"),
            ("40 01", "string cut short"),
            ("40 01 61", "no value"),
            ("40 01 61 05 61", "value cut short"),
            ("7f 00 01 61", "name beyond the table"),
            ("3f e2 1f", "size 4097"),
            ("82 20", "size update within the block"),
            ("00 81 ff 00", "Huffman padding"),
        ];
        for (block, what) in rows {
            assert!(list(&mut Decoder::new(), &hex(block)).is_err(), "{what}");
        }
        for block in ["", "20", "3f e1 1f", "20 3f e1 1f 82"] {
            assert!(list(&mut Decoder::new(), &hex(block)).is_ok(), "{block}");
        }
    }

    #[test]
    fn a_name_may_come_from_the_entry_that_goes() {
        let mut decoder = Decoder::new();
        let mut block = hex("40 04 6e616d65 7f a11e");
        block.extend_from_slice(&[b'x'; 4000]);
        list(&mut decoder, &block).unwrap();
        let mut block = hex("7e 7f a11e");
        block.extend_from_slice(&[b'y'; 4000]);
        block.push(0xbe);
        let text = list(&mut decoder, &block).unwrap();
        assert_eq!(text.matches("name: yyy").count(), 2);
        assert!(list(&mut decoder, &hex("bf")).is_err());
    }
}
