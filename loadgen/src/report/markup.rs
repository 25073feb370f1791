//! Text with elements, for SVG and HTML alike: whatever is written is escaped and every element is closed, so that the
//! result is well-formed XML by the way it is made.

use std::fmt::Write;

/// A document in the making.
#[derive(Default)]
pub struct Markup {
    text: String,
    open: Vec<&'static str>,
}

impl Markup {
    /// Begins an element.
    pub fn open(&mut self, name: &'static str, attributes: &[(&str, &str)]) {
        self.begin(name, attributes);
        self.text.push('>');
        self.open.push(name);
    }

    /// Ends the element that was begun last.
    ///
    /// # Panics
    /// When none is open, or another one than `name`.
    pub fn close(&mut self, name: &str) {
        assert_eq!(self.open.pop(), Some(name), "elements end in the order in which they began");
        write!(self.text, "</{name}>").expect("a string takes what it is given");
    }

    /// An element without content.
    pub fn empty(&mut self, name: &'static str, attributes: &[(&str, &str)]) {
        self.begin(name, attributes);
        self.text.push_str("/>");
    }

    /// An element with nothing but words in it.
    pub fn element(&mut self, name: &'static str, attributes: &[(&str, &str)], words: &str) {
        self.open(name, attributes);
        self.words(words);
        self.close(name);
    }

    /// Words.
    pub fn words(&mut self, words: &str) {
        escape(&mut self.text, words);
    }

    /// A new line, for whoever reads the source.
    pub fn line(&mut self) {
        self.text.push('\n');
    }

    /// A style sheet. It must not hold what would have to be escaped, which HTML and XML do differently there.
    pub fn style(&mut self, sheet: &str) {
        assert!(!sheet.contains(['<', '>', '&']), "a style sheet is the same in HTML and in XML");
        write!(self.text, "<style>{sheet}</style>").expect("a string takes what it is given");
    }

    /// The whole document.
    ///
    /// # Panics
    /// When an element is open.
    pub fn finish(self) -> String {
        assert!(self.open.is_empty(), "{:?} are open", self.open);
        self.text
    }

    fn begin(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.text.push('<');
        self.text.push_str(name);
        for (key, value) in attributes {
            write!(self.text, " {key}=\"").expect("a string takes what it is given");
            escape(&mut self.text, value);
            self.text.push('"');
        }
    }
}

/// Appends words; what XML has no character for becomes a space.
fn escape(out: &mut String, words: &str) {
    for character in words.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(character),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push(' '),
            _ => out.push(character),
        }
    }
}

/// A coordinate in pixels with one decimal, without what adds nothing.
pub fn pixels(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_escaped_and_elements_closed() {
        let mut markup = Markup::default();
        markup.open("g", &[("class", "a\"b")]);
        markup.element("text", &[], "p99 < 5 & > \u{1}");
        markup.close("g");
        assert_eq!(markup.finish(), "<g class=\"a&quot;b\"><text>p99 &lt; 5 &amp; &gt;  </text></g>");
    }

    #[test]
    fn pixels_are_short() {
        assert_eq!([pixels(1.0), pixels(2.26), pixels(-0.5)], ["1", "2.3", "-0.5"]);
    }
}
