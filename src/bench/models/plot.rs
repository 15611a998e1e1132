//! Plots as SVG: what is drawn, and how. Knows nothing of servers.
//!
//! Lines and letters of the frame take the colour of the text around them, and series have colours of middle lightness,
//! so that a plot is readable on a light and on a dark page.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use serde_json::{Value, json};

use super::super::Error;
use super::report::figure;

/// Of the mesh.
const GREY: RGBColor = RGBColor(128, 128, 128);

/// Width and height in pixels.
pub const SIZE: (u32, u32) = (880, 400);

/// Seen apart by most eyes, and on both backgrounds.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0xDB, 0x5F, 0x1D),
    RGBColor(0x2B, 0x86, 0xD9),
    RGBColor(0x1D, 0xA0, 0x6E),
    RGBColor(0x97, 0x72, 0xD1),
    RGBColor(0xB5, 0x89, 0x00),
    RGBColor(0xCC, 0x52, 0x88),
];

/// What an axis shows.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// With its unit.
    pub label: &'static str,
    pub is_log: bool,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub enum Shape {
    /// A line a name, through points.
    Lines { series: Vec<(String, Vec<(f64, f64)>)>, has_markers: bool },
    /// A bar a name, of parts that add up.
    Bars { parts: Vec<&'static str>, rows: Vec<(String, Vec<f64>)> },
}

/// One plot.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Of its file and in the page, without spaces.
    pub name: &'static str,
    pub title: &'static str,
    /// What has to be known to read it.
    pub caption: String,
    pub x: Axis,
    pub y: Axis,
    pub shape: Shape,
}

impl Plot {
    /// The data, for machines.
    pub fn json(&self) -> Value {
        let data = match &self.shape {
            Shape::Lines { series, .. } => {
                json!(series.iter().map(|(name, points)| json!({ "name": name, "points": points })).collect::<Vec<_>>())
            }
            Shape::Bars { parts, rows } => {
                json!(
                    rows.iter()
                        .map(|(name, values)| json!({ "name": name, "parts": parts, "values": values }))
                        .collect::<Vec<_>>()
                )
            }
        };
        json!({ "name": self.name, "title": self.title, "x": self.x.label, "y": self.y.label, "data": data })
    }

    /// As an SVG element that takes the colour of the text around it.
    pub fn svg(&self) -> Result<String, Error> {
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
            let drawn = match &self.shape {
                Shape::Lines { series, has_markers } => self.lines(&area, series, *has_markers),
                Shape::Bars { parts, rows } => self.bars(&area, parts, rows),
            };
            drawn
                .and_then(|()| area.present().map_err(|error| error.to_string()))
                .map_err(|error| Error::Unreadable(format!("what was to be drawn as {}: {error}", self.name)))?;
        }
        Ok(text.replace("\"#000000\"", "\"currentColor\""))
    }

    /// As a file that stands alone, with a background for either colour scheme.
    pub fn file(&self) -> Result<String, Error> {
        let style = "<style>svg{color:#1c2128;background:#fff}\
                     @media(prefers-color-scheme:dark){svg{color:#d7dce2;background:#1b2027}}</style>\n";
        let svg = self.svg()?;
        let (opening, rest) = svg.split_once('\n').unwrap_or((&svg, ""));
        Ok(format!("{opening}\n<title>{}</title>\n{style}{rest}", self.title))
    }

    fn lines(&self, area: &Area<'_>, series: &[(String, Vec<(f64, f64)>)], has_markers: bool) -> Result<(), String> {
        let all = || series.iter().flat_map(|(_, points)| points);
        let (x, y) = (Scale::of(self.x, all().map(|point| point.0)), Scale::of(self.y, all().map(|point| point.1)));
        let mut chart = frame(area, x, y, 70)?;
        chart
            .configure_mesh()
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.3))
            .axis_style(BLACK)
            .label_style(("sans-serif", 15))
            .axis_desc_style(("sans-serif", 17))
            .draw()
            .map_err(|error| error.to_string())?;
        for (index, (_, points)) in series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
                .map_err(|error| error.to_string())?;
            if has_markers {
                chart
                    .draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))
                    .map_err(|error| error.to_string())?;
            }
        }
        legend(area, series.iter().map(|(name, _)| name.as_str()))
    }

    fn bars(&self, area: &Area<'_>, parts: &[&'static str], rows: &[(String, Vec<f64>)]) -> Result<(), String> {
        let sums = rows.iter().map(|(_, values)| values.iter().sum::<f64>());
        let x = Scale::of(self.x, sums);
        let y = Scale {
            is_log: false,
            ends: (0.0, rows.len() as f64),
            ticks: (0..rows.len()).map(|row| row as f64 + 0.5).collect(),
            names: rows.iter().map(|(name, _)| name.clone()).collect(),
        };
        let mut chart = frame(area, x, y, 160)?;
        chart
            .configure_mesh()
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.3))
            .axis_style(BLACK)
            .label_style(("sans-serif", 15))
            .axis_desc_style(("sans-serif", 17))
            .draw()
            .map_err(|error| error.to_string())?;
        for index in 0..parts.len() {
            let colour = COLOURS[index % COLOURS.len()];
            let bar = |(row, (_, values)): (usize, &(String, Vec<f64>))| {
                let from: f64 = values[..index].iter().sum();
                let corners = [(from, row as f64 + 0.2), (from + values[index], row as f64 + 0.8)];
                Rectangle::new(corners, colour.filled())
            };
            chart.draw_series(rows.iter().enumerate().map(bar)).map_err(|error| error.to_string())?;
        }
        legend(area, parts.iter().copied())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

