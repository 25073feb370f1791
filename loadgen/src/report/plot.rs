//! One plot: axes with their marked values, lines over them, and moments that are marked. Knows pixels, and nothing of what a
//! line means.

use super::markup::{Markup, pixels};
use super::scale::{Scale, Tick};

/// Width of every plot with its margins, in pixels of its own coordinates.
pub const WIDTH: f64 = 960.0;
/// Left of the lines: the values of the y axis.
const LEFT: f64 = 62.0;
/// Right of the lines: their names.
const RIGHT: f64 = 62.0;
/// Above the lines: the title, and the names of what is marked.
const TOP: f64 = 46.0;
/// Below the lines: the values of the x axis, and its name.
const BOTTOM: f64 = 42.0;
/// Distance between the base lines of two names at least.
const NAME_HEIGHT: f64 = 14.0;
/// About the width of a character of the small text.
const CHARACTER: f64 = 6.3;

/// An axis.
pub struct Axis {
    /// From where to where.
    pub scale: Scale,
    /// About so many named values.
    pub steps: usize,
    /// How a value is written.
    pub write: fn(f64) -> String,
    /// What is measured, with the unit.
    pub name: String,
}

/// A line, which may be interrupted.
pub struct Line {
    /// Said at its end.
    pub name: String,
    /// Class of the style sheet.
    pub class: &'static str,
    /// Pieces of at least one point.
    pub pieces: Vec<Vec<(f64, f64)>>,
    /// Whether the surface below it is filled.
    pub filled: bool,
}

/// A moment on the x axis.
pub struct Moment {
    /// Where.
    pub at: f64,
    /// What happened then.
    pub name: String,
}

/// A span on the x axis.
pub struct Span {
    /// Its beginning.
    pub from: f64,
    /// Its end.
    pub to: f64,
    /// Class of the style sheet.
    pub class: &'static str,
    /// What happened meanwhile, in full.
    pub name: String,
}

/// A point that is named on the plot.
pub struct Point {
    /// Place on both axes.
    pub at: (f64, f64),
    /// Its name.
    pub name: String,
}

/// A plot.
pub struct Plot {
    /// Unique in its document.
    pub id: String,
    /// What is seen.
    pub title: String,
    /// How to read it, behind the title: words, each with its class of the style sheet.
    pub notes: Vec<(&'static str, String)>,
    /// The same for those who do not see it.
    pub description: String,
    /// Height of the lines' room in pixels.
    pub height: f64,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// Later ones cover earlier ones.
    pub lines: Vec<Line>,
    /// Points of importance.
    pub points: Vec<Point>,
    /// Below everything else.
    pub spans: Vec<Span>,
    /// Above everything else.
    pub moments: Vec<Moment>,
    /// What a pointer is told between two places of the x axis.
    pub tips: Vec<(f64, f64, String)>,
}

impl Plot {
    /// Height of all of it in pixels.
    pub fn full_height(&self) -> f64 {
        TOP + self.height + BOTTOM
    }

    /// A drawing of its own.
    pub fn draw_alone(&self, out: &mut Markup) {
        let size = format!("0 0 {} {}", pixels(WIDTH), pixels(self.full_height()));
        let (title, description) = (format!("{}-title", self.id), format!("{}-description", self.id));
        let labels = format!("{title} {description}");
        out.open(
            "svg",
            &[
                ("xmlns", "http://www.w3.org/2000/svg"),
                ("class", "figure"),
                ("id", &self.id),
                ("viewBox", &size),
                ("role", "img"),
                ("aria-labelledby", &labels),
            ],
        );
        out.element("title", &[("id", &title)], &self.title);
        out.element("desc", &[("id", &description)], &self.description);
        self.draw(out);
        out.close("svg");
        out.line();
    }

