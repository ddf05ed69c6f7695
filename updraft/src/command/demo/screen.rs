//! The demo in a terminal.

use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Gauge, Paragraph, Row, Table};
use updraft::Class;
use updraft::kernel::{Nanos, clock};

use super::Live;

/// How often the screen is drawn.
const REFRESH: Duration = Duration::from_millis(200);

/// Draws until a key ends it, or `span` is over.
pub(super) fn show(live: &Live<'_>, span: Option<Duration>) -> std::io::Result<()> {
    let mut terminal = ratatui::init();
    let shown = draw_all(live, span, &mut terminal);
    ratatui::restore();
    shown
}

fn draw_all(live: &Live<'_>, span: Option<Duration>, terminal: &mut ratatui::DefaultTerminal) -> std::io::Result<()> {
    let begin = clock::now();
    let mut rates = Rates::new(live);
    while !live.is_over() && span.is_none_or(|span| clock::now().since(begin) < span) {
        let rates = rates.next(live);
        terminal.draw(|frame| draw(frame, live, &rates))?;
        if event::poll(REFRESH)? && ends(&event::read()?) {
            break;
        }
    }
    Ok(())
}

fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

/// What was counted at the last drawing.
struct Rates {
    at: Nanos,
    records: u64,
    busy: Vec<Duration>,
}

/// What happened between two drawings.
struct Rate {
    records: f64,
    /// Of each kernel's time, the share in tasks.
    busy: Vec<f64>,
}

impl Rates {
    fn new(live: &Live<'_>) -> Self {
        Self { at: clock::now(), records: live.running.metrics().records(), busy: busy(live) }
    }

    fn next(&mut self, live: &Live<'_>) -> Rate {
        let now = Self::new(live);
        let span = now.at.since(self.at).as_secs_f64().max(1e-3);
        let shares = now.busy.iter().zip(&self.busy).map(|(now, then)| (*now - *then).as_secs_f64() / span);
        let rate = Rate {
            records: (now.records - self.records) as f64 / span,
            busy: shares.map(|share| share.clamp(0.0, 1.0)).collect(),
        };
        *self = now;
        rate
    }
}

fn busy(live: &Live<'_>) -> Vec<Duration> {
    live.runtime.handle().metrics().map(|kernel| kernel.busy(Class::Stream) + kernel.busy(Class::Batch)).collect()
}

fn draw(frame: &mut Frame<'_>, live: &Live<'_>, rate: &Rate) {
    let areas = Layout::vertical([
        Constraint::Length(5),
        Constraint::Min(4),
        Constraint::Length(rate.busy.len() as u16 + 2),
        Constraint::Length(1),
    ]);
    let [figures, items, kernels, help] = areas.areas(frame.area());
    draw_figures(frame, figures, live, rate);
    draw_items(frame, items, live);
    draw_kernels(frame, kernels, rate);
    frame.render_widget(Line::from(" q: quit").dim(), help);
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, live: &Live<'_>, rate: &Rate) {
    let metrics = live.running.metrics();
    let latency = |q| millis(metrics.latency.quantile(q));
    let lines = [
        format!("bids/s {:>12.0}    bids {:>14}    late {:>8}", rate.records, metrics.records(), metrics.late()),
        format!(
            "watermark lag {:>5}    epochs in flight {:>2}    memory {:>8.1} MiB",
            millis(metrics.watermark_lag()),
            live.running.epochs_in_flight(),
            live.running.memory() as f64 / f64::from(1 << 20),
        ),
        format!("result latency  p50 {}   p99 {}   p99.9 {}", latency(0.5), latency(0.99), latency(0.999)),
    ];
    let block = Block::bordered().title(" Updraft: the hottest items of an auction site ".bold());
    frame.render_widget(Paragraph::new(lines.map(Line::from).to_vec()).block(block), area);
}

fn millis(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1e3)
}

fn draw_items(frame: &mut Frame<'_>, area: Rect, live: &Live<'_>) {
    let (items, windows) = live.board.latest();
    let most = items.first().map_or(1, |item| item.value.max(1));
    let rows = items.iter().enumerate().map(|(rank, item)| {
        let bar = "█".repeat((item.value * 30 / most) as usize);
        let cells = [format!("{:>4}", rank + 1), format!("{:>10}", item.key), format!("{:>10}", item.value), bar];
        Row::new(cells.map(Cell::from))
    });
    let widths = [Constraint::Length(4), Constraint::Length(10), Constraint::Length(10), Constraint::Min(10)];
    let title = match items.first() {
        Some(item) => format!(" window {} to {}, the {windows}th ", item.window.start, item.window.end),
        None => " waiting for the first window ".into(),
    };
    let header = Row::new(["rank", "      item", "      bids", ""]).style(Style::new().bold());
    let table = Table::new(rows, widths).header(header).block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

fn draw_kernels(frame: &mut Frame<'_>, area: Rect, rate: &Rate) {
    let block = Block::bordered().title(" kernels, busy ");
    let rows = Layout::vertical(rate.busy.iter().map(|_| Constraint::Length(1))).split(block.inner(area));
    frame.render_widget(block, area);
    for (kernel, (share, row)) in rate.busy.iter().zip(&*rows).enumerate() {
        let gauge = Gauge::default().ratio(*share).label(format!("k{kernel} {:>3.0}%", share * 100.0));
        frame.render_widget(gauge.cyan(), *row);
    }
}
