//! `ingressctl top`: what goes on now, as a live view or as one JSON value an interval.

mod rates;
mod screen;

use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{
    Context, Failure,
    args::{Format, Top as Args},
    write,
};
use crate::control::{Filter, Request, Response, call};
use rates::{Moment, View};
use screen::Screen;

/// Throughput that is remembered for the header.
const HISTORY: usize = 60;
/// How soon a signal is noticed.
const ATTENTION: Duration = Duration::from_millis(200);

pub(super) fn run(context: &Context<'_>, args: &Args) -> Result<(), Failure> {
    match context.format {
        Format::Table if io::stdout().is_terminal() => live(context, args),
        Format::Table => each(context, args, |view, history| {
            Ok(Screen { view, history, style: context.style, note: "" }.text(80, 40))
        }),
        Format::Json | Format::Ndjson => each(context, args, |view, _| {
            Ok(serde_json::to_string(view).map_err(io::Error::from)? + "\n")
        }),
    }
}

/// Prints one view after another.
fn each(
    context: &Context<'_>,
    args: &Args,
    text: impl Fn(&View, &VecDeque<u64>) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let interval = Duration::from_secs(args.interval);
    let mut history = VecDeque::new();
    let mut before = moment(context)?;
    let mut left = args.count;
    while left != Some(0) {
        std::thread::sleep(interval);
        let now = moment(context)?;
        let view = View::between(&before, &now, args.rows);
        remember(&mut history, &view);
        write(text(&view, &history)?.as_bytes())?;
        before = now;
        left = left.map(|left| left - 1);
    }
    Ok(())
}

/// The view on a terminal, until a key ends it.
fn live(context: &Context<'_>, args: &Args) -> Result<(), Failure> {
    // Before the terminal is changed: that the daemon is away is said on an ordinary screen.
    let first = moment(context)?;
    let mut terminal = ratatui::try_init()?;
    let result = watch(context, args, first, &mut terminal);
    ratatui::restore();
    result
}

fn watch(
    context: &Context<'_>,
    args: &Args,
    first: Moment,
    terminal: &mut DefaultTerminal,
) -> Result<(), Failure> {
    let interval = Duration::from_secs(args.interval);
    let (mut history, mut note, mut paused) = (VecDeque::new(), String::new(), false);
    let mut view = View::between(&first, &first, args.rows);
    let mut before = first;
    let mut due = Instant::now() + interval;
    let mut left = args.count;
    let told = Told::listen()?;
    loop {
        let shown = if paused { "paused" } else { note.as_str() };
        terminal.draw(|frame| {
            let screen =
                Screen { view: &view, history: &history, style: context.style, note: shown };
            screen.draw(frame.area(), frame.buffer_mut());
        })?;
        match pressed(due, &told)? {
            Some(Key::Quit) => return Ok(()),
            Some(Key::Pause) => paused = !paused,
            Some(Key::Redraw) => {}
            None => {
                due = Instant::now() + interval;
                if paused {
                    continue;
                }
                // A daemon that restarts is back in a moment.
                match moment(context) {
                    Ok(now) => {
                        view = View::between(&before, &now, args.rows);
                        remember(&mut history, &view);
                        (before, note) = (now, String::new());
                    }
                    Err(failure) => note = failure.to_string(),
                }
                left = left.map(|left| left.saturating_sub(1));
                if left == Some(0) {
                    return Ok(());
                }
            }
        }
    }
}

enum Key {
    Quit,
    Pause,
    Redraw,
}

/// Whether a signal has asked for the end, which must not come before the terminal is as it was.
struct Told(Arc<AtomicBool>);

impl Told {
    fn listen() -> io::Result<Self> {
        let told = Self(Arc::default());
        for signal in [SIGTERM, SIGHUP, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&told.0))?;
        }
        Ok(told)
    }

    fn to_end(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was pressed, if anything was by then.
fn pressed(due: Instant, told: &Told) -> io::Result<Option<Key>> {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if event::poll(left.min(ATTENTION))? {
            break;
        }
        if told.to_end() {
            return Ok(Some(Key::Quit));
        }
        if left <= ATTENTION {
            return Ok(None);
        }
    }
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event::read()?
    else {
        return Ok(Some(Key::Redraw));
    };
    let control = modifiers.contains(KeyModifiers::CONTROL);
    let quit = matches!(code, KeyCode::Char('q') | KeyCode::Esc)
        || (control && code == KeyCode::Char('c'));
    let pause = matches!(code, KeyCode::Char('p' | ' '));
    Ok(Some(if quit {
        Key::Quit
    } else if pause {
        Key::Pause
    } else {
        Key::Redraw
    }))
}

fn remember(history: &mut VecDeque<u64>, view: &View) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    history.push_back(view.bytes_per_second());
}

/// Everything that the daemon knows of now.
fn moment(context: &Context<'_>) -> Result<Moment, Failure> {
    let ask = |request: Request| {
        let response = call(context.socket, &request)?;
        if let Response::Error { kind, message } = &response {
            return Err(Failure::refused(*kind, message));
        }
        Ok(response)
    };
    let unexpected =
        || Failure::failed("ingressd answers something else; are both of one version?");
    let Response::Status(status) = ask(Request::Status)? else { return Err(unexpected()) };
    let Response::Stats(stats) = ask(Request::Stats)? else { return Err(unexpected()) };
    let Response::Drops(drops) = ask(Request::Drops)? else { return Err(unexpected()) };
    let filter = Filter::default();
    let Response::Flows(flows) = ask(Request::Flows { filter })? else { return Err(unexpected()) };
    Ok(Moment { at: Instant::now(), status, stats, drops, flows: flows.flows })
}