    /// Into a drawing that is open, its upper left corner at the origin.
    pub fn draw(&self, out: &mut Markup) {
        out.line();
        out.open("text", &[("class", "title"), ("x", &pixels(LEFT)), ("y", "15")]);
        out.words(&self.title);
        for (class, words) in &self.notes {
            out.element("tspan", &[("class", &format!("note {class}")), ("dx", "10")], words);
        }
        out.close("text");
        for span in &self.spans {
            self.draw_span(span, out);
        }
        self.draw_y(out);
        self.draw_x(out);
        self.lines.iter().for_each(|line| self.draw_line(line, out));
        self.draw_names(out);
        self.draw_moments(out);
        self.points.iter().for_each(|point| self.draw_point(point, out));
        for (from, to, words) in &self.tips {
            let (x, width) = (self.at_x(*from), self.at_x(*to) - self.at_x(*from));
            out.open(
                "rect",
                &[
                    ("class", "tip"),
                    ("x", &pixels(x)),
                    ("y", &pixels(TOP)),
                    ("width", &pixels(width.max(0.5))),
                    ("height", &pixels(self.height)),
                ],
            );
            out.element("title", &[], words);
            out.close("rect");
        }
    }

    fn at_x(&self, value: f64) -> f64 {
        LEFT + self.x.scale.share(value) * (WIDTH - LEFT - RIGHT)
    }

    fn at_y(&self, value: f64) -> f64 {
        TOP + (1.0 - self.y.scale.share(value)) * self.height
    }

    fn draw_y(&self, out: &mut Markup) {
        for Tick { value, named } in self.y.scale.ticks(self.y.steps) {
            let y = pixels(self.at_y(value));
            let class = if named { "grid" } else { "grid faint" };
            rule(out, class, (&pixels(LEFT), &y), (&pixels(WIDTH - RIGHT), &y));
            if named {
                let base = pixels(self.at_y(value) + 4.0);
                let place = [("class", "tick end"), ("x", &*pixels(LEFT - 8.0)), ("y", &*base)];
                out.element("text", &place, &(self.y.write)(value));
            }
        }
        out.element("text", &[("class", "name"), ("x", "4"), ("y", &pixels(TOP - 12.0))], &self.y.name);
    }

    fn draw_x(&self, out: &mut Markup) {
        let bottom = TOP + self.height;
        for Tick { value, named } in self.x.scale.ticks(self.x.steps) {
            let (x, length) = (pixels(self.at_x(value)), if named { 5.0 } else { 3.0 });
            rule(out, "axis", (&x, &pixels(bottom)), (&x, &pixels(bottom + length)));
            if named {
                let place = [("class", "tick middle"), ("x", &*x), ("y", &*pixels(bottom + 18.0))];
                out.element("text", &place, &(self.x.write)(value));
            }
        }
        rule(out, "axis", (&pixels(LEFT), &pixels(bottom)), (&pixels(WIDTH - RIGHT), &pixels(bottom)));
        let place = [("class", "name end"), ("x", &*pixels(WIDTH - RIGHT)), ("y", &*pixels(bottom + 35.0))];
        out.element("text", &place, &self.x.name);
        out.line();
    }

    fn draw_line(&self, line: &Line, out: &mut Markup) {
        let (mut stroke, mut surface) = (String::new(), String::new());
        for piece in line.pieces.iter().filter(|piece| !piece.is_empty()) {
            let course = self.course(piece);
            let (first, last) = (pixels(self.at_x(piece[0].0)), piece[piece.len() - 1].0);
            surface += &format!("{course}V{}H{first}Z", pixels(TOP + self.height));
            stroke += &course;
            if piece.iter().all(|point| point.0 == last) {
                stroke += "h1"; // a single moment is seen too
            }
        }
        if line.filled {
            out.empty("path", &[("class", &format!("surface {}", line.class)), ("d", &surface)]);
        }
        out.empty("path", &[("class", &format!("line {}", line.class)), ("d", &stroke)]);
        out.line();
    }

    /// The path through the points; what runs along an axis is written short.
    fn course(&self, piece: &[(f64, f64)]) -> String {
        let mut path = String::new();
        let mut before: Option<(String, String)> = None;
        for (x, y) in piece {
            let (x, y) = (pixels(self.at_x(*x)), pixels(self.at_y(*y)));
            match &before {
                None => path += &format!("M{x} {y}"),
                Some((px, py)) if *px == x && *py == y => {}
                Some((_, py)) if *py == y => path += &format!("H{x}"),
                Some((px, _)) if *px == x => path += &format!("V{y}"),
                Some(_) => path += &format!("L{x} {y}"),
            }
            before = Some((x, y));
        }
        path
    }

