//! Plots as SVG: bars by group and server, and curves over percentiles.

use std::io;

use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (860, 420);
const FONT: &str = "sans-serif";

/// One colour a server, ours first.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 102, 153), RGBColor(204, 85, 51), RGBColor(120, 144, 60), RGBColor(130, 110, 160)];

/// Values by group (a mix, a kind of session) and server.
#[derive(Debug)]
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) servers: Vec<String>,
    /// A group's name, and a value for each server.
    pub(crate) groups: Vec<(String, Vec<f64>)>,
}

/// Values over percentiles, a curve for each server.
#[derive(Debug)]
pub(crate) struct Curves {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// A server's name, and its value at each of [`PERCENTILES`].
    pub(crate) servers: Vec<(String, Vec<f64>)>,
}

/// Where curves are looked at.
pub(crate) const PERCENTILES: [f64; 7] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 100.0];

pub(crate) fn bars(bars: &Bars) -> io::Result<String> {
    let mut svg = String::new();
    draw_bars(bars, &SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(svg)
}

pub(crate) fn curves(curves: &Curves) -> io::Result<String> {
    let mut svg = String::new();
    draw_curves(curves, &SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_bars(bars: &Bars, area: &Area<'_>) -> Drawn {
    area.fill(&WHITE)?;
    let highest = bars.groups.iter().flat_map(|(_, values)| values).fold(0.0_f64, |a, b| a.max(*b));
    let count = bars.groups.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(&bars.title, (FONT, 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..count, 0.0..highest * 1.15)?;
    let name = |at: &f64| {
        let middle = (at.fract() - 0.5).abs() < 0.01;
        let group = middle.then(|| bars.groups.get(at.floor() as usize)).flatten();
        group.map_or(String::new(), |(name, _)| name.clone())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(bars.groups.len() * 2 + 1)
        .x_label_formatter(&name)
        .y_desc(bars.unit)
        .label_style((FONT, 13))
        .draw()?;
    let width = 0.8 / bars.servers.len() as f64;
    for (index, server) in bars.servers.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let rectangles = bars.groups.iter().enumerate().map(|(group, (_, values))| {
            let left = group as f64 + 0.1 + width * index as f64;
            let value = values.get(index).copied().unwrap_or(0.0);
            Rectangle::new([(left, 0.0), (left + width * 0.92, value)], colour.filled())
        });
        chart
            .draw_series(rectangles)?
            .label(server)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font((FONT, 13))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}

fn draw_curves(curves: &Curves, area: &Area<'_>) -> Drawn {
    area.fill(&WHITE)?;
    let values = || curves.servers.iter().flat_map(|(_, values)| values.iter().copied());
    let lowest = values().fold(f64::MAX, f64::min).max(0.5);
    let highest = values().fold(lowest * 2.0, f64::max);
    let last = PERCENTILES.len() as f64 - 1.0;
    let mut chart = ChartBuilder::on(area)
        .caption(&curves.title, (FONT, 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last, (lowest * 0.8..highest * 1.3).log_scale())?;
    let name = |at: &f64| {
        let percentile = PERCENTILES.get(at.round() as usize);
        percentile.map_or(String::new(), |percentile| format!("p{percentile}"))
    };
    chart
        .configure_mesh()
        .x_labels(PERCENTILES.len())
        .x_label_formatter(&name)
        .y_desc(curves.unit)
        .label_style((FONT, 13))
        .draw()?;
    for (index, (server, values)) in curves.servers.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points = values.iter().enumerate().map(|(at, value)| (at as f64, value.max(lowest)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(3)))?
            .label(server)
            .legend(move |(x, y)| Rectangle::new([(x, y - 2), (x + 12, y + 2)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleLeft)
        .label_font((FONT, 13))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_name_their_groups_and_servers() {
        let servers = vec!["Cloakroom".to_owned(), "Redis 7.0".to_owned()];
        let groups =
            vec![("visit P1".to_owned(), vec![5.0, 6.7]), ("hget P1".to_owned(), vec![4.0, 5.3])];
        let svg = bars(&Bars { title: "CPU".to_owned(), unit: "µs", servers, groups })
            .expect("it can be drawn");
        for text in ["visit P1", "hget P1", "Cloakroom", "Redis 7.0", "µs"] {
            assert!(svg.contains(text), "{text}");
        }
        let servers = vec![("Cloakroom".to_owned(), vec![1.0, 2.0, 2.0, 3.0, 8.0, 9.0, 20.0])];
        let svg = curves(&Curves { title: "Latency".to_owned(), unit: "ms", servers })
            .expect("it can be drawn");
        assert!(svg.contains("p99.9") && svg.contains("Cloakroom"));
    }
}
