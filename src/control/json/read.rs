//! JSON read back: what the load balancer says of the cluster. Pure; bounded in depth, and by the caller in length.

/// A JSON value. Numbers are kept as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// null, true, false and numbers, as they stood.
    Word(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object, in its order.
    Fields(Vec<(String, Value)>),
}

/// Arrays and objects in each other, at most.
const DEPTH_MAX: usize = 16;

impl Value {
    /// The value that a whole text is, white space around it aside; nothing when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text.trim() };
        let value = reader.value(DEPTH_MAX)?;
        reader.rest.is_empty().then_some(value)
    }

    /// A field of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Fields(fields) = self else { return None };
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// A string field of an object.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A field of an object that is a whole number, 0 or more.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Self::Word(word) => word.parse().ok(),
            _ => None,
        }
    }

    /// The values of a field that is an array; none when there is no such field.
    #[must_use]
    pub fn list(&self, name: &str) -> &[Self] {
        match self.get(name) {
            Some(Self::List(values)) => values,
            _ => &[],
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.skip();
        match self.rest.chars().next()? {
            '"' => self.string().map(Value::Text),
            '[' => self.list(depth),
            '{' => self.fields(depth),
            _ => self.word(),
        }
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Whether `mark` comes next; it is taken then.
    fn takes(&mut self, mark: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find([',', ']', '}', ' ', '\n', '\r', '\t']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let known = matches!(word, "null" | "true" | "false") || word.parse::<f64>().is_ok();
        self.rest = rest;
        known.then(|| Value::Word(word.to_owned()))
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut values = Vec::new();
        self.takes('[');
        if self.takes(']') {
            return Some(Value::List(values));
        }
        loop {
            values.push(self.value(depth)?);
            if self.takes(']') {
                return Some(Value::List(values));
            }
            self.takes(',').then_some(())?;
        }
    }

    fn fields(&mut self, depth: usize) -> Option<Value> {
        let mut fields = Vec::new();
        self.takes('{');
        if self.takes('}') {
            return Some(Value::Fields(fields));
        }
        loop {
            self.skip();
            let name = self.string()?;
            self.takes(':').then_some(())?;
            fields.push((name, self.value(depth)?));
            if self.takes('}') {
                return Some(Value::Fields(fields));
            }
            self.takes(',').then_some(())?;
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.rest.strip_prefix('"')?.chars();
        loop {
            match characters.next()? {
                '"' => {
                    self.rest = characters.as_str();
                    return Some(text);
                }
                '\\' => match characters.next()? {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    // no pairs of surrogates: what this project writes has none
                    'u' => {
                        let digits: String = characters.by_ref().take(4).collect();
                        text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    mark @ ('"' | '\\' | '/') => text.push(mark),
                    _ => return None,
                },
                other => text.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = String::from("{ \"a\" : [1, {\"b\":null},[]], \"text\":");
        let text = "quote \" slash \\ line \n end\u{1}é";
        super::super::string(&mut out, text);
        out.push_str(",\"n\":18446744073709551615}\r\n");
        let value = Value::parse(&out).expect("JSON");
        assert_eq!(value.text("text"), Some(text));
        assert_eq!(value.number("n"), Some(u64::MAX));
        assert_eq!(value.list("a").len(), 3);
        assert_eq!(value.list("a")[1].get("b"), Some(&Value::Word("null".to_owned())));
        assert_eq!((value.number("text"), value.text("n"), value.list("n").len()), (None, None, 0));
    }

    #[test]
    fn what_is_no_json_is_nothing() {
        for text in
            ["", "{", "[1,", "[1 2]", "{\"a\"}", "{\"a\":}", "\"", "\"\\x\"", "\"\\u12\"", "no", "{} {}", "ERROR"]
        {
            assert_eq!(Value::parse(text), None, "{text:?}");
        }
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert_eq!(Value::parse(&deep), None, "the depth is bounded");
    }
}