    /// The lines' names at their ends, moved apart where they would cover each other.
    fn draw_names(&self, out: &mut Markup) {
        let ends = self.lines.iter().filter_map(|line| {
            let (_, y) = line.pieces.last()?.last()?;
            (!line.name.is_empty()).then(|| (self.at_y(*y) + 4.0, line))
        });
        let mut ends = ends.collect::<Vec<_>>();
        // a stable order: lines that end at one height are named from the one drawn first, downwards
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        let lowest = TOP + self.height + 4.0;
        let heights = apart(&ends.iter().map(|end| end.0).collect::<Vec<_>>(), lowest);
        for ((_, line), y) in ends.iter().zip(heights) {
            let class = format!("series {}", line.class);
            let place = [("class", &*class), ("x", &*pixels(WIDTH - RIGHT + 7.0)), ("y", &*pixels(y))];
            out.element("text", &place, &line.name);
        }
    }

    fn draw_moments(&self, out: &mut Markup) {
        let mut free_from = LEFT;
        for moment in &self.moments {
            let at = self.at_x(moment.at);
            let x = pixels(at);
            rule(out, "moment", (&x, &pixels(TOP - 6.0)), (&x, &pixels(TOP + self.height)));
            let width = moment.name.chars().count() as f64 * CHARACTER;
            // to the right of its line, or to the left where there is no room; in a crowd only the first is named
            let (class, from) = if at + width < WIDTH { ("moment", at) } else { ("moment end", at - width) };
            if from >= free_from && !moment.name.is_empty() {
                let place = [("class", class), ("x", &*x), ("y", &*pixels(TOP - 11.0))];
                out.element("text", &place, &moment.name);
                free_from = from + width + CHARACTER;
            }
        }
    }

    fn draw_span(&self, span: &Span, out: &mut Markup) {
        let (x, width) = (self.at_x(span.from), self.at_x(span.to) - self.at_x(span.from));
        out.open(
            "rect",
            &[
                ("class", &format!("span {}", span.class)),
                ("x", &pixels(x)),
                ("y", &pixels(TOP)),
                ("width", &pixels(width.max(0.5))),
                ("height", &pixels(self.height)),
            ],
        );
        out.element("title", &[], &span.name);
        out.close("rect");
    }

    fn draw_point(&self, point: &Point, out: &mut Markup) {
        let (x, y) = (self.at_x(point.at.0), self.at_y(point.at.1));
        out.empty("circle", &[("class", "point"), ("cx", &pixels(x)), ("cy", &pixels(y)), ("r", "3.5")]);
        let class = if x > WIDTH - RIGHT - 70.0 { "label end" } else { "label" };
        let (dx, dy) = if class == "label" { (4.0, 17.0) } else { (0.0, -9.0) };
        let place = [("class", class), ("x", &*pixels(x + dx)), ("y", &*pixels(y + dy))];
        out.element("text", &place, &point.name);
    }
}

fn rule(out: &mut Markup, class: &str, from: (&str, &str), to: (&str, &str)) {
    out.empty("line", &[("class", class), ("x1", from.0), ("y1", from.1), ("x2", to.0), ("y2", to.1)]);
}

/// Heights in order, each at least a name's height below the one before and none below `lowest`, as near as can be to what they
/// were.
fn apart(heights: &[f64], lowest: f64) -> Vec<f64> {
    let mut moved = heights.to_vec();
    for place in 1..moved.len() {
        moved[place] = moved[place].max(moved[place - 1] + NAME_HEIGHT);
    }
    let mut room = lowest;
    for height in moved.iter_mut().rev() {
        *height = height.min(room);
        room = *height - NAME_HEIGHT;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_cover_each_other() {
        assert_eq!(apart(&[10.0, 12.0, 100.0], 200.0), [10.0, 24.0, 100.0]);
        assert_eq!(apart(&[198.0, 199.0], 200.0), [186.0, 200.0]);
        assert!(apart(&[], 200.0).is_empty());
    }
}