fn frame<'a, 'b>(area: &Area<'b>, x: Scale, y: Scale, y_label_px: u32) -> Result<Chart<'a, 'b>, String> {
    ChartBuilder::on(area)
        .margin(12)
        .margin_right(190)
        .x_label_area_size(50)
        .y_label_area_size(y_label_px)
        .build_cartesian_2d(x, y)
        .map_err(|error| error.to_string())
}

/// Right of the plot, where it covers nothing.
fn legend<'a>(area: &Area<'_>, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let left = SIZE.0.cast_signed() - 192;
    for (index, name) in names.enumerate() {
        let y = 24 + 22 * index as i32;
        let sample = Rectangle::new([(left, y - 6), (left + 18, y + 6)], COLOURS[index % COLOURS.len()].filled());
        area.draw(&sample).map_err(|error| error.to_string())?;
        let centred = plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Left,
            plotters::style::text_anchor::VPos::Center,
        );
        let words =
            Text::new(name.to_owned(), (left + 26, y), ("sans-serif", 16).into_font().color(&BLACK).pos(centred));
        area.draw(&words).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Where values lie on an axis.
#[derive(Clone)]
struct Scale {
    is_log: bool,
    /// The least and the greatest value that it shows.
    ends: (f64, f64),
    /// Values with a label.
    ticks: Vec<f64>,
    /// Of what the values stand for, where they are not figures.
    names: Vec<String>,
}

impl Scale {
    /// That shows all of these values; a linear one from zero.
    fn of(axis: Axis, values: impl Iterator<Item = f64>) -> Self {
        let usable = values.filter(|value| value.is_finite() && (!axis.is_log || *value > 0.0));
        let ends = usable.fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
        let (low, high) = ends.unwrap_or((0.1, 1.0));
        if axis.is_log {
            let (low, high) = (low * 0.9, high * 1.1);
            let steps: &[f64] = if high / low > 3000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let ticks = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
            let ticks = ticks.filter(|tick| (low..=high).contains(tick)).collect();
            return Self { is_log: true, ends: (low, high), ticks, names: Vec::new() };
        }
        let high = if high > 0.0 { high * 1.05 } else { 1.0 };
        let decade = 10f64.powf((high / 8.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade).into_iter().find(|step| high / step <= 8.0);
        let step = step.unwrap_or(high);
        let ticks = (0..=9).map(|tick| f64::from(tick) * step).take_while(|tick| *tick <= high).collect();
        Self { is_log: false, ends: (0.0, high), ticks, names: Vec::new() }
    }

    /// As a share of the axis. What a logarithm cannot show lies at the low end.
    fn place(&self, value: f64) -> f64 {
        let (low, high) = self.ends;
        if self.is_log { (value.max(low) / low).ln() / (high / low).ln() } else { (value - low) / (high - low) }
    }

    fn words(&self, value: f64) -> String {
        if !self.names.is_empty() {
            return self.names.get(value as usize).cloned().unwrap_or_default();
        }
        let text = figure(value);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (f64::from(limit.1 - limit.0) * self.place(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.ends.0..self.ends.1
    }
}

impl ValueFormatter<f64> for Scale {
    fn format(value: &f64) -> String {
        figure(*value)
    }

    fn format_ext(&self, value: &f64) -> String {
        self.words(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(is_log: bool, points: Vec<(f64, f64)>) -> Plot {
        let shape = Shape::Lines { series: vec![("<one>".to_owned(), points)], has_markers: true };
        let axis = |label| Axis { label, is_log };
        Plot { name: "p", title: "t", caption: String::new(), x: axis("time (s)"), y: axis("share (%)"), shape }
    }

    #[test]
    fn every_point_and_both_labels_are_drawn_and_names_are_escaped() {
        for is_log in [false, true] {
            let svg = plot(is_log, vec![(1.0, 2.0), (10.0, 30.0), (200.0, 5.0)]).svg().expect("drawn");
            assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
            assert!(svg.contains("time (s)") && svg.contains("share (%)") && svg.contains("&lt;one&gt;"), "{svg}");
            assert!(svg.contains("currentColor") && !svg.contains("#000000"), "{svg}");
        }
    }

    #[test]
    fn nothing_zeros_and_a_single_value_can_be_drawn() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(5.0, 5.0)], vec![(1.0, 0.0), (2.0, 0.0)]] {
            for is_log in [false, true] {
                plot(is_log, points.clone()).file().expect("drawn");
            }
        }
    }

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        let scale = Scale::of(Axis { label: "", is_log: false }, [3.0, 470.0].into_iter());
        assert_eq!(scale.ticks, [0.0, 100.0, 200.0, 300.0, 400.0]);
        let scale = Scale::of(Axis { label: "", is_log: true }, [0.9, 12.0].into_iter());
        let words: Vec<String> = scale.ticks.iter().map(|tick| scale.words(*tick)).collect();
        assert_eq!(words, ["1", "2", "5", "10"]);
    }
}
